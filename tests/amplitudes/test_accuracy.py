"""Measures of a surrogate's accuracy beside closed forms.

Statistical tests allow five standard deviations, a significance of 6e-7 each; their seeds are fixed.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from mlgen.amplitudes.accuracy import DELTA_EDGES, PULL_EDGES, AmplitudeAccuracy, accuracy
from mlgen.stages import Amplitude, FloatArray

POINTS = 200_000
ALLOWED = 5.0


def predicted(
    truth: FloatArray, delta: FloatArray, systematic: float = 1.0, statistical: float = 0.0
) -> AmplitudeAccuracy:
    """Accuracy of a prediction with the given Delta; uncertainties relative to the truth."""
    return accuracy(truth, Amplitude(truth * (1 + delta), systematic * truth, statistical * truth))


@pytest.fixture(scope="module")
def truth() -> FloatArray:
    return np.random.default_rng(90).lognormal(mean=-7.0, sigma=2.0, size=POINTS)


@pytest.fixture(scope="module")
def normal() -> FloatArray:
    return np.random.default_rng(91).normal(size=POINTS)


# Delta


def test_delta_of_a_gaussian(truth, normal):
    """|Delta| has the quantiles of a half-normal distribution, Delta the mean that was put in."""
    spread, bias = 0.02, 3e-4
    result = predicted(truth, spread * normal)
    quantiles = {0.5: result.median_absolute_delta, **result.absolute_delta_quantiles}
    assert list(quantiles) == [0.5, 0.9, 0.99, 0.999]
    for share, value in quantiles.items():
        z = norm.ppf((1 + share) / 2)
        error = math.sqrt(share * (1 - share) / POINTS) / (2 * norm.pdf(z))
        assert abs(value / spread - z) < ALLOWED * error
    biased = predicted(truth, bias + spread * normal)
    assert biased.mean_delta_error == pytest.approx(spread / math.sqrt(POINTS), rel=ALLOWED / math.sqrt(2 * POINTS))
    assert abs(biased.mean_delta - bias) < ALLOWED * biased.mean_delta_error


@pytest.mark.parametrize("points", [1, 2, 99, 100, 199, 250, 999, 1000, 2500])
def test_the_largest_amplitudes(points):
    """Delta is the rank of the amplitude, the largest first, in thousandths."""
    order = np.random.default_rng(92).permutation(points)
    result = predicted((points - order).astype(float), (order + 1) / 1000)
    for largest, count in (
        (result.largest_percent, max(1, points // 100)),
        (result.largest_permille, max(1, points // 1000)),
    ):
        assert largest.count == largest.absolute_delta.total == count
        # Of the numbers 1 to k the mean and the median are (k + 1) / 2, and the sample variance is k (k + 1) / 12.
        assert largest.mean_delta == pytest.approx((count + 1) / 2000)
        assert largest.median_absolute_delta == pytest.approx((count + 1) / 2000)
        assert largest.largest_absolute_delta == pytest.approx(count / 1000)
        if count > 1:
            assert largest.mean_delta_error == pytest.approx(math.sqrt((count + 1) / 12) / 1000)
        else:
            assert math.isnan(largest.mean_delta_error)
    assert result.points == result.absolute_delta.total == points
    assert result.mean_delta == pytest.approx((points + 1) / 2000)


def test_signs_of_delta():
    """Too small and too large predictions cancel in the mean, not in the sizes."""
    result = predicted(np.ones(1000), np.where(np.arange(1000) % 2, 0.1, -0.1))
    assert result.mean_delta == pytest.approx(0, abs=1e-15)
    assert result.median_absolute_delta == pytest.approx(0.1)
    assert result.largest_percent.largest_absolute_delta == pytest.approx(0.1)


def test_histogram_of_delta():
    """Each decade has its five bins; what is exact, and what is off by more than a hundredfold, is outside."""
    size = np.array([0.0, 1.1e-10, 1.1e-3, 1.3e-3, 0.9e-2, 0.11, 99.0, 101.0])
    truth = np.full(8, 1.0)
    histogram = accuracy(truth, Amplitude(truth + size, truth, truth)).absolute_delta
    assert (histogram.below, histogram.above, histogram.total) == (1, 1, 8)
    expected = np.zeros(len(DELTA_EDGES) - 1, dtype=int)
    for decade, fifth, count in ((-10, 0, 1), (-3, 0, 2), (-3, 4, 1), (-1, 0, 1), (1, 4, 1)):
        expected[5 * (decade + 10) + fifth] = count
    assert histogram.counts.tolist() == expected.tolist()
    assert DELTA_EDGES[[0, -1]].tolist() == [-10.0, 2.0]


# Pulls


@pytest.mark.parametrize(("width", "mean"), [(1.0, 0.0), (0.5, 0.0), (2.0, 0.0), (1.0, 0.3)])
def test_pulls_of_a_gaussian(truth, normal, width, mean):
    """The coverage is that of a Gaussian of the width and mean that were put in."""
    pulls = predicted(truth, 0.01 * (mean + width * normal), systematic=0.01).systematic
    assert abs(pulls.mean - mean) < ALLOWED * width / math.sqrt(POINTS)
    assert pulls.width == pytest.approx(width, rel=ALLOWED / math.sqrt(2 * POINTS))
    for sigma, coverage in ((1.0, pulls.coverage_68), (1.96, pulls.coverage_95)):
        expected = norm.cdf(sigma, mean, width) - norm.cdf(-sigma, mean, width)
        assert abs(coverage - expected) < ALLOWED * math.sqrt(expected * (1 - expected) / POINTS)
    shares = pulls.pull.counts / POINTS
    expected_shares = np.diff(norm.cdf(PULL_EDGES, mean, width))
    error = np.sqrt(expected_shares * (1 - expected_shares) / POINTS)
    # Sixty bins, of which the outer ones expect less than a point.
    assert np.all(np.abs(shares - expected_shares) < ALLOWED * error + 2 / POINTS)
    outside = norm.cdf(-6, mean, width) + norm.sf(6, mean, width)
    assert (pulls.pull.below + pulls.pull.above) / POINTS == pytest.approx(outside, abs=ALLOWED * outside**0.5 / 400)
    assert pulls.infinite == 0


def test_coverage_of_a_unit_gaussian_is_what_it_is_called(truth, normal):
    pulls = predicted(truth, 0.01 * normal, systematic=0.01).systematic
    assert pulls.coverage_68 == pytest.approx(0.6827, abs=ALLOWED * 0.00104)
    assert pulls.coverage_95 == pytest.approx(0.95, abs=ALLOWED * 0.00049)


def test_total_is_the_sum_in_quadrature(truth, normal):
    """sqrt(0.01^2 + 0.03 * 0.01) = 0.02: the total pull is right where the systematic one is twice too wide."""
    result = predicted(truth, 0.02 * normal, systematic=0.01, statistical=0.01 * math.sqrt(3))
    rounding = ALLOWED / math.sqrt(2 * POINTS)
    assert result.systematic.width == pytest.approx(2, rel=rounding)
    assert result.total.width == pytest.approx(1, rel=rounding)


def test_the_sign_of_a_pull():
    """A prediction that is too large has a positive pull."""
    pulls = predicted(np.ones(4), np.array([0.25, 0.25, 0.25, -0.25]), systematic=0.125).systematic
    assert pulls.mean == pytest.approx(1.0)
    assert pulls.pull.counts[np.searchsorted(PULL_EDGES, 2.0)] == 3


def test_uncertainties_of_zero():
    """Infinite pulls to both sides, one of an exact prediction, and three finite ones."""
    truth = np.ones(6)
    value = np.array([1.5, 0.5, 1.0, 1.5, 1.5, 2.0])
    sigma = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 0.25])
    pulls = accuracy(truth, Amplitude(value, sigma, np.zeros(6))).systematic
    assert pulls.infinite == 2
    assert pulls.mean == pytest.approx((0 + 0.5 + 0.5 + 4) / 4)
    assert pulls.coverage_68 == pulls.coverage_95 == pytest.approx(3 / 6)
    assert (pulls.pull.below, pulls.pull.above, pulls.pull.total) == (1, 1, 6)


def test_no_uncertainties_at_all():
    result = predicted(np.ones(200), np.full(200, 0.1), systematic=0.0)
    assert (result.systematic.infinite, result.systematic.coverage_68, result.systematic.coverage_95) == (200, 0, 0)
    figures = result.figures()
    assert "pull_mean" not in figures
    assert figures["infinite_pulls"] == figures["total_infinite_pulls"] == 200


# Figures


def test_figures(truth, normal):
    result = predicted(truth, 0.01 * normal, systematic=0.01, statistical=0.01)
    figures = result.figures()
    assert list(figures) == [
        "test_points",
        "median_absolute_delta",
        "absolute_delta_90%",
        "absolute_delta_99%",
        "absolute_delta_99.9%",
        "mean_delta",
        "mean_delta_error",
        *(
            f"{name}_{largest}"
            for largest in ("largest_1%", "largest_0.1%")
            for name in ("points", "mean_delta", "mean_delta_error", "median_absolute_delta", "maximum_absolute_delta")
        ),
        *(
            f"{prefix}{name}"
            for prefix in ("", "total_")
            for name in ("pull_mean", "pull_width", "coverage_68%", "coverage_95%")
        ),
    ]
    assert all(type(value) in (int, float) for value in figures.values())
    assert figures["points_largest_0.1%"] == 200
    assert figures["mean_delta_largest_1%"] == result.largest_percent.mean_delta
    assert figures["coverage_68%"] < figures["total_coverage_68%"]


@pytest.mark.parametrize("points", [1, 2, 50])
def test_figures_of_few_points_are_finite(points):
    figures = predicted(np.arange(1.0, points + 1), np.full(points, 0.5)).figures()
    assert all(math.isfinite(value) for value in figures.values())
    assert ("mean_delta_error" in figures) == (points > 1)


# What is refused


ONE = np.ones(3)


@pytest.mark.parametrize(
    ("truth", "value", "systematic", "statistical", "words"),
    [
        (ONE[:0], ONE[:0], ONE[:0], ONE[:0], "one or more points"),
        (np.ones((3, 1)), ONE, ONE, ONE, r"shape \(3, 1\)"),
        (ONE, ONE[:2], ONE, ONE, r"the prediction has the shape \(2,\)"),
        (ONE, ONE, ONE, np.ones((3, 1)), "the statistical uncertainty has the shape"),
        (np.array([1.0, 0.0, 1.0]), ONE, ONE, ONE, "truth is not positive at point 2"),
        (np.array([1.0, 1.0, np.nan]), ONE, ONE, ONE, "truth is not finite at point 3"),
        (ONE, np.array([1.0, np.inf, 1.0]), ONE, ONE, "prediction is not finite at point 2"),
        (ONE, ONE, -ONE, ONE, "systematic uncertainty is negative at point 1"),
        (ONE, ONE, ONE, np.array([0.0, 0.0, -1.0]), "statistical uncertainty is negative at point 3"),
    ],
)
def test_what_cannot_be_compared(truth, value, systematic, statistical, words):
    with pytest.raises(ValueError, match=words):
        accuracy(truth, Amplitude(value, systematic, statistical))
