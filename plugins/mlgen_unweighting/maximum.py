"""How the maximum weight is chosen from the distribution of the weights."""

from __future__ import annotations

import numpy as np

from mlgen_unweighting.settings import HitOrMissSettings
from mlgen_unweighting.weight_histogram import WeightHistogram

#: A sum of weights that misses a bound by this much, relatively, does so by rounding alone.
_ROUNDING = 1e-12


def empty_histogram(settings: HitOrMissSettings) -> WeightHistogram:
    """Return a histogram for `chosen_maximum`; a maximum that is given is an edge of its bins."""
    return WeightHistogram(settings.maximum_weight or 0.0)


def chosen_maximum(histogram: WeightHistogram, settings: HitOrMissSettings) -> float:
    r"""Choose the maximum of candidates with these :math:`|w|`.

    The choices, with :math:`N` candidates, :math:`N_{\neq 0}` of them with a weight other than zero:

    - ``sample``: the largest :math:`|w|`;
    - ``quantile``: the quantile q of those other than zero;
    - ``overweight-share``: the smallest :math:`m` with :math:`\sum_i \max(0, |w_i| - m) \le s \sum_i |w_i|`. What is
      called ``Max_Epsilon`` in Sherpa, and the truncation in MadGraph's unweighting of event files, are such shares;
    - ``median``: the median of the largest :math:`|w|` of samples of n candidates each, drawn from all of them with
      replacement. Gao et al. estimate it with bootstrap replicas, so that outliers weigh less. No replicas are
      needed: all n lie at or below :math:`m` with probability :math:`F(m)^n`, where :math:`F(m)` is the share of the
      candidates that do, so that the median is the quantile :math:`2^{-1/n}` of all candidates. Where it is zero,
      because hardly any candidate of a sample has a weight, the smallest :math:`|w|` other than zero is taken;
    - ``efficiency``: the largest :math:`m`, up to the largest :math:`|w|`, with
      :math:`\sum_i \min(1, |w_i| / m) \ge e N_{\neq 0}`, the expected number of accepted candidates;
    - ``value``: the one that was given, even above the largest :math:`|w|`.

    With ``largest_overweight``, a factor f, the maximum is raised to the largest :math:`|w| / f` where it is less.

    Args:
        histogram: :math:`|w|` of all candidates, one or more other than zero; from `empty_histogram`.
        settings: The choice.

    Returns:
        The maximum, in the unit of the weights; outside the bins, or the largest weight, as
        `WeightHistogram.mean_below` needs it. A bin is less than 1e-3 wide: ``quantile``, ``overweight-share`` and
        ``median`` give at most that much more than the definition says, ``efficiency`` that much less.

    References:
        Gao et al., Phys. Rev. D 101, 076002 (2020), arXiv:2001.10028.
    """
    maximum = _without_bound(histogram, settings)
    if settings.largest_overweight is None:
        return maximum
    return max(maximum, _outside_bins(histogram, histogram.largest / settings.largest_overweight))


def _without_bound(histogram: WeightHistogram, settings: HitOrMissSettings) -> float:
    if settings.maximum == "quantile":
        return _at_quantile(histogram, settings.quantile)
    if settings.maximum == "overweight-share":
        return _at_share(histogram, settings.overweight_share)
    if settings.maximum == "median":
        return _at_median(histogram, settings.median_of)
    if settings.efficiency is not None:
        return _at_efficiency(histogram, settings.efficiency)
    if settings.maximum_weight is not None:
        return settings.maximum_weight
    return histogram.largest


def _outside_bins(histogram: WeightHistogram, maximum: float) -> float:
    """Upper edge of the bin that the maximum lies inside of; the maximum itself where there is none."""
    place = int(np.searchsorted(histogram.lower_edges, maximum)) - 1
    return maximum if place < 0 else max(maximum, float(histogram.upper_edges[place]))


def _at_quantile(histogram: WeightHistogram, quantile: float) -> float:
    """Upper edge of the first bin with at least this fraction of the weights that are not zero at or below it."""
    cumulative = np.cumsum(histogram.counts)
    place = int(np.searchsorted(cumulative, quantile * cumulative[-1]))
    return float(histogram.upper_edges[min(place, len(cumulative) - 1)])


def _at_median(histogram: WeightHistogram, size: int) -> float:
    """Upper edge of the first bin with at least the fraction 2^(-1/size) of all weights at or below it."""
    cumulative = histogram.zeros + np.cumsum(histogram.counts)
    place = int(np.searchsorted(cumulative, 2 ** (-1 / size) * histogram.count))
    return float(histogram.upper_edges[min(place, len(cumulative) - 1)])


def _at_share(histogram: WeightHistogram, share: float) -> float:
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


def _at_efficiency(histogram: WeightHistogram, efficiency: float) -> float:
    r"""Largest maximum, outside the bins, with :math:`\sum_i \min(1, |w_i| / w_\mathrm{max})` at least as asked for."""
    largest, counts = histogram.largest, histogram.counts
    # In units of the largest weight: of the weights up to and below each bin; of those above and from it upwards.
    sums_through = np.cumsum(histogram.relative_sums())
    sums_below = np.append(0.0, sums_through[:-1])
    counts_from = np.cumsum(counts[::-1])[::-1]
    counts_above = counts_from - counts
    wanted = efficiency * counts_from[0]
    enough = wanted * (1 - _ROUNDING)
    smallest = np.finfo(np.float64).tiny
    lower = np.maximum(histogram.lower_edges / largest, smallest)
    upper = np.maximum(histogram.upper_edges / largest, smallest)
    # With the lower edge of the first bin, all are accepted.
    place = int(np.flatnonzero(counts_from + sums_below / lower >= enough)[-1])
    if counts_above[place] + sums_through[place] / upper[place] < enough:
        return float(histogram.lower_edges[place])
    if place == len(counts) - 1:
        return largest
    # Up to the next occupied bin the number accepted is known exactly, so that the crossing is, too.
    crossing = float(sums_through[place] / (wanted - counts_above[place])) * largest
    return float(np.clip(crossing, histogram.upper_edges[place], histogram.lower_edges[place + 1]))
