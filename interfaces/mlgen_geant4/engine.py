"""Geant4, set up for one calorimeter. Runs in a process of its own, which it may take down."""

from __future__ import annotations

import importlib.metadata
import os
import re
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

from mlgen.errors import DetectorError
from mlgen.stages import FloatArray
from mlgen_geant4 import physics_without_data
from mlgen_geant4.calorimeter import Calorimeter
from mlgen_geant4.construction import LIQUID_ARGON, MARGIN, detector
from mlgen_geant4.settings import WITHOUT_DATA, Geant4Settings

#: Names of the particles in Geant4, by PDG id.
PARTICLES = {11: "e-", -11: "e+", 22: "gamma", 211: "pi+", -211: "pi-"}
#: How far before the front face a particle begins, mm, and on how long a way to it: at a grazing angle it would begin
#: outside the vacuum around the calorimeter, which Geant4 takes without a word.
_BEFORE, _LONGEST_WAY = 1.0, 0.5 * MARGIN
_QUIET = ("/run/verbose 0", "/process/em/verbose 0", "/process/verbose 0", "/process/had/verbose 0")

#: Of the table of production cuts that Geant4 prints: "Range cuts : gamma 700 um e- 700 um ...".
_RANGES = re.compile(r"Range cuts\s*:(.*)")
_RANGE = re.compile(r"\s([\d.e+-]+)\s+(nm|um|mm|cm|m)\b")
_IN_MM = {"nm": 1e-6, "um": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1e3}


def printed(function: Callable[[], object]) -> str:
    """Return what a C++ function prints on standard output."""
    before = os.dup(1)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 1)
            function()
            os.dup2(before, 1)
            file.seek(0)
            return file.read().decode(errors="replace")
    finally:
        os.dup2(before, 1)
        os.close(before)


def begin_of(direction: tuple[float, float, float]) -> tuple[float, float, float]:
    """Where a particle begins that is to hit the middle of the front face, from there, mm.

    Args:
        direction: Unit vector.
    """
    way = min(_BEFORE / direction[2], _LONGEST_WAY)
    x, y, z = (-way * component for component in direction)
    return x, y, z


