"""Coordinates <-> numbers that are distributed like a standard normal."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Self

import numpy as np

from mlgen.events import FloatArray

UNIFORM_KNOTS = 500
TAIL_KNOTS = 200
#: How far beyond the outermost event the ends of the range lie, in standard deviations: far enough that almost no
#: normal number falls outside, near enough that the outermost events are no outliers.
END_DISTANCE = 1.0


@dataclass(frozen=True)
class QuantileTransform:
    """Map each coordinate to a standard normal by its empirical distribution function.

    Piecewise linear between weighted quantiles of the training events, so that every edge and peak of a
    one-dimensional distribution stays where it is. It does not extrapolate: what comes back never leaves the range
    of the training events.

    Args:
        normal: Normal quantile of each knot, ascending, shape ``(knots,)``.
        values: Value of each coordinate there, ascending, shape ``(coordinates, knots)``. Equal neighbours are a
            value that many events share.
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
        normal = _knots(len(values))
        cumulative = np.array([NormalDist().cdf(knot) for knot in normal])
        columns = [_weighted_quantiles(column, weight, cumulative) for column in values.T]
        return cls(normal, np.array(columns).reshape(values.shape[1], len(normal)))

    def forward(self, values: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Normal numbers of coordinates ``(n, coordinates)``, same shape.

        Args:
            values: Coordinates; those outside the range count as its end.
            rng: Spreads events that share a value over the interval that belongs to it.
        """
        result = np.empty_like(values)
        for column, knots in enumerate(self.values):
            low, high = self._interval(values[:, column], knots)
            result[:, column] = low + (high - low) * rng.random(len(values))
        return result

    def _interval(self, values: FloatArray, knots: FloatArray) -> tuple[FloatArray, FloatArray]:
        inside = np.clip(values, knots[0], knots[-1])
        left, right = np.searchsorted(knots, inside, "left"), np.searchsorted(knots, inside, "right")
        between = np.interp(inside, knots, self.normal)
        shared = right - left > 1
        return np.where(shared, self.normal[left], between), np.where(shared, self.normal[right - 1], between)

    def inverse(self, normal: FloatArray) -> FloatArray:
        """Coordinates of normal numbers ``(n, coordinates)``, same shape."""
        columns = zip(normal.T, self.values, strict=True)
        return np.stack([np.interp(column, self.normal, knots) for column, knots in columns], axis=1)


def _knots(events: int) -> FloatArray:
    """Normal quantiles of the knots: even steps of probability, and even steps of the normal variable for the tails."""
    edge = NormalDist().inv_cdf(1.0 / max(events, 4))
    even = [NormalDist().inv_cdf((i + 0.5) / UNIFORM_KNOTS) for i in range(UNIFORM_KNOTS)]
    inner = np.concatenate([np.clip(even, edge, -edge), np.linspace(edge, -edge, TAIL_KNOTS)])
    return np.unique(np.concatenate([[edge - END_DISTANCE], inner, [END_DISTANCE - edge]]))


def _weighted_quantiles(values: FloatArray, weight: FloatArray, cumulative: FloatArray) -> FloatArray:
    order = np.argsort(values, kind="stable")
    ordered, weights = values[order], weight[order] / weight.sum()
    middle = np.cumsum(weights) - weights / 2
    # Negative weights let the sum fall here and there: the mean of the monotone curves above and below it.
    above, below = np.maximum.accumulate(middle), np.minimum.accumulate(middle[::-1])[::-1]
    knots = np.interp(cumulative, (above + below) / 2, ordered)
    knots[0], knots[-1] = ordered[0], ordered[-1]
    return np.asarray(np.maximum.accumulate(knots), np.float64)
