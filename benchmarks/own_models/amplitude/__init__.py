"""`own-five`: a surrogate of |M|^2; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Capability, Exactness, Settings, Stage
from pydantic import Field

__version__ = "0.1.0"

#: As in the card: ``plugin = "own-five"``.
NAME = "own-five"


class PluginSettings(Settings):
    """Keys of the card's section ``[amplitude]`` that are this plugin's own."""

    # YOUR SETTINGS: one field for each key of the card, with its default, its limits and a description.
    members: int = Field(5, ge=1, le=1000, description="networks in the ensemble")
    units: int = Field(32, ge=1, le=4096, description="units of each hidden layer")
    steps: int = Field(1000, ge=1, description="optimisation steps of each network")
    batch_size: int = Field(128, ge=1, description="points of each step")
    learning_rate: float = Field(3e-3, gt=0, description="of Adam")


def _surrogate() -> type[Any]:
    from own_five.surrogate import Surrogate

    return Surrogate


@hookimpl
def mlgen_amplitude() -> Iterator[Plugin]:
    """Offer the surrogate."""
    yield Plugin(
        name=NAME,
        stage=Stage.AMPLITUDE,
        factory=_surrogate,
        settings=PluginSettings,
        exactness=Exactness.APPROXIMATE,
        # YOUR WORDS: what `mlgen plugins` says of it, and the papers that it comes from.
        summary="an ensemble of regressions on random features of Lorentz invariants",
        references=(),
        contract_version=1,
        # Without MEMBERS where `Model.predict` gives a single column.
        capabilities=frozenset({Capability.MEMBERS}),
        # Settings with which a training takes seconds, for tests; names and limits are those of the fields above.
        quick_settings={"members": 3, "units": 16, "steps": 150},
    )
