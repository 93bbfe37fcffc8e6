"""Corrected errors, against Gaussians whose errors are known to be wrong."""

from __future__ import annotations

import numpy as np
import pytest

from mlgen_bnn.calibration import Calibration, calibrate


def wrong_errors(n, offset, slope, seed=1):
    """Residuals, and errors sigma for which exp(offset) sigma^slope is right."""
    rng = np.random.default_rng(seed)
    log_error = rng.normal(-4.0, 0.7, n)
    return rng.standard_normal(n) * np.exp(offset + slope * log_error), log_error


@pytest.mark.parametrize(("offset", "slope"), [(0.0, 1.0), (0.6, 1.0), (-0.5, 0.7), (1.0, 1.5), (-4.0, 0.0)])
def test_offset_and_slope_are_found(offset, slope):
    """Within 5 standard deviations of the most likely values, and pulls of others have width 1 within 5 of theirs.

    The Fisher information of log sigma' is 2 for each point: the slope has the error 1 / (0.7 sqrt(2 n)), the value at
    the mean 1 / sqrt(2 n), and so has the width of n pulls.
    """
    n = 20_000
    found = calibrate(*wrong_errors(n, offset, slope))
    one = 1 / np.sqrt(2 * n)
    # A slope of zero is the lowest that is allowed.
    assert abs(found.slope - slope) < 5 * one / 0.7
    assert abs(found.offset + found.slope * -4.0 - (offset + slope * -4.0)) < 5 * one
    residual, log_error = wrong_errors(n, offset, slope, seed=2)
    pulls = residual / np.exp(found(log_error))
    assert abs(pulls.std() - 1) < 5 * np.sqrt(2) * one
    # In each half too, where the errors are small and where they are large.
    for half in (log_error < -4, log_error >= -4):
        assert abs(pulls[half].std() - 1) < 5 * 2 * np.sqrt(2) * one


def test_few_points_give_one_factor():
    """Of 300 points: 5 standard deviations are 5 / sqrt(600)."""
    found = calibrate(*wrong_errors(300, 0.6, 1.0))
    assert found.slope == 1.0
    assert abs(found.offset - 0.6) < 5 / np.sqrt(600)


@pytest.mark.parametrize("n", [0, 1, 9])
def test_hardly_any_points_change_nothing(n):
    assert calibrate(*wrong_errors(n, 0.6, 1.0)) == Calibration(0.0, 1.0)


def test_residuals_of_zero_change_nothing():
    assert calibrate(np.zeros(1000), np.linspace(-3, -1, 1000)) == Calibration(0.0, 1.0)


def test_equal_errors_give_one_factor():
    """Within 5 / sqrt(2 n)."""
    residual = 0.02 * np.random.default_rng(3).standard_normal(5000)
    found = calibrate(residual, np.full(5000, np.log(0.01)))
    assert found.slope == 1.0
    assert abs(found.offset - np.log(2)) < 5 / np.sqrt(10_000)
