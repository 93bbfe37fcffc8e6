"""Two-stage unweighting: the kit's tests for three choices of settings, closed forms, errors, random numbers, state."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re

import numpy as np
import pytest
from pydantic import ValidationError

from mlgen.errors import ModelError, TrainingError, WeightError
from mlgen.stages import Candidates
from mlgen.store import state_from_bytes, state_to_bytes
from mlgen.testing import UnweighterTests
from mlgen.testing.rules import require_agreement
from mlgen_unweighting.hit_or_miss import HitOrMiss
from mlgen_unweighting.settings import HitOrMissSettings
from mlgen_unweighting.two_stage import TwoStage
from mlgen_unweighting.two_stage_maxima import Maxima
from mlgen_unweighting.two_stage_settings import TwoStageSettings

#: As few as train within a second.
FEW_STEPS = {
    "surrogate": "event-weight",
    "training_points": 1000,
    "units": 8,
    "layers": 1,
    "steps": 50,
    "batch_size": 256,
    "device": "cpu",
}


class TestDefaults(UnweighterTests):
    name = "two-stage"
    candidates = 8000

    def make(self):
        return TwoStage(TwoStageSettings(pilot=500))


class TestHalfEvaluated(UnweighterTests):
    name = "two-stage"
    candidates = 8000

    def make(self):
        return TwoStage(TwoStageSettings(pilot=500, floor=0.3, evaluated_share=0.5))


class TestEventWeight(UnweighterTests):
    name = "two-stage"
    candidates = 8000

    def make(self):
        return TwoStage(TwoStageSettings(pilot=500, floor=0.3, **FEW_STEPS))


class Asked:
    """True weights that remember which were asked for."""

    def __init__(self, weight):
        self.weight, self.index = weight, []

    def __call__(self, index):
        self.index.extend(index.tolist())
        return self.weight[index]


def weights(n, spread=0.02, rng=1, negative=0.0, width=0.8):
    """Surrogate and true weights; those have the mean 1 - 2 * negative, and a lognormal ratio to the surrogate's."""
    rng = np.random.default_rng(rng)
    exact = rng.lognormal(-(width**2) / 2, width, n)
    exact[rng.random(n) < negative] *= -1
    return exact * rng.lognormal(0, spread, n), exact


def candidates(surrogate, exact, **other):
    return Candidates(np.array(surrogate, float), Asked(np.array(exact, float)), **other)


def prepared(*batches, **settings):
    unweighter = TwoStage(TwoStageSettings(**settings))
    unweighter.prepare(batches)
    return unweighter


def maxima_of(unweighter):
    return Maxima(*unweighter.state()["maxima"].tolist())


def asked_in_unweight(unweighter, batch, seed=1):
    """Unweight, and return what is kept and which true weights were asked for."""
    batch.exact_weight.index.clear()
    kept = unweighter.unweight(batch, np.random.default_rng(seed))
    return kept, np.array(batch.exact_weight.index, int)


def exact_sums(unweighter, surrogate, exact):
    """Expected share in excess, and effective size over events, of all candidates, from the state alone."""
    first, floor = unweighter.state()["first_stage"][:2]
    passes = np.minimum(1, np.maximum(np.abs(surrogate), floor) / first)
    relative = np.abs(exact) / passes / maxima_of(unweighter).second
    accepted, size = passes * np.minimum(1, relative), np.maximum(1, relative)
    total = np.sum(accepted * size)
    excess = np.maximum(0, 1 - 1 / relative)
    # Of an event of the cross section: its share in excess, and the scatter of that.
    spread = math.sqrt(np.average((excess - np.average(excess, weights=np.abs(exact))) ** 2, weights=np.abs(exact)))
    return np.sum(accepted * (size - 1)) / total, spread, total**2 / np.sum(accepted) / np.sum(accepted * size**2)


