"""The lines of HepMC3 events, checked and turned into columns.

HepMC3's own reader is not used: it reads ``abc`` as 0, stops without a word at a broken event, at a long line and
at the end of a cut file, refuses NaN weights and weight names with blanks, and prints to standard output.

The numbers of many events are converted at once, which is several times faster than event by event. Where something
is broken the caller gives the events again one by one: the error for a single event says which line it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import fastnumbers
import numpy as np
import numpy.typing as npt

from mlgen.formats import hepmc_record as record
from mlgen.formats.hepmc_raw import (
    PX,
    BrokenEventError,
    Floats,
    Integers,
    RawEvents,
    all_numbers,
    matched,
    place_of,
    table_of,
    unescape,
    units_of,
)

#: Event, particle (counted from 1), which of the two colour lines, and its number.
Flow = tuple[int, int, int, int]

_INTEGER = rb"([+-]?\d+)"
_NUMBER = rb"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
_PLACE = rb"(?: +@ +" + rb" +".join([_NUMBER] * 4) + rb")?\s*"
_EVENT = re.compile(rb"E +" + rb" +".join([_INTEGER, rb"(\d+)", rb"(\d+)"]) + _PLACE)
_VERTEX = re.compile(rb"V +(-\d+) +" + _INTEGER + rb" +\[([\d, ]*)\]\s*")
_USUAL_UNITS = b"U GEV MM\n"
#: Numbers of a particle's line after its letter, and which of them are whole.
_NUMBERS, _INTEGERS = 9, (0, 1, 2, 8)


@dataclass(slots=True)
class _Lines:
    """What has been cut out of some events of HepMC3, not yet converted."""

    announced_vertices: list[int] = field(default_factory=list)
    places: list[tuple[float, ...]] = field(default_factory=list)
    units: list[tuple[float, float]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    particles: list[bytes] = field(default_factory=list)
    weights: list[list[float]] = field(default_factory=list)
    attributes: list[dict[str, str]] = field(default_factory=list)
    flows: list[Flow] = field(default_factory=list)
    #: Event, number and status of the vertices that have a line.
    vertices: list[tuple[int, int, int]] = field(default_factory=list)
    #: Vertices (their rows in `vertices`) with a position, and its words.
    placed: list[int] = field(default_factory=list)
    place_words: list[bytes] = field(default_factory=list)
    #: Vertex (its row in `vertices`) and particle that goes into it.
    incoming: list[tuple[int, int]] = field(default_factory=list)


def parse_hepmc3(events: Sequence[Sequence[bytes]]) -> RawEvents:
    """Read events of HepMC3, each given as its lines.

    Raises:
        BrokenEventError: One is not whole or not well formed. The line is given where there is only one event.
    """
    lines = _Lines()
    for event in events:
        _cut(event, lines)
    counts = np.array(lines.counts, np.int64)
    table = table_of(lines.particles, _NUMBERS, _INTEGERS, events)
    event_of = np.repeat(np.arange(len(events)), counts)
    position = np.arange(1, len(table) + 1) - (np.cumsum(counts) - counts)[event_of]
    if not np.array_equal(table[:, 0], position):
        raise BrokenEventError("its particles are not numbered 1, 2, 3, ...")
    particles = np.ascontiguousarray(table[:, 2:][:, [0, 6, 1, 2, 3, 4, 5]])
    vertices = _vertices(table[:, 1].astype(np.int64), counts, event_of, lines)
    units = np.array(lines.units)
    if np.any(units != 1.0):
        particles[:, PX:] *= units[event_of, :1]
        vertices.positions *= np.repeat(units[:, 1:], vertices.counts, axis=0)
    colors = np.zeros((2, len(table)), np.int64)
    if lines.flows:
        event, particle, side, color = np.array(lines.flows, np.int64).T
        colors[side, (np.cumsum(counts) - counts)[event] + particle - 1] = color
    return RawEvents(
        counts,
        particles,
        vertices.production,
        vertices.end,
        vertices.counts,
        vertices.positions,
        vertices.status,
        colors,
        lines.weights,
        [],
        lines.attributes,
    )


def _cut(event: Sequence[bytes], lines: _Lines) -> None:
    announced = matched(_EVENT, event, 0, "'E number vertices particles', perhaps with a position")
    n, index = int(announced[3]), len(lines.counts)
    weights: list[float] = []
    units = 1.0, 1.0
    attributes: dict[str, str] = {}
    particles = lines.particles
    before = len(particles)
    for number, line in enumerate(event):
        kind = line[:2]
        if kind == b"P ":
            particles.append(line)
        elif kind == b"V ":
            head, at, place = line.partition(b"@")
            found = _VERTEX.fullmatch(head)
            place_words = place.split()
            if found is None or len(place_words) != (4 if at else 0):
                expected = "'V id status [particles]', perhaps with '@ x y z t',"
                raise BrokenEventError(f"a line reads {line[:60]!r}; {expected} is expected", number)
            vertex, status, words = found.groups()
            row = len(lines.vertices)
            lines.vertices.append((index, int(vertex), int(status)))
            if at:
                lines.placed.append(row)
                lines.place_words += place_words
            lines.incoming += [(row, int(word)) for word in words.replace(b",", b" ").split()]
        elif kind == b"A ":
            if line.startswith(b"A 0 "):
                name, blank, text = line[4:].rstrip(b"\r\n").partition(b" ")
                if not blank:
                    raise _malformed_attribute(number)
                attributes[name.decode("utf-8", "replace")] = unescape(text)
            else:
                _inner_attribute(line, number, index, n, attributes, lines.flows)
        elif kind == b"W ":
            weights = all_numbers(float, line[2:], number)
        elif kind == b"U ":
            if line != _USUAL_UNITS:
                units = units_of(event, number)
        elif number and line.strip():
            raise BrokenEventError(f"a line begins with {line[:12]!r}; one of E, U, W, A, P, V is expected", number)
    if len(particles) - before != n:
        raise BrokenEventError(f"has {len(particles) - before} particles; its first line announces {n}")
    lines.counts.append(n)
    lines.announced_vertices.append(int(announced[2]))
    lines.places.append(place_of(announced.groups()[3:]) or (0.0, 0.0, 0.0, 0.0))
    lines.units.append(units)
    lines.weights.append(weights)
    lines.attributes.append(attributes)


@dataclass(slots=True)
class _Vertices:
    counts: Integers
    production: Integers
    end: Integers
    positions: Floats
    status: Integers


def _vertices(parents: Integers, counts: Integers, event_of: Integers, lines: _Lines) -> _Vertices:
    """Vertices in the order of HepMC's numbers; those without a line of their own take the numbers that are left.

    Args:
        parents: What each particle comes from: a particle (positive), a vertex with a line (negative), or nothing (0).
        counts: Particles in each event.
        event_of: Event of each particle.
        lines: What else the events say.
    """
    n = len(counts)
    starts = np.cumsum(counts) - counts
    vertex_event, number, status = np.array(lines.vertices, np.int64).reshape(-1, 3).T
    vertex, incoming = np.array(lines.incoming, np.int64).reshape(-1, 2).T
    wrong = np.flatnonzero((incoming < 1) | (incoming > counts[vertex_event[vertex]]))
    if wrong.size:
        raise BrokenEventError(f"a vertex has the incoming particle {incoming[wrong[0]]}, which is missing")
    wrong = np.flatnonzero(parents > counts[event_of])
    if wrong.size:
        raise BrokenEventError(f"a particle comes from particle {parents[wrong[0]]}, which is missing")
    # Rows count particles and vertices through all events.
    incoming_row = starts[vertex_event[vertex]] + incoming - 1
    uses = np.bincount(incoming_row, minlength=len(parents))
    if np.any(uses > 1):
        raise BrokenEventError(f"particle {incoming[uses[incoming_row] > 1][0]} goes into two vertices")
    parent_row = (starts[event_of] + parents - 1)[parents > 0]
    decaying, first_child = np.unique(parent_row, return_index=True)
    decaying = decaying[np.argsort(first_child)]
    decaying = decaying[uses[decaying] == 0]
    with_line = np.bincount(vertex_event, minlength=n)
    total = with_line + np.bincount(event_of[decaying], minlength=n)
    wrong = np.flatnonzero(total != lines.announced_vertices)
    if wrong.size:
        raise BrokenEventError(
            f"has {total[wrong[0]]} vertices; its first line announces {lines.announced_vertices[wrong[0]]}"
        )

    slot = -number - 1
    in_order = np.arange(len(slot)) - (np.cumsum(with_line) - with_line)[vertex_event]
    unusual = np.zeros(n, np.bool_)
    unusual[vertex_event[(slot < 0) | (slot >= total[vertex_event])]] = True
    slot = np.where(unusual[vertex_event], in_order, slot)
    vertex_starts = np.cumsum(total) - total
    row = vertex_starts[vertex_event] + slot
    # A vertex is known by its event and number; the last entry stands for none.
    span = 1 - min(int(number.min(initial=0)), int(parents.min(initial=0)))
    key = vertex_event * span - number
    order = np.append(np.argsort(key), -1)
    key = np.append(key, -1)
    if np.any(np.diff(key[order[:-1]]) == 0):
        raise BrokenEventError("two of its vertices have the same number")
    free = np.ones(total.sum(), np.bool_)
    free[row] = False

    end = np.full(len(parents), -1, np.int64)
    end[incoming_row] = row[vertex]
    end[decaying] = np.flatnonzero(free)
    production = np.full(len(parents), -1, np.int64)
    production[parents > 0] = end[parent_row]
    from_vertex = np.flatnonzero(parents < 0)
    wanted = event_of[from_vertex] * span - parents[from_vertex]
    found = order[np.searchsorted(key[order[:-1]], wanted)]
    wrong = np.flatnonzero(key[found] != wanted)
    if wrong.size:
        raise BrokenEventError(f"a particle comes from vertex {parents[from_vertex[wrong[0]]]}, which is missing")
    production[from_vertex] = row[found]

    all_status = np.zeros(len(free), np.int64)
    all_status[row] = status
    first_incoming = np.full(len(free), -1, np.int64)
    first_incoming[end[decaying]] = decaying
    first_incoming[row[vertex[::-1]]] = incoming_row[::-1]
    positions = np.repeat(np.array(lines.places), total, axis=0)
    if lines.placed:
        places = _positions(lines.place_words)
        # HepMC takes a position of four zeros for one that is not set.
        known = places.any(axis=1)
        placed_row = row[np.array(lines.placed)[known]]
        has_place = np.zeros(len(free), np.bool_)
        has_place[placed_row] = True
        positions[placed_row] = places[known]
        ancestor = np.where(first_incoming >= 0, production[first_incoming], -1)
        positions = positions[_with_place(has_place, ancestor)]
    # Within its event, a vertex is counted from 0.
    shift = vertex_starts[event_of]
    production = np.where(production < 0, -1, production - shift)
    end = np.where(end < 0, -1, end - shift)
    return _Vertices(total, production, end, positions, all_status)


def _positions(words: list[bytes]) -> Floats:
    try:
        places = np.asarray(fastnumbers.try_array(words, dtype=np.float64)).reshape(-1, 4)
    except ValueError as error:
        raise BrokenEventError(f"the position of a vertex is malformed: {error}") from error
    if not np.isfinite(places).all():
        raise BrokenEventError("the position of a vertex is not finite")
    return places


def _with_place(has_place: npt.NDArray[np.bool_], ancestor: Integers) -> Integers:
    """The nearest ancestor of each vertex that has a place; the vertex itself where there is none."""
    own = np.arange(len(ancestor))
    nearest = np.where(has_place | (ancestor < 0), own, ancestor)
    # Every step doubles the generations that are behind it; a cycle would never end.
    for _ in range(len(own).bit_length()):
        further = nearest[nearest]
        if np.array_equal(further, nearest):
            break
        nearest = further
    return np.where(has_place[nearest], nearest, own)


def _malformed_attribute(number: int) -> BrokenEventError:
    return BrokenEventError("an attribute is malformed; 'A id name text' is expected", number)


def _inner_attribute(
    line: bytes, number: int, event: int, particles: int, attributes: dict[str, str], flows: list[Flow]
) -> None:
    """Take an attribute of a particle (its number is positive) or of a vertex."""
    words = line.rstrip(b"\r\n").split(b" ", 3)
    if len(words) != 4 or not words[1].lstrip(b"-").isdigit():
        raise _malformed_attribute(number)
    owner, name = int(words[1]), words[2].decode("utf-8", "replace")
    if name in record.FLOWS and owner > 0:
        (color,) = all_numbers(int, words[3], number) or (0,)
        if owner <= particles:
            flows.append((event, owner, record.FLOWS.index(name), color))
    else:
        attributes[f"{owner} {name}" if owner else name] = unescape(words[3])
