"""Folders in the cache for models that no card names a folder for: one for all that a training depends on."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlgen
from mlgen.cache import cache_folder
from mlgen.chain.plan import Plan, PlannedStage
from mlgen.plugin_sources import code_digest
from mlgen.store import training_settings

_DIGITS = 32


def kept_folder(plan: Plan, stage: PlannedStage, sha256: str) -> Path:
    """Where the cache keeps the model that a generator's training gives.

    Its name has a digest of the plugin with its version, of the settings of the training, of the seed, and of the
    events: of the bytes of the input and of what decides which events are read from them, and how.

    Args:
        plan: The plan.
        stage: The generator's part of it.
        sha256: SHA-256 of the input.
    """
    run, section = plan.card.model.run, plan.card.model.input
    return _folder(
        plan,
        stage,
        {
            "sha256": sha256,
            "files": len(plan.inputs),
            "format": section.format if section is not None else None,
            "on_error": run.on_error,
            "batch_size": run.batch_size,
        },
    )


def kept_shower_folder(plan: Plan, stage: PlannedStage, data: Mapping[str, Any]) -> Path:
    """As `kept_folder`, for the training of a calorimeter.

    Args:
        plan: The plan.
        stage: The calorimeter's part of it.
        data: What the training showers are, as JSON values.
    """
    return _folder(plan, stage, data)


def _folder(plan: Plan, stage: PlannedStage, data: Mapping[str, Any]) -> Path:
    offer, source = stage.registered.offer, stage.registered.source
    definition = {
        "stage": offer.stage.value,
        "plugin": offer.name,
        "distribution": source.distribution,
        "version": source.version,
        "code_sha256": code_digest(offer.factory.__module__),
        "contract_version": offer.contract_version,
        "mlgen_version": mlgen.__version__,
        "settings": training_settings(stage.settings),
        "seed": plan.card.model.run.seed,
        **data,
    }
    digest = hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()
    return cache_folder("models") / f"{offer.name}-{digest[:_DIGITS]}"


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other mlgen reads or writes a model in the cache that `folder` is in.

    Where there can be no lock (a cache that may only be read, a file system without locks), nothing is waited for.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            lock = stack.enter_context((folder.parent / ".lock").open("a"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
