"""Flavours, colour flow and helicities of a topology's events, each given the momenta and what was drawn before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mlgen.events import FloatArray
from mlgen.generation.drawn_labels import DrawnLabels
from mlgen.generation.label_network import LabelNetwork
from mlgen.representation import Topology, TopologyEvents
from mlgen.representation.labels import one_hot

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_WIDTH, _DEPTH = 64, 2
_BATCH, _LEARNING_RATE = 1024, 2e-3
#: Events of a flavour label from which on its colour flows get the frequencies of the training.
_FREQUENT = 100
_KINDS = ("flavour", "color", "spin")


@dataclass(frozen=True)
class TopologyLabels:
    """Probabilities of the labels of a topology.

    Args:
        flavour: p(flavours | point).
        color: p(colour flow | point, flavours).
        spin: p(helicities | point, flavours, colour flow).
        pairs: Number of each pair of flavour label and colour flow that occurs, -1 for others, ``(flavours, flows)``.
    """

    flavour: LabelNetwork
    color: LabelNetwork
    spin: LabelNetwork
    pairs: IntArray

    @classmethod
    def train(
        cls,
        topology: Topology,
        events: TopologyEvents,
        points: FloatArray,
        factor: FloatArray,
        steps: int,
        rng: np.random.Generator,
        report: Callable[[int, float], None],
    ) -> Self:
        """Learn from a topology's events.

        Args:
            topology: The topology.
            events: Its events.
            points: What the networks see of them, ``(images, n, numbers)``.
            factor: Multiplies their weights, ``(n,)``.
            steps: Of each network.
            rng: Source of all randomness.
            report: Called with the steps done, of three times as many, and the loss.
        """
        labels = topology.labels
        flavour, color, spin, seen = _imaged(topology, events, points, rng)
        weight = events.weight * factor
        pairs = _pairs(topology)
        everything = np.zeros(len(flavour), np.int64)
        first, second = np.nonzero(pairs >= 0)
        of_pairs = np.hstack([labels.features[first], one_hot([second])])

        def network(
            number: int,
            label: IntArray,
            allowed: BoolArray,
            condition: IntArray,
            features: npt.NDArray[np.float32],
        ) -> LabelNetwork:
            return LabelNetwork.train(
                seen,
                label,
                weight,
                allowed,
                condition,
                features,
                width=_WIDTH,
                depth=_DEPTH,
                steps=max(steps, 1),
                batch_size=_BATCH,
                learning_rate=_LEARNING_RATE,
                rng=rng,
                report=lambda step, loss: report(number * steps + step, loss),
            )

        return cls(
            network(0, flavour, np.ones((1, len(labels.pdg_id)), bool), everything, np.zeros((1, 0), np.float32)),
            network(1, color, labels.allowed_colors, flavour, labels.features),
            network(2, spin, labels.allowed_spins[first], pairs[flavour, color], of_pairs),
            pairs,
        )

    def draw(self, points: FloatArray, rng: np.random.Generator) -> DrawnLabels:
        """Draw labels for points ``(n, numbers)``."""
        flavour = self.flavour.draw(points, np.zeros(len(points), np.int64), rng)
        color = self.color.draw(points, flavour, rng)
        return DrawnLabels(flavour, color, self.spin.draw(points, self.pairs[flavour, color], rng))

    def log_probability(self, points: FloatArray, labels: DrawnLabels) -> FloatArray:
        """Log of the probability of labels, ``(n,)``."""
        each = np.arange(len(points))
        nothing = np.zeros(len(points), np.int64)
        total = self.flavour.log_probability(points, nothing)[each, labels.flavour]
        total = total + self.color.log_probability(points, labels.flavour)[each, labels.color]
        pair = self.pairs[labels.flavour, labels.color]
        known = pair >= 0
        last = self.spin.log_probability(points, np.maximum(pair, 0))[each, labels.spin]
        return np.asarray(np.where(known, total + last, -np.inf))

    def calibrated(
        self, topology: Topology, events: TopologyEvents, points: FloatArray, rng: np.random.Generator
    ) -> TopologyLabels:
        """Return one that gives flavours, and colour flows of frequent ones, the frequencies of the training.

        Args:
            topology: The topology.
            events: Its events.
            points: Generated points, ``(n, numbers)``.
            rng: Draws their flavours.
        """
        share = topology.labels.share[None]
        nothing = np.zeros(len(points), np.int64)
        flavour = self.flavour.calibrate(points, nothing, share / share.sum())
        flavours, flows = topology.labels.allowed_colors.shape
        counts = np.bincount(events.flavour, minlength=flavours)
        cells = np.bincount(events.flavour * flows + events.color, events.weight, flavours * flows)
        # A probability of zero would stay one, and a frequency of a few events is mostly noise.
        target = np.where(self.color.allowed, np.maximum(cells.reshape(flavours, flows), 0.0), 0.0)
        target[counts < _FREQUENT] = 0.0
        drawn = flavour.draw(points, nothing, rng)
        return replace(self, flavour=flavour, color=self.color.calibrate(points, drawn, target))

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything as named arrays."""
        return {f"{kind}.{name}": array for kind in _KINDS for name, array in getattr(self, kind).state().items()}

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]], topology: Topology, dimension: int) -> Self:
        """Inverse of `state`, for points of `dimension` numbers.

        Raises:
            ModelError: The arrays do not fit.
        """
        labels, pairs = topology.labels, _pairs(topology)
        sizes = {
            "flavour": (1, len(labels.pdg_id)),
            "color": labels.allowed_colors.shape,
            "spin": (int(pairs.max()) + 1, len(labels.spins)),
        }
        networks = {}
        for kind in _KINDS:
            begin = f"{kind}."
            part = {name.removeprefix(begin): array for name, array in state.items() if name.startswith(begin)}
            conditions, count = sizes[kind]
            networks[kind] = LabelNetwork.from_state(
                part, dimension=dimension, conditions=conditions, labels=count, width=_WIDTH, depth=_DEPTH
            )
        return cls(networks["flavour"], networks["color"], networks["spin"], pairs)


def _pairs(topology: Topology) -> IntArray:
    allowed = topology.labels.allowed_colors
    pairs = np.full(allowed.shape, -1)
    pairs[allowed] = np.arange(int(allowed.sum()))
    return pairs


def _imaged(
    topology: Topology, events: TopologyEvents, points: FloatArray, rng: np.random.Generator
) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    """Labels and points of one mirror image of each event, drawn among those whose labels the sample has."""
    n = len(events.flavour)
    image = rng.integers(0, len(points), n)
    flavour, color, spin = events.flavour, events.color, events.spin
    if events.beams_exchanged.any():
        others = tuple(places[own] for places, own in zip(topology.labels.mirror, (flavour, color, spin), strict=True))
        known = np.all([other >= 0 for other in others], axis=0)
        allowed = topology.labels
        known[known] &= allowed.allowed_colors[others[0][known], others[1][known]]
        known[known] &= allowed.allowed_spins[others[0][known], others[2][known]]
        exchanged = events.beams_exchanged[image]
        image = np.where(exchanged & ~known, 0, image)
        exchanged = events.beams_exchanged[image]
        flavour, color, spin = (
            np.where(exchanged, other, own) for other, own in zip(others, (flavour, color, spin), strict=True)
        )
    return flavour, color, spin, points[image, np.arange(n)]
