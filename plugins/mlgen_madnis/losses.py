"""Losses over groups of channels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: Of density times integrand, density under test, density that the points were drawn with, and groups, each ``(n,)``.
Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

#: Groups with a smaller share of the integral count as if they had it.
_SMALLEST_SHARE = 1e-4


def stratified_variance(f_true: Tensor, q_test: Tensor, q_sample: Tensor, channels: Tensor) -> Tensor:
    r"""Return :math:`(\sum_g \sigma_g)^2 / I^2`, with all groups in one pass.

    It is the variance where each group gets points in proportion to its standard deviation, which is the best for an
    integral. The same as `madnis.integrator.stratified_variance`, which goes through the groups one by one.

    Args:
        f_true: Channel weight times integrand, ``(n,)``.
        q_test: Density of the network, ``(n,)``.
        q_sample: Density that the points were drawn with, ``(n,)``.
        channels: Group of each point, ``(n,)``.

    References:
        Heimel et al., SciPost Phys. 17, 023 (2024), arXiv:2311.01548.
    """
    variances, sizes = _variances(f_true, q_test, q_sample, channels)
    present = sizes > 0
    return (torch.sqrt(variances[present] + torch.finfo(f_true.dtype).eps).sum() / sizes.sum()) ** 2


def event_variance(f_true: Tensor, q_test: Tensor, q_sample: Tensor, channels: Tensor) -> Tensor:
    r"""Return :math:`\sum_g \sigma_g^2 / (I_g I)`.

    It is the variance where each group gets points in proportion to its integral, so that the mean weight is the same
    in all, as is best for unweighted events.

    Args:
        f_true: Channel weight times integrand, ``(n,)``.
        q_test: Density of the network, ``(n,)``.
        q_sample: Density that the points were drawn with, ``(n,)``.
        channels: Group of each point, ``(n,)``.
    """
    variances, sizes = _variances(f_true, q_test, q_sample, channels)
    total = sizes.sum()
    return (variances / (sizes + _SMALLEST_SHARE * total)).sum() / total


def _variances(f_true: Tensor, q_test: Tensor, q_sample: Tensor, channels: Tensor) -> tuple[Tensor, Tensor]:
    """Return variance of the weights, and mean of their sizes as a constant, of each group."""
    groups = int(channels.max()) + 1
    counts = torch.bincount(channels, minlength=groups).clamp(min=1)

    def mean(values: Tensor) -> Tensor:
        return values.new_zeros(groups).index_add(0, channels, values) / counts

    drawn = f_true / q_sample
    spread = (f_true / q_test - mean(drawn)[channels]) ** 2 * (q_test / q_sample)
    return mean(spread), mean(drawn.detach().abs())


LOSSES: dict[str, Loss] = {"events": event_variance, "stratified": stratified_variance}
