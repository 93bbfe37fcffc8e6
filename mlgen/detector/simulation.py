"""Showers for the final particles of events, and the cells that they light up."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mlgen.cells import CELL_COLUMNS, SHOWER_PARTICLE_COLUMNS, CellBatch
from mlgen.detector.census import FATE_OF_WAY, Census, Fate
from mlgen.detector.front_face import Way, arrivals
from mlgen.detector.grid import CellGrid
from mlgen.detector.names import particle_name, pdg_id_of
from mlgen.detector.particles import Particles, final_particles, pseudorapidity
from mlgen.detector.placement import VoxelPlaces
from mlgen.detector.settings import DetectorSettings
from mlgen.errors import CardError, UserError
from mlgen.events import EventBatch
from mlgen.showers import Geometry, ShowerBatch
from mlgen.validation.particle_properties import INVISIBLE_IDS, three_charge

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]

#: Voxels of the showers that are made at a time have at most so many bytes.
SHOWER_BYTES = 1 << 25
MEV = 1000.0


class Showers(Protocol):
    """What a trained surrogate gives, as `mlgen.stages.ShowerSurrogate` says it."""

    @property
    def geometry(self) -> Geometry:
        """The calorimeter."""

    @property
    def energy_ranges(self) -> Mapping[int, tuple[float, float]]:
        """Smallest and largest incident energy in MeV of each particle that it knows."""

    def generate(
        self, pdg_id: IntArray, incident_energy: FloatArray, direction: FloatArray, rng: np.random.Generator
    ) -> ShowerBatch:
        """Make a shower for each particle."""


@dataclass(frozen=True, slots=True)
class PlacedShowers:
    """Showers with where they belong.

    Args:
        showers: In their own frame, with a direction of ``(0, 0, 1)``.
        columns: For each shower: ``event`` in the run, from 0; ``particle``, its place in the event's record, from 0;
            ``position`` at the front face in mm and ``flight_direction`` there, in the frame of the detector;
            ``outside_range``, whether the energy is outside that of the training; and ``weight``, the nominal weight of
            the event (named weights are with the events).
    """

    showers: ShowerBatch
    columns: Mapping[str, npt.NDArray[Any]]


#: Shape of one entry and type of each of the columns of `PlacedShowers`.
PLACEMENT_COLUMNS: Mapping[str, tuple[tuple[int, ...], str]] = {
    "event": ((), "i8"),
    "particle": ((), "i8"),
    "position": ((3,), "f8"),
    "flight_direction": ((3,), "f8"),
    "outside_range": ((), "?"),
    "weight": ((), "f8"),
}


class Detector:
    """A barrel of the surrogate's calorimeter around the interaction.

    Args:
        surrogate: The trained surrogate.
        settings: Where the calorimeter is, and what is looked at.

    Attributes:
        census: What became of the particles so far.

    Raises:
        mlgen.errors.CardError: Depths or cell sizes do not fit the layers of the surrogate's calorimeter, or a particle
            has a stand-in that the surrogate does not know.
    """

    def __init__(self, surrogate: Showers, settings: DetectorSettings) -> None:
        trained = {kind: (low / MEV, high / MEV) for kind, (low, high) in surrogate.energy_ranges.items()}
        self.census = Census(trained)
        self._surrogate, self._settings = surrogate, settings
        self._ranges, self._stand_ins = dict(surrogate.energy_ranges), {}
        for particle, other in settings.stand_ins.items():
            kind, stand_in = pdg_id_of(particle), pdg_id_of(other)
            if stand_in not in surrogate.energy_ranges:
                known = ", ".join(particle_name(known) for known in sorted(surrogate.energy_ranges))
                raise CardError(f"[calorimeter] stand_ins: '{other}' is not known to the model; it knows {known}")
            if kind in surrogate.energy_ranges:
                raise CardError(f"[calorimeter] stand_ins: the model knows '{particle}' itself; leave it out")
            self._stand_ins[kind] = stand_in
            self._ranges[kind] = surrogate.energy_ranges[stand_in]
        self._places = VoxelPlaces(surrogate.geometry, settings.layer_depths, settings.x_axis)
        self._grid = None
        if settings.cell_size is not None:
            self._grid = CellGrid(settings.cell_size, self._places.depths, settings.radius)
        self._at_a_time = max(1, SHOWER_BYTES // (8 * max(1, surrogate.geometry.n_voxels)))

    @property
    def x_axis(self) -> str:
        """The direction that the x axis of the showers has in the detector: ``eta`` or ``phi``."""
        return self._places.x_axis

    def simulate(
        self,
        events: EventBatch,
        first_event: int,
        rng: np.random.Generator,
        take: Callable[[PlacedShowers], None] | None = None,
    ) -> CellBatch:
        """Make the showers of a batch of events.

        Args:
            events: Hard or shower-level events.
            first_event: Number of the first event in the run, from 0.
            rng: Source of all randomness.
            take: Is given the showers with all their voxels, in the order of the particles, part by part.

        Raises:
            UserError: A particle is not known or outside the range of the training, and the run is to stop then.
        """
        particles, position, direction, outside = self._selected(final_particles(events), first_event)
        parts = []
        for start in range(0, len(particles), self._at_a_time):
            here = slice(start, start + self._at_a_time)
            showers = self._generated(particles[here], outside[here], rng)
            if take is not None:
                columns = {
                    "event": first_event + particles.event[here],
                    "particle": particles.index[here],
                    "position": position[here],
                    "flight_direction": direction[here],
                    "outside_range": outside[here],
                    "weight": events.weight[particles.event[here]],
                }
                take(PlacedShowers(showers, columns))
            parts.append(self._cells(showers, position[here], direction[here], start))
        cells = _joined(parts)
        shower = cells["particle"]
        event = particles.event[shower]
        counts = np.bincount(particles.event, minlength=len(events)).astype(np.int64)
        # Particles are counted within the event.
        cells["particle"] = (shower - (np.cumsum(counts) - counts)[event]).astype(np.int32)
        if self._grid is not None:
            event, cells = self._grid.merged(event, cells)
        return CellBatch(
            event=first_event + np.arange(len(events)),
            weight=events.weight,
            variations=events.variations,
            particle_counts=counts,
            particles=_typed(_particle_columns(particles, position, outside), SHOWER_PARTICLE_COLUMNS),
            cell_counts=np.bincount(event, minlength=len(events)).astype(np.int64),
            cells=_typed(cells, CELL_COLUMNS),
        )

    def _selected(
        self, particles: Particles, first_event: int
    ) -> tuple[Particles, FloatArray, FloatArray, npt.NDArray[np.bool_]]:
        """The particles that get a shower, where they hit and fly, and whether their energy is outside the range."""
        settings = self._settings
        fate = np.full(len(particles), Fate.SHOWER, np.int64)
        known = np.isin(particles.pdg_id, list(self._ranges))
        fate[~known] = Fate.NOT_KNOWN
        fate[particles.energy < settings.minimum_energy] = Fate.BELOW_MINIMUM_ENERGY
        fate[~self._accepted(particles)] = Fate.OUTSIDE_ACCEPTANCE
        # What the card's author calls known is so: a model may be trained on anything.
        fate[np.isin(particles.pdg_id, INVISIBLE_IDS) & ~known] = Fate.INVISIBLE
        if settings.unknown == "stop":
            self._stop_at_unknown(particles, fate, first_event)
        chosen = np.flatnonzero(fate == Fate.SHOWER)
        wanted = particles[chosen]
        arrived = arrivals(
            wanted.vertex,
            wanted.momentum,
            three_charge(wanted.pdg_id) / 3.0,
            radius=settings.radius,
            half_length=settings.half_length,
            magnetic_field=settings.magnetic_field,
        )
        for way, meaning in FATE_OF_WAY.items():
            fate[chosen[arrived.way == way]] = meaning
        limits = np.array([self._ranges[kind] for kind in wanted.pdg_id.tolist()], np.float64).reshape(-1, 2)
        incident = wanted.kinetic_energy * MEV
        hits = arrived.way == Way.HITS
        outside = hits & ((incident < limits[:, 0]) | (incident > limits[:, 1]))
        # Nothing at rest showers, and no surrogate can be asked for it.
        outside |= hits & (incident <= 0)
        if settings.outside == "stop" and outside.any():
            self._stop_outside(wanted, int(np.flatnonzero(outside)[0]), first_event)
        leave = outside & ((settings.outside == "skip") | (incident <= 0))
        fate[chosen[outside]] = Fate.SHOWER_OUTSIDE_RANGE
        fate[chosen[leave]] = Fate.OUTSIDE_RANGE_SKIPPED
        self.census.add(particles.pdg_id, fate, particles.energy)
        kept = hits & ~leave
        return wanted[kept], arrived.position[kept], arrived.direction[kept], outside[kept]

    def _accepted(self, particles: Particles) -> npt.NDArray[np.bool_]:
        acceptance = self._settings.acceptance
        eta = particles.eta
        inside = (eta >= acceptance.eta[0]) & (eta <= acceptance.eta[1])
        if acceptance.phi is not None:
            first, last = acceptance.phi
            inside &= np.mod(particles.phi - first, 2 * math.pi) <= last - first
        return np.asarray(inside)

    def _stop_at_unknown(self, particles: Particles, fate: IntArray, first_event: int) -> None:
        unknown = np.flatnonzero(fate == Fate.NOT_KNOWN)
        if len(unknown):
            at = int(unknown[0])
            known = ", ".join(particle_name(kind) for kind in sorted(self._ranges))
            raise UserError(
                f"event {first_event + int(particles.event[at]) + 1:,}: particle {int(particles.index[at]) + 1} is a "
                f"{particle_name(int(particles.pdg_id[at]))} of {particles.energy[at]:.4g} GeV in the calorimeter's "
                f"acceptance, and its model knows {known} only\n"
                'To leave such particles out and count them: [calorimeter] unknown = "skip"'
            )

    def _stop_outside(self, particles: Particles, at: int, first_event: int) -> None:
        kind = int(particles.pdg_id[at])
        low, high = (limit / MEV for limit in self._ranges[kind])
        raise UserError(
            f"event {first_event + int(particles.event[at]) + 1:,}: particle {int(particles.index[at]) + 1}, a "
            f"{particle_name(kind)}, has an energy of {particles.kinetic_energy[at]:.6g} GeV; the calorimeter's model "
            f"was trained on {low:.6g} to {high:.6g} GeV\n"
            'Choose what becomes of such particles: [calorimeter] outside = "flag", "clip" or "skip"'
        )

    def _generated(self, particles: Particles, outside: npt.NDArray[np.bool_], rng: np.random.Generator) -> ShowerBatch:
        """Showers in their own frame; of a clipped energy they are made at the edge of the range and scaled."""
        energy = particles.kinetic_energy * MEV
        asked = energy
        if self._settings.outside == "clip" and outside.any():
            limits = np.array([self._ranges[kind] for kind in particles.pdg_id.tolist()], np.float64)
            asked = np.clip(energy, limits[:, 0], limits[:, 1])
        direction = np.tile([0.0, 0.0, 1.0], (len(particles), 1))
        kinds = particles.pdg_id
        for kind, stand_in in self._stand_ins.items():
            kinds = np.where(particles.pdg_id == kind, stand_in, kinds)
        made = self._surrogate.generate(kinds, asked, direction, rng)
        voxels = made.voxels
        if asked is not energy:
            voxels = voxels * np.where(outside, energy / asked, 1.0)[:, None]
        return ShowerBatch(energy, particles.pdg_id, direction, voxels, made.geometry)

    def _cells(
        self, showers: ShowerBatch, face: FloatArray, direction: FloatArray, first: int
    ) -> dict[str, npt.NDArray[Any]]:
        shower, voxel = np.nonzero(showers.voxels > 0)
        place = self._places.positions(face, direction, shower, voxel)
        return {
            "energy": showers.voxels[shower, voxel],
            "layer": self._places.layer[voxel],
            "voxel": voxel.astype(np.int32),
            "eta": pseudorapidity(place),
            "phi": np.arctan2(place[:, 1], place[:, 0]),
            "x": place[:, 0],
            "y": place[:, 1],
            "z": place[:, 2],
            "particle": first + shower,
        }


def _particle_columns(
    particles: Particles, position: FloatArray, outside: npt.NDArray[np.bool_]
) -> dict[str, npt.NDArray[Any]]:
    return {
        "pdg_id": particles.pdg_id,
        "energy": particles.energy,
        "eta": particles.eta,
        "phi": particles.phi,
        "x": position[:, 0],
        "y": position[:, 1],
        "z": position[:, 2],
        "index": particles.index,
        "outside_range": outside,
    }


def _joined(parts: list[dict[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    empty = {name: np.empty(0, np.int64 if name == "particle" else kind) for name, kind in CELL_COLUMNS.items()}
    return {name: np.concatenate([empty[name], *(part[name] for part in parts)]) for name in CELL_COLUMNS}


def _typed(
    columns: Mapping[str, npt.NDArray[Any]], types: Mapping[str, type[np.generic]]
) -> dict[str, npt.NDArray[Any]]:
    return {name: np.ascontiguousarray(columns[name], kind) for name, kind in types.items()}
