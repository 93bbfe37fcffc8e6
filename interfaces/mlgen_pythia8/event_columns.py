"""From what `Pythia.nextBatch` returns to the columns of an `EventBatch`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from mlgen_pythia8.event_graph import event_graph, hepmc_status

#: Columns that are taken over, with their names in `nextBatch`.
_SAME = {"color1": "col", "color2": "acol", "generated_mass": "m", "lifetime": "tau", "spin": "pol"}
_MOMENTUM = {"px": "px", "py": "py", "pz": "pz", "energy": "e"}
_RECORD = ("id", "status", "mother1", "mother2", "daughter1")
_POSITION = {"x": "px", "y": "py", "z": "pz", "t": "e"}
#: What `GenPdfInfo` of HepMC3 begins with, and whose end are the numbers of the two PDF sets, in its order.
_PDF_INFO = ("id1", "id2", "x1", "x2", "Q2Fac", "pdf1", "pdf2")


@dataclass(frozen=True, slots=True)
class ShoweredColumns:
    """Showered events as flat arrays, which go from process to process at little cost.

    Args:
        counts: Particles of each event, ``(n,)``.
        columns: Particle columns of `EventBatch`, with the graph, ``(sum(counts),)``; mothers before daughters.
        vertex_counts: Vertices of each event, ``(n,)``.
        vertex_columns: ``x, y, z, t`` in mm and ``status``, ``(sum(vertex_counts),)``.
        weights: Weights that Pythia gives, the nominal one first, ``(n, weights)``.
        scale: Renormalisation scale in GeV, ``(n,)``.
        alpha_qed: At that scale, ``(n,)``.
        alpha_qcd: At that scale, ``(n,)``.
        pdf_info: PDG ids, x, scale and x f(x) of the two partons, as HepMC3 writes them, ``(n,)`` of ``str``.
    """

    counts: npt.NDArray[np.int64]
    columns: dict[str, npt.NDArray[Any]]
    vertex_counts: npt.NDArray[np.int64]
    vertex_columns: dict[str, npt.NDArray[Any]]
    weights: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    alpha_qed: npt.NDArray[np.float64]
    alpha_qcd: npt.NDArray[np.float64]
    pdf_info: list[str]


def showered_columns(events: ak.Array) -> ShoweredColumns:
    """Convert events.

    Args:
        events: What `nextBatch` returned, without the events that it could not make.
    """
    particles = ak.without_parameters(events.prt)
    # Entry 0 stands for the whole event and is no particle; without it, Pythia's numbers count from 1.
    flat = ak.flatten(particles[:, 1:], axis=1)
    counts = np.asarray(ak.to_numpy(ak.num(particles.id, axis=1)), np.int64) - 1
    starts = np.cumsum(counts) - counts
    event = np.repeat(np.arange(len(counts)), counts)
    record = {name: np.asarray(ak.to_numpy(flat[name])) for name in _RECORD}
    graph = event_graph(counts, record)
    # Within a level in Pythia's order.
    order = np.lexsort((graph.level, event))
    columns = {name: np.asarray(ak.to_numpy(flat[source]))[order] for name, source in _SAME.items()}
    columns |= {name: np.asarray(ak.to_numpy(flat["p"][source]))[order] for name, source in _MOMENTUM.items()}
    columns["pdg_id"] = record["id"][order]
    columns["status"] = hepmc_status(starts, event, record)[order].astype(np.int32)
    vertex_counts = np.bincount(graph.event, minlength=len(counts))
    vertex_starts = np.cumsum(vertex_counts) - vertex_counts
    production, end, rank = _in_order(graph.production[order], graph.end[order], len(graph.event))
    columns["mother1"], columns["mother2"] = _mothers(production, end, event, starts, len(graph.event))
    for name, vertex in (("production_vertex", production), ("end_vertex", end)):
        columns[name] = np.where(vertex >= 0, vertex - vertex_starts[event], -1).astype(np.int32)
    vertex_columns = _positions(flat["vProd"], np.where(graph.production >= 0, rank[graph.production], -1), len(rank))
    info = ak.without_parameters(events.info)
    numbers = {
        name: np.asarray(ak.to_numpy(info[name]), np.float64) for name in (*_PDF_INFO, "Q2Ren", "alphaS", "alphaEM")
    }
    return ShoweredColumns(
        counts,
        columns,
        vertex_counts,
        vertex_columns,
        np.asarray(ak.to_numpy(info.weights), np.float64).reshape(len(counts), -1),
        np.sqrt(np.maximum(numbers["Q2Ren"], 0.0)),
        numbers["alphaEM"],
        numbers["alphaS"],
        _pdf_info(numbers),
    )


def _in_order(
    production: npt.NDArray[np.int64], end: npt.NDArray[np.int64], vertices: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Number vertices as the first particles that come out of them stand; also returns the new number of each."""
    comes = np.flatnonzero(production >= 0)[::-1]
    first = np.full(vertices, len(production))
    # The last value that is assigned stays.
    first[production[comes]] = comes
    rank = np.empty(vertices, np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(vertices)
    return np.where(production >= 0, rank[production], -1), np.where(end >= 0, rank[end], -1), rank


def _mothers(
    production: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
    event: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    vertices: int,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """First and last particle that goes into the vertex each particle comes from, counted from 1, 0 for none."""
    position = np.arange(len(event)) - starts[event] + 1
    goes = np.flatnonzero(end >= 0)
    first, last = np.zeros(vertices + 1, np.int32), np.zeros(vertices + 1, np.int32)
    # The last value that is assigned stays.
    last[end[goes]] = position[goes]
    first[end[goes[::-1]]] = position[goes[::-1]]
    return first[production], last[production]


def _positions(places: ak.Array, production: npt.NDArray[np.int64], vertices: int) -> dict[str, npt.NDArray[Any]]:
    """Where the vertices are: where the first particle with a place of its own comes from, else at 0."""
    result: dict[str, npt.NDArray[Any]] = {name: np.zeros(vertices) for name in "xyzt"}
    result["status"] = np.zeros(vertices, np.int32)
    known = ~np.asarray(ak.to_numpy(ak.is_none(places)))
    given = ak.drop_none(places)
    values = np.stack([np.asarray(ak.to_numpy(given[name]), np.float64) for name in _POSITION.values()], axis=1)
    rows = np.flatnonzero(known)
    used = (production[rows] >= 0) & values.any(axis=1)
    rows, values = rows[used][::-1], values[used][::-1]
    for column, name in enumerate(_POSITION):
        # From the last to the first, so that the first stays.
        result[name][production[rows]] = values[:, column]
    return result


def _pdf_info(numbers: dict[str, npt.NDArray[np.float64]]) -> list[str]:
    scale = np.sqrt(np.maximum(numbers["Q2Fac"], 0.0))
    columns = [numbers[name].tolist() for name in _PDF_INFO]
    columns[4] = scale.tolist()
    return [
        f"{int(first)} {int(second)} {x1!r} {x2!r} {at!r} {density1!r} {density2!r} 0 0"
        for first, second, x1, x2, at, density1, density2 in zip(*columns, strict=True)
    ]
