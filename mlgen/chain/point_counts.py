"""What is to be said of points at which the integrand is not what it should be."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from mlgen.errors import ProcessError

if TYPE_CHECKING:
    from mlgen.hard_process.integrand import PointCounts


def counts_since(before: PointCounts, now: PointCounts) -> PointCounts:
    """What was counted since `before`."""
    return type(now)(**{f.name: getattr(now, f.name) - getattr(before, f.name) for f in dataclasses.fields(now)})


def count_remarks(counts: PointCounts) -> list[str]:
    """What is to be said of points whose values are not as they should be; nothing where there are none."""
    remarks, points = [], f"{counts.evaluated:,} points evaluated"
    if counts.not_finite:
        remarks.append(
            f"at {counts.not_finite:,} of {points} the integrand is not finite; they count as zero, and the cross "
            "section lacks what they should have given"
        )
    if counts.negative:
        remarks.append(
            f"at {counts.negative:,} of {points} the integrand is negative, because parton densities or the matrix "
            "element are; they count as they are"
        )
    if counts.outside_densities:
        remarks.append(
            f"{counts.outside_densities:,} of {points} lie outside the grid of the parton densities, which are zero "
            "there; a set with a larger grid, or cuts, mend that"
        )
    return remarks


def nothing_counts(counts: PointCounts, grid: str) -> ProcessError:
    """The error that no point has a value other than zero.

    Args:
        counts: Of the points.
        grid: The range of the parton densities, in words; empty where there are none.
    """
    reasons = [
        (counts.outside_cuts, "are outside the cuts; check [process.cuts]"),
        (counts.not_finite, "have a matrix element that is infinite or not a number; check it with its program"),
        (
            counts.outside_densities,
            f"are outside the grid of the parton densities ({grid}), which are zero there; check the scale, the "
            "energy and the cuts",
        ),
    ]
    known = sorted((reason for reason in reasons if reason[0]), reverse=True)
    rest = counts.evaluated - sum(number for number, _ in known)
    if rest > 0:
        known.append((rest, "have a matrix element of zero"))
    listed = "".join(f"\n  {number:,} {what}" for number, what in known)
    return ProcessError(f"the integrand is zero at all {counts.evaluated:,} points that were tried; of these{listed}")
