"""`own-vegas`: a sampler of phase space; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Exactness, Settings, Stage
from pydantic import Field

__version__ = "0.1.0"

#: As in the card: ``plugin = "own-vegas"``.
NAME = "own-vegas"


class PluginSettings(Settings):
    """Keys of the card's section ``[phase_space]``."""

    # YOUR SETTINGS: one field for each key of the card, with its default, its limits and a description.
    # `sampler.py` needs the first two.
    iterations: int = Field(5, ge=2, le=1000, description="times that the integrand is sampled; the maps adapt between")
    points: int = Field(10_000, ge=100, description="points of a channel in one iteration, where no budget is given")
    increments: int = Field(100, ge=2, le=10_000, description="increments of each dimension")
    alpha: float = Field(1.0, gt=0, le=3, description="how fast the map adapts")


def _sampler() -> type[Any]:
    from own_vegas.sampler import Sampler

    return Sampler


@hookimpl
def mlgen_phase_space() -> Iterator[Plugin]:
    """Offer the sampler."""
    yield Plugin(
        name=NAME,
        stage=Stage.PHASE_SPACE,
        factory=_sampler,
        settings=PluginSettings,
        exactness=Exactness.EXACT,
        # YOUR WORDS: what `mlgen plugins` says of it, and the papers that it comes from.
        summary="a histogram of each dimension in each channel, adapted to the integrand",
        references=(),
        contract_version=1,
        # Settings with which a training takes seconds, for tests; names and limits are those of the fields above.
        quick_settings={"iterations": 3, "points": 1_000, "increments": 20},
    )
