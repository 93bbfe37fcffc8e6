"""`pythia8`: showers and hadronises hard events with Pythia 8.

Nothing of it is imported before a card asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlgen.hookspecs import Tool, hookimpl
from mlgen_pythia8.settings import Pythia8Settings

__all__ = ["Pythia8Settings", "mlgen_parton_showers"]


def _parton_shower() -> type[Any]:
    from mlgen_pythia8.shower import Pythia8Shower

    return Pythia8Shower


@hookimpl
def mlgen_parton_showers() -> Iterator[Tool]:
    """Offer Pythia 8."""
    yield Tool(
        name="pythia8",
        factory=_parton_shower,
        settings=Pythia8Settings,
        summary="parton shower, multiparton interactions and hadronisation, with matching and merging; one process "
        "a core",
        requires="pythia8",
        references=("arXiv:2203.11601",),
        contract_version=1,
    )
