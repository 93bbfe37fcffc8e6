"""True weights of a few candidates, chosen by what a surrogate says of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlgen.sampling import unweighting_efficiency
from mlgen.stages import Candidates, IntArray
from mlgen_unweighting.evaluation import said_errors
from mlgen_unweighting.first_stage import true_weights

FloatArray = npt.NDArray[np.float64]

#: The pilot decides on maxima, which may be any: its random numbers are the same in every run.
_SEED = 2109_11964
_NOTHING = np.zeros(0)


@dataclass(frozen=True, slots=True)
class Pilot:
    """Candidates whose true weights are known, and that stand for all.

    Args:
        surrogate: Weights of the surrogate, ``(k,)``.
        exact: True weights, ``(k,)``.
        error: What the surrogate says of its relative errors, ``(k,)``; zero where it says nothing, or was not asked.
        multiplicity: How many of all candidates each stands for, ``(k,)``, so that sums over these with it are unbiased
            estimates of sums over all.
        number: Place of each among all candidates, from 0, ``(k,)``.
    """

    surrogate: FloatArray
    exact: FloatArray
    error: FloatArray
    multiplicity: FloatArray
    number: IntArray

    def ratio(self, believed: float) -> float:
        """Median over the cross section of true weight over surrogate weight, where the latter is at least `believed`.

        A surrogate may be far too large at a few points, which would spoil any mean. Zero where it is never believed.
        """
        there = self.surrogate >= believed
        return self._median(self.exact[there] / self.surrogate[there], there)

    def modulus_ratio(self) -> float:
        """The same of the moduli, wherever the surrogate is not zero."""
        there = self.surrogate != 0
        return self._median(np.abs(self.exact[there] / self.surrogate[there]), there)

    def mean_error(self) -> float:
        """Mean over the cross section of the relative errors that the surrogate claims; zero where it claims none."""
        said = np.isfinite(self.error) & (self.error > 0)
        return float(np.average(np.where(said, self.error, 0.0), weights=self._cross_section()))

    def _cross_section(self) -> FloatArray:
        return self.multiplicity * np.abs(self.exact)

    def _median(self, values: FloatArray, there: npt.NDArray[np.bool_]) -> float:
        number = self._cross_section()[there]
        if not number.any():
            return 0.0
        order = np.argsort(values)
        sums = np.cumsum(number[order])
        return float(values[order][np.searchsorted(sums, 0.5 * sums[-1])])

    def efficiency(self, overweight_share: float) -> float:
        """Share of the candidates that a hit-or-miss on the true weights would accept."""
        return unweighting_efficiency(self.exact, self.multiplicity, overweight_share)

    def largest_share(self) -> float:
        """Largest true modulus in units of the sum over all candidates."""
        modulus = np.abs(self.exact)
        return float(modulus.max() / math.fsum(modulus * self.multiplicity))

    def spread(self) -> float:
        """Relative standard deviation over the cross section of true weight over surrogate weight; NaN without any."""
        known = self.surrogate > 0
        number = self._cross_section()[known]
        if not number.any():
            return math.nan
        ratio = self.exact[known] / self.surrogate[known]
        mean = np.average(ratio, weights=number)
        return float(np.sqrt(np.average((ratio - mean) ** 2, weights=number)) / abs(mean)) if mean else math.nan


class PilotSample:
    r"""Chooses `size` of a stream of candidates, about in proportion to a size :math:`z_i > 0` of each.

    Priority sampling: with a uniform number :math:`u_i` of each, those with the largest priorities :math:`z_i / u_i`
    are kept, and with the largest priority :math:`\tau` that is not, one of them stands for
    :math:`\max(1, \tau / z_i)` candidates. Memory does not grow with the stream, except for a reference to each batch
    that has a candidate in the sample.

    Args:
        size: Candidates that are kept.

    References:
        Duffield, Lund, Thorup, J. ACM 54, 6 (2007), arXiv:cs/0509026.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._rng = np.random.default_rng(_SEED)
        self._rows = np.empty((0, 6))
        self._threshold = 0.0
        self._batches: dict[int, Candidates] = {}

    def add(
        self,
        index: IntArray,
        surrogate: FloatArray,
        size: FloatArray,
        batch: Candidates,
        before: int,
    ) -> None:
        """Offer candidates of one batch.

        Args:
            index: Their places in the batch, ``(n,)``.
            surrogate: Their weights, ``(n,)``.
            size: What they are chosen in proportion to, ``(n,)``, positive.
            batch: The batch, which knows true weights; its own weights are not kept.
            before: Candidates of earlier batches.
        """
        number = len(self._batches)
        # A uniform number of zero would be an infinite priority.
        priority = size / (1.0 - self._rng.random(len(size)))
        chosen = np.flatnonzero(priority > self._threshold)
        if not len(chosen):
            return
        self._batches[number] = Candidates(_NOTHING, batch.exact_weight, batch.relative_error)
        new = np.stack(
            [
                priority[chosen],
                size[chosen],
                surrogate[chosen],
                np.full(len(chosen), float(number)),
                index[chosen].astype(np.float64),
                index[chosen] + float(before),
            ],
            axis=1,
        )
        rows = np.concatenate([self._rows, new])
        if len(rows) > self._size:
            rows = rows[np.argsort(-rows[:, 0], kind="stable")]
            self._threshold = float(rows[self._size, 0])
            rows = rows[: self._size]
        self._rows = rows

    def evaluated(self, size: int, *, errors: bool = False) -> Pilot:
        """Ask for the true weights of those that were chosen, or of as many with the largest priorities.

        Args:
            size: How many at most.
            errors: Whether the errors that the surrogate claims are asked for, too.

        Raises:
            WeightError: One is not finite, or there are not as many as were asked for.
        """
        rows, threshold = self._rows, self._threshold
        if len(rows) > size:
            rows = rows[np.argsort(-rows[:, 0], kind="stable")]
            rows, threshold = rows[:size], float(rows[size, 0])
        rows = rows[np.argsort(rows[:, 5])]
        exact, error = np.empty(len(rows)), np.zeros(len(rows))
        batches = rows[:, 3].astype(np.int64)
        for number in np.unique(batches):
            own = batches == number
            index, place = rows[own, 4].astype(np.int64), rows[own, 5].astype(np.int64)
            batch = self._batches[int(number)]
            exact[own] = true_weights(batch, index, int(place[0] - index[0]))
            if errors:
                error[own] = said_errors(batch.relative_error, index)
        return Pilot(
            surrogate=rows[:, 2],
            exact=exact,
            error=error,
            multiplicity=np.maximum(1.0, threshold / rows[:, 1]),
            number=rows[:, 5].astype(np.int64),
        )
