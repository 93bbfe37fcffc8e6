"""Trained generators in the chain: reused when data and settings are the same, trained when not there yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from mlgen.chain.kept_models import ReadyModel, model_of_cache, model_of_folder, newly_trained
from mlgen.chain.model_folders import kept_folder
from mlgen.chain.models import record_of_settings
from mlgen.chain.plan import Plan, PlannedStage
from mlgen.digests import sha256_of_files
from mlgen.errors import ModelError
from mlgen.events import EventBatch
from mlgen.formats.reading import EventStream
from mlgen.plugin_errors import plugin_errors
from mlgen.plugins import plugin_manager
from mlgen.seeds import Work, random_generator
from mlgen.stages import Contract, EventGenerator, Reporter, TrainingReport
from mlgen.store import TrainedOn


def trained_generator(
    plan: Plan, stage: PlannedStage, events: EventStream | None, files: Sequence[Path], reporter: Reporter
) -> ReadyModel[EventGenerator]:
    """Return the card's generator, trained.

    Where the card names no folder for its model, the cache has one for each training (`kept_folder`).

    Args:
        plan: The plan.
        stage: The generator's part of it.
        events: What to train on, None to use a model that is there.
        files: The files that `events` comes from.
        reporter: Where progress goes.

    Raises:
        ModelError: A model is there, but was trained on other events or with other settings.
        TrainingError: The events do not allow it.
    """
    if stage.model is not None and stage.trained and not plan.retrain:
        _check(stage, stage.model, files)
        return model_of_folder(stage, stage.model, _generator)
    if events is None:
        raise ModelError(f"{stage.model}: there is no trained model; give [input] to train one")

    def train() -> tuple[Contract, TrainedOn, TrainingReport]:
        return _trained(plan, stage, events, files, reporter)

    if stage.model is None:
        return model_of_cache(plan, stage, kept_folder(plan, stage, sha256_of_files(files)), train, _generator)
    return newly_trained(plan, stage, stage.model, train, _generator)


def _check(stage: PlannedStage, folder: Path, files: Sequence[Path]) -> None:
    """The model in a folder has to be of the same settings and events."""
    trained_on = record_of_settings(
        stage, folder, "Name another model folder, take these settings back, or train again with --retrain."
    ).trained_on
    if files and (digest := sha256_of_files(files)) != trained_on.sha256:
        raise ModelError(
            f"{folder}: the model there was trained on other events: {trained_on.source} "
            f"(SHA-256 {trained_on.sha256[:12]}), the input now is {_named(files)} ({digest[:12]})\n"
            "Name another model folder, leave out [input] to use the model as it is, or train again with --retrain."
        )


def _generator(implementation: Contract) -> EventGenerator:
    return cast(EventGenerator, implementation)


def _trained(
    plan: Plan, stage: PlannedStage, events: EventStream, files: Sequence[Path], reporter: Reporter
) -> tuple[Contract, TrainedOn, TrainingReport]:
    generator = cast(EventGenerator, plugin_manager().create(stage.registered, stage.settings))
    counted = _Counted(events)
    with reporter(f"training {stage.name}") as progress, plugin_errors(stage.registered):
        report = generator.train(
            counted,
            events.run_info,
            random_generator(plan.card.model.run.seed, Work.TRAIN_GENERATOR),
            progress=progress,
        )
    return generator, TrainedOn(_named(files), sha256_of_files(files), counted.events), report


class _Counted:
    """The batches of a stream, counted in passing (in the last pass, if there are several)."""

    def __init__(self, events: EventStream) -> None:
        self._stream = events
        self.events = 0

    def __iter__(self) -> Iterator[EventBatch]:
        self.events = 0
        for batch in self._stream:
            self.events += len(batch)
            yield batch


def _named(files: Sequence[Path]) -> str:
    return ", ".join(path.name for path in files)
