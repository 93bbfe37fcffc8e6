"""`validate`: reads a reference and samples, and compares them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

import mlgen
from mlgen.digests import sha256_of_files
from mlgen.errors import InputError, UserError
from mlgen.events import EventBatch
from mlgen.seeds import Work, random_generator
from mlgen.showers import ShowerBatch
from mlgen.stages import Progress, Reporter, silent
from mlgen.validation.axes import Axis, choose_axis
from mlgen.validation.compare import compare
from mlgen.validation.content import content_differences
from mlgen.validation.event_observables import choose_observables
from mlgen.validation.filling import Filled, Filler
from mlgen.validation.observable import FloatArray, Kind, Observable, ObservableSet
from mlgen.validation.record import SampleRecord, ValidationResult
from mlgen.validation.samples import (
    EventSample,
    ReadingOptions,
    Sample,
    SampleFiles,
    ShowerSample,
    open_sample,
)
from mlgen.validation.settings import ValidationSettings
from mlgen.validation.shower_observables import choose_shower_observables

READING = ReadingOptions()
DEFAULTS = ValidationSettings()

#: Random events of a sample that are kept for the classifier and the distances; of the reference, twice as many.
KEPT = 50_000
#: Share of events outside an axis from which on the pilot is not believed any more.
UNEXPECTED = 0.06


def validate(
    reference: SampleFiles | str | Path,
    samples: Sequence[SampleFiles | str | Path],
    settings: ValidationSettings = DEFAULTS,
    *,
    seed: int = 1,
    reporter: Reporter = silent,
    options: ReadingOptions = READING,
) -> ValidationResult:
    """Compare samples with a reference.

    Each file is read once, in memory that does not grow with it; a second time where its first events turned out not
    to tell what its others look like.

    Args:
        reference: What is believed; a file, or files with a name.
        samples: What is to be judged, one comparison each; likewise.
        settings: What is compared, and how.
        seed: Of everything random: halves of the reference, subsets, classifiers.
        reporter: Gives progress callbacks.
        options: How files are read.

    Raises:
        InputError: A file cannot be read, or holds nothing that can be compared.
        UserError: An expression is wrong, or a selection leaves nothing.
    """
    with contextlib.ExitStack() as stack:
        opened: list[Sample] = []
        for files in (reference, *samples):
            named = files if isinstance(files, SampleFiles) else SampleFiles(Path(files).name, (Path(files),))
            opened.append(open_sample(named, options))
            stack.callback(opened[-1].close)
        _check_kinds(opened)
        pilots = [sample.pilot() for sample in opened]
        observables = _observables(opened, pilots, settings)
        differences = [
            _differences(opened[0], pilots[0], sample, pilot) for sample, pilot in zip(opened, pilots, strict=True)
        ]
        axes = _axes(observables, [_stacked(observables, pilot) for pilot in pilots], settings)
        del pilots
        filled = [_fill(sample, observables, axes, settings, seed, k, reporter) for k, sample in enumerate(opened)]
        if _surprising(filled) and all(sample.repeatable for sample in opened):
            axes = _axes(observables, [f.features.values.T for f in filled], settings)
            filled = [_fill(sample, observables, axes, settings, seed, k, reporter) for k, sample in enumerate(opened)]
        records = [_record(sample, content) for sample, content in zip(opened, filled, strict=True)]
    fixed = _fixed(filled)
    filled = [_without(content, fixed) for content in filled]
    comparisons = []
    for record, content, different in zip(records[1:], filled[1:], differences[1:], strict=True):
        with reporter(f"comparing {record.name}") as progress:
            comparisons.append(
                compare(
                    filled[0],
                    content,
                    records[0],
                    record,
                    settings,
                    seed=seed,
                    differences=different,
                    progress=progress,
                )
            )
    return ValidationResult(
        reference=records[0],
        comparisons=tuple(comparisons),
        seed=seed,
        version=mlgen.__version__,
        settings=settings.model_dump(mode="json"),
        remarks=(*observables.remarks, *_remarks(axes, fixed, records)),
    )


def _check_kinds(opened: Sequence[Sample]) -> None:
    for sample in opened[1:]:
        if sample.showers != opened[0].showers:
            kinds = {True: "calorimeter showers", False: "events"}
            raise InputError(
                sample.name,
                f"it holds {kinds[sample.showers]}, but the reference {opened[0].name} {kinds[opened[0].showers]}; "
                "nothing can be compared",
            )
        if isinstance(sample, ShowerSample) and sample.geometry.layers != cast(ShowerSample, opened[0]).geometry.layers:
            raise InputError(
                sample.name, f"its voxels are not those of {opened[0].name}; showers of one geometry are expected"
            )


def _observables(
    opened: Sequence[Sample], pilots: Sequence[Sequence[Any]], settings: ValidationSettings
) -> ObservableSet[Any]:
    if isinstance(opened[0], ShowerSample):
        return choose_shower_observables(opened[0].geometry, settings, pilots)
    return choose_observables(pilots, settings)


def _differences(
    reference: Sample, reference_pilot: Sequence[Any], sample: Sample, pilot: Sequence[Any]
) -> tuple[str, ...]:
    if not isinstance(reference, EventSample) or not isinstance(sample, EventSample) or sample is reference:
        return ()
    return content_differences(reference_pilot, reference.run_info, pilot, sample.run_info)


def _stacked(observables: ObservableSet[Any], pilot: Sequence[EventBatch | ShowerBatch]) -> FloatArray:
    return np.concatenate([observables(batch).values for batch in pilot], axis=1)


def _axes(observables: ObservableSet[Any], pilots: Sequence[FloatArray], settings: ValidationSettings) -> list[Axis]:
    return [
        choose_axis(observable, [values[row] for values in pilots], settings.bins)
        for row, observable in enumerate(observables.definitions)
    ]


def _fill(
    sample: Sample,
    observables: ObservableSet[Any],
    axes: Sequence[Axis],
    settings: ValidationSettings,
    seed: int,
    index: int,
    reporter: Reporter,
) -> Filled:
    kept = max(KEPT, settings.classifier.events if settings.classifier else 0)
    filler = Filler(axes, sample.band(settings.band), kept if index else 2 * kept, halves=index == 0)
    with reporter(f"reading {sample.name}") as progress:
        for number, batch in enumerate(cast(Iterable[Any], sample)):
            weight = sample.weight(batch)
            found = observables(batch)
            everything = len(found.index) == len(batch)
            chosen: Any = slice(None) if everything else found.index
            filler.add(
                found.values,
                weight[chosen],
                {name: values[chosen] for name, values in sample.variations(batch).items() if name in filler.band},
                random_generator(seed, Work.VALIDATE, number),
                offered=len(batch),
                offered_weight=float(weight.sum()),
                offered_square=float(weight @ weight),
            )
            progress(Progress(filler.events, 0))
    filled = filler.finished()
    if filled.selected == 0:
        raise UserError(f"{sample.name}: none of its {filled.events:,} events passes the selection '{settings.select}'")
    if filled.selected == 1:
        raise InputError(
            sample.name, "one event is all there is; a distribution needs more, some hundreds to say anything"
        )
    if filled.weight == 0:
        raise InputError(sample.name, f"the weights of its {filled.selected:,} events sum to zero; no shape is defined")
    if filled.weight < 0:
        raise InputError(
            sample.name,
            f"its weights sum to {filled.weight:.4g} ({filled.negative:,} of {filled.selected:,} events are negative): "
            "a distribution with a negative total cannot be compared",
            advice="If the sign is only a convention of the file, correct the file: weights are never changed here.",
        )
    return filled


def _surprising(filled: Sequence[Filled]) -> bool:
    """Whether much lies outside the axes, so that the first events did not tell what the others look like."""
    for content in filled:
        for axis, squares in zip(content.axes, content.squares, strict=True):
            asked = axis.observable.limits is not None or axis.observable.kind is Kind.CATEGORY
            counts = squares.sum(axis=0)
            if not asked and counts.sum() and (counts[0] + counts[-1]) / counts.sum() > UNEXPECTED:
                return True
    return False


def _fixed(filled: Sequence[Filled]) -> dict[int, float]:
    """Observables that have one value in all events of all samples, with that value."""
    fixed = {}
    for row, axis in enumerate(filled[0].axes):
        used = np.logical_or.reduce([content.squares[row].sum(axis=0) > 0 for content in filled])
        place = np.flatnonzero(used)
        if len(place) == 1 and 0 < place[0] <= len(axis.edges) - 1:
            fixed[row] = float((axis.edges[place[0] - 1] + axis.edges[place[0]]) / 2)
        elif not len(place):
            fixed[row] = float("nan")
    return fixed


def _without(filled: Filled, rows: Iterable[int]) -> Filled:
    """The same without some observables."""
    left = [row for row in range(len(filled.axes)) if row not in set(rows)]
    axes = tuple(filled.axes[row] for row in left)
    features = dataclasses.replace(
        filled.features, values=filled.features.values[:, left], observables=tuple(axis.observable for axis in axes)
    )
    return dataclasses.replace(
        filled,
        axes=axes,
        sums=[filled.sums[row] for row in left],
        squares=[filled.squares[row] for row in left],
        bands=[filled.bands[row] for row in left],
        lacking=filled.lacking[left],
        features=features,
    )


def _record(sample: Sample, content: Filled) -> SampleRecord:
    rate = (content.events, content.all_events_weight, content.all_events_square)
    cross_section, error = sample.rate(*rate)
    info = sample.run_info
    return SampleRecord(
        name=sample.name,
        files=tuple(str(path) for path in sample.files),
        format=sample.format,
        events=content.events,
        selected=content.selected,
        effective_events=content.effective_events,
        negative_fraction=content.negative_fraction,
        cross_section=cross_section,
        cross_section_error=error,
        normalisation="" if sample.showers else info.normalisation.value,
        generator=info.generator,
        showers=sample.showers,
        provenance=sample.provenance,
        sha256=sha256_of_files(sample.files) if sample.repeatable else "",
        remarks=tuple(sample.remarks(*rate)),
    )


def _remarks(axes: Sequence[Axis], fixed: dict[int, float], records: Sequence[SampleRecord]) -> Iterable[str]:
    same = [_fixed_text(axes[row].observable, value) for row, value in fixed.items() if not np.isnan(value)]
    if same:
        yield f"The same in all events of all samples, and not shown: {', '.join(same)}."
    never = [axes[row].observable.name for row, value in fixed.items() if np.isnan(value)]
    if never:
        yield f"In no event of any sample: {', '.join(never)}."
    for record in records[1:]:
        if record.sha256 and record.sha256 == records[0].sha256:
            yield f"{record.name} is the very same file as the reference {records[0].name}."
        stages = [stage for entry in record.provenance for stage in entry.get("stages", ())]
        learned = [s.get("plugin") for s in stages if s.get("trained_on_sha256", "") == records[0].sha256 != ""]
        if learned:
            yield (
                f"{learned[0]}, which made {record.name}, was trained on these very events of the reference: that it "
                "copies them would not be seen here. Events that it was not trained on are the better reference."
            )


def _fixed_text(observable: Observable, value: float) -> str:
    shown = (
        observable.categories[round(value)] if observable.kind is Kind.CATEGORY else f"{value:.4g} {observable.unit}"
    )
    return f"{observable.name} = {shown}".strip()
