"""Trained models in the chain: reused when data and settings are the same, trained when they are not there yet."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

from mlgen.cache import CACHE_VARIABLE
from mlgen.chain.model_folders import alone, kept_folder
from mlgen.chain.plan import Plan, PlannedStage
from mlgen.chain.report import StageResult, stage_result
from mlgen.digests import sha256_of_files
from mlgen.errors import ModelError, OutputError, PluginFailure, WriteFailure
from mlgen.events import EventBatch
from mlgen.formats.reading import EventStream
from mlgen.hookspecs import Plugin
from mlgen.plugins import Registered, plugin_errors, plugin_manager
from mlgen.report import write_report
from mlgen.report.page import Figure
from mlgen.report.training import training_page
from mlgen.seeds import Work, random_generator
from mlgen.stages import Contract, EventGenerator, Reporter, Settings, State, TrainingReport
from mlgen.store import (
    REPORT_FILE,
    StoredModel,
    TrainedOn,
    differences,
    load_model,
    read_record,
    save_model,
    state_to_bytes,
)


@dataclasses.dataclass(frozen=True, slots=True)
class TrainedGenerator:
    """A generator that is ready to use: what is to be said of it, its training events, what the user should know."""

    generator: EventGenerator
    result: StageResult
    events: int
    remarks: tuple[str, ...] = ()


def trained_generator(
    plan: Plan, stage: PlannedStage, events: EventStream | None, files: Sequence[Path], reporter: Reporter
) -> TrainedGenerator:
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
        return _reused(stage, stage.model, files)
    if events is None:
        raise ModelError(f"{stage.model}: there is no trained model; give [input] to train one")
    if stage.model is None:
        return _from_cache(plan, stage, events, files, reporter)
    make_parent(stage.model)
    generator, trained_on, report = _trained(plan, stage, events, files, reporter)
    stored = keep_model(plan, stage, generator, trained_on, report)
    result = trained_result(stage, stored.sha256, trained_on, report)
    return TrainedGenerator(cast(EventGenerator, stored.implementation), result, trained_on.events)


def _reused(stage: PlannedStage, folder: Path, files: Sequence[Path]) -> TrainedGenerator:
    record = read_record(folder)
    changed = differences(record, stage.settings)
    if changed:
        raise ModelError(
            f"{folder}: the model there was trained with other settings: {'; '.join(changed)}\n"
            "Name another model folder, take these settings back, or train again with --retrain."
        )
    if files and (digest := sha256_of_files(files)) != record.trained_on.sha256:
        raise ModelError(
            f"{folder}: the model there was trained on other events: {record.trained_on.source} "
            f"(SHA-256 {record.trained_on.sha256[:12]}), the input now is {_named(files)} ({digest[:12]})\n"
            "Name another model folder, leave out [input] to use the model as it is, or train again with --retrain."
        )
    return _loaded(stage, folder)


def _loaded(stage: PlannedStage, folder: Path) -> TrainedGenerator:
    stored, result = loaded_model(stage, folder)
    return TrainedGenerator(cast(EventGenerator, stored.implementation), result, stored.record.trained_on.events)


def _from_cache(
    plan: Plan, stage: PlannedStage, events: EventStream, files: Sequence[Path], reporter: Reporter
) -> TrainedGenerator:
    """The generator of an equal training before, or one that is trained now and kept for the next time."""
    folder = kept_folder(plan, stage, sha256_of_files(files))
    # All settings are said: those of use are the card's, also where it leaves them to the default, not the model's.
    said = {name: getattr(stage.settings, name) for name in type(stage.settings).model_fields}
    kept = dataclasses.replace(stage, model=folder, settings=stage.settings.model_copy(update=said))
    remarks = []
    if kept.trained and not plan.retrain:
        try:
            with alone(folder):
                return _loaded(kept, folder)
        except ModelError as error:
            remarks.append(f"the model that was kept cannot be used and was trained again: {error}")
        except PluginFailure as error:
            raise PluginFailure(f"{error}\nIt was given the model in {folder}; to train again: --retrain") from error
    generator, trained_on, report = _trained(plan, stage, events, files, reporter)
    try:
        make_parent(folder)
        with alone(folder):
            # Another mlgen may have put its own there meanwhile, from an equal training.
            stored = keep_model(dataclasses.replace(plan, retrain=True), kept, generator, trained_on, report)
    except (ModelError, OutputError, WriteFailure) as error:
        remarks.append(
            f"the model is not kept: {error}\n"
            f"Choose a folder for it with --model, or another cache with the environment variable {CACHE_VARIABLE}"
        )
        sha256 = hashlib.sha256(state_to_bytes(generator.state())).hexdigest()
        result = trained_result(stage, sha256, trained_on, report)
    else:
        generator = cast(EventGenerator, stored.implementation)
        result = trained_result(kept, stored.sha256, trained_on, report)
    return TrainedGenerator(generator, result, trained_on.events, tuple(remarks))


def _trained(
    plan: Plan, stage: PlannedStage, events: EventStream, files: Sequence[Path], reporter: Reporter
) -> tuple[EventGenerator, TrainedOn, TrainingReport]:
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


#: Makes what a model folder holds, where that is more than the plugin alone (`mlgen.store.load_model`).
Restore = Callable[[Registered[Plugin], Settings, State], Contract]


def loaded_model(stage: PlannedStage, folder: Path, restore: Restore | None = None) -> tuple[StoredModel, StageResult]:
    """Load the trained model of a stage; returns it with what is to be said of it.

    Raises:
        ModelError: It cannot be used.
    """
    stored = load_model(folder, stage.registered, stage.settings, restore)
    record = stored.record
    result = stage_result(
        # What the card leaves open is as it was in the training.
        dataclasses.replace(stage, settings=stored.settings),
        model=str(folder),
        model_sha256=stored.sha256,
        trained_on_sha256=record.trained_on.sha256,
        figures=dict(record.report.figures),
        remarks=record.report.remarks,
    )
    return stored, result


def trained_result(stage: PlannedStage, sha256: str, trained_on: TrainedOn, report: TrainingReport) -> StageResult:
    """Describe a stage whose model was trained now."""
    return stage_result(
        stage,
        trained=True,
        model=str(stage.model or ""),
        model_sha256=sha256,
        trained_on_sha256=trained_on.sha256,
        figures=dict(report.figures),
        remarks=report.remarks,
    )


def make_parent(folder: Path) -> None:
    """Make the folder that a model is to stand in: before the training, because afterwards it would be lost.

    Raises:
        ModelError: It cannot be made.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"{folder}: the folder cannot be made: {error.strerror}") from error


def keep_model(
    plan: Plan,
    stage: PlannedStage,
    implementation: Contract,
    trained_on: TrainedOn,
    report: TrainingReport,
    *,
    restore: Restore | None = None,
    figures: Sequence[Figure] = (),
) -> StoredModel:
    """Save what was trained in the stage's model folder, with its report, and load it again.

    From here on the model on disk is what is used, as it will be in the next run. `figures` are pictures for the
    report, besides the curves of the training.

    Raises:
        ModelError: It cannot be kept.
    """
    folder = cast(Path, stage.model)
    save_model(
        folder,
        stage.registered,
        stage.settings,
        implementation,
        trained_on=trained_on,
        seed=plan.card.model.run.seed,
        report=report,
        force=plan.retrain,
    )
    stored = load_model(folder, stage.registered, stage.settings, restore)
    page = training_page(
        stored.record,
        model=str(folder),
        sha256=stored.sha256,
        exactness=stage.exactness.value,
        trained=True,
        figures=figures,
    )
    write_report(page, folder / REPORT_FILE, force=True)
    return stored


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
