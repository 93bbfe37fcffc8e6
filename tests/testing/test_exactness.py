"""The kit's proof that an unweighting is exact: it passes correct ones, and fails each way of being a little wrong."""

from __future__ import annotations

import unittest
from typing import Any, ClassVar

import numpy as np
import pytest

from mlgen.errors import ModelError, TrainingError, WeightError
from mlgen.stages import (
    Capability,
    Exactness,
    Progress,
    Settings,
    TrainingReport,
    Unweighted,
    Unweighter,
    UnweightingReport,
    no_progress,
)
from mlgen.testing import UnweighterTests
from mlgen.testing.known_process import DISTRIBUTIONS, bins, partonic_cross_section, points, true_contents
from mlgen.testing.known_surrogates import SURROGATES


def largest_with_share(size, number, share):
    """Largest size above which no more than a share of the sum lies; of each there are `number`."""
    order = np.argsort(size)[::-1]
    size, number = size[order], np.broadcast_to(number, size.shape)[order]
    excess = np.cumsum(number * size) - np.cumsum(number) * size
    return size[max(np.searchsorted(excess, share * np.sum(number * size)) - 1, 0)]


def finite(weight):
    if np.ndim(weight) != 1 or not np.all(np.isfinite(weight)):
        raise WeightError("finite weights (n,) are expected")
    return weight


class ToySettings(Settings):
    overweight_share: float = 0.03
    floor: float = 0.2


class TwoStage(Unweighter):
    """The textbook: Danziger et al., arXiv:2109.11964, with a floor. The hooks in it are what can be done wrong."""

    arrays: ClassVar[dict[str, tuple[int, ...]]] = {"maxima": (3,), "unit": ()}

    def __init__(self, settings):
        super().__init__(settings)
        self.known: dict[str, Any] = {}
        self.start()

    def start(self):
        self.candidates, self.asked, self.seen = 0, 0, 0
        # Number, negative ones, sum and sum of squares of the accepted weights.
        self.sums = np.zeros(4)
        # Number of overweights, sum of their excess and of all new weights, largest ratio to the maximum.
        self.overweights, self.excess, self.sizes, self.largest = 0, 0.0, 0.0, 0.0
        self.exact = True

    def state(self):
        return self.known

    @classmethod
    def from_state(cls, settings, state):
        made = cls(settings)
        shapes = {name: np.shape(array) for name, array in state.items()}
        # Nothing, what is known after the training, or all.
        if shapes not in ({}, dict(list(cls.arrays.items())[:-2]), dict(cls.arrays)):
            raise ModelError(f"arrays of shape {cls.arrays} are expected")
        made.known = {name: np.array(array) for name, array in state.items()}
        return made

    # What can be done wrong.
    def said(self, batch):
        return finite(batch.weight)

    def passes(self, said, least):
        return np.ones(len(said), bool)

    def ask(self, batch, index):
        self.asked += len(index)
        return finite(batch.weight[index] if batch.exact_weight is None else batch.exact_weight(index))

    def first_excess(self, ratio):
        return np.maximum(ratio, 1)

    def second_excess(self, ratio):
        return np.maximum(ratio, 1)

    def prepare(self, candidates):
        self.start()
        candidates = list(candidates)
        self.exact = all(batch.exact_weight is None for batch in candidates)
        seen = [(self.said(batch), self.ask(batch, np.arange(len(batch.weight)))) for batch in candidates]
        if not any(np.any(exact) for _, exact in seen):
            raise WeightError("no candidate has a weight")
        said, exact = (np.concatenate(part) for part in zip(*seen, strict=True))
        self.seen = len(exact)
        least = self.settings.floor * np.mean(np.abs(said))
        size = np.maximum(np.abs(said), least)
        first = largest_with_share(size, 1.0, self.settings.overweight_share)
        ratio = np.abs(exact) / size
        second = largest_with_share(ratio, size, self.settings.overweight_share)
        accepted = np.minimum(size / first, 1) * np.minimum(ratio / second, 1)
        self.known |= {"maxima": np.array([least, first, second]), "unit": np.asarray(first * second * accepted.mean())}

    def unweight(self, candidates, rng):
        if "maxima" not in self.known:
            raise WeightError("prepare() comes first")
        least, first, second = self.known["maxima"]
        said = self.said(candidates)
        size = np.maximum(np.abs(said), least)
        index = np.flatnonzero((rng.random(len(said)) < size / first) & self.passes(said, least))
        exact = self.ask(candidates, index) if len(index) else np.empty(0)
        ratio = np.abs(exact) / size[index] / second
        accepted = rng.random(len(index)) < ratio
        weight = self.first_excess(size[index] / first) * self.second_excess(ratio) * np.sign(exact)
        new = weight[accepted] * float(self.known["unit"])
        self.candidates += len(said)
        self.sums += len(new), np.sum(new < 0), np.sum(new), np.sum(new**2)
        ratio = np.abs(exact[accepted]) / (first * second)
        self.overweights += int(np.count_nonzero(ratio > 1))
        self.excess += float(np.sum(np.abs(new) * np.maximum(0.0, 1 - 1 / ratio)))
        self.sizes += float(np.sum(np.abs(new)))
        self.largest = max(self.largest, float(ratio.max(initial=0.0)))
        return Unweighted(index[accepted], new)

    def normalisation(self):
        """The share that was accepted, in units of what was expected."""
        if self.exact:
            return 1.0
        _, first, second = self.known["maxima"]
        return float(first * second * self.sums[0] / self.candidates / self.known["unit"])

    def report(self):
        accepted, negative, total, squares = self.sums
        return UnweightingReport(
            candidates=self.candidates,
            accepted=int(accepted),
            efficiency=accepted / max(self.candidates, 1),
            maximum_weight=float(np.prod(self.known["maxima"][1:])),
            overweight_events=self.overweights,
            overweight_share=self.excess / self.sizes if accepted else 0.0,
            largest_overweight=self.largest,
            negative_fraction=negative / max(accepted, 1),
            effective_sample_size=total**2 / squares if accepted else 0.0,
            true_evaluations=self.evaluations(),
        )

    def evaluations(self):
        return self.asked


