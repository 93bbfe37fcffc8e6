"""The first stage of a two-stage unweighting: which candidates are worth a true weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.errors import WeightError
from mlgen.stages import Candidates

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FirstStage:
    """Probabilities of the first stage, and what the surrogate's weights say of the true ones.

    Args:
        maximum: Surrogate weight from which on all candidates pass.
        floor: Smallest weight that it goes by.
        believed: Smallest surrogate weight that may stand in for a true one.
        ratio: True weight over surrogate weight, as is usual where that is believed.
        modulus_ratio: True modulus over surrogate modulus, as is usual everywhere.
    """

    maximum: float
    floor: float
    believed: float
    ratio: float
    modulus_ratio: float

    def probability(self, surrogate: FloatArray) -> FloatArray:
        r"""Return :math:`\min(1, \max(|s|, f) / s_\mathrm{max})`, ``(n,)``."""
        return np.asarray(np.minimum(1.0, np.maximum(np.abs(surrogate), self.floor) / self.maximum))

    def in_doubt(self, surrogate: FloatArray) -> npt.NDArray[np.bool_]:
        """Which surrogate weights must not stand in for true ones, ``(n,)``: unusually small or large ones."""
        return (surrogate < self.believed) | (surrogate > self.maximum)


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


def true_weights(batch: Candidates, index: npt.NDArray[Any], before: int) -> FloatArray:
    """Ask for the true weights of the candidates with the given places in a batch, ``(k,)``; nobody where k is 0.

    Raises:
        WeightError: They are known already, not as many, no real numbers, or one is not finite; names the candidate,
            counted from 1.
    """
    if batch.exact_weight is None:
        raise WeightError("prepare() was given candidates with a surrogate's weights, and these have true ones")
    exact = np.asarray(batch.exact_weight(index)) if len(index) else np.zeros(0)
    if exact.shape != index.shape:
        raise WeightError(f"there are true weights of shape {exact.shape} for {len(index)} candidates")
    return checked_weights(exact, "true weight", before, index)