class Engine:
    """Geant4 with a calorimeter in it; one in a process.

    Args:
        calorimeter: What is simulated.
        settings: Materials, cuts.
        physics: A reference physics list, or `mlgen_geant4.settings.WITHOUT_DATA`.

    Raises:
        DetectorError: A material or physics list is not known.
    """

    def __init__(self, calorimeter: Calorimeter, settings: Geant4Settings, physics: str) -> None:
        import geant4_pybind as g4

        self._g4, self._calorimeter, self._settings, self._physics = g4, calorimeter, settings, physics
        manager = g4.G4RunManagerFactory.CreateRunManager(g4.G4RunManagerType.SerialOnly)
        # Geant4 points to all of these as long as it runs.
        self._detector = detector(calorimeter, settings)
        manager.SetUserInitialization(self._detector)
        self._physics_list = self._make_physics()
        manager.SetUserInitialization(self._physics_list)
        commands = g4.G4UImanager.GetUIpointer()
        for command in _QUIET:
            commands.ApplyCommand(command)
        self._gun = g4.G4ParticleGun(1)
        self._deposits = np.zeros(calorimeter.geometry.n_voxels)
        self._actions = self._make_actions()
        manager.SetUserInitialization(self._actions)
        manager.Initialize()
        if physics != WITHOUT_DATA:
            commands.ApplyCommand(f"/run/setCut {settings.production_cut!r} mm")
        manager.BeamOn(0)
        self._check_cuts()
        self._manager = manager

    def shower(self, pdg_id: int, energy: float, direction: tuple[float, float, float], seed: int) -> FloatArray:
        """Simulate one shower.

        Args:
            pdg_id: The particle.
            energy: Kinetic energy, MeV.
            direction: Unit vector; it hits the middle of the front face.
            seed: Of 64 bits; all that the shower depends on beside the other arguments.

        Returns:
            Deposits in the voxels, MeV.
        """
        g4 = self._g4
        # Two seeds of 32 bits give streams that do not overlap; the list ends at its first zero.
        words = [(seed >> shift) % 0xFFFFFFFF + 1 for shift in (0, 32)]
        g4.G4Random.setTheSeeds([*words, 0], len(words))
        self._gun.SetParticleDefinition(g4.G4ParticleTable.GetParticleTable().FindParticle(PARTICLES[pdg_id]))
        self._gun.SetParticleEnergy(energy * g4.MeV)
        self._gun.SetParticleMomentumDirection(g4.G4ThreeVector(*direction))
        x, y, z = begin_of(direction)
        self._gun.SetParticlePosition(g4.G4ThreeVector(x, y, z - 0.5 * self._calorimeter.depth))
        self._deposits[:] = np.nan
        self._manager.BeamOn(1)
        if not np.all(np.isfinite(self._deposits)):
            raise RuntimeError("Geant4 did not finish the event")
        return self._deposits

    @property
    def description(self) -> dict[str, str | int | float]:
        """What `Geant4Simulation.description` gives."""
        settings, number = self._settings, int(self._g4.G4VERSION_NUMBER)
        physics = {"physics": self._physics}
        if self._physics == WITHOUT_DATA:
            models = physics_without_data
            physics |= {"physics_models": models.MODELS, "physics_leaves_out": models.LEFT_OUT}
        return {
            "geant4_version": f"{number // 100}.{number // 10 % 10}.{number % 10}",
            "geant4_pybind_version": importlib.metadata.version("geant4-pybind"),
            **physics,
            "production_cut_mm": settings.production_cut,
            "calorimeter": (
                f"{settings.layers} x ({settings.absorber_thickness:g} mm {self._material(settings.absorber)} + "
                f"{settings.active_thickness:g} mm {self._material(settings.active)}), {self._calorimeter.width:g} mm "
                f"x {self._calorimeter.width:g} mm x {self._calorimeter.depth:g} mm, in vacuum; particles hit the "
                "middle of the front face"
            ),
            "deposits": {
                "all": "in the absorbers and the active material",
                "active": "in the active material only",
            }[settings.deposits],
        }

    def _material(self, name: str) -> str:
        found = self._g4.G4Material.GetMaterial(name)
        density = found.GetDensity() / (self._g4.g / self._g4.cm3)
        return f"{'liquid argon' if name == LIQUID_ARGON[0] else name} ({density:.4g} g/cm3)"

    def _make_physics(self) -> Any:
        if self._physics == WITHOUT_DATA:
            return physics_without_data.physics_list(self._settings.production_cut)
        factory = self._g4.G4PhysListFactory()
        factory.SetVerbose(0)
        if not factory.IsReferencePhysList(self._physics):
            known = ", ".join(map(str, factory.AvailablePhysLists()))
            raise DetectorError(f"Geant4 has no reference physics list '{self._physics}'; it has {known}")
        found = factory.GetReferencePhysList(self._physics)
        found.SetVerboseLevel(0)
        return found

    def _check_cuts(self) -> None:
        """Check that the cut that is in force is the one that was asked for: the output says so.

        The binding has no other access to it than what Geant4 prints: the couples of material and cuts.
        """
        table = printed(self._g4.G4ProductionCutsTable.GetProductionCutsTable().DumpCouples)
        cuts = {float(cut) * _IN_MM[unit] for line in _RANGES.findall(table) for cut, unit in _RANGE.findall(line)}
        asked = self._settings.production_cut
        if not cuts or any(abs(cut - asked) > 1e-3 * asked for cut in cuts):
            found = " and ".join(f"{cut:g} mm" for cut in sorted(cuts)) or "not known"
            raise RuntimeError(f"the production cut in force is {found}, not {asked:g} mm")

    def _make_actions(self) -> Any:
        import geant4_pybind as g4

        engine = self

        class Primaries(g4.G4VUserPrimaryGeneratorAction):  # type: ignore[misc]  # geant4_pybind ships no types
            def GeneratePrimaries(self, event: Any) -> None:  # noqa: N802 - the name is Geant4's
                engine._gun.GeneratePrimaryVertex(event)

        class Events(g4.G4UserEventAction):  # type: ignore[misc]  # geant4_pybind ships no types
            def EndOfEventAction(self, event: Any) -> None:  # noqa: N802 - the name is Geant4's
                engine._collect(event)

        class Actions(g4.G4VUserActionInitialization):  # type: ignore[misc]  # geant4_pybind ships no types
            def Build(self) -> None:  # noqa: N802 - the name is Geant4's
                self._kept = (Primaries(), Events())
                for action in self._kept:
                    self.SetUserAction(action)

        return Actions()

    def _collect(self, event: Any) -> None:
        if event.IsAborted():
            return
        manager, offsets = self._g4.G4SDManager.GetSDMpointer(), self._calorimeter.geometry.layer_offsets
        self._deposits[:] = 0.0
        for layer, offset in enumerate(offsets[:-1]):
            number = manager.GetCollectionID(f"layer{layer}/deposit")
            # Below 0 where a layer lies in no slab that is scored.
            for voxel, energy in event.GetHCofThisEvent().GetHC(number) if number >= 0 else ():
                self._deposits[offset + voxel] = energy
