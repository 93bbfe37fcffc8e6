"""Which survivors of a first stage are asked for their true weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.errors import WeightError

FloatArray = npt.NDArray[np.float64]

#: Smallest probability to be asked, in units of the share: a surrogate is never quite believed.
_LEAST = 0.1


def evaluation_probability(share: float, error: FloatArray, mean_error: float) -> FloatArray:
    r"""Return the probability that a survivor is asked for its true weight, ``(n,)``.

    .. math:: q_i = \min(1, q \max(\sigma_i / \bar\sigma, 0.1))

    for a share q of all: for a given number of true weights, the weights that make up for those that are not asked for
    scatter least where the probability follows the error. One where the error is no number.

    Args:
        share: The share q; 1 for all.
        error: What the surrogate says of its error relative to the weight, ``(n,)``.
        mean_error: Mean of that over events; zero where nothing is said, and all are asked with the same probability.
    """
    if share == 1:
        return np.ones(len(error))
    if mean_error == 0:
        return np.full(len(error), share)
    said = np.isfinite(error) & (error >= 0)
    return np.where(said, np.minimum(1.0, share * np.maximum(np.where(said, error, 0.0) / mean_error, _LEAST)), 1.0)


def said_errors(relative_error: Callable[[npt.NDArray[Any]], FloatArray] | None, index: npt.NDArray[Any]) -> FloatArray:
    """Ask for the errors of candidates with the given places in a batch, ``(k,)``; zero where nothing is said.

    Raises:
        WeightError: They are not as many.
    """
    if relative_error is None or not len(index):
        return np.zeros(len(index))
    error = np.asarray(relative_error(index), np.float64)
    if error.shape != index.shape:
        raise WeightError(f"there are errors of the surrogate of shape {error.shape} for {len(index)} candidates")
    return error
