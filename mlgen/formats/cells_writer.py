"""Writes the cells of a calorimeter into a ROOT file, beside its events; the layout is in `mlgen.formats.root`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.cells import CELL_COLUMNS, SHOWER_PARTICLE_COLUMNS, CellBatch
from mlgen.errors import OutputError
from mlgen.formats.columnar import PIECE_EVENTS, PIECE_PARTICLES, variation_table
from mlgen.formats.jagged import jagged

CELLS = "cells"


class CellTree:
    """The TTree or RNTuple ``cells`` of a ROOT file that is being written.

    Small batches are gathered, as those of events are; memory does not grow with the file.

    Args:
        file: The file, open for writing (uproot).
        variation_names: Named weights that the file declares.
        ntuple: Whether it is an RNTuple.
    """

    def __init__(self, file: Any, variation_names: Sequence[str], *, ntuple: bool) -> None:
        self._file, self._names, self._ntuple = file, tuple(variation_names), ntuple
        self._tree: Any = None
        self._waiting: list[CellBatch] = []
        self._held = self._held_cells = 0
        self._events = 0

    def write(self, batch: CellBatch) -> None:
        """Append a batch.

        Raises:
            OutputError: An energy is not finite, or the file does not declare a named weight.
        """
        for name in batch.variations:
            if name not in self._names:
                raise OutputError(f"the cells have a weight '{name}' that the run information does not declare")
        if not np.all(np.isfinite(batch.cells["energy"])):
            raise OutputError(f"cells of the events from {self._events + 1:,} on: an energy is not finite")
        cells = int(np.sum(batch.cell_counts))
        if self._held + len(batch) > PIECE_EVENTS or self._held_cells + cells > PIECE_PARTICLES:
            self._flush()
        self._waiting.append(batch)
        self._held += len(batch)
        self._held_cells += cells
        self._events += len(batch)

    def close(self) -> None:
        """Write what is left."""
        self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        data = self._branches(self._waiting)
        self._waiting = []
        self._held = self._held_cells = 0
        if self._tree is None:
            make = self._file.mkrntuple if self._ntuple else self._file.mktree
            self._tree = make(CELLS, data)
        else:
            self._tree.extend(data)

    def _branches(self, batches: Sequence[CellBatch]) -> dict[str, Any]:
        def joined(arrays: Sequence[npt.NDArray[Any]], kind: type[np.generic]) -> npt.NDArray[Any]:
            return np.concatenate(arrays).astype(kind, copy=False)

        data: dict[str, Any] = {
            "event": joined([batch.event for batch in batches], np.int64),
            "weight": joined([batch.weight for batch in batches], np.float64),
        }
        if self._names:
            data["variations"] = np.concatenate([variation_table(batch, self._names) for batch in batches])
        particles = {
            name: joined([batch.particles[name] for batch in batches], kind)
            for name, kind in SHOWER_PARTICLE_COLUMNS.items()
        }
        cells = {name: joined([batch.cells[name] for batch in batches], kind) for name, kind in CELL_COLUMNS.items()}
        data["particle"] = jagged(joined([batch.particle_counts for batch in batches], np.int64), particles)
        data["cell"] = jagged(joined([batch.cell_counts for batch in batches], np.int64), cells)
        return data
