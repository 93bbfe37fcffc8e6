"""Tests for plugins of the stage ``phase_space``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import ClassVar, TypeVar

import numpy as np

from mlgen.errors import TrainingError
from mlgen.sampling import point_weights
from mlgen.stages import (
    Capability,
    FloatArray,
    Integrand,
    PhaseSpaceSampler,
    Points,
    ProgressCallback,
    Stage,
    TrainingReport,
    no_progress,
)
from mlgen.testing.base import TrainedContractTests
from mlgen.testing.integrands import Broken, FourChannels, OneChannel, Remembering, Watched
from mlgen.testing.rules import (
    Arrays,
    require,
    require_agreement,
    require_array,
    require_refusal,
    require_same,
    unchanged,
)
from mlgen.testing.statement import checked_early, states_rules
from mlgen.testing.traps import Trap

SamplerT = TypeVar("SamplerT", bound=PhaseSpaceSampler)


@states_rules
class PhaseSpaceSamplerTests(TrainedContractTests[SamplerT]):
    r"""Tests for an `mlgen.stages.PhaseSpaceSampler`.

    The density of a point is that of its position and channel together: summed over the channels and integrated over
    the hypercube it is one, so that the mean of :math:`\alpha_c f_c / p(x, c)` over points estimates
    :math:`\sum_c \int \alpha_c f_c \, dx`, for whatever channel weights :math:`\alpha` that sum to one.

    Attributes:
        dimensions: Dimensions of the hypercube.
        budget: Points of the integrand for the training.
        points: Points of a sample.
    """

    stage = Stage.PHASE_SPACE
    dimensions: ClassVar[int] = 3
    budget: ClassVar[int] = 10_000
    points: ClassVar[int] = 20_000

    def integrand(self) -> Integrand:
        """Return what `ready` is trained on: an integrand of four channels, of which the last contributes nothing."""
        return FourChannels(self.dimensions)

    def learn(
        self, implementation: SamplerT, rng: np.random.Generator, progress: ProgressCallback = no_progress
    ) -> TrainingReport:
        """Train on `integrand`."""
        return implementation.train(self.integrand(), self.budget, rng, progress)

    def use(self, implementation: SamplerT, rng: np.random.Generator) -> Arrays:
        """Draw points, and weigh the channels."""
        points = implementation.sample(100, rng)
        evaluated = self.integrand()(points.x, points.channel)
        weights = implementation.channel_weights(evaluated.features, evaluated.prior)
        return {"x": points.x, "channel": points.channel, "density": points.density, "channel weights": weights}

    def trapped(self, trap: Trap) -> Iterator[tuple[str, Callable[[], object]]]:
        """Trainings whose integrand, and whose progress callback, raises."""
        integrand = trap.integrand(self.integrand())
        yield "training on an integrand that raises", lambda: self.make().train(integrand, self.budget, self.rng())
        yield "a progress callback that raises", lambda: self.learn(self.make(), self.rng(), trap.progress)

    def prior(self, n: int) -> FloatArray:
        """Return prior channel weights, ``(n, channels)``, which give something to every channel."""
        prior = self.rng(20).random((n, len(self.integrand().channels))) + 0.1
        return np.asarray(prior / prior.sum(axis=1, keepdims=True), np.float64)

    def features(self, n: int) -> FloatArray:
        """Return features of points, ``(n, features)``."""
        return np.asarray(self.rng(21).random((n, self.integrand().features)), np.float64)

    def figures(self) -> Mapping[str, str]:
        """Return how much the weights of its points scatter, beside those of points that are drawn flat."""
        integrand, rng = self.integrand(), self.rng(22)
        channels = len(integrand.channels)
        channel = rng.integers(channels, size=self.points)
        x = rng.random((self.points, integrand.dimensions))
        evaluated = integrand(x, channel)
        prior = np.take_along_axis(evaluated.prior, channel[:, None], axis=1)[:, 0]
        flat = evaluated.value * prior * channels
        own = point_weights(self.ready(), integrand, self.ready().sample(self.points, self.rng(1)))
        told = ", ".join(
            f"{np.std(weights) / np.mean(weights):.3g} {what}"
            for weights, what in ((own, "of this sampler"), (flat, "of flat points"))
        )
        return {"relative standard deviation of the weights after the kit's short training": told}

    @checked_early
    def test_points_have_the_right_shape(self) -> None:
        """`sample` gives exactly n points, also none, in the hypercube, each with a channel and a positive density, as
        doubles.
        """
        for n in (0, 1, 1000):
            self._check_points(self.ready().sample(n, self.rng(1)), n, self.integrand())

    def _check_points(self, points: Points, n: int, integrand: Integrand) -> None:
        require_array(points.x, (n, integrand.dimensions), "f", "x")
        require_array(points.channel, (n,), "iu", "channel")
        require_array(points.density, (n,), "f", "density")
        require(np.all((points.x >= 0) & (points.x <= 1)), "points must lie in the unit hypercube")
        inside = (points.channel >= 0) & (points.channel < len(integrand.channels))
        require(np.all(inside), "there is no such channel")
        require(np.all(points.density > 0), "the density of a point that was drawn must be positive")

    def test_budget_is_kept(self) -> None:
        """The training asks for at most `budget` points, and sampling for none."""
        watched = Watched(self.integrand())
        implementation = self.make()
        implementation.train(watched, self.budget, self.rng())
        require(watched.asked <= self.budget, f"training used {watched.asked} points; {self.budget} were allowed")
        watched.asked = 0
        implementation.sample(100, self.rng(1))
        require(watched.asked == 0, "sample() must not call the integrand")

    def test_integrals_are_right(self) -> None:
        """Of an exact plugin, the mean of f / density is the integral of f, whatever was learned."""
        self.only_if_exact()
        points = self.ready().sample(self.points, self.rng(1))
        drawn = len(np.unique(points.channel))
        for name, values, expected in (
            ("1", np.ones(self.points), float(drawn)),
            ("x_0", points.x[:, 0], drawn / 2),
            ("the last x squared", points.x[:, -1] ** 2, drawn / 3),
            ("1 in the channel drawn most", points.channel == np.bincount(points.channel).argmax(), 1.0),
        ):
            rule = f"the mean of f / density has to be the integral of f, here of {name} in {drawn} channels"
            require_agreement(values / points.density, expected, rule)

    def test_weights_average_to_the_integral(self) -> None:
        """Of an exact plugin, the mean of alpha f / density with its channel weights alpha is the integral, for what it
        was trained on and for what it was not.
        """
        self.only_if_exact()
        sampler = self.ready()
        points = sampler.sample(self.points, self.rng(1))
        for name, integrand in (
            ("what it was trained on", self.integrand()),
            ("another integrand with other prior weights", FourChannels(self.dimensions, 0.8, last_prior=0.25)),
            ("an integrand that is negative in places", FourChannels(self.dimensions, -0.2)),
        ):
            rule = f"the mean of alpha f / density has to be the integral, here of {name}"
            require_agreement(point_weights(sampler, integrand, points), 1.0, rule)

    def test_any_part_of_a_sample_is_fair(self) -> None:
        """Of an exact plugin, the first points of a sample, over many samples, give the integral too: the channels come
        in no order.
        """
        self.only_if_exact()
        sampler, rng = self.ready(), self.rng(4)
        first = [sampler.sample(40, rng) for _ in range(100)]
        points = Points(*(np.concatenate([getattr(p, name)[:10] for p in first]) for name in Points.__slots__))
        rule = "the mean of alpha f / density over the first ten points of each sample has to be the integral"
        require_agreement(point_weights(sampler, self.integrand(), points), 1.0, rule)

    def test_negative_integrands_can_be_learned(self) -> None:
        """An exact plugin that was trained on an integrand with values below zero is exact."""
        self.only_if_exact()
        integrand = FourChannels(self.dimensions, -0.2)
        sampler = self.make()
        sampler.train(integrand, self.budget, self.rng())
        points = sampler.sample(self.points, self.rng(1))
        rule = "the mean of alpha f / density has to be the integral, here after training on negative values"
        require_agreement(point_weights(sampler, integrand, points), 1.0, rule)

    def test_one_channel_and_no_budget(self) -> None:
        """An integrand of one channel, in another number of dimensions, can be learned without a budget: with as many
        points as the settings say.
        """
        self.only_if_exact()
        sampler, integrand = self.make(), OneChannel(2)
        sampler.train(integrand, None, self.rng())
        points = sampler.sample(self.points, self.rng(1))
        self._check_points(points, self.points, integrand)
        require_agreement(point_weights(sampler, integrand, points), 1.0, "the mean of f / density has to be 1")

    def test_channel_weights_sum_to_one(self) -> None:
        """Channel weights are not negative, and sum to one at each point."""
        features, prior = self.features(50), self.prior(50)
        weights = self.ready().channel_weights(features, prior)
        require_array(weights, prior.shape, "f", "channel weights")
        require(np.all(weights >= 0), "channel weights must not be negative")
        require(np.allclose(weights.sum(axis=1), 1, rtol=0, atol=1e-9), "channel weights must sum to one")

    def test_channels_that_are_never_drawn_have_no_weight(self) -> None:
        """A channel that is never drawn has weight zero, since what it would contribute is lost."""
        drawn = np.unique(self.ready().sample(self.points, self.rng(1)).channel)
        weights = self.ready().channel_weights(self.features(50), self.prior(50))
        never = np.setdiff1d(np.arange(weights.shape[1]), drawn)
        require(np.all(weights[:, never] == 0), f"channels {never} are never drawn; their weight has to be zero")

    def test_channel_weights_are_learned_where_it_says_so(self) -> None:
        """A plugin with the capability CHANNEL_WEIGHTS gives other channel weights than the prior ones after a
        training; one without it gives the prior ones, normalised over the channels that it draws.
        """
        ready, n = self.ready(), 500
        points = ready.sample(self.points, self.rng(1))
        drawn = np.unique(points.channel)
        evaluated = self.integrand()(points.x[:n], points.channel[:n])
        prior = np.zeros_like(evaluated.prior)
        prior[:, drawn] = evaluated.prior[:, drawn]
        prior /= prior.sum(axis=1, keepdims=True)
        weights = ready.channel_weights(evaluated.features, evaluated.prior)
        difference = float(np.abs(weights - prior).max())
        if self.claims(Capability.CHANNEL_WEIGHTS):
            require(
                difference > 1e-6,
                "the plugin claims to learn channel weights (Capability.CHANNEL_WEIGHTS), but after the training they "
                f"are the prior ones everywhere {self.if_switched_off(Capability.CHANNEL_WEIGHTS)}",
            )
        else:
            require(
                difference < 1e-6,
                f"the channel weights differ from the prior ones by up to {difference:.3g}; a plugin that learns them "
                "says so where it registers: capabilities=frozenset({Capability.CHANNEL_WEIGHTS})",
            )

    def test_inputs_are_not_changed(self) -> None:
        """Training leaves what the integrand returned as it is, and `channel_weights` its inputs."""
        remembering = Remembering(self.integrand())
        implementation = self.make()
        implementation.train(remembering, self.budget, self.rng())
        for given, copies in remembering.given:
            require_same(copies, given, "what the integrand returned must not be changed; it may be kept there")
        features, prior = self.features(50), self.prior(50)
        with unchanged({"features": features, "prior": prior}, "channel_weights() must not change its inputs"):
            implementation.channel_weights(features, prior)

    def test_bad_input_is_refused(self) -> None:
        """An integrand that cannot be integrated, a budget too small to learn anything, wrong shapes, and sampling
        before the training are errors in words.
        """
        ready, whole = self.ready(), self.integrand()
        features, prior = self.features(5), self.prior(5)
        for value, what in ((np.nan, "training on NaN"), (np.inf, "training on infinity"), (0.0, "training on zero")):
            broken = Broken(whole, value)
            require_refusal(partial(self.make().train, broken, self.budget, self.rng()), what, [TrainingError])
        for budget in (0, 1):
            train = partial(self.make().train, whole, budget, self.rng())
            require_refusal(train, f"training with a budget of {budget}", [TrainingError])
        require_refusal(lambda: ready.sample(-1, self.rng()), "sampling -1 points")
        require_refusal(lambda: self.make().sample(1, self.rng()), "sampling before the training")
        require_refusal(
            lambda: ready.channel_weights(features[:, :-1], prior), "channel_weights() with a feature missing"
        )
        require_refusal(
            lambda: ready.channel_weights(features, prior[:-1]), "channel_weights() with a row of the prior missing"
        )
        require_refusal(lambda: ready.channel_weights(features * np.nan, prior), "channel_weights() with NaN")
