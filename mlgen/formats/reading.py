"""`open_events`: one or more event files as one stream of batches."""

from __future__ import annotations

import dataclasses
import io
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Self, cast

from mlgen.errors import InputError
from mlgen.event_format import BATCH_SIZE, EventFormat, EventReader, OnError, ReadOptions, Skipped
from mlgen.events import EventBatch
from mlgen.formats.catalogue import format_by_name, no_format_advice, recognise
from mlgen.formats.compression import DecompressedStream, compression_of
from mlgen.formats.foreign import reader_of
from mlgen.run_info import Process, RunInfo

HEAD_BYTES = 4096
STDIN = "<stdin>"


class EventStream:
    """Several event files as one stream. Iterating gives batches and can be done again, except for standard input.

    Attributes:
        run_info: What is true of all files together.
        formats: Name of each file's format.
        skipped: Events left out in the last pass.
    """

    def __init__(self, sources: Sequence[Path], *, batch_size: int, on_error: OnError, name: str | None) -> None:
        self._sources = list(sources)
        self._batch_size, self._on_error, self._name = batch_size, on_error, name
        self.skipped = Skipped()
        self.formats: list[str] = []
        # Only the first file stays open: thousands of files must not need thousands of handles.
        self._first: EventReader | None = None
        infos = []
        try:
            for source in self._sources:
                reader = self._open(source)
                infos.append(reader.run_info)
                if self._first is None:
                    self._first = reader
                else:
                    reader.close()
            self.run_info = combined_run_info(infos, [str(source) for source in self._sources])
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path) -> EventReader:
        options = ReadOptions(STDIN if str(path) == "-" else str(path), self._batch_size, self._on_error)
        event_format, stream = _opened(path, options.source, self._name)
        if len(self.formats) < len(self._sources):
            self.formats.append(event_format.name)
        try:
            return reader_of(event_format, stream, options)
        except BaseException:
            if not isinstance(stream, Path):
                stream.close()
            raise

    def __iter__(self) -> Iterator[EventBatch]:
        self.skipped = Skipped()
        for index, source in enumerate(self._sources):
            reader, self._first = (self._first, None) if index == 0 else (None, self._first)
            with reader or self._open(source) as opened:
                try:
                    yield from opened
                finally:
                    self.skipped.extend(opened.skipped)

    def close(self) -> None:
        """Close what is still open."""
        if self._first is not None:
            self._first.close()
            self._first = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def open_events(
    *paths: str | Path, batch_size: int = BATCH_SIZE, on_error: OnError = "stop", format_name: str | None = None
) -> EventStream:
    """Open event files as one stream of batches.

    Args:
        paths: Files, ``-`` for standard input.
        batch_size: Events in a batch.
        on_error: ``skip`` leaves out what cannot be read, and counts it.
        format_name: Format of the files; recognised from their first bytes when None.

    Raises:
        InputError: A file is missing, is in no known format, or its run information cannot be read.
    """
    if not paths:
        raise InputError("input", "no file was named")
    files = [Path(path) for path in paths]
    known: set[Path] = set()
    for path in files:
        if path.is_file() and path.resolve() in known:
            raise InputError(str(path), "is given twice; its events would be counted twice")
        known.add(path.resolve())
    return EventStream(files, batch_size=batch_size, on_error=on_error, name=format_name)


def _opened(path: Path, source: str, name: str | None) -> tuple[EventFormat, BinaryIO | Path]:
    if str(path) == "-":
        raw = cast(io.BufferedReader, sys.stdin.buffer)
    else:
        try:
            raw = cast(io.BufferedReader, path.open("rb", buffering=1 << 20))
        except IsADirectoryError as error:
            raise InputError(source, "is a directory; an event file is expected") from error
        except FileNotFoundError as error:
            raise InputError(source, "there is no such file", advice=_neighbours(path)) from error
        except PermissionError as error:
            raise InputError(source, "may not be read (permission denied)") from error
        except OSError as error:
            raise InputError(source, f"cannot be opened: {error.strerror}") from error
    raw_head = raw.read(HEAD_BYTES)
    if not raw_head:
        raw.close()
        raise InputError(source, "the file is empty; an event file is expected")
    stream = io.BufferedReader(DecompressedStream(raw, source, raw_head), 1 << 20)
    try:
        head = stream.peek(HEAD_BYTES)[:HEAD_BYTES]
        event_format = format_by_name(name) if name else recognise(head)
    except BaseException:
        stream.close()
        raise
    if event_format is None:
        stream.close()
        problem = f"is in none of the known formats (it begins with {head[:24]!r})"
        raise InputError(source, problem, advice=no_format_advice())
    if event_format.streams:
        return event_format, cast(BinaryIO, stream)
    packed = compression_of(raw_head)
    stream.close()
    if str(path) == "-":
        raise InputError(source, f"{event_format.name} cannot be read from a pipe; name the file")
    if packed:
        raise InputError(source, f"{event_format.name} cannot be read through {packed}; decompress the file first")
    return event_format, path


def _neighbours(path: Path) -> str:
    import difflib

    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"There is no directory '{path.parent}'."
    close = difflib.get_close_matches(path.name, names, n=3)
    return f"Similar files there: {', '.join(close)}" if close else ""


def combined_run_info(infos: Sequence[RunInfo], sources: Sequence[str]) -> RunInfo:
    """Combine the run information of files that are read as one sample.

    The files must hold the same processes with the same beams and normalisation: then each is an estimate of the same
    cross section, and the joined sample gets their mean, its error reduced accordingly. (The mean weight of the joined
    sample counts a file by its events; the two agree within errors, and exactly for files of one size.) Anything else
    would need weights to be changed, which is not done silently.

    Raises:
        InputError: The files do not belong together.
    """
    first = infos[0]
    if len(infos) == 1:
        return first
    for info, source in zip(infos[1:], sources[1:], strict=True):
        for what, mine, theirs in (
            ("beams", first.beams, info.beams),
            ("weight strategy", first.weight_strategy, info.weight_strategy),
            ("processes", sorted(_by_id(first)), sorted(_by_id(info))),
        ):
            if mine != theirs:
                raise InputError(
                    source,
                    f"its {what} differ from those of {sources[0]}: {theirs}, not {mine}",
                    advice="Files read as one stream must hold the same process; run them one by one.",
                )
    processes = []
    for process_id in _by_id(first):
        same = [_by_id(info)[process_id] for info in infos]
        error = math.sqrt(math.fsum(p.error**2 for p in same)) / len(same)
        mean = math.fsum(p.cross_section for p in same) / len(same)
        processes.append(Process(same[0].process_id, mean, error, max(p.maximum_weight for p in same)))
    names = tuple(dict.fromkeys(name for info in infos for name in info.variation_names))
    return dataclasses.replace(first.with_variations(names), processes=tuple(processes))


def _by_id(info: RunInfo) -> dict[int, Process]:
    return {process.process_id: process for process in info.processes}
