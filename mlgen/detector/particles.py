"""The final particles of events, with where they were produced."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import awkward as ak
import numpy as np
import numpy.typing as npt

from mlgen.events import EventBatch

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]

#: Status of a particle that leaves the event, in hard events and in HepMC alike.
FINAL = 1


@dataclass(frozen=True, slots=True)
class Particles:
    """Particles of several events, ordered by event and by place in it.

    Args:
        event: The event of each in its batch, from 0, ``(n,)``.
        index: Place in the event's record, from 0, ``(n,)``.
        pdg_id: ``(n,)``.
        momentum: ``(px, py, pz)`` in GeV, ``(n, 3)``.
        energy: In GeV, ``(n,)``.
        mass: In GeV, ``(n,)``, as the generator says.
        vertex: Where each was produced, mm, ``(n, 3)``.
    """

    event: IntArray
    index: IntArray
    pdg_id: IntArray
    momentum: FloatArray
    energy: FloatArray
    mass: FloatArray
    vertex: FloatArray

    def __len__(self) -> int:
        return len(self.event)

    def __getitem__(self, selection: npt.NDArray[Any] | slice) -> Self:
        return type(self)(*(getattr(self, field.name)[selection] for field in fields(self)))

    @property
    def eta(self) -> FloatArray:
        """Pseudorapidity of the momentum, ``(n,)``; infinite along the beams."""
        return pseudorapidity(self.momentum)

    @property
    def phi(self) -> FloatArray:
        """Azimuth of the momentum, from -pi to pi, ``(n,)``."""
        return np.asarray(np.arctan2(self.momentum[:, 1], self.momentum[:, 0]))

    @property
    def kinetic_energy(self) -> FloatArray:
        """Energy without the mass in GeV, ``(n,)``: what a particle gun, and so a training shower, is given."""
        return np.asarray(self.energy - np.maximum(self.mass, 0.0))


def final_particles(batch: EventBatch) -> Particles:
    """Return the particles of status 1. Those without a vertex, as in hard events, come from the origin."""
    columns = batch.columns(("pdg_id", "status", "px", "py", "pz", "energy", "generated_mass"))
    final = np.flatnonzero(columns["status"] == FINAL)
    offsets = batch.offsets
    event = np.repeat(np.arange(len(batch)), batch.counts)[final]
    return Particles(
        event=event,
        index=final - offsets[event],
        pdg_id=columns["pdg_id"][final],
        momentum=np.stack([columns[name][final] for name in ("px", "py", "pz")], axis=1),
        energy=columns["energy"][final],
        mass=columns["generated_mass"][final],
        vertex=_vertices(batch, final, event),
    )


def _vertices(batch: EventBatch, particles: IntArray, event: IntArray) -> FloatArray:
    positions = np.zeros((len(particles), 3))
    if batch.vertices is None:
        return positions
    number = batch.column("production_vertex")[particles]
    counts = np.asarray(ak.to_numpy(ak.num(batch.vertices, axis=1)), np.int64)
    first = np.concatenate([[0], np.cumsum(counts)])[:-1]
    known = number >= 0
    rows = (first[event] + number)[known]
    flat = ak.flatten(batch.vertices, axis=1)
    for axis, name in enumerate("xyz"):
        positions[known, axis] = np.asarray(ak.to_numpy(flat[name]))[rows]
    return positions


def pseudorapidity(vectors: FloatArray) -> FloatArray:
    """Pseudorapidity of vectors ``(n, 3)``; infinite along the z axis."""
    transverse = np.hypot(vectors[:, 0], vectors[:, 1])
    along = vectors[:, 2]
    ratio = np.divide(along, transverse, out=np.copysign(np.full(len(along), np.inf), along), where=transverse > 0)
    return np.asarray(np.arcsinh(ratio))
