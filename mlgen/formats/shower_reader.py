"""One file of showers, read from the disk part by part."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlgen.errors import InputError
from mlgen.formats.columnar import explained
from mlgen.formats.shower_geometry import geometry_of
from mlgen.formats.shower_layout import checked_layout
from mlgen.formats.shower_writer import GEOMETRY, PROVENANCE
from mlgen.showers import DEPOSITED_SHARE, Geometry, ShowerBatch

#: A batch of showers has at most so many bytes of voxels, however many showers were asked for.
BATCH_BYTES = 1 << 26
#: The chunks of a data set that a batch reaches into are unpacked once, although the next batch begins inside them.
CACHE_BYTES = 1 << 26
#: Showers at the beginning of a file whose energies are looked at to see whether their units can be right.
UNIT_SHOWERS = 1000
_COPY_AGAIN = "Copy the file again."


class ShowerFile:
    """A file of showers. Iterating gives batches, in memory that does not grow with the file, and can be done again.

    The file is opened when it is first needed, and again after `close`.

    Attributes:
        path: The file.
        n_showers: Number of showers.
        geometry: What the voxels are.
        layout: Its data sets.
        attributes: Attributes of the file.
        provenance: Records of every run of mlgen that the showers went through, oldest first.

    Args:
        path: The file.
        geometry: What the voxels are, as the user says: a binning XML or JSON.
        particle: The incident particle, as the user says.
        batch_size: Showers in a batch, at most.

    Raises:
        InputError: As `mlgen.formats.shower_files.open_showers`.
    """

    def __init__(self, path: Path, *, geometry: Path | None, particle: str | None, batch_size: int) -> None:
        import h5py

        self.path, self._source = path, str(path)
        self._opened: Any = None
        if not path.is_file():
            problem = "is a directory; a file of showers is expected" if path.is_dir() else "there is no such file"
            raise InputError(self._source, problem)
        if not h5py.is_hdf5(path):
            raise InputError(self._source, "is no HDF5 file; showers are read from HDF5")
        try:
            file = self._file
            with explained(self._source, "cannot be read", advice=_COPY_AGAIN):
                self.layout = checked_layout(self._source, file)
                self.n_showers = len(file[self.layout.energy])
                self.attributes = {name: _plain(value) for name, value in file.attrs.items()}
                self.provenance = self._provenance()
                self.geometry = geometry_of(
                    self._source,
                    [file[name].shape[1:] for name in self.layout.voxels],
                    carried=self._carried_geometry(),
                    path=geometry,
                    particle=particle or self.attributes.get("particle"),
                )
            bytes_each = 8 * self.geometry.n_voxels
            self._batch_size = max(1, min(batch_size, BATCH_BYTES // bytes_each))
            self._check_units()
        except BaseException:
            self.close()
            raise

    @property
    def _file(self) -> Any:
        import h5py

        if self._opened is None:
            with explained(self._source, "cannot be opened as an HDF5 file", advice=_COPY_AGAIN):
                self._opened = h5py.File(self.path, "r", rdcc_nbytes=CACHE_BYTES, rdcc_nslots=10007)
        return self._opened

    def __iter__(self) -> Iterator[ShowerBatch]:
        return self.first(self.n_showers)

    def first(self, n: int) -> Iterator[ShowerBatch]:
        """The first showers, in batches."""
        end = min(n, self.n_showers)
        for start in range(0, end, self._batch_size):
            yield self._read(start, min(start + self._batch_size, end))

    def close(self) -> None:
        """Close the file, and free its cache."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _carried_geometry(self) -> Geometry | None:
        if GEOMETRY not in self._file:
            return None
        return Geometry.from_json(self._file[GEOMETRY].asstr()[()], f"{self._source}: {GEOMETRY}")

    def _provenance(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(json.loads(self._file[PROVENANCE].asstr()[()])) if PROVENANCE in self._file else ()

    def _read(self, start: int, stop: int) -> ShowerBatch:
        n = stop - start
        voxels = np.empty((n, self.geometry.n_voxels))
        doing = f"showers {start + 1:,} to {stop:,} cannot be read"
        with explained(self._source, doing, advice=_COPY_AGAIN):
            energy = self._file[self.layout.energy][start:stop].reshape(n).astype(np.float64) * self.layout.to_mev
            place = 0
            for name in self.layout.voxels:
                values = self._file[name][start:stop].reshape(n, -1)
                voxels[:, place : place + values.shape[1]] = values
                place += values.shape[1]
            known = "pdg_id" in self._file
            pdg_id = self._file["pdg_id"][start:stop] if known else np.full(n, self.geometry.pdg_id)
            direction = np.tile([0.0, 0.0, 1.0], (n, 1))
            if "direction" in self._file:
                direction[:] = self._file["direction"][start:stop]
        # Written so that NaN fails too.
        if not (voxels.min() >= 0 and voxels.max() < np.inf and energy.min() > 0 and energy.max() < np.inf):
            raise self._bad_values(start)
        return ShowerBatch(energy, pdg_id, direction, voxels, self.geometry)

    def _bad_values(self, first: int) -> InputError:
        """Say how many values of the file are bad; the showers before `first` are known to be good."""
        for name in (self.layout.energy, *self.layout.voxels):
            what = "incident energies" if name == self.layout.energy else "voxel energies"
            counts = {"NaN": 0, "infinite": 0, "negative": 0, "zero": 0}
            showers, earliest = 0, 0
            for start in range(first, self.n_showers, self._batch_size):
                stop = min(start + self._batch_size, self.n_showers)
                with explained(self._source, f"showers {start + 1:,} to {stop:,} cannot be read", advice=_COPY_AGAIN):
                    values = self._file[name][start:stop].reshape(stop - start, -1).astype(np.float64)
                bad = {"NaN": np.isnan(values), "infinite": np.isposinf(values), "negative": values < 0}
                if name == self.layout.energy:
                    bad["zero"] = values == 0
                for kind, where in bad.items():
                    counts[kind] += int(where.sum())
                hit = np.flatnonzero(np.any(list(bad.values()), axis=(0, 2)))
                earliest = earliest or (start + int(hit[0]) + 1 if len(hit) else 0)
                showers += len(hit)
            if showers:
                number = " and ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
                return InputError(
                    self._source,
                    f"'{name}' has {number} {what}, in {showers:,} of {self.n_showers:,} showers, first in shower "
                    f"{earliest:,}",
                    advice="Energies must be finite and not negative (incident ones above zero): mend the file, or "
                    "the program that made it.",
                )
        return InputError(self._source, "changed while it was being read")

    def _check_units(self) -> None:
        sample = self._read(0, min(self.n_showers, self._batch_size, UNIT_SHOWERS))
        share = sample.voxels.sum() / sample.incident_energy.sum()
        # Showers that deposit nothing say nothing of units.
        if share and not DEPOSITED_SHARE[0] <= share <= DEPOSITED_SHARE[1]:
            layout = self.layout
            voxels = " and ".join(f"'{name}'" for name in layout.voxels)
            raise InputError(
                self._source,
                f"the first {len(sample):,} showers deposit {share:.3g} times their incident energy: the units are "
                f"probably not those of {layout.title} ('{layout.energy}' in {layout.energy_unit}, {voxels} in MeV)",
                advice="mlgen does not guess units: convert the data set whose unit is another one.",
            )


def _plain(value: Any) -> Any:
    """An attribute as a plain type."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.tolist() if hasattr(value, "tolist") else value
