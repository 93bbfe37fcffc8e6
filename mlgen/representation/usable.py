"""Which events of a sample can be represented, and why the others cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mlgen.errors import TrainingError
from mlgen.events import EventBatch, FloatArray
from mlgen.representation.classes import EventClass, IntArray
from mlgen.representation.decay_tree import DecayTree, StructureError
from mlgen.representation.kinematics import BoolArray

#: Largest violation of four-momentum conservation or of a mass shell, relative to the energy (squared). Files are
#: printed with five digits or more; what fails this is no rounding.
MOMENTUM_TOLERANCE = 1e-5
#: Share of the weight that may be left out because it cannot be represented.
LARGEST_LOSS = 0.01
#: Events of one kind below which nothing is concluded from what they have in common.
_FEW = 10

#: Numbers of events that cannot be represented, ascending, and why.
Problem = tuple[IntArray, str]


@dataclass
class Sample:
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


def decay_trees(sample: Sample) -> tuple[dict[int, DecayTree], list[Problem]]:
    """Build the tree of each class that has one, by the class's number; the events of the others are problems."""
    trees: dict[int, DecayTree] = {}
    problems: list[Problem] = []
    for k, event_class in enumerate(sample.classes):
        try:
            trees[k] = DecayTree.from_rows(event_class.rows)
        except StructureError as error:
            problems.append((sample.of([k]), f"{event_class.describe()}: {error}"))
    return trees, problems


def usable_events(
    sample: Sample, trees: dict[int, DecayTree], beam_energies: Sequence[float]
) -> tuple[BoolArray, list[Problem]]:
    """Find the events that their coordinates can give back.

    Not those of a fixed collision energy: there the coordinates of `Kinematics` depend on each other.
    """
    usable = np.isin(sample.index, list(trees))
    problems: list[Problem] = []

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
        if len(here) >= _FEW:
            energies = energy[:, tree.incoming]
            fixed = np.any(np.ptp(energies, axis=0) <= MOMENTUM_TOLERANCE * energies.max(axis=0))
            reason = "an incoming particle has the same energy in all events (collisions without parton densities)"
            reject(here, np.full(len(here), fixed), reason)
        if len(beam_energies) == 2:
            forward, backward = (1, 0) if reversed_beams else (0, 1)
            over = (incoming[:, forward, 3] >= beam_energies[0]) | (incoming[:, backward, 3] >= beam_energies[1])
            reject(here, over, "an incoming particle has more energy than its beam")
    return usable, problems


def losses(batch: EventBatch, usable: BoolArray, problems: list[Problem]) -> list[str]:
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
