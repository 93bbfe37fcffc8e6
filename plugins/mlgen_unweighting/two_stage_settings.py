"""What may stand in the card's section ``[unweighting]`` for the plugin ``two-stage``."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from mlgen.stages import USE_TIME, Settings

#: Settings of the network of event weights.
_OF_THE_NETWORK = (
    "training_points",
    "units",
    "layers",
    "steps",
    "batch_size",
    "learning_rate",
    "validation_share",
    "device",
)


class TwoStageSettings(Settings):
    """Which surrogate the first stage goes by, how the maxima are chosen, and what the network looks like."""

    surrogate: Literal["amplitude", "event-weight"] = Field(
        "amplitude",
        description="'amplitude': the weights that the card's [amplitude] gives; 'event-weight': a network of this "
        "plugin's own, which learns the whole weight of an event, all its subprocesses together",
    )
    overweight_share: float = Field(
        0.001,
        ge=0,
        lt=1,
        description="share of the cross section that may be in the excess of overweights",
        json_schema_extra={USE_TIME: True},
    )
    effective_share: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="least effective sample size, (sum |w|)^2 / sum w^2, in units of the number of events",
        json_schema_extra={USE_TIME: True},
    )
    evaluated_share: float | Literal["optimal"] = Field(
        1.0,
        description="share of the survivors of the first stage whose true weight is asked for, more of them where the "
        "surrogate claims a larger error; the others go by the surrogate, and those that are asked for make up for "
        "them, so that all averages stay right, with weights that scatter. 1: all, as published; 'optimal': that "
        "with the lowest cost of an effective event",
        json_schema_extra={USE_TIME: True},
    )
    cost_ratio: float | None = Field(
        None,
        gt=0,
        description="what a true weight costs, in units of what a candidate costs without it; left out, as it was "
        "measured when the surrogate was trained",
        json_schema_extra={USE_TIME: True},
    )
    pilot: int = Field(
        10_000,
        ge=100,
        description="true weights that are asked for to choose the maxima, at most; with fewer than 20 times as many "
        "candidates, a twentieth of these, but 1,000 at least",
        json_schema_extra={USE_TIME: True},
    )
    floor: float = Field(
        0.01,
        gt=0,
        le=1,
        description="smallest weight that the first stage goes by, in units of the usual: below, a surrogate is not "
        "believed, so that no part of phase space is lost where it is zero or negative",
        json_schema_extra={USE_TIME: True},
    )
    training_points: int = Field(100_000, ge=1_000, description="candidates that the network learns from")
    units: int = Field(64, ge=1, le=4096, description="units of a hidden layer")
    layers: int = Field(4, ge=1, le=20, description="hidden layers")
    steps: int = Field(5_000, ge=1, le=100_000_000, description="optimisation steps")
    batch_size: int = Field(1024, ge=1, description="points in a step")
    learning_rate: float = Field(1e-2, gt=0, le=1, description="largest learning rate; falls to zero like a cosine")
    validation_share: float = Field(
        0.1, gt=0, lt=0.9, description="part of the points that is held out, to keep the best network by"
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="where the training runs: 'cpu', 'cuda', 'cuda:1', or 'auto': cuda where there is one",
        json_schema_extra={USE_TIME: True},
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        share = self.evaluated_share
        if not isinstance(share, str) and not 0 < share <= 1:
            raise ValueError("evaluated_share is a number above 0 and up to 1, or 'optimal'")
        idle = [name for name in _OF_THE_NETWORK if name in self.model_fields_set]
        if idle and self.surrogate != "event-weight":
            raise ValueError(
                f"{idle[0]} is set, but belongs to surrogate = 'event-weight'; set that, or take {idle[0]} out"
            )
        return self
