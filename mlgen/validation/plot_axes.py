"""Axes of a figure: scales, ranges and ticks that suit the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlgen.validation.observable import FloatArray, Kind, Observable
from mlgen.validation.plot_bins import Bins, Content
from mlgen.validation.plot_style import FONT_SIZE, MARGIN, PALE, WIDTH, number, power_of_ten, shorten, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Largest over smallest content from which an axis is logarithmic.
_LOG_FROM = 50.0
#: Decades that a logarithmic axis shows at most; a lone event far down must not flatten the rest.
_MOST_DECADES = 9
#: Space between the labels of two ticks, as a fraction of the font's size.
_APART = 0.5


def x_axis(axes: Sequence[Axes], bins: Bins, observable: Observable) -> None:
    """Set the range and the ticks of axes above each other, and number the last of them."""
    from matplotlib.ticker import FixedLocator, MaxNLocator

    low, high = bins.edges[0], bins.edges[-1]
    ticks, minor = np.array([]), np.array([])
    if bins.categories:
        ticks = (bins.edges[:-1] + bins.edges[1:]) / 2
        length = 26 if len(bins.categories) <= 15 else 18
        labels = [shorten(name, length) for name in bins.categories]
    elif observable.periodic and abs(low + math.pi) < 0.05 and abs(high - math.pi) < 0.05:
        ticks, labels = math.pi * np.arange(-2, 3) / 2, ["−π", "−π/2", "0", "π/2", "π"]
        minor = math.pi * np.arange(-7, 8) / 8
        # The ends of the axis may be the rounded pi.
        ticks = np.clip(ticks, low, high)
    elif observable.unit == "rad" and low == 0 and abs(high - math.pi) < 0.05:
        ticks, labels = np.clip(math.pi * np.arange(5) / 4, low, high), ["0", "π/4", "π/2", "3π/4", "π"]
        minor = math.pi * np.arange(17) / 16
    elif bins.log:
        ticks, labels, minor = _log_ticks(low, high)
    else:
        whole = observable.kind is not Kind.CONTINUOUS
        locator = MaxNLocator(7, integer=whole, steps=[1, 2, 5, 10] if whole else [1, 2, 2.5, 5, 10])
        ticks = np.asarray(locator.tick_values(low, high))
        if not whole:
            step = ticks[1] - ticks[0]
            minor = np.arange(round((high - low) / step * 5) + 10) * step / 5 + ticks[0]
        labels = _numbers(ticks)
    # The axis's own length, in the points that labels are measured in.
    points = 72 * WIDTH * axes[-1].get_position().width
    ticks, labels = _place(bins, np.asarray(ticks, dtype=float), labels, observable.kind is Kind.INTEGER, points)
    minor = minor[(minor >= low) & (minor <= high)]
    for ax in axes:
        if bins.log:
            ax.set_xscale("log")
        ax.set_xlim(bins.drawn[0], bins.drawn[-1])
        ax.xaxis.set_major_locator(FixedLocator(list(ticks)))
        _minor_ticks(ax, minor, "x")
        ax.tick_params(labelbottom=ax is axes[-1])
        if bins.categories:
            ax.tick_params(axis="x", length=0)
        for present, where in ((bins.underflow, slice(0, 2)), (bins.overflow, slice(-2, None))):
            if present:
                ax.axvspan(*bins.drawn[where], facecolor=PALE, edgecolor="none", zorder=0)
    axes[-1].set_xticks(ticks, labels)
    if bins.overflow:
        _keep_on_paper(axes[-1], _overhang(bins, labels[-1], points))
    if bins.categories:
        several = len(bins.categories) > 6 or max(map(len, labels)) > 9
        for label in axes[-1].get_xticklabels():
            label.set(
                rotation=90 if several else 0,
                fontsize=7.5 if len(labels) > 15 else 8.5,
                parse_math=False,
            )


def _log_ticks(
    low: float, high: float, fine: float = 2.2, medium: float = 3.2
) -> tuple[FloatArray, list[str], FloatArray]:
    decades = math.log10(high / low)
    exponents = np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    powers: FloatArray = 10.0 ** exponents.astype(float)
    if decades < 0.7:
        from matplotlib.ticker import MaxNLocator

        ticks = np.asarray(MaxNLocator(6).tick_values(low, high))
        return ticks, _numbers(ticks), np.array([])
    every: FloatArray = np.outer(powers, np.arange(1.0, 10.0)).ravel()
    if decades <= medium:
        chosen = (1, 2, 5) if decades <= fine else (1, 3)
        ticks = np.outer(powers, np.asarray(chosen, dtype=float)).ravel()
        return ticks, [number(tick) for tick in ticks], every
    ticks = powers[:: max(1, math.ceil(decades / 8))]
    return ticks, [power_of_ten(tick) for tick in ticks], every if decades < 8 else powers


def _numbers(ticks: FloatArray) -> list[str]:
    # What rounding leaves of zero.
    step = abs(ticks[1] - ticks[0]) if len(ticks) > 1 else 1.0
    return [number(0.0 if abs(tick) < 1e-9 * step else round(float(tick), 12)) for tick in ticks]


def _place(
    bins: Bins, ticks: FloatArray, labels: list[str], whole: bool, points: float
) -> tuple[FloatArray, list[str]]:
    """Ticks within the range, with those of the columns; labels too near to theirs are left out."""
    low, high = float(bins.edges[0]), float(bins.edges[-1])
    slack = 1e-9 * (high - low)
    within = (ticks >= low - slack) & (ticks <= high + slack)
    labels = [label for label, inside in zip(labels, within, strict=True) if inside]
    ticks = ticks[within]
    scale = math.log if bins.log else float
    length = scale(bins.drawn[-1]) - scale(bins.drawn[0])
    ends = []
    first, last = (math.ceil(low), math.floor(high)) if whole else (float(f"{low:.4g}"), float(f"{high:.4g}"))
    if bins.underflow:
        ends.append((float(bins.centres[0]), "" if bins.categories else f"<{number(first)}"))
    if bins.overflow:
        ends.append((float(bins.centres[-1]), "other" if bins.categories else f">{number(last)}"))
    for centre, text in ends if not bins.categories else []:
        moved = _overhang(bins, text, points) if text.startswith(">") else 0.0
        away = [abs(scale(tick) - scale(centre)) / length * points - moved for tick in ticks]
        labels = [
            label if distance >= (text_width(text) + text_width(label)) / 2 + _APART * FONT_SIZE else ""
            for distance, label in zip(away, labels, strict=True)
        ]
    return np.append(ticks, [centre for centre, _ in ends]), labels + [text for _, text in ends]


def _overhang(bins: Bins, text: str, points: float) -> float:
    """How far the label of the overflow, centred, would reach over the paper's edge, in points."""
    if bins.categories:
        return 0.0
    scale = math.log if bins.log else float
    beside = (scale(bins.drawn[-1]) - scale(bins.centres[-1])) / (scale(bins.drawn[-1]) - scale(bins.drawn[0]))
    return max(0.0, text_width(text) / 2 - beside * points - 72 * MARGIN + 1.0)


