"""Writes batches into a ROOT file, as a TTree or an RNTuple; the layout is described in `mlgen.formats.root`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from mlgen.cells import CellBatch
from mlgen.errors import OutputError
from mlgen.event_format import EventWriter
from mlgen.events import GRAPH_COLUMNS, INTEGER_COLUMNS, PARTICLE_COLUMNS, VERTEX_COLUMNS, EventBatch
from mlgen.formats.cells_writer import CELLS, CellTree
from mlgen.formats.columnar import (
    PIECE_EVENTS,
    PIECE_PARTICLES,
    check_finite,
    check_variations,
    pieces,
    to_bytes,
    variation_table,
    whole_numbers,
)
from mlgen.formats.jagged import jagged
from mlgen.run_info import RunInfo

TREE = "events"
RUN_INFO = "mlgen_run_info"
VARIATION_NAMES = "mlgen_variation_names"
ABOUT = "mlgen_about"
FLOATS = ("weight", "scale", "alpha_qed", "alpha_qcd")
EVENT_COLUMNS = ("process_id", *FLOATS)
TEXTS = ("comments", "tag_attributes")
#: Only shower-level events have it: one JSON object an event, empty where there is nothing to say.
ATTRIBUTES = "attributes"
WHOLE = frozenset((*INTEGER_COLUMNS, *GRAPH_COLUMNS))
#: Level 1 is within some percent of level 5 on momenta, which hardly compress, and twice as fast.
ZSTD_LEVEL = 1


def _strings(texts: npt.NDArray[np.object_] | None, n: int) -> ak.Array:
    raw, lengths = to_bytes(texts, n)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    content = ak.contents.NumpyArray(raw, parameters={"__array__": "char"})
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(offsets), content, parameters={"__array__": "string"}))


def _as_json(attributes: npt.NDArray[np.object_] | None) -> npt.NDArray[np.object_] | None:
    if attributes is None:
        return None
    return np.array([json.dumps(known) if known else "" for known in attributes], object)


def from_json(texts: npt.NDArray[np.object_] | None) -> npt.NDArray[np.object_] | None:
    """Attributes of events, from texts as they are written."""
    if texts is None:
        return None
    attributes = np.empty(len(texts), object)
    attributes[:] = [json.loads(text) if text else {} for text in texts]
    return attributes


def _canonical(name: str, column: npt.NDArray[Any], *, whole: bool) -> npt.NDArray[Any]:
    return whole_numbers(column, np.int32, name) if whole else column.astype(np.float64, copy=False)


def flat(jagged: ak.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    """Number of entries in each event, shape ``(n,)``, and all of them in a row."""
    plain = ak.without_parameters(jagged)
    return np.asarray(ak.num(plain, axis=1), np.int64), np.asarray(ak.flatten(plain, axis=1))


def _about(run_info: RunInfo, kind: str) -> str:
    from mlgen import __version__

    lines = [
        f"Written by mlgen {__version__}: Monte Carlo events, one entry of the {kind} '{TREE}' an event.",
        "Units: GeV, mm, pb. Mothers are counted from 1 within the event, 0 is none; vertices from 0, -1 is none.",
        f"Generator: {run_info.generator or 'unknown'}",
        f"Cross section: {run_info.cross_section:g} +- {run_info.cross_section_error:g} pb",
        f"Weights: {run_info.normalisation.value}",
        f"Named weights: {len(run_info.variations)}; column i of 'variations' has the name in line i of "
        f"'{VARIATION_NAMES}'",
        f"Where there is a {kind} '{CELLS}', entry i of it has the calorimeter cells of entry i of '{TREE}'; cells in "
        "MeV and mm, particles in GeV and mm.",
    ]
    return "\n".join(lines)


class RootWriter(EventWriter):
    """A ROOT file that is being written.

    Small batches are gathered: every piece that is written costs some 20 baskets. Shower-level events have columns
    that hard events lack, so the tree is made with the first piece.
    """

    def __init__(self, path: Path, run_info: RunInfo, *, ntuple: bool) -> None:
        import uproot

        self._ntuple = ntuple
        self._names = run_info.variation_names
        self._has_graph: bool | None = None
        self._events: Any = None
        self._cells: CellTree | None = None
        self._waiting: list[EventBatch] = []
        self._held = self._held_particles = 0
        self._written = 0
        self._file = uproot.recreate(path, compression=uproot.ZSTD(ZSTD_LEVEL))
        try:
            self._file[RUN_INFO] = run_info.to_json()
            self._file[VARIATION_NAMES] = "\n".join(self._names)
            self._file[ABOUT] = _about(run_info, "RNTuple" if ntuple else "TTree")
        except BaseException:
            self._file.close()
            raise

    def write(self, batch: EventBatch) -> None:
        """Append a batch.

        Raises:
            OutputError: It has a variation that the file does not declare or a weight or momentum that is not finite,
                or hard events follow shower-level ones.
        """
        check_variations(batch, self._names)
        check_finite(batch, self._written)
        if not len(batch):
            return
        if self._has_graph not in (None, batch.has_graph):
            raise OutputError("hard events and shower-level events cannot stand in one ROOT file; write two")
        self._has_graph = batch.has_graph
        self._written += len(batch)
        for piece in pieces(batch):
            particles = int(piece.counts.sum())
            if self._held + len(piece) > PIECE_EVENTS or self._held_particles + particles > PIECE_PARTICLES:
                self._flush()
            self._waiting.append(piece)
            self._held += len(piece)
            self._held_particles += particles

    def write_cells(self, batch: CellBatch) -> None:
        """Append the cells of a batch of events.

        Raises:
            OutputError: An energy is not finite, or the file does not declare a named weight.
        """
        if self._cells is None:
            self._cells = CellTree(self._file, self._names, ntuple=self._ntuple)
        self._cells.write(batch)

    def conclude(self, run_info: RunInfo) -> None:
        """Write what is true of all events in the place of what was known at the beginning."""
        self._file[RUN_INFO] = run_info.to_json()
        self._file[ABOUT] = _about(run_info, "RNTuple" if self._ntuple else "TTree")

    def close(self) -> None:
        """Write what is left and end the file."""
        if self._waiting or self._events is None:
            self._flush()
        if self._cells is not None:
            self._cells.close()
        self._file.close()

    def discard(self) -> None:
        """Close the file as it is."""
        self._file.close()

    def _flush(self) -> None:
        if self._waiting:
            batch = EventBatch.concatenate(self._waiting)
        elif self._events is None:
            # A file without events has the columns of hard events.
            batch = EventBatch.from_columns(np.zeros(0, int), dict.fromkeys(PARTICLE_COLUMNS, np.zeros(0)), weight=[])
        else:
            return
        self._waiting = []
        self._held = self._held_particles = 0
        data = self._branches(batch)
        if self._events is None:
            make = self._file.mkrntuple if self._ntuple else self._file.mktree
            self._events = make(TREE, data)
        else:
            self._events.extend(data)

    def _branches(self, batch: EventBatch) -> dict[str, Any]:
        data: dict[str, Any] = {name: np.asarray(getattr(batch, name), np.float64) for name in FLOATS}
        data["process_id"] = whole_numbers(np.asarray(batch.process_id), np.int64, "process id")
        if self._names:
            data["variations"] = variation_table(batch, self._names)
        for name in TEXTS:
            data[name] = _strings(getattr(batch, name), len(batch))
        names = PARTICLE_COLUMNS + (GRAPH_COLUMNS if batch.has_graph else ())
        columns = batch.columns(names)
        data["particles"] = jagged(
            batch.counts,
            {name: _canonical(name, column, whole=name in WHOLE) for name, column in columns.items()},
        )
        if batch.vertices is not None:
            data[ATTRIBUTES] = _strings(_as_json(batch.attributes), len(batch))
            vertices: dict[str, npt.NDArray[Any]] = {}
            for name in VERTEX_COLUMNS:
                counts, column = flat(batch.vertices[name])
                vertices[name] = _canonical(f"vertex {name}", column, whole=name == "status")
            data["vertices"] = jagged(counts, vertices)
        return data
