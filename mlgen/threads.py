"""How many threads numerical libraries use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


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
