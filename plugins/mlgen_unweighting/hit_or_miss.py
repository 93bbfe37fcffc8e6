"""Hit-or-miss unweighting."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mlgen.errors import ModelError, WeightError
from mlgen.stages import Candidates, IntArray, Settings, State, Unweighted, Unweighter, UnweightingReport
from mlgen_unweighting.grouping import GroupMaxima, by_group, group_numbers
from mlgen_unweighting.maximum import chosen_maximum, empty_histogram
from mlgen_unweighting.settings import HitOrMissSettings
from mlgen_unweighting.weight_histogram import WeightHistogram

FloatArray = npt.NDArray[np.float64]

#: A weight dominates when it alone is more than this share of sum |w|, and this many times the mean |w|.
_DOMINATING_SHARE = 0.1
_DOMINATING_RATIO = 10.0

#: An overweight beyond this ratio to the maximum is refused: the sum of squares would leave the range of doubles.
_LARGEST_RATIO = 1e150

#: So many groups' maxima are told of in a remark.
_GROUPS_TOLD = 10


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

    With ``maximum_per`` there is one maximum :math:`m_g` for each group g of candidates, a process for instance, chosen
    by the same rule from that group alone. The weight of an accepted event is then

    .. math:: w' = \operatorname{sign}(w) \max(m_g, |w|) \, c, \qquad
              c = \frac{1}{N} \sum_i \min(1, |w_i| / m_{g(i)}),

    with one :math:`c` for all groups, the share of the candidates that is expected to be accepted. Probability times
    new weight is :math:`w c` for every candidate, and the rest follows as above; with one group, :math:`m c = u`.
    Event weights are constant within a group only. Where `unweight` comes upon a group of which `prepare` saw no weight
    other than zero, its maximum is the largest of all: that keeps :math:`w c`, and makes overweights unlikely.

    All this takes the true weight of every candidate: where `Candidates.exact_weight` is there, it is asked for all
    of them, and the surrogate's weights are not looked at.

    The choice of :math:`w_\mathrm{max}` (`HitOrMissSettings`, `maximum.chosen_maximum`) needs one pass, in memory that
    grows with the number of groups, not with the pass. It is resolved to 1e-3, and :math:`u` and :math:`c` are exact
    for the maximum that is used (`WeightHistogram`).

    Args:
        settings: How the maximum is chosen.

    References:
        Gao et al., Phys. Rev. D 101, 076002 (2020), arXiv:2001.10028;
        Danziger et al., SciPost Phys. 12, 164 (2022), arXiv:2109.11964, sec. 2.
    """

    settings: HitOrMissSettings

    def __init__(self, settings: HitOrMissSettings) -> None:
        super().__init__(settings)
        self._maxima = GroupMaxima(np.empty(0, np.int64), np.empty(0), math.nan)
        # Of an accepted event whose weight is the largest maximum or less, in a group that has that maximum.
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
        # Sums over accepted events, in units of `_unit`: of |w'|, of its excess, of w' and of w'^2.
        self._sums = np.zeros(4)

    @property
    def prepared(self) -> bool:
        """Whether the maximum is known."""
        return math.isfinite(self._unit)

    def prepare(self, candidates: Iterable[Candidates]) -> None:
        """Choose the maximum from all candidates' true weights, and start counting anew.

        Args:
            candidates: Batches of candidates; gone through once.

        Raises:
            WeightError: There are none, all are zero, or one is not finite (the first is named, counted from 1). With
                ``maximum_per``, also: the candidates have no such groups, or there is not one number, from 0, for each.
        """
        histograms: dict[int, WeightHistogram] = {}
        count = 0
        for batch in candidates:
            weights = _checked(batch, count)
            for group, part in by_group(self._groups(batch, count), np.abs(weights)):
                histograms.setdefault(group, empty_histogram(self.settings)).add(part)
            count += len(weights)
        if count == 0:
            raise WeightError("there are no candidates to unweight; one or more weighted events are expected")
        occupied = {group: histograms[group] for group in sorted(histograms) if histograms[group].largest > 0}
        if not occupied:
            raise WeightError(
                f"all {count} candidates have weight 0, so that none could be accepted; "
                "check the cuts and the matrix element that made them"
            )
        maxima = np.array([chosen_maximum(histogram, self.settings) for histogram in occupied.values()])
        self._maxima = GroupMaxima(np.array(list(occupied)), maxima, float(maxima.max()))
        self._set_figures(list(occupied.values()), count)
        self._start_counting()

    def _set_figures(self, histograms: list[WeightHistogram], count: int) -> None:
        """Set the unit and how far one weight dominates, from the groups' histograms and the number of candidates."""
        shares = [histogram.count / count for histogram in histograms]
        relative = self._maxima.maximum / self._maxima.largest
        below = [histogram.mean_below(float(m)) for histogram, m in zip(histograms, self._maxima.maximum, strict=True)]
        self._unit = math.fsum(np.multiply(shares, below) / relative)
        mean = math.fsum(share * histogram.mean() for share, histogram in zip(shares, histograms, strict=True))
        self._largest_ratio = max(histogram.largest for histogram in histograms) / mean
        self._largest_share = self._largest_ratio / count

    def _groups(self, candidates: Candidates, before: int) -> IntArray:
        """Return the number of each candidate's group, ``(n,)``; 0 where there is one maximum for all."""
        if self.settings.maximum_per == "sample":
            return np.zeros(len(candidates.weight), np.int64)
        return group_numbers(candidates, self.settings.maximum_per, before)

    def unweight(self, candidates: Candidates, rng: np.random.Generator) -> Unweighted:
        r"""Accept each candidate with probability :math:`\min(1, |w| / w_\mathrm{max})`.

        A candidate of weight 0 is never accepted. A weight may exceed those that `prepare` saw, and there may be groups
        that it did not see: the largest maximum is theirs.

        Args:
            candidates: One batch of ``n`` candidates.
            rng: Source of exactly ``n`` uniform numbers, one for each candidate.

        Raises:
            WeightError: `prepare` was not called, a weight is not finite or beyond 1e150 times the maximum (the first
                is named, counted from 1 over all batches), or the groups are wrong as for `prepare`.
        """
        if not self.prepared:
            raise WeightError("hit-or-miss has no maximum weight yet: prepare() has to see the candidates first")
        weights = _checked(candidates, self._candidates)
        maximum = self._maxima.of(self._groups(candidates, self._candidates))
        size = np.abs(weights)
        ratio = _ratio(size, maximum, self._candidates)
        index = np.flatnonzero(rng.random(len(weights)) < ratio)
        size, maximum = size[index] / self._maxima.largest, maximum[index] / self._maxima.largest
        factor = np.copysign(np.maximum(size, maximum), weights[index])
        self._count(ratio, int(np.count_nonzero(ratio[index] > 1)), np.maximum(size - maximum, 0.0), factor)
        return Unweighted(index, factor * self._unit)

    def _count(self, ratio: FloatArray, overweight: int, excess: FloatArray, factor: FloatArray) -> None:
        size = np.abs(factor)
        self._candidates += len(ratio)
        self._accepted += len(factor)
        self._negative += int(np.count_nonzero(factor < 0))
        self._overweight += overweight
        self._largest_overweight = max(self._largest_overweight, float(ratio.max(initial=0.0)))
        self._sums += [math.fsum(size), math.fsum(excess), math.fsum(factor), math.fsum(size**2)]

    def report(self) -> UnweightingReport:
        """Figures of all batches since `prepare`; zero where nothing was looked at or accepted yet."""
        total, excess, signed, squared = (float(value) for value in self._sums)
        accepted = self._accepted
        return UnweightingReport(
            candidates=self._candidates,
            accepted=accepted,
            efficiency=accepted / self._candidates if self._candidates else 0.0,
            maximum_weight=self._maxima.largest,
            overweight_events=self._overweight,
            overweight_share=excess / total if accepted else 0.0,
            largest_overweight=self._largest_overweight,
            negative_fraction=self._negative / accepted if accepted else 0.0,
            effective_sample_size=signed**2 / squared if accepted else 0.0,
            remarks=self._remarks(),
        )

    def _remarks(self) -> tuple[str, ...]:
        remarks = []
        if self._largest_share > _DOMINATING_SHARE and self._largest_ratio > _DOMINATING_RATIO:
            remarks.append(
                f"one weight dominates: the largest |w| is {self._largest_share:.0%} of the sum of all |w|, "
                f"{self._largest_ratio:.3g} times the mean; more candidates, or a better sampling of phase space, "
                "would make the result more certain"
            )
        if len(self._maxima.group) > 1:
            remarks.append(self._maxima.remark(self.settings.maximum_per, _GROUPS_TOLD))
        return tuple(remarks)

    def state(self) -> State:
        """Return the maxima of the groups, the unit and the dominance of one weight; no arrays before `prepare`.

        ``group`` and ``group_maximum`` are ``(g,)``, ``dominance`` is ``(2,)``, ``unit`` and ``maximum_weight``, the
        largest of the maxima, are 0-dimensional. With one maximum for all, there is one group, 0.
        """
        if not self.prepared:
            return {}
        return {
            "group": np.array(self._maxima.group),
            "group_maximum": np.array(self._maxima.maximum),
            "maximum_weight": np.asarray(self._maxima.largest),
            "unit": np.asarray(self._unit),
            "dominance": np.asarray([self._largest_share, self._largest_ratio]),
        }

    @classmethod
    def from_state(cls, settings: Settings, state: State) -> Self:
        """Make an unweighter that accepts as the one that `state` came from; its counts start at zero.

        Raises:
            ModelError: An array is missing or of another shape, a number makes no sense, or the maxima of several
                groups are given to settings with one maximum for all.
        """
        if not isinstance(settings, HitOrMissSettings):
            raise ModelError(f"hit-or-miss was given {type(settings).__name__}; HitOrMissSettings are expected")
        made = cls(settings)
        if not state:
            return made
        groups = 1 if settings.maximum_per == "sample" else max(1, np.size(state.get("group", ())))
        shapes: dict[str, tuple[int, ...]] = {
            "group": (groups,),
            "group_maximum": (groups,),
            "maximum_weight": (),
            "unit": (),
            "dominance": (2,),
        }
        found = {name: np.shape(array) for name, array in state.items()}
        if found != shapes:
            raise ModelError(f"hit-or-miss needs arrays of shape {shapes}; there are {found}")
        group = np.asarray(state["group"])
        if group.dtype.kind not in "iu" or group[0] < 0 or np.any(group[1:] <= group[:-1]):
            raise ModelError("hit-or-miss needs ascending integers from 0 as the numbers of its groups")
        if not all(
            np.all(np.isfinite(array) & (np.asarray(array) > 0)) for name, array in state.items() if name != "group"
        ):
            raise ModelError("hit-or-miss needs positive finite numbers in its state")
        maximum = np.array(state["group_maximum"], np.float64)
        if maximum.max() != state["maximum_weight"]:
            raise ModelError("hit-or-miss needs the largest maximum of its groups as maximum_weight")
        made._maxima = GroupMaxima(group.astype(np.int64), maximum, float(state["maximum_weight"]))
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


def _ratio(size: FloatArray, maximum: FloatArray, before: int) -> FloatArray:
    """Return |w| / maximum for one batch, ``(n,)``; `before` candidates came ahead of it."""
    with np.errstate(over="ignore"):
        ratio: FloatArray = size / maximum
    wrong = np.flatnonzero(ratio > _LARGEST_RATIO)
    if len(wrong):
        first = int(wrong[0])
        raise WeightError(
            f"candidate {before + first + 1} (counted from 1) has |w| = {size[first]:.3g}, which the maximum "
            f"{maximum[first]:.3g} is too small for. Remove such events, or choose a larger maximum; "
            "largest_overweight raises it where needed"
        )
    return ratio
