"""MadNIS: the kit's tests, and the pieces against closed forms and against madnis' own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from madnis.integrator import stratified_variance as madnis_loss
from madnis.nn.splines import rational_quadratic_spline

from mlgen.errors import ModelError, TrainingError
from mlgen.sampling import point_weights, unweighting_efficiency
from mlgen.stages import Evaluated, Integrand
from mlgen.testing import PhaseSpaceSamplerTests
from mlgen.testing.integrands import FourChannels, Watched
from mlgen.torch_settings import device_for
from mlgen_madnis.channel_weights import ChannelWeightNetwork, learned_channel_weights
from mlgen_madnis.losses import event_variance, stratified_variance
from mlgen_madnis.networks import Networks
from mlgen_madnis.neural_channels import NeuralChannels
from mlgen_madnis.plan import plan_training
from mlgen_madnis.sampler import MadnisSampler
from mlgen_madnis.selection import best_checkpoint
from mlgen_madnis.settings import MadnisSettings
from mlgen_madnis.sizes import sizes_for
from mlgen_madnis.smooth_maps import SmoothMaps
from mlgen_madnis.spline_flows import SplineFlows
from mlgen_madnis.splines import spline
from mlgen_madnis.training import Checkpoint

QUICK = MadnisSettings(
    steps=24,
    batch_size=128,
    units=8,
    channel_weight_units=8,
    bins=4,
    vegas_points=300,
    vegas_iterations=3,
    held_out_points=1000,
    buffer_size=1000,
    device="cpu",
)


class TestConformance(PhaseSpaceSamplerTests):
    name = "madnis"

    def make(self):
        return MadnisSampler(QUICK)


class TestPriorChannelWeights(PhaseSpaceSamplerTests):
    name = "madnis"
    capabilities = frozenset()  # no learned channel weights

    def make(self):
        return MadnisSampler(QUICK.model_copy(update={"learn_channel_weights": False, "share_groups": False}))


class Diagonal(Integrand):
    r"""A ridge :math:`\exp(-\frac12 ((x - y) / 0.1)^2)` along the diagonal, which no product of maps can follow."""

    dimensions, channels, groups, features = 2, ("one",), (0,), 1

    def __call__(self, x, channel):
        value = np.exp(-0.5 * ((x[:, 0] - x[:, 1]) / 0.1) ** 2)
        return Evaluated(value, np.ones((len(x), 1)), np.zeros((len(x), 1)))


class Halves(Integrand):
    """One in the upper part of a line, another number in the lower; a channel of its own for each, by prior weight."""

    dimensions, channels, groups, features = 1, ("lower", "upper"), (0, 1), 1

    def __init__(self, edge, left):
        self.edge, self.left = edge, left

    def __call__(self, x, channel):
        lower = x[:, 0] < self.edge
        return Evaluated(np.where(lower, self.left, 1.0), np.stack([lower, ~lower], 1).astype(float), 2 * x - 1)


def trained(integrand, budget=None, **settings):
    sampler = MadnisSampler(MadnisSettings(**(QUICK.model_dump() | settings)))
    return sampler, sampler.train(integrand, budget, np.random.default_rng(1))


class TestLearning:
    def test_a_ridge_that_vegas_cannot_follow(self):
        # VEGAS sees flat projections: its relative standard deviation stays near sqrt(1/(0.2 sqrt(pi)) - 1) = 1.35.
        _, report = trained(
            Diagonal(), steps=300, batch_size=512, units=24, bins=8, vegas_points=2000, held_out_points=8000
        )
        assert report.figures["vegas_relative_standard_deviation"] > 1
        assert report.figures["relative_standard_deviation"] < 0.5
        assert report.figures["unweighting_efficiency"] > 0.3
        assert report.figures["chosen_step"] > 0

    def test_figures_of_the_report_are_those_of_a_new_sample(self):
        # On 4,000 held-out and 50,000 new points; 15% allow for the noise of both and for the choice.
        integrand = FourChannels(2)
        sampler, report = trained(integrand, steps=60, held_out_points=8000)
        weights = point_weights(sampler, integrand, sampler.sample(50_000, np.random.default_rng(2)))
        assert report.figures["relative_standard_deviation"] == pytest.approx(weights.std() / weights.mean(), rel=0.15)
        efficiency = unweighting_efficiency(weights)
        assert report.figures["unweighting_efficiency"] == pytest.approx(efficiency, rel=0.15)

    @pytest.mark.parametrize("sizes", [{}, {"last_batch_size": 400}, {"batch_size": 30}])
    def test_calls_are_counted(self, sizes):
        watched = Watched(FourChannels(2))
        _, report = trained(watched, 3000, **sizes)
        assert report.figures["integrand_calls"] == watched.asked
        assert 2000 < watched.asked <= 3000

    def test_a_budget_that_is_too_small_says_for_what(self):
        with pytest.raises(TrainingError, match=r"a budget of 200 points .* the VEGAS start would get 120 points, 180"):
            trained(FourChannels(2), 200)
        with pytest.raises(TrainingError, match="the training would get 0 points"):
            trained(FourChannels(2), 500, vegas_points=4000)

    @pytest.mark.parametrize("budget", [None, 10**6])
    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"held_out_points": 500}, "held_out_points = 500 .* 105 channels: set it to 1050"),
            ({"vegas_points": 5}, "vegas_points = 5 .* 105 groups: set it to 10 or"),
        ],
    )
    def test_settings_that_are_too_small_are_named(self, budget, settings, words):
        class Many(FourChannels):
            channels, groups = tuple(map(str, range(105))), tuple(range(105))

        with pytest.raises(TrainingError, match=words):
            trained(Many(2), budget, **settings)

    def test_a_channel_that_contributes_nothing_is_named_and_gets_no_weight(self):
        sampler, report = trained(FourChannels(2))
        assert "'spare'" in report.remarks[0]
        weights = sampler.channel_weights(np.zeros((2, 2)), np.array([[0.25] * 4, [0, 0, 0, 1.0]]))
        assert np.all(weights[:, 3] == 0)
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-12)

    @pytest.mark.parametrize(
        ("edge", "left", "used"),
        [(0.3, -0.5, 2), (0.001, 1.0, 1), (0.3, 1.0, 2)],
        ids=["large and negative", "small", "large"],
    )
    def test_groups_are_dropped_that_contribute_little(self, edge, left, used):
        # Integrals of the two groups: edge * left, and 1 - edge.
        sampler, report = trained(Halves(edge, left), steps=100, buffered_steps=0)
        assert report.figures["channels_used"] == used
        assert len(report.remarks) == 2 - used
        integral = 1 - edge + edge * left
        weights = point_weights(sampler, Halves(edge, left), sampler.sample(20_000, np.random.default_rng(2)))
        assert abs(weights.mean() - integral) < 5 * max(weights.std(), 1e-3) / np.sqrt(len(weights))

    def test_nothing_is_left_in_the_settings_of_torch(self):
        threads = torch.get_num_threads()
        trained(FourChannels(2))
        assert torch.get_num_threads() == threads
        assert torch.get_default_dtype() == torch.float32

    def test_networks_of_another_size_are_refused(self):
        state = trained(FourChannels(2))[0].state()
        for update, words in (({"units": 9}, "is expected with these settings"), ({"layers": 2}, "do not fit")):
            with pytest.raises(ModelError, match=words):
                MadnisSampler.from_state(QUICK.model_copy(update=update), state)

    def test_a_device_that_is_not_there_is_refused(self):
        with pytest.raises(TrainingError, match="device = 'cuda:99'"):
            device_for("cuda:99")


class TestPlan:
    groups = np.array([0, 0, 1, 2])

    def plan(self, dimensions, budget=None, **settings):
        chosen = MadnisSettings(**settings)
        return plan_training(chosen, sizes_for(chosen, dimensions), self.groups, budget)

    def test_batches_grow_by_the_same_factor_from_step_to_step(self):
        sizes = self.plan(7).batch_sizes
        assert (sizes[0], sizes[-1]) == (1024, 4096)
        np.testing.assert_allclose(sizes, 1024 * 4 ** (np.arange(len(sizes)) / (len(sizes) - 1)), atol=0.5)
        assert np.all(self.plan(4).batch_sizes == 1024)

    def test_every_fourth_step_is_on_new_points(self):
        assert self.plan(4, steps=10, batch_size=100).training == 300
        assert self.plan(4, steps=10, batch_size=100, buffered_steps=0).training == 1000

    @pytest.mark.parametrize("budget", [20_000, 400_003, 10**7])
    def test_a_budget_is_kept_and_used(self, budget):
        settings = {"vegas_points": 2000, "batch_size": 64, "last_batch_size": 1024}
        plan, whole = self.plan(7, budget, **settings), self.plan(7, **settings)
        points = plan.vegas + plan.training + plan.held_out
        available = min(budget, whole.vegas + whole.training + whole.held_out)
        assert available - 1100 < points <= available
        assert plan.batch_sizes[0] == 64
        assert plan.batch_sizes[-1] == 1024
        np.testing.assert_allclose(
            plan.vegas / points, whole.vegas / (whole.vegas + whole.training + whole.held_out), atol=0.06
        )


class TestSplines:
    @pytest.mark.parametrize("inverse", [False, True])
    def test_they_are_those_of_madnis_with_their_gradients(self, inverse):
        generator = torch.Generator().manual_seed(1)
        bins = 7
        raw = torch.randn(3, 3 * bins + 1, 50, dtype=torch.float64, generator=generator, requires_grad=True)
        x = torch.rand(3, 50, dtype=torch.float64, generator=generator, requires_grad=True)
        ours = spline(raw, x, bins, inverse)
        rows = raw.permute(0, 2, 1)
        parts = rows[..., :bins], rows[..., bins : 2 * bins], rows[..., 2 * bins :]
        theirs = rational_quadratic_spline(x, *parts, inverse=inverse)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
        gradients = [torch.autograd.grad(a.sum() + b.square().sum(), (raw, x)) for a, b in (ours, theirs)]
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


def random_flows(dimensions, groups=(0, 1, 0)):
    torch.manual_seed(3)
    flows = SplineFlows(dimensions, groups, layers=2, units=8, bins=5).double()
    with torch.no_grad():
        for parameter in flows.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return flows


@pytest.fixture
def torch_state():
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.mark.usefixtures("torch_state")
class TestFlows:
    def test_untrained_they_are_the_identity(self):
        x = torch.rand(10, 5)
        moved, log_determinant = SplineFlows(5, [0, 1], layers=3, units=16, bins=8).transform(x, [4, 6])
        torch.testing.assert_close(moved, x)
        torch.testing.assert_close(log_determinant, torch.zeros(10), atol=1e-5, rtol=0)

    @pytest.mark.parametrize("dimensions", [1, 2, 5])
    def test_they_are_inverted_exactly(self, dimensions):
        flows = random_flows(dimensions)
        channel = torch.arange(200) % 3
        x, log_probability = flows.sample(200, channel=channel, return_log_prob=True)
        torch.testing.assert_close(flows.log_prob(x, channel=channel), log_probability, rtol=1e-7, atol=1e-7)

    def test_the_determinant_is_that_of_the_jacobian(self):
        flows = random_flows(3)
        x = torch.rand(4, 3, dtype=torch.float64)
        _, log_determinant = flows.transform(x, [4, 0])
        for row, expected in zip(x, log_determinant, strict=True):
            jacobian = torch.autograd.functional.jacobian(lambda r: flows.transform(r[None], [1, 0])[0][0], row)
            torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, expected)

    def test_every_dimension_depends_on_every_other(self):
        flows = random_flows(5)
        row = torch.rand(5, dtype=torch.float64)
        jacobian = torch.autograd.functional.jacobian(lambda r: flows.transform(r[None], [1, 0])[0][0], row)
        assert torch.all(jacobian != 0)

    def test_channels_of_a_group_share_a_flow(self):
        flows = random_flows(2)
        x = torch.rand(6, 2, dtype=torch.float64)
        first, second, third = (flows.log_prob(x, channel=torch.full((6,), c)) for c in range(3))
        torch.testing.assert_close(first, third)
        assert not torch.allclose(first, second)


@pytest.mark.usefixtures("torch_state")
class TestDevices:
    def test_nothing_is_made_on_the_cpu_for_networks_that_are_elsewhere(self):
        # Tensors of torch's device "meta" have no numbers, but mixing them with the CPU's is an error as on a GPU.
        elsewhere = torch.device("meta")
        flows = SplineFlows(3, [0, 1, 1], layers=2, units=8, bins=5).to(elsewhere)
        weights = ChannelWeightNetwork(3, 3, layers=2, units=8).to(elsewhere)
        x = torch.empty(10, 3, device=elsewhere)
        for inverse in (False, True):
            moved, log_determinant = flows.transform(x, [4, 6], inverse=inverse)
            (moved.sum() + log_determinant.sum() + weights(moved).sum()).backward()
        assert all(parameter.grad.device == elsewhere for parameter in [*flows.parameters(), *weights.parameters()])
        with pytest.raises(RuntimeError):
            flows.transform(torch.rand(10, 3), [4, 6])


@pytest.mark.usefixtures("torch_state")
class TestSelection:
    def test_networks_that_spoil_everything_lose_to_the_start(self):
        integrand = FourChannels(2)
        maps, group = SmoothMaps(np.tile(np.linspace(0, 1, 3), (3, 2, 1))), np.array([0, 0, 1, 2])
        active = np.array([True, True, True, False])
        candidates = []
        for step in (0, 10, 20):
            flows = SplineFlows(2, group.tolist(), layers=2, units=8, bins=5)
            with torch.no_grad():
                for parameter in flows.parameters():
                    parameter.add_(0.1 * step * torch.randn_like(parameter))
            checkpoint = Checkpoint(step, {}, active, np.ones(3))
            candidates.append((checkpoint, NeuralChannels(maps, Networks(flows, None), group, active, 2)))
        choice = best_checkpoint(integrand, candidates[::-1], 3000, np.random.default_rng(1))
        assert choice.step == 0
        assert choice.calls == 3000
        assert choice.probabilities[3] == 0


class TestChannelWeights:
    def test_untrained_they_are_the_prior(self):
        network = ChannelWeightNetwork(2, 3, layers=2, units=4)
        prior = torch.tensor([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0]])
        weights = learned_channel_weights(network(torch.ones(2, 2)), prior, torch.ones(3, dtype=torch.bool))
        torch.testing.assert_close(weights, prior)


class TestSmoothMaps:
    grids = np.sort(
        np.concatenate([np.zeros((2, 3, 1)), np.random.default_rng(1).random((2, 3, 7)), np.ones((2, 3, 1))], 2)
    )

    def test_the_nodes_stay(self):
        maps = SmoothMaps(self.grids)
        u = np.repeat(np.linspace(0, 1, 9)[:, None], 3, axis=1)
        x, _ = maps.place(u, np.ones(9, int))
        np.testing.assert_allclose(x, self.grids[1].T, atol=1e-12)

    def test_the_jacobian_is_the_derivative_and_continuous(self):
        maps = SmoothMaps(self.grids[:, :1])
        u = np.linspace(0.001, 0.999, 4001)[:, None]
        group = np.zeros(len(u), int)
        step = 1e-6
        derivative = (maps.place(u + step, group)[0] - maps.place(u - step, group)[0])[:, 0] / (2 * step)
        jacobian = maps.place(u, group)[1]
        np.testing.assert_allclose(jacobian, derivative, rtol=1e-3)
        assert np.max(np.abs(np.diff(jacobian))) < 0.1 * jacobian.max()


class TestLosses:
    # Two groups of constant density: standard deviations 1 and 3 around means 2 and 6, in units of 8.
    f = torch.tensor([1.0, 3.0, 3.0, 9.0])
    one = torch.ones(4)
    groups = torch.tensor([0, 0, 1, 1])

    def test_stratified_is_the_square_of_the_sum_of_standard_deviations(self):
        loss = stratified_variance(self.f, self.one, self.one, self.groups)
        assert float(loss) == pytest.approx((4 / 8) ** 2, rel=1e-3)

    def test_events_is_the_variance_of_weights_with_equal_means(self):
        # Drawn with 1/4 and 3/4, the weights are 4, 12 and 4, 12: a relative variance of 1/4.
        loss = event_variance(self.f, self.one, self.one, self.groups)
        assert float(loss) == pytest.approx(1 / 4, rel=1e-3)

    def test_stratified_is_that_of_madnis_with_its_gradient(self):
        generator = torch.Generator().manual_seed(1)
        f, q_test, q_sample = (torch.rand(3, 200, dtype=torch.float64, generator=generator) + 0.2).requires_grad_()
        groups = torch.arange(200) % 4
        losses = [loss(f, q_test, q_sample, groups) for loss in (stratified_variance, madnis_loss)]
        torch.testing.assert_close(*losses, rtol=1e-9, atol=0)
        gradients = [torch.autograd.grad(loss, (f, q_test)) for loss in losses]
        for ours, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-12)
