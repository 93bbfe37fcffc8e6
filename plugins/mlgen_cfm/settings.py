"""Settings of the `cfm` generator, as they stand in a card."""

from __future__ import annotations

from pydantic import Field

from mlgen.stages import USE_TIME, Settings


class CfmSettings(Settings):
    """Settings of the `cfm` generator."""

    steps: int = Field(
        6000, ge=1, le=10_000_000, description="optimisation steps, shared between the topologies by their events"
    )
    batch_size: int = Field(512, ge=8, le=1_000_000, description="events in one optimisation step")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="largest learning rate; falls to zero like a cosine")
    width: int = Field(128, ge=4, le=8192, description="width of the network's hidden layers")
    depth: int = Field(3, ge=1, le=64, description="residual blocks of the network")
    solver_steps: int = Field(
        10,
        ge=1,
        le=10_000,
        description="Runge-Kutta steps (fourth order) from noise to an event",
        json_schema_extra={USE_TIME: True},
    )
    minimum_events: int = Field(500, ge=10, description="fewest training events; with fewer, training is refused")
    training_events: int = Field(
        100_000,
        ge=10,
        description="most events to learn from, drawn at random from a larger file; memory grows with it",
    )