def _keep_on_paper(ax: Axes, overhang: float) -> None:
    from matplotlib.transforms import offset_copy

    if overhang:
        label = ax.get_xticklabels()[-1]
        moved = offset_copy(label.get_transform(), ax.get_figure(root=True), x=-overhang, units="points")
        label.set_transform(moved)


def y_axis(ax: Axes, contents: Sequence[Content]) -> None:
    """Choose scale, range and ticks for these contents: linear, logarithmic, or symlog where some are negative."""
    from matplotlib.ticker import NullLocator

    def pool(parts: list[FloatArray]) -> FloatArray:
        values = np.concatenate([np.ravel(part) for part in parts]) if parts else np.array([])
        return np.asarray(values[np.isfinite(values) & (values != 0)])

    values = pool([content.values for content in contents])
    spread = pool([content.values + content.errors for content in contents])
    below = pool([np.minimum(content.values, content.values - content.errors) for content in contents])
    bands = pool([content.band for content in contents if content.band is not None])
    if not len(values):
        ax.set_ylim(0, 1)
        ax.yaxis.set_major_locator(NullLocator())
        return
    top = float(max(values.max(), np.max(bands, initial=-np.inf), spread.max(), 0.0))
    smallest = float(np.abs(values).min())
    largest = float(np.abs(values).max())
    wide = largest / smallest > _LOG_FROM
    if values.min() >= 0 and wide:
        bottom = max(smallest / 2, top * 10.0**-_MOST_DECADES)
        top *= (top / bottom) ** 0.06
        ax.set_yscale("log")
        ax.set_ylim(bottom, top)
        ticks, labels, minor = _log_ticks(bottom, top, 1.7, 1.7)
    elif values.min() < 0 and wide and -values.min() < largest / _LOG_FROM:
        # Linear up to the size of the negative contents, where the statistical noise of signed weights lives.
        threshold = 10.0 ** math.ceil(math.log10(-values.min()))
        ax.set_yscale("symlog", linthresh=threshold, linscale=0.6)
        low = min(float(values.min()), float(np.min(bands, initial=0)))
        ax.set_ylim(max(1.5 * low, -1.2 * threshold), top * (top / threshold) ** 0.06)
        positive = 10.0 ** np.arange(round(math.log10(threshold)), math.ceil(math.log10(top)) + 1)
        positive = positive[:: max(1, math.ceil(len(positive) / 6))]
        ticks = np.concatenate([[-threshold, 0.0], positive])
        labels, minor = [power_of_ten(tick) for tick in ticks], np.array([])
        ax.axhline(0, color="0.5", linewidth=0.6, zorder=1)
    else:
        low = float(min(0.0, below.min() if values.min() < 0 else 0.0, np.min(bands, initial=0)))
        ax.set_ylim(1.12 * low, low + 1.1 * (top - low) if top > low else 1.0)
        ticks, labels, minor = _linear_ticks(ax)
        if low < 0:
            ax.axhline(0, color="0.5", linewidth=0.6, zorder=1)
    low, high = ax.get_ylim()
    keep = [low <= tick <= high for tick in ticks]
    ax.set_yticks(
        [tick for tick, inside in zip(ticks, keep, strict=True) if inside],
        [label for label, inside in zip(labels, keep, strict=True) if inside],
    )
    _minor_ticks(ax, minor[(minor > low) & (minor < high)], "y")


