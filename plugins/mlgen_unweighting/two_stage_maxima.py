"""The maxima of a two-stage unweighting that make an effective event cheapest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlgen.sampling import maximum_at_overweight_share
from mlgen_unweighting.evaluation import evaluation_probability
from mlgen_unweighting.pilot import Pilot
from mlgen_unweighting.weight_histogram import WeightHistogram

FloatArray = npt.NDArray[np.float64]

#: Maxima of the first stage that are tried; the cost is flat about its minimum.
_TRIED = 32
#: The smallest of them, in units of the mean.
_SMALLEST = 0.02
#: Higher floors that are tried, in units of the lowest: they pay off where a surrogate is far too small.
_FLOORS = (3.0, 10.0, 30.0, 100.0)
#: Relative accuracy of a maximum that is raised until the effective sample size is large enough.
_RESOLUTION = 0.002
#: Share of the survivors that may get the other sign.
_OTHER_SIGN = 1e-4
#: Part of the candidates that may be anything: a surrogate can be far too large at a few points.
_UNUSUAL = 1e-3
#: Shares of the survivors that are tried where the best is wanted.
EVALUATED_SHARES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.125, 0.09, 0.0625, 0.045, 0.03, 0.02, 0.01)


@dataclass(frozen=True, slots=True)
class Maxima:
    """What a two-stage unweighting goes by.

    Args:
        first: Surrogate weight from which on all candidates pass the first stage.
        floor: Smallest surrogate weight that the first stage goes by.
        second: Weight, divided by the probability to pass the first stage, from which on all survivors are accepted.
        evaluated_share: About the share of the survivors whose true weight is asked for (`evaluation_probability`).
        first_efficiency: Share of the candidates that is expected to pass the first stage.
        second_efficiency: Share of these that is expected to be accepted.
        effective_share: Expected effective sample size in units of the accepted events.
        cost: Of an effective event, in units of a candidate without its true weight.
    """

    first: float
    floor: float
    second: float
    evaluated_share: float
    first_efficiency: float
    second_efficiency: float
    effective_share: float
    cost: float


def cheapest_maxima(
    pilot: Pilot,
    sizes: WeightHistogram,
    floor: float,
    ratio: float,
    cost_ratio: float,
    overweight_share: float,
    effective_share: float,
    evaluated_shares: Sequence[float],
) -> Maxima:
    r"""Choose both maxima, the floor f, and the share of survivors whose true weight is asked for.

    With the probability :math:`p_i = \min(1, \max(|s_i|, f) / s_\mathrm{max})` to pass the first stage, the second is a
    hit-or-miss on :math:`y_i = |w_i| / p_i` up to :math:`y_\mathrm{max}`. For each :math:`s_\mathrm{max}`, that is the
    smallest with at most `overweight_share` of the cross section in excess and an effective sample size of at least
    `effective_share`. With the cost ratio r, the probability :math:`q_i` that a survivor is evaluated and the effective
    sample size :math:`\alpha A` of A accepted events of N candidates, the cost of an effective event,

    .. math:: \frac{N + r \sum_i q_i p_i}{\alpha A},

    is smallest for the maxima that are returned. (The gain of arXiv:2109.11964, with the cost of the whole first
    stage in the place of that of the surrogate.)

    Args:
        pilot: True weights of some candidates.
        sizes: Distribution of :math:`|s|` over all candidates that may have a weight.
        floor: Lowest floor that may be chosen; where the surrogate's weight is below, it is never believed.
        ratio: Mean true weight over mean surrogate weight, which stands in for survivors that are not evaluated.
        cost_ratio: Cost of a true weight, in units of a candidate without it.
        overweight_share: Share of the cross section that may be in excess.
        effective_share: Least effective sample size, in units of the accepted events.
        evaluated_shares: Shares of survivors that are tried. Of several, the later ones only where no more than one
            survivor in 10,000 would get the other sign; the first is taken as it is.
    """
    search = _Search(pilot, sizes, floor, ratio, cost_ratio, overweight_share, effective_share)
    first, *others = evaluated_shares
    usual = usual_size(sizes)
    floors = [floor, *(factor * floor for factor in _FLOORS if factor * floor <= usual)]
    best = min((search.best(one, (first,)) for one in floors), key=lambda maxima: maxima.cost)
    # The share is looked for with the floor that was best for the first of them.
    return search.best(best.floor, others, otherwise=best) if others else best


@dataclass(frozen=True, slots=True)
class _Search:
    """Looks for the cheapest maxima, as `cheapest_maxima` says."""

    pilot: Pilot
    sizes: WeightHistogram
    believed: float
    ratio: float
    cost_ratio: float
    overweight_share: float
    effective_share: float

    def best(self, floor: float, evaluated_shares: Sequence[float], otherwise: Maxima | None = None) -> Maxima:
        """The cheapest with one floor; `otherwise` where no share can be taken, or none is cheaper."""
        lowest, highest = max(floor, usual_size(self.sizes) * _SMALLEST), max(floor, self.sizes.largest)
        tried = np.unique(np.append(np.geomspace(lowest, highest, _TRIED), floor))
        passing = _passing(self.sizes, floor, tried)
        found = [
            self._maxima(floor, float(maximum), float(passed), share, any_sign=otherwise is None)
            for maximum, passed in zip(tried, passing, strict=True)
            for share in evaluated_shares
        ]
        usable = [maxima for maxima in (otherwise, *found) if maxima is not None]
        return min(usable, key=lambda maxima: maxima.cost)

    def _maxima(self, floor: float, maximum: float, passed: float, share: float, *, any_sign: bool) -> Maxima | None:
        size = np.maximum(np.abs(self.pilot.surrogate), floor)
        probability = np.minimum(1.0, size / maximum)
        weight, number, asked, other_sign = _second_stage(
            self.pilot, probability, self.believed, maximum, self.ratio, share
        )
        if other_sign and not any_sign:
            # So many truths are far below the surrogate that they would be made up for by events of the other sign.
            return None
        total = float(np.sum(number * weight))
        second = maximum_at_overweight_share(weight, number, self.overweight_share)
        second, accepted, effective = _raised(weight, number, second, total, self.effective_share)
        return Maxima(
            first=maximum,
            second=second,
            floor=floor,
            evaluated_share=share,
            first_efficiency=passed / self.sizes.count,
            second_efficiency=accepted / passed,
            effective_share=effective,
            cost=(self.sizes.count + self.cost_ratio * asked * passed) / (effective * accepted),
        )


def usual_size(sizes: WeightHistogram) -> float:
    """Return the mean modulus, with the largest ones cut at the 99.9 % quantile."""
    if not sizes.largest:
        return 0.0
    cumulative = np.cumsum(sizes.counts)
    place = int(np.searchsorted(cumulative, (1 - _UNUSUAL) * cumulative[-1]))
    return sizes.mean_below(float(sizes.upper_edges[min(place, len(cumulative) - 1)]))


def _second_stage(
    pilot: Pilot, probability: FloatArray, believed: float, maximum: float, ratio: float, share: float
) -> tuple[FloatArray, FloatArray, float, bool]:
    """Weights that the second stage sees, how many survivors have each, and which share of them is asked for.

    The last one is whether too many have the other sign.
    """
    exact = pilot.exact / probability
    number = pilot.multiplicity * probability
    if share == 1:
        return np.abs(exact), number, 1.0, False
    chance = evaluation_probability(share, pilot.error, pilot.mean_error())
    # Where the surrogate is not believed, all are asked for.
    chance[(pilot.surrogate < believed) | (pilot.surrogate > maximum)] = 1.0
    stand_in = ratio * pilot.surrogate / probability
    made_up = exact / chance + stand_in * (1 - 1 / chance)
    left = chance < 1
    weight = np.concatenate([made_up, stand_in[left]])
    numbers = np.concatenate([number * chance, (number * (1 - chance))[left]])
    other_sign = float((number * chance)[made_up * exact < 0].sum()) > _OTHER_SIGN * float(number.sum())
    return np.abs(weight), numbers, float((number * chance).sum() / number.sum()), other_sign


def _raised(
    weight: FloatArray, number: FloatArray, maximum: float, total: float, wanted: float
) -> tuple[float, float, float]:
    """Raise a maximum until the effective sample size is large enough; with the events it leaves and that size."""

    def left(maximum: float) -> tuple[float, float]:
        relative = weight / maximum
        accepted = float(np.sum(number * np.minimum(1.0, relative)))
        squares = float(np.sum(number * relative * np.maximum(1.0, relative)))
        return accepted, (total / maximum) ** 2 / (accepted * squares)

    lowest = highest = maximum
    if left(maximum)[1] < wanted:
        highest = float(weight.max())
    while highest > (1 + _RESOLUTION) * lowest:
        middle = math.sqrt(lowest) * math.sqrt(highest)
        lowest, highest = (lowest, middle) if left(middle)[1] >= wanted else (middle, highest)
    return highest, *left(highest)


def _passing(sizes: WeightHistogram, floor: float, tried: FloatArray) -> FloatArray:
    r"""Return :math:`\sum_i \min(1, \max(|s_i|, f) / s_\mathrm{max})` for each maximum, ``(tried,)``."""
    if sizes.largest == 0:
        return np.full(len(tried), float(sizes.count))
    mean = sizes.relative_sums() * sizes.largest / sizes.counts
    size = np.append(np.maximum(mean, floor), floor)
    number = np.append(sizes.counts.astype(np.float64), float(sizes.zeros))
    return np.array([np.sum(number * np.minimum(1.0, size / maximum)) for maximum in tried])
