import numpy as np
import pytest
from scipy import stats

from mlgen.validation.observable import Kind
from mlgen.validation.region_scan import most_significant_region
from mlgen.validation.shape_tests import (
    BinnedSample,
    adjusted_p_values,
    combined_p_value,
    compare_shapes,
)

EVENTS = 100_000
#: What a single p-value must be below for 30 observables at a family-wise error of 1 %.
THRESHOLD = 0.01 / 30


def _fill(values, weight, edges):
    place = np.digitize(values, edges)
    return BinnedSample(
        np.bincount(place, weight, len(edges) + 1).astype(float),
        np.bincount(place, weight**2, len(edges) + 1).astype(float),
    )


def _counts(rng, shares, events=EVENTS):
    counts = rng.multinomial(events, shares / shares.sum()).astype(float)
    return BinnedSample(counts, counts)


def _shares(distribution, edges):
    return np.diff(np.concatenate([[0.0], distribution.cdf(edges), [1.0]]))


@pytest.mark.physics
@pytest.mark.parametrize("kind", [Kind.CATEGORY, Kind.INTEGER])
def test_unit_weights_give_pearsons_chi2_of_the_contingency_table(kind):
    rng = np.random.default_rng(1)
    shares = np.array([0.1, 0.2, 0.25, 0.3, 0.15])
    first, second = rng.multinomial(3000, shares), rng.multinomial(2000, shares[::-1])
    padded = [np.concatenate([[0.0], counts, [0.0]]) for counts in (first, second)]
    test = compare_shapes(
        BinnedSample(padded[0], padded[0]), BinnedSample(padded[1], padded[1]), np.arange(-0.5, 5), kind=kind, bins=200
    )
    expected = stats.chi2_contingency(np.stack([first, second]), correction=False)
    assert test.ndf == expected.dof
    assert test.chi2 == pytest.approx(expected.statistic, rel=1e-9)
    assert test.chi2_p_value == pytest.approx(expected.pvalue, rel=1e-9)


def _unit(rng, values):
    return np.ones(len(values))


def _broad(rng, values):
    return rng.lognormal(0.0, 0.5, len(values))


def _signed(rng, values):
    return np.where(rng.random(len(values)) < 0.2, -1.0, 1.0)


def _biased(rng, values):
    return np.exp(-values / 2)


@pytest.mark.physics
@pytest.mark.parametrize(
    ("weights", "events"),
    [
        ((_unit, _unit), (4000, 4000)),
        ((_unit, _broad), (4000, 4000)),
        ((_signed, _signed), (4000, 4000)),
        ((_biased, _biased), (4000, 4000)),
        ((_unit, _unit), (500, 500)),
        ((_unit, _unit), (20_000, 500)),
    ],
    ids=["unit", "broad", "negative", "dependent on the observable", "few events", "one small sample"],
)
def test_p_values_are_uniform_when_nothing_differs(weights, events):
    # chi^2: KS at 1e-4 for each of 6 cases. The combination is only calibrated in its tail: of 300 p-values,
    # 15 +- 3.8 are below 0.05, and 35 or more have a probability of 4e-6.
    rng = np.random.default_rng(2)
    edges = np.linspace(0, 8, 401)
    chi2, combined = [], []
    for _ in range(300):
        filled = []
        for weight, number in zip(weights, events, strict=True):
            values = rng.exponential(size=number)
            filled.append(_fill(values, weight(rng, values), edges))
        test = compare_shapes(*filled, edges)
        chi2.append(test.chi2_p_value)
        combined.append(test.p_value)
    assert stats.kstest(chi2, "uniform").pvalue > 1e-4
    assert np.sum(np.array(combined) < 0.05) < 35


