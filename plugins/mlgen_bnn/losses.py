"""What the networks make small."""

from __future__ import annotations

import torch
from torch import Tensor

from mlgen_bnn.networks import Output


def likelihood_loss(output: Output, target: Tensor, count: Tensor, error_weight: float) -> Tensor:
    r"""Negative logarithm of the Gaussian likelihood, averaged over points and over the last layer's weights.

    .. math:: \frac{1}{\sum_j n_j} \sum_j n_j w_j \left[ \frac{(f_j - y_j)^2 + v_j}{2 \sigma_j^2} + \log \sigma_j
              \right], \quad w_j \propto \sigma_j^{2 \beta}

    with :math:`v_j` the variance of :math:`f_j`. Without the weights :math:`w_j`, which are not differentiated and
    average to one, the gradient of a point falls with :math:`1 / \sigma_j^2`: points that are badly known at first are
    hardly learned ever after.

    Args:
        output: Of the network.
        target: What is learned, :math:`y`, ``(n,)``.
        count: How often each point counts, :math:`n_j`, ``(n,)``.
        error_weight: :math:`\beta`.

    References:
        Eq. (1.92), (1.93) and (1.101) of Plehn et al., arXiv:2211.01421; Seitzer et al., arXiv:2203.09168.
    """
    squared = (output.mean - target).square() + output.variance
    each = 0.5 * squared * torch.exp(-2 * output.log_error) + output.log_error
    if error_weight:
        weight = torch.exp(2 * error_weight * output.log_error.detach())
        each = each * (weight / weight.mean())
    return (count * each).sum() / count.sum()


def repulsion(means: Tensor, points: int) -> Tensor:
    r"""Return the repulsion of an ensemble's members in the space of their functions.

    .. math:: \frac{1}{N} \sum_i \frac{\sum_j k(f_i, \overline{f_j})}{\sum_j \overline{k(f_i, f_j)}}, \quad
              k(f_i, f_j) = \exp\left(-\frac{|f_i - f_j|^2}{h}\right)

    with the line for what is not differentiated. The width :math:`h` is the median of the squared distances over the
    logarithm of the number of members, so that the nearest members feel each other whatever the scale.

    Args:
        means: Of the members on a batch, ``(members, n)``.
        points: Number of all training points, :math:`N`.

    References:
        Eq. (1.58) and (1.63) of Plehn et al., arXiv:2211.01421; D'Angelo and Fortuin, arXiv:2106.11642; for the width,
        Liu and Wang, arXiv:1608.04471.
    """
    fixed = means.detach()
    with torch.no_grad():
        distances = (fixed[:, None] - fixed[None]).square().sum(dim=2)
        others = ~torch.eye(len(means), dtype=torch.bool, device=means.device)
        width = distances[others].median() / torch.log(torch.tensor(len(means) + 1.0)) + 1e-30
        total = torch.exp(-distances / width).sum(dim=1)
    kernel = torch.exp(-(means[:, None] - fixed[None]).square().sum(dim=2) / width)
    return (kernel.sum(dim=1) / total).sum() / points
