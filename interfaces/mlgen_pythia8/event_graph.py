"""From Pythia's event record to a graph: the vertices of Pythia's own conversion to HepMC3.

References:
    ``Pythia8Plugins/HepMC3.h`` of Pythia 8.3, and ``Particle::motherList`` and ``Particle::statusHepMC``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Columns = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class EventGraph:
    """Vertices of some events.

    Args:
        production: Vertex of all events together that each particle comes from, -1 for none, ``(particles,)``.
        end: Vertex that each particle goes into.
        event: Event of each vertex, ascending, ``(vertices,)``.
        level: Steps from the roots of the event, the longest way, ``(particles,)``: mothers stand on lower levels.
    """

    production: Integers
    end: Integers
    event: Integers
    level: Integers


def event_graph(counts: Integers, columns: Columns) -> EventGraph:
    """Find the vertices of events.

    A vertex belongs to the first mother of a particle: all particles with that first mother come out of it, and all
    mothers of the first one of them go into it.

    Args:
        counts: Particles of each event, without Pythia's entry 0, ``(n,)``.
        columns: ``status``, ``mother1`` and ``mother2`` of Pythia, ``(sum(counts),)``; mothers are counted from 1, as
            Pythia does, whose entry 0 stands for the whole event.
    """
    starts = np.cumsum(counts) - counts
    event = np.repeat(np.arange(len(counts)), counts)
    first, last, pair = _mothers(columns)
    born = np.flatnonzero(first > 0)
    mother = starts[event[born]] + first[born] - 1
    has_vertex = np.zeros(len(event), np.bool_)
    has_vertex[mother] = True
    vertex_mother = np.flatnonzero(has_vertex)
    index = (np.cumsum(has_vertex) - 1)[mother]
    child = np.empty(len(vertex_mother), np.int64)
    # The value that is assigned last stays: that of the first child.
    child[index[::-1]] = born[::-1]
    # What goes in: a range of mothers, or two.
    length = np.where(pair[child], 2, last[child] - first[child] + 1)
    edge_vertex = np.repeat(np.arange(len(child)), length)
    step = np.where(pair[child], last[child] - first[child], 1)
    edge_number = np.arange(len(edge_vertex)) - np.repeat(np.cumsum(length) - length, length)
    edge_particle = vertex_mother[edge_vertex] + edge_number * step[edge_vertex]
    production = np.full(len(event), -1, np.int64)
    end = np.full(len(event), -1, np.int64)
    production[born] = index
    end[edge_particle] = edge_vertex
    twice = np.bincount(edge_particle, minlength=len(event)) > 1
    for broken in np.unique(event[twice]).tolist():
        _one_by_one(broken, starts, counts, (first, last, pair), production, end)
    vertex_event = event[vertex_mother]
    if twice.any():
        production, end, vertex_event = _renumbered(production, end, event)
    return EventGraph(production, end, vertex_event, _levels(production, end, len(vertex_event)))


def _mothers(columns: Columns) -> tuple[Integers, Integers, npt.NDArray[np.bool_]]:
    """First and last mother, 0 for none, and whether these are two particles and not a range (``motherList``)."""
    status = np.abs(columns["status"])
    one, two = columns["mother1"].astype(np.int64), columns["mother2"].astype(np.int64)
    ranges = ((status > 80) & (status < 90)) | ((status > 100) & (status < 107))
    single = (two == 0) | (two == one)
    first = np.where(single | ranges, one, np.minimum(one, two))
    last = np.where(single, one, np.where(ranges, two, np.maximum(one, two)))
    beams = (status == 11) | (status == 12)
    first[beams] = 0
    last = np.maximum(last, first)
    return first, last, ~single & ~ranges


def _one_by_one(
    event: int,
    starts: Integers,
    counts: Integers,
    mothers: tuple[Integers, Integers, npt.NDArray[np.bool_]],
    production: Integers,
    end: Integers,
) -> None:
    """Find the vertices of an event in which a particle would go into two: it goes into the one that is made last."""
    start, count = int(starts[event]), int(counts[event])
    here = slice(start, start + count)
    # Numbers that no other event uses; they are put in order later.
    number = -2 - start - np.arange(count)
    new = 0
    production[here] = end[here] = -1
    first, last, pair = (values[here].tolist() for values in mothers)
    for particle in range(count):
        if not first[particle]:
            continue
        vertex = end[start + first[particle] - 1]
        if vertex == -1:
            vertex = number[new]
            new += 1
            step = last[particle] - first[particle] if pair[particle] else 1
            for mother in range(first[particle], last[particle] + 1, max(step, 1)):
                end[start + mother - 1] = vertex
        production[start + particle] = vertex


def _renumbered(production: Integers, end: Integers, event: Integers) -> tuple[Integers, Integers, Integers]:
    """Number the vertices from 0, event by event, and return the event of each."""
    total = len(event)
    key = np.concatenate([production, end])
    owner = np.concatenate([event, event])
    known = key != -1
    # By event first; negative numbers come from events that were done one by one.
    combined = owner[known] * (4 * total + 8) + key[known] + 2 * total + 4
    vertices, number = np.unique(combined, return_inverse=True)
    key[known] = number
    return key[:total], key[total:], vertices // (4 * total + 8)


def _levels(production: Integers, end: Integers, vertices: int) -> Integers:
    """Level of each particle, mothers below daughters (Kahn's algorithm, one level of all events at a time)."""
    waiting = np.bincount(end[end >= 0], minlength=vertices)
    order = np.argsort(production, kind="stable")
    order = order[np.searchsorted(production[order], 0) :]
    outgoing = np.bincount(production[order], minlength=vertices)
    begin = np.cumsum(outgoing) - outgoing
    level = np.zeros(len(production), np.int64)
    # A vertex without incoming particles, as `_one_by_one` may leave one, waits for nothing.
    front = np.concatenate([np.flatnonzero(production < 0), order[(waiting == 0)[production[order]]]])
    depth = 0
    while len(front):
        level[front] = depth
        depth += 1
        reached = end[front]
        found, arrived = np.unique(reached[reached >= 0], return_counts=True)
        waiting[found] -= arrived
        ready = found[waiting[found] == 0]
        length = outgoing[ready]
        inner = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
        front = order[np.repeat(begin[ready], length) + inner]
    return level


def hepmc_status(starts: Integers, event: Integers, columns: Columns) -> Integers:
    """Status codes of HepMC (``Particle::statusHepMC``), ``(particles,)``.

    1 for final particles, 2 for hadrons, muons and taus that decay, 4 for beams; others keep Pythia's code without its
    sign (arXiv:1912.08005, table 1).

    Args:
        starts: First particle of each event, ``(n,)``.
        event: Event of each particle.
        columns: ``id``, ``status`` and ``daughter1`` of Pythia.
    """
    status, pdg_id = columns["status"].astype(np.int64), columns["id"].astype(np.int64)
    result = np.where((status <= -11) & (status >= -200), -status, 0)
    daughter = np.clip(starts[event] + columns["daughter1"].astype(np.int64) - 1, 0, max(len(status) - 1, 0))
    decay = np.abs(status[daughter])
    decays = (columns["daughter1"] > 0) & (pdg_id[daughter] != pdg_id) & (decay > 90) & (decay < 95)
    magnitude = np.abs(pdg_id)
    result[decays & (_is_hadron(magnitude) | (magnitude == 13) | (magnitude == 15)) & (status < 0)] = 2
    result[status == -12] = 4
    result[status > 0] = 1
    return result


def _is_hadron(magnitude: Integers) -> npt.NDArray[np.bool_]:
    """``ParticleDataEntry::isHadron``: the digits of a hadron, and the two K0 that have others."""
    digits = (magnitude % 10 > 0) & (magnitude // 10 % 10 > 0) & (magnitude // 100 % 10 > 0)
    ordinary = (magnitude > 100) & ((magnitude < 1_000_000) | (magnitude > 9_000_000)) & (magnitude < 9_900_000)
    hadron: npt.NDArray[np.bool_] = (ordinary & digits) | (magnitude == 130) | (magnitude == 310)
    return hadron
