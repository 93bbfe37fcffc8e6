"""How a stream of weights is distributed, in memory that does not grow with the stream."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

#: A bin is the exponent of a double and the first 10 of the 52 bits of its mantissa.
_LOW_BITS = 42
#: The lower bits are summed in two halves, so that 64-bit integers hold the sums of 2^42 weights.
_HALF_BITS = 21
_HALF_MASK = (1 << _HALF_BITS) - 1


class WeightHistogram:
    r"""Counts and exact sums of :math:`|w|` in logarithmic bins.

    A bin holds all doubles that agree in their exponent and in the first 10 bits of their mantissa, so that its width
    is at most :math:`2^{-10} < 10^{-3}` of its lower edge, over the whole range of normal doubles. (Below 2.2e-308
    the width is constant, 2.2e-311.) Only bins that are occupied are kept; there can be no more than two million.

    Within a bin the weights differ only in their lower 42 bits, which are summed as integers: the sums are exact and
    do not depend on the order or on the batches in which the weights came.

    Args:
        edge: One more edge, not negative, in the unit of the weights; it parts the bin that it lies in.
    """

    def __init__(self, edge: float = 0.0) -> None:
        self.edge = edge
        self.count = 0
        self.zeros = 0
        self.largest = 0.0
        # Twice the upper bits, and one more for weights from `edge` upwards.
        self._keys = np.empty(0, np.int64)
        # One row for each bin: count, sum of the upper half of the low bits, sum of the lower half.
        self._sums = np.empty((0, 3), np.int64)

    def add(self, magnitudes: FloatArray) -> None:
        """Add finite weights that are not negative, shape ``(n,)``."""
        self.count += len(magnitudes)
        occupied = np.ascontiguousarray(magnitudes[magnitudes > 0], np.float64)
        self.zeros += len(magnitudes) - len(occupied)
        if len(occupied) == 0:
            return
        self.largest = max(self.largest, float(occupied.max()))
        bits = occupied.view(np.int64)
        low = bits & ((1 << _LOW_BITS) - 1)
        rows = np.stack([np.ones_like(low), low >> _HALF_BITS, low & _HALF_MASK], axis=1)
        keys = np.concatenate([self._keys, (bits >> _LOW_BITS << 1) + (occupied >= self.edge)])
        rows = np.concatenate([self._sums, rows])
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        self._keys = keys[starts]
        self._sums = np.add.reduceat(rows[order], starts, axis=0)

    @property
    def lower_edges(self) -> FloatArray:
        """Smallest weight of each occupied bin, ascending, ``(bins,)``."""
        return np.where(self._keys & 1, np.maximum(self._bases, self.edge), self._bases)

    @property
    def upper_edges(self) -> FloatArray:
        """Upper edge of each occupied bin, ``(bins,)``; the last one is the largest weight itself."""
        edges = _as_float(((self._keys >> 1) + 1) << _LOW_BITS)
        edges = np.where(self._keys & 1, edges, np.minimum(edges, self.edge))
        return np.minimum(edges, self.largest)

    @property
    def _bases(self) -> FloatArray:
        """The doubles whose lower bits are all zero, one for each occupied bin; an extra edge does not count."""
        return _as_float(self._keys >> 1 << _LOW_BITS)

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Weights in each occupied bin, ``(bins,)``."""
        return np.asarray(self._sums[:, 0])

    def relative_sums(self) -> FloatArray:
        """Sum of the weights in each occupied bin, ``(bins,)``, in units of the largest weight.

        In that unit no sum can overflow.
        """
        edges = self._bases
        low = self._sums[:, 1] * float(1 << _HALF_BITS) + self._sums[:, 2]
        return self.counts * (edges / self.largest) + low * (np.spacing(edges) / self.largest)

    def mean_below(self, maximum: float) -> float:
        r"""Return :math:`\frac{1}{N} \sum_i \min(|w_i|, w_\mathrm{max})` over all weights, zeros too.

        Args:
            maximum: Must not lie inside an occupied bin, so that the sum is exact; the largest weight may.
        """
        maximum = min(maximum, self.largest)
        above = self.lower_edges >= maximum
        below = math.fsum(self.relative_sums()[~above])
        total = below + float(self.counts[above].sum()) * (maximum / self.largest)
        return total / self.count * self.largest

    def mean(self) -> float:
        r"""Return the mean of :math:`|w|` over all weights, zeros too."""
        return math.fsum(self.relative_sums()) / self.count * self.largest


def _as_float(bits: npt.NDArray[Any]) -> FloatArray:
    return np.ascontiguousarray(bits, np.int64).view(np.float64)
