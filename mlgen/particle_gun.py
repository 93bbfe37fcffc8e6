"""The particle gun: which particles are shot at a detector, with which energies and which random numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mlgen.errors import nearest
from mlgen.seeds import Work, random_generator
from mlgen.showers import PDG_IDS
from mlgen.stages import FloatArray, IntArray

#: Name of each particle in the files that are written, as CaloChallenge binnings and `PDG_IDS` have them.
NAMES = {22: "photon", 11: "electron", -11: "e+", 211: "pi+", -211: "pi-"}
#: Keys that say which energies; one of them.
ENERGY_KEYS = ("energy", "energies", "file")
MEV = 1000.0


class ParticleGunSettings(BaseModel):
    """[particle_gun]: particles of one kind, from one direction."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    particle: str = Field(description="e-, e+, photon, pi+, pi- or a PDG id")
    energy: tuple[float, float] = Field(
        (1.0, 100.0), description="range of the kinetic energy, GeV: each shower has one of its own, drawn from it"
    )
    spacing: Literal["uniform", "log"] = Field(
        "uniform", description="how energies are drawn from the range: evenly, or evenly in their logarithm"
    )
    energies: tuple[float, ...] | None = Field(
        None, min_length=1, description="kinetic energies, GeV, taken one after the other, again and again"
    )
    file: str | None = Field(
        None, description="file of kinetic energies: text with one a line in GeV, or showers in HDF5, as `energies`"
    )
    direction: tuple[float, float, float] = Field(
        (0.0, 0.0, 1.0), description="direction of the particles, of any length; (0, 0, 1) is normal incidence"
    )

    @field_validator("particle", mode="before")
    @classmethod
    def _known(cls, name: Any) -> Any:
        text = str(name)
        if text not in PDG_IDS and not text.removeprefix("-").isdecimal():
            raise ValueError(
                f"no particle is called '{text}'{nearest(text, PDG_IDS)}; there are {', '.join(PDG_IDS)}, and PDG ids"
            )
        return text

    @field_validator("energy")
    @classmethod
    def _range(cls, energy: tuple[float, float]) -> tuple[float, float]:
        if not 0 < energy[0] < energy[1] < math.inf:
            raise ValueError(f"two energies above zero are expected, the lower first; not {energy[0]:g}, {energy[1]:g}")
        return energy

    @field_validator("energies")
    @classmethod
    def _positive(cls, energies: tuple[float, ...] | None) -> tuple[float, ...] | None:
        for energy in energies or ():
            if not 0 < energy < math.inf:
                raise ValueError(f"energies must be finite and above zero; one is {energy:g}")
        return energies

    @field_validator("direction")
    @classmethod
    def _forward(cls, direction: tuple[float, float, float]) -> tuple[float, float, float]:
        if not (all(map(math.isfinite, direction)) and direction[2] > 0):
            raise ValueError("the third component has to be above zero: into the calorimeter")
        return direction

    @model_validator(mode="after")
    def _one_source(self) -> ParticleGunSettings:
        given = [key for key in ENERGY_KEYS if key in self.model_fields_set and getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"energies come from one of {', '.join(ENERGY_KEYS)}; there are {' and '.join(given)}")
        if self.spacing == "log" and given and given[0] != "energy":
            raise ValueError(f"spacing is for a range of energies, and there is '{given[0]}'")
        return self

    @property
    def pdg_id(self) -> int:
        """PDG id of the particle."""
        return PDG_IDS[self.particle] if self.particle in PDG_IDS else int(self.particle)


@dataclass(frozen=True, slots=True)
class GunParticles:
    """Particles that hit a detector, and the random numbers of their showers.

    Args:
        pdg_id: Shape ``(n,)``.
        incident_energy: Kinetic energy, ``(n,)``, MeV.
        direction: Unit vectors, ``(n, 3)``.
        seeds: Seed of each shower, ``(n,)``, whole numbers below 2**63.
    """

    pdg_id: IntArray
    incident_energy: FloatArray
    direction: FloatArray
    seeds: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ParticleGun:
    """Particle k of a run depends on the seed and on k alone, so that the work can be split in any way.

    Args:
        settings: Which particles.
        energies: Their energies in GeV, where the settings name some or a file of them; taken again and again.
    """

    settings: ParticleGunSettings
    energies: tuple[float, ...] | None = None

    def particles(self, first: int, last: int, seed: int) -> GunParticles:
        """Return particles `first` to `last`, the latter left out, of the run with a seed."""
        n = last - first
        energy, seeds = np.empty(n), np.empty(n, np.int64)
        for place in range(n):
            rng = random_generator(seed, Work.SIMULATE_SHOWERS, first + place)
            seeds[place] = rng.integers(1 << 63)
            energy[place] = self._energy(first + place, float(rng.random()))
        direction = np.asarray(self.settings.direction, np.float64)
        direction /= np.linalg.norm(direction)
        return GunParticles(np.full(n, self.settings.pdg_id), energy * MEV, np.tile(direction, (n, 1)), seeds)

    def _energy(self, number: int, uniform: float) -> float:
        if self.energies is not None:
            return self.energies[number % len(self.energies)]
        low, high = self.settings.energy
        if self.settings.spacing == "log":
            return float(low * (high / low) ** uniform)
        return low + (high - low) * uniform