class TestGoodSurrogate:
    N = 100_000

    def made(self):
        batch = candidates(*weights(self.N), cost_ratio=1000.0)
        unweighter = prepared(batch)
        return unweighter, batch, len(batch.exact_weight.index)

    def test_true_weights_are_asked_for_once_and_of_few(self):
        unweighter, batch, pilot = self.made()
        kept, asked = asked_in_unweight(unweighter, batch)
        report = unweighter.report()
        assert pilot == self.N // 20
        assert len(asked) == len(set(asked)) == round(report.first_stage_efficiency * self.N)
        assert report.true_evaluations == len(asked) + pilot
        assert len(asked) < 0.1 * self.N
        # Hit-or-miss would have asked for 20 times as many for an event.
        assert len(asked) / len(kept.index) < 1.1
        assert report.second_stage_efficiency == len(kept.index) / len(asked) > 0.9
        assert report.accepted == len(kept.index)

    def test_it_is_what_was_expected(self):
        """4 sigma: binomial, and 1/sqrt(k) of what the pilot says of all candidates."""
        unweighter, batch, pilot = self.made()
        _, asked = asked_in_unweight(unweighter, batch)
        report, expected = unweighter.report(), maxima_of(unweighter)
        binomial = math.sqrt(len(asked))
        assert len(asked) == pytest.approx(expected.first_efficiency * self.N, abs=4 * binomial)
        scatter = math.sqrt(1 / report.accepted + 1 / pilot)
        accepted = expected.first_efficiency * expected.second_efficiency * self.N
        assert report.accepted == pytest.approx(accepted, rel=4 * scatter)
        assert report.effective_sample_size / report.accepted == pytest.approx(expected.effective_share, abs=0.002)

    def test_hit_or_miss_would_do_as_told(self):
        """What two-stage says of it is what it does on all true weights; 4 sigma of the pilot's mean weight, and 5 %
        for the maximum, which hangs on a few of the heaviest."""
        unweighter, batch, pilot = self.made()
        plain = HitOrMiss(HitOrMissSettings(maximum="overweight-share", overweight_share=0.001))
        plain.prepare([batch])
        plain.unweight(batch, np.random.default_rng(1))
        told = unweighter.report().hit_or_miss_efficiency
        assert told == pytest.approx(plain.report().efficiency, rel=4 / math.sqrt(pilot) + 0.05)

    def test_the_scatter_of_the_ratio_is_told(self):
        (remark,) = [text for text in self.made()[0].report().remarks if "scatter" in text]
        # 2 % to 4 sigma of a pilot of 5000 is 1.92 % to 2.08 %.
        assert 1.92 <= float(re.search(r"by ([\d.]+)%", remark)[1]) <= 2.08


class TestKnownWeights:
    @pytest.mark.parametrize("share", [0.0, 0.01])
    def test_it_is_a_hit_or_miss(self, share):
        _, exact = weights(5000, negative=0.2)
        unweighter = prepared(Candidates(exact), overweight_share=share)
        plain = HitOrMiss(HitOrMissSettings(maximum="overweight-share", overweight_share=share))
        plain.prepare([Candidates(exact)])
        one, other = (each.unweight(Candidates(exact), np.random.default_rng(3)) for each in (unweighter, plain))
        np.testing.assert_array_equal(one.index, other.index)
        np.testing.assert_array_equal(one.weight, other.weight)
        report = unweighter.report()
        assert "this was a hit-or-miss" in report.remarks[-1]
        assert report == dataclasses.replace(plain.report(), remarks=report.remarks)
        assert unweighter.normalisation() == 1


class TestShares:
    @pytest.mark.parametrize("share", [0.0, 0.001, 0.02])
    def test_overweights_are_as_many_as_asked_for(self, share):
        """The exact share in excess is that of the pilot within 4 sigma, and the report's that of the events too."""
        surrogate, exact = weights(100_000)
        batch = candidates(surrogate, exact, cost_ratio=100.0)
        unweighter = prepared(batch, overweight_share=share, effective_share=0.0)
        excess, spread, _ = exact_sums(unweighter, surrogate, exact)
        if share == 0:
            # Of those that are not in the pilot, 1 in 5000 is above all that are, by a little.
            assert excess < 1e-4
        else:
            assert excess == pytest.approx(share, abs=4 * spread / math.sqrt(5000))
            assert 0.5 * share < excess < 1.5 * share
        unweighter.unweight(batch, np.random.default_rng(1))
        report = unweighter.report()
        assert report.overweight_share == pytest.approx(excess, abs=4 * spread / math.sqrt(report.accepted) + 1e-9)

    @pytest.mark.parametrize("share", [0.9, 0.99])
    def test_effective_sample_size(self, share):
        surrogate, exact = weights(60_000, spread=0.4)
        batch = candidates(surrogate, exact, cost_ratio=100.0)
        unweighter = prepared(batch, overweight_share=0.5, effective_share=share)
        # Neither less nor more than was asked for, which would cost events: but for the pilot of 3000, of which only
        # some hundred are overweights.
        assert exact_sums(unweighter, surrogate, exact)[2] == pytest.approx(share, abs=0.3 * (1 - share))
        unweighter.unweight(batch, np.random.default_rng(1))
        report = unweighter.report()
        assert report.effective_sample_size / report.accepted == pytest.approx(share, abs=0.4 * (1 - share))


