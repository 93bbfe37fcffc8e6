"""Compressed streams: recognised from their first bytes when read, chosen by suffix when written."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from isal import igzip, isal_zlib

from mlgen.errors import InputError

#: First bytes of each compression.
MAGIC = {"gz": b"\x1f\x8b", "bz2": b"BZh", "xz": b"\xfd7zXZ\x00", "zst": b"\x28\xb5\x2f\xfd"}
SUFFIXES = {".gz": "gz", ".bz2": "bz2", ".xz": "xz", ".zst": "zst", ".zstd": "zst"}

_OPENERS: dict[str, Callable[[Any], object]] = {
    "gz": lambda raw: io.BufferedReader(_GzipMembers(raw), 1 << 17),
    "bz2": lambda raw: bz2.BZ2File(raw, "rb"),
    "xz": lambda raw: lzma.LZMAFile(raw, "rb"),
    "zst": lambda raw: zstd.ZstdFile(raw, "rb"),
}
# ISA-L takes an eighth of zlib's time for a file of LHE that is a tenth larger. No name and no time go into the
# header, so that the same events are the same bytes.
_COMPRESSORS: dict[str, Callable[[BinaryIO], object]] = {
    "gz": lambda raw: cast(Any, igzip).IGzipFile(filename="", fileobj=raw, mode="wb", compresslevel=2, mtime=0),
    "bz2": lambda raw: bz2.BZ2File(raw, "wb"),
    "xz": lambda raw: lzma.LZMAFile(raw, "wb", preset=2),
    "zst": lambda raw: zstd.ZstdFile(raw, "wb"),
}
_DAMAGED: tuple[Any, ...] = (EOFError, gzip.BadGzipFile, isal_zlib.error, lzma.LZMAError, zstd.ZstdError)


class _GzipMembers(io.RawIOBase):
    """Uncompressed bytes of a gzip file of one or more members.

    ``gzip.GzipFile`` and ``igzip.IGzipFile`` lose what they have decompressed when the file ends too early; this gives
    it out first.
    """

    CHUNK = 1 << 15

    def __init__(self, raw: io.BufferedReader) -> None:
        self._raw = raw
        self._member: Any = None
        self._compressed = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed's buffer type has no public name
        while not self._ready:
            chunk = self._compressed or self._raw.read1(self.CHUNK)
            self._compressed = b""
            if self._member is None:
                # Zeros may fill a file up after its last member.
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    return 0
                self._member = isal_zlib.decompressobj(wbits=31)
            elif not chunk:
                raise EOFError("the file ends within a gzip member")
            self._ready = memoryview(self._member.decompress(chunk))
            if self._member.eof:
                self._compressed, self._member = self._member.unused_data, None
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size


def compression_of(head: bytes) -> str | None:
    """Name the compression that a file's first bytes show, None for none."""
    return next((name for name, magic in MAGIC.items() if head.startswith(magic)), None)


def compression_for(path: Path) -> str | None:
    """Name the compression that a file's suffix asks for, None for none."""
    return SUFFIXES.get(path.suffix.lower())


def bare_name(path: Path) -> str:
    """Return the file's name without the suffix of a compression."""
    return path.name[: -len(path.suffix)] if compression_for(path) else path.name


class DecompressedStream(io.RawIOBase):
    """Bytes of a possibly compressed stream; damage becomes an `InputError` that names the file.

    Args:
        raw: The stream as it is on disk, readable from its start.
        source: Name for messages.
        head: Bytes that were already taken from `raw`, to be read again first.
    """

    def __init__(self, raw: io.BufferedReader, source: str, head: bytes = b"") -> None:
        self._source = source
        self._raw = raw
        whole = io.BufferedReader(_Rejoined(head, raw), 1 << 20)
        self.compression = compression_of(head)
        self._inner = cast(io.BufferedReader, _OPENERS[self.compression](whole)) if self.compression else whole
        self._passed = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed's buffer type has no public name
        """Fill `buffer` with uncompressed bytes."""
        try:
            # read1, not read: what was decompressed before some damage must come out before the error does.
            data = self._inner.read1(len(buffer))
        except _DAMAGED as error:
            raise self._damaged(error) from error
        except OSError as error:
            # bz2 reports damage as a bare OSError.
            if self.compression == "bz2" and error.errno is None:
                raise self._damaged(error) from error
            raise InputError(self._source, f"reading failed: {error.strerror or error}") from error
        buffer[: len(data)] = data
        self._passed += len(data)
        return len(data)

    def _damaged(self, error: Exception) -> InputError:
        return InputError(
            self._source,
            f"the {self.compression} data are truncated or damaged after {self._passed:,} uncompressed bytes ({error})",
            advice="Copy the file again, or keep the events before the damage with --on-error skip.",
        )

    def close(self) -> None:
        """Close the stream on disk as well."""
        if not self.closed:
            self._inner.close()
            self._raw.close()
        super().close()


class _Rejoined(io.RawIOBase):
    """Bytes taken from a stream that cannot seek, followed by the rest of it."""

    def __init__(self, head: bytes, rest: io.BufferedReader) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed's buffer type has no public name
        if self._head:
            data, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        else:
            # read1 returns to Python after each piece that a pipe gives, where an interrupt is noticed.
            data = self._rest.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def compressed(raw: BinaryIO, compression: str | None) -> BinaryIO:
    """Return a stream that compresses what is written into `raw`; closing it does not close `raw`."""
    if compression is None:
        return raw
    return cast(BinaryIO, _COMPRESSORS[compression](raw))
