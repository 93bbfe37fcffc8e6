"""Settings that all learned generators share, as they stand in a card."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from mlgen.stages import USE_TIME, Settings


class LearnedGeneratorSettings(Settings):
    """Settings of a generator that learns the density of points (`mlgen.generation.LearnedGenerator`)."""

    training_events: int = Field(
        500_000,
        ge=10,
        description="most events to learn from, drawn at random from a larger file; memory grows with it",
    )
    minimum_events: int = Field(500, ge=10, description="fewest training events; with fewer, training is refused")
    steps: int | None = Field(
        None, ge=1, le=10_000_000, description="optimisation steps; left out: as many as the number of events asks for"
    )
    batch_size: int | None = Field(
        None, ge=8, le=1_000_000, description="events in one optimisation step; left out: likewise"
    )
    learning_rate: float = Field(3e-3, gt=0, le=1, description="largest learning rate; falls to zero like a cosine")
    patience: float = Field(
        0.3, gt=0, le=1, description="share of the steps without a better held-out loss after which training stops"
    )
    label_steps: int = Field(3000, ge=0, description="steps of the networks of flavours, colour flows and helicities")
    mirrors: bool = Field(
        True,
        description="learn from mirror images too, where the beams and the sample allow it (refused ones are named)",
    )
    uncertainty: Literal["none", "bayesian"] = Field(
        "none", description="'bayesian': each event gets the weights of networks that the training events allow"
    )
    members: int = Field(10, ge=1, le=1000, description="networks of a Bayesian generator")
    prior_width: float = Field(0.05, gt=0, description="width of the prior of a Bayesian network's last weights")
    up: str = Field("", description="named weight of the training file at +1 of a nuisance parameter")
    down: str = Field("", description="named weight at -1; left out: opposite to 'up'")
    correction: Literal["none", "reweight", "unweight"] = Field(
        "none",
        description="what the discriminator does to generated events: nothing, a weight, or a rejection",
        json_schema_extra={USE_TIME: True},
    )
    discriminator_epochs: int = Field(
        0, ge=0, description="passes of the training of a discriminator for 'correction'; 0: there is none"
    )
    only: str = Field(
        "",
        description="generate these events only, such as 'g g > t t~ g' or '* > t t~ j'",
        json_schema_extra={USE_TIME: True},
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where networks live", json_schema_extra={USE_TIME: True}
    )

    #: Passes through the events, and the fewest, the most steps, and the largest batch, where the card says nothing.
    passes: ClassVar[float] = 100.0
    fewest_steps: ClassVar[int] = 1500
    most_steps: ClassVar[int] = 20_000
    largest_batch: ClassVar[int] = 1024

    def batch_for(self, events: int) -> int:
        """Events in one optimisation step for so many events of the training."""
        if self.batch_size is not None:
            return min(self.batch_size, events)
        return int(np.clip(events // 10, min(64, events), self.largest_batch))

    def steps_for(self, events: int) -> int:
        """Optimisation steps for so many events of the training."""
        if self.steps is not None:
            return self.steps
        return int(np.clip(self.passes * events / self.batch_for(events), self.fewest_steps, self.most_steps))

    @model_validator(mode="after")
    def _down_needs_up(self) -> LearnedGeneratorSettings:
        if self.down and not self.up:
            raise ValueError("'down' without 'up': name the weight at +1 of the nuisance parameter as well")
        return self

    @property
    def nuisance(self) -> tuple[str, ...]:
        """Named weights that a nuisance parameter is learned from."""
        return tuple(name for name in (self.up, self.down) if name)
