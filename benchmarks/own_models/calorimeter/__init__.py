"""`own-pca`: a calorimeter surrogate; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Capability, Exactness, Settings, Stage
from pydantic import Field

__version__ = "0.1.0"

#: As in the card: ``plugin = "own-pca"``.
NAME = "own-pca"


class PluginSettings(Settings):
    """Keys of the card's section ``[calorimeter]`` that are this plugin's own."""

    # YOUR SETTINGS: one field for each key of the card, with its default, its limits and a description.
    components: int = Field(20, ge=1, description="principal components of each kind of particle")
    threshold: float = Field(1e-5, ge=0, description="least share of the incident energy in a voxel")


def _surrogate() -> type[Any]:
    from own_pca.surrogate import Surrogate

    return Surrogate


@hookimpl
def mlgen_calorimeter() -> Iterator[Plugin]:
    """Offer the surrogate."""
    yield Plugin(
        name=NAME,
        stage=Stage.CALORIMETER,
        factory=_surrogate,
        settings=PluginSettings,
        exactness=Exactness.APPROXIMATE,
        # YOUR WORDS: what `mlgen plugins` says of it, and the papers that it comes from.
        summary="a library of frozen showers: the nearest in energy, scaled and turned",
        references=(),
        contract_version=1,
        capabilities=frozenset({Capability.POLAR_LAYERS, Capability.RECTANGULAR_LAYERS}),
        # Settings with which a training takes seconds, for tests; names and limits are those of the fields above.
        quick_settings={"components": 10},
    )
