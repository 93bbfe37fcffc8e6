"""The `cfm` generator: conformance, validity, physics, repeatability and errors."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from mlgen.errors import ModelError, TrainingError
from mlgen.events import INTEGER_COLUMNS, EventBatch
from mlgen.formats import create_events, open_events
from mlgen.generation.density import FamilyDensity
from mlgen.generation.families import find_families
from mlgen.generation.normalisation import event_weight, generated_run_info
from mlgen.representation import find_classes, represent
from mlgen.run_info import Beam, Process, RunInfo, Variation
from mlgen.testing import EventGeneratorTests
from mlgen.testing.event_rules import check_events
from mlgen_cfm import rectification
from mlgen_cfm.density import FlowMatchingDensity
from mlgen_cfm.generator import CfmGenerator
from mlgen_cfm.pairing import paired
from mlgen_cfm.settings import CfmSettings
from mlgen_cfm.solvers import solve

QUICK = CfmSettings(steps=60, batch_size=64, width=16, depth=1, solver_steps=4, label_steps=20)
BEAM_ENERGY = 6500.0
INFO = RunInfo(
    beams=(Beam(2212, BEAM_ENERGY), Beam(2212, BEAM_ENERGY)),
    weight_strategy=3,
    processes=(Process(1, 40.0, 1.0, 1.0), Process(2, 60.0, 1.0, 1.0)),
)
Z_MASS, Z_WIDTH = 91.2, 2.5
MASS_RANGE = (66.0, 116.0)
PT_MINIMUM, PT_SLOPE = 20.0, 30.0


class TestConformance(EventGeneratorTests[CfmGenerator]):
    name = "cfm"

    def make(self):
        return CfmGenerator(QUICK)


def z_jet_events(n, rng, *, weight=1.0):
    """Z (-> mu- mu+) + parton and, for one event in four, Z alone: every distribution is known.

    m(ll): Breit-Wigner between `MASS_RANGE`; pT: exponential above `PT_MINIMUM`; rapidities: normal, the parton's
    around half of the Z's; decay isotropic.
    """
    low, high = (math.atan((m**2 - Z_MASS**2) / (Z_MASS * Z_WIDTH)) for m in MASS_RANGE)
    mass = np.sqrt(Z_MASS**2 + Z_MASS * Z_WIDTH * np.tan(rng.uniform(low, high, n)))
    alone = rng.random(n) < 0.25
    pt = np.where(alone, 0.0, PT_MINIMUM + rng.exponential(PT_SLOPE, n))
    azimuth = rng.uniform(-np.pi, np.pi, n)
    y_z = rng.normal(0, 1, n)
    y_jet = rng.normal(0.5 * y_z, 0.8)
    mt = np.hypot(mass, pt)
    z = np.stack([pt * np.cos(azimuth), pt * np.sin(azimuth), mt * np.sinh(y_z), mt * np.cosh(y_z)], axis=1)
    jet = np.stack([-z[:, 0], -z[:, 1], pt * np.sinh(y_jet), pt * np.cosh(y_jet)], axis=1)
    cos_theta, phi = rng.uniform(-1, 1, n), rng.uniform(-np.pi, np.pi, n)
    sin_theta = np.sqrt(1 - cos_theta**2)
    rest = 0.5 * mass[:, None] * np.stack([sin_theta * np.cos(phi), sin_theta * np.sin(phi), cos_theta], axis=1)
    along = (z[:, :3] * rest).sum(axis=1) / mass
    muon_energy = z[:, 3] / 2 + along
    muon = np.column_stack([rest + z[:, :3] * ((muon_energy + mass / 2) / (z[:, 3] + mass))[:, None], muon_energy])
    total = z + jet
    forward, backward = (total[:, 3] + total[:, 2]) / 2, (total[:, 3] - total[:, 2]) / 2
    zero = np.zeros(n)
    incoming = [np.stack([zero, zero, s * e, e], axis=1) for s, e in ((1, forward), (-1, backward))]
    momenta = np.stack([*incoming, z, muon, z - muon, jet], axis=1)
    gluon_first = rng.random(n) < 0.3
    quark = rng.choice([1, 2], n, p=[0.4, 0.6])
    rows = np.zeros((n, 6, 6), np.int64)
    rows[:, :, 1] = [-1, -1, 2, 1, 1, 1]
    rows[:, 2, 0], rows[:, 3, 0], rows[:, 4, 0] = 23, 13, -13
    rows[:, 2:, 2:4] = [[1, 2], [3, 3], [3, 3], [1, 2]]
    rows[:, 0, 0] = np.where(alone, quark, np.where(gluon_first, 21, quark))
    rows[:, 1, 0] = np.where(alone, -quark, np.where(gluon_first, quark, 21))
    rows[:, 5, 0] = quark
    label = rng.integers(501, 600, n)
    gluon, other = np.where(gluon_first, 0, 1), np.where(gluon_first, 1, 0)
    event = np.arange(n)
    rows[event, other, 4] = np.where(alone, 0, label)
    rows[event, gluon, 5] = np.where(alone, 0, label)
    rows[event, gluon, 4] = np.where(alone, 0, label + 100)
    rows[:, 5, 4] = label + 100
    rows[alone, 0, 4] = rows[alone, 1, 5] = label[alone]
    exists = np.arange(6) < np.where(alone, 5, 6)[:, None]
    masses = np.zeros((n, 6))
    masses[:, 2] = mass
    columns = dict(zip(INTEGER_COLUMNS, rows[exists].T, strict=True))
    columns |= dict(zip(("px", "py", "pz", "energy"), momenta[exists].T, strict=True))
    columns["generated_mass"] = masses[exists]
    below = (forward < BEAM_ENERGY) & (backward < BEAM_ENERGY)
    batch = EventBatch.from_columns(
        exists.sum(axis=1),
        columns,
        weight=np.broadcast_to(weight, n),
        process_id=np.where(alone, 1, 2),
        scale=np.where(alone, Z_MASS, mt),
        alpha_qed=0.0078,
        alpha_qcd=1 / np.log(np.where(alone, Z_MASS, mt) ** 2),
    )
    return batch[below]


@pytest.fixture(scope="module")
def trained():
    generator = CfmGenerator(CfmSettings(steps=600, batch_size=256, width=32, depth=2, solver_steps=6, label_steps=50))
    generator.train([z_jet_events(4000, np.random.default_rng(3))], INFO, np.random.default_rng(4))
    return generator


@pytest.fixture(scope="module")
def generated(trained):
    return trained.generate(8000, np.random.default_rng(5))


def boson(batch):
    return batch.momenta()[batch.column("pdg_id") == 23]


def muon_pair_mass(batch):
    muons = batch.momenta()[np.abs(batch.column("pdg_id")) == 13]
    pair = muons[0::2] + muons[1::2]
    return np.sqrt(pair[:, 3] ** 2 - (pair[:, :3] ** 2).sum(axis=1))


def kolmogorov_distance(sample, cumulative):
    expected = cumulative(np.sort(sample))
    n = len(sample)
    return max(np.max(np.arange(1, n + 1) / n - expected), np.max(expected - np.arange(n) / n))


def allowed_distance(generated, training, model_error=0.02):
    """Kolmogorov's 99.9 % quantile for both sample sizes, and what the model may add."""
    return 1.95 * math.sqrt(1 / generated + 1 / training) + model_error


