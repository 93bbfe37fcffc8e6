import numpy as np

from mlgen.sampling import remark_on_dropped

CHANNELS = [f"c{i}" for i in range(105)]


def test_where_all_are_drawn_there_is_no_remark():
    assert remark_on_dropped(CHANNELS, np.ones(105, bool), "why") == ()


def test_few_are_all_named():
    drawn = np.arange(105) > 1
    assert remark_on_dropped(CHANNELS, drawn, "why") == ("never drawn, why: 2 of 105 channels, 'c0', 'c1'",)


def test_of_many_the_largest_are_named():
    drawn, sizes = np.arange(105) < 5, np.arange(105) % 50
    expected = "never drawn, why: 100 of 105 channels, among them 'c49', 'c99', 'c48'"
    assert remark_on_dropped(CHANNELS, drawn, "why", sizes.astype(float)) == (expected,)


def test_without_sizes_the_first_are_named():
    assert "among them 'c5', 'c6', 'c7'" in remark_on_dropped(CHANNELS, np.arange(105) < 5, "why")[0]
