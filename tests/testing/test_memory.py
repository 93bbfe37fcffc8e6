"""Growth of memory: a leak is found wherever it is, and what only fills once is none."""

import mmap

import numpy as np
import pytest

from mlgen.testing.memory import REPETITIONS, WARM_UP, require_no_growth


def test_what_keeps_nothing_passes():
    require_no_growth(lambda: np.ones(100_000).sum(), "adding")


def test_arrays_that_are_kept_are_found():
    kept = []
    with pytest.raises(
        AssertionError, match=r"adding takes more memory each time: Python and NumPy hold 8,\d\d\d bytes"
    ):
        require_no_growth(lambda: kept.append(np.ones(1000)), "adding")


@pytest.mark.skipif(not __import__("os").path.exists("/proc/self/statm"), reason="the system does not tell")
def test_memory_that_python_knows_nothing_of_is_found():
    kept = []

    def keep():
        kept.append(mmap.mmap(-1, 1 << 20))
        kept[-1].write(b"x" * (1 << 20))

    with pytest.raises(AssertionError, match="the process holds 1,0"):
        require_no_growth(keep, "adding")


def test_a_cache_that_fills_once_is_no_leak():
    kept, calls = [], []

    def fill():
        calls.append(None)
        if len(calls) <= WARM_UP + REPETITIONS:
            kept.append(np.ones(100_000))

    require_no_growth(fill, "filling")
    assert len(calls) == WARM_UP + 2 * REPETITIONS
