"""Shower-level events as text of HepMC3 (Asciiv3), many times faster than an object for each particle and vertex.

What comes out is what HepMC3's own ``WriterAscii`` writes for the same event, but for the digits of the numbers: each
has as few as bring it back the same.

References:
    Buckley et al., Comput. Phys. Commun. 260, 107310 (2021), arXiv:1912.08005, sec. 4.1; ``WriterAscii.cc``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
from pydantic_core import to_json

from mlgen.events import EventBatch
from mlgen.formats import hepmc_record as record
from mlgen.formats.hepmc_graph import KINEMATICS

Integers = npt.NDArray[np.int64]
_PLACE = ("x", "y", "z", "t")
_NAMES = tuple(f" {name} ".encode() for name in record.FLOWS)


@dataclass(frozen=True, slots=True)
class _Graph:
    """Vertices of a batch, those that HepMC can hold.

    Args:
        counts: Vertices of each event, ``(n,)``.
        parent: Number of the vertex (negative) or particle that each particle comes from, 0 for none.
        explicit: Vertices that have lines of their own, in the order of all vertices.
        number: Their numbers, negative.
        first_out: First particle that comes out of each, counted over all events.
        incoming: Numbers of the particles that go into each.
    """

    counts: Integers
    parent: Integers
    explicit: Integers
    number: Integers
    first_out: Integers
    incoming: list[list[int]]


def has_order(batch: EventBatch) -> bool:
    """Whether mothers stand before daughters, and all vertices are there: what `event_texts` needs."""
    counts, vertex_counts = batch.counts, _vertex_counts(batch)
    production, end = (batch.column(name).astype(np.int64) for name in ("production_vertex", "end_vertex"))
    limit = np.repeat(vertex_counts, counts)
    if np.any(production >= limit) or np.any(end >= limit):
        return False
    start = np.repeat(np.cumsum(vertex_counts) - vertex_counts, counts)
    rows = np.arange(len(production))
    last_in = np.full(int(vertex_counts.sum()), -1)
    goes, comes = end >= 0, production >= 0
    np.maximum.at(last_in, (start + end)[goes], rows[goes])
    return bool(np.all(last_in[(start + production)[comes]] < rows[comes]))


def event_texts(
    batch: EventBatch,
    first_number: int,
    weights: npt.NDArray[np.float64],
    attributes: Callable[[int], Iterable[tuple[str, str]]],
) -> Iterator[bytes]:
    """Write events.

    Args:
        batch: Shower-level events for which `has_order` holds, all numbers finite.
        first_number: Number of the first one.
        weights: All weights, the nominal ones first, ``(n, weights)``.
        attributes: Gives the attributes of an event, by its place in the batch.
    """
    counts = batch.counts
    position = np.arange(int(counts.sum())) - np.repeat(batch.offsets[:-1], counts) + 1
    vertices = ak.flatten(ak.Array(batch.vertices), axis=1)
    places = {name: np.asarray(ak.to_numpy(vertices[name])) for name in (*_PLACE, "status")}
    graph = _graph(batch, counts, position, places)
    columns = batch.columns(("pdg_id", *KINEMATICS, "status", "color1", "color2"))
    rows = [position, graph.parent, *(columns[name] for name in ("pdg_id", *KINEMATICS, "status"))]
    colored = np.flatnonzero((columns["color1"] != 0) | (columns["color2"] != 0))
    colors = [values[colored].tolist() for values in (position, columns["color1"], columns["color2"])]
    heads = _vertex_lines(graph, places)
    offsets = batch.offsets.tolist()
    flow_ends = np.searchsorted(colored, batch.offsets).tolist()
    vertex_ends = np.searchsorted(graph.first_out, batch.offsets).tolist()
    first_out = (graph.first_out - np.repeat(batch.offsets[:-1], np.diff(vertex_ends))).tolist()
    for index, (start, stop) in enumerate(itertools.pairwise(offsets)):
        parts = [b"E %d %d %d\nU GEV MM\nW " % (first_number + index, graph.counts[index], stop - start)]
        parts.append(_spaced(weights[index].tolist()))
        for name, text in attributes(index):
            parts.append(f"\nA 0 {name} {_escaped(text)}".encode())
        flows = [column[flow_ends[index] : flow_ends[index + 1]] for column in colors]
        if flows[0]:
            parts.append(_flow_lines(*flows))
        lines = _lines([column[start:stop].tolist() for column in rows], b"P ")
        for vertex in range(vertex_ends[index], vertex_ends[index + 1]):
            lines[first_out[vertex]] = heads[vertex] + lines[first_out[vertex]]
        parts += [b"\n", *([b"\n".join(lines), b"\n"] if lines else [])]
        yield b"".join(parts)


def _vertex_counts(batch: EventBatch) -> Integers:
    return np.asarray(ak.to_numpy(ak.num(ak.Array(batch.vertices)["x"], axis=1)), np.int64)


def _graph(batch: EventBatch, counts: Integers, position: Integers, places: dict[str, npt.NDArray[Any]]) -> _Graph:
    vertex_counts = _vertex_counts(batch)
    total = int(vertex_counts.sum())
    vertex_event = np.repeat(np.arange(len(batch)), vertex_counts)
    start = np.repeat(np.cumsum(vertex_counts) - vertex_counts, counts)
    production, end = (
        np.where(own >= 0, own + start, -1)
        for own in (batch.column(name).astype(np.int64) for name in ("production_vertex", "end_vertex"))
    )
    goes, comes = np.flatnonzero(end >= 0), np.flatnonzero(production >= 0)
    n_in = np.bincount(end[goes], minlength=total)
    n_out = np.bincount(production[comes], minlength=total)
    somewhere = (places["status"] != 0) | np.any([places[name] != 0 for name in _PLACE], axis=0)
    # HepMC has no vertex without outgoing particles, and one without incoming ones only as an explicit place.
    kept = (n_out > 0) & ((n_in > 0) | somewhere)
    explicit = kept & (somewhere | (n_in > 1))
    kept_counts = np.bincount(vertex_event[kept], minlength=len(batch))
    before = np.cumsum(kept_counts) - kept_counts
    number = -(np.cumsum(kept) - before[vertex_event])
    sequence = goes[np.argsort(end[goes], kind="stable")]
    ends = np.cumsum(n_in)
    only = np.zeros(total, np.int64)
    only[n_in > 0] = position[sequence[(ends - n_in)[n_in > 0]]]
    parent = np.zeros(len(position), np.int64)
    parent[comes] = np.where(explicit, number, np.where(kept, only, 0))[production[comes]]
    first_out = np.zeros(total, np.int64)
    first_out[production[comes[::-1]]] = comes[::-1]
    # In the order in which they are written: before the first particle that comes out of each.
    chosen = np.flatnonzero(explicit)
    chosen = chosen[np.argsort(first_out[chosen], kind="stable")]
    numbers = position[sequence].tolist()
    incoming = [
        numbers[low:high] for low, high in zip((ends - n_in)[chosen].tolist(), ends[chosen].tolist(), strict=True)
    ]
    return _Graph(kept_counts, parent, chosen, number[chosen], first_out[chosen], incoming)


def _vertex_lines(graph: _Graph, places: dict[str, npt.NDArray[Any]]) -> list[bytes]:
    at = graph.explicit
    placed = np.any([places[name][at] != 0 for name in _PLACE], axis=0).tolist()
    texts = _lines([places[name][at].astype(np.float64).tolist() for name in _PLACE])
    status = places["status"][at].astype(np.int64).tolist()
    return [
        b"V %d %d [%b]%b\n" % (number, code, ",".join(map(str, into)).encode(), b" @ " + text if there else b"")
        for number, code, into, there, text in zip(
            graph.number.tolist(), status, graph.incoming, placed, texts, strict=True
        )
    ]


def _lines(columns: Sequence[list[Any]], begin: bytes = b"") -> list[bytes]:
    """Write rows of numbers, separated by blanks. A float has as few digits as bring it back the same."""
    if not columns[0]:
        return []
    text = to_json(list(zip(*columns, strict=True)))[2:-2]
    return (begin + text.replace(b"],[", b"\n" + begin).replace(b",", b" ")).split(b"\n")


def _flow_lines(particles: list[int], first: list[int], second: list[int]) -> bytes:
    """Write the two colours of each particle as attributes; words take the place of marks that are no numbers."""
    marks = [itertools.repeat(mark) for mark in (True, None, False)]
    rows = list(zip(particles, marks[0], first, marks[1], particles, marks[2], second, strict=False))
    text = to_json(rows)[2:-2].replace(b"],[", b"\nA ").replace(b",null,", b"\nA ")
    return b"\nA " + text.replace(b",true,", _NAMES[0]).replace(b",false,", _NAMES[1])


def _spaced(numbers: list[float]) -> bytes:
    return to_json(numbers)[1:-1].replace(b",", b" ")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\|")
