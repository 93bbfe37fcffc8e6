"""Pythia 8 as a parton shower: hard events go out to processes in small batches and come back in order."""

from __future__ import annotations

import collections
import math
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from mlgen.events import EventBatch, rebatched
from mlgen.parton_shower import PartonShower, ShoweredBatch, ShowerError, ShowerFailure, ShowerReport
from mlgen.run_info import RunInfo, WeightNormalisation
from mlgen.seeds import Work, random_generator
from mlgen_pythia8 import worker
from mlgen_pythia8.accounting import Account
from mlgen_pythia8.configuration import Configuration, configuration
from mlgen_pythia8.engine import ShoweredPart
from mlgen_pythia8.library import version
from mlgen_pythia8.settings import Pythia8Settings

#: Hard events that are showered with one seed: part of reproducibility, never change it.
EVENTS_PER_TASK = 100
#: Batches that wait for a process beyond those that are at work.
WAITING = 2
LARGEST_SEED = 900_000_000
#: Attribute of a showered event: the number of its hard event, from 1.
HARD_EVENT = "mlgen_hard_event"

#: For a process that dies at once.
_ADVICE = (
    "a Python program that runs mlgen has to do so under 'if __name__ == \"__main__\"', for each process imports it"
)


class _Task(NamedTuple):
    first_event: int
    batch: EventBatch
    result: Future[ShoweredPart]