class TestEvents:
    def test_are_valid(self, generated, trained):
        check_events(generated, trained.run_info)
        assert set(generated.counts) == {5, 6}

    def test_classes_are_those_of_the_training_with_their_frequencies(self, generated):
        training = z_jet_events(4000, np.random.default_rng(3))
        classes, index = find_classes(EventBatch.concatenate([training, generated]))
        n, m = len(training), len(generated)
        found, expected = np.bincount(index[n:], minlength=len(classes)), np.bincount(index[:n], minlength=len(classes))
        assert len(classes) == 6
        share = expected / n
        # The frequencies are those of the training file itself: binomial errors of the generated sample, five sigma.
        assert np.all(np.abs(found / m - share) < 5 * np.sqrt(share * (1 - share) / m))

    @pytest.mark.physics
    def test_mass_is_a_breit_wigner(self, generated):
        low, high = (math.atan((m**2 - Z_MASS**2) / (Z_MASS * Z_WIDTH)) for m in MASS_RANGE)
        mass = muon_pair_mass(generated)
        distance = kolmogorov_distance(
            mass, lambda m: (np.arctan((m**2 - Z_MASS**2) / (Z_MASS * Z_WIDTH)) - low) / (high - low)
        )
        assert distance < allowed_distance(len(mass), 4000)
        # Half of a Breit-Wigner lies within half a width of the pole: half the distance of the quartiles is Gamma / 2.
        width = np.subtract(*np.quantile(mass, [0.75, 0.25]))
        assert width == pytest.approx(Z_WIDTH * 0.985, rel=0.1)
        assert np.median(mass) == pytest.approx(Z_MASS, abs=0.15)

    @pytest.mark.physics
    def test_pt_is_an_exponential_with_a_sharp_edge(self, generated):
        pt = np.hypot(*boson(generated)[:, :2].T)
        pt = pt[generated.counts == 6]
        distance = kolmogorov_distance(pt, lambda x: 1 - np.exp(-(x - PT_MINIMUM) / PT_SLOPE))
        assert distance < allowed_distance(len(pt), 3000)
        assert pt.min() >= PT_MINIMUM

    @pytest.mark.physics
    def test_rapidities_are_correlated_as_in_the_training(self, generated):
        momenta = generated.momenta()
        last = (generated.offsets[1:] - 1)[generated.counts == 6]
        jet, z = (np.arctanh(momenta[rows, 2] / momenta[rows, 3]) for rows in (last, last - 3))
        correlation = np.corrcoef(z, jet)[0, 1]
        # y_jet = y_Z / 2 + 0.8 g with standard normal y_Z and g.
        assert correlation == pytest.approx(0.5 / math.hypot(0.5, 0.8), abs=0.05)

    @pytest.mark.physics
    def test_decays_are_isotropic(self, generated):
        momenta, kind = generated.momenta(), generated.column("pdg_id")
        z, muon = momenta[kind == 23], momenta[kind == 13]
        mass = np.sqrt(z[:, 3] ** 2 - (z[:, :3] ** 2).sum(axis=1))
        # E* = m / 2 of the muon in the Z's rest frame: cos theta along the flight of the Z from the lab energy.
        cos_theta = (2 * muon[:, 3] - z[:, 3]) / np.sqrt(z[:, 3] ** 2 - mass**2)
        # The lab's helicity axis is not the one of the coordinates, so the model's error enters.
        assert kolmogorov_distance(cos_theta, lambda c: (c + 1) / 2) < allowed_distance(len(muon), 4000)

    def test_coupling_is_a_function_of_the_scale(self, generated):
        # Beyond the smallest and the largest scale of the training the table has no points.
        scale = z_jet_events(4000, np.random.default_rng(3)).scale
        known = (generated.scale >= scale.min()) & (generated.scale <= scale.max())
        assert known.mean() > 0.99
        assert generated.alpha_qcd[known] == pytest.approx(1 / np.log(generated.scale[known] ** 2), rel=1e-9)
        assert np.all(generated.alpha_qed == 0.0078)
        assert np.all(generated.scale[generated.counts == 5] == Z_MASS)

    def test_azimuth_is_uniform(self, generated):
        azimuth = np.arctan2(*boson(generated)[generated.counts == 6][:, 1::-1].T)
        assert kolmogorov_distance(azimuth, lambda a: (a + np.pi) / (2 * np.pi)) < 1.95 / math.sqrt(len(azimuth))


