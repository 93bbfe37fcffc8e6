"""How figures look: colours, numbers, labels and the legend."""

from __future__ import annotations

import contextlib
import functools
import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 5.2, 4.6  # inches
#: Right of the panels, in inches.
MARGIN = 0.21
#: Of everything that is not said to be smaller, in points.
FONT_SIZE = 9.5
INK, GREY, PALE, SHADE = "#1a1a1a", "#b8b8b8", "#f3f3f3", "#ffe9a8"
#: Okabe and Ito's colours, darkest first, then five that keep as far from all others: no two of them, nor the ink of
#: the reference, come nearer than 17 in CIELAB, also for people who see no red or no green (Machado, Oliveira and
#: Fernandes, IEEE Trans. Vis. Comput. Graph. 15, 1291 (2009)).
COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#332288", "#56b4e9", "#882255", "#7a21dd", "#661100",
)  # fmt: skip
#: Every colour has a line style of its own, for print in black and white.
DASHES: tuple[Any, ...] = (
    "-", (0, (5, 1.4)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (2.6, 2.6)),
    (0, (9, 1.2, 3, 1.2)), (0, (1, 3)), (0, (12, 1.2, 1.2, 1.2, 1.2, 1.2)),
)  # fmt: skip
#: Samples that one figure can show.
MOST_SAMPLES = len(COLOURS)

_STYLE: dict[str, Any] = {
    "font.size": FONT_SIZE,
    "axes.labelsize": 10.5,
    "axes.linewidth": 0.8,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.major.size": 5,
    "ytick.major.size": 5,
    "xtick.minor.size": 2.5,
    "ytick.minor.size": 2.5,
    "hatch.linewidth": 0.6,
    "svg.fonttype": "path",
    "svg.hashsalt": "mlgen",
    "savefig.dpi": 150,
}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Draw in the report's style, whatever the user's ``matplotlibrc`` says, and leave no trace of it."""
    import matplotlib as mpl

    # The backend is no matter of style, and setting it would import pyplot.
    settings: dict[Any, Any] = {key: value for key, value in mpl.rcParamsDefault.items() if "backend" not in key}
    with mpl.rc_context(settings | _STYLE):
        yield


def colour(index: int) -> str:
    """Colour of one of the samples, of which there are `MOST_SAMPLES` at most."""
    return COLOURS[index]


def dashes(index: int) -> Any:
    """Line style of one of the samples, of which there are `MOST_SAMPLES` at most."""
    return DASHES[index]


def number(value: float) -> str:
    """A tick's number: ``0.05``, ``−2``, ``10⁻⁷``.

    Plain text with superscripts, because mathtext takes longer to lay out than everything else in a figure.
    """
    if value == 0:
        return "0"
    sign, size = "−" if value < 0 else "", abs(value)
    exponent = math.floor(math.log10(size) + 1e-9)
    if -4 < exponent < 6:
        return f"{sign}{size:.6g}"
    mantissa = size / 10.0**exponent
    power = "10" + str(exponent).translate(_SUPERSCRIPTS)
    return f"{sign}{power}" if abs(mantissa - 1) < 1e-6 else f"{sign}{mantissa:.3g}×{power}"


def power_of_ten(value: float) -> str:
    """A tick's number on an axis of many decades: ``10⁻³``, and ``1`` and ``10`` in full."""
    exponent = round(math.log10(abs(value))) if value else 0
    if not math.isclose(abs(value), 10.0**exponent):
        return number(value)
    text = ("1", "10")[exponent] if exponent in (0, 1) else "10" + str(exponent).translate(_SUPERSCRIPTS)
    return ("−" if value < 0 else "") + text


