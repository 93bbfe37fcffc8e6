"""What may stand in the card's section ``[phase_space]`` for the plugin ``madnis``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mlgen.stages import USE_TIME, Settings

Auto = Literal["auto"]
#: A number of steps, points or units, or what `mlgen_madnis.sizes` makes of the process.
Size = Annotated[int, Field(ge=1, le=100_000_000)] | Auto


class MadnisSettings(Settings):
    """How long the networks learn, from how many points, and how large they are.

    ``"auto"`` sizes grow with the dimensions of the process; `mlgen_madnis.sizes` says how.
    """

    steps: Size = Field("auto", description="optimisation steps; fewer where the budget does not reach")
    batch_size: Size = Field("auto", description="points in the first optimisation step")
    last_batch_size: Size = Field(
        "auto", description="points in the last one: batches grow, or shrink, by the same factor from step to step"
    )
    loss: Literal["events", "stratified"] = Field(
        "events",
        description="variance of the weights that is made small: 'events': with points in proportion to each group's "
        "integral, best for unweighted events; 'stratified', as in the MadNIS papers: in proportion to its standard "
        "deviation, best for an integral. Events are the default, since a run makes events: the stratified variance "
        "does not see that groups which are drawn so have different mean weights, for which unweighting has to pay",
    )
    learning_rate: float = Field(8e-3, gt=0, le=1, description="largest learning rate; falls to zero like a cosine")
    buffered_steps: int = Field(
        3, ge=0, le=1000, description="steps on points seen before, for each step on new ones: they need no integrand"
    )
    buffer_size: int = Field(100_000, ge=1, description="points that are kept for buffered steps")
    bins: int = Field(10, ge=2, le=200, description="bins of a spline")
    layers: int = Field(3, ge=1, le=20, description="layers of the network of each coupling block")
    units: Size = Field("auto", description="units of its hidden layers")
    learn_channel_weights: bool = Field(
        True, description="whether a network changes the prior channel weights; with one channel there is none"
    )
    channel_weight_layers: int = Field(3, ge=1, le=20, description="layers of the network of the channel weights")
    channel_weight_units: int = Field(64, ge=1, le=4096, description="units of its hidden layers")
    uniform_channels: float = Field(
        0.3, ge=0, le=1, description="part of each batch that is shared equally between the groups of channels"
    )
    drop_channels: float = Field(
        5e-3,
        ge=0,
        lt=0.5,
        description="groups of channels that together contribute less than this share are dropped: after a tenth of "
        "the steps, and again after each further tenth up to half of them; none where as much of the integral "
        "is negative, since a share says little there",
    )
    share_groups: bool = Field(True, description="whether channels that are mirror images of each other share a flow")
    vegas_iterations: int = Field(7, ge=2, description="iterations of the VEGAS start")
    vegas_points: Size = Field("auto", description="points for each map in one iteration of the VEGAS start")
    vegas_increments: int = Field(64, ge=1, description="increments of a map of the VEGAS start in each dimension")
    held_out_points: int = Field(
        60_000, ge=100, description="points that no network learned from, on which the best checkpoint is chosen"
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="where the training runs: 'cpu', 'cuda', 'cuda:1', or 'auto': cuda where there is one",
        json_schema_extra={USE_TIME: True},
    )
