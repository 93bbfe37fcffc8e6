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


def test_two_distributions_share_the_edges_that_either_needs():
    rng = np.random.default_rng(62)
    before = rng.lognormal(0, 1, 3000) * np.where(rng.random(3000) < 0.1, -1, 1)
    after = np.where(rng.random(500) < 0.1, -1, 1) * 3e5
    distributions = WeightDistribution(), WeightDistribution()
    for distribution, weight in zip(distributions, (before, after), strict=True):
        distribution.add(weight)
    edges, *counts = distributions[0].histograms_beside(distributions[1])
    for (positive, negative), weight in zip(counts, (before, after), strict=True):
        assert positive == pytest.approx(np.histogram(weight[weight > 0], edges)[0])
        assert negative == pytest.approx(np.histogram(-weight[weight < 0], edges)[0])
    assert edges[0] == distributions[0].histograms()[0][0]
    assert edges[-1] == distributions[1].histograms()[0][-1]
    assert edges[1:] / edges[:-1] == pytest.approx(10 ** (1 / 20))


def test_beside_nothing_a_distribution_is_what_it_is_alone():
    distribution = WeightDistribution()
    distribution.add(np.array([1.0, -30.0]))
    edges, own, other = distribution.histograms_beside(WeightDistribution())
    assert all(np.array_equal(a, b) for a, b in zip((edges, *own), distribution.histograms(), strict=True))
    assert not np.any(other)
    assert np.array_equal(WeightDistribution().histograms_beside(distribution)[0], edges)
