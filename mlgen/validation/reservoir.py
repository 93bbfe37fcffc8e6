"""A uniform random subset of a stream, in memory that does not grow with the stream."""

from __future__ import annotations

import numpy as np

from mlgen.validation.observable import FloatArray


class Reservoir:
    """Keeps `size` rows of a stream, each row of it with the same chance.

    Every row gets a random number, and the rows with the smallest ones stay (Vitter, ACM TOMS 11 (1985) 37, in the
    form with random keys): whole batches are handled at a time, and files that are ordered do no harm.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._keys: list[FloatArray] = []
        self._rows: list[FloatArray] = []
        self._held = 0
        self._threshold = 1.0

    def add(self, columns: FloatArray, rng: np.random.Generator) -> None:
        """Offer rows, given as columns of shape ``(columns, n)``."""
        keys = rng.random((columns.shape[1],))
        chosen = np.flatnonzero(keys < self._threshold)
        if not len(chosen):
            return
        self._keys.append(keys[chosen])
        self._rows.append(columns[:, chosen].T.copy())
        self._held += len(chosen)
        if self._held > 1.5 * self._size + 10_000:
            self._prune()

    def _prune(self) -> None:
        keys, rows = np.concatenate(self._keys), np.concatenate(self._rows)
        if len(keys) > self._size:
            kept = np.argpartition(keys, self._size)[: self._size]
            # In the order of the stream, so that the result does not depend on when pruning happened.
            kept.sort()
            keys, rows = keys[kept], rows[kept]
            self._threshold = float(keys.max())
        self._keys, self._rows, self._held = [keys], [rows], len(keys)

    def rows(self, columns: int) -> FloatArray:
        """The rows kept, ``(at most size, columns)``, in the order of the stream."""
        if not self._rows:
            return np.empty((0, columns))
        self._prune()
        return self._rows[0]
