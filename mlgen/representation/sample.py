"""A training sample as numbers: `represent` finds the topologies of a file and puts its events into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mlgen.errors import TrainingError
from mlgen.events import EventBatch, FloatArray
from mlgen.representation.canonical_rows import jet_rows, order_by_pt
from mlgen.representation.classes import (
    MOTHER1,
    MOTHER2,
    STATUS,
    EventClass,
    IntArray,
    find_classes,
    padded,
)
from mlgen.representation.coordinates import Coordinates, Whitening
from mlgen.representation.couplings import CouplingTable, coupling_tables
from mlgen.representation.cuts import SampleCuts
from mlgen.representation.decay_tree import OUTGOING, RESONANCE, DecayTree
from mlgen.representation.kinematics import Kinematics
from mlgen.representation.labels import find_labels
from mlgen.representation.mirrors import Mirror, mirrored, mirrors_of
from mlgen.representation.numbers import EVENT_NUMBERS, EventNumbers, scale_functions
from mlgen.representation.resonances import resonance
from mlgen.representation.topology import Topology, TopologyEvents
from mlgen.representation.usable import Sample, decay_trees, losses, usable_events

#: Masses that differ by less are one mass; below it, a mass is zero (programs write rounding noise, such as 1e-7).
MASS_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Representation:
    """A file's topologies, with its events.

    Args:
        topologies: The topologies, the most probable first.
        events: The events of each.
        remarks: What was left out, and what was found, in sentences.
    """

    topologies: Sequence[Topology]
    events: Sequence[TopologyEvents]
    remarks: tuple[str, ...]


def represent(
    batch: EventBatch,
    beams: Sequence[tuple[int, float]],
    *,
    mirrors: bool = True,
    rng: np.random.Generator | None = None,
) -> Representation:
    """Find the topologies of a sample and turn its events into numbers.

    Args:
        batch: All events, from `collected`.
        beams: PDG id and energy of both beams, GeV; empty when unknown.
        mirrors: Whether to make the mirror images that the sample has as often as its events.
        rng: Draws on which side of the cut of an angle an event near it is shown; a fixed source where None.

    Raises:
        TrainingError: More than 1 % of the weight is in events that cannot be represented, or the weights of no
            class have a positive sum.
    """
    classes, index = find_classes(batch)
    counts = batch.counts
    masses = padded(batch.column("generated_mass"), counts, 0.0)
    masses[np.abs(masses) < MASS_TOLERANCE] = 0.0
    sample = Sample(batch, classes, index, padded(batch.momenta(), counts, 0.0), masses)
    trees, problems = decay_trees(sample)
    energies = tuple(energy for _, energy in beams)
    usable, event_problems = usable_events(sample, trees, energies)
    problems += event_problems
    remarks = losses(batch, usable, problems)
    total = float(batch.weight[usable].sum())
    if not total > 0:
        raise TrainingError(
            f"the weights of the {int(usable.sum())} events sum to {total:g}; a distribution needs a positive sum"
        )
    scale = 1 / float(np.abs(batch.weight[usable]).mean())
    images = mirrors_of(sample.momenta[usable], counts[usable], batch.weight[usable], beams) if mirrors else ()
    found = [
        _Members(sample, members, usable, trees[members[0]], scale, total * scale, energies)
        for members in _grouped(classes, trees)
    ]
    found = [members for members in found if members.weight.sum() > 0]
    if not found:
        raise TrainingError("the weights of no class of events have a positive sum; nothing can be generated")
    found.sort(key=lambda members: -members.weight.sum())
    tables = _shared_tables(found)
    rng = rng or np.random.default_rng(0)
    topologies, events = zip(*(members.fitted(tables, images, rng) for members in found), strict=True)
    remarks += [remark for members in found for remark in members.remarks]
    return Representation(_normalised(topologies), events, tuple(remarks))


def _normalised(topologies: Sequence[Topology]) -> list[Topology]:
    """Shares that sum to one: labels of negative sum are left out."""
    total = sum(topology.probability for topology in topologies)
    return [
        replace(topology, labels=replace(topology.labels, share=topology.labels.share / total))
        for topology in topologies
    ]


def _grouped(classes: list[EventClass], trees: Mapping[int, DecayTree]) -> list[list[int]]:
    """Classes of one topology each: the same statuses, mothers, tree, direction of the beams, and jets."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for k, tree in trees.items():
        rows = classes[k].rows
        key = (rows[:, [STATUS, MOTHER1, MOTHER2]].tobytes(), tree, classes[k].reversed_beams, jet_rows(rows, tree))
        groups.setdefault(key, []).append(k)
    return list(groups.values())