class TestCostRatio:
    def made(self, of_candidates=None, **settings):
        batch = candidates(*weights(20_000, 0.2), cost_ratio=of_candidates)
        return prepared(batch, **settings), batch

    def test_the_dearer_true_weights_are_the_fewer_are_asked_for(self):
        asked, reports = [], []
        for cost_ratio in (1e-6, 10.0, 1e6):
            unweighter, batch = self.made(cost_ratio)
            kept, index = asked_in_unweight(unweighter, batch)
            asked.append(len(index) / len(kept.index))
            reports.append(unweighter.report())
        assert asked[0] > 1.05 * asked[1] > 1.05 * asked[2]
        # Where true weights cost nothing, the first stage loses no event: it is a hit-or-miss. Else it loses some.
        # 4 sigma, binomial; both know the same pilot.
        free, usual, dear = reports
        assert free.efficiency == pytest.approx(free.hit_or_miss_efficiency, rel=4 / math.sqrt(free.accepted))
        assert free.efficiency > usual.efficiency > 1.2 * dear.efficiency

    def test_settings_win_over_candidates_and_there_is_a_default(self):
        for settings, of_candidates, expected in (({"cost_ratio": 3.0}, 70.0, 3), ({}, 70.0, 70), ({}, None, 10)):
            unweighter, _ = self.made(of_candidates, **settings)
            assert f"costs {expected} times a candidate" in unweighter.report().remarks[0]
            same, _ = self.made(float(expected))
            np.testing.assert_array_equal(unweighter.state()["maxima"], same.state()["maxima"])


def survivors_of(unweighter, surrogate, seed=1):
    """Which candidates pass the first stage: it goes by the first row of numbers that a batch takes."""
    first, floor = unweighter.state()["first_stage"][:2]
    return np.random.default_rng(seed).random((3, len(surrogate)))[0] < np.maximum(np.abs(surrogate), floor) / first


class TestEvaluatedShare:
    def test_share_of_the_survivors(self):
        """4 sigma, binomial; all whose surrogate is below the lowest floor, here zero for 5 %."""
        surrogate, exact = weights(40_000)
        surrogate[::20] = 0.0
        batch = candidates(surrogate, exact, cost_ratio=20.0)
        unweighter = prepared(batch, evaluated_share=0.3)
        assert maxima_of(unweighter).evaluated_share == 0.3
        kept, asked = asked_in_unweight(unweighter, batch)
        survives = survivors_of(unweighter, surrogate)
        unseen = surrogate < 0.01 * surrogate.mean()
        assert set(asked) >= set(np.flatnonzero(survives & unseen))
        assert np.count_nonzero(survives & unseen) > 50
        trusted = np.count_nonzero(survives & ~unseen)
        number = np.count_nonzero(~unseen[asked])
        assert number == pytest.approx(0.3 * trusted, abs=4 * math.sqrt(0.3 * 0.7 * trusted))
        assert unweighter.report().true_evaluations == 2000 + len(asked)
        assert np.all(survives[asked])
        assert np.all(survives[kept.index])

    def test_fewer_are_evaluated_for_an_event_where_the_surrogate_is_good(self):
        surrogate, exact = weights(40_000)
        batch = candidates(surrogate, exact, cost_ratio=1000.0)
        unweighter = prepared(batch, evaluated_share="optimal")
        assert maxima_of(unweighter).evaluated_share < 0.5
        kept, asked = asked_in_unweight(unweighter, batch)
        assert len(asked) < 0.7 * len(kept.index)
        # No event of the other sign, and the sample is hardly worse.
        assert np.all(kept.weight > 0)
        assert unweighter.report().effective_sample_size > 0.985 * len(kept.index)
        assert any("evaluated_share = 0." in remark for remark in unweighter.report().remarks)

    def test_all_are_evaluated_where_it_is_bad(self):
        unweighter = prepared(candidates(*weights(20_000, 0.8), cost_ratio=100.0), evaluated_share="optimal")
        assert maxima_of(unweighter).evaluated_share == 1

    def test_no_event_of_the_other_sign_where_truth_is_below_the_surrogate(self):
        # One in 20 is 0.6 of what the surrogate says: made up for with 1 - 0.4 / q, which is negative below q = 0.39.
        surrogate, exact = weights(40_000, 0.005)
        exact[::20] *= 0.6
        batch = candidates(surrogate, exact, cost_ratio=1000.0)
        unweighter = prepared(batch, evaluated_share="optimal")
        assert maxima_of(unweighter).evaluated_share in (1.0, 0.7, 0.5)
        assert np.all(unweighter.unweight(batch, np.random.default_rng(1)).weight > 0)
        # Whoever sets it gets what was set.
        unweighter = prepared(batch, evaluated_share=0.2)
        assert maxima_of(unweighter).evaluated_share == 0.2
        assert np.any(unweighter.unweight(batch, np.random.default_rng(1)).weight < 0)


