"""Zuko's rational-quadratic spline, with knots that are made faster."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Transform
from torch.nn import functional
from zuko.transforms import MonotonicRQSTransform


class FastSpline(MonotonicRQSTransform):  # type: ignore[misc]
    """The same function with the same parameters.

    torch's softmax takes most of the time of a flow on a CPU when it is over a handful of numbers. The numbers are
    limited here, so that exponentials and their running sum do, and widths and heights are made in one go.

    Args:
        widths: Unlimited widths of the bins, ``(..., bins)``.
        heights: Unlimited heights, ``(..., bins)``.
        derivatives: Unlimited derivatives at the inner knots, ``(..., bins - 1)``.
        bound: The spline acts between minus and plus this.
        slope: Smallest slope.

    References:
        Durkan et al., arXiv:1906.04032.
    """

    def __init__(
        self, widths: Tensor, heights: Tensor, derivatives: Tensor, bound: float = 5.0, slope: float = 1e-3
    ) -> None:
        # Not that of the base class, which is what this one replaces.
        Transform.__init__(self)
        limit = math.log(slope)
        sizes = torch.stack((widths, heights))
        edges = torch.cumsum(torch.exp(sizes / (1 + abs(2 * sizes / limit))), dim=-1)
        edges = bound * (2 * functional.pad(edges / edges[..., -1:], (1, 0)) - 1)
        self.horizontal, self.vertical = edges[0], edges[1]
        self.derivatives = torch.exp(functional.pad(derivatives / (1 + abs(derivatives / limit)), (1, 1)))
