"""`validate`: reads a reference and samples, and compares them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

import mlgen
from mlgen.digests import sha256_of_files
from mlgen.errors import InputError, UserError, WeightError
from mlgen.seeds import Work, random_generator
from mlgen.showers import ShowerBatch
from mlgen.stages import Progress, Reporter, silent
from mlgen.validation.axes import Axis, choose_axis
from mlgen.validation.compare import compare
from mlgen.validation.content import content_differences
from mlgen.validation.event_observables import choose_observables
from mlgen.validation.filling import Filled, Filler
from mlgen.validation.observable import USER, FloatArray, Kind, Observable, ObservableSet
from mlgen.validation.plot_style import MOST_SAMPLES
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
from mlgen.validation.shower_comparison import ShowerComparison, compare_showers
from mlgen.validation.shower_observables import choose_shower_observables

READING = ReadingOptions()
DEFAULTS = ValidationSettings()

#: Random events of a sample that are kept for the classifier and the distances; of the reference, twice as many.
KEPT = 50_000
#: By so much the share of events outside an axis may be larger in the whole file than among its first events.
UNEXPECTED = 0.03
#: Values that differ relatively by less are the same: a mass on its shell, rounded by the file format.
SAME = 1e-6


#: Bins are as many as the settings say, or fewer where there are not so many events for each on average.
EVENTS_PER_BIN = 20
FEWEST_BINS = 10


@dataclass(frozen=True, slots=True)
class _Choice:
    """What is compared and in which bins, chosen from some events of each sample, and what differs in content."""

    observables: ObservableSet[Any]
    axes: list[Axis]
    differences: list[tuple[str, ...]]
    pilots: list[FloatArray]


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

    What is compared is chosen from the first events of each sample. Then each file is read, in memory that does not
    grow with it, and its bytes once more for their SHA-256; where the first events turn out not to tell what the others
    look like, the choice is made again from events of the whole file.

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
    if len(samples) > MOST_SAMPLES:
        raise UserError(f"{len(samples)} samples are too many for one report; at most {MOST_SAMPLES} can be told apart")
    with contextlib.ExitStack() as stack:
        opened: list[Sample] = []
        for files in (reference, *samples):
            named = files if isinstance(files, SampleFiles) else SampleFiles(Path(files).name, (Path(files),))
            opened.append(open_sample(named, options))
            stack.callback(opened[-1].close)
        _check_kinds(opened)
        choice = _choose(opened, [sample.pilot() for sample in opened], settings)
        filled = _filled(opened, choice, settings, seed, reporter)
        if _surprising(filled, choice) and all(sample.repeatable for sample in opened):
            pilots = [sample.spread(f.events, seed) for sample, f in zip(opened, filled, strict=True)]
            choice = _choose(opened, pilots, settings)
            filled = _filled(opened, choice, settings, seed, reporter)
        records = [_record(sample, content) for sample, content in zip(opened, filled, strict=True)]
        showers = _showers(opened, settings, seed, reporter)
    fixed = _fixed(filled)
    filled = [_without(content, fixed) for content in filled]
    comparisons = []
    for record, content, different, of_showers in zip(
        records[1:], filled[1:], choice.differences[1:], showers, strict=True
    ):
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
                    showers=of_showers,
                    progress=progress,
                )
            )
    return ValidationResult(
        reference=records[0],
        comparisons=tuple(comparisons),
        seed=seed,
        version=mlgen.__version__,
        settings=settings.model_dump(mode="json"),
        remarks=(*choice.observables.remarks, *_remarks(choice.axes, fixed, records)),
    )


def _showers(
    opened: Sequence[Sample], settings: ValidationSettings, seed: int, reporter: Reporter
) -> list[ShowerComparison | None]:
    """What needs the showers themselves, of each sample; of one sample at a time beside the reference."""
    found: list[ShowerComparison | None] = []
    reference: ShowerBatch | None = None
    for sample in opened[1:]:
        if not isinstance(opened[0], ShowerSample) or not isinstance(sample, ShowerSample):
            found.append(None)
            continue
        with reporter(f"showers of {sample.name}") as progress:
            if reference is None:
                reference = opened[0].kept(settings.showers.showers, seed)
            kept = sample.kept(settings.showers.showers, seed)
            found.append(compare_showers(reference, kept, settings, seed=seed, progress=progress))
    return found


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


def _choose(opened: Sequence[Sample], pilots: Sequence[Sequence[Any]], settings: ValidationSettings) -> _Choice:
    observables = _observables(opened, pilots, settings)
    differences = [
        _differences(opened[0], pilots[0], sample, pilot) for sample, pilot in zip(opened, pilots, strict=True)
    ]
    values = [np.concatenate([observables(batch).values for batch in pilot], axis=1) for pilot in pilots]
    return _Choice(observables, _axes(observables, values, settings), differences, values)


def _filled(
    opened: Sequence[Sample], choice: _Choice, settings: ValidationSettings, seed: int, reporter: Reporter
) -> list[Filled]:
    return [_fill(sample, choice, settings, seed, index, reporter) for index, sample in enumerate(opened)]


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


def _axes(observables: ObservableSet[Any], pilots: Sequence[FloatArray], settings: ValidationSettings) -> list[Axis]:
    # Few events in many bins show nothing but their fluctuations.
    bins = min(settings.bins, max(FEWEST_BINS, min(values.shape[1] for values in pilots) // EVENTS_PER_BIN))
    return [
        choose_axis(observable, [values[row] for values in pilots], bins)
        for row, observable in enumerate(observables.definitions)
    ]


def _fill(
    sample: Sample, choice: _Choice, settings: ValidationSettings, seed: int, index: int, reporter: Reporter
) -> Filled:
    kept = max(KEPT, settings.classifier.events if settings.classifier else 0)
    filler = Filler(choice.axes, sample.band(settings.band), kept if index else 2 * kept, halves=index == 0)
    with reporter(f"reading {sample.name}") as progress:
        for number, batch in enumerate(cast(Iterable[Any], sample)):
            varied = {name: values for name, values in sample.variations(batch).items() if name in filler.band}
            rng = random_generator(seed, Work.VALIDATE, number, index)
            try:
                filler.add(choice.observables(batch), sample.weight(batch), varied, rng)
            except WeightError as error:
                raise WeightError(f"{sample.name}: {error}") from error
            progress(Progress(filler.events, 0))
    filled = filler.finished()
    _check_filled(sample.name, filled, settings)
    return filled


def _check_filled(name: str, filled: Filled, settings: ValidationSettings) -> None:
    if filled.selected == 0:
        raise UserError(f"{name}: none of its {filled.events:,} events passes the selection '{settings.select}'")
    if filled.selected == 1:
        raise InputError(name, "one event is all there is; a distribution needs more, some hundreds to say anything")
    if filled.chosen.weight == 0:
        raise InputError(name, f"the weights of its {filled.selected:,} events sum to zero; no shape is defined")
    if filled.chosen.weight < 0:
        raise InputError(
            name,
            f"its weights sum to {filled.chosen.weight:.4g} ({filled.negative:,} of {filled.selected:,} events are "
            "negative): a distribution with a negative total cannot be compared",
            advice="If the sign is only a convention of the file, correct the file: weights are never changed here.",
        )


def _surprising(filled: Sequence[Filled], choice: _Choice) -> bool:
    """Whether more lies outside the axes than the first events promised, or more events lack an observable."""
    for content, pilot in zip(filled, choice.pilots, strict=True):
        if not pilot.shape[1]:
            # None of the first events passed the selection.
            return True
        for row, (axis, squares) in enumerate(zip(content.axes, content.squares, strict=True)):
            counts = squares.sum(axis=0)
            promised = _outside(axis, np.histogram(pilot[row], [-np.inf, *axis.edges, np.inf])[0])
            if axis.observable.limits is None and _outside(axis, counts) > promised + UNEXPECTED:
                return True
            lacking = content.lacking[row].square / content.chosen.square
            if abs(lacking - float(np.isnan(pilot[row]).mean())) > 2 * UNEXPECTED:
                return True
    return False


def _outside(axis: Axis, counts: npt.NDArray[Any]) -> float:
    """Share of the events beyond both ends of an axis, or in the last category: "other"."""
    outside = counts[-2] if axis.observable.kind is Kind.CATEGORY else counts[0] + counts[-1]
    return float(outside / counts.sum()) if counts.sum() else 0.0


def _fixed(filled: Sequence[Filled]) -> dict[int, float]:
    """Observables that have one value in all events of all samples, with that value; NaN if no event has them."""
    fixed = {}
    for row, axis in enumerate(filled[0].axes):
        ends = np.array([(content.smallest[row], content.largest[row]) for content in filled])
        known = ends[np.isfinite(ends)]
        if axis.observable.group == USER:
            if not len(known):
                raise UserError(
                    f"observable '{axis.observable.name}': it is no finite number in any event of any sample; "
                    "is something divided by zero, or an object asked for that no event has?"
                )
            continue
        if not len(known):
            fixed[row] = float("nan")
        elif known.max() - known.min() <= SAME * max(np.abs(known).max(), 1.0):
            fixed[row] = float(known[0]) if abs(known[0]) > SAME else 0.0
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
        lacking=tuple(filled.lacking[row] for row in left),
        smallest=filled.smallest[left],
        largest=filled.largest[left],
        features=features,
    )


def _record(sample: Sample, content: Filled) -> SampleRecord:
    everything = content.everything
    cross_section, error = sample.rate(everything.weight, everything.square)
    info = sample.run_info
    return SampleRecord(
        name=sample.name,
        files=sample.shown,
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
        remarks=tuple(sample.remarks(everything.weight, everything.square)),
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
