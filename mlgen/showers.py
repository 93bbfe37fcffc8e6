"""`ShowerBatch` and `Geometry`: calorimeter showers as columns."""

from __future__ import annotations

import dataclasses
import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mlgen.errors import InputError

FloatArray = npt.NDArray[np.float64]

#: Deposited over incident energy, beyond which the units must be wrong: a shower cannot deposit much more than it
#: brings (noise and rest masses are allowed for), and the thinnest active layers still see more than half a percent.
#: GeV in place of MeV is a factor of 1000 either way.
DEPOSITED_SHARE = (1 / 200, 10.0)
#: Names of incident particles, as binning files and programs write them.
PDG_IDS: Mapping[str, int] = {
    "photon": 22,
    "gamma": 22,
    "electron": 11,
    "e-": 11,
    "positron": -11,
    "e+": -11,
    "eplus": -11,
    "pion": 211,
    "pi+": 211,
    "piplus": 211,
    "pi-": -211,
}


@dataclass(frozen=True, slots=True)
class PolarLayer:
    """One layer of a calorimeter whose voxels are bins in radius and angle around the shower axis.

    Voxels are ordered as in the CaloChallenge: the radial bins of the first angular slice, then those of the next.
    The slices divide -pi to pi evenly.

    Args:
        layer_id: Number of the layer.
        radial_edges: Edges of the bins in radius, mm, ascending.
        n_angular: Number of angular slices.
        depth: Where the layer begins and ends along the axis, mm; None when it is not known.

    Raises:
        ValueError: The edges are not ascending radii, or there is no slice.
    """

    layer_id: int
    radial_edges: tuple[float, ...]
    n_angular: int
    depth: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _check_edges(self.radial_edges, "radial edges")
        if self.radial_edges[0] < 0 or self.n_angular < 1:
            raise ValueError("a polar layer needs radii from 0 on and at least one angular slice")

    @property
    def n_voxels(self) -> int:
        """Number of voxels in the layer."""
        return (len(self.radial_edges) - 1) * self.n_angular

    @property
    def radii(self) -> FloatArray:
        """Middle of each voxel in radius, ``(n_voxels,)``, mm."""
        return np.tile(_middles(self.radial_edges), self.n_angular)

    @property
    def centres(self) -> FloatArray:
        """Centre ``(x, y)`` of each voxel, ``(n_voxels, 2)``, mm.

        That is the middle in radius and in angle; where a layer has one slice, every voxel is a disc or ring around
        the axis, whose centre is the axis.
        """
        if self.n_angular == 1:
            return np.zeros((self.n_voxels, 2))
        angles = _middles(np.linspace(-math.pi, math.pi, self.n_angular + 1))
        directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return np.repeat(directions, len(self.radial_edges) - 1, axis=0) * self.radii[:, None]


@dataclass(frozen=True, slots=True)
class RectangularLayer:
    """One layer of a calorimeter whose voxels are rectangles in a plane across the shower axis.

    Voxels are ordered by x, then y: an image of shape ``(x bins, y bins)``, flattened.

    Args:
        layer_id: Number of the layer.
        x_edges: Edges of the bins in x, mm, ascending.
        y_edges: Edges of the bins in y, mm, ascending.
        depth: Where the layer begins and ends along the axis, mm; None when it is not known.

    Raises:
        ValueError: The edges are not ascending.
    """

    layer_id: int
    x_edges: tuple[float, ...]
    y_edges: tuple[float, ...]
    depth: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _check_edges(self.x_edges, "x edges")
        _check_edges(self.y_edges, "y edges")

    @property
    def shape(self) -> tuple[int, int]:
        """Number of bins in x and in y."""
        return len(self.x_edges) - 1, len(self.y_edges) - 1

    @property
    def n_voxels(self) -> int:
        """Number of voxels in the layer."""
        return self.shape[0] * self.shape[1]

    @property
    def radii(self) -> FloatArray:
        """Distance of each voxel's centre from the axis, ``(n_voxels,)``, mm."""
        x, y = self.centres.T
        return np.asarray(np.hypot(x, y), np.float64)

    @property
    def centres(self) -> FloatArray:
        """Centre ``(x, y)`` of each voxel, ``(n_voxels, 2)``, mm."""
        x, y = np.meshgrid(_middles(self.x_edges), _middles(self.y_edges), indexing="ij")
        return np.stack([x.ravel(), y.ravel()], axis=1)


Layer = PolarLayer | RectangularLayer
_SHAPES: Mapping[str, type[Layer]] = {"polar": PolarLayer, "rectangular": RectangularLayer}


