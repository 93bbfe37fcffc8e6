"""What a simulation of a detector is to mlgen: showers of single particles, one by one, from seeds.

`mlgen simulate-showers` drives it; a package offers one through the hook ``mlgen_detector_simulations``
(`mlgen.hookspecs`), which has a complete example.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy.typing as npt

from mlgen.errors import DetectorError
from mlgen.stages import FloatArray, IntArray, Settings

if TYPE_CHECKING:
    from mlgen.showers import Geometry, ShowerBatch


class DetectorSimulation(abc.ABC):
    """The showers of single particles in a calorimeter, as a program of the chain simulates them.

    Several are made, and used in threads at the same time, when several cores are to work: what is slow should leave
    Python's lock alone, or work in a process of its own. A simulation is closed when it is not needed any more.

    Args:
        settings: Of the tool, checked.
        geometry: The voxels to score into; None for those of the simulation itself. Layers whose depth is not known
            (a CaloChallenge binning does not say it) get one from the simulation.

    Raises:
        DetectorError: It cannot do what the settings ask for, or not with such voxels.
    """

    def __init__(self, settings: Settings, geometry: Geometry | None = None) -> None:
        self.settings = settings

    @property
    @abc.abstractmethod
    def geometry(self) -> Geometry:
        """What the voxels of its showers are, with the depth of each layer; the particle is nobody's affair here."""

    @property
    @abc.abstractmethod
    def particles(self) -> tuple[int, ...]:
        """PDG ids of the particles that it can simulate, as it is here and now."""

    def check_particle(self, pdg_id: int) -> None:
        """Check that it can simulate a particle, before any work.

        Raises:
            DetectorError: It cannot; says which it can, or what is missing.
        """
        if pdg_id not in self.particles:
            known = ", ".join(map(str, self.particles))
            raise DetectorError(f"the simulation does not know the particle {pdg_id}; it knows the PDG ids {known}")

    @property
    @abc.abstractmethod
    def description(self) -> Mapping[str, str | int | float]:
        """All that a reader of its showers has to know: program and version, physics, materials, cuts.

        It goes into the attributes of the output, and has to be the same for the same showers: no times, no paths.
        """

    @abc.abstractmethod
    def simulate(
        self,
        pdg_id: IntArray,
        incident_energy: FloatArray,
        direction: FloatArray,
        seeds: npt.NDArray[Any],
    ) -> ShowerBatch:
        """Simulate showers of particles that hit the middle of the calorimeter's front face.

        A shower is what its own seed makes of it: to the last bit the same whichever showers were simulated before,
        in whichever process, and in whichever batch it is.

        Args:
            pdg_id: Shape ``(n,)``; of `particles`.
            incident_energy: Kinetic energy of each, shape ``(n,)``, MeV.
            direction: Unit vectors, shape ``(n, 3)``; (0, 0, 1) is normal incidence.
            seeds: Shape ``(n,)``, whole numbers of 64 bits.

        Returns:
            The showers, deposits in MeV.

        Raises:
            DetectorError: It cannot simulate such particles.
            SimulationFailure: It failed on the way; with the number of the shower, where it is known.
        """

    def close(self) -> None:  # noqa: B027 - nothing to close is the usual case
        """Free what it holds. It may be in use by another thread, and fails there then."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
