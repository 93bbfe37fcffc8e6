"""Unweighting methods: unit-weight events from weighted ones. Nothing heavy is imported before a card asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Capability, Exactness, Stage
from mlgen_unweighting.settings import HitOrMissSettings
from mlgen_unweighting.two_stage_settings import TwoStageSettings

__all__ = ["HitOrMissSettings", "TwoStageSettings", "mlgen_unweighting"]


def _hit_or_miss() -> type[Any]:
    from mlgen_unweighting.hit_or_miss import HitOrMiss

    return HitOrMiss


def _two_stage() -> type[Any]:
    from mlgen_unweighting.two_stage import TwoStage

    return TwoStage


@hookimpl
def mlgen_unweighting() -> Iterator[Plugin]:
    """Offer hit-or-miss and two-stage unweighting."""
    yield Plugin(
        name="hit-or-miss",
        stage=Stage.UNWEIGHTING,
        factory=_hit_or_miss,
        settings=HitOrMissSettings,
        exactness=Exactness.EXACT,
        summary="accepts with probability |w| / w_max; overweights keep their excess, signs are kept",
        references=("arXiv:2001.10028", "arXiv:2109.11964"),
        contract_version=1,
    )
    yield Plugin(
        name="two-stage",
        stage=Stage.UNWEIGHTING,
        factory=_two_stage,
        settings=TwoStageSettings,
        exactness=Exactness.EXACT,
        summary="accepts by a surrogate's weight, then by the true weight of what is left; exact for any surrogate",
        references=("arXiv:2109.11964", "arXiv:2301.13562"),
        contract_version=1,
        capabilities=frozenset({Capability.CORRECTS_SURROGATES}),
        quick_settings={"pilot": 500},
    )
