"""HTML of a page: one file that needs nothing else, least of all the network."""

from __future__ import annotations

import base64
import functools
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import mlgen
from mlgen.errors import nearest
from mlgen.files import check_free, write_whole
from mlgen.report.page import (
    Badge,
    Cell,
    Code,
    Column,
    Details,
    Figure,
    FigureGrid,
    Item,
    KeyValues,
    Kind,
    Page,
    References,
    Remarks,
    Section,
    Status,
    Table,
    Text,
    Value,
)
from mlgen.report.quantities import number_text, p_value_text, with_error_text

if TYPE_CHECKING:
    import jinja2

_TEMPLATES: dict[type, str] = {
    Section: "section",
    Table: "table",
    Figure: "figure",
    FigureGrid: "grid",
    KeyValues: "key_values",
    Text: "text",
    Remarks: "remarks",
    References: "references",
    Details: "details",
}
_STATUSES = tuple(Status)
_DEEPEST_HEADING = 6
_PNG = b"\x89PNG\r\n\x1a\n"
_PIXELS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4}


def render(page: Page) -> str:
    """Return a page as HTML. The same page gives the same text.

    Raises:
        ValueError: Two things have one anchor, a cell leads to an anchor that is not there, or a figure is neither SVG
            nor PNG.
    """
    placing = _Placing()
    sections = placing.place(page.sections, level=2)
    script = _packaged("script.js")
    return _template().render(
        page=page,
        sections=sections,
        identifiers=placing.identifiers,
        style=_packaged("style.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        version=mlgen.__version__,
        Kind=Kind,
    )


def check_report(path: str | Path, *, force: bool = False) -> None:
    """Check, before any work, that a report can be written.

    Raises:
        OutputError: It exists already (and not `force`), is a directory, or in one that may not be written.
    """
    check_free(Path(path), force=force)


def write_report(page: Page, path: str | Path, *, force: bool = False) -> None:
    """Write a page under a temporary name and move it into place, so that a file is whole or not there.

    Args:
        page: The page.
        path: The file.
        force: Whether an existing file is replaced; of a link, what it leads to.

    Raises:
        OutputError: As `check_report`.
        WriteFailure: The disk is full, or the like.
    """
    path = Path(path)
    check_report(path, force=force)
    write_whole(path, render(page).encode(), force=force)


@dataclass(slots=True)
class _Placed:
    """An item at its place in the page: the template's name for it, its id, label, heading level and contents."""

    template: str
    item: Any
    id: str
    label: str
    level: int
    children: list[_Placed]


@dataclass(slots=True)
class _Placing:
    """Gives every item of a page an id and, where one is needed, a label, each unique in the page."""

    #: Ids by anchor.
    identifiers: dict[str, str] = field(default_factory=dict)
    _used: set[str] = field(default_factory=lambda: {"top", "content", "viewer", "viewer-title"})
    _labels: set[str] = field(default_factory=set)

    def place(self, items: Sequence[Item], level: int, within: str = "") -> list[_Placed]:
        return [self._place(item, level, within) for item in items]

    def _place(self, item: Item, level: int, within: str) -> _Placed:
        title = _title(item)
        anchor = getattr(item, "anchor", "")
        identifier = self._identifier(anchor or title or _TEMPLATES[type(item)])
        if anchor:
            if anchor in self.identifiers:
                raise ValueError(f"the anchor '{anchor}' is given twice")
            self.identifiers[anchor] = identifier
        children: list[_Placed] = []
        if isinstance(item, Section):
            children = self.place(item.items, level + 1, item.title)
        elif isinstance(item, FigureGrid):
            children = self.place(item.figures, level + 1, within)
        elif isinstance(item, Details) and not isinstance(item.content, str):
            children = self.place(item.content, level, within)
        label = self._label(title, within) if isinstance(item, Section | Table) else title
        return _Placed(_TEMPLATES[type(item)], item, identifier, label, min(level, _DEEPEST_HEADING), children)

    def _identifier(self, name: str) -> str:
        stem = re.sub(r"[^a-z0-9]+", "-", name.lower())[:60].strip("-") or "part"
        # Ids begin with a letter, so that they can be used in a style sheet as they are.
        return _unused(stem if stem[0].isalpha() else f"part-{stem}", "-", self._used)

    def _label(self, title: str, within: str) -> str:
        # Landmarks of one name could not be told apart by somebody who goes through a list of them.
        if title in self._labels and within:
            title = f"{title}, {within}"
        return _unused(title, ", ", self._labels)


def _unused(name: str, separator: str, used: set[str]) -> str:
    candidate, number = name, 1
    while candidate in used:
        number += 1
        candidate = f"{name}{separator}{number}"
    used.add(candidate)
    return candidate


def _title(item: Item) -> str:
    title = getattr(item, "caption", "") if isinstance(item, Table) else getattr(item, "title", "")
    return str(title)


@dataclass(frozen=True, slots=True)
class _Shown:
    """A value as the template writes it."""

    text: str
    #: What a table is sorted by: a number as JavaScript reads it, an empty string for none; None, by the text.
    key: str | None = None
    badge: Badge | None = None
    code: bool = False
    link: str = ""
    note: str = ""


def _shown(value: Value | Cell, column: Column | None = None) -> _Shown:
    """Write a value, in a column or alone."""
    cell = value if isinstance(value, Cell) else Cell(value)
    kind = column.kind if column else Kind.TEXT
    content = _plain(cell.value)
    badge: Badge | None = None
    key: str | None = None
    if isinstance(content, Badge):
        badge = Badge(content.status, cell.text or content.text or content.status.value)
        text, key = badge.text, str(_STATUSES.index(badge.status))
    elif content is None:
        text, key = "", "" if kind is not Kind.TEXT else None
    elif isinstance(content, bool):
        text, key = "yes" if content else "no", str(int(content))
    elif isinstance(content, int | float):
        key = "" if math.isnan(content) else str(content).replace("inf", "Infinity")
        text = "" if math.isnan(content) else _number(content, cell.error, kind, column.digits if column else 4)
    else:
        text = content.text if isinstance(content, Code) else content
    return _Shown(cell.text or text, key, badge, isinstance(content, Code), cell.link, cell.note)


def _plain(value: Any) -> str | int | float | Badge | Code | None:
    if isinstance(value, Status):
        return Badge(value)
    # NumPy's integers are none of Python's.
    plain: str | int | float | Badge | Code | None = value.item() if isinstance(value, np.generic) else value
    return plain


def _number(value: float, error: float, kind: Kind, digits: int) -> str:
    if kind is Kind.P_VALUE:
        return p_value_text(value)
    return number_text(value, digits) if math.isnan(error) else with_error_text(value, error)


def _identifier(anchor: str, identifiers: Mapping[str, str]) -> str:
    if anchor not in identifiers:
        raise ValueError(f"no item of the page has the anchor '{anchor}'{nearest(anchor, identifiers)}")
    return identifiers[anchor]


def _badge(status: Status | Badge) -> Badge:
    return status if isinstance(status, Badge) else Badge(status)


def _row_status(row: Sequence[Value | Cell], columns: Sequence[Column]) -> str:
    """Name of the status that the first status column gives a row, for the reader who wants only what differs."""
    for value, column in zip(row, columns, strict=True):
        content = value.value if isinstance(value, Cell) else value
        if column.kind is Kind.STATUS and isinstance(content, Status | Badge):
            return _badge(content).status.name.lower()
    return ""


@dataclass(frozen=True, slots=True)
class _Image:
    source: str
    width: int
    height: int
    file_name: str


def _image(figure: Figure, identifier: str) -> _Image:
    if isinstance(figure.image, str):
        media, suffix, content = "image/svg+xml", "svg", figure.image.encode()
        width, height = _svg_size(figure)
    else:
        media, suffix, content = "image/png", "png", figure.image
        width, height = _png_size(figure)
    source = f"data:{media};base64,{base64.b64encode(content).decode()}"
    return _Image(source, width, height, f"{identifier}.{suffix}")


def _svg_size(figure: Figure) -> tuple[int, int]:
    root = re.search(r"<svg\b[^>]*>", str(figure.image))
    if root is None:
        raise ValueError(f"figure '{figure.title}': the image is text, but no SVG")
    sizes = [
        re.search(rf'\s{name}\s*=\s*["\']\s*([0-9.]+(?:e[-+]?\d+)?)\s*([a-z]*)\s*["\']', root[0])
        for name in ("width", "height")
    ]
    if all(size is not None and size[2] in _PIXELS for size in sizes):
        width, height = (float(size[1]) * _PIXELS[size[2]] for size in sizes if size is not None)
    else:
        box = re.search(r'\sviewBox\s*=\s*["\']\s*[-0-9.]+[\s,]+[-0-9.]+[\s,]+([0-9.]+)[\s,]+([0-9.]+)', root[0])
        if box is None:
            raise ValueError(f"figure '{figure.title}': the SVG says neither its width and height nor its viewBox")
        width, height = float(box[1]), float(box[2])
    return max(1, round(width)), max(1, round(height))


def _png_size(figure: Figure) -> tuple[int, int]:
    content = figure.image
    if not isinstance(content, bytes) or not content.startswith(_PNG) or len(content) < 24:
        raise ValueError(f"figure '{figure.title}': the image is bytes, but no PNG")
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


def _packaged(name: str) -> str:
    return (resources.files("mlgen.report") / "template" / name).read_text(encoding="utf-8")


@functools.cache
def _template() -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mlgen.report", "template"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(shown=_shown, identifier=_identifier, badge=_badge, row_status=_row_status, image=_image)
    return environment.get_template("page.html.jinja")
