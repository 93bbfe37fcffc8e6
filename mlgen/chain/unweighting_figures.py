"""What is said of an unweighting in numbers."""

from __future__ import annotations

import dataclasses
import math

from mlgen.stages import UnweightingReport


def unweighting_figures(report: UnweightingReport) -> dict[str, float | int]:
    r"""Return the figures of a report that there are, by name.

    With a share f of negative weights, :math:`1 / (1 - 2 f)^2` times as many events are needed for the same relative
    error of the cross section as without (``negative_weight_cost``).
    """
    found = dataclasses.asdict(report)
    del found["remarks"]
    figures = {name: value for name, value in found.items() if value is not None}
    visible = 1 - 2 * report.negative_fraction
    if report.negative_fraction > 0:
        figures["negative_weight_cost"] = 1 / visible**2 if visible else math.inf
    return figures
