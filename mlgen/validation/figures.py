"""Draws every figure of a validation: as SVG for the report, and into files of their own when asked for."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlgen.files import check_free
from mlgen.stages import Progress, ProgressCallback, no_progress
from mlgen.validation.plot_output import to_png
from mlgen.validation.plot_showers import average_shower_figure, separation_figure
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


_AVERAGE = "average shower, "


@dataclass(frozen=True, slots=True)
class Figures:
    """SVG texts.

    Args:
        observables: By name of the observable; all samples in one figure.
        summary: By sample: the p-values of all observables.
        learned_weights: By sample: the classifier's learned weights.
        classifier: By sample: the AUC of each training.
        separations: By sample: separation powers of showers.
        averages: By sample and title: average showers, as PNG.
    """

    observables: dict[str, str] = field(default_factory=dict)
    summary: dict[str, str] = field(default_factory=dict)
    learned_weights: dict[str, str] = field(default_factory=dict)
    classifier: dict[str, str] = field(default_factory=dict)
    separations: dict[str, str] = field(default_factory=dict)
    averages: dict[tuple[str, str], bytes] = field(default_factory=dict)


def figures_of(
    result: ValidationResult,
    directory: Path | None = None,
    formats: Sequence[str] = (),
    progress: ProgressCallback = no_progress,
    *,
    force: bool = False,
) -> Figures:
    """Draw all figures.

    Args:
        result: What was found.
        directory: Where each figure also goes as a file; None, nowhere.
        formats: Suffixes of these files: png, pdf, svg.
        progress: Called after each figure.
        force: Whether files that exist are replaced.

    Raises:
        OutputError: A file exists already (and not `force`), or may not be written; found before anything is drawn.
        WriteFailure: A file cannot be written.
    """
    figures = Figures()
    kinds: Mapping[str, dict[str, str]] = {
        "": figures.observables,
        "p-values": figures.summary,
        "learned weights": figures.learned_weights,
        "classifier": figures.classifier,
        "separation powers": figures.separations,
    }
    jobs = list(_jobs(result))
    files: list[list[Path]] = [[] for _ in jobs]
    if directory is not None:
        taken: set[str] = set()
        stems = [_file_name(f"{kind} {name}" if kind else name, taken) for kind, name, _ in jobs]
        files = [[directory / f"{stem}.{suffix}" for suffix in formats] for stem in stems]
    for path in (path for paths in files for path in paths):
        check_free(path, force=force)
    for number, ((kind, name, draw), paths) in enumerate(zip(jobs, files, strict=True), 1):
        figure = draw()
        if kind.startswith(_AVERAGE):
            # Thousands of voxels: a picture of them is smaller than their outlines.
            figures.averages[name, kind.removeprefix(_AVERAGE)] = to_png(figure)
        else:
            kinds[kind][name] = to_svg(figure)
        for path in paths:
            save(figure, path, force=force)
        progress(Progress(number, len(jobs)))
    return figures


def by_observable(result: ValidationResult) -> list[list[tuple[str, ObservableResult]]]:
    """Results of one observable together, with the samples' names."""
    rows = zip(*(comparison.observables for comparison in result.comparisons), strict=True)
    names = [comparison.sample.name for comparison in result.comparisons]
    return [list(zip(names, row, strict=True)) for row in rows]


def _jobs(result: ValidationResult) -> Iterator[tuple[str, str, Callable[[], Figure]]]:
    """Each figure's kind, its name and how it is drawn, in the order of the report."""
    for row in by_observable(result):
        first = row[0][1]
        yield (
            "",
            first.observable.name,
            functools.partial(
                observable_figure,
                first.edges,
                first.observable,
                first.reference,
                [(name, r.sample) for name, r in row],
                log_x=first.log,
                deviation=_worst(r for _, r in row),
                reference_name=result.reference.name,
                rate="N" if result.reference.showers else r"\sigma",
                events="showers" if result.reference.showers else "events",
            ),
        )
    for index, comparison in enumerate(result.comparisons):
        name, limit, test = comparison.sample.name, float(result.settings["significance"]), comparison.classifier
        yield "p-values", name, functools.partial(summary_figure, comparison, limit)
        if test is not None and test.measures:
            reference = result.reference.name
            if test.learned_weights:
                yield "learned weights", name, functools.partial(learned_weight_figure, test, reference, name, index)
            yield "classifier", name, functools.partial(classifier_figure, test, index)
        if (found := comparison.showers) is not None:
            yield "separation powers", name, functools.partial(separation_figure, found.separations, index)
            for average in found.averages:
                draw = functools.partial(average_shower_figure, average, result.reference.name, name)
                yield f"{_AVERAGE}{average.title}", name, draw


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
