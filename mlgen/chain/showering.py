"""The parton shower of a run: between the hard events and the outputs that hold showered ones."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from mlgen.chain.plan import Plan
from mlgen.chain.report import StageResult
from mlgen.chain.shower_plan import PlannedShower, shower_errors
from mlgen.chain.timing import Timer
from mlgen.errors import InputError
from mlgen.events import EventBatch, rebatched
from mlgen.formats.catalogue import format_for_output
from mlgen.formats.writing import Output, create_events
from mlgen.parton_shower import PartonShower, ShowerError, ShowerReport
from mlgen.run_info import RunInfo
from mlgen.stages import Reporter

#: Reasons for which events were refused that are told; the others are counted together.
TOLD = 10
STAGE = "shower"


class ShowerStage:
    """A parton shower that is ready to use, for one run.

    Args:
        plan: The plan, with a shower.
        reporter: Where progress goes.
        timer: What keeps the time.

    Attributes:
        description: What is to be said of it before its first event.
        run_info: What is true of the showered events: after `opened` as far as it is known before the first one, after
            `finish` all of it.
        outputs: The outputs that get showered events; the others get the hard ones.
    """

    def __init__(self, plan: Plan, reporter: Reporter, timer: Timer) -> None:
        self._plan, self._reporter, self._timer = plan, reporter, timer
        self._shower = cast(PlannedShower, plan.shower)
        self.run_info = RunInfo()
        self.description = self._described()
        hard, self.outputs = split_outputs(plan)
        self._hard_paths = hard
        self._hard_outputs: list[Output] = []
        self._report: ShowerReport | None = None

    @property
    def _program(self) -> PartonShower:
        return self._shower.program

    def opened(
        self, stack: contextlib.ExitStack, run_info: RunInfo, events: Iterable[EventBatch]
    ) -> Iterator[EventBatch]:
        """Get ready to shower, and open the outputs that get the hard events.

        Args:
            stack: Throws away what is not published in the end, and ends the program.
            run_info: What is true of the hard events, with the provenance of this run as its last entry.
            events: The hard events, in batches of any size.

        Returns:
            The showered events, in batches of few events, for each of them is large.

        Raises:
            InputError: They are showered already.
            mlgen.errors.MlgenError: The program cannot be made ready, or an output cannot be written.
        """
        events = self._not_showered_yet(events)
        stack.callback(self._program.close)
        run, section = self._plan.card.model.run, self._plan.card.model.output
        with self._reporter("preparing the shower"), self._timer("preparing the shower"), self._errors():
            self.run_info = self._program.prepare(run_info, seed=run.seed, on_error=run.on_error)
        hard_info = _of_hard_events(run_info)
        format_name = section.format if section is not None else None
        self._hard_outputs = [
            stack.enter_context(create_events(path, hard_info, force=self._plan.force, format_name=format_name))
            for path in self._hard_paths
        ]
        return self._showered(events)

    def finish(self, outputs: Iterable[Output]) -> None:
        """Tell the outputs of showered events what is true of all of them; finish those of the hard events.

        Raises:
            ShowerError: No event was showered.
        """
        with self._errors():
            report = self._report = self._program.report()
        if report.hard_events and not report.showered:
            reasons = "\n".join(f"  {refusal}" for refusal in report.refusals[:TOLD])
            raise ShowerError(f"none of {report.hard_events:,} hard events was showered:\n{reasons}")
        self.run_info = report.run_info
        for output in outputs:
            output.conclude(report.run_info)
        for output in self._hard_outputs:
            output.finish()

    def publish(self) -> None:
        """Move the outputs of the hard events into place."""
        for output in self._hard_outputs:
            output.publish()

    def result(self) -> StageResult:
        """Describe the stage after its last event."""
        if self._report is None:
            return self.description
        return self._described(figures=_figures(self._report), remarks=_remarks(self._report))

    def _described(self, **others: Any) -> StageResult:
        with self._errors():
            description, version = dict(self._program.description), self._program.version
        return StageResult(
            stage=STAGE,
            plugin=self._shower.name,
            version=version,
            distribution=self._shower.registered.source.distribution,
            # It learns nothing that could be wrong.
            exactness="exact",
            settings=description,
            **others,
        )

    def _showered(self, events: Iterable[EventBatch]) -> Iterator[EventBatch]:
        source = _Source(self._passing(events))
        showered = iter(self._program.shower(source))
        while True:
            try:
                with self._errors():
                    batch = next(showered, None)
            except Exception:
                if source.error is not None:
                    # Not the shower's, but that of what makes the hard events.
                    raise source.error from None
                raise
            if batch is None:
                return
            yield batch.events

    def _passing(self, events: Iterable[EventBatch]) -> Iterator[EventBatch]:
        """Write hard events into the outputs that get them, as they pass by."""
        for batch in events:
            for output in self._hard_outputs:
                output.write(batch)
            yield batch

    def _not_showered_yet(self, events: Iterable[EventBatch]) -> Iterator[EventBatch]:
        """Look at the first events before anything is prepared."""
        stream = iter(rebatched(events, self._plan.card.model.run.batch_size))
        first = next(stream, None)
        if first is None:
            return iter(())
        if first.has_graph:
            source = ", ".join(map(str, self._plan.inputs)) or "the events"
            raise InputError(
                source, "these events are showered already; [shower] takes hard events, from a file of LHE for instance"
            )
        return itertools.chain([first], stream)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        # What the program prints goes to standard error: standard output is for events and results.
        with shower_errors(self._shower.registered), contextlib.redirect_stdout(sys.stderr):
            yield


class _Source:
    """Hard events as the shower sees them; remembers the exception that ended them."""

    def __init__(self, events: Iterable[EventBatch]) -> None:
        self._events = events
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[EventBatch]:
        try:
            yield from self._events
        except Exception as error:
            self.error = error
            raise


def split_outputs(plan: Plan) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Outputs of events that get the hard ones, because they hold no others, and those that get the showered ones."""
    section = plan.card.model.output
    format_name = section.format if section is not None else None
    hard: list[Path] = []
    showered: list[Path] = []
    for path in plan.event_outputs:
        (showered if format_for_output(path, format_name).shower_level else hard).append(path)
    return tuple(hard), tuple(showered)


def _of_hard_events(run_info: RunInfo) -> RunInfo:
    """What is true of the hard events: their provenance ends before the shower."""
    *earlier, last = run_info.provenance
    stages = list(itertools.takewhile(lambda stage: stage.get("stage") != STAGE, last.get("stages", ())))
    return run_info.replace(provenance=(*earlier, {**last, "stages": stages}))


def _figures(report: ShowerReport) -> dict[str, float | int | str]:
    refused = report.count("input") + report.count("failed")
    figures: dict[str, float | int | str] = {
        "hard_events": report.hard_events,
        "showered_events": report.showered,
        "refused_events": refused,
    }
    if vetoed := report.count("vetoed"):
        figures["vetoed_events"] = vetoed
    return figures


def _remarks(report: ShowerReport) -> tuple[str, ...]:
    refusals = [refusal for refusal in report.refusals if refusal.kind != "vetoed"]
    remarks = [f"not showered: {refusal}" for refusal in refusals[:TOLD]]
    if others := sum(refusal.count for refusal in refusals[TOLD:]):
        remarks.append(f"not showered: {others:,} events for other reasons")
    return (*report.remarks, *remarks)