class Learning(TwoStage):
    """The same with a surrogate of its own: the given one times a number that is learned."""

    arrays: ClassVar = {"factor": (), "maxima": (3,), "unit": ()}

    @property
    def learns(self):
        return "factor" not in self.known

    def train(self, candidates, rng, progress=no_progress):
        batch = next(iter(candidates))
        if batch.features is None:
            raise TrainingError("there are no features")
        some = batch.weight != 0
        ratio = batch.all_exact()[some] / batch.weight[some]
        self.known = {"factor": np.asarray(np.clip(np.mean(ratio), 0.1, 10))}
        progress(Progress(1, 1))
        return TrainingReport({"ratio": float(np.mean(ratio))})

    def said(self, batch):
        if self.learns:
            raise ModelError("train() comes first")
        return super().said(batch) * float(self.known["factor"])


class HitOrMiss(TwoStage):
    """Plain hit-or-miss on the true weights: the second stage is all."""

    def said(self, batch):
        self.asked += len(batch.weight)
        return np.ones(len(finite(batch.all_exact())))

    def normalisation(self):
        return 1.0


CORRECTS = frozenset({Capability.CORRECTS_SURROGATES})


class TestHitOrMiss(UnweighterTests):
    def make(self):
        return HitOrMiss(ToySettings())


class TestTwoStage(UnweighterTests):
    capabilities = CORRECTS

    def make(self):
        return TwoStage(ToySettings())


class TestLearning(UnweighterTests):
    capabilities = CORRECTS

    def make(self):
        return Learning(ToySettings())


def kit_for(toy: type[Unweighter], **settings: float) -> Any:
    return type("Kit", (UnweighterTests,), {"make": lambda self: toy(ToySettings(**settings))})()


class NoFirstExcess(TwoStage):
    def first_excess(self, ratio):
        return np.ones(len(ratio))


class NoSecondExcess(TwoStage):
    def second_excess(self, ratio):
        return np.ones(len(ratio))


class NoExcess(HitOrMiss):
    second_excess = NoSecondExcess.second_excess


class SkipsZero(TwoStage):
    def passes(self, said, least):
        return said != 0


class SkipsNegative(TwoStage):
    def passes(self, said, least):
        return said >= 0


class SkipsSmall(TwoStage):
    def passes(self, said, least):
        return np.abs(said) > 1e-3 * least


class NeverAsks(TwoStage):
    def ask(self, batch, index):
        return batch.weight[index]


class NotNormalised(TwoStage):
    def normalisation(self):
        return 1.02 * super().normalisation()


class AsksOutside(TwoStage):
    def ask(self, batch, index):
        return super().ask(batch, index + 1)


class CountsOnePass(TwoStage):
    def evaluations(self):
        return self.seen


class NoNormalisation(TwoStage):
    def normalisation(self):
        return float("nan")


# What is wrong, the share of overweights that it aims at, the test and the surrogate that notice it, and its words.
WRONG = [
    (NoExcess, 0.03, "exact", "none", "excess of overweights"),
    (NoExcess, 0.03, "exact", "wrong", "excess of overweights"),
    (NoFirstExcess, 0.03, "exact", "good", "excess of overweights"),
    (NoSecondExcess, 0.03, "exact", "wrong", "excess of overweights"),
    # With few overweights, as plugins like to have it: only where the first pass did not see the heaviest candidates.
    (NoExcess, 0.001, "exact_with_overweights", "none", "excess of overweights"),
    (NoFirstExcess, 0.001, "exact_with_overweights", "good", "excess of overweights"),
    (NoFirstExcess, 0.001, "exact_with_overweights", "bad", "excess of overweights"),
    (NoSecondExcess, 0.001, "exact_with_overweights", "bad", "excess of overweights"),
    (SkipsZero, 0.001, "exact", "wrong", "rapidity of the pair above 2.3': 0 +- 0 pb"),
    (SkipsZero, 0.03, "exact_with_overweights", "wrong", "rapidity of the pair above 2.3': 0 +- 0 of"),
    (SkipsNegative, 0.03, "exact", "wrong", "mass of the pair in GeV above 105"),
    (SkipsSmall, 0.03, "exact", "wrong", "0 +- 0 pb"),
    (NeverAsks, 0.03, "exact", "bad", "does exact_weight decide"),
    (NeverAsks, 0.03, "exact", "wrong", "is expected"),
    (NotNormalised, 0.03, "exact", "good", "'cross section'"),
    (NoNormalisation, 0.03, "exact", "good", "positive and finite"),
    (AsksOutside, 0.03, "exact", "good", "must point at candidates"),
]


