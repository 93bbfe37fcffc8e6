"""Bayesian layers, likelihood, prior and repulsion against torch.distributions, sampling and naive loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from mlgen.stages import AmplitudeProcess
from mlgen_bnn.boosting import PointCounts
from mlgen_bnn.layers import Linear
from mlgen_bnn.losses import likelihood_loss, repulsion
from mlgen_bnn.networks import DeepSets, Network, Output, sets_of
from mlgen_bnn.settings import BnnSettings
from mlgen_bnn.training import Points, _loss


def bayesian_layer(inputs=5, outputs=3):
    """A layer with all kinds of means, biases and widths."""
    rng = np.random.default_rng(1)
    layer = Linear(inputs, outputs, rng, bayesian=True, scale=2.0)
    with torch.no_grad():
        layer.bias.copy_(tensor(rng.standard_normal(outputs)))
        layer.log_width.copy_(tensor(rng.uniform(-3, 0, (inputs, outputs))))
    return layer


def tensor(values):
    return torch.from_numpy(np.asarray(values, np.float32))


class TestLinear:
    @pytest.mark.parametrize("prior_width", [0.3, 1.0, 4.0])
    def test_divergence_is_that_of_gaussians(self, prior_width):
        layer = bayesian_layer()
        with torch.no_grad():
            posterior = Normal(layer.weight, torch.exp(layer.log_width))
            expected = kl_divergence(posterior, Normal(0.0, prior_width)).sum()
            torch.testing.assert_close(layer.divergence(prior_width), expected, rtol=1e-5, atol=0)

    def test_divergence_without_distributions_is_what_depends_on_the_means(self):
        layer = Linear(5, 3, np.random.default_rng(1))
        for width in (0.01, 0.5):  # whatever the width of fixed distributions would be
            with torch.no_grad():
                here, at_zero = (
                    kl_divergence(Normal(mean.double(), width), Normal(torch.tensor(0.0).double(), 0.7)).sum()
                    for mean in (layer.weight, torch.zeros_like(layer.weight))
                )
                torch.testing.assert_close(layer.divergence(0.7).double(), here - at_zero, rtol=1e-5, atol=0)

    def test_drawn_outputs_are_those_of_drawn_weights(self):
        """Mean and variance over 40,000 draws within 5 standard errors, of 6 numbers each: 1e-5 of false alarms."""
        layer, draws = bayesian_layer(), 40_000
        x = np.random.default_rng(2).standard_normal((2, 5))
        mean, width = (part.detach().double().numpy() for part in (layer.weight, torch.exp(layer.log_width)))
        weights = mean + width * np.random.default_rng(3).standard_normal((draws, *mean.shape))
        by_weights = x @ weights + layer.bias.detach().numpy()
        noise = torch.Generator().manual_seed(4)
        with torch.no_grad():
            many = tensor(np.repeat(x, draws, axis=0))
            by_outputs = layer(many, noise).double().numpy().reshape(2, draws, 3).transpose(1, 0, 2)
            variance = layer.variance(tensor(x)).double().numpy()
            torch.testing.assert_close(layer(tensor(x)).double().numpy(), x @ mean + layer.bias.detach().numpy())
        for drawn in (by_weights, by_outputs):
            assert np.all(
                np.abs(drawn.mean(axis=0) - x @ mean - layer.bias.detach().numpy()) < 5 * np.sqrt(variance / draws)
            )
            assert np.all(np.abs(drawn.var(axis=0) / variance - 1) < 5 * np.sqrt(2 / draws))

    def test_drawn_weights_have_mean_and_width(self):
        """Of 5,000 draws of 15 weights within 5 standard errors."""
        rng, draws = np.random.default_rng(5), 5000
        layer = bayesian_layer()
        mean, width = layer.weight.detach().clone(), torch.exp(layer.log_width.detach())
        drawn = []
        for _ in range(draws):
            with torch.no_grad():
                layer.weight.copy_(mean)
            layer.draw(rng)
            drawn.append(layer.weight.detach().clone())
        pulls = (torch.stack(drawn).double() - mean) / width
        assert pulls.mean(dim=0).abs().max() < 5 / np.sqrt(draws)
        assert (pulls.var(dim=0) - 1).abs().max() < 5 * np.sqrt(2 / draws)


class TestLikelihood:
    @staticmethod
    def output(n=50, variance=0.0):
        rng = np.random.default_rng(6)
        mean, log_error, target = (tensor(rng.normal(size=n)) for _ in range(3))
        return Output(mean.requires_grad_(), log_error.requires_grad_(), torch.full((n,), variance)), target

    def test_it_is_that_of_a_gaussian(self):
        output, target = self.output()
        expected = -Normal(output.mean, torch.exp(output.log_error)).log_prob(target).mean() - 0.5 * np.log(2 * np.pi)
        torch.testing.assert_close(likelihood_loss(output, target, torch.ones(50), 0.0), expected)

    def test_average_over_the_last_layer_is_that_of_sampled_weights(self):
        """Within 5 standard errors of 3,000 drawn weights; without the variance it would be 20 off."""
        settings = BnnSettings(units=8, layers=1)
        network = Network(4, None, settings, np.random.default_rng(7))
        with torch.no_grad():
            network.mean.log_width.fill_(-1.0)
        x, target = (tensor(np.random.default_rng(8).normal(size=shape)) for shape in ((30, 4), (30,)))
        with torch.no_grad():
            closed = likelihood_loss(network(x), target, torch.ones(30), 0.0)
            rng, mean, losses = np.random.default_rng(9), network.mean.weight.clone(), []
            for _ in range(3000):
                network.mean.weight.copy_(mean)
                network.mean.draw(rng)
                output = network(x)
                one = Output(output.mean, output.log_error, torch.zeros(30))
                losses.append(float(likelihood_loss(one, target, torch.ones(30), 0.0)))
            network.mean.weight.copy_(mean)
            network.mean.log_width.fill_(-20.0)
            without = likelihood_loss(network(x), target, torch.ones(30), 0.0)
        standard_error = np.std(losses) / np.sqrt(len(losses))
        assert abs(np.mean(losses) - float(closed)) < 5 * standard_error
        assert abs(np.mean(losses) - float(without)) > 20 * standard_error

    @pytest.mark.parametrize("variance", [0.0, 0.3])
    def test_a_point_that_counts_three_times_is_as_three_points(self, variance):
        output, target = self.output(variance=variance)
        counts = torch.tensor([3.0] * 10 + [1.0] * 40)
        repeated = torch.repeat_interleave(torch.arange(50), counts.long())
        three = Output(*(getattr(output, name)[repeated] for name in ("mean", "log_error", "variance")))
        torch.testing.assert_close(
            likelihood_loss(output, target, counts, 0.0),
            likelihood_loss(three, target[repeated], torch.ones(70), 0.0),
        )

    @pytest.mark.parametrize("error_weight", [0.0, 0.5, 1.0])
    def test_error_weight(self, error_weight):
        """The gradient of beta-NLL (Seitzer et al., eq. (5) and (6)): sigma^(2 beta) times that of the likelihood."""
        output, target = self.output()
        likelihood_loss(output, target, torch.ones(50), error_weight).backward()
        with torch.no_grad():
            variance = torch.exp(2 * output.log_error)
            weight = variance**error_weight / (variance**error_weight).mean() / 50
            residual = output.mean - target
            torch.testing.assert_close(output.mean.grad, weight * residual / variance)
            torch.testing.assert_close(output.log_error.grad, weight * (1 - residual**2 / variance))


@pytest.mark.parametrize("prior_width", [0.1, 1.0])
def test_the_loss_of_the_training_is_smallest_at_the_posterior_of_a_linear_model(prior_width):
    """For given hidden units and errors it has a closed form: both gradients vanish there, and not nearby.

    With D the diagonal of 1 / sigma_j^2 and H the hidden units, the mean is (H^T D H + 1 / sigma_p^2)^-1 H^T D y, and
    the best independent widths are 1 / sigma_q^2 = diag(H^T D H) + 1 / sigma_p^2: Bishop, eq. (3.53), (3.54), (10.15).
    """
    n, settings = 200, BnnSettings(units=6, layers=1, error_weight=0.0, prior_width=prior_width)
    network, rng = Network(4, None, settings, np.random.default_rng(14)).double(), np.random.default_rng(15)
    x, y = torch.from_numpy(rng.normal(size=(n, 4))), torch.from_numpy(rng.normal(size=n))
    with torch.no_grad():
        hidden = network.last_hidden(x)
        network.error.weight.mul_(10.0)
        weighted = hidden.T @ torch.diag(torch.exp(-2 * network.error(hidden)[:, 0]))
        precision = weighted @ hidden + torch.eye(6) / prior_width**2
        network.mean.weight.copy_(torch.linalg.solve(precision, weighted @ y)[:, None])
        network.mean.log_width.copy_(-0.5 * torch.log(torch.diag(precision))[:, None])

    def gradients():
        network.zero_grad()
        points, every = Points(x, y, y), torch.arange(n)
        _loss([network], [network(x)], points, every, PointCounts(y, settings), settings).backward()
        return network.mean.weight.grad.abs().max(), network.mean.log_width.grad.abs().max()

    assert max(gradients()) < 1e-10
    with torch.no_grad():
        network.mean.weight.mul_(1.01)
        network.mean.log_width.add_(0.01)
    assert min(gradients()) > 1e-6


def naive_repulsion_gradient(means, points):
    """The derivative of eq. (1.63) with respect to each member, by loops; the width of arXiv:1608.04471."""
    members = [mean.clone().requires_grad_() for mean in means]
    fixed = [mean.clone() for mean in means]
    distances = sorted(
        float((fixed[i] - fixed[j]).square().sum()) for i in range(len(means)) for j in range(len(means)) if i != j
    )
    width = distances[(len(distances) - 1) // 2] / np.log(len(means) + 1)
    loss = 0.0
    for i, member in enumerate(members):
        above = sum(torch.exp(-(member - other).square().sum() / width) for other in fixed)
        below = sum(torch.exp(-(fixed[i] - other).square().sum() / width) for other in fixed)
        loss = loss + above / below / points
    loss.backward()
    return torch.stack([member.grad for member in members])


class TestRepulsion:
    @pytest.mark.parametrize("members", [2, 3, 6])
    def test_it_is_that_of_the_notes(self, members):
        means = tensor(np.random.default_rng(10).normal(size=(members, 40))).double().requires_grad_()
        repulsion(means, 1000).backward()
        expected = naive_repulsion_gradient(means.detach(), 1000)
        torch.testing.assert_close(means.grad, expected, rtol=1e-4, atol=1e-9)
        assert means.grad.abs().max() > 0

    @pytest.mark.parametrize("scale", [1e-4, 1.0])
    def test_it_pushes_two_members_apart(self, scale):
        """Whatever the scale of their difference: along the line that joins them, in opposite directions."""
        means = tensor(scale * np.random.default_rng(11).normal(size=(2, 40))).double().requires_grad_()
        repulsion(means, 1).backward()
        difference = (means[0] - means[1]).detach()
        for sign, gradient in zip((1, -1), means.grad, strict=True):
            cosine = -sign * gradient @ difference / gradient.norm() / difference.norm()
            assert cosine > 1 - 1e-6

    def test_members_that_are_the_same_do_not_break_it(self):
        means = torch.ones((3, 10), requires_grad=True)
        loss = repulsion(means, 10)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(means.grad).all()


class TestPointCounts:
    values = torch.arange(100.0)

    def counts(self, **settings):
        return PointCounts(self.values, BnnSettings(boosting_share=0.05, boosting_factor=4.0, **settings))

    def test_without_boosting_all_count_once(self):
        counts = self.counts(boosting="none")
        counts.seen(torch.arange(100), self.values)
        counts.next_pass()
        assert torch.equal(counts[torch.arange(100)], torch.ones(100))

    def test_the_largest_amplitudes_count_more_in_each_pass(self):
        counts = self.counts(boosting="process")
        expected = torch.where(self.values >= 95, 4.0, 1.0)
        for _ in range(2):
            counts.next_pass()
            assert torch.equal(counts[torch.arange(100)], expected)
            counts.seen(torch.arange(100), -self.values)
        assert torch.equal(counts[torch.tensor([99, 3])], torch.tensor([4.0, 1.0]))

    @pytest.mark.parametrize("boosting", ["loss", "both"])
    def test_the_largest_pulls_count_more_in_the_next_pass(self, boosting):
        counts = self.counts(boosting=boosting)
        by_process = torch.where(self.values >= 95, 4.0, 1.0) if boosting == "both" else torch.ones(100)
        for large in (torch.arange(10, 15), torch.tensor([1, 2, 3, 4, 98])):
            pulls = torch.full((100,), 0.5)
            pulls[large] = torch.tensor([-9.0, 9.0, -8.0, 8.0, -7.0])  # the sign does not matter
            before = counts[torch.arange(100)].clone()
            for chosen in torch.arange(100).split(30):
                counts.seen(chosen, pulls[chosen])
            assert torch.equal(counts[torch.arange(100)], before)  # not before the pass ends
            counts.next_pass()
            expected = by_process.clone()
            expected[large] *= 4.0
            assert torch.equal(counts[torch.arange(100)], expected)

    def test_nothing_is_boosted_by_loss_before_a_loss_is_known(self):
        counts = self.counts(boosting="loss")
        counts.next_pass()
        assert torch.equal(counts[torch.arange(100)], torch.ones(100))


def test_deep_sets_do_not_depend_on_the_order_in_a_set():
    """Exchanging the two gluons of q q~ > g g in all invariants leaves their sum as it is; that of each quark not."""
    process = AmplitudeProcess((1, -1, 21, 21), (0.0,) * 4)
    pairs = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
    sets = DeepSets(sets_of(process, pairs), 8, np.random.default_rng(12), bayesian=False)
    x = tensor(np.random.default_rng(13).normal(size=(20, 6)))
    with torch.no_grad():
        before, after = sets(x, None), sets(x[:, [0, 2, 1, 4, 3, 5]], None)
    assert sets.outputs == before.shape[1] == 3 * 8
    torch.testing.assert_close(before[:, :8], after[:, :8])
    assert not torch.allclose(before[:, 8:], after[:, 8:], rtol=1e-3)
