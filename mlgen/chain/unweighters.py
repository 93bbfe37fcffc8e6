"""Unweighters of a process: made anew for each choice of the maxima, and trained before where they learn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import numpy as np

from mlgen.chain.candidates import CandidateBatch, CandidateSource
from mlgen.chain.crude_weights import crude_source, features_of
from mlgen.chain.models import finished_model, loaded_model, make_parent
from mlgen.chain.plan import Plan, PlannedStage
from mlgen.chain.process_models import record_for_process
from mlgen.chain.process_source import process_digest
from mlgen.chain.report import StageResult, stage_result
from mlgen.plugin_errors import plugin_errors
from mlgen.plugins import plugin_manager
from mlgen.seeds import Work, random_generator
from mlgen.stages import Candidates, FloatArray, IntArray, Reporter, Unweighter
from mlgen.store import TrainedOn

#: Candidates of a batch of the training.
_BATCH = 32_768


def trained_unweighter(
    plan: Plan, stage: PlannedStage, source: CandidateSource, reporter: Reporter
) -> tuple[Callable[[], Unweighter], StageResult]:
    """Return how the unweighter of a process is made, trained where it learns, and what is to be said of it.

    Args:
        plan: The plan.
        stage: The unweighting's part of it.
        source: Draws candidates; its matrix elements are the true ones.
        reporter: Where progress goes.

    Raises:
        ModelError: A model is there that does not fit.
        mlgen.errors.TrainingError: The process does not allow a training.
    """
    if not plan.unweighting_learns:
        return lambda: cast(Unweighter, plugin_manager().create(stage.registered, stage.settings)), stage_result(stage)
    if stage.model is not None and stage.trained and not plan.retrain:
        record_for_process(stage, stage.model, source.process)
        stored, result = loaded_model(stage, stage.model)
        trained = cast(Unweighter, stored.implementation)
    else:
        trained, result = _trained(plan, stage, source, reporter)
    with plugin_errors(stage.registered):
        state = dict(trained.state())

    def made() -> Unweighter:
        with plugin_errors(stage.registered):
            return type(trained).from_state(trained.settings, state)

    return made, result


def _trained(
    plan: Plan, stage: PlannedStage, source: CandidateSource, reporter: Reporter
) -> tuple[Unweighter, StageResult]:
    if stage.model is not None:
        make_parent(stage.model)
    seed, process = plan.card.model.run.seed, source.process
    unweighter = cast(Unweighter, plugin_manager().create(stage.registered, stage.settings))
    stream = _Stream(source, seed)
    with reporter(f"training {stage.name}") as progress, plugin_errors(stage.registered):
        report = unweighter.train(stream, random_generator(seed, Work.TRAIN_UNWEIGHTING), progress)
    trained_on = TrainedOn(
        process.settings.reaction, process_digest(process.fingerprint), stream.evaluations, process.fingerprint
    )
    kept, result = finished_model(plan, stage, unweighter, trained_on, report)
    return cast(Unweighter, kept), result


class _Stream:
    """Candidates without an end, to learn from.

    Args:
        source: Draws candidates; its matrix elements are the true ones.
        seed: Of the run.

    Attributes:
        evaluations: Number of true weights that were computed.
    """

    def __init__(self, source: CandidateSource, seed: int) -> None:
        self._source, self._crude, self._seed = source, crude_source(source), seed
        self.evaluations = 0

    def __iter__(self) -> Iterator[Candidates]:
        number = 0
        while True:
            batch = self._crude.draw(_BATCH, random_generator(self._seed, Work.DRAW_TRAINING_POINTS, number))
            vanishes = np.asarray(batch.factor == 0)
            features = features_of(self._crude, batch)
            yield Candidates(batch.weight, partial(self._exact, batch), features=features, vanishes=vanishes)
            number += 1

    def _exact(self, batch: CandidateBatch, index: IntArray) -> FloatArray:
        self.evaluations += len(index)
        return self._source.again(batch.x[index], batch.channel[index], batch.factor[index]).weight
