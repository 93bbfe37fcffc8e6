"""Whether something that is done again and again takes more and more memory."""

from __future__ import annotations

import contextlib
import gc
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

from mlgen.testing.rules import require

#: Repetitions before anything is measured, in which caches may fill.
WARM_UP = 4
#: Repetitions of a block. Memory that is not lost does not grow by the same amount in one block after the other.
REPETITIONS = 8
BLOCKS = 4
#: Bytes a repetition that are no loss: of what Python and NumPy hold (whose caches of small blocks go on filling for a
#: while), and of what the process does.
_PYTHON, _PROCESS = 2048, 32_768

_STATM = Path("/proc/self/statm")


def require_no_growth(action: Callable[[], object], what: str) -> None:
    """Fail if memory grows in each of several equal blocks of repetitions.

    A leak grows in every block; the first block without growth is the proof that there is none. Python's objects and
    NumPy's arrays are counted to the byte, everything else (such as torch's tensors) by the memory of the process,
    where the system tells it.

    Args:
        action: What is repeated.
        what: What it is, for the message.
    """
    for _ in range(WARM_UP):
        action()
    grown: list[tuple[int, int]] = []
    with _traced():
        before = _held()
        for _ in range(BLOCKS):
            for _ in range(REPETITIONS):
                action()
            after = _held()
            grown.append((after[0] - before[0], after[1] - before[1]))
            before = after
            in_python = all(python > REPETITIONS * _PYTHON for python, _ in grown)
            in_process = all(process > REPETITIONS * _PROCESS for _, process in grown)
            if not (in_python or in_process):
                return
    which, number = ("Python and NumPy hold", 0) if in_python else ("the process holds", 1)
    each = min(growth[number] for growth in grown) // REPETITIONS
    require(
        False,
        f"{what} takes more memory each time: {which} {each:,} bytes more after each of {BLOCKS * REPETITIONS} "
        "repetitions; keep sums, not what was made or seen",
    )


@contextlib.contextmanager
def _traced() -> Iterator[None]:
    already = tracemalloc.is_tracing()
    if not already:
        tracemalloc.start()
    try:
        yield
    finally:
        if not already:
            tracemalloc.stop()


def _held() -> tuple[int, int]:
    """Bytes of what Python and NumPy have allocated, and of the process; zero where the system does not tell that."""
    gc.collect()
    resident = 0
    if _STATM.exists():
        resident = int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return tracemalloc.get_traced_memory()[0], resident
