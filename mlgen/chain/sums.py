"""Means with their errors, and whether independent parts of a sample agree."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlgen.stages import FloatArray, IntArray


@dataclass(slots=True)
class Sums:
    r"""Sums over points of one or several quantities, from which come means and their standard errors.

    Attributes:
        points: Number of points n, zeros included.
        total: :math:`\sum x`, ``(quantities,)``.
        squares: :math:`\sum x^2`, ``(quantities,)``.
    """

    points: int
    total: FloatArray
    squares: FloatArray

    @classmethod
    def of(cls, values: FloatArray) -> Sums:
        """Sum ``(n, quantities)`` or, as one quantity, ``(n,)``."""
        values = values.reshape(len(values), -1)
        return cls(len(values), values.sum(axis=0), (values**2).sum(axis=0))

    @classmethod
    def by_channel(cls, weight: FloatArray, channel: IntArray, channels: int) -> Sums:
        """Sum ``(n,)`` weights apart for each channel; a point counts as zero in all channels but its own."""
        total, squares = (
            np.asarray(np.bincount(channel, values, channels), np.float64) for values in (weight, weight**2)
        )
        return cls(len(weight), total, squares)

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.points + other.points, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> FloatArray:
        """Mean over all points, ``(quantities,)``."""
        return np.asarray(self.total / self.points)

    @property
    def error(self) -> FloatArray:
        r"""Standard error :math:`\sqrt{(\overline{x^2} - \bar x^2) / (n - 1)}` of the mean, ``(quantities,)``.

        Of a single point: the point itself.
        """
        if self.points < 2:
            return np.abs(self.mean)
        variance = np.maximum(self.squares / self.points - self.mean**2, 0.0)
        return np.asarray(np.sqrt(variance / (self.points - 1)))


@dataclass(frozen=True, slots=True)
class Iteration:
    """One of several independent parts of a sample: its points, mean and standard error."""

    points: int
    value: float
    error: float


@dataclass(frozen=True, slots=True)
class Consistency:
    """Whether independent iterations agree: chi^2, degrees of freedom, p-value (NaN without two iterations)."""

    iterations: tuple[Iteration, ...]
    chi_squared: float
    degrees_of_freedom: int
    p_value: float


def consistency(batches: Sequence[Sums], iterations: int) -> Consistency:
    r"""Compare independent parts of a sample with the mean over all of it.

    .. math:: \chi^2 = \sum_k n_k (\bar x_k - \bar x)^2 / s^2

    with the variance s^2 of all points together. The variance of a part is no good weight: a part that missed the
    tail of the distribution has too small a mean and too small a variance, so that a weighted average comes out low.

    Points are taken as independent, in this chi^2 as in the error of a mean. Samplers that draw their channels
    systematically scatter somewhat less than that, so that both are slightly conservative.

    Args:
        batches: One quantity each, in the order in which they came.
        iterations: Number of parts that the batches are joined to, as far as there are as many.
    """
    whole = sum(batches[1:], batches[0])
    cuts = np.linspace(0, len(batches), min(iterations, len(batches)) + 1).astype(int)
    parts = [sum(batches[a + 1 : b], batches[a]) for a, b in itertools.pairwise(cuts)]
    listed = tuple(Iteration(part.points, float(part.mean[0]), float(part.error[0])) for part in parts)
    variance = float(whole.error[0]) ** 2 * whole.points
    freedom = len(parts) - 1
    if freedom < 1 or variance == 0:
        return Consistency(listed, math.nan, freedom, math.nan)
    from scipy.stats import chi2

    mean = float(whole.mean[0])
    chi_squared = sum(part.points * (part.value - mean) ** 2 for part in listed) / variance
    return Consistency(listed, chi_squared, freedom, float(chi2.sf(chi_squared, freedom)))
