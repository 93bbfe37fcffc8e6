"""Writing HepMC events through pyhepmc."""

from __future__ import annotations

import contextlib
import heapq
import io
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyhepmc

from mlgen.errors import OutputError, nearest
from mlgen.event_format import EventWriter
from mlgen.events import EventBatch
from mlgen.formats import hepmc_record as record
from mlgen.formats.hepmc3_text import event_texts, has_order
from mlgen.formats.hepmc_graph import KINEMATICS, Vertex, hard_graph
from mlgen.formats.hepmc_run import run_for
from mlgen.run_info import RunInfo

#: Bytes that are gathered before they go to the output.
CHUNK = 1 << 18
#: Records kept for reuse: most events of a file share a few hundred.
CACHED_RECORDS = 20_000
UNKNOWN = -1.0
#: A text as JSON in ASCII: HepMC3 itself escapes newlines and backslashes, but nothing else.
_AS_JSON = json.JSONEncoder().encode


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep HepMC3 from printing; what it would say is checked here."""
    setup = pyhepmc.Setup
    saved = setup.print_errors, setup.print_warnings
    setup.print_errors = setup.print_warnings = False
    try:
        yield
    finally:
        setup.print_errors, setup.print_warnings = saved


class HepMCWriter(EventWriter):
    """Writes HepMC3 or HepMC2; see `mlgen.formats.hepmc` for what each of them keeps.

    Args:
        stream: Output.
        run_info: What is true of all events; its variations are the weights that can be written.
        version: 3 or 2.
    """

    def __init__(self, stream: BinaryIO, run_info: RunInfo, version: int) -> None:
        self._stream, self._version = stream, version
        self._beams = run_info.beams
        self._variations = run_info.variation_names
        self._written = 0
        self._records: dict[tuple[int, bytes, bytes], str] = {}
        # HepMC3 swallows the exception of a full disk, so it writes into memory and the output is written here.
        self._buffer = io.BytesIO()
        self._bridge = pyhepmc.io.pyiostream(self._buffer, 1 << 16)
        run = run_for(run_info, version)
        with quiet():
            writer = pyhepmc.io.WriterAscii if version == 3 else pyhepmc.io.WriterAsciiHepMC2
            self._writer = writer(self._bridge, run)
            # HepMC3 keeps what stands before the events until it has written one, and not all are written by it.
            self._head = _head(run) if version == 3 else b""
        self._again = len(self._head)
        # 17 digits keep every bit, and %g writes the many zeros in one character.
        self._writer.precision = 17
        self._writer.options = {"float_printf_specifier": "g"}
        self._event = pyhepmc.GenEvent(run)
        self._cross_section: Any = None
        if not math.isnan(run_info.cross_section):
            total, error = run_info.cross_section, run_info.cross_section_error
            if version == 3:
                # As text it keeps all digits; the two -1 stand for unknown numbers of accepted and attempted events.
                self._cross_section = f"{total!r} {error!r} -1 -1"
            else:
                self._cross_section = pyhepmc.GenCrossSection()
                self._cross_section.set_cross_section(total, error)

    def write(self, batch: EventBatch) -> None:
        """Append a batch of hard or of shower-level events."""
        unknown = [name for name in batch.variations if name not in self._variations]
        if unknown:
            raise OutputError(
                f"event {self._written + 1}: the events carry the variation '{unknown[0]}', which the run information "
                f"does not declare{nearest(unknown[0], self._variations)}; the weights of a HepMC file are fixed at "
                "its beginning"
            )
        if not len(batch):
            return
        self._check_finite(batch)
        with quiet():
            if batch.has_graph:
                self._write_shower_level(batch)
            else:
                self._write_hard(batch)
        self._drain()

    def close(self) -> None:
        """Write the line that ends the file."""
        with quiet():
            self._writer.close()
        self._drain()

    def _drain(self) -> None:
        self._bridge.flush()
        text = self._buffer.getvalue()
        again = min(self._again, len(text))
        self._again -= again
        head, self._head = self._head, b""
        self._stream.write(head + text[again:])
        self._buffer.seek(0)
        self._buffer.truncate()

    def _check_finite(self, batch: EventBatch) -> None:
        broken = ~np.isfinite(batch.weight)
        for values in batch.variations.values():
            broken |= np.isinf(values)
        event = np.repeat(np.arange(len(batch)), batch.counts)
        for values in batch.columns(KINEMATICS).values():
            if not np.all(np.isfinite(values)):
                broken[event[~np.isfinite(values)]] = True
        if broken.any():
            number = self._written + int(np.flatnonzero(broken)[0]) + 1
            raise OutputError(
                f"event {number}: a weight or a momentum is not finite; HepMC readers stop at such events"
            )

    def _write_hard(self, batch: EventBatch) -> None:
        graph = hard_graph(batch, self._beams, self._written + 1)
        starts, offsets = batch.offsets.tolist(), graph.offsets.tolist()
        added = graph.added.tolist()
        columns = batch.columns(record.RECORD_INTEGERS + record.RECORD_FLOATS)
        integers = np.stack([columns[name] for name in record.RECORD_INTEGERS], axis=1).astype(np.int32)
        floats = np.stack([columns[name] for name in record.RECORD_FLOATS], axis=1)
        finish = _Finisher(self, batch)
        if self._version == 3:
            finish.add(record.RECORD, self._packed(starts, added, integers, floats))
        px, py, pz, energy, mass = graph.kinematics
        pdg_id, status, parents, explicit = graph.pdg_id, graph.status, graph.parents, graph.explicit
        event, buffer = self._event, self._buffer
        from_hepevt, write_event = event.from_hepevt, self._writer.write_event
        for index in range(len(batch)):
            here = slice(offsets[index], offsets[index + 1])
            regular = index not in explicit
            from_hepevt(
                self._written + index,
                px[here],
                py[here],
                pz[here],
                energy[here],
                mass[here],
                pdg_id[here],
                status[here],
                parents[here] if regular else None,
            )
            if not regular:
                _add_vertices(event, explicit[index])
            finish(index)
            if self._version == 2:
                _add_flows(event, integers[starts[index] : starts[index + 1], 3:].tolist(), added[index])
            write_event(event)
            if buffer.tell() > CHUNK:
                self._drain()
        self._written += len(batch)

    def _packed(
        self, starts: list[int], added: list[int], integers: npt.NDArray[np.int32], floats: npt.NDArray[np.float64]
    ) -> list[str]:
        """What HepMC has no place for, of each event as text."""
        # Slices of bytes are cheaper than those of arrays, and can be looked up.
        raw_integers, raw_floats = integers.tobytes(), floats.tobytes()
        integer_row, float_row = integers.itemsize * integers.shape[1], floats.itemsize * floats.shape[1]
        records = self._records
        texts = []
        for (start, stop), beams in zip(itertools.pairwise(starts), added, strict=True):
            key = (
                beams,
                raw_integers[start * integer_row : stop * integer_row],
                raw_floats[start * float_row : stop * float_row],
            )
            text = records.get(key)
            if text is None:
                if len(records) >= CACHED_RECORDS:
                    records.clear()
                text = records[key] = record.pack(beams, integers[start:stop], floats[start:stop])
            texts.append(text)
        return texts

    def _write_shower_level(self, batch: EventBatch) -> None:
        finish = _Finisher(self, batch)
        if self._version == 3 and finish.attributes_of_events_only() and has_order(batch):
            # What HepMC3 itself would write next is in front of it.
            self._drain()
            for text in event_texts(batch, self._written, finish.weights, finish.attributes):
                self._stream.write(text)
            self._written += len(batch)
            return
        starts = batch.offsets.tolist()
        columns = batch.columns(("pdg_id", "status", "color1", "color2", *KINEMATICS))
        colors = np.stack([columns["color1"], columns["color2"]], axis=1)
        flat = {name: batch.column(name) for name in ("production_vertex", "end_vertex")}
        vertices = _flat_vertices(batch)
        event = self._event
        for index in range(len(batch)):
            here = slice(starts[index], starts[index + 1])
            positions = vertices[index]
            graph: list[Vertex] = [([], []) for _ in positions]
            for side, name in enumerate(("end_vertex", "production_vertex")):
                for particle, vertex in enumerate(flat[name][here].tolist()):
                    if vertex >= 0:
                        if vertex >= len(graph):
                            raise OutputError(
                                f"event {self._written + index + 1}: a particle names vertex {vertex}, "
                                f"the event has {len(graph)}"
                            )
                        graph[vertex][side].append(particle)
            order: Any = here
            if any(incoming and outgoing and incoming[-1] > outgoing[0] for incoming, outgoing in graph):
                sequence = _mothers_first(graph, starts[index + 1] - starts[index])
                place = {particle: new for new, particle in enumerate(sequence)}
                graph = [([place[p] for p in incoming], [place[p] for p in outgoing]) for incoming, outgoing in graph]
                order = np.array(sequence, np.int64) + starts[index]
            kinematics = [columns[name][order] for name in KINEMATICS]
            event.from_hepevt(self._written + index, *kinematics, columns["pdg_id"][order], columns["status"][order])
            _add_vertices(event, graph, positions)
            finish(index)
            _add_flows(event, colors[order].tolist(), 0)
            self._writer.write_event(event)
            if self._buffer.tell() > CHUNK:
                self._drain()
        self._written += len(batch)


def _head(run: Any) -> bytes:
    """What HepMC3 writes before the events."""
    buffer = io.BytesIO()
    bridge = pyhepmc.io.pyiostream(buffer, 1 << 16)
    writer = pyhepmc.io.WriterAscii(bridge, run)
    writer.close()
    bridge.flush()
    head, end, _ = buffer.getvalue().rpartition(b"HepMC::Asciiv3-END")
    if not end:
        raise OutputError("HepMC3 wrote no end of its listing; this version of pyhepmc cannot be used")
    return head


class _Finisher:
    """Gives an event its weights and attributes, once its particles are there."""

    def __init__(self, writer: HepMCWriter, batch: EventBatch) -> None:
        n = len(batch)
        absent = np.full(n, np.nan)
        self._weights = np.stack(
            [batch.weight, *(batch.variations.get(name, absent) for name in writer._variations)], axis=1
        )
        self._event = writer._event
        self._attributes = writer._event.attributes
        #: Name and, for each event, value of an attribute; None where the event does not get it.
        self._values: list[tuple[str, list[Any]]] = []
        numbers = {
            record.ALPHA_QCD: batch.alpha_qcd.tolist(),
            record.ALPHA_QED: batch.alpha_qed.tolist(),
            record.SCALE: batch.scale.tolist(),
        }
        if writer._version == 3:
            self._take_texts(batch, numbers)
        else:
            self._take_numbers(batch, numbers, writer._written + 1)
        self._own: list[dict[str, Any]] = [{}] * n if batch.attributes is None else batch.attributes.tolist()
        if writer._version == 2:
            self._own = [_as_objects(own) for own in self._own]
        if writer._cross_section is not None:
            # Generators write a running estimate into each event; the run's value stands where there is none.
            total = writer._cross_section
            self.add(record.CROSS_SECTION, [None if record.CROSS_SECTION in own else total for own in self._own])

    def add(self, name: str, values: list[Any]) -> None:
        """Give each event an attribute; None where it does not get it."""
        self._values.append((name, values))

    def _take_texts(self, batch: EventBatch, numbers: dict[str, list[float]]) -> None:
        # As text, a number keeps all its digits.
        for name, values in numbers.items():
            self.add(name, [None if value == UNKNOWN else repr(value) for value in values])
        self.add(record.PROCESS, list(map(str, batch.process_id.tolist())))
        for name, texts in ((record.COMMENTS, batch.comments), (record.TAG_ATTRIBUTES, batch.tag_attributes)):
            if texts is not None:
                self.add(name, [_AS_JSON(text) if text else None for text in texts])
        missing = np.isnan(self._weights)
        if missing.any():
            # A reader of HepMC3 stops at the word "nan", so a weight that an event lacks is written as 0 and listed.
            self._weights = np.where(missing, 0.0, self._weights)
            lists = [" ".join(map(str, np.flatnonzero(row).tolist())) or None for row in missing]
            self.add(record.MISSING, lists)

    def _take_numbers(self, batch: EventBatch, numbers: dict[str, list[float]], first_event: int) -> None:
        # HepMC2 has columns of its own for these.
        for name, values in numbers.items():
            self.add(name, values)
        process = batch.process_id
        wrong = np.flatnonzero(process != process.astype(np.int32))
        if wrong.size:
            raise OutputError(
                f"event {first_event + wrong[0]}: process {process[wrong[0]]}: HepMC2 holds process numbers of 32 bits"
            )
        self.add(record.PROCESS, process.tolist())

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """All weights, the nominal ones first, shape ``(n, weights)``."""
        return self._weights

    def attributes_of_events_only(self) -> bool:
        """Whether no particle and no vertex has attributes of its own."""
        return not any(" " in name for own in self._own for name in own)

    def attributes(self, index: int) -> Iterator[tuple[str, str]]:
        """Yield name and text of each attribute of an event."""
        for name, values in self._values:
            if values[index] is not None:
                yield name, values[index]
        yield from self._own[index].items()

    def __call__(self, index: int) -> None:
        self._event.weights = self._weights[index]
        attributes = self._attributes
        for name, values in self._values:
            value = values[index]
            if value is not None:
                attributes[name] = value
        if self._own[index]:
            self._attach(self._own[index])

    def _attach(self, own: Mapping[str, Any]) -> None:
        """Attach the event's own attributes, and those of its particles and vertices."""
        for name, value in own.items():
            owner, blank, inner = name.partition(" ")
            if not blank:
                self._attributes[name] = value
                continue
            number = int(owner)
            owners = self._event.particles if number > 0 else self._event.vertices
            if 0 < abs(number) <= len(owners):
                owners[abs(number) - 1].attributes[inner] = value


