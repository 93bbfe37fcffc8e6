"""Writes the events of a run into all of its outputs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable

from mlgen.chain.plan import Plan
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
) -> int:
    """Write events into the outputs of a plan: all of them or none.

    Args:
        plan: The plan.
        run_info: What is true of the events.
        events: The events, in batches of any size.
        total: How many are expected, for the progress; None when that is not known.
        reporter: Where progress goes.
        timer: What keeps the time.

    Returns:
        The number of events in each output.
    """
    section = plan.card.model.output
    written, start = 0, time.perf_counter()
    with contextlib.ExitStack() as stack:
        outputs = [
            stack.enter_context(
                create_events(path, run_info, force=plan.force, format_name=section.format if section else None)
            )
            for path in plan.outputs
        ]
        with reporter("writing events") as progress, timer("events"):
            for batch in rebatched(events, plan.card.model.run.batch_size):
                for output in outputs:
                    output.write(batch)
                written += len(batch)
                rate = written / (time.perf_counter() - start)
                progress(Progress(written, total or 0, "events/s", rate))
            # All of them or none: no output appears under its name before every one is whole.
            for output in outputs:
                output.finish()
            for output in outputs:
                output.publish()
    return written
