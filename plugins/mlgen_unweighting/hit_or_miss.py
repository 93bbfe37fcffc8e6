"""Hit-or-miss unweighting."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mlgen.errors import ModelError, WeightError
from mlgen.stages import Candidates, Settings, State, Unweighted, Unweighter, UnweightingReport
from mlgen_unweighting.settings import HitOrMissSettings
from mlgen_unweighting.weight_histogram import WeightHistogram

FloatArray = npt.NDArray[np.float64]

#: A weight dominates when it alone is more than this share of sum |w|, and this many times the mean |w|.
_DOMINATING_SHARE = 0.1
_DOMINATING_RATIO = 10.0


class HitOrMiss(Unweighter):
    r"""Accept a candidate of weight :math:`w` with probability :math:`\min(1, |w| / w_\mathrm{max})`.

    An accepted event gets the weight

    .. math:: w' = \operatorname{sign}(w) \max(1, |w| / w_\mathrm{max}) \, u, \qquad
              u = \frac{1}{N} \sum_i \min(|w_i|, w_\mathrm{max}),

    so that it keeps its sign, and its excess where it is an overweight. Whatever :math:`w_\mathrm{max}` is, the
    sample is unbiased: probability times new weight is :math:`(w / w_\mathrm{max}) u` for every candidate. The unit
    :math:`u` makes the *average* over accepted events estimate what the average over candidates does, the cross
    section (IDWTUP 3 and 4 of hep-ph/0109068): the expected sum of the new weights is
    :math:`u \sum_i w_i / w_\mathrm{max}`, the expected number accepted is
    :math:`\sum_i \min(1, |w_i| / w_\mathrm{max}) = N u / w_\mathrm{max}`, and their ratio is
    :math:`\frac{1}{N} \sum_i w_i`. Without overweights and negative weights, :math:`u` is that mean weight itself.

    All this takes the true weight of every candidate: where `Candidates.exact_weight` is there, it is asked for all
    of them, and the surrogate's weights are not looked at.

    The choice of :math:`w_\mathrm{max}` (`HitOrMissSettings`) needs one pass, in memory that does not grow with it;
    ``quantile`` and ``overweight-share`` are resolved to 1e-3 of :math:`w_\mathrm{max}`, never below what was asked
    for, and :math:`u` is exact for the :math:`w_\mathrm{max}` that is used (`WeightHistogram`).

    Args:
        settings: How the maximum is chosen.

    References:
        Gao et al., Phys. Rev. D 101, 076002 (2020), arXiv:2001.10028;
        Danziger et al., SciPost Phys. 12, 164 (2022), arXiv:2109.11964, sec. 2.
    """

    settings: HitOrMissSettings

    def __init__(self, settings: HitOrMissSettings) -> None:
        super().__init__(settings)
        self._maximum = math.nan
        self._unit = math.nan
        self._largest_share = 0.0
        self._largest_ratio = 1.0
        self._start_counting()

    def _start_counting(self) -> None:
        self._candidates = 0
        self._accepted = 0
        self._negative = 0
        self._overweight = 0
        self._largest_overweight = 0.0
        # Sums over accepted events, in units of `unit`: of |w'|, of its excess over 1, of w' and of w'^2.
        self._sums = np.zeros(4)

    @property
    def prepared(self) -> bool:
        """Whether the maximum is known."""
        return math.isfinite(self._maximum)

    def prepare(self, candidates: Iterable[Candidates]) -> None:
        """Choose the maximum from all candidates' true weights, and start counting anew.

        Args:
            candidates: Batches of candidates; gone through once.

        Raises:
            WeightError: There are none, all are zero, or one is not finite (the first is named, counted from 1).
        """
        histogram = WeightHistogram()
        for batch in candidates:
            histogram.add(np.abs(_checked(batch, histogram.count)))
        if histogram.count == 0:
            raise WeightError("there are no candidates to unweight; one or more weighted events are expected")
        if histogram.largest == 0:
            raise WeightError(
                f"all {histogram.count} candidates have weight 0, so that none could be accepted; "
                "check the cuts and the matrix element that made them"
            )
        self._maximum = self._chosen_maximum(histogram)
        self._unit = histogram.mean_below(self._maximum)
        self._largest_ratio = histogram.largest / histogram.mean()
        self._largest_share = self._largest_ratio / histogram.count
        self._start_counting()

    def _chosen_maximum(self, histogram: WeightHistogram) -> float:
        if self.settings.maximum == "quantile":
            return _maximum_at_quantile(histogram, self.settings.quantile)
        if self.settings.maximum == "overweight-share":
            return _maximum_at_share(histogram, self.settings.overweight_share)
        return histogram.largest

    def unweight(self, candidates: Candidates, rng: np.random.Generator) -> Unweighted:
        r"""Accept each candidate with probability :math:`\min(1, |w| / w_\mathrm{max})`.

        A candidate of weight 0 is never accepted. A weight may exceed those that `prepare` saw.

        Args:
            candidates: One batch of ``n`` candidates.
            rng: Source of exactly ``n`` uniform numbers, one for each candidate.

        Raises:
            WeightError: `prepare` was not called, or a weight is not finite (the first is named, counted from 1
                over all batches).
        """
        if not self.prepared:
            raise WeightError("hit-or-miss has no maximum weight yet: prepare() has to see the candidates first")
        weights = _checked(candidates, self._candidates)
        ratio = np.abs(weights) / self._maximum
        index = np.flatnonzero(rng.random(len(weights)) < ratio)
        factor = np.copysign(np.maximum(ratio[index], 1.0), weights[index])
        self._count(ratio, factor)
        return Unweighted(index, factor * self._unit)

    def _count(self, ratio: FloatArray, factor: FloatArray) -> None:
        size = np.abs(factor)
        self._candidates += len(ratio)
        self._accepted += len(factor)
        self._negative += int(np.count_nonzero(factor < 0))
        self._overweight += int(np.count_nonzero(size > 1))
        self._largest_overweight = max(self._largest_overweight, float(ratio.max(initial=0.0)))
        self._sums += [math.fsum(size), math.fsum(size - 1), math.fsum(factor), math.fsum(size**2)]

    def report(self) -> UnweightingReport:
        """Figures of all batches since `prepare`; zero where nothing was looked at or accepted yet."""
        total, excess, signed, squared = (float(value) for value in self._sums)
        accepted = self._accepted
        return UnweightingReport(
            candidates=self._candidates,
            accepted=accepted,
            efficiency=accepted / self._candidates if self._candidates else 0.0,
            maximum_weight=self._maximum,
            overweight_events=self._overweight,
            overweight_share=excess / total if accepted else 0.0,
            largest_overweight=self._largest_overweight,
            negative_fraction=self._negative / accepted if accepted else 0.0,
            effective_sample_size=signed**2 / squared if accepted else 0.0,
            remarks=self._remarks(),
        )

    def _remarks(self) -> tuple[str, ...]:
        if self._largest_share <= _DOMINATING_SHARE or self._largest_ratio <= _DOMINATING_RATIO:
            return ()
        return (
            f"one weight dominates: the largest |w| is {self._largest_share:.0%} of the sum of all |w|, "
            f"{self._largest_ratio:.3g} times the mean; more candidates, or a better sampling of phase space, "
            "would make the result more certain",
        )

    def state(self) -> State:
        """Return the maximum and the unit as 0-dimensional arrays; no arrays before `prepare`."""
        if not self.prepared:
            return {}
        return {
            "maximum_weight": np.asarray(self._maximum),
            "unit": np.asarray(self._unit),
            "dominance": np.asarray([self._largest_share, self._largest_ratio]),
        }

    @classmethod
    def from_state(cls, settings: Settings, state: State) -> Self:
        """Make an unweighter that accepts as the one that `state` came from; its counts start at zero."""
        if not isinstance(settings, HitOrMissSettings):
            raise ModelError(f"hit-or-miss was given {type(settings).__name__}; HitOrMissSettings are expected")
        made = cls(settings)
        if not state:
            return made
        shapes: dict[str, tuple[int, ...]] = {"maximum_weight": (), "unit": (), "dominance": (2,)}
        found = {name: np.shape(array) for name, array in state.items()}
        if found != shapes:
            raise ModelError(f"hit-or-miss needs arrays of shape {shapes}; there are {found}")
        if not all(np.all(np.isfinite(array) & (np.asarray(array) > 0)) for array in state.values()):
            raise ModelError("hit-or-miss needs positive finite numbers in its state")
        made._maximum = float(state["maximum_weight"])
        made._unit = float(state["unit"])
        made._largest_share, made._largest_ratio = (float(value) for value in state["dominance"])
        return made


def _checked(candidates: Candidates, before: int) -> FloatArray:
    """Return the true weights of one batch as ``(n,)`` doubles; `before` candidates came ahead of it."""
    array: npt.NDArray[Any] = np.asarray(candidates.all_exact())
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise WeightError(f"weights have shape {array.shape} and type {array.dtype}; real numbers (n,) are expected")
    if array.shape != np.shape(candidates.weight):
        raise WeightError(f"there are {len(array)} true weights for {len(candidates.weight)} candidates")
    array = array.astype(np.float64, copy=False)
    wrong = np.flatnonzero(~np.isfinite(array))
    if len(wrong):
        raise WeightError(
            f"candidate {before + int(wrong[0]) + 1} (counted from 1) has weight {array[wrong[0]]}; a finite number "
            "is expected. Remove such events, or mend the program that made them"
        )
    return array


def _maximum_at_quantile(histogram: WeightHistogram, quantile: float) -> float:
    """Upper edge of the first bin with at least this fraction of the weights that are not zero at or below it."""
    cumulative = np.cumsum(histogram.counts)
    place = int(np.searchsorted(cumulative, quantile * cumulative[-1]))
    return float(histogram.upper_edges[min(place, len(cumulative) - 1)])


def _maximum_at_share(histogram: WeightHistogram, share: float) -> float:
    r"""Smallest maximum, outside the bins, with :math:`\sum_i \max(0, |w_i| - w_\mathrm{max})` within the share."""
    largest = histogram.largest
    sums = histogram.relative_sums()
    # Of the weights from each bin upwards, in units of the largest weight.
    sums_from = np.cumsum(sums[::-1])[::-1]
    counts_from = np.cumsum(histogram.counts[::-1])[::-1]
    sums_above, counts_above = np.append(sums_from[1:], 0.0), np.append(counts_from[1:], 0)
    allowed = share * sums_from[0]
    upper = histogram.upper_edges / largest
    place = int(np.argmax(sums_above - counts_above * upper <= allowed))
    # Between two occupied bins the excess falls linearly, so that the crossing is known exactly.
    crossing = (sums_from[place] - allowed) / counts_from[place]
    if crossing <= histogram.lower_edges[place] / largest:
        return float(crossing * largest)
    return float(histogram.upper_edges[place])
