"""Draws every figure of a validation: as SVG for the report, and into files of their own when asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlgen.stages import Progress, ProgressCallback, no_progress
from mlgen.validation.plots import (
    classifier_figure,
    learned_weight_figure,
    observable_figure,
    save,
    summary_figure,
    to_svg,
)
from mlgen.validation.record import Deviation, ObservableResult, ValidationResult, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Figures:
    """SVG texts.

    Args:
        observables: By name of the observable; all samples in one figure.
        summary: By sample: the p-values of all observables.
        learned_weights: By sample: the classifier's learned weights.
        classifier: By sample: the AUC of each training.
    """

    observables: dict[str, str] = field(default_factory=dict)
    summary: dict[str, str] = field(default_factory=dict)
    learned_weights: dict[str, str] = field(default_factory=dict)
    classifier: dict[str, str] = field(default_factory=dict)


def figures_of(
    result: ValidationResult,
    directory: Path | None = None,
    formats: Sequence[str] = (),
    progress: ProgressCallback = no_progress,
) -> Figures:
    """Draw all figures.

    Args:
        result: What was found.
        directory: Where each figure also goes as a file; None, nowhere.
        formats: Suffixes of these files: png, pdf, svg.
        progress: Called after each figure.

    Raises:
        WriteFailure: A file cannot be written.
    """
    figures = Figures()
    kinds: Mapping[str, dict[str, str]] = {
        "": figures.observables,
        "p-values": figures.summary,
        "learned weights": figures.learned_weights,
        "classifier": figures.classifier,
    }
    total = len(by_observable(result)) + sum(1 if c.classifier is None else 3 for c in result.comparisons)
    taken: set[str] = set()
    for number, (kind, name, figure) in enumerate(_drawn(result), 1):
        kinds[kind][name] = to_svg(figure)
        if directory is not None:
            stem = _file_name(f"{kind} {name}" if kind else name, taken)
            for suffix in formats:
                save(figure, directory / f"{stem}.{suffix}")
        progress(Progress(number, total))
    return figures


def by_observable(result: ValidationResult) -> list[list[tuple[str, ObservableResult]]]:
    """Results of one observable together, with the samples' names."""
    rows = zip(*(comparison.observables for comparison in result.comparisons), strict=True)
    names = [comparison.sample.name for comparison in result.comparisons]
    return [list(zip(names, row, strict=True)) for row in rows]


def _drawn(result: ValidationResult) -> Iterator[tuple[str, str, Figure]]:
    for row in by_observable(result):
        first = row[0][1]
        yield (
            "",
            first.observable.name,
            observable_figure(
                first.edges,
                first.observable,
                first.reference,
                [(name, r.sample) for name, r in row if r.sample is not None],
                log_x=first.log,
                deviation=_worst(r for _, r in row),
                reference_name=result.reference.name,
                rate="N" if result.reference.showers else r"\sigma",
                events="showers" if result.reference.showers else "events",
            ),
        )
    for comparison in result.comparisons:
        name, limit = comparison.sample.name, float(result.settings["significance"])
        yield "p-values", name, summary_figure(comparison, limit)
        if comparison.classifier is not None and comparison.classifier.measures:
            yield "learned weights", name, learned_weight_figure(comparison.classifier, result.reference.name, name)
            yield "classifier", name, classifier_figure(comparison.classifier)


def _worst(results: Iterator[ObservableResult]) -> Deviation | None:
    """The most significant deviation among the samples that differ."""
    deviations = [r.test.deviation for r in results if r.verdict is Verdict.DIFFERS and r.test and r.test.deviation]
    return max(deviations, key=lambda deviation: abs(deviation.significance), default=None)


def _file_name(title: str, taken: set[str]) -> str:
    """A file name made of a title, unique among those taken."""
    plain = re.sub(r"[^A-Za-z0-9+~.-]+", "_", title).strip("_") or "figure"
    stem, number = plain, 2
    while stem.lower() in taken:
        stem, number = f"{plain}_{number}", number + 1
    taken.add(stem.lower())
    return stem
