"""The lines of one HepMC event, checked and turned into columns.

HepMC3's own reader is not used: it reads ``abc`` as 0, stops without a word at a broken event, at a long line and
at the end of a cut file, refuses NaN weights and weight names with blanks, and prints to standard output.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.formats import hepmc_record as record

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_INTEGER = rb"([+-]?\d+)"
_NUMBER = rb"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
_PLACE = rb"(?: +@ +" + rb" +".join([_NUMBER] * 4) + rb")?\s*"
_EVENT3 = re.compile(rb"E +" + rb" +".join([_INTEGER, rb"(\d+)", rb"(\d+)"]) + _PLACE)
_VERTEX3 = re.compile(rb"V +(-\d+) +" + _INTEGER + rb" +\[([\d, ]*)\]" + _PLACE)
_UNITS = re.compile(rb"U +(GEV|MEV) +(MM|CM)\s*")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

#: Columns of `RawEvent.particles`.
PDG_ID, STATUS, PX, PY, PZ, ENERGY, MASS = range(7)


class BrokenEventError(Exception):
    """An event that cannot be read: what is wrong with it, and the index of the line among the event's lines."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.problem, self.line = problem, line


@dataclass(slots=True)
class RawEvent:
    """One event in GeV and mm.

    Args:
        particles: PDG id, status, px, py, pz, energy, mass; shape ``(particles, 7)``.
        production: Vertex that each particle comes from, counted from 0, -1 for none.
        end: Vertex that each particle goes into.
        positions: x, y, z, t of the vertices, inherited from their ancestors where the file gives none.
        vertex_status: Status of the vertices.
        weights: All weights.
        weight_names: Their names, where the event itself gives them (HepMC2).
        attributes: Attributes of the event as text.
        flows: Colour lines of the particles that have them, by particle, counted from 0.
    """

    particles: Floats
    production: Integers
    end: Integers
    positions: Floats
    vertex_status: Integers
    weights: list[float]
    weight_names: list[str] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)
    flows: dict[int, list[int]] = field(default_factory=dict)


def unescape(text: bytes) -> str:
    r"""Undo HepMC3's escapes: ``\|`` is a newline, ``\\`` a backslash."""
    decoded = text.decode("utf-8", "replace")
    if b"\\" not in text:
        return decoded
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "|" else found[1], decoded)


def parse_hepmc3(lines: Sequence[bytes]) -> RawEvent:
    """Read one event of HepMC3.

    Raises:
        BrokenEventError: It is not whole or not well formed.
    """
    announced = _matched(_EVENT3, lines, 0, "'E number vertices particles', perhaps with a position")
    n = int(announced[3])
    scale, length = 1.0, 1.0
    weights: list[float] = []
    attributes: dict[str, str] = {}
    flows: dict[int, list[int]] = {}
    particle_lines: list[bytes] = []
    numbers: list[int] = []
    explicit: list[tuple[int, int, list[int], tuple[float, ...] | None]] = []
    for number, line in enumerate(lines):
        kind = line[:2]
        if kind == b"P ":
            particle_lines.append(line[2:])
            numbers.append(number)
        elif kind == b"V ":
            found = _matched(_VERTEX3, lines, number, "'V id status [particles]', perhaps with a position")
            incoming = _all_numbers(int, found[3].replace(b",", b" "), number)
            explicit.append((int(found[1]), int(found[2]), incoming, _place(found.groups()[3:])))
        elif kind == b"A ":
            _attribute(line, number, attributes, flows, n)
        elif kind == b"W ":
            weights = _all_numbers(float, line[2:], number)
        elif kind == b"U ":
            scale, length = _units(lines, number)
        elif number and line.strip():
            raise BrokenEventError(f"a line begins with {line[:12]!r}; one of E, U, W, A, P, V is expected", number)
    table = _table(particle_lines, numbers, 9, (0, 1, 2, 8))
    if len(table) != n:
        raise BrokenEventError(f"has {len(table)} particles; its first line announces {n}")
    if not (table[:, 0] == np.arange(1, n + 1)).all():
        raise BrokenEventError("its particles are not numbered 1, 2, 3, ...")
    particles = np.ascontiguousarray(table[:, 2:][:, [0, 6, 1, 2, 3, 4, 5]])
    event_place = _place(announced.groups()[3:])
    graph = _graph3(table[:, 1].astype(np.int64), explicit, int(announced[2]), event_place or (0.0, 0.0, 0.0, 0.0))
    production, end, positions, status = graph
    particles[:, PX:] *= scale
    return RawEvent(particles, production, end, positions * length, status, weights, [], attributes, flows)