class TestRepeatable:
    def test_number_of_threads_does_not_matter(self):
        events = z_jet_events(800, np.random.default_rng(1))
        states, samples = [], []
        before = torch.get_num_threads()
        for threads in (1, 2):
            torch.set_num_threads(threads)
            generator = CfmGenerator(QUICK)
            generator.train([events], INFO, np.random.default_rng(2))
            samples.append(generator.generate(200, np.random.default_rng(3)).momenta())
            states.append(generator.state())
            assert torch.get_num_threads() == threads
        torch.set_num_threads(before)
        assert np.array_equal(samples[0], samples[1])
        assert all(np.array_equal(states[0][name], states[1][name], equal_nan=True) for name in states[0])

    def test_size_of_the_batches_does_not_matter(self):
        events = z_jet_events(800, np.random.default_rng(1))
        whole, parts = CfmGenerator(QUICK), CfmGenerator(QUICK)
        whole.train([events], INFO, np.random.default_rng(2))
        parts.train([events[:100], events[100:]], INFO, np.random.default_rng(2))
        first, second = (g.generate(100, np.random.default_rng(3)).momenta() for g in (whole, parts))
        assert np.array_equal(first, second)

    def test_other_architecture_is_refused_in_words(self, trained):
        for settings in (CfmSettings(width=48, depth=2), CfmSettings(width=32, depth=1)):
            with pytest.raises(ModelError, match="load it with the settings"):
                CfmGenerator.from_state(settings, trained.state())

    def test_untrained_is_refused(self):
        with pytest.raises(ModelError, match="not trained"):
            CfmGenerator(QUICK).generate(1, np.random.default_rng(1))


