"""Cross section of a process."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np

from mlgen.card import IntegrationSection
from mlgen.chain.candidates import CandidateBatch, CandidateSource
from mlgen.chain.integration_result import Contribution, IntegrationResult
from mlgen.chain.plan import Plan
from mlgen.chain.point_counts import count_remarks, counts_since, nothing_counts
from mlgen.chain.process_source import grid_range, open_process
from mlgen.chain.process_stages import trained_stages
from mlgen.chain.report import process_provenance
from mlgen.chain.sums import Sums, consistency
from mlgen.chain.timing import Timer
from mlgen.chain.weight_distribution import WeightDistribution
from mlgen.chain.weight_efficiency import WeightModuli
from mlgen.hard_process.diagrams import spell
from mlgen.seeds import Work, random_generator
from mlgen.stages import IntArray, Progress, Reporter, silent

#: Share of the cross section in overweights at which an unweighting efficiency is quoted.
OVERWEIGHT_SHARE = 0.001
#: Relative precision to stop at where the card sets no limit at all.
PRECISION = 0.001
#: Points without a single one that counts, after which it is said that there are none.
POINTS_WITHOUT_ANY = 1_000_000


def integrate(plan: Plan, reporter: Reporter = silent) -> IntegrationResult:
    """Integrate the process of a plan (`mlgen.chain.plan_integration`) until one of the card's limits is reached.

    The estimate is the plain mean over all points. Averages over iterations that are weighted with their own errors
    come out low, because an iteration that missed the tail has too small a mean and too small an error; the iterations
    serve as a check of consistency only.

    Where the precision is the limit, the number of points depends on the weights that were drawn; it is looked at
    only after as many batches as the card wants iterations, which keeps the bias of that far below the error.

    Args:
        plan: The plan.
        reporter: Where progress goes.

    Raises:
        mlgen.errors.ProcessError: The process cannot be computed, or no point counts.
        mlgen.errors.MlgenError: Whatever else goes wrong.
    """
    settings = plan.card.model.integration or IntegrationSection()
    timer = Timer()
    with reporter("preparing the process"), timer("process"):
        process = open_process(plan.card)
    with timer("training"):
        trained = trained_stages(plan, process, reporter)
    stage_record, calls = trained.stages[0], trained.sampler_calls
    tally = _Tally(trained.source)
    before = dataclasses.replace(process.integrand.counts)
    with reporter("integrating") as progress, timer("integration"):
        stopped_by = _sample(tally, settings, plan.card.model.run.seed, progress)
    counts = counts_since(before, process.integrand.counts)
    whole = tally.whole
    agreement = consistency(tally.batches, settings.iterations)
    return IntegrationResult(
        reaction=process.settings.reaction,
        cross_section=float(whole.mean[0]),
        error=float(whole.error[0]),
        channels=_contributions(process.integrand.channels, tally.channels, tally.channel_points),
        subprocesses=_contributions(
            [spell(subprocess) for subprocess in process.subprocesses],
            tally.subprocesses,
            np.full(len(process.subprocesses), whole.points),
        ),
        effective_sample_size=float(whole.total[0] ** 2 / whole.squares[0]),
        efficiency=tally.moduli.at_overweight_share(OVERWEIGHT_SHARE),
        efficiency_at_maximum=tally.moduli.at_largest(),
        consistency=agreement,
        points=whole.points,
        outside_cuts=counts.outside_cuts,
        outside_densities=counts.outside_densities,
        not_finite=counts.not_finite,
        negative=counts.negative,
        training_calls=calls,
        stopped_by=stopped_by,
        seed=plan.card.model.run.seed,
        stage=stage_record,
        exactness=plan.exactness.value,
        seconds=timer.seconds,
        amplitude=trained.guarded(trained.stages[1]) if plan.amplitude is not None else None,
        remarks=(*plan.card.remarks, *count_remarks(counts), *trained.remarks(), *_doubts(agreement.p_value)),
        provenance=process_provenance(plan, trained.stages, process.fingerprint, "integrate"),
        weights=tally.distribution,
    )


class _Tally:
    """All that is summed up while points are drawn."""

    def __init__(self, source: CandidateSource) -> None:
        integrand = source.process.integrand
        self.source = source
        self.batches: list[Sums] = []
        self.whole = Sums(0, np.zeros(1), np.zeros(1))
        self.channels = Sums(0, np.zeros(len(integrand.channels)), np.zeros(len(integrand.channels)))
        self.channel_points = np.zeros(len(integrand.channels), np.int64)
        subprocesses = len(source.process.subprocesses)
        self.subprocesses = Sums(0, np.zeros(subprocesses), np.zeros(subprocesses))
        self.moduli = WeightModuli()
        self.distribution = WeightDistribution()

    def add(self, batch: CandidateBatch) -> None:
        contributions = batch.contributions()
        sums = Sums.of(batch.weight)
        self.batches.append(sums)
        self.whole = self.whole + sums
        self.channels = self.channels + Sums.by_channel(batch.weight, batch.channel, len(self.channel_points))
        self.channel_points += np.bincount(batch.channel, minlength=len(self.channel_points))
        self.subprocesses = self.subprocesses + Sums.of(contributions)
        # What would be unweighted: with contributions of both signs, one of them is drawn and carries their moduli.
        self.moduli.add(np.abs(contributions).sum(axis=1))
        self.distribution.add(batch.weight)


def _sample(tally: _Tally, settings: IntegrationSection, seed: int, progress: Callable[[Progress], None]) -> str:
    """Draw batches until a limit is reached; returns which."""
    precision = settings.precision
    if precision is None and settings.time is None and settings.points is None:
        precision = PRECISION
    size = settings.batch_size
    if settings.points is not None:
        size = min(size, -(-settings.points // settings.iterations))
    start = time.perf_counter()
    while True:
        left = settings.points - tally.whole.points if settings.points is not None else size
        number = len(tally.batches)
        tally.add(tally.source.draw(min(size, left), random_generator(seed, Work.INTEGRATE, number)))
        whole = tally.whole
        mean, error = abs(float(whole.mean[0])), float(whole.error[0])
        progress(Progress(whole.points, settings.points or 0, "relative error", error / mean if mean else float("nan")))
        if not tally.moduli.largest:
            if whole.points >= min(POINTS_WITHOUT_ANY, settings.points or POINTS_WITHOUT_ANY):
                raise nothing_counts(tally.source.counts, grid_range(tally.source.process))
        elif precision is not None and len(tally.batches) >= settings.iterations and error <= precision * mean:
            return "precision"
        if settings.points is not None and whole.points >= settings.points:
            return "points"
        if settings.time is not None and time.perf_counter() - start >= settings.time and tally.moduli.largest:
            return "time"


def _contributions(names: Sequence[str], sums: Sums, points: IntArray) -> tuple[Contribution, ...]:
    mean, error = sums.mean, sums.error
    found = [Contribution(name, float(mean[k]), float(error[k]), int(points[k])) for k, name in enumerate(names)]
    return tuple(sorted(found, key=lambda contribution: -abs(contribution.cross_section)))


def _doubts(p_value: float) -> list[str]:
    if not p_value < 0.001:
        return []
    return [
        f"the iterations do not agree (p-value {p_value:.2g}): a few points carry much of the cross section, and the "
        "error is not to be trusted; more points, or a longer training, make it more certain"
    ]