def _minor_ticks(ax: Axes, ticks: FloatArray, axis: Literal["x", "y"]) -> None:
    """Minor ticks as two artists: Matplotlib's own, of five artists each, take half the time of a figure."""
    from matplotlib.lines import Line2D
    from matplotlib.markers import TICKDOWN, TICKLEFT, TICKRIGHT, TICKUP
    from matplotlib.ticker import NullLocator

    (ax.xaxis if axis == "x" else ax.yaxis).set_minor_locator(NullLocator())
    if not len(ticks):
        return
    across = ax.get_xaxis_transform() if axis == "x" else ax.get_yaxis_transform()
    markers: tuple[Any, Any] = (TICKUP, TICKDOWN) if axis == "x" else (TICKRIGHT, TICKLEFT)
    for side, marker in enumerate(markers):
        ends = np.full(len(ticks), float(side))
        where = (ticks, ends) if axis == "x" else (ends, ticks)
        # Not add_line, which would look at the data's limits.
        ax.add_artist(
            Line2D(
                *where,
                linestyle="none",
                marker=marker,
                markersize=2.5,
                color="k",
                markeredgewidth=0.6,
                transform=across,
            )
        )


def _linear_ticks(ax: Axes) -> tuple[FloatArray, list[str], FloatArray]:
    from matplotlib.ticker import MaxNLocator

    low, high = ax.get_ylim()
    ticks = np.asarray(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    exponent = math.floor(math.log10(max(abs(low), abs(high))))
    # One factor above the axis, not zeros on each number.
    factor = 0 if -2 <= exponent < 4 else exponent
    if factor:
        text = f"×{power_of_ten(10.0**factor)}"
        ax.text(-0.012, 1.02, text, transform=ax.transAxes, fontsize=8.5, ha="right", va="bottom")
    step = ticks[1] - ticks[0]
    minor = ticks[0] + step / 5 * np.arange(5 * len(ticks))
    return ticks, _numbers(ticks / 10.0**factor), minor
