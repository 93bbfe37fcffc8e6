"""Numbers as a reader wants to see them."""

from __future__ import annotations

import math

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MINUS = "−"
#: Error digits that are shown.
_ERROR_DIGITS = 2
#: Below this a float has no digits left to tell p-values apart.
_SMALLEST_P_VALUE = 1e-300


def number_text(value: float, digits: int = 4) -> str:
    """Write a number with `digits` significant digits; what stands before the decimal point is written out.

    >>> number_text(1234567), number_text(0.0123456), number_text(-2.5e-9, 2), number_text(3.0)
    ('1,234,567', '0.01235', '−2.5 × 10⁻⁹', '3')
    """
    if isinstance(value, int):
        return f"{value:,}".replace("-", _MINUS)
    if not math.isfinite(value):
        return str(value).replace("-", _MINUS)
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace("-", _MINUS)
    rounded = float(f"{value:.{digits - 1}e}")
    exponent = math.floor(math.log10(abs(rounded)))
    if -4 < exponent < 6:
        return f"{value:,.{max(0, digits - 1 - exponent)}f}".replace("-", _MINUS)
    return _power(rounded, exponent, digits - 1)


def with_error_text(value: float, error: float) -> str:
    """Write a number and its error, both to the error's second digit.

    >>> with_error_text(0.50123, 0.00456), with_error_text(1834.2, 41.0), with_error_text(3.1e-7, 2.2e-8)
    ('0.5012 ± 0.0046', '1,834 ± 41', '(3.10 ± 0.22) × 10⁻⁷')
    """
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return number_text(value) if not math.isfinite(value) or math.isnan(error) else f"{number_text(value)} ± 0"
    largest = max(abs(value), error)
    exponent = math.floor(math.log10(largest))
    last = math.floor(math.log10(float(f"{error:.{_ERROR_DIGITS - 1}e}"))) - _ERROR_DIGITS + 1
    if -4 < exponent < 6:
        decimals = max(0, -last)
        return f"{value:,.{decimals}f} ± {error:,.{decimals}f}".replace("-", _MINUS)
    scale, decimals = 10.0**exponent, max(0, exponent - last)
    power = str(exponent).translate(_SUPERSCRIPTS)
    return f"({value / scale:.{decimals}f} ± {error / scale:.{decimals}f}) × 10{power}".replace("-", _MINUS)


def p_value_text(value: float) -> str:
    """Write a p-value.

    >>> p_value_text(0.4321), p_value_text(0.00123), p_value_text(4.56e-9), p_value_text(0.0), p_value_text(1)
    ('0.43', '0.0012', '4.6 × 10⁻⁹', '< 10⁻³⁰⁰', '1.00')
    """
    if not math.isfinite(value):
        return str(value)
    if value < _SMALLEST_P_VALUE:
        return "< 10⁻³⁰⁰"
    if value >= 0.1:
        return f"{value:.2f}"
    return number_text(value, 2) if value >= 0.001 else _power(value, math.floor(math.log10(value)), 1)


def _power(value: float, exponent: int, decimals: int) -> str:
    mantissa, _, power = f"{value:.{decimals}e}".partition("e")
    return f"{mantissa.replace('-', _MINUS)} × 10{str(int(power)).translate(_SUPERSCRIPTS)}"
