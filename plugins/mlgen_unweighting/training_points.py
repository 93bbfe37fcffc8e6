"""Candidates that a network of event weights learns from."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from mlgen.errors import TrainingError
from mlgen.stages import Candidates

FloatArray = npt.NDArray[np.float64]

#: Batches without a single candidate that may have a weight, after which there is nothing to learn from.
_EMPTY_BATCHES = 1_000


def training_points(candidates: Iterable[Candidates], number: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Take candidates that may have a weight from a stream, with their true weights.

    Args:
        candidates: Batches, with features.
        number: How many are wanted.

    Returns:
        Features ``(number, f)``, weights and true weights ``(number,)``.

    Raises:
        TrainingError: They have no features, or the stream ends before there are enough.
    """
    parts: list[tuple[FloatArray, FloatArray, FloatArray]] = []
    missing, empty = number, 0
    for batch in candidates:
        if batch.features is None:
            raise TrainingError(
                "the candidates have no features: there is nothing that their weight could be learned from"
            )
        possible = np.ones(len(batch.weight), bool) if batch.vanishes is None else ~batch.vanishes
        index = np.flatnonzero(possible)[:missing]
        empty = 0 if len(index) else empty + 1
        if empty > _EMPTY_BATCHES:
            raise TrainingError("all candidates are known to have weight 0; check the cuts and the matrix element")
        exact = batch.weight[index] if batch.exact_weight is None else batch.exact_weight(index)
        parts.append((batch.features[index], batch.weight[index], np.asarray(exact, np.float64)))
        missing -= len(index)
        if not missing:
            break
    if missing:
        raise TrainingError(f"the network of event weights needs {number:,} candidates; there are {number - missing:,}")
    features, weight, exact = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return features, weight, exact
