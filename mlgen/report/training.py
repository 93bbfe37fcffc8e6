"""The page of a training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from mlgen.model_record import ModelRecord
from mlgen.report.curves import curve_figures
from mlgen.report.page import (
    Badge,
    Card,
    Code,
    Column,
    Figure,
    FigureGrid,
    Item,
    KeyValues,
    Kind,
    Page,
    Remarks,
    Section,
    Status,
    Table,
    Text,
    Value,
    Verdict,
    json_details,
)

#: Figures that stand on top of the page when the training gives them.
_MAIN = (
    "median_absolute_delta",
    "pull_width",
    "coverage_68%",
    "validation_loss",
    "loss",
    "parameters",
    "steps",
    "redrawn_fraction",
)


def training_page(
    record: ModelRecord,
    *,
    model: str,
    sha256: str,
    exactness: str = "",
    trained: bool = True,
    figures: Sequence[Figure] = (),
) -> Page:
    """Return the page of a training.

    Args:
        record: What the model's folder says of it.
        model: Where the model is.
        sha256: Of the model, as outputs name it (`mlgen.store.model_sha256`).
        exactness: ``exact`` or ``approximate``, as the plugin says; empty when it is not known.
        trained: Whether it was trained now, or was there already.
        figures: Pictures besides the curves of the training, for instance of a validation.
    """
    report = record.report
    cards = [Card("trained on", record.trained_on.events, f"{record.stage}: events, points or showers")]
    cards += [Card(_spoken(name), report.figures[name]) for name in _MAIN if name in report.figures]
    return Page(
        title=f"Training of {record.plugin}",
        subtitle=f"{record.stage.replace('_', ' ')}, trained on {record.trained_on.source}",
        verdict=_verdict(record, trained, exactness),
        summary=cards,
        sections=(
            _course(record, figures),
            Section("Figures", (figures_table("Figures of the training", report.figures),)),
            _model(record, model, sha256, exactness),
            Section("Settings", (settings_list(record.settings),)),
            Section("Provenance", (json_details("Record of the model", _without_curves(record)),)),
        ),
    )


def figures_table(caption: str, figures: Mapping[str, Value]) -> Table:
    """Return a table of figures by name."""
    rows = [(_spoken(name), value) for name, value in figures.items()]
    return Table(caption, (Column("figure"), Column("value", Kind.NUMBER)), rows)


def settings_list(settings: Mapping[str, object]) -> KeyValues:
    """Return settings with their values as a card has them, not rounded."""
    return KeyValues({name: Code(str(value)) for name, value in settings.items()})


def _verdict(record: ModelRecord, trained: bool, exactness: str) -> Verdict:
    when = "Trained now" if trained else "Was there already, trained on these events with these settings"
    sentence = f"{when}, with seed {record.seed}."
    if exactness == "approximate":
        sentence += " A sample made with it is as good as what was learned: compare it with 'mlgen validate'."
    elif exactness == "exact":
        sentence += " A sample made with it is right whatever was learned; only its speed depends on that."
    count = len(record.report.remarks)
    if count:
        return Verdict(Badge(Status.ATTENTION, f"{count} {'remark' if count == 1 else 'remarks'}"), sentence)
    return Verdict(Badge(Status.INFO, "trained"), sentence)


def _course(record: ModelRecord, figures: Sequence[Figure]) -> Section:
    drawn = curve_figures(record.report.curves)
    items: list[Item] = [Remarks(record.report.remarks)]
    empty = [name for name, curve in record.report.curves.items() if not curve]
    if empty:
        items.append(Text((f"Nothing was recorded of: {', '.join(empty)}.",)))
    items.append(FigureGrid(drawn) if drawn else Text(("The training gave no curves.",)))
    if figures:
        items.append(FigureGrid(figures))
    return Section("Course of the training", items)


def _model(record: ModelRecord, model: str, sha256: str, exactness: str) -> Section:
    entries: dict[str, Value] = {
        "folder": Code(model),
        "SHA-256": Code(sha256),
        "plugin": f"{record.plugin} ({record.distribution} {record.version})",
        "stage": record.stage,
        "exactness": exactness or None,
        "training data": Code(record.trained_on.source),
        "SHA-256 of the training data": Code(record.trained_on.sha256),
        # Not a quantity: no thousands are set apart.
        "seed": Code(str(record.seed)),
        "mlgen": record.mlgen_version,
    }
    return Section("Model", (KeyValues(entries),))


def _without_curves(record: ModelRecord) -> dict[str, object]:
    content = dataclasses.asdict(record)
    content["report"].pop("curves")
    return content


def _spoken(name: str) -> str:
    return name.replace("_", " ")
