"""Wasserstein-1 distance between weighted samples of one observable."""

from __future__ import annotations

import numpy as np

from mlgen.validation.observable import FloatArray


def wasserstein(
    reference: FloatArray,
    reference_weight: FloatArray,
    sample: FloatArray,
    sample_weight: FloatArray,
    *,
    period: float | None = None,
) -> float:
    r"""Distance by which the weight has to be moved to turn one distribution into the other.

    :math:`W_1 = \int |F(x) - G(x)|\, dx` with the cumulative distributions *F* and *G*, each normalised to one.
    Negative weights are allowed; then it is the norm of :math:`F - G`, still zero for equal distributions.

    On a circle (`period`) weight may be moved either way round: :math:`\min_c \int |F(x) - G(x) - c|\, dx`, where *c*
    is the median of :math:`F - G`.

    Args:
        reference: Values ``(n,)``; non-finite ones are left out.
        reference_weight: Shape ``(n,)``.
        sample: Values ``(m,)``.
        sample_weight: Shape ``(m,)``.
        period: Length of the circle; None on a line.

    Returns:
        The distance in the unit of the values; NaN if a sample is empty or its weights sum to zero.

    References:
        Rabin, Delon and Gousseau, J. Math. Imaging Vis. 41, 147 (2011), for the circle.
    """
    known, other = np.isfinite(reference), np.isfinite(sample)
    values = np.concatenate([reference[known], sample[other]])
    weights = (reference_weight[known], sample_weight[other])
    totals = [float(weight.sum()) for weight in weights]
    if min(len(weight) for weight in weights) == 0 or 0.0 in totals:
        return np.nan
    if period is not None:
        values = np.mod(values, period)
    order = np.argsort(values)
    values = values[order]
    height = np.cumsum(np.concatenate([weights[0] / totals[0], -weights[1] / totals[1]])[order])
    length = np.diff(values) if period is None else np.diff(values, append=values[0] + period)
    return _moved(height, length, period)


def wasserstein_floor(
    values: FloatArray, weight: FloatArray, rng: np.random.Generator, *, splits: int = 20, period: float | None = None
) -> tuple[float, float]:
    """Wasserstein distance of two halves of one sample, which differ by chance alone.

    Args:
        values: Values ``(n,)``; non-finite ones are left out.
        weight: Shape ``(n,)``.
        rng: Decides the halves.
        splits: Random halvings.
        period: Length of the circle; None on a line.

    Returns:
        Mean over the halvings, and standard deviation of a single one; NaN for fewer than two values.
    """
    known = np.isfinite(values)
    values, weight = values[known], weight[known]
    if len(values) < 2:
        return np.nan, np.nan
    if period is not None:
        values = np.mod(values, period)
    # Sorted once: each halving then takes a random sign for each value and a sum.
    order = np.argsort(values)
    values, weight = values[order], weight[order]
    length = np.diff(values) if period is None else np.diff(values, append=values[0] + period)
    found = []
    for _ in range(splits):
        first = rng.permutation(len(values)) < len(values) // 2
        totals = float(weight[first].sum()), float(weight[~first].sum())
        if 0.0 in totals:
            continue
        height = np.cumsum(np.where(first, weight / totals[0], -weight / totals[1]))
        found.append(_moved(height, length, period))
    return (float(np.mean(found)), float(np.std(found))) if found else (np.nan, np.nan)


def _moved(height: FloatArray, length: FloatArray, period: float | None) -> float:
    """Integrate the modulus of a difference of cumulative distributions, given at the sorted values."""
    if period is None:
        return float(np.abs(height[:-1]) @ length)
    # The last step goes round to the first value; there both cumulative distributions have reached one.
    by_height = np.argsort(height)
    half = np.searchsorted(np.cumsum(length[by_height]), period / 2.0)
    median = height[by_height[min(int(half), len(height) - 1)]]
    return float(np.abs(height - median) @ length)


def total_variation(
    reference: FloatArray, reference_weight: FloatArray, sample: FloatArray, sample_weight: FloatArray
) -> float:
    r"""Share of the weight that has to change its category: :math:`\frac{1}{2} \sum_k |p_k - q_k|`.

    Codes of categories have no distances, so that this takes the place of `wasserstein`; it is the Wasserstein-1
    distance if all categories are one apart.

    Args:
        reference: Codes ``(n,)``; non-finite ones are left out.
        reference_weight: Shape ``(n,)``.
        sample: Codes ``(m,)``.
        sample_weight: Shape ``(m,)``.

    Returns:
        From 0 to 1 (above, if weights are negative); NaN if a sample is empty or its weights sum to zero.
    """
    known, other = np.isfinite(reference), np.isfinite(sample)
    weights = (reference_weight[known], sample_weight[other])
    totals = [float(weight.sum()) for weight in weights]
    if min(len(weight) for weight in weights) == 0 or 0.0 in totals:
        return np.nan
    _, codes = np.unique(np.concatenate([reference[known], sample[other]]), return_inverse=True)
    return float(
        np.abs(np.bincount(codes, np.concatenate([weights[0] / totals[0], -weights[1] / totals[1]]))).sum() / 2
    )


def total_variation_floor(
    codes: FloatArray, weight: FloatArray, rng: np.random.Generator, *, splits: int = 20
) -> tuple[float, float]:
    """Total variation of two halves of one sample; arguments and result as for `wasserstein_floor`."""
    known = np.isfinite(codes)
    codes, weight = codes[known], weight[known]
    if len(codes) < 2:
        return np.nan, np.nan
    found = []
    for _ in range(splits):
        first = rng.permutation(len(codes)) < len(codes) // 2
        found.append(total_variation(codes[first], weight[first], codes[~first], weight[~first]))
    return float(np.mean(found)), float(np.std(found))
