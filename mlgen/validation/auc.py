"""Area under the ROC curve for weighted events, of either sign, with its standard error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlgen.validation.observable import FloatArray

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Auc:
    """An area under the ROC curve.

    Args:
        value: From 0 to 1; 0.5 when the scores do not tell the samples apart.
        error: Its standard error.
    """

    value: float
    error: float


def normalised(weight: FloatArray, is_reference: BoolArray) -> FloatArray:
    r"""Give both samples a total weight of one: :math:`v_i = w_i / \sum_{j \in \mathrm{sample}(i)} w_j`.

    Args:
        weight: Shape ``(n,)``; may be negative, as long as neither sample's sum vanishes.
        is_reference: Which events are the reference's, ``(n,)``.

    Returns:
        Shape ``(n,)``.
    """
    reference, sample = weight[is_reference].sum(), weight[~is_reference].sum()
    return np.asarray(weight / np.where(is_reference, reference, sample), dtype=np.float64)


def swap_negative(weight: FloatArray, is_reference: BoolArray) -> tuple[BoolArray, FloatArray]:
    r"""Turn two signed measures into two positive ones that are equal exactly if the signed ones are.

    An event of negative weight counts with its absolute weight in the other class:
    :math:`\mu_1 = p_1^+ + p_0^-` and :math:`\mu_0 = p_0^+ + p_1^-` for :math:`p_c = p_c^+ - p_c^-`, so that
    :math:`\mu_1 - \mu_0 = p_1 - p_0`. For normalised :math:`p_1` and :math:`p_0` both have the same total.

    Args:
        weight: Shape ``(n,)``, of either sign.
        is_reference: Which events belong to :math:`p_1`, ``(n,)``.

    Returns:
        Which events belong to :math:`\mu_1`, and their positive weights, each ``(n,)``.
    """
    return is_reference ^ (weight < 0.0), np.abs(weight)


def weighted_auc(score: FloatArray, is_reference: BoolArray, weight: FloatArray) -> Auc:
    r"""Probability that an event of the reference scores higher than one of the sample, ties counting one half.

    .. math:: A = \frac{1}{M_1 M_0} \int \mu_1(\mathrm{d}x) \int \mu_0(\mathrm{d}y)
              \left[ \theta(s_x - s_y) + \tfrac12 \delta_{s_x s_y} \right]

    with the positive measures of `swap_negative`. For signed weights it is one half when the signed densities are
    equal, since :math:`A - \tfrac12` is linear in :math:`p_1 - p_0`.

    The error is that of DeLong et al., generalised to weights: :math:`\sigma^2 = \sum_i v_i^2 (g_i - \bar g)^2` over
    each of the samples, where :math:`v_i` are its normalised weights, :math:`g_i = \partial A / \partial v_i` the
    placement values (one minus the other measure's cumulative distribution at the score, and the like), and
    :math:`\bar g = \sum_i v_i g_i` takes the fluctuation of the normalisation into account. It holds for scores that
    were not learned from these events.

    Args:
        score: Shape ``(n,)``.
        is_reference: Which events are the reference's, ``(n,)``; both must occur.
        weight: Shape ``(n,)``, of either sign; each sample is normalised to one.

    Returns:
        The area and its standard error.

    References:
        DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988) 837.
    """
    v = normalised(weight, is_reference)
    first, size = swap_negative(v, is_reference)
    levels, rank = np.unique(score, return_inverse=True)
    below = []
    for members in (~first, first):
        mass = np.bincount(rank[members], size[members], minlength=len(levels))
        # Half of what lies at the same score counts as below it: ties.
        below.append((np.cumsum(mass) - 0.5 * mass) / mass.sum())
    below_0, below_1 = below[0][rank], below[1][rank]
    total_1, total_0 = float(size[first].sum()), float(size[~first].sum())
    value = float(np.sum(size[first] * below_0[first]) / total_1)
    gradient = np.where(first, (below_0 - value) / total_1, (1.0 - below_1 - value) / total_0)
    # A negative weight that grows in size makes v smaller.
    gradient = np.where(v < 0.0, -gradient, gradient)
    variance = 0.0
    for members in (is_reference, ~is_reference):
        mean = np.sum(v[members] * gradient[members])
        variance += float(np.sum(np.square(v[members] * (gradient[members] - mean))))
    return Auc(value, float(np.sqrt(variance)))