class Pythia8Shower(PartonShower):
    """Pythia 8 in processes of its own, one for each core."""

    settings: Pythia8Settings

    def __init__(self, settings: Pythia8Settings) -> None:
        super().__init__(settings)
        self._configuration: Configuration | None = None
        self._pool: ProcessPoolExecutor | None = None
        self._account = Account()
        self._hard = self._showered = RunInfo()
        self._seed = 0
        self._stop = True
        self._added: tuple[str, ...] = ()

    def check(self, directory: Path = Path()) -> None:
        """Check that Pythia is installed and takes the settings."""
        self._configuration = configuration(self.settings, directory)

    @property
    def version(self) -> str:
        """Version of pythia8mc."""
        return version()

    @property
    def description(self) -> Mapping[str, Any]:
        """All settings that Pythia is given, those of the file among them."""
        return {
            "program": f"Pythia {version()}",
            "settings": list(self._configured().lines),
            "tunes": dict(self._configured().tunes),
        }

    def prepare(self, run_info: RunInfo, *, seed: int, on_error: Literal["stop", "skip"] = "stop") -> RunInfo:
        """Start the processes, and find out which weights Pythia adds."""
        settings = self._configured()
        if len(run_info.beams) != 2:
            raise ShowerError("the events do not say what the beams are; Pythia needs to know them to shower")
        for number, beam in enumerate(run_info.beams, 1):
            if not 0 < beam.energy < math.inf:
                raise ShowerError(f"beam {number} of the events has an energy of {beam.energy:g} GeV; Pythia needs it")
        self._hard, self._seed, self._stop = run_info, seed, on_error == "stop"
        workers = self.settings.workers or _cores()
        self._pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), initializer=worker.start, initargs=(settings, run_info)
        )
        self._workers = workers
        self._added = self._result(self._pool.submit(worker.added_weights), "it was made ready", _ADVICE)
        if taken := sorted(set(self._added) & set(run_info.variation_names)):
            raise ShowerError(
                f"the events have a weight '{taken[0]}' already, which is what Pythia's own would be called; they were "
                "showered with variations before, or choose other names (UncertaintyBands:List)"
            )
        strategy = run_info.weight_strategy
        if abs(strategy) in (1, 2):
            # All events are kept with their weights, which average to the cross section.
            strategy = 4 if strategy > 0 else -4
        if settings.matching and run_info.normalisation is WeightNormalisation.AVERAGE:
            # Events are rejected, and how many is known after the last one.
            strategy = 0
        # After a matching, the cross section is another one, which is known after the last event; until then, events
        # have their estimates.
        processes = () if settings.matching else run_info.processes
        self._showered = run_info.replace(weight_strategy=strategy, processes=processes).with_variations(self._added)
        return self._showered

    def shower(self, batches: Iterable[EventBatch]) -> Iterator[ShoweredBatch]:
        """Shower hard events, in order."""
        if self._pool is None:
            raise ShowerFailure("the shower was not prepared")
        tasks: collections.deque[_Task] = collections.deque()
        first_event = 1
        for number, batch in enumerate(rebatched(batches, EVENTS_PER_TASK)):
            if batch.has_graph:
                raise ShowerError(f"event {first_event:,} is showered already; Pythia takes hard events")
            seed = int(random_generator(self._seed, Work.SHOWER_EVENTS, number).integers(1, LARGEST_SEED + 1))
            tasks.append(_Task(first_event, batch, self._pool.submit(worker.shower, batch, seed)))
            first_event += len(batch)
            if len(tasks) >= self._workers + WAITING:
                yield from self._finished(tasks.popleft())
        while tasks:
            yield from self._finished(tasks.popleft())

    def report(self) -> ShowerReport:
        """Say what became of the events."""
        settings, account = self._configured(), self._account
        run_info = self._showered
        if settings.matching:
            run_info = account.run_info(run_info.replace(processes=self._hard.processes))
        remarks = list(settings.remarks)
        if settings.matching:
            share, error = account.share
            remarks.append(f"the matching or merging leaves {share:.4g} +- {error:.1g} of the cross section")
            if self._showered.weight_strategy == 0 and self._hard.weight_strategy:
                remarks.append(
                    "the weights are those of the hard events, which averaged to the cross section before events were "
                    "rejected; divide by their sum, and multiply by the cross section"
                )
        return ShowerReport(account.hard_events, account.showered, account.refusals, run_info, tuple(remarks))

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.shutdown(wait=True, cancel_futures=True)

    def _configured(self) -> Configuration:
        if self._configuration is None:
            self.check()
        if self._configuration is None:
            raise ShowerFailure("the shower was not checked")
        return self._configuration

    def _result(self, future: Future[Any], when: str, advice: str = "") -> Any:
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise ShowerFailure(
                f"a process that runs Pythia died while {when}: it was killed, perhaps because the memory is full, or "
                f"Pythia crashed; {advice or 'fewer processes ([shower] workers) need less memory'}"
            ) from error

    def _finished(self, task: _Task) -> Iterator[ShoweredBatch]:
        last = task.first_event + len(task.batch) - 1
        part: ShoweredPart = self._result(task.result, f"it showered events {task.first_event:,} to {last:,}")
        for refused in part.refused:
            if refused.kind == "input" and self._stop:
                raise ShowerError(
                    f"event {task.first_event + refused.index:,} cannot be showered: {refused.reason}\n"
                    'Mend the events, or leave such out with --on-error skip ([run] on_error = "skip")'
                )
        factor = part.events.weights[:, 0] if part.events is not None else np.zeros(0)
        self._account.add(task.batch, part.index, factor, part.refused)
        if part.events is not None:
            yield ShoweredBatch(self._batch(task, part), task.first_event + part.index)

    def _batch(self, task: _Task, part: ShoweredPart) -> EventBatch:
        made = part.events
        if made is None:
            raise ShowerFailure("there are no showered events")
        hard = task.batch[part.index]
        if made.weights.shape[1] != 1 + len(self._added):
            raise ShowerFailure(f"Pythia gave {made.weights.shape[1]} weights; {1 + len(self._added)} are expected")
        factor = made.weights[:, 0]
        variations = {name: values * factor for name, values in hard.variations.items()}
        for column, name in enumerate(self._added, 1):
            variations[name] = hard.weight * made.weights[:, column]
        attributes = np.array(
            [
                {"GenPdfInfo": partons, HARD_EVENT: str(task.first_event + index)}
                for partons, index in zip(made.pdf_info, part.index.tolist(), strict=True)
            ],
            object,
        )
        if self._configured().matching:
            # As generators do, the estimate so far; the one in the last event is that of all events.
            total, error = self._account.cross_section(self._hard)
            text = f"{total!r} {error!r} {self._account.showered} {self._account.hard_events}"
            # A reader of HepMC3 stops at the word "nan".
            for own in attributes if math.isfinite(total) else ():
                own["GenCrossSection"] = text
        return EventBatch.from_columns(
            made.counts,
            made.columns,
            vertex_counts=made.vertex_counts,
            vertex_columns=made.vertex_columns,
            weight=hard.weight * factor,
            process_id=hard.process_id,
            scale=np.where(hard.scale >= 0, hard.scale, made.scale),
            alpha_qed=np.where(hard.alpha_qed > 0, hard.alpha_qed, made.alpha_qed),
            alpha_qcd=np.where(hard.alpha_qcd > 0, hard.alpha_qcd, made.alpha_qcd),
            variations=variations,
            tag_attributes=hard.tag_attributes,
            attributes=attributes,
        )


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
