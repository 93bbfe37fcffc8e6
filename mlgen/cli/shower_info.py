"""``mlgen info`` of files of showers."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mlgen.formats.shower_files import ShowerStream
    from mlgen.showers import Geometry
    from mlgen.stages import ProgressCallback

#: Layers that are described one by one; of more, the first and the last.
SHOWN_LAYERS = 8
#: Letters in a line of a long text.
WIDTH = 90
#: Attributes that rows of their own show.
_SHOWN_ELSEWHERE = frozenset({"particle", "incident_energies_unit", "showers_unit"})


@dataclass(slots=True)
class ShowerSummary:
    """What is in a sample of showers; energies in MeV.

    Attributes:
        showers: How many.
        pdg_ids: Showers by PDG id, 0 where it is not known.
        energies: Different incident energies, as long as there are few.
        smallest_energy: Smallest incident energy.
        largest_energy: Largest incident energy.
        deposited: Sum of the shares of the incident energy that are in the voxels.
        deposited_squares: Sum of their squares.
        layers: Energy in each layer, summed.
        empty_voxels: Voxels without any energy.
        normal: Showers at normal incidence.
    """

    showers: int = 0
    pdg_ids: Counter[int] = field(default_factory=Counter)
    energies: set[float] = field(default_factory=set)
    smallest_energy: float = np.inf
    largest_energy: float = 0.0
    deposited: float = 0.0
    deposited_squares: float = 0.0
    layers: Any = 0.0
    empty_voxels: int = 0
    normal: int = 0

    def to_dict(self, stream: ShowerStream) -> dict[str, Any]:
        """Return everything as plain types, for JSON."""
        mean = self.deposited / self.showers
        return {
            "kind": "showers",
            "showers": self.showers,
            "particle": stream.geometry.particle,
            "pdg_ids": {str(pdg_id): count for pdg_id, count in self.pdg_ids.most_common()},
            "incident_energy_mev": [self.smallest_energy, self.largest_energy],
            "deposited": mean,
            "deposited_deviation": max(0.0, self.deposited_squares / self.showers - mean**2) ** 0.5,
            "layer_energies_mev": (self.layers / self.showers).tolist(),
            "empty_voxels": self.empty_voxels / (self.showers * stream.geometry.n_voxels),
            "normal_incidence": self.normal == self.showers,
            "geometry": json.loads(stream.geometry.to_json()),
            "attributes": dict(stream.attributes),
            "provenance": list(stream.provenance),
        }


#: More different energies than this are a spectrum.
_FEW_ENERGIES = 12


def summarise_showers(stream: ShowerStream, progress: ProgressCallback) -> ShowerSummary:
    """Read a whole sample, in constant memory."""
    from mlgen.stages import Progress

    summary = ShowerSummary()
    offsets = stream.geometry.layer_offsets[:-1]
    for batch in stream:
        share = batch.voxels.sum(axis=1) / batch.incident_energy
        summary.showers += len(batch)
        summary.pdg_ids.update(batch.pdg_id.tolist())
        if len(summary.energies) <= _FEW_ENERGIES:
            summary.energies.update(np.unique(batch.incident_energy)[: _FEW_ENERGIES + 1].tolist())
        summary.smallest_energy = min(summary.smallest_energy, float(batch.incident_energy.min()))
        summary.largest_energy = max(summary.largest_energy, float(batch.incident_energy.max()))
        summary.deposited += float(share.sum())
        summary.deposited_squares += float((share**2).sum())
        summary.layers = summary.layers + np.add.reduceat(batch.voxels.sum(axis=0), offsets)
        summary.empty_voxels += int((batch.voxels == 0).sum())
        summary.normal += int((batch.direction[:, 2] > 1 - 1e-9).sum())
        progress(Progress(summary.showers, len(stream)))
    return summary


def shower_rows(stream: ShowerStream, summary: ShowerSummary) -> Iterator[tuple[str, str]]:
    """Yield what ``mlgen info`` shows."""
    from mlgen.cli.info import particle_name
    from mlgen.cli.terminal import number

    yield "showers", number(summary.showers)
    known = [f"{particle_name(pdg)} {count:,}" for pdg, count in summary.pdg_ids.most_common() if pdg]
    yield "incident particles", ", ".join(known) or stream.geometry.particle or "not known"
    if len(summary.energies) <= _FEW_ENERGIES:
        listed = ", ".join(f"{energy / 1000:g}" for energy in sorted(summary.energies))
        yield "incident energy", f"{listed} GeV"
    else:
        yield "incident energy", f"{summary.smallest_energy / 1000:.4g} to {summary.largest_energy / 1000:.4g} GeV"
    oblique = summary.showers - summary.normal
    yield "incidence", f"normal in {summary.normal:,}, oblique in {oblique:,}" if oblique else "normal"
    yield "geometry", geometry_text(stream.geometry)
    means = summary.layers / summary.showers
    for text, mean in _layers(stream.geometry, means.tolist()):
        yield "  " + text, mean
    values = summary.to_dict(stream)
    yield (
        "deposited in the voxels",
        f"{values['deposited']:.2%} of the incident energy, with a spread of {values['deposited_deviation']:.2%}",
    )
    yield "empty voxels", f"{values['empty_voxels']:.1%}"
    for name, value in stream.attributes.items():
        if name not in _SHOWN_ELSEWHERE:
            yield name.replace("_", " "), wrapped(value)
    for record in stream.provenance:
        seed = f", seed {record['seed']}" if "seed" in record else ""
        yield "made by", f"{record.get('program')} {record.get('version')} {record.get('command')}{seed}"


def wrapped(value: str | int | float) -> str:
    """Write a value for people, on several lines where it is a long text."""
    from mlgen.cli.terminal import number

    return "\n".join(textwrap.wrap(value, WIDTH)) if isinstance(value, str) else number(value)


def geometry_text(geometry: Geometry) -> str:
    """Write a geometry for people, in a line."""
    from mlgen.showers import PolarLayer

    kinds = {"polar" if isinstance(layer, PolarLayer) else "rectangular" for layer in geometry.layers}
    return f"{geometry.n_voxels:,} voxels in {len(geometry.layers)} layers, {' and '.join(sorted(kinds))}"


def _layers(geometry: Geometry, means: Sequence[float]) -> Iterator[tuple[str, str]]:
    from mlgen.showers import RectangularLayer

    shown = list(zip(geometry.layers, means, strict=True))
    if len(shown) > SHOWN_LAYERS:
        shown = [shown[0], shown[-1]]
    for layer, mean in shown:
        at = f" at {layer.depth[0]:g} to {layer.depth[1]:g} mm" if layer.depth is not None else ""
        if isinstance(layer, RectangularLayer):
            cells = " x ".join(map(str, layer.shape)) + " cells"
        else:
            cells = f"{len(layer.radial_edges) - 1} radii x {layer.n_angular} angles"
        yield f"layer {layer.layer_id}{at}", f"{cells}, {mean:,.4g} MeV on average"
