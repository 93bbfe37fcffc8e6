"""Trained samplers of phase space: reused for the same process and settings, trained when they are not there yet."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mlgen.chain.models import ADVICE, finished_model, loaded_model, make_parent
from mlgen.chain.plan import Plan, PlannedStage
from mlgen.chain.point_counts import count_remarks, counts_since, nothing_counts
from mlgen.chain.process_models import record_for_process
from mlgen.chain.process_source import grid_range, process_digest
from mlgen.chain.report import StageResult
from mlgen.errors import ModelError, TrainingError, UserError
from mlgen.plugin_errors import plugin_errors
from mlgen.plugins import plugin_manager
from mlgen.seeds import Work, random_generator
from mlgen.stages import PhaseSpaceSampler, Reporter
from mlgen.store import TrainedOn

if TYPE_CHECKING:
    from mlgen.hard_process.hard_process import HardProcess
    from mlgen.hard_process.integrand import PointCounts


def trained_sampler(
    plan: Plan, stage: PlannedStage, process: HardProcess, reporter: Reporter
) -> tuple[PhaseSpaceSampler, StageResult, int]:
    """Return the sampler of a process, trained, with what is to be said of it.

    Args:
        plan: The plan.
        stage: The sampler's part of it.
        process: What it is trained on.
        reporter: Where progress goes.

    Returns:
        The sampler, the record of the stage, and the integrand calls of its training (whenever that was).

    Raises:
        ModelError: A model is there, but was trained for another process or with other settings.
        TrainingError: The process does not allow it.
    """
    if stage.model is not None and stage.trained and not plan.retrain:
        return _reused(plan, stage, stage.model, process)
    return _trained(plan, stage, process, reporter)


def _reused(
    plan: Plan, stage: PlannedStage, folder: Path, process: HardProcess
) -> tuple[PhaseSpaceSampler, StageResult, int]:
    trained_on = record_for_process(stage, folder, process).trained_on
    budget = plan.budget
    if budget is not None and budget != trained_on.budget:
        then = "no budget but that of its settings" if trained_on.budget is None else f"budget = {trained_on.budget:,}"
        raise ModelError(
            f"{folder}: the model there was trained with {then}, the card says budget = {budget:,}\n{ADVICE}"
        )
    stored, result = loaded_model(stage, folder)
    return cast(PhaseSpaceSampler, stored.implementation), result, trained_on.events


def _trained(
    plan: Plan, stage: PlannedStage, process: HardProcess, reporter: Reporter
) -> tuple[PhaseSpaceSampler, StageResult, int]:
    seed = plan.card.model.run.seed
    if stage.model is not None:
        make_parent(stage.model)
    sampler = cast(PhaseSpaceSampler, plugin_manager().create(stage.registered, stage.settings))
    before = dataclasses.replace(process.integrand.counts)
    try:
        with reporter(f"training {stage.name}") as progress, plugin_errors(stage.registered):
            report = sampler.train(
                process.integrand, plan.budget, random_generator(seed, Work.TRAIN_SAMPLER), progress=progress
            )
    except TrainingError as error:
        raise _explained(error, process, before) from error
    calls = process.integrand.counts.evaluated - before.evaluated
    trained_on = TrainedOn(
        process.settings.reaction, process_digest(process.fingerprint), calls, process.fingerprint, plan.budget
    )
    kept, result = finished_model(plan, stage, sampler, trained_on, report)
    return cast(PhaseSpaceSampler, kept), result, calls


def _explained(error: TrainingError, process: HardProcess, before: PointCounts) -> UserError:
    """What a sampler cannot know: why the integrand is as it is."""
    counts = counts_since(before, process.integrand.counts)
    known = counts.outside_cuts + counts.not_finite + counts.outside_densities
    if counts.evaluated and known >= counts.evaluated:
        return nothing_counts(counts, grid_range(process))
    return TrainingError("\n  ".join([str(error), *count_remarks(counts)]))
