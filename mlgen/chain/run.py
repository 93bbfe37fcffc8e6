"""Runs a plan: source of events, unweighting, outputs, all as one stream of batches."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from mlgen.chain.checks import check_generated, check_unweighted
from mlgen.chain.detector_stage import DetectorStage
from mlgen.chain.generator_models import trained_generator
from mlgen.chain.kept_models import ReadyModel
from mlgen.chain.plan import Plan, PlannedStage
from mlgen.chain.report import RunResult, StageResult, approximate_stages, provenance, stage_result
from mlgen.chain.shower_models import trained_surrogate
from mlgen.chain.showering import ShowerStage
from mlgen.chain.timing import Timer
from mlgen.chain.unweighting_figures import unweighting_figures
from mlgen.chain.weight_distribution import WeightDistribution
from mlgen.chain.writing import write_outputs
from mlgen.errors import WriteFailure
from mlgen.events import EventBatch
from mlgen.formats.reading import EventStream, open_events
from mlgen.plugin_errors import plugin_errors
from mlgen.plugins import plugin_manager
from mlgen.run_info import RunInfo, WeightNormalisation
from mlgen.seeds import Work, random_generator
from mlgen.stages import Candidates, EventGenerator, IntArray, Progress, Reporter, Unweighter, silent
from mlgen.trials import attributes_without_trials, trials_of

if TYPE_CHECKING:
    from mlgen.chain.reweighting import Reweighting

Made = TypeVar("Made")


@dataclass(slots=True)
class _Source:
    """Where the events come from: a file or a generator. Can be iterated more than once, with the same events."""

    run_info: RunInfo
    plan: Plan
    events: EventStream | None = None
    generator: EventGenerator | None = None
    count: int | None = None
    #: Generates a batch while the one before is written; None: one after the other.
    worker: ThreadPoolExecutor | None = None
    #: What the pass before the unweighting found: a negative weight, the number of events, the sum of their trials.
    negative_weights: bool = False
    candidates: int = 0
    trials: float = 0.0
    weights: WeightDistribution = field(default_factory=WeightDistribution)
    #: Of what is accepted.
    unweighted: WeightDistribution = field(default_factory=WeightDistribution)
    _processes: dict[int, int] = field(default_factory=dict)

    def as_candidates(self, batch: EventBatch) -> Candidates:
        """A batch as an unweighting sees it: weights, and processes numbered in the order in which they came."""
        found, place = np.unique(batch.process_id, return_inverse=True)
        numbers = [self._processes.setdefault(int(process), len(self._processes)) for process in found]
        return Candidates(batch.weight, groups={"process": np.array(numbers, np.int64)[place]})

    def __iter__(self) -> Iterator[EventBatch]:
        if self.generator is not None:
            return self._generated(self.generator, self.count or 0)
        return self._read()

    def _generated(self, generator: EventGenerator, count: int) -> Iterator[EventBatch]:
        stage = cast(PlannedStage, self.plan.generator)
        run = self.plan.card.model.run

        def batch(index: int) -> EventBatch:
            rng = random_generator(run.seed, Work.GENERATE, index)
            size = min(run.batch_size, count - index * run.batch_size)
            with plugin_errors(stage.registered):
                made = generator.generate(size, rng)
                check_generated(made, size, self.run_info.variation_names)
            return made

        indices = range(math.ceil(count / run.batch_size))
        return map(batch, indices) if self.worker is None else _one_ahead(self.worker, batch, indices)

    def _read(self) -> Iterator[EventBatch]:
        left = self.count
        for batch in cast(EventStream, self.events):
            if left is not None:
                batch = batch[:left]
                left -= len(batch)
            if len(batch):
                yield batch
            if left == 0:
                return


def _one_ahead(worker: ThreadPoolExecutor, make: Callable[[int], Made], indices: Iterable[int]) -> Iterator[Made]:
    """Yield what is made of each index, in order, while the worker makes the next: one after the other, never two."""
    futures: list[Future[Made]] = []
    for index in indices:
        ready = [future.result() for future in futures]
        futures = [worker.submit(make, index)]
        yield from ready
    yield from (future.result() for future in futures)


def run_chain(plan: Plan, reporter: Reporter = silent) -> RunResult:
    """Run a plan and write its outputs.

    Raises:
        mlgen.errors.MlgenError: Whatever goes wrong; no output is left under its name then.
    """
    if plan.card.model.process is not None:
        from mlgen.chain.process_run import run_process

        return run_process(plan, reporter)
    timer = Timer()
    with contextlib.ExitStack() as stack:
        events, files = _opened_input(plan, stack)
        stages: list[StageResult] = []
        source, trained = _source(plan, events, files, reporter, timer)
        if trained is not None:
            stages.append(trained.result)
            if plan.unweighting is None:
                # An unweighting computes while events come, and how many threads libraries use holds for both threads.
                source.worker = stack.enter_context(ThreadPoolExecutor(1, "mlgen-generator"))
        reweightings = _reweightings(plan)
        for reweighting in reweightings:
            # Before the pass that looks for a maximum: a name that is taken is found out now.
            source.run_info = reweighting.declared(source.run_info)
        detector = DetectorStage(plan, reporter, timer) if plan.calorimeter is not None else None
        unweighter = _prepared_unweighter(plan, source, reporter, timer)
        if unweighter is not None:
            stages.append(stage_result(cast(PlannedStage, plan.unweighting)))
        described = (*stages, *(reweighting.description() for reweighting in reweightings))
        shower = ShowerStage(plan, reporter, timer) if plan.shower is not None else None
        if shower is not None:
            described = (*described, shower.description)
        if detector is not None:
            described = (*described, detector.description)
        run_info = _output_run_info(plan, source, unweighter, described)
        written = _chosen(plan, source, unweighter, reweightings)
        # Of what is accepted of several candidates, the number is not known before.
        total = source.count if unweighter is None else None
        count = write_outputs(plan, run_info, written, total, reporter, timer, detector, shower)
        skipped = events.skipped.count if events is not None else 0
    if unweighter is not None:
        with plugin_errors(cast(PlannedStage, plan.unweighting).registered):
            report = unweighter.report()
        figures = unweighting_figures(report)
        stages[-1] = stage_result(cast(PlannedStage, plan.unweighting), figures=figures, remarks=report.remarks)
    stages += [reweighting.result(run_info) for reweighting in reweightings]
    remarks = [*plan.card.remarks, *(trained.remarks if trained is not None else ())]
    if shower is not None:
        stages.append(shower.result())
        run_info = shower.run_info
    if detector is not None:
        stages.append(detector.result())
        remarks += detector.remarks
    return RunResult(
        events=count,
        cross_section=run_info.cross_section,
        cross_section_error=run_info.cross_section_error,
        exactness=run_info.provenance[-1]["exactness"],
        outputs=plan.outputs,
        stages=tuple(stages),
        skipped=skipped,
        seconds=timer.seconds,
        remarks=(*remarks, *_remarks(events, source)),
        provenance=run_info.provenance[-1],
        weights=source.weights if unweighter is not None else None,
        unweighted=source.unweighted if unweighter is not None else None,
        particles=detector.particles() if detector is not None else (),
    )


def train_chain(plan: Plan, reporter: Reporter = silent) -> StageResult:
    """Train the models that a plan names, and save them; one that is there for the same data is left as it is.

    Returns:
        What is to be said of the last of them, in the order of the chain.

    Raises:
        mlgen.errors.MlgenError: Whatever goes wrong; no half-written model is left.
    """
    if plan.sampler is not None:
        from mlgen.chain.process_source import open_process
        from mlgen.chain.process_stages import trained_stages

        with reporter("preparing the process"):
            process = open_process(plan.card)
        of_process = trained_stages(plan, process, reporter)
        if plan.unweighting is not None and plan.unweighting_learns:
            from mlgen.chain.unweighters import trained_unweighter

            of_last = trained_unweighter(plan, plan.unweighting, of_process.exact, reporter)[1]
        else:
            of_last = of_process.stages[-1]
        return _trained_calorimeter(plan, reporter) or of_last
    if plan.amplitude is not None:
        from mlgen.chain.amplitudes import trained_amplitude

        _, trained = trained_amplitude(plan, plan.amplitude, None, reporter)
        return trained
    if plan.generator is not None:
        with contextlib.ExitStack() as stack:
            events, files = _opened_input(plan, stack)
            of_generator = trained_generator(plan, plan.generator, events, files, reporter).result
        return _trained_calorimeter(plan, reporter) or of_generator
    return cast(StageResult, _trained_calorimeter(plan, reporter))


def _trained_calorimeter(plan: Plan, reporter: Reporter) -> StageResult | None:
    if plan.calorimeter is None:
        return None
    return trained_surrogate(plan, plan.calorimeter, reporter).result


def _opened_input(plan: Plan, stack: contextlib.ExitStack) -> tuple[EventStream | None, Sequence[Path]]:
    if not plan.inputs:
        return None, ()
    run = plan.card.model.run
    section = plan.card.model.input
    files: Sequence[Path] = plan.inputs
    if any(stage is not plan.calorimeter for stage in plan.stages):
        files = [_repeatable(path, stack) for path in files]
    events = stack.enter_context(
        open_events(
            *files,
            batch_size=run.batch_size,
            on_error=run.on_error,
            format_name=section.format if section else None,
        )
    )
    return events, files


def _repeatable(path: Path, stack: contextlib.ExitStack) -> Path:
    """Training and unweighting look at the events more than once; copy what can be read only once."""
    if str(path) != "-" and (path.is_file() or path.is_dir() or not path.exists()):
        return path
    name = "standard input" if str(path) == "-" else path.name
    spool = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlgen-"))) / name
    try:
        with spool.open("wb") as copy, contextlib.ExitStack() as opened:
            pipe = sys.stdin.buffer if str(path) == "-" else opened.enter_context(path.open("rb"))
            shutil.copyfileobj(pipe, copy, 1 << 20)
    except OSError as error:
        raise WriteFailure(f"{name}: it cannot be copied to {spool.parent}: {error.strerror}; set TMPDIR") from error
    return spool


def _source(
    plan: Plan, events: EventStream | None, files: Sequence[Path], reporter: Reporter, timer: Timer
) -> tuple[_Source, ReadyModel[EventGenerator] | None]:
    wanted = plan.card.model.run.events
    if plan.generator is None:
        opened = cast(EventStream, events)
        return _Source(opened.run_info, plan, events=opened, count=wanted), None
    with timer("training"):
        trained = trained_generator(plan, plan.generator, events, files, reporter)
    with plugin_errors(plan.generator.registered):
        run_info = trained.model.run_info
    count = trained.trained_on.events if wanted is None else wanted
    return _Source(run_info, plan, generator=trained.model, count=count), trained


def _prepared_unweighter(plan: Plan, source: _Source, reporter: Reporter, timer: Timer) -> Unweighter | None:
    stage = plan.unweighting
    if stage is None:
        return None
    unweighter = cast(Unweighter, plugin_manager().create(stage.registered, stage.settings))
    with reporter("looking for the maximum weight") as progress, timer("maximum weight"):

        def candidates() -> Iterator[Candidates]:
            for batch in source:
                source.candidates += len(batch)
                source.trials += float(trials_of(batch).sum())
                source.negative_weights |= bool(np.any(batch.weight < 0))
                source.weights.add(batch.weight)
                yield source.as_candidates(batch)
                progress(Progress(source.candidates, source.count or 0))

        with plugin_errors(stage.registered):
            unweighter.prepare(candidates())
    return unweighter


def _output_run_info(
    plan: Plan, source: _Source, unweighter: Unweighter | None, stages: tuple[StageResult, ...]
) -> RunInfo:
    info = source.run_info
    if unweighter is not None and info.normalisation is WeightNormalisation.AVERAGE:
        # What was to be unweighted by the reader (IDWTUP 1 and 2) now has weights that average to the cross section.
        info = info.replace(weight_strategy=int(math.copysign(4, info.weight_strategy)))
    if source.negative_weights and info.weight_strategy > 0:
        info = info.replace(weight_strategy=-info.weight_strategy)
    return info.replace(provenance=(*info.provenance, provenance(plan, stages, info.provenance)))


def _reweightings(plan: Plan) -> list[Reweighting]:
    sections = plan.card.model.reweighting
    if not sections:
        return []
    from mlgen.chain.reweighting import Reweighting

    return [Reweighting(plan.card, number) for number in range(len(sections))]


def _chosen(
    plan: Plan, source: _Source, unweighter: Unweighter | None, reweightings: Sequence[Reweighting]
) -> Iterator[EventBatch]:
    """The events that are written."""
    read = 0
    for index, batch in enumerate(source):
        numbers = read + np.arange(1, len(batch) + 1)
        read += len(batch)
        if unweighter is not None:
            kept, batch = _unweighted(plan, source, unweighter, batch, index)
            numbers = numbers[kept]
        # Only of accepted events, whose named weights keep their ratio to the nominal one: the same, for less.
        for reweighting in reweightings:
            batch = reweighting.reweighted(batch, numbers)
        yield batch


def _unweighted(
    plan: Plan, source: _Source, unweighter: Unweighter, batch: EventBatch, index: int
) -> tuple[IntArray, EventBatch]:
    """Which events of a batch are accepted, from 0, and these with their new weights."""
    stage = cast(PlannedStage, plan.unweighting)
    rng = random_generator(plan.card.model.run.seed, Work.UNWEIGHT, index)
    with plugin_errors(stage.registered):
        accepted = unweighter.unweight(source.as_candidates(batch), rng)
        check_unweighted(accepted, len(batch))
    kept = batch[accepted.index]
    # The new weights average to what the candidates' do; where candidates stand for several trials each, to the sum of
    # weights over the sum of trials, which is the cross section. The events that are left stand for one trial each.
    weight = accepted.weight * (source.candidates / source.trials)
    # A variation keeps its ratio to the nominal weight.
    ratio = np.divide(weight, kept.weight, out=np.zeros(len(kept)), where=kept.weight != 0)
    source.unweighted.add(weight)
    variations = {name: values * ratio for name, values in kept.variations.items()}
    attributes = attributes_without_trials(kept)
    return accepted.index, dataclasses.replace(kept, weight=weight, variations=variations, tag_attributes=attributes)


def _remarks(events: EventStream | None, source: _Source) -> tuple[str, ...]:
    remarks = []
    if events is not None and (weak := approximate_stages(events.run_info.provenance)) is not None:
        remarks.append(f"the input was made by {' and '.join(weak) or 'an approximate chain'}: it stays approximate")
    if source.trials != source.candidates:
        remarks.append(
            f"the {source.candidates:,} candidates stand for {source.trials:,.0f} trials: their cross section is the "
            "sum of weights over the sum of trials, to which the weights of the unweighted events average"
        )
    if events is not None and (events.skipped.count or events.skipped.reasons):
        remarks.append(f"{events.skipped.count:,} input events could not be read and were left out:")
        remarks += [f"  {reason}" for reason in events.skipped.reasons]
    return tuple(remarks)
