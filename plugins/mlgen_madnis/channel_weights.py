"""The network that changes the prior channel weights."""

from __future__ import annotations

import torch
from madnis.nn import MLP
from torch import Tensor, nn

#: Largest logarithm of the factor by which the network changes a prior weight.
_LARGEST_LOGARITHM = 20.0
#: Added to prior weights, so that a channel that has none can get some.
PRIOR_OFFSET = 1e-12


class ChannelWeightNetwork(nn.Module):
    r"""Logarithms :math:`\Delta_c` of the factors in :math:`\alpha_c \propto \alpha_c^\mathrm{prior} e^{\Delta_c}`.

    Untrained, they are zero.

    Args:
        features: Features of a point.
        channels: Number of channels.
        layers: Layers of the network.
        units: Units of its hidden layers.

    References:
        Heimel et al., SciPost Phys. 17, 023 (2024), arXiv:2311.01548.
    """

    def __init__(self, features: int, channels: int, *, layers: int, units: int) -> None:
        super().__init__()
        self.network = MLP(features, channels, layers, units, nn.LeakyReLU)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logarithms, ``(n, channels)``, for features ``(n, features)``."""
        logarithm: Tensor = self.network(features)
        return _LARGEST_LOGARITHM * torch.tanh(logarithm / _LARGEST_LOGARITHM)


def learned_channel_weights(logarithm: Tensor, prior: Tensor, active: Tensor) -> Tensor:
    """Return the channel weights, ``(n, channels)``, zero for channels that are not `active` ``(channels,)``."""
    logits = torch.log(prior + PRIOR_OFFSET) + logarithm
    return torch.softmax(logits.masked_fill(~active, -torch.inf), dim=1)
