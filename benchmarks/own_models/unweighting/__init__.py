"""`own-median`: an unweighting; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Exactness, Settings, Stage
from pydantic import Field

__version__ = "0.1.0"

#: As in the card: ``plugin = "own-median"``.
NAME = "own-median"


class PluginSettings(Settings):
    """Keys of the card's section ``[unweighting]``."""

    # YOUR SETTINGS: one field for each key of the card, with its default, its limits and a description.
    block: int = Field(1000, ge=1, description="candidates in a block; the maximum is the median of their largest |w|")
    floor: float = Field(0.1, gt=0, le=1, description="least probability, in units of the mean one")


def _unweighter() -> type[Any]:
    from own_median.unweighter import Unweighting

    return Unweighting


@hookimpl
def mlgen_unweighting() -> Iterator[Plugin]:
    """Offer the unweighting."""
    yield Plugin(
        name=NAME,
        stage=Stage.UNWEIGHTING,
        factory=_unweighter,
        settings=PluginSettings,
        exactness=Exactness.EXACT,
        # YOUR WORDS: what `mlgen plugins` says of it, and the papers that it comes from.
        summary="hit-or-miss with a maximum that leaves a share of the cross section to overweights",
        references=(),
        contract_version=1,
    )
