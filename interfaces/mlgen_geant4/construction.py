"""Builds a calorimeter in Geant4. Runs in the process that has Geant4.

Voxels are volumes of their own: replicas in x and y, or rings with replicas in angle. Geant4's scorers add up the
deposits in each; no Python runs for a step, and a voxel's edges are exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mlgen.errors import DetectorError, nearest
from mlgen.showers import Layer, PolarLayer, RectangularLayer
from mlgen_geant4.calorimeter import Calorimeter
from mlgen_geant4.settings import Geant4Settings

#: Liquid argon as in the CaloGAN's calorimeter: Z, molar mass in g/mol and density in g/cm3. Geant4's own, G4_lAr, has
#: 1.396 g/cm3.
LIQUID_ARGON = ("liquid-argon", 18.0, 39.95, 1.390)
#: Vacuum around the calorimeter, mm: the particle begins in it.
MARGIN = 100.0


@dataclass(frozen=True, slots=True)
class Scorer:
    """How many voxels a scorer tells apart, by the copy numbers at which depth of the hierarchy.

    The scorer's index is ``first * n_second + second``, and so the place of the voxel in its layer.
    """

    n_first: int
    n_second: int
    depth_first: int
    depth_second: int
    #: A depth at which every copy number is 0.
    depth_zero: int


def scorer_of(layer: Layer) -> Scorer:
    """Return how a layer is scored: angle, then radius, or x, then y."""
    if isinstance(layer, RectangularLayer):
        return Scorer(*layer.shape, depth_first=1, depth_second=0, depth_zero=2)
    n_radial = len(layer.radial_edges) - 1
    if layer.n_angular == 1:
        return Scorer(1, n_radial, depth_first=1, depth_second=0, depth_zero=1)
    return Scorer(layer.n_angular, n_radial, depth_first=0, depth_second=1, depth_zero=2)


def material(name: str) -> Any:
    """Find or make a material.

    Raises:
        DetectorError: There is none of that name.
    """
    import geant4_pybind as g4

    manager = g4.G4NistManager.Instance()
    argon, atomic_number, molar_mass, density = LIQUID_ARGON
    if name == argon:
        found = g4.G4Material(name, atomic_number, molar_mass * g4.g / g4.mole, density * g4.g / g4.cm3)
    else:
        found = manager.FindOrBuildMaterial(name)
    if found is None:
        known = [argon, *map(str, manager.GetNistMaterialNames())]
        raise DetectorError(
            f"no material is called '{name}'{nearest(name, known)}; there are '{argon}' and the NIST materials of "
            "Geant4, such as G4_Pb, G4_W, G4_Fe, G4_Si, G4_PLASTIC_SC_VINYLTOLUENE"
        )
    return found


def detector(calorimeter: Calorimeter, settings: Geant4Settings) -> Any:
    """Make Geant4's description of a calorimeter; its scorers are called ``layer0/deposit``, ``layer1/deposit``, ...

    Raises:
        DetectorError: There is no material of that name.
    """
    import geant4_pybind as g4

    materials = {active: material(settings.active if active else settings.absorber) for active in (False, True)}
    vacuum = g4.G4NistManager.Instance().FindOrBuildMaterial("G4_Galactic")

    class Detector(g4.G4VUserDetectorConstruction):  # type: ignore[misc]  # geant4_pybind ships no types
        def __init__(self) -> None:
            super().__init__()
            self._volumes = _Volumes()
            self._voxels: dict[int, list[Any]] = {}
            self._scorers: list[Any] = []

        def Construct(self) -> Any:  # noqa: N802 - the name is Geant4's
            volumes = self._volumes
            half = (0.5 * calorimeter.width, 0.5 * calorimeter.width, 0.5 * calorimeter.depth)
            box = g4.G4Box("World", *(length + MARGIN for length in half))
            world = volumes.logical(box, vacuum)
            block = volumes.logical(g4.G4Box("Calorimeter", *half), vacuum)
            volumes.place(block, world)
            made: dict[tuple[bool, int | None, float], Any] = {}
            for slab in calorimeter.slabs:
                key = (slab.active, slab.section, slab.thickness)
                if key not in made:
                    box = g4.G4Box("Slab", half[0], half[1], 0.5 * slab.thickness)
                    made[key] = volumes.logical(box, materials[slab.active])
                    if slab.section is not None and (slab.active or settings.deposits == "all"):
                        voxels = volumes.voxels(calorimeter.geometry.layers[slab.section], made[key], slab.thickness)
                        self._voxels.setdefault(slab.section, []).extend(voxels)
                # All have copy number 0: a voxel goes through all slabs of its layer.
                volumes.place(made[key], block, z=0.5 * (slab.begin + slab.end) - half[2])
            return volumes.place(world, None)

        def ConstructSDandField(self) -> None:  # noqa: N802 - the name is Geant4's
            manager = g4.G4SDManager.GetSDMpointer()
            for section, voxels in self._voxels.items():
                how = scorer_of(calorimeter.geometry.layers[section])
                scorer = g4.G4PSEnergyDeposit3D(
                    "deposit",
                    how.n_first,
                    1,
                    how.n_second,
                    how.depth_first,
                    how.depth_zero,
                    how.depth_second,
                )
                sensitive = g4.G4MultiFunctionalDetector(f"layer{section}")
                sensitive.RegisterPrimitive(scorer)
                manager.AddNewDetector(sensitive)
                for voxel in voxels:
                    self.SetSensitiveDetector(voxel, sensitive)
                self._scorers += [sensitive, scorer]

    return Detector()


class _Volumes:
    """Makes volumes, and keeps what Geant4 only points to."""

    def __init__(self) -> None:
        self._kept: list[Any] = []

    def logical(self, solid: Any, of: Any) -> Any:
        import geant4_pybind as g4

        volume = g4.G4LogicalVolume(solid, of, solid.GetName())
        self._kept += [solid, volume]
        return volume

    def place(
        self, volume: Any, mother: Any, x: float = 0.0, y: float = 0.0, z: float = 0.0, copy: int = 0, turn: Any = None
    ) -> Any:
        import geant4_pybind as g4

        placed = g4.G4PVPlacement(turn, g4.G4ThreeVector(x, y, z), volume, volume.GetName(), mother, False, copy, False)
        self._kept += [placed, turn]
        return placed

    def replicate(self, volume: Any, mother: Any, axis: Any, n: int, width: float) -> None:
        import geant4_pybind as g4

        self._kept.append(g4.G4PVReplica(volume.GetName(), volume, mother, axis, n, width))

    def voxels(self, layer: Layer, slab: Any, thickness: float) -> list[Any]:
        """Make the voxels of a layer in a slab; returns the volumes in which deposits count."""
        if isinstance(layer, RectangularLayer):
            return self._cells(layer, slab, thickness)
        return self._rings(layer, slab, thickness)

    def _cells(self, layer: RectangularLayer, slab: Any, thickness: float) -> list[Any]:
        import geant4_pybind as g4

        (n_x, n_y), of, half = layer.shape, slab.GetMaterial(), 0.5 * thickness
        half_x, half_y = (0.5 * (edges[-1] - edges[0]) for edges in (layer.x_edges, layer.y_edges))
        square = self.logical(g4.G4Box("Voxels", half_x, half_y, half), of)
        row = self.logical(g4.G4Box("Row", half_x / n_x, half_y, half), of)
        cell = self.logical(g4.G4Box("Cell", half_x / n_x, half_y / n_y, half), of)
        x, y = (0.5 * (edges[-1] + edges[0]) for edges in (layer.x_edges, layer.y_edges))
        self.place(square, slab, x=x, y=y)
        self.replicate(row, square, g4.kXAxis, n_x, 2 * half_x / n_x)
        self.replicate(cell, row, g4.kYAxis, n_y, 2 * half_y / n_y)
        return [cell]

    def _rings(self, layer: PolarLayer, slab: Any, thickness: float) -> list[Any]:
        import geant4_pybind as g4

        of, half, voxels = slab.GetMaterial(), 0.5 * thickness, []
        angle = 2 * math.pi / layer.n_angular
        # A ring begins at its own angle 0, and is turned so that this is -pi, where the first slice begins.
        turn = g4.G4RotationMatrix()
        turn.rotateZ(math.pi)
        for number, (inner, outer) in enumerate(zip(layer.radial_edges[:-1], layer.radial_edges[1:], strict=True)):
            ring = self.logical(g4.G4Tubs("Ring", inner, outer, half, 0.0, 2 * math.pi), of)
            self.place(ring, slab, copy=number, turn=turn)
            voxel = ring
            if layer.n_angular > 1:
                voxel = self.logical(g4.G4Tubs("Segment", inner, outer, half, -0.5 * angle, angle), of)
                self.replicate(voxel, ring, g4.kPhi, layer.n_angular, angle)
            voxels.append(voxel)
        return voxels
