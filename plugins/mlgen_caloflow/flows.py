"""The two flows of a calorimeter: layer energies given the incident energy, then voxels given both."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor, nn

from mlgen.showers import Geometry
from mlgen.stages import FloatArray, IntArray
from mlgen_caloflow.conditions import Particles, incident_numbers, layer_numbers
from mlgen_caloflow.piece_flow import PieceFlow
from mlgen_caloflow.settings import CaloFlowSettings
from mlgen_caloflow.stick_breaking import Pieces, StickBreaking
from mlgen_caloflow.student import GroupedFlow

#: Channels, blocks and groups of channels of the network of layer energies; it has few pieces.
_LAYER_WIDTH, _LAYER_DEPTH, _LAYER_GROUPS = 48, 2, 2


class ShowerFlows(nn.Module):
    """Showers in a calorimeter, from uniform numbers.

    What a particle can deposit at most is broken into what leaks out and the layer energies; each layer energy into its
    voxels, those with most energy on average first. So all sums are exact, and no shower has more than physics allows.

    Args:
        geometry: The calorimeter.
        particles: Those that it is trained for.
        order: Voxels, layer by layer, in the order in which they are taken, ``(n_voxels,)``.
        settings: Of the surrogate.

    References:
        Krause and Shih, arXiv:2106.05285 and arXiv:2110.11377; Plehn et al., arXiv:2211.01421, sec. 4.3.4.
    """

    def __init__(self, geometry: Geometry, particles: Particles, order: IntArray, settings: CaloFlowSettings) -> None:
        super().__init__()
        self.geometry, self.particles, self.order = geometry, particles, order
        self.threshold = settings.threshold
        sizes = tuple(layer.n_voxels for layer in geometry.layers)
        self.voxel_sticks = StickBreaking(sizes, settings.threshold)
        self.layer_sticks = StickBreaking((1 + len(sizes),), settings.threshold)
        incident = 2 + len(particles.pdg_id)
        given = incident + 3 * len(sizes)
        self.layers = PieceFlow(
            self.layer_sticks,
            incident,
            width=_LAYER_WIDTH,
            depth=_LAYER_DEPTH,
            groups=_LAYER_GROUPS,
            bins=settings.bins,
        )
        self.teacher = PieceFlow(
            self.voxel_sticks,
            given,
            width=settings.width,
            depth=settings.depth,
            groups=settings.groups,
            bins=settings.bins,
            dropout=settings.dropout,
        )
        self.student: GroupedFlow | None = None
        if settings.student_passes:
            self.student = GroupedFlow(
                self.voxel_sticks, given, steps=settings.student_steps, width=settings.student_width, bins=settings.bins
            )

    def layer_pieces(self, number: IntArray, energy: FloatArray, layers: FloatArray) -> tuple[Pieces, Tensor]:
        """Layer energies ``(n, layers)`` as pieces, and what their flow is given.

        Args:
            number: Kinds of the particles, ``(n,)``.
            energy: Incident energies, MeV, ``(n,)``.
            layers: MeV.
        """
        leaked = self.particles.limit(number, energy) - layers.sum(axis=1)
        leaked = np.where(leaked < self.threshold, 0.0, leaked)
        pieces = self.layer_sticks.broken(np.concatenate([leaked[:, None], layers], axis=1))
        return pieces, self._tensor(incident_numbers(self.particles, number, energy))

    def voxel_pieces(self, number: IntArray, energy: FloatArray, voxels: FloatArray) -> tuple[Pieces, Tensor]:
        """Voxels ``(n, n_voxels)`` in MeV as pieces, and what their flow is given."""
        pieces = self.voxel_sticks.broken(voxels[:, self.order])
        return pieces, self.given(number, energy, self.voxel_sticks.amounts(pieces.energy))

    def given(self, number: IntArray, energy: FloatArray, layers: FloatArray) -> Tensor:
        """What the flow of voxels is given, ``(n, given)``."""
        numbers = incident_numbers(self.particles, number, energy)
        return self._tensor(np.concatenate([numbers, layer_numbers(layers, energy, self.threshold)], axis=1))

    def sample(self, number: IntArray, energy: FloatArray, rng: np.random.Generator, *, teacher: bool) -> FloatArray:
        """Make showers, ``(n, n_voxels)`` in MeV, for kinds ``(n,)`` and incident energies ``(n,)`` in MeV."""
        n = len(number)
        limit = self.particles.limit(number, energy)[:, None]
        incident = self._tensor(incident_numbers(self.particles, number, energy))
        uniform = rng.random((n, self.layer_sticks.n_pieces))
        layers = self.layers.sample(limit, incident, uniform)[:, 1:]
        flow = self.teacher if teacher or self.student is None else self.student
        uniform = rng.random((n, self.voxel_sticks.n_pieces))
        pieces = flow.sample(layers, self.given(number, energy, layers), uniform)
        voxels = np.empty_like(pieces)
        voxels[:, self.order] = pieces
        return voxels

    def _tensor(self, values: FloatArray) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self.teacher.device)


def voxel_order(geometry: Geometry, mean: FloatArray) -> IntArray:
    """Voxels layer by layer, those with most energy on average first, ``(n_voxels,)``."""
    offsets = geometry.layer_offsets
    layers = itertools.pairwise(offsets)
    return np.concatenate([start + np.argsort(-mean[start:stop], kind="stable") for start, stop in layers])
