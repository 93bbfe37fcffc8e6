"""`LearnedGenerator` with a density that learns in a second: what is the same for all generators."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import expit

from mlgen.errors import MlgenError, ModelError, TrainingError, UserError
from mlgen.events import EventBatch
from mlgen.run_info import Process, RunInfo
from mlgen.testing.event_rules import check_events
from mlgen.testing.samples import drell_yan_events


def arrays(batch):
    per_event = [batch.counts, batch.weight, batch.process_id, batch.scale, *batch.variations.values()]
    return [*per_event, *batch.columns().values()]


def same(first, second):
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(arrays(first), arrays(second), strict=True))


def classes(batch):
    """Particles, statuses and colours of each event, as bytes."""
    names = ("pdg_id", "status", "color1", "color2")
    table = np.stack([batch.column(name) for name in names], axis=1)
    return [table[a:b].tobytes() for a, b in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)]


@pytest.fixture(scope="module")
def training(higgs):
    return higgs.events(4000, 1)


@pytest.fixture(scope="module")
def trained(training, linear):
    return linear(training, label_steps=200)


@pytest.fixture(scope="module")
def generated(trained):
    return trained.generate(20_000, np.random.default_rng(2))


class TestEvents:
    def test_are_valid(self, generated, trained):
        check_events(generated, trained.run_info)

    def test_multiplicities_have_the_shares_of_the_training(self, generated, training):
        """Binomial errors of the generated sample, five sigma: the shares are the training file's own."""
        share = np.bincount(training.counts)[3:] / len(training)
        found = np.bincount(generated.counts)[3:] / len(generated)
        assert np.all(np.abs(found - share) < 5 * np.sqrt(share * (1 - share) / len(generated)))

    def test_every_kind_of_event_of_the_training_and_no_other(self, generated, training):
        """Colour flows too; the rarest has some hundred events, so that none can be missing by chance."""
        assert set(classes(generated)) == set(classes(training))

    @pytest.mark.physics
    @pytest.mark.parametrize(("what", "value"), [("spin", 1.0), ("flow", 1)])
    def test_helicity_and_colour_flow_depend_on_the_momenta(self, generated, higgs, what, value):
        """Known probabilities in ten bins; the network may be off by 0.06 besides five binomial errors."""
        numbers = higgs.numbers(generated, 1)
        x = 2 * (numbers["y_jet"] - numbers["y_higgs"]) if what == "flow" else (numbers["pt"] - 45) / 10
        for part in np.array_split(np.argsort(x), 10):
            expected = np.mean(expit(x[part]))
            error = math.sqrt(expected * (1 - expected) / len(part))
            assert np.mean(numbers[what][part] == value) == pytest.approx(expected, abs=5 * error + 0.06)

    @pytest.mark.physics
    def test_helicity_depends_on_the_decay_angle_from_the_quark(self, linear):
        """q q~ -> mu- mu+: a right-handed mu- with (1 + c)^2 / (2 (1 + c^2)), whichever beam the quark comes from.

        Six bins in c; the network may be off by 0.1 besides five binomial errors.
        """
        rng = np.random.default_rng(8)
        events, info = drell_yan_events(2500, rng, gluon_fraction=0.0)

        def cosine(batch):
            rows = {name: batch.column(name).reshape(-1, 5) for name in ("pz", "energy", "px", "py", "pdg_id", "spin")}
            rapidity = np.arctanh(rows["pz"][:, 2] / rows["energy"][:, 2])
            along = np.cosh(rapidity) * rows["pz"][:, 3] - np.sinh(rapidity) * rows["energy"][:, 3]
            c = along / np.hypot(along, np.hypot(rows["px"][:, 3], rows["py"][:, 3]))
            return np.where(rows["pdg_id"][:, 0] > 0, c, -c), rows["spin"][:, 3]

        def truth(c):
            return (1 + c) ** 2 / (2 * (1 + c**2))

        c, _ = cosine(events)
        helicity = np.where(rng.random(len(events)) < truth(c), 1.0, -1.0)
        columns = {name: values.copy() for name, values in events.columns().items()}
        spin = columns["spin"].reshape(-1, 5)
        spin[:, 3], spin[:, 4] = helicity, -helicity
        events = EventBatch.from_columns(
            events.counts, columns, weight=1.0, process_id=1, scale=91.0, alpha_qed=0.01, alpha_qcd=0.1
        )
        generator = linear(events, info=info, steps=20, label_steps=450)
        made = generator.generate(12_000, np.random.default_rng(2))
        c, helicity = cosine(made)
        assert np.all(made.column("spin").reshape(-1, 5)[:, 4] == -helicity)
        for part in np.array_split(np.argsort(c), 6):
            expected = truth(c[part]).mean()
            error = math.sqrt(expected * (1 - expected) / len(part))
            assert np.mean(helicity[part] == 1) == pytest.approx(expected, abs=5 * error + 0.1)

    @pytest.mark.physics
    def test_shapes(self, generated, higgs):
        """Kolmogorov's 99.9 % quantile for both samples, and 0.02 for the model."""
        numbers = higgs.numbers(generated, 1)
        for values, cumulative in (
            (numbers["pt"], stats.expon(20, 30).cdf),
            (numbers["y_higgs"], stats.norm(0, 1).cdf),
            (numbers["y_jet"], stats.norm(0, math.hypot(0.5, 0.8)).cdf),
        ):
            allowed = 1.95 * math.sqrt(1 / len(values) + 1 / 1200) + 0.02
            assert stats.kstest(values, cumulative).statistic < allowed

    def test_figures_are_reported(self, trained):
        figures = trained.report.figures
        assert figures["events"] == 4000
        assert figures["topologies"] == 3
        assert figures["parameters"] == sum(
            p.numel() for family in trained.learned.families for p in family.density.parameters()
        )
        assert 0 <= figures["redrawn_fraction"] < 0.05
        # Only those without jets are enough for a verdict.
        for name, low, high in (("auc", 0.35, 0.65), ("auc_floor", 0.35, 0.65), ("nearer_to_training", 0.4, 0.6)):
            assert low < figures[f"{name}_0_jets"] < high
            assert f"{name}_1_jets" not in figures
        assert figures["validation_loss"] == min(trained.report.curves["validation_loss"])

    def test_copies_of_training_events_are_noticed(self, linear, higgs, monkeypatch):
        """A generator that repeats its events says so."""
        import mlgen.generation.quality as module

        events = higgs.events(2500, 1, (1.0, 0.0, 0.0))
        true = module._made

        def copies(generator, learned, number, count, rng):
            made = true(generator, learned, number, count, rng)
            here = copies.points[rng.integers(0, len(copies.points), count)]
            return here, made[1][:count], made[2][:count]

        def judged(generator, learned, training, rng):
            copies.points = training.events[0].points[0][~training.held_out[0]]
            return original(generator, learned, training, rng)

        original = module.judged
        monkeypatch.setattr(module, "_made", copies)
        monkeypatch.setattr(module, "judged", judged)
        report = linear(events, steps=10, label_steps=1).report
        assert any("copies of training events" in remark for remark in report.remarks)


