"""The `cfm` generator: conformance, validity, physics, repeatability and errors."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from mlgen.errors import ModelError, TrainingError
from mlgen.events import INTEGER_COLUMNS, EventBatch
from mlgen.formats import create_events, open_events
from mlgen.representation import find_classes
from mlgen.run_info import Beam, Process, RunInfo, Variation
from mlgen.stages import Progress
from mlgen.testing import EventGeneratorTests
from mlgen.testing.event_rules import check_events
from mlgen_cfm.flow import points_from_noise
from mlgen_cfm.generator import CfmGenerator
from mlgen_cfm.network import VelocityNetwork
from mlgen_cfm.normalisation import event_weight, generated_run_info
from mlgen_cfm.settings import CfmSettings

QUICK = CfmSettings(steps=60, batch_size=64, width=16, depth=1, solver_steps=4)
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
    generator = CfmGenerator(CfmSettings(steps=600, batch_size=256, width=32, depth=2, solver_steps=6))
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
        assert generated.alpha_qcd == pytest.approx(1 / np.log(generated.scale**2), rel=1e-9)
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
            with pytest.raises(ModelError, match="width"):
                CfmGenerator.from_state(settings, trained.state())

    def test_untrained_is_refused(self):
        with pytest.raises(ModelError, match="not trained"):
            CfmGenerator(QUICK).generate(1, np.random.default_rng(1))


class TestFlow:
    @pytest.mark.physics
    def test_start_values_leave_a_normal_sample_as_it_is(self):
        """With a network of zero the velocity is that of normal data, whose flow is the identity in distribution.

        dx/dt = (2t - 1) / q x with q = (1-t)^2 + t^2 has the solution x(t) = sqrt(q(t)) x(1), and q(0) = q(1).
        """
        network = VelocityNetwork(3, 2, 8, 1)
        network.initialise(np.random.default_rng(1))
        noise = np.random.default_rng(2).standard_normal((50, 3), np.float32)
        points = points_from_noise(network, noise, np.zeros((50, 2), np.float32), 20)
        assert points == pytest.approx(noise, abs=1e-4)

    def test_progress_counts_over_all_topologies(self):
        told: list[Progress] = []
        CfmGenerator(QUICK.model_copy(update={"steps": 500})).train(
            [z_jet_events(600, np.random.default_rng(1))], INFO, np.random.default_rng(2), told.append
        )
        done = [step.done for step in told]
        assert done == sorted(done)
        assert done[-1] == told[0].total
        assert {step.figure for step in told} == {"loss"}


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
        assert any("1 -1 -> 23 13 -13 (process 1)" in remark for remark in report.remarks)
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
        told = generated_run_info(info, 7.0)
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

    def test_rare_topology_is_generated_without_correlations_and_named(self):
        """Twenty events with an extra multiplicity get no network; the file as a whole is still learned."""
        events = z_jet_events(1000, np.random.default_rng(1))
        alone = np.flatnonzero(events.process_id == 1)[:20]
        chosen = np.sort(np.concatenate([np.flatnonzero(events.process_id == 2), alone]))
        generator = CfmGenerator(QUICK)
        report = generator.train([events[chosen]], INFO, np.random.default_rng(2))
        assert any("20 events are too few for a network" in remark for remark in report.remarks)
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
