"""Coordinates <-> numbers that are distributed like a standard normal, one coordinate at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.interpolate import CubicHermiteSpline, PchipInterpolator
from scipy.special import ndtr, ndtri

from mlgen.events import FloatArray

#: Fewest and most knots of a map, and events for each: fewer knots than events can place would follow their noise.
FEWEST_KNOTS, MOST_KNOTS = 6, 40
EVENTS_PER_KNOT = 60
#: Events beyond the outermost knot. The map goes on as a straight line from there.
EVENTS_BEYOND = 5.0
#: Smallest distance of two knots, relative to the range of the coordinate: a value that many events share stays one.
SMALLEST_STEP = 1e-7
#: The table that they start from is good to four digits, and each step doubles the digits.
_NEWTON_STEPS = 6


@dataclass(frozen=True)
class NormalMarginals:
    """Map each coordinate to a standard normal by a smooth version of its empirical distribution function.

    A monotone cubic through a few weighted quantiles, evenly spaced in the normal number, and straight lines beyond
    the outermost: smoother than the events' own noise, so that what a network learns on top is not a copy of it.

    Args:
        normal: Normal quantile of each knot, ascending, shape ``(knots,)``.
        values: Value of each coordinate there, ascending, shape ``(coordinates, knots)``.

    References:
        Fritsch and Butland, SIAM J. Sci. Stat. Comput. 5, 300 (1984), for the monotone cubic.
    """

    normal: FloatArray
    values: FloatArray

    @classmethod
    def fit(cls, values: FloatArray, weight: FloatArray) -> Self:
        """Take the knots from events.

        Args:
            values: Shape ``(n, coordinates)``.
            weight: Signed weights, shape ``(n,)``, of positive sum.
        """
        events = max(float(weight.sum() ** 2 / np.square(weight).sum()), 4.0)
        edge = -float(ndtri(min(0.25, EVENTS_BEYOND / events)))
        normal = np.linspace(-edge, edge, int(np.clip(events / EVENTS_PER_KNOT, FEWEST_KNOTS, MOST_KNOTS)))
        cumulative = ndtr(normal)
        columns = [_increasing(weighted_quantiles(column, weight, cumulative), np.ptp(column)) for column in values.T]
        return cls(normal, np.array(columns, np.float64).reshape(values.shape[1], len(normal)))

    def forward(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Normal numbers of coordinates ``(n, coordinates)``, and the log of the map's derivative, summed ``(n,)``."""
        result, logarithm = np.empty(values.shape), np.zeros(len(values))
        for column, knots in enumerate(self.values):
            inner = _monotone(self.normal, knots)
            inverse = _inverse_table(inner, self.normal)
            result[:, column] = _solve(inner, inverse, values[:, column], self.normal, knots)
            logarithm -= np.log(_slope(inner, result[:, column], self.normal))
        return result, logarithm

    def inverse(self, normal: FloatArray) -> FloatArray:
        """Coordinates of normal numbers ``(n, coordinates)``, same shape."""
        result = np.empty(normal.shape)
        for column, knots in enumerate(self.values):
            inner = _monotone(self.normal, knots)
            inside = np.clip(normal[:, column], self.normal[0], self.normal[-1])
            beyond = normal[:, column] - inside
            result[:, column] = inner(inside) + beyond * _slope(inner, normal[:, column], self.normal)
        return result


def weighted_quantiles(values: FloatArray, weight: FloatArray, cumulative: FloatArray) -> FloatArray:
    """Values at the given shares of the total weight, ``(k,)``, not descending; weights may be negative."""
    order = np.argsort(values, kind="stable")
    ordered, weights = values[order], weight[order] / weight.sum()
    middle = np.cumsum(weights) - weights / 2
    # Negative weights let the sum fall here and there: the mean of the monotone curves above and below it.
    above, below = np.maximum.accumulate(middle), np.minimum.accumulate(middle[::-1])[::-1]
    knots = np.interp(cumulative, (above + below) / 2, ordered)
    return np.asarray(np.maximum.accumulate(knots), np.float64)


def _increasing(knots: FloatArray, spread: float) -> FloatArray:
    step = SMALLEST_STEP * (spread if spread > 0 else 1.0)
    return np.asarray(np.maximum.accumulate(knots) + step * np.arange(len(knots)))


def _monotone(normal: FloatArray, knots: FloatArray) -> CubicHermiteSpline:
    """A monotone cubic, with the slope of the outermost intervals at its ends: where straight lines go on."""
    derivative = PchipInterpolator(normal, knots).derivative()(normal)
    secants = np.diff(knots) / np.diff(normal)
    derivative[0], derivative[-1] = secants[0], secants[-1]
    return CubicHermiteSpline(normal, knots, derivative)


def _slope(inner: CubicHermiteSpline, normal: FloatArray, knots: FloatArray) -> FloatArray:
    """Return the derivative of the coordinate by the normal number; beyond the knots that of the outermost interval."""
    inside = inner.derivative()(normal)
    edges = inner(knots[[0, 1, -2, -1]])
    first, last = (edges[1] - edges[0]) / (knots[1] - knots[0]), (edges[3] - edges[2]) / (knots[-1] - knots[-2])
    # Where the cubic is flat, its derivative is what rounding leaves.
    inside = np.maximum(inside, 1e-9 * np.ptp(edges) / np.ptp(knots))
    return np.asarray(np.where(normal < knots[0], first, np.where(normal > knots[-1], last, inside)), np.float64)


def _inverse_table(inner: CubicHermiteSpline, normal: FloatArray, points: int = 20) -> tuple[FloatArray, FloatArray]:
    fine = np.linspace(normal[0], normal[-1], points * len(normal))
    return np.maximum.accumulate(inner(fine)), fine


def _solve(
    inner: CubicHermiteSpline,
    table: tuple[FloatArray, FloatArray],
    values: FloatArray,
    normal: FloatArray,
    knots: FloatArray,
) -> FloatArray:
    """Invert the monotone cubic: Newton steps from a table, kept within the table's cell by bisection."""
    inside = np.clip(values, knots[0], knots[-1])
    cell = np.clip(np.searchsorted(table[0], inside, "right"), 1, len(table[0]) - 1)
    low, high = table[1][cell - 1].copy(), table[1][cell].copy()
    guess = np.interp(inside, *table)
    derivative = inner.derivative()
    for _ in range(_NEWTON_STEPS):
        error = inner(guess) - inside
        low, high = np.where(error < 0, guess, low), np.where(error > 0, guess, high)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = guess - error / derivative(guess)
        # Written so that a step that is no number is no step.
        better = np.where((step >= low) & (step <= high), step, 0.5 * (low + high))
        guess = np.where(error == 0, guess, better)
    outermost = _slope(inner, np.array([normal[0] - 1, normal[-1] + 1]), normal)
    slope = np.where(values < inside, outermost[0], outermost[1])
    return np.asarray(guess + (values - inside) / slope, np.float64)
