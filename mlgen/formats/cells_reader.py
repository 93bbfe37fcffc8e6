"""Reads the cells of a calorimeter beside the events of a ROOT file; the layout is in `mlgen.formats.root`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.cells import CELL_COLUMNS, SHOWER_PARTICLE_COLUMNS, CellBatch
from mlgen.formats.cells_writer import CELLS
from mlgen.formats.columnar import DAMAGE_ADVICE, explained, variation_columns
from mlgen.formats.root_writer import VARIATION_NAMES, flat

#: Events that are read at a time: an event may have some ten thousand cells.
PIECE_EVENTS = 500


def read_cells(path: Path) -> Iterator[CellBatch]:
    """Read the cells of a file, batch by batch; nothing where the file is no ROOT file or has none.

    Raises:
        mlgen.errors.InputError: The file is damaged.
    """
    import uproot

    with path.open("rb") as head:
        if head.read(4) != b"root":
            return
    with explained(str(path), "cannot be opened as a ROOT file"):
        file = uproot.open(path)
    with file:
        with explained(str(path), f"the head of '{CELLS}' cannot be read"):
            kind = {key.split(";")[0]: name for key, name in file.classnames(recursive=False).items()}.get(CELLS)
            if kind is None:
                return
            tree, names = file[CELLS], tuple(str(file[VARIATION_NAMES]).splitlines())
            entries = int(tree.num_entries)
        for start in range(0, entries, PIECE_EVENTS):
            stop = min(start + PIECE_EVENTS, entries)
            doing = f"cells of events {start + 1:,} to {stop:,} cannot be read"
            with explained(str(path), doing, advice=DAMAGE_ADVICE):
                data = tree.arrays(entry_start=start, entry_stop=stop, library="ak")
                batch = _batch(data, names, ntuple=kind == "ROOT::RNTuple")
            yield batch


def _batch(data: Any, names: tuple[str, ...], *, ntuple: bool) -> CellBatch:
    def group(kind: str, columns: Any) -> tuple[npt.NDArray[np.int64], dict[str, npt.NDArray[Any]]]:
        found = {name: flat(data[kind][name] if ntuple else data[f"{kind}_{name}"]) for name in columns}
        return found["energy"][0], {name: values for name, (_, values) in found.items()}

    event = np.asarray(data["event"])
    table = np.asarray(data["variations"]) if names else np.empty((len(event), 0))
    particle_counts, particles = group("particle", SHOWER_PARTICLE_COLUMNS)
    cell_counts, cells = group("cell", CELL_COLUMNS)
    return CellBatch(
        event=event,
        weight=np.asarray(data["weight"]),
        particle_counts=particle_counts,
        particles=particles,
        cell_counts=cell_counts,
        cells=cells,
        variations=variation_columns(table, names),
    )
