"""Whether events are hard events or shower-level events: what they contain decides, not the format of their file.

A HepMC file may hold either. Hard events that were written to one get the status codes of the Les Houches Accord back,
so that everything else sees the same events whatever file they come from.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence

import awkward as ak
import numpy as np

from mlgen.events import EventBatch, IntArray
from mlgen.validation.particle_properties import is_hadron

_INCOMING, _FINAL, _DOCUMENTATION, _BEAM = -1, 1, 3, 4


class Level(enum.Enum):
    """What events describe."""

    HARD = "hard events"
    SHOWER = "shower-level events"


def level_of(batches: Sequence[EventBatch]) -> Level:
    """Return the level of events that have vertices: a single final hadron tells that all went through a shower."""
    return Level.SHOWER if any(map(_has_hadrons, batches)) else Level.HARD


def _has_hadrons(batch: EventBatch) -> bool:
    return bool(is_hadron(np.unique(batch.column("pdg_id")[batch.column("status") == _FINAL])).any())


def graph_level(batches: Sequence[EventBatch]) -> Level | None:
    """Level of those events of one sample that have vertices; None if there are none."""
    graphs = [batch for batch in batches if batch.has_graph and len(batch)]
    return level_of(graphs) if graphs else None


def by_content(batches: Sequence[EventBatch]) -> list[EventBatch]:
    """Return the batches of one sample; if they are hard events, as a Les Houches file gives them."""
    level = graph_level(batches)
    return [at_level(batch, level) for batch in batches]


def at_level(batch: EventBatch, level: Level | None) -> EventBatch:
    """Return a batch as its level wants it: of hard events, without vertices, with the status codes of Les Houches.

    Args:
        batch: The events.
        level: What they are if they have vertices; None, what this batch looks like by itself.
    """
    if not batch.has_graph or (level or level_of([batch])) is Level.SHOWER:
        return batch
    columns = batch.columns(("status", "mother1"))
    status = les_houches_status(columns["status"], columns["mother1"], batch.offsets)
    particles = ak.with_field(batch.particles, ak.unflatten(status, batch.counts), "status")
    return dataclasses.replace(batch, particles=particles, vertices=None)


def les_houches_status(status: IntArray, mother1: IntArray, offsets: IntArray) -> IntArray:
    """Return the status codes with -1 for the incoming particles of hard events that were read from HepMC.

    These are the documentation lines (3) that come out of a beam (4), and a beam that nothing of the kind comes out of.

    Args:
        status: Of all particles of the batch, flat.
        mother1: Likewise; the mother's number in the event from 1 on, 0 for none.
        offsets: Where each event begins, ``(n + 1,)``.
    """
    result = status.copy()
    first = np.repeat(offsets[:-1], np.diff(offsets))
    rows = np.flatnonzero((status == _DOCUMENTATION) & (mother1 > 0))
    mothers = first[rows] + mother1[rows] - 1
    partons, beams = rows[status[mothers] == _BEAM], mothers[status[mothers] == _BEAM]
    result[status == _BEAM] = _INCOMING
    result[beams] = _BEAM
    result[partons] = _INCOMING
    return result
