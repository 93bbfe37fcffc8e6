r"""The distribution of what a piece takes, from a network's numbers: nothing, a part, or all.

One uniform number :math:`u` says which: nothing below :math:`p_\mathrm{nothing}`, all above
:math:`1 - p_\mathrm{all}`, a part between; there, what is left of :math:`u` is made normal and goes through a
rational-quadratic spline. So the piece is a monotonic function of :math:`u`: a flow, in which zeros are noise below the
threshold, of which the network knows exactly how much there is.

References:
    Noise for zeros: Krause and Shih, arXiv:2106.05285, sec. III; splines: Durkan et al., arXiv:1906.04032.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from mlgen.splines import FastSpline
from mlgen_caloflow.stick_breaking import ALL, NOTHING, PART

#: Numbers beside those of the spline: three kinds, shift and logarithm of the scale.
_KINDS, _SHIFT, _SCALE, _SPLINE = 3, 3, 4, 5
#: Splines act between these limits.
_BOUND = 5.0
_SCALE_LIMIT = 5.0
#: Uniform numbers are kept so far from 0 and 1 that their normal ones stay finite in single precision.
_EDGE = 1e-6


def outputs_for(bins: int) -> int:
    """Numbers that a network has to give for each piece."""
    return _SPLINE + 3 * bins - 1


def negative_log_likelihood(outputs: Tensor, kind: Tensor, part: Tensor, open_: Tensor) -> Tensor:
    """Sum of all open pieces.

    Args:
        outputs: ``(pieces, n, outputs)``.
        kind: ``(pieces, n)``.
        part: Coordinates of parts, standardised, ``(pieces, n)``.
        open_: Which pieces are counted, ``(pieces, n)``.
    """
    outputs = outputs.float()
    kinds = functional.log_softmax(outputs[..., :_KINDS], dim=-1).gather(-1, kind[..., None])[..., 0]
    are_parts = (kind == PART) & open_
    chosen = outputs[are_parts]
    normal, logarithm = _to_normal(chosen, part[are_parts])
    parts = 0.5 * normal.square() + 0.5 * math.log(2 * math.pi) - logarithm
    return parts.sum() - (kinds * open_).sum()


def choose(outputs: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Kinds and standardised coordinates ``(n,)`` for uniform numbers ``(n,)`` and outputs ``(n, outputs)``."""
    nothing, some, every = _probabilities(outputs)
    kind = torch.where(uniform < nothing, NOTHING, torch.where(uniform >= 1 - every, ALL, PART))
    inside = (uniform - nothing) / some.clamp(min=1e-12)
    normal = normal_of(inside)
    moved = _spline(outputs).inv(normal)
    return kind, moved * torch.exp(_log_scale(outputs)) + outputs[..., _SHIFT]


def uniform_of(outputs: Tensor, kind: Tensor, part: Tensor, noise: Tensor) -> Tensor:
    """Inverse of `choose`; `noise`, uniform as well, says where below the threshold a zero is."""
    outputs = outputs.float()
    nothing, some, every = _probabilities(outputs)
    normal, _ = _to_normal(outputs, part)
    inside = nothing + some * torch.special.ndtr(normal)
    return torch.where(kind == NOTHING, noise * nothing, torch.where(kind == ALL, 1 - every * (1 - noise), inside))


def normal_of(uniform: Tensor) -> Tensor:
    """Uniform numbers made normal, within limits."""
    normal: Tensor = torch.special.ndtri(uniform.clamp(_EDGE, 1 - _EDGE))
    return normal


def _probabilities(outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of nothing, a part, and all. torch's softmax takes several times as long over three numbers."""
    kinds = outputs[..., :_KINDS].unbind(-1)
    largest = torch.maximum(torch.maximum(kinds[0], kinds[1]), kinds[2])
    exponentials = [torch.exp(kind - largest) for kind in kinds]
    total = exponentials[0] + exponentials[1] + exponentials[2]
    return exponentials[NOTHING] / total, exponentials[PART] / total, exponentials[ALL] / total


def _to_normal(outputs: Tensor, part: Tensor) -> tuple[Tensor, Tensor]:
    log_scale = _log_scale(outputs)
    normal, logarithm = _spline(outputs).call_and_ladj((part - outputs[..., _SHIFT]) * torch.exp(-log_scale))
    return normal, logarithm - log_scale


def _log_scale(outputs: Tensor) -> Tensor:
    return outputs[..., _SCALE].clamp(-_SCALE_LIMIT, _SCALE_LIMIT)


def _spline(outputs: Tensor) -> FastSpline:
    bins = (outputs.shape[-1] - _SPLINE + 1) // 3
    widths, heights, derivatives = torch.split(outputs[..., _SPLINE:], [bins, bins, bins - 1], dim=-1)
    return FastSpline(widths, heights, derivatives, bound=_BOUND)
