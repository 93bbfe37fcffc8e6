"""The density of points that is learned: the one file to edit. Everything else of an event is mlgen's.

Any torch module will do that has the methods of `Model`: a flow, a diffusion model, or a network that was trained
elsewhere, whose weights `initialise` loads (with ``steps = 1`` in the card).
"""

from __future__ import annotations

import math

import numpy as np
import torch
import zuko
from mlgen.generation import PointDensity
from torch import Tensor, nn

from own_nsf import PluginSettings


class Model(PointDensity):
    r"""A mixture of K normal distributions, whose shares and means follow from what is given.

    .. math:: p(x | c) = \sum_k \pi_k(c) \, |A_k| \, N\bigl(A_k (x - \mu_k(c))\bigr)

    A network of one hidden layer gives the shares and the means; each component has one lower triangular matrix A.
    The points are numbers of order one that mlgen makes of an event's momenta, so that whatever is learned here, events
    conserve four-momentum and lie inside the cuts of the training file (`mlgen.generation`).

    Args:
        dimension: Numbers of a point, d.
        context: Numbers that are given: what was generated before, such as the momenta of the event without its last
            jet. May be zero.
        settings: The generator's settings.

    References:
        Bishop, Mixture density networks, NCRG/94/004 (1994).
    """

    # YOUR MODEL: its layers. Parameters get their values in `initialise`, not here.
    def __init__(self, dimension: int, context: int, settings: PluginSettings) -> None:
        super().__init__()
        self.context = context
        # zuko draws start values and has no way not to; they are overwritten in `initialise`.
        with torch.random.fork_rng(devices=[]):
            self.flow = zuko.flows.NSF(dimension, context, bins=settings.bins, hidden_features=[settings.width] * 2)

    # YOUR MODEL: its start values.
    def initialise(self, rng: np.random.Generator) -> None:
        """Set all parameters from `rng`, the only source of randomness; points are close to normal ones then."""
        with torch.no_grad():
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    width = 0.3 / math.sqrt(layer.in_features)
                    layer.weight.copy_(torch.from_numpy(rng.normal(0.0, width, tuple(layer.weight.shape))))
                    layer.bias.zero_()

    # YOUR MODEL: its last layers; an empty list where it has no linear ones, and cannot be Bayesian.
    def last_layers(self) -> list[nn.Module]:
        """The layers whose weights vary where the card says ``uncertainty = "bayesian"``."""
        return []

    # YOUR MODEL: what is minimised. Say in `__init__.py` whether it is minus the log of a density (`LIKELIHOOD`).
    def loss(self, points: Tensor, context: Tensor, noise: torch.Generator) -> Tensor:
        """What the training makes small, ``(n,)``: here minus the log density. Random numbers come from `noise`."""
        return -self.log_density(points, context)

    # YOUR MODEL: points from noise.
    def sample(self, normal: Tensor, context: Tensor) -> Tensor:
        """Turn standard normal numbers ``(n, d)`` into points: the first number chooses the component as well."""
        points: Tensor = self._flow(context).transform.inv(normal)
        return points

    # YOUR MODEL: the density. Without one: raise an error, and take DENSITY out of the capabilities (`__init__.py`).
    def log_density(self, points: Tensor, context: Tensor) -> Tensor:
        """Log density of points ``(n, d)``, ``(n,)``."""
        found: Tensor = self._flow(context).log_prob(points)
        return found

    def _flow(self, context: Tensor) -> zuko.distributions.NormalizingFlow:
        return self.flow(context if self.context else None)
