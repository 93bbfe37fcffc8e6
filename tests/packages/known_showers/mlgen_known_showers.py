"""A calorimeter surrogate whose showers are known in closed form: where their energy is, and how much.

A shower deposits `response` times its incident energy, times a random factor from 0.9 to 1.1. The layers get equal
shares. In a layer the energy falls off as 1 / (10 mm + r) with the distance of a voxel's centre from the axis, up to
`reach`; beyond there is nothing. Voxels lie symmetrically about the axis, so the barycentre of each layer is on it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mlgen.errors import ModelError, TrainingError, UserError
from mlgen.hookspecs import Plugin, hookimpl
from mlgen.showers import Geometry, ShowerBatch
from mlgen.stages import (
    Exactness,
    Progress,
    Settings,
    ShowerSurrogate,
    Stage,
    TrainingReport,
    no_progress,
)

SHIPPED_VARIABLE = "MLGEN_KNOWN_SHOWERS_MODEL"


class KnownSettings(Settings):
    response: float = 0.5
    reach: float = 100.0


def profile(geometry: Geometry, reach: float) -> np.ndarray:
    """Share of a shower's energy in each voxel; sums to one."""
    parts = []
    for layer in geometry.layers:
        radius = np.hypot(*layer.centres.T)
        share = np.where(radius <= reach, 1 / (10 + radius), 0.0)
        parts.append(share / share.sum() / len(geometry.layers))
    return np.concatenate(parts)


class KnownShowers(ShowerSurrogate):
    settings: KnownSettings

    def __init__(self, settings):
        super().__init__(settings)
        self._geometry, self._ranges = Geometry("", ()), {}

    @property
    def geometry(self):
        return self._geometry

    @property
    def energy_ranges(self):
        return self._ranges

    def train(self, showers, rng, progress=no_progress):
        for batch in showers:
            if batch.voxels.shape != (len(batch), batch.geometry.n_voxels) or not np.all(np.isfinite(batch.voxels)):
                raise TrainingError("voxels do not fit the geometry, or are not finite")
            self._geometry = batch.geometry
            for kind in np.unique(batch.pdg_id).tolist():
                energy = batch.incident_energy[batch.pdg_id == kind]
                low, high = self._ranges.get(kind, (np.inf, 0.0))
                self._ranges[kind] = (min(low, float(energy.min())), max(high, float(energy.max())))
        if not self._ranges:
            raise TrainingError("there are no showers")
        progress(Progress(1, 1))
        return TrainingReport({"kinds": len(self._ranges)})

    def generate(self, pdg_id, incident_energy, direction, rng):
        n = len(pdg_id)
        if incident_energy.shape != (n,) or direction.shape != (n, 3) or not np.all(incident_energy > 0):
            raise ValueError("incident particles need a positive energy and a direction (n, 3)")
        if unknown := set(np.unique(pdg_id).tolist()) - set(self._ranges):
            raise UserError(f"particle {min(unknown)} is not known; known are {sorted(self._ranges)}")
        deposited = incident_energy * self.settings.response * rng.uniform(0.9, 1.1, n)
        voxels = deposited[:, None] * profile(self._geometry, self.settings.reach)
        return ShowerBatch(incident_energy, pdg_id, direction, voxels, self._geometry)

    def state(self):
        kinds = sorted(self._ranges)
        return {
            "geometry": np.frombuffer(self._geometry.to_json().encode(), np.uint8).copy(),
            "pdg_id": np.array(kinds, np.int64),
            "energy": np.array([self._ranges[kind] for kind in kinds], np.float64).reshape(-1, 2),
        }

    @classmethod
    def from_state(cls, settings, state):
        dimensions = {name: np.ndim(array) for name, array in state.items()}
        if dimensions != {"geometry": 1, "pdg_id": 1, "energy": 2}:
            raise ModelError(f"not the state of known showers: {dimensions}")
        made = cls(settings)
        made._geometry = Geometry.from_json(state["geometry"].tobytes().decode())
        made._ranges = {
            int(kind): (float(low), float(high))
            for kind, (low, high) in zip(state["pdg_id"], state["energy"], strict=True)
        }
        return made


def _plugin(name, **others):
    return Plugin(
        name,
        Stage.CALORIMETER,
        lambda: KnownShowers,
        KnownSettings,
        Exactness.APPROXIMATE,
        "showers in closed form",
        contract_version=1,
        **others,
    )


@hookimpl
def mlgen_calorimeter() -> Iterator[Plugin]:
    yield _plugin("known-showers")
    yield _plugin("shipped-showers", shipped_model=lambda: Path(os.environ[SHIPPED_VARIABLE]))
