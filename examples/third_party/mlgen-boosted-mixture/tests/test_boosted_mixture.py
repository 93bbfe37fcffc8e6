"""What the kit cannot know: the density is one, trees are scikit-learn's, weights count, torch is not needed."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from mlgen.errors import TrainingError
from mlgen.stages import Progress
from mlgen.testing import drell_yan_events
from sklearn.ensemble import GradientBoostingClassifier

from boosted_mixture.fitting import fit_mixture, fit_trees
from boosted_mixture.generator import BoostedMixture
from boosted_mixture.mixture import Mixture
from boosted_mixture.plugin import BoostedMixtureSettings

QUICK = BoostedMixtureSettings(components=4, iterations=20, trees=10, depth=3)


def rng(seed=1):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def trained():
    generator = BoostedMixture(QUICK)
    events, run_info = drell_yan_events(3000, rng())
    generator.train([events], run_info, rng(2))
    return generator


class TestMixture:
    @pytest.fixture
    def mixture(self):
        root = np.array([[[1.0, 0.0], [0.6, 0.5]], [[0.3, 0.0], [0.0, 2.0]]])
        labels = np.array([[0, 0, 0], [1, 0, 1]])
        return Mixture(
            np.array([0.3, 0.7]), np.array([[0.0, 1.0], [2.0, -1.0]]), root, labels, np.array([[0.2, 0.8], [1.0, 0.0]])
        )

    def test_density_integrates_to_one(self, mixture):
        x = np.linspace(-14, 14, 561)
        grid = np.stack(np.meshgrid(x, x), axis=-1).reshape(-1, 2)
        total = sum(
            np.exp(mixture.log_density(grid, np.full(len(grid), label))).sum() * (x[1] - x[0]) ** 2 for label in (0, 1)
        )
        assert total == pytest.approx(1, abs=1e-6)

    def test_sample_has_the_moments_of_the_formula(self, mixture):
        points, label = mixture.sample(200_000, rng())
        assert np.mean(label == 1) == pytest.approx(0.3 * 0.8, abs=5 * np.sqrt(0.24 * 0.76 / 200_000))
        mean = np.array([0.7 * 2.0, 0.3 * 1.0 - 0.7 * 1.0])
        assert points.mean(axis=0) == pytest.approx(mean, abs=0.02)
        # All of the second label is the first component, whose covariance is 0.6.
        assert np.cov(points[label == 1].T)[0, 1] == pytest.approx(0.6, abs=0.02)

    def test_expectation_maximisation_finds_a_known_mixture(self, mixture):
        points, label = mixture.sample(20_000, rng())
        settings = QUICK.model_copy(update={"components": 2, "iterations": 200})
        found, likelihood = fit_mixture(points, mixture.labels[label], np.ones(20_000), settings, rng())
        order = np.argsort(found.weight)
        assert found.weight[order] == pytest.approx(mixture.weight, abs=0.03)
        assert found.mean[order] == pytest.approx(mixture.mean, abs=0.1)
        assert found.root[order] == pytest.approx(mixture.root, abs=0.1)
        assert found.probability[order] == pytest.approx(mixture.probability, abs=0.05)
        assert np.all(np.diff(likelihood) > -1e-3)
        assert likelihood[-1] == pytest.approx(mixture.log_density(points, label).mean(), abs=0.01)

    def test_weights_count(self):
        points, labels = rng().standard_normal((4000, 1)), np.zeros((4000, 3), np.int64)
        points[:2000] += 6
        weight = np.r_[np.full(2000, 3.0), np.full(2000, 1.0)]
        made = fit_mixture(points, labels, weight, QUICK, rng())[0].sample(100_000, rng())[0]
        assert np.mean(made > 3) == pytest.approx(0.75, abs=0.01)


def test_trees_are_those_of_scikit_learn():
    true, made = rng(1).normal(0.3, 1, (2000, 3)), rng(2).normal(0, 1, (3000, 3))
    weight = rng(4).uniform(0.5, 1.5, 2000)
    kept = []
    original = GradientBoostingClassifier.fit

    def fit(self, *arguments, **named):
        kept.append(self)
        return original(self, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GradientBoostingClassifier, "fit", fit)
        trees, curve = fit_trees(true, weight, made, QUICK, rng(), lambda step, entropy: None)
    expected = kept[0].decision_function(np.concatenate([true, made]).astype(np.float32))
    assert trees(np.concatenate([true, made])) == pytest.approx(expected, abs=1e-12)
    assert curve[-1] < curve[0]


def test_trees_learn_a_ratio_of_densities():
    # exp(-x^2 / 2) / exp(-(x - 1)^2 / 2) = exp(1/2 - x), whatever the numbers of events.
    settings = BoostedMixtureSettings(trees=100, depth=2)
    trees, _ = fit_trees(
        rng(1).normal(0, 1, (20_000, 1)),
        np.full(20_000, 7.0),
        rng(2).normal(1, 1, (40_000, 1)),
        settings,
        rng(3),
        lambda step, entropy: None,
    )
    x = np.linspace(-0.5, 1.5, 41)
    assert np.abs(trees(x[:, None]) - (0.5 - x)).mean() < 0.1


@pytest.mark.parametrize("trees", [0, 10])
def test_density_sums_to_one(trees):
    """Over the events that can be: the mean of its ratio to the plain mixture, over what that proposes."""
    generator = BoostedMixture(QUICK.model_copy(update={"trees": trees, "largest_ratio": 3.0}))
    events, run_info = drell_yan_events(3000, rng())
    generator.train([events], run_info, rng(2))
    for one in generator.learned:
        made = one.candidates(20_000, rng(3))
        ratio = np.exp(one.log_density(made.points, made.label) - one.mixture.log_density(made.points, made.label))
        values = ratio[made.events.possible]
        error = values.std() / np.sqrt(len(values))
        assert values.sum() / 20_000 == pytest.approx(1, abs=5 * error + 0.01)


def test_labels_have_the_frequencies_of_the_training(trained):
    events = drell_yan_events(3000, rng())[0]
    made = trained.generate(20_000, rng(4))
    for kind in (1, -1, 2, -2):
        expected, found = (
            np.mean((batch.column("pdg_id") == kind) & (batch.column("status") == -1)) for batch in (events, made)
        )
        assert found == pytest.approx(expected, rel=0.15)


def test_negative_weights_are_refused_in_words():
    events, run_info = drell_yan_events(1000, rng())
    weight = events.weight.copy()
    weight[::10] *= -1
    with pytest.raises(TrainingError, match=r"100 of 1000 events have negative weights.*mlgen plugins"):
        BoostedMixture(QUICK).train([dataclasses.replace(events, weight=weight)], run_info, rng())


def test_events_without_a_weight_are_not_learned():
    events, run_info = drell_yan_events(2000, rng())
    weight = np.where(events.counts == 6, 0.0, events.weight)
    generator = BoostedMixture(QUICK)
    generator.train([dataclasses.replace(events, weight=weight)], run_info, rng())
    assert set(generator.generate(500, rng()).counts) == {5}


def test_too_few_events_are_refused_in_words():
    events, run_info = drell_yan_events(300, rng())
    with pytest.raises(TrainingError, match="there are 300 events to learn from; at least 500 are needed"):
        BoostedMixture(QUICK).train([events], run_info, rng())


def test_progress_tells_the_cross_entropy():
    events, run_info = drell_yan_events(1000, rng())
    told: list[Progress] = []
    BoostedMixture(QUICK).train([events], run_info, rng(), told.append)
    assert any(step.figure == "cross entropy" and 0 < step.value < 2 for step in told)


def test_neither_torch_nor_pickle_is_needed():
    """Training, saving, loading, generating and densities, where torch cannot be imported."""
    program = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("no torch here")
sys.meta_path.insert(0, NoTorch())
import numpy as np
from boosted_mixture.generator import BoostedMixture
from boosted_mixture.plugin import BoostedMixtureSettings
from mlgen.store import state_from_bytes, state_to_bytes
from mlgen.testing.samples import drell_yan_events
settings = BoostedMixtureSettings(components=2, trees=2)
generator = BoostedMixture(settings)
events, run_info = drell_yan_events(600, np.random.default_rng(1))
generator.train([events], run_info, np.random.default_rng(2))
loaded = BoostedMixture.from_state(settings, state_from_bytes(state_to_bytes(generator.state())))
made = loaded.generate(10, np.random.default_rng(3))
assert np.isfinite(loaded.log_density(made)).all()
assert all(array.dtype.kind in "fiub" for array in generator.state().values())
"""
    subprocess.run([sys.executable, "-c", program], check=True)
