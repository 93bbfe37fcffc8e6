"""Where a sample was cut: edges of a distribution at which it does not fade out."""

from __future__ import annotations

import numpy as np

from mlgen.events import FloatArray

#: Share of the events that is looked at next to an edge, and the fewest.
_SHARE, _EVENTS = 0.005, 20
#: The way from the outermost event to the quantile of that share, in units of the way to the next such quantile. One
#: for a distribution that is cut off, and larger for one that fades out: 2.4 for a linear rise, 3 and more for tails.
_SHARPEST = 1.6
#: Spacings that an edge is guessed from, and by which a round number may lie beyond the outermost event.
_SPACINGS, _ROUND = 10, 4.0


def low_edge(values: FloatArray) -> float | None:
    """Return the edge below a sample ``(n,)``, None where it fades out or has too few events to tell.

    A round number just below the smallest value is taken for the cut itself, otherwise the edge lies below it by the
    mean distance of the smallest values. A positive quantity whose smallest value is not far from zero, on the scale of
    the next ones, fades out towards zero.
    """
    count = max(int(_SHARE * len(values)), _EVENTS)
    if len(values) < 4 * count:
        return None
    smallest = np.sort(np.partition(values, 2 * count)[: 2 * count + 1])
    first, second = smallest[count] - smallest[0], smallest[2 * count] - smallest[count]
    if not first < _SHARPEST * second or 0 <= smallest[0] < first:
        return None
    spacing = float(smallest[_SPACINGS] - smallest[0]) / _SPACINGS
    return _round_below(float(smallest[0]), _ROUND * spacing, float(smallest[0]) - spacing)


def high_edge(values: FloatArray) -> float | None:
    """Return the edge above a sample, as `low_edge`."""
    edge = low_edge(-values)
    return None if edge is None else -edge


def _round_below(value: float, reach: float, otherwise: float) -> float:
    if value == 0 or reach <= 0:
        return otherwise
    size = int(np.floor(np.log10(abs(value))))
    for digits in range(4):
        unit = 10.0 ** (size - digits)
        rounded = float(np.floor(value / unit + 1e-9) * unit)
        if value - reach <= rounded <= value:
            return float(np.round(rounded, max(0, digits - size)))
    return otherwise
