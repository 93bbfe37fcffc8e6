"""Counts what became of the hard events, and what that means for the cross section."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from mlgen.events import EventBatch, FloatArray
from mlgen.parton_shower import Refusal, RefusalKind
from mlgen.run_info import Process, RunInfo
from mlgen_pythia8.engine import RefusedEvent

#: Reasons that are told apart.
MOST_REASONS = 50
OTHER = "other reasons"


@dataclass(slots=True)
class Account:
    """Sums over the hard events so far.

    A matching or merging changes the cross section by the mean of the factors f that it gives the events, 0 for those
    that it rejects: sum(w f) / sum(w), with the weights w of the hard events. Events that cannot be showered for
    another reason are left out of both sums: what fails is no physics, and the others stand for them.

    Attributes:
        hard_events: Events that came in.
        showered: Events that went out.
    """

    hard_events: int = 0
    showered: int = 0
    _refusals: dict[tuple[RefusalKind, str], tuple[int, int]] = field(default_factory=dict)
    #: sum(w), sum(w f), sum(w^2), sum(w^2 f), sum(w^2 f^2)
    _sums: FloatArray = field(default_factory=lambda: np.zeros(5))
    _by_process: dict[int, float] = field(default_factory=dict)

    def add(self, hard: EventBatch, index: np.ndarray, factor: FloatArray, refused: list[RefusedEvent]) -> None:
        """Count a batch of hard events.

        Args:
            hard: The hard events.
            index: Which of them were showered.
            factor: What Pythia multiplied the weight of each of these with.
            refused: The others.
        """
        for event in refused:
            key = event.kind, event.reason
            if key not in self._refusals and len(self._refusals) >= MOST_REASONS:
                key = event.kind, OTHER
            count, first = self._refusals.get(key, (0, self.hard_events + event.index + 1))
            self._refusals[key] = count + 1, first
        vetoed = np.array([event.index for event in refused if event.kind == "vetoed"], np.int64)
        weight = np.concatenate([hard.weight[index], hard.weight[vetoed]])
        factors = np.concatenate([factor, np.zeros(len(vetoed))])
        squared = weight**2
        terms = (weight, weight * factors, squared, squared * factors, squared * factors**2)
        self._sums = self._sums + np.array([term.sum() for term in terms])
        for process in np.unique(hard.process_id[index]).tolist():
            own = hard.process_id[index] == process
            share = float((hard.weight[index] * factor)[own].sum())
            self._by_process[process] = self._by_process.get(process, 0.0) + share
        self.hard_events += len(hard)
        self.showered += len(index)

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """The refused events by reason, the most frequent first."""
        found = [Refusal(kind, reason, count, first) for (kind, reason), (count, first) in self._refusals.items()]
        return tuple(sorted(found, key=lambda refusal: (-refusal.count, refusal.first_event)))

    @property
    def share(self) -> tuple[float, float]:
        """Share of the cross section that is left, and its standard error; NaN where the weights sum to zero."""
        weights, kept, squares, cross, products = self._sums.tolist()
        if weights == 0:
            return math.nan, math.nan
        share = kept / weights
        return share, math.sqrt(max(products - 2 * share * cross + share**2 * squares, 0.0)) / abs(weights)

    def cross_section(self, run_info: RunInfo) -> tuple[float, float]:
        """Cross section after a matching and its error in pb, from those of the hard events."""
        share, error = self.share
        return (
            run_info.cross_section * share,
            math.hypot(run_info.cross_section_error * share, run_info.cross_section * error),
        )

    def run_info(self, run_info: RunInfo) -> RunInfo:
        """What is true of the showered events, with the cross sections after a matching."""
        total, error = self.cross_section(run_info)
        weights = sum(self._by_process.values())
        if not (math.isfinite(total) and weights):
            return run_info
        known = {process.process_id: process for process in run_info.processes}
        processes = []
        for number, weight in sorted(self._by_process.items()):
            maximum = known[number].maximum_weight if number in known else 0.0
            share = weight / weights
            # The errors of the processes add up to that of the whole in quadrature.
            processes.append(Process(number, total * share, error * math.sqrt(abs(share)), maximum))
        return run_info.replace(processes=tuple(processes))
