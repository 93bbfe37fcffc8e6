"""Evaluating many points, on several cores.

pyAmpliCol lets go of Python's lock while it evaluates, so that threads run side by side; each has a loaded matrix
element of its own. The values do not depend on how many threads there are.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from mlgen.stages import FloatArray
from mlgen_amplicol import library

#: (px, py, pz, energy) as (energy, px, py, pz).
_ENERGY_FIRST = [3, 0, 1, 2]
#: Threads get multiples of this many points, so that a point is in the same lane of a vector instruction, and has the
#: same value to the last bit, however many threads there are. Fewer are not worth a thread.
_BLOCK = 128


def available_cores() -> int:
    """Number of cores that this process may use: ``OMP_NUM_THREADS``, where it is set."""
    if (chosen := os.environ.get("OMP_NUM_THREADS", "")).isdecimal() and int(chosen) > 0:
        return int(chosen)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def evaluate(
    artifact: Path, parameters: Mapping[str, float], momenta: FloatArray, threads: int, **selection: Any
) -> FloatArray:
    """Return what a generated matrix element gives at points, ``(n,)``.

    What pyAmpliCol raises is reported with the source's name by the host (`mlgen.hard_process.source_errors`).

    Args:
        artifact: Its folder.
        parameters: Those of the model.
        momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV.
        threads: How many may work at most.
        selection: What pyAmpliCol's ``evaluate`` is to leave out.
    """
    ordered = np.ascontiguousarray(np.asarray(momenta, dtype=float)[..., _ENERGY_FIRST])
    if not len(ordered):
        return np.zeros(0)

    def values(points: FloatArray) -> FloatArray:
        return np.asarray(library.runtime(artifact, parameters).evaluate(points, **selection)).real

    blocks = len(ordered) // _BLOCK
    parts = min(threads, blocks)
    if parts < 2:
        return values(ordered)
    ends = [_BLOCK * (blocks * part // parts) for part in range(1, parts)]
    return np.concatenate(list(_pool(threads, os.getpid()).map(values, np.split(ordered, ends))))


@functools.cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """The threads of a process; a forked one needs its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="amplicol")
