"""Flat sampling: the kit's tests for both ways to choose channels, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from mlgen.errors import ModelError, TrainingError
from mlgen.stages import Evaluated, Integrand
from mlgen.testing import PhaseSpaceSamplerTests
from mlgen_vegas.flat_sampler import FlatSampler
from mlgen_vegas.settings import FlatSettings


class TestLearnedChannels(PhaseSpaceSamplerTests):
    name = "flat"

    def make(self):
        return FlatSampler(FlatSettings())


class TestUniformChannels(PhaseSpaceSamplerTests):
    name = "flat"

    def make(self):
        return FlatSampler(FlatSettings(channels="uniform"))


class Constants(Integrand):
    """A constant value and prior weight for each channel."""

    dimensions, features = 1, 1

    def __init__(self, values, prior):
        self.values, self.row = np.array(values, float), np.array(prior, float)
        self.channels = tuple(f"c{i}" for i in range(len(values)))
        self.groups = tuple(range(len(values)))

    def __call__(self, x, channel):
        return Evaluated(self.values[channel], np.tile(self.row, (len(x), 1)), x)


def trained(integrand, **settings):
    sampler = FlatSampler(FlatSettings(**settings))
    return sampler, sampler.train(integrand, 1000, np.random.default_rng(1))


def test_probabilities_make_equal_weights_of_constants():
    # alpha f = (0.5, 1.5, 0): the weights alpha f / p are all 2 for p = (1/4, 3/4, 0).
    sampler, report = trained(Constants([1, 5, 0], [0.5, 0.3, 0.2]))
    np.testing.assert_allclose(sampler.channel_probabilities, [0.25, 0.75, 0])
    assert report.figures["relative_standard_deviation"] == pytest.approx(0, abs=1e-6)
    assert report.figures["channels_used"] == 2
    assert "'c2'" in report.remarks[0]


def test_no_channel_is_starved():
    # 100 to 1, but each of two channels gets at least 0.5 / 2, before all are scaled to sum to 1.
    sampler, _ = trained(Constants([100, 1], [0.5, 0.5]), minimum_share=0.5)
    np.testing.assert_allclose(sampler.channel_probabilities, np.array([100 / 101, 0.25]) / (100 / 101 + 0.25))


def test_channels_that_are_not_drawn_hand_their_weight_to_the_others():
    sampler, _ = trained(Constants([1, 5, 0], [0.5, 0.3, 0.2]))
    weights = sampler.channel_weights(np.zeros((2, 1)), np.array([[0.2, 0.2, 0.6], [0, 0, 1.0]]))
    np.testing.assert_allclose(weights, [[0.5, 0.5, 0], [0.5, 0.5, 0]])


def test_relative_standard_deviation_of_a_known_integrand():
    # For f = x in one channel it is sqrt((1/3) / (1/2)^2 - 1) = 0.577; the estimate from 1000 points, within 5 sigma.
    class Line(Constants):
        def __call__(self, x, channel):
            return Evaluated(x[:, 0], np.ones((len(x), 1)), x)

    _, report = trained(Line([1], [1]))
    assert report.figures["relative_standard_deviation"] == pytest.approx(np.sqrt(1 / 3), abs=0.07)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"channels": ()}, "0 channels"),
        ({"groups": (0,)}, "groups for 1"),
        ({"features": 2}, r"features has shape \(\d+, 1\)"),
    ],
)
def test_an_integrand_that_contradicts_itself_is_refused(change, words):
    integrand = Constants([1, 1], [0.5, 0.5])
    vars(integrand).update(change)
    with pytest.raises(TrainingError, match=words):
        trained(integrand)


def test_a_value_that_is_not_finite_is_named_with_its_channel():
    with pytest.raises(TrainingError, match="value is nan in channel 'c1' at"):
        trained(Constants([1, np.nan], [0.5, 0.5]))


def test_probabilities_that_do_not_sum_to_one_are_refused():
    state = dict(trained(Constants([1, 1], [0.5, 0.5]))[0].state())
    with pytest.raises(ModelError, match="sum to 1"):
        FlatSampler.from_state(FlatSettings(), state | {"probabilities": np.array([0.5, 0.6])})
