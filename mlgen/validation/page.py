"""The report of a validation: what was found, in the order in which a physicist asks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

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
    json_details,
)
from mlgen.report.page import Verdict as PageVerdict
from mlgen.report.quantities import with_error_text
from mlgen.validation.figures import Figures, by_observable
from mlgen.validation.page_showers import SHOWER_REFERENCES, shower_section
from mlgen.validation.record import (
    ClassifierTest,
    Comparison,
    Measure,
    ObservableResult,
    SampleRecord,
    ValidationResult,
    Verdict,
)
from mlgen.validation.verdicts import SMALLEST_P, region, short_size, sigma

_STATUS: dict[Verdict, Status | Badge] = {
    Verdict.AGREES: Status.AGREES,
    Verdict.DIFFERS: Status.DIFFERS,
    Verdict.TOO_FEW: Status.TOO_FEW,
    Verdict.MISSING: Badge(Status.DIFFERS, Verdict.MISSING.value),
}

_OBSERVABLE_COLUMNS = (
    Column("observable"),
    Column("verdict", Kind.STATUS),
    Column("largest deviation", description="Region where sample and reference differ most significantly."),
    Column(
        "sigma", Kind.NUMBER, description="Of that region alone; no number of tests is taken into account.", digits=2
    ),
    Column(
        "chi2/ndf", Kind.NUMBER, description="Two-sample chi^2 of the shapes over its degrees of freedom.", digits=3
    ),
    Column("floor", Kind.NUMBER, description="chi^2/ndf of two halves of the reference.", digits=3),
    Column(
        "p",
        Kind.P_VALUE,
        description="Of chi^2, smooth tests and region scan together, after the number of observables and other tests "
        "(Holm, Scand. J. Stat. 6 (1979) 65).",
    ),
    Column(
        "Wasserstein",
        Kind.NUMBER,
        description="Wasserstein-1 distance of the shapes, in the observable's unit; for classes, total variation.",
        digits=3,
    ),
    Column("floor", Kind.NUMBER, description="The same for halves of the reference; the mean.", digits=3),
)

_REFERENCES = (
    Reference("Lopez-Paz and Oquab, Revisiting classifier two-sample tests", "https://arxiv.org/abs/1610.06545"),
    Reference("Das et al., How to understand limitations of generative networks", "https://arxiv.org/abs/2305.16774"),
    Reference("Plehn et al., Modern Machine Learning for LHC Physicists", "https://arxiv.org/abs/2211.01421"),
    Reference("Kansal et al., Evaluating generative models in high energy physics", "https://arxiv.org/abs/2211.10295"),
    Reference(
        "Gagunashvili, Comparison of weighted and unweighted histograms", "https://arxiv.org/abs/physics/0605123"
    ),
)


def validation_page(result: ValidationResult, figures: Figures) -> Page:
    """Make the page of a validation.

    Args:
        result: What was found.
        figures: Its figures.
    """
    names = ", ".join(comparison.sample.name for comparison in result.comparisons)
    return Page(
        title=f"{names} against {result.reference.name}",
        subtitle=f"Validation by mlgen {result.version}, seed {result.seed}",
        verdict=_verdict(result),
        summary=tuple(_cards(result)),
        sections=(
            *(
                section
                for comparison in result.comparisons
                for section in (
                    _comparison(comparison, result.reference, figures, len(result.comparisons) > 1),
                    *shower_section(comparison, figures, len(result.comparisons) > 1),
                )
            ),
            _observables(result, figures),
            _origin(result),
            _reading(showers=result.reference.showers),
        ),
    )


def _verdict(result: ValidationResult) -> PageVerdict:
    status = _overall(result.comparisons)
    if len(result.comparisons) == 1:
        return PageVerdict(status, _sentence(result.comparisons[0].words) + ".")
    return PageVerdict(status, " ".join(f"{c.sample.name}: {_typeset(c.words)}." for c in result.comparisons))


def _typeset(words: str) -> str:
    """Write words of the terminal as a page does."""
    return words.replace(" +- ", " ± ")


def _sentence(words: str) -> str:
    return _typeset(words[0].upper() + words[1:])


def _overall(comparisons: Sequence[Comparison]) -> Status:
    if all(comparison.agrees for comparison in comparisons):
        return Status.AGREES
    return Status.TOO_FEW if all(math.isnan(c.p_value) for c in comparisons) else Status.DIFFERS


def _cards(result: ValidationResult) -> Iterator[Card]:
    several = len(result.comparisons) > 1
    yield Card(f"{result.reference.what} of the reference", result.reference.selected, _of_all(result.reference))
    for comparison in result.comparisons:
        whose = f" of {comparison.sample.name}" if several else ""
        differing = sum(r.verdict is Verdict.DIFFERS for r in comparison.observables)
        missing = sum(r.verdict is Verdict.MISSING for r in comparison.observables)
        if not several:
            yield Card(
                f"{comparison.sample.what} of the sample", comparison.sample.selected, _of_all(comparison.sample)
            )
        only = f"; {missing} more only in one sample" if missing else ""
        yield Card(f"observables that differ{whose}", differing, f"of {len(comparison.observables) - missing}{only}")
        if comparison.classifier is not None and comparison.classifier.measures:
            best = max(comparison.classifier.measures, key=lambda measure: measure.value)
            yield Card(
                f"classifier AUC{whose}", Cell(best.value, best.error), f"null floor {best.floor:.4f}; 0.5 is perfect"
            )
        if comparison.showers is not None and comparison.showers.separations:
            power = max(comparison.showers.separations, key=lambda s: s.value)
            yield Card(
                f"largest separation power{whose}",
                Cell(power.value, power.error),
                f"{power.name}; {power.expected:.2g} expected of equal samples",
            )
        if math.isfinite(comparison.p_value) and not missing:
            yield Card(
                f"significance{whose}",
                Cell(
                    sigma(comparison.p_value),
                    text=f"{'> ' if comparison.p_value < SMALLEST_P else ''}{sigma(comparison.p_value):.1f} sigma",
                ),
                "after all tests",
            )


def _of_all(sample: SampleRecord) -> str:
    if sample.selected != sample.events:
        return f"selected of {sample.events:,}"
    effective = sample.effective_events
    return "" if abs(effective - sample.selected) < 0.5 else f"worth {effective:,.0f} unweighted ones"


def _comparison(comparison: Comparison, reference: SampleRecord, figures: Figures, several: bool) -> Section:
    name = comparison.sample.name
    items: list[Item] = []
    if several:
        items.append(Text((_sentence(comparison.words) + ".",)))
    items.append(Remarks(comparison.differences, title="What differs in content"))
    items.append(_measures(comparison, reference))
    if comparison.gates:
        items.append(_gates(comparison))
    drawn = [
        (
            figures.summary,
            "p-values",
            "p-values of all observables, sorted, against those expected when nothing differs",
        ),
        (figures.learned_weights, "Learned weights", "distribution of the learned weights of both samples"),
        (figures.classifier, "Classifier", "AUC of every training beside its null floor"),
    ]
    items.append(FigureGrid([Figure(svg[name], title, f"{alt}, {name}") for svg, title, alt in drawn if name in svg]))
    if comparison.classifier is not None:
        items += _tails(comparison.classifier)
        items.append(Remarks(comparison.classifier.remarks))
    title = f"{name} as a whole" if several else "The sample as a whole"
    return Section(title, items, status=_overall([comparison]))


def _measures(comparison: Comparison, reference: SampleRecord) -> Table:
    classifier = comparison.classifier.measures if comparison.classifier is not None else ()
    rows: list[Sequence[Value | Cell]] = [_measure_row(measure) for measure in (*classifier, *comparison.distances)]
    rows += _numbers(comparison, reference)
    return Table(
        f"{comparison.sample.name} as a whole, beside the null floor",
        (
            Column("measure"),
            Column("value", Kind.NUMBER),
            Column(
                "null floor",
                Kind.NUMBER,
                description="The same measure for two halves of the reference, as many events.",
            ),
            Column(
                "p",
                Kind.P_VALUE,
                description="Of a value at least as large when nothing differs, for this measure alone.",
            ),
            Column("events", Kind.NUMBER, description="Events of each side that were used."),
            Column("note"),
        ),
        rows,
    )


def _numbers(comparison: Comparison, reference: SampleRecord) -> Iterator[Sequence[Value | Cell]]:
    """Cross section and acceptance: beside them stands not a floor, but the reference's own."""
    sample, rate = comparison.sample, comparison.rate_p_value
    if math.isfinite(sample.cross_section) and math.isfinite(reference.cross_section):
        yield (
            "cross section (pb)",
            Cell(sample.cross_section, sample.cross_section_error),
            None,
            _p_cell(rate),
            sample.events,
            f"of the reference: {with_error_text(reference.cross_section, reference.cross_section_error)}"
            + ("" if math.isfinite(rate) else "; the same number, not an independent one"),
        )
    if (share := comparison.acceptance) is not None:
        yield (
            "kept by the selection",
            Cell(share.sample, share.sample_error),
            None,
            _p_cell(share.p_value),
            sample.events,
            f"of the reference: {with_error_text(share.reference, share.reference_error)}",
        )


