"""The data sets that files of showers have; the layouts are described in `mlgen.formats.shower_files`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlgen.errors import InputError


@dataclass(frozen=True, slots=True)
class ShowerLayout:
    """Names and units of a file's data sets.

    Args:
        name: Short name: ``calochallenge`` or ``calogan``.
        title: What the layout is called in messages.
        energy: Data set of the incident energies.
        energy_unit: Their unit, ``MeV`` or ``GeV``.
        voxels: Data sets of the deposited energies, in MeV.
        dimensions: Number of dimensions of each of these.
    """

    name: str
    title: str
    energy: str
    energy_unit: str
    voxels: tuple[str, ...]
    dimensions: int

    @property
    def to_mev(self) -> float:
        """What the incident energies are to be multiplied by."""
        return {"MeV": 1.0, "GeV": 1000.0}[self.energy_unit]


def layout_of(file: Any) -> ShowerLayout | None:
    """Find the layout whose data sets an HDF5 file has, or has some of; None where it holds something else."""
    if "events" in file and "particles" in file:
        return None
    if "showers" in file or "incident_energies" in file:
        return ShowerLayout("calochallenge", "CaloChallenge HDF5", "incident_energies", "MeV", ("showers",), 2)
    if "layer_0" in file:
        last = max(int(name[6:]) for name in file if name.startswith("layer_") and name[6:].isdigit())
        # All up to the last are needed, so that one that is missing is missed.
        names = tuple(f"layer_{i}" for i in range(last + 1))
        return ShowerLayout("calogan", "CaloGAN HDF5", "energy", "GeV", names, 3)
    return None


def checked_layout(source: str, file: Any) -> ShowerLayout:
    """Find the layout of an HDF5 file, and check that its data sets are there and fit together.

    Args:
        source: The file's name, for messages.
        file: The open file.

    Raises:
        InputError: It holds no showers, a data set is missing, or has another shape or length than the others ask for.
    """
    found = layout_of(file)
    if found is None:
        names = ", ".join(list(file)[:20]) or "nothing"
        raise InputError(
            source,
            f"is no file of showers: it holds {names}; expected are 'incident_energies' and 'showers' "
            "(CaloChallenge), or 'energy' and 'layer_0', 'layer_1', ... (CaloGAN)",
        )
    expected = {found.energy: 2, **dict.fromkeys(found.voxels, found.dimensions)}
    for name in expected:
        if name not in file:
            present = ", ".join(list(file)[:20])
            raise InputError(source, f"has no data set '{name}', which {found.title} needs; it has {present}")
    expected |= {name: number for name, number in (("pdg_id", 1), ("direction", 2)) if name in file}
    for name, dimensions in expected.items():
        dataset = file[name]
        if not hasattr(dataset, "shape") or dataset.dtype.kind not in "fiu":
            raise InputError(source, f"'{name}' is no data set of numbers")
        columns = {found.energy: 1, "direction": 3}.get(name)
        one_column = name == found.energy and dataset.ndim == 1
        if not one_column and (dataset.ndim != dimensions or columns not in (None, dataset.shape[-1])):
            wanted = f"(showers, {columns})" if columns else f"{dimensions} dimensions, the first the showers,"
            raise InputError(source, f"'{name}' has the shape {dataset.shape}; {wanted} is expected")
        if len(dataset) != len(file[found.energy]):
            raise InputError(
                source,
                f"'{name}' has {len(dataset):,} showers, but '{found.energy}' has {len(file[found.energy]):,}",
            )
    if not len(file[found.energy]):
        raise InputError(source, f"holds no showers: '{found.energy}' is empty")
    return found
