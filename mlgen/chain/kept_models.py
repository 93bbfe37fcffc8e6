"""Models that a card names a folder for, or that the cache keeps: used again, or trained and kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from mlgen.cache import CACHE_VARIABLE
from mlgen.chain.model_folders import alone
from mlgen.chain.models import finished_model, loaded_model, make_parent
from mlgen.chain.plan import Plan, PlannedStage
from mlgen.chain.report import StageResult
from mlgen.errors import ModelError, OutputError, PluginFailure, WriteFailure
from mlgen.stages import Contract, TrainingReport
from mlgen.store import TrainedOn

T = TypeVar("T")
#: Trains the plugin of a stage; returns it, what it learned from, and what the training said.
Train = Callable[[], tuple[Contract, TrainedOn, TrainingReport]]
#: Makes what the chain uses of a trained plugin.
Wrap = Callable[[Contract], T]


@dataclass(frozen=True, slots=True)
class ReadyModel(Generic[T]):
    """A model that is ready to use.

    Attributes:
        model: What the chain uses.
        result: What is to be said of it.
        trained_on: What it learned from.
        remarks: What the user should know.
    """

    model: T
    result: StageResult
    trained_on: TrainedOn
    remarks: tuple[str, ...] = ()


def model_of_folder(stage: PlannedStage, folder: Path, wrap: Wrap[T]) -> ReadyModel[T]:
    """Load a model that was trained before.

    Raises:
        ModelError: It cannot be used.
    """
    stored, result = loaded_model(stage, folder)
    return ReadyModel(wrap(stored.implementation), result, stored.record.trained_on)


def newly_trained(plan: Plan, stage: PlannedStage, folder: Path, train: Train, wrap: Wrap[T]) -> ReadyModel[T]:
    """Train a model, and keep it in the folder that the card names.

    Raises:
        ModelError: It cannot be kept.
    """
    make_parent(folder)
    implementation, trained_on, report = train()
    implementation, result = finished_model(plan, stage, implementation, trained_on, report)
    return ReadyModel(wrap(implementation), result, trained_on)


def model_of_cache(plan: Plan, stage: PlannedStage, folder: Path, train: Train, wrap: Wrap[T]) -> ReadyModel[T]:
    """Return the model of an equal training before, or one that is trained now and kept for the next time.

    A cache that cannot be written into, and a kept model that cannot be used, are remarks: the chain goes on.

    Args:
        plan: The plan.
        stage: The stage, without a model folder.
        folder: Where the cache has, or will have, the model.
        train: Trains one.
        wrap: Makes what the chain uses of it.

    Raises:
        PluginFailure: The plugin failed.
    """
    # All settings are said: those of use are the card's, also where it leaves them to the default, not the model's.
    said = {name: getattr(stage.settings, name) for name in type(stage.settings).model_fields}
    kept = dataclasses.replace(stage, model=folder, settings=stage.settings.model_copy(update=said))
    remarks = []
    if kept.trained and not plan.retrain:
        try:
            with alone(folder):
                return model_of_folder(kept, folder, wrap)
        except ModelError as error:
            remarks.append(f"the model that was kept cannot be used and was trained again: {error}")
        except PluginFailure as error:
            raise PluginFailure(f"{error}\nIt was given the model in {folder}; to train again: --retrain") from error
    implementation, trained_on, report = train()
    try:
        make_parent(folder)
        with alone(folder):
            # Another mlgen may have put its own there meanwhile, from an equal training.
            over = dataclasses.replace(plan, retrain=True)
            implementation, result = finished_model(over, kept, implementation, trained_on, report)
    except (ModelError, OutputError, WriteFailure) as error:
        remarks.append(
            f"the model is not kept: {error}\n"
            f"Choose a folder for it with --model, or another cache with the environment variable {CACHE_VARIABLE}"
        )
        implementation, result = finished_model(plan, stage, implementation, trained_on, report)
    return ReadyModel(wrap(implementation), result, trained_on, tuple(remarks))
