"""The page of a run: which stages were replaced, what the unweighting did, what came out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

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
    Remarks,
    Section,
    Status,
    Table,
    Text,
    Value,
    Verdict,
    json_details,
)
from mlgen.report.quantities import with_error_text
from mlgen.report.training import settings_list

#: What the figures of an unweighting mean, for a reader who does not know them by heart.
_MEANINGS = {
    "candidates": "events looked at",
    "accepted": "events kept",
    "efficiency": "share of the candidates that was kept",
    "maximum_weight": "largest weight that is still unweighted, in the unit of the event file",
    "overweight_events": "kept events whose weight exceeded the maximum; they keep the excess as a weight",
    "overweight_share": "share of the cross section that is in their excess",
    "largest_overweight": "largest ratio of a weight to the maximum",
    "negative_fraction": "share of the kept events that have a negative weight",
    "effective_sample_size": "number of unit-weight events with the same statistical power, (Σw)² / Σw² (Kish)",
}
#: Likewise of the sampling of phase space.
_SAMPLING_MEANINGS = {
    "integrand_calls": "points that were evaluated for the training",
    "efficiency_at_0.1%_overweight_share": "share of the candidates that an unweighting would keep, with 0.1 % of the "
    "cross section in overweights",
    "efficiency_at_largest_weight": "the same without overweights",
}
_UNWEIGHTING = "unweighting"


class StageLike(Protocol):
    """What one stage did, as `mlgen.chain.report.StageResult` says it."""

    @property
    def stage(self) -> str:
        """Name of the stage, as in the card."""

    @property
    def plugin(self) -> str:
        """Name of the plugin."""

    @property
    def version(self) -> str:
        """Version of the plugin's package."""

    @property
    def distribution(self) -> str:
        """The plugin's package."""

    @property
    def exactness(self) -> str:
        """``exact`` or ``approximate``."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Settings in force."""

    @property
    def trained(self) -> bool:
        """Whether its model was trained in this run."""

    @property
    def model(self) -> str:
        """Folder of its model; empty, it has none."""

    @property
    def model_sha256(self) -> str:
        """SHA-256 of its model."""

    @property
    def figures(self) -> Mapping[str, float | int | str]:
        """What it says of itself in numbers."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What it says of itself in sentences."""


class RunLike(Protocol):
    """What a run did, as `mlgen.chain.report.RunResult` says it."""

    @property
    def events(self) -> int:
        """Events in each output."""

    @property
    def cross_section(self) -> float:
        """Of the output, in pb; NaN when it is not known."""

    @property
    def cross_section_error(self) -> float:
        """Likewise."""

    @property
    def exactness(self) -> str:
        """Of the whole chain."""

    @property
    def outputs(self) -> Sequence[Path]:
        """The files."""

    @property
    def stages(self) -> Sequence[StageLike]:
        """One entry for each replaced stage."""

    @property
    def skipped(self) -> int:
        """Input events that could not be read."""

    @property
    def seconds(self) -> Mapping[str, float]:
        """Wall time by piece of work."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the user should know."""


def run_page(
    result: RunLike, provenance: Mapping[str, Any], *, title: str = "", figures: Iterable[Figure] = ()
) -> Page:
    """Return the page of a run.

    Args:
        result: What the run did.
        provenance: What went into its outputs (`mlgen.chain.report.provenance`).
        title: What is reported on; the outputs' names when left out.
        figures: Pictures of the run, for instance of its weights.
    """
    figures = tuple(figures)
    sections = [_outcome(result)]
    if figures:
        sections.append(Section("Pictures", (FigureGrid(figures),)))
    sections += [stage_section(stage) for stage in result.stages]
    sections += [Section("Time", (times_table(result.seconds),)), provenance_section(provenance)]
    return Page(
        title=title or ", ".join(path.name for path in result.outputs) or "Run of mlgen",
        subtitle=_subtitle(result, provenance),
        verdict=_verdict(result),
        summary=_summary(result),
        sections=sections,
    )


def _subtitle(result: RunLike, provenance: Mapping[str, Any]) -> str:
    stages = ", ".join(f"{stage.stage.replace('_', ' ')} by {stage.plugin}" for stage in result.stages)
    inputs = ", ".join(str(name) for name in provenance.get("inputs", ()))
    reaction = provenance.get("process", {}).get("reaction", "")
    parts = (reaction, stages or "no stage replaced", f"from {inputs}" if inputs else "")
    return "; ".join(part for part in parts if part)


