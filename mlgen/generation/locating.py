"""Which topology and labels the events of a batch belong to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlgen.events import EventBatch, FloatArray
from mlgen.generation.drawn_labels import DrawnLabels
from mlgen.representation import EVENT_NUMBERS, Topology
from mlgen.representation.canonical_rows import is_jet, order_by_pt

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Located:
    """Events of one topology, in canonical order.

    Args:
        number: Of each event in the batch, ``(n,)``.
        momenta: ``(n, particles, 4)``.
        masses: ``(n, particles)``.
        numbers: Scale and couplings, ``(n,)`` each.
        labels: Their labels; the flavour is -1 where the topology does not have them.
    """

    number: IntArray
    momenta: FloatArray
    masses: FloatArray
    numbers: dict[str, FloatArray]
    labels: DrawnLabels


def located(topologies: Sequence[Topology], batch: EventBatch) -> Iterator[tuple[int, Located]]:
    """Yield the number of each topology that has events in the batch, with these events."""
    counts, offsets = batch.counts, batch.offsets
    left = np.ones(len(batch), bool)
    for number, topology in enumerate(topologies):
        particles = topology.particles
        events = np.flatnonzero(left & (counts == particles))
        if not len(events):
            continue
        places = offsets[events][:, None] + np.arange(particles)
        structure = np.stack([batch.column(name)[places] for name in ("status", "mother1", "mother2")], axis=2)
        pdg_id = batch.column("pdg_id")[places].astype(np.int64)
        top = np.zeros(particles, bool)
        top[[topology.kinematics.tree.nodes[node].row for node in topology.kinematics.tree.top]] = True
        jets = is_jet(pdg_id) & (structure[:, :, 0] == 1) & top
        own = np.zeros(particles, bool)
        own[list(topology.jets)] = True
        pz = batch.column("pz")[places][:, topology.kinematics.tree.incoming[0]]
        same = np.all(structure == topology.structure, axis=(1, 2)) & np.all(jets == own, axis=1)
        same &= (pz < 0) == topology.kinematics.reversed_beams
        if not same.any():
            continue
        chosen = events[same]
        left[chosen] = False
        yield number, _canonical(topology, batch, chosen, places[same], pdg_id[same])


def _canonical(topology: Topology, batch: EventBatch, events: IntArray, places: IntArray, pdg_id: IntArray) -> Located:
    momenta = batch.momenta()[places]
    order = order_by_pt(momenta, topology.jets)
    each = np.arange(len(events))[:, None]
    placed = places[each, order]
    flavour, color, spin = topology.labels.find(
        batch.process_id[events].astype(np.int64),
        pdg_id[each, order],
        order,
        np.stack([batch.column(name)[placed] for name in ("color1", "color2")], axis=2).astype(np.int64),
        batch.column("spin")[placed].astype(np.float64),
    )
    known = (flavour >= 0) & (color >= 0) & (spin >= 0)
    drawn = DrawnLabels(np.where(known, flavour, -1), np.maximum(color, 0), np.maximum(spin, 0))
    masses = batch.column("generated_mass")[placed].astype(np.float64)
    masses = np.where(np.abs(masses) < 1e-4, 0.0, masses)
    constant = topology.masses[np.maximum(flavour, 0)]
    numbers = {name: np.asarray(getattr(batch, name))[events] for name in EVENT_NUMBERS}
    return Located(events, momenta[each, order], np.where(np.isnan(constant), masses, constant), numbers, drawn)
