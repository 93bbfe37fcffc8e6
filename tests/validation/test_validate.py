"""The promise of `mlgen validate`: what differs is found and named, what does not is left alone."""

import math

import numpy as np
import pytest

from mlgen.testing.samples import drell_yan_events
from mlgen.validation.axes import choose_axis
from mlgen.validation.compare import compare
from mlgen.validation.event_observables import choose_observables
from mlgen.validation.filling import Filler
from mlgen.validation.observable import Values
from mlgen.validation.record import SampleRecord, Verdict
from mlgen.validation.settings import ValidationSettings

SETTINGS = ValidationSettings(classifier=False)
EVENTS = 100_000


class Observed:
    """Observables of Drell-Yan events, computed once; samples of them are cut out as often as they are needed."""

    def __init__(self, n: int) -> None:
        batch, _ = drell_yan_events(n, np.random.default_rng(21))
        observables = choose_observables([[batch[:20_000]]], SETTINGS)
        self.values = observables(batch).values
        self.definitions = observables.definitions
        self.names = [observable.name for observable in observables.definitions]
        pilots = self.values[:, :20_000]
        self.axes = [choose_axis(o, [pilots[row]], SETTINGS.bins) for row, o in enumerate(self.definitions)]

    def filled(self, values, weight=None, *, seed=1, halves=False, keep=500):
        n = values.shape[1]
        filler = Filler(self.axes, [], keep, halves)
        weight = np.ones(n) if weight is None else weight
        rng = np.random.default_rng(seed)
        filler.add(Values(values, np.arange(n)), weight, {}, rng)
        return filler.finished()

    def compared(self, reference, sample, *, seed=1, weight=None):
        first = self.filled(reference, seed=seed, halves=True)
        second = self.filled(sample, weight, seed=seed + 1)
        return compare(first, second, record("truth"), record("new"), SETTINGS, seed=seed)


def record(name):
    return SampleRecord(name, (), "lhe", 0, 0, 0.0, 0.0, math.nan, math.nan, "", "")


@pytest.fixture(scope="module")
def observed():
    return Observed(2 * EVENTS)


def differing(comparison):
    return [r.observable.name for r in comparison.observables if r.verdict is Verdict.DIFFERS]


def result_of(comparison, name):
    return next(r for r in comparison.observables if r.observable.name == name)


@pytest.mark.physics
def test_two_halves_of_one_sample_are_not_flagged(observed):
    """At most 3 of 50 halvings are flagged; 0.5 are expected with the settings' 1 % (more than 3: p < 2e-3).

    `benchmarks/validation.py alarms 100` takes a hundred, with classifiers.
    """
    flagged = 0
    for seed in range(50):
        order = np.random.default_rng(seed).permutation(20_000)
        first, second = observed.values[:, order[:10_000]], observed.values[:, order[10_000:]]
        flagged += not observed.compared(first, second, seed=seed).agrees
    assert flagged <= 3


@pytest.mark.physics
@pytest.mark.parametrize("name", ["pT(mu-)", "pT(mu+)", "m(mu-, mu+)", "deltaR(mu-, mu+)"])
def test_a_scale_that_is_two_per_cent_off_in_one_of_100000_events_observables_is_found_and_named(observed, name):
    sample = observed.values[:, EVENTS:].copy()
    sample[observed.names.index(name)] *= 1.02
    assert differing(observed.compared(observed.values[:, :EVENTS], sample)) == [name]


@pytest.mark.physics
def test_two_per_cent_of_the_events_in_the_wrong_place_are_found_there(observed):
    """2 % of the events move into m(mu-, mu+) = 80 to 82 GeV, where 1 % of all belong."""
    sample = observed.values[:, EVENTS:].copy()
    row = observed.names.index("m(mu-, mu+)")
    rng = np.random.default_rng(22)
    moved = rng.choice(EVENTS, EVENTS // 50, replace=False)
    sample[row, moved] = rng.uniform(80, 82, len(moved))
    comparison = observed.compared(observed.values[:, :EVENTS], sample)
    assert differing(comparison) == ["m(mu-, mu+)"]
    place = result_of(comparison, "m(mu-, mu+)").test.deviation
    assert 78 < place.lower <= 80.1
    assert 81.9 <= place.upper < 84
    assert place.ratio > 1.5
    assert "more events from" in result_of(comparison, "m(mu-, mu+)").words


@pytest.mark.physics
def test_weights_that_are_four_per_cent_too_large_in_one_half_and_too_small_in_the_other_are_found(observed):
    """100,000 independent events against as many: 8.9 standard deviations for a test that knows the halves."""
    reference, sample = observed.values[:, :EVENTS], observed.values[:, EVENTS:]
    weight = np.where(sample[observed.names.index("eta(mu-)")] > 0, 1.04, 0.96)
    comparison = observed.compared(reference, sample, weight=weight)
    assert "eta(mu-)" in differing(comparison)
    place = result_of(comparison, "eta(mu-)").test.deviation
    assert min(abs(place.lower), abs(place.upper)) < 0.3


@pytest.mark.physics
def test_weighted_events_that_mean_the_same_are_not_flagged(observed):
    """Events accepted with probability w and weighted by 1/w."""
    rng = np.random.default_rng(23)
    sample = observed.values[:, EVENTS:]
    pt = sample[observed.names.index("pT(mu-)")]
    probability = np.clip(pt / 60, 0.1, 1)
    kept = rng.random(EVENTS) < probability
    comparison = observed.compared(observed.values[:, :EVENTS], sample[:, kept], weight=1 / probability[kept])
    assert comparison.agrees
    assert not observed.compared(observed.values[:, :EVENTS], sample[:, kept]).agrees


@pytest.mark.physics
def test_negative_weights_cancel_what_they_should(observed):
    """Events near pT = 40 GeV come twice, and are taken off again by other events with negative weights."""
    near = np.abs(observed.values[observed.names.index("pT(mu-)")] - 40) < 2
    reference, sample, others = (observed.values[:, part::3] for part in range(3))
    near_others = others[:, near[2::3]]
    half = near_others.shape[1] // 2
    values = np.concatenate([sample, near_others[:, : 2 * half]], axis=1)
    weight = np.concatenate([np.ones(sample.shape[1]), np.ones(half), -np.ones(half)])
    assert observed.compared(reference, values, weight=weight).agrees
    assert not observed.compared(reference, values, weight=np.abs(weight)).agrees


def test_an_observable_that_one_sample_lacks_is_named(observed):
    sample = observed.values[:, 10_000:20_000].copy()
    sample[observed.names.index("pT(j1)")] = np.nan
    comparison = observed.compared(observed.values[:, :10_000], sample)
    assert result_of(comparison, "pT(j1)").verdict is Verdict.MISSING
    assert not comparison.agrees
    assert "pT(j1)" in comparison.words


def test_a_handful_of_events_decides_nothing(observed):
    comparison = observed.compared(observed.values[:, :10], observed.values[:, 10:20])
    assert {r.verdict for r in comparison.observables} == {Verdict.TOO_FEW}
    assert not comparison.agrees
    assert "nothing can be said" in comparison.words
