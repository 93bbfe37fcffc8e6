"""Conversion of event files, as a stream."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlgen
from mlgen.errors import UserError
from mlgen.event_format import BATCH_SIZE, OnError, Skipped
from mlgen.formats.reading import open_events
from mlgen.formats.writing import check_output, create_events
from mlgen.stages import Progress, Reporter, silent


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion did."""

    events: int
    skipped: Skipped
    inputs: tuple[Path, ...]
    output: Path

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain types, for JSON."""
        return {
            "events": self.events,
            "skipped": dataclasses.asdict(self.skipped),
            "inputs": [str(path) for path in self.inputs],
            "output": str(self.output),
        }


def convert(
    inputs: Sequence[Path],
    output: Path,
    *,
    events: int | None = None,
    batch_size: int = BATCH_SIZE,
    on_error: OnError = "stop",
    force: bool = False,
    input_format: str | None = None,
    output_format: str | None = None,
    reporter: Reporter = silent,
) -> Conversion:
    """Convert event files, read as one sample, into one file.

    Args:
        inputs: Files to read; ``-`` is standard input.
        output: File to write; ``-`` is standard output.
        events: How many to convert at most.
        batch_size: Events handled at a time.
        on_error: ``skip`` leaves out what cannot be read.
        force: Whether an existing output is replaced.
        input_format: Format of the inputs, recognised when None.
        output_format: Format of the output, from its suffix when None.
        reporter: Where progress goes.

    Raises:
        InputError: An input cannot be read.
        OutputError: The output cannot be written as asked.
    """
    check_output(output, force=force, format_name=output_format)
    if str(output) != "-" and output.exists() and any(output.samefile(path) for path in inputs if path.exists()):
        raise UserError(f"{output}: the output is the input as well; choose another name")
    count, start = 0, time.perf_counter()
    with open_events(*inputs, batch_size=batch_size, on_error=on_error, format_name=input_format) as source:
        record = {
            "program": "mlgen",
            "version": mlgen.__version__,
            "command": "convert",
            "inputs": [str(path) for path in inputs],
        }
        info = source.run_info.replace(provenance=(*source.run_info.provenance, record))
        title = f"converting to {output.name}" if str(output) != "-" else "converting"
        with (
            create_events(output, info, force=force, format_name=output_format) as target,
            reporter(title) as progress,
        ):
            for batch in source:
                part = batch if events is None else batch[: events - count]
                target.write(part)
                count += len(part)
                progress(Progress(count, events or 0, "events/s", count / (time.perf_counter() - start)))
                if count == events:
                    break
        return Conversion(count, source.skipped, tuple(inputs), output)