def _as_objects(own: Mapping[str, str]) -> dict[str, Any]:
    """Cross section, PDFs and heavy ions as objects, for which HepMC2 has lines; it has none for other attributes."""
    objects: dict[str, Any] = {}
    for name in (record.CROSS_SECTION, record.PDF_INFO, record.HEAVY_ION):
        if name in own:
            value = getattr(pyhepmc, name)()
            if value.from_string(own[name]):
                objects[name] = value
    return objects


def _add_vertices(event: Any, graph: list[Vertex], positions: list[tuple[Any, ...]] | None = None) -> None:
    particles = list(event.particles)
    for index, (incoming, outgoing) in enumerate(graph):
        place, status = (positions[index][:4], positions[index][4]) if positions else ((0.0, 0.0, 0.0, 0.0), 0)
        # HepMC has no vertex without outgoing particles, and one without incoming ones only as an explicit place.
        if not outgoing or not (incoming or status or any(place)):
            continue
        vertex = pyhepmc.GenVertex(place)
        if status:
            vertex.status = status
        for particle in incoming:
            vertex.add_particle_in(particles[particle])
        for particle in outgoing:
            vertex.add_particle_out(particles[particle])
        event.add_vertex(vertex)


def _mothers_first(graph: list[Vertex], particles: int) -> list[int]:
    """Particles in an order in which mothers stand before daughters, otherwise as they are.

    HepMC3 files need it, HepMC2 files may come without. What is part of a cycle stays at the end.
    """
    waiting = [len(incoming) for incoming, _ in graph]
    ends = {particle: number for number, (incoming, _) in enumerate(graph) for particle in incoming}
    produced = {particle for incoming, outgoing in graph if incoming for particle in outgoing}
    ready = [particle for particle in range(particles) if particle not in produced]
    sequence: list[int] = []
    while ready:
        particle = heapq.heappop(ready)
        sequence.append(particle)
        if particle in ends:
            number = ends[particle]
            waiting[number] -= 1
            if not waiting[number]:
                for daughter in graph[number][1]:
                    heapq.heappush(ready, daughter)
    return sequence + sorted(set(range(particles)) - set(sequence))


def _add_flows(event: Any, colors: list[list[int]], skipped: int) -> None:
    """Attach the colour lines of coloured particles, as Pythia 8 does; the first `skipped` particles have none."""
    particles = event.particles
    for index, pair in enumerate(colors):
        if pair[0] or pair[1]:
            attributes = particles[skipped + index].attributes
            for name, color in zip(record.FLOWS, pair, strict=True):
                attributes[name] = color


def _flat_vertices(batch: EventBatch) -> list[list[tuple[Any, ...]]]:
    """Vertices ``(x, y, z, t, status)`` of each event."""
    import awkward as ak

    vertices = ak.Array(batch.vertices)
    counts = ak.to_numpy(ak.num(vertices, axis=1)).tolist()
    flat = ak.flatten(vertices, axis=1)
    columns = [ak.to_numpy(flat[name]).astype(float).tolist() for name in ("x", "y", "z", "t")]
    status = ak.to_numpy(flat["status"]).astype(np.int64).tolist()
    rows = list(zip(*columns, status, strict=True))
    result, start = [], 0
    for count in counts:
        result.append(rows[start : start + count])
        start += count
    return result
