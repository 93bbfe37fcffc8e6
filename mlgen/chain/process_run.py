"""Runs a [process]: from points of phase space to weighted or unweighted events.

Pass 1 draws candidates in batches, evaluates each once, and keeps those that count in a temporary file. Pass 2 makes
events of them. The pass in between, over the weights alone, is what an unweighting needs to choose its maximum.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import cast

import numpy as np

import mlgen
from mlgen.chain.checks import check_unweighted
from mlgen.chain.integration import OVERWEIGHT_SHARE, POINTS_WITHOUT_ANY
from mlgen.chain.plan import Plan, PlannedStage
from mlgen.chain.point_counts import count_remarks, counts_since, nothing_counts
from mlgen.chain.process_source import grid_range, open_process
from mlgen.chain.process_stages import TrainedStages, trained_stages
from mlgen.chain.report import RunResult, StageResult, process_provenance, stage_result
from mlgen.chain.spool import CandidateSpool, KeptCandidates
from mlgen.chain.sums import Sums
from mlgen.chain.timing import Timer
from mlgen.chain.weight_distribution import WeightDistribution
from mlgen.chain.weight_efficiency import WeightModuli
from mlgen.chain.writing import write_outputs
from mlgen.errors import WeightError
from mlgen.events import EventBatch
from mlgen.plugins import plugin_errors, plugin_manager
from mlgen.seeds import Work, random_generator
from mlgen.stages import Candidates, FloatArray, IntArray, Progress, Reporter, Unweighter, silent

#: Candidates of the smallest and of the largest batch.
SMALLEST_BATCH = 1_000
LARGEST_BATCH = 10_000
#: How many more candidates a round may have than all before it.
LARGEST_GROWTH = 8.0
#: Candidates beyond those that the efficiency so far asks for, so that one round more is seldom needed.
MARGIN = 1.05


@dataclasses.dataclass(slots=True)
class _Chosen:
    """What is known of the events that are written; which ones they are is in the spool.

    Args:
        spool: Where they are kept.
        limit: Number of events that are wanted; what is chosen beyond that is counted only.
    """

    spool: CandidateSpool
    limit: int
    count: int = 0
    largest: float = 0.0
    negative: bool = False

    def __post_init__(self) -> None:
        self.spool.forget_choice()

    def add(self, places: IntArray, weight: FloatArray) -> None:
        """Choose events of the next batch, by place among its candidates that do not vanish."""
        left = max(self.limit - self.count, 0)
        self.count += len(places)
        self.spool.choose(places[:left], weight[:left])
        self.largest = max(self.largest, float(np.abs(weight[:left]).max(initial=0.0)))
        self.negative |= bool(np.any(weight[:left] < 0))


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
    run = _ProcessRun(plan, trained, reporter, timer)
    particles = len(process.subprocesses[0].pdg_ids)
    with CandidateSpool(particles) as spool:
        unweighting: tuple[StageResult, ...] = ()
        if plan.unweighting is None:
            chosen = run.weighted(spool)
        else:
            chosen, unweighting = run.unweighted(spool)
        stages = (*run.trained_results(), *unweighting)
        run_info = process.run_info(run.cross_section, run.error, chosen.largest, negative=chosen.negative)
        run_info = trained.declared(run_info)
        record = process_provenance(plan, stages, process.fingerprint, "run")
        run_info = run_info.replace(
            provenance=(*run_info.provenance, record),
            generator=f"mlgen {mlgen.__version__}",
            init_text=f'<generator name="mlgen" version="{mlgen.__version__}"></generator>',
        )
        count = write_outputs(plan, run_info, run.events(spool), plan.card.model.run.events, reporter, timer)
    return RunResult(
        events=count,
        cross_section=run_info.cross_section,
        cross_section_error=run_info.cross_section_error,
        exactness=plan.exactness.value,
        outputs=plan.outputs,
        stages=stages,
        skipped=0,
        seconds=timer.seconds,
        remarks=run.remarks(),
        provenance=record,
        weights=run.distribution if plan.unweighting is not None else None,
    )


class _ProcessRun:
    """Draws candidates into a spool and chooses events among them."""

    def __init__(self, plan: Plan, trained: TrainedStages, reporter: Reporter, timer: Timer) -> None:
        source = trained.source
        self._plan, self._trained, self._source, self._reporter, self._timer = plan, trained, source, reporter, timer
        self._wanted = cast(int, plan.card.model.run.events)
        self._seed = plan.card.model.run.seed
        self._counts_before = dataclasses.replace(source.counts)
        self._moduli = WeightModuli()
        self._sums = Sums(0, np.zeros(1), np.zeros(1))
        self._scale = 1.0
        self._remarks: list[str] = []
        self.distribution = WeightDistribution()

    @property
    def cross_section(self) -> float:
        """In pb, from all candidates."""
        return float(self._sums.mean[0]) * self._scale

    @property
    def error(self) -> float:
        """Standard error of the cross section in pb."""
        return float(self._sums.error[0]) * self._scale

    def weighted(self, spool: CandidateSpool) -> _Chosen:
        """Draw until as many candidates as wanted do not vanish; all of them are events."""
        with self._reporter("drawing events") as progress, self._timer("candidates"):
            while (missing := self._wanted - spool.kept) > 0:
                share = spool.kept / spool.total if spool.kept else 1.0
                self._draw(spool, missing / share * MARGIN, at_most=missing)
                progress(Progress(spool.kept, self._wanted, "share that counts", spool.kept / spool.total))
        kept, total = spool.kept, spool.total
        share = (kept - 1) / (total - 1) if kept > 1 else kept / total
        # The same share goes into the cross section, so that the file agrees with its own <init>.
        self._scale = share / (kept / total)
        chosen = _Chosen(spool, self._wanted)
        for number in range(len(spool)):
            weight = spool.weights(number)
            weight = weight[weight != 0] * share
            chosen.add(np.arange(len(weight)), weight)
        if kept < total:
            self._remarks.append(
                f"{total - kept:,} of {total:,} candidates have weight zero and are not written; the weights are "
                f"multiplied by {share:.6g}, so that those of the file average to the cross section"
            )
        return chosen

    def unweighted(self, spool: CandidateSpool) -> tuple[_Chosen, tuple[StageResult]]:
        """Draw in growing rounds until enough candidates are accepted; the first of these are the events.

        A round ends with an unweighting of all candidates so far, because what is accepted depends on the maximum,
        and that on all candidates. Whether a candidate is accepted depends on its own weight, its own random number and
        that maximum, so the order of the events tells nothing of them, and the first ones are as good as any. The
        number of candidates depends on the weights through the share that is accepted, and so does the cross section,
        by much less than its error: a round is planned with a margin, and is seldom followed by another.
        """
        stage = cast(PlannedStage, self._plan.unweighting)
        needed = float(self._wanted)
        while True:
            with self._reporter("drawing candidates") as progress, self._timer("candidates"):
                while spool.total < needed or not spool.kept:
                    self._draw(spool, needed - spool.total)
                    progress(Progress(spool.total, math.ceil(needed)))
            with self._timer("unweighting"):
                unweighter, chosen = self._choose(stage, spool)
            if chosen.count >= self._wanted:
                break
            growth = min(self._wanted / max(chosen.count, 1) * MARGIN, LARGEST_GROWTH)
            needed = max(spool.total * growth, spool.total + SMALLEST_BATCH)
        with plugin_errors(stage.registered):
            report = unweighter.report()
        figures = {name: value for name, value in dataclasses.asdict(report).items() if name != "remarks"}
        if chosen.count > self._wanted:
            self._remarks.append(f"{chosen.count:,} candidates were accepted; the first {self._wanted:,} are written")
        return chosen, (stage_result(stage, figures=figures, remarks=report.remarks),)

    def events(self, spool: CandidateSpool) -> Iterator[EventBatch]:
        """Make the chosen candidates events, with colours, and with the uncertainty of a surrogate as named weights."""
        for number in range(len(spool)):
            places, weight = spool.chosen(number)
            if not len(places):
                continue
            kept: KeptCandidates = spool.candidates(number)
            momenta, subprocess = kept.momenta[places], kept.subprocess[places]
            batch = self._source.process.events(
                momenta,
                subprocess,
                weight,
                kept.scale[places],
                kept.alpha_s[places],
                random_generator(self._seed, Work.WRITE_EVENT, number),
            )
            factors = self._trained.variations(momenta, subprocess)
            yield dataclasses.replace(batch, variations={name: weight * factor for name, factor in factors.items()})

    def trained_results(self) -> tuple[StageResult, ...]:
        """Add what was found of the weights to what the trainings said of the sampler and of the amplitude."""
        sampler, *others = self._trained.stages
        return (self._figures_of(sampler, self._trained.sampler_calls), *map(self._trained.guarded, others))

    def _figures_of(self, trained: StageResult, calls: int) -> StageResult:
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
        counts = counts_since(self._counts_before, self._source.counts)
        said = count_remarks(counts)
        if said and counts.evaluated > self._sums.points:
            surplus = counts.evaluated - self._sums.points
            said.append(f"of the points evaluated the last {surplus:,} were not needed: {self._sums.points:,} are left")
        return (*self._plan.card.remarks, *said, *self._trained.remarks(), *self._remarks)

    def _draw(self, spool: CandidateSpool, estimate: float, *, at_most: int | None = None) -> None:
        """Draw one batch into the spool; with `at_most`, only up to the candidate that is the last one needed."""
        number = len(spool)
        n = min(LARGEST_BATCH, max(math.ceil(estimate), SMALLEST_BATCH))
        batch = self._source.draw(n, random_generator(self._seed, Work.SAMPLE_PHASE_SPACE, number))
        kept = self._source.events(batch, random_generator(self._seed, Work.DRAW_SUBPROCESS, number))
        if at_most is not None and len(kept) >= at_most:
            n = int(kept.index[at_most - 1]) + 1
            kept = KeptCandidates(*(getattr(kept, f.name)[:at_most] for f in dataclasses.fields(kept)))
        spool.append(n, kept)
        weight = np.zeros(n)
        weight[kept.index] = kept.weight
        self._sums = self._sums + Sums.of(weight)
        self._moduli.add(np.abs(weight))
        self.distribution.add(weight)
        if not spool.kept and spool.total >= POINTS_WITHOUT_ANY:
            raise nothing_counts(self._source.counts, grid_range(self._source.process))

    def _choose(self, stage: PlannedStage, spool: CandidateSpool) -> tuple[Unweighter, _Chosen]:
        """Unweight all candidates so far, those of weight zero among them."""
        unweighter = cast(Unweighter, plugin_manager().create(stage.registered, stage.settings))
        chosen = _Chosen(spool, self._wanted)
        with plugin_errors(stage.registered):
            unweighter.prepare(Candidates(spool.weights(number)) for number in range(len(spool)))
        for number in range(len(spool)):
            weight = spool.weights(number)
            with plugin_errors(stage.registered):
                accepted = unweighter.unweight(Candidates(weight), random_generator(self._seed, Work.UNWEIGHT, number))
                check_unweighted(accepted, len(weight))
            if np.any(weight[accepted.index] == 0):
                raise WeightError(f"the unweighting '{stage.name}' accepted a candidate of weight zero")
            # Places among the kept ones, from places among all.
            places = np.searchsorted(np.flatnonzero(weight), accepted.index)
            chosen.add(places, np.asarray(accepted.weight, np.float64))
        return unweighter, chosen
