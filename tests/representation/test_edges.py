"""Edges of samples: which distributions have one, and where.

The rates are those that `low_edge` states, plus five standard errors of the samples that are drawn here.
"""

import numpy as np
import pytest

from mlgen.representation.edges import high_edge, low_edge

CUT = {
    "uniform": lambda rng, n: rng.uniform(1, 2, n),
    "exponential": lambda rng, n: 5 + rng.exponential(1, n),
    "power law": lambda rng, n: 20 * rng.random(n) ** (-1 / 3),
    "peak at the edge": lambda rng, n: 2 + rng.random(n) ** 2,
}
FADING = {
    "normal": lambda rng, n: rng.normal(0, 1, n),
    "exponential tail": lambda rng, n: -rng.exponential(1, n),
    "logistic": lambda rng, n: rng.logistic(0, 1, n),
    "Cauchy": lambda rng, n: rng.standard_cauchy(n),
}
SIZES = [200, 1000, 2000, 10_000, 100_000]


def samples(n):
    return 400 if n <= 10_000 else 60


def share_with_edge(draw, n, seed=1):
    rng = np.random.default_rng(seed)
    return float(np.mean([low_edge(draw(rng, n)) is not None for _ in range(samples(n))]))


def at_most(share, rate, n):
    return share <= rate + 5 * np.sqrt(rate * (1 - rate) / samples(n))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", CUT)
def test_cut_off_samples_have_an_edge(name, n):
    missed = 1 - share_with_edge(CUT[name], n)
    assert at_most(missed, 0.04 if n < 2000 else 0.01, n)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", FADING)
def test_tails_have_none(name, n):
    assert at_most(share_with_edge(FADING[name], n), 0.01 if n < 2000 else 0.001, n)


@pytest.mark.parametrize("n", SIZES)
def test_linear_rise_has_none(n):
    """Away from zero; a rise from zero is never an edge."""
    assert at_most(share_with_edge(lambda rng, n: 3 + np.sqrt(rng.random(n)), n), 0.12 if n < 2000 else 0.02, n)
    assert share_with_edge(lambda rng, n: np.sqrt(rng.random(n)), n) == 0


@pytest.mark.parametrize("n", [20, 100, 199])
def test_small_samples_have_none(n):
    assert share_with_edge(CUT["uniform"], n) == 0


@pytest.mark.parametrize("edge", [20.0, 2.5, 0.4, 60.0, 13.0, 346.0, 0.05, 1000.0])
def test_round_numbers_are_taken_for_the_cut(edge):
    """And the edge is never inside the sample."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(200):
        values = edge * (1 + rng.exponential(0.5, 2000))
        found.append(low_edge(values))
        assert found[-1] is None or found[-1] <= values.min()
    # 1 of 100 is missed, and 1 of 1,000 smallest values is too far away.
    assert np.mean([value == edge for value in found]) > 1 - 0.011 - 5 * np.sqrt(0.011 / 200)


def test_other_numbers_are_found_within_a_few_spacings():
    rng = np.random.default_rng(4)
    for _ in range(100):
        edge = rng.uniform(10, 11)
        values = edge + rng.exponential(30, 100_000)
        found = low_edge(values)
        assert found is not None
        # A spacing is 3e-4 here.
        assert edge - 0.01 < found <= values.min()


def test_negative_and_upper_edges():
    rng = np.random.default_rng(5)
    values = rng.uniform(-2.5, 2.5, 10_000)
    assert low_edge(values) == -2.5
    assert high_edge(values) == 2.5
    assert high_edge(-20 - rng.exponential(30, 10_000)) == -20
    assert low_edge(-20 - rng.exponential(30, 10_000)) is None


@pytest.mark.parametrize("values", [np.full(1000, 91.2), np.zeros(1000), np.repeat([1.0, 2.0], 500), np.zeros(0)])
def test_values_that_many_events_share(values):
    """No division by nothing, and no edge inside the sample."""
    found = low_edge(values)
    assert found is None or found <= values.min()


def test_sharp_edge_of_a_steep_peak():
    """Half of the events have the smallest value, as for a quantity that is cut with a shift to the edge."""
    rng = np.random.default_rng(6)
    values = np.where(rng.random(5000) < 0.5, 30.0, 30 + rng.exponential(10, 5000))
    found = low_edge(values)
    assert found is None or found == 30
