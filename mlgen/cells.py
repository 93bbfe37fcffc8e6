"""`CellBatch`: what a calorimeter sees of events, as columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mlgen.errors import MlgenError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]

#: One cell (or voxel) with energy: its energy in MeV; the number of its layer, as the geometry has it; its number in
#: the geometry, or in the layer of a fixed grid; where its centre is, as seen from the origin and in mm; and the place
#: of the particle that made it (most of it) among the event's particles below, from 0.
CELL_COLUMNS: Mapping[str, type[np.generic]] = {
    "energy": np.float64,
    "layer": np.int32,
    "voxel": np.int32,
    "eta": np.float64,
    "phi": np.float64,
    "x": np.float64,
    "y": np.float64,
    "z": np.float64,
    "particle": np.int32,
}
#: One particle with a shower: its energy in GeV, the direction of its momentum where it was produced; where it hits
#: the front face, in mm; its place in the event's record, from 0; and whether its energy is outside the range that the
#: model was trained in.
SHOWER_PARTICLE_COLUMNS: Mapping[str, type[np.generic]] = {
    "pdg_id": np.int32,
    "energy": np.float64,
    "eta": np.float64,
    "phi": np.float64,
    "x": np.float64,
    "y": np.float64,
    "z": np.float64,
    "index": np.int32,
    "outside_range": np.bool_,
}


class CellError(MlgenError):
    """Columns of cells that do not belong together: a defect of the code that made them."""


@dataclass(frozen=True, slots=True)
class CellBatch:
    """Cells of n events, those with energy only, and the particles whose showers they are.

    Args:
        event: Number of each event in the run, from 0, shape ``(n,)``.
        weight: Nominal weights, ``(n,)``, as those of the events.
        particle_counts: Particles with a shower in each event, ``(n,)``.
        particles: Columns of `SHOWER_PARTICLE_COLUMNS`, each ``(sum(particle_counts),)``.
        cell_counts: Cells with energy in each event, ``(n,)``.
        cells: Columns of `CELL_COLUMNS`, each ``(sum(cell_counts),)``.
        variations: Named weights, each ``(n,)``.

    Raises:
        CellError: Columns are missing, or of other lengths than the counts say.
    """

    event: IntArray
    weight: FloatArray
    particle_counts: IntArray
    particles: Mapping[str, npt.NDArray[Any]]
    cell_counts: IntArray
    cells: Mapping[str, npt.NDArray[Any]]
    variations: Mapping[str, FloatArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.event)
        for name, values in {
            "weight": self.weight,
            "particle_counts": self.particle_counts,
            "cell_counts": self.cell_counts,
            **self.variations,
        }.items():
            if np.shape(values) != (n,):
                raise CellError(f"{name} has shape {np.shape(values)}; ({n},) is expected")
        for kind, expected, columns, counts in (
            ("particle", SHOWER_PARTICLE_COLUMNS, self.particles, self.particle_counts),
            ("cell", CELL_COLUMNS, self.cells, self.cell_counts),
        ):
            if set(columns) != set(expected):
                raise CellError(f"{kind} columns are {sorted(columns)}; {sorted(expected)} are expected")
            total = int(np.sum(counts))
            for name, values in columns.items():
                if np.shape(values) != (total,):
                    raise CellError(f"{kind} column '{name}' has shape {np.shape(values)}; ({total},) is expected")

    @classmethod
    def empty(cls) -> Self:
        """Cells of no event."""
        particles = {name: np.empty(0, kind) for name, kind in SHOWER_PARTICLE_COLUMNS.items()}
        cells = {name: np.empty(0, kind) for name, kind in CELL_COLUMNS.items()}
        none = np.empty(0, np.int64)
        return cls(none, np.empty(0), none, particles, none, cells)

    def __len__(self) -> int:
        return len(self.event)
