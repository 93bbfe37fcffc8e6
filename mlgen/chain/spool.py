"""Candidates of a process on disk, until it is known which of them become events."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mlgen.errors import WriteFailure
from mlgen.stages import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class KeptCandidates:
    """The candidates of one batch whose weight is not zero.

    Args:
        index: Their places in the batch, ``(n,)``, ascending.
        weight: In pb, ``(n,)``.
        subprocess: Number of the subprocess that was drawn for each, ``(n,)``.
        momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV.
        scale: Factorisation scale in GeV, ``(n,)``.
        alpha_s: Strong coupling, ``(n,)``.
    """

    index: IntArray
    weight: FloatArray
    subprocess: IntArray
    momenta: FloatArray
    scale: FloatArray
    alpha_s: FloatArray

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True, slots=True)
class _Batch:
    total: int
    start: int
    kept: int


class CandidateSpool:
    """Temporary files of candidates, batch by batch, and of those that become events. Weights of zero are only counted.

    A context manager: the files are gone when it is left. In memory are a few numbers for each batch.

    Args:
        particles: Particles of each event, incoming ones included.
    """

    def __init__(self, particles: int) -> None:
        event = [("subprocess", np.int32), ("momenta", np.float64, (particles, 4)), ("scale", np.float64)]
        self._event = np.dtype([*event, ("alpha_s", np.float64)])
        self._weight = np.dtype([("index", np.int32), ("weight", np.float64)])
        self._batches: list[_Batch] = []
        self._chosen: list[_Batch] = []
        self._total = self._written = 0
        self._folder = tempfile.TemporaryDirectory(prefix="mlgen-candidates-")
        # Weights are gone through several times, events once: they stand apart.
        self._weight_file = Path(self._folder.name) / "weights"
        self._event_file = Path(self._folder.name) / "events"
        self._choice_file = Path(self._folder.name) / "chosen"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._folder.cleanup()

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._batches)

    @property
    def total(self) -> int:
        """Number of candidates, those of weight zero included."""
        return self._total

    @property
    def kept(self) -> int:
        """Number of candidates with a weight other than zero."""
        return self._written

    def append(self, total: int, candidates: KeptCandidates) -> None:
        """Add a batch of `total` candidates; those that are not in `candidates` have weight zero.

        Raises:
            WriteFailure: The disk is full.
        """
        weights = np.empty(len(candidates), self._weight)
        events = np.empty(len(candidates), self._event)
        for array in (weights, events):
            for name in array.dtype.names or ():
                array[name] = getattr(candidates, name)
        with self._explained():
            for path, array in ((self._weight_file, weights), (self._event_file, events)):
                with path.open("ab") as stream:
                    stream.write(array.tobytes())
        self._batches.append(_Batch(total, self._written, len(candidates)))
        self._total += total
        self._written += len(candidates)

    def forget_choice(self) -> None:
        """Forget which candidates become events."""
        self._chosen.clear()
        self._choice_file.unlink(missing_ok=True)

    def choose(self, places: IntArray, weight: FloatArray) -> None:
        """Keep which candidates of the next batch become events.

        Args:
            places: Among those of the batch whose weight is not zero, ``(events,)``, ascending.
            weight: Weights of the events in pb, ``(events,)``.

        Raises:
            WriteFailure: The disk is full.
        """
        array = np.empty(len(places), self._weight)
        array["index"], array["weight"] = places, weight
        with self._explained(), self._choice_file.open("ab") as stream:
            stream.write(array.tobytes())
        last = self._chosen[-1] if self._chosen else _Batch(0, 0, 0)
        self._chosen.append(_Batch(len(places), last.start + last.kept, len(places)))

    def chosen(self, number: int) -> tuple[IntArray, FloatArray]:
        """Places and weights of the events of a batch, as `choose` was given them."""
        array = self._read(self._choice_file, self._weight, self._chosen[number])
        return np.asarray(array["index"], np.int64), np.ascontiguousarray(array["weight"])

    def weights(self, number: int) -> FloatArray:
        """Weights of all candidates of a batch, ``(total,)``, zeros included."""
        batch = self._batches[number]
        part = self._read(self._weight_file, self._weight, batch)
        weight = np.zeros(batch.total)
        weight[part["index"]] = part["weight"]
        return weight

    def candidates(self, number: int) -> KeptCandidates:
        """The candidates of a batch whose weight is not zero."""
        batch = self._batches[number]
        weights = self._read(self._weight_file, self._weight, batch)
        events = self._read(self._event_file, self._event, batch)
        return KeptCandidates(
            np.asarray(weights["index"], np.int64),
            np.ascontiguousarray(weights["weight"]),
            np.asarray(events["subprocess"], np.int64),
            *(np.ascontiguousarray(events[name]) for name in ("momenta", "scale", "alpha_s")),
        )

    def _read(self, path: Path, kind: np.dtype[Any], batch: _Batch) -> npt.NDArray[Any]:
        return np.fromfile(path, kind, batch.kept, offset=batch.start * kind.itemsize)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WriteFailure(
                f"{self._folder.name}: the candidates cannot be kept there: {error.strerror or error}; "
                "set TMPDIR to a directory with more room"
            ) from error
