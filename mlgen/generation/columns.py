"""Generated events on their way into a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.events import INTEGER_COLUMNS, EventBatch, FloatArray
from mlgen.generation.drawn_labels import DrawnLabels
from mlgen.representation import EVENT_NUMBERS, DecodedEvents, Topology

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


class GeneratedColumns:
    """Columns of the generated events, padded to the largest event."""

    def __init__(self, n: int, particles: int) -> None:
        self.counts = np.zeros(n, np.int64)
        self.process_id = np.zeros(n, np.int64)
        self.rows = np.zeros((n, particles, len(INTEGER_COLUMNS)), np.int64)
        self.momenta = np.zeros((n, particles, 4))
        self.masses = np.zeros((n, particles))
        self.spins = np.zeros((n, particles))
        self.numbers = {name: np.full(n, np.nan) for name in EVENT_NUMBERS}

    def set(
        self,
        places: IntArray,
        topology: Topology,
        labels: DrawnLabels,
        events: DecodedEvents,
        rng: np.random.Generator,
    ) -> None:
        """Put events of one topology in their places, their particles in an order that the file has.

        Args:
            places: Numbers of the events, ``(n,)``.
            topology: Their topology.
            labels: Their labels, ``(n,)`` each.
            events: Their momenta, masses and numbers, in canonical order.
            rng: Draws the orders.
        """
        particles = topology.particles
        order = topology.labels.draw_orders(labels.flavour, rng)
        # Place of the canonical event for each row of the file.
        back = np.argsort(order, axis=1)
        each = np.arange(len(places))[:, None]
        self.counts[places] = particles
        self.process_id[places] = topology.labels.process_id[labels.flavour]
        self.rows[places, :particles] = topology.integer_columns(labels.flavour, labels.color, order)
        self.momenta[places, :particles] = events.momenta[each, back]
        self.masses[places, :particles] = events.masses[each, back]
        self.spins[places, :particles] = topology.labels.spins[labels.spin][each, back]
        for name, values in events.numbers.items():
            self.numbers[name][places] = values

    def batch(self, weight: FloatArray, variations: dict[str, FloatArray]) -> EventBatch:
        """Make the batch."""
        exists = np.arange(self.rows.shape[1]) < self.counts[:, None]
        columns: dict[str, npt.NDArray[Any]] = dict(zip(INTEGER_COLUMNS, self.rows[exists].T, strict=True))
        columns.update(zip(("px", "py", "pz", "energy"), self.momenta[exists].T, strict=True))
        columns["generated_mass"] = self.masses[exists]
        columns["spin"] = self.spins[exists]
        return EventBatch.from_columns(
            self.counts,
            columns,
            weight=weight,
            process_id=self.process_id,
            scale=self.numbers["scale"],
            alpha_qed=self.numbers["alpha_qed"],
            alpha_qcd=self.numbers["alpha_qcd"],
            variations=variations,
        )
