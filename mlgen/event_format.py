"""What an event format gives: how to recognise, read and write it."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, Self

if TYPE_CHECKING:
    from mlgen.cells import CellBatch
    from mlgen.events import EventBatch
    from mlgen.run_info import RunInfo

#: Events in a batch, where nobody says otherwise.
BATCH_SIZE = 10_000

OnError = Literal["stop", "skip"]


@dataclass(slots=True)
class Skipped:
    """Events that were left out because they could not be read, with the reason of the first few."""

    count: int = 0
    reasons: list[str] = field(default_factory=list)

    def add(self, reason: str, count: int = 1) -> None:
        """Count events as left out; the first 20 reasons are kept."""
        self.count += count
        if len(self.reasons) < 20:
            self.reasons.append(reason)

    def extend(self, other: Skipped) -> None:
        """Add what another reader left out."""
        self.count += other.count
        self.reasons.extend(other.reasons[: max(0, 20 - len(self.reasons))])


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read: name of the source for messages, events in a batch (at most), what to do with a broken event."""

    source: str
    batch_size: int = BATCH_SIZE
    on_error: OnError = "stop"


class EventReader(abc.ABC):
    """An open event file. `run_info` is complete once the reader is made; iterating gives batches, once.

    A reader raises `mlgen.errors.InputError`, with the event and the line, for what it cannot read; with
    ``on_error="skip"`` it leaves out broken events, counts them in `skipped` and goes on.
    """

    run_info: RunInfo
    skipped: Skipped

    @abc.abstractmethod
    def __iter__(self) -> Iterator[EventBatch]: ...

    def close(self) -> None:  # noqa: B027 - a reader without anything to close is fine
        """Release what the reader holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class EventWriter(abc.ABC):
    """An event file that is being written."""

    @abc.abstractmethod
    def write(self, batch: EventBatch) -> None:
        """Append a batch.

        Raises:
            mlgen.errors.OutputError: The format cannot hold the batch.
        """

    def conclude(self, run_info: RunInfo) -> None:  # noqa: B027 - what a format cannot say at its end is left out
        """Take what is true of all events once the last one is known, before `close`: a better cross section, say.

        A format that has written it already leaves it out; names of weights are those from the beginning.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Write what ends the file."""

    def write_cells(self, batch: CellBatch) -> None:
        """Append the calorimeter cells of a batch of events; only asked of a format with `EventFormat.holds_cells`.

        Raises:
            mlgen.errors.OutputError: The format cannot hold them.
        """
        raise NotImplementedError(f"{type(self).__name__} writes no cells")

    def discard(self) -> None:  # noqa: B027 - a writer that holds nothing has nothing to let go
        """Let go of what is held open, in place of `close`: the run failed, and the file is thrown away."""


class EventFormat(abc.ABC):
    """One event format. Subclass it, and give an instance from the hook ``mlgen_event_formats``.

    `name`, `summary`, `suffixes` and `contract_version` have to be set. A name or suffix that another package
    offers too can no longer be asked for: the error names both packages.
    """

    #: Short name, as in ``--format lhe``.
    name: str
    #: What the format is, for people.
    summary: str
    #: File suffixes in lower case, without compression, the usual one first, for instance ``(".lhe",)``.
    suffixes: tuple[str, ...]
    #: The version of the contracts that it was written for, as a number; not `mlgen.stages.CONTRACT_VERSION`, which is
    #: that of whatever mlgen is installed.
    contract_version: int
    #: Whether the format goes through a stream, so that compression, ``-`` and pipes work.
    streams: bool = True
    #: Whether it can hold shower-level events. One that cannot gets the hard events of a run that showers them.
    shower_level: bool = True
    #: Whether its writer takes calorimeter cells beside the events (`EventWriter.write_cells`).
    holds_cells: bool = False

    @abc.abstractmethod
    def recognises(self, head: bytes) -> bool:
        """Tell from the first 4,096 (uncompressed) bytes of a file whether it is in this format."""

    @abc.abstractmethod
    def reader(self, stream: BinaryIO | Path, options: ReadOptions) -> EventReader:
        """Open for reading: a stream of uncompressed bytes, or the path when the format does not stream."""

    @abc.abstractmethod
    def writer(self, stream: BinaryIO | Path, run_info: RunInfo) -> EventWriter:
        """Open for writing, like `reader`."""
