"""The first stage of a two-stage unweighting: which candidates are worth a true weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.errors import WeightError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FirstStage:
    """Probabilities of the first stage, and what the surrogate's weights say of the true ones.

    Args:
        maximum: Surrogate weight from which on all candidates pass.
        floor: Smallest weight that it goes by.
        ratio: Mean true weight over mean surrogate weight.
        modulus_ratio: The same of the moduli.
    """

    maximum: float
    floor: float
    ratio: float
    modulus_ratio: float

    def probability(self, surrogate: FloatArray) -> FloatArray:
        r"""Return :math:`\min(1, \max(|s|, f) / s_\mathrm{max})`, ``(n,)``."""
        return np.asarray(np.minimum(1.0, np.maximum(np.abs(surrogate), self.floor) / self.maximum))


def checked_weights(weights: Any, what: str, before: int, index: npt.NDArray[Any] | None = None) -> FloatArray:
    """Return weights of one batch as ``(n,)`` doubles.

    Args:
        weights: What is to be checked.
        what: What they are called in an error.
        before: Candidates of earlier batches.
        index: Places of these weights in the batch; None where all are there.

    Raises:
        WeightError: They are no real numbers ``(n,)``, or one is not finite; names the candidate, counted from 1.
    """
    array: npt.NDArray[Any] = np.asarray(weights)
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise WeightError(f"{what}s have shape {array.shape} and type {array.dtype}; real numbers (n,) are expected")
    array = array.astype(np.float64, copy=False)
    wrong = np.flatnonzero(~np.isfinite(array))
    if len(wrong):
        place = int(wrong[0]) if index is None else int(index[wrong[0]])
        raise WeightError(
            f"candidate {before + place + 1} (counted from 1) has the {what} {array[wrong[0]]}; a finite number is "
            "expected. Mend the matrix element or the surrogate that made it"
        )
    return array