class TestClaimedErrors:
    """Three kinds of candidates: with a claimed error of 0.03, of 0.3, and with one that is no number."""

    N, SHARE = 30_000, 0.4

    def made(self, **settings):
        surrogate, exact = weights(self.N, 0.05)
        kind = np.arange(self.N) % 3
        self.claims = []
        claimed = np.array([0.03, 0.3, math.nan])[kind]

        def relative_error(index):
            self.claims.extend(index.tolist())
            return claimed[index]

        batch = candidates(surrogate, exact, relative_error=relative_error, cost_ratio=20.0)
        return prepared(batch, **settings), batch, kind

    def test_true_weights_are_asked_for_in_proportion(self):
        """Binomial, 4 sigma; the mean of the claims over a pilot of 1500 is known to 3 %."""
        unweighter, batch, kind = self.made(evaluated_share=self.SHARE)
        self.claims.clear()
        _, asked = asked_in_unweight(unweighter, batch)
        survivors = np.flatnonzero(survivors_of(unweighter, batch.weight))
        np.testing.assert_array_equal(self.claims, survivors)
        # The three are as frequent, and where nothing is claimed, that counts as zero: the mean is 0.11.
        for number, expected in ((0, self.SHARE * 0.03 / 0.11), (1, 1.0), (2, 1.0)):
            of_kind = np.count_nonzero(kind[survivors] == number)
            tolerance = (
                4 * math.sqrt(expected * (1 - expected) * of_kind) + 4 * 0.03 * expected * (expected < 1) * of_kind
            )
            assert np.count_nonzero(kind[asked] == number) == pytest.approx(expected * of_kind, abs=tolerance)

    def test_they_are_not_looked_at_where_all_are_evaluated(self):
        unweighter, batch, _ = self.made()
        unweighter.unweight(batch, np.random.default_rng(1))
        assert self.claims == []

    def test_wrong_claims_leave_averages_right(self):
        """Over 25 unweightings: 5 standard errors are exceeded once in 25,000 times. (The kit tests distributions.)"""
        unweighter, batch, kind = self.made(evaluated_share=0.3)
        exact = batch.exact_weight.weight
        exact[kind == 0] *= 1.5
        found = []
        for seed in range(25):
            fresh = TwoStage.from_state(unweighter.settings, unweighter.state())
            kept = fresh.unweight(batch, np.random.default_rng([6, seed]))
            found.append(kept.weight[kind[kept.index] == 0].sum() / kept.weight.sum())
        require_agreement(
            np.array(found), exact[kind == 0].sum() / exact.sum(), "share of those with too small a claim"
        )

    def test_as_many_claims_as_candidates(self):
        surrogate, exact = weights(500)
        batch = candidates(surrogate, exact, relative_error=lambda index: np.ones(len(index) + 1))
        with pytest.raises(WeightError, match="errors of the surrogate of shape"):
            prepared(batch, evaluated_share=0.5)


