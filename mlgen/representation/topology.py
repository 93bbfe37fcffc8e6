"""Topologies: classes of events that share a decay tree, and all their events as rows of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.errors import ModelError
from mlgen.events import INTEGER_COLUMNS, FloatArray
from mlgen.representation.classes import COLOR1, MOTHER1, MOTHER2, PDG_ID, STATUS, EventClass, IntArray
from mlgen.representation.decay_tree import DecayTree, StructureError
from mlgen.representation.kinematics import BoolArray, Kinematics
from mlgen.representation.quantiles import QuantileTransform

#: Numbers of an event beside its momenta.
EVENT_NUMBERS = ("scale", "alpha_qed", "alpha_qcd")


@dataclass(frozen=True)
class DecodedEvents:
    """Events of one topology.

    Args:
        momenta: Shape ``(n, particles, 4)``, GeV.
        masses: Shape ``(n, particles)``, GeV.
        numbers: Scale and couplings that vary in this topology, each ``(n,)``.
        possible: Which events exist, ``(n,)``; the other rows mean nothing.
    """

    momenta: FloatArray
    masses: FloatArray
    numbers: Mapping[str, FloatArray]
    possible: BoolArray


@dataclass(frozen=True)
class Topology:
    """Classes with the same statuses and mothers, and the map between their events and numbers.

    Args:
        classes: The classes.
        probability: Their share of the whole file's cross section, shape ``(classes,)``.
        masses: Mass of each particle where it does not vary, NaN where it does, ``(classes, particles)``.
        kinematics: Map between momenta and coordinates.
        varying: Those of `EVENT_NUMBERS` that are further coordinates.
        transform: Map between all coordinates and normal numbers.
    """

    classes: Sequence[EventClass]
    probability: FloatArray
    masses: FloatArray
    kinematics: Kinematics
    varying: tuple[str, ...]
    transform: QuantileTransform

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each coordinate."""
        return self.kinematics.names + self.varying

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.names)

    @property
    def particles(self) -> int:
        """Number of particles in each event."""
        return len(self.classes[0].rows)

    @cached_property
    def rows(self) -> IntArray:
        """Integer columns of each class, ``(classes, particles, 6)``."""
        return np.stack([event_class.rows for event_class in self.classes])

    @cached_property
    def features(self) -> npt.NDArray[np.float32]:
        """What a network is told about each class: zeros and ones, shape ``(classes, features)``.

        One for each particle identity at each place, for each colour flow and for each process: together they tell
        the classes apart, and a rare class borrows from those that it shares a flavour or a flow with. A feature of
        its own for each class makes networks learn rare classes by heart (the validation loss says so).
        """
        flows = np.unique(self.rows[:, :, COLOR1:].reshape(len(self.classes), -1), axis=0, return_inverse=True)[1]
        process = np.array([event_class.process_id for event_class in self.classes])
        labels: list[IntArray] = [*self.rows[:, :, PDG_ID].T, flows.reshape(-1), process]
        blocks = [np.eye(label.max() + 1)[label] for label in (_numbered(label) for label in labels)]
        return np.concatenate(blocks, axis=1).astype(np.float32)

    def decode(self, normal: FloatArray, index: IntArray, azimuth: FloatArray) -> DecodedEvents:
        """Make events.

        Args:
            normal: Normal numbers, shape ``(n, dimension)``.
            index: Class of each event, shape ``(n,)``.
            azimuth: Azimuth of each event, shape ``(n,)``.
        """
        finite = np.asarray(np.isfinite(normal).all(axis=1))
        values = self.transform.inverse(np.where(finite[:, None], normal, 0.0))
        kinematic = len(self.kinematics.names)
        momenta, masses, possible = self.kinematics.decode(values[:, :kinematic], self.masses[index], azimuth)
        numbers = dict(zip(self.varying, values[:, kinematic:].T, strict=True))
        return DecodedEvents(momenta, masses, numbers, possible & finite)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything as named arrays."""
        kinematics = self.kinematics
        seams = np.zeros(len(kinematics.names)) if kinematics.seams is None else kinematics.seams
        return {
            "rows": self.rows,
            "process_id": np.array([event_class.process_id for event_class in self.classes], np.int64),
            "probability": self.probability,
            "masses": self.masses,
            "reversed_beams": np.array([kinematics.reversed_beams]),
            "variable_mass": kinematics.variable_mass,
            "recoiler": np.array([kinematics.recoiler], np.int64),
            "seams": seams,
            "varying": np.array([name in self.varying for name in EVENT_NUMBERS]),
            "knots.normal": self.transform.normal,
            "knots.values": self.transform.values,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]]) -> Topology:
        """Inverse of `state`.

        Raises:
            ModelError: The arrays do not fit.
        """
        rows = _array(state, "rows", (None, None, len(INTEGER_COLUMNS))).astype(np.int64)
        shape = rows.shape[:2]
        process_id = _array(state, "process_id", shape[:1])
        reversed_beams = bool(_array(state, "reversed_beams", (1,))[0])
        try:
            tree = DecayTree.from_rows(rows[0])
        except (StructureError, IndexError) as error:
            raise ModelError(f"the array 'rows' of the model holds no event: {error}") from error
        kinematics = Kinematics(
            tree,
            reversed_beams,
            _array(state, "variable_mass", shape[1:]).astype(bool),
            int(_array(state, "recoiler", (1,))[0]),
            _array(state, "seams", (None,)),
        )
        if not 0 <= kinematics.recoiler < len(tree.top):
            raise ModelError(f"the array 'recoiler' of the model is {kinematics.recoiler}; there is no such particle")
        _array(state, "seams", (len(kinematics.names),))
        flags = _array(state, "varying", (len(EVENT_NUMBERS),))
        varying = tuple(name for name, flag in zip(EVENT_NUMBERS, flags, strict=True) if flag)
        normal = _array(state, "knots.normal", (None,))
        values = _array(state, "knots.values", (len(kinematics.names) + len(varying), len(normal)))
        return cls(
            classes=[
                EventClass(row, int(process), reversed_beams) for row, process in zip(rows, process_id, strict=True)
            ],
            probability=_array(state, "probability", shape[:1]),
            masses=_array(state, "masses", shape),
            kinematics=kinematics,
            varying=varying,
            transform=QuantileTransform(normal, values),
        )


def _numbered(labels: IntArray) -> IntArray:
    """Number the different values from 0, same shape."""
    return np.asarray(np.unique(labels, return_inverse=True)[1], np.int64).reshape(-1)


def _array(state: Mapping[str, npt.NDArray[Any]], name: str, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
    if name not in state:
        raise ModelError(f"the array '{name}' of the model is missing")
    found = state[name]
    if found.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, found.shape, strict=True)):
        expected = ", ".join("any" if n is None else str(n) for n in shape)
        raise ModelError(f"the array '{name}' of the model has shape {found.shape}; ({expected}) is expected")
    return found


def same_tree(event_class: EventClass, tree: DecayTree) -> tuple[bytes, DecayTree, bool]:
    """Return what classes of one topology have in common."""
    return event_class.rows[:, [STATUS, MOTHER1, MOTHER2]].tobytes(), tree, event_class.reversed_beams


@dataclass(frozen=True)
class TopologyEvents:
    """Training events of one topology as numbers.

    Args:
        normal: Shape ``(n, dimension)``.
        index: Class of each event, shape ``(n,)``.
        weight: Shape ``(n,)``, mean of the absolute values over the whole file 1.
    """

    normal: FloatArray
    index: IntArray
    weight: FloatArray = field(repr=False)
