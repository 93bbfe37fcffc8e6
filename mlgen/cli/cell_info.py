"""``mlgen info`` of the calorimeter cells that stand beside the events of a ROOT file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

#: Layers that are shown, at most; --json has all.
SHOWN_LAYERS = 12


@dataclass(slots=True)
class CellSummary:
    """What is in the cells of some files; events are not weighted.

    Attributes:
        events: Events that went through a calorimeter.
        showers: Particles with a shower, by PDG id.
        outside_range: How many of them have an energy outside the range that the model was trained in.
        particle_energy: Their energy, summed, GeV.
        cells: Cells with energy, by number of the layer.
        energies: Their energy, summed, MeV, by number of the layer.
    """

    events: int = 0
    showers: Counter[int] = field(default_factory=Counter)
    outside_range: int = 0
    particle_energy: float = 0.0
    cells: Counter[int] = field(default_factory=Counter)
    energies: dict[int, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain types, for JSON."""
        return {
            "events": self.events,
            "showers": {str(pdg_id): count for pdg_id, count in self.showers.most_common()},
            "outside_range": self.outside_range,
            "particle_energy_gev": self.particle_energy,
            "layers": {
                str(layer): {"cells": self.cells[layer], "energy_mev": self.energies[layer]}
                for layer in sorted(self.cells)
            },
        }


def summarise_cells(files: Sequence[str]) -> CellSummary | None:
    """Read the cells of some files in constant memory; None where there are none.

    Raises:
        mlgen.errors.InputError: A file is damaged.
    """
    from mlgen.formats.cells_reader import read_cells

    summary = CellSummary()
    # A pipe can be read once only, and the events were read from it.
    for batch in (batch for name in files if Path(name).is_file() for batch in read_cells(Path(name))):
        summary.events += len(batch)
        summary.showers.update(batch.particles["pdg_id"].tolist())
        summary.outside_range += int(batch.particles["outside_range"].sum())
        summary.particle_energy += float(batch.particles["energy"].sum())
        layers, place = np.unique(batch.cells["layer"], return_inverse=True)
        energies = np.bincount(place, weights=batch.cells["energy"], minlength=len(layers))
        counts = np.bincount(place, minlength=len(layers))
        for layer, count, energy in zip(layers.tolist(), counts.tolist(), energies.tolist(), strict=True):
            summary.cells[layer] += count
            summary.energies[layer] = summary.energies.get(layer, 0.0) + energy
    return summary if summary.events else None


def cell_rows(summary: CellSummary) -> Iterator[tuple[str, str]]:
    """Yield what ``mlgen info`` shows."""
    from mlgen.cli.info import particle_name

    total = summary.cells.total()
    yield "calorimeter cells", f"{total:,} with energy, {total / summary.events:,.1f} an event"
    showers = ", ".join(f"{particle_name(pdg_id)} {count:,}" for pdg_id, count in summary.showers.most_common())
    flagged = f"; {summary.outside_range:,} outside the energies of the training" if summary.outside_range else ""
    yield "  showers of", (showers or "no particle") + flagged
    deposited = sum(summary.energies.values())
    if summary.particle_energy > 0:
        share = deposited / (1e3 * summary.particle_energy)
        yield "  energy in them", f"{deposited / 1e3:,.5g} GeV, {share:.2%} of that of the particles"
    layers = sorted(summary.cells)
    for layer in layers[:SHOWN_LAYERS]:
        mean = summary.energies[layer] / summary.events
        yield f"  layer {layer}", f"{summary.cells[layer] / summary.events:,.1f} cells and {mean:,.5g} MeV an event"
    if len(layers) > SHOWN_LAYERS:
        yield "", f"and {len(layers) - SHOWN_LAYERS} further layers"
