"""Coordinates <-> numbers that are distributed like a standard normal, one coordinate at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import ndtr, ndtri

from mlgen.events import FloatArray

#: Fewest and most knots of a map, and events for each: fewer knots than events can place would follow their noise.
FEWEST_KNOTS, MOST_KNOTS = 6, 40
EVENTS_PER_KNOT = 60
#: Events beyond the outermost knot. The map goes on as a straight line from there.
EVENTS_BEYOND = 5.0
#: Smallest distance of two knots, relative to the range of the coordinate (at least the second number times its size,
#: so that rounding does not matter): a value that many events share stays one.
SMALLEST_STEP, _SMALLEST_RANGE = 1e-9, 1e-3
#: Distance of two knots, relative to that of the outermost, at which they are one value.
_SHARED = 1e-5
#: Standard deviations next to the outermost knots that the slope beyond them is taken from.
_END = 0.5


@dataclass(frozen=True)
class NormalMarginals:
    """Map each coordinate to a standard normal by a smooth version of its empirical distribution function.

    Monotone rational pieces between a few weighted quantiles, evenly spaced in the normal number, and straight lines
    beyond the outermost: smoother than the events' own noise, so that what a network learns on top is not a copy of it.
    The pieces have an inverse in closed form.

    Args:
        normal: Normal quantile of each knot, ascending, shape ``(knots,)``.
        values: Value of each coordinate there, ascending, shape ``(coordinates, knots)``.

    References:
        Gregory and Delbourgo, IMA J. Numer. Anal. 2, 123 (1982), for the pieces; Fritsch and Butland, SIAM J. Sci.
        Stat. Comput. 5, 300 (1984), for their slopes at the knots.
    """

    normal: FloatArray
    values: FloatArray

    @classmethod
    def fit(cls, values: FloatArray, weight: FloatArray, copies: int = 1) -> Self:
        """Take the knots from events.

        Args:
            values: Shape ``(n, coordinates)``.
            weight: Signed weights, shape ``(n,)``, of positive sum.
            copies: How many mirror images of each event are among them: they do not make the ends better known.
        """
        events = max(float(weight.sum() ** 2 / np.square(weight).sum()) / copies, 4.0)
        edge = -float(ndtri(min(0.25, EVENTS_BEYOND / events)))
        normal = np.linspace(-edge, edge, int(np.clip(events / EVENTS_PER_KNOT, FEWEST_KNOTS, MOST_KNOTS)))
        cumulative = ndtr(normal)
        columns = [_increasing(weighted_quantiles(column, weight, cumulative), column) for column in values.T]
        return cls(normal, np.array(columns, np.float64).reshape(values.shape[1], len(normal)))

    def forward(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Normal numbers of coordinates ``(n, coordinates)``, and the log of the map's derivative, summed ``(n,)``."""
        result, logarithm = np.empty(values.shape), np.zeros(len(values))
        for column, knots in enumerate(self.values):
            pieces = _Pieces(self.normal, knots)
            result[:, column], slope = pieces.normal_of(values[:, column])
            logarithm -= np.log(slope)
        return result, logarithm

    def spread(self, values: FloatArray, rng: np.random.Generator) -> None:
        """Spread a value that many events share over the normal numbers that it stands for, in place.

        Left where it is, it would be a peak without a width, which no density can follow. What is spread reads back as
        the same value, up to a few `SMALLEST_STEP`.

        Args:
            values: Coordinates, ``(n, coordinates)``.
            rng: Draws the places.
        """
        for column, knots in enumerate(self.values):
            for first, last in _shared_values(knots):
                shared = (values[:, column] >= knots[first]) & (values[:, column] <= knots[last])
                low, high = ndtr(self.normal[[first, last]])
                drawn = ndtri(rng.uniform(low, high, int(shared.sum())))
                values[shared, column] = _Pieces(self.normal, knots).value_of(drawn)

    def inverse(self, normal: FloatArray) -> FloatArray:
        """Coordinates of normal numbers ``(n, coordinates)``, same shape."""
        result = np.empty(normal.shape)
        for column, knots in enumerate(self.values):
            result[:, column] = _Pieces(self.normal, knots).value_of(normal[:, column])
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


