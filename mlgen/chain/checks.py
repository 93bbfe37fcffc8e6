"""What a plugin gives back is checked before it goes into a file."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mlgen.events import EventBatch
from mlgen.stages import Unweighted


def check_generated(batch: object, n: int, declared: Iterable[str]) -> None:
    """Check what an event generator gave for `n` events.

    Raises:
        ValueError: It is no batch of `n` events with finite weights and momenta and declared variations.
    """
    if not isinstance(batch, EventBatch):
        raise ValueError(f"generate() gave {type(batch).__name__}; an EventBatch is expected")
    if len(batch) != n:
        raise ValueError(f"generate() gave {len(batch)} events; {n} were asked for")
    if not (np.all(np.isfinite(batch.weight)) and np.all(np.isfinite(batch.momenta()))):
        raise ValueError("generate() gave a weight or a momentum that is not finite")
    surplus = set(batch.variations) - set(declared)
    if surplus:
        raise ValueError(f"generate() gave the variation '{min(surplus)}', which its run_info does not declare")


def check_unweighted(unweighted: object, candidates: int) -> None:
    """Check what an unweighter gave for a batch of candidates.

    Raises:
        ValueError: Its indices are not ascending and in range, or its weights do not fit them or are not finite.
    """
    if not isinstance(unweighted, Unweighted):
        raise ValueError(f"unweight() gave {type(unweighted).__name__}; Unweighted is expected")
    index, weight = np.asarray(unweighted.index), np.asarray(unweighted.weight)
    if index.ndim != 1 or index.shape != weight.shape:
        raise ValueError(f"unweight() gave indices of shape {index.shape} and weights of shape {weight.shape}")
    if len(index) and (index[0] < 0 or index[-1] >= candidates or np.any(np.diff(index) <= 0)):
        raise ValueError(f"unweight() gave indices that are not ascending within the {candidates} candidates")
    if not np.all(np.isfinite(weight)):
        raise ValueError("unweight() gave a weight that is not finite")
