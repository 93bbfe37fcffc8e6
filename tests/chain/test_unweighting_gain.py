"""Costs and gain of a two-stage unweighting in closed form, and the figures of a report."""

import dataclasses
import math

import pytest

from mlgen.chain.unweighting_figures import unweighting_figures
from mlgen.chain.unweighting_gain import COST_RATIOS, UnweightingCosts
from mlgen.stages import UnweightingReport

#: A hundred thousand candidates, of which a hit-or-miss would accept a twentieth.
COSTS = UnweightingCosts(
    candidates=100_000,
    evaluations=8_000,
    effective_events=5_000.0,
    hit_or_miss_efficiency=0.05,
    drawing=2e-6,
    surrogate=3e-6,
    mapping=1e-6,
    true_weight=1e-3,
    unweighting=0.05,
)
#: A surrogate that is never wrong, for nothing: as many true weights as events.
PERFECT = UnweightingCosts(20_000, 1_000, 1_000.0, 0.05, 0.0, 0.0, 0.0, 1e-3, 0.0)


def test_costs_of_an_event():
    # In microseconds: 100,000 candidates at 5, 8,000 true weights at 1 + 1000, and 50,000 for the unweighting.
    assert COSTS.per_event() == pytest.approx((500_000 + 8_008_000 + 50_000) * 1e-6 / 5_000, rel=1e-12)
    assert COSTS.per_hit_or_miss_event() == pytest.approx(1002e-6 / 0.05, rel=1e-12)
    assert COSTS.gain() == pytest.approx(20_040 / 1_711.6, rel=1e-12)
    assert COSTS.gain(COSTS.true_weight) == COSTS.gain()


def test_a_hit_or_miss_evaluates_candidates_inside_the_cuts_alone():
    costs = dataclasses.replace(COSTS, inside=0.6)
    assert costs.per_hit_or_miss_event() == pytest.approx(602e-6 / 0.05, rel=1e-12)
    assert costs.per_event() == COSTS.per_event()


@pytest.mark.parametrize("inside", [1.0, 0.6])
def test_where_it_breaks_even_the_gain_is_one(inside):
    costs = dataclasses.replace(COSTS, inside=inside)
    even = costs.break_even()
    assert even > 0
    assert costs.gain(even) == pytest.approx(1, rel=1e-9)
    assert costs.gain(1.1 * even) > 1 > costs.gain(0.9 * even)


def test_a_perfect_surrogate_saves_what_hit_or_miss_asks_for_in_vain():
    """One over the efficiency, whatever the true weight costs where nothing else costs anything."""
    assert PERFECT.gain() == pytest.approx(20, rel=1e-12)
    assert PERFECT.break_even() == 0
    # With all other costs, in the limit of a dear true weight.
    costs = dataclasses.replace(COSTS, evaluations=5_000)
    assert costs.gain(1e6) == pytest.approx(20, rel=1e-6)
    assert costs.gain(1e-6) < 1


def test_the_gain_for_dear_true_weights_is_that_in_evaluations():
    """N_eff / (E efficiency): true weights of an event of hit-or-miss over those of one of the two stages."""
    assert COSTS.gain(1e6) == pytest.approx(5_000 / (8_000 * 0.05), rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # As many true weights for an event as in a hit-or-miss, or more of them: it never pays.
        ({"evaluations": 100_000}, math.inf),
        ({"evaluations": 150_000}, math.inf),
        # As many, but drawing is dear, and events come from fewer candidates.
        ({"evaluations": 100_000, "candidates": 10_000, "mapping": 0.0, "unweighting": 0.0}, 0.0),
        # Fewer candidates and fewer true weights: it always pays.
        ({"candidates": 10_000, "unweighting": 0.0}, 0.0),
    ],
)
def test_it_may_pay_never_or_always(changes, expected):
    costs = dataclasses.replace(COSTS, **changes)
    assert costs.break_even() == expected
    for true_weight in (0.0, 1e-6, 1e-3, 1.0):
        assert (costs.gain(true_weight) > 1) is (expected == 0)


