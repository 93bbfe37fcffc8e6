"""`own-nsf`: a generator of hard events; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlgen.generation import LearnedGeneratorSettings
from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Capability, Exactness, Stage
from pydantic import Field

__version__ = "0.1.0"

#: As in the card: ``plugin = "own-nsf"``.
NAME = "own-nsf"
#: YOUR WORDS: what `mlgen plugins`, and the files that it makes, say of it.
SUMMARY = "a mixture of normal distributions of points"
#: YOUR MODEL: whether `Model.loss` is minus the log of a density.
LIKELIHOOD = True


class PluginSettings(LearnedGeneratorSettings):
    """Keys of the card's section ``[generator]``, besides those of every learned generator."""

    # YOUR SETTINGS: one field for each key of the card, with its default, its limits and a description.
    bins: int = Field(8, ge=2, le=1000, description="bins of each spline")
    width: int = Field(64, ge=1, le=8192, description="width of each network")


def _generator() -> type[Any]:
    from own_nsf.generator import Generator

    return Generator


@hookimpl
def mlgen_generator() -> Iterator[Plugin]:
    """Offer the generator."""
    yield Plugin(
        name=NAME,
        stage=Stage.GENERATOR,
        factory=_generator,
        settings=PluginSettings,
        exactness=Exactness.APPROXIMATE,
        summary=SUMMARY,
        references=(),  # YOUR WORDS: the papers that it comes from
        contract_version=1,
        capabilities=frozenset({Capability.DENSITY, Capability.NEGATIVE_WEIGHTS}),
        # Settings with which a training takes seconds, for tests; names and limits are those of the fields above.
        quick_settings={"steps": 40, "batch_size": 64, "label_steps": 20, "bins": 4, "width": 8},
    )
