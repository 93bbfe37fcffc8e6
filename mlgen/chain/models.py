"""Trained models of a stage: their folders, and what is to be said of them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from mlgen.chain.plan import Plan, PlannedStage
from mlgen.chain.report import StageResult, stage_result
from mlgen.errors import ModelError
from mlgen.hookspecs import Plugin
from mlgen.model_record import ModelRecord
from mlgen.plugin_errors import plugin_errors
from mlgen.plugin_sources import code_digest
from mlgen.plugins import Registered
from mlgen.report import write_report
from mlgen.report.page import Figure
from mlgen.report.training import training_page
from mlgen.stages import Contract, Settings, State, TrainingReport
from mlgen.store import (
    REPORT_FILE,
    StoredModel,
    TrainedOn,
    check_plugin_of,
    differences,
    load_model,
    read_record,
    save_model,
    state_to_bytes,
)

#: What to do about a model that does not fit.
ADVICE = "Name another model folder, take this back, or train again with --retrain."


def record_of_settings(stage: PlannedStage, folder: Path, advice: str = ADVICE) -> ModelRecord:
    """Read the record of a model that is to be used with the settings of a stage.

    Args:
        stage: The stage.
        folder: Of the model.
        advice: What to do where it does not fit.

    Raises:
        ModelError: It is of another plugin, or was trained with other settings; says in what they differ.
    """
    record = read_record(folder)
    check_plugin_of(folder, record, stage.registered)
    if changed := differences(record, stage.settings):
        raise ModelError(f"{folder}: the model there was trained with other settings: {'; '.join(changed)}\n{advice}")
    return record


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
        remarks=(*record.report.remarks, *_other_code(record, stage.registered)),
    )
    return stored, result


def _other_code(record: ModelRecord, registered: Registered[Plugin]) -> tuple[str, ...]:
    """What to say where the plugin's code is not that of the training, although its version is.

    A new release has other code, and says by its version whether models of the former one fit (`mlgen.store`).
    """
    now = code_digest(registered.offer.factory.__module__)
    released = [version.partition("+")[0] for version in (record.version, registered.source.version)]
    if not (now and record.code_sha256) or now == record.code_sha256 or released[0] != released[1]:
        return ()
    return (
        f"the code of {registered.source} has changed since this model was trained: train it again with --retrain if "
        "what was learned means something else now",
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


def finished_model(
    plan: Plan,
    stage: PlannedStage,
    implementation: Contract,
    trained_on: TrainedOn,
    report: TrainingReport,
    *,
    restore: Restore | None = None,
    figures: Sequence[Figure] = (),
) -> tuple[Contract, StageResult]:
    """Keep what was trained, where the stage has a model folder, and describe the stage.

    With a folder, what is returned comes from the disk: it is what is used from here on, as it will be in the next run.

    Args:
        plan: The plan.
        stage: The stage.
        implementation: Its plugin, trained.
        trained_on: What it was trained on.
        report: What the training said.
        restore: Makes what the folder holds, where that is more than the plugin alone.
        figures: Pictures for the report of the training, besides its curves.

    Raises:
        ModelError: It cannot be kept.
    """
    if stage.model is not None:
        folder, seed = stage.model, plan.card.model.run.seed
        save_model(
            folder,
            stage.registered,
            stage.settings,
            implementation,
            trained_on=trained_on,
            seed=seed,
            report=report,
            force=plan.retrain,
        )
        stored = load_model(folder, stage.registered, stage.settings, restore)
        implementation, sha256 = stored.implementation, stored.sha256
        page = training_page(
            stored.record,
            model=str(folder),
            sha256=sha256,
            exactness=stage.exactness.value,
            trained=True,
            figures=figures,
        )
        write_report(page, folder / REPORT_FILE, force=True)
    else:
        with plugin_errors(stage.registered):
            sha256 = hashlib.sha256(state_to_bytes(implementation.state())).hexdigest()
    return implementation, stage_result(
        stage,
        trained=True,
        model=str(stage.model or ""),
        model_sha256=sha256,
        trained_on_sha256=trained_on.sha256,
        figures=dict(report.figures),
        remarks=report.remarks,
    )
