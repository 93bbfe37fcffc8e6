"""Turns numbers into words: what is said of an observable, of a whole comparison, and whether a gate holds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlgen.validation.observable import Kind, Observable
from mlgen.validation.record import (
    ClassifierTest,
    Deviation,
    Measure,
    ObservableResult,
    ShapeTest,
    Verdict,
)


def sigma(p_value: float) -> float:
    """Standard deviations of a normal distribution beyond which a two-sided p-value lies."""
    from scipy.stats import norm

    if math.isnan(p_value):
        return math.nan
    # The smallest float stands for whatever is smaller.
    return float(norm.isf(max(p_value, 1e-300) / 2))


def number(value: float, digits: int = 3) -> str:
    """Write a number of a sentence."""
    return f"{value:.{digits}g}"


def p_text(value: float) -> str:
    """Write a p-value."""
    if math.isnan(value):
        return "no p-value"
    return "p < 1e-300" if value < 1e-300 else f"p = {value:.2g}"


def region(observable: Observable, lower: float, upper: float) -> str:
    """Say where something is, in the observable's unit."""
    unit = f" {observable.unit}" if observable.unit and observable.unit != "rad" else ""
    if observable.kind is Kind.CATEGORY:
        code = round((lower + upper) / 2) if math.isfinite(lower + upper) else -1
        return f"for {observable.categories[code]}" if 0 <= code < len(observable.categories) else "for other classes"
    if observable.kind is Kind.INTEGER and math.isfinite(lower + upper):
        first, last = math.ceil(lower), math.floor(upper)
        return f"at {first}" if first >= last else f"from {first} to {last}"
    if not math.isfinite(lower) and not math.isfinite(upper):
        return "everywhere"
    if not math.isfinite(lower):
        return f"below {number(upper, 4)}{unit}"
    if not math.isfinite(upper):
        return f"above {number(lower, 4)}{unit}"
    if lower > upper:
        return f"from {number(lower, 4)} over the ends to {number(upper, 4)}{unit}"
    return f"from {number(lower, 4)} to {number(upper, 4)}{unit}"


def size(deviation: Deviation) -> str:
    """Say how large a deviation is."""
    if not math.isfinite(deviation.ratio) or deviation.ratio <= 0 or deviation.ratio > 3:
        if not math.isfinite(deviation.ratio):
            return "events where the reference has none,"
        return f"{number(deviation.ratio)} times the events of the reference"
    change = deviation.ratio - 1
    direction = "more" if change > 0 else "fewer"
    return f"({100 * abs(change):.1f} +- {100 * deviation.error:.1f}) % {direction} events"


def short_size(deviation: Deviation) -> str:
    """Write the size of a deviation for a table."""
    if not math.isfinite(deviation.ratio) or deviation.ratio <= 0 or deviation.ratio > 3:
        return f"{number(deviation.ratio)} times" if math.isfinite(deviation.ratio) else "new"
    return f"{100 * (deviation.ratio - 1):+.1f} ± {100 * deviation.error:.1f} %"


def observable_verdict(
    observable: Observable, test: ShapeTest, adjusted: float, limit: float, band: bool
) -> tuple[Verdict, str]:
    """Say what a test of one observable means.

    Args:
        observable: The observable.
        test: The test.
        adjusted: p-value after the number of tests.
        limit: Below it the observable differs.
        band: Whether the deviation lies within the sample's own band.
    """
    if math.isnan(adjusted):
        return Verdict.TOO_FEW, "too few events to say anything"
    place = test.deviation
    where = ""
    if place is not None:
        place_words = region(observable, place.lower, place.upper)
        where = f"{size(place)} {place_words}, {abs(place.significance):.1f} sigma there"
    if adjusted >= limit:
        return Verdict.AGREES, f"agrees; at most {where}" if where else "agrees"
    words = f"differs: {where} ({p_text(adjusted)} after all tests)" if where else f"differs ({p_text(adjusted)})"
    if band:
        words += "; within the sample's own uncertainty band"
    return Verdict.DIFFERS, words


#: A sample that lacks an observable although so many events with it are expected differs in kind.
EXPECTED = 20.0


def missing_verdict(lacking: str, expected: float) -> tuple[Verdict, str]:
    """Say what it means that a whole sample has no event with an observable.

    Args:
        lacking: ``reference`` or ``sample``.
        expected: Events with it that would be expected there.
    """
    if expected < EXPECTED:
        return Verdict.TOO_FEW, f"no event of the {lacking} has it, and only {expected:.2g} are expected"
    return Verdict.MISSING, f"no event of the {lacking} has it, {expected:,.0f} are expected"


def comparison_words(
    results: Sequence[ObservableResult],
    rate: float,
    classifier: ClassifierTest | None,
    classifier_p: float,
    tests: int,
    p_value: float,
    limit: float,
) -> str:
    """Say what a whole comparison means, in a sentence."""
    differing = sorted(
        (r for r in results if r.verdict is Verdict.DIFFERS), key=lambda r: (r.adjusted_p_value, -_strength(r))
    )
    if not tests:
        return "nothing can be said: there are too few events for any test"
    if p_value >= limit:
        how = _best(classifier)
        seen = f", and a classifier cannot tell the samples apart ({how})" if how else ""
        return f"agrees: none of {tests} tests finds a difference (smallest {p_text(p_value)} after all tests){seen}"
    parts = []
    if differing:
        names = ", ".join(r.observable.name for r in differing[:3]) + (" and others" if len(differing) > 3 else "")
        parts.append(f"{len(differing)} of {sum(r.test is not None for r in results)} observables differ, most {names}")
    if rate < limit:
        parts.append(f"the cross sections differ ({p_text(rate)} after all tests)")
    if classifier_p < limit:
        parts.append(f"a classifier tells the samples apart ({_best(classifier)})")
    return "differs: " + "; ".join(parts)


def _strength(result: ObservableResult) -> float:
    deviation = result.test.deviation if result.test else None
    return abs(deviation.significance) if deviation else 0.0


def _best(classifier: ClassifierTest | None) -> str:
    measures: Sequence[Measure] = classifier.measures if classifier is not None else ()
    if not measures:
        return ""
    best = max(measures, key=lambda m: m.value)
    return f"AUC {best.value:.4f} +- {best.error:.4f}, floor {best.floor:.4f}"
