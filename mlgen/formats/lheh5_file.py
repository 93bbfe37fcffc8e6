"""The file below HDF5 when it writes."""

from __future__ import annotations

import os
from pathlib import Path


class RememberingFile:
    """A file on which no write fails as far as HDF5 can see; `check` tells afterwards.

    HDF5 cannot give up a file that it failed to write: closing fails again, and when its objects are freed it crashes,
    with its own drivers and with that for Python files alike (HDF5 2.0). So the first error is kept here, nothing is
    written any more, and what HDF5 goes on to write stays in memory, where it can read it back, until it is closed.
    That is at most the batch that was being written and HDF5's cache, provided that `check` is called after each.

    It has what h5py's driver ``fileobj`` asks of a file.
    """

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        self._size = self._position = 0
        self._error: OSError | None = None
        self._unwritten: list[tuple[int, bytes]] = []

    def check(self) -> None:
        """Raise what went wrong.

        Raises:
            OSError: A write failed.
        """
        if self._error is not None:
            raise self._error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position; return it."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def write(self, data: memoryview) -> int:
        """Write, if nothing has failed yet; return the number of bytes in any case."""
        start, done = self._position, 0
        if self._error is None:
            try:
                while done < len(data):
                    done += os.pwrite(self._handle, data[done:], start + done)
            except OSError as error:
                self._error = error
        if self._error is not None:
            self._unwritten.append((start, bytes(data)))
        self._position += len(data)
        self._size = max(self._size, self._position)
        return len(data)

    def readinto(self, buffer: memoryview) -> int:
        """Read what was written; beyond it there are zeros."""
        start, length = self._position, len(buffer)
        content = bytearray(os.pread(self._handle, length, start).ljust(length, b"\0"))
        for place, data in self._unwritten:
            low, high = max(place, start), min(place + len(data), start + length)
            if low < high:
                content[low - start : high - start] = data[low - place : high - place]
        buffer[:] = content
        self._position += length
        return length

    def read(self, size: int) -> bytes:
        """Read so many bytes."""
        content = bytearray(size)
        self.readinto(memoryview(content))
        return bytes(content)

    def truncate(self, size: int) -> int:
        """Set the length."""
        if self._error is None:
            try:
                os.ftruncate(self._handle, size)
            except OSError as error:
                self._error = error
        self._size = size
        return size

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Close the file, once.

        Raises:
            OSError: The disk refused what was written (network file systems say so only now).
        """
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)
