"""The velocity field: a residual network that sees a point, a time and what is given."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

FREQUENCIES = 8
EMBEDDING = 32


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a layer without values: its own start values would come from torch's global random numbers."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)  # type: ignore[no-untyped-call]
    return layer


class _Block(nn.Module):
    """Residual block: two layers, with time and what is given added in between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.condition, self.second = (
            _linear(width, width),
            _linear(EMBEDDING, width),
            _linear(width, width),
        )

    def forward(self, hidden: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        inner = self.first(nn.functional.silu(hidden)) + self.condition(condition)
        out: torch.Tensor = hidden + self.second(nn.functional.silu(inner))
        return out


class VelocityNetwork(nn.Module):
    r"""Velocity field of the probability path from data (t = 0) to noise (t = 1).

    .. math:: v(x, t, c) = \frac{2t - 1}{q} x + \frac{1}{\sqrt q} f(x / \sqrt q, t, c), \quad q = (1 - t)^2 + t^2

    The first term is the exact velocity for data that are a standard normal themselves, which points are by
    construction up to what correlates their coordinates; the network :math:`f` starts at zero and learns the rest.
    Its output has unit variance at every t: :math:`1 / q` is the variance of the target around the first term.

    Args:
        dimension: Number of coordinates.
        context: How many numbers are given.
        width: Width of the hidden layers.
        depth: Number of residual blocks.
    """

    def __init__(self, dimension: int, context: int, width: int, depth: int) -> None:
        super().__init__()
        self.inward = _linear(dimension + context, width)
        self.time = _linear(2 * FREQUENCIES, EMBEDDING)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(depth))
        self.outward = _linear(width, dimension)

    def initialise(self, rng: np.random.Generator) -> None:
        """Set all parameters from `rng`: uniform by fan-in; the last layer of each block and of all zero."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                bound = 1 / math.sqrt(parameter.shape[-1])
                values = rng.uniform(-bound, bound, tuple(parameter.shape))
                if parameter.ndim == 1 or name.startswith("outward") or ".second" in name:
                    values[...] = 0.0
                parameter.copy_(torch.from_numpy(values))

    def forward(self, x: torch.Tensor, t: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Velocity of points ``(n, dimension)`` at times ``(n, 1)`` or ``(1, 1)``, given ``(n, context)``."""
        variance = (1 - t) ** 2 + t**2
        scale = torch.rsqrt(variance)
        angles = t * (math.pi * 2.0 ** torch.arange(FREQUENCIES, dtype=x.dtype, device=x.device) / 2)
        condition = nn.functional.silu(self.time(torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)))
        hidden = self.inward(torch.cat([x * scale, context], dim=1))
        for block in self.blocks:
            hidden = block(hidden, condition)
        velocity: torch.Tensor = (2 * t - 1) / variance * x + scale * self.outward(nn.functional.silu(hidden))
        return velocity