CASES = {
    "good": {"spread": 0.02},
    "bad": {"spread": 0.8},
    "signs": {"spread": 0.3, "negative": 0.2},
}


@pytest.mark.parametrize("evaluated_share", [1.0, 0.5])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
class TestMeanWeight:
    """Over 60 independent samples, each with a pilot of its own."""

    def test_it_is_unbiased_and_its_error_honest(self, case, evaluated_share):
        truth, n, samples = 1 - 2 * case.get("negative", 0.0), 4000, 60
        means, figures = [], []
        for sample in range(samples):
            batch = candidates(*weights(n, rng=[7, sample], **case), cost_ratio=20.0)
            unweighter = prepared(batch, pilot=300, floor=0.4, evaluated_share=evaluated_share)
            rng = np.random.default_rng([8, sample])
            halves = [
                candidates(batch.weight[part], batch.exact_weight.weight[part])
                for part in np.split(np.arange(n), [n // 3])
            ]
            kept = np.concatenate([unweighter.unweight(half, rng).weight for half in halves])
            means.append(np.mean(kept) * unweighter.normalisation())
            report = unweighter.report()
            figures.append((report.mean_weight, report.mean_weight_error))
        # 5 standard errors of the spread of 60 are exceeded once in 180,000 times.
        require_agreement(np.array(means), truth, "mean weight of the events")
        mean, error = np.array(figures).T
        require_agreement(mean, truth, "mean_weight")
        # The spread of 60 pulls is 1 within 1 / sqrt(120), 4 sigma.
        assert np.std((mean - truth) / error, ddof=1) == pytest.approx(1, abs=4 / math.sqrt(120))
        # No better than with all true weights: the spread of a lognormal distribution with signs; and not much worse
        # where the surrogate is good. Within a seventh, which is the scatter of a lognormal's variance.
        least = math.sqrt((math.exp(0.64) - truth**2) / n)
        assert np.mean(error) > 0.95 * least
        if case["spread"] < 0.1:
            assert np.mean(error) < 1.05 * least


class TestVanishes:
    def test_they_are_never_asked_for_but_count(self):
        surrogate, exact = weights(20_000)
        vanishes = np.arange(20_000) % 4 == 1
        # Whatever the surrogate says of them.
        surrogate[vanishes], exact[vanishes] = 1e6, 0.0
        batch = candidates(surrogate, exact, vanishes=vanishes, cost_ratio=20.0)
        unweighter = prepared(batch)
        assert not np.any(vanishes[batch.exact_weight.index])
        kept, asked = asked_in_unweight(unweighter, batch)
        assert len(asked) > 100
        assert not np.any(vanishes[asked])
        assert not np.any(vanishes[kept.index])
        report = unweighter.report()
        assert report.candidates == 20_000
        assert report.efficiency == len(kept.index) / 20_000
        # Three quarters of 1, to 4 sigma.
        assert report.mean_weight == pytest.approx(0.75, abs=4 * report.mean_weight_error)
        assert report.mean_weight == pytest.approx(exact.mean(), rel=0.01)
        # What passes is a share of all candidates; what was expected is one of those that may have a weight.
        expected = 0.75 * maxima_of(unweighter).first_efficiency * 20_000
        assert len(asked) == pytest.approx(expected, abs=4 * math.sqrt(expected))

    def test_all_of_them(self):
        ones = np.ones(5)
        with pytest.raises(WeightError, match="all 10 candidates are known to have weight 0"):
            prepared(*(candidates(ones, ones, vanishes=ones > 0) for _ in range(2)))
        unweighter = prepared(candidates(*weights(500)))
        kept, asked = asked_in_unweight(unweighter, candidates(ones, ones, vanishes=ones > 0))
        assert len(kept.index) == len(asked) == 0
        assert unweighter.report().candidates == 5


class TestBadSurrogates:
    def check_mean(self, surrogate, exact, evaluated_share=1.0):
        """Over 25 unweightings: 5 standard errors are exceeded once in 25,000 times."""
        batch = candidates(surrogate, exact, cost_ratio=20.0)
        unweighter = prepared(batch, evaluated_share=evaluated_share)
        means = []
        for seed in range(25):
            fresh = TwoStage.from_state(unweighter.settings, unweighter.state())
            kept = fresh.unweight(batch, np.random.default_rng([4, seed]))
            if evaluated_share == 1:
                assert np.all(kept.weight * exact[kept.index] > 0)
            means.append(np.mean(kept.weight) * fresh.normalisation())
        require_agreement(np.array(means), exact.mean(), "mean weight of the events")
        unweighter.unweight(batch, np.random.default_rng(1))
        return unweighter.report()

    def test_zero_everywhere(self):
        report = self.check_mean(np.zeros(4000), weights(4000)[1])
        assert report.first_stage_efficiency == 1
        assert any("zero, negative or far too small" in remark for remark in report.remarks)

    def test_of_the_wrong_sign(self):
        surrogate, exact = weights(6000)
        surrogate[::5] *= -1
        for share in (1.0, 0.3):
            report = self.check_mean(surrogate, exact, evaluated_share=share)
            assert any("zero, negative or far too small" in remark for remark in report.remarks)

    def test_negative_everywhere(self):
        surrogate, exact = weights(6000, 0.3)
        self.check_mean(-surrogate, exact)

    def test_one_huge_weight_is_remarked(self):
        surrogate, exact = weights(4000)
        exact[1234] = 1e5
        for said in (1e5, 4.0):
            surrogate[1234] = said
            batch = candidates(surrogate, exact, cost_ratio=20.0)
            unweighter = prepared(batch, pilot=100)
            found = []
            for seed in range(30):
                fresh = TwoStage.from_state(unweighter.settings, unweighter.state())
                _, asked = asked_in_unweight(fresh, batch, seed)
                remarked = any("the sample rests on it" in remark for remark in fresh.report().remarks)
                # Where it is asked for, or was in the pilot, it is known of.
                assert remarked == (1234 in asked or said == 1e5)
                found.append(remarked)
            assert any(found)

    @pytest.mark.parametrize("scale", [1e-100, 1e-12, 1e100])
    def test_any_unit_of_weight_works(self, scale):
        surrogate, exact = weights(4000, 0.3)
        results = []
        for unit in (1.0, scale):
            batch = candidates(surrogate * unit, exact * unit, cost_ratio=20.0)
            unweighter = prepared(batch)
            unweighter.unweight(batch, np.random.default_rng(1))
            report = unweighter.report()
            results.append((report.accepted, report.mean_weight / unit, report.mean_weight_error / unit))
        # A weight at the edge of a histogram bin may fall into the next one.
        assert results[1] == pytest.approx(results[0], rel=0.01)


class TestErrors:
    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_first_bad_candidate_is_counted_over_the_batches(self, bad):
        surrogate, exact = weights(6)
        first = candidates(surrogate, exact)
        said, true = (candidates(surrogate, exact) for _ in range(2))
        said.weight[[2, 4]] = bad
        true.exact_weight.weight[[2, 4]] = bad
        for batch, what in ((said, "weight"), (true, "true weight")):
            message = rf"candidate 9 \(counted from 1\) has the {what} {bad}"
            with pytest.raises(WeightError, match=message):
                prepared(first, batch)
            unweighter = prepared(candidates(np.ones(6), np.ones(6)), pilot=100)
            unweighter.unweight(first, np.random.default_rng(1))
            batch = dataclasses.replace(batch, weight=np.where(np.isfinite(batch.weight), 100.0, batch.weight))
            with pytest.raises(WeightError, match=message):
                unweighter.unweight(batch, np.random.default_rng(1))

    def test_true_weights_of_another_shape(self):
        surrogate, _ = weights(2000)
        for wrong in (lambda index: np.ones(len(index) + 1), lambda index: np.ones((len(index), 1))):
            batch = Candidates(surrogate, wrong)
            with pytest.raises(WeightError, match="shape"):
                prepared(batch)
            with pytest.raises(WeightError, match="shape"):
                prepared(candidates(surrogate, surrogate)).unweight(batch, np.random.default_rng(1))

    def test_nothing_to_unweight(self):
        with pytest.raises(WeightError, match="there are no candidates"):
            prepared()
        with pytest.raises(WeightError, match="there are no candidates"):
            prepared(candidates([], []))
        with pytest.raises(WeightError, match=r"that were asked for .* are 0"):
            prepared(candidates(np.ones(50), np.zeros(50)))

    def test_true_weights_of_some_batches_only(self):
        surrogate, exact = weights(500)
        with pytest.raises(WeightError, match="from 501 on are known, and those before are not"):
            prepared(candidates(surrogate, exact), Candidates(exact))
        with pytest.raises(WeightError, match="these have true ones"):
            prepared(candidates(surrogate, exact)).unweight(Candidates(exact), np.random.default_rng(1))

    def test_before_prepare(self):
        with pytest.raises(WeightError, match=r"prepare\(\) has to see"):
            TwoStage(TwoStageSettings()).unweight(candidates(*weights(5)), np.random.default_rng(1))
        with pytest.raises(WeightError, match=r"prepare\(\) has to see"):
            TwoStage(TwoStageSettings()).report()

    def test_event_weight_needs_a_training_and_features(self):
        unweighter = TwoStage(TwoStageSettings(**FEW_STEPS))
        assert unweighter.learns
        with pytest.raises(ModelError, match="not trained"):
            unweighter.prepare([candidates(*weights(500), features=np.ones((500, 1)))])
        with pytest.raises(TrainingError, match="no features"):
            unweighter.train(itertools.repeat(candidates(*weights(500))), np.random.default_rng(1))
        trained = TwoStage(TwoStageSettings(**FEW_STEPS))
        trained.train(itertools.repeat(with_features(500)), np.random.default_rng(1))
        assert not trained.learns
        with pytest.raises(WeightError, match="no features"):
            trained.prepare([candidates(*weights(500))])

    @pytest.mark.parametrize(
        ("settings", "problem"),
        [
            ({"evaluated_share": 0.0}, "above 0 and up to 1"),
            ({"evaluated_share": 1.5}, "above 0 and up to 1"),
            ({"evaluated_share": math.nan}, "finite|above 0"),
            ({"evaluated_share": "best"}, "optimal"),
            ({"overweight_share": 1.0}, "less than 1"),
            ({"effective_share": 1.0}, "less than 1"),
            ({"cost_ratio": 0.0}, "greater than 0"),
            ({"pilot": 99}, "greater than or equal to 100"),
            ({"floor": 0.0}, "greater than 0"),
            ({"surrogate": "network"}, "'amplitude' or 'event-weight'"),
            ({"steps": 100}, "steps is set, but belongs to surrogate = 'event-weight'"),
            ({"steps": 100, "surrogate": "amplitude"}, "steps is set, but belongs to surrogate = 'event-weight'"),
        ],
    )
    def test_settings_that_make_no_sense(self, settings, problem):
        with pytest.raises(ValidationError, match=problem):
            TwoStageSettings(**settings)


class TestRandomNumbers:
    def test_same_batch_and_seed_give_the_same(self):
        batch = candidates(*weights(5000, 0.3), cost_ratio=20.0)
        results = [prepared(batch, evaluated_share=0.5).unweight(batch, np.random.default_rng(5)) for _ in range(2)]
        np.testing.assert_array_equal(results[0].index, results[1].index)
        np.testing.assert_array_equal(results[0].weight, results[1].weight)

    @pytest.mark.parametrize("vanishing", [False, True])
    def test_exactly_three_numbers_for_each_candidate(self, vanishing):
        surrogate, exact = weights(300)
        batch = candidates(surrogate, exact, vanishes=np.arange(300) % 3 == 0 if vanishing else None)
        rng, same = np.random.default_rng(9), np.random.default_rng(9)
        prepared(batch).unweight(batch, rng)
        same.random(3 * 300)
        assert rng.random() == same.random()

    def test_with_a_larger_first_maximum_the_survivors_are_some_of_those_before(self):
        batch = candidates(*weights(5000, 0.3), cost_ratio=20.0)
        unweighter = prepared(batch)
        survivors = []
        for factor in (1.0, 1.5, 4.0):
            state = {name: np.array(array) for name, array in unweighter.state().items()}
            state["first_stage"][0] *= factor
            survivors.append(set(asked_in_unweight(TwoStage.from_state(unweighter.settings, state), batch)[1]))
        assert survivors[0] > survivors[1] > survivors[2] > set()

    def test_what_a_candidate_gets_does_not_depend_on_others(self):
        surrogate, exact = weights(5000, 0.3)
        unweighter = prepared(candidates(surrogate, exact, cost_ratio=20.0))
        few = np.arange(5000) < 2500
        every, some = (
            unweighter.unweight(candidates(surrogate, exact, vanishes=vanishes), np.random.default_rng(2))
            for vanishes in (None, few)
        )
        np.testing.assert_array_equal(every.index[every.index >= 2500], some.index)


def with_features(n, rng=1):
    """A crude weight that is off by a factor that the feature says, from 1/e to e."""
    _, exact = weights(n, rng=rng)
    x = np.random.default_rng([rng, 1]).uniform(-1, 1, n)
    return candidates(exact * np.exp(x), exact, features=x[:, None], cost_ratio=20.0)


class TestState:
    def check(self, unweighter, batch):
        stored = state_from_bytes(state_to_bytes(unweighter.state()))
        loaded = TwoStage.from_state(unweighter.settings, stored)
        results = [each.unweight(batch, np.random.default_rng(1)) for each in (unweighter, loaded)]
        np.testing.assert_array_equal(results[0].index, results[1].index)
        np.testing.assert_array_equal(results[0].weight, results[1].weight)
        assert len(results[0].index) > 50
        assert unweighter.report() == loaded.report()
        assert unweighter.normalisation() == loaded.normalisation()

    def test_after_prepare(self):
        batch = candidates(*weights(4000, 0.3), cost_ratio=20.0)
        self.check(prepared(batch, evaluated_share=0.5), batch)
        known = Candidates(batch.exact_weight.weight)
        self.check(prepared(known), known)

    def test_after_train_and_prepare(self):
        trained = TwoStage(TwoStageSettings(**FEW_STEPS))
        trained.train((with_features(1000, rng) for rng in itertools.count(10)), np.random.default_rng(1))
        loaded = TwoStage.from_state(trained.settings, state_from_bytes(state_to_bytes(trained.state())))
        assert not loaded.learns
        batch = with_features(4000)
        for unweighter in (trained, loaded):
            unweighter.prepare([batch])
        np.testing.assert_array_equal(trained.state()["maxima"], loaded.state()["maxima"])
        self.check(trained, batch)

    def test_what_is_learned_makes_the_unweighting_better(self):
        """The crude weight scatters by a factor e; the network takes most of that away."""
        batch = with_features(10_000)
        trained = TwoStage(TwoStageSettings(**FEW_STEPS | {"steps": 300}))
        trained.train((with_features(1000, rng) for rng in itertools.count(10)), np.random.default_rng(1))
        efficiency = []
        for unweighter in (TwoStage(TwoStageSettings()), trained):
            unweighter.prepare([batch])
            unweighter.unweight(batch, np.random.default_rng(1))
            efficiency.append(unweighter.report().second_stage_efficiency)
        assert efficiency[1] > 0.8 > 1.3 * efficiency[0]

    def test_before_prepare_it_is_empty(self):
        assert TwoStage(TwoStageSettings()).state() == {}
        with pytest.raises(WeightError, match=r"prepare\(\)"):
            TwoStage.from_state(TwoStageSettings(), {}).unweight(candidates(*weights(5)), np.random.default_rng(1))

    def test_broken(self):
        settings = TwoStageSettings()
        state = dict(prepared(candidates(*weights(1000))).state())
        for name, array in state.items():
            for broken in (
                {other: state[other] for other in state if other != name},
                state | {name: array[:-1]},
                state | {name: array[None]},
                state | {name: np.where(np.arange(len(array)) == 0, math.nan, array)},
                state | {name: np.where(np.arange(len(array)) == 0, -1.0, array)},
            ):
                with pytest.raises(ModelError):
                    TwoStage.from_state(settings, broken)
        # The mean ratio of true to surrogate weights may have any sign, but it is a number.
        for place in (3, 4):
            first = np.where(np.arange(5) == place, math.nan, state["first_stage"])
            with pytest.raises(ModelError):
                TwoStage.from_state(settings, state | {"first_stage": first})
        with pytest.raises(ModelError):
            TwoStage.from_state(settings, state | {"surplus": np.ones(1)})
        with pytest.raises(ModelError, match="HitOrMissSettings"):
            TwoStage.from_state(HitOrMissSettings(), state)
