"""Chooses the bins of a histogram from a pilot sample, so that one pass over the file can fill it.

A histogram is filled in fine bins. The bins that are drawn are groups of `Axis.merge` fine bins; the tests and the
Wasserstein distance use the fine ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlgen.validation.observable import FloatArray, Kind, Observable

#: Fine bins in a bin that is drawn.
FINE = 10
#: Share of the pilot events that may lie outside the axis on each side, before tails are cut.
OUTSIDE = 0.001
#: The axis ends at most so many interquartile ranges from the quartiles, so that a peak is not lost in its tails ...
TAIL = 10.0
#: ... but leaves out no more than this share on each side for that.
CUT = 0.01
#: A positive quantity gets a logarithmic axis when its 5 % and 95 % quantiles are further apart than this factor: not a
#: flat one (19) nor an exponential (58).
LOG_SPAN = 200.0
#: Whole numbers up to so many have a bin each.
WHOLE = 120


@dataclass(frozen=True, slots=True)
class Axis:
    """Bins of one observable.

    Args:
        observable: What is binned.
        edges: Edges of the fine bins, ``(fine + 1,)``.
        merge: Fine bins in a bin that is drawn.
        log: Whether the fine bins are equal in the logarithm.
    """

    observable: Observable
    edges: FloatArray
    merge: int = 1
    log: bool = False

    @property
    def drawn_edges(self) -> FloatArray:
        """Edges of the bins that are drawn."""
        return self.edges[:: self.merge]

    def to_hist(self) -> Any:
        """The axis as an axis of `hist`, with under- and overflow."""
        import hist

        fine = len(self.edges) - 1
        transform = hist.axis.transform.log if self.log else None
        return hist.axis.Regular(
            fine, self.edges[0], self.edges[-1], transform=transform, name="x", label=self.observable.label
        )


def choose_axis(observable: Observable, pilots: Sequence[FloatArray], bins: int) -> Axis:
    """Choose the bins of one observable.

    Args:
        observable: The observable; what its user asked for is obeyed.
        pilots: Values of some events of each sample, any lengths; NaN where an event lacks the observable.
        bins: Bins to draw, about.
    """
    if observable.kind is Kind.CATEGORY:
        return Axis(observable, np.arange(-0.5, len(observable.categories)))
    finite = [values[np.isfinite(values)] for values in pilots]
    finite = [values for values in finite if len(values)] or [np.zeros(1)]
    if observable.kind is Kind.INTEGER:
        return _whole_numbers(observable, finite, observable.bins or bins)
    if observable.periodic:
        count = observable.bins or bins
        return Axis(observable, np.linspace(-math.pi, math.pi, count * FINE + 1), FINE)
    return _continuous(observable, finite, observable.bins or bins)


def _whole_numbers(observable: Observable, pilots: Sequence[FloatArray], bins: int) -> Axis:
    lower, upper = observable.limits or (min(v.min() for v in pilots), max(v.max() for v in pilots))
    first, last = math.floor(lower), math.ceil(upper)
    width = 1 if last - first < WHOLE else math.ceil((last - first + 1) / bins)
    fine = math.ceil((last - first + 1) / width)
    return Axis(observable, np.asarray(first - 0.5 + width * np.arange(fine + 1), np.float64))


def _continuous(observable: Observable, pilots: Sequence[FloatArray], bins: int) -> Axis:
    if observable.limits is not None:
        lower, upper = observable.limits
        return _spaced(observable, lower, upper, bins, log=bool(observable.log) and lower > 0)
    low, high = (float(np.quantile(np.concatenate(pilots), share)) for share in (0.05, 0.95))
    if observable.log or (observable.log is None and low > 0 and high / low > LOG_SPAN):
        # Zeros (a layer without energy) have no place on such an axis: they are underflow.
        positive = [values[values > 0] for values in pilots if (values > 0).any()]
        if positive:
            lowest = min(float(np.quantile(values, OUTSIDE)) for values in positive)
            highest = max(float(np.quantile(values, 1 - OUTSIDE)) for values in positive)
            return _spaced(observable, lowest, max(highest, lowest * 1.01), bins, log=True)
    ends = [_range(values) for values in pilots]
    smallest, largest = min(v.min() for v in pilots), max(v.max() for v in pilots)
    lower, upper = min(low for low, _ in ends), max(high for _, high in ends)
    if upper - lower <= 1e-6 * max(abs(lower), abs(upper)):
        # The same for all events of the pilots; another value ends in another bin.
        middle, half = (lower + upper) / 2, 0.005 * max(abs(lower), abs(upper), 1e-3)
        return _spaced(observable, middle - half, middle + half, 10, log=False)
    width = _nice_width((upper - lower) / bins)
    # What lies just beyond the range is not worth an overflow.
    lower = smallest if lower - smallest < 2 * width else lower
    upper = largest if largest - upper < 2 * width else upper
    first, last = math.floor(lower / width + 1e-9), math.ceil(upper / width - 1e-9)
    return _spaced(observable, first * width, last * width, last - first, log=False)


def _range(values: FloatArray) -> tuple[float, float]:
    shares = [OUTSIDE, CUT, 0.25, 0.75, 1 - CUT, 1 - OUTSIDE]
    lowest, low, quarter, threequarters, high, highest = np.quantile(values, shares)
    tail = TAIL * (threequarters - quarter)
    if tail <= 0:
        return float(lowest), float(highest)
    return float(max(lowest, min(low, quarter - tail))), float(min(highest, max(high, threequarters + tail)))


def _spaced(observable: Observable, lower: float, upper: float, bins: int, *, log: bool) -> Axis:
    fine = bins * FINE
    edges = np.geomspace(lower, upper, fine + 1) if log else np.linspace(lower, upper, fine + 1)
    return Axis(observable, edges, FINE, log)


def _nice_width(width: float) -> float:
    """Return a width of 1, 2, 2.5 or 5 times a power of ten near the given one."""
    power = 10.0 ** math.floor(math.log10(width))
    return power * min((1.0, 2.0, 2.5, 5.0, 10.0), key=lambda factor: abs(math.log(factor * power / width)))
