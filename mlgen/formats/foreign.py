"""Readers and writers of event formats that other packages offer: what goes wrong in them names the package.

What they print does not get among the events on standard output.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mlgen.event_format import EventFormat, EventReader, EventWriter, ReadOptions
from mlgen.plugin_errors import format_errors
from mlgen.plugin_sources import HOST_DISTRIBUTION
from mlgen.plugins import Registered, plugin_manager

if TYPE_CHECKING:
    from mlgen.cells import CellBatch
    from mlgen.events import EventBatch
    from mlgen.run_info import RunInfo


def reader_of(event_format: EventFormat, stream: BinaryIO | Path, options: ReadOptions) -> EventReader:
    """Open a file for reading, as `EventFormat.reader`.

    Raises:
        mlgen.errors.InputError: It cannot be read.
        mlgen.errors.PluginFailure: The format is of another package, and fails; also while it is read.
    """
    if (registered := _foreign(event_format)) is None:
        return event_format.reader(stream, options)
    with format_errors(registered):
        return _Reader(event_format.reader(stream, options), registered)


def writer_of(event_format: EventFormat, stream: BinaryIO | Path, run_info: RunInfo) -> EventWriter:
    """Open a file for writing, as `EventFormat.writer`.

    Raises:
        mlgen.errors.OutputError: The format cannot hold the events.
        mlgen.errors.PluginFailure: The format is of another package, and fails; also while it is written.
    """
    if (registered := _foreign(event_format)) is None:
        return event_format.writer(stream, run_info)
    with format_errors(registered):
        return _Writer(event_format.writer(stream, run_info), registered)


def _foreign(event_format: EventFormat) -> Registered[EventFormat] | None:
    """The registration of a format that is not mlgen's own; None of one that is, or that nobody has registered."""
    for registered in plugin_manager().event_formats:
        if registered.offer is event_format and registered.source.distribution != HOST_DISTRIBUTION:
            return registered
    return None


class _Reader(EventReader):
    def __init__(self, reader: EventReader, registered: Registered[EventFormat]) -> None:
        self._reader, self._registered = reader, registered
        self.run_info, self.skipped = reader.run_info, reader.skipped

    def __iter__(self) -> Iterator[EventBatch]:
        with format_errors(self._registered):
            batches = iter(self._reader)
        while True:
            # Not around the yield: who reads the batches may print.
            with format_errors(self._registered):
                batch = next(batches, None)
                self.skipped = self._reader.skipped
            if batch is None:
                return
            yield batch

    def close(self) -> None:
        with format_errors(self._registered):
            self._reader.close()


class _Writer(EventWriter):
    def __init__(self, writer: EventWriter, registered: Registered[EventFormat]) -> None:
        self._writer, self._registered = writer, registered

    def write(self, batch: EventBatch) -> None:
        with format_errors(self._registered):
            self._writer.write(batch)

    def write_cells(self, batch: CellBatch) -> None:
        with format_errors(self._registered):
            self._writer.write_cells(batch)

    def conclude(self, run_info: RunInfo) -> None:
        with format_errors(self._registered):
            self._writer.conclude(run_info)

    def close(self) -> None:
        with format_errors(self._registered):
            self._writer.close()

    def discard(self) -> None:
        # Whoever throws the file away does not ask what else goes wrong.
        self._writer.discard()