LINEAR = torch.tensor([[0.0, 1.5, 0.0], [-0.5, 0.2, 0.0], [0.3, 0.0, -0.8]], dtype=torch.float64)


def oscillating(x, t):
    """dx/dt = x^2 cos t."""
    return x.square() * math.cos(t)


def solution(x, t):
    """Of `oscillating`, from t = 0."""
    return x / (1 - x * math.sin(t))


class TestSolvers:
    @pytest.mark.physics
    @pytest.mark.parametrize(("solver", "order"), [("heun", 2), ("rk4", 4)])
    def test_order(self, solver, order):
        """Eight times as many steps: the error falls by 8 to the power of the order, within 0.3."""
        x = torch.linspace(-1, 0.7, 7, dtype=torch.float64)[:, None]
        true = solution(x, 1.0)
        errors = [float((solve(oscillating, x, 0.0, 1.0, solver, n, 1e-5) - true).abs().max()) for n in (10, 80)]
        assert math.log(errors[0] / errors[1], 8) == pytest.approx(order, abs=0.3)

    @pytest.mark.physics
    @pytest.mark.parametrize("tolerance", [1e-4, 1e-8])
    def test_adaptive_solver_keeps_its_tolerance(self, tolerance):
        """Local errors add up; a factor of 30 is allowed for."""
        x = torch.linspace(-1, 0.7, 7, dtype=torch.float64)[:, None]
        true = solution(x, 1.0)
        error = (solve(oscillating, x, 0.0, 1.0, "dopri5", 1, tolerance) - true).abs().max()
        assert error < 30 * tolerance

    @pytest.mark.parametrize("solver", ["heun", "rk4", "dopri5"])
    def test_back_and_forth(self, solver):
        x = torch.linspace(-1, 0.7, 7, dtype=torch.float64)[:, None]
        there = solve(oscillating, x, 0.0, 1.0, solver, 200, 1e-9)
        back = solve(oscillating, there, 1.0, 0.0, solver, 200, 1e-9)
        assert torch.allclose(back, x, atol=1e-4)


