"""Unweighting methods: unit-weight events from weighted ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Exactness, Stage
from mlgen_unweighting.settings import HitOrMissSettings

__all__ = ["HitOrMissSettings", "mlgen_unweighting"]


def _hit_or_miss() -> type[Any]:
    from mlgen_unweighting.hit_or_miss import HitOrMiss

    return HitOrMiss


@hookimpl
def mlgen_unweighting() -> Iterator[Plugin]:
    """Offer hit-or-miss unweighting."""
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
