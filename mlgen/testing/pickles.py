"""Whether arrays hide a pickle, and whether code unpickles something. Nothing here ever unpickles anything."""

from __future__ import annotations

import base64
import binascii
import bz2
import contextlib
import functools
import gzip
import lzma
import pickletools
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

#: Opcodes that make a stream of them dangerous: they name something to import.
_IMPORTING = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"})
#: How the first bytes of a compressed stream begin, and what unpacks it.
_PACKED: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", gzip.decompress),
    (b"BZh", bz2.decompress),
    (b"\xfd7zXZ\x00", lzma.decompress),
    (b"\x5d\x00\x00", lzma.decompress),
    (b"\x78", lambda content: zlib.decompressobj().decompress(content)),
)
#: How often something may be packed in something else.
_DEPTH = 3
_ZIP = b"PK\x03\x04"
_BYTE_VALUES = 256
#: Those whose pickles begin with their number, and some of the future.
_PROTOCOLS = range(2, 9)


def disguised_pickle(array: npt.NDArray[Any]) -> str:
    """Say what an array hides: a pickle, or an archive as torch and joblib write it. Empty where it hides nothing.

    Its memory is looked at, and its values where each of them is a byte.
    """
    contents = [array.tobytes()]
    if array.size and array.dtype.itemsize > 1 and array.dtype.kind in "iuf":
        flat = array.ravel()
        # NaN is none of them.
        if np.all((flat >= 0) & (flat < _BYTE_VALUES)) and np.all(flat == np.floor(flat)):
            contents.append(flat.astype(np.uint8).tobytes())
    return next((found for content in contents if (found := _hidden(content, _DEPTH))), "")


def _hidden(content: bytes, depth: int) -> str:
    if content.startswith(_ZIP):
        return "a zip archive, as torch.save and numpy.savez write it"
    if _is_pickle(content):
        return "a pickle"
    if depth:
        for unpacked in _unpacked(content):
            if found := _hidden(unpacked, depth - 1):
                return f"{found}, packed"
    return ""


def _is_pickle(content: bytes) -> bool:
    """Whether the bytes are a pickle, or begin as one that imports something (arrays may follow, as joblib does it)."""
    with_protocol = False
    number = 0
    try:
        for opcode, argument, place in pickletools.genops(content):
            number += 1
            with_protocol = with_protocol or (opcode.name == "PROTO" and place == 0 and argument in _PROTOCOLS)
            if opcode.name in _IMPORTING and (with_protocol or _is_name(argument)):
                return True
            if opcode.name == "STOP":
                # Old pickles have no header: any number of bytes that happens to end with a full stop would do.
                return with_protocol and (number > 2 or (place or 0) + 1 == len(content.rstrip(b"\0")))
    except Exception:  # noqa: BLE001 - bytes that are no pickle make it raise anything
        return False
    return False


def _is_name(argument: object) -> bool:
    """Whether it is the module and the name in it that old pickles, which have no header, import."""
    parts = argument.split(" ") if isinstance(argument, str) else []
    return len(parts) == 2 and all(part.replace(".", "_").isidentifier() for part in parts)


def _unpacked(content: bytes) -> Iterator[bytes]:
    for head, unpack in _PACKED:
        if content.startswith(head):
            with contextlib.suppress(Exception):  # it only looked like one
                yield unpack(content)
    with contextlib.suppress(binascii.Error, ValueError):
        text = content.strip(b"\0 \n")
        if len(text) > 8 and text.isascii():
            yield base64.b64decode(text, validate=True)


_watching = threading.local()


@functools.cache
def _install() -> None:
    """Watch what this process unpickles. Such a hook can never be taken away again, so that there is one."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "pickle.find_class":
            seen: list[str] | None = getattr(_watching, "seen", None)
            if seen is not None:
                seen.append(".".join(map(str, arguments)))

    sys.addaudithook(hook)


@contextlib.contextmanager
def unpickled() -> Iterator[list[str]]:
    """Collect the names of what is unpickled inside, in this thread."""
    _install()
    seen: list[str] = []
    _watching.seen = seen
    try:
        yield seen
    finally:
        _watching.seen = None