class Field(torch.nn.Module):
    """Stands in for the network: v = A x + b c."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = matrix

    def forward(self, x, t, context):
        return x @ self.matrix.T.to(x.dtype) + context.sum(dim=1, keepdim=True)


def flow(dimension, context, **settings):
    made = FlowMatchingDensity(dimension, context, QUICK.model_copy(update=settings))
    made.initialise(np.random.default_rng(1))
    return made.double()


class TestFlow:
    @pytest.mark.physics
    @pytest.mark.parametrize("solver", ["heun", "rk4", "dopri5"])
    def test_density_of_a_linear_field(self, solver):
        """x(1) = e^A x(0) + (e^A - 1) A^-1 b: a normal density with covariance (e^A^T e^A)^-1 at t = 0."""
        made = flow(3, 1, solver=solver, solver_steps=100, tolerance=1e-9)
        made.network = Field(LINEAR)
        rng = np.random.default_rng(2)
        x, c = torch.from_numpy(rng.standard_normal((20, 3))), torch.from_numpy(rng.standard_normal((20, 1)))
        grown = torch.linalg.matrix_exp(LINEAR)
        moved = (
            c
            @ torch.ones(1, 3, dtype=torch.float64)
            @ (torch.linalg.inv(LINEAR) @ (grown - torch.eye(3, dtype=torch.float64))).T
        )
        latent = x @ grown.T + moved
        expected = -0.5 * latent.square().sum(dim=1) - 1.5 * math.log(2 * math.pi) + torch.trace(LINEAR)
        with torch.no_grad():
            assert torch.allclose(made.log_density(x, c), expected, atol=1e-3 if solver == "heun" else 1e-6)
            assert torch.allclose(made.sample(latent, c), x, atol=1e-3 if solver == "heun" else 1e-6)

    @pytest.mark.physics
    @pytest.mark.parametrize("dimension", [1, 2])
    def test_density_of_a_network_integrates_to_one(self, dimension):
        made = flow(dimension, 1, width=8, solver_steps=16)
        rng = np.random.default_rng(3)
        with torch.no_grad():
            for name, parameter in made.named_parameters():
                if "outward" in name:
                    parameter.copy_(torch.from_numpy(0.3 * rng.standard_normal(parameter.shape)))
        axis = torch.linspace(-9, 9, 4001 if dimension == 1 else 121, dtype=torch.float64)
        grid = axis[:, None] if dimension == 1 else torch.cartesian_prod(axis, axis)
        c = torch.full((len(grid), 1), 0.4, dtype=torch.float64)
        with torch.no_grad():
            density = torch.exp(made.log_density(grid, c)).reshape((len(axis),) * dimension)
        normal = torch.exp(-0.5 * grid.square().sum(dim=1)).reshape(density.shape) / (2 * math.pi) ** (dimension / 2)
        assert (density - normal).abs().max() > 0.02
        for _ in range(dimension):
            density = torch.trapezoid(density, axis)
        assert float(density) == pytest.approx(1.0, abs=2e-3)

    @pytest.mark.physics
    def test_start_values_leave_a_normal_sample_as_it_is(self):
        """With a network of zero the velocity is that of normal data, whose flow is the identity in distribution.

        dx/dt = (2t - 1) / q x with q = (1-t)^2 + t^2 has the solution x(t) = sqrt(q(t)) x(1), and q(0) = q(1).
        """
        made = flow(3, 2, solver_steps=20)
        noise = torch.from_numpy(np.random.default_rng(2).standard_normal((50, 3)))
        with torch.no_grad():
            assert torch.allclose(made.sample(noise, torch.zeros(50, 2).double()), noise, atol=1e-4)

    @pytest.mark.physics
    def test_loss_of_the_start_values_for_normal_data(self):
        """The variance of r - x_0 around its mean given x_t is 1/q; its mean over t from 0 to 1 is pi/2."""
        made = flow(2, 0)
        points = torch.from_numpy(np.random.default_rng(4).standard_normal((40_000, 2)))
        noise = torch.Generator()
        noise.manual_seed(5)
        latent_is_float = points.float()
        made = made.float()
        with torch.no_grad():
            loss = made.loss(latent_is_float, torch.zeros(40_000, 0), noise)
        error = float(loss.std()) / math.sqrt(40_000)
        assert float(loss.mean()) == pytest.approx(math.pi / 2, abs=5 * error)


class TestPairing:
    def test_is_a_permutation_that_costs_less(self):
        noise = torch.Generator()
        noise.manual_seed(1)
        points, latent = (torch.randn(600, 3, generator=noise) for _ in range(2))
        result = paired(points, latent, torch.zeros(600, 0))
        assert sorted(map(tuple, result.tolist())) == sorted(map(tuple, latent.tolist()))
        before, after = ((points - z).square().sum() for z in (latent, result))
        assert after < 0.5 * before

    def test_stays_within_equal_contexts(self):
        noise = torch.Generator()
        noise.manual_seed(2)
        points, latent = (torch.randn(300, 2, generator=noise) for _ in range(2))
        context = torch.nn.functional.one_hot(torch.arange(300) % 3, 3).float()
        result = paired(points, latent, context)
        for k in range(3):
            own = torch.arange(300) % 3 == k
            assert sorted(map(tuple, result[own].tolist())) == sorted(map(tuple, latent[own].tolist()))
            assert not torch.equal(result[own], latent[own])
        continuous = torch.randn(300, 1, generator=noise)
        assert torch.equal(paired(points, latent, continuous), latent)

    def test_is_not_done_with_unequal_weights(self):
        """Noise of events of large weight would not be normal: a remark, and the densities are told."""
        events = z_jet_events(700, np.random.default_rng(1))
        settings = QUICK.model_copy(update={"pairing": "optimal-transport", "steps": 10, "label_steps": 1})
        for weight, expected in ((np.linspace(0.5, 1.5, len(events)), "independent"), (1.0, "optimal-transport")):
            generator = CfmGenerator(settings)
            weighted = dataclasses.replace(events, weight=np.broadcast_to(weight, len(events)).copy())
            report = generator.train([weighted], INFO, np.random.default_rng(2))
            assert any("needs equal weights" in remark for remark in report.remarks) == (expected == "independent")
            used = {d.settings.pairing for f in generator.learned.families for d in f.density.densities}
            assert used == {expected}


class TestRectification:
    @pytest.fixture(scope="class")
    @staticmethod
    def straightened():
        """A field with curved paths, before and after; and the same density as a nuisance parameter's."""
        representation = represent(z_jet_events(2000, np.random.default_rng(1)), (), mirrors=False)
        single = [t for t in representation.topologies if len(t.jets) == 1][:1]
        [family] = find_families(single)
        settings = QUICK.model_copy(update={"width": 24, "depth": 1, "rectification_steps": 500, "batch_size": 512})
        densities = [FlowMatchingDensity(family.width, 1, settings)]
        model = FamilyDensity(family, densities, extra=1)
        rng = np.random.default_rng(2)
        densities[0].initialise(rng)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "outward" in name:
                    parameter.copy_(torch.from_numpy(rng.normal(0, 0.5, parameter.shape)))
                if "time" in name:
                    parameter.mul_(3.0)
        events = type("Events", (), {})()
        events.rows, events.topology = np.zeros((1, 2000, family.width), np.float32), np.zeros(2000, np.int64)
        events.__class__.__len__ = lambda self: 2000
        latent = torch.from_numpy(rng.standard_normal((4000, family.width)).astype(np.float32))
        context = torch.from_numpy(rng.uniform(-1, 1, (4000, 1)).astype(np.float32))
        results = []
        told = []
        with torch.no_grad():
            results.append(
                [densities[0].follow(latent, context, "rk4", 30), densities[0].follow(latent, context, "heun", 1)]
            )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rectification, "_PAIRS", 8000)
            rectification.rectify(
                model, events, settings.model_copy(update={"learning_rate": 1e-2}), rng, lambda *a: told.append(a)
            )
        with torch.no_grad():
            results.append(
                [densities[0].follow(latent, context, "rk4", 30), densities[0].follow(latent, context, "heun", 2)]
            )
        return results, told, context

    @pytest.mark.physics
    def test_leaves_the_distribution(self, straightened):
        """Means and covariances of 4,000 points, for every sign of the nuisance parameter.

        Within 0.1 standard deviations, and 0.15 of the product of two.
        """
        (before, _), (after, _) = straightened[0]
        for own in (straightened[2][:, 0] > 0.3, straightened[2][:, 0] < -0.3):
            width = before[own].std(dim=0)
            shift = (before[own].mean(dim=0) - after[own].mean(dim=0)) / width
            assert shift.abs().max() < 0.1
            change = (torch.cov(before[own].T) - torch.cov(after[own].T)) / torch.outer(width, width)
            assert change.abs().max() < 0.15

    @pytest.mark.physics
    def test_makes_two_steps_enough(self, straightened):
        """Root mean square of the difference of two Heun steps from the exact path."""
        (before, rough), (after, straight) = straightened[0]
        assert (after - straight).square().mean().sqrt() < 0.25 * (before - rough).square().mean().sqrt()
        assert straightened[1]


