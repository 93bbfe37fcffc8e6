"""Compares one filled sample with the filled reference."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mlgen.seeds import Work, random_generator
from mlgen.stages import ProgressCallback, no_progress
from mlgen.validation.axes import Axis
from mlgen.validation.bands import band
from mlgen.validation.classifier import classifier_test
from mlgen.validation.distances import distances
from mlgen.validation.family import Family
from mlgen.validation.filling import Filled, Sums
from mlgen.validation.observable import USER, Features, FloatArray, Kind
from mlgen.validation.record import (
    ClassifierTest,
    Comparison,
    Deviation,
    Histogram,
    ObservableResult,
    SampleRecord,
    ShapeTest,
    Verdict,
)
from mlgen.validation.settings import ValidationSettings
from mlgen.validation.shape_tests import BinnedSample, compare_shapes
from mlgen.validation.shares import share_test, two_sided_p_value
from mlgen.validation.shower_comparison import ShowerComparison
from mlgen.validation.verdicts import comparison_words, missing_verdict, observable_verdict
from mlgen.validation.wasserstein import total_variation, total_variation_floor, wasserstein, wasserstein_floor

#: Random halvings of the reference from which the floor of the Wasserstein distance is taken.
SPLITS = 20


def compare(
    reference: Filled,
    sample: Filled,
    reference_record: SampleRecord,
    sample_record: SampleRecord,
    settings: ValidationSettings,
    *,
    seed: int,
    differences: tuple[str, ...] = (),
    showers: ShowerComparison | None = None,
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
        showers: What was found from the showers themselves; its classifiers stand beside those of the observables.
        progress: Called after each training of a classifier.
    """
    rng = random_generator(seed, Work.COMPARE, 1)
    first, second = (filled.features for filled in (reference, sample))
    size = min(len(first) // 2, len(second))
    subsets = [_part(first, 2 * size, rng), _part(second, size, rng)]
    results = [_result(axis, reference, sample, row, settings, subsets, rng) for row, axis in enumerate(reference.axes)]
    tested_by = _classifier(reference, sample, settings, seed, progress)
    if showers is not None and tested_by is not None:
        tested_by = showers.with_low_level(tested_by)
    rate = _rate(reference_record, sample_record)
    acceptance = None
    if settings.select:
        acceptance = share_test(reference.chosen, reference.everything, sample.chosen, sample.everything)
    family = Family(
        shapes=[r.test.p_value if r.test is not None and r.test.ndf else math.nan for r in results],
        presence=[r.presence.p_value if r.presence is not None else math.nan for r in results],
        numbers=[rate, acceptance.p_value if acceptance is not None else math.nan],
        classifiers=[m.p_value for m in tested_by.measures] if tested_by is not None else [],
    )
    expected = min(reference.effective_events, sample.effective_events)
    judged = tuple(
        _judged(result, shape, presence, settings, expected, _within_band(result, sample, row))
        for row, (result, shape, presence) in enumerate(
            zip(results, family.adjusted_shapes, family.adjusted_presence, strict=True)
        )
    )
    seen, other = _seen(reference, sample)
    missing = any(result.verdict is Verdict.MISSING for result in judged)
    return Comparison(
        sample=sample_record,
        observables=judged,
        rate_p_value=rate,
        acceptance=acceptance,
        classifier=tested_by,
        distances=distances(seen, other, random_generator(seed, Work.COMPARE, 2)),
        differences=differences,
        p_value=0.0 if missing else family.smallest,
        agrees=bool(family.tests) and family.smallest >= settings.significance and not missing,
        words=comparison_words(
            judged, family, tested_by, settings.significance, (reference.effective_events, sample.effective_events)
        ),
        showers=showers,
    )


def _result(
    axis: Axis,
    reference: Filled,
    sample: Filled,
    row: int,
    settings: ValidationSettings,
    subsets: Sequence[Features],
    rng: np.random.Generator,
) -> ObservableResult:
    tested = _tested(axis, reference, sample, row, settings.bins)
    presence = None
    if axis.observable.group == USER:
        present = [_without(filled.chosen, filled.lacking[row]) for filled in (reference, sample)]
        presence = share_test(present[0], reference.chosen, present[1], sample.chosen)
    floor, floor_error = _distance_floor(axis, subsets[0], row, rng)
    return ObservableResult(
        observable=axis.observable,
        edges=axis.drawn_edges,
        log=axis.log,
        reference=_histogram(axis, reference, row),
        sample=_histogram(axis, sample, row),
        test=tested,
        floor=_floor(axis, reference, row, settings.bins) if tested is not None else None,
        presence=presence,
        adjusted_p_value=math.nan,
        wasserstein=_distance(axis, subsets, row),
        wasserstein_floor=floor,
        wasserstein_floor_error=floor_error,
        verdict=Verdict.AGREES,
        words="",
    )


def _without(everything: Sums, part: Sums) -> Sums:
    return Sums(everything.weight - part.weight, max(everything.square - part.square, 0.0))


def _rate(reference: SampleRecord, sample: SampleRecord) -> float:
    """p-value of equal cross sections; NaN for one that was copied, which tests nothing."""
    first = (reference.cross_section, reference.cross_section_error)
    second = (sample.cross_section, sample.cross_section_error)
    if first == second and first[1] > 0:
        return math.nan
    return two_sided_p_value(*first, *second)


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
        missing=filled.lacking[row].weight / filled.chosen.weight if filled.chosen.weight else math.nan,
    )


