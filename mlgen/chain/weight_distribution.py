"""The distribution of the candidates' weights, gathered while the maximum is looked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mlgen.report.weights import BySign

FloatArray = npt.NDArray[np.float64]

#: Bins of a factor of ten in |w|.
BINS_PER_DECADE = 20


@dataclass(slots=True)
class WeightDistribution:
    """Counts of weights in logarithmic bins of the modulus, by sign. Its memory does not grow with the sample.

    Attributes:
        positive: Events by bin; bin k holds ``10**(k / 20) <= |w| < 10**((k + 1) / 20)``.
        negative: Likewise.
        zero: Events of weight zero.
    """

    positive: Counter[int] = field(default_factory=Counter)
    negative: Counter[int] = field(default_factory=Counter)
    zero: int = 0

    def add(self, weight: FloatArray) -> None:
        """Count weights, ``(n,)``; those that are not finite are left to the unweighting to refuse."""
        weight = weight[np.isfinite(weight)]
        for counter, values in ((self.positive, weight[weight > 0]), (self.negative, -weight[weight < 0])):
            bins, counts = np.unique(np.floor(np.log10(values) * BINS_PER_DECADE), return_counts=True)
            counter.update(dict(zip(bins.astype(int).tolist(), counts.tolist(), strict=True)))
        self.zero += int((weight == 0).sum())

    def histograms(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Edges of the bins that are needed ``(bins + 1,)``, and the counts of positive and negative weights."""
        edges, (positive, negative), _ = self.histograms_beside(WeightDistribution())
        return edges, positive, negative

    def histograms_beside(self, other: WeightDistribution) -> tuple[FloatArray, BySign, BySign]:
        """As `histograms`, in the bins that this distribution or another needs: edges, this one's counts, the other's.

        Bins of the same number are the same bins, so nothing is binned anew.
        """
        used = self.positive.keys() | self.negative.keys() | other.positive.keys() | other.negative.keys()
        if not used:
            nothing = (np.zeros(0), np.zeros(0))
            return np.ones(1), nothing, nothing
        bins = range(min(used), max(used) + 1)
        edges = 10.0 ** (np.arange(bins.start, bins.stop + 1) / BINS_PER_DECADE)
        return edges, self._counts(bins), other._counts(bins)

    def _counts(self, bins: range) -> BySign:
        positive, negative = (np.array([float(c[number]) for number in bins]) for c in (self.positive, self.negative))
        return positive, negative
