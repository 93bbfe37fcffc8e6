"""`caloflow`: calorimeter showers from two flows. Nothing heavy is imported before a card asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Exactness, Stage
from mlgen_caloflow.settings import CaloFlowSettings


def _surrogate() -> type[Any]:
    from mlgen_caloflow.surrogate import CaloFlow

    return CaloFlow


def _shipped_model() -> Path:
    return Path(__file__).parent / "calogan"


@hookimpl
def mlgen_calorimeter() -> Iterable[Plugin]:
    """Offer the surrogate."""
    yield Plugin(
        "caloflow",
        Stage.CALORIMETER,
        _surrogate,
        CaloFlowSettings,
        Exactness.APPROXIMATE,
        "showers from two normalizing flows: layer energies, then voxels; a teacher and its fast student",
        references=("arXiv:2106.05285", "arXiv:2110.11377", "arXiv:2211.01421"),
        contract_version=1,
        shipped_model=_shipped_model,
    )