def _graph3(
    parents: Integers,
    explicit: list[tuple[int, int, list[int], tuple[float, ...] | None]],
    announced: int,
    event_place: tuple[float, ...],
) -> tuple[Integers, Integers, Floats, Integers]:
    """Vertices in the order of HepMC's numbers; those without a line of their own take the numbers that are left."""
    n = len(parents)
    end = np.full(n, -1, np.int64)
    parent_list: list[int] = parents.tolist()
    decaying = dict.fromkeys(parent for parent in parent_list if parent > 0)
    for _, _, incoming, _ in explicit:
        for particle in incoming:
            if not 0 < particle <= n:
                raise BrokenEventError(f"a vertex has the incoming particle {particle}; there are {n}")
            decaying.pop(particle, None)
    total = len(explicit) + len(decaying)
    if total != announced:
        raise BrokenEventError(f"has {total} vertices; its first line announces {announced}")
    slots = [-number - 1 for number, *_ in explicit]
    if len(set(slots)) != len(slots):
        raise BrokenEventError("two of its vertices have the same number")
    if any(slot >= total for slot in slots):
        slots = list(range(len(explicit)))
    taken = set(slots)
    free = (slot for slot in range(total) if slot not in taken)
    by_number = {}
    status = np.zeros(total, np.int64)
    places: list[tuple[float, ...] | None] = [None] * total
    first_incoming = [-1] * total
    for slot, (number, vertex_status, incoming, place) in zip(slots, explicit, strict=True):
        by_number[number] = slot
        status[slot], places[slot] = vertex_status, place
        for particle in incoming:
            if end[particle - 1] >= 0:
                raise BrokenEventError(f"particle {particle} goes into two vertices")
            end[particle - 1] = slot
        if incoming:
            first_incoming[slot] = incoming[0] - 1
    for particle, slot in zip(decaying, free, strict=True):
        if particle > n:
            raise BrokenEventError(f"a particle comes from particle {particle}; there are {n}")
        end[particle - 1] = slot
        first_incoming[slot] = particle - 1
    end_list = end.tolist()
    try:
        production = [
            -1 if parent == 0 else end_list[parent - 1] if parent > 0 else by_number[parent] for parent in parent_list
        ]
    except KeyError as error:
        raise BrokenEventError(f"a particle comes from vertex {error.args[0]}, which is missing") from error
    positions = _inherited(places, first_incoming, production, event_place)
    return np.array(production, np.int64), end, positions, status


def _inherited(
    places: list[tuple[float, ...] | None],
    first_incoming: list[int],
    production: list[int],
    event_place: tuple[float, ...],
) -> Floats:
    """Positions; a vertex without one is where its nearest ancestor is that has one, at last where the event is."""
    if not any(places):
        return np.full((len(places), 4), event_place)
    for slot in range(len(places)):
        chain, ancestor = [], slot
        while ancestor >= 0 and places[ancestor] is None and ancestor not in chain:
            chain.append(ancestor)
            particle = first_incoming[ancestor]
            ancestor = production[particle] if particle >= 0 else -1
        found = places[ancestor] if ancestor >= 0 else None
        for member in chain:
            places[member] = found or event_place
    return np.array(places, np.float64).reshape(-1, 4)


