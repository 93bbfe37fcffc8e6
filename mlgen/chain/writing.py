"""Writes the events of a run into all of its outputs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable

from mlgen.chain.detector_stage import DetectorStage
from mlgen.chain.plan import Plan
from mlgen.chain.showering import ShowerStage
from mlgen.chain.timing import Timer
from mlgen.events import EventBatch, rebatched
from mlgen.formats.writing import create_events
from mlgen.run_info import RunInfo
from mlgen.stages import Progress, Reporter


def write_outputs(
    plan: Plan,
    run_info: RunInfo,
    events: Iterable[EventBatch],
    total: int | None,
    reporter: Reporter,
    timer: Timer,
    detector: DetectorStage | None = None,
    shower: ShowerStage | None = None,
) -> int:
    """Write events into the outputs of a plan: all of them or none.

    Args:
        plan: The plan.
        run_info: What is true of the events.
        events: The events, in batches of any size.
        total: How many are expected, for the progress; None when that is not known.
        reporter: Where progress goes.
        timer: What keeps the time.
        detector: Calorimeter that the events go through.
        shower: Parton shower that they go through before that; `run_info` and `events` are those of the hard events.

    Returns:
        The number of events in each output; of a run that showers, in each that holds showered events.
    """
    section = plan.card.model.output
    written, start = 0, time.perf_counter()
    with contextlib.ExitStack() as stack:
        paths = plan.event_outputs
        if shower is None:
            events = rebatched(events, plan.card.model.run.batch_size)
        else:
            # Showered events come in small batches, and stay in these: each has thousands of particles.
            events = shower.opened(stack, run_info, events)
            run_info, paths = shower.run_info, shower.outputs
        outputs = [
            stack.enter_context(
                create_events(path, run_info, force=plan.force, format_name=section.format if section else None)
            )
            for path in paths
        ]
        cells = detector.opened(stack, run_info, outputs) if detector is not None else None
        with reporter("writing events") as progress, timer("events"):
            for batch in events:
                for output in outputs:
                    output.write(batch)
                if cells is not None:
                    cells.write(batch)
                written += len(batch)
                rate = written / (time.perf_counter() - start)
                progress(Progress(written, total or 0, "events/s", rate))
            # All of them or none: no output appears under its name before every one is whole.
            if cells is not None:
                cells.finish()
            if shower is not None:
                shower.finish(outputs)
            for output in outputs:
                output.finish()
            for output in outputs:
                output.publish()
            if shower is not None:
                shower.publish()
            if cells is not None:
                cells.publish()
    return written
