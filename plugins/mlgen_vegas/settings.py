"""What may stand in the card's section ``[phase_space]`` for the plugins ``vegas`` and ``flat``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mlgen.stages import Settings


class VegasSettings(Settings):
    """How the maps are adapted, and how often each channel is drawn."""

    iterations: int = Field(
        7, ge=2, description="times that the integrand is sampled; the maps adapt after each but the last"
    )
    points: int = Field(
        20_000, ge=10, description="points of the integrand for each map in one iteration, where no budget is given"
    )
    increments: int = Field(100, ge=1, description="increments of a map in each dimension")
    alpha: float = Field(
        0.7, ge=0, description="speed of the adaptation: 0 keeps the maps flat, more than 1.5 follows every fluctuation"
    )
    share_groups: bool = Field(True, description="whether channels that are mirror images of each other share a map")
    minimum_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="lower bound of a channel's probability, in units of that of equally likely channels, so that "
        "none that contributes is starved",
    )


class FlatSettings(Settings):
    """How often each channel is drawn."""

    channels: Literal["learned", "uniform"] = Field(
        "learned", description="'learned': as often as their weights ask for; 'uniform': all equally often"
    )
    points: int = Field(20_000, ge=10, description="points of the integrand for each channel, where no budget is given")
    minimum_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="lower bound of a channel's probability, in units of that of equally likely channels; "
        "for channels = 'learned'",
    )