@pytest.mark.parametrize(
    ("toy", "share", "test", "surrogate", "words"), WRONG, ids=[f"{w[0].__name__}-{w[1]}-{w[2]}-{w[3]}" for w in WRONG]
)
def test_a_wrong_unweighting_fails(toy, share, test, surrogate, words):
    kit = kit_for(toy, overweight_share=share)
    with pytest.raises(AssertionError) as failure:
        getattr(kit, f"test_{test}")(surrogate)
    assert words in str(failure.value)


def test_true_weights_of_one_pass_that_are_not_counted_are_noticed():
    with pytest.raises(AssertionError, match="true_evaluations"):
        kit_for(CountsOnePass).test_true_evaluations_are_counted()


def test_a_factor_where_all_weights_are_known_is_noticed():
    with pytest.raises(AssertionError, match="it is 1 where all true weights are known"):
        kit_for(NotNormalised).test_normalisation_is_one_where_all_true_weights_are_known()


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_correct_ones_pass_with_few_overweights_too(surrogate):
    for toy in (HitOrMiss, TwoStage):
        kit = kit_for(toy, overweight_share=0.001)
        kit.test_exact(surrogate)
        kit.test_exact_with_overweights(surrogate)


def test_one_that_does_not_say_exact_is_not_tested():
    kit = kit_for(NeverAsks)
    type(kit).exactness, type(kit).capabilities = Exactness.APPROXIMATE, frozenset()
    with pytest.raises(unittest.SkipTest):
        kit.test_exact("wrong")


@pytest.mark.physics
class TestKnownProcess:
    def test_matrix_element_is_that_of_helicity_amplitudes(self):
        # |M(LL, LR)|^2 = s^2 (1 +- c)^2 |e^2 Q Q' / s + g g' / (s - M^2 + i M Gamma)|^2 for each pair of helicities,
        # averaged over spins and colours; d sigma / dc = |M|^2 / (32 pi s). Peskin and Schroeder, sec. 5.2 and 20.2.
        mass, cosine = np.array([60.0, 85.0, 91.1876, 120.0]), np.array([-0.9, 0.1, 0.3, 0.7])
        s, sin2, e2 = mass**2, 0.2312, 4 * np.pi / 128
        coupling = {
            (charge, isospin): np.sqrt(e2 / sin2 / (1 - sin2)) * (isospin - charge * sin2)
            for charge, isospin in ((2 / 3, 0.5), (2 / 3, 0.0), (-1.0, -0.5), (-1.0, 0.0))
        }
        squared = np.zeros(4)
        for quark in ((2 / 3, 0.5), (2 / 3, 0.0)):
            for muon in ((-1.0, -0.5), (-1.0, 0.0)):
                alike = (quark[1] != 0) == (muon[1] != 0)
                amplitude = e2 * quark[0] * muon[0] / s + coupling[quark] * coupling[muon] / (
                    s - 91.1876**2 + 2.4952j * 91.1876
                )
                squared += s**2 * (1 + cosine if alike else 1 - cosine) ** 2 * np.abs(amplitude) ** 2
        expected = squared / 4 / 3 / (32 * np.pi * s) * 3.893793721e8
        np.testing.assert_allclose(partonic_cross_section(mass, cosine), expected, rtol=1e-12)

    def test_quadrature_has_converged(self):
        finer = true_contents(32)
        total = sum(finer["cos theta"])
        for name, contents in true_contents().items():
            np.testing.assert_allclose(contents, finer[name], atol=1e-4 * total)

    def test_quadrature_agrees_with_a_monte_carlo(self):
        # 5 standard errors for each of 59 bins: exceeded by chance with a probability of 3e-5.
        n = 400_000
        mass, rapidity, cosine, weight = points(np.random.default_rng(1).random((n, 3)))
        columns = bins(mass, rapidity, cosine)
        for column, (name, contents) in zip(columns.T, true_contents().items(), strict=True):
            found, squares = (np.bincount(column, w, minlength=len(contents)) / n for w in (weight, weight**2))
            error = np.sqrt((squares - found**2) / n)
            assert np.all(np.abs(found - contents) < 5 * error), name

    def test_all_bins_of_a_distribution_are_the_cross_section(self):
        totals = [contents.sum() for contents in true_contents().values()]
        np.testing.assert_allclose(totals, totals[0], rtol=1e-12)
        assert len(DISTRIBUTIONS) == 10
