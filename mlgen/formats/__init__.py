"""Reading and writing event files of any format, as streams of batches.

    from mlgen.formats import create_events, open_events

    with open_events("zjets.lhe.gz") as events, create_events("zjets.root", events.run_info) as output:
        for batch in events:
            output.write(batch)

Formats and compressions are recognised from the first bytes; a plugin can add formats (`mlgen.hookspecs`). What reads
and writes is imported when it is first used: the list of formats needs none of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mlgen.event_format import BATCH_SIZE, EventFormat, EventReader, EventWriter, ReadOptions, Skipped
from mlgen.formats.catalogue import format_by_name, format_for_output, known_formats

if TYPE_CHECKING:
    from mlgen.formats.reading import EventStream, open_events
    from mlgen.formats.writing import Output, create_events

_HOMES = {
    "EventStream": "mlgen.formats.reading",
    "Output": "mlgen.formats.writing",
    "create_events": "mlgen.formats.writing",
    "open_events": "mlgen.formats.reading",
}

__all__ = [
    "BATCH_SIZE",
    "EventFormat",
    "EventReader",
    "EventStream",
    "EventWriter",
    "Output",
    "ReadOptions",
    "Skipped",
    "create_events",
    "format_by_name",
    "format_for_output",
    "known_formats",
    "open_events",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mlgen.formats' has no attribute '{name}'")
