"""Unweighting efficiency where a small share of overweights is allowed."""

from __future__ import annotations

import numpy as np

from mlgen.stages import FloatArray

#: Share of the integral that may lie in the excess of overweights.
OVERWEIGHT_SHARE = 1e-3


def maximum_at_overweight_share(
    weight: FloatArray, multiplicity: FloatArray | None = None, share: float = OVERWEIGHT_SHARE
) -> float:
    r"""Return the smallest maximum that leaves no more than a share of the integral in the excess of overweights.

    That is where :math:`\sum_i m_i \max(0, |w_i| - w_\mathrm{max})` is `share` of :math:`\sum_i m_i |w_i|`. The weights
    stay in memory, and the result is exact. Zero where all weights are.

    Args:
        weight: Weights :math:`w`, ``(n,)``, one or more.
        multiplicity: How many points of the final sample each stands for, ``(n,)``: relative numbers. None: one each.
        share: Share of the integral that may lie in the excess.
    """
    order = np.argsort(-np.abs(weight))
    size = np.abs(weight)[order]
    number = np.ones(len(size)) if multiplicity is None else multiplicity[order]
    sums, numbers = np.cumsum(size * number), np.cumsum(number)
    total = sums[-1]
    if total == 0:
        return 0.0
    # Excess if the maximum were the k-th largest weight: grows with k.
    excess = sums - numbers * size
    above = int(np.clip(np.searchsorted(excess, share * total), 1, len(size) - 1)) if len(size) > 1 else 1
    maximum = (sums[above - 1] - share * total) / numbers[above - 1]
    smallest = size[above] if above < len(size) else 0.0
    return float(max(maximum, smallest))


def unweighting_efficiency(
    weight: FloatArray, multiplicity: FloatArray | None = None, share: float = OVERWEIGHT_SHARE
) -> float:
    r"""Return :math:`\langle |w| \rangle / w_\mathrm{max}`, with the smallest maximum that keeps to the share.

    Args:
        weight: Weights :math:`w`, ``(n,)``, one or more.
        multiplicity: How many points of the final sample each stands for, ``(n,)``: relative numbers. None: one each.
        share: Share of the integral that may lie in the excess.
    """
    maximum = maximum_at_overweight_share(weight, multiplicity, share)
    if maximum == 0:
        return 0.0
    return float(np.average(np.abs(weight), weights=multiplicity) / maximum)
