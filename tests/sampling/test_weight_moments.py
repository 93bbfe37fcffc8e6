import numpy as np
import pytest

from mlgen.sampling import WeightMoments


def test_moments_are_means_within_each_channel():
    moments = WeightMoments(3)
    moments.add(np.array([0, 0]), np.array([1.0, 3.0]))
    moments.add(np.array([0, 1]), np.array([-2.0, 4.0]))
    np.testing.assert_allclose(moments.second_moments, [14 / 3, 16, 0])
    np.testing.assert_array_equal(moments.contributes, [True, True, False])
    assert moments.integral_of_size == pytest.approx(6 / 3 + 4)
    assert moments.negative_share == pytest.approx((2 / 3) / 6)


def test_nothing_has_no_negative_share():
    assert WeightMoments(2).negative_share == 0


def test_members_of_a_group_are_drawn_equally_often():
    moments = WeightMoments(3)
    moments.add(np.array([0, 1, 2]), np.array([1.0, 7.0, 10.0]))
    # Roots of mean squares: 5, 5 and 10.
    np.testing.assert_allclose(moments.probabilities(moments.contributes, [0, 0, 1], 0.0), [0.25, 0.25, 0.5])
