"""`caloflow`: calorimeter showers from two flows. Nothing heavy is imported before a card asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Capability, Exactness, Stage
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
        capabilities=frozenset({Capability.POLAR_LAYERS, Capability.RECTANGULAR_LAYERS}),
        quick_settings={
            "passes": 35.0,
            "student_passes": 35.0,
            "layer_passes": 25.0,
            "fewest_steps": 8,
            "batch_size": 250,
            "learning_rate": 2e-2,
            "width": 8,
            "depth": 1,
            "groups": 2,
            "bins": 4,
            "student_steps": 2,
            "student_width": 16,
            "precision": "single",
        },
    )
