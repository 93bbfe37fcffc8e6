"""`ShowerBatch` and `Geometry`: calorimeter showers as columns."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mlgen.errors import InputError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a calorimeter: edges of its bins in radius (mm) and angle, ``n_radial * n_angular`` voxels."""

    layer_id: int
    radial_edges: tuple[float, ...]
    n_angular: int

    @property
    def n_voxels(self) -> int:
        """Number of voxels in the layer."""
        return (len(self.radial_edges) - 1) * self.n_angular


@dataclass(frozen=True, slots=True)
class Geometry:
    """Voxels of a calorimeter for one kind of particle, as in the CaloChallenge's binning XML (arXiv:2410.21611).

    Layers that hold no voxel are left out; voxels are ordered by layer, then radius, then angle.
    """

    particle: str
    layers: tuple[Layer, ...]

    @property
    def n_voxels(self) -> int:
        """Number of voxels in all layers."""
        return sum(layer.n_voxels for layer in self.layers)

    @property
    def layer_offsets(self) -> tuple[int, ...]:
        """First voxel of each layer, and the number of voxels at the end."""
        return tuple(int(i) for i in np.cumsum([0, *(layer.n_voxels for layer in self.layers)]))

    @classmethod
    def from_xml(cls, path: Path, particle: str) -> Self:
        """Read the binning of one particle (``photon``, ``electron``, ``pion``).

        Raises:
            InputError: The file is no binning XML, or does not know the particle.
        """
        try:
            root = ElementTree.parse(path).getroot()
        except (OSError, ElementTree.ParseError) as error:
            raise InputError(str(path), f"not a CaloChallenge binning file: {error}") from error
        bins = {entry.get("name", ""): entry for entry in root.iter("Bin")}
        if particle not in bins:
            raise InputError(
                str(path), f"no binning for '{particle}'; there is one for: {', '.join(sorted(bins)) or 'nothing'}"
            )
        layers = []
        try:
            for entry in bins[particle].iter("Layer"):
                edges = tuple(float(edge) for edge in entry.get("r_edges", "").split(",") if edge)
                if len(edges) > 1:
                    layers.append(Layer(int(entry.get("id", 0)), edges, int(entry.get("n_bin_alpha", 1))))
        except ValueError as error:
            raise InputError(str(path), f"not a CaloChallenge binning file: {error}") from error
        return cls(particle, tuple(layers))


@dataclass(frozen=True, slots=True)
class ShowerBatch:
    """A batch of n showers.

    Args:
        incident_energy: Shape ``(n,)``, MeV.
        pdg_id: Shape ``(n,)``.
        direction: Unit vectors, shape ``(n, 3)``.
        voxels: Deposited energies, shape ``(n, geometry.n_voxels)``, MeV.
        geometry: What the voxels are.
    """

    incident_energy: FloatArray
    pdg_id: npt.NDArray[np.integer[Any]]
    direction: FloatArray
    voxels: FloatArray
    geometry: Geometry

    def __len__(self) -> int:
        return len(self.incident_energy)
