"""The lines of HepMC events, checked and turned into columns.

HepMC3's own reader is not used: it reads ``abc`` as 0, stops without a word at a broken event, at a long line and
at the end of a cut file, refuses NaN weights and weight names with blanks, and prints to standard output.

The numbers of many events are converted at once, which is several times faster than event by event. Where something
is broken the caller gives the events again one by one: the error for a single event says which line it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import fastnumbers
import numpy as np
import numpy.typing as npt

from mlgen.formats import hepmc_record as record

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
#: Event, particle (counted from 1), which of the two colour lines, and its number.
Flow = tuple[int, int, int, int]

_INTEGER = rb"([+-]?\d+)"
_NUMBER = rb"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
_PLACE = rb"(?: +@ +" + rb" +".join([_NUMBER] * 4) + rb")?\s*"
_EVENT3 = re.compile(rb"E +" + rb" +".join([_INTEGER, rb"(\d+)", rb"(\d+)"]) + _PLACE)
_VERTEX3 = re.compile(rb"V +(-\d+) +" + _INTEGER + rb" +\[([\d, ]*)\]\s*")
_UNITS = re.compile(rb"U +(GEV|MEV) +(MM|CM)\s*")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

_USUAL_UNITS = b"U GEV MM\n"
#: Numbers of a particle's line after its letter, and which of them are whole. HepMC2's flow, which follows, is apart.
_NUMBERS3, _INTEGERS3 = 9, (0, 1, 2, 8)
_NUMBERS2, _INTEGERS2 = 11, (1, 7, 10)

#: Columns of `RawEvents.particles`.
PDG_ID, STATUS, PX, PY, PZ, ENERGY, MASS = range(7)


class BrokenEventError(Exception):
    """An event that cannot be read: what is wrong with it, and the index of the line among the event's lines."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.problem, self.line = problem, line


@dataclass(slots=True)
class RawEvents:
    """Some events in GeV and mm, one after the other.

    Args:
        counts: Particles in each event, shape ``(n,)``.
        particles: PDG id, status, px, py, pz, energy, mass; shape ``(sum(counts), 7)``.
        production: Vertex of its event that each particle comes from, counted from 0, -1 for none.
        end: Vertex that each particle goes into.
        vertex_counts: Vertices in each event, shape ``(n,)``.
        positions: x, y, z, t of the vertices, inherited from their ancestors where the file gives none.
        vertex_status: Status of the vertices.
        colors: Colour lines, shape ``(2, sum(counts))``.
        weights: All weights of each event.
        weight_names: Their names, where the first event itself gives them (HepMC2).
        attributes: Attributes of each event as text; those of its particles and vertices under ``"ID NAME"``.
    """

    counts: Integers
    particles: Floats
    production: Integers
    end: Integers
    vertex_counts: Integers
    positions: Floats
    vertex_status: Integers
    colors: Integers
    weights: list[list[float]]
    weight_names: list[str]
    attributes: list[dict[str, str]]

    @classmethod
    def concatenate(cls, parts: Sequence[RawEvents]) -> RawEvents:
        """Join events."""
        if len(parts) == 1:
            return parts[0]

        def joined(name: str) -> npt.NDArray[Any]:
            return np.concatenate([getattr(part, name) for part in parts], axis=-1 if name == "colors" else 0)

        return cls(
            joined("counts"),
            joined("particles"),
            joined("production"),
            joined("end"),
            joined("vertex_counts"),
            joined("positions"),
            joined("vertex_status"),
            joined("colors"),
            [weights for part in parts for weights in part.weights],
            parts[0].weight_names,
            [attributes for part in parts for attributes in part.attributes],
        )


def unescape(text: bytes) -> str:
    r"""Undo HepMC3's escapes: ``\|`` is a newline, ``\\`` a backslash."""
    decoded = text.decode("utf-8", "replace")
    if b"\\" not in text:
        return decoded
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "|" else found[1], decoded)


@dataclass(slots=True)
class _Lines3:
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
    lines = _Lines3()
    for event in events:
        _cut3(event, lines)
    counts = np.array(lines.counts, np.int64)
    table = _table(lines.particles, _NUMBERS3, _INTEGERS3, events)
    event_of = np.repeat(np.arange(len(events)), counts)
    position = np.arange(1, len(table) + 1) - (np.cumsum(counts) - counts)[event_of]
    if not np.array_equal(table[:, 0], position):
        raise BrokenEventError("its particles are not numbered 1, 2, 3, ...")
    particles = np.ascontiguousarray(table[:, 2:][:, [0, 6, 1, 2, 3, 4, 5]])
    vertices = _vertices3(table[:, 1].astype(np.int64), counts, event_of, lines)
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


