"""The figures of a validation report.

Everything is drawn with `hist` and `mplhep` on Matplotlib's `Figure` objects. pyplot holds none of them, so a user's
own figures and settings are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgen.validation.observable import FloatArray, Kind, Observable
from mlgen.validation.plot_axes import x_axis, y_axis
from mlgen.validation.plot_bins import Bins, Content
from mlgen.validation.plot_classifier import classifier_figure, learned_weight_figure
from mlgen.validation.plot_output import save, to_svg
from mlgen.validation.plot_panels import draw_deviation, draw_ratios, draw_reference, draw_sample
from mlgen.validation.plot_style import (
    GREY,
    HEADER,
    HEIGHT,
    INK,
    LEGEND_ROW,
    MARGIN,
    MOST_SAMPLES,
    SHADE,
    WIDTH,
    bare_math,
    colour,
    dashes,
    differential,
    figure,
    legend,
    legend_rows,
    mathtext,
    shorten,
    style,
)
from mlgen.validation.plot_summary import summary_figure
from mlgen.validation.record import Deviation, Histogram

if TYPE_CHECKING:
    import hist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "classifier_figure",
    "learned_weight_figure",
    "observable_figure",
    "save",
    "summary_figure",
    "to_hist",
    "to_svg",
]


#: Rows of the legend for which the usual height is enough.
_ROWS = 3


def observable_figure(
    edges: FloatArray,
    observable: Observable,
    reference: Histogram | None,
    samples: Sequence[tuple[str, Histogram | None]],
    *,
    log_x: bool = False,
    deviation: Deviation | None = None,
    reference_name: str = "reference",
    rate: str = r"\sigma",
    events: str = "events",
) -> Figure:
    r"""Overlay the samples on the reference, with their ratios below.

    Both panels show statistical errors (of the reference as a grey band) and the bands of the samples' named weights.
    Under- and overflow, where there is any, stand in columns of their own, as high as one more bin as wide as the last.
    Ratios outside the lower panel are marked by triangles at its edge, also where the reference is empty.

    Args:
        edges: Bin edges, ``(bins + 1,)``.
        observable: What is shown.
        reference: Histogram of the reference, None when it lacks the observable.
        samples: Names and histograms of all samples, `MOST_SAMPLES` of them at most; None for one that lacks the
            observable. The place of a sample gives its colour and its line, so that it looks the same in every figure.
        log_x: Whether the axis is logarithmic.
        deviation: The region to shade; None where nothing differs.
        reference_name: Name of the reference.
        rate: What the distribution is normalised to, as mathtext: ``\sigma`` or ``N``.
        events: What is counted, for whole numbers and categories: ``events`` or ``showers``.

    Returns:
        The figure, 5.2 inches wide.

    Raises:
        ValueError: There are more samples than can be told apart.
    """
    if len(samples) > MOST_SAMPLES:
        raise ValueError(f"{len(samples)} samples in one figure; at most {MOST_SAMPLES} can be told apart")
    present = {index: (name, histogram) for index, (name, histogram) in enumerate(samples) if histogram is not None}
    histograms = [histogram for _, histogram in present.values()]
    bins = Bins.of(edges, observable, [*([reference] if reference else []), *histograms], log_x)
    contents = dict(zip(present, map(bins.content, histograms), strict=True))
    expected = bins.content(reference) if reference else None
    entries = _legend(reference_name, expected, present, deviation)
    with style():
        drawn, upper, lower, left, right = _panels(bins, legend_rows([label for label, _ in entries]))
        x_axis((upper, lower), bins, observable)
        y_axis(upper, [*([expected] if expected else []), *contents.values()])
        if deviation is not None:
            draw_deviation((upper, lower), bins, deviation)
        if expected is not None:
            draw_reference(upper, bins, expected)
        for place, (index, content) in enumerate(contents.items(), 1):
            # The error bars of more samples than two hide each other; the ratios show them.
            draw_sample(upper, bins, content, index, place / (len(contents) + 1) if len(contents) <= 2 else None)
        draw_ratios(lower, bins, expected, contents)
        # mplhep writes the name of hist's axis there.
        upper.set_xlabel("")
        upper.set_ylabel(_y_label(observable, rate, events), fontsize=10)
        unit = f" [{observable.unit}]" if observable.unit else ""
        lower.set_xlabel(mathtext(observable.label) + unit, loc="right")
        lower.set_ylabel("ratio to ref.", fontsize=9)
        for ax in (upper, lower):
            # Where Matplotlib would put it depends on the ticks; panels above each other should agree.
            ax.yaxis.set_label_coords(-0.135, 0.5)
        legend(drawn, entries, left, right)
    return drawn


def to_hist(edges: FloatArray, observable: Observable, histogram: Histogram) -> hist.Hist[Any]:
    """The histogram as a Scikit-HEP object, with variances and flow bins.

    Args:
        edges: Bin edges, ``(bins + 1,)``.
        observable: What was filled; a category becomes a `hist.axis.StrCategory`, a whole number with bins of width
            one a `hist.axis.Integer`.
        histogram: Shares of the bins.

    Returns:
        A histogram with storage ``Weight`` whose contents sum to one, flow bins included.
    """
    import hist

    unit = f" [{observable.unit}]" if observable.unit else ""
    options: dict[str, Any] = {"name": observable.name, "label": observable.label + unit}
    axis: Any
    if observable.kind is Kind.CATEGORY and len(observable.categories) == len(edges) - 1:
        axis = hist.axis.StrCategory(observable.categories, overflow=True, **options)
    elif observable.kind is Kind.INTEGER and np.allclose(np.diff(edges), 1) and edges[0] % 1 == 0.5:
        axis = hist.axis.Integer(round(edges[0] + 0.5), round(edges[-1] + 0.5), **options)
    else:
        axis = hist.axis.Variable(edges, **options)
    filled = hist.Hist(axis, storage=hist.storage.Weight())
    under = [histogram.underflow] if axis.traits.underflow else []
    view: Any = filled.view(flow=True)
    for name, values, flow in (("value", histogram.values, 0), ("variance", histogram.variances, 1)):
        setattr(view, name, np.concatenate([[end[flow] for end in under], values, [histogram.overflow[flow]]]))
    return filled


def _panels(bins: Bins, rows: int) -> tuple[Figure, Axes, Axes, float, float]:
    below = 0.5
    if bins.categories:
        longest = max(len(name) for name in bins.categories)
        below = 0.55 + 0.062 * min(longest, 26 if len(bins.categories) <= 15 else 18)
    # Long names and many samples take no room from the panels.
    height = HEIGHT + max(0.0, below - 0.5) + LEGEND_ROW * max(0, rows - _ROWS)
    left, right, header, gap, ratio = 0.78 / WIDTH, 1 - MARGIN / WIDTH, HEADER + LEGEND_ROW * rows, 0.11, 1.05
    drawn = figure(height)
    bottom = below + ratio + gap
    upper = drawn.add_axes((left, bottom / height, right - left, (height - header - bottom) / height))
    lower = drawn.add_axes((left, below / height, right - left, ratio / height))
    return drawn, upper, lower, left, right


def _y_label(observable: Observable, rate: str, events: str) -> str:
    if observable.kind is not Kind.CONTINUOUS:
        return f"share of {events}"
    inner = bare_math(mathtext(observable.label))
    if inner is None or len(inner) > 40:
        inner = "x"
    unit = f" [1/{observable.unit}]" if observable.unit else ""
    return rf"$1/{rate}\ \mathrm{{d}}{rate}/{differential(inner)}${unit}"


def _legend(
    reference_name: str,
    expected: Content | None,
    samples: Mapping[int, tuple[str, Histogram]],
    deviation: Deviation | None,
) -> list[tuple[str, list[dict[str, Any]]]]:
    entries: list[tuple[str, list[dict[str, Any]]]] = []
    if expected is not None:
        grey = {"fill": True, "facecolor": GREY, "edgecolor": "none"}
        entries.append((reference_name, [grey, {"color": INK, "linewidth": 1.0}]))
    for index, (name, histogram) in samples.items():
        handles: list[dict[str, Any]] = []
        if histogram.band is not None:
            handles.append({"fill": True, "facecolor": colour(index), "alpha": 0.28, "edgecolor": "none"})
        if not np.any(histogram.values) and histogram.underflow[0] == histogram.overflow[0] == 0:
            name = f"{shorten(name, 22)} (empty)"
        entries.append((name, [*handles, {"color": colour(index), "linestyle": dashes(index), "linewidth": 1.4}]))
    banded = next((index for index, (_, histogram) in samples.items() if histogram.band is not None), None)
    if banded is not None:
        patch = {"fill": True, "facecolor": colour(banded), "alpha": 0.28, "edgecolor": "none"}
        entries.append(("band of its named weights", [patch]))
    if deviation is not None:
        label = f"differs most: {deviation.ratio:.3g} ± {deviation.error:.1g}"
        entries.append((label, [{"fill": True, "facecolor": SHADE, "edgecolor": "#c9a227", "linewidth": 0.6}]))
    return entries