def _lines():
    edges = np.linspace(0, 10, 601)
    exponential = _shares(stats.expon(), edges)
    yield "pT of 1.02 pT", edges, exponential, _shares(stats.expon(scale=1.02), edges), 0.64
    upper = np.cumsum(exponential) > 0.5
    yield "halves +-2 %", edges, exponential, exponential * np.where(upper, 1.02, 0.98), 0.59
    tail = np.cumsum(exponential) > 0.995
    yield "tail of 0.5 % less 30 %", edges, exponential, exponential * np.where(tail, 0.7, 1.0), 0.32
    edges = np.linspace(-5, 5, 601)
    normal = _shares(stats.norm(), edges)
    bump = _shares(stats.uniform(0.4, 0.2), edges)
    yield "2 % in a bump", edges, normal, 0.98 * normal + 0.02 * bump, 1.0
    edges = np.linspace(40, 140, 601)
    peak = stats.cauchy(91.2, 1.25)
    moved = _shares(stats.cauchy(91.25, 1.25), edges)
    yield "mass moved by 2 % of the width", edges, _shares(peak, edges), moved, 0.98


@pytest.mark.physics
@pytest.mark.parametrize(
    ("edges", "shares", "distorted", "rate"),
    [pytest.param(*line[1:], id=line[0]) for line in _lines()],
)
def test_two_per_cent_distortions_of_100000_events_are_found(edges, shares, distorted, rate):
    # Detection rates from 250 pairs of samples at a family-wise error of 1 % among 30 observables. A test that knew
    # the distortion would find the first two in 81 %. Less than four standard deviations below the rate.
    rng = np.random.default_rng(3)
    found = [
        compare_shapes(_counts(rng, shares), _counts(rng, distorted), edges).p_value < THRESHOLD for _ in range(60)
    ]
    assert np.mean(found) > rate - 4 * np.sqrt(rate * (1 - rate) * (1 / 60 + 1 / 250)) - 0.01


@pytest.mark.physics
def test_two_halves_of_a_sample_are_not_flagged():
    # 60 families of 10 correlated observables at a family-wise error of 1 %: 5 or more have a probability of 3e-4.
    rng = np.random.default_rng(4)
    mixing = np.eye(10) + 0.5 * np.tril(rng.normal(size=(10, 10)), -1)
    mixing /= np.linalg.norm(mixing, axis=1)[:, np.newaxis]
    edges = np.linspace(-4, 4, 201)
    flagged = 0
    for _ in range(60):
        values = rng.normal(size=(6000, 10)) @ mixing.T
        p_values = [
            compare_shapes(
                _fill(column[:3000], np.ones(3000), edges), _fill(column[3000:], np.ones(3000), edges), edges
            ).p_value
            for column in values.T
        ]
        flagged += adjusted_p_values(np.array(p_values)).min() < 0.01
    assert flagged < 5


def test_the_region_hugs_a_bump():
    edges = np.linspace(-5, 5, 601)
    normal = _shares(stats.norm(), edges)
    bump = 0.98 * normal + 0.02 * _shares(stats.uniform(0.4, 0.2), edges)
    rng = np.random.default_rng(5)
    deviation = compare_shapes(_counts(rng, normal), _counts(rng, bump), edges).deviation
    assert deviation.lower == pytest.approx(0.4, abs=0.06)
    assert deviation.upper == pytest.approx(0.6, abs=0.06)
    share = stats.norm.cdf(deviation.upper) - stats.norm.cdf(deviation.lower)
    assert deviation.share == pytest.approx(share, rel=0.03)
    assert deviation.ratio == pytest.approx(1 + 0.02 / share, abs=5 * deviation.error + 0.03)
    assert deviation.significance > 10


def test_the_ratio_and_its_error_are_those_of_two_binomial_shares():
    counts = np.array([0.0, 6000.0, 4000.0, 0.0]), np.array([0.0, 5000.0, 5000.0, 0.0])
    test = compare_shapes(*(BinnedSample(one, one) for one in counts), np.arange(3.0), kind=Kind.INTEGER)
    deviation = test.deviation
    assert (deviation.lower, deviation.upper) == (1.0, 2.0)
    assert deviation.ratio == pytest.approx(1.25)
    error = np.sqrt(0.25 / 10_000 + 1.25**2 * 0.24 / 10_000) / 0.4
    assert deviation.error == pytest.approx(error)
    # Two-proportion z-test with the pooled share.
    assert deviation.significance == pytest.approx(0.1 / np.sqrt(0.45 * 0.55 * 2 / 10_000), rel=1e-3)


