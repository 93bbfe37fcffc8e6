import math

import numpy as np
import pytest
from scipy.stats import kstest, norm

from mlgen.validation.family import Family
from mlgen.validation.filling import Sums
from mlgen.validation.shares import share_test, two_sided_p_value


def test_the_error_of_a_share_of_unit_weights_is_binomial():
    test = share_test(Sums(30, 30), Sums(100, 100), Sums(150, 150), Sums(600, 600))
    assert test.reference == 0.3
    assert test.reference_error == pytest.approx(math.sqrt(0.3 * 0.7 / 100))
    assert test.sample_error == pytest.approx(math.sqrt(0.25 * 0.75 / 600))


@pytest.mark.physics
@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_p_values_of_equal_shares_are_uniform(spread):
    """2,000 pairs of samples, weights of both signs where they spread; Kolmogorov-Smirnov, p > 1e-3."""
    rng = np.random.default_rng(41)
    found = []
    for _ in range(2000):
        sums = []
        for _ in range(2):
            weight = rng.normal(1, 2 * spread, 800)
            chosen = rng.random(800) < 0.3
            sums += [Sums.of(weight[chosen]), Sums.of(weight)]
        found.append(share_test(*sums).p_value)
    assert kstest(found, "uniform").pvalue > 1e-3


def test_numbers_with_errors_are_compared_in_standard_deviations():
    assert two_sided_p_value(10.0, 0.3, 11.0, 0.4) == pytest.approx(2 * norm.sf(2.0))
    assert two_sided_p_value(10.0, math.nan, 11.0, 1.0) == pytest.approx(2 * norm.sf(1.0))


def test_numbers_without_errors_are_the_same_or_not():
    assert two_sided_p_value(1500.0, 0.0, 1500.0000001, 0.0) == 1
    assert two_sided_p_value(1500.0, 0.0, 1501.0, 0.0) == 0
    assert math.isnan(two_sided_p_value(math.nan, 0.0, 1.0, 0.0))


def test_a_family_counts_the_tests_that_were_made():
    """Holm: of four tests, the smallest p-value counts four times, the next three times."""
    family = Family([0.001, math.nan, 0.4], [math.nan, math.nan, math.nan], [0.01, math.nan], [0.5])
    assert family.tests == 4
    assert family.smallest == pytest.approx(0.004)
    assert family.adjusted_numbers[0] == pytest.approx(0.03)
    assert math.isnan(family.adjusted_shapes[1])
    assert math.isnan(Family([], [], [], []).smallest)
