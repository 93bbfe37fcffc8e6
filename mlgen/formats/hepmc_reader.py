"""Reading HepMC files as a stream of batches."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from mlgen.errors import InputError
from mlgen.event_format import EventReader, ReadOptions, Skipped
from mlgen.events import EventBatch
from mlgen.formats import hepmc_record as record
from mlgen.formats.hepmc_parse import (
    PDG_ID,
    PX,
    STATUS,
    BrokenEventError,
    RawEvent,
    number_of,
    parse_hepmc2,
    parse_hepmc3,
)
from mlgen.formats.hepmc_run import attributes_and_tools, beams_of, listed_names, names_for, processes_of
from mlgen.run_info import RunInfo, Variation

#: A batch ends early at this many particles: 10,000 events with underlying event would fill gigabytes.
BATCH_PARTICLES = 1_000_000
CACHED_RECORDS = 20_000
END_OF_LISTING = b"END_EVENT_LISTING"


@dataclass(frozen=True, slots=True)
class _Block:
    """The lines of one event: number of the event and of its first line, and whether the file goes on after it."""

    event: int
    line: int
    lines: list[bytes]
    whole: bool


@dataclass(frozen=True, slots=True)
class _Event:
    """An event that was accepted; `record` is there for a hard event that mlgen wrote."""

    raw: RawEvent
    weights: list[float]
    record: record.Record | None
    process_id: int
    scale: float
    alpha_qed: float
    alpha_qcd: float


class HepMCReader(EventReader):
    """Reads HepMC3 or HepMC2; see `mlgen.formats.hepmc`.

    Batches have ``options.batch_size`` events, or fewer when they reach `BATCH_PARTICLES`, or where hard and
    shower-level events follow each other.
    """

    def __init__(self, stream: BinaryIO, options: ReadOptions, version: int) -> None:
        self.skipped = Skipped()
        self._stream, self._options, self._version = stream, options, version
        self._parse = parse_hepmc3 if version == 3 else parse_hepmc2
        self._listing = "HepMC::Asciiv3" if version == 3 else "HepMC::IO_GenEvent"
        self._run_lines: list[bytes] = []
        self._weight_count: int | None = None
        self._records: dict[str, record.Record] = {}
        self._events = self._accepted()
        # The first event says how many weights there are, and for foreign files what the beams are.
        self._first = next(self._events, None)
        if self._first is None:
            self.run_info = self._run_information(None)

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def __iter__(self) -> Iterator[EventBatch]:
        waiting: list[_Event] = []
        particles = 0
        first, self._first = self._first, None
        for event in _chained(first, self._events):
            if waiting and (
                len(waiting) >= self._options.batch_size
                or particles >= BATCH_PARTICLES
                or (event.record is None) != (waiting[0].record is None)
            ):
                yield self._batch(waiting)
                waiting, particles = [], 0
            waiting.append(event)
            particles += len(event.raw.particles)
        if waiting:
            yield self._batch(waiting)

    def _accepted(self) -> Iterator[_Event]:
        for block in self._blocks():
            try:
                event = self._event(block)
            except BrokenEventError as error:
                line = block.line + (error.line or 0)
                self._refuse(error.problem, event=block.event, line=line)
            else:
                yield event

    def _refuse(self, problem: str, *, event: int | None, line: int | None, count: int = 1) -> None:
        error = InputError(
            self._options.source,
            problem,
            event=event,
            line=line,
            advice="Copy or write the file again, or leave out what is broken with on_error='skip'.",
        )
        if self._options.on_error == "stop":
            raise error
        self.skipped.add(str(error).splitlines()[0], count)

    def _blocks(self) -> Iterator[_Block]:
        """Cut the file into events; complain where it ends without the line that ends every HepMC file."""
        lines: list[bytes] = []
        start = event = number = 0
        ended = False
        for number, line in enumerate(self._lines(), start=1):
            begins = line.startswith(b"E ")
            if begins or line.startswith(b"HepMC::"):
                if lines:
                    yield _Block(event, start, lines, whole=True)
                    lines = []
                if begins:
                    event, start, ended = event + 1, number, False
                    lines.append(line)
                else:
                    ended = END_OF_LISTING in line
                    if not ended and event:
                        self._run_lines = []
            elif lines:
                lines.append(line)
            elif line.strip():
                self._run_lines.append(line)
        if lines:
            yield _Block(event, start, lines, whole=False)
        elif not ended:
            self._refuse(f"the file ends at line {number}, {self._missing_end()}", event=None, line=number, count=0)

    def _lines(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except InputError as error:
            # Damaged compression ends the file; what came before can be kept.
            if self._options.on_error == "stop":
                raise
            self.skipped.add(str(error).splitlines()[0], 0)

    def _missing_end(self) -> str:
        return f"without the line '{self._listing}-{END_OF_LISTING.decode()}'; it was cut off"

    def _event(self, block: _Block) -> _Event:
        if not block.whole:
            cut = not block.lines[-1].endswith(b"\n")
            problem = f"the file ends here {self._missing_end()}"
            if cut or self._options.on_error == "stop":
                raise BrokenEventError(problem, len(block.lines) - 1)
        if self._version == 3 and self._weight_count is not None and self._run_lines:
            self._check_continuation()
        raw = self._parse(block.lines)
        hidden = raw.attributes.get(record.RECORD)
        kept = self._record(hidden, len(raw.particles)) if hidden is not None else None
        process = number_of(raw.attributes, record.PROCESS, 0.0)
        if self._weight_count is None:
            self.run_info = self._run_information(raw)
            self._weight_count = 1 + len(self.run_info.variations)
        event = _Event(
            raw,
            self._weights(raw),
            kept,
            int(process),
            number_of(raw.attributes, record.SCALE, -1.0),
            number_of(raw.attributes, record.ALPHA_QED, -1.0),
            number_of(raw.attributes, record.ALPHA_QCD, -1.0),
        )
        if not block.whole:
            # It is whole itself, but nobody knows whether there were more.
            self._refuse(f"the file ends after this event {self._missing_end()}", event=block.event, line=None, count=0)
        return event

    def _check_continuation(self) -> None:
        """Files that were joined one after the other must have the same weights."""
        names = listed_names(self._run_lines)
        self._run_lines = []
        expected = record.weight_names(self.run_info.variation_names)
        if names and names[1:] not in (expected[1:], list(self.run_info.variation_names)):
            raise BrokenEventError("from here on the file has other weights than at its beginning")

    def _weights(self, raw: RawEvent) -> list[float]:
        # HepMC takes an event without weights for one with weight 1.
        weights = raw.weights or [1.0] * (self._weight_count or 1)
        if len(weights) != self._weight_count:
            raise BrokenEventError(f"has {len(weights)} weights; {self._weight_count} are expected as in the run")
        if record.MISSING in raw.attributes:
            for word in raw.attributes[record.MISSING].split():
                if not word.isdigit() or int(word) >= len(weights):
                    raise BrokenEventError(f"its attribute '{record.MISSING}' names a weight that does not exist")
                weights[int(word)] = math.nan
        if not math.isfinite(weights[0]) or any(map(math.isinf, weights)):
            raise BrokenEventError("a weight is not finite")
        return weights

    def _record(self, text: str, particles: int) -> record.Record:
        known = self._records.get(text)
        if known is None:
            try:
                known = record.unpack(text)
            except ValueError as error:
                raise BrokenEventError(f"its attribute '{record.RECORD}' is malformed: {error}") from error
            if len(self._records) >= CACHED_RECORDS:
                self._records.clear()
            self._records[text] = known
        if known.beams + known.integers.shape[1] != particles:
            raise BrokenEventError(
                f"has {particles} particles; its attribute '{record.RECORD}' describes {known.beams} beams "
                f"and {known.integers.shape[1]} others"
            )
        return known

    def _run_information(self, first: RawEvent | None) -> RunInfo:
        attributes, tools = attributes_and_tools(self._run_lines)
        names = listed_names(self._run_lines)
        self._run_lines = []
        text = record.joined(attributes, record.RUN_INFO)
        if text is not None:
            try:
                return RunInfo.from_json(text)
            except (ValueError, TypeError, KeyError) as error:
                problem = f"its attribute '{record.RUN_INFO}' cannot be read: {error}"
                raise InputError(self._options.source, problem) from error
        if first is not None:
            names = names_for(names or first.weight_names, len(first.weights))
        generator = " ".join(tools[0][:2]).strip() if tools else ""
        foreign: dict[str, Any] = {}
        if tools or attributes:
            foreign["hepmc3"] = {"tools": [list(tool) for tool in tools], "attributes": attributes}
        return RunInfo(
            beams=beams_of(first) if first is not None else (),
            processes=processes_of(first) if first is not None else (),
            variations=tuple(Variation(name) for name in names[1:]),
            generator=generator,
            foreign=foreign,
        )

    def _batch(self, events: Sequence[_Event]) -> EventBatch:
        weights = np.array([event.weights for event in events])
        others: dict[str, Any] = {
            "weight": weights[:, 0].copy(),
            "variations": {
                name: weights[:, index].copy() for index, name in enumerate(self.run_info.variation_names, start=1)
            },
            "process_id": [event.process_id for event in events],
            "scale": [event.scale for event in events],
            "alpha_qed": [event.alpha_qed for event in events],
            "alpha_qcd": [event.alpha_qcd for event in events],
            "comments": _texts(events, record.COMMENTS),
            "tag_attributes": _texts(events, record.TAG_ATTRIBUTES),
        }
        if events[0].record is None:
            return _shower_level(events, others)
        records = [event.record for event in events if event.record is not None]
        particles = np.concatenate([e.raw.particles[e.record.beams :] for e in events if e.record is not None])
        integers = np.concatenate([known.integers for known in records], axis=1)
        floats = np.concatenate([known.floats for known in records], axis=1)
        columns = _kinematics(particles)
        columns.update(zip(record.RECORD_INTEGERS, integers, strict=True))
        columns.update(zip(record.RECORD_FLOATS, floats, strict=True))
        counts = np.array([known.integers.shape[1] for known in records], np.int64)
        return EventBatch.from_columns(counts, columns, **others)


def _chained(first: _Event | None, others: Iterator[_Event]) -> Iterator[_Event]:
    if first is not None:
        yield first
    yield from others


def _kinematics(particles: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[Any]]:
    names = ("px", "py", "pz", "energy", "generated_mass")
    columns: dict[str, npt.NDArray[Any]] = {"pdg_id": particles[:, PDG_ID], "status": particles[:, STATUS]}
    columns.update({name: np.ascontiguousarray(particles[:, PX + index]) for index, name in enumerate(names)})
    return columns


def _shower_level(events: Sequence[_Event], others: dict[str, Any]) -> EventBatch:
    raws = [event.raw for event in events]
    counts = np.array([len(raw.particles) for raw in raws], np.int64)
    vertex_counts = np.array([len(raw.vertex_status) for raw in raws], np.int64)
    columns = _kinematics(np.concatenate([raw.particles for raw in raws]))
    production = np.concatenate([raw.production for raw in raws])
    end = np.concatenate([raw.end for raw in raws])
    columns["production_vertex"], columns["end_vertex"] = production, end
    starts = np.concatenate([[0], np.cumsum(counts)])[:-1]
    position = np.arange(len(end)) - np.repeat(starts, counts) + 1
    columns["mother1"], columns["mother2"] = _mothers(position, production, end, counts, vertex_counts)
    for side in (0, 1):
        columns[f"color{side + 1}"] = np.zeros(len(end), np.int32)
    for start, raw in zip(starts.tolist(), raws, strict=True):
        for particle, pair in raw.flows.items():
            columns["color1"][start + particle], columns["color2"][start + particle] = pair
    positions = np.concatenate([raw.positions for raw in raws])
    vertices: dict[str, npt.NDArray[Any]] = {
        name: np.ascontiguousarray(positions[:, index]) for index, name in enumerate("xyzt")
    }
    vertices["status"] = np.concatenate([raw.vertex_status for raw in raws]).astype(np.int32)
    return EventBatch.from_columns(counts, columns, vertex_counts=vertex_counts, vertex_columns=vertices, **others)


def _mothers(
    position: npt.NDArray[np.int64],
    production: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    vertex_counts: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First and last particle that goes into the vertex from which each particle comes, 0 for none."""
    vertex_starts = np.repeat(np.concatenate([[0], np.cumsum(vertex_counts)])[:-1], counts)
    total = int(vertex_counts.sum())
    first = np.full(total + 1, np.iinfo(np.int64).max)
    last = np.zeros(total + 1, np.int64)
    goes, comes = end >= 0, production >= 0
    np.minimum.at(first, (vertex_starts + end)[goes], position[goes])
    np.maximum.at(last, (vertex_starts + end)[goes], position[goes])
    first[last == 0] = 0
    vertex = np.where(comes, vertex_starts + production, total)
    return first[vertex], last[vertex]


def _texts(events: Sequence[_Event], name: str) -> npt.NDArray[np.object_] | None:
    if not any(name in event.raw.attributes for event in events):
        return None
    texts = np.full(len(events), "", object)
    for index, event in enumerate(events):
        text = event.raw.attributes.get(name)
        if text is not None:
            try:
                texts[index] = json.loads(text)
            except ValueError:
                texts[index] = text
    return texts
