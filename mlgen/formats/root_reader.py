"""Reads the ROOT files that mlgen writes; the layout is described in `mlgen.formats.root`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.errors import InputError
from mlgen.event_format import EventReader, ReadOptions, Skipped
from mlgen.events import GRAPH_COLUMNS, PARTICLE_COLUMNS, VERTEX_COLUMNS, EventBatch, rebatched
from mlgen.formats.columnar import (
    DAMAGE_ADVICE,
    PIECE_EVENTS,
    explained,
    from_bytes,
    variation_columns,
    without_broken_events,
)
from mlgen.formats.root_writer import ATTRIBUTES, EVENT_COLUMNS, RUN_INFO, TEXTS, TREE, flat, from_json
from mlgen.run_info import RunInfo


class RootReader(EventReader):
    """A ROOT file that mlgen wrote, with a TTree or an RNTuple."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        import uproot

        self._options = options
        self.skipped = Skipped()
        with explained(options.source, "cannot be opened as a ROOT file"):
            self._file = uproot.open(path)
        try:
            with explained(options.source, "its contents cannot be listed"):
                classes = {key.split(";")[0]: name for key, name in self._file.classnames(recursive=False).items()}
            self._ntuple = self._checked_kind(classes)
            with explained(options.source, f"'{RUN_INFO}' or the head of '{TREE}' cannot be read"):
                self.run_info = RunInfo.from_json(str(self._file[RUN_INFO]))
                self._events = self._file[TREE]
                self._branches = set(self._events.keys())
                self._offsets = self._piece_offsets()
            self._has_graph = ("vertices" if self._ntuple else "vertices_x") in self._branches
            self._names = self.run_info.variation_names
            self._has_attributes = self._has_graph and ATTRIBUTES in self._branches
            self._wanted = self._checked_branches()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __iter__(self) -> Iterator[EventBatch]:
        yield from rebatched(self._pieces(), self._options.batch_size)

    def _checked_kind(self, classes: dict[str, str]) -> bool:
        kind = classes.get(TREE)
        if RUN_INFO not in classes or kind not in ("TTree", "ROOT::RNTuple"):
            found = ", ".join(f"{name} ({what})" for name, what in list(classes.items())[:10]) or "nothing"
            more = f" and {len(classes) - 10} more" if len(classes) > 10 else ""
            raise InputError(
                self._options.source,
                f"is no ROOT file of mlgen's: a TTree or RNTuple '{TREE}' and a string '{RUN_INFO}' are expected; "
                f"it holds {found}{more}",
            )
        return kind == "ROOT::RNTuple"

    def _checked_branches(self) -> list[str]:
        groups = {"particles": PARTICLE_COLUMNS + (GRAPH_COLUMNS if self._has_graph else ())}
        if self._has_graph:
            groups["vertices"] = VERTEX_COLUMNS
        wanted = [*EVENT_COLUMNS, *TEXTS, *(["variations"] if self._names else [])]
        if self._ntuple:
            wanted += groups
            needed = wanted + [f"{group}.{name}" for group, names in groups.items() for name in names]
        else:
            wanted += [f"{group}_{name}" for group, names in groups.items() for name in names]
            needed = list(wanted)
        if self._has_attributes:
            wanted.append(ATTRIBUTES)
        missing = [name for name in needed if name not in self._branches]
        if missing:
            raise InputError(
                self._options.source,
                f"'{TREE}' lacks {', '.join(missing[:10])}; it has {', '.join(sorted(self._branches)[:30])}",
            )
        return wanted

    def _piece_offsets(self) -> list[int]:
        if self._ntuple:
            starts = [int(cluster.num_first_entry) for cluster in self._events.cluster_summaries]
            offsets = sorted({0, *starts, int(self._events.num_entries)})
        else:
            offsets = sorted({0, *map(int, self._events.common_entry_offsets()), int(self._events.num_entries)})
        # Files that others have merged may have no boundary that all branches share.
        fine = [at for start, stop in itertools.pairwise(offsets) for at in range(start, stop, PIECE_EVENTS)]
        return [*fine, offsets[-1]]

    def _pieces(self) -> Iterator[EventBatch]:
        for start, stop in itertools.pairwise(self._offsets):
            try:
                batch = self._piece(start, stop)
            except InputError as error:
                if self._options.on_error == "stop":
                    raise
                self.skipped.add(str(error).split("\n", 1)[0], stop - start)
                continue
            yield without_broken_events(batch, np.arange(start + 1, stop + 1), self._options, self.skipped)

    def _piece(self, start: int, stop: int) -> EventBatch:
        doing = f"events {start + 1:,} to {stop:,} cannot be read"
        with explained(self._options.source, doing, advice=DAMAGE_ADVICE):
            # uproot does not choose fields of an RNTuple by name yet; it reads them all.
            chosen = {} if self._ntuple else {"expressions": self._wanted, "array_cache": None}
            data = self._events.arrays(**chosen, entry_start=start, entry_stop=stop, library="ak")
            table = np.asarray(data["variations"]) if self._names else np.empty((stop - start, 0))
            others: dict[str, Any] = {name: np.asarray(data[name]) for name in EVENT_COLUMNS}
            for name in TEXTS:
                lengths, raw = flat(data[name])
                others[name] = from_bytes(raw, lengths)
            counts, columns = self._group(data, "particles", PARTICLE_COLUMNS)
            if self._has_graph:
                columns |= self._group(data, "particles", GRAPH_COLUMNS)[1]
                if self._has_attributes:
                    lengths, raw = flat(data[ATTRIBUTES])
                    others[ATTRIBUTES] = from_json(from_bytes(raw, lengths))
                others["vertex_counts"], others["vertex_columns"] = self._group(data, "vertices", VERTEX_COLUMNS)
            return EventBatch.from_columns(
                counts,
                columns,
                variations=variation_columns(table, self._names),
                **others,
            )

    def _group(
        self, data: Any, group: str, names: tuple[str, ...]
    ) -> tuple[npt.NDArray[np.int64], dict[str, npt.NDArray[Any]]]:
        columns = {}
        first: npt.NDArray[np.int64] | None = None
        for name in names:
            counts, columns[name] = flat(data[group][name] if self._ntuple else data[f"{group}_{name}"])
            first = counts if first is None else first
            if not np.array_equal(counts, first):
                raise ValueError(f"'{group}_{name}' has other lengths than '{group}_{names[0]}'")
        if first is None:
            raise ValueError(f"'{group}' has no columns")
        return first, columns
