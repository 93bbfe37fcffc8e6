"""Figures as SVG, PNG and PDF, with the same bytes each time."""

from __future__ import annotations

import functools
import io
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlgen.files import check_free, write_whole
from mlgen.validation.plot_style import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: What Matplotlib would say of itself and of the time.
_METADATA = {"svg": ("Creator", "Date", "Format", "Type"), "png": ("Software",), "pdf": ("CreationDate",)}


def to_svg(figure: Figure) -> str:
    """The figure as an ``<svg>`` element: no fonts, no date, no XML prologue, the same text every time.

    It is a third of the size that Matplotlib writes: no comments, ids that nothing refers to, repeated styles and
    digits below a hundredth of a point.

    Args:
        figure: The figure.
    """
    buffer = io.StringIO()
    _write(figure, buffer, "svg")
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r' d="([^"]*)"', _compact_path, text)
    text = re.sub(r' (x|y)="(-?[\d.]+)"', lambda match: f' {match[1]}="{_round(match[2])}"', text)
    # A letter of plain text.
    text = re.sub(r'(<use [^>]*)transform="translate\((-?[\d.]+) 0\)"', _letter, text)
    text = _with_styles_of_markers(text)
    text = text.replace("xlink:href", "href").replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    text = re.sub(r"(style=\"[^\"]*\")", lambda match: match[0].replace(": ", ":").replace("; ", ";"), text)
    text = re.sub(r">\s+<", "><", text)
    for _ in range(2):
        text = re.sub(r"<g>(<(?:use|path) [^<>]*/>|<g [^<>]*>(?:<use [^<>]*/>)*</g>)</g>", r"\1", text)
    text = text.replace("<g></g>", "")
    # Ids of the figure's own, so that several figures can stand in one HTML document.
    own = f"f{zlib.crc32(text.encode()):08x}"
    names = {name: f"{own}{index}" for index, name in enumerate(dict.fromkeys(re.findall(r' id="([^"]*)"', text)))}
    return re.sub(r'( id="| href="#|url\(#)([^")]*)', lambda match: match[1] + names[match[2]], text).strip()


def to_png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file, without a date."""
    return _bytes(figure, "png")


def save(figure: Figure, path: Path, *, force: bool = False) -> None:
    """Write the figure as PNG, PDF or SVG, as the name says; it appears under its name when it is whole.

    Args:
        figure: The figure.
        path: The file.
        force: Whether an existing file is replaced.

    Raises:
        ValueError: The name ends differently.
        OutputError: It exists already (and not `force`), or is in a directory that may not be written.
        WriteFailure: The disk is full, or the like.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in _METADATA:
        raise ValueError(f"a figure can be saved as .png, .pdf or .svg, not as {path.name!r}")
    # Drawing takes far longer than looking.
    check_free(path, force=force)
    write_whole(path, _bytes(figure, kind), force=force)


def _bytes(figure: Figure, kind: str) -> bytes:
    if kind == "svg":
        return f'<?xml version="1.0" encoding="utf-8"?>\n{to_svg(figure)}\n'.encode()
    buffer = io.BytesIO()
    _write(figure, buffer, kind)
    return buffer.getvalue()


def _write(figure: Figure, stream: Any, kind: str) -> None:
    with style():
        figure.savefig(stream, format=kind, metadata=dict.fromkeys(_METADATA[kind]))


def _with_styles_of_markers(text: str) -> str:
    """The style of ticks and markers once, in their definition, unless those of one shape have several."""
    styles: dict[str, set[str]] = {}
    for name, style_of_use in re.findall(r'<use xlink:href="#(m[^"]*)"[^>]*? style="([^"]*)"', text):
        styles.setdefault(name, set()).add(style_of_use)
    shared = {name: several.pop() for name, several in styles.items() if len(several) == 1}

    def define(path: re.Match[str]) -> str:
        if path[2] not in shared:
            return path[0]
        # A definition has the outline only.
        declarations = dict.fromkeys([*path[4].split("; "), *shared[path[2]].split("; ")])
        return f'{path[1]}{path[2]}{path[3]}{"; ".join(filter(None, declarations))}"'

    text = re.sub(r'(<path id=")(m[^"]*)("[^>]*? style=")([^"]*)"', define, text)
    return re.sub(
        r'(<use xlink:href="#(m[^"]*)"[^>]*?) style="[^"]*"',
        lambda use: use[1] if use[2] in shared else use[0],
        text,
    )


def _letter(use: re.Match[str]) -> str:
    return f'{use[1]}x="{float(use[2]):.0f}"'


def _compact_path(attribute: re.Match[str]) -> str:
    return f' d="{_compact(attribute[1])}"'


@functools.lru_cache(maxsize=512)
def _compact(path: str) -> str:
    """The same path in fewer characters; the histogram's steps become H and V. Letters come again and again."""
    written: list[str] = []
    x = y = last = ""
    for command, rest in re.findall(r"([MLQCz])([^MLQCz]*)", path):
        numbers = [_round(number) for number in rest.split()]
        if command == "L":
            if numbers == [x, y]:
                continue
            if numbers[1] == y:
                command, numbers, x = "H", numbers[:1], numbers[0]
            elif numbers[0] == x:
                command, numbers, y = "V", numbers[1:], numbers[1]
        if numbers and command not in "HV":
            x, y = numbers[-2:]
        # A command that comes again need not be written again, but what follows M would be taken for L.
        separator = " " if command == last and command not in "Mz" else command
        written.append(separator + " ".join(numbers))
        last = command
        if command == "z":
            x = y = ""
    return "".join(written)


def _round(number: str) -> str:
    if "." not in number:
        return number
    text = f"{float(number):.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
