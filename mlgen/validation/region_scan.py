"""The region in which two binned distributions differ most, and how often chance alone finds one as significant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlgen.validation.observable import FloatArray


@dataclass(frozen=True, slots=True)
class Region:
    """The most significant region.

    Args:
        first: Its first bin.
        stop: The bin behind its last; above the number of bins if it goes through the end of a periodic axis.
        significance: In standard deviations, signed: positive where the sample has more.
        p_value: Of the most significant of all regions.
    """

    first: int
    stop: int
    significance: float
    p_value: float


def most_significant_region(
    difference: FloatArray, pooled: FloatArray, variances: FloatArray, *, single: bool = False, periodic: bool = False
) -> Region:
    r"""Scan all intervals of neighbouring bins.

    The difference of the shares in an interval has the variance :math:`v (1 - 2q) + q^2 V`, with *q*, *v* the pooled
    share and the sum of variances in it and *V* the sum of all variances. Its significance is corrected for skewness,
    which matters for few entries when one sample is much larger than the other: a Poisson count of the same skewness
    takes the place of the Gaussian.

    The p-value counts the intervals that behave as independent,

    .. math::
        p = 1 - \exp\Big(-2 \Phi(-z) \sum_\mathrm{intervals} f(\mu_1) f(\mu_2)\Big), \quad
        f(\mu) = \frac{\mu^2}{2} \nu(\mu), \quad \mu^2 = \frac{z^2 \delta}{q (1 - q)}

    where :math:`\delta` is the share by which the interval grows when its end moves by one bin. For 50 equal bins and
    z = 4 the sum is 297, where a simulation gives 307 +- 13.

    Args:
        difference: Share in the sample less that in the reference, ``(bins,)``, sum 0.
        pooled: Share in both, ``(bins,)``, sum 1.
        variances: Sum of squared weights over the squared total weight, of the reference and of the sample,
            ``(2, bins)``.
        single: Only look at single bins: categories have no neighbours.
        periodic: Whether the last bin and the first are neighbours.

    Returns:
        The region.

    References:
        Siegmund and Yakir, Bernoulli 6, 191 (2000), and Siegmund, Sequential Analysis (1985), for :math:`\nu`.
    """
    from scipy.special import ndtr

    bins = len(pooled)
    turns = 2 if periodic else 1
    reach = np.arange(turns * bins + 1)[np.newaxis, :] - np.arange(bins)[:, np.newaxis]
    allowed = (reach == 1) if single else (reach >= 1) & (reach < bins)

    def between(contents: FloatArray) -> FloatArray:
        cumulative = np.concatenate([[0.0], np.cumsum(np.tile(contents, turns))])
        inside: FloatArray = cumulative[np.newaxis, :] - cumulative[:bins, np.newaxis]
        return inside

    share, excess = between(pooled), between(difference)
    of_reference, of_sample = between(variances[0]), between(variances[1])
    total = variances.sum()
    variance = (of_reference + of_sample) * (1.0 - 2.0 * share) + share**2 * total
    usable = allowed & (variance > 0.0) & (share > 0.0)
    spread = np.sqrt(np.where(usable, variance, 1.0))
    # The third cumulant of a sum of weights is not known; for equal weights it is that of a binomial distribution.
    cumulant = (of_sample**2 - of_reference**2) / np.where(usable, share, 1.0) * (1.0 - share) * (1.0 - 2.0 * share)
    skewness = cumulant / spread**3
    significance = np.where(usable, _without_skewness(excess / spread, skewness), 0.0)
    if not single:
        # An interval and its complement are one test; of the two the smaller says where, if it is an interval.
        at_an_end = (reach == np.arange(turns * bins + 1)) | (np.arange(turns * bins + 1) == bins) | periodic
        usable &= ~at_an_end | (share <= 0.5 + 1e-9)
    score = np.where(usable, np.abs(significance), -1.0)
    first, stop = (int(place) for place in np.unravel_index(np.argmax(score), score.shape))
    best = float(significance[first, stop])
    trials = float(bins) if single else _independent_intervals(pooled, abs(best))
    p_value = -np.expm1(-2.0 * ndtr(-abs(best)) * trials)
    return Region(first, stop, best, float(p_value))


def _without_skewness(significance: FloatArray, skewness: FloatArray) -> FloatArray:
    r"""Gaussian significance of a variable with a Poisson distribution of that skewness.

    With mean :math:`m = 1 / \gamma^2` the count is :math:`x = m + z \sqrt m`, and the signed root of the likelihood
    ratio :math:`2 (x \ln(x / m) - x + m)` is very nearly Gaussian.
    """
    # Below this a Poisson distribution is Gaussian to a part in a thousand at five standard deviations.
    skewness = np.where(np.abs(skewness) < 1e-4, np.copysign(1e-4, skewness), skewness)
    towards_tail = significance * np.sign(skewness)
    mean = skewness**-2.0
    ratio = np.maximum(1.0 + towards_tail * np.abs(skewness), 1e-12)
    likelihood_ratio = 2.0 * mean * (ratio * np.log(ratio) - ratio + 1.0)
    return np.copysign(np.sqrt(np.maximum(likelihood_ratio, 0.0)), significance)


def _independent_intervals(pooled: FloatArray, significance: float) -> float:
    """Number of independent intervals that exceed the significance as often as all intervals together."""
    from scipy.special import ndtr

    bins = len(pooled)
    content = np.maximum(pooled, 0.0)
    # An interval and its complement are one test: two cuts of a circle, whether or not the axis is periodic.
    starts, stops = np.triu_indices(bins, 1)
    edges = np.concatenate([[0.0], np.cumsum(content)])
    share = edges[stops] - edges[starts]
    step = (content + np.roll(content, 1)) / 2.0
    free = share * (1.0 - share) > 0.0
    starts, stops, share = starts[free], stops[free], share[free]
    independent = np.ones(len(share))
    for cut in (starts, stops):
        half = max(significance, 1e-3) / 2.0 * np.sqrt(step[cut] / (share * (1.0 - share)))
        density = np.exp(-(half**2) / 2.0) / np.sqrt(2.0 * np.pi)
        independent *= 2.0 * half * (ndtr(half) - 0.5) / (half * ndtr(half) + density)
    return max(float(independent.sum()), 1.0)
