"""The lines of HepMC2 events, checked and turned into columns; why not by HepMC itself, `hepmc3_parse` says."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mlgen.formats import hepmc_record as record
from mlgen.formats.hepmc_raw import PX, BrokenEventError, RawEvents, all_numbers, table_of, units_of

#: Numbers of a particle's line after its letter, and which of them are whole; the flow, which follows, is apart.
_NUMBERS, _INTEGERS = 11, (1, 7, 10)


def parse_hepmc2(events: Sequence[Sequence[bytes]]) -> RawEvents:
    """Read events of HepMC2, each given as its lines.

    Raises:
        BrokenEventError: One is not whole or not well formed.
    """
    return RawEvents.concatenate([_parse(lines) for lines in events])


def _parse(lines: Sequence[bytes]) -> RawEvents:
    weights, attributes, n_vertices = _event(lines[0])
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
                flow = all_numbers(int, words[13], number)
                indexed = dict(zip(flow[::2], flow[1::2], strict=False))
                flows[len(owners)] = indexed.get(1, 0), indexed.get(2, 0)
            particle_lines.append(b" ".join(words[:12]))
            owners.append(len(vertices) - 1)
        elif kind == b"V ":
            vertex = all_numbers(float, line[2:], number)
            if len(vertex) < 9:
                raise BrokenEventError("a vertex has too few numbers; 9 or more are expected", number)
            vertices.append(vertex)
            # Some versions of Pythia 8 announce fewer particles than follow, so this is a lower limit.
            expected += int(vertex[6]) + int(vertex[7])
        elif kind == b"U ":
            scale, length = units_of(lines, number)
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
    table = table_of(particle_lines, _NUMBERS, _INTEGERS, [lines])
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


def _event(line: bytes) -> tuple[list[float], dict[str, str], int]:
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
