"""How many cores there are, and how many threads numerical libraries use."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def available_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep linear algebra, boosted trees and torch to one thread; the numbers of threads before come back after.

    Where problems are small, a second thread gives little, and costs many times more than it gives when other programs
    compete for the cores; and sums have the same rounding whatever the number of cores, so that one seed gives the same
    numbers everywhere. Holds for the calling thread. Also a decorator: ``@one_thread()``.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    torch = sys.modules.get("torch")
    before = None if torch is None else torch.get_num_threads()
    try:
        # All of it: BLAS and OpenMP.
        with threadpool_limits(limits=1):
            if torch is not None:
                torch.set_num_threads(1)
            yield
    finally:
        if torch is not None:
            torch.set_num_threads(before)
