"""Reads LHEH5 files, of mlgen and of others; the layout is described in `mlgen.formats.lheh5`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.errors import InputError
from mlgen.event_format import EventReader, ReadOptions, Skipped
from mlgen.events import INTEGER_COLUMNS, PARTICLE_COLUMNS, EventBatch, rebatched
from mlgen.formats.columnar import (
    DAMAGE_ADVICE,
    PIECE_EVENTS,
    SKIP_ADVICE,
    explained,
    from_bytes,
    variation_columns,
    without_broken_events,
)
from mlgen.formats.lheh5_tables import (
    EVENTS,
    IGNORED,
    INIT,
    NOMINAL,
    PARTICLE_NAMES,
    PARTICLES,
    PROCESSES,
    DatasetTable,
    FloatArray,
    GroupTable,
    Table,
    scales_text,
    trials_text,
)
from mlgen.formats.lheh5_writer import column_name
from mlgen.run_info import Beam, Process, RunInfo, Variation

#: Names of a table in version 2 and in version 1.
_PLACES = {"init": ("init",), "procInfo": ("procInfo",), "events": ("events", "event")}
_PLACES["particles"] = ("particles", "particle")
_DEFAULTS = {"init": INIT, "procInfo": PROCESSES, "events": EVENTS, "particles": PARTICLES}
#: Rows of particles that are read at once where events are not in the order of their particles, and the rows between
#: two events that are rather read than skipped: a chunk of the file, which must be unpacked as a whole.
ROWS_AT_ONCE = 1 << 18
ROWS_OF_A_GAP = 1 << 12
_INT32 = 1 << 31
_INT64 = 1 << 63


class LesHouchesHDF5Reader(EventReader):
    """Events of an LHEH5 file, as a stream of batches."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        import h5py

        self._options = options
        self.skipped = Skipped()
        with explained(options.source, "cannot be opened as an HDF5 file"):
            self._file = h5py.File(path, "r")
        try:
            with explained(options.source, "the tables of LHEH5 cannot be read"):
                self._events, self._particles = self._table("events"), self._table("particles")
                self._event_index, self._particle_index = _places(self._events), _places(self._particles)
                self._check_columns()
                self._nominal = next(name for name in NOMINAL if name in self._event_index)
                known = {*EVENTS, self._nominal, *IGNORED}
                columns = [name for name in self._event_index if name not in known]
                self.run_info = self._read_run_info(columns)
            self._names = self.run_info.variation_names
            self._variations = [self._event_index[name] for name in columns]
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __iter__(self) -> Iterator[EventBatch]:
        yield from rebatched(self._pieces(), self._options.batch_size)

    def _fail(self, problem: str) -> InputError:
        return InputError(self._options.source, problem)

    def _table(self, name: str) -> Table:
        for place in _PLACES[name]:
            if place in self._file:
                item = self._file[place]
                return DatasetTable(item, _DEFAULTS[name]) if hasattr(item, "shape") else GroupTable(item)
        found = ", ".join(list(self._file)[:20]) or "nothing"
        raise self._fail(f"is no LHEH5 file: it has no '{name}' ({', '.join(_PLACES)} are expected); it holds {found}")

    def _check_columns(self) -> None:
        needed = {"events": ("pid", "nparticles", "start"), "particles": PARTICLES}
        for table, names in needed.items():
            index = self._event_index if table == "events" else self._particle_index
            missing = [name for name in names if name not in index]
            if missing:
                raise self._fail(f"'{table}' lacks the columns {', '.join(missing)}; it has {', '.join(index)}")
        if not any(name in self._event_index for name in NOMINAL):
            raise self._fail(
                f"'events' has no nominal weight ({' or '.join(NOMINAL)}); it has {list(self._event_index)}"
            )
        if "ctevents" in self._file and self._file["ctevents"].shape[0]:
            raise self._fail(
                f"has {self._file['ctevents'].shape[0]:,} counter-events ('ctevents') beside its events, which mlgen "
                "cannot hold; without them the sample would be wrong"
            )

    def _read_run_info(self, columns: list[str]) -> RunInfo:
        if "mlgen/run_info" not in self._file:
            return self._foreign_run_info(columns)
        run_info = RunInfo.from_json(self._file["mlgen/run_info"].asstr()[()])
        declared = list(map(column_name, run_info.variation_names))
        if declared != columns:
            raise self._fail(
                f"'events' has the named weights {columns[:10]}, but 'mlgen/run_info' declares {declared[:10]}"
            )
        return run_info

    def _foreign_run_info(self, columns: list[str]) -> RunInfo:
        from pylhe import LHEHeader, LHEInitRWGT
        from pylhe.lheh5 import read_generators

        init = self._table("init")
        values = dict(zip(init.names, init.read(0, 1)[0].tolist(), strict=True))
        missing = [name for name in INIT[:-1] if name not in values]
        if missing:
            raise self._fail(f"'init' lacks {', '.join(missing)}; it has {', '.join(values)}")
        beams = tuple(
            Beam(
                self._whole(values[f"beam{side}"], "init"),
                values[f"energy{side}"],
                self._whole(values[f"PDFgroup{side}"], "init"),
                self._whole(values[f"PDFset{side}"], "init"),
            )
            for side in "AB"
        )
        table = self._table("procInfo")
        rows = [dict(zip(table.names, row, strict=True)) for row in table.read(0, len(table)).tolist()]
        processes = tuple(
            Process(self._whole(row["procId"], "procInfo"), row["xSection"], row["error"], row["unitWeight"])
            for row in rows
        )
        foreign: dict[str, Any] = {
            name: [None if math.isnan(row[name]) else self._whole(row[name], "procInfo") for row in rows]
            for name in ("npLO", "npNLO")
            if name in table.names
        }
        description = self._file["init"].attrs.get("description")
        if description is not None:
            foreign["description"] = description.decode() if isinstance(description, bytes) else str(description)
        generators = read_generators(self._file)
        variations = tuple(map(Variation, columns))
        groups: tuple[dict[str, str], ...] = ()
        header = ""
        if "xml/header" in self._file:
            parsed = LHEHeader.fromstring(self._file["xml/header"].asstr()[()])
            declared, groups = _declared(parsed)
            variations = tuple(declared.get(name, Variation(name)) for name in columns)
            if parsed.extra_elements:
                header = LHEHeader(LHEInitRWGT([]), parsed.extra_elements, parsed.extra_attributes).tolhe()
        return RunInfo(
            beams=beams,
            weight_strategy=self._whole(values["weightingStrategy"], "init"),
            processes=processes,
            variations=variations,
            variation_groups=groups,
            header=header,
            init_text="\n".join(generator.tolhe() for generator in generators),
            generator=", ".join(f"{generator.name} {generator.version}".strip() for generator in generators),
            foreign={"lheh5": foreign},
        )

    def _whole(self, value: float, where: str) -> int:
        if not math.isfinite(value) or value != round(value):
            raise self._fail(f"'{where}' has {value} where a whole number is expected")
        return int(value)

    def _pieces(self) -> Iterator[EventBatch]:
        for start in range(0, len(self._events), PIECE_EVENTS):
            stop = min(start + PIECE_EVENTS, len(self._events))
            try:
                batch, numbers = self._piece(start, stop)
            except InputError as error:
                if self._options.on_error == "stop":
                    raise
                self.skipped.add(str(error).split("\n", 1)[0], stop - start)
                continue
            yield without_broken_events(batch, numbers, self._options, self.skipped)

    def _piece(self, start: int, stop: int) -> tuple[EventBatch, npt.NDArray[np.int64]]:
        doing = f"events {start + 1:,} to {stop:,} cannot be read"
        with explained(self._options.source, doing, advice=DAMAGE_ADVICE):
            events = self._events.read(start, stop)
            comments = self._texts("comments", start, stop)
            attributes = self._texts("tag_attributes", start, stop)
        numbers = np.arange(start, stop)
        names: tuple[str, ...] = ("pid", "nparticles", "start")
        index = [self._event_index[name] for name in names]
        sound = self._sound(numbers, *_not_whole(events[:, index], names, _INT64))
        events, numbers = events[sound], numbers[sound]
        counts, first = events[:, index[1]].astype(np.int64), events[:, index[2]].astype(np.int64)
        outside = np.flatnonzero((counts < 0) | (first < 0) | (first > len(self._particles) - counts))
        problem = f"its particles do not lie within the {len(self._particles):,} of the file"
        sound = self._sound(numbers, outside, [problem] * len(outside))
        events, numbers, counts, first = events[sound], numbers[sound], counts[sound], first[sound]
        with explained(self._options.source, doing, advice=DAMAGE_ADVICE):
            particles = self._read_particles(first, counts)
        owner = np.repeat(np.arange(len(numbers)), counts)
        names = tuple(PARTICLE_NAMES[name] for name in INTEGER_COLUMNS)
        rows, problems = _not_whole(particles[:, [self._particle_index[name] for name in names]], names, _INT32)
        sound = self._sound(numbers, owner[rows], [f"a particle's {problem}" for problem in problems])
        particles = particles[sound[owner]] if isinstance(sound, np.ndarray) else particles
        events, numbers, counts = events[sound], numbers[sound], counts[sound]
        batch = EventBatch.from_columns(
            counts,
            {name: particles[:, self._particle_index[PARTICLE_NAMES[name]]] for name in PARTICLE_COLUMNS},
            weight=events[:, self._event_index[self._nominal]],
            process_id=events[:, index[0]],
            scale=self._optional(events, "scale"),
            alpha_qed=self._optional(events, "aqed"),
            alpha_qcd=self._optional(events, "aqcd"),
            variations=variation_columns(events[:, self._variations], self._names),
            comments=_completed(comments, self._scales(events), numbers - start),
            tag_attributes=_completed(attributes, self._trials(events), numbers - start),
        )
        return batch, numbers + 1

    def _sound(
        self, numbers: npt.NDArray[np.int64], broken: npt.NDArray[np.int64], problems: Sequence[str]
    ) -> npt.NDArray[np.bool_] | slice:
        """Which events are not broken; `numbers` counts from 0, `broken` (with its problems) is an index into it."""
        if not len(broken):
            return slice(None)
        sound = np.ones(len(numbers), bool)
        for index, problem in zip(broken.tolist(), problems, strict=True):
            if sound[index]:
                error = InputError(self._options.source, problem, event=int(numbers[index]) + 1, advice=SKIP_ADVICE)
                if self._options.on_error == "stop":
                    raise error
                self.skipped.add(str(error).split("\n", 1)[0])
                sound[index] = False
        return sound

    def _read_particles(self, first: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> FloatArray:
        if not counts.sum():
            return np.empty((0, len(self._particles.names)))
        offsets = np.concatenate([[0], np.cumsum(counts)])
        start = int(first[0])
        if np.array_equal(first - start, offsets[:-1]):
            return self._particles.read(start, start + int(offsets[-1]))
        # Files that were filtered have gaps, and nothing says that events come in the order of their particles, which
        # may lie all over the file: read them in the file's order, and not much more than them at a time.
        result = np.empty((int(offsets[-1]), len(self._particles.names)))
        order = np.argsort(first, kind="stable")
        starts, stops = first[order], np.maximum.accumulate((first + counts)[order])
        begin = 0
        while begin < len(order):
            # As far as there is no gap, and the rows are not too many.
            end = int(np.searchsorted(starts, starts[begin] + ROWS_AT_ONCE, "right"))
            gaps = np.flatnonzero(starts[begin + 1 : end] > stops[begin : end - 1] + ROWS_OF_A_GAP)
            end = begin + 1 + int(gaps[0]) if len(gaps) else end
            low = int(starts[begin])
            rows = self._particles.read(low, int(stops[end - 1]))
            here = order[begin:end]
            inner = np.concatenate([[0], np.cumsum(counts[here])])
            within = np.arange(inner[-1])
            target = np.repeat(offsets[here] - inner[:-1], counts[here]) + within
            result[target] = rows[np.repeat(first[here] - low - inner[:-1], counts[here]) + within]
            begin = end
        return result

    def _optional(self, events: FloatArray, name: str) -> FloatArray | None:
        return events[:, self._event_index[name]] if name in self._event_index else None

    def _texts(self, name: str, start: int, stop: int) -> npt.NDArray[np.object_] | None:
        if f"mlgen/{name}" not in self._file:
            return None
        group = self._file[f"mlgen/{name}"]
        ends = np.concatenate([[0] if start == 0 else group["end"][start - 1 : start], group["end"][start:stop]])
        return from_bytes(group["text"][ends[0] : ends[-1]], np.diff(ends))

    def _trials(self, events: FloatArray) -> list[str] | None:
        trials = self._optional(events, "trials")
        if trials is None or np.isnan(trials).all():
            return None
        return [trials_text(value) for value in trials.tolist()]

    def _scales(self, events: FloatArray) -> list[str] | None:
        nothing = np.full(len(events), np.nan)
        pair = [self._optional(events, name) for name in ("fscale", "rscale")]
        factorisation, renormalisation = (nothing if values is None else values for values in pair)
        if np.isnan(factorisation).all() and np.isnan(renormalisation).all():
            return None
        return [scales_text(*row) for row in zip(factorisation.tolist(), renormalisation.tolist(), strict=True)]


def _places(table: Table) -> dict[str, int]:
    """Index of each column; of columns of one name the first."""
    places: dict[str, int] = {}
    for index, name in enumerate(table.names):
        places.setdefault(name, index)
    return places


def _completed(
    kept: npt.NDArray[np.object_] | None, made: list[str] | None, selection: npt.NDArray[np.int64]
) -> npt.NDArray[np.object_] | None:
    """Texts as they were kept and, for events that have none, as the columns say."""
    if kept is not None:
        kept = kept[selection]
    if made is None:
        return kept
    texts = np.array(made, object)
    return texts if kept is None else np.where(kept == "", texts, kept)


def _not_whole(values: FloatArray, names: Sequence[str], limit: int) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Rows that hold something else than whole numbers below `limit`, and what that is."""
    with np.errstate(invalid="ignore"):
        wrong = ~((values == np.rint(values)) & (np.abs(values) < limit))
    places = np.argwhere(wrong)
    problems = [f"{names[column]} is {values[row, column]}; a whole number is expected" for row, column in places]
    return places[:, 0], problems


def _declared(header: Any) -> tuple[dict[str, Variation], tuple[dict[str, str], ...]]:
    variations: dict[str, Variation] = {}
    groups: list[dict[str, str]] = []
    for entry in header.initrwgt.entries:
        weights, group = [entry], None
        if hasattr(entry, "weights"):
            groups.append(entry.attributes)
            weights, group = entry.weights, len(groups) - 1
        for weight in weights:
            variation = Variation(weight.id, weight.name, dict(weight.extra_attributes), group)
            variations.setdefault(weight.id, variation)
    return variations, tuple(groups)