class TestDensity:
    @pytest.mark.physics
    def test_is_normalised_without_jets(self, trained, higgs, training):
        """One coordinate, the rapidity: the integral is the share of these events."""
        y = np.linspace(-4, 4, 2001)
        nothing = np.zeros((len(y), 2))
        events = higgs.build(y, nothing, nothing, nothing, np.zeros(len(y), int), np.random.default_rng(1))
        density = np.exp(trained.log_density(events))
        share = np.mean(training.counts == 3)
        assert np.trapezoid(density, y) == pytest.approx(share, rel=2e-3)
        truth = share * stats.norm(0, 0.7).pdf(y)
        assert np.trapezoid(np.abs(density - truth), y) < 0.1 * share

    @pytest.mark.physics
    def test_of_one_jet_against_the_closed_form(self, trained, higgs, training):
        """The mean of p / q over events of q is the share, and q itself is learned to a divergence below 0.08.

        q is the closed form: in rapidities and transverse momentum, and of colour flow and helicity.
        """
        n = 20_000
        events = higgs.events(n, 77, (0.0, 1.0, 0.0))
        x = higgs.numbers(events, 1)
        flow, spin = expit(2 * (x["y_jet"] - x["y_higgs"])), expit((x["pt"] - 45) / 10)
        truth = (
            stats.norm(0, 1).logpdf(x["y_higgs"])
            + stats.norm(0.5 * x["y_higgs"], 0.8).logpdf(x["y_jet"])
            + stats.expon(20, 30).logpdf(x["pt"])
            + np.log(np.where(x["flow"] == 1, flow, 1 - flow))
            + np.log(np.where(x["spin"] == 1, spin, 1 - spin))
        )
        learned = trained.log_density(events)
        assert np.isfinite(learned).mean() > 0.999
        share = np.mean(training.counts == 4)
        ratio = np.exp(learned - truth)
        # Importance weights have a tail at the edges: 3 % for the truncated part besides five standard errors.
        assert ratio.mean() == pytest.approx(share, abs=5 * ratio.std() / math.sqrt(n) + 0.03 * share)
        finite = np.isfinite(learned)
        divergence = np.mean((truth - learned)[finite]) + math.log(share)
        assert -0.02 < divergence < 0.08

    def test_of_own_events_is_finite_and_of_strange_ones_minus_infinity(self, trained, generated, training):
        assert np.isfinite(trained.log_density(generated[:2000])).all()
        assert not np.isnan(trained.log_density(training)).any()
        strange, _ = drell_yan_events(100, np.random.default_rng(1))
        assert np.all(trained.log_density(strange) == -np.inf)
        assert trained.log_density(training[:0]).shape == (0,)
        mixed = EventBatch.concatenate([training[:10], strange[:10], training[10:20]])
        alone = np.concatenate([trained.log_density(training[:20])])
        together = trained.log_density(mixed)
        assert together[:10] == pytest.approx(alone[:10], abs=1e-5)
        assert np.all(together[10:20] == -np.inf)
        assert together[20:] == pytest.approx(alone[10:], abs=1e-5)

    def test_outside_of_the_cuts_is_minus_infinity(self, trained, higgs):
        n = 50
        y, phi = np.zeros((n, 2)), np.zeros((n, 2))
        pt = np.column_stack([np.linspace(1, 19, n), np.zeros(n)])
        soft = higgs.build(np.zeros(n), y, pt, phi, np.ones(n, int), np.random.default_rng(1))
        assert np.all(trained.log_density(soft) == -np.inf)


