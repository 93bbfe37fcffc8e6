"""What a true weight costs, in units of what a candidate costs without it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlgen.chain.crude_weights import crude_source
from mlgen.chain.process_source import process_digest
from mlgen.errors import MlgenError
from mlgen.files import write_whole
from mlgen.store import COSTS_FILE

if TYPE_CHECKING:
    from mlgen.chain.candidates import CandidateSource
    from mlgen.hard_process.matrix_element import MatrixElement

#: Candidates that are timed; of their true weights as many as take about this time, in seconds.
_CANDIDATES = 4_096
_FEWEST, _TIME = 64, 0.3


def cost_ratio(
    folder: Path | None, source: CandidateSource, surrogates: Sequence[MatrixElement] | None = None
) -> float:
    """Return what a true weight costs, as it was measured once and is kept beside the model of the surrogate.

    The maxima of an unweighting depend on it, and events on them: with the same model, a run repeats.

    Args:
        folder: Of the model; None where there is none, and it is measured each time.
        source: Draws candidates; its matrix elements are the true ones.
        surrogates: Surrogate of each subprocess; None where the matrix elements are left out.
    """
    key = f"{source.sampler}, {process_digest(source.process.fingerprint)}"
    file = None if folder is None else folder / COSTS_FILE
    kept = {} if file is None else _kept(file)
    if key not in kept:
        kept[key] = float(f"{_measured(source, surrogates):.2g}")
        if file is not None:
            # A model may stand where nothing can be written.
            with contextlib.suppress(OSError, MlgenError):
                write_whole(file, (json.dumps({"cost_ratio": kept}, indent=2) + "\n").encode(), force=True)
    return kept[key]


def _kept(file: Path) -> dict[str, float]:
    """What was measured before, by sampler and process; nothing where that cannot be read."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        content = json.loads(file.read_text(encoding="utf-8"))["cost_ratio"].items()
        return {str(key): float(ratio) for key, ratio in content if 0 < float(ratio) < float("inf")}
    return {}


def _measured(source: CandidateSource, surrogates: Sequence[MatrixElement] | None) -> float:
    elements = source.process.matrix_elements
    drawn = crude_source(source) if surrogates is None else source.with_matrix_elements(surrogates)
    # Not of the run: what is drawn here goes nowhere. The first call loads what is loaded once.
    rng = np.random.default_rng(0)
    drawn.draw(_FEWEST, rng)
    start = time.perf_counter()
    batch = drawn.draw(_CANDIDATES, rng)
    candidate = (time.perf_counter() - start) / _CANDIDATES
    inside = np.flatnonzero(batch.factor)
    if not len(inside):
        return 1.0
    momenta, alpha_s = batch.points.momenta[inside], batch.points.alpha_s[inside]
    number = min(_FEWEST, len(momenta))
    while True:
        points, coupling = np.ascontiguousarray(momenta[:number]), alpha_s[:number]
        start = time.perf_counter()
        for element in {id(element): element for element in elements}.values():
            element.evaluate(points, coupling)
        seconds = time.perf_counter() - start
        # Where the surrogate knows the subprocesses, one of them is evaluated at each point.
        share = 1.0 if surrogates is None else 1.0 / len({id(element) for element in elements})
        if seconds > _TIME or number == len(momenta):
            return share * seconds / number / candidate
        number = min(4 * number, len(momenta))
