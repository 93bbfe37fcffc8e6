"""The density of points of a coupling flow with rational-quadratic splines."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from zuko.flows.autoregressive import ElementWiseTransform
from zuko.flows.coupling import GeneralCouplingTransform

from mlgen.generation import PointDensity
from mlgen.splines import FastSpline
from mlgen_discflow.settings import DiscFlowSettings

#: Splines act between these limits; beyond, a flow is the identity.
BOUND = 6.0
#: Factor of the last layers' start values: an untrained flow is all but the identity.
_SMALL = 0.01


class SplineFlowDensity(PointDensity):
    r"""Points from noise by coupling blocks of splines; the density is exact.

    .. math:: \log p(x|c) = \log p_\mathrm{latent}(\bar G(x, c)) + \log \left|\frac{\partial \bar G}{\partial x}\right|

    In 2 ceil(log2 d) blocks every coordinate is changed by a spline that depends on every other.

    Args:
        dimension: Numbers of a point.
        context: Numbers that are given.
        settings: The generator's settings.

    References:
        Eq. (4.69) and (4.72) of Plehn et al., arXiv:2211.01421; Durkan et al., arXiv:1906.04032.
    """

    def __init__(self, dimension: int, context: int, settings: DiscFlowSettings) -> None:
        super().__init__()
        self.dimension = dimension
        bins = settings.bins
        network = {"hidden_features": (settings.width,) * settings.depth, "activation": nn.SiLU}
        spline = partial(FastSpline, bound=BOUND)
        shapes = [(bins,), (bins,), (bins - 1,)]
        # Start values would come from torch's global random numbers; `initialise` sets them.
        with torch.random.fork_rng(devices=[]):
            if dimension == 1:
                blocks = [ElementWiseTransform(1, context, spline, shapes, **network)]
            else:
                blocks = [
                    GeneralCouplingTransform(dimension, context, torch.tensor(mask), spline, shapes, **network)
                    for mask in coupling_masks(dimension) * settings.repeats
                ]
        self.blocks = nn.ModuleList(blocks)

    def initialise(self, rng: np.random.Generator) -> None:
        """See `PointDensity`."""
        with torch.no_grad():
            for block in self.blocks:
                for parameter in block.parameters():
                    bound = 1 / math.sqrt(parameter.shape[-1])
                    values = rng.uniform(-bound, bound, tuple(parameter.shape))
                    parameter.copy_(torch.from_numpy(values if parameter.ndim > 1 else np.zeros_like(values)))
                # Without context the only coordinate has no network, but three parameters.
                own = list(block.parameters())
                for parameter in own if hasattr(block, "phi") else own[-2:]:
                    parameter.mul_(_SMALL)

    def last_layers(self) -> list[nn.Module]:
        """See `PointDensity`."""
        # A single coordinate of which nothing is given has no network.
        networks = [block.hyper for block in self.blocks if hasattr(block, "hyper")]
        return [list(network.children())[-1] for network in networks if isinstance(network, nn.Module)]

    def _to_latent(self, points: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        given = context if context.shape[1] else None
        total = points.new_zeros(len(points))
        for block in self.blocks:
            points, logarithm = block(given).call_and_ladj(points)
            total = total + logarithm
        return points, total

    def loss(self, points: Tensor, context: Tensor, noise: torch.Generator) -> Tensor:
        """Minus the log density, for each point."""
        return -self.log_density(points, context)

    def sample(self, normal: Tensor, context: Tensor) -> Tensor:
        """See `PointDensity`."""
        given = context if context.shape[1] else None
        for block in reversed(self.blocks):
            normal = block(given).inv(normal)
        return normal

    def log_density(self, points: Tensor, context: Tensor) -> Tensor:
        """See `PointDensity`."""
        latent, logarithm = self._to_latent(points, context)
        normal = -0.5 * latent.square().sum(dim=1) - 0.5 * self.dimension * math.log(2 * math.pi)
        return normal + logarithm


def coupling_masks(dimension: int) -> list[list[bool]]:
    """Which coordinates are given in each block; over all blocks, every one meets every other.

    References:
        Gao et al., arXiv:2001.05486.
    """
    masks = []
    for bit in range(math.ceil(math.log2(dimension))):
        mask = [bool(i >> bit & 1) for i in range(dimension)]
        masks += [mask, [not given for given in mask]]
    return masks
