"""Showers on disk, part by part, while they are simulated: a run that was killed goes on from them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from mlgen.errors import OutputError, UserError, WriteFailure
from mlgen.stages import FloatArray

_RECORD, _LOCK = "simulation.json", "lock"
_PART, _UNFINISHED = "part-", ".unfinished"


class ShowerParts:
    """A folder beside the output that holds parts of its showers. A context manager: it is locked meanwhile.

    A part is there when it is whole.

    Args:
        output: The file that the showers are for; the folder has its name with ``.parts`` behind it.
        record: All that the showers depend on, as plain types with texts as keys.
        resume: Whether parts that are there are used, which must have been made with the same record.
        force: Whether a folder that is there is replaced.

    Raises:
        OutputError: A folder is there, and neither `resume` nor `force`; or another process uses it.
        UserError: It was made with another record; says what differs.
        WriteFailure: It cannot be made.
    """

    def __init__(self, output: Path, record: Mapping[str, Any], *, resume: bool, force: bool) -> None:
        self.folder = parts_folder(output)
        self._record = json.loads(json.dumps(record))
        if self.folder.exists() and not resume and not force:
            raise OutputError(
                f"{self.folder}: a simulation that was interrupted is kept there; go on with it with --resume, or "
                "start again with --force"
            )
        try:
            self.folder.mkdir(exist_ok=True)
            self._lock = (self.folder / _LOCK).open("w")
        except OSError as error:
            raise WriteFailure(f"{self.folder}: cannot be made: {error.strerror or error}") from error
        try:
            self._begin(keep=resume)
        except BaseException:
            self._lock.close()
            raise

    def _begin(self, *, keep: bool) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"{self.folder}: another simulation is writing there; wait for it, or end it") from error
        record = self.folder / _RECORD
        if keep and record.is_file():
            self._check_same(json.loads(record.read_text(encoding="utf-8")))
            return
        if foreign := [path.name for path in self.folder.iterdir() if not _is_own(path.name)]:
            raise OutputError(
                f"{self.folder}: the parts of the simulation are to be kept there, and there is '{foreign[0]}', which "
                "is none of them; move it, or choose another name for the output"
            )
        for path in self.folder.iterdir():
            if path.name != _LOCK:
                path.unlink()
        self._write(record, json.dumps(self._record, indent=1).encode())

    def _check_same(self, before: Mapping[str, Any]) -> None:
        old, new = _flat(before), _flat(self._record)
        different = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        if different:
            lines = "".join(f"\n  {key}: {old.get(key)!r} before, {new.get(key)!r} now" for key in different)
            raise UserError(
                f"{self.folder}: the simulation that was interrupted had other settings; to go on with it, use the "
                f"same as before, or start again with --force{lines}"
            )

    def has(self, part: int, voxels: int) -> bool:
        """Whether a part is there, and has as many numbers as its showers have voxels together.

        What was written right before the power failed may have none.
        """
        path = self._path(part)
        return path.is_file() and path.stat().st_size == voxels * np.dtype("<f8").itemsize

    def write(self, part: int, voxels: FloatArray) -> None:
        """Keep a part.

        Raises:
            WriteFailure: The disk is full, or the like.
        """
        self._write(self._path(part), np.ascontiguousarray(voxels, "<f8").tobytes())

    def read(self, part: int, n_voxels: int) -> FloatArray:
        """Return the voxels of a part, ``(n, n_voxels)``, MeV."""
        return np.fromfile(self._path(part), "<f8").reshape(-1, n_voxels)

    def remove(self) -> None:
        """Remove the parts, and the folder, unless somebody else put something there."""
        for path in self.folder.iterdir():
            if _is_own(path.name):
                path.unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _path(self, part: int) -> Path:
        return self.folder / f"{_PART}{part:07d}"

    def _write(self, path: Path, content: bytes) -> None:
        unfinished = path.with_name(path.name + _UNFINISHED)
        try:
            unfinished.write_bytes(content)
            os.replace(unfinished, path)
        except OSError as error:
            raise WriteFailure(f"{path}: writing failed: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lock.close()


def parts_folder(output: Path) -> Path:
    """Return the folder that holds the parts of an output."""
    return output.with_name(output.name + ".parts")


def _is_own(name: str) -> bool:
    name = name.removesuffix(_UNFINISHED)
    return name in (_RECORD, _LOCK) or (name.startswith(_PART) and name.removeprefix(_PART).isdecimal())


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(content, dict):
        return {prefix: content}
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else key)
    return flat
