"""Reading HepMC files as a stream of batches."""

from __future__ import annotations

import itertools
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
from mlgen.formats.hepmc2_parse import parse_hepmc2
from mlgen.formats.hepmc3_parse import parse_hepmc3
from mlgen.formats.hepmc_raw import PDG_ID, PX, STATUS, BrokenEventError, RawEvents, number_of
from mlgen.formats.hepmc_run import attributes_and_tools, beams_of, listed_names, names_for, processes_of
from mlgen.run_info import RunInfo, Variation

#: A batch ends early at this many particles: 10,000 events with underlying event would fill gigabytes.
BATCH_PARTICLES = 1_000_000
#: Lines that are converted at once: enough to spread the cost, few enough that their words need little memory.
GROUP_LINES = 5_000
CACHED_RECORDS = 20_000
END_OF_LISTING = b"END_EVENT_LISTING"


@dataclass(frozen=True, slots=True)
class _Block:
    """The lines of one event: number of the event and of its first line, and whether the file goes on after it.

    `header` has the lines before the first event; all events of a file share it, but files can be joined.
    """

    event: int
    line: int
    lines: list[bytes]
    header: list[bytes]
    whole: bool


@dataclass(frozen=True, slots=True)
class _Group:
    """Events that were accepted; `records` are there for hard events that mlgen wrote."""

    raw: RawEvents
    weights: npt.NDArray[np.float64]
    records: list[record.Record] | None
    process_id: list[int]
    scale: list[float]
    alpha_qed: list[float]
    alpha_qcd: list[float]


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
        self._header: list[bytes] = []
        self._records: dict[str, record.Record] = {}
        self._blocks = self._read_blocks()
        # The first event says how many weights there are, and for foreign files what the beams are.
        self._first = self._learn()

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def __iter__(self) -> Iterator[EventBatch]:
        waiting: list[_Group] = []
        events = particles = 0
        while blocks := self._gather(self._options.batch_size - events):
            for group in self._read(blocks):
                if waiting and (group.records is None) != (waiting[0].records is None):
                    yield self._batch(waiting)
                    waiting, events, particles = [], 0, 0
                waiting.append(group)
                events += len(group.raw.counts)
                particles += len(group.raw.particles)
            if events >= self._options.batch_size or particles >= BATCH_PARTICLES:
                yield self._batch(waiting)
                waiting, events, particles = [], 0, 0
        if waiting:
            yield self._batch(waiting)

    def _learn(self) -> list[_Block]:
        """Take the run information from the first event that can be read; return that event, none for no events."""
        for block in self._blocks:
            try:
                self._check_whole(block)
                raw = self._parse([block.lines])
                self.run_info = self._run_information(raw, block.header)
            except BrokenEventError as error:
                self._refuse_event(block, error)
            else:
                self._known_header = block.header
                return [block]
        self.run_info = self._run_information(None, self._header)
        return []

    def _gather(self, most: int) -> list[_Block]:
        """Take events together that will be converted at once."""
        blocks, self._first = self._first, []
        lines = 0
        while len(blocks) < most and lines < GROUP_LINES:
            block = next(self._blocks, None)
            if block is None:
                break
            blocks.append(block)
            lines += len(block.lines)
        return blocks

    def _read(self, blocks: list[_Block]) -> list[_Group]:
        try:
            groups = self._groups(blocks)
        except BrokenEventError:
            # Somewhere there is a broken event: take them one by one to say which.
            blocks = list(self._sound(blocks))
            groups = self._groups(blocks) if blocks else []
        for block in blocks:
            if not block.whole:
                # It is whole itself, but nobody knows whether there were more.
                problem = f"the file ends after this event {self._missing_end()}"
                self._refuse(problem, event=block.event, line=None, count=0)
        return groups

    def _sound(self, blocks: list[_Block]) -> Iterator[_Block]:
        for block in blocks:
            try:
                self._groups([block])
            except BrokenEventError as error:
                self._refuse_event(block, error)
            else:
                yield block

    def _refuse_event(self, block: _Block, error: BrokenEventError) -> None:
        self._refuse(error.problem, event=block.event, line=block.line + (error.line or 0))

    def _refuse(self, problem: str, *, event: int | None, line: int | None, count: int = 1) -> None:
        error = InputError(
            self._options.source,
            problem,
            event=event,
            line=line,
            advice="Copy or write the file again, or leave out what is broken with --on-error skip.",
        )
        if self._options.on_error == "stop":
            raise error
        self.skipped.add(str(error).splitlines()[0], count)

    def _read_blocks(self) -> Iterator[_Block]:
        """Cut the file into events; complain where it ends without the line that ends every HepMC file."""
        lines: list[bytes] = []
        start = event = number = 0
        ended = False
        for number, line in enumerate(self._lines(), start=1):
            if line.startswith((b"E ", b"HepMC::")):
                if lines:
                    yield _Block(event, start, lines, self._header, whole=True)
                    lines = []
                if line.startswith(b"E "):
                    event, start, ended = event + 1, number, False
                    lines.append(line)
                else:
                    ended = END_OF_LISTING in line
                    if not ended and event:
                        self._header = []
            elif lines:
                lines.append(line)
            elif line.strip():
                self._header.append(line)
        if lines:
            yield _Block(event, start, lines, self._header, whole=False)
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

    def _groups(self, blocks: list[_Block]) -> list[_Group]:
        """Convert events; where hard and shower-level events follow each other, into several groups."""
        for block in blocks:
            self._check_whole(block)
            self._check_header(block)
        raw = self._parse([block.lines for block in blocks])
        hidden = [attributes.get(record.RECORD) for attributes in raw.attributes]
        if len({text is None for text in hidden}) > 1:
            runs = itertools.groupby(zip(blocks, hidden, strict=True), key=lambda pair: pair[1] is None)
            return [group for _, run in runs for group in self._groups([block for block, _ in run])]
        weights = [self._weights(*event) for event in zip(raw.weights, raw.attributes, strict=True)]
        counts = raw.counts.tolist()
        records = [self._record(text, n) for text, n in zip(hidden, counts, strict=True) if text is not None]

        def numbers(name: str, unknown: float) -> list[float]:
            return [number_of(attributes, name, unknown) for attributes in raw.attributes]

        return [
            _Group(
                raw,
                np.array(weights),
                records or None,
                list(map(int, numbers(record.PROCESS, 0.0))),
                numbers(record.SCALE, -1.0),
                numbers(record.ALPHA_QED, -1.0),
                numbers(record.ALPHA_QCD, -1.0),
            )
        ]

    def _check_whole(self, block: _Block) -> None:
        if not block.whole and (self._options.on_error == "stop" or not block.lines[-1].endswith(b"\n")):
            raise BrokenEventError(f"the file ends here {self._missing_end()}", len(block.lines) - 1)

    def _check_header(self, block: _Block) -> None:
        if self._version == 3 and block.header is not self._known_header:
            # Files that were joined one after the other must have the same weights.
            names = listed_names(block.header)
            expected = record.weight_names(self.run_info.variation_names)
            if names and names[1:] not in (expected[1:], list(self.run_info.variation_names)):
                raise BrokenEventError("from here on the file has other weights than at its beginning")
            self._known_header = block.header

    def _weights(self, weights: list[float], attributes: dict[str, str]) -> list[float]:
        expected = 1 + len(self.run_info.variations)
        # HepMC takes an event without weights for one with weight 1.
        weights = list(weights) or [1.0] * expected
        if len(weights) != expected:
            raise BrokenEventError(f"has {len(weights)} weights; {expected} are expected as in the run")
        if record.MISSING in attributes:
            for word in attributes[record.MISSING].split():
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

    def _run_information(self, first: RawEvents | None, header: list[bytes]) -> RunInfo:
        attributes, tools = attributes_and_tools(header)
        names = listed_names(header)
        text = record.joined(attributes, record.RUN_INFO)
        if text is not None:
            try:
                known = RunInfo.from_json(text)
            except (ValueError, TypeError, KeyError) as error:
                problem = f"its attribute '{record.RUN_INFO}' cannot be read: {error}"
                raise InputError(self._options.source, problem) from error
            if known.processes or first is None:
                return known
            # Of a matched sample: it was not known when the file was begun.
            return known.replace(processes=processes_of(first))
        if first is not None:
            names = names_for(names or first.weight_names, len(first.weights[0]))
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

    def _batch(self, groups: Sequence[_Group]) -> EventBatch:
        raw = RawEvents.concatenate([group.raw for group in groups])
        weights = np.concatenate([group.weights for group in groups])
        others: dict[str, Any] = {
            "weight": weights[:, 0].copy(),
            "variations": {
                name: weights[:, index].copy() for index, name in enumerate(self.run_info.variation_names, start=1)
            },
            "comments": _texts(raw.attributes, record.COMMENTS),
            "tag_attributes": _texts(raw.attributes, record.TAG_ATTRIBUTES),
        }
        for name in ("process_id", "scale", "alpha_qed", "alpha_qcd"):
            others[name] = [value for group in groups for value in getattr(group, name)]
        if groups[0].records is None:
            return _shower_level(raw, others)
        records = [known for group in groups if group.records is not None for known in group.records]
        counts = np.array([known.integers.shape[1] for known in records], np.int64)
        # The beams that were put in front are no part of the Les Houches record.
        position = np.arange(len(raw.particles)) - np.repeat(np.cumsum(raw.counts) - raw.counts, raw.counts)
        columns = _kinematics(raw.particles[position >= np.repeat(raw.counts - counts, raw.counts)])
        integers = np.concatenate([known.integers for known in records], axis=1)
        floats = np.concatenate([known.floats for known in records], axis=1)
        columns.update(zip(record.RECORD_INTEGERS, integers, strict=True))
        columns.update(zip(record.RECORD_FLOATS, floats, strict=True))
        return EventBatch.from_columns(counts, columns, **others)


