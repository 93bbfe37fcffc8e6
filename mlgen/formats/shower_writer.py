"""Writes showers as HDF5 in the layout of the CaloChallenge, with their geometry and provenance."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlgen.errors import OutputError
from mlgen.files import whole_file
from mlgen.formats.lheh5_file import RememberingFile
from mlgen.showers import Geometry, ShowerBatch

#: Where a file keeps its geometry, as `Geometry.to_json`, and its provenance, a JSON list. Not in attributes: those
#: hold 64 kB at most.
GEOMETRY, PROVENANCE = "mlgen/geometry", "mlgen/provenance"
#: Most voxels of a shower are empty, and single-precision energies leave half of each double empty: shuffled bytes
#: shrink well at the lowest level.
COMPRESSION = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
CHUNK_BYTES = 1 << 19
CACHE_BYTES = 1 << 24


def write_showers(
    path: str | Path,
    batches: Iterable[ShowerBatch],
    *,
    provenance: Sequence[Mapping[str, Any]] = (),
    attributes: Mapping[str, str | int | float] | None = None,
    force: bool = False,
) -> int:
    """Write showers in the layout of the CaloChallenge, energies in MeV, in double precision.

    ``incident_energies`` (n, 1) and ``showers`` (n, voxels) are what the CaloChallenge's programs read;
    ``pdg_id`` (n,), ``direction`` (n, 3), ``mlgen/geometry`` and ``mlgen/provenance`` are added, so that the file needs
    no binning XML. It appears under its name only when it is whole.

    Args:
        path: The file.
        batches: Showers of one geometry.
        provenance: Records of every run of mlgen that the showers went through, oldest first; plain types.
        attributes: Attributes of the file.
        force: Whether an existing file is replaced.

    Returns:
        The number of showers.

    Raises:
        OutputError: The file exists already (and not `force`), is a device or pipe, or its directory does not exist;
            there is no shower, the geometry changes on the way, or an energy is negative or not finite.
        WriteFailure: The disk is full, or the like.
    """
    path = Path(path)
    with whole_file(path, force=force) as temporary:
        return _write(path, temporary, batches, provenance, attributes or {})


def _write(
    path: Path,
    temporary: Path,
    batches: Iterable[ShowerBatch],
    provenance: Sequence[Mapping[str, Any]],
    attributes: Mapping[str, str | int | float],
) -> int:
    import h5py

    disk = RememberingFile(temporary)
    try:
        with h5py.File(disk, "w", rdcc_nbytes=CACHE_BYTES) as file:
            written = 0
            geometry: Geometry | None = None
            for batch in batches:
                if not len(batch):
                    continue
                if geometry is None:
                    geometry = batch.geometry
                    _make(file, geometry)
                _check_batch(path, batch, geometry, written)
                _append(file, batch, written)
                written += len(batch)
                disk.check()
            if geometry is None:
                raise OutputError(f"{path}: there are no showers to write")
            texts = {GEOMETRY: geometry.to_json(), PROVENANCE: json.dumps(list(provenance))}
            for name, text in texts.items():
                file.create_dataset(name, data=text, dtype=h5py.string_dtype())
            energies = {"incident_energies_unit": "MeV", "showers_unit": "MeV", "particle": geometry.particle}
            for key, value in {**energies, **attributes}.items():
                file.attrs[key] = value
        disk.check()
    finally:
        disk.close()
    return written


def _make(file: Any, geometry: Geometry) -> None:
    for name, shape, dtype in (
        ("incident_energies", (1,), "f8"),
        ("showers", (geometry.n_voxels,), "f8"),
        ("pdg_id", (), "i8"),
        ("direction", (3,), "f8"),
    ):
        rows = max(1, CHUNK_BYTES // (8 * max(1, int(np.prod(shape)))))
        file.create_dataset(name, (0, *shape), dtype, maxshape=(None, *shape), chunks=(rows, *shape), **COMPRESSION)


def _append(file: Any, batch: ShowerBatch, written: int) -> None:
    for name, values in (
        ("incident_energies", batch.incident_energy[:, None]),
        ("showers", batch.voxels),
        ("pdg_id", batch.pdg_id),
        ("direction", batch.direction),
    ):
        file[name].resize(written + len(batch), axis=0)
        file[name][written:] = values


def _check_batch(path: Path, batch: ShowerBatch, geometry: Geometry, written: int) -> None:
    where = f"{path}: showers {written + 1:,} to {written + len(batch):,}"
    if batch.geometry.layers != geometry.layers:
        raise OutputError(f"{where} have another geometry than those before")
    if batch.voxels.shape != (len(batch), geometry.n_voxels):
        raise OutputError(f"{where}: voxels of shape {batch.voxels.shape} do not fit {geometry.n_voxels:,} voxels")
    if not (batch.voxels.min() >= 0 and batch.voxels.max() < np.inf):
        bad = int(np.sum(~((batch.voxels >= 0) & (batch.voxels < np.inf))))
        raise OutputError(f"{where}: {bad:,} voxel energies are negative or not finite")
    if not (batch.incident_energy.min() > 0 and batch.incident_energy.max() < np.inf):
        raise OutputError(f"{where}: an incident energy is not positive, or not finite")
