import numpy as np
import pytest

from mlgen.chain.weight_distribution import WeightDistribution


def test_every_weight_is_counted_once_in_its_bin_and_by_its_sign():
    rng = np.random.default_rng(61)
    weight = rng.normal(size=5000) * 10.0 ** rng.uniform(-8, 8, 5000)
    weight[:7] = 0.0
    distribution = WeightDistribution()
    for part in np.array_split(weight, 4):
        distribution.add(part)
    edges, positive, negative = distribution.histograms()
    assert distribution.zero == 7
    assert positive.sum() == (weight > 0).sum()
    assert negative.sum() == (weight < 0).sum()
    # A weight on an edge may fall to either side by rounding; none of these does.
    assert positive == pytest.approx(np.histogram(weight[weight > 0], edges)[0])
    assert negative == pytest.approx(np.histogram(-weight[weight < 0], edges)[0])


def test_what_is_not_finite_is_left_out_without_a_warning():
    distribution = WeightDistribution()
    distribution.add(np.array([np.inf, -np.inf, np.nan, 1.0]))
    assert distribution.histograms()[1].sum() == 1


def test_without_weights_there_are_no_bins():
    edges, positive, negative = WeightDistribution().histograms()
    assert (len(edges), len(positive), len(negative)) == (1, 0, 0)
