"""The pilot of a two-stage unweighting: priority sampling against the sums that it estimates."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlgen.stages import Candidates
from mlgen_unweighting import pilot as module
from mlgen_unweighting.pilot import Pilot, PilotSample


def population(n=3000, seed=1):
    """Surrogate weights, true weights of both signs, and what the candidates are drawn by."""
    rng = np.random.default_rng(seed)
    surrogate = rng.lognormal(sigma=1.2, size=n)
    exact = surrogate * rng.normal(1.0, 0.8, n)
    return surrogate, exact, surrogate + 0.1 * surrogate.mean()


def sampled(surrogate, exact, drawn_by, size, parts=1):
    sample, before = PilotSample(size), 0
    for part in np.array_split(np.arange(len(exact)), parts):
        batch = Candidates(surrogate[part], exact[part].__getitem__)
        sample.add(np.arange(len(part)), surrogate[part], drawn_by[part], batch, before)
        before += len(part)
    return sample


class TestSums:
    FUNCTIONS = (
        lambda surrogate, exact: np.ones_like(exact),
        lambda surrogate, exact: surrogate,
        lambda surrogate, exact: exact,
        lambda surrogate, exact: np.abs(exact),
        lambda surrogate, exact: exact**2,
        # Hardly any of these is drawn: each that is stands for many.
        lambda surrogate, exact: (surrogate < 0.1).astype(float),
    )

    @pytest.mark.parametrize(("size", "wanted"), [(300, 300), (300, 100), (4, 4), (20, 4)])
    def test_unbiased(self, size, wanted, monkeypatch):
        """Over 200 streams of random numbers, 6 sums, each within 4 standard errors of their spread.

        With 4, a threshold that is one place off is a bias of 1 in 3, or some 6 standard errors.
        """
        surrogate, exact, drawn_by = population()
        found = []
        for seed in range(200):
            monkeypatch.setattr(module, "_SEED", seed)
            pilot = sampled(surrogate, exact, drawn_by, size, 3).evaluated(wanted)
            assert len(pilot.exact) == wanted
            found.append([np.sum(pilot.multiplicity * f(pilot.surrogate, pilot.exact)) for f in self.FUNCTIONS])
        error = np.std(found, axis=0, ddof=1) / math.sqrt(len(found))
        expected = np.array([np.sum(f(surrogate, exact)) for f in self.FUNCTIONS])
        # What it is drawn by, about.
        assert error[1] < 1.5 * expected[1] / math.sqrt((wanted - 1) * len(found))
        assert np.all(np.abs(np.mean(found, axis=0) - expected) < 4 * error)

    def test_variance_of_what_it_is_drawn_by(self, monkeypatch):
        """At most 1/(k - 1) of the square of the sum (Szegedy 2006), for any sizes; 4 sigma of a variance of 400."""
        surrogate, exact, drawn_by = population()
        found = []
        for seed in range(400):
            monkeypatch.setattr(module, "_SEED", seed)
            pilot = sampled(surrogate, exact, drawn_by, 50).evaluated(50)
            found.append(np.sum(pilot.multiplicity * drawn_by[pilot.number]) / drawn_by.sum())
        assert np.var(found, ddof=1) < (1 + 4 * math.sqrt(2 / 399)) / 49

    def test_all_of_a_short_stream(self):
        surrogate, exact, drawn_by = population(300)
        for size in (300, 1000):
            pilot = sampled(surrogate, exact, drawn_by, size, 4).evaluated(size)
            np.testing.assert_array_equal(pilot.multiplicity, 1.0)
            np.testing.assert_array_equal(pilot.number, np.arange(300))
            np.testing.assert_array_equal(pilot.exact, exact)

    def test_large_sizes_are_always_there_and_stand_for_themselves(self):
        surrogate, exact, drawn_by = population()
        drawn_by[[5, 2000]] = 1e6 * drawn_by.sum()
        pilot = sampled(surrogate, exact, drawn_by, 100, 7).evaluated(20)
        for number in (5, 2000):
            assert pilot.multiplicity[pilot.number == number].tolist() == [1.0]


class TestStream:
    @pytest.mark.parametrize("parts", [1, 2, 13])
    def test_same_stream_gives_the_same_pilot_in_whatever_batches(self, parts):
        one, other = (sampled(*population(), 200, number).evaluated(150) for number in (1, parts))
        for name in ("surrogate", "exact", "multiplicity", "number"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))

    def test_places_and_numbers(self):
        """In each batch some candidates are left out, as those that vanish are."""
        surrogate, exact, drawn_by = population(1000)
        sample, asked, before = PilotSample(120), {}, 0
        for batch, part in enumerate(np.array_split(np.arange(1000), 5)):
            index = np.flatnonzero(np.arange(len(part)) % 3 > 0)

            def exact_weight(places, batch=batch, part=part):
                asked.setdefault(batch, []).append(places)
                return exact[part[places]]

            sample.add(
                index, surrogate[part[index]], drawn_by[part[index]], Candidates(surrogate[part], exact_weight), before
            )
            before += len(part)
        # No true weight is asked for before the stream ends.
        assert not asked
        pilot = sample.evaluated(120)
        assert sorted(asked) == list(range(5))
        assert all(len(calls) == 1 for calls in asked.values())
        numbers = np.concatenate([asked[batch][0] + 200 * batch for batch in range(5)])
        np.testing.assert_array_equal(pilot.number, numbers)
        assert np.all(np.diff(pilot.number) > 0)
        assert np.all(pilot.number % 200 % 3 > 0)
        np.testing.assert_array_equal(pilot.surrogate, surrogate[pilot.number])
        np.testing.assert_array_equal(pilot.exact, exact[pilot.number])

    def test_batches_without_candidates(self):
        surrogate, exact, drawn_by = population(100)
        sample, nothing = PilotSample(10), np.empty(0)
        batch, empty = (Candidates(weight, exact.__getitem__) for weight in (surrogate, nothing))
        sample.add(nothing.astype(int), nothing, nothing, empty, 0)
        sample.add(np.arange(100), surrogate, drawn_by, batch, 0)
        sample.add(nothing.astype(int), nothing, nothing, empty, 100)
        assert len(sample.evaluated(10).exact) == 10
        assert len(PilotSample(10).evaluated(10).exact) == 0


class TestClaimedErrors:
    def test_they_are_those_of_the_candidates_and_only_where_they_are_wanted(self):
        surrogate, exact, drawn_by = population(400)
        claimed = np.random.default_rng(5).random(400)
        sample = PilotSample(50)
        for part in np.split(np.arange(400), [150]):
            batch = Candidates(surrogate[part], exact[part].__getitem__, claimed[part].__getitem__)
            sample.add(np.arange(len(part)), surrogate[part], drawn_by[part], batch, int(part[0]))
        pilot = sample.evaluated(50, errors=True)
        np.testing.assert_array_equal(pilot.error, claimed[pilot.number])
        np.testing.assert_array_equal(sample.evaluated(50).error, 0.0)

    def test_their_mean_is_that_over_the_cross_section(self):
        error = np.array([0.1, 0.4, math.nan, 0.0])
        pilot = pilot_of([1e9, 1.0, 1.0, 1.0], [2.0, -1.0, 4.0, 1.0], [1.0, 3.0, 1.0, 1.0], error)
        # (1 * 2 * 0.1 + 3 * 1 * 0.4) / (2 + 3 + 4 + 1): no number and no claim count as zero.
        assert pilot.mean_error() == pytest.approx(0.14)
        assert pilot_of([0.0], [1.0], [1.0]).mean_error() == 0


def pilot_of(surrogate, exact, multiplicity, error=None):
    n = len(surrogate)
    error = np.zeros(n) if error is None else np.array(error)
    return Pilot(np.array(surrogate), np.array(exact), error, np.array(multiplicity), np.arange(n))


class TestFigures:
    def test_ratios(self):
        pilot = pilot_of([1.0, -1.0, 2.0], [3.0, -1.0, 0.0], [1.0, 2.0, 3.0])
        # Of those that are believed, the ratios 3 and 0; only the first has a part in the cross section.
        assert pilot.ratio(0.5) == 3
        assert pilot.ratio(1.5) == 0
        # 1 with a part of 2 in the cross section, 3 with one of 3.
        assert pilot.modulus_ratio() == 3
        # A surrogate that is a million times too large somewhere does not matter.
        many = pilot_of([1.0, 1.0, 1.0, 1e6], [1.1, 1.2, 1.3, 1.0], [1.0] * 4)
        assert many.ratio(0.0) == 1.2
        nothing = pilot_of([0.0, 0.0], [1.0, 1.0], [1.0, 1.0])
        assert (nothing.ratio(0.5), nothing.modulus_ratio()) == (0.0, 0.0)

    def test_spread_of_a_lognormal_ratio(self):
        # sqrt(exp(0.3^2) - 1) = 0.3069, whatever the surrogate; its error is below 1/sqrt(n), 5 sigma.
        rng = np.random.default_rng(1)
        surrogate = rng.uniform(0.5, 1.5, 200_000)
        exact = surrogate * rng.lognormal(sigma=0.3, size=200_000)
        surrogate[::100] = 0.0
        pilot = pilot_of(surrogate, exact, np.ones(200_000))
        assert pilot.spread() == pytest.approx(math.sqrt(math.expm1(0.09)), rel=5 / math.sqrt(200_000))
        assert math.isnan(pilot_of([0.0, 0.0], [1.0, 1.0], [1.0, 1.0]).spread())

    def test_largest_share_and_efficiency(self):
        pilot = pilot_of([1.0] * 3, [1.0, -4.0, 2.0], [6.0, 1.0, 3.0])
        assert pilot.largest_share() == pytest.approx(4 / 16)
        # Without overweights the maximum is 4, and the mean 1.6. An eighth of the 16 is above 2.
        assert pilot.efficiency(0.0) == pytest.approx(1.6 / 4)
        assert pilot.efficiency(1 / 8) == pytest.approx(1.6 / 2)
