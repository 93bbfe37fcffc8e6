"""`create_events`: an event file that appears under its name only when it is whole."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, Self

from mlgen.cells import CellBatch
from mlgen.errors import OutputError, WriteFailure
from mlgen.event_format import EventFormat, EventWriter
from mlgen.events import EventBatch
from mlgen.files import check_free, is_special, put_in_place, target_of, temporary_for, to_disk
from mlgen.formats.catalogue import format_for_output
from mlgen.formats.compression import compressed, compression_for
from mlgen.formats.foreign import writer_of
from mlgen.run_info import RunInfo


class Output:
    """An event file that is being written under a temporary name and moved into place when it is whole.

    `close` does so. Where several files belong together, `finish` them all, then `publish` them all: `finish` is what
    fails on a full disk. As a context manager: leaving it without an exception closes it, with one throws it away.
    """

    def __init__(self, path: Path, event_format: EventFormat, run_info: RunInfo, *, force: bool = False) -> None:
        self.path, self.format = path, event_format
        self.events = 0
        self._force = force
        # A link stays a link; what it leads to is written.
        self._target = target_of(path)
        self._state: Literal["open", "finished", "done"] = "open"
        self._temporary: Path | None = None
        self._raw: BinaryIO | None = None
        self._stream: BinaryIO | None = None
        self._writer: EventWriter | None = None
        with self._explained():
            try:
                self._open(run_info)
            except BaseException:
                self.discard()
                raise

    def _open(self, run_info: RunInfo) -> None:
        if str(self.path) == "-":
            self._raw = sys.stdout.buffer
            self._stream = self._raw
        elif is_special(self.path):
            # A device, a named pipe, bash's >(...): nothing to move into place.
            self._raw = self.path.open("wb", buffering=1 << 20)
            self._stream = compressed(self._raw, compression_for(self.path))
        else:
            self._temporary = temporary_for(self._target)
            if not self.format.streams:
                self._writer = writer_of(self.format, self._temporary, run_info)
                return
            self._raw = self._temporary.open("wb", buffering=1 << 20)
            self._stream = compressed(self._raw, compression_for(self.path))
        self._writer = writer_of(self.format, self._stream, run_info)

    def write(self, batch: EventBatch) -> None:
        """Append a batch.

        Raises:
            OutputError: The format cannot hold it.
            WriteFailure: The disk is full, or the like.
        """
        with self._opened() as writer:
            writer.write(batch)
        self.events += len(batch)

    def write_cells(self, batch: CellBatch) -> None:
        """Append the calorimeter cells of a batch of events, where the format holds cells (`EventFormat.holds_cells`).

        Raises:
            OutputError: The format cannot hold them.
            WriteFailure: The disk is full, or the like.
        """
        with self._opened() as writer:
            writer.write_cells(batch)

    def conclude(self, run_info: RunInfo) -> None:
        """Take what is true of all events once the last one is known; see `EventWriter.conclude`."""
        if self._writer is not None:
            with self._explained():
                self._writer.conclude(run_info)

    def finish(self) -> None:
        """Write everything to the disk, still under the temporary name.

        Raises:
            OutputError: The format cannot hold the events.
            WriteFailure: The disk is full, or the like.
        """
        if self._writer is None:
            return
        with self._explained():
            self._writer.close()
            self._writer = None
            if self._stream is not None and self._stream is not self._raw:
                self._stream.close()
            if self._raw is not None:
                self._raw.flush()
                if str(self.path) != "-":
                    self._raw.close()
            if self._temporary is not None:
                to_disk(self._temporary)
        self._state = "finished"

    def publish(self) -> None:
        """Move the finished file into place; nothing to do for standard output, pipes, and what was thrown away.

        Raises:
            OutputError: It is not finished, or a file of that name appeared meanwhile (and not `force`).
            WriteFailure: The disk refuses it.
        """
        if self._state == "open":
            raise OutputError(f"{self.path}: not finished; nothing can be put under that name")
        if self._state == "finished" and self._temporary is not None:
            with self._explained():
                put_in_place(self.path, self._temporary, self._target, force=self._force)
        self._state = "done"

    def close(self) -> None:
        """Finish the file and move it into place, unless that was done or it was thrown away."""
        if self._state != "done":
            self.finish()
            self.publish()

    def discard(self) -> None:
        """Throw away what was written, unless it is in place already."""
        if self._state == "done":
            return
        self._state = "done"
        writer, self._writer = self._writer, None
        # Whatever fails below, the rest is done too, the temporary file last.
        with contextlib.ExitStack() as stack:
            if self._temporary is not None:
                stack.callback(self._temporary.unlink, missing_ok=True)
            if str(self.path) != "-":
                for stream in (self._raw, self._stream):
                    if stream is not None:
                        # Closing writes what waits, which may be what failed before.
                        stack.enter_context(contextlib.suppress(OSError, ValueError))
                        stack.callback(stream.close)
            if writer is not None:
                with contextlib.suppress(OSError, ValueError):
                    writer.discard()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[EventWriter]:
        """Give the format's writer, to write with; its errors are explained."""
        if self._writer is None:
            raise OutputError(f"{self.path}: already closed")
        with self._explained():
            yield self._writer

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Put the path before what a format refuses, and say what an error of the operating system means."""
        try:
            yield
        except OutputError as error:
            if not str(error).startswith(f"{self.path}: "):
                error.args = (f"{self.path}: {error}",)
            raise
        except BrokenPipeError as error:
            raise WriteFailure(f"{self.path}: the program that reads the output went away") from error
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise OutputError(f"{self.path}: may not be written ({error.strerror})") from error
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise OutputError(
                    f"{self.path}: there is no directory '{self._target.parent}'; make it first"
                ) from error
            raise WriteFailure(
                f"{self.path}: writing failed after {self.events:,} events: {error.strerror or error}; "
                "nothing was left under that name"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        if kind is None:
            try:
                self.close()
            except BaseException:
                self.discard()
                raise
        else:
            self.discard()


def check_output(path: str | Path, *, force: bool = False, format_name: str | None = None) -> EventFormat:
    """Check, before any work, that an output can be written; return its format.

    Raises:
        OutputError: It exists already (and not `force`), is a directory or in one that may not be written, or its
            format is not known.
    """
    path = Path(path)
    event_format = format_for_output(path, format_name)
    if str(path) != "-":
        if is_special(path) and not event_format.streams:
            raise OutputError(f"{path}: {event_format.name} needs a file; it cannot be written into a pipe or device")
        check_free(path, force=force)
    return event_format


def create_events(
    path: str | Path, run_info: RunInfo, *, force: bool = False, format_name: str | None = None
) -> Output:
    """Open an event file for writing; ``-`` is standard output.

    Args:
        path: The file; its suffix chooses format and compression.
        run_info: What is true of all events.
        force: Whether an existing file is replaced; of a link, what it leads to.
        format_name: The format, where the suffix does not say.

    Raises:
        OutputError: As `check_output`.
    """
    return Output(Path(path), check_output(path, force=force, format_name=format_name), run_info, force=force)
