"""Candidates of a process, batch by batch, until it is known which of them become events."""

from __future__ import annotations

import abc
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from mlgen.chain.candidates import CandidateBatch, CandidateSource
from mlgen.chain.spool import EventSpool, KeptCandidates, TemporaryFiles
from mlgen.seeds import Work, random_generator
from mlgen.stages import Candidates, FloatArray, IntArray

Number = TypeVar("Number", bound=np.generic)


class CandidatePool(abc.ABC):
    """Draws candidates, and keeps them on disk; weights of zero are only counted.

    The k-th batch has random numbers of its own: what is drawn does not depend on what is done with it.

    Args:
        source: Where the candidates come from.
        seed: Of the run.
    """

    def __init__(self, source: CandidateSource, seed: int) -> None:
        self.source = source
        self._seed = seed
        self._sizes: list[int] = []
        # As drawn, with what was not needed.
        self._drawn_sizes: list[int] = []
        self._total = 0

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._sizes)

    @property
    def total(self) -> int:
        """Number of candidates, those of weight zero included."""
        return self._total

    def size_of(self, number: int) -> int:
        """Number of candidates of a batch."""
        return self._sizes[number]

    @property
    @abc.abstractmethod
    def kept(self) -> int:
        """Number of candidates that do not vanish."""

    @abc.abstractmethod
    def draw(self, n: int, at_most: int | None = None) -> FloatArray:
        """Draw a batch of candidates; returns their weights in pb, zeros included.

        Args:
            n: Number of candidates.
            at_most: Of those that do not vanish; the batch ends with the last one.

        Raises:
            mlgen.errors.WriteFailure: The disk is full.
        """

    @abc.abstractmethod
    def candidates(self, number: int) -> Candidates:
        """Return a batch as an unweighting sees it."""

    @abc.abstractmethod
    def events(self, number: int, index: IntArray) -> KeptCandidates:
        """Return candidates of a batch with all that makes them events.

        Args:
            number: Of the batch.
            index: Places in the batch of candidates that do not vanish, ``(n,)``, ascending.
        """

    def _drawn(self, n: int) -> CandidateBatch:
        self._drawn_sizes.append(n)
        return self.source.draw(n, random_generator(self._seed, Work.SAMPLE_PHASE_SPACE, len(self)))

    def _subprocess_numbers(self, number: int) -> FloatArray:
        """The uniform numbers that choose the subprocesses of a batch, one for each candidate that was drawn."""
        n = self._drawn_sizes[number]
        return random_generator(self._seed, Work.DRAW_SUBPROCESS, number).random(n)

    def _count(self, n: int) -> None:
        self._sizes.append(n)
        self._total += n


class KnownPool(CandidatePool):
    """Candidates whose weights are known: those of the source.

    Args:
        source: Where the candidates come from.
        seed: Of the run.
        files: Where they are kept.
        particles: Particles of each event, incoming ones included.
    """

    def __init__(self, source: CandidateSource, seed: int, files: TemporaryFiles, particles: int) -> None:
        super().__init__(source, seed)
        self._spool = EventSpool(files, particles)

    @property
    def kept(self) -> int:
        """Number of candidates that do not vanish."""
        return self._spool.events

    def draw(self, n: int, at_most: int | None = None) -> FloatArray:
        """Draw a batch of candidates; returns their weights in pb, zeros included."""
        batch = self._drawn(n)
        kept = self.source.events(batch, self._subprocess_numbers(len(self)))
        if at_most is not None and len(kept) >= at_most:
            kept = kept.at(np.arange(at_most))
            n = int(kept.index[-1]) + 1
        self._spool.append(kept)
        self._count(n)
        return _with_zeros(n, kept.index, kept.weight)

    def candidates(self, number: int) -> Candidates:
        """Return a batch with its true weights."""
        kept = self._spool.weights(number)
        n = self.size_of(number)
        groups = {"channel": kept.channel, "process": kept.subprocess}
        return Candidates(
            _with_zeros(n, kept.index, kept.weight),
            groups={name: _with_zeros(n, kept.index, group) for name, group in groups.items()},
        )

    def events(self, number: int, index: IntArray) -> KeptCandidates:
        """Return candidates of a batch with all that makes them events."""
        kept = self._spool.read(number)
        return kept.at(np.searchsorted(kept.index, index))


def _with_zeros(n: int, index: IntArray, values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    whole = np.zeros(n, values.dtype)
    whole[index] = values
    return whole
