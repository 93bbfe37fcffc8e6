"""How well a surrogate predicts amplitudes that were kept out of its training, and whether its errors are right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlgen.stages import Amplitude, FloatArray

CountArray = npt.NDArray[np.int64]

#: Quantiles of |Delta| that are reported besides the median.
QUANTILES = (0.9, 0.99, 0.999)
#: |pull| below which 68.27% and 95% of a unit Gaussian lie.
ONE_SIGMA, NINETY_FIVE = 1.0, 1.96
#: Edges of the bins in log10 |Delta|, five to a decade, and in the pull.
DELTA_EDGES: FloatArray = np.arange(-50, 11) / 5
PULL_EDGES: FloatArray = np.arange(-30, 31) / 5


@dataclass(frozen=True, slots=True)
class Histogram:
    """Numbers of points in bins.

    Args:
        edges: ``(bins + 1,)``, rising. A bin holds its lower edge, the last one its upper edge too.
        counts: ``(bins,)``.
        below: Points below the first edge, minus infinity among them.
        above: Points above the last edge, infinity among them.
    """

    edges: FloatArray
    counts: CountArray
    below: int
    above: int

    @property
    def total(self) -> int:
        """Number of all points, in the bins and outside."""
        return int(self.counts.sum()) + self.below + self.above


@dataclass(frozen=True, slots=True)
class LargestAmplitudes:
    r"""Accuracy for the points with the largest true amplitudes.

    Args:
        count: Number of points.
        mean_delta: Mean of :math:`\Delta`.
        mean_delta_error: Its standard error; NaN for a single point, which does not show how far points are spread.
        median_absolute_delta: Median of :math:`|\Delta|`.
        largest_absolute_delta: Largest :math:`|\Delta|`.
        absolute_delta: :math:`\log_{10} |\Delta|`.
    """

    count: int
    mean_delta: float
    mean_delta_error: float
    median_absolute_delta: float
    largest_absolute_delta: float
    absolute_delta: Histogram


@dataclass(frozen=True, slots=True)
class Pulls:
    r"""Distribution of :math:`t = (A_\mathrm{predicted} - A_\mathrm{true}) / \sigma`; right is a unit Gaussian.

    Where :math:`\sigma` is zero, t is infinite, or zero if the prediction is the truth to the last digit.

    Args:
        mean: Of the finite pulls; NaN where there are none.
        width: Standard deviation of the finite pulls; NaN where there are none.
        infinite: Number of pulls that are infinite.
        coverage_68: Share of all points with :math:`|t| < 1`; for a unit Gaussian 68.27%. No infinite pull is covered.
        coverage_95: Share of all points with :math:`|t| < 1.96`; for a unit Gaussian 95%.
        pull: The pulls.
    """

    mean: float
    width: float
    infinite: int
    coverage_68: float
    coverage_95: float
    pull: Histogram


@dataclass(frozen=True, slots=True)
class AmplitudeAccuracy:
    r"""How far predictions are from the truth.

    .. math:: \Delta = (A_\mathrm{predicted} - A_\mathrm{true}) / A_\mathrm{true}

    Args:
        points: Number of points.
        median_absolute_delta: Median of :math:`|\Delta|`.
        absolute_delta_quantiles: Further quantiles of :math:`|\Delta|`, by probability.
        mean_delta: Mean of :math:`\Delta`.
        mean_delta_error: Its standard error; NaN for a single point.
        largest_percent: The points with the largest 1% of the true amplitudes, at least one.
        largest_permille: Those with the largest 0.1%, at least one.
        systematic: Pulls with the systematic uncertainty.
        total: Pulls with the systematic and the statistical uncertainty, added in quadrature.
        absolute_delta: :math:`\log_{10} |\Delta|` of all points; that of a zero is below the first edge.

    References:
        Eq. (1.96) and (1.97) of Plehn et al., arXiv:2211.01421; arXiv:2206.14831 for the largest amplitudes.
    """

    points: int
    median_absolute_delta: float
    absolute_delta_quantiles: Mapping[float, float]
    mean_delta: float
    mean_delta_error: float
    largest_percent: LargestAmplitudes
    largest_permille: LargestAmplitudes
    systematic: Pulls
    total: Pulls
    absolute_delta: Histogram

    def figures(self) -> dict[str, float | int]:
        """Return all numbers by name, as for `mlgen.stages.TrainingReport.figures`.

        What cannot be said, such as the error of the mean of a single point, is left out.
        """
        figures: dict[str, float | int] = {
            "test_points": self.points,
            "median_absolute_delta": self.median_absolute_delta,
            **{f"absolute_delta_{100 * share:.6g}%": value for share, value in self.absolute_delta_quantiles.items()},
            "mean_delta": self.mean_delta,
            "mean_delta_error": self.mean_delta_error,
        }
        for name, largest in (("largest_1%", self.largest_percent), ("largest_0.1%", self.largest_permille)):
            figures |= {
                f"points_{name}": largest.count,
                f"mean_delta_{name}": largest.mean_delta,
                f"mean_delta_error_{name}": largest.mean_delta_error,
                f"median_absolute_delta_{name}": largest.median_absolute_delta,
                f"maximum_absolute_delta_{name}": largest.largest_absolute_delta,
            }
        for prefix, pulls in (("", self.systematic), ("total_", self.total)):
            figures |= {
                f"{prefix}pull_mean": pulls.mean,
                f"{prefix}pull_width": pulls.width,
                f"{prefix}coverage_68%": pulls.coverage_68,
                f"{prefix}coverage_95%": pulls.coverage_95,
            }
            if pulls.infinite:
                figures[f"{prefix}infinite_pulls"] = pulls.infinite
        return {name: value for name, value in figures.items() if not math.isnan(value)}


def accuracy(truth: FloatArray, prediction: Amplitude) -> AmplitudeAccuracy:
    """Compare predictions with the truth.

    Args:
        truth: True amplitudes, ``(n,)``, positive, one or more.
        prediction: What was predicted for the same points, ``(n,)`` each.

    Raises:
        ValueError: The arrays are not of one length, there are no points, a true amplitude is not positive, a number
            is not finite, or an uncertainty is negative.
    """
    _check(truth, prediction)
    difference = prediction.value - truth
    delta = difference / truth
    size = np.abs(delta)
    by_truth = np.argsort(-truth, kind="stable")
    total = np.hypot(prediction.systematic, prediction.statistical)
    return AmplitudeAccuracy(
        len(truth),
        float(np.median(size)),
        {share: float(np.quantile(size, share)) for share in QUANTILES},
        float(np.mean(delta)),
        _standard_error(delta),
        _largest(delta[by_truth[: max(1, len(truth) // 100)]]),
        _largest(delta[by_truth[: max(1, len(truth) // 1000)]]),
        _pulls(difference, prediction.systematic),
        _pulls(difference, total),
        _delta_histogram(size),
    )


def _check(truth: FloatArray, prediction: Amplitude) -> None:
    arrays = {
        "the truth": truth,
        "the prediction": prediction.value,
        "the systematic uncertainty": prediction.systematic,
        "the statistical uncertainty": prediction.statistical,
    }
    if truth.ndim != 1 or not len(truth):
        raise ValueError(f"the truth has the shape {truth.shape}; one value for each of one or more points is expected")
    for name, array in arrays.items():
        if np.shape(array) != truth.shape:
            raise ValueError(f"{name} has the shape {np.shape(array)}; {truth.shape} is expected, as of the truth")
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{name} is not finite at point {int(np.argmin(np.isfinite(array))) + 1:,}")
        if "uncertainty" in name and np.any(array < 0):
            raise ValueError(f"{name} is negative at point {int(np.argmax(array < 0)) + 1:,}")
    if np.any(truth <= 0):
        raise ValueError(f"the truth is not positive at point {int(np.argmax(truth <= 0)) + 1:,}")


def _largest(delta: FloatArray) -> LargestAmplitudes:
    size = np.abs(delta)
    return LargestAmplitudes(
        len(delta),
        float(np.mean(delta)),
        _standard_error(delta),
        float(np.median(size)),
        float(np.max(size)),
        _delta_histogram(size),
    )


def _pulls(difference: FloatArray, sigma: FloatArray) -> Pulls:
    pull = np.copysign(np.where(difference == 0, 0.0, np.inf), difference)
    with np.errstate(over="ignore"):
        np.divide(difference, sigma, out=pull, where=sigma > 0)
    finite = pull[np.isfinite(pull)]
    return Pulls(
        float(np.mean(finite)) if len(finite) else math.nan,
        float(np.std(finite)) if len(finite) else math.nan,
        len(pull) - len(finite),
        float(np.mean(np.abs(pull) < ONE_SIGMA)),
        float(np.mean(np.abs(pull) < NINETY_FIVE)),
        _histogram(pull, PULL_EDGES),
    )


def _delta_histogram(size: FloatArray) -> Histogram:
    with np.errstate(divide="ignore"):
        return _histogram(np.log10(size), DELTA_EDGES)


def _histogram(values: FloatArray, edges: FloatArray) -> Histogram:
    below, above = int(np.count_nonzero(values < edges[0])), int(np.count_nonzero(values > edges[-1]))
    return Histogram(edges, np.histogram(values, edges)[0].astype(np.int64), below, above)


def _standard_error(values: FloatArray) -> float:
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
