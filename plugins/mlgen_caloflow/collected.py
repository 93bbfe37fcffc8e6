"""Training showers in memory: all of them, or as many as are allowed, drawn at random."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from mlgen.errors import TrainingError
from mlgen.showers import Geometry, ShowerBatch
from mlgen.stages import FloatArray, IntArray
from mlgen_caloflow.conditions import check_showers

#: Fewest showers that anything can be learned from.
_FEWEST = 50


@dataclass(frozen=True, slots=True)
class Collected:
    """Showers of one calorimeter.

    Args:
        geometry: The calorimeter.
        pdg_id: ``(n,)``.
        energy: Incident energies, MeV, ``(n,)``.
        voxels: MeV, ``(n, n_voxels)``, in single precision; none is between zero and the threshold.
        seen: Showers that these were drawn from.
        remarks: What the user should know.
    """

    geometry: Geometry
    pdg_id: IntArray
    energy: FloatArray
    voxels: npt.NDArray[np.float32]
    seen: int
    remarks: tuple[str, ...] = ()


def collect(batches: Iterable[ShowerBatch], most: int, threshold: float, rng: np.random.Generator) -> Collected:
    """Keep at most so many showers of a stream, each with the same probability.

    Raises:
        TrainingError: There are too few, they are of different calorimeters, or have wrong values.

    References:
        Vitter, ACM Trans. Math. Softw. 11 (1985) 37, algorithm R.
    """
    geometry: Geometry | None = None
    parts: list[ShowerBatch] = []
    kept, seen = 0, 0
    for batch in batches:
        if not len(batch):
            continue
        geometry = _same(geometry, batch.geometry)
        if batch.voxels.shape != (len(batch), geometry.n_voxels):
            raise TrainingError(
                f"voxels of shape {batch.voxels.shape} do not fit a geometry of {geometry.n_voxels:,} voxels"
            )
        check_showers(batch.incident_energy, batch.voxels)
        fits = min(len(batch), most - kept)
        if fits:
            parts.append(_owned([batch[:fits]], geometry))
            kept += fits
            if kept == most:
                parts = [_owned(parts, geometry)]
        if fits < len(batch):
            numbers = seen + np.arange(fits, len(batch))
            place = rng.integers(0, numbers + 1)
            chosen = np.flatnonzero(place < most)
            for name in ("pdg_id", "incident_energy", "voxels"):
                getattr(parts[0], name)[place[chosen]] = getattr(batch, name)[fits + chosen]
        seen += len(batch)
    if geometry is None or kept < _FEWEST:
        raise TrainingError(f"there are {kept:,} training showers; at least {_FEWEST} are needed")
    everything = parts[0] if len(parts) == 1 else _owned(parts, geometry)
    # At once, so that what was collected part by part is not there as well.
    parts.clear()
    voxels = cast(npt.NDArray[np.float32], everything.voxels)
    below = (voxels > 0) & (voxels < threshold)
    share = float(voxels[below].sum(dtype=np.float64) / max(voxels.sum(dtype=np.float64), np.finfo(float).tiny))
    remarks = []
    if below.any():
        remarks.append(
            f"{int(below.sum()):,} voxels below the threshold of {threshold:g} MeV count as nothing, "
            f"{share:.1g} of the energy"
        )
    voxels[below] = 0.0
    if not voxels.any():
        raise TrainingError("no training shower has a voxel above the threshold")
    return Collected(geometry, everything.pdg_id, everything.incident_energy, voxels, seen, tuple(remarks))


def _same(geometry: Geometry | None, other: Geometry) -> Geometry:
    if geometry is not None and other.layers != geometry.layers:
        raise TrainingError(
            f"the training showers are of different calorimeters: of {geometry.n_voxels:,} voxels in "
            f"{len(geometry.layers)} layers, and of {other.n_voxels:,} in {len(other.layers)}"
        )
    return other if geometry is None else geometry


def _owned(parts: list[ShowerBatch], geometry: Geometry) -> ShowerBatch:
    """One batch that owns its arrays; voxels in single precision."""
    return ShowerBatch(
        incident_energy=np.concatenate([part.incident_energy for part in parts]),
        pdg_id=np.concatenate([part.pdg_id for part in parts]),
        direction=np.concatenate([part.direction for part in parts]),
        voxels=np.concatenate([part.voxels for part in parts], dtype=np.float32),
        geometry=geometry,
    )
