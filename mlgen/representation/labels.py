"""What is discrete in the events of a topology: flavours, colour flow and helicities, each from what the sample has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from mlgen.errors import ModelError
from mlgen.events import FloatArray
from mlgen.representation.arrays import floats, integers
from mlgen.representation.classes import IntArray, canonical_colors, unique_rows

BoolArray = npt.NDArray[np.bool_]

#: Level at which orders of like particles that are not equally frequent are taken to be meant.
_SIGNIFICANCE = 1e-4


@dataclass(frozen=True)
class Labels:
    """The labels of one topology; particles are in the canonical order of `mlgen.representation.canonical_rows`.

    Args:
        pdg_id: Particles of each flavour label, ``(flavours, particles)``.
        process_id: Process of each, ``(flavours,)``.
        share: Share of each of the whole file's cross section, ``(flavours,)``.
        orders: Orders in which particles stand in the file: row of the file of each canonical place, ``(orders,
            particles)``.
        order_flavour: The flavour label of each order, ``(orders,)``, ascending.
        order_share: Its share among the orders of that label, ``(orders,)``.
        colors: Colour flows, ``(flows, particles, 2)``.
        spins: Helicities as the file has them, ``(spin states, particles)``.
        allowed_colors: Which flows each flavour label has, ``(flavours, flows)``.
        allowed_spins: Which spin states it has, ``(flavours, spin states)``.
    """

    pdg_id: IntArray
    process_id: IntArray
    share: FloatArray
    orders: IntArray
    order_flavour: IntArray
    order_share: FloatArray
    colors: IntArray
    spins: FloatArray
    allowed_colors: BoolArray
    allowed_spins: BoolArray

    @cached_property
    def features(self) -> npt.NDArray[np.float32]:
        """What a network is told about each flavour label: zeros and ones, ``(flavours, features)``.

        One for each kind of particle at each place and for each process: a rare label borrows from those that it
        shares a flavour with.
        """
        return one_hot([*self.pdg_id.T, self.process_id])

    @cached_property
    def mirror(self) -> tuple[IntArray, IntArray, IntArray]:
        """The labels with both incoming particles exchanged: flavour, colour flow and spin state, -1 if not there."""
        swapped = np.r_[1, 0, 2 : self.pdg_id.shape[1]]
        flows = len(self.colors)
        return (
            _places(flavour_keys(self.process_id, self.pdg_id[:, swapped], self._one_order), self.keys),
            _places(canonical_colors(self.colors[:, swapped]).reshape(flows, -1), self.colors.reshape(flows, -1)),
            _places(self.spins[:, swapped], self.spins),
        )

    @cached_property
    def _one_order(self) -> IntArray:
        """One of each flavour label's orders, ``(flavours, particles)``: all give the same particles in the file."""
        return np.asarray(self.orders[np.searchsorted(self.order_flavour, np.arange(len(self.pdg_id)))], np.int64)

    @cached_property
    def keys(self) -> IntArray:
        """What makes each flavour label (`flavour_keys`), ``(flavours, 1 + 2 particles)``."""
        return flavour_keys(self.process_id, self.pdg_id, self._one_order)

    def find(
        self, process_id: IntArray, pdg_id: IntArray, order: IntArray, colors: IntArray, spins: FloatArray
    ) -> tuple[IntArray, IntArray, IntArray]:
        """Find the labels of events.

        Args:
            process_id: ``(n,)``.
            pdg_id: In canonical order, ``(n, particles)``.
            order: Row of the file of each canonical place, ``(n, particles)``.
            colors: Colour labels in canonical order, with any names, ``(n, particles, 2)``.
            spins: In canonical order, ``(n, particles)``.

        Returns:
            Flavour, colour flow and spin state of each event, ``(n,)`` each, -1 where the topology does not have it.
        """
        flows = self.colors.reshape(len(self.colors), -1)
        return (
            _places(flavour_keys(process_id, pdg_id, order), self.keys),
            _places(canonical_colors(colors).reshape(len(colors), -1), flows),
            _places(spins, self.spins),
        )

    def draw_orders(self, flavour: IntArray, rng: np.random.Generator) -> IntArray:
        """Draw the row of the file of each canonical place, ``(n, particles)``, for labels ``(n,)``."""
        starts = np.searchsorted(self.order_flavour, np.arange(len(self.pdg_id)))
        ends = np.searchsorted(self.order_flavour, np.arange(len(self.pdg_id)), "right")
        cumulative = np.cumsum(self.order_share)
        before = np.concatenate([[0.0], cumulative])[starts]
        wanted = before[flavour] + rng.random(len(flavour)) * (cumulative[ends - 1] - before)[flavour]
        drawn = np.clip(np.searchsorted(cumulative, wanted, "right"), starts[flavour], ends[flavour] - 1)
        return np.asarray(self.orders[drawn], np.int64)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything as named arrays."""
        return {name: np.asarray(getattr(self, name)) for name in self.__dataclass_fields__}

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Inverse of `state`.

        Raises:
            ModelError: The arrays do not fit.
        """
        pdg_id = integers(state, "pdg_id", (None, None))
        flavours, particles = pdg_id.shape
        if flavours == 0:
            raise ModelError("the array 'pdg_id' of the model has no flavours")
        orders = integers(state, "orders", (None, particles), 0, particles)
        order_flavour = integers(state, "order_flavour", (len(orders),), 0, flavours)
        if not np.array_equal(np.unique(order_flavour), np.arange(flavours)) or np.any(np.diff(order_flavour) < 0):
            raise ModelError("the array 'order_flavour' of the model does not have every flavour in ascending order")
        if np.any(np.sort(orders, axis=1) != np.arange(particles)):
            raise ModelError("the array 'orders' of the model holds rows that are no orders of the particles")
        colors = integers(state, "colors", (None, particles, 2))
        spins = floats(state, "spins", (None, particles))
        return cls(
            pdg_id,
            integers(state, "process_id", (flavours,)),
            floats(state, "share", (flavours,)),
            orders,
            order_flavour,
            floats(state, "order_share", (len(orders),)),
            colors,
            spins,
            integers(state, "allowed_colors", (flavours, len(colors)), 0, 2).astype(bool),
            integers(state, "allowed_spins", (flavours, len(spins)), 0, 2).astype(bool),
        )


