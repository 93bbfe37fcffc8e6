"""`create_events`: an event file that appears under its name only when it is whole."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

from mlgen.errors import OutputError, WriteFailure
from mlgen.event_format import EventFormat, EventWriter
from mlgen.events import EventBatch
from mlgen.formats.catalogue import format_for_output
from mlgen.formats.compression import compressed, compression_for
from mlgen.run_info import RunInfo


class Output:
    """An event file that is being written under a temporary name and moved into place by `close`.

    As a context manager: leaving it without an exception closes it, with one throws it away.
    """

    def __init__(self, path: Path, event_format: EventFormat, run_info: RunInfo) -> None:
        self.path, self.format = path, event_format
        self.events = 0
        self._temporary: Path | None = None
        self._raw: BinaryIO | None = None
        self._stream: BinaryIO | None = None
        self._writer: EventWriter | None = None
        with self._disk_errors():
            self._open(run_info)

    def _open(self, run_info: RunInfo) -> None:
        try:
            if str(self.path) == "-":
                self._raw = sys.stdout.buffer
                self._stream = self._raw
            elif _is_special(self.path):
                # A device, a named pipe, bash's >(...): nothing to move into place.
                self._raw = self.path.open("wb", buffering=1 << 20)
                self._stream = compressed(self._raw, compression_for(self.path))
            else:
                handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", suffix=".part", dir=self.path.parent)
                self._temporary = Path(name)
                if not self.format.streams:
                    os.close(handle)
                    self._writer = self.format.writer(self._temporary, run_info)
                    return
                self._raw = os.fdopen(handle, "wb", buffering=1 << 20)
                self._stream = compressed(self._raw, compression_for(self.path))
            self._writer = self.format.writer(self._stream, run_info)
        except BaseException:
            self.discard()
            raise

    def write(self, batch: EventBatch) -> None:
        """Append a batch.

        Raises:
            OutputError: The format cannot hold it.
            WriteFailure: The disk is full, or the like.
        """
        if self._writer is None:
            raise OutputError(f"{self.path}: already closed")
        with self._disk_errors():
            self._writer.write(batch)
        self.events += len(batch)

    def close(self) -> None:
        """Finish the file and move it into place."""
        if self._writer is None:
            return
        with self._disk_errors():
            self._writer.close()
            self._writer = None
            if self._stream is not None and self._stream is not self._raw:
                self._stream.close()
            if self._raw is not None:
                self._raw.flush()
                if str(self.path) != "-":
                    self._raw.close()
            if self._temporary is None:
                return
            # mkstemp makes files that only the user may read; an output follows the umask like any other file.
            umask = os.umask(0)
            os.umask(umask)
            self._temporary.chmod(0o666 & ~umask)
            self._temporary.replace(self.path)

    def discard(self) -> None:
        """Throw away what was written."""
        if self._writer is not None:
            with contextlib.suppress(OSError, ValueError):
                self._writer.discard()
        self._writer = None
        if str(self.path) == "-":
            return
        for stream in (self._stream, self._raw):
            if stream is not None:
                with contextlib.suppress(OSError, ValueError):
                    stream.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError as error:
            raise WriteFailure(f"{self.path}: the program that reads the output went away") from error
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise OutputError(f"{self.path}: may not be written ({error.strerror})") from error
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise OutputError(f"{self.path}: there is no directory '{self.path.parent}'; make it first") from error
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


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def check_output(path: str | Path, *, force: bool = False, format_name: str | None = None) -> EventFormat:
    """Check, before any work, that an output can be written; return its format.

    Raises:
        OutputError: It exists already (and not `force`), is a directory, or its format is not known.
    """
    path = Path(path)
    event_format = format_for_output(path, format_name)
    if str(path) != "-":
        if path.is_dir():
            raise OutputError(f"{path}: is a directory; name a file")
        if not path.parent.is_dir():
            raise OutputError(f"{path}: there is no directory '{path.parent}'; make it first")
        if _is_special(path):
            if not event_format.streams:
                raise OutputError(
                    f"{path}: {event_format.name} needs a file; it cannot be written into a pipe or device"
                )
        elif path.exists() and not force:
            raise OutputError(f"{path}: exists already; choose another name, or overwrite it with --force")
    return event_format


def create_events(
    path: str | Path, run_info: RunInfo, *, force: bool = False, format_name: str | None = None
) -> Output:
    """Open an event file for writing; ``-`` is standard output.

    Args:
        path: The file; its suffix chooses format and compression.
        run_info: What is true of all events.
        force: Whether an existing file is replaced.
        format_name: The format, where the suffix does not say.

    Raises:
        OutputError: As `check_output`, or the directory may not be written.
    """
    return Output(Path(path), check_output(path, force=force, format_name=format_name), run_info)