class TestWeights:
    @pytest.fixture(scope="class")
    @staticmethod
    def signed(higgs, linear):
        """A fifth of the events is negative, and of another shape: y = 0.4 g instead of 0.7 g, y_Z shifted by 0.5."""
        rng = np.random.default_rng(5)
        n = 8000
        negative = rng.random(n) < 0.2
        y = np.where(negative, 0.5 + 0.4 * rng.standard_normal(n), 0.7 * rng.standard_normal(n))
        nothing = np.zeros((n, 2))
        events = higgs.build(y, nothing, nothing, nothing, np.zeros(n, int), rng, np.where(negative, -1.0, 1.0))
        generator = linear(events, info=higgs.info.replace(weight_strategy=-3), label_steps=1, mirrors=False)
        return generator, events, y

    @pytest.mark.physics
    def test_negative_weights(self, signed, higgs):
        """0.8 N(0, 0.7) - 0.2 N(0.5, 0.4), over 0.6: mean -1/6; variance from the second moments.

        The errors are those of the signed training sample (sum of w^2 y^2) and of 20,000 generated events; a linear
        density on top of the fitted marginals may be off by 0.03 besides five of these. Without the signs the mean
        would be 0.1.
        """
        generator, events, y = signed
        made = generator.generate(20_000, np.random.default_rng(1))
        assert np.all(made.weight == 1.0)
        assert generator.run_info.weight_strategy == 3
        found = higgs.numbers(made, 0)["y_higgs"]
        mean = -0.1 / 0.6
        second = (0.8 * 0.49 - 0.2 * (0.16 + 0.25)) / 0.6
        width = math.sqrt(second - mean**2)
        weight = events.weight
        error = math.hypot(np.sqrt(np.sum((weight * (y - mean)) ** 2)) / weight.sum(), width / math.sqrt(20_000))
        assert found.mean() == pytest.approx(mean, abs=5 * error + 0.03)
        assert found.std() == pytest.approx(width, abs=5 * error + 0.03)
        # Shape: where the negative events lie, few are left.
        grid = np.linspace(-2, 2, 9)
        cumulative = (0.8 * stats.norm(0, 0.7).cdf(grid) - 0.2 * stats.norm(0.5, 0.4).cdf(grid)) / 0.6
        assert np.mean(found[:, None] < grid, axis=0) == pytest.approx(cumulative, abs=5 * error + 0.03)

    def test_negative_weights_count_in_the_shares(self, higgs, linear):
        events = higgs.events(4000, 1)
        negative = (events.counts == 3) & (np.random.default_rng(2).random(len(events)) < 0.3)
        signed = dataclasses.replace(events, weight=np.where(negative, -1.0, 1.0))
        made = linear(signed, steps=10, label_steps=1).generate(10_000, np.random.default_rng(3))
        expected = signed.weight[events.counts == 3].sum() / signed.weight.sum()
        error = math.sqrt(expected * (1 - expected) / 10_000)
        assert np.mean(made.counts == 3) == pytest.approx(expected, abs=5 * error)

    @pytest.mark.parametrize("strategy", [1, 2, 3, 4, -1, -2, -3, -4])
    @pytest.mark.parametrize("only", ["", "* > h g"])
    def test_size_follows_the_normalisation(self, higgs, linear, strategy, only):
        events = higgs.events(600, 1)
        size = 1.0 if abs(strategy) == 3 else 100.0
        weight = np.full(len(events), size)
        if strategy < 0:
            weight[::10] *= -1
        events = dataclasses.replace(events, weight=weight)
        info = higgs.info.replace(weight_strategy=strategy)
        generator = linear(events, info=info, steps=1, label_steps=1, only=only)
        made, told = generator.generate(300, np.random.default_rng(1)), generator.run_info
        share = weight[events.counts == 4].sum() / weight.sum() if only else 1.0
        assert told.weight_strategy == (3 if abs(strategy) == 3 else 4)
        assert told.cross_section == pytest.approx(100.0 * share)
        assert made.weight == pytest.approx(1.0 if abs(strategy) == 3 else 100.0 * share)
        assert [process.process_id for process in told.processes] == ([2] if only else [1, 2, 3])
        assert all(process.maximum_weight == pytest.approx(made.weight[0]) for process in told.processes)
        assert RunInfo.from_json(told.to_json()) == told

    def test_part_of_a_process_has_a_part_of_its_cross_section(self, linear):
        """Half of the events of each of two processes, of 30 and 70 pb."""
        events, info = drell_yan_events(1000, np.random.default_rng(1), gluon_fraction=0.0)
        quark = np.abs(events.column("pdg_id")[events.offsets[:-1]])
        number = np.where(np.arange(len(events)) % 10 < 3, 1, 2)
        events = dataclasses.replace(events, process_id=number)
        info = info.replace(processes=(Process(1, 30.0, 3.0, 1.0), Process(2, 70.0, 7.0, 1.0)))
        generator = linear(events, info=info, steps=1, label_steps=1, only="u u~ > mu+ mu-")
        first = events.column("pdg_id")[events.offsets[:-1]] == 2
        told = generator.run_info
        fractions = [np.mean(first[number == k]) for k in (1, 2)]
        assert told.cross_section == pytest.approx(100 * first.mean())
        ratio = told.processes[0].cross_section / told.processes[1].cross_section
        assert ratio == pytest.approx(30 * fractions[0] / (70 * fractions[1]))
        assert told.processes[0].error == pytest.approx(0.1 * told.processes[0].cross_section)
        made = generator.generate(300, np.random.default_rng(1))
        assert np.all(made.column("pdg_id")[made.offsets[:-1]] == 2)
        assert set(quark) == {1, 2}


