"""`cfm`: whole hard events from conditional flow matching. Nothing heavy is imported before a card asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Capability, Exactness, Stage
from mlgen_cfm.settings import CfmSettings


def _generator() -> type[Any]:
    from mlgen_cfm.generator import CfmGenerator

    return CfmGenerator


@hookimpl
def mlgen_generator() -> Iterable[Plugin]:
    """Offer the generator."""
    yield Plugin(
        "cfm",
        Stage.GENERATOR,
        _generator,
        CfmSettings,
        Exactness.APPROXIMATE,
        "conditional flow matching: learns hard events of any multiplicity, flavour and colour flow from a file",
        references=("arXiv:2210.02747", "arXiv:2305.10475", "arXiv:2211.01421"),
        contract_version=1,
        capabilities=frozenset({Capability.DENSITY, Capability.NEGATIVE_WEIGHTS}),
        quick_settings={
            "steps": 60,
            "batch_size": 64,
            "width": 16,
            "depth": 1,
            "solver_steps": 4,
            "label_steps": 20,
        },
    )