def _kinematics(particles: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[Any]]:
    names = ("px", "py", "pz", "energy", "generated_mass")
    columns: dict[str, npt.NDArray[Any]] = {"pdg_id": particles[:, PDG_ID], "status": particles[:, STATUS]}
    columns.update({name: np.ascontiguousarray(particles[:, PX + index]) for index, name in enumerate(names)})
    return columns


def _shower_level(raw: RawEvents, others: dict[str, Any]) -> EventBatch:
    columns = _kinematics(raw.particles)
    columns["production_vertex"], columns["end_vertex"] = raw.production, raw.end
    position = np.arange(len(raw.end)) - np.repeat(np.cumsum(raw.counts) - raw.counts, raw.counts) + 1
    columns["mother1"], columns["mother2"] = _mothers(position, raw.production, raw.end, raw.counts, raw.vertex_counts)
    columns["color1"], columns["color2"] = raw.colors
    vertices: dict[str, npt.NDArray[Any]] = {
        name: np.ascontiguousarray(raw.positions[:, index]) for index, name in enumerate("xyzt")
    }
    vertices["status"] = raw.vertex_status.astype(np.int32)
    further = [
        {name: text for name, text in attributes.items() if name not in record.TAKEN} for attributes in raw.attributes
    ]
    return EventBatch.from_columns(
        raw.counts,
        columns,
        vertex_counts=raw.vertex_counts,
        vertex_columns=vertices,
        attributes=np.array(further, object) if any(further) else None,
        **others,
    )


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


def _texts(attributes: Sequence[dict[str, str]], name: str) -> npt.NDArray[np.object_] | None:
    if not any(name in event for event in attributes):
        return None
    texts = np.full(len(attributes), "", object)
    for index, event in enumerate(attributes):
        text = event.get(name)
        if text is not None:
            try:
                texts[index] = json.loads(text)
            except ValueError:
                texts[index] = text
    return texts
