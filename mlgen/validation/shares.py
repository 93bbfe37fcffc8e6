"""Tests of numbers, not of shapes: shares of the weight, and cross sections."""

from __future__ import annotations

import math

from mlgen.validation.filling import Sums
from mlgen.validation.record import ShareTest

#: Cross sections without any error are called equal up to this relative difference.
SAME = 1e-6


def share_test(reference: Sums, reference_total: Sums, sample: Sums, sample_total: Sums) -> ShareTest:
    r"""Compare the share of the weight that some events have in two samples.

    The share :math:`s = W_p / W` has the variance :math:`[(1 - s)^2 Q_p + s^2 (Q - Q_p)] / W^2` with the sums *W* of
    weights and *Q* of their squares of all events and, with the index *p*, of those in question.

    Args:
        reference: Sums over the events in question.
        reference_total: Sums over all events.
        sample: Likewise.
        sample_total: Likewise.
    """
    first, first_error = _share(reference, reference_total)
    second, second_error = _share(sample, sample_total)
    return ShareTest(
        first, first_error, second, second_error, two_sided_p_value(first, first_error, second, second_error)
    )


def two_sided_p_value(first: float, first_error: float, second: float, second_error: float) -> float:
    """Probability that two numbers with normal errors differ at least as much when they estimate the same.

    Numbers that both have no error are the same (up to `SAME`) or not: p is 1 or 0. NaN for a number that is not known.
    """
    if not math.isfinite(first) or not math.isfinite(second):
        return math.nan
    error = math.hypot(*(e if math.isfinite(e) else 0.0 for e in (first_error, second_error)))
    if error <= 0:
        return 1.0 if math.isclose(first, second, rel_tol=SAME) else 0.0
    return math.erfc(abs(first - second) / error / math.sqrt(2))


def _share(part: Sums, total: Sums) -> tuple[float, float]:
    if not total.weight:
        return math.nan, math.nan
    share = part.weight / total.weight
    rest = max(total.square - part.square, 0.0)
    return share, math.sqrt((1 - share) ** 2 * part.square + share**2 * rest) / abs(total.weight)
