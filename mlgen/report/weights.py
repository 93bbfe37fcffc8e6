"""The weights that an unweighting started from, and those that it left, drawn."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mlgen.errors import OutputError
from mlgen.files import check_free, write_whole
from mlgen.report.page import Figure

#: Formats that a plot can be written in.
PLOT_FORMATS = ("png", "pdf", "svg")
#: Smallest weight that is drawn, in units of the largest: below, single points span any number of decades.
_SHOWN = 1e-8
#: Colours that the colour-blind can tell apart (Okabe and Ito), and the style that goes with each.
_BEFORE = (("positive weights", "#0072b2", "-"), ("negative weights", "#d55e00", "--"))
_AFTER = (("positive weights", "#009e73", "-"), ("negative weights", "#cc79a7", "--"))

FloatArray = npt.NDArray[np.float64]
#: Events with a positive and with a negative weight in each bin, each ``(bins,)``.
BySign: TypeAlias = tuple[FloatArray, FloatArray]


def weight_figure(
    edges: FloatArray,
    positive: FloatArray,
    negative: FloatArray,
    maximum: float,
    *,
    title: str = "Weights before the unweighting",
    maximum_label: str = "maximum weight",
    unit: str = "in the unit of the file",
    after: BySign | None = None,
    surrogate: bool = False,
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
        after: Likewise of what the unweighting left; None, it is not drawn.
        surrogate: Whether the candidates' weights are without their true matrix elements, which `maximum` is of.
    """
    stream = io.StringIO()
    _draw(stream, "svg", _Picture(edges, (positive, negative), maximum, maximum_label, unit, after, surrogate))
    counts = positive + negative
    total = float(counts.sum())
    if surrogate:
        sentences = [
            f"The weights of the {total:,.0f} candidates before it are without the true matrix element; the maximum of "
            f"{maximum:.4g} is one of the true weights."
        ]
    else:
        above = float(counts[edges[:-1] >= maximum].sum())
        sentences = [f"{above:,.0f} of {total:,.0f} events lie in bins above the maximum weight of {maximum:.4g}."]
    alt = f"Distribution of {total:,.0f} weights from {edges[0]:.3g} to {edges[-1]:.3g}; maximum {maximum:.4g}."
    left = _lowest_shown(edges, (positive, negative), after)
    small = float(counts[edges[1:] <= left].sum())
    if small:
        sentences.append(f"{small:,.0f} have weights below {left:.2g}, and are not drawn.")
    if after is not None:
        kept = after[0] + after[1]
        sentences.append(_what_is_left(edges, kept))
        alt += f" Beside it, that of the {float(kept.sum()):,.0f} weights after the unweighting."
    return Figure(stream.getvalue(), title=title, alt=alt, caption=" ".join(sentences))


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
    after: BySign | None = None,
    surrogate: bool = False,
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
    _draw(stream, kind, _Picture(edges, (positive, negative), maximum, maximum_label, unit, after, surrogate))
    write_whole(path, stream.getvalue(), force=force)


@dataclass(frozen=True, slots=True)
class _Picture:
    """What is drawn; as the arguments of `weight_figure`."""

    edges: FloatArray
    before: BySign
    maximum: float
    maximum_label: str
    unit: str
    after: BySign | None
    surrogate: bool


def _what_is_left(edges: FloatArray, kept: FloatArray) -> str:
    """Say how many events an unweighting left, and how much alike their weights are."""
    total = float(kept.sum())
    if not total:
        return "The unweighting left no events."
    largest = int(np.argmax(kept))
    events = "1 event" if total == 1 else f"{total:,.0f} events"
    return (
        f"The unweighting left {events}; {kept[largest] / total:.1%} of the weights lie in one bin, from "
        f"{edges[largest]:.4g} to {edges[largest + 1]:.4g}."
    )


def _lowest_shown(edges: FloatArray, *distributions: BySign | None) -> float:
    """The lower end of the axis: nothing that is below the largest weight of each distribution by `_SHOWN`."""
    largest = [edges[1:][counts > 0] for one in distributions if one is not None for counts in (one[0] + one[1],)]
    ends = [float(found[-1]) for found in largest if len(found)]
    return max(float(edges[0]), min(ends) * _SHOWN) if ends else float(edges[0])


def _draw(stream: IO[Any], kind: str, picture: _Picture) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure as Drawing

    edges, after = picture.edges, picture.after
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "mlgen"}):
        drawing = Drawing(figsize=(6.4, 4.2 if after is None else 4.8), layout="constrained")
        axes = drawing.add_subplot()
        for counts, (name, colour, style) in zip(picture.before, _BEFORE, strict=True):
            if counts.any():
                label = name if after is None else f"before: {name}"
                axes.stairs(counts, edges, color=colour, linestyle=style, linewidth=1.6, label=label)
        axes.axvline(picture.maximum, color="black", linestyle=":", linewidth=1.4, label=picture.maximum_label)
        for counts, (name, colour, style) in zip(after or (), _AFTER if after else (), strict=True):
            if counts.any():
                # What is left of most candidates is one weight: a single bin, which only shows when it is filled.
                axes.stairs(counts, edges, fill=True, color=colour, alpha=0.35, linewidth=0)
                axes.stairs(counts, edges, color=colour, linestyle=style, linewidth=2.2, label=f"after: {name}")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(left=_lowest_shown(edges, picture.before, after))
        axes.set_ylim(bottom=0.5)
        unit = picture.unit
        axes.set_xlabel(
            f"modulus of the weight, {unit}" if unit.startswith("in ") else f"modulus of the weight [{unit}]"
        )
        axes.set_ylabel("events per bin")
        if after is None:
            axes.legend(frameon=False)
        else:
            # Above the axes, since five entries are too many to be sure of room within; one column before, one after.
            title = "before: weights without the true matrix element" if picture.surrogate else None
            drawing.legend(loc="outside upper center", ncols=2, frameon=False, title=title)
        dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        drawing.savefig(stream, format=kind, metadata=dates.get(kind), dpi=150)
