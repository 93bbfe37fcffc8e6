"""Candidates of a process on disk, until it is known which of them become events."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from mlgen.chain.record_file import RecordFile
from mlgen.stages import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class KeptCandidates:
    """Candidates of one batch that can become events.

    Args:
        index: Their places in the batch, ``(n,)``, ascending.
        weight: In pb, ``(n,)``.
        channel: Number of the channel that each was drawn for, ``(n,)``.
        subprocess: Number of the subprocess that was drawn for each, ``(n,)``.
        momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV.
        scale: Factorisation scale in GeV, ``(n,)``.
        alpha_s: Strong coupling, ``(n,)``.
    """

    index: IntArray
    weight: FloatArray
    channel: IntArray
    subprocess: IntArray
    momenta: FloatArray
    scale: FloatArray
    alpha_s: FloatArray

    def __len__(self) -> int:
        return len(self.index)

    def at(self, places: IntArray) -> KeptCandidates:
        """Return those at some places."""
        return KeptCandidates(*(getattr(self, field.name)[places] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class KeptWeights:
    """What an unweighting needs of `KeptCandidates`."""

    index: IntArray
    weight: FloatArray
    channel: IntArray
    subprocess: IntArray


class TemporaryFiles:
    """A folder of temporary files. A context manager: they are gone when it is left."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mlgen-candidates-")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._folder.cleanup()

    def path(self, name: str) -> Path:
        """Return where a file is."""
        return Path(self._folder.name) / name


class EventSpool:
    """Candidates with all that makes them events, in parts.

    Args:
        files: Where they are kept.
        particles: Particles of each event, incoming ones included.
    """

    def __init__(self, files: TemporaryFiles, particles: int) -> None:
        # Weights are gone through several times, events once: they stand apart.
        groups = [("channel", np.int32), ("subprocess", np.int32)]
        weight = np.dtype([("index", np.int32), ("weight", np.float64), *groups])
        event = np.dtype([("momenta", np.float64, (particles, 4)), ("scale", np.float64), ("alpha_s", np.float64)])
        self.weight_file = RecordFile(files.path("weights"), weight)
        self.event_file = RecordFile(files.path("events"), event)

    def __len__(self) -> int:
        """Number of parts."""
        return len(self.weight_file)

    @property
    def events(self) -> int:
        """Number of candidates in all parts."""
        return self.weight_file.records

    def append(self, candidates: KeptCandidates) -> int:
        """Add a part; returns its number.

        Raises:
            WriteFailure: The disk is full.
        """
        columns = {field.name: getattr(candidates, field.name) for field in fields(candidates)}
        self.weight_file.append(columns)
        return self.event_file.append(columns)

    def weights(self, part: int) -> KeptWeights:
        """Return the weights of a part, and what they can be told apart by."""
        array = self.weight_file.read(part)
        index, channel, subprocess = (np.asarray(array[name], np.int64) for name in ("index", "channel", "subprocess"))
        return KeptWeights(index, np.ascontiguousarray(array["weight"]), channel, subprocess)

    def read(self, part: int) -> KeptCandidates:
        """Return the candidates of a part."""
        kept = self.weights(part)
        events = self.event_file.read(part)
        columns = (np.ascontiguousarray(events[name]) for name in ("momenta", "scale", "alpha_s"))
        return KeptCandidates(kept.index, kept.weight, kept.channel, kept.subprocess, *columns)


class ChosenEvents:
    """Which candidates become events, batch by batch, with their weights; the first `limit` of them.

    Args:
        files: Where that is kept.
        limit: Number of events that are wanted; what is chosen beyond that is counted only.

    Attributes:
        count: Number of candidates that were chosen.
        largest: Largest modulus of a weight.
        negative: Whether there is a negative weight.
    """

    def __init__(self, files: TemporaryFiles, limit: int) -> None:
        self._file = RecordFile(files.path("chosen"), np.dtype([("index", np.int32), ("weight", np.float64)]))
        # A choice that was made before, with other maxima.
        self._file.clear()
        self._limit = limit
        self.count = 0
        self.largest = 0.0
        self.negative = False
        self.factor = 1.0

    def add(self, index: IntArray, weight: FloatArray) -> None:
        """Choose events of the next batch, by place in it.

        Raises:
            WriteFailure: The disk is full.
        """
        left = max(self._limit - self.count, 0)
        self.count += len(index)
        index, weight = index[:left], weight[:left]
        self._file.append({"index": index, "weight": weight})
        self.largest = max(self.largest, float(np.abs(weight).max(initial=0.0)))
        self.negative |= bool(np.any(weight < 0))

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._file)

    def scale(self, factor: float) -> None:
        """Multiply all weights by a positive factor."""
        self.factor *= factor
        self.largest *= factor

    def of(self, number: int) -> tuple[IntArray, FloatArray]:
        """Return places and weights of the events of a batch."""
        array = self._file.read(number)
        return np.asarray(array["index"], np.int64), np.asarray(array["weight"] * self.factor)
