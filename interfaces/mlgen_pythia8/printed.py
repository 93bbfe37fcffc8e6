"""What Pythia prints: kept off the terminal, and read for the reason why it refuses an event."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

#: Where in Pythia, and what it says.
_MESSAGE = re.compile(r"PYTHIA (?:Error in|Abort from) (\S+): +([^\n]*)")
#: What Pythia says after other messages, when it gives up.
_GENERAL = re.compile(r"giving up|try again|revealed problems")
#: Values within a message, which would make each one different.
_VALUES = re.compile(r"\s*\(?[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?\)?(?=\s|,|;|$)")
#: What stood before such values at the end of a message.
_NAMES = re.compile(r"(?:\s*,\s*\w+ =)+$")


class Printed:
    """Standard output of this process, C++ included, while `captured` is open."""

    def __init__(self) -> None:
        self._file = os.memfd_create("mlgen-pythia8") if hasattr(os, "memfd_create") else _anonymous_file()
        self._library: Any = ctypes.CDLL(None)

    @contextlib.contextmanager
    def captured(self) -> Iterator[None]:
        """Keep what is printed."""
        sys.stdout.flush()
        self._library.fflush(None)
        before = os.dup(1)
        os.dup2(self._file, 1)
        try:
            yield
        finally:
            self._library.fflush(None)
            os.dup2(before, 1)
            os.close(before)

    def new_text(self) -> str:
        """Return what was printed since this was called last."""
        self._library.fflush(None)
        end = os.lseek(self._file, 0, os.SEEK_END)
        text = os.pread(self._file, end, 0).decode("utf-8", "replace")
        # What was read is let go, so that it does not fill the memory of a long run.
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        return text

    def close(self) -> None:
        """Release the file."""
        os.close(self._file)


def _anonymous_file() -> int:
    import tempfile

    number, name = tempfile.mkstemp(prefix="mlgen-pythia8-")
    os.unlink(name)
    return number


def reason_of(text: str) -> str:
    """Find out of what Pythia printed why it refused an event; its own words, without the numbers among them."""
    found = Counter(
        f"{place}: {_NAMES.sub('', _VALUES.sub('', message).strip())}" for place, message in _MESSAGE.findall(text)
    )
    particular = [message for message in found if not _GENERAL.search(message)]
    if particular:
        # Pythia tries several times: what went wrong most often, the first of these.
        return max(particular, key=lambda message: found[message])
    return next(iter(found), "")
