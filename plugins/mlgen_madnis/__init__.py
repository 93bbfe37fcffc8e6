"""`madnis`: neural multi-channel importance sampling. Nothing heavy is imported before a card asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Capability, Exactness, Stage
from mlgen_madnis.settings import MadnisSettings

__all__ = ["MadnisSettings", "mlgen_phase_space"]


def _madnis() -> type[Any]:
    from mlgen_madnis.sampler import MadnisSampler

    return MadnisSampler


@hookimpl
def mlgen_phase_space() -> Iterator[Plugin]:
    """Offer the sampler."""
    yield Plugin(
        name="madnis",
        stage=Stage.PHASE_SPACE,
        factory=_madnis,
        settings=MadnisSettings,
        exactness=Exactness.EXACT,
        summary="a flow for each group of channels on top of VEGAS, and learned channel weights",
        references=("arXiv:2212.06172", "arXiv:2311.01548", "arXiv:2408.01486"),
        contract_version=1,
        capabilities=frozenset({Capability.CHANNEL_WEIGHTS}),
        quick_settings={
            "steps": 24,
            "batch_size": 128,
            "units": 8,
            "channel_weight_units": 8,
            "bins": 4,
            "vegas_points": 300,
            "vegas_iterations": 3,
            "held_out_points": 1000,
            "buffer_size": 1000,
        },
    )
