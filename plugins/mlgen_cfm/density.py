"""The density of points that a velocity field makes of noise."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from mlgen.generation import PointDensity
from mlgen_cfm.network import VelocityNetwork
from mlgen_cfm.pairing import paired
from mlgen_cfm.settings import CfmSettings
from mlgen_cfm.solvers import solve


class FlowMatchingDensity(PointDensity):
    """Points at t = 0 from noise at t = 1.

    Args:
        dimension: Numbers of a point.
        context: Numbers that are given.
        settings: The generator's settings.

    References:
        Lipman et al., arXiv:2210.02747; Butter et al., arXiv:2305.10475.
    """

    def __init__(self, dimension: int, context: int, settings: CfmSettings) -> None:
        super().__init__()
        self.settings = settings
        self.network = VelocityNetwork(dimension, context, settings.width, settings.depth)

    def initialise(self, rng: np.random.Generator) -> None:
        """See `PointDensity`."""
        self.network.initialise(rng)

    def last_layers(self) -> list[nn.Module]:
        """See `PointDensity`."""
        return [self.network.outward]

    def loss(self, points: Tensor, context: Tensor, noise: torch.Generator) -> Tensor:
        r"""Flow-matching loss on linear paths, for each point.

        .. math::
            \mathcal L = \bigl[ v_\theta((1-t) x_0 + t r, t, c) - (r - x_0) \bigr]^2

        References:
            Eq. (4.151) of Plehn et al., arXiv:2211.01421.
        """
        n = len(points)
        latent = torch.randn(points.shape, generator=noise, device=points.device)
        if self.settings.pairing == "optimal-transport":
            latent = paired(points, latent, context)
        # One time in each of n equal intervals, in any order: less noise than independent times.
        shift = torch.rand(n, generator=noise, device=points.device)
        t = ((torch.randperm(n, generator=noise, device=points.device) + shift) / n)[:, None]
        return self.matching_loss(points, latent, t, context)

    def matching_loss(self, points: Tensor, latent: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """Loss of pairs of points and noise ``(n, d)`` at times ``(n, 1)``, for each, ``(n,)``."""
        error: Tensor = self.network((1 - t) * points + t * latent, t, context) - (latent - points)
        return error.square().mean(dim=1)

    def _velocity(self, x: Tensor, t: float, context: Tensor) -> Tensor:
        out: Tensor = self.network(x, torch.full((1, 1), t, dtype=x.dtype, device=x.device), context)
        return out

    def sample(self, normal: Tensor, context: Tensor) -> Tensor:
        """See `PointDensity`."""
        return self.follow(normal, context, self.settings.solver, self.settings.solver_steps)

    def follow(self, latent: Tensor, context: Tensor, solver: str, steps: int) -> Tensor:
        """Points from noise ``(n, d)``, by a solver of `mlgen_cfm.solvers.solve`."""
        tolerance = self.settings.tolerance
        return solve(lambda x, t: self._velocity(x, t, context), latent, 1.0, 0.0, solver, steps, tolerance)

    def log_density(self, points: Tensor, context: Tensor) -> Tensor:
        r"""Log density, by the divergence of the velocity along the way back to noise.

        .. math:: \log p(x_0) = \log p_\mathrm{latent}(x(1)) + \int_0^1 dt\, \nabla_x v(x(t), t)

        The divergence is exact, by one derivative for each coordinate.

        References:
            Eq. (4.156) of Plehn et al., arXiv:2211.01421.
        """
        d = points.shape[1]
        settings = self.settings
        directions = torch.eye(d, dtype=points.dtype, device=points.device)

        def both(state: Tensor, t: float) -> Tensor:
            x = state[:, :d]

            def field(y: Tensor) -> Tensor:
                return self._velocity(y, t, context)

            velocity, divergence = x, torch.zeros(len(x), dtype=x.dtype, device=x.device)
            with warnings.catch_warnings():
                # The first derivative loads parts of torch that use what torch itself calls deprecated.
                warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
                for i in range(d):
                    velocity, derivative, *_ = torch.func.jvp(field, (x,), (directions[i].expand_as(x),))
                    divergence = divergence + derivative[:, i]
            return torch.cat([velocity, divergence[:, None]], dim=1)

        start = torch.cat([points, torch.zeros_like(points[:, :1])], dim=1)
        end = solve(both, start, 0.0, 1.0, settings.solver, settings.solver_steps, settings.tolerance)
        latent, integral = end[:, :d], end[:, d]
        normal = -0.5 * latent.square().sum(dim=1) - 0.5 * d * float(np.log(2 * np.pi))
        return normal + integral
