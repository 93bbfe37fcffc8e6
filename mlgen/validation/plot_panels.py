"""What stands in the panels of a figure: histograms, errors, bands and ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgen.validation.observable import FloatArray
from mlgen.validation.plot_bins import Bins, Content
from mlgen.validation.plot_style import GREY, INK, SHADE, colour, dashes, number
from mlgen.validation.record import Deviation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Half-widths that the ratio panel may have; what lies beyond the last one is arrows.
_RATIO_RANGES = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
#: Shares of the events whose bins lie in the ratio panel: with their ratios, and with these and their errors.
_RATIOS_SHOWN, _ERRORS_SHOWN = 0.97, 0.9


def draw_reference(ax: Axes, bins: Bins, content: Content) -> None:
    """Draw the reference with its statistical errors."""
    import mplhep

    drawn = bins.hist(content.values, content.errors)
    mplhep.histplot(drawn, ax=ax, histtype="fill", flow="none", yerr=False, color="#ececec", zorder=1)
    _stairs_band(ax, bins, content.values - content.errors, content.values + content.errors, GREY, 1.0, 1.5)
    mplhep.histplot(drawn, ax=ax, flow="none", yerr=False, edges=False, color=INK, linewidth=1.0, zorder=2)


def draw_sample(ax: Axes, bins: Bins, content: Content, index: int, place: float | None) -> None:
    """Draw a sample in its colour, with the band of its named weights, and error bars at this place in each bin."""
    import mplhep

    options: dict[str, Any] = {"color": colour(index), "linestyle": dashes(index), "linewidth": 1.4}
    if content.band is not None:
        _stairs_band(ax, bins, content.band[0], content.band[1], colour(index), 0.28, 1.8)
    drawn = bins.hist(content.values, content.errors)
    mplhep.histplot(drawn, ax=ax, flow="none", yerr=False, edges=False, zorder=3, **options)
    if place is not None:
        _error_bars(ax, bins.inside(place), content.values, content.errors, colour(index))


def _stairs_band(
    ax: Axes, bins: Bins, lower: FloatArray, upper: FloatArray, face: str, alpha: float, zorder: float
) -> None:
    ax.stairs(
        upper, bins.drawn, baseline=lower, fill=True, facecolor=face, edgecolor="none", alpha=alpha, zorder=zorder
    )


def _error_bars(ax: Axes, x: FloatArray, values: FloatArray, errors: FloatArray, ink: str, width: float = 0.8) -> None:
    """Error bars as one line with gaps: a tenth of the size of as many separate lines."""
    from matplotlib.lines import Line2D

    low, high = ax.get_ylim()
    shown = np.isfinite(values) & (errors > 0) & (values + errors > low) & (values - errors < high)
    x, values, errors = x[shown], values[shown], errors[shown]
    if not len(x):
        return
    # A point below the range keeps the line on the paper, where a logarithmic axis has no place for negative numbers.
    below = low / 2 if low > 0 else low - (high - low)
    ends = [np.maximum(values - errors, below), np.minimum(values + errors, 2 * high), np.full_like(x, np.nan)]
    ax.add_line(
        Line2D(np.repeat(x, 3), np.stack(ends, axis=1).ravel(), color=ink, linewidth=width, zorder=3.5, label="_errors")
    )


def draw_ratios(ax: Axes, bins: Bins, expected: Content | None, contents: Mapping[int, Content]) -> None:
    """Draw the ratios of the samples, by their number, to the reference, in a range that suits most events."""
    import mplhep
    from matplotlib.ticker import AutoMinorLocator, MaxNLocator

    ax.set_ylim(0.9, 1.1)
    ax.axhline(1, color=INK, linewidth=0.8, zorder=2)
    if expected is None or not np.any(expected.values > 0):
        ax.text(0.5, 0.5, "no reference to compare with", transform=ax.transAxes, ha="center", va="bottom", color="0.3")
        ax.set_yticks([1.0], ["1"])
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        where = np.where(expected.values == 0, np.nan, expected.values)
        ratios = [content.values / expected.values for content in contents.values()]
        errors = [content.errors / np.abs(expected.values) for content in contents.values()]
        grey = expected.errors / np.abs(where)
        bands = [None if content.band is None else content.band / where for content in contents.values()]
    half = 1.06 * _half_range(ratios, errors, grey, np.abs(expected.values) * bins.widths)
    ax.set_ylim(1 - half, 1 + half)
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], prune=None))
    ax.yaxis.set_major_formatter(lambda value, _: number(round(value, 9)))
    ax.yaxis.set_minor_locator(AutoMinorLocator(2))
    _stairs_band(ax, bins, 1 - grey, 1 + grey, GREY, 0.8, 1)
    for place, (index, ratio, error, band) in enumerate(zip(contents, ratios, errors, bands, strict=True), 1):
        if band is not None:
            _stairs_band(ax, bins, band[0], band[1], colour(index), 0.28, 1.8)
        finite = np.where(np.isfinite(ratio), ratio, np.nan)
        drawn = bins.hist(finite, np.nan_to_num(error, posinf=0))
        options: dict[str, Any] = {"color": colour(index), "linestyle": dashes(index), "linewidth": 1.2, "zorder": 3}
        mplhep.histplot(drawn, ax=ax, flow="none", yerr=False, edges=False, **options)
        x = bins.inside(place / (len(ratios) + 1))
        _error_bars(ax, x, finite, error, colour(index), 0.8 if len(ratios) <= 2 else 0.5)
        _arrows(ax, x, ratio, colour(index))


def _half_range(
    ratios: Sequence[FloatArray], errors: Sequence[FloatArray], grey: FloatArray, share: FloatArray
) -> float:
    """Distance from 1 within which the ratios of the bins that hold most of the reference's events lie.

    A bin counts as much as the events in it, so that a long tail of few events does not flatten what most of them do.
    """
    if not ratios:
        # Room for the reference's errors.
        ratios, errors = [np.where(np.isfinite(grey), 1.0, np.nan)], [grey]
    reach = 0.0
    for ratio, error in zip(ratios, errors, strict=True):
        known = np.isfinite(ratio) & np.isfinite(error) & (share > 0)
        distance, spread, weight = np.abs(ratio - 1)[known], np.hypot(error, grey)[known], share[known]
        if len(weight):
            reach = max(
                reach,
                _weighted_quantile(distance, weight, _RATIOS_SHOWN),
                _weighted_quantile(distance + spread, weight, _ERRORS_SHOWN),
            )
    return next((half for half in _RATIO_RANGES if reach <= half), _RATIO_RANGES[-1])


def _weighted_quantile(values: FloatArray, weights: FloatArray, level: float) -> float:
    """Smallest of the values that, with all below it, has this share of the weight."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, level * reached[-1]).clip(0, len(values) - 1)])


def _arrows(ax: Axes, x: FloatArray, ratio: FloatArray, ink: str) -> None:
    low, high = ax.get_ylim()
    for outside, marker, y in ((ratio > high, "^", 0.955), (ratio < low, "v", 0.045)):
        if outside.any():
            ax.plot(
                x[outside],
                np.full(int(outside.sum()), y),
                linestyle="none",
                marker=marker,
                markersize=4,
                color=ink,
                transform=ax.get_xaxis_transform(),
                zorder=4,
            )


def draw_deviation(panels: Sequence[Axes], bins: Bins, deviation: Deviation) -> None:
    """Shade the region where a sample differs most."""
    if bins.order is not None:
        # The bins of the figure are not those that were tested.
        return
    low, high = bins.edges[0], bins.edges[-1]
    lower = bins.drawn[0] if deviation.lower < low else deviation.lower
    upper = bins.drawn[-1] if deviation.upper > high else deviation.upper
    for ax in panels:
        ax.axvspan(lower, upper, facecolor=SHADE, edgecolor="none", zorder=0.5)