@dataclass(frozen=True, slots=True)
class Geometry:
    """Voxels of a calorimeter for one kind of incident particle.

    The x and y axes lie across the shower axis (the CaloChallenge's eta and phi directions). Layers that hold no voxel
    are left out; voxels are ordered by layer, and in a layer as the layer says.

    Args:
        particle: The incident particle (``photon``, ``electron``, ``pion``, ``e+``, ...); empty when it is not known.
        layers: The layers, in the order of their depth.
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

    @property
    def centres(self) -> FloatArray:
        """Centre ``(x, y)`` of each voxel in its layer, ``(n_voxels, 2)``, mm."""
        return np.concatenate([np.empty((0, 2)), *(layer.centres for layer in self.layers)])

    @property
    def pdg_id(self) -> int:
        """PDG id of `particle`; 0 when it is not known."""
        return PDG_IDS.get(self.particle, 0)

    @classmethod
    def from_xml(cls, path: Path, particle: str) -> Self:
        """Read the binning of one particle (``photon``, ``electron``, ``pion``) from a CaloChallenge binning file.

        Raises:
            InputError: The file is no binning XML, or does not know the particle.

        References:
            arXiv:2410.21611.
        """
        geometries = cls.all_from_xml(path)
        if particle not in geometries:
            known = ", ".join(sorted(geometries)) or "nothing"
            raise InputError(str(path), f"no binning for '{particle}'; there is one for: {known}")
        return geometries[particle]

    @classmethod
    def all_from_xml(cls, path: Path) -> dict[str, Self]:
        """Read the binnings of all particles, by the name of the particle.

        Raises:
            InputError: The file is no binning XML.
        """
        try:
            root = ElementTree.parse(path).getroot()
            return {
                entry.get("name", ""): cls(
                    entry.get("name", ""),
                    tuple(layer for element in entry.iter("Layer") if (layer := _layer_from_xml(element))),
                )
                for entry in root.iter("Bin")
            }
        except (OSError, ElementTree.ParseError, ValueError) as error:
            raise InputError(str(path), f"not a CaloChallenge binning file: {error}") from error

    @classmethod
    def calogan(cls, particle: str = "electron") -> Self:
        """The calorimeter of the CaloGAN: 3 x 96, 12 x 12 and 12 x 6 cells in a square of 480 mm x 480 mm.

        Images of shape ``(3, 96)`` are read as ``(x, y)``; the CaloGAN calls their first axis phi, their second eta.

        References:
            Paganini, de Oliveira, Nachman, Phys. Rev. D 97, 014021 (2018), arXiv:1705.02355, sec. 3.
        """
        layers = [
            RectangularLayer(
                layer_id,
                tuple(np.linspace(-240.0, 240.0, n_x + 1).tolist()),
                tuple(np.linspace(-240.0, 240.0, n_y + 1).tolist()),
                depth,
            )
            for layer_id, (n_x, n_y, depth) in enumerate(
                [(3, 96, (0.0, 90.0)), (12, 12, (90.0, 437.0)), (12, 6, (437.0, 480.0))]
            )
        ]
        return cls(particle, tuple(layers))

    def to_json(self) -> str:
        """Write as JSON, from which `from_json` makes an equal geometry."""
        names = {kind: name for name, kind in _SHAPES.items()}
        layers = [{"shape": names[type(layer)], **dataclasses.asdict(layer)} for layer in self.layers]
        return json.dumps({"particle": self.particle, "layers": layers})

    @classmethod
    def from_json(cls, text: str, source: str = "geometry") -> Self:
        """Read what `to_json` wrote.

        Args:
            text: The JSON.
            source: What it is from, for messages.

        Raises:
            InputError: It is something else.
        """
        try:
            values = json.loads(text)
            return cls(str(values["particle"]), tuple(_layer_from_json(entry) for entry in values["layers"]))
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(source, f"not a geometry of mlgen: {type(error).__name__}: {error}") from error


def _middles(edges: tuple[float, ...] | FloatArray) -> FloatArray:
    values = np.asarray(edges, np.float64)
    return 0.5 * (values[1:] + values[:-1])


def _check_edges(edges: tuple[float, ...], what: str) -> None:
    if len(edges) < 2 or not np.all(np.isfinite(edges)) or not np.all(np.diff(edges) > 0):
        raise ValueError(f"{what} must ascend and be at least two; they are {edges}")


def _layer_from_xml(entry: ElementTree.Element) -> PolarLayer | None:
    """One layer; None where it has no voxel, which the binning files write as a single edge or none."""
    edges = tuple(float(edge) for edge in entry.get("r_edges", "").split(",") if edge)
    if len(edges) < 2:
        return None
    return PolarLayer(int(entry.get("id", 0)), edges, int(entry.get("n_bin_alpha", 1)))


def _layer_from_json(entry: Mapping[str, Any]) -> Layer:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    shape = values.pop("shape")
    return _SHAPES[shape](**values)


@dataclass(frozen=True, slots=True)
class ShowerBatch:
    """A batch of n showers.

    Args:
        incident_energy: Shape ``(n,)``, MeV.
        pdg_id: Shape ``(n,)``; 0 when the particle is not known.
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

    def __getitem__(self, selection: slice | npt.NDArray[Any]) -> Self:
        """Some of the showers."""
        return type(self)(
            incident_energy=self.incident_energy[selection],
            pdg_id=self.pdg_id[selection],
            direction=self.direction[selection],
            voxels=self.voxels[selection],
            geometry=self.geometry,
        )
