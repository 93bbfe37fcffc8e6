"""Figures of showers: average showers layer by layer, and separation powers beside what chance gives."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgen.showers import Geometry, Layer, PolarLayer
from mlgen.validation.average_showers import AverageShower
from mlgen.validation.observable import FloatArray
from mlgen.validation.plot_style import (
    GREY,
    LEGEND_ROW,
    WIDTH,
    colour,
    figure,
    legend,
    legend_rows,
    power_of_ten,
    shorten,
    style,
)
from mlgen.validation.separation import Separation
from mlgen.validation.shower_observables import MAX_SECTIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Separation powers that are drawn, the largest ones.
MOST_ROWS = 24
#: Height of a layer's images and of a row of the separation powers, inches.
_LAYER, _ROW = 1.5, 0.19
#: Energies below this share of the largest of a layer are drawn as it.
_DARKEST = 1e-5
#: Radii are drawn logarithmically where the largest is so many times the smallest.
_WIDE = 20.0
#: Slices with which rings are drawn round.
_ROUND = 64


def average_shower_figure(average: AverageShower, reference_name: str = "reference", name: str = "sample") -> Figure:
    """Average showers of both samples and their ratio, a row for each layer; energies in a logarithmic scale.

    A rectangular layer is shown from the front, x to the right and y up; a polar one in polar coordinates, its radii
    logarithmically where they span more than a factor of 20. Where there are many layers of one binning, consecutive
    ones are summed. Voxels of which the reference's average is zero are grey.

    Args:
        average: The average showers.
        reference_name: Name of the reference.
        name: Name of the sample.

    Returns:
        The figure, 5.2 inches wide.
    """
    from matplotlib.colors import LogNorm, Normalize

    rows = list(_rows(average.geometry, average.reference, average.sample))
    with style():
        top, bottom = 0.5, 0.12
        height = top + bottom + _LAYER * len(rows)
        drawn = figure(height)
        for column, text in ((0.2125, shorten(reference_name, 20)), (0.4775, shorten(name, 20)), (0.8075, "ratio")):
            drawn.text(column, 1 - 0.38 / height, text, ha="center", fontsize=9, parse_math=False)
        counts = f"{average.reference_showers:,} and {average.sample_showers:,} showers"
        drawn.text(0.5, 1 - 0.17 / height, f"{average.title}: {counts}", ha="center", fontsize=9.5, parse_math=False)
        for row, (title, layer, first, second) in enumerate(rows):
            y = 1 - (top + _LAYER * (row + 0.92)) / height
            size = _LAYER * 0.78 / height
            largest = max(first.max(), second.max(), 1e-300)
            smallest = min((v[v > 0].min() for v in (first, second) if np.any(v > 0)), default=largest)
            energies = LogNorm(max(smallest, _DARKEST * largest) * 0.999, largest)
            ratio = np.divide(second, first, out=np.full(len(first), np.nan), where=first > 0)
            reach = _reach(ratio, first)
            images = [
                (0.095, first, "viridis", energies),
                (0.36, second, "viridis", energies),
                (0.69, ratio, "RdBu_r", Normalize(1 - reach, 1 + reach)),
            ]
            for number, (x, values, colours, norm) in enumerate(images):
                ax = drawn.add_axes((x, y, 0.235, size), polar=isinstance(layer, PolarLayer))
                mesh = _draw(ax, layer, values, colours, norm)
                if number:
                    ax.set_yticks([])
                    ax.set_ylabel("")
                else:
                    drawn.text(0.012, y + size / 2, title, rotation=90, va="center", fontsize=8.5, parse_math=False)
                if number:
                    bar = drawn.colorbar(mesh, cax=drawn.add_axes((x + 0.245, y, 0.012, size)))
                    bar.ax.tick_params(labelsize=7, length=2, which="both")
                    bar.ax.minorticks_off()
                    if number == 1:
                        bar.ax.set_title("MeV", fontsize=7, pad=2)
    return drawn


def separation_figure(separations: Sequence[Separation], index: int = 0) -> Figure:
    """The largest separation powers with their errors, beside those of equal distributions and of two halves.

    Args:
        separations: The separation powers.
        index: Place of the sample among the samples, which gives its colour.

    Returns:
        The figure, 5.2 inches wide.
    """
    shown = sorted(separations, key=lambda s: -(s.value - s.expected) / max(s.spread, 1e-300))[:MOST_ROWS]
    ink = colour(index)
    entries: list[tuple[str, list[dict[str, Any]]]] = [
        ("with its error", [{"color": ink, "marker": "o", "markersize": 4.5, "linewidth": 1.2}]),
        ("equal distributions, 95 %", [{"fill": True, "facecolor": GREY, "edgecolor": "none"}]),
        (
            "two halves of the reference",
            [{"color": "0.3", "marker": "D", "markersize": 4, "linestyle": "none", "fillstyle": "none"}],
        ),
    ]
    with style():
        above, below = 0.16 + LEGEND_ROW * legend_rows([label for label, _ in entries]), 0.5
        height = above + below + _ROW * max(len(shown), 3)
        drawn = figure(height)
        left, right = 1.62 / WIDTH, 1 - 0.24 / WIDTH
        ax = drawn.add_axes((left, below / height, right - left, 1 - (above + below) / height))
        ax.set_xscale("log")
        values = [s.value for s in shown] + [s.expected for s in shown] + [s.floor for s in shown]
        positive = [value for value in values if math.isfinite(value) and value > 0] or [1e-3]
        low = 10.0 ** math.floor(math.log10(min(positive)) - 0.2)
        high = min(1.5, 10.0 ** math.ceil(math.log10(max(positive)) + 0.1))
        ax.set_xlim(low, high)
        ax.set_ylim(max(len(shown), 3) - 0.5, -0.5)
        for row, power in enumerate(shown):
            begin = max(power.expected - 2 * power.spread, low)
            ax.barh(row, power.expected + 2 * power.spread - begin, left=begin, height=0.6, color=GREY, zorder=1)
            if power.floor > 0:
                ax.plot(power.floor, row, "D", color="0.3", markersize=4, fillstyle="none", zorder=2)
            ends = [max(power.value - power.error, low), power.value + power.error]
            ax.plot(ends, [row, row], color=ink, linewidth=1.2, zorder=3)
            ax.plot(max(power.value, low), row, "o", color=ink, markersize=4.5, zorder=3)
        ticks = 10.0 ** np.arange(round(math.log10(low)), math.floor(math.log10(high)) + 1)
        ax.set_xticks(ticks, [power_of_ten(tick) for tick in ticks])
        names = [shorten(power.name, 25) for power in shown]
        ax.set_yticks(range(len(shown)), names, fontsize=8.5, parse_math=False)
        ax.tick_params(axis="y", length=0)
        few = "" if len(shown) == len(separations) else f" (most significant {len(shown)} of {len(separations)})"
        ax.set_xlabel(f"separation power $S^2${few}", loc="right")
        legend(drawn, entries, 0.6 / WIDTH, right)
    return drawn


def _rows(
    geometry: Geometry, first: FloatArray, second: FloatArray
) -> Iterator[tuple[str, Layer, FloatArray, FloatArray]]:
    """What is drawn: title, binning, and the voxels of both samples."""
    offsets, layers = geometry.layer_offsets, geometry.layers
    size = math.ceil(len(layers) / MAX_SECTIONS)
    for begin in range(0, len(layers), size):
        group = layers[begin : begin + size]
        # Layers of another binning than the first of their group cannot be added to it.
        same = [begin + k for k, layer in enumerate(group) if _binning(layer) == _binning(group[0])]
        values = [sum(v[offsets[k] : offsets[k + 1]] for k in same) for v in (first, second)]
        ids = [layers[k].layer_id for k in same]
        consecutive = len(ids) > 1 and ids[-1] - ids[0] == len(ids) - 1
        title = f"layers {ids[0]}-{ids[-1]}" if consecutive else "layer " + ", ".join(map(str, ids))
        yield title, group[0], np.asarray(values[0]), np.asarray(values[1])


def _binning(layer: Layer) -> tuple[Any, ...]:
    if isinstance(layer, PolarLayer):
        return (layer.radial_edges, layer.n_angular)
    return (layer.x_edges, layer.y_edges)


def _draw(ax: Axes, layer: Layer, values: FloatArray, colours: str, norm: Any) -> Any:
    import matplotlib as mpl

    # Nothing deposited is the darkest colour, not a hole; only a ratio can be unknown.
    shown = np.where(values > 0, values, norm.vmin) if colours == "viridis" else values
    palette = mpl.colormaps[colours].with_extremes(bad=GREY)
    ax.grid(visible=False)
    ax.tick_params(labelsize=6, length=2, pad=1)
    if isinstance(layer, PolarLayer):
        image = np.repeat(shown.reshape(layer.n_angular, -1), math.ceil(_ROUND / layer.n_angular), axis=0)
        radii = np.asarray(layer.radial_edges)
        smallest = radii[radii > 0][0]
        if radii[-1] > _WIDE * smallest:
            radii = np.log10(1.0 + radii / smallest)
        ax.set_xticks([])
        ax.set_yticks([])
        angles = np.linspace(-math.pi, math.pi, len(image) + 1)
        return ax.pcolormesh(angles, radii, np.ma.masked_invalid(image.T), norm=norm, cmap=palette)
    image = shown.reshape(layer.shape)
    ax.set_xticks([layer.x_edges[0], layer.x_edges[-1]])
    ax.set_yticks([layer.y_edges[0], layer.y_edges[-1]])
    # Within the image, so that the labels of both axes do not meet in the corner.
    left, right = ax.get_xticklabels()
    left.set_horizontalalignment("left")
    right.set_horizontalalignment("right")
    bottom, top = ax.get_yticklabels()
    bottom.set_verticalalignment("bottom")
    top.set_verticalalignment("top")
    ax.set_xlabel("x (mm)", fontsize=6.5, labelpad=-5)
    ax.set_ylabel("y (mm)", fontsize=6.5, labelpad=-10)
    return ax.pcolormesh(layer.x_edges, layer.y_edges, np.ma.masked_invalid(image.T), norm=norm, cmap=palette)


def _reach(ratio: FloatArray, weight: FloatArray) -> float:
    """How far from 1 the ratio's colours go: what the voxels with 99 % of the energy need, 2 % to 100 %."""
    order = np.argsort(-weight)
    enough = int(np.searchsorted(np.cumsum(weight[order]), 0.99 * weight.sum())) + 1
    away = np.abs(ratio[order[:enough]] - 1.0)
    known = away[np.isfinite(away)]
    if not len(known):
        return 1.0
    wanted = min(max(float(np.quantile(known, 0.9)), 0.02), 1.0)
    step = 10.0 ** math.floor(math.log10(wanted))
    return min(math.ceil(wanted / step - 1e-9) * step, 1.0)
