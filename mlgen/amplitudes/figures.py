"""The accuracy of a surrogate, drawn."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from mlgen.amplitudes.accuracy import AmplitudeAccuracy, Histogram, Pulls
from mlgen.report.page import Figure
from mlgen.report.quantities import number_text, with_error_text
from mlgen.stages import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colours and lines that also people with colour-blindness, and in print, tell apart (Okabe and Ito).
_STYLES = (("#0072b2", "-"), ("#d55e00", "--"), ("#009e73", ":"))

#: Densities of pulls are drawn down to this at least, that the Gaussian is seen when there are few points.
_LOWEST_DENSITY = 1e-2


def accuracy_figures(accuracy: AmplitudeAccuracy) -> list[Figure]:
    """Draw how far predictions are from the truth, and the pulls beside a unit Gaussian."""
    return [_delta_figure(accuracy), _pull_figure(accuracy)]


def _delta_figure(accuracy: AmplitudeAccuracy) -> Figure:
    groups = {
        f"all {accuracy.points:,} points": accuracy.absolute_delta,
        _group("1%", accuracy.largest_percent.count): accuracy.largest_percent.absolute_delta,
        _group("0.1%", accuracy.largest_permille.count): accuracy.largest_permille.absolute_delta,
    }
    bins = _drawn(accuracy.absolute_delta)

    def draw(axes: Axes) -> None:
        for (label, histogram), (colour, line) in zip(groups.items(), _STYLES, strict=True):
            share = histogram.counts[bins] / histogram.total
            edges = 10.0 ** histogram.edges[bins.start : bins.stop + 1]
            axes.stairs(share, edges, color=colour, linestyle=line, linewidth=1.6, label=label)
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel(r"$|\Delta| = |A_\mathrm{predicted} - A_\mathrm{true}|\,/\,A_\mathrm{true}$")
        axes.set_ylabel("share of the points per bin")

    quantiles = ", ".join(
        f"{100 * share:.6g}% of the points below {number_text(value, 3)}"
        for share, value in accuracy.absolute_delta_quantiles.items()
    )
    caption = (
        f"Median {number_text(accuracy.median_absolute_delta, 3)}; {quantiles}. Mean of Δ"
        f" {with_error_text(accuracy.mean_delta, accuracy.mean_delta_error)}."
    )
    for name, largest in (("1%", accuracy.largest_percent), ("0.1%", accuracy.largest_permille)):
        caption += (
            f" Largest {name} of the amplitudes: median {number_text(largest.median_absolute_delta, 3)}, at most"
            f" {number_text(largest.largest_absolute_delta, 3)}, mean of Δ"
            f" {with_error_text(largest.mean_delta, largest.mean_delta_error)}."
        )
    outside = accuracy.points - int(accuracy.absolute_delta.counts[bins].sum())
    if outside:
        low, high = (
            number_text(float(10.0**edge), 2) for edge in accuracy.absolute_delta.edges[[bins.start, bins.stop]]
        )
        caption += f" Not drawn, because below {low} or above {high}: {outside:,} of the points."
    return Figure(
        _svg(draw),
        title="Relative accuracy of the amplitudes",
        alt=(
            f"Distribution of the relative deviation from the truth of {accuracy.points:,} points, of those with the"
            f" largest 1% and of those with the largest 0.1% of the amplitudes; medians"
            f" {number_text(accuracy.median_absolute_delta, 3)},"
            f" {number_text(accuracy.largest_percent.median_absolute_delta, 3)} and"
            f" {number_text(accuracy.largest_permille.median_absolute_delta, 3)}."
        ),
        caption=caption,
    )


def _pull_figure(accuracy: AmplitudeAccuracy) -> Figure:
    pulls = {"systematic uncertainty": accuracy.systematic}
    # Without a statistical uncertainty the two are the same.
    if not np.array_equal(accuracy.systematic.pull.counts, accuracy.total.pull.counts):
        pulls["total uncertainty"] = accuracy.total

    def draw(axes: Axes) -> None:
        edges = accuracy.systematic.pull.edges
        for (label, one), (colour, line) in zip(pulls.items(), _STYLES, strict=False):
            density = one.pull.counts / (one.pull.total * np.diff(edges))
            axes.stairs(density, edges, color=colour, linestyle=line, linewidth=1.6, label=label)
        pull = np.linspace(edges[0], edges[-1], 241)
        axes.plot(pull, _unit_gaussian(pull), color="black", linestyle=":", linewidth=1.4, label="unit Gaussian")
        axes.set_yscale("log")
        # Half a point: an empty bin is off the paper, one with a single point is not.
        half = 0.5 / (accuracy.points * float(np.diff(edges).min()))
        highest = max(float(one.pull.counts.max()) * 2 * half for one in pulls.values())
        axes.set_ylim(min(half, _LOWEST_DENSITY), max(1.0, 1.5 * highest))
        axes.set_xlim(edges[0], edges[-1])
        axes.set_xlabel(r"pull $(A_\mathrm{predicted} - A_\mathrm{true})\,/\,\sigma$")
        axes.set_ylabel("density of the points")

    numbers = " ".join(f"With the {label}: {_pull_words(one)}." for label, one in pulls.items())
    return Figure(
        _svg(draw),
        title="Pulls of the amplitudes",
        alt=f"Distribution of the pulls of {accuracy.points:,} points beside a unit Gaussian. {numbers}",
        caption=f"{numbers} A unit Gaussian has mean 0, width 1, 68.27% and 95%.",
    )


def _pull_words(pulls: Pulls) -> str:
    words = f"{100 * pulls.coverage_68:.2f}% of the points within 1 σ, {100 * pulls.coverage_95:.2f}% within 1.96 σ"
    if not math.isnan(pulls.mean):
        words = f"mean {number_text(pulls.mean, 3)}, width {number_text(pulls.width, 3)}, {words}"
    outside = pulls.pull.below + pulls.pull.above
    if outside:
        words += f", {outside:,} outside the picture"
    return f"{words}, {pulls.infinite:,} with no uncertainty at all" if pulls.infinite else words


def _group(name: str, count: int) -> str:
    return f"largest {name}: {count:,} {'point' if count == 1 else 'points'}"


def _drawn(histogram: Histogram) -> slice:
    """Bins that are drawn: to the last that holds something, from where the smallest thousandth of the points ends.

    Few points are exact by chance, however far down; without this they would take half of the picture.
    """
    filled = np.flatnonzero(histogram.counts)
    if not len(filled):
        return slice(0, len(histogram.counts))
    enough = histogram.below + np.cumsum(histogram.counts) > histogram.total / 1000
    first = max(int(filled[0]), int(np.argmax(enough)))
    return slice(max(0, first - 1), min(len(histogram.counts), int(filled[-1]) + 2))


def _unit_gaussian(pull: FloatArray) -> FloatArray:
    density: FloatArray = np.exp(-0.5 * pull**2) / math.sqrt(2 * math.pi)
    return density


def _svg(draw: Callable[[Axes], None]) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure as Drawing

    # Paths instead of fonts look the same everywhere; salt and missing date make the same figures the same file.
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "mlgen"}):
        drawing = Drawing(figsize=(6.4, 4.2), layout="constrained")
        axes = drawing.add_subplot()
        draw(axes)
        axes.grid(alpha=0.3, linewidth=0.6)
        axes.legend(frameon=False)
        stream = io.StringIO()
        drawing.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
