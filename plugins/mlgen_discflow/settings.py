"""Settings of the `discflow` generator, as they stand in a card."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from mlgen.generation.settings import LearnedGeneratorSettings


class DiscFlowSettings(LearnedGeneratorSettings):
    """Settings of the `discflow` generator."""

    passes: ClassVar[float] = 40.0
    fewest_steps: ClassVar[int] = 1500
    most_steps: ClassVar[int] = 4000
    largest_batch: ClassVar[int] = 2048

    width: int = Field(64, ge=4, le=8192, description="width of the hidden layers of each coupling block's network")
    depth: int = Field(2, ge=1, le=64, description="hidden layers of each coupling block's network")
    bins: int = Field(8, ge=2, le=256, description="bins of the splines")
    repeats: int = Field(1, ge=1, le=64, description="times that every pair of coordinates meets in a coupling block")
    discriminator_rounds: int = Field(
        4, ge=0, le=1000, description="rounds of discriminator and flow after the plain training; 0: a plain flow"
    )
    discriminator_share: float = Field(0.3, ge=0, lt=1, description="share of the steps that these rounds take")
    discriminator_power: float = Field(
        1.0, ge=0, le=4, description="power of the discriminator's weight in the loss, reached in the last round"
    )
    discriminator_epochs: int = Field(
        10, ge=0, description="passes of a training of the discriminator; 0: there is none, and no 'correction'"
    )
