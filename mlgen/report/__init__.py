"""Reports: one self-contained HTML file that every command of mlgen which reports something writes.

`mlgen.report.page` says what a page holds, in plain dataclasses; `mlgen.report.render` makes HTML of it. What goes onto
the page of a training and of a run stands in `mlgen.report.training` and `mlgen.report.run`; the page of a validation
in `mlgen.validation`.

Example:
    >>> from mlgen.report import Column, Kind, Page, Section, Status, Table, Verdict, render
    >>> columns = (Column("observable"), Column("p-value", Kind.P_VALUE), Column("verdict", Kind.STATUS))
    >>> table = Table("Observables", columns, rows=[("pT(mu-)", 0.43, Status.AGREES), ("HT", 2e-9, Status.DIFFERS)])
    >>> page = Page(
    ...     "surrogate.lhe.gz",
    ...     subtitle="compared with zjet.lhe.gz",
    ...     verdict=Verdict(Status.DIFFERS, "1 of 2 observables differs."),
    ...     sections=(Section("Observables", (table,), filterable=True),),
    ... )
    >>> html = render(page)
    >>> "2.0 × 10⁻⁹" in html
    True
"""

from __future__ import annotations

from mlgen.report.page import (
    Badge,
    Card,
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
    Reference,
    References,
    Remarks,
    Section,
    Status,
    Table,
    Text,
    Value,
    Verdict,
    json_details,
)
from mlgen.report.render import check_report, render, write_report

__all__ = [
    "Badge",
    "Card",
    "Cell",
    "Code",
    "Column",
    "Details",
    "Figure",
    "FigureGrid",
    "Item",
    "KeyValues",
    "Kind",
    "Page",
    "Reference",
    "References",
    "Remarks",
    "Section",
    "Status",
    "Table",
    "Text",
    "Value",
    "Verdict",
    "check_report",
    "json_details",
    "render",
    "write_report",
]
