"""What was learned about one topology: its classes, its marginals and, with enough events, its velocity field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mlgen.errors import ModelError
from mlgen.events import FloatArray
from mlgen.representation import DecodedEvents, Topology, TopologyEvents
from mlgen_cfm.flow import FlowTraining, points_from_noise, train_flow
from mlgen_cfm.network import VelocityNetwork
from mlgen_cfm.settings import CfmSettings

IntArray = npt.NDArray[np.int64]

#: Smallest variance along a principal axis that is stretched to one; what is narrower is noise.
SMALLEST_VARIANCE = 1e-3


@dataclass(frozen=True)
class TopologyModel:
    """Generator of the events of one topology.

    Args:
        topology: Map between events and normal numbers.
        scale: Scale of all events, GeV; NaN where it is a coordinate.
        mean: Mean of the normal numbers, shape ``(dimension,)``.
        stretch: Matrix that turns uncorrelated numbers of unit variance into the normal numbers, ``(dimension,
            dimension)``, applied from the right.
        network: The velocity field of the uncorrelated numbers; None when there were too few events for one.
    """

    topology: Topology
    scale: float
    mean: FloatArray
    stretch: FloatArray
    network: VelocityNetwork | None

    @classmethod
    def without_network(cls, topology: Topology, scale: float) -> TopologyModel:
        """Return a model of independent coordinates: the marginals are right and nothing else."""
        d = topology.dimension
        return cls(topology, scale, np.zeros(d), np.eye(d), None)

    @classmethod
    def train(
        cls,
        topology: Topology,
        scale: float,
        events: TopologyEvents,
        steps: int,
        settings: CfmSettings,
        rng: np.random.Generator,
        report: Callable[[int, float], None],
    ) -> tuple[TopologyModel, FlowTraining]:
        """Learn from events; the arguments are those of `train_flow`."""
        mean, shrink, stretch = _principal_axes(events.normal, events.weight)
        network = VelocityNetwork(topology.dimension, topology.features.shape[1], settings.width, settings.depth)
        network.initialise(rng)
        data = _times(events.normal - mean, shrink)
        features = topology.features[events.index]
        training = train_flow(network, data, features, events.weight, steps, settings, rng, report)
        return cls(topology, scale, mean, stretch, network), training

    def generate(self, index: IntArray, solver_steps: int, rng: np.random.Generator) -> DecodedEvents:
        """Make one event of each given class, ``(n,)``; some may be impossible."""
        noise = rng.standard_normal((len(index), self.topology.dimension), np.float32)
        if self.network is None:
            points = noise.astype(np.float64)
        else:
            points = points_from_noise(self.network, noise, self.topology.features[index], solver_steps)
        normal = self.mean + _times(points, self.stretch)
        return self.topology.decode(normal, index, rng.uniform(-np.pi, np.pi, len(index)))

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything as named arrays."""
        state = {
            **self.topology.state(),
            "scale": np.array([self.scale]),
            "mean": self.mean,
            "stretch": self.stretch,
            "has_network": np.array([self.network is not None]),
        }
        if self.network is not None:
            for name, parameter in self.network.named_parameters():
                state[f"network.{name}"] = parameter.detach().numpy().copy()
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]], settings: CfmSettings) -> TopologyModel:
        """Inverse of `state`.

        Raises:
            ModelError: The arrays do not fit, or the settings describe another network.
        """
        topology = Topology.from_state(state)
        d = topology.dimension
        for name, shape in (("scale", (1,)), ("mean", (d,)), ("stretch", (d, d)), ("has_network", (1,))):
            _check_shape(state, name, shape)
        network = None
        if state["has_network"][0]:
            network = VelocityNetwork(d, topology.features.shape[1], settings.width, settings.depth)
            expected = dict(network.named_parameters())
            surplus = {name.removeprefix("network.") for name in state if name.startswith("network.")} - set(expected)
            if surplus:
                raise ModelError(
                    f"the model holds a network parameter '{min(surplus)}' that a network of width {settings.width}"
                    f" and depth {settings.depth} does not have; load it with the settings it was trained with"
                )
            with torch.no_grad():
                for name, parameter in expected.items():
                    _check_shape(state, f"network.{name}", tuple(parameter.shape), settings)
                    parameter.copy_(torch.from_numpy(np.array(state[f"network.{name}"], np.float32)))
        return cls(topology, float(state["scale"][0]), state["mean"], state["stretch"], network)


def _check_shape(
    state: Mapping[str, npt.NDArray[Any]], name: str, shape: tuple[int, ...], settings: CfmSettings | None = None
) -> None:
    found = state[name].shape if name in state else None
    if found == shape:
        return
    trouble = "is missing" if found is None else f"has shape {found}; {shape} is expected"
    hint = f" for width {settings.width} and depth {settings.depth}" if settings else ""
    raise ModelError(f"the array '{name}' of the model {trouble}{hint}")


def _principal_axes(normal: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the mean, and matrices from normal to uncorrelated numbers of unit variance and back."""
    share = weight / weight.sum()
    mean = (share[:, None] * normal).sum(axis=0)
    centred = normal - mean
    # einsum and not a matrix product: its result does not depend on the number of threads.
    covariance = np.einsum("n,ni,nj->ij", share, centred, centred)
    variance, axes = np.linalg.eigh(covariance)
    # Negative weights can make a small variance negative.
    width = np.sqrt(np.maximum(variance, SMALLEST_VARIANCE))
    # Contiguous, as they are after loading: the order of a sum, and so its last bit, follows the layout.
    return mean, np.ascontiguousarray(axes / width), np.ascontiguousarray((axes * width).T)


def _times(points: FloatArray, matrix: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("ni,ij->nj", points, matrix), np.float64)
