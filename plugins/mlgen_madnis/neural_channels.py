"""Densities and channel weights as the networks have learned them, in double precision on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mlgen.sampling import BoolArray, prior_of_drawn
from mlgen.stages import FloatArray, IntArray
from mlgen.threads import one_thread
from mlgen_madnis.channel_weights import learned_channel_weights
from mlgen_madnis.networks import Networks
from mlgen_madnis.smooth_maps import SmoothMaps

#: Points that go through a network at once: its arrays stay in the cache.
_BATCH = 4096


class NeuralChannels:
    """A flow on top of smooth VEGAS maps for each group of channels, and the network of the channel weights.

    Args:
        maps: The VEGAS maps.
        networks: The networks, on the CPU; the objects are kept, and turned to double precision.
        group_of_channel: Group of each channel, ``(channels,)``.
        active: Whether a channel is drawn at all, ``(channels,)``.
        features: Number of features of a point.
    """

    def __init__(
        self,
        maps: SmoothMaps,
        networks: Networks,
        group_of_channel: IntArray,
        active: BoolArray,
        features: int,
    ) -> None:
        self.maps = maps
        self.networks = networks
        for module in networks.parts.values():
            module.double().requires_grad_(False)
        self.group_of_channel = group_of_channel
        self.active = active
        self.features = features

    def place(self, uniform: FloatArray, counts: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return positions ``(n, d)`` and Jacobians ``(n,)`` of uniform points, sorted by channel.

        Args:
            uniform: Uniform points, ``(n, d)``.
            counts: How many belong to each channel, ``(channels,)``.
        """
        flows = self.networks.flows
        group = np.repeat(self.group_of_channel, counts)
        order = np.argsort(group, kind="stable")
        u, jacobian = np.empty_like(uniform), np.empty(len(uniform))
        with one_thread(), torch.no_grad():
            for start in range(0, len(uniform), _BATCH):
                chosen = order[start : start + _BATCH]
                points = torch.from_numpy(uniform[chosen])
                of_group = np.bincount(group[chosen], minlength=flows.groups).tolist()
                moved, log_determinant = flows.transform(points, of_group, inverse=True)
                u[chosen], jacobian[chosen] = moved.numpy(), torch.exp(log_determinant).numpy()
        x, jacobian_of_maps = self.maps.place(np.clip(u, 0.0, 1.0), group)
        return x, jacobian * jacobian_of_maps

    def channel_weights(self, features: FloatArray, prior: FloatArray) -> FloatArray:
        """Return the channel weights, ``(n, channels)``, each row summing to one.

        Raises:
            ValueError: The features are not finite, or the arrays are of another shape than in the training.
        """
        of_drawn = prior_of_drawn(self.active, self.features, features, prior)
        network = self.networks.channel_weights
        if network is None:
            return of_drawn
        weights = np.empty(prior.shape)
        active = torch.from_numpy(self.active)
        with one_thread(), torch.no_grad():
            for start in range(0, len(prior), _BATCH):
                part = slice(start, start + _BATCH)
                logarithm = network(torch.from_numpy(np.ascontiguousarray(features[part], np.float64)))
                weights[part] = learned_channel_weights(logarithm, torch.from_numpy(of_drawn[part]), active).numpy()
        return weights

    def arrays(self) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        """Return the parameters of the networks, as they were learned in single precision."""
        return {name: _single(parameter) for name, parameter in self.networks.parameters.items()}


def _single(parameter: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.asarray(parameter.detach().float().numpy(), np.float32)
