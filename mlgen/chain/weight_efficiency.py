"""How well weights could be unweighted, from their distribution alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

#: A bin is 0.12 % wide, so that efficiencies are right to about that.
BINS_PER_DECADE = 2000


@dataclass(frozen=True, slots=True)
class UnweightingEfficiency:
    """What a hit-or-miss unweighting with a certain maximum would do.

    Args:
        maximum_weight: Weight up to which a candidate is unweighted, in pb.
        efficiency: Share of the candidates that is accepted.
        overweight_share: Share of the cross section that is in the excess of weights above the maximum.
    """

    maximum_weight: float
    efficiency: float
    overweight_share: float


class WeightModuli:
    r"""Counts and sums of :math:`|w|` in fine logarithmic bins; the memory does not grow with the sample.

    Attributes:
        count: Weights, zeros included.
        total: Sum of :math:`|w|`.
        squares: Sum of :math:`w^2`.
        largest: Largest :math:`|w|`.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.squares = 0.0
        self.largest = 0.0
        self._keys = np.empty(0, np.int64)
        self._counts = np.empty(0)
        self._sums = np.empty(0)

    def add(self, modulus: FloatArray) -> None:
        """Add finite :math:`|w|`, ``(n,)``."""
        self.count += len(modulus)
        modulus = modulus[modulus > 0]
        if not len(modulus):
            return
        self.total += math.fsum(modulus)
        self.squares += math.fsum(modulus**2)
        self.largest = max(self.largest, float(modulus.max()))
        new = np.floor(np.log10(modulus) * BINS_PER_DECADE).astype(np.int64)
        keys, place = np.unique(np.concatenate([self._keys, new]), return_inverse=True)
        ones = np.ones(len(modulus))
        self._counts = np.asarray(np.bincount(place, np.concatenate([self._counts, ones]), len(keys)), np.float64)
        self._sums = np.asarray(np.bincount(place, np.concatenate([self._sums, modulus]), len(keys)), np.float64)
        self._keys = keys

    def at_largest(self) -> UnweightingEfficiency:
        """Unweighting up to the largest weight: no overweights."""
        if not self.largest:
            return UnweightingEfficiency(0.0, math.nan, math.nan)
        return UnweightingEfficiency(self.largest, self.total / (self.count * self.largest), 0.0)

    def at_overweight_share(self, share: float) -> UnweightingEfficiency:
        r"""Unweighting up to the smallest maximum with :math:`\sum_i \max(0, |w_i| - m) \le s \sum_i |w_i|`.

        Args:
            share: The share s.
        """
        if not self.largest:
            return self.at_largest()
        # Of the weights from each bin upwards.
        sums = np.cumsum(self._sums[::-1])[::-1]
        counts = np.cumsum(self._counts[::-1])[::-1]
        upper = np.minimum(10.0 ** ((self._keys + 1) / BINS_PER_DECADE), self.largest)
        lower = 10.0 ** (self._keys / BINS_PER_DECADE)
        allowed = share * float(sums[0])
        excess = np.append(sums[1:], 0.0) - np.append(counts[1:], 0.0) * upper
        place = int(np.argmax(excess <= allowed))
        # The excess falls linearly while no weight is passed; in the bin itself its edge is near enough.
        maximum = float((sums[place] - allowed) / counts[place])
        beyond = allowed
        if maximum > lower[place]:
            maximum, beyond = float(upper[place]), max(0.0, float(excess[place]))
        accepted = (float(sums[0]) - beyond) / maximum
        return UnweightingEfficiency(maximum, accepted / self.count, beyond / float(sums[0]))
