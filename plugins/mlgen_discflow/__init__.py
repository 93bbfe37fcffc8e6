"""`discflow`: whole hard events from a coupling flow that a discriminator teaches. Nothing heavy is imported early."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Capability, Exactness, Stage
from mlgen_discflow.settings import DiscFlowSettings


def _generator() -> type[Any]:
    from mlgen_discflow.generator import DiscFlowGenerator

    return DiscFlowGenerator


@hookimpl
def mlgen_generator() -> Iterable[Plugin]:
    """Offer the generator."""
    yield Plugin(
        "discflow",
        Stage.GENERATOR,
        _generator,
        DiscFlowSettings,
        Exactness.APPROXIMATE,
        "spline flow with exact density, trained with a discriminator: hard events of any multiplicity and flavour",
        references=("arXiv:2110.13632", "arXiv:1906.04032", "arXiv:2211.01421"),
        contract_version=1,
        capabilities=frozenset({Capability.DENSITY, Capability.NEGATIVE_WEIGHTS}),
        quick_settings={
            "steps": 40,
            "batch_size": 64,
            "width": 16,
            "depth": 1,
            "bins": 4,
            "label_steps": 20,
            "discriminator_rounds": 2,
            "discriminator_epochs": 1,
        },
    )