def _measure_row(measure: Measure) -> Sequence[Value | Cell]:
    return (
        measure.name,
        Cell(measure.value, measure.error),
        Cell(measure.floor, measure.floor_error),
        _p_cell(measure.p_value),
        measure.events,
        measure.note,
    )


def _gates(comparison: Comparison) -> Table:
    return Table(
        "Gates",
        (Column("measure"), Column("value", Kind.NUMBER), Column("limit", Kind.NUMBER), Column("gate", Kind.STATUS)),
        [
            (name, value, limit, Badge(Status.AGREES, "holds") if value <= limit else Badge(Status.DIFFERS, "fails"))
            for name, value, limit in comparison.gates
        ],
    )


def _tails(test: ClassifierTest) -> list[Item]:
    if not test.tails:
        return []
    rows: list[Sequence[Value | Cell]] = [
        (
            "too many events" if tail.side == "low" else "too few events",
            Cell(tail.weight, text=f"{'<' if tail.side == 'low' else '>'} {tail.weight:.3g}"),
            Cell(tail.share, text=f"{tail.share:.2%}"),
            tail.observable,
            Cell(tail.lower, text=f"{tail.lower:.4g} to {tail.upper:.4g}"),
            Cell(tail.bulk_lower, text=f"{tail.bulk_lower:.4g} to {tail.bulk_upper:.4g}"),
            tail.separation,
        )
        for tail in test.tails
    ]
    columns = (
        Column("the sample has"),
        Column("learned weight", Kind.NUMBER, description="w = D/(1 - D), an estimate of p(reference)/p(sample)."),
        Column("share", Kind.NUMBER, description="Of the events in this tail."),
        Column("observable", description="Observables that set the tail apart best."),
        Column("in the tail", Kind.NUMBER, description="Range between its 10 % and 90 % quantiles in the tail."),
        Column("in all events", Kind.NUMBER, description="The same range in all events."),
        Column(
            "separation", Kind.NUMBER, description="AUC of this observable between the tail and all events.", digits=3
        ),
    )
    return [Table("Where the tails of the learned weights lie", columns, rows)]


