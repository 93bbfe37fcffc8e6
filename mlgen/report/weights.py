"""The weights that an unweighting started from, drawn."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from mlgen.errors import OutputError
from mlgen.files import check_free, write_whole
from mlgen.report.page import Figure

#: Formats that a plot can be written in.
PLOT_FORMATS = ("png", "pdf", "svg")
#: Smallest weight that is drawn, in units of the largest: below, single points span any number of decades.
_SHOWN = 1e-8

FloatArray = npt.NDArray[np.float64]


def weight_figure(
    edges: FloatArray,
    positive: FloatArray,
    negative: FloatArray,
    maximum: float,
    *,
    title: str = "Weights before the unweighting",
    maximum_label: str = "maximum weight",
    unit: str = "in the unit of the file",
) -> Figure:
    """Draw the distribution of the candidates' weights with the maximum up to which they are unweighted.

    Args:
        edges: Edges of the bins in the modulus of the weight, ``(bins + 1,)``, rising geometrically.
        positive: Events with a positive weight in each bin, ``(bins,)``.
        negative: Events with a negative weight, ``(bins,)``.
        maximum: Largest weight that is unweighted, in the unit of the edges.
        title: What is shown.
        maximum_label: What the maximum is called.
        unit: Unit of the weights.
    """
    stream = io.StringIO()
    _draw(stream, "svg", edges, positive, negative, maximum, maximum_label, unit)
    total = float(positive.sum() + negative.sum())
    above = float((positive + negative)[edges[:-1] >= maximum].sum())
    caption = f"{above:,.0f} of {total:,.0f} events lie in bins above the maximum weight of {maximum:.4g}."
    small = float((positive + negative)[edges[1:] <= edges[-1] * _SHOWN].sum())
    if small:
        caption += f" {small:,.0f} have weights below {edges[-1] * _SHOWN:.2g}, and are not drawn."
    return Figure(
        stream.getvalue(),
        title=title,
        alt=f"Distribution of {total:,.0f} weights from {edges[0]:.3g} to {edges[-1]:.3g}; maximum {maximum:.4g}.",
        caption=caption,
    )


def check_plot(path: Path, *, force: bool = False) -> None:
    """Check, before any work, that a plot can be written.

    Raises:
        OutputError: Its suffix names no format of plots, or it exists already (and not `force`), or its directory is
            not there.
    """
    if path.suffix.lower().removeprefix(".") not in PLOT_FORMATS:
        raise OutputError(f"{path}: a plot is written as {', '.join(PLOT_FORMATS)}; choose one by the suffix")
    check_free(path, force=force)


def save_weights(
    path: Path,
    edges: FloatArray,
    positive: FloatArray,
    negative: FloatArray,
    maximum: float,
    *,
    maximum_label: str = "maximum weight",
    unit: str = "in the unit of the file",
    force: bool = False,
) -> None:
    """Draw as `weight_figure` does, into a file: png, pdf or svg, as its suffix says.

    Raises:
        OutputError: As `check_plot`.
        WriteFailure: The disk is full, or the like.
    """
    check_plot(path, force=force)
    stream = io.BytesIO()
    kind = path.suffix.lower().removeprefix(".")
    _draw(stream, kind, edges, positive, negative, maximum, maximum_label, unit)
    write_whole(path, stream.getvalue(), force=force)


def _draw(
    stream: IO[Any],
    kind: str,
    edges: FloatArray,
    positive: FloatArray,
    negative: FloatArray,
    maximum: float,
    maximum_label: str,
    unit: str,
) -> None:
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
        axes.axvline(maximum, color="black", linestyle=":", linewidth=1.4, label=maximum_label)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(left=max(edges[0], edges[-1] * _SHOWN))
        axes.set_ylim(bottom=0.5)
        axes.set_xlabel(
            f"modulus of the weight, {unit}" if unit.startswith("in ") else f"modulus of the weight [{unit}]"
        )
        axes.set_ylabel("events per bin")
        axes.legend(frameon=False)
        dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        drawing.savefig(stream, format=kind, metadata=dates.get(kind), dpi=150)