def parse_hepmc2(lines: Sequence[bytes]) -> RawEvent:
    """Read one event of HepMC2.

    Raises:
        BrokenEventError: It is not whole or not well formed.
    """
    weights, attributes, n_vertices = _event2(lines[0])
    names: list[str] = []
    scale, length = 1.0, 1.0
    vertices: list[list[float]] = []
    particle_lines: list[bytes] = []
    numbers: list[int] = []
    owners: list[int] = []
    flows: dict[int, list[int]] = {}
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
                flows[len(owners)] = [indexed.get(1, 0), indexed.get(2, 0)]
            particle_lines.append(b" ".join(words[1:12]))
            numbers.append(number)
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
            attributes[record.CROSS_SECTION] = line[2:].decode("ascii", "replace").strip()
        elif number and kind not in (b"H ", b"F ") and line.strip():
            raise BrokenEventError(
                f"a line begins with {line[:12]!r}; one of E, N, U, C, H, F, V, P is expected", number
            )
    if len(vertices) != n_vertices:
        raise BrokenEventError(f"has {len(vertices)} vertices; its first line announces {n_vertices}")
    if len(owners) < expected:
        raise BrokenEventError(f"has {len(owners)} particles; its vertices announce {expected}")
    table = _table(particle_lines, numbers, 11, (1, 7, 10))
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
    return RawEvent(
        particles,
        production,
        end,
        flat[:, 2:6] * length,
        flat[:, 1].astype(np.int64),
        weights,
        names,
        attributes,
        flows,
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


def _place(words: Sequence[bytes | None]) -> tuple[float, ...] | None:
    if words[0] is None:
        return None
    place = tuple(float(word) for word in words if word is not None)
    # HepMC takes a position of four zeros for one that is not set.
    return place if any(place) else None


def _all_numbers(kind: Callable[[Any], Any], text: bytes, number: int) -> list[Any]:
    try:
        return [kind(word) for word in text.split()]
    except ValueError as error:
        raise BrokenEventError(f"a number is malformed: {error}", number) from error


def _attribute(
    line: bytes, number: int, attributes: dict[str, str], flows: dict[int, list[int]], particles: int
) -> None:
    words = line.rstrip(b"\r\n").split(b" ", 3)
    if len(words) != 4 or not words[1].lstrip(b"-").isdigit():
        raise BrokenEventError("an attribute is malformed; 'A id name text' is expected", number)
    name = words[2].decode("utf-8", "replace")
    if words[1] == b"0":
        attributes[name] = unescape(words[3])
    elif name in record.FLOWS:
        particle, color = _all_numbers(int, words[1] + b" " + words[3], number)
        if 0 < particle <= particles:
            flows.setdefault(particle - 1, [0, 0])[record.FLOWS.index(name)] = color


def _table(lines: list[bytes], numbers: list[int], width: int, integers: Sequence[int]) -> Floats:
    """The numbers of the particles' lines, shape ``(particles, width)``, all finite."""
    table = _parsed(b"\n".join(lines))
    if table is None or table.size != len(lines) * width:
        for line, number in zip(lines, numbers, strict=True):
            row = _parsed(line)
            if row is None or row.size != width:
                raise BrokenEventError(f"a particle reads {line.strip()[:60]!r}; {width} numbers are expected", number)
        raise BrokenEventError("the numbers of its particles are malformed")
    table = table.reshape(-1, width)
    finite = np.isfinite(table)
    if not finite.all():
        raise BrokenEventError("a momentum or mass is not finite", numbers[int(np.argmin(finite.all(axis=1)))])
    whole = table[:, integers]
    integral = whole == np.rint(whole)
    if not integral.all():
        first = int(np.argmin(integral.all(axis=1)))
        raise BrokenEventError("a particle has a fraction where a whole number is expected", numbers[first])
    return table


def _parsed(text: bytes) -> Floats | None:
    try:
        # NumPy warns where text is no number and stops there, so the caller compares the count as well.
        return np.fromstring(text, np.float64, sep=" ")
    except (ValueError, DeprecationWarning):
        return None


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
