"""Turns numbers into words: what is said of an observable, of a whole comparison, and whether a gate holds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlgen.validation.family import Family
from mlgen.validation.observable import Kind, Observable
from mlgen.validation.record import (
    ClassifierTest,
    Deviation,
    Measure,
    ObservableResult,
    Verdict,
)

#: p-values below this say nothing more: no test is understood so far out in its tail.
SMALLEST_P = 1e-16


def sigma(p_value: float) -> float:
    """Standard deviations of a normal distribution beyond which a two-sided p-value lies."""
    from scipy.stats import norm

    if math.isnan(p_value):
        return math.nan
    return float(norm.isf(max(p_value, SMALLEST_P) / 2))


def number(value: float, digits: int = 3) -> str:
    """Write a number of a sentence."""
    return f"{value:.{digits}g}"


def p_text(value: float) -> str:
    """Write a p-value."""
    if math.isnan(value):
        return "no p-value"
    return f"p < {SMALLEST_P:g}" if value < SMALLEST_P else f"p = {value:.2g}"


def region(observable: Observable, lower: float, upper: float) -> str:
    """Say where something is, in the observable's unit."""
    unit = f" {observable.unit}" if observable.unit and observable.unit != "rad" else ""
    if observable.kind is Kind.CATEGORY:
        code = round((lower + upper) / 2) if math.isfinite(lower + upper) else -1
        return f"for {observable.categories[code]}" if 0 <= code < len(observable.categories) else "for other classes"
    if observable.kind is Kind.INTEGER and math.isfinite(lower + upper):
        first, last = math.ceil(lower), math.floor(upper)
        return f"at {first}" if first >= last else f"from {first} to {last}"
    if not math.isfinite(lower) and not math.isfinite(upper):
        return "everywhere"
    if not math.isfinite(lower):
        return f"below {number(upper, 4)}{unit}"
    if not math.isfinite(upper):
        return f"above {number(lower, 4)}{unit}"
    if lower > upper:
        return f"from {number(lower, 4)} over the ends to {number(upper, 4)}{unit}"
    return f"from {number(lower, 4)} to {number(upper, 4)}{unit}"


def size(deviation: Deviation) -> str:
    """Say how large a deviation is."""
    if not math.isfinite(deviation.ratio) or deviation.ratio <= 0 or deviation.ratio > 3:
        if not math.isfinite(deviation.ratio):
            return "events where the reference has none,"
        return f"{number(deviation.ratio)} times the events of the reference"
    change = deviation.ratio - 1
    direction = "more" if change > 0 else "fewer"
    return f"({100 * abs(change):.1f} +- {100 * deviation.error:.1f}) % {direction} events"


def short_size(deviation: Deviation) -> str:
    """Write the size of a deviation for a table."""
    if not math.isfinite(deviation.ratio) or deviation.ratio <= 0 or deviation.ratio > 3:
        return f"{number(deviation.ratio)} times" if math.isfinite(deviation.ratio) else "new"
    return f"{100 * (deviation.ratio - 1):+.1f} ± {100 * deviation.error:.1f} %"


def observable_verdict(
    result: ObservableResult, shape: float, presence: float, limit: float, *, within_band: bool
) -> tuple[Verdict, str]:
    """Say what the tests of one observable mean.

    Args:
        result: The observable with its tests.
        shape: p-value of the shape after the number of tests; NaN, it could not be tested.
        presence: Of the share of events that have the observable; NaN, it was not tested.
        limit: Below it the observable differs.
        within_band: Whether the deviation of the shape lies within the sample's own band.
    """
    place = result.test.deviation if result.test is not None else None
    where = f"{size(place)} {_there(result.observable, place)}" if place is not None else ""
    words = []
    if shape < limit:
        band = "; within the sample's own uncertainty band" if within_band else ""
        words.append(
            f"{where} ({p_text(shape)} after all tests){band}" if where else f"{p_text(shape)} after all tests"
        )
    if presence < limit and (share := result.presence) is not None:
        words.append(
            f"({100 * share.sample:.2f} +- {100 * share.sample_error:.2f}) % of the events have it, in the reference "
            f"({100 * share.reference:.2f} +- {100 * share.reference_error:.2f}) % ({p_text(presence)} after all tests)"
        )
    if words:
        return Verdict.DIFFERS, f"differs: {'; '.join(words)}"
    if math.isnan(shape):
        if result.test is not None and result.test.p_value == 1:
            return Verdict.TOO_FEW, "all but a few events of both samples lie in one bin, so no shape can be tested"
        return Verdict.TOO_FEW, "too few events to say anything"
    if result.test is not None and result.test.chi2 == 0:
        return Verdict.AGREES, "identical"
    return Verdict.AGREES, f"agrees; at most {where}" if where else "agrees"