def test_progress_counts_over_all_families():
    told = []
    generator = CfmGenerator(QUICK.model_copy(update={"steps": 500, "rectification_steps": 40}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rectification, "_PAIRS", 500)
        generator.train([z_jet_events(600, np.random.default_rng(1))], INFO, np.random.default_rng(2), told.append)
    done = [step.done for step in told]
    assert done == sorted(done)
    assert done[-1] == told[0].total
    assert {"loss"} <= {step.figure for step in told} <= {"loss", "label loss"}


class TestWeights:
    def test_negative_weights_count_negatively(self):
        """Process 1 with 30 % of weights -1 has a share of 0.4 times its events."""
        events = z_jet_events(4000, np.random.default_rng(1))
        rng = np.random.default_rng(2)
        alone = events.process_id == 1
        signed = dataclasses.replace(events, weight=np.where(alone & (rng.random(len(events)) < 0.3), -1.0, 1.0))
        generator = CfmGenerator(QUICK)
        generator.train([signed], INFO.replace(weight_strategy=-3), np.random.default_rng(3))
        made = generator.generate(5000, np.random.default_rng(4))
        expected = signed.weight[alone].sum() / signed.weight.sum()
        error = math.sqrt(expected * (1 - expected) / 5000)
        assert abs(np.mean(made.process_id == 1) - expected) < 5 * error
        assert np.all(made.weight == 1.0)
        assert generator.run_info.weight_strategy == 3

    def test_class_of_negative_sum_is_left_out_and_named(self):
        events = z_jet_events(1000, np.random.default_rng(1))
        first = events.column("pdg_id")[events.offsets[:-1]]
        weight = np.where((events.process_id == 1) & (first == 1), -1.0, 1.0)
        generator = CfmGenerator(QUICK)
        report = generator.train([dataclasses.replace(events, weight=weight)], INFO, np.random.default_rng(3))
        assert any("such as 1 -1 23 13 -13" in remark for remark in report.remarks)
        made = generator.generate(2000, np.random.default_rng(4))
        made_first = made.column("pdg_id")[made.offsets[:-1]]
        assert not np.any((made.process_id == 1) & (made_first == 1))
        assert np.any((made.process_id == 1) & (made_first == 2))

    @pytest.mark.parametrize(
        ("strategy", "weights", "expected"),
        [(3, [2.0, 2.0], 2.0), (-3, [1.0, -1.0], 1.0), (4, [90.0, 110.0], 100.0), (-4, [90.0, -110.0], 100.0)],
    )
    def test_weight_keeps_the_normalisation(self, strategy, weights, expected):
        assert event_weight(np.array(weights), INFO.replace(weight_strategy=strategy)) == expected

    def test_weight_without_cross_section_is_the_mean(self):
        assert event_weight(np.array([1.0, 3.0]), RunInfo(weight_strategy=4)) == 2.0

    @pytest.mark.parametrize(("strategy", "expected"), [(1, 4), (-2, 4), (3, 3), (-4, 4), (0, 0)])
    def test_run_info_describes_the_generated_events(self, strategy, expected):
        info = INFO.replace(
            weight_strategy=strategy, header="<slha/>", variations=(Variation("muR"),), generator="Other 1.0"
        )
        told = generated_run_info(info, 7.0, "cfm", "conditional flow matching, arXiv:2305.10475")
        assert told.weight_strategy == expected
        assert told.header == ""
        assert told.variations == ()
        assert told.generator.startswith("mlgen cfm, learned from Other 1.0,")
        assert '<generator name="mlgen cfm, learned from Other 1.0,"' in told.init_text
        assert [p.maximum_weight for p in told.processes] == [7.0, 7.0]
        assert RunInfo.from_json(told.to_json()) == told


class TestRefusals:
    def refused(self, batches, match, settings=QUICK):
        with pytest.raises(TrainingError, match=match):
            CfmGenerator(settings).train(batches, INFO, np.random.default_rng(1))

    def test_too_few_events(self):
        self.refused([z_jet_events(100, np.random.default_rng(1))], r"100 events .* 500 are needed")

    def test_no_events(self):
        self.refused([], "no events")

    def test_weights_of_zero(self):
        self.refused([z_jet_events(600, np.random.default_rng(1), weight=0.0)], "weights of all events are zero")

    def test_weight_that_is_no_number(self):
        events = z_jet_events(600, np.random.default_rng(1))
        weight = events.weight.copy()
        weight[6] = np.nan
        self.refused([dataclasses.replace(events, weight=weight)], "weight of event 7 is nan")

    def test_spacelike_particles(self):
        events = z_jet_events(600, np.random.default_rng(1))
        columns = events.columns()
        columns["status"] = np.where(columns["pdg_id"] == 23, -2, columns["status"])
        broken = EventBatch.from_columns(events.counts, columns, weight=1.0)
        self.refused([broken], r"status -2 .*only -1, 1 and 2")

    def test_rare_topology_is_generated_and_named(self):
        """Twenty events of a multiplicity: valid events of it, and a remark on rare flavours."""
        events = z_jet_events(1000, np.random.default_rng(1))
        alone = np.flatnonzero(events.process_id == 1)[:20]
        chosen = np.sort(np.concatenate([np.flatnonzero(events.process_id == 2), alone]))
        generator = CfmGenerator(QUICK)
        report = generator.train([events[chosen]], INFO, np.random.default_rng(2))
        assert any("fewer than 10 events" in remark for remark in report.remarks)
        made = generator.generate(3000, np.random.default_rng(3))
        assert np.any(made.counts == 5)
        check_events(made, generator.run_info)


def test_generated_file_showers_in_pythia(trained, tmp_path):
    """Pythia accepts every event of a file that went through the writer."""
    pythia8mc = pytest.importorskip("pythia8mc")
    path = tmp_path / "generated.lhe"
    with create_events(path, trained.run_info) as output:
        output.write(trained.generate(100, np.random.default_rng(8)))
    pythia = pythia8mc.Pythia("", False)
    settings = ("Print:quiet = on", "Beams:frameType = 4", f"Beams:LHEF = {path}", "HadronLevel:all = off")
    assert all(pythia.readString(setting) for setting in settings)
    assert pythia.init()
    assert sum(pythia.next() for _ in range(100)) == 100


def test_example_events_are_learned(examples):
    """The shipped file: every event is valid, and so is every generated one."""
    with open_events(examples / "zjet.lhe.gz") as events:
        generator = CfmGenerator(QUICK)
        report = generator.train(events, events.run_info, np.random.default_rng(1))
    assert report.figures["events"] == 10_000
    made = generator.generate(2000, np.random.default_rng(2))
    check_events(made, generator.run_info)
    # Quarks of the process record carry Pythia's constituent masses; 108 + 293 pb.
    assert generator.run_info.cross_section == pytest.approx(400.8, rel=1e-3)
