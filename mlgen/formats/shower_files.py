"""Calorimeter showers in HDF5, read as a stream of batches; `mlgen.formats.shower_writer` writes them.

=====================  ===============================  ====================================================
layout                 data sets                        units
=====================  ===============================  ====================================================
CaloChallenge HDF5     ``incident_energies`` (n, 1)     MeV
                       ``showers`` (n, voxels)          MeV
CaloGAN HDF5           ``energy`` (n, 1)                GeV
                       ``layer_0``, ... (n, x, y)       MeV
                       ``overflow`` (n, layers)         MeV, beside the cells: not among the voxels, not read
=====================  ===============================  ====================================================

The CaloChallenge's files do not say what their voxels are: that is in a binning XML. A file that mlgen wrote says it
itself (``mlgen/geometry``), and may have ``pdg_id`` (n,), ``direction`` (n, 3) and ``mlgen/provenance``.

References:
    CaloChallenge: arXiv:2410.21611; CaloGAN: arXiv:1705.02355.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from mlgen.errors import InputError
from mlgen.event_format import BATCH_SIZE
from mlgen.formats.shower_layout import layout_of
from mlgen.formats.shower_reader import ShowerFile
from mlgen.formats.shower_writer import write_showers
from mlgen.showers import Geometry, ShowerBatch

__all__ = ["ShowerStream", "geometry_difference", "is_shower_file", "open_showers", "write_showers"]


def is_shower_file(path: str | Path) -> bool:
    """Tell whether a file holds showers, by the names of its data sets; events in HDF5 (LHEH5) and others do not.

    Files that cannot be opened count as others.
    """
    import h5py

    try:
        with Path(path).open("rb") as file:
            if file.read(8) != b"\x89HDF\r\n\x1a\n":
                return False
        with h5py.File(path, "r") as opened:
            return layout_of(opened) is not None
    except OSError:
        return False


def open_showers(
    *paths: str | Path, geometry: Path | None = None, particle: str | None = None, batch_size: int = BATCH_SIZE
) -> ShowerStream:
    """Open files of showers as one stream of batches, one file after the other.

    Args:
        paths: The files, of one layout and geometry; the CaloChallenge's data sets 2 and 3 come as several.
        geometry: What the voxels are: a CaloChallenge binning XML, or JSON that `Geometry.to_json` wrote. Not needed
            where the files say it.
        particle: The incident particle, and so the binning in the XML that is meant. Not needed where the files say it
            or the XML has only one.
        batch_size: Showers in a batch, at most; fewer where they have many voxels, so that a batch stays below 64 MiB,
            and at the end of a file.

    Raises:
        InputError: A file is missing, damaged, empty or no shower file, its data sets do not fit together or the
            geometry, its energies cannot be in MeV (CaloGAN: incident energies in GeV), or two files differ in layout
            or geometry.
    """
    return ShowerStream([Path(path) for path in paths], geometry=geometry, particle=particle, batch_size=batch_size)


class ShowerStream:
    """Files of showers. Iterating gives batches, in memory that does not grow with the files, and can be done again.

    Attributes:
        paths: The files.
        n_showers: Number of showers in all of them.
        geometry: What the voxels are.
        format: Name of the layout: ``calochallenge`` or ``calogan``.
        attributes: Attributes that all files have alike.
        provenance: Records of every run of mlgen that the showers went through, oldest first; of each file, one file
            after the other, those that came before left out.
    """

    def __init__(self, paths: Sequence[Path], *, geometry: Path | None, particle: str | None, batch_size: int) -> None:
        if batch_size < 1:
            raise ValueError(f"a batch of {batch_size} showers")
        if not paths:
            raise ValueError("no file of showers")
        self.paths = tuple(paths)
        self._files: list[ShowerFile] = []
        self._closed = False
        try:
            for path in paths:
                file = ShowerFile(path, geometry=geometry, particle=particle, batch_size=batch_size)
                self._files.append(file)
                if len(paths) > 1:
                    # Each open file has a cache; of several, only the one that is being read is open.
                    file.close()
                if file is not self._files[0]:
                    _check_alike(self._files[0], file)
        except BaseException:
            self.close()
            raise
        first = self._files[0]
        self.format, self.geometry = first.layout.name, first.geometry
        self.n_showers = sum(file.n_showers for file in self._files)
        self.attributes = {
            name: value
            for name, value in first.attributes.items()
            if all(name in file.attributes and file.attributes[name] == value for file in self._files)
        }
        records: list[Mapping[str, Any]] = []
        for file in self._files:
            records += [entry for entry in file.provenance if entry not in records]
        self.provenance = tuple(records)

    def __len__(self) -> int:
        return self.n_showers

    def __iter__(self) -> Iterator[ShowerBatch]:
        return self.first_of_each(self.n_showers)

    def first_of_each(self, n: int) -> Iterator[ShowerBatch]:
        """The first showers of each file, in batches."""
        if self._closed:
            raise ValueError(f"{self.paths[0]}: reading from a stream of showers that was closed")
        for file in self._files:
            try:
                yield from file.first(n)
            finally:
                if len(self._files) > 1:
                    file.close()

    def close(self) -> None:
        """Close the files."""
        self._closed = True
        for file in self._files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _check_alike(first: ShowerFile, other: ShowerFile) -> None:
    """Check that two files can be one sample.

    Raises:
        InputError: They differ; names both files and what differs.
    """
    if other.layout.name != first.layout.name:
        difference = f"it is {other.layout.title}, but {first.path} is {first.layout.title}"
    elif other.geometry != first.geometry:
        difference = geometry_difference(first.geometry, other.geometry, str(first.path))
    else:
        return
    raise InputError(
        str(other.path),
        f"cannot be read as one sample with {first.path}: {difference}",
        advice="Give only files of one layout and one calorimeter as one sample.",
    )


def geometry_difference(first: Geometry, other: Geometry, name: str) -> str:
    """Say in what two geometries differ; `name` is what `first` is of."""
    if other.particle != first.particle:
        return f"its showers are of '{other.particle}', those of {name} of '{first.particle}'"
    if other.n_voxels != first.n_voxels or len(other.layers) != len(first.layers):
        return (
            f"it has {other.n_voxels:,} voxels in {len(other.layers)} layers, {name} has {first.n_voxels:,} in "
            f"{len(first.layers)}"
        )
    layer = next(i for i, (a, b) in enumerate(zip(first.layers, other.layers, strict=True)) if a != b)
    return f"layer {layer} is {other.layers[layer]}, in {name} {first.layers[layer]}"