def _part(features: Features, size: int, rng: np.random.Generator) -> Features:
    chosen = rng.permutation(len(features))[:size]
    return Features(features.values[chosen], features.weight[chosen], features.observables)


def _known(features: Features, row: int) -> tuple[FloatArray, FloatArray]:
    known = np.isfinite(features.values[:, row])
    return features.values[known, row], features.weight[known]


def _distance(axis: Axis, subsets: Sequence[Features], row: int) -> float:
    """Distance of half of the reference's subset from the sample's."""
    size = len(subsets[1])
    half = Features(subsets[0].values[:size], subsets[0].weight[:size], subsets[0].observables)
    (a, first), (b, second) = _known(half, row), _known(subsets[1], row)
    if axis.observable.kind is Kind.CATEGORY:
        return total_variation(a, first, b, second)
    return wasserstein(a, first, b, second, period=_period(axis))


def _distance_floor(axis: Axis, features: Features, row: int, rng: np.random.Generator) -> tuple[float, float]:
    values, weight = _known(features, row)
    if axis.observable.kind is Kind.CATEGORY:
        return total_variation_floor(values, weight, rng, splits=SPLITS)
    return wasserstein_floor(values, weight, rng, splits=SPLITS, period=_period(axis))


def _period(axis: Axis) -> float | None:
    return 2 * math.pi if axis.observable.periodic else None


def _seen(*samples: Filled) -> tuple[Features, ...]:
    """What the classifier and the distances see of samples: the observables that are features."""
    used = [row for row, axis in enumerate(samples[0].axes) if axis.observable.feature]
    observables = tuple(samples[0].axes[row].observable for row in used)
    return tuple(Features(s.features.values[:, used], s.features.weight, observables) for s in samples)


def _classifier(
    reference: Filled, sample: Filled, settings: ValidationSettings, seed: int, progress: ProgressCallback
) -> ClassifierTest | None:
    if settings.classifier is False:
        return None
    first, second = _seen(reference, sample)
    return classifier_test(first, second, settings.classifier, seed=seed, progress=progress)


def _judged(
    result: ObservableResult,
    shape: float,
    presence: float,
    settings: ValidationSettings,
    events: float,
    within_band: bool,
) -> ObservableResult:
    if result.test is None:
        present = result.reference or result.sample
        expected = events * (1 - present.missing) if present is not None else 0.0
        verdict, words = missing_verdict("sample" if result.sample is None else "reference", expected)
        return dataclasses.replace(result, verdict=verdict, words=words)
    verdict, words = observable_verdict(result, shape, presence, settings.significance, within_band=within_band)
    smallest = min((p for p in (shape, presence) if math.isfinite(p)), default=math.nan)
    return dataclasses.replace(result, adjusted_p_value=smallest, verdict=verdict, words=words)


def _within_band(result: ObservableResult, sample: Filled, row: int) -> bool:
    """Whether the band that the sample gives itself covers the reference in the most deviant region.

    The band of the region's share is made from the share in each named weight; the statistical errors count twice.
    """
    place = result.test.deviation if result.test is not None else None
    if place is None or not sample.bands[row] or not math.isfinite(place.ratio):
        return False
    inside = _region(sample.axes[row], place)
    nominal = sample.sums[row].sum(axis=0)
    shares = {name: content[inside].sum() / content.sum() for name, content in sample.bands[row].items()}
    share = nominal[inside].sum() / nominal.sum()
    span = band(np.array([share]), {name: np.array([value]) for name, value in shares.items()})
    if span is None or not place.share:
        return False
    error = 2 * place.error * place.share
    return bool(span[0, 0] - error <= place.share <= span[1, 0] + error)


def _region(axis: Axis, place: Deviation) -> npt.NDArray[np.bool_]:
    """The fine bins of a region, with both flows, ``(fine + 2,)``."""
    centres = np.concatenate([[-np.inf], (axis.edges[1:] + axis.edges[:-1]) / 2, [np.inf]])
    if place.lower > place.upper:
        return (centres >= place.lower) | (centres <= place.upper)
    return (centres >= place.lower) & (centres <= place.upper)
