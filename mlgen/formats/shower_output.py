"""A file of showers that appears under its name only when it, and what belongs to it, is whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy.typing as npt

from mlgen.errors import OutputError, WriteFailure
from mlgen.files import check_free, is_special, put_in_place, target_of, temporary_for, to_disk
from mlgen.formats.shower_writer import Columns, ShowerWriter
from mlgen.showers import Geometry, ShowerBatch

#: Suffixes of files of showers, in lower case.
SHOWER_SUFFIXES = (".h5", ".hdf5")


def check_shower_output(path: Path, *, force: bool = False) -> None:
    """Check, before any work, that a file of showers can be written.

    Raises:
        OutputError: It exists already (and not `force`), is a device or pipe, or its directory cannot be written.
    """
    if is_special(path):
        raise OutputError(f"{path}: showers need a file; they cannot be written into a pipe or device")
    check_free(path, force=force)


class ShowerOutput:
    """A file of showers, as `mlgen.formats.writing.Output` is one of events: `finish`, then `publish`.

    As a context manager: leaving it without `publish` throws away what was written.

    Args:
        path: The file.
        geometry: Of all showers.
        columns: Further data sets of one row a shower (`mlgen.formats.shower_writer.ShowerWriter`).
        provenance: Records of every run of mlgen that the showers went through, oldest first.
        force: Whether an existing file is replaced.

    Raises:
        OutputError: As `check_shower_output`.
        WriteFailure: The disk is full, or the like.
    """

    def __init__(
        self,
        path: Path,
        geometry: Geometry,
        *,
        columns: Columns | None = None,
        provenance: Sequence[Mapping[str, Any]] = (),
        force: bool = False,
    ) -> None:
        check_shower_output(path, force=force)
        self.path, self._force, self._provenance = path, force, tuple(provenance)
        self._target = target_of(path)
        self._state: Literal["open", "finished", "done"] = "open"
        self._temporary: Path | None = None
        with self._explained():
            self._temporary = temporary_for(self._target)
            try:
                self._writer = ShowerWriter(path, self._temporary, geometry, columns)
            except BaseException:
                self._temporary.unlink(missing_ok=True)
                raise

    def write(self, batch: ShowerBatch, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        """Append showers.

        Raises:
            OutputError: The geometry is another one, or an energy is negative or not finite.
            WriteFailure: The disk is full, or the like.
        """
        with self._explained():
            self._writer.write(batch, columns)

    def finish(self) -> None:
        """Write everything to the disk, still under a temporary name.

        Raises:
            WriteFailure: The disk is full, or the like.
        """
        with self._explained():
            self._writer.close(provenance=self._provenance)
            self._state = "finished"
            to_disk(self._written)

    def publish(self) -> None:
        """Move the finished file into place.

        Raises:
            OutputError: It is not finished, or a file of that name appeared meanwhile (and not `force`).
            WriteFailure: The disk refuses it.
        """
        if self._state != "finished":
            raise OutputError(f"{self.path}: not finished; nothing can be put under that name")
        with self._explained():
            put_in_place(self.path, self._written, self._target, force=self._force)
        self._state = "done"

    def discard(self) -> None:
        """Throw away what was written, unless it is in place already."""
        before, self._state = self._state, "done"
        if before == "done":
            return
        try:
            if before == "open":
                with contextlib.suppress(OSError, ValueError):
                    self._writer.discard()
        finally:
            self._written.unlink(missing_ok=True)

    @property
    def _written(self) -> Path:
        if self._temporary is None:
            raise OutputError(f"{self.path}: was never opened")
        return self._temporary

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WriteFailure(
                f"{self.path}: writing failed: {error.strerror or error}; nothing was left under that name"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.discard()
