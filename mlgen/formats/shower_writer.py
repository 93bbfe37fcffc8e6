"""Writes showers as HDF5 in the layout of the CaloChallenge, with their geometry and provenance."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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

#: Shape of one shower's entry and type of a data set, by its name.
Columns = Mapping[str, tuple[tuple[int, ...], str]]


class ShowerWriter:
    """A file of showers that is being written, batch by batch, under the name that is given.

    Args:
        path: The file, for messages.
        temporary: Where it is written.
        geometry: Of all showers.
        columns: Further data sets of one row a shower.

    Raises:
        OSError: The disk refuses it.
    """

    def __init__(self, path: Path, temporary: Path, geometry: Geometry, columns: Columns | None = None) -> None:
        import h5py

        self._path, self._geometry, self._columns = path, geometry, dict(columns or {})
        self.written = 0
        self._disk = RememberingFile(temporary)
        try:
            self._file = h5py.File(self._disk, "w", rdcc_nbytes=CACHE_BYTES)
            self._make()
        except BaseException:
            self._disk.close()
            raise

    def write(self, batch: ShowerBatch, columns: Mapping[str, npt.NDArray[Any]] | None = None) -> None:
        """Append showers.

        Args:
            batch: The showers.
            columns: What goes into the further data sets: all of them, each with one row a shower.

        Raises:
            OutputError: The geometry is another one, or an energy is negative or not finite.
            OSError: The disk is full, or the like.
        """
        if not len(batch):
            return
        _check_batch(self._path, batch, self._geometry, self.written)
        self._append(batch, columns or {})
        self.written += len(batch)
        self._disk.check()

    def close(
        self,
        *,
        provenance: Sequence[Mapping[str, Any]] = (),
        attributes: Mapping[str, str | int | float] | None = None,
    ) -> None:
        """Write what describes the showers, and end the file.

        Raises:
            OSError: The disk is full, or the like.
        """
        import h5py

        try:
            with self._file as file:
                texts = {GEOMETRY: self._geometry.to_json(), PROVENANCE: json.dumps(list(provenance))}
                for name, text in texts.items():
                    file.create_dataset(name, data=text, dtype=h5py.string_dtype())
                units = {"incident_energies_unit": "MeV", "showers_unit": "MeV"}
                for key, value in {**units, "particle": self._geometry.particle, **(attributes or {})}.items():
                    file.attrs[key] = value
            self._disk.check()
        finally:
            self._disk.close()

    def discard(self) -> None:
        """Let go of the file, whatever state it is in."""
        try:
            self._file.close()
        finally:
            self._disk.close()

    def _make(self) -> None:
        shapes: Columns = {
            "incident_energies": ((1,), "f8"),
            "showers": ((self._geometry.n_voxels,), "f8"),
            "pdg_id": ((), "i8"),
            "direction": ((3,), "f8"),
            **self._columns,
        }
        for name, (shape, dtype) in shapes.items():
            rows = max(1, CHUNK_BYTES // (8 * max(1, int(np.prod(shape)))))
            self._file.create_dataset(
                name, (0, *shape), dtype, maxshape=(None, *shape), chunks=(rows, *shape), **COMPRESSION
            )

    def _append(self, batch: ShowerBatch, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        if set(columns) != set(self._columns):
            raise ValueError(f"columns {sorted(columns)} are given; {sorted(self._columns)} are expected")
        values = {
            "incident_energies": batch.incident_energy[:, None],
            "showers": batch.voxels,
            "pdg_id": batch.pdg_id,
            "direction": batch.direction,
            **columns,
        }
        for name, rows in values.items():
            self._file[name].resize(self.written + len(batch), axis=0)
            self._file[name][self.written :] = rows


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
        writer: ShowerWriter | None = None
        try:
            for batch in batches:
                if not len(batch):
                    continue
                if writer is None:
                    writer = ShowerWriter(path, temporary, batch.geometry)
                writer.write(batch)
        except BaseException:
            if writer is not None:
                writer.discard()
            raise
        if writer is None:
            raise OutputError(f"{path}: there are no showers to write")
        writer.close(provenance=provenance, attributes=attributes)
        return writer.written


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
