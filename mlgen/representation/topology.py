"""Topologies: events that share a decay tree, and the map between them and rows of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.errors import ModelError
from mlgen.events import FloatArray
from mlgen.representation.arrays import Arrays, floats, integers, part
from mlgen.representation.canonical_rows import SAME_PT, jet_rows
from mlgen.representation.classes import COLOR1, IntArray, canonical_colors, unique_rows
from mlgen.representation.coordinates import Coordinates, Whitening
from mlgen.representation.cuts import SampleCuts
from mlgen.representation.decay_tree import OUTGOING, DecayTree, StructureError
from mlgen.representation.kinematics import BoolArray, Kinematics
from mlgen.representation.labels import Labels
from mlgen.representation.marginals import NormalMarginals
from mlgen.representation.numbers import EventNumbers, scale_functions


@dataclass(frozen=True)
class DecodedEvents:
    """Events of one topology, their particles in canonical order.

    Args:
        momenta: Shape ``(n, particles, 4)``, GeV.
        masses: Shape ``(n, particles)``, GeV.
        numbers: Scale and couplings, each ``(n,)``.
        possible: Which events exist and lie inside the sample's cuts, ``(n,)``; the other rows mean nothing.
    """

    momenta: FloatArray
    masses: FloatArray
    numbers: Mapping[str, FloatArray]
    possible: BoolArray


@dataclass(frozen=True)
class Topology:
    """Events with the same statuses, mothers and jets, and the map between them and numbers.

    An event is a flavour label, a colour flow, a spin state (`Labels`) and a *point*: numbers of order one, the first
    of which are the momenta (in blocks: what does not depend on jets, the first jet, ...) and the last of which are
    scale and couplings where these are no function of the momenta.

    Args:
        structure: Status and mothers of each particle, ``(particles, 3)``.
        jets: Rows of the jets.
        labels: What is discrete.
        masses: Mass of each particle of each flavour label where it does not vary, NaN where it does.
        kinematics: Map between momenta and physical coordinates.
        coordinates: Map from these to unbounded ones.
        whitening: Map from these, and from those of scale and couplings, to points.
        numbers: Scale and couplings.
        cuts: Of the sample.
        beam_energies: Energies of the beams, GeV; empty when unknown.
    """

    structure: IntArray
    jets: tuple[int, ...]
    labels: Labels
    masses: FloatArray
    kinematics: Kinematics
    coordinates: Coordinates
    whitening: Whitening
    numbers: EventNumbers
    cuts: SampleCuts
    beam_energies: tuple[float, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each number of a point."""
        kinematic = tuple(self.kinematics.names[i] for i in self.coordinates.order)
        return kinematic + self.numbers.coordinates

    @property
    def kinematic(self) -> int:
        """How many numbers of a point are the momenta's."""
        return len(self.kinematics.names)

    @property
    def dimension(self) -> int:
        """Numbers of a point."""
        return len(self.names)

    @property
    def blocks(self) -> IntArray:
        """For each number of the momenta, how many jets an event must have for it to exist, ascending."""
        return self.coordinates.blocks

    @property
    def particles(self) -> int:
        """Number of particles in each event."""
        return len(self.structure)

    @property
    def probability(self) -> float:
        """Share of the file's cross section."""
        return float(self.labels.share.sum())

    @property
    def outgoing(self) -> list[int]:
        """Rows of the outgoing particles."""
        return [int(row) for row in np.flatnonzero(self.structure[:, 0] == OUTGOING)]

    def describe(self) -> str:
        """Return the most frequent flavours in words, as PDG ids: ``2 -2 -> 23 21 -11 11``."""
        pdg_id = self.labels.pdg_id[int(np.argmax(self.labels.share))]
        incoming = np.isin(np.arange(self.particles), self.kinematics.tree.incoming)
        sides = [" ".join(str(i) for i in pdg_id[side]) for side in (incoming, ~incoming)]
        return f"{sides[0]} -> {sides[1]}"

    def functions(self, momenta: FloatArray, names: tuple[str, ...] | None = None) -> dict[str, FloatArray]:
        """Functions of the momenta that the scale may follow (`scale_functions`)."""
        return scale_functions(momenta, self.outgoing, self.kinematics.tree.top_momenta(momenta), names)

    def encode(
        self, momenta: FloatArray, masses: FloatArray, numbers: Mapping[str, FloatArray]
    ) -> tuple[FloatArray, FloatArray]:
        """Make points of events.

        Args:
            momenta: ``(n, particles, 4)`` in canonical order.
            masses: ``(n, particles)``.
            numbers: Scale and couplings, ``(n,)`` each.

        Returns:
            Points ``(n, dimension)``, and the log of the determinant: the density of a point plus this is the density
            in the coordinates of `Kinematics` and the logarithms of scale and couplings, ``(n,)``.
        """
        unbounded, first = self.coordinates.forward(self.kinematics.encode(momenta, masses))
        others = self.numbers.encode(self.functions(momenta, self.numbers.needs_functions), numbers)
        points, second = self.whitening.forward(np.hstack([unbounded, others]))
        return points, first + second

    def decode(self, points: FloatArray, flavour: IntArray, azimuth: FloatArray) -> DecodedEvents:
        """Make events.

        Args:
            points: ``(n, dimension)``.
            flavour: Flavour label of each event, ``(n,)``.
            azimuth: Azimuth of each event, ``(n,)``.
        """
        finite = np.asarray(np.isfinite(points).all(axis=1))
        with np.errstate(over="ignore", invalid="ignore"):
            unbounded = self.whitening.inverse(np.where(finite[:, None], points, 0.0))
            values = self.coordinates.inverse(unbounded[:, : self.kinematic])
            momenta, masses, possible = self.kinematics.decode(values, self.masses[flavour], azimuth)
            possible = possible & finite & self._inside(momenta)
            functions = self.functions(momenta, self.numbers.needs_functions)
            numbers = self.numbers.decode(functions, unbounded[:, self.kinematic :])
        for column in numbers.values():
            possible &= np.isfinite(column)
        return DecodedEvents(momenta, masses, numbers, possible)

    def _inside(self, momenta: FloatArray) -> BoolArray:
        with np.errstate(invalid="ignore"):
            inside = self.cuts.inside(momenta)
            if len(self.jets) > 1:
                pt = np.hypot(momenta[:, self.jets, 0], momenta[:, self.jets, 1])
                # A jet whose momentum balances all others can come out softer than the next one.
                inside &= np.all(pt[:, :-1] >= pt[:, 1:] * (1 - SAME_PT), axis=1)
            if len(self.beam_energies) == 2:
                tree = self.kinematics.tree
                rows = tree.incoming[::-1] if self.kinematics.reversed_beams else tree.incoming
                inside &= np.all(momenta[:, list(rows), 3] < np.asarray(self.beam_energies), axis=1)
        return np.asarray(inside)

    def integer_columns(self, flavour: IntArray, color: IntArray, order: IntArray) -> IntArray:
        """PDG ids, statuses, mothers and colours in the order of the file, ``(n, particles, 6)``."""
        n = len(flavour)
        rows = np.empty((n, self.particles, 6), np.int64)
        rows[:, :, 1:4] = self.structure
        rows[np.arange(n)[:, None], order, 0] = self.labels.pdg_id[flavour]
        # Few different pairs of flow and order: the labels are put in order of appearance once for each.
        pairs, inverse = unique_rows(np.column_stack([color, order]))
        flows = np.empty((len(pairs), self.particles, 2), np.int64)
        flows[np.arange(len(pairs))[:, None], pairs[:, 1:]] = self.labels.colors[pairs[:, 0]]
        rows[:, :, COLOR1:] = canonical_colors(flows)[inverse]
        return rows

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything as named arrays."""
        kinematics = self.kinematics
        seams = np.zeros(len(kinematics.names)) if kinematics.seams is None else kinematics.seams
        state: dict[str, npt.NDArray[Any]] = {
            "structure": self.structure,
            "jets": np.array(self.jets, np.int64),
            "masses": self.masses,
            "reversed_beams": np.array([kinematics.reversed_beams]),
            "variable_mass": kinematics.variable_mass,
            "recoiler": np.array([kinematics.recoiler], np.int64),
            "seams": seams,
            "knots.normal": self.whitening.marginals.normal,
            "knots.values": self.whitening.marginals.values,
            "mean": self.whitening.mean,
            "stretch": self.whitening.stretch,
            "beam_energies": np.array(self.beam_energies, np.float64),
        }
        own: Mapping[str, Labels | Coordinates | EventNumbers | SampleCuts] = {
            "labels": self.labels,
            "coordinates": self.coordinates,
            "numbers": self.numbers,
            "cuts": self.cuts,
        }
        for prefix, arrays in own.items():
            state.update({f"{prefix}.{name}": array for name, array in arrays.state().items()})
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]]) -> Topology:
        """Inverse of `state`.

        Raises:
            ModelError: The arrays do not fit.
        """
        labels = Labels.from_state(part(state, "labels"))
        flavours, particles = labels.pdg_id.shape
        structure = integers(state, "structure", (particles, 3))
        rows = np.column_stack([labels.pdg_id[0], structure, np.zeros((particles, 2), np.int64)])
        try:
            tree = DecayTree.from_rows(rows)
        except (StructureError, IndexError, RecursionError) as error:
            raise ModelError(f"the array 'structure' of the model holds no event: {error}") from error
        kinematics = Kinematics(
            tree,
            bool(integers(state, "reversed_beams", (1,), 0, 2)[0]),
            integers(state, "variable_mass", (particles,), 0, 2).astype(bool),
            int(integers(state, "recoiler", (1,), 0, len(tree.top))[0]),
            floats(state, "seams", (None,)),
        )
        floats(state, "seams", (len(kinematics.names),))
        numbers = EventNumbers.from_state(part(state, "numbers"))
        d = len(kinematics.names) + len(numbers.coordinates)
        normal = floats(state, "knots.normal", (None,))
        knots = floats(state, "knots.values", (d, len(normal)))
        if len(normal) < 2 or np.any(np.diff(normal) <= 0) or np.any(np.diff(knots, axis=1) <= 0):
            raise ModelError("the arrays 'knots.normal' and 'knots.values' of the model do not ascend")
        jets = tuple(int(row) for row in integers(state, "jets", (None,)))
        if jets != jet_rows(rows, tree):
            raise ModelError(
                f"the array 'jets' of the model is {jets}; the particles have the jets {jet_rows(rows, tree)}"
            )
        return cls(
            structure,
            jets,
            labels,
            floats(state, "masses", (flavours, particles)),
            kinematics,
            Coordinates.from_state(part(state, "coordinates"), kinematics.names),
            Whitening(NormalMarginals(normal, knots), floats(state, "mean", (d,)), floats(state, "stretch", (d, d))),
            numbers,
            SampleCuts.from_state(part(state, "cuts"), particles),
            _beam_energies(state),
        )


def _beam_energies(state: Arrays) -> tuple[float, ...]:
    energies = floats(state, "beam_energies", (None,))
    if len(energies) not in (0, 2):
        raise ModelError(f"the array 'beam_energies' of the model has {len(energies)} entries; 2 or none are expected")
    return tuple(float(energy) for energy in energies)


@dataclass(frozen=True)
class TopologyEvents:
    """Training events of one topology as numbers.

    Args:
        points: One array for each mirror image, the events themselves first, ``(images, n, dimension)``.
        beams_exchanged: Which images have their incoming particles exchanged, ``(images,)``.
        flavour: Flavour label of each event, ``(n,)``.
        color: Colour flow, ``(n,)``.
        spin: Spin state, ``(n,)``.
        weight: Shape ``(n,)``, mean of the absolute values over the whole file 1.
        number: Number of each event in the sample, ``(n,)``.
        variations: Named weights that were asked for, relative to the nominal one, ``(names, n)``.
    """

    points: FloatArray
    beams_exchanged: BoolArray
    flavour: IntArray
    color: IntArray
    spin: IntArray
    weight: FloatArray = field(repr=False)
    number: IntArray = field(repr=False)
    variations: FloatArray = field(repr=False)