def _observables(result: ValidationResult, figures: Figures) -> Section:
    items: list[Item] = []
    for comparison in result.comparisons:
        rows = [_observable_row(r) for r in _worst_first(comparison.observables)]
        items.append(Table(f"Observables of {comparison.sample.name}", _OBSERVABLE_COLUMNS, rows))
    grouped = itertools.groupby(by_observable(result), key=lambda row: row[0][1].observable.group)
    groups: dict[str, list[Figure]] = {}
    for group, entries in grouped:
        groups.setdefault(group, []).extend(_figure(row, figures) for row in entries)
    items += [FigureGrid(drawn, title=group[0].upper() + group[1:]) for group, drawn in groups.items()]
    return Section("Observables", items, filterable=True)


def _worst_first(results: Sequence[ObservableResult]) -> list[ObservableResult]:
    order = [Verdict.DIFFERS, Verdict.MISSING, Verdict.AGREES, Verdict.TOO_FEW]
    return sorted(results, key=lambda r: (order.index(r.verdict), r.test.p_value if r.test else 0.0))


def _observable_row(result: ObservableResult) -> Sequence[Value | Cell]:
    observable, test, floor = result.observable, result.test, result.floor
    deviation = test.deviation if test is not None else None
    if result.verdict in (Verdict.MISSING, Verdict.TOO_FEW) or deviation is None:
        where: Value | Cell = result.words
    else:
        where = f"{short_size(deviation)} {region(observable, deviation.lower, deviation.upper)}"
    return (
        Cell(observable.name, link=_anchor(observable.name)),
        _STATUS[result.verdict],
        where,
        abs(deviation.significance) if deviation is not None else math.nan,
        test.chi2 / test.ndf if test is not None and test.ndf else math.nan,
        floor.chi2 / floor.ndf if floor is not None and floor.ndf else math.nan,
        _p_cell(result.adjusted_p_value),
        result.wasserstein,
        Cell(result.wasserstein_floor, note=f"spread {result.wasserstein_floor_error:.2g}"),
    )


