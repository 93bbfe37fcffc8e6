"""What may stand in the card beside ``program = "geant4"``."""

from __future__ import annotations

import itertools
from typing import Literal

from pydantic import Field, field_validator

from mlgen.stages import Settings

#: Physics from models that need no data file; in the place of a reference physics list.
WITHOUT_DATA = "em-without-data"


class Geant4Settings(Settings):
    """A sampling calorimeter and its physics; by default, the calorimeter of the CaloGAN (arXiv:1705.02355)."""

    layers: int = Field(80, ge=1, le=10_000, description="number of layers, each an absorber and an active one")
    absorber: str = Field("G4_Pb", description="material of the absorbers: a NIST name of Geant4, or 'liquid-argon'")
    absorber_thickness: float = Field(2.0, gt=0, le=10_000, description="mm")
    active: str = Field("liquid-argon", description="active material: a NIST name of Geant4, or 'liquid-argon'")
    active_thickness: float = Field(4.0, gt=0, le=10_000, description="mm")
    width: float | None = Field(
        None, gt=0, description="width and height of the calorimeter, mm; 1000, or what the voxels need, when left out"
    )
    section_ends: tuple[float, ...] | None = Field(
        None,
        description="depth at which each layer of voxels ends, mm from the front face, ascending; what the geometry "
        "says when left out, else the CaloGAN's in proportion, or whole layers divided evenly",
    )
    deposits: Literal["all", "active"] = Field(
        "all", description="which deposits are scored: in both materials, as the CaloGAN does, or the active one's"
    )
    production_cut: float = Field(0.7, gt=0, le=1000, description="range below which no secondary is produced, mm")
    physics: str = Field(
        "auto",
        description=f"a reference physics list of Geant4, or '{WITHOUT_DATA}'; 'auto' is FTFP_BERT where Geant4's data "
        f"files are, else '{WITHOUT_DATA}'",
    )

    @field_validator("section_ends")
    @classmethod
    def _ascending(cls, ends: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if ends is not None and not (ends and ends[0] > 0 and all(a < b for a, b in itertools.pairwise(ends))):
            raise ValueError(f"depths must be above zero and ascend; they are {list(ends)}")
        return ends
