"""What mlgen is told of this package. Quick to import: scikit-learn waits until a model is trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Capability, Exactness, Settings, Stage
from pydantic import Field

if TYPE_CHECKING:
    from boosted_mixture.generator import BoostedMixture


class BoostedMixtureSettings(Settings):
    """Settings of the `boosted-mixture` generator, as they stand in a card."""

    components: int = Field(40, ge=1, le=1000, description="Gaussians of each topology, where it has enough events")
    events_per_component: int = Field(50, ge=1, description="fewest training events for each of them")
    iterations: int = Field(100, ge=1, description="most steps of expectation maximisation")
    trees: int = Field(200, ge=0, le=5000, description="most boosted trees of each topology; 0: a plain mixture")
    depth: int = Field(4, ge=1, le=12, description="depth of the trees")
    learning_rate: float = Field(0.1, gt=0, le=1, description="learning rate of the boosting")
    largest_ratio: float = Field(
        8.0, gt=1, description="largest density ratio that the trees may ask for; candidates per event grow with it"
    )
    minimum_events: int = Field(500, ge=10, description="fewest training events; with fewer, training is refused")
    training_events: int = Field(200_000, ge=10, description="most training events, drawn at random from a larger file")


def generator() -> type[BoostedMixture]:
    """Import the generator; called when a card asks for it."""
    from boosted_mixture.generator import BoostedMixture

    return BoostedMixture


@hookimpl
def mlgen_generator() -> Iterable[Plugin]:
    """Offer the generator."""
    yield Plugin(
        "boosted-mixture",
        Stage.GENERATOR,
        generator,
        BoostedMixtureSettings,
        Exactness.APPROXIMATE,
        "Gaussian mixtures, corrected by boosted trees (scikit-learn)",
        references=("arXiv:1907.08209",),
        contract_version=1,
        capabilities=frozenset({Capability.DENSITY}),
        quick_settings={"components": 4, "iterations": 20, "trees": 10, "depth": 3},
    )
