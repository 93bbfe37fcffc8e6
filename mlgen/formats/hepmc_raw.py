"""Events of HepMC files as arrays, and the checks that both versions of the format share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import fastnumbers
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_UNITS = re.compile(rb"U +(GEV|MEV) +(MM|CM)\s*")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

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


def matched(pattern: re.Pattern[bytes], lines: Sequence[bytes], number: int, expected: str) -> re.Match[bytes]:
    """Match a whole line of an event, or say what is expected there."""
    found = pattern.fullmatch(lines[number])
    if found is None:
        raise BrokenEventError(f"a line reads {lines[number][:60]!r}; {expected} is expected", number)
    return found


def units_of(lines: Sequence[bytes], number: int) -> tuple[float, float]:
    """Factors that turn the momenta and lengths of an event into GeV and mm, from its line of units."""
    found = matched(_UNITS, lines, number, "'U GEV MM', with MEV or CM perhaps,")
    return (1e-3 if found[1] == b"MEV" else 1.0), (10.0 if found[2] == b"CM" else 1.0)


def place_of(words: Sequence[Any]) -> tuple[float, ...] | None:
    """Position ``(x, y, z, t)`` from its words; None where there is none."""
    if words[0] is None:
        return None
    place = tuple(map(float, words))
    # HepMC takes a position of four zeros for one that is not set.
    return place if any(place) else None


def all_numbers(kind: Callable[[Any], Any], text: bytes, number: int) -> list[Any]:
    """Convert all words of a text."""
    try:
        return [kind(word) for word in text.split()]
    except ValueError as error:
        raise BrokenEventError(f"a number is malformed: {error}", number) from error


def table_of(lines: list[bytes], width: int, integers: Sequence[int], events: Sequence[Sequence[bytes]]) -> Floats:
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