def shorten(text: str, length: int) -> str:
    """Text of at most so many characters, with the middle left out: names differ at their ends."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


@functools.lru_cache(maxsize=1024)
def mathtext(label: str) -> str:
    r"""The label, with its dollar signs escaped when Matplotlib could not read it as mathtext.

    Labels come from the user's card; a typing error there must not cost the whole report. A letter stands for the sign
    of a sum: Matplotlib sets ``\sum`` so large and low that it lies on its neighbours, and its limits off the paper.
    """
    from matplotlib.mathtext import MathTextParser

    if "$" not in label:
        return label
    try:
        MathTextParser("path").parse(label)
    except ValueError:
        return label.replace(r"\$", "$").replace("$", r"\$")
    label = re.sub(r"\\sum(?![A-Za-z])\s*(?![_^\s])", r"\\Sigma\\,", label)
    return re.sub(r"\\sum(?![A-Za-z])", r"\\Sigma", label)


def bare_math(label: str) -> str | None:
    r"""What stands between the dollar signs of a label that is all mathtext, for use in a larger formula."""
    inner = label[1:-1]
    return inner if len(label) > 2 and label[0] == label[-1] == "$" and "$" not in inner else None


#: Exponents and indices, and what stands between brackets: a sign there does not make a sum of the whole.
_INSIDE = re.compile(r"[\^_]\s*(?:\{[^{}]*\}|\\[A-Za-z]+|.)|\{[^{}]*\}|\([^()]*\)")
_OPERATOR = re.compile(r"[-+*/=]|\\(?:Sigma|prod|int|times|cdot|pm|mp)(?![A-Za-z])")


def differential(inner: str) -> str:
    r"""Mathtext of ``d`` and a quantity, with brackets around one that an operator is part of."""
    outside, count = inner, 1
    while count:
        outside, count = _INSIDE.subn("", outside)
    inner = rf"({inner})" if _OPERATOR.search(outside) else inner
    return rf"\mathrm{{d}}{inner}"


@functools.lru_cache(maxsize=4096)
def text_width(text: str) -> float:
    """Width of plain text in the figures' usual font, in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family="DejaVu Sans", size=FONT_SIZE)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) if text else 0.0


def figure(height: float = HEIGHT) -> Figure:
    """An empty figure; pyplot does not know of it."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), facecolor="white")


def legend_rows(labels: list[str]) -> int:
    """Rows that `legend` needs."""
    return math.ceil(len(labels) / _columns(labels))


def _columns(labels: list[str]) -> int:
    return 1 if len(labels) <= 3 and max(map(len, labels), default=0) > _ONE_OF_TWO else 2


#: Characters that fit into half a figure's width, and into all of it.
_ONE_OF_TWO, _ONE_OF_ONE = 27, 66
#: Heights of a row of the legend and of the space around it, in inches.
LEGEND_ROW, HEADER = 0.185, 0.13


def legend(figure: Figure, entries: list[tuple[str, list[dict[str, Any]]]], left: float, right: float) -> None:
    """Write the legend above the axes, where it covers no data.

    Args:
        figure: The figure.
        entries: Each label with what stands before it: dicts with ``fill`` (and Rectangle's arguments), or with
            Line2D's.
        left: Left end, as a fraction of the figure.
        right: Right end.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    # A little into the margin: names of samples are long.
    left -= 0.3 / figure.get_size_inches()[0]
    labels = [label for label, _ in entries]
    columns = _columns(labels)
    rows = legend_rows(labels)
    width, height = figure.get_size_inches()
    handle, step = 0.28 / width, (right - left) / columns
    for index, (label, handles) in enumerate(entries):
        x = left + step * (index // rows)
        y = 1 - (0.14 + LEGEND_ROW * (index % rows)) / height
        for options in handles:
            artist: Artist
            if "fill" in options:
                artist = Rectangle(
                    (x, y - 0.05 / height), handle, 0.1 / height, transform=figure.transFigure, **options
                )
            else:
                ends = [x + handle / 2] if options.get("linestyle") == "none" else [x, x + handle]
                artist = Line2D(ends, [y] * len(ends), transform=figure.transFigure, **options)
            figure.add_artist(artist)
        figure.text(
            x + handle + 0.07 / width,
            y,
            shorten(label, _ONE_OF_ONE if columns == 1 else _ONE_OF_TWO),
            fontsize=8.2,
            va="center_baseline",
            parse_math=False,
        )