def _verdict(result: RunLike) -> Verdict:
    if result.exactness == "exact":
        return Verdict(
            Badge(Status.AGREES, "exact"),
            "The sample is right whatever a network learned; only the speed depends on it.",
        )
    approximate = [stage.plugin for stage in result.stages if stage.exactness != "exact"]
    return Verdict(
        Badge(Status.ATTENTION, result.exactness),
        f"The sample is as good as what {' and '.join(approximate) or 'a network'} learned: compare it with"
        " 'mlgen validate'.",
    )


def _summary(result: RunLike) -> list[Card]:
    cards = [Card("events", result.events, "in each output")]
    error = result.cross_section_error if result.cross_section_error > 0 else math.nan
    cards.append(Card("cross section", _cross_section(result.cross_section, error)))
    figures = next((stage.figures for stage in result.stages if stage.stage == _UNWEIGHTING), {})
    for name, note in (("efficiency", "kept of all candidates"), ("effective_sample_size", "unit-weight events")):
        if name in figures:
            cards.append(Card(f"unweighting {name}" if name == "efficiency" else _spoken(name), figures[name], note))
    if result.seconds:
        cards.append(Card("time", Cell(sum(result.seconds.values()), text=_duration(sum(result.seconds.values())))))
    if result.skipped:
        cards.append(Card("skipped", result.skipped, "input events that could not be read"))
    return cards


def _cross_section(value: float, error: float) -> Value | Cell:
    return Cell(value, error, text=f"{with_error_text(value, error)} pb") if math.isfinite(value) else "unknown"


def _outcome(result: RunLike) -> Section:
    stages = Table(
        "Replaced stages",
        (
            Column("stage"),
            Column("plugin"),
            Column("sample is", Kind.STATUS, description="exact: right whatever was learned; approximate: as learned"),
            Column("model"),
            Column("SHA-256 of the model"),
        ),
        [
            (
                stage.stage,
                f"{stage.plugin} ({stage.distribution} {stage.version})",
                _exactness(stage.exactness),
                Code(stage.model) if stage.model else None,
                Code(stage.model_sha256) if stage.model_sha256 else None,
            )
            for stage in result.stages
        ],
    )
    outputs: list[Item] = [Remarks(result.remarks)]
    if result.stages:
        outputs.append(stages)
    outputs.append(KeyValues({f"output {number}": Code(str(path)) for number, path in enumerate(result.outputs, 1)}))
    return Section("Outcome", outputs)


def stage_section(stage: StageLike) -> Section:
    """Return the section of one stage: its figures, settings and remarks."""
    items: list[Item] = [Remarks(stage.remarks)]
    if stage.model:
        items.append(Text((f"The model was {'trained in this run' if stage.trained else 'there already'}.",)))
    if stage.figures:
        rows = [
            (_spoken(name), value, (_MEANINGS | _SAMPLING_MEANINGS).get(name)) for name, value in stage.figures.items()
        ]
        columns = [Column("figure"), Column("value", Kind.NUMBER), Column("meaning")]
        if not any(row[2] for row in rows):
            items.append(Table("Figures", columns[:2], [row[:2] for row in rows]))
        else:
            items.append(Table("Figures", columns, rows))
    if stage.settings:
        items.append(Details("Settings", (settings_list(stage.settings),)))
    return Section(f"{_spoken(stage.stage).capitalize()}: {stage.plugin}", items, status=_exactness(stage.exactness))


def times_table(seconds: Mapping[str, float]) -> Table:
    """Return a table of wall times by piece of work."""
    total = sum(seconds.values())
    rows = [
        (work, Cell(value, text=f"{value:,.2f}"), Cell(value / total if total else math.nan, text=_share(value, total)))
        for work, value in seconds.items()
    ]
    return Table("Wall time", (Column("work"), Column("time", Kind.NUMBER, "s"), Column("share", Kind.NUMBER)), rows)


def provenance_section(provenance: Mapping[str, Any]) -> Section:
    """Return the section that says what made the outputs."""
    content = {name: value for name, value in provenance.items() if name != "card"}
    entries: dict[str, Value] = {
        name: Code(str(provenance[name])) for name in ("program", "version", "command", "seed") if name in provenance
    }
    folded = [json_details("Record in the outputs", content)]
    if provenance.get("card"):
        folded.append(Details("Card", str(provenance["card"])))
    return Section("Provenance", (KeyValues(entries), *folded))


def _exactness(exactness: str) -> Badge:
    return Badge(Status.AGREES if exactness == "exact" else Status.ATTENTION, exactness)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _share(value: float, total: float) -> str:
    return f"{value / total:.0%}" if total else ""


def _spoken(name: str) -> str:
    return name.replace("_", " ")
