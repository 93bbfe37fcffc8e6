"""Runs a [process]: from points of phase space to weighted or unweighted events.

Pass 1 draws candidates in batches, evaluates each once, and keeps those that count in a temporary file. Pass 2 makes
events of them. The pass in between, over the weights alone, is what an unweighting needs to choose its maximum.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import cast

import numpy as np

import mlgen
from mlgen.chain.candidate_pool import CandidatePool, KnownPool
from mlgen.chain.checks import check_mean_weight, check_normalisation, check_unweighted
from mlgen.chain.crude_weights import crude_source
from mlgen.chain.detector_stage import DetectorStage
from mlgen.chain.evaluation_costs import cost_ratio
from mlgen.chain.integration import OVERWEIGHT_SHARE, POINTS_WITHOUT_ANY
from mlgen.chain.plan import Plan, PlannedStage
from mlgen.chain.point_counts import count_remarks, counts_since, nothing_counts
from mlgen.chain.process_source import grid_range, open_process
from mlgen.chain.process_stages import TrainedStages, trained_stages
from mlgen.chain.report import RunResult, StageResult, process_provenance
from mlgen.chain.showering import ShowerStage
from mlgen.chain.spool import ChosenEvents, TemporaryFiles
from mlgen.chain.sums import Sums
from mlgen.chain.surrogate_pool import SurrogatePool
from mlgen.chain.timing import Timer
from mlgen.chain.unweighters import trained_unweighter
from mlgen.chain.unweighting_figures import unweighting_figures
from mlgen.chain.unweighting_gain import UnweightingCosts
from mlgen.chain.weight_distribution import WeightDistribution
from mlgen.chain.weight_efficiency import WeightModuli
from mlgen.chain.writing import write_outputs
from mlgen.errors import WeightError
from mlgen.events import EventBatch
from mlgen.plugin_errors import plugin_errors
from mlgen.seeds import Work, random_generator
from mlgen.stages import Progress, ProgressCallback, Reporter, Unweighter, UnweightingReport, silent

#: Candidates of the smallest and of the largest batch.
SMALLEST_BATCH = 1_000
LARGEST_BATCH = 32_768
#: How many more candidates a round may have than all before it.
LARGEST_GROWTH = 8.0
#: Candidates beyond those that the efficiency so far asks for, so that one round more is seldom needed.
MARGIN = 1.05


def run_process(plan: Plan, reporter: Reporter = silent) -> RunResult:
    """Run a plan that starts from a [process], and write its outputs.

    ``events`` of the card is the number of events that are written: candidates are drawn until there are as many. Of
    weighted events these are candidates with a weight other than zero. Candidates of weight zero stand in no file; the
    weights are multiplied by the share of those that do not vanish, so that the weights of the file average to the
    cross section. That share is estimated by (N - 1) / (T - 1), the unbiased estimate where T candidates had to be
    drawn until N of them did not vanish. For a single event there is none: 1 / T is taken, which is too large on the
    average.

    Candidates come in batches of a size of its own, so that the events do not depend on that of the card.

    Raises:
        mlgen.errors.MlgenError: Whatever goes wrong; no output is left under its name then.
    """
    timer = Timer()
    with reporter("preparing the process"), timer("process"):
        process = open_process(plan.card)
    with timer("training"):
        trained = trained_stages(plan, process, reporter)
    detector = DetectorStage(plan, reporter, timer) if plan.calorimeter is not None else None
    with TemporaryFiles() as files:
        run = _ProcessRun(plan, trained, files, reporter, timer)
        unweighting: tuple[StageResult, ...] = ()
        if plan.unweighting is None:
            chosen = run.weighted()
        else:
            chosen, unweighting = run.unweighted(plan.unweighting)
        stages = (*run.trained_results(), *unweighting)
        shower = ShowerStage(plan, reporter, timer) if plan.shower is not None else None
        behind = [stage for stage in (shower, detector) if stage is not None]
        described = (*stages, *(stage.description for stage in behind))
        run_info = process.run_info(run.cross_section, run.error, chosen.largest, negative=chosen.negative)
        run_info = trained.declared(run_info)
        record = process_provenance(plan, described, process.fingerprint, "run")
        run_info = run_info.replace(
            provenance=(*run_info.provenance, record),
            generator=f"mlgen {mlgen.__version__}",
            init_text=f'<generator name="mlgen" version="{mlgen.__version__}"></generator>',
        )
        wanted = plan.card.model.run.events
        count = write_outputs(plan, run_info, run.events(chosen), wanted, reporter, timer, detector, shower)
        if shower is not None:
            run_info = shower.run_info
    return RunResult(
        events=count,
        cross_section=run_info.cross_section,
        cross_section_error=run_info.cross_section_error,
        exactness=plan.exactness.value,
        outputs=plan.outputs,
        stages=(*stages, *(stage.result() for stage in behind)),
        skipped=0,
        seconds=timer.seconds,
        remarks=(*run.remarks(), *(detector.remarks if detector is not None else ())),
        provenance=record,
        weights=run.distribution if plan.unweighting is not None else None,
        unweighted=run.accepted if plan.unweighting is not None else None,
        particles=detector.particles() if detector is not None else (),
    )


class _ProcessRun:
    """Draws candidates into a pool and chooses events among them."""

    def __init__(
        self, plan: Plan, trained: TrainedStages, files: TemporaryFiles, reporter: Reporter, timer: Timer
    ) -> None:
        self._plan, self._trained, self._files = plan, trained, files
        self._reporter, self._timer = reporter, timer
        self._wanted = cast(int, plan.card.model.run.events)
        self._seed = plan.card.model.run.seed
        self._unweighter: Callable[[], Unweighter] | None = None
        self._of_unweighting: StageResult | None = None
        if plan.unweighting is not None:
            with timer("training"):
                made = trained_unweighter(plan, plan.unweighting, trained.exact, reporter)
            self._unweighter, self._of_unweighting = made
        self._pool = self._opened_pool()
        # What is measured to know the costs is none of the run.
        self._counts_before = dataclasses.replace(trained.source.counts)
        if trained.guard is not None:
            trained.guard.clear()
        self._moduli = WeightModuli()
        self._sums = Sums(0, np.zeros(1), np.zeros(1))
        self._scale = 1.0
        self._estimate: tuple[float, float] | None = None
        self._remarks: list[str] = []
        self.distribution = WeightDistribution()
        self.accepted = WeightDistribution()

    def _opened_pool(self) -> CandidatePool:
        plan, trained, timer = self._plan, self._trained, self._timer
        if not plan.corrected:
            particles = len(trained.source.process.subprocesses[0].pdg_ids)
            work = "matrix element" if plan.amplitude is None else "surrogate"
            return KnownPool(trained.source.timed(timer, work), self._seed, self._files, particles)
        crude = crude_source(trained.exact) if plan.unweighting_learns else trained.source
        keeper = plan.unweighting if plan.unweighting_learns else plan.amplitude
        with timer("measuring costs"):
            ratio = cost_ratio(keeper.model if keeper is not None else None, trained.exact, trained.elements or None)
        return SurrogatePool(
            crude.timed(timer, "surrogate"),
            trained.exact.timed(timer, "matrix element"),
            self._seed,
            self._files,
            surrogates=trained.elements,
            cost_ratio=ratio,
            features=plan.unweighting_learns,
        )

    @property
    def cross_section(self) -> float:
        """In pb, from all candidates."""
        return self._estimate[0] if self._estimate is not None else float(self._sums.mean[0]) * self._scale

    @property
    def error(self) -> float:
        """Standard error of the cross section in pb."""
        return self._estimate[1] if self._estimate is not None else float(self._sums.error[0]) * self._scale

    def weighted(self) -> ChosenEvents:
        """Draw until as many candidates as wanted do not vanish; all of them are events."""
        pool = self._pool
        with self._reporter("drawing events") as progress, self._timer("candidates"):
            while (missing := self._wanted - pool.kept) > 0:
                share = pool.kept / pool.total if pool.kept else 1.0
                self._draw(missing / share * MARGIN, at_most=missing)
                progress(Progress(pool.kept, self._wanted, "share that counts", pool.kept / pool.total))
        kept, total = pool.kept, pool.total
        share = (kept - 1) / (total - 1) if kept > 1 else kept / total
        # The same share goes into the cross section, so that the file agrees with its own <init>.
        self._scale = share / (kept / total)
        chosen = ChosenEvents(self._files, self._wanted)
        for number in range(len(pool)):
            weight = pool.candidates(number).weight
            index = np.flatnonzero(weight)
            chosen.add(index, weight[index] * share)
        if kept < total:
            self._remarks.append(
                f"{total - kept:,} of {total:,} candidates have weight zero and are not written; the weights are "
                f"multiplied by {share:.6g}, so that those of the file average to the cross section"
            )
        return chosen

    def unweighted(self, stage: PlannedStage) -> tuple[ChosenEvents, tuple[StageResult]]:
        """Draw in growing rounds until enough candidates are accepted; the first of these are the events.

        A round ends with an unweighting of all candidates so far, because what is accepted depends on the maximum,
        and that on all candidates. Whether a candidate is accepted depends on its own weight, its own random number and
        that maximum, so the order of the events tells nothing of them, and the first ones are as good as any. The
        number of candidates depends on the weights through the share that is accepted, and so does the cross section,
        by much less than its error: a round is planned with a margin, and is seldom followed by another.
        """
        pool = self._pool
        needed = float(self._wanted)
        while True:
            with self._reporter("drawing candidates") as progress, self._timer("candidates"):
                while pool.total < needed or not pool.kept:
                    self._draw(needed - pool.total)
                    progress(Progress(pool.total, math.ceil(needed)))
            with self._reporter("unweighting") as progress, self._timer("unweighting"):
                unweighter, chosen = self._choose(stage, progress)
            if chosen.count >= self._wanted:
                break
            growth = min(self._wanted / max(chosen.count, 1) * MARGIN, LARGEST_GROWTH)
            needed = max(pool.total * growth, pool.total + SMALLEST_BATCH)
        with plugin_errors(stage.registered):
            chosen.scale(check_normalisation(unweighter.normalisation()))
            report = unweighter.report()
        if self._plan.corrected:
            with plugin_errors(stage.registered):
                self._estimate = check_mean_weight(report)
        if chosen.count > self._wanted:
            self._remarks.append(f"{chosen.count:,} candidates were accepted; the first {self._wanted:,} are written")
        for number in range(len(chosen)):
            self.accepted.add(chosen.of(number)[1])
        of_unweighting = cast(StageResult, self._of_unweighting)
        result = dataclasses.replace(
            of_unweighting,
            figures={**of_unweighting.figures, **self._figures(report)},
            remarks=(*of_unweighting.remarks, *report.remarks),
        )
        return chosen, (result,)

    def _figures(self, report: UnweightingReport) -> dict[str, float | int]:
        figures = unweighting_figures(report)
        if isinstance(self._pool, SurrogatePool):
            # Of all rounds; a plugin knows of the last one.
            figures["true_evaluations"] = self._pool.evaluations
            if report.hit_or_miss_efficiency and report.accepted:
                costs = UnweightingCosts.of_times(
                    self._timer.seconds,
                    self._pool.total,
                    self._pool.evaluations,
                    report.effective_sample_size,
                    report.hit_or_miss_efficiency,
                    self._pool.kept / self._pool.total,
                )
                figures |= costs.figures()
        return figures

    def events(self, chosen: ChosenEvents) -> Iterator[EventBatch]:
        """Make the chosen candidates events, with colours, and with the uncertainty of a surrogate as named weights."""
        for number in range(len(chosen)):
            index, weight = chosen.of(number)
            if not len(index):
                continue
            kept = self._pool.events(number, index)
            batch = self._trained.exact.process.events(
                kept.momenta,
                kept.subprocess,
                weight,
                kept.scale,
                kept.alpha_s,
                random_generator(self._seed, Work.WRITE_EVENT, number),
            )
            factors = self._trained.variations(kept.momenta, kept.subprocess)
            yield dataclasses.replace(batch, variations={name: weight * factor for name, factor in factors.items()})

    def trained_results(self) -> tuple[StageResult, ...]:
        """Add what was found of the weights to what the trainings said of the sampler and of the amplitude."""
        sampler, *others = self._trained.stages
        return (self._figures_of(sampler, self._trained.sampler_calls), *map(self._trained.guarded, others))

    def _figures_of(self, trained: StageResult, calls: int) -> StageResult:
        if self._plan.corrected:
            # The weights of all candidates are those of a surrogate.
            return dataclasses.replace(trained, figures={**trained.figures, "candidates": self._sums.points})
        at_share = self._moduli.at_overweight_share(OVERWEIGHT_SHARE)
        figures = {
            **trained.figures,
            **({} if "integrand_calls" in trained.figures else {"integrand_calls": calls}),
            "candidates": self._sums.points,
            "effective_sample_size": float(self._sums.total[0] ** 2 / self._sums.squares[0]),
            "efficiency_at_0.1%_overweight_share": at_share.efficiency,
            "efficiency_at_largest_weight": self._moduli.at_largest().efficiency,
        }
        return dataclasses.replace(trained, figures=figures)

    def remarks(self) -> tuple[str, ...]:
        """What the user should know."""
        counts = counts_since(self._counts_before, self._pool.source.counts)
        said = count_remarks(counts)
        surplus = counts.evaluated - self._sums.points
        if said and surplus > 0 and not self._plan.corrected:
            said.append(f"of the points evaluated the last {surplus:,} were not needed: {self._sums.points:,} are left")
        return (*self._plan.card.remarks, *said, *self._trained.remarks(), *self._remarks)

    def _draw(self, estimate: float, *, at_most: int | None = None) -> None:
        """Draw one batch into the pool; with `at_most`, only up to the candidate that is the last one needed."""
        pool = self._pool
        weight = pool.draw(min(LARGEST_BATCH, max(math.ceil(estimate), SMALLEST_BATCH)), at_most)
        self._sums = self._sums + Sums.of(weight)
        self._moduli.add(np.abs(weight))
        self.distribution.add(weight)
        if not pool.kept and pool.total >= POINTS_WITHOUT_ANY:
            raise nothing_counts(pool.source.counts, grid_range(pool.source.process))

    def _choose(self, stage: PlannedStage, progress: ProgressCallback) -> tuple[Unweighter, ChosenEvents]:
        """Unweight all candidates so far, those of weight zero among them.

        Where true weights have to be asked for, only until there are enough.
        """
        pool = self._pool
        unweighter = cast(Callable[[], Unweighter], self._unweighter)()
        chosen = ChosenEvents(self._files, self._wanted)
        with plugin_errors(stage.registered):
            unweighter.prepare(pool.candidates(number) for number in range(len(pool)))
        seen = 0
        for number in range(len(pool)):
            candidates = pool.candidates(number)
            seen += len(candidates.weight)
            with plugin_errors(stage.registered):
                accepted = unweighter.unweight(candidates, random_generator(self._seed, Work.UNWEIGHT, number))
                check_unweighted(accepted, len(candidates.weight))
            vanishing = candidates.weight == 0 if candidates.vanishes is None else candidates.vanishes
            if np.any(vanishing[accepted.index]):
                raise WeightError(f"the unweighting '{stage.name}' accepted a candidate of weight zero")
            chosen.add(np.asarray(accepted.index), np.asarray(accepted.weight, np.float64))
            progress(Progress(chosen.count, self._wanted, "accepted", chosen.count / seen))
            if self._plan.corrected and chosen.count >= self._wanted:
                break
        return unweighter, chosen