def _increasing(knots: FloatArray, values: FloatArray) -> FloatArray:
    size = max(float(np.abs(values).max()), 1.0)
    step = SMALLEST_STEP * max(float(np.ptp(values)), _SMALLEST_RANGE * size)
    result = knots.copy()
    for k in range(1, len(knots)):
        result[k] = max(knots[k], result[k - 1] + step)
    return result


def _shared_values(knots: FloatArray) -> list[tuple[int, int]]:
    """First and last knot of each value that has more than one: these lie one `SMALLEST_STEP` apart."""
    distance = np.diff(knots)
    size = max(float(np.abs(knots).max()), 1.0)
    constant = np.ptp(knots) <= 2 * len(knots) * SMALLEST_STEP * _SMALLEST_RANGE * size
    if not constant and distance.min() > _SHARED * np.ptp(knots):
        return []
    close = np.concatenate([[False], distance <= 1.5 * distance.min(), [False]])
    first, last = np.flatnonzero(~close[:-1] & close[1:]), np.flatnonzero(close[:-1] & ~close[1:])
    return list(zip(first.tolist(), last.tolist(), strict=True))


class _Pieces:
    r"""The map of one coordinate: rational quadratic functions between knots.

    With :math:`\xi` and :math:`\eta` the shares of an interval's widths in the normal number and in the coordinate, and
    :math:`r_0, r_1` the slopes at its ends in units of its mean one,

    .. math:: \eta = \frac{\xi^2 + r_0 \xi (1 - \xi)}{1 + (r_0 + r_1 - 2) \xi (1 - \xi)} .
    """

    def __init__(self, normal: FloatArray, knots: FloatArray) -> None:
        self.normal, self.knots = normal, knots
        self.width, self.height = np.diff(normal), np.diff(knots)
        self.mean_slope = self.height / self.width
        slope = PchipInterpolator(normal, knots).derivative()(normal)
        # Straight lines go on from the ends, with the slope of what lies next to them: of more than the few events of
        # the outermost interval.
        near = min(int(np.ceil(_END / self.width[0])), len(self.width))
        slope[0] = (knots[near] - knots[0]) / (normal[near] - normal[0])
        slope[-1] = (knots[-1] - knots[-1 - near]) / (normal[-1] - normal[-1 - near])
        self.before, self.beyond = slope[0], slope[-1]
        self.first, self.last = slope[:-1] / self.mean_slope, slope[1:] / self.mean_slope

    def normal_of(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Normal numbers of values ``(n,)``, and the derivative of the value by the normal number."""
        inside = np.clip(values, self.knots[0], self.knots[-1])
        k = np.clip(np.searchsorted(self.knots, inside, "right") - 1, 0, len(self.height) - 1)
        share = (inside - self.knots[k]) / self.height[k]
        first, last = self.first[k], self.last[k]
        bend = share * (first + last - 2)
        linear = first - bend
        root = linear + np.sqrt(np.maximum(linear**2 + 4 * share * (1 - first + bend), 0.0))
        place = np.clip(2 * share / np.where(root > 0, root, 1.0), 0.0, 1.0)
        mean = self.mean_slope[k]
        outer = np.where(values < inside, self.before, self.beyond)
        normal = self.normal[k] + self.width[k] * place + (values - inside) / outer
        other = place * (1 - place)
        slope = (last * place**2 + 2 * other + first * (1 - place) ** 2) / (1 + (first + last - 2) * other) ** 2
        return np.asarray(normal), np.asarray(mean * slope)

    def value_of(self, normal: FloatArray) -> FloatArray:
        """Values of normal numbers ``(n,)``."""
        inside = np.clip(normal, self.normal[0], self.normal[-1])
        k = np.clip(np.searchsorted(self.normal, inside, "right") - 1, 0, len(self.width) - 1)
        place = (inside - self.normal[k]) / self.width[k]
        first, other = self.first[k], place * (1 - place)
        share = (place**2 + first * other) / (1 + (first + self.last[k] - 2) * other)
        outer = np.where(normal < inside, self.before, self.beyond)
        return np.asarray(self.knots[k] + self.height[k] * share + (normal - inside) * outer)