def _there(observable: Observable, place: Deviation) -> str:
    return f"{region(observable, place.lower, place.upper)}, {abs(place.significance):.1f} sigma there"


#: A sample that lacks an observable although so many events with it are expected differs in kind.
EXPECTED = 20.0


def missing_verdict(lacking: str, expected: float) -> tuple[Verdict, str]:
    """Say what it means that a whole sample has no event with an observable.

    Args:
        lacking: ``reference`` or ``sample``.
        expected: Events with it that would be expected there.
    """
    if expected < EXPECTED:
        return Verdict.TOO_FEW, f"no event of the {lacking} has it, and only {expected:.2g} are expected"
    return Verdict.MISSING, f"no event of the {lacking} has it, {expected:,.0f} are expected"


def comparison_words(
    results: Sequence[ObservableResult],
    family: Family,
    classifier: ClassifierTest | None,
    limit: float,
    events: tuple[float, float],
) -> str:
    """Say what a whole comparison means, in a sentence.

    Args:
        results: Every observable with its verdict.
        family: All tests.
        classifier: The classifiers.
        limit: p-value below which something differs.
        events: Effective events of the two samples.
    """
    parts = []
    missing = [r.observable.name for r in results if r.verdict is Verdict.MISSING]
    differing = sorted(
        (r for r in results if r.verdict is Verdict.DIFFERS), key=lambda r: (r.adjusted_p_value, -_strength(r))
    )
    if differing:
        tested = len(results) - len(missing)
        parts.append(
            f"{len(differing)} of {tested} observables, most {_first_of([r.observable.name for r in differing])}"
        )
    if missing:
        parts.append(f"only one of the samples has {_first_of(missing)}")
    for p_value, what in zip(family.adjusted_numbers, ("the cross section", "what the selection keeps"), strict=True):
        if p_value < limit:
            parts.append(f"{what} ({p_text(p_value)} after all tests)")
    if any(p_value < limit for p_value in family.adjusted_classifiers):
        parts.append(f"a classifier tells the samples apart ({_best(classifier)})")
    if parts:
        return f"differs: {'; '.join(parts)}"
    if not family.tests:
        return "nothing can be said: there are too few events for any test"
    how = _best(classifier)
    seen = f", and a classifier cannot tell the samples apart ({how})" if how else ""
    tests = "the only test made does not find" if family.tests == 1 else f"none of {family.tests} tests finds"
    could = 100 * seen_deviation(events, family.tests, limit)
    percent = f"{could:.2g}" if could < 100 else f"{could:.0f}"
    return (
        f"agrees: {tests} a difference ({p_text(family.smallest)} after all tests){seen}; "
        f"of a tenth of the events, {percent} % too many or too few would have been noticed"
    )


def seen_deviation(events: tuple[float, float], tests: int, limit: float) -> float:
    """Relative deviation of the content of a region with a tenth of the events that would just be significant.

    Args:
        events: Effective events of the two samples.
        tests: Number of tests.
        limit: p-value below which something differs.
    """
    from scipy.stats import norm

    share = 0.1
    # Regions of that size compete with each other as well.
    significance = float(norm.isf(limit * share / (2 * max(tests, 1))))
    return significance * math.sqrt((1 - share) / share * sum(1 / max(n, 1.0) for n in events))


def _first_of(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} others" if len(names) > 3 else "")


def _strength(result: ObservableResult) -> float:
    deviation = result.test.deviation if result.test else None
    return abs(deviation.significance) if deviation else 0.0


def _best(classifier: ClassifierTest | None) -> str:
    measures: Sequence[Measure] = classifier.measures if classifier is not None else ()
    if not measures:
        return ""
    best = max(measures, key=lambda m: m.value)
    name = best.name.removeprefix("AUC, ")
    floor = f", floor {best.floor:.4f}" if math.isfinite(best.floor) else ""
    return f"AUC {best.value:.4f} +- {best.error:.4f}, {name}{floor}"
