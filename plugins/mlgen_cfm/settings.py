"""Settings of the `cfm` generator, as they stand in a card."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from mlgen.generation.settings import LearnedGeneratorSettings
from mlgen.stages import USE_TIME


class CfmSettings(LearnedGeneratorSettings):
    """Settings of the `cfm` generator."""

    passes: ClassVar[float] = 130.0
    fewest_steps: ClassVar[int] = 3000
    most_steps: ClassVar[int] = 25_000

    width: int = Field(128, ge=4, le=8192, description="width of the network's hidden layers")
    depth: int = Field(3, ge=1, le=64, description="residual blocks of the network")
    pairing: Literal["independent", "optimal-transport"] = Field(
        "independent", description="which noise belongs to which event: any, or the nearest within a batch"
    )
    solver: Literal["heun", "rk4", "dopri5"] = Field(
        "rk4",
        description="from noise to an event: Runge-Kutta steps of second or fourth order, or adaptive ones",
        json_schema_extra={USE_TIME: True},
    )
    solver_steps: int = Field(
        8, ge=1, le=10_000, description="steps of a solver with fixed steps", json_schema_extra={USE_TIME: True}
    )
    tolerance: float = Field(
        1e-5, gt=0, lt=1, description="error of the adaptive solver", json_schema_extra={USE_TIME: True}
    )
    rectification_steps: int = Field(
        0,
        ge=0,
        le=10_000_000,
        description="optimisation steps after the training that straighten the ways from noise to events, so that few "
        "solver steps suffice",
    )
