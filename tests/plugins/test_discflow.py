"""The `discflow` generator: conformance, the density of its flow, and the rounds with a discriminator."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from zuko.transforms import MonotonicRQSTransform

from mlgen.errors import ModelError
from mlgen.splines import FastSpline
from mlgen.testing import EventGeneratorTests
from mlgen.testing.samples import drell_yan_events
from mlgen_discflow import rounds
from mlgen_discflow.density import SplineFlowDensity, coupling_masks
from mlgen_discflow.generator import DiscFlowGenerator
from mlgen_discflow.settings import DiscFlowSettings

QUICK = DiscFlowSettings(
    steps=40, batch_size=64, width=16, depth=1, bins=4, label_steps=20, discriminator_rounds=2, discriminator_epochs=1
)


class TestConformance(EventGeneratorTests[DiscFlowGenerator]):
    name = "discflow"

    def make(self):
        return DiscFlowGenerator(QUICK)


def flow(dimension, context, seed=1, scale=8.0, **settings):
    """A flow with random parameters, far from the identity."""
    made = SplineFlowDensity(dimension, context, QUICK.model_copy(update=settings)).double()
    made.initialise(np.random.default_rng(seed))
    with torch.no_grad():
        for block in made.blocks:
            for parameter in list(block.parameters())[-2:]:
                parameter.mul_(scale / 0.01 / 8)
                parameter.add_(0.3 * torch.from_numpy(np.random.default_rng(seed).standard_normal(parameter.shape)))
    return made


def given(context, n, seed=3):
    row = torch.from_numpy(np.random.default_rng(seed).standard_normal(context))
    return row.expand(n, context)


class TestDensity:
    @pytest.mark.physics
    @pytest.mark.parametrize("context", [0, 3])
    def test_integral_in_one_dimension(self, context):
        made = flow(1, context)
        x = torch.linspace(-9, 9, 20_001, dtype=torch.float64)[:, None]
        with torch.no_grad():
            density = torch.exp(made.log_density(x, given(context, len(x))))
        assert float(torch.trapezoid(density, x[:, 0])) == pytest.approx(1.0, abs=1e-5)
        # Far from that of the latent numbers.
        normal = torch.exp(-0.5 * x[:, 0] ** 2) / math.sqrt(2 * math.pi)
        assert float(torch.trapezoid((density - normal).abs(), x[:, 0])) > 0.1

    @pytest.mark.physics
    @pytest.mark.parametrize("context", [0, 2])
    def test_integral_in_two_dimensions(self, context):
        made = flow(2, context)
        axis = torch.linspace(-8, 8, 501, dtype=torch.float64)
        grid = torch.cartesian_prod(axis, axis)
        with torch.no_grad():
            density = torch.exp(made.log_density(grid, given(context, len(grid)))).reshape(501, 501)
        assert float(torch.trapezoid(torch.trapezoid(density, axis), axis)) == pytest.approx(1.0, abs=1e-3)

    @pytest.mark.parametrize(("dimension", "context"), [(1, 0), (1, 2), (2, 0), (3, 2), (7, 1)])
    def test_is_that_of_its_points(self, dimension, context):
        """The log density is that of the latent number and minus the log of the derivative of `sample`."""
        made = flow(dimension, context)
        z = torch.from_numpy(np.random.default_rng(2).standard_normal((6, dimension)))
        c = given(context, 6)
        points = made.sample(z, c)
        for k in range(6):
            jacobian = torch.autograd.functional.jacobian(
                lambda one, k=k: made.sample(one[None], c[k : k + 1])[0], z[k]
            )
            expected = -0.5 * z[k].square().sum() - 0.5 * dimension * math.log(2 * math.pi)
            expected = expected - torch.linalg.slogdet(jacobian).logabsdet
            found = made.log_density(points[k : k + 1], c[k : k + 1])
            assert found.item() == pytest.approx(expected.item(), abs=1e-6)

    def test_splines_are_those_of_zuko(self):
        rng = np.random.default_rng(1)
        shapes = ((50, 4, 8), (50, 4, 8), (50, 4, 7))
        for size in (0.1, 3.0, 20.0):
            numbers = [torch.from_numpy(size * rng.standard_normal(shape)) for shape in shapes]
            x = torch.from_numpy(rng.uniform(-7, 7, (50, 4)))
            own, theirs = FastSpline(*numbers, bound=6.0), MonotonicRQSTransform(*numbers, bound=6.0)
            for a, b in zip(own.call_and_ladj(x), theirs.call_and_ladj(x), strict=True):
                assert torch.allclose(a, b, atol=1e-8)
            assert torch.allclose(own.inv(x), theirs.inv(x), atol=1e-8)

    @pytest.mark.parametrize("dimension", [2, 3, 5, 8, 13])
    def test_every_coordinate_depends_on_every_other(self, dimension):
        masks = np.array(coupling_masks(dimension))
        for i in range(dimension):
            for j in set(range(dimension)) - {i}:
                assert np.any(~masks[:, i] & masks[:, j])
        made = flow(dimension, 0)
        z = torch.from_numpy(np.random.default_rng(2).standard_normal(dimension))
        jacobian = torch.autograd.functional.jacobian(lambda one: made.sample(one[None], one.new_zeros(1, 0))[0], z)
        assert torch.all(jacobian.abs().sum(dim=0) > 0)

    @pytest.mark.parametrize(("dimension", "context"), [(1, 0), (1, 2), (4, 2)])
    def test_untrained_is_all_but_the_identity(self, dimension, context):
        made = SplineFlowDensity(dimension, context, QUICK)
        made.initialise(np.random.default_rng(1))
        z = torch.from_numpy(np.random.default_rng(2).standard_normal((500, dimension)).astype(np.float32))
        with torch.no_grad():
            points = made.sample(z, given(context, 500).float())
        # Heights and widths of the bins differ by a few percent.
        assert float((points - z).abs().max()) < 0.15

    @pytest.mark.physics
    def test_learns_a_known_density(self):
        """A normal density in 2-D with correlation 0.95 whose second coordinate has a peak of width 0.05.

        The divergence from the truth, over 20,000 fresh points, is below 0.05; with the start values it is above 1.
        """
        from pytorch_optimizer import SOAP

        def drawn(n, seed):
            rng = np.random.default_rng(seed)
            peak = rng.random(n) < 0.3
            x = rng.standard_normal(n)
            y = np.where(peak, 0.5 + 0.05 * rng.standard_normal(n), 0.95 * x + 0.31 * rng.standard_normal(n))
            broad = np.exp(-0.5 * ((y - 0.95 * x) / 0.31) ** 2) / 0.31
            narrow = np.exp(-0.5 * ((y - 0.5) / 0.05) ** 2) / 0.05
            log_density = -0.5 * x**2 - math.log(2 * math.pi) + np.log(0.7 * broad + 0.3 * narrow)
            return torch.from_numpy(np.stack([x, y], axis=1).astype(np.float32)), log_density

        made = SplineFlowDensity(2, 0, DiscFlowSettings(width=32, depth=2, bins=12, repeats=2))
        made.initialise(np.random.default_rng(1))
        fresh, truth = drawn(20_000, 3)
        nothing = torch.zeros(20_000, 0)

        def divergence():
            with torch.no_grad():
                return float(np.mean(truth - made.log_density(fresh, nothing).numpy()))

        assert divergence() > 1
        points, _ = drawn(20_000, 2)
        optimiser = SOAP(made.parameters(), lr=5e-3, betas=(0.95, 0.95), weight_decay=0.0, precondition_frequency=10)
        rng = np.random.default_rng(4)
        steps = 350
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = 5e-3 * 0.5 * (1 + math.cos(math.pi * step / steps))
            part = points[torch.from_numpy(rng.integers(0, 20_000, 512))]
            loss = made.loss(part, part.new_zeros(512, 0), torch.Generator()).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        assert divergence() < 0.05


class TestRounds:
    @pytest.fixture(scope="class")
    @staticmethod
    def trained():
        """A flow of few steps, and four rounds, with everything that the rounds computed."""
        events, info = drell_yan_events(20_000, np.random.default_rng(1), gluon_fraction=1.0)
        # What no linear map undoes: a hard gluon goes with a large rapidity of the event.
        last = events.momenta().reshape(-1, 6, 4)
        hard = np.hypot(last[:, 5, 0], last[:, 5, 1]) > 15
        total = last[:, 4] + last[:, 3] + last[:, 5]
        forward = np.abs(np.arctanh(total[:, 2] / total[:, 3])) > 1
        events = events[np.flatnonzero(hard == forward)[:5000]]
        settings = DiscFlowSettings(
            steps=200,
            batch_size=256,
            width=24,
            depth=1,
            bins=6,
            label_steps=1,
            discriminator_rounds=3,
            discriminator_share=0.9,
            discriminator_epochs=6,
        )
        seen = []
        original, fit = rounds._taught, rounds.fit_density

        def taught(*arguments):
            result = original(*arguments)
            seen.append(("weights", *result))
            return result

        def fitted(model, data, slower, steps, *rest, factor, **named):
            seen.append(("factor", factor.numpy(), steps))
            return fit(model, data, slower, steps, *rest, factor=factor, **named)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rounds, "_taught", taught)
            patch.setattr(rounds, "fit_density", fitted)
            generator = DiscFlowGenerator(settings)
            report = generator.train([events], info, np.random.default_rng(2))
        return generator, report, seen

    def test_weights_have_mean_one(self, trained):
        weights = [entry[1] for entry in trained[2] if entry[0] == "weights"]
        assert len(weights) == 4
        for values in weights:
            assert values.shape == (5000,)
            assert np.all(values > 0)
            assert values.mean() == pytest.approx(1.0, abs=1e-9)

    def test_loss_has_the_weights_to_a_growing_power(self, trained):
        """Eq. (4.97): in round k of 3 the factor is the discriminator's weight to the power k / 3."""
        weights = [entry[1] for entry in trained[2] if entry[0] == "weights"]
        factors = [entry[1] for entry in trained[2] if entry[0] == "factor"]
        for k, (weight, factor) in enumerate(zip(weights[:3], factors, strict=True), start=1):
            assert factor == pytest.approx(weight ** (k / 3), rel=1e-5)
        assert [entry[2] for entry in trained[2] if entry[0] == "factor"] == [60, 60, 60]

    @pytest.mark.physics
    def test_a_bad_flow_gets_better(self, trained):
        """The discriminator tells the events of the flow of 20 steps apart better than those of the best round."""
        _, report, seen = trained
        entropies = [entry[2] / math.log(2) for entry in seen if entry[0] == "weights"]
        assert report.curves["cross_entropy_over_ln2"] == pytest.approx(entropies)
        best = report.figures["discriminator_round"]
        assert best == int(np.argmax(entropies))
        assert best > 0
        assert entropies[best] > entropies[0] + 0.01
        assert max(entropies) <= 1 + 1e-6

    def test_too_few_events_have_a_plain_flow(self):
        """All steps are those of the plain training then, and no round is reported."""
        events, info = drell_yan_events(900, np.random.default_rng(1))
        told = []
        generator = DiscFlowGenerator(QUICK)
        report = generator.train([events], info, np.random.default_rng(2), told.append)
        assert "discriminator_round" not in report.figures
        assert max(step.done for step in told[:-1] if step.figure == "loss") == QUICK.steps


def test_other_architecture_is_refused_in_words():
    generator = DiscFlowGenerator(QUICK)
    events, info = drell_yan_events(600, np.random.default_rng(1), gluon_fraction=0.0)
    generator.train([events], info, np.random.default_rng(1))
    for change in ({"width": 24}, {"depth": 2}, {"bins": 5}, {"repeats": 2}):
        with pytest.raises(ModelError, match="load it with the settings"):
            DiscFlowGenerator.from_state(QUICK.model_copy(update=change), generator.state())