def _cut3(event: Sequence[bytes], lines: _Lines3) -> None:
    announced = _matched(_EVENT3, event, 0, "'E number vertices particles', perhaps with a position")
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
            found = _VERTEX3.fullmatch(head)
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
            weights = _all_numbers(float, line[2:], number)
        elif kind == b"U ":
            if line != _USUAL_UNITS:
                units = _units(event, number)
        elif number and line.strip():
            raise BrokenEventError(f"a line begins with {line[:12]!r}; one of E, U, W, A, P, V is expected", number)
    if len(particles) - before != n:
        raise BrokenEventError(f"has {len(particles) - before} particles; its first line announces {n}")
    lines.counts.append(n)
    lines.announced_vertices.append(int(announced[2]))
    lines.places.append(_place(announced.groups()[3:]) or (0.0, 0.0, 0.0, 0.0))
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


def _vertices3(parents: Integers, counts: Integers, event_of: Integers, lines: _Lines3) -> _Vertices:
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


def parse_hepmc2(events: Sequence[Sequence[bytes]]) -> RawEvents:
    """Read events of HepMC2, each given as its lines.

    Raises:
        BrokenEventError: One is not whole or not well formed.
    """
    return RawEvents.concatenate([_parse2(lines) for lines in events])


def _parse2(lines: Sequence[bytes]) -> RawEvents:
    weights, attributes, n_vertices = _event2(lines[0])
    names: list[str] = []
    scale, length = 1.0, 1.0
    vertices: list[list[float]] = []
    particle_lines: list[bytes] = []
    owners: list[int] = []
    flows: dict[int, tuple[int, int]] = {}
    expected = 0
    for number, line in enumerate(lines):
        kind = line[:2]
        if kind == b"P ":
            words = line.split(None, 13)
            if not vertices or len(words) < 13:
                raise BrokenEventError("a particle needs a vertex before it, and at least 13 words", number)
            if len(words) > 13:
                flow = _all_numbers(int, words[13], number)
                indexed = dict(zip(flow[::2], flow[1::2], strict=False))
                flows[len(owners)] = indexed.get(1, 0), indexed.get(2, 0)
            particle_lines.append(b" ".join(words[:12]))
            owners.append(len(vertices) - 1)
        elif kind == b"V ":
            vertex = _all_numbers(float, line[2:], number)
            if len(vertex) < 9:
                raise BrokenEventError("a vertex has too few numbers; 9 or more are expected", number)
            vertices.append(vertex)
            # Some versions of Pythia 8 announce fewer particles than follow, so this is a lower limit.
            expected += int(vertex[6]) + int(vertex[7])
        elif kind == b"U ":
            scale, length = _units(lines, number)
        elif kind == b"N ":
            names = re.findall(r'"([^"]*)"', line.decode("utf-8", "replace"))
        elif kind == b"C ":
            # HepMC3's text goes on with the numbers of accepted and attempted events, -1 for unknown.
            attributes[record.CROSS_SECTION] = line[2:].decode("ascii", "replace").strip() + " -1 -1"
        elif kind == b"F ":
            words = line[2:].split()
            if len(words) in (7, 9):
                # The same order in both versions; before the numbers of the PDF sets came in, there were 7 entries.
                attributes[record.PDF_INFO] = b" ".join([*words, b"0", b"0"][:9]).decode("ascii", "replace")
        elif number and kind != b"H " and line.strip():
            raise BrokenEventError(
                f"a line begins with {line[:12]!r}; one of E, N, U, C, H, F, V, P is expected", number
            )
    if len(vertices) != n_vertices:
        raise BrokenEventError(f"has {len(vertices)} vertices; its first line announces {n_vertices}")
    if len(owners) < expected:
        raise BrokenEventError(f"has {len(owners)} particles; its vertices announce {expected}")
    table = _table(particle_lines, _NUMBERS2, _INTEGERS2, [lines])
    slots = {int(vertex[0]): slot for slot, vertex in enumerate(vertices)}
    ends = table[:, 10].astype(np.int64).tolist()
    if any(end != 0 and end not in slots for end in ends):
        raise BrokenEventError("a particle goes into a vertex that is missing")
    end = np.array([slots[end] if end else -1 for end in ends], np.int64)
    owner = np.array(owners, np.int64)
    # A particle listed under the vertex into which it goes comes from outside the event.
    production = np.where(end == owner, -1, owner)
    particles = np.ascontiguousarray(table[:, [1, 7, 2, 3, 4, 5, 6]])
    particles[:, PX:] *= scale
    flat = np.array([vertex[:6] for vertex in vertices], np.float64).reshape(-1, 6)
    colors = np.zeros((2, len(owners)), np.int64)
    for particle, pair in flows.items():
        colors[:, particle] = pair
    return RawEvents(
        np.array([len(owners)]),
        particles,
        production,
        end,
        np.array([len(vertices)]),
        flat[:, 2:6] * length,
        flat[:, 1].astype(np.int64),
        colors,
        [weights],
        names,
        [attributes],
    )


