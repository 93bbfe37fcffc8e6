"""Tests for plugins of the stage ``phase_space``."""

from __future__ import annotations

from typing import ClassVar, TypeVar

import numpy as np
import pytest

from mlgen.stages import (
    Exactness,
    FloatArray,
    IntArray,
    PhaseSpaceSampler,
    Points,
    ProgressCallback,
    TrainingReport,
    no_progress,
)
from mlgen.testing.base import TrainedContractTests
from mlgen.testing.rules import Arrays, require, require_agreement, require_array, require_refusal, unchanged

SamplerT = TypeVar("SamplerT", bound=PhaseSpaceSampler)


class PhaseSpaceSamplerTests(TrainedContractTests[SamplerT]):
    r"""Tests for an `mlgen.stages.PhaseSpaceSampler`.

    The density of a point is that of its position and channel together: :math:`\sum_c \int p(x, c) \, dx = 1`, so that
    the mean of :math:`f(x, c) / p(x, c)` over points estimates :math:`\sum_c \int f(x, c) \, dx`.

    Attributes:
        exactness: As registered; only an exact plugin has to be unbiased.
        dimensions: Dimensions of the hypercube of `make`.
        channels: Number of its channels.
        budget: Points of the integrand for the training.
        points: Points of a sample.
    """

    exactness: ClassVar[Exactness] = Exactness.EXACT
    dimensions: ClassVar[int] = 3
    channels: ClassVar[int] = 1
    budget: ClassVar[int] = 10_000
    points: ClassVar[int] = 20_000

    def integrand(self, x: FloatArray, channel: IntArray) -> FloatArray:
        r"""Return :math:`\prod_i (\frac12 + \frac32 x_i^2) / \mathrm{channels}` at ``x (n, d)``; its integral is 1."""
        return np.asarray(np.prod(0.5 + 1.5 * x**2, axis=1) / self.channels, np.float64)

    def learn(
        self, implementation: SamplerT, rng: np.random.Generator, progress: ProgressCallback = no_progress
    ) -> TrainingReport:
        """Train on `integrand`."""
        return implementation.train(self.integrand, self.budget, rng, progress)

    def use(self, implementation: SamplerT, rng: np.random.Generator) -> Arrays:
        """Draw points."""
        points = implementation.sample(100, rng)
        return {"x": points.x, "channel": points.channel, "density": points.density}

    def prior(self, n: int) -> FloatArray:
        """Return prior channel weights, ``(n, channels)``."""
        prior = self.rng(20).random((n, self.channels)) + 0.1
        return np.asarray(prior / prior.sum(axis=1, keepdims=True), np.float64)

    def test_points_have_the_right_shape(self) -> None:
        """Exactly n points, in the hypercube, with a channel and a positive density."""
        for n in (0, 1, 1000):
            self._check_points(self.ready().sample(n, self.rng(1)), n)

    def _check_points(self, points: Points, n: int) -> None:
        require_array(points.x, (n, self.dimensions), "f", "x")
        require_array(points.channel, (n,), "iu", "channel")
        require_array(points.density, (n,), "f", "density")
        require(np.all((points.x >= 0) & (points.x <= 1)), "points must lie in the unit hypercube")
        require(np.all((points.channel >= 0) & (points.channel < self.channels)), "there is no such channel")
        require(np.all(points.density > 0), "the density of a point that was drawn must be positive")

    def test_budget_is_kept(self) -> None:
        """The training asks for at most `budget` values, and sampling for none."""
        asked: list[int] = []

        def counting(x: FloatArray, channel: IntArray) -> FloatArray:
            asked.append(len(x))
            return self.integrand(x, channel)

        implementation = self.make()
        implementation.train(counting, self.budget, self.rng())
        require(sum(asked) <= self.budget, f"training used {sum(asked)} integrand values; {self.budget} were allowed")
        asked.clear()
        implementation.sample(100, self.rng(1))
        require(not asked, "sample() must not call the integrand")

    def test_integrals_are_right(self) -> None:
        """The mean of f / density is the integral of f, within five standard errors, whatever was learned."""
        if self.exactness is not Exactness.EXACT:
            pytest.skip("the plugin does not claim to be exact")
        points = self.ready().sample(self.points, self.rng(1))
        for name, values, expected in (
            ("the integrand", self.integrand(points.x, points.channel), 1.0),
            ("1", np.ones(self.points), float(self.channels)),
            ("x_0", points.x[:, 0], self.channels / 2),
            ("the last x squared", points.x[:, -1] ** 2, self.channels / 3),
        ):
            rule = f"the mean of f / density has to be the integral of f, here of {name}"
            require_agreement(values / points.density, expected, rule)

    def test_channel_weights_sum_to_one(self) -> None:
        """Channel weights are a partition of one, and the inputs stay as they are."""
        x, prior = self.rng(21).random((50, self.dimensions)), self.prior(50)
        with unchanged({"x": x, "prior": prior}, "channel_weights() must not change its inputs"):
            weights = self.ready().channel_weights(x, prior)
        require_array(weights, (50, self.channels), "f", "channel weights")
        require(np.all(weights >= 0), "channel weights must not be negative")
        require(np.allclose(weights.sum(axis=1), 1, rtol=0, atol=1e-9), "channel weights must sum to one")

    def test_bad_input_is_refused(self) -> None:
        """NaN from the integrand, wrong shapes and numbers that make no sense are errors."""

        def broken(x: FloatArray, channel: IntArray) -> FloatArray:
            return np.full(len(x), np.nan)

        ready = self.ready()
        x, prior = self.rng(21).random((5, self.dimensions)), self.prior(5)
        require_refusal(lambda: self.make().train(broken, self.budget, self.rng()), "training on NaN")
        require_refusal(lambda: self.make().train(self.integrand, 0, self.rng()), "training with a budget of 0")
        require_refusal(lambda: ready.sample(-1, self.rng()), "sampling -1 points")
        require_refusal(lambda: ready.channel_weights(x[:, :-1], prior), "channel_weights() with a dimension missing")
        require_refusal(
            lambda: ready.channel_weights(x, prior[:-1]), "channel_weights() with a row of the prior missing"
        )
        require_refusal(lambda: ready.channel_weights(x * np.nan, prior), "channel_weights() with NaN")
