"""Bins as they are drawn, with under- and overflow beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgen.validation.observable import FloatArray, IntArray, Kind, Observable
from mlgen.validation.record import Histogram

if TYPE_CHECKING:
    import hist

#: Width of the columns for under- and overflow and of the gap before them, as fractions of the range.
_COLUMN, _GAP = 0.045, 0.012
#: Categories that are drawn; the least frequent beyond them are put together.
MOST_CATEGORIES = 32


@dataclass(frozen=True, slots=True)
class Content:
    """What is drawn of one histogram: NaN in the gaps before under- and overflow.

    Args:
        values: Heights of the bins.
        errors: Their standard errors.
        band: Lower and upper end of the band of the named weights, or None.
    """

    values: FloatArray
    errors: FloatArray
    band: FloatArray | None


@dataclass(frozen=True, slots=True)
class Bins:
    """The bins as they are drawn.

    Under- and overflow have columns of their own at the ends, as high as if they filled one more bin that is as wide
    as the last one.

    Args:
        edges: Of the bins of the histogram.
        drawn: The same with the gaps and the columns, whichever there are.
        width: What the content of each bin is divided by; 1 where shares are drawn.
        log: Whether the axis is logarithmic.
        underflow: Whether there is a column for the underflow.
        overflow: Whether there is one for the overflow.
        categories: Their names, empty for numbers.
        order: The categories' old bins, the last group of them put together; None when nothing was.
    """

    edges: FloatArray
    drawn: FloatArray
    width: FloatArray
    log: bool
    underflow: bool
    overflow: bool
    categories: tuple[str, ...] = ()
    order: tuple[IntArray, IntArray] | None = None

    @classmethod
    def of(cls, edges: FloatArray, observable: Observable, histograms: Sequence[Histogram], log: bool) -> Bins:
        """Choose what is drawn for these histograms."""
        edges = np.asarray(edges, dtype=float)
        log = log and bool(edges[0] > 0)
        categories, order = observable.categories, None
        if observable.kind is not Kind.CATEGORY or len(categories) != len(edges) - 1:
            categories = ()
        if len(categories) > MOST_CATEGORIES:
            largest = np.max([np.abs(histogram.values) for histogram in histograms], axis=0)
            ranked = np.argsort(-largest, kind="stable")
            kept, rest = np.sort(ranked[: MOST_CATEGORIES - 1]), np.sort(ranked[MOST_CATEGORIES - 1 :])
            categories, order = (*(categories[i] for i in kept), f"{len(rest)} others"), (kept, rest)
            edges = np.arange(MOST_CATEGORIES + 1, dtype=float) - 0.5
        underflow = any(histogram.underflow != (0.0, 0.0) for histogram in histograms)
        overflow = any(histogram.overflow != (0.0, 0.0) for histogram in histograms)
        low, high = (math.log(edges[0]), math.log(edges[-1])) if log else (edges[0], edges[-1])
        gap, column = _GAP * (high - low), (_GAP + _COLUMN) * (high - low)
        ends = np.array([low - column, low - gap, high + gap, high + column])
        if log:
            ends = np.exp(ends)
        drawn = np.concatenate([ends[:2] if underflow else [], edges, ends[2:] if overflow else []])
        width = np.diff(edges) if observable.kind is Kind.CONTINUOUS else np.ones(len(edges) - 1)
        return cls(edges, drawn, width, log, underflow, overflow, categories, order)

    @property
    def centres(self) -> FloatArray:
        """Centres of the drawn bins, on the axis's scale."""
        return self.inside(0.5)

    @property
    def widths(self) -> FloatArray:
        """What the content of each drawn bin is divided by; NaN in the gaps."""
        return self._pad(self.width, self.width[0], self.width[-1])

    def inside(self, fraction: float) -> FloatArray:
        """Points that lie so far into each drawn bin."""
        lower, upper = self.drawn[:-1], self.drawn[1:]
        if self.log:
            return np.asarray(lower ** (1 - fraction) * upper**fraction)
        return np.asarray(lower + fraction * (upper - lower))

    def content(self, histogram: Histogram) -> Content:
        """Heights of a histogram's bins."""
        width = self.widths
        values = self._pad(self._merge(histogram.values), histogram.underflow[0], histogram.overflow[0])
        variances = self._pad(self._merge(histogram.variances), histogram.underflow[1], histogram.overflow[1])
        band = None
        if histogram.band is not None:
            nan = np.nan
            band = np.stack([self._pad(self._merge(end), nan, nan) / width for end in np.asarray(histogram.band)])
        return Content(values / width, np.sqrt(np.maximum(variances, 0)) / width, band)

    def hist(self, values: FloatArray, errors: FloatArray) -> hist.Hist[Any]:
        """What is drawn, as a histogram without flow bins."""
        import hist

        axis = hist.axis.Variable(self.drawn, underflow=False, overflow=False)
        drawn = hist.Hist(axis, storage=hist.storage.Weight())
        view: Any = drawn.view()
        view.value, view.variance = values, errors**2
        return drawn

    def _merge(self, values: FloatArray) -> FloatArray:
        if self.order is None:
            return np.asarray(values, dtype=float)
        kept, rest = self.order
        return np.append(np.asarray(values)[kept], np.asarray(values)[rest].sum())

    def _pad(self, values: FloatArray, under: float, over: float) -> FloatArray:
        left, right = [under, np.nan] if self.underflow else [], [np.nan, over] if self.overflow else []
        return np.concatenate([left, values, right])
