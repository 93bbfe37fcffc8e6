"""The weights that an unweighting started from, drawn."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt

from mlgen.report.page import Figure

FloatArray = npt.NDArray[np.float64]


def weight_figure(edges: FloatArray, positive: FloatArray, negative: FloatArray, maximum: float) -> Figure:
    """Draw the distribution of the candidates' weights with the maximum up to which they are unweighted.

    Args:
        edges: Edges of the bins in the modulus of the weight, ``(bins + 1,)``, rising geometrically.
        positive: Events with a positive weight in each bin, ``(bins,)``.
        negative: Events with a negative weight, ``(bins,)``.
        maximum: Largest weight that is unweighted, in the unit of the edges.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure as Drawing

    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "mlgen"}):
        drawing = Drawing(figsize=(6.4, 4.2), layout="constrained")
        axes = drawing.add_subplot()
        for counts, colour, style, label in (
            (positive, "#0072b2", "-", "positive weights"),
            (negative, "#d55e00", "--", "negative weights"),
        ):
            if counts.any():
                axes.stairs(counts, edges, color=colour, linestyle=style, linewidth=1.6, label=label)
        axes.axvline(maximum, color="black", linestyle=":", linewidth=1.4, label="maximum weight")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.5)
        axes.set_xlabel("modulus of the weight, in the unit of the file")
        axes.set_ylabel("events per bin")
        axes.legend(frameon=False)
        stream = io.StringIO()
        drawing.savefig(stream, format="svg", metadata={"Date": None})
    total = float(positive.sum() + negative.sum())
    above = float((positive + negative)[edges[:-1] >= maximum].sum())
    return Figure(
        stream.getvalue(),
        title="Weights before the unweighting",
        alt=f"Distribution of {total:,.0f} weights from {edges[0]:.3g} to {edges[-1]:.3g}; maximum {maximum:.4g}.",
        caption=f"{above:,.0f} of {total:,.0f} events lie in bins above the maximum weight of {maximum:.4g}.",
    )
