"""VEGAS: the kit's tests with and without shared maps, closed forms, and Lepage's own integrator."""

from __future__ import annotations

import numpy as np
import pytest
import vegas

from mlgen.errors import ModelError, TrainingError
from mlgen.sampling import point_weights
from mlgen.stages import Evaluated, Integrand
from mlgen.testing import PhaseSpaceSamplerTests
from mlgen.testing.integrands import FourChannels, OneChannel, Watched
from mlgen_vegas.adaptive_maps import AdaptiveMaps
from mlgen_vegas.settings import VegasSettings
from mlgen_vegas.vegas_sampler import VegasSampler


class TestSharedMaps(PhaseSpaceSamplerTests):
    name = "vegas"

    def make(self):
        return VegasSampler(VegasSettings(points=2000))


class TestOneMapForEachChannel(PhaseSpaceSamplerTests):
    name = "vegas"

    def make(self):
        return VegasSampler(VegasSettings(points=2000, share_groups=False))


class Peaks(Integrand):
    r"""A Gaussian of width 0.02 at 0.3 in each dimension; its integral is :math:`(0.02 \sqrt{2 \pi})^d`."""

    channels, groups, features = ("one",), (0,), 1

    def __init__(self, dimensions):
        self.dimensions = dimensions
        self.integral = (0.02 * np.sqrt(2 * np.pi)) ** dimensions

    def __call__(self, x, channel):
        value = np.exp(-0.5 * np.sum(((x - 0.3) / 0.02) ** 2, axis=1))
        return Evaluated(value, np.ones((len(x), 1)), np.zeros((len(x), 1)))


def trained(integrand, budget=20_000, **settings):
    sampler = VegasSampler(VegasSettings(**settings))
    return sampler, sampler.train(integrand, budget, np.random.default_rng(1))


def weights_of(sampler, integrand, n=20_000):
    return point_weights(sampler, integrand, sampler.sample(n, np.random.default_rng(2)))


class TestLearning:
    def test_a_factorising_peak_is_learned(self):
        # Flat, the relative standard deviation is sqrt(1 / (0.02 * 2 sqrt(pi))^3 - 1) = 53.
        integrand = Peaks(3)
        weights = weights_of(trained(integrand, 70_000)[0], integrand)
        assert weights.std() / weights.mean() < 0.5
        assert abs(weights.mean() - integrand.integral) < 5 * weights.std() / np.sqrt(len(weights))

    @pytest.mark.physics
    def test_as_good_as_lepages_own_integrator(self):
        # Both with seven iterations of 3,000 points of a corner that does not factorise; the variance within a point
        # of the last map, not the integrator's, is compared: 10% allow for the noise of both grids.
        def corner(x):
            return 1 / (0.01 + np.sum((x - 0.1) ** 2, axis=1))

        class Corner(OneChannel):
            def __call__(self, x, channel):
                return Evaluated(corner(x), np.ones((len(x), 1)), x)

        ours = weights_of(trained(Corner(4), 21_000)[0], Corner(4))
        theirs = vegas.Integrator([[0, 1]] * 4)
        with vegas_seed(3):
            theirs(vegas.lbatchintegrand(corner), nitn=7, neval=3000, alpha=1.0, beta=0, max_nhcube=1)
        y = np.random.default_rng(4).random((20_000, 4))
        x, jacobian = np.empty_like(y), np.empty(len(y))
        theirs.map.map(y, x, jacobian)
        reference = corner(x) * jacobian
        assert ours.std() / ours.mean() == pytest.approx(reference.std() / reference.mean(), rel=0.1)
        error = np.hypot(ours.std(), reference.std()) / np.sqrt(20_000)
        assert abs(ours.mean() - reference.mean()) < 5 * error

    def test_the_last_figure_of_the_report_is_what_comes_out(self):
        # Estimated from 20,000 points in training and 200,000 after; 5% allow for the noise of both.
        integrand = FourChannels(3)
        sampler, report = trained(integrand, 140_000)
        weights = weights_of(sampler, integrand, 200_000)
        curve = report.curves["relative standard deviation"]
        assert report.figures["relative_standard_deviation"] == curve[-1]
        assert curve[-1] == pytest.approx(weights.std() / weights.mean(), rel=0.05)
        assert curve[-1] < 0.8 * curve[0]
        assert len(curve) == 7

    def test_mirror_images_share_a_map(self):
        assert trained(FourChannels(2))[0].state()["grids"].shape == (3, 2, 101)
        assert trained(FourChannels(2), share_groups=False)[0].state()["grids"].shape == (4, 2, 101)

    def test_the_budget_is_used(self):
        watched = Watched(FourChannels(2))
        _, report = trained(watched, 7 * 5000)
        assert 0.99 * 35_000 < watched.asked <= 35_000
        assert report.figures["integrand_calls"] == watched.asked

    def test_a_budget_that_is_too_small_says_how_many_are_needed(self):
        with pytest.raises(TrainingError, match="a budget of 420 or more"):
            trained(FourChannels(2), 100)
        trained(FourChannels(2), 420)

    def test_settings_that_are_too_small_say_which(self):
        # Four channels in three groups, two in one of them: ten points each need 3 x 20 / 3 for a map.
        with pytest.raises(TrainingError, match="points = 20 or more"):
            trained(FourChannels(2), None, points=10)
        trained(FourChannels(2), None, points=20)

    def test_negative_weights_are_told_of(self):
        assert trained(FourChannels(2))[1].figures["negative_share"] == 0
        # -0.2 + 14.4 t^2 with t = z - 1/2 is negative for |t| < e = 1/sqrt(72): the integral of the negative part is
        # 2 (0.2 e - 4.8 e^3), and that of the absolute value is 1 more than twice that.
        edge = 1 / np.sqrt(72)
        negative = 2 * (0.2 * edge - 4.8 * edge**3)
        share = trained(FourChannels(1, -0.2), 700_000)[1].figures["negative_share"]
        assert share == pytest.approx(negative / (1 + 2 * negative), rel=0.1)

    def test_a_channel_that_contributes_nothing_is_named(self):
        sampler, report = trained(FourChannels(2))
        assert sampler.channel_probabilities[3] == 0
        assert "'spare'" in report.remarks[0]


