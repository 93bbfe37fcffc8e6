"""Errors that were learned on the training points, corrected on points that no network learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from mlgen.stages import FloatArray

#: Fewest points for a correction; with fewer it is one factor, with less than ten of them none.
_FEWEST_FOR_SLOPE = 500
_FEWEST = 10


@dataclass(frozen=True, slots=True)
class Calibration:
    r"""The corrected error, :math:`\log \sigma' = a + b \log \sigma`.

    Args:
        offset: :math:`a`.
        slope: :math:`b`.
    """

    offset: float = 0.0
    slope: float = 1.0

    def __call__(self, log_error: FloatArray) -> FloatArray:
        """Return the corrected logarithm of the error."""
        return np.asarray(self.offset + self.slope * log_error)


def calibrate(residual: FloatArray, log_error: FloatArray) -> Calibration:
    """Find the correction with the largest Gaussian likelihood.

    A network fits its training points better than others, and its errors are those of the training points.

    Args:
        residual: Prediction minus truth on held-out points, ``(n,)``.
        log_error: Logarithm of the learned error, ``(n,)``.
    """
    if len(residual) < _FEWEST or not np.any(residual):
        return Calibration()
    squared = residual**2

    def offset_for(slope: float) -> float:
        # For a given slope the best offset is a closed form.
        return float(0.5 * np.log(np.mean(squared * np.exp(-2 * slope * log_error))))

    if len(residual) < _FEWEST_FOR_SLOPE or np.ptp(log_error) == 0:
        return Calibration(offset_for(1.0))

    def loss(parameters: FloatArray) -> float:
        slope = float(parameters[0])
        return offset_for(slope) + slope * float(log_error.mean())

    slope = float(np.clip(minimize(loss, np.array([1.0]), method="Nelder-Mead").x[0], 0.0, 3.0))
    return Calibration(offset_for(slope), slope)
