"""Classical phase-space samplers: an adaptive VEGAS map for each channel, and flat points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Exactness, Stage
from mlgen_vegas.settings import FlatSettings, VegasSettings

__all__ = ["FlatSettings", "VegasSettings", "mlgen_phase_space"]


def _vegas() -> type[Any]:
    from mlgen_vegas.vegas_sampler import VegasSampler

    return VegasSampler


def _flat() -> type[Any]:
    from mlgen_vegas.flat_sampler import FlatSampler

    return FlatSampler


@hookimpl
def mlgen_phase_space() -> Iterator[Plugin]:
    """Offer VEGAS and flat sampling."""
    yield Plugin(
        name="vegas",
        stage=Stage.PHASE_SPACE,
        factory=_vegas,
        settings=VegasSettings,
        exactness=Exactness.EXACT,
        summary="an adaptive VEGAS map for each channel, channels drawn as often as their weights ask for",
        references=("arXiv:2009.05112",),
        contract_version=1,
        classical=True,
    )
    yield Plugin(
        name="flat",
        stage=Stage.PHASE_SPACE,
        factory=_flat,
        settings=FlatSettings,
        exactness=Exactness.EXACT,
        summary="uniform points in each channel",
        contract_version=1,
    )