class TestSelection:
    def of(self, trained, only):
        settings = trained.settings.model_copy(update={"only": only})
        return type(trained).from_state(settings, trained.state())

    @pytest.mark.parametrize(
        ("only", "particles"),
        [("* > h", 3), ("g g > h", 3), ("p p > h j", 4), ("* > j h", 4), ("* > h j j", 5), ("g g > g h g", 5)],
    )
    def test_right_events(self, trained, only, particles):
        generator = self.of(trained, only)
        made = generator.generate(200, np.random.default_rng(1))
        assert np.all(made.counts == particles)
        check_events(made, generator.run_info)
        share = trained.learned.topologies[[3, 4, 5].index(particles)].probability
        assert generator.run_info.cross_section == pytest.approx(100 * share)

    @pytest.mark.parametrize(
        ("only", "message"),
        [
            ("g g > t t~", r"seen no such events .* 21 21 -> 25 \(50"),
            ("u g > h g", "seen no such events"),
            ("nonsense", "'A B > C D ...' is expected"),
            ("g g > h > g", "'A B > C D ...' is expected"),
            ("g g >", "'A B > C D ...' is expected"),
            ("g > h", "two incoming particles"),
            ("g * > h", "two incoming particles"),
            ("* > *", "stands for the incoming particles only"),
            ("* > h *", "stands for the incoming particles only"),
            ("* > foo", "foo"),
        ],
    )
    def test_what_cannot_be_asked_for(self, trained, only, message):
        with pytest.raises(UserError, match=message):
            self.of(trained, only).generate(10, np.random.default_rng(1))

    def test_is_checked_before_the_training(self, training, linear):
        told = []
        generator = linear(only="g g > t t~")
        with pytest.raises(UserError, match="seen no such events"):
            generator.train([training], RunInfo(), np.random.default_rng(1), told.append)
        assert not told

    def test_rare_labels_are_found(self, linear):
        """Four of 4,000 events: far more than 300 points for each event that is asked for."""
        events, info = drell_yan_events(4000, np.random.default_rng(1), gluon_fraction=0.0)
        columns = {name: column.copy() for name, column in events.columns().items()}
        first = columns["pdg_id"].reshape(-1, 5)
        flip = np.flatnonzero(first[:, 0] == 2)[:4]
        first[flip, 0], first[flip, 1] = 4, -4
        rare = EventBatch.from_columns(
            events.counts, columns, weight=events.weight, process_id=1, scale=91.0, alpha_qed=0.01, alpha_qcd=0.1
        )
        generator = linear(rare, info=info, steps=20, label_steps=1, only="c c~ > mu+ mu-")
        made = generator.generate(30, np.random.default_rng(1))
        assert np.all(made.column("pdg_id")[made.offsets[:-1]] == 4)
        assert generator.run_info.cross_section == pytest.approx(1500 * 4 / 4000)


