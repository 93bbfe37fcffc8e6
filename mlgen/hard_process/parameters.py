"""Couplings, masses and widths of the model: the Standard Model in the G_F, alpha, m_Z scheme, and a Z'."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mlgen.errors import ProcessError, nearest
from mlgen.hard_process.particles import Z_PRIME

#: Names of masses and widths, with the PDG id that each belongs to.
_PDG_ID: Mapping[str, int] = {
    "d": 1,
    "u": 2,
    "s": 3,
    "c": 4,
    "b": 5,
    "t": 6,
    "e": 11,
    "mu": 13,
    "ta": 15,
    "z": 23,
    "w": 24,
    "h": 25,
}
_NAME: Mapping[int, str] = {pdg_id: name for name, pdg_id in _PDG_ID.items()}

_DEFAULT_MASSES: Mapping[str, float] = {
    "d": 0.0,
    "u": 0.0,
    "s": 0.0,
    "c": 0.0,
    "b": 4.7,
    "t": 173.0,
    "e": 0.0,
    "mu": 0.0,
    "ta": 1.777,
    "z": 91.188,
    "h": 125.0,
}
_DEFAULT_WIDTHS: Mapping[str, float] = {"t": 1.4915, "z": 2.441404, "w": 2.0476, "h": 0.00638233934}


class ZPrime(BaseModel):
    """A heavier copy of the Z, which couples to fermions only."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mass: float = Field(gt=0, allow_inf_nan=False, description="in GeV")
    width: float = Field(gt=0, allow_inf_nan=False, description="in GeV")
    coupling: float = Field(
        1.0, allow_inf_nan=False, description="couplings to fermions, relative to those of the Z to the same fermions"
    )


class ModelParameters(BaseModel):
    """Parameters of the model; the defaults are those of MadGraph's ``sm``.

    `mass` and `width` hold every entry after validation, whichever of them were given. What has no entry is massless
    or has no width. The mass of the W follows from the other parameters.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    alpha_em_inverse: float = Field(
        132.507, gt=0, allow_inf_nan=False, description="1/alpha, electromagnetic, at the mass of the Z"
    )
    fermi_constant: float = Field(1.16639e-5, gt=0, allow_inf_nan=False, description="G_F in GeV^-2")
    mass: dict[str, float] = Field(
        dict(_DEFAULT_MASSES), description="masses in GeV, by particle; the others keep their defaults"
    )
    width: dict[str, float] = Field(
        dict(_DEFAULT_WIDTHS), description="widths in GeV, by particle; the others keep their defaults"
    )
    z_prime: ZPrime | None = Field(None, description="a Z' ('zp' in a reaction); there is none when left out")

    @field_validator("mass", mode="before")
    @classmethod
    def _complete_masses(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "w" in given:
            raise ValueError(
                "the mass of the W follows from alpha_em_inverse, fermi_constant and the mass of the Z; take w out"
            )
        return _completed(given, _DEFAULT_MASSES, [name for name in _PDG_ID if name != "w"])

    @field_validator("width", mode="before")
    @classmethod
    def _complete_widths(cls, given: Any) -> Any:
        return _completed(given, _DEFAULT_WIDTHS, _PDG_ID)

    @field_validator("mass", "width")
    @classmethod
    def _not_negative(cls, given: dict[str, float]) -> dict[str, float]:
        for name, value in given.items():
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} = {value} GeV: a number that is not negative is expected")
        return given

    @field_validator("mass")
    @classmethod
    def _z_is_massive(cls, mass: dict[str, float]) -> dict[str, float]:
        if mass["z"] == 0:
            raise ValueError("z = 0: the Z needs a mass")
        return mass

    @property
    def alpha_em(self) -> float:
        """The electromagnetic coupling at the mass of the Z."""
        return 1 / self.alpha_em_inverse

    @property
    def mass_w(self) -> float:
        r"""Mass of the W in GeV, at tree level.

        .. math:: m_W^2 = m_Z^2 / 2 + \sqrt{m_Z^4 / 4 - \pi \alpha m_Z^2 / (\sqrt 2 G_F)}

        Raises:
            ProcessError: The parameters allow none.
        """
        square = self.mass["z"] ** 2
        root = square**2 / 4 - math.pi * self.alpha_em * square / (math.sqrt(2) * self.fermi_constant)
        if root < 0:
            raise ProcessError(
                f"alpha_em_inverse = {self.alpha_em_inverse}, fermi_constant = {self.fermi_constant} GeV^-2 and a Z of "
                f"{self.mass['z']} GeV allow no mass of the W; change one of them"
            )
        return math.sqrt(square / 2 + math.sqrt(root))

    @property
    def sin2_theta_w(self) -> float:
        """Square of the sine of the weak mixing angle, ``1 - m_W^2 / m_Z^2``."""
        return 1 - (self.mass_w / self.mass["z"]) ** 2

    def mass_of(self, pdg_id: int) -> float:
        """Mass in GeV of a particle or antiparticle."""
        name = _NAME.get(abs(pdg_id), "")
        if name == "w":
            return self.mass_w
        if abs(pdg_id) == Z_PRIME:
            return self.z_prime.mass if self.z_prime else 0.0
        return self.mass.get(name, 0.0)

    def width_of(self, pdg_id: int) -> float:
        """Width in GeV of a particle or antiparticle."""
        if abs(pdg_id) == Z_PRIME:
            return self.z_prime.width if self.z_prime else 0.0
        return self.width.get(_NAME.get(abs(pdg_id), ""), 0.0)

    def name_of(self, pdg_id: int) -> str:
        """The key of `mass` and `width` that belongs to a particle or antiparticle; ``zp`` for the Z'."""
        return "zp" if abs(pdg_id) == Z_PRIME else _NAME.get(abs(pdg_id), "")

    def with_mass(self, name: str, mass: float) -> Self:
        """Return the same parameters with another mass, in GeV."""
        return self.model_copy(update={"mass": {**self.mass, name: mass}})


def _completed(given: Any, defaults: Mapping[str, float], known: Any) -> Any:
    if not isinstance(given, Mapping):
        return given
    for name in given:
        if name not in known:
            raise ValueError(f"nothing here is called '{name}'{nearest(str(name), known)}; known: {' '.join(known)}")
    return {**defaults, **given}
