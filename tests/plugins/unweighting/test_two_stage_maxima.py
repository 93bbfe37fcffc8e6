"""The maxima of a two-stage unweighting, against sums over all candidates and a simulation that know no pilot."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlgen.stages import Candidates
from mlgen_unweighting.pilot import Pilot, PilotSample
from mlgen_unweighting.two_stage_maxima import EVALUATED_SHARES, cheapest_maxima
from mlgen_unweighting.weight_histogram import WeightHistogram


def toy(n, spread, corner=1.0, seed=1):
    """Surrogate and true weights of mean one, some of them negative; `corner` is a factor of 2 % of the surrogates."""
    rng = np.random.default_rng(seed)
    exact = rng.lognormal(-0.32, 0.8, n)
    surrogate = exact * np.exp(spread * rng.standard_normal(n) - spread**2 / 2)
    surrogate[rng.random(n) < 0.02] *= corner
    sign = np.where(rng.random(n) < 0.1, -1.0, 1.0)
    return sign * surrogate, sign * exact


def everything(surrogate, exact, error=None):
    """All candidates as the pilot, so that what is chosen does not depend on chance."""
    n = len(exact)
    return Pilot(surrogate, exact, np.zeros(n) if error is None else error, np.ones(n), np.arange(n))


def drawn(surrogate, exact, size):
    sample, modulus = PilotSample(size), np.abs(surrogate)
    batch = Candidates(surrogate, exact.__getitem__)
    sample.add(np.arange(len(exact)), surrogate, modulus + 0.1 * modulus.mean(), batch, 0)
    return sample.evaluated(size)


def chosen(surrogate, pilot, cost_ratio=20.0, overweight_share=0.001, effective_share=0.0, evaluated_shares=(1.0,)):
    sizes = WeightHistogram()
    sizes.add(np.abs(surrogate))
    return cheapest_maxima(
        pilot,
        sizes,
        floor=0.01 * sizes.mean(),
        ratio=pilot.ratio(0.01 * sizes.mean()),
        cost_ratio=cost_ratio,
        overweight_share=overweight_share,
        effective_share=effective_share,
        evaluated_shares=evaluated_shares,
    )


def expected(surrogate, exact, first, floor, second, cost_ratio):
    """Cost of an effective event, share of the cross section in excess, effective size over events: exact sums."""
    passes = np.minimum(1, np.maximum(np.abs(surrogate), floor) / first)
    relative = np.abs(exact) / passes / second
    accepted = passes * np.minimum(1, relative)
    size = np.maximum(1, relative)
    total = np.sum(accepted * size)
    kish = total**2 / np.sum(accepted * size**2)
    cost = (len(exact) + cost_ratio * np.sum(passes)) / kish
    return cost, np.sum(accepted * (size - 1)) / total, kish / np.sum(accepted)


def cost_with_best_second(surrogate, exact, first, floor, cost_ratio, overweight_share, effective_share):
    """The second maximum as small as both shares allow, by bisection."""
    low, high = 1e-3, 1e6
    for _ in range(40):
        middle = math.sqrt(low * high)
        _, excess, effective = expected(surrogate, exact, first, floor, middle, cost_ratio)
        low, high = (low, middle) if excess <= overweight_share and effective >= effective_share else (middle, high)
    return expected(surrogate, exact, first, floor, high, cost_ratio)[0]


def simulated_cost(surrogate, exact, maxima, asked_for, cost_ratio, repetitions=40):
    """Unweight all candidates some times; the cost of an effective event, and its relative error.

    `asked_for` is the probability of each survivor to be evaluated, ``(n,)``; beyond the first maximum, all are.
    """
    asked_for = np.where(surrogate > maxima.first, 1.0, asked_for)
    rng = np.random.default_rng(5)
    asked, weights = 0, []
    chance = np.minimum(1, np.maximum(np.abs(surrogate), maxima.floor) / maxima.first)
    ratio = exact.sum() / surrogate.sum()
    for _ in range(repetitions):
        survivors = np.flatnonzero(rng.random(len(exact)) < chance)
        p, q, s, w = chance[survivors], asked_for[survivors], surrogate[survivors], exact[survivors]
        evaluated = rng.random(len(p)) < q
        asked += np.count_nonzero(evaluated)
        y = ratio * s / p
        y += np.where(evaluated, (w / p - y) / q, 0)
        size = np.abs(y) / maxima.second
        weights.append(np.maximum(1, size[rng.random(len(p)) < size]))
    weight = np.concatenate(weights)
    kish = weight.sum() ** 2 / np.sum(weight**2)
    return (repetitions * len(exact) + cost_ratio * asked) / kish, 1 / math.sqrt(len(weight))


TOYS = {"good": {"spread": 0.02}, "bad": {"spread": 0.7}, "corner": {"spread": 0.1, "corner": 1e-6}}
SHARES = {"no effective share": (0.001, 0.0), "effective share": (0.02, 0.99)}


@pytest.mark.parametrize("cost_ratio", [1.0, 20.0, 1000.0])
@pytest.mark.parametrize("shares", SHARES.values(), ids=SHARES)
@pytest.mark.parametrize("kind", TOYS.values(), ids=TOYS)
class TestChoice:
    """With all candidates as the pilot: nothing is random, but for the toy itself."""

    def test_shares_hold_and_figures_are_the_exact_sums(self, kind, shares, cost_ratio):
        surrogate, exact = toy(6000, **kind)
        maxima = chosen(surrogate, everything(surrogate, exact), cost_ratio, *shares)
        cost, excess, effective = expected(surrogate, exact, maxima.first, maxima.floor, maxima.second, cost_ratio)
        assert excess <= shares[0] * (1 + 1e-9)
        assert effective >= shares[1]
        # One of the two is used up: a lower second maximum would break it (that is found to 0.2 %).
        below = expected(surrogate, exact, maxima.first, maxima.floor, maxima.second / 1.003, cost_ratio)
        assert below[1] > shares[0] or below[2] < shares[1]
        # Bins of 1e-3 are all that the sum over all candidates is allowed to be off by.
        assert maxima.cost == pytest.approx(cost, rel=1e-3)
        assert maxima.effective_share == pytest.approx(effective, rel=1e-6)
        chance = np.minimum(1, np.maximum(np.abs(surrogate), maxima.floor) / maxima.first)
        assert maxima.first_efficiency == pytest.approx(chance.mean(), rel=1e-3)
        accepted = np.sum(np.minimum(chance, np.abs(exact) / maxima.second))
        assert maxima.second_efficiency == pytest.approx(accepted / chance.sum(), rel=1e-3)

    def test_no_other_first_maximum_is_cheaper(self, kind, shares, cost_ratio):
        surrogate, exact = toy(6000, **kind)
        maxima = chosen(surrogate, everything(surrogate, exact), cost_ratio, *shares)
        for factor in (0.5, 0.8, 1.25, 2.0):
            other = cost_with_best_second(surrogate, exact, maxima.first * factor, maxima.floor, cost_ratio, *shares)
            assert other > maxima.cost * (1 - 0.01)


class TestPilot:
    """With a pilot that is drawn: 10,000 of 40,000."""

    # What a pilot of k says of sums over all candidates is off by 1/sqrt(k): 4 sigma.
    TOLERANCE = 4 / math.sqrt(10_000)

    @pytest.mark.parametrize("kind", [{"spread": 0.02}, {"spread": 0.7}], ids=["good", "bad"])
    def test_shares_and_cost_are_those_of_all_candidates(self, kind):
        surrogate, exact = toy(40_000, **kind)
        maxima = chosen(surrogate, drawn(surrogate, exact, 10_000), 20.0, 0.02, 0.98)
        cost, excess, effective = expected(surrogate, exact, maxima.first, maxima.floor, maxima.second, 20.0)
        assert maxima.cost == pytest.approx(cost, rel=self.TOLERANCE)
        # Of single events the excess over the weight is 0.2 or so where it is, for 10 % of the cross section.
        assert excess <= 0.02 + 4 * 0.2 * math.sqrt(0.1 / 10_000)
        assert effective >= 0.98 - 0.005

    @pytest.mark.parametrize("share", [1.0, 0.25])
    @pytest.mark.parametrize("kind", [{"spread": 0.02}, {"spread": 0.3}], ids=["good", "fair"])
    def test_cost_is_that_of_a_simulation(self, kind, share):
        surrogate, exact = toy(10_000, **kind)
        pilot = everything(surrogate, exact)
        maxima = chosen(surrogate, pilot, 20.0, 0.001, 0.0, (share,))
        assert maxima.evaluated_share == share
        asked_for = np.where(surrogate < 0.01 * np.abs(surrogate).mean(), 1.0, share)
        cost, error = simulated_cost(surrogate, exact, maxima, asked_for, 20.0)
        assert 4 * error < 0.03
        assert maxima.cost == pytest.approx(cost, rel=4 * error)

    def test_cost_with_errors_that_the_surrogate_claims(self):
        """Half of the candidates have a far larger error than the others, and the surrogate knows."""
        n, share, cost_ratio = 10_000, 0.25, 100.0
        claimed = np.where(np.arange(n) % 2 == 0, 0.3, 0.03)
        rng = np.random.default_rng(3)
        surrogate = rng.lognormal(-0.32, 0.8, n)
        exact = surrogate * (1 + claimed * rng.uniform(-math.sqrt(3), math.sqrt(3), n))
        arguments = (cost_ratio, 0.001, 0.0, (share,))
        told = chosen(surrogate, everything(surrogate, exact, claimed), *arguments)
        untold = chosen(surrogate, everything(surrogate, exact), *arguments)
        asked_for = np.minimum(1, share * np.maximum(claimed / np.average(claimed, weights=surrogate), 0.1))
        asked_for[surrogate < 0.01 * surrogate.mean()] = 1.0
        for maxima, probability in ((told, asked_for), (untold, np.full(n, share))):
            cost, error = simulated_cost(surrogate, exact, maxima, probability, cost_ratio)
            assert 4 * error < 0.03
            assert maxima.cost == pytest.approx(cost, rel=4 * error)
        # As many true weights, where they matter.
        assert told.cost < 0.9 * untold.cost


class TestFloor:
    @pytest.mark.parametrize("draw", [everything, lambda *weights: drawn(*weights, 5000)], ids=["all", "pilot"])
    def test_a_corner_that_the_surrogate_does_not_see_raises_it(self, draw):
        with_corner, without = ((surrogate, exact) for surrogate, exact in (toy(20_000, 0.1, 1e-6), toy(20_000, 0.1)))
        # A high cost ratio: a high floor costs true weights.
        low, high = (chosen(pair[0], draw(*pair), 1000.0).floor for pair in (without, with_corner))
        assert high > 2 * low

    def test_a_higher_floor_is_cheaper_there(self):
        surrogate, exact = toy(20_000, 0.1, 1e-6)
        maxima = chosen(surrogate, everything(surrogate, exact), 1000.0)
        lowest = 0.01 * np.abs(surrogate).mean()
        others = [
            cost_with_best_second(surrogate, exact, first, lowest, 1000.0, 0.001, 0.0)
            for first in np.geomspace(0.02, 20, 16)
        ]
        assert maxima.cost < 0.9 * min(others)


class TestEvaluatedShare:
    def test_the_share_that_costs_least(self):
        surrogate, exact = toy(3000, 0.02)
        pilot = everything(surrogate, exact)
        best = chosen(surrogate, pilot, 100.0, evaluated_shares=EVALUATED_SHARES)
        cost = {share: chosen(surrogate, pilot, 100.0, evaluated_shares=(share,)).cost for share in EVALUATED_SHARES}
        assert best.evaluated_share < 0.5
        assert best.cost < 0.5 * cost[1.0]
        # The floor is that of share 1, which may be a little dearer than another.
        assert best.cost < 1.01 * min(cost[share] for share in EVALUATED_SHARES if share >= best.evaluated_share)
        # With a smaller share, some candidate would have the other sign: the ratio r of the means is made up for by
        # r + (w/s - r) / q.
        smaller = max(share for share in EVALUATED_SHARES if share < best.evaluated_share)
        believed = 0.01 * np.abs(surrogate).mean()
        smallest, ratio = np.min((exact / surrogate)[surrogate > believed]), pilot.ratio(believed)
        assert ratio + (smallest - ratio) / smaller < 0

    def test_no_candidate_gets_the_other_sign(self):
        # Where truth is 0.6 of the surrogate, the survivor would be made up for with r + (0.6 - r) / q, in units of the
        # surrogate with a mean ratio r of 0.98: that is negative for q < 0.39.
        surrogate, exact = (np.abs(weight) for weight in toy(6000, 0.005))
        exact = np.where(np.arange(6000) % 20 == 0, 0.6, 1.0) * exact
        ratio = exact.sum() / surrogate.sum()
        best = chosen(surrogate, everything(surrogate, exact), 1000.0, 0.05, evaluated_shares=EVALUATED_SHARES)
        assert 1 - 0.6 / ratio < best.evaluated_share < 1

    def test_where_the_surrogate_is_bad_all_are_evaluated(self):
        surrogate, exact = toy(6000, 0.7)
        pilot = everything(surrogate, exact)
        assert chosen(surrogate, pilot, 100.0, evaluated_shares=EVALUATED_SHARES).evaluated_share == 1

    @pytest.mark.parametrize("factor", [0.0, -1.0])
    def test_where_the_surrogate_is_never_believed_all_are_evaluated(self, factor):
        # A smaller share would save nothing.
        surrogate, exact = (np.abs(weight) for weight in toy(1000, 0.02))
        surrogate *= factor
        sizes = WeightHistogram()
        sizes.add(np.abs(surrogate))
        arguments = (everything(surrogate, exact), sizes, 0.5, 1.0, 20.0, 0.001, 0.99)
        assert cheapest_maxima(*arguments, EVALUATED_SHARES).evaluated_share == 1
        costs = [cheapest_maxima(*arguments, (share,)).cost for share in (1.0, 0.1)]
        assert costs[1] == pytest.approx(costs[0], rel=1e-12)
