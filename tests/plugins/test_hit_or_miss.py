"""Hit-or-miss unweighting: the kit's tests for each choice of the maximum, closed forms, and groups of candidates."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from mlgen.errors import ModelError, WeightError
from mlgen.stages import Candidates
from mlgen.store import state_from_bytes, state_to_bytes
from mlgen.testing import UnweighterTests
from mlgen.testing.rules import require_agreement
from mlgen_unweighting.hit_or_miss import HitOrMiss
from mlgen_unweighting.maximum import chosen_maximum, empty_histogram
from mlgen_unweighting.settings import HitOrMissSettings
from mlgen_unweighting.weight_histogram import WeightHistogram


class TestSampleMaximum(UnweighterTests):
    name = "hit-or-miss"

    def make(self):
        return HitOrMiss(HitOrMissSettings())


class TestOverweightShare(UnweighterTests):
    name = "hit-or-miss"

    def make(self):
        return HitOrMiss(HitOrMissSettings(maximum="overweight-share", overweight_share=0.02))


class TestEfficiency(UnweighterTests):
    name = "hit-or-miss"

    def make(self):
        return HitOrMiss(HitOrMissSettings(maximum="efficiency", efficiency=0.7))


class TestLargestOverweight(UnweighterTests):
    name = "hit-or-miss"

    def make(self):
        return HitOrMiss(HitOrMissSettings(maximum="quantile", quantile=0.3, largest_overweight=5))


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


def maximum_of(weights, **settings):
    return float(prepared(weights, **settings).state()["maximum_weight"])


def expected_efficiency(weights, maximum):
    weights = np.abs(weights[weights != 0])
    return np.mean(np.minimum(1, weights / maximum))


class TestMedianOfMaxima:
    @pytest.mark.parametrize("zeros", [0, 200_000])
    def test_of_an_exponential_distribution(self, zeros):
        # All of n lie below m with probability (1 - s exp(-m))^n, with a share s of weights other than 0: it is 1/2
        # at m = ln(s / (1 - 2^(-1/n))), for n = 100 at 4.977 without zeros. 5 sigma and 1e-3 are allowed.
        weights = np.concatenate([np.random.default_rng(1).exponential(size=200_000), np.zeros(zeros)])
        above = 1 - 2 ** (-1 / 100)
        expected = np.log(200_000 / len(weights) / above)
        # A binomial fluctuation of the number above m, of which the slope in m is that number itself.
        error = 1 / np.sqrt(above * len(weights))
        maximum = maximum_of(weights, maximum="median", median_of=100)
        assert maximum == pytest.approx(expected, abs=5 * error + 0.005)

    def test_it_is_that_of_bootstrap_replicas(self):
        # As Gao et al. do it: here from 4001 replicas. The median of their maxima has the rank 2000 +- 32 among them
        # (sqrt(4001) / 2), so that the exact one is between the ranks 2000 +- 160 but once in two million times.
        rng = np.random.default_rng(2)
        weights = rng.lognormal(size=3000) * (rng.random(3000) < 0.7)
        maxima = np.sort([rng.choice(weights, 200).max() for _ in range(4001)])
        maximum = maximum_of(weights, maximum="median", median_of=200)
        assert maxima[2000 - 160] <= maximum <= maxima[2000 + 160] * 1.001
        assert maxima[2000 - 160] > np.quantile(weights, 0.99)

    def test_many_candidates_are_the_sample_maximum(self):
        weights = np.random.default_rng(3).lognormal(size=1000)
        assert maximum_of(weights, maximum="median", median_of=1_000_000) == weights.max()

    def test_hardly_any_weights(self):
        # Of two candidates, none has a weight with probability 0.81: the smallest |w| stands in for a median of 0.
        weights = [0.0] * 90 + [-2.0] + [3.0] * 9
        assert maximum_of(weights, maximum="median", median_of=2) == pytest.approx(2.0, rel=1e-3)


class TestPartialUnweighting:
    def test_efficiency_of_a_uniform_distribution(self):
        # Of uniform weights, 1 - m/2 are accepted: 80% at m = 0.4. 5 sigma of the mean of min(1, w/m), of which the
        # slope is 1/2, and 1e-3 of m are allowed.
        weights = np.random.default_rng(1).random(200_000)
        weights[::3] *= -1
        spread = np.std(np.minimum(1, np.abs(weights) / 0.4))
        maximum = maximum_of(weights, maximum="efficiency", efficiency=0.8)
        assert maximum == pytest.approx(0.4, abs=5 * 2 * spread / np.sqrt(200_000) + 0.0004)

    @pytest.mark.parametrize("efficiency", [0.01, 0.2, 0.4, 0.5, 0.9, 0.999, 1.0])
    def test_it_is_at_least_what_was_asked_for_and_no_smaller_maximum_than_needed(self, efficiency):
        rng = np.random.default_rng(4)
        weights = np.concatenate([rng.lognormal(size=5000), np.zeros(5000)])
        maximum = maximum_of(weights, maximum="efficiency", efficiency=efficiency)
        found = expected_efficiency(weights, maximum)
        assert found >= efficiency * (1 - 1e-9)
        assert maximum == weights.max() or expected_efficiency(weights, maximum * 1.002) < efficiency

    def test_between_occupied_bins_it_is_exact(self):
        # By hand: 1/m + 1/m + 1 = 2.25 at m = 1.6.
        assert maximum_of([1.0, 1.0, 4.0], maximum="efficiency", efficiency=0.75) == pytest.approx(1.6, rel=1e-12)

    def test_equal_weights_are_all_accepted(self):
        assert maximum_of([3.3] * 7, maximum="efficiency", efficiency=1.0) == 3.3

    def test_the_share_is_that_of_candidates_with_a_weight(self):
        weights = np.concatenate([np.random.default_rng(5).random(20_000), np.zeros(20_000)])
        unweighter = prepared(weights, maximum="efficiency", efficiency=0.8)
        unweighted(unweighter, weights, np.random.default_rng(6))
        # Binomial, 5 sigma.
        assert unweighter.report().efficiency == pytest.approx(0.4, abs=5 * 0.5 / np.sqrt(40_000) + 0.001)

    @pytest.mark.parametrize("maximum", [1e-3, 0.7123456789, 1.0, 2.5, 1e3])
    def test_value_is_taken_as_it_is(self, maximum):
        weights = np.random.default_rng(7).lognormal(size=5000)
        unweighter = prepared(weights, maximum="value", maximum_weight=maximum)
        assert unweighter.report().maximum_weight == maximum
        # Also inside of what would be a bin, the unit is the mean of min(w, m).
        assert float(unweighter.state()["unit"]) == pytest.approx(np.mean(np.minimum(weights, maximum)), rel=1e-13)

    def test_weights_below_the_value_are_equal_and_those_above_are_kept(self):
        weights = np.random.default_rng(7).lognormal(size=5000)
        kept = unweighted(prepared(weights, maximum="value", maximum_weight=1.5), weights, np.random.default_rng(8))
        heavy = weights[kept.index] > 1.5
        assert 0 < np.count_nonzero(heavy) < len(heavy)
        assert np.count_nonzero(weights > 1.5) == np.count_nonzero(heavy)
        np.testing.assert_allclose(kept.weight[heavy] / weights[kept.index][heavy], kept.weight[~heavy][0] / 1.5)
        assert len(np.unique(kept.weight[~heavy])) == 1


class TestBound:
    CHOICES = (
        {"maximum": "quantile", "quantile": 0.2},
        {"maximum": "overweight-share", "overweight_share": 0.8},
        {"maximum": "median", "median_of": 2},
        {"maximum": "efficiency", "efficiency": 0.95},
        {"maximum": "value", "maximum_weight": 0.1},
    )

    @pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice["maximum"])
    @pytest.mark.parametrize("factor", [1.0, 1.7, 20.0])
    def test_no_candidate_exceeds_the_maximum_by_more(self, choice, factor):
        weights = np.random.default_rng(1).lognormal(sigma=1.5, size=10_000)
        free = maximum_of(weights, **choice)
        assert weights.max() / free > 20
        unweighter = prepared(weights, largest_overweight=factor, **choice)
        unweighted(unweighter, weights, np.random.default_rng(2))
        # Raised to what is needed, within the width of a bin.
        assert factor * (1 - 1e-3) <= unweighter.report().largest_overweight <= factor * (1 + 1e-12)

    def test_it_leaves_a_maximum_that_is_high_enough(self):
        weights = np.random.default_rng(1).lognormal(size=10_000)
        free = maximum_of(weights, maximum="quantile", quantile=0.99)
        assert maximum_of(weights, maximum="quantile", quantile=0.99, largest_overweight=1e4) == free

    @pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice["maximum"])
    def test_the_unit_is_exact(self, choice):
        weights = np.random.default_rng(3).lognormal(sigma=1.5, size=10_000)
        state = prepared(weights, largest_overweight=30.0, **choice).state()
        expected = math.fsum(np.minimum(weights, state["maximum_weight"])) / len(weights)
        assert float(state["unit"]) == pytest.approx(expected, rel=1e-13)


def grouped_sample(seed=1):
    """Three processes with maxima far apart and cross sections of one order, with signs and zeros: x, weight, group."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat([4, 0, 7], [15_000, 3000, 600]))
    x = rng.random(len(group))
    scale = np.select([group == 4, group == 0], [1.0, 6.0], 40.0)
    weight = scale * rng.lognormal(x, np.select([group == 4, group == 0], [0.4, 0.9], 0.2))
    weight[rng.random(len(group)) < 0.05 + 0.02 * group * x] *= -1
    weight[rng.random(len(group)) < 0.1] = 0.0
    return x, weight, group


