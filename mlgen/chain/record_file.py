"""Records in a temporary file, written in parts and read back part by part."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.errors import WriteFailure


class RecordFile:
    """Parts of records of one type. In memory are two numbers for each part.

    Args:
        path: The file; made with the first part.
        kind: Type of a record.
    """

    def __init__(self, path: Path, kind: np.dtype[Any]) -> None:
        self.path, self.kind = path, kind
        self._parts: list[tuple[int, int]] = []
        self._records = 0

    def __len__(self) -> int:
        """Number of parts."""
        return len(self._parts)

    @property
    def records(self) -> int:
        """Number of records in all parts."""
        return self._records

    def append(self, columns: dict[str, npt.NDArray[Any]]) -> int:
        """Add a part; returns its number.

        Args:
            columns: Each field of the records, ``(n, ...)``.

        Raises:
            WriteFailure: The disk is full.
        """
        count = len(next(iter(columns.values())))
        array = np.empty(count, self.kind)
        for name in self.kind.names or ():
            array[name] = columns[name]
        with self._explained(), self.path.open("ab") as stream:
            stream.write(array.tobytes())
        self._parts.append((self._records, count))
        self._records += count
        return len(self._parts) - 1

    def read(self, part: int) -> npt.NDArray[Any]:
        """Return the records of a part."""
        start, count = self._parts[part]
        return np.fromfile(self.path, self.kind, count, offset=start * self.kind.itemsize)

    def clear(self) -> None:
        """Forget all parts."""
        self._parts.clear()
        self._records = 0
        self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WriteFailure(
                f"{self.path.parent}: the candidates cannot be kept there: {error.strerror or error}; "
                "set TMPDIR to a directory with more room"
            ) from error
