"""Bayesian networks, nuisance parameters and discriminators: what comes on top of the densities, and all as arrays."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from mlgen.errors import ModelError, TrainingError
from mlgen.generation import LearnedGenerator, LearnedGeneratorSettings
from mlgen.generation.discriminator import Discriminator
from mlgen.generation.nuisance import Nuisance
from mlgen.run_info import Variation, WeightNormalisation
from mlgen.testing.event_rules import check_events


def rapidity(batch):
    rows = batch.offsets[:-1] + 2
    return np.arctanh(batch.column("pz")[rows] / batch.column("energy")[rows])


class TestBayesian:
    @pytest.fixture(scope="class")
    @staticmethod
    def spreads(higgs, linear):
        """Generators of 500, 2,000 and 8,000 events without jets, with their weights of 4,000 generated ones."""
        result = []
        for n in (500, 2000, 8000):
            generator = linear(
                higgs.events(n, 1, (1.0, 0.0, 0.0)), uncertainty="bayesian", members=20, label_steps=1, steps=800
            )
            result.append((generator, generator.generate(4000, np.random.default_rng(2))))
        return result

    def test_weights_are_declared_positive_and_one_on_average(self, spreads):
        """The mean of p_k / p over events of p is one; five standard errors."""
        for generator, made in spreads:
            check_events(made, generator.run_info)
            assert list(made.variations) == [f"mlgen.linear.stat.{k}" for k in range(1, 21)]
            for values in made.variations.values():
                assert np.all(values > 0)
                assert values.mean() == pytest.approx(1.0, abs=5 * values.std() / math.sqrt(len(values)) + 1e-4)

    @pytest.mark.physics
    def test_spread_is_that_of_so_many_events(self, spreads):
        """A normal density has two parameters: the mean variance of ln(p_k / p) is 2 / n.

        Mean and width are learned with errors 1 / sqrt(n) and 1 / sqrt(2 n), and the derivatives of the log have the
        variances 1 and 2: 2 / n in all. The network's prior, and that the posterior is a product, allow for 40 % of
        the spread; it has a third parameter of the same effect, none here.
        """
        found = []
        for (_, made), n in zip(spreads, (500, 2000, 8000), strict=True):
            logarithm = np.log(np.stack(list(made.variations.values())))
            found.append(math.sqrt(np.mean(logarithm**2)))
            assert found[-1] == pytest.approx(math.sqrt(2 / (0.9 * n)), rel=0.4)
        assert found[0] > found[1] > found[2]

    def test_without_members_there_are_no_named_weights(self, higgs, linear):
        generator = linear(higgs.events(300, 1), steps=5, label_steps=1)
        assert generator.run_info.variations == ()
        assert not generator.generate(10, np.random.default_rng(1)).variations


class TestNuisance:
    @pytest.fixture(scope="class")
    @staticmethod
    def events(higgs):
        """Weights w (1 + a x) with x = 0.4 tanh(y_H): odd, so that mirror images would wash it out."""
        events = higgs.events(6000, 1, (0.6, 0.4, 0.0))
        x = 0.4 * np.tanh(rapidity(events)) + 0.1 * (events.counts == 4)
        return dataclasses.replace(events, variations={"plus": 1 + x, "minus": 1 - x, "other": np.ones(len(events))})

    @pytest.fixture(scope="class")
    @staticmethod
    def info(higgs):
        return higgs.info.replace(variations=tuple(Variation(name) for name in ("plus", "minus", "other")))

    @pytest.mark.physics
    @pytest.mark.parametrize("down", ["minus", ""])
    def test_reweighted_distributions(self, events, info, linear, down):
        """Cross section, mean rapidity and share of events with a jet at both ends, from the reweighted training file.

        Five errors of both samples, and 0.02 for the density.
        """
        generator = linear(events, info=info, up="plus", down=down, label_steps=20, steps=600)
        made = generator.generate(15_000, np.random.default_rng(2))
        check_events(made, generator.run_info)
        assert list(made.variations) == ["mlgen.linear.theory.up", "mlgen.linear.theory.down"]
        y, trained_y = rapidity(made), rapidity(events)
        for side, true in zip(made.variations.values(), (events.variations[n] for n in ("plus", "minus")), strict=True):
            error = 5 * math.sqrt(1 / 15_000 + 1 / 6000)
            assert side.mean() == pytest.approx(true.mean(), abs=0.4 * error)
            assert np.average(y, weights=side) == pytest.approx(np.average(trained_y, weights=true), abs=error + 0.02)
            shares = [np.average(b.counts == 4, weights=w) for b, w in ((made, side), (events, true))]
            assert shares[0] == pytest.approx(shares[1], abs=0.5 * error)
        assert abs(np.average(trained_y, weights=events.variations["plus"])) > 0.1
        assert np.average(y) == pytest.approx(np.average(trained_y), abs=error + 0.02)
        words = "1 named weights are not learned" if down else "2 named weights are not learned"
        assert any(words in remark for remark in generator.report.remarks)

    def test_a_name_that_is_not_there(self, events, info, linear):
        with pytest.raises(TrainingError, match="no weight of the name 'muR=2'; they have minus, other, plus"):
            linear(events, info=info, up="plus", down="muR=2")
        with pytest.raises(ValueError, match="'down' without 'up'"):
            LearnedGeneratorSettings(down="minus")

    def test_factor(self):
        """The ratio itself at +-1, one at 0, and a positive ratio never gives a negative factor."""
        ratios = np.array([[1.3, 0.2, 5.0, -0.5], [0.7, 1.8, 0.1, 2.5]])
        nuisance = Nuisance.of(ratios, torch.device("cpu"))
        every = torch.arange(4)
        for a, expected in ((1.0, ratios[0]), (-1.0, ratios[1]), (0.0, np.ones(4))):
            assert nuisance.factor(every, torch.full((4,), a)).numpy() == pytest.approx(expected, rel=1e-5)
        assert torch.all(nuisance.factor(every[:3], torch.full((3,), 1.5)) > 0)
        alone = Nuisance.of(ratios[:1], torch.device("cpu"))
        assert alone.factor(every, torch.full((4,), -1.0)).numpy() == pytest.approx(2 - ratios[0], rel=1e-5)


class TestDiscriminator:
    @pytest.mark.physics
    def test_ratio_of_normal_densities(self):
        """Of N(0.5, 1) to N(0, 1): exp(x / 2 - 1/8). Within 0.15 in the log between -1.5 and 1.5; the mean is one."""
        rng = np.random.default_rng(1)
        true, made = rng.normal([0.5, 0.0], 1.0, (8000, 2)), rng.standard_normal((8000, 2))
        discriminator = Discriminator.make(true, rng)
        held_out = (rng.random(8000) < 0.1, rng.random(8000) < 0.1)
        entropy = discriminator.train(true, np.ones(8000), made, held_out, 12, rng)
        discriminator.normalise(made, 3.0)
        x = np.column_stack([np.linspace(-1.5, 1.5, 41), np.zeros(41)])
        assert np.log(discriminator.ratio(x)) == pytest.approx(x[:, 0] / 2 - 1 / 8, abs=0.15)
        assert discriminator.ratio(made).mean() == pytest.approx(1.0, abs=1e-3)
        # The mean of ln(1 + e^-l) with l = x / 2 - 1/8: 0.663 by quadrature; three errors of the held-out events.
        assert entropy == pytest.approx(0.663, abs=3 * 0.25 / math.sqrt(1600))

    def test_equal_events_cannot_be_told_apart(self):
        rng = np.random.default_rng(2)
        first, second = rng.standard_normal((2000, 3)), rng.standard_normal((2000, 3))
        discriminator = Discriminator.make(first, rng)
        held_out = (np.arange(2000) < 200, np.arange(2000) < 200)
        entropy = discriminator.train(first, np.ones(2000), second, held_out, 5, rng)
        assert entropy == pytest.approx(math.log(2), abs=0.01)
        assert entropy <= math.log(2) + 1e-6
        assert np.abs(np.log(discriminator.ratio(second))).mean() < 0.15
        assert discriminator.ratio(second[:0]).shape == (0,)

    @pytest.mark.physics
    def test_signed_weights(self):
        """Two thirds N(1, 1) with weight +1, one third N(0, 1) with -1: the signed density is 2 N(1, 1) - N(0, 1)."""
        rng = np.random.default_rng(3)
        n = 12_000
        negative = rng.random(n) < 1 / 3
        true = (np.where(negative, 0.0, 1.0) + rng.standard_normal(n))[:, None]
        made = 1 + 1.2 * rng.standard_normal((n, 1))
        discriminator = Discriminator.make(true, rng)
        held_out = (rng.random(n) < 0.1, rng.random(n) < 0.1)
        discriminator.train(true, np.where(negative, -1.0, 1.0), made, held_out, 10, rng)
        ratio = discriminator.ratio(made)
        # The mean of 2 N(1, 1) - N(0, 1) is 2, without the signs it would be 2/3, and 1 is that of what was made. A
        # network of bounded output does not reach the density of zero or less on the left.
        assert 1.5 < np.average(made[:, 0], weights=ratio) < 2.2


class TestCorrection:
    """y_jet depends on y_H^2, which no linear map undoes, and the generator learns nothing."""

    @pytest.fixture(scope="class")
    @staticmethod
    def bad(higgs, linear, frozen_generator):
        rng = np.random.default_rng(1)
        n = 5000
        y_higgs = rng.standard_normal(n)
        y = np.column_stack([0.9 * (y_higgs**2 - 1) / math.sqrt(2) + 0.44 * rng.standard_normal(n), np.zeros(n)])
        pt = np.column_stack([20 + rng.exponential(30, n), np.zeros(n)])
        events = higgs.build(y_higgs, y, pt, rng.uniform(-3, 3, (n, 2)), np.ones(n, int), rng)
        info = higgs.info.replace(processes=(dataclasses.replace(higgs.info.processes[1], cross_section=80.0),))
        generator = linear(
            events, info=info, generator=frozen_generator, discriminator_epochs=15, label_steps=1, mirrors=False
        )
        return generator, events

    def corrected(self, generator, correction):
        settings = generator.settings.model_copy(update={"correction": correction})
        return type(generator).from_state(settings, generator.state())

    @pytest.mark.physics
    def test_makes_a_bad_generator_better(self, bad, higgs):
        """Correlation of y_H^2 and y_jet: the truth's is 0.9, the generator's next to nothing; n events come."""
        generator, events = bad

        def correlation(batch):
            numbers = higgs.numbers(batch, 1)
            c = np.cov(numbers["y_higgs"] ** 2, numbers["y_jet"], aweights=numbers["weight"])
            return c[0, 1] / math.sqrt(c[0, 0] * c[1, 1])

        assert correlation(events) == pytest.approx(0.9, abs=0.03)
        found = {}
        for correction in ("none", "reweight", "unweight"):
            made = self.corrected(generator, correction).generate(6000, np.random.default_rng(3))
            assert len(made) == 6000
            found[correction] = correlation(made)
        assert abs(found["none"]) < 0.15
        assert found["reweight"] > 0.5
        assert found["unweight"] > 0.5

    @pytest.mark.parametrize("correction", ["reweight", "unweight"])
    def test_weights_average_to_the_cross_section(self, bad, correction):
        """No unit weights: their mean is the cross section within five errors, and 2 % for the discriminator."""
        generator = self.corrected(bad[0], correction)
        made = generator.generate(6000, np.random.default_rng(4))
        check_events(made, generator.run_info)
        assert generator.run_info.normalisation is WeightNormalisation.AVERAGE
        assert generator.run_info.cross_section == 80.0
        assert np.all(made.weight > 0)
        spread = made.weight.std() / math.sqrt(6000)
        assert made.weight.mean() == pytest.approx(80.0, abs=5 * spread + 0.02 * 80)

    def test_cross_entropy_is_reported(self, bad):
        assert bad[0].report.figures["cross_entropy_over_ln2"] < 0.9

    def test_too_few_events(self, higgs, linear):
        generator = linear(higgs.events(400, 1), discriminator_epochs=3, steps=5, label_steps=1)
        assert sum("too few for a discriminator" in remark for remark in generator.report.remarks) == 3
        settings = generator.settings.model_copy(update={"correction": "reweight"})
        loaded = type(generator).from_state(settings, generator.state())
        assert np.all(loaded.generate(20, np.random.default_rng(1)).weight == 1.0)
        assert loaded.run_info.weight_strategy == 3


@pytest.fixture(scope="module")
def everything(higgs, linear):
    """A generator with all that there is."""
    events = higgs.events(4500, 1)
    events = dataclasses.replace(events, variations={"plus": 1 + 0.4 * np.tanh(rapidity(events))})
    settings = {"up": "plus", "uncertainty": "bayesian", "members": 2, "discriminator_epochs": 1}
    info = higgs.info.replace(variations=(Variation("plus"),))
    return linear(events, info=info, correction="reweight", steps=60, label_steps=20, **settings)


class TestState:
    def test_gives_the_same_generator(self, everything):
        state = everything.state()
        again = type(everything).from_state(everything.settings, {name: a.copy() for name, a in state.items()})
        assert again.run_info == everything.run_info
        assert set(again.state()) == set(state)
        assert all(np.array_equal(array, again.state()[name], equal_nan=True) for name, array in state.items())
        first, second = (g.generate(400, np.random.default_rng(5)) for g in (everything, again))
        assert len(first.variations) == 4
        for name, values in first.variations.items():
            assert np.array_equal(values, second.variations[name])
        assert np.array_equal(first.weight, second.weight)
        assert all(np.array_equal(column, second.column(name)) for name, column in first.columns().items())
        assert np.array_equal(everything.log_density(first), again.log_density(first))

    def test_of_other_settings_is_refused(self, everything):
        with pytest.raises(ModelError, match="settings are"):
            LearnedGenerator.from_state.__func__(type(everything), object(), everything.state())

    @pytest.mark.parametrize("kind", ["missing", "axis", "longer", "empty", "scalar", "text"])
    def test_arrays_that_do_not_fit(self, everything, kind):
        """Each array in turn: an error in words, when the state is read or when the generator is used, or none."""
        state = everything.state()
        for name, array in state.items():
            # The three topologies have the same kinds of arrays.
            if name.startswith(("labels0", "topology0", "labels2", "topology2")):
                continue
            broken = {
                "missing": None,
                "axis": array[None],
                "longer": np.concatenate([array, array[-1:]]),
                "empty": array[:0],
                "scalar": np.array(0.0),
                "text": np.full(array.shape, "x"),
            }[kind]
            changed = {key: values for key, values in state.items() if key != name}
            if broken is not None:
                changed[name] = broken
            refused = False
            try:
                type(everything).from_state(everything.settings, changed).generate(5, np.random.default_rng(1))
            except ModelError:
                refused = True
            assert refused or kind != "missing", name

    def test_words_about_the_state_that_cannot_be(self, everything):
        state = everything.state()
        about = json.loads(state["about"].tobytes())
        for key in about:
            for value in (None, "x", -1, [], {}, [99], 1.5):
                if key == "discriminators" and value in ([], {}):
                    continue
                changed = np.frombuffer(json.dumps({**about, key: value}).encode(), np.uint8)
                if key == "weight" and isinstance(value, (int, float)):
                    continue
                if key == "extra" and value == 1.5:
                    continue
                with pytest.raises(ModelError):
                    type(everything).from_state(everything.settings, {**state, "about": changed})
        for text in (b"[1]", b"", b"{"):
            with pytest.raises(ModelError):
                type(everything).from_state(everything.settings, {**state, "about": np.frombuffer(text, np.uint8)})
