"""What may stand in the card's section ``[amplitude]`` for the plugin ``bnn``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mlgen.stages import USE_TIME, Settings


class BnnSettings(Settings):
    """What the networks look like, how long they learn, and where their uncertainty comes from."""

    uncertainty: Literal["bayesian", "ensemble", "deterministic"] = Field(
        "bayesian",
        description="'bayesian': distributions of the network's weights; 'ensemble': several networks that repel each "
        "other; 'deterministic': one network, whose systematic error alone is learned",
    )
    bayesian_layers: Literal["last", "all"] = Field(
        "last",
        description="layers whose weights have distributions: with 'last', a prediction costs as much as that of one "
        "network and its statistical error is a closed form; with 'all', as much as all its members",
    )
    members: int = Field(
        20, ge=2, le=200, description="networks that are drawn from the distributions, or that make the ensemble"
    )
    inputs: Literal["invariants", "deep-sets"] = Field(
        "invariants",
        description="'invariants': Lorentz invariants, like particles sorted; 'deep-sets': in addition sums over like "
        "particles of a network that sees each with its invariants",
    )
    ansatz: Literal["auto", "strings", "none"] = Field(
        "auto",
        description="what |M|^2 is divided by: 'strings': products of the invariants along the colour strings, with "
        "the numerator of the maximally helicity-violating amplitudes where that fits; 'none': the power of the "
        "energy that its dimension asks for; 'auto': that which leaves the narrowest distribution of the logarithm",
    )
    units: int = Field(128, ge=1, le=4096, description="units of a hidden layer")
    layers: int = Field(3, ge=1, le=20, description="hidden layers")
    set_units: int = Field(48, ge=1, le=1024, description="units of the networks of the deep sets")
    steps: int = Field(20_000, ge=1, le=100_000_000, description="optimisation steps at most")
    batch_size: int = Field(1024, ge=1, description="points in a step")
    learning_rate: float = Field(6e-3, gt=0, le=1, description="largest learning rate; falls to zero like a cosine")
    patience: float = Field(
        0.4, gt=0, le=1, description="the training ends early after this part of the steps without an improvement"
    )
    validation_share: float = Field(
        0.1, gt=0, lt=0.9, description="part of the points for early stopping and for the calibration of the errors"
    )
    error_weight: float = Field(
        0.5,
        ge=0,
        le=1,
        description="beta of the weight sigma^(2 beta) of a point in the likelihood (arXiv:2203.09168): with 0, points "
        "that are badly known are hardly learned; with 1, all count alike",
    )
    prior_width: float = Field(1.0, gt=0, description="width of the Gaussian prior of the weights")
    boosting: Literal["none", "loss", "process", "both"] = Field(
        "none",
        description="which points count more: 'loss': those with large pulls, 'process': the largest amplitudes",
    )
    boosting_factor: float = Field(5.0, ge=1, le=1000, description="how much more they count")
    boosting_share: float = Field(0.01, gt=0, lt=1, description="which part of the points that is")
    repulsion: float = Field(1.0, ge=0, description="strength of the repulsion of an ensemble's members")
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="where the training runs: 'cpu', 'cuda', 'cuda:1', or 'auto': cuda where there is one",
        json_schema_extra={USE_TIME: True},
    )
