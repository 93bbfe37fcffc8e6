"""Rational quadratic splines on the unit interval, with a backward pass written for speed on a CPU."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

#: Smallest width and height of a bin, and smallest derivative at a knot.
MINIMUM_BIN = 1e-3
MINIMUM_DERIVATIVE = 1e-3
#: Makes the derivative 1 where the network gives 0.
_DERIVATIVE_SCALE = 1 / (MINIMUM_DERIVATIVE + math.log(2.0))


class _Knots(torch.autograd.Function):
    """From raw parameters to the bin that each value lies in: softmax, cumulative sum, search and look-up in one.

    Automatic differentiation of these would keep several arrays of the size of all bins; the gradient itself needs one.
    """

    @staticmethod
    def forward(ctx: Any, raw: Tensor, value: Tensor, bins: int, inverse: bool) -> tuple[Tensor, ...]:
        """Return left edge and width in x, the same in y, and raw derivatives at both edges, each ``(t, n)``."""
        scale = 1 - bins * MINIMUM_BIN
        logits = raw[:, : 2 * bins].reshape(raw.shape[0], 2, bins, -1)
        share = torch.exp(logits - logits.amax(2, keepdim=True))
        share = share / share.sum(2, keepdim=True)
        size = share * scale + MINIMUM_BIN
        edges = torch.cumsum(size, dim=2)
        place = (value[:, None] >= edges[:, 1 if inverse else 0, :-1]).sum(1, keepdim=True)
        both = place[:, None].expand(-1, 2, 1, -1)
        width = size.gather(2, both)
        left = edges.gather(2, both) - width
        derivatives = raw[:, 2 * bins :].gather(1, torch.cat((place, place + 1), 1))
        ctx.save_for_backward(share, place, width, left)
        ctx.bins, ctx.scale = bins, scale
        return left[:, 0, 0], width[:, 0, 0], left[:, 1, 0], width[:, 1, 0], derivatives[:, 0], derivatives[:, 1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the raw parameters; that of the value does not pass through the bin's number."""
        share, place, width, left = ctx.saved_tensors
        bins, scale = ctx.bins, ctx.scale
        left_x, width_x, left_y, width_y, first, second = gradients
        of_left = torch.stack((left_x, left_y), 1)[:, :, None]
        of_width = torch.stack((width_x, width_y), 1)[:, :, None]
        share_here = (width - MINIMUM_BIN) / scale
        share_left = (left - place[:, None] * MINIMUM_BIN) / scale
        mean = of_left * share_left + of_width * share_here
        number = torch.arange(bins, device=share.device)[None, None, :, None]
        gradient = torch.where(number < place[:, None], of_left - mean, -mean)
        gradient = gradient.scatter(2, place[:, None].expand(-1, 2, 1, -1), of_width - mean) * share * scale
        result = share.new_zeros(share.shape[0], 3 * bins + 1, share.shape[-1])
        result[:, : 2 * bins] = gradient.reshape(share.shape[0], 2 * bins, -1)
        result[:, 2 * bins :].scatter_add_(1, torch.cat((place, place + 1), 1), torch.stack((first, second), 1))
        return result, None, None, None


def spline(raw: Tensor, value: Tensor, bins: int, inverse: bool) -> tuple[Tensor, Tensor]:
    """Map values of the unit interval to the unit interval.

    Args:
        raw: Parameters, ``(t, 3 bins + 1, n)``: logits of widths and heights, and raw derivatives at the knots. All
            zero they give the identity.
        value: Values, ``(t, n)``.
        bins: Number of bins.
        inverse: Whether to map back.

    Returns:
        Mapped values and the logarithm of their derivative, each ``(t, n)``.

    References:
        Durkan et al., arXiv:1906.04032.
    """
    left_x, width, left_y, height, first, second = _Knots.apply(raw, value, bins, inverse)  # type: ignore[no-untyped-call]
    before = (functional.softplus(first) + MINIMUM_DERIVATIVE) * _DERIVATIVE_SCALE
    after = (functional.softplus(second) + MINIMUM_DERIVATIVE) * _DERIVATIVE_SCALE
    slope = height / width
    curvature = before + after - 2 * slope
    if inverse:
        rise = value - left_y
        a = rise * curvature + height * (slope - before)
        b = height * before - rise * curvature
        root = torch.sqrt(torch.clamp(b * b + 4 * a * slope * rise, min=0.0))
        theta = (2 * slope * rise / (b + root)).clamp(0.0, 1.0)
    else:
        theta = ((value - left_x) / width).clamp(0.0, 1.0)
    product = theta * (1 - theta)
    denominator = slope + curvature * product
    numerator = after * theta * theta + 2 * slope * product + before * (1 - theta) ** 2
    log_derivative = torch.log(slope * slope * numerator / (denominator * denominator))
    if inverse:
        return theta * width + left_x, -log_derivative
    return left_y + height * (slope * theta * theta + before * product) / denominator, log_derivative
