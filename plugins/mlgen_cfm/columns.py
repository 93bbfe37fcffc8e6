"""Generated events on their way into a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.events import INTEGER_COLUMNS, EventBatch
from mlgen.representation import EVENT_NUMBERS, CouplingTable, DecodedEvents
from mlgen_cfm.topology_model import TopologyModel


class GeneratedColumns:
    """Columns of the generated events, padded to the largest event."""

    def __init__(self, n: int, particles: int) -> None:
        self.counts = np.zeros(n, np.int64)
        self.process_id = np.zeros(n, np.int64)
        self.rows = np.zeros((n, particles, len(INTEGER_COLUMNS)), np.int64)
        self.momenta = np.zeros((n, particles, 4))
        self.masses = np.zeros((n, particles))
        self.numbers = {name: np.full(n, np.nan) for name in EVENT_NUMBERS}

    def set(
        self,
        places: npt.NDArray[np.int64],
        model: TopologyModel,
        index: npt.NDArray[np.int64],
        events: DecodedEvents,
        chosen: npt.NDArray[np.bool_],
    ) -> None:
        """Put the chosen events of one topology in their places."""
        topology = model.topology
        particles = topology.particles
        self.counts[places] = particles
        self.process_id[places] = np.array([c.process_id for c in topology.classes], np.int64)[index]
        self.rows[places, :particles] = topology.rows[index]
        self.momenta[places, :particles] = events.momenta[chosen]
        self.masses[places, :particles] = events.masses[chosen]
        self.numbers["scale"][places] = model.scale
        for name, values in events.numbers.items():
            self.numbers[name][places] = values[chosen]

    def batch(self, couplings: dict[str, CouplingTable], weight: float) -> EventBatch:
        """Make the batch, with the couplings that follow from other numbers."""
        for name, table in couplings.items():
            self.numbers[name] = table.at(self.numbers[table.argument])
        exists = np.arange(self.rows.shape[1]) < self.counts[:, None]
        columns: dict[str, npt.NDArray[Any]] = dict(zip(INTEGER_COLUMNS, self.rows[exists].T, strict=True))
        columns.update(zip(("px", "py", "pz", "energy"), self.momenta[exists].T, strict=True))
        columns["generated_mass"] = self.masses[exists]
        return EventBatch.from_columns(
            self.counts,
            columns,
            weight=weight,
            process_id=self.process_id,
            scale=self.numbers["scale"],
            alpha_qed=self.numbers["alpha_qed"],
            alpha_qcd=self.numbers["alpha_qcd"],
        )
