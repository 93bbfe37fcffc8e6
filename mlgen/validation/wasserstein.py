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
    if period is None:
        return float(np.abs(height[:-1]) @ np.diff(values))
    # The last step goes round to the first value; there both cumulative distributions have reached one.
    length = np.diff(values, append=values[0] + period)
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