def grouped(weight, group, name="process"):
    return Candidates(weight, groups={name: group})


def averages(x, weight, group):
    """Weighted averages, of all and of each group."""
    total = np.sum(weight)
    found = {
        "x": np.sum(weight * x) / total,
        "cos(7 x)": np.sum(weight * np.cos(7 * x)) / total,
        "x > 0.9": np.sum(weight[x > 0.9]) / total,
        "mean weight": np.mean(weight),
    }
    for number in np.unique(group):
        found[f"share of {number}"] = np.sum(weight[group == number]) / total
        found[f"x, of {number}"] = np.sum((weight * x)[group == number]) / total
    return found


GROUP_CHOICES = (
    {},
    {"maximum": "quantile", "quantile": 0.7},
    {"maximum": "overweight-share", "overweight_share": 0.1},
    {"maximum": "median", "median_of": 10},
    {"maximum": "efficiency", "efficiency": 0.9},
    {"maximum": "efficiency", "efficiency": 0.95, "largest_overweight": 2.0},
    {"maximum": "value", "maximum_weight": 3.0, "largest_overweight": 4.0},
)


class TestGroups:
    def prepare(self, *candidates, per="process", **settings):
        unweighter = HitOrMiss(HitOrMissSettings(maximum_per=per, **settings))
        unweighter.prepare(candidates)
        return unweighter

    def check_averages(self, unweighter, candidates, x, group, but=()):
        """As in the kit: 25 repetitions, five standard errors of their spread, exceeded once in 25,000 times."""
        found = []
        for repetition in range(25):
            kept = unweighter.unweight(candidates, np.random.default_rng([5, repetition]))
            found.append(averages(x[kept.index], kept.weight, group[kept.index]))
        for name, expected in averages(x, candidates.all_exact(), group).items():
            if name not in but:
                require_agreement(np.array([each[name] for each in found]), float(expected), name)

    @pytest.mark.parametrize("choice", GROUP_CHOICES, ids=str)
    def test_unbiased(self, choice):
        x, weight, group = grouped_sample()
        candidates = grouped(weight, group)
        unweighter = self.prepare(candidates, **choice)
        self.check_averages(unweighter, candidates, x, group)
        assert (unweighter.report().overweight_events > 0) == bool(choice)
        assert len(np.unique(unweighter.state()["group_maximum"])) > 1

    def test_unbiased_with_weights_and_groups_that_were_not_seen(self):
        # The mean weight is that of the candidates of `prepare` then, so that it is left out.
        x, weight, group = grouped_sample(2)
        seen = (group != 7) & (np.abs(weight) < 4)
        unweighter = self.prepare(grouped(weight[seen], group[seen]))
        self.check_averages(unweighter, grouped(weight, group), x, group, but=["mean weight"])
        assert unweighter.report().overweight_events > 0

    def test_unbiased_with_the_weights_of_a_surrogate(self):
        x, weight, group = grouped_sample(3)
        surrogate = weight * np.random.default_rng(1).uniform(0.2, 3, len(weight))
        candidates = Candidates(surrogate, lambda index: weight[index], groups={"process": group})
        self.check_averages(self.prepare(candidates), candidates, x, group)

    def test_each_maximum_is_that_of_the_group_alone(self):
        _, weight, group = grouped_sample()
        for choice in GROUP_CHOICES:
            state = self.prepare(grouped(weight, group), **choice).state()
            assert state["group"].tolist() == [0, 4, 7]
            expected = [maximum_of(weight[group == number], **choice) for number in (0, 4, 7)]
            assert state["group_maximum"].tolist() == expected
            assert float(state["maximum_weight"]) == max(expected)

    def test_weights_are_constant_within_a_group_and_in_the_ratio_of_the_maxima(self):
        _, weight, group = grouped_sample()
        unweighter = self.prepare(grouped(weight, group))
        kept = unweighter.unweight(grouped(weight, group), np.random.default_rng(1))
        maxima = np.array([np.abs(weight[group == number]).max() for number in (0, 4, 7)])
        sizes = [np.unique(np.abs(kept.weight[group[kept.index] == number])) for number in (0, 4, 7)]
        assert [len(size) for size in sizes] == [1, 1, 1]
        # By hand: the maximum times the mean of |w| / maximum.
        accepted = np.mean(np.abs(weight) / maxima[np.searchsorted([0, 4, 7], group)])
        np.testing.assert_allclose(np.concatenate(sizes), maxima * accepted, rtol=1e-12)
        assert unweighter.report().efficiency == pytest.approx(accepted, abs=5 * 0.5 / np.sqrt(len(weight)))

    def test_more_is_accepted_than_with_one_maximum(self):
        _, weight, group = grouped_sample()
        candidates = grouped(weight, group)
        accepted = [
            len(self.prepare(candidates, per=per).unweight(candidates, np.random.default_rng(1)).index)
            for per in ("process", "sample")
        ]
        assert accepted[0] > 3 * accepted[1]

    @pytest.mark.parametrize("choice", GROUP_CHOICES[:-1], ids=str)
    def test_a_single_group_is_as_no_groups(self, choice):
        _, weight, group = grouped_sample()
        single = Candidates(weight, groups={"channel": np.full(len(weight), 3), "process": group})
        results = []
        for per in ("channel", "sample"):
            unweighter = self.prepare(single, per=per, **choice)
            kept = unweighter.unweight(single, np.random.default_rng(1))
            results.append((kept.index.tolist(), kept.weight.tolist(), unweighter.report()))
        assert results[0] == results[1]

    def test_one_batch_or_many_is_the_same(self):
        _, weight, group = grouped_sample()
        results = []
        for parts in (1, 7):
            batches = [
                grouped(*part) for part in zip(np.array_split(weight, parts), np.array_split(group, parts), strict=True)
            ]
            # An empty batch has no effect.
            unweighter = self.prepare(*batches, grouped(np.empty(0), np.empty(0, int)))
            rng = np.random.default_rng(2)
            results.append(np.concatenate([unweighter.unweight(batch, rng).weight for batch in batches]))
        np.testing.assert_array_equal(*results)

    def test_figures_are_relative_to_each_maximum(self):
        # Maxima 1 and 100. By hand: weights 3 and 400 are overweights, with an excess of 2 and 300; c = 1.
        unweighter = self.prepare(grouped(np.array([1.0, 100.0]), np.array([0, 1])))
        weight = np.array([1.0, -3.0, 100.0, 400.0])
        kept = unweighter.unweight(grouped(weight, np.array([0, 0, 1, 1])), np.random.default_rng(1))
        np.testing.assert_allclose(kept.weight, weight, rtol=1e-14)
        report = unweighter.report()
        assert (report.maximum_weight, report.overweight_events, report.largest_overweight) == (100.0, 2, 4.0)
        assert report.overweight_share == pytest.approx(302 / 504)
        assert report.negative_fraction == 0.25
        assert report.effective_sample_size == pytest.approx(498**2 / (1 + 9 + 1e4 + 16e4))

    def test_a_group_without_a_weight_has_no_maximum_but_counts(self):
        # Half of the candidates are of a group that vanishes: the mean weight is half that of the others.
        weight, group = np.array([2.0, 2.0, 0.0, 0.0]), np.array([0, 0, 1, 1])
        unweighter = self.prepare(grouped(weight, group))
        assert unweighter.state()["group"].tolist() == [0]
        kept = unweighter.unweight(grouped(weight, group), np.random.default_rng(1))
        assert kept.weight.tolist() == [1.0, 1.0]
        # Later it does have weights: its maximum is the largest, 2.
        kept = unweighter.unweight(grouped(np.array([4.0]), np.array([1])), np.random.default_rng(1))
        assert kept.weight.tolist() == [2.0]

    @pytest.mark.parametrize("number", [0, 2, 9])
    def test_the_largest_maximum_is_that_of_a_group_that_was_not_seen(self, number):
        unweighter = self.prepare(grouped(np.array([2.0, 100.0, 5.0]), np.array([1, 3, 4])))
        kept = unweighter.unweight(grouped(np.full(5000, 20.0), np.full(5000, number)), np.random.default_rng(1))
        # c = 1. One in five is accepted, with the weight 100; 5 sigma.
        np.testing.assert_allclose(kept.weight, 100.0)
        assert len(kept.weight) == pytest.approx(1000, abs=5 * np.sqrt(800))

    def test_remark_lists_the_ten_largest(self):
        unweighter = self.prepare(grouped(np.arange(1.0, 14.0), np.arange(13)), per="process")
        (remark,) = unweighter.report().remarks
        assert "event weights differ between them: 13 (process 12), 12 (process 11)" in remark
        assert remark.endswith("4 (process 3), and 3 smaller ones")
        (remark,) = self.prepare(grouped(np.ones(2), np.arange(2), "channel"), per="channel").report().remarks
        assert remark.endswith("1 (channel 0), 1 (channel 1)")

    def test_one_group_needs_no_remark(self):
        assert self.prepare(grouped(np.ones(2), np.zeros(2, int))).report().remarks == ()

    def test_dominating_weight_is_that_of_the_sample(self):
        weight, group = np.array([1.0] * 99 + [1000.0]), np.repeat([0, 1], [99, 1])
        remarks = self.prepare(grouped(weight, group)).report().remarks
        assert "91% of the sum" in remarks[0]
        assert len(remarks) == 2

    def test_state_goes_on_identically(self):
        _, weight, group = grouped_sample()
        candidates = grouped(weight, group)
        # Prepared without one of the groups, of which the maximum has to survive as well.
        unweighter = self.prepare(grouped(weight[group != 4], group[group != 4]), maximum="median", median_of=30)
        stored = state_from_bytes(state_to_bytes(unweighter.state()))
        loaded = HitOrMiss.from_state(unweighter.settings, stored)
        results = [each.unweight(candidates, np.random.default_rng(1)) for each in (unweighter, loaded)]
        np.testing.assert_array_equal(results[0].index, results[1].index)
        np.testing.assert_array_equal(results[0].weight, results[1].weight)
        assert unweighter.report() == loaded.report()

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"group": np.array([0, 4])}, "shape"),
            ({"group": np.array([4, 0, 7])}, "ascending integers"),
            ({"group": np.array([0, 0, 7])}, "ascending integers"),
            ({"group": np.array([-1, 4, 7])}, "ascending integers"),
            ({"group": np.array([0.0, 4.0, 7.0])}, "ascending integers"),
            ({"group_maximum": np.array([1.0, np.nan, 2.0])}, "positive finite"),
            ({"group_maximum": np.array([1.0, 0.0, 2.0])}, "positive finite"),
            ({"maximum_weight": np.array(1e9)}, "largest maximum"),
        ],
    )
    def test_broken_state(self, change, problem):
        _, weight, group = grouped_sample()
        unweighter = self.prepare(grouped(weight, group))
        with pytest.raises(ModelError, match=problem):
            HitOrMiss.from_state(unweighter.settings, dict(unweighter.state()) | change)
        with pytest.raises(ModelError, match="shape"):
            HitOrMiss.from_state(HitOrMissSettings(), unweighter.state())

    @pytest.mark.parametrize(
        ("groups", "problem"),
        [
            ({}, "have no groups at all; set maximum_per = 'sample'"),
            ({"channel": np.zeros(3, int)}, "told apart by 'channel' only; set maximum_per = 'channel', or"),
            ({"process": np.zeros(2, int)}, r"shape \(2,\) and type int64; integers of shape \(3,\)"),
            ({"process": np.zeros((3, 1), int)}, r"shape \(3, 1\)"),
            ({"process": np.zeros(3)}, "type float64"),
            ({"process": np.array([0, -2, 1])}, r"candidate 5 \(counted from 1\) has the process number -2"),
        ],
    )
    def test_wrong_groups(self, groups, problem):
        good, bad = grouped(np.ones(3), np.zeros(3, int)), Candidates(np.ones(3), groups=groups)
        unweighter = self.prepare(good)
        unweighter.unweight(good, np.random.default_rng(1))
        with pytest.raises(WeightError, match=problem):
            unweighter.unweight(bad, np.random.default_rng(1))
        with pytest.raises(WeightError, match=problem):
            self.prepare(good, bad)

    def test_unusable_weights(self):
        numbers = np.array([3, 5])
        for weights, problem in (
            ([0.0, 0.0], "all 2 candidates have weight 0"),
            ([1.0, np.nan], "candidate 2"),
            ([1.0, -np.inf], "candidate 2"),
        ):
            with pytest.raises(WeightError, match=problem):
                self.prepare(grouped(np.array(weights), numbers))
        for batches in ((), (grouped(np.empty(0), np.empty(0, int)),)):
            with pytest.raises(WeightError, match="no candidates"):
                self.prepare(*batches)

    def test_groups_do_not_matter_to_one_maximum(self):
        candidates = grouped(np.ones(3), np.array([-1.0, np.nan]))
        assert len(self.prepare(candidates, per="sample").unweight(candidates, np.random.default_rng(1)).index) == 3


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

    def test_one_huge_weight_is_kept_and_remarked(self):
        weights = np.array([1.0] * 999 + [-1e100])
        unweighter = prepared(weights, maximum="value", maximum_weight=1.0)
        kept = unweighted(unweighter, weights, np.random.default_rng(1))
        # Every candidate is accepted, and keeps its weight.
        np.testing.assert_allclose(kept.weight, weights, rtol=1e-14)
        assert "100% of the sum" in unweighter.report().remarks[0]
        assert unweighter.report().effective_sample_size == pytest.approx(1)

    @pytest.mark.parametrize("huge", [1e200, 1e308])
    def test_overweight_beyond_the_range_of_doubles_is_named(self, huge):
        weights = np.array([1e-3] * 999 + [huge])
        with pytest.raises(WeightError, match=r"candidate 1000 .*largest_overweight"):
            unweighted(prepared(weights, maximum="quantile", quantile=0.9), weights, np.random.default_rng(1))
        bounded = prepared(weights, maximum="quantile", quantile=0.9, largest_overweight=10)
        unweighted(bounded, weights, np.random.default_rng(1))
        assert bounded.report().largest_overweight == pytest.approx(10, rel=1e-3)

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
            ({"maximum": "largest"}, "'sample', 'quantile', 'overweight-share', 'median', 'efficiency' or 'value'"),
            ({"median_of": 10}, "median_of is set, but has no effect with maximum = 'sample'"),
            ({"maximum": "median", "median_of": 0}, "greater than or equal to 1"),
            ({"maximum": "median", "efficiency": 0.5}, "set maximum = 'efficiency'"),
            ({"maximum": "efficiency"}, "maximum = 'efficiency' needs efficiency"),
            ({"maximum": "efficiency", "efficiency": 1.1}, "less than or equal to 1"),
            ({"maximum": "efficiency", "efficiency": 0.0}, "greater than 0"),
            ({"maximum": "value"}, "maximum = 'value' needs maximum_weight"),
            ({"maximum": "value", "maximum_weight": 0.0}, "greater than 0"),
            ({"maximum": "value", "maximum_weight": math.inf}, "finite number"),
            ({"maximum": "quantile", "maximum_weight": 1.0}, "set maximum = 'value'"),
            ({"maximum": "quantile", "largest_overweight": 0.9}, "greater than or equal to 1"),
            ({"largest_overweight": 2.0}, "'sample', which has no overweights"),
            ({"maximum_per": "event"}, "'sample', 'process' or 'channel'"),
            ({"maximum": "value", "maximum_weight": 1.0, "maximum_per": "process"}, "maximum_per = 'process' has no"),
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

    def test_an_edge_parts_its_bin_alone(self):
        weights = 1 + np.random.default_rng(1).random(200_000) / 100
        edge = 1.003141592
        with_edge, without = WeightHistogram(edge), WeightHistogram()
        for histogram in (with_edge, without):
            histogram.add(weights)
        assert len(with_edge.counts) == len(without.counts) + 1
        assert np.count_nonzero(with_edge.lower_edges == edge) == np.count_nonzero(with_edge.upper_edges == edge) == 1
        assert with_edge.counts[with_edge.lower_edges >= edge].sum() == np.count_nonzero(weights >= edge)
        assert with_edge.mean() == pytest.approx(without.mean(), rel=1e-15)
        expected = math.fsum(np.minimum(weights, edge)) / len(weights)
        assert with_edge.mean_below(edge) == pytest.approx(expected, rel=1e-15)

    @pytest.mark.parametrize("choice", TestBound.CHOICES, ids=lambda choice: choice["maximum"])
    def test_memory_does_not_grow_with_the_candidates(self, choice):
        # Weights within a factor e: there are no more than 1024 bins for each factor of two, and one for an edge.
        settings, rng = HitOrMissSettings(**choice), np.random.default_rng(1)
        histogram = empty_histogram(settings)
        for _ in range(20):
            histogram.add(np.exp(rng.random(50_000)))
        assert histogram.count == 1_000_000
        assert len(histogram.counts) <= 1024 / math.log(2) + 3
        assert chosen_maximum(histogram, settings) > 0