class TestMaps:
    def test_density_integrates_to_one_on_a_grid(self):
        # The density at x is 1 / (d increments width): integrated over a grid of x it is 1.
        sampler, _ = trained(Peaks(1))
        widths = np.diff(sampler.state()["grids"][0, 0])
        points = sampler.sample(5000, np.random.default_rng(1))
        place = np.searchsorted(np.cumsum(widths)[:-1], points.x[:, 0], side="right")
        np.testing.assert_allclose(points.density, 1 / (100 * widths[place]), rtol=1e-9)

    def test_increments_never_vanish(self):
        maps = AdaptiveMaps.uniform(1, 2, 20)
        rng = np.random.default_rng(1)
        for _ in range(30):
            y = rng.random((1000, 2))
            x, jacobian = maps.place(y, np.array([0]), np.array([1000]))
            assert np.all(jacobian > 0)
            maps.learn(y, np.where(x[:, 0] > 0.999, 1.0, 0.0) * jacobian, np.array([0]), np.array([1000]))
            maps.adapt(3.0)
        assert np.all(np.diff(maps.grids, axis=2) > 0)

    def test_grids_that_do_not_ascend_are_refused(self):
        sampler, _ = trained(Peaks(1))
        state = dict(sampler.state())
        with pytest.raises(ModelError, match="ascend"):
            VegasSampler.from_state(VegasSettings(), state | {"grids": state["grids"][..., ::-1]})
        with pytest.raises(ModelError, match="1 maps"):
            VegasSampler.from_state(VegasSettings(), state | {"map_of_channel": np.array([1])})


class vegas_seed:  # noqa: N801 - reads as a sentence where it is used
    """Lepage's integrator draws from a generator of its own, which is put back afterwards."""

    def __init__(self, seed):
        self.seed = seed

    def __enter__(self):
        import gvar

        self.before = gvar.RNG
        gvar.ranseed(self.seed)

    def __exit__(self, *exception):
        import gvar

        gvar.RNG = self.before
