"""Figures of the classifier two-sample test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlgen.validation.observable import FloatArray, Observable
from mlgen.validation.plot_axes import x_axis, y_axis
from mlgen.validation.plot_bins import Bins
from mlgen.validation.plot_style import (
    GREY,
    HEADER,
    INK,
    LEGEND_ROW,
    MARGIN,
    WIDTH,
    colour,
    dashes,
    figure,
    legend,
    legend_rows,
    number,
    style,
)
from mlgen.validation.record import ClassifierTest, Histogram, Measure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BINS = 50
_TAIL = "0.25"
#: Decades that the axis of the learned weights spans on either side of 1, at least and at most.
_LEAST_DECADES, _MOST_DECADES = 0.3, 3.0


def learned_weight_figure(
    test: ClassifierTest, reference_name: str = "reference", name: str = "sample", index: int = 0
) -> Figure:
    """Distribution of the learned weights w = D / (1 - D) of the events of both samples.

    Both axes are logarithmic. A sample that no classifier can tell from the reference has a narrow peak at 1; a tail
    of the reference to the right is a part of phase space that the sample lacks, a tail of the sample to the left one
    that it has too much of. Weights beyond the axis stand in columns of their own.

    Args:
        test: The test.
        reference_name: Name of the reference.
        name: Name of the sample.
        index: Its place among the samples, which gives its colour.

    Returns:
        The figure, 5.2 inches wide.

    References:
        Das et al., SciPost Phys. 16, 031 (2024), arXiv:2305.16774.
    """
    import mplhep

    weights = {key: np.asarray(test.learned_weights.get(key, ()), dtype=float) for key in ("reference", "sample")}
    edges = _weight_edges(np.concatenate(list(weights.values())))
    histograms = {
        key: _histogram(values, np.asarray(test.event_weights.get(key, np.ones(len(values)))), edges)
        for key, values in weights.items()
    }
    bins = Bins.of(edges, _LEARNED_WEIGHT, list(histograms.values()), log=True)
    # Shares, not densities: the bins are as wide as each other on this axis.
    bins = Bins(bins.edges, bins.drawn, np.ones(len(edges) - 1), True, bins.underflow, bins.overflow)
    contents = {key: bins.content(histogram) for key, histogram in histograms.items()}
    line: dict[str, dict[str, Any]] = {
        "reference": {"color": INK, "linewidth": 1.1},
        "sample": {"color": colour(index), "linestyle": dashes(index), "linewidth": 1.4},
    }
    entries: list[tuple[str, list[dict[str, Any]]]] = []
    for key, label in (("reference", reference_name), ("sample", name)):
        outside = histograms[key].underflow[0] + histograms[key].overflow[0]
        beyond = f" ({outside:.2g} outside)" if outside else ""
        entries.append((f"{label}{beyond}" if len(weights[key]) else f"{label} (no events)", [line[key]]))
    if test.tails:
        entries.append(("where the tails begin", [{"color": _TAIL, "linestyle": ":", "linewidth": 1.2}]))
    with style():
        height = 3.9
        left, right, rows = 0.78 / WIDTH, 1 - MARGIN / WIDTH, legend_rows([label for label, _ in entries])
        drawn = figure(height)
        top = 1 - (HEADER + LEGEND_ROW * rows) / height
        ax = drawn.add_axes((left, 0.5 / height, right - left, top - 0.5 / height))
        x_axis((ax,), bins, _LEARNED_WEIGHT)
        y_axis(ax, list(contents.values()))
        ax.axvline(1, color="0.45", linewidth=0.8, zorder=1)
        for tail in test.tails:
            ax.axvline(tail.weight, color=_TAIL, linestyle=":", linewidth=1.2, zorder=1)
        for key, content in contents.items():
            filled = bins.hist(content.values, content.errors)
            if key == "reference":
                mplhep.histplot(filled, ax=ax, histtype="fill", flow="none", yerr=False, color="#ececec", zorder=0.8)
            band: dict[str, Any] = {
                "facecolor": GREY if key == "reference" else colour(index),
                "alpha": 0.35,
                "edgecolor": "none",
            }
            ax.stairs(
                content.values + content.errors,
                bins.drawn,
                baseline=content.values - content.errors,
                fill=True,
                zorder=1.5,
                **band,
            )
            mplhep.histplot(filled, ax=ax, flow="none", yerr=False, edges=False, zorder=3, **line[key])
        # mplhep sets a label of its own.
        ax.set_xlabel("learned weight  w = D / (1 − D)", loc="right")
        ax.set_ylabel("share of events in a bin")
        ax.yaxis.set_label_coords(-0.135, 0.5)
        legend(drawn, entries, left, right)
    return drawn


def classifier_figure(test: ClassifierTest, index: int = 0) -> Figure:
    """AUC of every training, their mean with its error, and the null floor beside it, for each method.

    Args:
        test: The test.
        index: Place of the sample among the samples, which gives its colour.

    Returns:
        The figure, 5.2 inches wide.
    """
    from matplotlib.ticker import MaxNLocator

    methods = [(measure.name.removeprefix("AUC, "), measure) for measure in test.measures]
    entries: list[tuple[str, list[dict[str, Any]]]] = [
        (
            "each training",
            [{"color": colour(index), "marker": "o", "markersize": 4.5, "fillstyle": "none", "linestyle": "none"}],
        ),
        ("their mean, with its error", [{"color": colour(index), "marker": "s", "markersize": 5, "linewidth": 1.2}]),
        (
            "two halves of the reference",
            [
                {"fill": True, "facecolor": GREY, "alpha": 0.6, "edgecolor": "none"},
                {"color": "0.3", "marker": "D", "markersize": 4.5, "linestyle": "none"},
            ],
        ),
    ]
    with style():
        above, below = 0.22 + 2 * LEGEND_ROW, 0.5
        height = above + below + 0.62 * max(len(methods), 1)
        left, right = 1.42 / WIDTH, 1 - 0.2 / WIDTH
        drawn = figure(height)
        ax = drawn.add_axes((left, below / height, right - left, 1 - (above + below) / height))
        ax.set_ylim(max(len(methods), 1) - 0.5, -0.5)
        ax.set_xlim(*_auc_range(methods, test))
        ax.axvline(0.5, color=INK, linewidth=0.8, zorder=1)
        for row, (method, measure) in enumerate(methods):
            if np.isfinite(measure.floor):
                spread = measure.floor_error if np.isfinite(measure.floor_error) else 0.0
                ax.barh(row, 2 * spread, left=measure.floor - spread, height=0.7, color=GREY, alpha=0.6, zorder=0.5)
                ax.plot(measure.floor, row + 0.22, "D", color="0.3", markersize=4.5)
            ax.errorbar(
                measure.value,
                row - 0.03,
                xerr=measure.error,
                fmt="s",
                color=colour(index),
                markersize=5,
                elinewidth=1.2,
            )
            seeds = np.asarray(test.seed_values.get(method, ()))
            ax.plot(seeds, np.full(len(seeds), row - 0.25), "o", color=colour(index), markersize=4.5, fillstyle="none")
        ax.set_yticks(range(len(methods)), [method.replace(" ", "\n", 1) for method, _ in methods], parse_math=False)
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        ax.xaxis.set_major_formatter(lambda value, _: number(round(value, 9)))
        ax.set_xlabel("AUC", loc="right")
        if not methods:
            ax.text(0.5, 0.5, "no classifier was trained", transform=ax.transAxes, ha="center", va="center")
        legend(drawn, entries, 0.6 / WIDTH, right)
    return drawn


_LEARNED_WEIGHT = Observable("w", "w")


def _auc_range(methods: list[tuple[str, Measure]], test: ClassifierTest) -> tuple[float, float]:
    values = [0.5]
    for method, measure in methods:
        values += test.seed_values.get(method, ())
        for value, error in ((measure.value, measure.error), (measure.floor, measure.floor_error)):
            values += [value, value - error, value + error]
    finite = [value for value in values if np.isfinite(value)]
    # Not less than a per mille: rounding must not look like a difference.
    margin = max(0.08 * (max(finite) - min(finite)), 1e-3)
    return min(finite) - margin, max(finite) + margin


def _weight_edges(weights: FloatArray) -> FloatArray:
    logarithms = np.log10(weights[np.isfinite(weights) & (weights > 0)])
    reach = float(np.quantile(np.abs(logarithms), 0.999)) * 1.1 if len(logarithms) else 0.0
    reach = min(max(reach, _LEAST_DECADES), _MOST_DECADES)
    # Ends of two digits, for their labels.
    low, high = float(f"{10**-reach:.2g}"), float(f"{10**reach:.2g}")
    return np.asarray(np.geomspace(low, high, _BINS + 1))


def _histogram(values: FloatArray, weights: FloatArray, edges: FloatArray) -> Histogram:
    known = ~np.isnan(values)
    values, weights = values[known], weights[known]
    # Into the bins, with 0 below and the last one above.
    index = np.searchsorted(edges, values, side="right")
    content = np.asarray(np.bincount(index, weights, len(edges) + 1), dtype=float)
    squares = np.asarray(np.bincount(index, weights**2, len(edges) + 1), dtype=float)
    total = float(content.sum())
    # A total of nothing, or of negative weights, is no norm; the number of events is.
    norm = total if total > 0 else max(float(len(values)), 1.0)
    content, squares = content / norm, squares / norm**2
    return Histogram(
        content[1:-1],
        squares[1:-1],
        (float(content[0]), float(squares[0])),
        (float(content[-1]), float(squares[-1])),
    )