def find_labels(
    pdg_id: IntArray,
    process_id: IntArray,
    order: IntArray,
    colors: IntArray,
    spins: FloatArray,
    weight: FloatArray,
    total: float,
) -> tuple[Labels, IntArray, IntArray, IntArray]:
    """Find the labels of a topology's events.

    Args:
        pdg_id: In canonical order, ``(n, particles)``.
        process_id: ``(n,)``.
        order: Row of the file of each canonical place, ``(n, particles)``.
        colors: Colour labels in canonical order, ``(n, particles, 2)``.
        spins: In canonical order, ``(n, particles)``.
        weight: Signed weights, ``(n,)``.
        total: Sum of the weights of the whole file.

    Returns:
        The labels, and flavour, colour flow and spin state of each event, each ``(n,)``; the flavour is -1 where the
        weights of a label do not have a positive sum.
    """
    n = len(pdg_id)
    table, flavour = unique_rows(flavour_keys(process_id, pdg_id, order))
    share = np.bincount(flavour, weight, len(table))
    kept = np.flatnonzero(share > 0)
    number = np.full(len(table), -1)
    number[kept] = np.arange(len(kept))
    flavour = number[flavour]
    particles = pdg_id.shape[1]
    flows, color = unique_rows(canonical_colors(colors).reshape(n, -1))
    states, spin = unique_rows(spins)
    used = flavour >= 0
    allowed_colors, allowed_spins = np.zeros((len(kept), len(flows)), bool), np.zeros((len(kept), len(states)), bool)
    allowed_colors[flavour[used], color[used]] = True
    allowed_spins[flavour[used], spin[used]] = True
    orders, order_flavour, order_share = _orders(order[used], flavour[used], weight[used])
    labels = Labels(
        table[kept, 1 : 1 + particles],
        table[kept, 0],
        share[kept] / total,
        orders,
        order_flavour,
        order_share,
        flows.reshape(-1, particles, 2),
        states,
        allowed_colors,
        allowed_spins,
    )
    return labels, flavour, color, spin


def _orders(order: IntArray, flavour: IntArray, weight: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Orders of each flavour label with their shares: equal where the sample does not contradict."""
    table, number = unique_rows(np.column_stack([flavour, order]))
    counts = np.bincount(number, minlength=len(table))
    share = np.maximum(np.bincount(number, weight, len(table)), 0.0)
    result = np.empty(len(table))
    for label in np.unique(table[:, 0]):
        own = table[:, 0] == label
        expected = counts[own].mean()
        statistic = np.square(counts[own] - expected).sum() / expected
        equal = own.sum() == 1 or chi2.sf(statistic, own.sum() - 1) > _SIGNIFICANCE or share[own].sum() <= 0
        result[own] = 1 / own.sum() if equal else share[own] / share[own].sum()
    return table[:, 1:], table[:, 0], result


def one_hot(columns: list[IntArray]) -> npt.NDArray[np.float32]:
    """One block of zeros and ones for each column ``(n,)``: one for each of its values; ``(n, features)``."""
    numbered = [np.unique(column, return_inverse=True)[1].reshape(-1) for column in columns]
    return np.concatenate([np.eye(column.max(initial=0) + 1)[column] for column in numbered], axis=1).astype(np.float32)


def flavour_keys(process_id: IntArray, pdg_id: IntArray, order: IntArray) -> IntArray:
    """What makes a flavour label: the process, and the particles in canonical order and in that of the file.

    Args:
        process_id: ``(n,)``.
        pdg_id: In canonical order, ``(n, particles)``.
        order: Row of the file of each canonical place, ``(n, particles)``.

    Returns:
        Shape ``(n, 1 + 2 particles)``.
    """
    in_file = np.empty_like(pdg_id)
    np.put_along_axis(in_file, order, pdg_id, axis=1)
    return np.column_stack([process_id, pdg_id, in_file]).astype(np.int64)


def _places(rows: npt.NDArray[Any], table: npt.NDArray[Any]) -> IntArray:
    """Place of each row in a table, -1 where it is not there."""
    _, number = unique_rows(np.concatenate([table, rows]))
    place = np.full(number.max(initial=0) + 1, -1)
    place[number[: len(table)]] = np.arange(len(table))
    return np.asarray(place[number[len(table) :]], np.int64)
