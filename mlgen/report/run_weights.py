"""The weights of a run before its unweighting and after it, as a figure of its page or as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from mlgen.errors import OutputError
from mlgen.report.page import Figure
from mlgen.report.run import StageLike
from mlgen.report.weights import BySign, FloatArray, save_weights, weight_figure


class DistributionLike(Protocol):
    """Weights by bin, as `mlgen.chain.weight_distribution.WeightDistribution` has them."""

    def histograms(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Edges, and the counts of positive and negative weights."""

    def histograms_beside(self, other: Any) -> tuple[FloatArray, BySign, BySign]:
        """Common edges, and the counts of both by sign."""


class UnweightedRun(Protocol):
    """What a run says of its weights, as `mlgen.chain.report.RunResult` does."""

    @property
    def stages(self) -> Sequence[StageLike]:
        """One entry for each replaced stage."""

    @property
    def weights(self) -> DistributionLike | None:
        """Before the unweighting; None without one."""

    @property
    def unweighted(self) -> DistributionLike | None:
        """After it; likewise."""


def run_weights_figure(result: UnweightedRun) -> Figure | None:
    """Draw the weights of a run before its unweighting and after it; None, nothing was unweighted."""
    drawn = _drawn(result)
    if drawn is None:
        return None
    title = "Weights before the unweighting" + (", and after it" if "after" in drawn[1] else "")
    return weight_figure(*drawn[0], title=title, **drawn[1])


def save_run_weights(path: Path, result: UnweightedRun, *, force: bool = False) -> None:
    """Draw as `run_weights_figure` does, into a file: png, pdf or svg, as its suffix says.

    Raises:
        OutputError: As `mlgen.report.weights.check_plot`; or nothing was unweighted.
        WriteFailure: The disk is full, or the like.
    """
    drawn = _drawn(result)
    if drawn is None:
        raise OutputError(f"{path}: nothing was unweighted, so there are no weights to draw")
    save_weights(path, *drawn[0], **drawn[1], force=force)


def _drawn(
    result: UnweightedRun,
) -> tuple[tuple[FloatArray, FloatArray, FloatArray, float], Mapping[str, Any]] | None:
    """Arguments of the functions that draw."""
    figures = next((stage.figures for stage in result.stages if "maximum_weight" in stage.figures), {})
    maximum = figures.get("maximum_weight")
    if result.weights is None or not isinstance(maximum, (int, float)):
        return None
    # The weights of candidates that pass a first stage are not yet the true ones.
    surrogate = "first_stage_efficiency" in figures
    options = {"surrogate": surrogate, "maximum_label": "maximum of the true weights"} if surrogate else {}
    if result.unweighted is None:
        return (*result.weights.histograms(), float(maximum)), options
    edges, before, after = result.weights.histograms_beside(result.unweighted)
    return (edges, *before, float(maximum)), {**options, "after": after}
