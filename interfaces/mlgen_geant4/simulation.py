"""Geant4 as a simulation of a detector."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.detector_simulation import DetectorSimulation
from mlgen.errors import DetectorError, SimulationFailure
from mlgen.showers import Geometry, ShowerBatch
from mlgen.stages import FloatArray, IntArray
from mlgen_geant4.calorimeter import calorimeter_of
from mlgen_geant4.data_files import FOLDER_VARIABLE, missing_data
from mlgen_geant4.process import Geant4Process
from mlgen_geant4.settings import WITHOUT_DATA, Geant4Settings

#: The reference physics list where the settings leave it to the program.
DEFAULT_PHYSICS = "FTFP_BERT"
ELECTROMAGNETIC = (11, -11, 22)
HADRONS = (211, -211)


class Geant4Simulation(DetectorSimulation):
    """Showers in a sampling calorimeter, simulated by Geant4 in a process that this object owns.

    The process is started when it is first needed, which takes a second, and ends with `close`.

    Args:
        settings: The calorimeter and its physics.
        geometry: The voxels; those of the CaloGAN when None. Polar layers, or rectangular ones of equal cells.

    Raises:
        DetectorError: geant4-pybind is not installed, the data files that the physics needs are missing, or the voxels
            do not fit into the calorimeter.

    References:
        Agostinelli et al., Nucl. Instrum. Meth. A 506, 250 (2003); Allison et al., ibid. 835, 186 (2016).
    """

    settings: Geant4Settings

    def __init__(self, settings: Geant4Settings, geometry: Geometry | None = None) -> None:
        super().__init__(settings, geometry)
        if importlib.util.find_spec("geant4_pybind") is None:
            raise DetectorError(
                "'geant4' needs the package geant4-pybind, which is not installed\n"
                "Install it: pip install 'mlgen-hep[geant4]'"
            )
        self._asked_geometry = geometry
        self._calorimeter = calorimeter_of(settings, geometry)
        self._process: Geant4Process | None = None
        self._closed = False
        self.physics, self._missing = _physics(settings.physics)
        if self.physics == WITHOUT_DATA and not sys.platform.startswith("linux"):
            raise DetectorError(
                f"physics '{WITHOUT_DATA}' works with the wheels of geant4-pybind for Linux only; install Geant4's "
                f'data files, set {FOLDER_VARIABLE} to their folder, and choose physics = "{DEFAULT_PHYSICS}"'
            )

    @property
    def geometry(self) -> Geometry:
        """The voxels, with the depth of each layer."""
        return self._calorimeter.geometry

    @property
    def particles(self) -> tuple[int, ...]:
        """PDG ids of electron, positron and photon; of charged pions too where the physics has hadrons."""
        return ELECTROMAGNETIC if self.physics == WITHOUT_DATA else (*ELECTROMAGNETIC, *HADRONS)

    def check_particle(self, pdg_id: int) -> None:
        """Check that it can simulate a particle.

        Raises:
            DetectorError: It cannot; says what is missing.
        """
        if pdg_id in self.particles:
            return
        known = "e- (11), e+ (-11) and photons (22)"
        if pdg_id not in HADRONS:
            raise DetectorError(
                f"'geant4' is driven with {known}, and with pi+ (211) and pi- (-211) where Geant4's data files are; "
                f"not with the particle {pdg_id}"
            )
        reason = f"Geant4's data files are not here ({', '.join(self._missing)})"
        raise DetectorError(
            f"physics '{WITHOUT_DATA}' has {known} only, and no hadrons"
            + (f"; {reason}\n{_HOW}" if self._missing else f'; choose physics = "{DEFAULT_PHYSICS}"')
        )

    @property
    def description(self) -> Mapping[str, str | int | float]:
        """Versions of Geant4 and geant4-pybind, physics as it is, production cut, calorimeter and its materials."""
        return self._running().description

    def simulate(
        self,
        pdg_id: IntArray,
        incident_energy: FloatArray,
        direction: FloatArray,
        seeds: npt.NDArray[Any],
    ) -> ShowerBatch:
        """Simulate showers, as `mlgen.detector_simulation.DetectorSimulation.simulate` says.

        Raises:
            DetectorError: A particle is not known, an energy is not above zero, or a direction is no unit vector that
                goes into the calorimeter.
            SimulationFailure: Geant4 stopped; says in which shower, and what it printed last.
        """
        pdg_id, seeds = np.asarray(pdg_id), np.asarray(seeds)
        energy, direction = np.asarray(incident_energy, np.float64), np.asarray(direction, np.float64)
        for particle in np.unique(pdg_id).tolist():
            self.check_particle(particle)
        if not np.all((energy > 0) & (energy < np.inf)):
            raise DetectorError("incident energies must be finite and above zero")
        if not np.all((np.abs((direction**2).sum(axis=1) - 1) < 1e-6) & (direction[:, 2] > 0)):
            raise DetectorError("directions must be unit vectors with z above zero, into the calorimeter")
        process = self._running()
        voxels = np.empty((len(energy), self.geometry.n_voxels))
        for shower in range(len(energy)):
            try:
                voxels[shower] = process.shower(
                    int(pdg_id[shower]), float(energy[shower]), direction[shower].tolist(), int(seeds[shower])
                )
            except SimulationFailure as error:
                self._stop()
                raise SimulationFailure(error.problem, shower=shower) from error
        return ShowerBatch(energy, pdg_id, direction, voxels, self.geometry)

    def close(self) -> None:
        """End the process."""
        self._closed = True
        self._stop()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.close()

    def _running(self) -> Geant4Process:
        if self._closed:
            raise SimulationFailure("the simulation was closed")
        if self._process is None:
            geometry = self._asked_geometry
            setup = {
                "settings": self.settings.model_dump(mode="json"),
                "geometry": geometry.to_json() if geometry is not None else None,
                "physics": self.physics,
            }
            process = Geant4Process(setup, needs_data=self.physics != WITHOUT_DATA)
            if self._closed:
                # By another thread, while it was started.
                process.close()
                raise SimulationFailure("the simulation was closed")
            self._process = process
        return self._process


_HOW = (
    f"Install them, and set {FOLDER_VARIABLE} to their folder, or G4LEDATA, G4LEVELGAMMADATA and so on to theirs: "
    "https://geant4.web.cern.ch/download"
)


def _physics(asked: str) -> tuple[str, list[str]]:
    """Choose the physics; returns its name, and the data sets that a physics list with hadrons lacks.

    Raises:
        DetectorError: A physics list was asked for whose data are not here.
    """
    reference = DEFAULT_PHYSICS if asked in ("auto", WITHOUT_DATA) else asked
    missing = missing_data(reference)
    if asked == WITHOUT_DATA or (asked == "auto" and missing):
        return WITHOUT_DATA, missing
    if missing:
        raise DetectorError(
            f"the physics list {reference} needs Geant4's data files; not here: {', '.join(missing)}\n{_HOW}\n"
            f'Electrons, positrons and photons can do without: physics = "{WITHOUT_DATA}"'
        )
    return reference, []