def _p_cell(value: float) -> Value | Cell:
    return Cell(value, text="< 10⁻¹⁶") if value < SMALLEST_P else value


def _figure(row: Sequence[tuple[str, ObservableResult]], figures: Figures) -> Figure:
    observable = row[0][1].observable
    words = "; ".join(f"{name} {_typeset(r.words)}" if len(row) > 1 else _sentence(r.words) for name, r in row)
    worst = _worst_first([r for _, r in row])[0]
    return Figure(
        figures.observables[observable.name],
        observable.name,
        f"{observable.name} of {' and '.join(name for name, _ in row)} over the reference, with their ratio: {words}",
        caption=words,
        status=_STATUS[worst.verdict],
        anchor=_anchor(observable.name),
    )


def _anchor(name: str) -> str:
    return f"observable {name}"


def _origin(result: ValidationResult) -> Section:
    parts = [
        Section(sample.name, [KeyValues(dict(_facts(sample))), Remarks(sample.remarks), *_provenance(sample)])
        for sample in (result.reference, *(comparison.sample for comparison in result.comparisons))
    ]
    return Section(
        "Where it comes from",
        [Remarks(result.remarks), *parts, json_details("Settings of this validation", dict(result.settings))],
    )


def _facts(sample: SampleRecord) -> Iterator[tuple[str, Value | Cell]]:
    yield "files", Code(" ".join(sample.files))
    yield "SHA-256", Code(sample.sha256) if sample.sha256 else "read from a pipe"
    yield "format", sample.format
    yield "made by", sample.generator or "unknown"
    yield "events read", sample.events
    yield "events selected", sample.selected
    yield "effective events", Cell(sample.effective_events, note="(sum w)^2 / sum w^2")
    yield "negative weights", Cell(sample.negative_fraction, text=f"{sample.negative_fraction:.2%}")
    if sample.normalisation:
        yield "weights", sample.normalisation
    yield "cross section (pb)", Cell(sample.cross_section, sample.cross_section_error)
    for record in sample.provenance:
        for stage in record.get("stages", ()):
            yield (
                f"{stage.get('stage')} replaced by",
                f"{stage.get('plugin')} {stage.get('version')} ({stage.get('exactness')})",
            )
            if stage.get("model_sha256"):
                yield f"model of {stage.get('plugin')}", Code(str(stage["model_sha256"]))
        if "seed" in record:
            yield f"seed of {record.get('program')} {record.get('version')}", record["seed"]


def _provenance(sample: SampleRecord) -> list[Details]:
    return [
        json_details(f"Provenance of {sample.name}: {record.get('program')} {record.get('command')}", dict(record))
        for record in sample.provenance
    ]


_HOW = (
    "Shapes are compared: every histogram is normalised to one, cross sections are compared apart. Grey is the "
    "statistical error of the reference. A hatched band is what the sample itself says of its uncertainty, with its "
    "named weights. Events outside the axis stand in extra bins at its ends.",
    "The null floor of a measure is what it gives for two halves of the reference, which differ by chance alone: a "
    "sample cannot be asked to be better. The verdicts take the number of tests into account, so that a page without "
    "any real difference shows a false one once in a hundred times for each sample. FPD and KPD stand beside them and "
    "take no part in the verdict.",
    "The classifier is asked to tell events of the reference (D = 1) from those of the sample (D = 0) and judged on "
    "events that it was not trained on: an AUC of 0.5 means that it cannot. w = D/(1 - D) estimates "
    "p(reference)/p(sample); its tails say where the sample has too many or too few events.",
)


def _reading(*, showers: bool) -> Section:
    references = (*_REFERENCES, *SHOWER_REFERENCES) if showers else _REFERENCES
    return Section("How to read this", [Text(_HOW), References(references)])
