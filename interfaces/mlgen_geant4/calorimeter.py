"""The calorimeter on paper: slabs of material, and the voxels in them. Nothing here needs Geant4."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlgen.errors import DetectorError
from mlgen.showers import Geometry, Layer, PolarLayer
from mlgen_geant4.settings import Geant4Settings

#: Width of the calorimeter where nothing needs more, mm.
WIDTH = 1000.0
#: Depths are compared with this tolerance, mm; slabs are not thinner.
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Slab:
    """A plate of one material within one layer of voxels.

    Args:
        active: Whether it is of the active material.
        section: Number of the layer of voxels, None outside all of them.
        begin: Depth of its front, mm.
        end: Depth of its back, mm.
    """

    active: bool
    section: int | None
    begin: float
    end: float

    @property
    def thickness(self) -> float:
        """Thickness in mm, rounded to a picometre, so that equal slabs are equal."""
        return round(self.end - self.begin, 9)


@dataclass(frozen=True, slots=True)
class Calorimeter:
    """A calorimeter of slabs, one behind the other.

    Args:
        geometry: The voxels, with the depth of each layer.
        slabs: From front to back.
        width: In x and y, mm.
    """

    geometry: Geometry
    slabs: tuple[Slab, ...]
    width: float

    @property
    def depth(self) -> float:
        """Depth, mm."""
        return self.slabs[-1].end


def calorimeter_of(settings: Geant4Settings, geometry: Geometry | None = None) -> Calorimeter:
    """Divide a calorimeter into slabs that each lie in one layer of voxels.

    Args:
        settings: What it is made of.
        geometry: The voxels; those of the CaloGAN when None.

    Raises:
        DetectorError: The voxels do not fit into it, or cells are not of one width.
    """
    depth = settings.layers * (settings.absorber_thickness + settings.active_thickness)
    voxels = geometry or Geometry.calogan("")
    if not voxels.layers:
        raise DetectorError("the geometry has no voxels")
    depths = _section_depths(settings, voxels, depth, scaled=geometry is None)
    layers = tuple(dataclasses.replace(layer, depth=at) for layer, at in zip(voxels.layers, depths, strict=True))
    reach = max(_reach(layer) for layer in layers)
    width = settings.width or max(WIDTH, 2 * reach)
    if 2 * reach > width + TOLERANCE:
        raise DetectorError(
            f"the voxels reach {reach:g} mm from the axis, but the calorimeter ends at {width / 2:g} mm; "
            f"set width to {2 * reach:g} mm at least, or leave it out"
        )
    return Calorimeter(Geometry(voxels.particle, layers), tuple(_slabs(settings, depths)), width)


def _section_depths(
    settings: Geant4Settings, voxels: Geometry, depth: float, *, scaled: bool
) -> list[tuple[float, float]]:
    n = len(voxels.layers)
    known = [layer.depth for layer in voxels.layers if layer.depth is not None]
    if settings.section_ends is not None:
        if len(settings.section_ends) != n:
            raise DetectorError(
                f"section_ends has {len(settings.section_ends)} depths, but there are {n} layers of voxels; "
                "give the depth at which each of them ends"
            )
        depths = _between([0.0, *settings.section_ends])
    elif scaled:
        # As a fraction of the depth; exact where the depth is the CaloGAN's.
        own = known[-1][1]
        depths = [(begin * depth / own, end * depth / own) for begin, end in known]
    elif len(known) == n:
        depths = known
    elif settings.layers >= n:
        whole = np.round(np.linspace(0, settings.layers, n + 1)) * (depth / settings.layers)
        depths = _between(whole.tolist())
    else:
        depths = _between(np.linspace(0, depth, n + 1).tolist())
    before = 0.0
    for number, (begin, end) in enumerate(depths):
        if begin < before - TOLERANCE or end - begin < TOLERANCE:
            raise DetectorError(
                f"layer {number} of the voxels is at depths {begin:g} to {end:g} mm, but the one before it ends at "
                f"{before:g} mm; layers must be in the order of their depth"
            )
        before = end
    if before > depth + TOLERANCE:
        raise DetectorError(
            f"the voxels end at a depth of {before:g} mm, but the calorimeter, {settings.layers} x "
            f"({settings.absorber_thickness:g} + {settings.active_thickness:g}) mm, at {depth:g} mm; "
            "set section_ends, or more layers"
        )
    return depths


def _between(edges: Sequence[float]) -> list[tuple[float, float]]:
    return list(itertools.pairwise(edges))


def _reach(layer: Layer) -> float:
    """How far from the axis the voxels of a layer reach, in x or y, mm."""
    if isinstance(layer, PolarLayer):
        return layer.radial_edges[-1]
    for axis, edges in (("x", layer.x_edges), ("y", layer.y_edges)):
        widths = np.diff(edges)
        if np.ptp(widths) > TOLERANCE:
            raise DetectorError(
                f"layer {layer.layer_id}: the cells are {widths.min():g} to {widths.max():g} mm wide in {axis}; "
                "Geant4 is driven with cells of one width in each layer"
            )
    return max(map(abs, (layer.x_edges[0], layer.x_edges[-1], layer.y_edges[0], layer.y_edges[-1])))


def _slabs(settings: Geant4Settings, depths: Sequence[tuple[float, float]]) -> list[Slab]:
    cuts = sorted({edge for depth in depths for edge in depth})
    thicknesses = (settings.absorber_thickness, settings.active_thickness)
    slabs = []
    for layer in range(settings.layers):
        front = layer * sum(thicknesses)
        for active, begin, end in (
            (False, front, front + thicknesses[0]),
            (True, front + thicknesses[0], front + sum(thicknesses)),
        ):
            edges = [begin, *(cut for cut in cuts if begin + TOLERANCE < cut < end - TOLERANCE), end]
            for a, b in _between(edges):
                middle = 0.5 * (a + b)
                inside = [k for k, (first, last) in enumerate(depths) if first < middle < last]
                slabs.append(Slab(active, inside[0] if inside else None, a, b))
    return slabs
