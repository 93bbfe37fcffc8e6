"""A calorimeter surrogate in closed form, and events of single particles."""

import numpy as np
import pytest

from mlgen.events import EventBatch
from mlgen.showers import Geometry, ShowerBatch


@pytest.fixture
def surrogate(known_showers):
    """Knows photons of 1 to 100 GeV and positrons of 2 to 50 GeV in the calorimeter of the CaloGAN."""
    geometry = Geometry.calogan("")
    energy = np.array([1e3, 1e5, 2e3, 5e4])
    pdg_id = np.array([22, 22, -11, -11])
    voxels = np.ones((4, geometry.n_voxels))
    made = known_showers.KnownShowers(known_showers.KnownSettings())
    made.train([ShowerBatch(energy, pdg_id, np.tile([0.0, 0.0, 1.0], (4, 1)), voxels, geometry)], None)
    return made


@pytest.fixture
def events():
    """Make shower-level events of rows (event, pdg_id, status, pT, eta, phi, vertex), with weights 1, 2, ..."""

    def made(n, rows):
        counts = np.bincount([row[0] for row in rows], minlength=n) if rows else np.zeros(n, int)
        pdg_id, status, p_t, eta, phi = (np.array([row[i] for row in rows], float) for i in range(1, 6))
        mass = np.where(np.abs(pdg_id) == 11, 0.000511, np.where(np.abs(pdg_id) == 211, 0.13957, 0.0))
        pz = p_t * np.sinh(eta)
        vertices = np.array([row[6] if len(row) > 6 else (0, 0, 0) for row in rows], float).reshape(-1, 3)
        columns = {
            "pdg_id": pdg_id,
            "status": status,
            "px": p_t * np.cos(phi),
            "py": p_t * np.sin(phi),
            "pz": pz,
            "energy": np.sqrt(p_t**2 + pz**2 + mass**2),
            "generated_mass": mass,
            "production_vertex": np.concatenate([np.arange(count) for count in counts]) if rows else pdg_id,
            "end_vertex": np.full(len(rows), -1),
        }
        points = dict(zip("xyz", vertices.T, strict=True)) | {"t": np.zeros(len(rows)), "status": np.zeros(len(rows))}
        weight = 1.0 + np.arange(n)
        return EventBatch.from_columns(
            counts,
            columns,
            weight=weight,
            vertex_counts=counts,
            vertex_columns=points,
            variations={"up": 2 * weight},
        )

    return made