def test_a_deviation_out_of_range_has_an_infinite_end():
    rng = np.random.default_rng(6)
    edges = np.linspace(0, 2, 101)
    test = compare_shapes(
        _counts(rng, _shares(stats.expon(), edges)), _counts(rng, _shares(stats.expon(scale=1.3), edges)), edges
    )
    assert test.deviation.upper == np.inf
    assert test.deviation.ratio > 1


def test_a_deviation_of_an_angle_may_go_through_the_end():
    rng = np.random.default_rng(7)
    edges = np.linspace(-np.pi, np.pi, 201)
    shares = np.concatenate([[0.0], np.ones(200), [0.0]])
    distorted = shares.copy()
    distorted[1:6] *= 1.5
    distorted[-6:-1] *= 1.5
    deviation = compare_shapes(_counts(rng, shares), _counts(rng, distorted), edges, periodic=True).deviation
    assert deviation.lower > deviation.upper
    assert deviation.lower == pytest.approx(edges[-6], abs=0.13)
    assert deviation.upper == pytest.approx(edges[5], abs=0.13)


def test_the_smooth_test_of_an_angle_does_not_depend_on_its_origin():
    rng = np.random.default_rng(8)
    edges = np.linspace(-np.pi, np.pi, 201)
    first, second = rng.poisson(50, 200).astype(float), rng.poisson(50, 200).astype(float)
    p_values = []
    for turn in (0, 67):
        turned = [np.concatenate([[0.0], np.roll(counts, turn), [0.0]]) for counts in (first, second)]
        p_values.append(compare_shapes(*(BinnedSample(one, one) for one in turned), edges, periodic=True))
    assert p_values[0].smooth_p_value == pytest.approx(p_values[1].smooth_p_value, rel=1e-6)


def test_categories_have_neither_order_nor_smooth_test():
    rng = np.random.default_rng(9)
    shares = np.array([0.0, 0.4, 0.3, 0.2, 0.0999, 0.0001, 0.0])
    distorted = np.array([0.0, 0.4, 0.27, 0.23, 0.0999, 0.0001, 0.0])
    first, second = _counts(rng, shares), _counts(rng, distorted)
    order = np.array([0, 5, 3, 1, 2, 4, 6])
    tests = [
        compare_shapes(
            BinnedSample(first.sums[chosen], first.squares[chosen]),
            BinnedSample(second.sums[chosen], second.squares[chosen]),
            np.arange(-0.5, 5),
            kind=Kind.CATEGORY,
        )
        for chosen in (np.arange(7), order)
    ]
    assert tests[0].ndf == 3
    assert np.isnan(tests[0].smooth_p_value)
    assert tests[0].chi2 == pytest.approx(tests[1].chi2)
    assert tests[0].p_value == pytest.approx(tests[1].p_value)
    assert (tests[0].deviation.lower, tests[0].deviation.upper) == (1.5, 2.5)


def test_the_scale_and_sign_of_all_weights_do_not_matter():
    rng = np.random.default_rng(10)
    edges = np.linspace(0, 8, 101)
    samples = []
    for _ in range(2):
        values = rng.exponential(size=3000)
        samples.append(_fill(values, _signed(rng, values), edges))
    test = compare_shapes(*samples, edges)
    scaled = compare_shapes(samples[0], BinnedSample(-7.0 * samples[1].sums, 49.0 * samples[1].squares), edges)
    assert scaled.p_value == pytest.approx(test.p_value, rel=1e-9)
    assert scaled.chi2 == pytest.approx(test.chi2, rel=1e-9)


