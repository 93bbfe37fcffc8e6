"""How channels are drawn, and what that does to errors."""

from __future__ import annotations

import numpy as np
import pytest

from mlgen.errors import TrainingError
from mlgen.sampling import ChannelSampler, point_weights, systematic_counts
from mlgen.stages import Evaluated, Integrand, Settings


class Steps(Integrand):
    """Two channels with mean weights 0 and 4, drawn equally often, and standard deviations 0 and 4 sqrt(1/3) / 2."""

    dimensions, channels, groups, features = 1, ("nothing", "line"), (0, 1), 1

    def __call__(self, x, channel):
        return Evaluated(np.where(channel == 1, 4 * x[:, 0], 0.0), np.full((len(x), 2), 0.5), x)


class Even(ChannelSampler):
    def train(self, integrand, budget, rng, progress=None):
        self.set_channels(integrand, np.array([0.5, 0.5]))

    def place(self, uniform, counts):
        return uniform, np.ones(len(uniform))

    def state(self):
        return self.channel_state()

    @classmethod
    def from_state(cls, settings, state):
        made = cls(settings)
        made.set_channel_state(state)
        return made


def ready():
    sampler = Even(Settings())
    sampler.train(Steps(), None, np.random.default_rng(1))
    return sampler


def test_counts_sum_to_n_and_are_the_expected_ones_rounded():
    probabilities = np.array([0.1, 0.0, 0.61, 0.29, 0.0])
    rng = np.random.default_rng(1)
    counts = np.stack([systematic_counts(probabilities, 25, rng) for _ in range(20_000)])
    assert np.all(counts.sum(axis=1) == 25)
    assert np.all(np.abs(counts - 25 * probabilities) < 1)
    # Each count is a whole number or the next, so that its deviation is at most 1/2; 5 sigma.
    np.testing.assert_allclose(counts.mean(axis=0), 25 * probabilities, atol=5 * 0.5 / np.sqrt(20_000))


def test_means_of_calls_scatter_less_than_the_plain_variance_says():
    # Weights 0 and, uniformly, 0 to 4: within channels the variance is (0 + 4/3) / 2, between them 1.
    sampler, rng = ready(), np.random.default_rng(2)
    weights = np.stack([point_weights(sampler, Steps(), sampler.sample(200, rng)) for _ in range(4000)])
    quoted = np.sqrt(weights.var(axis=1, ddof=1).mean() / 200)
    assert quoted == pytest.approx(np.sqrt((2 / 3 + 1) / 200), rel=0.01)
    # 4000 calls know their standard deviation to 1.1%: 5 sigma.
    assert weights.mean(axis=1).std() == pytest.approx(np.sqrt(2 / 3 / 200), rel=0.056)
    assert weights.mean() == pytest.approx(1, abs=5 * np.sqrt(2 / 3 / weights.size))


def test_untrained_it_says_so():
    with pytest.raises(TrainingError, match="Even has learned nothing yet"):
        Even(Settings()).sample(1, np.random.default_rng(1))


def test_a_state_makes_the_same_sampler():
    first = ready()
    second = Even.from_state(Settings(), first.state())
    assert (second.dimensions, second.features) == (1, 1)
    samples = [sampler.sample(10, np.random.default_rng(3)) for sampler in (first, second)]
    np.testing.assert_array_equal(samples[0].x, samples[1].x)
    np.testing.assert_array_equal(samples[0].density, samples[1].density)
