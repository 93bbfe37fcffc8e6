"""Compares one filled sample with the filled reference."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from mlgen.stages import ProgressCallback, no_progress
from mlgen.validation.axes import Axis
from mlgen.validation.bands import band
from mlgen.validation.classifier import classifier_test
from mlgen.validation.distances import distances
from mlgen.validation.filling import Filled
from mlgen.validation.observable import Features, FloatArray, Kind
from mlgen.validation.record import (
    ClassifierTest,
    Comparison,
    Histogram,
    ObservableResult,
    SampleRecord,
    ShapeTest,
    Verdict,
)
from mlgen.validation.settings import ValidationSettings
from mlgen.validation.shape_tests import BinnedSample, adjusted_p_values, compare_shapes, rate_p_value
from mlgen.validation.verdicts import comparison_words, missing_verdict, observable_verdict
from mlgen.validation.wasserstein import total_variation, wasserstein


def compare(
    reference: Filled,
    sample: Filled,
    reference_record: SampleRecord,
    sample_record: SampleRecord,
    settings: ValidationSettings,
    *,
    seed: int,
    differences: tuple[str, ...] = (),
    progress: ProgressCallback = no_progress,
) -> Comparison:
    """Compare two samples whose histograms have the same axes.

    Args:
        reference: The reference, with its halves.
        sample: The sample.
        reference_record: Who the reference is.
        sample_record: Who the sample is.
        settings: What is tested.
        seed: Of the classifiers and of random halves.
        differences: What is known to differ in content, in sentences.
        progress: Called after each training of a classifier.
    """
    rng = np.random.default_rng([seed, 1])
    lower, upper = _halves(reference.features, len(sample.features), rng)
    part = _part(sample.features, len(lower), rng)
    results = []
    for row, axis in enumerate(reference.axes):
        tested = _tested(axis, reference, sample, row, settings.bins)
        floor = _floor(axis, reference, row, settings.bins) if tested is not None else None
        results.append(
            ObservableResult(
                observable=axis.observable,
                edges=axis.drawn_edges,
                log=axis.log,
                reference=_histogram(axis, reference, row),
                sample=_histogram(axis, sample, row),
                test=tested,
                floor=floor,
                adjusted_p_value=math.nan,
                wasserstein=_distance(axis, lower, part, row),
                wasserstein_floor=_distance(axis, lower, upper, row),
                verdict=Verdict.AGREES,
                words="",
            )
        )
    tested_by = _classifier(reference, sample, settings, seed, progress)
    rate = rate_p_value(
        reference_record.cross_section,
        reference_record.cross_section_error,
        sample_record.cross_section,
        sample_record.cross_section_error,
    )
    measures = tested_by.measures if tested_by is not None else ()
    classifier_p = np.array([m.p_value for m in measures])
    shapes = np.array([r.test.p_value if r.test is not None and r.test.ndf else math.nan for r in results])
    adjusted = adjusted_p_values(np.concatenate([shapes, [rate], classifier_p]))
    shape_p, rate_adjusted, classifier_p = adjusted[: len(shapes)], adjusted[len(shapes)], adjusted[len(shapes) + 1 :]
    expected = min(reference.effective_events, sample.effective_events)
    results = [_judged(result, float(p), settings, expected) for result, p in zip(results, shape_p, strict=True)]
    known = adjusted[np.isfinite(adjusted)]
    smallest = float(known.min()) if len(known) else math.nan
    missing = [r.observable.name for r in results if r.verdict is Verdict.MISSING]
    words = comparison_words(
        results,
        float(rate_adjusted),
        tested_by,
        float(np.nanmin(classifier_p)) if np.isfinite(classifier_p).any() else math.nan,
        len(known),
        smallest,
        settings.significance,
    )
    if missing:
        words += f"; only one of the samples has {', '.join(missing[:5])}{' and others' if len(missing) > 5 else ''}"
    return Comparison(
        sample=sample_record,
        observables=tuple(results),
        rate_p_value=rate,
        classifier=tested_by,
        distances=distances(reference.features, sample.features, np.random.default_rng([seed, 2])),
        differences=differences,
        p_value=smallest,
        agrees=bool(len(known)) and smallest >= settings.significance and not missing,
        words=words,
    )


def _tested(axis: Axis, reference: Filled, sample: Filled, row: int, bins: int) -> ShapeTest | None:
    first = BinnedSample(reference.sums[row].sum(axis=0), reference.squares[row].sum(axis=0))
    second = BinnedSample(sample.sums[row].sum(axis=0), sample.squares[row].sum(axis=0))
    if not first.squares.any() or not second.squares.any():
        return None
    return compare_shapes(
        first, second, axis.edges, kind=axis.observable.kind, periodic=axis.observable.periodic, bins=bins
    )


def _floor(axis: Axis, reference: Filled, row: int, bins: int) -> ShapeTest | None:
    first, second = (BinnedSample(reference.sums[row][half], reference.squares[row][half]) for half in range(2))
    if not first.squares.any() or not second.squares.any():
        return None
    observable = axis.observable
    return compare_shapes(first, second, axis.edges, kind=observable.kind, periodic=observable.periodic, bins=bins)


def _histogram(axis: Axis, filled: Filled, row: int) -> Histogram | None:
    sums, squares = filled.sums[row].sum(axis=0), filled.squares[row].sum(axis=0)
    if not squares.any():
        return None
    total = float(sums.sum())
    scale = 1 / total if total else math.nan

    def drawn(fine: FloatArray) -> FloatArray:
        return np.asarray(np.add.reduceat(fine[1:-1], np.arange(0, len(fine) - 2, axis.merge)), np.float64)

    values = drawn(sums) * scale
    varied = {name: drawn(content) / content.sum() for name, content in filled.bands[row].items() if content.sum()}
    return Histogram(
        values=values,
        variances=drawn(squares) * scale**2,
        underflow=(float(sums[0] * scale), float(squares[0] * scale**2)),
        overflow=(float(sums[-1] * scale), float(squares[-1] * scale**2)),
        band=band(values, varied),
        missing=float(filled.lacking[row] / filled.weight) if filled.weight else math.nan,
    )


def _halves(features: Features, other: int, rng: np.random.Generator) -> tuple[Features, Features]:
    """Two disjoint random parts of the reference, of one size, not larger than the sample."""
    size = min(len(features) // 2, other)
    order = rng.permutation(len(features))
    first, second = (
        Features(features.values[chosen], features.weight[chosen], features.observables)
        for chosen in (order[:size], order[size : 2 * size])
    )
    return first, second


def _part(features: Features, size: int, rng: np.random.Generator) -> Features:
    chosen = rng.permutation(len(features))[:size]
    return Features(features.values[chosen], features.weight[chosen], features.observables)


def _distance(axis: Axis, first: Features, second: Features, row: int) -> float:
    if not len(first) or not len(second):
        return math.nan
    columns = [(f.values[:, row], f.weight) for f in (first, second)]
    (a, wa), (b, wb) = [(x[known], w[known]) for x, w in columns for known in [np.isfinite(x)]]
    if not len(a) or not len(b) or wa.sum() == 0 or wb.sum() == 0:
        return math.nan
    if axis.observable.kind is Kind.CATEGORY:
        return total_variation(a, wa, b, wb)
    return wasserstein(a, wa, b, wb, period=2 * math.pi if axis.observable.periodic else None)


def _classifier(
    reference: Filled, sample: Filled, settings: ValidationSettings, seed: int, progress: ProgressCallback
) -> ClassifierTest | None:
    if settings.classifier is False:
        return None
    used = [row for row, axis in enumerate(reference.axes) if axis.observable.feature]
    true, other = (
        Features(f.features.values[:, used], f.features.weight, tuple(reference.axes[row].observable for row in used))
        for f in (reference, sample)
    )
    return classifier_test(true, other, settings.classifier, seed=seed, progress=progress)


def _judged(result: ObservableResult, adjusted: float, settings: ValidationSettings, events: float) -> ObservableResult:
    if result.test is None:
        present = result.reference or result.sample
        expected = events * (1 - present.missing) if present is not None else 0.0
        verdict, words = missing_verdict("sample" if result.sample is None else "reference", expected)
    else:
        verdict, words = observable_verdict(
            result.observable, result.test, adjusted, settings.significance, _within_band(result)
        )
    return dataclasses.replace(result, adjusted_p_value=adjusted, verdict=verdict, words=words)


def _within_band(result: ObservableResult) -> bool:
    """Whether the band of the sample covers the reference in the most deviant region, within twice its error."""
    if result.test is None or result.test.deviation is None or result.sample is None or result.reference is None:
        return False
    if result.sample.band is None:
        return False
    place, centres = result.test.deviation, (result.edges[1:] + result.edges[:-1]) / 2
    inside = (centres >= place.lower) & (centres <= place.upper)
    low, high = (edge[inside].sum() for edge in result.sample.band)
    error = 2 * math.sqrt(float(result.reference.variances[inside].sum() + result.sample.variances[inside].sum()))
    return bool(inside.any() and low - error <= result.reference.values[inside].sum() <= high + error)