def test_a_region_that_the_sample_lacks_is_found():
    rng = np.random.default_rng(11)
    edges = np.linspace(0, 10, 201)
    shares = _shares(stats.expon(), edges)
    cut = np.where(np.concatenate([[0.0], edges]) < 3.0, shares, 0.0)
    deviation = compare_shapes(_counts(rng, shares, 5000), _counts(rng, cut, 5000), edges).deviation
    assert deviation.lower == pytest.approx(3.0, abs=0.15)
    # The merged bin that contains 3 holds some events.
    assert deviation.ratio < 0.15


def test_too_few_events_and_constants():
    edges = np.linspace(0, 1, 11)
    rng = np.random.default_rng(12)
    few = compare_shapes(
        _fill(rng.random(30), np.ones(30), edges), _fill(rng.random(3000), np.ones(3000), edges), edges
    )
    assert (few.ndf, few.deviation) == (0, None)
    assert np.isnan([few.p_value, few.chi2, few.chi2_p_value, few.smooth_p_value]).all()
    same = _fill(np.full(1000, 0.5), np.ones(1000), edges)
    constant = compare_shapes(same, same, edges)
    assert (constant.ndf, constant.p_value, constant.deviation) == (0, 1.0, None)
    nothing = BinnedSample(np.zeros(12), np.zeros(12))
    assert np.isnan(compare_shapes(nothing, same, edges).p_value)
    with pytest.raises(ValueError, match="11 edges need arrays of shape"):
        compare_shapes(BinnedSample(np.zeros(10), np.zeros(10)), same, edges)


@pytest.mark.physics
@pytest.mark.parametrize("bins", [5, 25, 50])
def test_the_number_of_independent_regions_agrees_with_a_simulation(bins):
    # Brownian bridges on equal bins: 20,000 of each, so that 1 % is known to 7 %; the formula claims 20 %.
    rng = np.random.default_rng(13)
    steps = rng.normal(size=(20_000, bins)) / np.sqrt(bins)
    steps -= steps.mean(axis=1)[:, np.newaxis]
    walks = np.cumsum(steps, axis=1)
    first, second = np.triu_indices(bins, 1)
    share = (second - first) / bins
    largest = np.zeros(len(walks))
    for one in range(0, len(first), 100):
        part = slice(one, one + 100)
        scaled = np.abs(walks[:, second[part]] - walks[:, first[part]]) / np.sqrt(share[part] * (1 - share[part]))
        largest = np.maximum(largest, scaled.max(axis=1))
    limit = np.quantile(largest, 0.99)
    # A single step up of that significance, in equal samples that are otherwise equal.
    pooled = np.full(bins, 1 / bins)
    events = 1e8
    step = limit * np.sqrt(2 / events * pooled[0] * (1 - pooled[0]))
    difference = np.full(bins, -step / (bins - 1))
    difference[2] = step
    region = most_significant_region(difference, pooled, np.full((2, bins), 1 / bins / events))
    assert abs(region.significance) == pytest.approx(limit, rel=1e-3)
    assert region.p_value == pytest.approx(0.01, rel=0.35)


def test_holm():
    # Worked example: 4 * 0.005, 3 * 0.01, 2 * 0.03, and the last not below the one before it.
    p_values = np.array([0.01, 0.04, np.nan, 0.03, 0.005])
    np.testing.assert_allclose(adjusted_p_values(p_values), [0.03, 0.06, np.nan, 0.06, 0.02])
    np.testing.assert_array_equal(adjusted_p_values(np.array([0.9, 0.8])), [1.0, 1.0])
    assert len(adjusted_p_values(np.array([]))) == 0


def test_cauchy_combination():
    assert combined_p_value(np.array([0.2])) == pytest.approx(0.2)
    assert combined_p_value(np.array([1e-9, np.nan, 1.0])) == pytest.approx(2e-9, rel=1e-6)
    assert combined_p_value(np.array([0.0, 0.5])) < 1e-290
    assert np.isnan(combined_p_value(np.array([np.nan])))