def _event2(line: bytes) -> tuple[list[float], dict[str, str], int]:
    words = line.split()
    try:
        n_random = int(words[11])
        n_weights = int(words[12 + n_random])
        weights = [float(word) for word in words[13 + n_random :]]
        n_vertices = int(words[8])
    except (IndexError, ValueError) as error:
        raise BrokenEventError(f"its first line is malformed ({error})", 0) from error
    if len(weights) != n_weights:
        raise BrokenEventError(f"has {len(weights)} weights; {n_weights} are announced", 0)
    names = (record.SCALE, record.ALPHA_QCD, record.ALPHA_QED, record.PROCESS)
    return weights, {name: words[3 + i].decode() for i, name in enumerate(names)}, n_vertices


def _matched(pattern: re.Pattern[bytes], lines: Sequence[bytes], number: int, expected: str) -> re.Match[bytes]:
    found = pattern.fullmatch(lines[number])
    if found is None:
        raise BrokenEventError(f"a line reads {lines[number][:60]!r}; {expected} is expected", number)
    return found


def _units(lines: Sequence[bytes], number: int) -> tuple[float, float]:
    found = _matched(_UNITS, lines, number, "'U GEV MM', with MEV or CM perhaps,")
    return (1e-3 if found[1] == b"MEV" else 1.0), (10.0 if found[2] == b"CM" else 1.0)


def _place(words: Sequence[Any]) -> tuple[float, ...] | None:
    if words[0] is None:
        return None
    place = tuple(map(float, words))
    # HepMC takes a position of four zeros for one that is not set.
    return place if any(place) else None


def _all_numbers(kind: Callable[[Any], Any], text: bytes, number: int) -> list[Any]:
    try:
        return [kind(word) for word in text.split()]
    except ValueError as error:
        raise BrokenEventError(f"a number is malformed: {error}", number) from error


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
        (color,) = _all_numbers(int, words[3], number) or (0,)
        if owner <= particles:
            flows.append((event, owner, record.FLOWS.index(name), color))
    else:
        attributes[f"{owner} {name}" if owner else name] = unescape(words[3])


def _table(lines: list[bytes], width: int, integers: Sequence[int], events: Sequence[Sequence[bytes]]) -> Floats:
    """The numbers of the particles' lines, shape ``(particles, width)``, all finite."""
    words = b" ".join(lines).split()
    broken = len(words) != (width + 1) * len(lines)
    table = np.zeros((0, width))
    if not broken:
        # The letters that begin the lines; where a word is missing and another too much, one of them stays and fails.
        del words[:: width + 1]
        try:
            table = np.asarray(fastnumbers.try_array(words, dtype=np.float64)).reshape(-1, width)
        except ValueError:
            broken = True
    if broken:
        for row, line in enumerate(lines):
            found = line.split()[1:]
            if len(found) != width or any(fastnumbers.try_float(word, on_fail=None) is None for word in found):
                problem = f"a particle reads {line[2:].strip()[:60]!r}; {width} numbers are expected"
                raise BrokenEventError(problem, _particle_line(events, row))
        raise BrokenEventError("the numbers of its particles are malformed")
    finite = np.isfinite(table).all(axis=1)
    if not finite.all():
        raise BrokenEventError("a momentum or mass is not finite", _particle_line(events, int(np.argmin(finite))))
    whole = table[:, integers]
    integral = (whole == np.rint(whole)).all(axis=1)
    if not integral.all():
        problem = "a particle has a fraction where a whole number is expected"
        raise BrokenEventError(problem, _particle_line(events, int(np.argmin(integral))))
    return table


def _particle_line(events: Sequence[Sequence[bytes]], row: int) -> int | None:
    """Line of a particle within its event, where there is only one event."""
    if len(events) != 1:
        return None
    return [number for number, line in enumerate(events[0]) if line.startswith(b"P ")][row]


def number_of(attributes: dict[str, str], name: str, unknown: float) -> float:
    """A number from an attribute; `unknown` where there is none.

    Raises:
        BrokenEventError: The attribute is no number.
    """
    text = attributes.get(name)
    if text is None:
        return unknown
    try:
        value = float(text)
    except ValueError as error:
        raise BrokenEventError(f"its attribute '{name}' is {text[:40]!r}; a number is expected") from error
    if not math.isfinite(value):
        raise BrokenEventError(f"its attribute '{name}' is {text}; a finite number is expected")
    return value
