"""Curves of a training, drawn."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mlgen.report.page import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = npt.NDArray[np.float64]

#: Positive curves that span more than this factor are drawn on a logarithmic axis.
LOGARITHMIC_ABOVE = 20.0
#: Beyond this, axes overflow; a training that comes here has diverged.
LARGEST = 1e100
#: Colours that people with colour-blindness tell apart (Petroff, arXiv:2107.02270), and lines that everybody does.
_COLOURS = ("#3f90da", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300")
_LINES = ("-", "--", "-.", ":")
_VALIDATION = "validation_"


def curve_figures(curves: Mapping[str, Sequence[float]]) -> list[Figure]:
    """Draw the curves of a training, each beside its validation in one figure.

    ``loss`` and ``validation_loss`` share a figure, as do ``loss.0`` and ``validation_loss.0``; other curves have one
    of their own, because they may be on another scale. Empty curves are left out.
    """
    panels: dict[str, dict[str, Sequence[float]]] = {}
    for name, curve in curves.items():
        if len(curve):
            panels.setdefault(name.removeprefix(_VALIDATION), {})[name] = curve
    return [_figure(name, panel) for name, panel in panels.items()]


def curves_figure(curves: Mapping[str, Sequence[float]]) -> str:
    """Return an SVG of curves over the training, by name; a logarithmic axis where the values ask for one."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Drawing

    # Paths instead of fonts look the same everywhere; the salt and the missing date make the same curves the same file.
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "mlgen"}):
        drawing = Drawing(figsize=(6.4, 4.2), layout="constrained")
        axes = drawing.add_subplot()
        for number, (name, curve) in enumerate(curves.items()):
            _draw(axes, number, name, np.asarray(curve, dtype=np.float64))
        axes.set_xlim(0, 100)
        axes.set_xlabel("share of the training [%]")
        if logarithmic(curves):
            axes.set_yscale("log")
        axes.grid(alpha=0.3, linewidth=0.6)
        axes.legend(frameon=False)
        stream = io.StringIO()
        drawing.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def logarithmic(curves: Mapping[str, Sequence[float]]) -> bool:
    """Whether the values are all positive, and span more than a linear axis can show."""
    values = np.concatenate([np.asarray(curve, dtype=np.float64) for curve in curves.values()])
    values = values[_drawable(values)]
    return bool(len(values) and values.min() > 0 and values.max() > LOGARITHMIC_ABOVE * values.min())


def _draw(axes: Axes, number: int, name: str, curve: FloatArray) -> None:
    values = np.where(_drawable(curve), curve, np.nan)
    # The curves of one training may be kept at different steps, but all begin and end with it.
    share = np.linspace(0, 100, len(values)) if len(values) > 1 else np.full(len(values), 100.0)
    axes.plot(
        share,
        values,
        _LINES[number % len(_LINES)],
        color=_COLOURS[number % len(_COLOURS)],
        linewidth=1.6,
        marker="o" if len(values) == 1 else None,
        # A dollar sign would begin a formula, and a name need not be one.
        label=_spoken(name).replace("$", r"\$"),
    )


def _figure(name: str, panel: Mapping[str, Sequence[float]]) -> Figure:
    ends, left_out = [], 0
    for label, curve in panel.items():
        values = np.asarray(curve, dtype=np.float64)
        finite = values[_drawable(values)]
        left_out += len(values) - len(finite)
        if len(finite):
            ends.append(f"{_spoken(label)} from {finite[0]:.4g} to {finite[-1]:.4g}, at best {finite.min():.4g}")
    caption = "; ".join(ends)
    if left_out:
        caption += f"{'; ' if caption else ''}values too large, too small or not finite, and not drawn: {left_out:,}"
    title = _spoken(name)
    return Figure(
        curves_figure(panel),
        title=title[:1].upper() + title[1:],
        alt=f"Curve of the training: {caption}.",
        caption=f"{caption[:1].upper()}{caption[1:]}.",
    )


def _drawable(values: FloatArray) -> npt.NDArray[np.bool_]:
    size = np.abs(values)
    drawable: npt.NDArray[np.bool_] = (size < LARGEST) & ((size > 1 / LARGEST) | (size == 0))
    return drawable


def _spoken(name: str) -> str:
    return name.replace("_", " ").replace(".", " ")
