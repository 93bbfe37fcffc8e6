"""All observables of a comparison at one glance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgen.validation.plot_style import (
    COLOURS,
    GREY,
    LEGEND_ROW,
    WIDTH,
    figure,
    legend,
    legend_rows,
    power_of_ten,
    shorten,
    style,
)
from mlgen.validation.record import Comparison, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: p-values below this are drawn at the edge: how much smaller they are does not matter to anyone.
_SMALLEST = 1e-12
#: Observables that are shown, those with the smallest p-values.
MOST_ROWS = 18
_ROW = 0.19  # inches


def summary_figure(comparison: Comparison, significance: float | None = None) -> Figure:
    """The smallest p-values of a comparison, by name, beside those expected when nothing differs.

    The k-th smallest of n p-values then lies within a grey bar 95 times in 100. This holds for independent
    observables; those of one sample are correlated, so that they tend to leave their bars together.

    Args:
        comparison: The comparison.
        significance: Chance of flagging anything when nothing differs; None draws no line there.

    Returns:
        The figure, 5.2 inches wide.
    """
    from scipy.special import betaincinv

    tested = sorted(
        (result.test.p_value, result.observable.name, result.verdict is Verdict.DIFFERS)
        for result in comparison.observables
        if result.test is not None and result.test.ndf > 0 and math.isfinite(result.test.p_value)
    )
    number, rows = len(tested), min(len(tested), MOST_ROWS)
    found = np.array([p_value for p_value, _, _ in tested[:rows]])
    differs = np.array([flag for _, _, flag in tested[:rows]], dtype=bool)
    agree = sum(not flag for _, _, flag in tested)
    dot = {"linestyle": "none", "marker": "o", "markersize": 5}
    entries: list[tuple[str, list[dict[str, Any]]]] = [
        (f"agrees ({agree})", [{**dot, "color": COLOURS[0]}]),
        (f"differs ({number - agree})", [{**dot, "color": COLOURS[1], "marker": "D"}]),
        ("expected if nothing differs", [{"fill": True, "facecolor": GREY, "edgecolor": "none"}]),
    ]
    if significance is not None and number:
        entries.append((f"limit ({significance:g} for them all)", [{"color": "0.2", "linestyle": (0, (4, 2))}]))
    with style():
        above, below = 0.16 + LEGEND_ROW * legend_rows([label for label, _ in entries]), 0.5
        height = above + below + _ROW * max(rows, 3)
        drawn = figure(height)
        left, right = 1.62 / WIDTH, 1 - 0.24 / WIDTH
        ax = drawn.add_axes((left, below / height, right - left, 1 - (above + below) / height))
        y = np.arange(rows)
        expected = found.min(initial=1.0), 0.3 / (number + 1), (significance or 1.0) / max(number, 1)
        edge = max(_SMALLEST, 10.0 ** math.floor(math.log10(max(min(expected), 1e-300)) - 0.2))
        ax.set_xscale("log")
        ax.set_xlim(1.0, edge)
        ax.set_ylim(max(rows, 3) - 0.5, -0.5)
        lower, upper = (betaincinv(y + 1, number - y, level) for level in (0.025, 0.975))
        ax.barh(y, upper - lower, left=lower, height=0.5, color=GREY, zorder=1)
        for chosen, marker, ink in ((~differs, "o", COLOURS[0]), (differs, "D", COLOURS[1])):
            inside, outside = chosen & (found >= edge), chosen & (found < edge)
            ax.plot(found[inside], y[inside], linestyle="none", marker=marker, markersize=5, color=ink)
            ax.plot(
                np.full(int(outside.sum()), edge * 1.6),
                y[outside],
                linestyle="none",
                marker=">",
                markersize=5.5,
                color=ink,
            )
        if significance is not None and number:
            # Holm's step for the smallest one.
            ax.axvline(significance / number, color="0.2", linestyle=(0, (4, 2)), linewidth=1)
        decades = -round(math.log10(edge))
        ticks = 10.0 ** -np.arange(0, decades + 1, max(1, math.ceil(decades / 6)))
        ax.set_xticks(ticks, [power_of_ten(tick) for tick in ticks])
        ax.set_yticks(y, [shorten(name, 23) for _, name, _ in tested[:rows]], fontsize=8.5, parse_math=False)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel("p-value" if rows == number else f"p-value (the smallest {rows} of {number})", loc="right")
        if not number:
            ax.text(0.5, 0.5, "no observable could be tested", transform=ax.transAxes, ha="center", va="center")
        legend(drawn, entries, 0.6 / WIDTH, right)
    return drawn