class TestRepeatable:
    def test_one_seed_whatever_the_threads_and_batches(self, higgs, linear):
        events = higgs.events(900, 1)
        before = torch.get_num_threads()
        results = []
        try:
            for threads, batches in ((1, [events]), (2, [events[:100], events[100:100], events[100:]])):
                torch.set_num_threads(threads)
                generator = linear(steps=40, label_steps=20)
                generator.train(batches, higgs.info, np.random.default_rng(2))
                results.append((generator.state(), generator.generate(300, np.random.default_rng(3))))
                assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
        (first_state, first), (second_state, second) = results
        assert same(first, second)
        assert all(np.array_equal(first_state[name], second_state[name]) for name in first_state)

    def test_seeds_differ(self, trained):
        first, second = (trained.generate(50, np.random.default_rng(seed)) for seed in (1, 2))
        assert not np.array_equal(first.column("energy"), second.column("energy"))

    def test_progress_counts_up_to_its_total(self, higgs, linear):
        told = []
        generator = linear(steps=100, label_steps=50, uncertainty="bayesian", members=2)
        generator.train([higgs.events(600, 1)], higgs.info, np.random.default_rng(2), told.append)
        done = [step.done for step in told]
        assert done == sorted(done)
        assert done[-1] <= told[0].total
        assert {step.figure for step in told} == {"loss", "mean loss", "label loss"}


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "settings", "message"),
        [
            (lambda e: e[:40], {}, r"40 events .* 50 are needed"),
            (lambda e: e[:0], {}, "no events"),
            (lambda e: dataclasses.replace(e, weight=np.zeros(len(e))), {}, "weights of all events are zero"),
            (lambda e: dataclasses.replace(e, weight=np.where(np.arange(len(e)) % 2, -1.0, 1.0)), {}, "sum to"),
            (lambda e: dataclasses.replace(e, weight=np.full(len(e), np.nan)), {}, "weight of event 1 is nan"),
            (lambda e: e, {"up": "muR=2"}, "no weight of the name 'muR=2'; they have none"),
            (lambda e: e, {"correction": "reweight"}, "discriminator_epochs"),
        ],
    )
    def test_training(self, higgs, linear, change, settings, message):
        events = higgs.events(400, 1)[:400]
        with pytest.raises(TrainingError, match=message):
            linear(change(events), **settings)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_a_gpu_that_is_not_there(self, higgs, linear, trained):
        with pytest.raises(TrainingError, match="device = 'cuda' was asked for"):
            linear(higgs.events(400, 1), device="cuda")
        settings = trained.settings.model_copy(update={"device": "cuda"})
        with pytest.raises(MlgenError, match="device = 'cuda' was asked for"):
            type(trained).from_state(settings, trained.state())

    def test_use(self, trained, linear):
        for n in (-1, -1000):
            with pytest.raises(ValueError, match="not negative"):
                trained.generate(n, np.random.default_rng(1))
        untrained = linear()
        for use in (
            lambda: untrained.generate(1, np.random.default_rng(1)),
            untrained.state,
            lambda: untrained.run_info,
            lambda: untrained.log_density(trained.generate(1, np.random.default_rng(1))),
        ):
            with pytest.raises(ModelError, match="not trained"):
                use()

    def test_a_correction_needs_a_discriminator(self, trained):
        settings = trained.settings.model_copy(update={"correction": "unweight"})
        with pytest.raises(UserError, match="discriminator_epochs"):
            type(trained).from_state(settings, trained.state()).generate(1, np.random.default_rng(1))

    def test_a_handful_of_events_in_a_multiplicity(self, higgs, linear):
        """Five events with two jets: no network, but events of that kind, and a remark."""
        events = higgs.events(1200, 1, (0.6, 0.4, 0.0))
        few = higgs.events(5, 2, (0.0, 0.0, 1.0))
        generator = linear(EventBatch.concatenate([events, few]), steps=100, label_steps=20)
        made = generator.generate(5000, np.random.default_rng(3))
        check_events(made, generator.run_info)
        assert np.any(made.counts == 5)
        assert any("fewer than 10 events" in remark for remark in generator.report.remarks)

    def test_a_family_of_few_events_has_no_network(self, higgs, linear):
        events = higgs.events(900, 1, (0.0, 0.5, 0.5))
        other, _ = drell_yan_events(20, np.random.default_rng(2), gluon_fraction=0.0)
        other = dataclasses.replace(other, weight=np.ones(20), scale=np.full(20, 125.0))
        generator = linear(EventBatch.concatenate([events, other]), steps=50, label_steps=5)
        assert any("20 events are too few for a network" in remark for remark in generator.report.remarks)
        made = generator.generate(3000, np.random.default_rng(3))
        check_events(made, generator.run_info)
        assert np.any(made.column("pdg_id") == 13)
