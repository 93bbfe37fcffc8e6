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
from mlgen.report.quantities import number_text, with_error_text
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
    "negative_weight_cost": "how many times as many events the same relative error takes as without negative weights: "
    "1/(1−2f)² for a fraction f of them",
    "true_evaluations": "true weights that were computed, those in preparation of the unweighting among them",
    "first_stage_efficiency": "share of the candidates that the surrogate's weight lets pass",
    "second_stage_efficiency": "share of these that the true weight accepts",
    "hit_or_miss_efficiency": "share of the candidates that a hit-or-miss on their true weights would keep, with as "
    "large an overweight share",
    "mean_weight": "mean of the candidates' true weights: the cross section, in pb",
    "mean_weight_error": "its standard error",
    "gain_over_hit_or_miss": "time of a hit-or-miss on the same candidates over the time of this unweighting, for as "
    "many effective events on this machine",
    "pays_from_true_weight_us": "cost of a true weight from which on this unweighting is faster than the hit-or-miss",
    "true_weight_us": "time of a true weight: the matrix elements of a point",
    "surrogate_us": "time of the surrogate for a candidate",
    "drawing_us": "time to draw a candidate and map it to phase space, without any weight",
    "event_us": "time of an effective event, from its candidates to its acceptance",
    "hit_or_miss_event_us": "time of an event of the hit-or-miss, from the times of its parts",
}
#: Likewise of the sampling of phase space.
_SAMPLING_MEANINGS = {
    "integrand_calls": "points that were evaluated for the training",
    "efficiency_at_0.1%_overweight_share": "share of the candidates that an unweighting would keep, with 0.1 % of the "
    "cross section in overweights",
    "efficiency_at_largest_weight": "the same without overweights",
}
_UNWEIGHTING = "unweighting"
#: Figures of the gain for other costs of a true weight, in units of what a candidate costs without it.
_GAIN_AT = "gain_at_cost_ratio_"
#: End of the names of times in microseconds.
_MICROSECONDS = "_us"


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
    result: RunLike,
    provenance: Mapping[str, Any],
    *,
    title: str = "",
    figures: Iterable[Figure] = (),
    tables: Iterable[Table] = (),
) -> Page:
    """Return the page of a run.

    Args:
        result: What the run did.
        provenance: What went into its outputs (`mlgen.chain.report.provenance`).
        title: What is reported on; the outputs' names when left out.
        figures: Pictures of the run, for instance of its weights.
        tables: Tables of what the run met, for instance of the particles in front of a calorimeter.
    """
    figures = tuple(figures)
    sections = [_outcome(result)]
    if figures:
        sections.append(Section("Pictures", (FigureGrid(figures),)))
    sections += [stage_section(stage, corrected=result.exactness == "exact") for stage in result.stages]
    if found := tuple(tables):
        sections.append(Section("Particles", found))
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
    approximate = [stage.plugin for stage in result.stages if stage.exactness != "exact"]
    if result.exactness == "exact":
        sentence = "The sample is right whatever a network learned; only the speed depends on it."
        if approximate:
            sentence += f" The unweighting corrects what {' and '.join(approximate)} learned."
        return Verdict(Badge(Status.AGREES, "exact"), sentence)
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
    gain = figures.get("gain_over_hit_or_miss")
    if isinstance(gain, (int, float)):
        cards.append(Card("gain over hit-or-miss", Cell(gain, text=f"× {number_text(gain, 3)}"), "in time an event"))
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
            Column(
                "sample is",
                Kind.STATUS,
                description="exact: right whatever was learned; approximate: as learned, unless corrected",
            ),
            Column("model"),
            Column("SHA-256 of the model"),
        ),
        [
            (
                stage.stage,
                f"{stage.plugin} ({stage.distribution} {stage.version})",
                _exactness(stage.exactness, corrected=result.exactness == "exact"),
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


def stage_section(stage: StageLike, *, corrected: bool = False) -> Section:
    """Return the section of one stage: its figures, settings and remarks.

    Args:
        stage: The stage.
        corrected: Whether another stage corrects it, where it is approximate.
    """
    items: list[Item] = [Remarks(stage.remarks)]
    if stage.model:
        items.append(Text((f"The model was {'trained in this run' if stage.trained else 'there already'}.",)))
    if stage.figures:
        rows = [
            (*_figure(name, value), (_MEANINGS | _SAMPLING_MEANINGS).get(name))
            for name, value in stage.figures.items()
            if not name.startswith(_GAIN_AT)
        ]
        columns = [Column("figure"), Column("value", Kind.NUMBER), Column("meaning")]
        if not any(row[2] for row in rows):
            items.append(Table("Figures", columns[:2], [row[:2] for row in rows]))
        else:
            items.append(Table("Figures", columns, rows))
        items += _gains(stage.figures)
    if stage.settings:
        items.append(Details("Settings", (settings_list(stage.settings),)))
    return Section(
        f"{_spoken(stage.stage).capitalize()}: {stage.plugin}",
        items,
        status=_exactness(stage.exactness, corrected=corrected),
    )


def _figure(name: str, value: float | int | str) -> tuple[str, Cell]:
    """Name and value of a figure as they are shown."""
    if not name.endswith(_MICROSECONDS) or isinstance(value, str):
        return _spoken(name), Cell(value)
    text = "never" if value == math.inf else f"{number_text(value)} µs"
    return _spoken(name.removesuffix(_MICROSECONDS)), Cell(value, text=text)


def _gains(figures: Mapping[str, float | int | str]) -> list[Item]:
    rows = [
        (Cell(float(ratio), text=f"{ratio} ×"), Cell(gain, text=f"× {number_text(gain, 3)}"))
        for name, gain in figures.items()
        if name.startswith(_GAIN_AT) and isinstance(gain, (int, float))
        for ratio in (name.removeprefix(_GAIN_AT),)
    ]
    if not rows:
        return []
    columns = (
        Column("cost ratio", Kind.NUMBER, description="cost of a true weight in units of a candidate without it"),
        Column("gain", Kind.NUMBER, description="over the time of a hit-or-miss, extrapolated from the measured times"),
    )
    note = "The maxima of the unweighting are kept as they are; for another cost they would be chosen anew."
    return [Table("Gain for other costs of the true weight", columns, rows, sortable=False, note=note)]


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


def _exactness(exactness: str, *, corrected: bool = False) -> Badge:
    if corrected and exactness != "exact":
        return Badge(Status.INFO, f"{exactness}, corrected")
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
