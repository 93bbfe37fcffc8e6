"""A training sample as numbers: `represent` finds the topologies of a file and puts its events into them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mlgen.errors import TrainingError
from mlgen.events import EventBatch, FloatArray
from mlgen.representation.classes import PDG_ID, STATUS, EventClass, IntArray, find_classes, padded
from mlgen.representation.couplings import CouplingTable, coupling_tables
from mlgen.representation.decay_tree import OUTGOING, RESONANCE, DecayTree, StructureError
from mlgen.representation.kinematics import BoolArray, Kinematics
from mlgen.representation.quantiles import QuantileTransform
from mlgen.representation.topology import Topology, TopologyEvents, same_tree

#: Masses that differ by less are one mass; below it, a mass is zero (programs write rounding noise, such as 1e-7).
MASS_TOLERANCE = 1e-4
#: Largest violation of four-momentum conservation or of a mass shell, relative to the energy (squared). Files are
#: printed with five digits or more; what fails this is no rounding.
MOMENTUM_TOLERANCE = 1e-5
#: Share of the weight that may be left out because it cannot be represented.
LARGEST_LOSS = 0.01


#: Numbers of events that cannot be represented, ascending, and why.
_Problem = tuple[IntArray, str]


@dataclass(frozen=True)
class Representation:
    """A file's topologies, with its events.

    Args:
        topologies: The topologies, the most probable first.
        events: The events of each.
        scale: Scale of the events where it does not vary, for each topology; NaN where it does.
        couplings: Tables of ``alpha_qed`` and ``alpha_qcd``; a coupling without one is a coordinate.
        remarks: What was left out, and why.
    """

    topologies: Sequence[Topology]
    events: Sequence[TopologyEvents]
    scale: FloatArray
    couplings: dict[str, CouplingTable]
    remarks: tuple[str, ...]


@dataclass
class _Sample:
    """Columns of the events that are used, padded to the largest event.

    There can be thousands of classes, so that no work on all events may be done for each of them: the events are
    sorted by class once.
    """

    batch: EventBatch
    classes: list[EventClass]
    index: IntArray
    momenta: FloatArray
    masses: FloatArray
    _by_class: IntArray = field(init=False)
    _starts: IntArray = field(init=False)

    def __post_init__(self) -> None:
        self._by_class = np.argsort(self.index, kind="stable")
        self._starts = np.searchsorted(self.index[self._by_class], np.arange(len(self.classes) + 1))

    def of(self, members: Sequence[int]) -> IntArray:
        """Events of some classes, ascending."""
        parts = [self._by_class[self._starts[k] : self._starts[k + 1]] for k in members]
        return np.sort(np.concatenate(parts))


def collected(
    batches: Iterable[EventBatch], most: int | None = None, rng: np.random.Generator | None = None
) -> EventBatch:
    """Join batches without their text and variations, which no generator learns.

    Args:
        batches: The events.
        most: Keep so many at most, drawn at random with equal probability, so that memory does not grow with the
            file; all when None.
        rng: Source of the draw.

    Raises:
        TrainingError: There are no events, they are shower-level, or a weight, momentum or mass is not finite.
    """
    plain = (replace(batch, variations={}, comments=None, tag_attributes=None) for batch in batches)
    parts = list(plain) if most is None or rng is None else _drawn(plain, most, rng)
    if sum(len(part) for part in parts) == 0:
        raise TrainingError("there are no events to learn from")
    if any(part.has_graph for part in parts):
        raise TrainingError("the events are shower-level (they have vertices); a generator learns hard events")
    batch = EventBatch.concatenate([part for part in parts if len(part)])
    wrong = np.flatnonzero(~np.isfinite(batch.weight))
    if len(wrong):
        raise TrainingError(f"the weight of event {wrong[0] + 1} is {batch.weight[wrong[0]]}; a number is expected")
    particle_columns = [batch.momenta(), batch.column("generated_mass")[:, None]]
    wrong = np.flatnonzero(~np.isfinite(np.hstack(particle_columns)).all(axis=1))
    if len(wrong):
        event = np.searchsorted(batch.offsets, wrong[0], "right")
        raise TrainingError(f"a momentum or mass of event {event} is not a finite number")
    if not np.any(batch.weight):
        raise TrainingError("the weights of all events are zero; there is nothing to learn")
    return batch


def _drawn(batches: Iterable[EventBatch], most: int, rng: np.random.Generator) -> list[EventBatch]:
    """Keep the `most` events with the smallest of random keys: each event has the same chance."""
    kept: list[EventBatch] = []
    keys = np.zeros(0)
    limit = 1.0
    for batch in batches:
        drawn = rng.random(len(batch))
        # What could not stay anyway is left out at once, so that the memory of a large file is that of a small one.
        kept.append(batch[np.flatnonzero(drawn < limit)])
        keys = np.concatenate([keys, drawn[drawn < limit]])
        if len(keys) > 1.1 * most:
            kept, keys = _smallest(kept, keys, most)
            limit = float(keys.max())
    return _smallest(kept, keys, most)[0] if len(keys) > most else kept


def _smallest(batches: list[EventBatch], keys: FloatArray, most: int) -> tuple[list[EventBatch], FloatArray]:
    chosen = np.sort(np.argpartition(keys, most)[:most])
    return [EventBatch.concatenate(batches)[chosen]], keys[chosen]


def represent(batch: EventBatch, beam_energies: Sequence[float], rng: np.random.Generator) -> Representation:
    """Find the topologies of a sample and turn its events into numbers.

    Args:
        batch: All events, from `collected`.
        beam_energies: Energy of both beams, GeV; empty when unknown.
        rng: Spreads events that share a value (`QuantileTransform.forward`).

    Raises:
        TrainingError: More than 1 % of the weight is in events that cannot be represented, or the weights of no
            class have a positive sum.
    """
    classes, index = find_classes(batch)
    counts = batch.counts
    masses = padded(batch.column("generated_mass"), counts, 0.0)
    masses[np.abs(masses) < MASS_TOLERANCE] = 0.0
    sample = _Sample(batch, classes, index, padded(batch.momenta(), counts, 0.0), masses)
    trees, problems = _trees(sample)
    usable, event_problems = _usable_events(sample, trees, beam_energies)
    problems += event_problems
    remarks = _losses(batch, usable, problems)
    totals = np.bincount(index, np.where(usable, batch.weight, 0.0), len(classes))
    if not np.any(totals > 0):
        raise TrainingError("the weights of no class of events have a positive sum; nothing can be generated")
    used = np.bincount(index[usable], minlength=len(classes))
    negative = [k for k in trees if totals[k] <= 0 and used[k]]
    if negative:
        share = np.abs(totals[negative]).sum() / totals[totals > 0].sum()
        remarks.append(
            f"left out {len(negative)} of {len(classes)} classes whose weights have no positive sum"
            f" ({share:.2g} of the cross section), such as {classes[negative[0]].describe()}"
        )
    groups: dict[tuple[bytes, DecayTree, bool], list[int]] = {}
    for k in trees:
        if totals[k] > 0:
            groups.setdefault(same_tree(classes[k], trees[k]), []).append(k)
    ordered = sorted(groups.values(), key=lambda members: -totals[members].sum())
    probability = totals / totals[totals > 0].sum()
    couplings = coupling_tables(batch[usable])
    weight = batch.weight / np.abs(batch.weight[usable]).mean()
    fitted = [
        _fit_topology(sample, members, usable, trees[members[0]], probability[members], weight, couplings, rng)
        for members in ordered
    ]
    topologies, events, scales = zip(*fitted, strict=True)
    return Representation(topologies, events, np.array(scales), couplings, tuple(remarks))


def _trees(sample: _Sample) -> tuple[dict[int, DecayTree], list[_Problem]]:
    trees: dict[int, DecayTree] = {}
    problems: list[_Problem] = []
    for k, event_class in enumerate(sample.classes):
        try:
            trees[k] = DecayTree.from_rows(event_class.rows)
        except StructureError as error:
            problems.append((sample.of([k]), f"{event_class.describe()}: {error}"))
    return trees, problems


def _usable_events(
    sample: _Sample, trees: dict[int, DecayTree], beam_energies: Sequence[float]
) -> tuple[BoolArray, list[_Problem]]:
    """Find the events that their coordinates can give back."""
    usable = np.isin(sample.index, list(trees))
    problems: list[_Problem] = []

    def reject(events: IntArray, bad: BoolArray, reason: str) -> None:
        rejected = events[bad & usable[events]]
        if len(rejected):
            first = sample.classes[sample.index[rejected[0]]]
            problems.append((rejected, f"{first.describe()}: {reason}"))
            usable[rejected] = False

    everything = np.arange(len(sample.index))
    squared = np.square(sample.momenta[:, :, 3]) - np.square(sample.momenta[:, :, :3]).sum(axis=2)
    off_shell = np.abs(squared - np.sign(sample.masses) * np.square(sample.masses))
    reject(
        everything,
        np.asarray((off_shell > MOMENTUM_TOLERANCE * np.square(sample.momenta[:, :, 3])).any(axis=1)),
        "the momentum of a particle does not have the particle's mass",
    )
    reject(everything, np.asarray((sample.masses < 0).any(axis=1)), "a particle has a negative (spacelike) mass")
    alike: dict[tuple[DecayTree, bool], list[int]] = {}
    for k, tree in trees.items():
        alike.setdefault((tree, sample.classes[k].reversed_beams), []).append(k)
    for (tree, reversed_beams), members in alike.items():
        here = sample.of(members)
        momenta, energy = sample.momenta[here], np.abs(sample.momenta[here, :, 3])
        total_energy = np.maximum(energy.sum(axis=1), np.finfo(float).tiny)
        size = energy.max(axis=1, initial=0.0)
        incoming = momenta[:, tree.incoming]
        sideways = np.abs(incoming[:, :, :2]).max(axis=(1, 2)) > MOMENTUM_TOLERANCE * size
        reject(here, sideways, "an incoming particle does not move along z")
        same_way = np.asarray(incoming[:, 0, 2] * incoming[:, 1, 2] >= 0)
        reject(here, same_way, "the incoming particles do not move head on")
        top = momenta[:, [row for node in tree.top for row in tree.products(node)]].sum(axis=1)
        lost = np.abs(incoming.sum(axis=1) - top).max(axis=1) > MOMENTUM_TOLERANCE * total_energy
        reject(here, lost, "four-momentum is not conserved in the hard scattering")
        for node in (tree.nodes[i] for i in tree.decays() if tree.nodes[i].row >= 0):
            products = momenta[:, [row for child in node.children for row in tree.products(child)]].sum(axis=1)
            lost = np.abs(momenta[:, node.row] - products).max(axis=1) > MOMENTUM_TOLERANCE * total_energy
            reject(here, lost, f"the momentum of resonance {node.row + 1} is not the sum of its products'")
        if len(beam_energies) == 2:
            forward, backward = (1, 0) if reversed_beams else (0, 1)
            over = (incoming[:, forward, 3] >= beam_energies[0]) | (incoming[:, backward, 3] >= beam_energies[1])
            reject(here, over, "an incoming particle has more energy than its beam")
    return usable, problems


def _losses(batch: EventBatch, usable: BoolArray, problems: list[_Problem]) -> list[str]:
    """Say what is left out.

    Raises:
        TrainingError: It is too much.
    """
    if not problems:
        return []
    weight = np.abs(batch.weight)
    lost = weight[~usable].sum() / weight.sum()
    worst, reason = max(problems, key=lambda problem: float(weight[problem[0]].sum()))
    what = f"{int((~usable).sum())} of {len(batch)} events ({lost:.2g} of the weight) cannot be represented"
    detail = f"the largest part, {len(worst)} events, is of this kind: {reason}"
    if lost > LARGEST_LOSS:
        raise TrainingError(f"{what}; {LARGEST_LOSS:g} may be left out; {detail}")
    return [f"left out: {what}; {detail}"]


def _fit_topology(
    sample: _Sample,
    members: list[int],
    usable: BoolArray,
    tree: DecayTree,
    probability: FloatArray,
    weight: FloatArray,
    couplings: dict[str, CouplingTable],
    rng: np.random.Generator,
) -> tuple[Topology, TopologyEvents, float]:
    chosen = sample.of(members)
    chosen = chosen[usable[chosen]]
    local = np.searchsorted(members, sample.index[chosen])
    classes = [sample.classes[k] for k in members]
    rows = np.stack([event_class.rows for event_class in classes])
    particles = rows.shape[1]
    masses, momenta = sample.masses[chosen][:, :particles], sample.momenta[chosen][:, :particles]
    constants = constant_masses(masses, rows[:, :, PDG_ID], local)
    outgoing, resonance = rows[0, :, STATUS] == OUTGOING, rows[0, :, STATUS] == RESONANCE
    variable = np.asarray(np.isnan(constants).any(axis=0))
    if np.any(variable & ~outgoing & ~resonance):
        raise TrainingError(f"{classes[0].describe()}: the masses of incoming particles vary; they cannot be learned")
    mean_mass = [masses[:, tree.nodes[node].row].mean() if tree.nodes[node].row >= 0 else np.inf for node in tree.top]
    kinematics = Kinematics(tree, classes[0].reversed_beams, variable, int(np.argmax(mean_mass)))
    here = weight[chosen]
    values = kinematics.encode(momenta, np.where(np.isnan(constants[local]), masses, constants[local]))
    kinematics = kinematics.with_seams(values, np.abs(here))
    values = kinematics.wrapped(values)
    scale = sample.batch.scale[chosen]
    varies = bool(np.ptp(scale) > 0)
    varying = (("scale",) if varies else ()) + tuple(n for n in ("alpha_qed", "alpha_qcd") if n not in couplings)
    values = np.column_stack([values, *(getattr(sample.batch, name)[chosen] for name in varying)])
    if not np.isfinite(values).all():
        raise TrainingError(f"{classes[0].describe()}: a coordinate, scale or coupling of an event is not finite")
    transform = QuantileTransform.fit(values, here)
    topology = Topology(classes, probability, constants, kinematics, varying, transform)
    return (
        topology,
        TopologyEvents(transform.forward(values, rng), local, here),
        float("nan") if varies else float(scale[0]),
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
