"""What a card says of the detector around a calorimeter surrogate."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _interval(value: tuple[float, float]) -> tuple[float, float]:
    # Written so that NaN fails too.
    if not value[0] < value[1]:
        raise ValueError(f"[minimum, maximum] is expected; it is [{value[0]:g}, {value[1]:g}]")
    return value


def _cell(value: tuple[float, float]) -> tuple[float, float]:
    if not all(0 < size < math.inf for size in value):
        raise ValueError(f"cells of {value[0]:g} x {value[1]:g} in eta x phi: sizes are positive")
    if value[1] > 2 * math.pi:
        raise ValueError(f"a cell of {value[1]:g} in phi is larger than the circle")
    return value


Interval = Annotated[tuple[float, float], AfterValidator(_interval)]
CellSize = Annotated[tuple[float, float], AfterValidator(_cell)]


class Acceptance(BaseModel):
    """Directions of momenta that are looked at: intervals of pseudorapidity and, where it is given, of azimuth."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    eta: Interval = Field((-1.5, 1.5), description="pseudorapidity: [minimum, maximum]")
    phi: Interval | None = Field(
        None, description="radians; an interval may go on beyond pi, as [3, 3.5] does; the whole circle when left out"
    )


class DetectorSettings(BaseModel):
    """A barrel calorimeter: a cylinder around the beams (the z axis), in a solenoid or without a field.

    Every shower is one at normal incidence, turned into the flight direction of its particle at the front face: that
    an oblique particle sees more material in each layer of a barrel is not simulated, nor is material before the front
    face. Lengths are in mm.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    acceptance: Acceptance = Field(
        Acceptance(), description="momenta that are looked at, for instance { eta = [-1.5, 1.5] }"
    )
    minimum_energy: float = Field(1.0, ge=0, description="energy in GeV from which on a particle gets a shower")
    radius: float = Field(1500.0, gt=0, allow_inf_nan=False, description="radius of the calorimeter's front face in mm")
    half_length: float | None = Field(
        None, gt=0, description="largest |z| of the front face in mm; only the acceptance limits it when left out"
    )
    magnetic_field: float = Field(
        0.0, ge=-20, le=20, description="field in tesla along z, everywhere inside the front face"
    )
    layer_depths: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] | None = Field(
        None,
        description="depth of the middle of each layer behind the front face in mm, where the geometry does not say "
        "it; at the front face when left out",
    )
    x_axis: Literal["eta", "phi"] | None = Field(
        None,
        description="the direction that the x axis of the showers has in the detector; y has the other one. When left "
        "out, what the CaloGAN says of rectangular layers, phi, and the CaloChallenge of polar ones, eta",
    )
    cell_size: CellSize | dict[str, CellSize] | None = Field(
        None,
        description="size [eta, phi] of the cells of a fixed grid in which overlapping showers add up, for all layers "
        "or by number of the layer; the voxels of each shower when left out",
    )
    stand_ins: dict[str, str] = Field(
        {},
        description="particles that get the showers of another one, which the model knows, by name or PDG id, for "
        'instance { "e-" = "e+" }',
    )
    unknown: Literal["skip", "stop"] = Field(
        "skip", description="what becomes of visible particles that the model does not know"
    )
    outside: Literal["flag", "clip", "skip", "stop"] = Field(
        "flag",
        description="what becomes of particles whose energy is outside the range that the model was trained in: the "
        "shower is made and flagged; it is made at the edge of the range, scaled to the energy, and flagged; the "
        "particle is left out; the run stops",
    )

    def detector(self) -> dict[str, Any]:
        """Return these settings as plain types, without those of a subclass."""
        return self.model_dump(mode="json", include=set(DetectorSettings.model_fields))