def _shared_tables(found: Sequence[_Members]) -> dict[str, CouplingTable]:
    """Couplings as a function of the scale, from the first topology that has one."""
    tables: dict[str, CouplingTable] = {}
    for members in found:
        for name, table in coupling_tables(members.numbers).items():
            if len(table.values) > 1:
                tables.setdefault(name, table)
    return tables


class _Members:
    """The events of one topology."""

    def __init__(
        self,
        sample: Sample,
        members: list[int],
        usable: npt.NDArray[np.bool_],
        tree: DecayTree,
        scale: float,
        total: float,
        beam_energies: tuple[float, ...],
    ) -> None:
        chosen = sample.of(members)
        chosen = chosen[usable[chosen]]
        self.first = sample.classes[members[0]]
        self.tree, self.beam_energies, self.total = tree, beam_energies, total
        rows = self.first.rows
        particles = len(rows)
        self.jets = jet_rows(rows, tree)
        batch = sample.batch
        flat = {
            name: padded(batch.column(name), batch.counts, 0)[chosen, :particles]
            for name in ("pdg_id", "color1", "color2", "spin")
        }
        momenta = sample.momenta[chosen, :particles]
        order = order_by_pt(momenta, self.jets)
        each = np.arange(len(chosen))[:, None]
        self.momenta, self.masses = momenta[each, order], sample.masses[chosen, :particles][each, order]
        self.number = chosen
        self.weight = batch.weight[chosen] * scale
        self.numbers = {name: np.asarray(getattr(batch, name))[chosen] for name in EVENT_NUMBERS}
        nominal = np.where(batch.weight[chosen] != 0, batch.weight[chosen], 1.0)
        self.variations = np.array([values[chosen] / nominal for values in batch.variations.values()]).reshape(
            len(batch.variations), len(chosen)
        )
        pdg_id = flat["pdg_id"][each, order].astype(np.int64)
        colors = np.stack([flat["color1"][each, order], flat["color2"][each, order]], axis=2).astype(np.int64)
        spins = np.asarray(flat["spin"][each, order], np.float64)
        self.labels, self.flavour, self.color, self.spin = find_labels(
            pdg_id, batch.process_id[chosen].astype(np.int64), order, colors, spins, self.weight, total
        )
        self.remarks: list[str] = []
        self._leave_out_negative(pdg_id)

    def _leave_out_negative(self, pdg_id: IntArray) -> None:
        gone = self.flavour < 0
        if not gone.any():
            return
        example = " ".join(str(i) for i in pdg_id[np.flatnonzero(gone)[0]])
        share = abs(float(self.weight[gone].sum())) / self.total
        self.remarks.append(
            f"left out {int(gone.sum())} events of classes whose weights have no positive sum ({share:.2g} of the "
            f"cross section), such as {example}"
        )
        kept = ~gone
        for name in ("momenta", "masses", "number", "weight", "flavour", "color", "spin"):
            setattr(self, name, getattr(self, name)[kept])
        self.numbers = {name: values[kept] for name, values in self.numbers.items()}
        self.variations = self.variations[:, kept]

    def fitted(
        self, tables: Mapping[str, CouplingTable], images: Sequence[Mirror], rng: np.random.Generator
    ) -> tuple[Topology, TopologyEvents]:
        """Fit the map, and make points of the events and their mirror images."""
        rows, labels = self.first.rows, self.labels
        constants = constant_masses(self.masses, labels.pdg_id, self.flavour)
        status = rows[:, STATUS]
        variable = np.asarray(np.isnan(constants).any(axis=0))
        if np.any(variable & (status != OUTGOING) & (status != RESONANCE)):
            raise TrainingError(
                f"{self.first.describe()}: the masses of incoming particles vary; they cannot be learned"
            )
        tree = self.tree
        mean_mass = [
            self.masses[:, tree.nodes[node].row].mean() if tree.nodes[node].row >= 0 else np.inf for node in tree.top
        ]
        kinematics = Kinematics(tree, self.first.reversed_beams, variable, int(np.argmax(mean_mass)))
        expected = constants[self.flavour]
        masses = np.where(np.isnan(expected), self.masses, expected)
        pictures = [self.momenta, *(mirrored(self.momenta, tree.incoming, mirror) for mirror in images)]
        values = [kinematics.encode(momenta, masses) for momenta in pictures]
        kinematics = kinematics.with_seams(np.concatenate(values), np.tile(np.abs(self.weight), len(values)))
        values = [kinematics.wrapped(one) for one in values]
        outgoing = [int(row) for row in np.flatnonzero(status == OUTGOING)]
        cuts = SampleCuts.fit(self.momenta, outgoing)
        frequent = labels.pdg_id[int(np.argmax(labels.share))]
        both_ways = any(mirror.exchanges_beams for mirror in images)
        coordinates = Coordinates.fit(kinematics, self.jets, frequent, cuts, values[0], resonance, both_ways=both_ways)
        functions = scale_functions(self.momenta, outgoing, tree.top_momenta(self.momenta))
        numbers = EventNumbers.fit(functions, self.numbers, tables)
        others = numbers.encode(functions, self.numbers)
        unbounded = [np.hstack([coordinates.forward(one)[0], others]) for one in values]
        for column in unbounded:
            coordinates.unfold(column, rng)
            if not np.isfinite(column).all():
                raise TrainingError(
                    f"{self.first.describe()}: a coordinate, scale or coupling of an event is not finite"
                )
        weight = np.tile(self.weight, len(pictures))
        whitening = Whitening.fit(np.concatenate(unbounded), weight, copies=len(pictures))
        topology = Topology(
            rows[:, [STATUS, MOTHER1, MOTHER2]],
            self.jets,
            labels,
            constants,
            kinematics,
            coordinates,
            whitening,
            numbers,
            cuts,
            self.beam_energies,
        )
        for column in unbounded:
            whitening.marginals.spread(column, rng)
        points = np.stack([whitening.forward(column)[0] for column in unbounded])
        exchanged = np.array([False, *(mirror.exchanges_beams for mirror in images)])
        return topology, TopologyEvents(
            points, exchanged, self.flavour, self.color, self.spin, self.weight, self.number, self.variations
        )


def constant_masses(masses: FloatArray, pdg_id: IntArray, index: IntArray) -> FloatArray:
    """Find the masses that do not vary: those of one kind of particle at one place.

    Args:
        masses: Shape ``(n, particles)``.
        pdg_id: Kind of each particle of each class, shape ``(classes, particles)``.
        index: Class of each event, shape ``(n,)``.

    Returns:
        Mass of each particle of each class, NaN where it varies, shape ``(classes, particles)``.
    """
    result = np.full(pdg_id.shape, np.nan)
    for place in range(pdg_id.shape[1]):
        for kind in np.unique(pdg_id[:, place]):
            same = pdg_id[:, place] == kind
            found = masses[same[index], place]
            if np.ptp(found) < MASS_TOLERANCE:
                result[same, place] = np.median(found)
    return result