def test_figures_are_in_microseconds_and_in_units_of_a_candidate():
    figures = COSTS.figures()
    assert figures["gain_over_hit_or_miss"] == COSTS.gain()
    assert COST_RATIOS == (1, 10, 100, 1000)
    for ratio in COST_RATIOS:
        # Drawing and the surrogate take 5 us.
        assert figures[f"gain_at_cost_ratio_{ratio}"] == pytest.approx(COSTS.gain(ratio * 5e-6), rel=1e-12)
    times = {name: value for name, value in figures.items() if name.endswith("_us")}
    assert times == pytest.approx(
        {
            "pays_from_true_weight_us": 1e6 * COSTS.break_even(),
            "true_weight_us": 1000,
            "surrogate_us": 3,
            "drawing_us": 2,
            "event_us": 1711.6,
            "hit_or_miss_event_us": 20_040,
        }
    )


def test_times_of_a_run_are_shared_among_candidates_and_true_weights():
    seconds = {
        "process": 100.0,
        "sampling": 0.1,
        "mapping and densities": 0.11,
        "surrogate": 0.3,
        "matrix element": 8.0,
        "unweighting": 0.05,
        "events": 100.0,
    }
    # Points are mapped once for a candidate, and again for a true weight.
    costs = UnweightingCosts.of_times(seconds, 100_000, 10_000, 5_000.0, 0.05)
    assert costs.mapping == pytest.approx(1e-6, rel=1e-12)
    assert costs.drawing == pytest.approx(2e-6, rel=1e-12)
    assert costs.surrogate == pytest.approx(3e-6, rel=1e-12)
    assert costs.true_weight == pytest.approx(8e-4, rel=1e-12)
    # What is spent on candidates and true weights in all is what was measured.
    spent = sum(seconds.values()) - 200
    assert costs.per_event() * 5_000 == pytest.approx(spent, rel=1e-12)
    nothing = UnweightingCosts.of_times({}, 0, 0, 1.0, 1.0)
    assert (nothing.drawing, nothing.surrogate, nothing.mapping, nothing.true_weight) == (0, 0, 0, 0)


REPORT = UnweightingReport(
    candidates=1000,
    accepted=200,
    efficiency=0.2,
    maximum_weight=5.0,
    overweight_events=2,
    overweight_share=0.001,
    largest_overweight=1.5,
    negative_fraction=0.0,
    effective_sample_size=199.0,
    remarks=("a remark",),
)


def test_figures_of_a_report_are_those_that_there_are():
    figures = unweighting_figures(REPORT)
    assert figures == {
        "candidates": 1000,
        "accepted": 200,
        "efficiency": 0.2,
        "maximum_weight": 5.0,
        "overweight_events": 2,
        "overweight_share": 0.001,
        "largest_overweight": 1.5,
        "negative_fraction": 0.0,
        "effective_sample_size": 199.0,
    }
    known = unweighting_figures(dataclasses.replace(REPORT, true_evaluations=0, mean_weight=0.0))
    assert known == figures | {"true_evaluations": 0, "mean_weight": 0.0}


@pytest.mark.parametrize(("fraction", "cost"), [(0.1, 1 / 0.64), (0.25, 4.0), (0.5, math.inf), (0.75, 4.0), (1.0, 1.0)])
def test_negative_weights_cost_events(fraction, cost):
    r"""1 / (1 - 2f)^2: the relative variance of a sum of n weights of +-1 is (1 / (1 - 2f)^2 - 1 + 1) / n."""
    figures = unweighting_figures(dataclasses.replace(REPORT, negative_fraction=fraction))
    assert figures["negative_weight_cost"] == pytest.approx(cost, rel=1e-12)
    assert "negative_weight_cost" not in unweighting_figures(REPORT)
