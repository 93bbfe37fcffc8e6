"""What a page of a report holds, in plain dataclasses; nothing here knows of HTML."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias


class Status(enum.Enum):
    """How something stands; the value is what a badge says when it is given no other words."""

    DIFFERS = "differs"
    ATTENTION = "attention"
    TOO_FEW = "too few events"
    INFO = "for information"
    AGREES = "agrees"


@dataclass(frozen=True, slots=True)
class Badge:
    """A status in words of its own: ``Badge(Status.INFO, "only in one sample")``."""

    status: Status
    text: str = ""


@dataclass(frozen=True, slots=True)
class Code:
    """Something to be copied rather than read, in fixed-width letters: a hash, a path, a command."""

    text: str


#: What may stand in a cell, a card or beside a key. None and NaN are shown as a dash.
Value: TypeAlias = str | int | float | Status | Badge | Code | None


@dataclass(frozen=True, slots=True)
class Cell:
    """A value with what goes with it.

    Args:
        value: What it is sorted by, and shown unless there is `text`.
        error: Of a number; both are shown to the error's second digit. NaN, there is none.
        text: What is shown instead of the value.
        link: Anchor of the section, table or figure of this page that it leads to.
        note: What a mouse that rests on it tells. Not for anything that must be read.
    """

    value: Value
    error: float = math.nan
    text: str = ""
    link: str = ""
    note: str = ""


class Kind(enum.Enum):
    """What the cells of a column are."""

    TEXT = "text"
    NUMBER = "number"
    P_VALUE = "p-value"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Args:
        title: Its head.
        kind: What its cells are.
        unit: In brackets after the title.
        description: What it means, in a sentence; shown when a mouse rests on the head, and in a list below the table.
        digits: Significant digits of numbers that have no error.
    """

    title: str
    kind: Kind = Kind.TEXT
    unit: str = ""
    description: str = ""
    digits: int = 4


@dataclass(frozen=True, slots=True)
class Table:
    """A table. The first column names the rows.

    Args:
        caption: What it is a table of.
        columns: Its columns.
        rows: One value for each column.
        sortable: Whether the reader can sort it.
        note: Below the table.
        anchor: Name by which a `Cell` refers to it.

    Raises:
        ValueError: A row has another length than `columns`.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Value | Cell]]
    sortable: bool = True
    note: str = ""
    anchor: str = ""

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows, 1):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table '{self.caption}': row {number} has {len(row)} cells, but there are {len(self.columns)}"
                    " columns"
                )


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture, which opens large.

    Args:
        image: The text of an SVG file, or the bytes of a PNG file.
        title: What is shown.
        alt: What somebody who cannot see it should know of it, in a sentence.
        caption: What to make of it.
        status: How what is shown stands.
        keywords: Words besides the title by which a filter finds it.
        anchor: Name by which a `Cell` refers to it.
    """

    image: str | bytes
    title: str
    alt: str
    caption: str = ""
    status: Status | Badge | None = None
    keywords: str = ""
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class FigureGrid:
    """Figures side by side, as many as the window has room for."""

    figures: Sequence[Figure]
    title: str = ""
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class KeyValues:
    """A list of names and their values."""

    entries: Mapping[str, Value | Cell]


@dataclass(frozen=True, slots=True)
class Text:
    """Paragraphs."""

    paragraphs: Sequence[str]


@dataclass(frozen=True, slots=True)
class Remarks:
    """What the reader should know, sentence by sentence; nothing is shown when there is nothing to say."""

    remarks: Sequence[str]
    title: str = "Remarks"


@dataclass(frozen=True, slots=True)
class Reference:
    """Something that was published, and where on the web it is; the address begins with ``https://``."""

    text: str
    url: str

    def __post_init__(self) -> None:
        if not self.url.startswith("https://"):
            raise ValueError(f"reference '{self.text}': '{self.url}' does not begin with https://")


@dataclass(frozen=True, slots=True)
class References:
    """What was published; the only links that lead out of the page."""

    references: Sequence[Reference]


@dataclass(frozen=True, slots=True)
class Details:
    """Something folded away under its title: items, or a text that is shown as it stands."""

    title: str
    content: str | Sequence[Item]
    opened: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page with a heading of its own; may hold sections.

    Args:
        title: The heading.
        items: What it holds.
        filterable: Whether it begins with a filter for its figures and the rows of its tables, by their names, and by
            whether they differ where their status says so.
        status: Beside the heading.
        anchor: Name by which a `Cell` refers to it.
    """

    title: str
    items: Sequence[Item] = ()
    filterable: bool = False
    status: Status | Badge | None = None
    anchor: str = ""


Item: TypeAlias = Section | Table | Figure | FigureGrid | KeyValues | Text | Remarks | References | Details


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the whole page comes to, in a word and in a sentence."""

    status: Status | Badge
    sentence: str


@dataclass(frozen=True, slots=True)
class Card:
    """One of the few figures on top of the page.

    Args:
        name: What it is.
        value: The figure.
        note: What to compare it with, in a few words.
    """

    name: str
    value: Value | Cell
    note: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A report.

    Args:
        title: What is reported on.
        subtitle: What was done with it.
        verdict: What it comes to.
        summary: The few figures that matter most.
        sections: The rest; each is in the table of contents.
    """

    title: str
    subtitle: str = ""
    verdict: Verdict | None = None
    summary: Sequence[Card] = ()
    sections: Sequence[Section] = ()


def json_details(title: str, content: Any) -> Details:
    """Fold away plain data, written as JSON; what JSON has no way to say is written as text."""
    return Details(title, json.dumps(content, indent=2, ensure_ascii=False, default=str))
