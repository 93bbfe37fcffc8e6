"""Hit-or-miss unweighting: the kit's tests for each choice of the maximum, and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from mlgen.errors import ModelError, WeightError
from mlgen.stages import Candidates
from mlgen.testing import UnweighterTests
from mlgen_unweighting.hit_or_miss import HitOrMiss
from mlgen_unweighting.settings import HitOrMissSettings
from mlgen_unweighting.weight_histogram import WeightHistogram


class TestSampleMaximum(UnweighterTests):
    name = "hit-or-miss"

    def make(self):
        return HitOrMiss(HitOrMissSettings())


class TestQuantile(UnweighterTests):
    name = "hit-or-miss"

    def make(self):
        return HitOrMiss(HitOrMissSettings(maximum="quantile", quantile=0.95))


class TestOverweightShare(UnweighterTests):
    name = "hit-or-miss"

    def make(self):
        return HitOrMiss(HitOrMissSettings(maximum="overweight-share", overweight_share=0.02))


def prepared(weights, **settings):
    unweighter = HitOrMiss(HitOrMissSettings(**settings))
    unweighter.prepare([Candidates(np.asarray(weights, float))])
    return unweighter


def unweighted(unweighter, weights, rng):
    return unweighter.unweight(Candidates(weights), rng)


class TestMaximum:
    def test_sample_is_the_largest_size(self):
        assert prepared([1.0, -7.5, 3.0]).state()["maximum_weight"] == 7.5

    def test_quantile_of_uniform_weights(self):
        # Weights 1, 2, ..., 10,000: 90% of them are at or below 9,000, resolved to 1e-3.
        maximum = float(prepared(np.arange(1, 10_001), maximum="quantile", quantile=0.9).state()["maximum_weight"])
        assert 9000 <= maximum <= 9000 * 1.001

    def test_quantile_leaves_out_weight_zero(self):
        weights = np.concatenate([np.zeros(100_000), np.arange(1, 1001)])
        maximum = float(prepared(weights, maximum="quantile", quantile=0.5).state()["maximum_weight"])
        assert 500 <= maximum <= 500 * 1.001

    def test_quantile_one_and_share_zero_are_the_sample_maximum(self):
        weights = np.random.default_rng(1).lognormal(size=1000)
        assert prepared(weights, maximum="quantile", quantile=1.0).state()["maximum_weight"] == weights.max()
        share = prepared(weights, maximum="overweight-share", overweight_share=0.0)
        assert share.state()["maximum_weight"] == weights.max()

    def test_share_of_an_exponential_distribution(self):
        # For exp(-w), the share of the mean above m is exp(-m): 1% is at m = ln 100 = 4.605; 5 sigma and 1e-3 allowed.
        weights = np.random.default_rng(2).exponential(size=200_000)
        unweighter = prepared(weights, maximum="overweight-share", overweight_share=0.01)
        maximum = float(unweighter.state()["maximum_weight"])
        # The share's variance is at most E[(w - m)^2; w > m] = 2 exp(-m); its slope in m is exp(-m).
        error = np.sqrt(2 * 0.01 / len(weights)) / 0.01
        assert maximum == pytest.approx(np.log(100), abs=5 * error + 0.005)
        assert np.sum(np.maximum(weights - maximum, 0)) <= 0.01 * weights.sum() * (1 + 1e-12)

    @pytest.mark.parametrize(("share", "expected"), [(0.25, 4.0), (0.5, 2.0), (2 / 9, 13 / 3)])
    def test_share_between_occupied_bins_is_exact(self, share, expected):
        # By hand: above 4 lie 7 - 4 = 3 of 12; above 2 lie 8 - 2 = 6 of 12; above 13/3 lie 17 - 3 * 13/3 = 4 of 18.
        weights = {0.25: [1.0, 4.0, 7.0], 0.5: [1.0, 1.0, 8.0, 2.0], 2 / 9: [1.0, 5.0, 5.0, 7.0]}[share]
        maximum = float(prepared(weights, maximum="overweight-share", overweight_share=share).state()["maximum_weight"])
        excess = np.sum(np.maximum(np.array(weights) - maximum, 0))
        assert excess == pytest.approx(share * sum(weights), rel=1e-12)
        assert maximum == pytest.approx(expected, rel=1e-12)

    def test_share_below_the_smallest_weight(self):
        # Equal weights of 3: a share of 1/3 above the maximum puts it at 2.
        unweighter = prepared([3.0] * 5, maximum="overweight-share", overweight_share=1 / 3)
        assert float(unweighter.state()["maximum_weight"]) == pytest.approx(2.0, rel=1e-12)


class TestWeights:
    def test_equal_weights_are_all_kept_as_they_are(self):
        unweighter = prepared([2.5] * 100)
        kept = unweighted(unweighter, np.full(100, 2.5), np.random.default_rng(1))
        np.testing.assert_array_equal(kept.index, np.arange(100))
        np.testing.assert_array_equal(kept.weight, 2.5)
        assert unweighter.report().efficiency == 1

    def test_efficiency_is_mean_over_maximum(self):
        # For uniform weights it is 1/2, with a binomial error of 0.5/sqrt(n); 5 sigma.
        weights = np.random.default_rng(3).random(100_000)
        unweighter = prepared(weights)
        unweighted(unweighter, weights, np.random.default_rng(4))
        assert unweighter.report().efficiency == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(100_000) + 0.005)

    def test_unit_is_the_mean_weight_without_overweights_and_signs(self):
        weights = np.random.default_rng(5).lognormal(size=10_000)
        kept = unweighted(prepared(weights), weights, np.random.default_rng(6))
        np.testing.assert_allclose(kept.weight, weights.mean(), rtol=1e-12)

    def test_overweight_in_the_second_pass_keeps_its_excess(self):
        unweighter = prepared([1.0, 2.0])
        kept = unweighted(unweighter, np.array([-6.0]), np.random.default_rng(1))
        assert kept.weight.tolist() == [-4.5]  # three times the maximum of 2, in units of the mean 1.5
        report = unweighter.report()
        assert (report.overweight_events, report.largest_overweight) == (1, 3.0)
        assert report.overweight_share == pytest.approx(2 / 3)
        assert report.negative_fraction == 1

    def test_uses_exactly_n_uniform_numbers(self):
        weights = np.random.default_rng(1).lognormal(size=100)
        rng, same = np.random.default_rng(9), np.random.default_rng(9)
        unweighted(prepared(weights), weights, rng)
        same.random(100)
        assert rng.random() == same.random()

    def test_one_batch_or_many_is_the_same(self):
        weights = np.random.default_rng(1).lognormal(sigma=2, size=5000)
        results = []
        for parts in (1, 7):
            unweighter = HitOrMiss(HitOrMissSettings(maximum="quantile", quantile=0.99))
            unweighter.prepare(map(Candidates, np.array_split(weights, parts)))
            rng = np.random.default_rng(2)
            results.append(
                np.concatenate([unweighted(unweighter, part, rng).weight for part in np.array_split(weights, parts)])
            )
        np.testing.assert_array_equal(*results)

    def test_true_weights_decide_where_a_surrogate_gave_the_others(self):
        weights = np.random.default_rng(1).lognormal(size=1000)
        candidates = Candidates(np.full(1000, 7.0), lambda index: weights[index])
        unweighter = HitOrMiss(HitOrMissSettings())
        unweighter.prepare([candidates])
        kept = unweighter.unweight(candidates, np.random.default_rng(2))
        expected = unweighted(prepared(weights), weights, np.random.default_rng(2))
        np.testing.assert_array_equal(kept.index, expected.index)
        np.testing.assert_array_equal(kept.weight, expected.weight)

    @pytest.mark.parametrize("scale", [1e-300, 1e-12, 1e300])
    def test_any_unit_of_weight_works(self, scale):
        weights = np.random.default_rng(1).random(1000) * scale
        kept = unweighted(prepared(weights, maximum="quantile", quantile=0.9), weights, np.random.default_rng(1))
        assert kept.weight.mean() == pytest.approx(
            weights.mean() if scale < 1 else np.mean(weights / scale) * scale, rel=0.05
        )


class TestErrors:
    def test_first_bad_candidate_is_counted_over_the_stream(self):
        batches = [np.ones(3), np.array([1.0, np.nan, np.inf])]
        with pytest.raises(WeightError, match=r"candidate 5 \(counted from 1\) has weight nan"):
            HitOrMiss(HitOrMissSettings()).prepare(map(Candidates, batches))
        unweighter = prepared(np.ones(3))
        unweighted(unweighter, batches[0], np.random.default_rng(1))
        with pytest.raises(WeightError, match="candidate 5"):
            unweighted(unweighter, batches[1], np.random.default_rng(1))

    def test_as_many_true_weights_as_candidates(self):
        with pytest.raises(WeightError, match="3 true weights for 2 candidates"):
            HitOrMiss(HitOrMissSettings()).prepare([Candidates(np.ones(2), lambda index: np.ones(3))])

    def test_all_zero(self):
        with pytest.raises(WeightError, match="all 4 candidates have weight 0"):
            prepared(np.zeros(4))

    def test_before_prepare(self):
        with pytest.raises(WeightError, match=r"prepare\(\)"):
            unweighted(HitOrMiss(HitOrMissSettings()), np.ones(2), np.random.default_rng(1))

    def test_dominating_weight_is_remarked(self):
        (remark,) = prepared([1.0] * 99 + [1000.0]).report().remarks
        assert "91% of the sum" in remark
        assert prepared([1.0] * 3).report().remarks == ()

    @pytest.mark.parametrize("state", [{"maximum_weight": np.asarray(1.0)}, {"other": np.zeros(2)}])
    def test_state_that_does_not_fit(self, state):
        with pytest.raises(ModelError):
            HitOrMiss.from_state(HitOrMissSettings(), state)

    def test_state_before_prepare_is_empty(self):
        assert not HitOrMiss.from_state(HitOrMissSettings(), HitOrMiss(HitOrMissSettings()).state()).prepared

    def test_state_with_nonsense_values(self):
        state = dict(prepared([1.0]).state()) | {"unit": np.asarray(np.nan)}
        with pytest.raises(ModelError, match="positive finite"):
            HitOrMiss.from_state(HitOrMissSettings(), state)


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "problem"),
        [
            ({"quantile": 0.9}, "quantile is set, but has no effect with maximum = 'sample'"),
            ({"maximum": "quantile", "overweight_share": 0.1}, "set maximum = 'overweight-share'"),
            ({"maximum": "quantile", "quantile": 0.0}, "greater than 0"),
            ({"maximum": "largest"}, "'sample', 'quantile' or 'overweight-share'"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, settings, problem):
        with pytest.raises(ValidationError, match=problem):
            HitOrMissSettings(**settings)


class TestWeightHistogram:
    def test_bins_are_narrow_and_hold_their_weights(self):
        weights = np.exp(np.random.default_rng(1).uniform(-600, 600, 10_000))
        histogram = WeightHistogram()
        histogram.add(weights)
        lower, upper = histogram.lower_edges, histogram.upper_edges
        assert np.all((upper[:-1] - lower[:-1]) / lower[:-1] < 1e-3)
        place = np.searchsorted(lower, weights, side="right") - 1
        np.testing.assert_array_equal(np.bincount(place), histogram.counts)

    def test_sums_are_exact(self):
        weights = np.random.default_rng(1).lognormal(sigma=3, size=20_000)
        histogram = WeightHistogram()
        for part in np.array_split(weights, 13):
            histogram.add(part)
        assert histogram.mean() == pytest.approx(math.fsum(weights) / len(weights), rel=1e-14)
        for maximum in (histogram.lower_edges[100], histogram.lower_edges[-1], weights.max()):
            expected = math.fsum(np.minimum(weights, maximum)) / len(weights)
            assert histogram.mean_below(maximum) == pytest.approx(expected, rel=1e-14)

    def test_smallest_and_largest_doubles(self):
        histogram = WeightHistogram()
        histogram.add(np.array([5e-324, 1e-310, np.finfo(float).max, np.finfo(float).max]))
        assert histogram.counts.tolist() == [1, 1, 2]
        assert histogram.mean() == np.finfo(float).max / 2
