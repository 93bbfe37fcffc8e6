"""The network of event weights, against ratios in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mlgen.errors import ModelError, PluginError, TrainingError
from mlgen_unweighting.event_weight_network import EventWeightNetwork
from mlgen_unweighting.network_training import Points, mean_squared_error, train

SETTINGS = {
    "units": 32,
    "layers": 3,
    "steps": 600,
    "batch_size": 512,
    "learning_rate": 1e-2,
    "validation_share": 0.1,
    "device": "cpu",
}
FEW_STEPS = SETTINGS | {"units": 8, "layers": 2, "steps": 20}


def true_ratio(features):
    """Smooth, over about four decades for features of order one; the last feature does not matter."""
    x, y, z = features[:, :3].T
    return 1e3 * np.exp(1.5 * x + np.sin(2 * y) + 0.5 * z**2 + 0.5 * x * y)


def candidates(n, seed=1):
    """Features, crude weights that jump from point to point, and true weights."""
    rng = np.random.default_rng(seed)
    features = np.column_stack([rng.uniform(-1.7, 1.7, (n, 3)), np.full(n, 0.7)])
    weight = rng.exponential(size=n)
    return features, weight, weight * true_ratio(features)


def fitted(points, seed=2, settings=SETTINGS, **other):
    return EventWeightNetwork.fit(*points, np.random.default_rng(seed), **settings, **other)


@pytest.fixture(scope="module")
def trained():
    return fitted(candidates(10_000))


@pytest.fixture(scope="module")
def quick():
    return fitted(candidates(500), settings=FEW_STEPS)[0]


class TestAccuracy:
    def test_a_closed_form_over_four_decades_is_learned_to_one_percent(self, trained):
        """Root mean square, and nowhere more than 15 %; on points that it has not seen."""
        network, _ = trained
        features, _, _ = candidates(20_000, seed=3)
        expected = true_ratio(features)
        assert np.log10(expected.max() / expected.min()) > 4
        relative = network.ratio(features) / expected
        assert np.sqrt(np.mean((relative - 1) ** 2)) < 0.01
        assert np.abs(relative - 1).max() < 0.15

    def test_figures_are_those_of_the_second_stage(self, trained):
        """Of 1000 validation points, against 100,000 fresh ones that are chosen as the first stage does."""
        network, figures = trained
        features, weight, exact = candidates(100_000, seed=4)
        surrogate = weight * network.ratio(features)
        rng = np.random.default_rng(5)
        passed = rng.choice(len(weight), len(weight), p=surrogate / surrogate.sum())
        second = (exact / surrogate)[passed]
        assert figures["relative_spread"] == pytest.approx(second.std() / second.mean(), rel=0.3)
        expected = np.quantile(second, 0.999) / second.mean()
        assert figures["quantile_999"] - 1 == pytest.approx(expected - 1, rel=0.7)
        assert figures["quantile_999"] > 1 + 2 * figures["relative_spread"]
        assert (figures["training_points"], figures["validation_points"], figures["steps"]) == (9000, 1000, 600)
        assert 0 < figures["validation_loss"] < 1e-3

    def test_a_constant_ratio_is_constant(self):
        features, weight, _ = candidates(300)
        network, figures = fitted((features, weight, 3.5 * weight), settings=FEW_STEPS)
        np.testing.assert_allclose(network.ratio(candidates(50, seed=3)[0]), 3.5, rtol=1e-5)
        assert figures["relative_spread"] < 1e-5

    def test_a_factor_of_the_true_weights_is_one_of_the_ratios(self, quick):
        features, weight, exact = candidates(500)
        other, _ = fitted((features, weight, 1e250 * exact), settings=FEW_STEPS)
        np.testing.assert_allclose(other.ratio(features), 1e250 * quick.ratio(features), rtol=1e-4)


class TestTraining:
    def test_the_error_counts_each_point_as_often_as_its_importance_says(self):
        target, importance = torch.tensor([1.0, 3.0, -2.0]), torch.tensor([1.0, 2.0, 5.0])
        points = Points(torch.zeros(3, 1), target, importance)
        error = mean_squared_error(lambda inputs: inputs[:, 0] + 1, points)
        repeated = np.repeat([1.0, 3.0, -2.0], [1, 2, 5])
        assert float(error) == pytest.approx(np.mean((repeated - 1) ** 2))

    def test_the_best_parameters_are_kept(self):
        """What is learned is not what is validated, so that the loss rises in the end."""
        x = torch.linspace(-1, 1, 200)[:, None]
        one = torch.ones(200)
        training, validation = Points(x, 3 * x[:, 0], one), Points(x, x[:, 0], one)
        network = Slope()
        told = []
        best = train(
            network,
            training,
            validation,
            np.random.default_rng(1),
            steps=100,
            batch_size=50,
            learning_rate=0.2,
            told=lambda step, loss: told.append(loss),
        )
        assert best == min(told) < 0.1 * told[-1]
        with torch.no_grad():
            assert float(mean_squared_error(network, validation)) == best


class Slope(torch.nn.Module):
    """A straight line through zero, flat at first."""

    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.zeros(1, 1))

    def forward(self, inputs):
        return (inputs @ self.slope)[:, 0]


class TestRepeatability:
    def test_a_seed_gives_the_same_network_whatever_state_torch_is_in(self, quick):
        torch.manual_seed(99)
        before = torch.random.get_rng_state()
        again, _ = fitted(candidates(500), settings=FEW_STEPS)
        assert torch.equal(torch.random.get_rng_state(), before)
        assert quick.state().keys() == again.state().keys()
        for name, array in quick.state().items():
            np.testing.assert_array_equal(array, again.state()[name])

    def test_another_seed_gives_another_network(self, quick):
        features = candidates(10)[0]
        other, _ = fitted(candidates(500), seed=3, settings=FEW_STEPS)
        assert np.all(quick.ratio(features) != other.ratio(features))

    def test_it_does_not_change_what_it_is_given(self):
        points = candidates(500)
        fitted(points, settings=FEW_STEPS)
        for given, fresh in zip(points, candidates(500), strict=True):
            np.testing.assert_array_equal(given, fresh)

    def test_progress_ends_with_all_steps(self):
        told = []
        fitted(candidates(500), settings=FEW_STEPS, progress=told.append)
        assert (told[-1].done, told[-1].total, told[-1].figure) == (20, 20, "loss")
        assert np.isfinite(told[-1].value)


class TestState:
    def test_predictions_are_the_same_to_the_last_bit(self, trained, tmp_path):
        network, _ = trained
        np.savez(tmp_path / "state.npz", **network.state())
        torch.manual_seed(99)
        before = torch.random.get_rng_state()
        with np.load(tmp_path / "state.npz", allow_pickle=False) as state:
            again = EventWeightNetwork.from_state(dict(state))
        assert torch.equal(torch.random.get_rng_state(), before)
        features = candidates(40_000, seed=3)[0]
        np.testing.assert_array_equal(again.ratio(features), network.ratio(features))
        for name, array in network.state().items():
            assert array.dtype == again.state()[name].dtype

    @pytest.mark.parametrize("layers", [1, 2, 4])
    def test_any_number_of_layers(self, layers):
        network, _ = fitted(candidates(200), settings=FEW_STEPS | {"layers": layers})
        features = candidates(100, seed=3)[0]
        again = EventWeightNetwork.from_state(network.state())
        np.testing.assert_array_equal(again.ratio(features), network.ratio(features))

    def test_a_state_is_a_copy(self, quick):
        features = candidates(10)[0]
        before = quick.ratio(features)
        state = quick.state()
        again = EventWeightNetwork.from_state(state)
        for array in state.values():
            array[...] = 0
        np.testing.assert_array_equal(quick.ratio(features), before)
        np.testing.assert_array_equal(again.ratio(features), before)

    def test_each_array_is_needed_in_its_shape_and_finite(self, quick):
        state = quick.state()
        for name, array in state.items():
            with pytest.raises(ModelError, match=name.replace(".", r"\.")):
                EventWeightNetwork.from_state({other: state[other] for other in state if other != name})
            with pytest.raises(ModelError, match=r"shape|none of"):
                EventWeightNetwork.from_state(state | {name: np.zeros((*array.shape, 2))})
            broken = array.copy()
            broken.flat[-1] = np.nan
            with pytest.raises(ModelError, match=rf"'{name}'.*not finite"):
                EventWeightNetwork.from_state(state | {name: broken})

    @pytest.mark.parametrize(
        ("other", "says"),
        [
            ({"further": np.zeros(3)}, "further"),
            ({"hidden.7.weight": np.zeros((8, 8))}, r"hidden\.7"),
            ({"first.weight": np.zeros((0, 4))}, "shape"),
            ({"log_range": np.array([2.0, 1.0])}, "no range"),
            ({"log_range": np.array([0.0, 1e4])}, "no range"),
        ],
    )
    def test_other_arrays_are_refused(self, quick, other, says):
        with pytest.raises(ModelError, match=says):
            EventWeightNetwork.from_state(quick.state() | other)


class TestRange:
    def test_far_outside_ratios_stay_where_they_were(self, trained):
        network, _ = trained
        seen = np.log(true_ratio(candidates(10_000)[0]))
        margin = 0.05 * np.ptp(seen)
        far = 1e6 * np.random.default_rng(1).standard_normal((1000, 4))
        for features in (far, 1e200 * far):
            ratio = network.ratio(features)
            assert ratio.min() >= np.exp(seen.min() - margin)
            assert ratio.max() <= np.exp(seen.max() + margin)

    def test_the_largest_ratios_are_not_cut(self, trained):
        network, _ = trained
        features = np.array([[1.69, 0.9, 1.69, 0.7]])
        assert network.ratio(features) == pytest.approx(true_ratio(features), rel=0.1)

    def test_ratios_beyond_what_a_number_holds_are_finite(self):
        features, _, _ = candidates(200)
        weight, exact = np.full(200, 1e-250), np.exp(500 + 100 * features[:, 0])
        network, _ = fitted((features, weight, exact), settings=FEW_STEPS)
        ratio = network.ratio(features)
        assert np.all(np.isfinite(ratio))
        assert np.all(ratio > 0)

    def test_no_points(self, quick):
        assert quick.ratio(np.zeros((0, 4))).shape == (0,)

    def test_more_points_than_are_evaluated_at_a_time(self, quick):
        features = candidates(70_000, seed=3)[0]
        parts = [quick.ratio(part) for part in np.split(features, 7)]
        np.testing.assert_allclose(quick.ratio(features), np.concatenate(parts), rtol=1e-4)


class TestUnusablePoints:
    def test_they_are_left_out(self, quick):
        """A hundred each of three kinds, in between: the network is that of the others."""
        features, weight, exact = candidates(500)
        features, weight, exact = np.repeat(features, 2, axis=0), np.repeat(weight, 2), np.repeat(exact, 2)
        weight[1:600:6], weight[3:600:6], exact[5::6] = 0, -1e9, 0
        weight[601::2], features[1::2] = 0, 1e9
        network, figures = fitted((features, weight, exact), settings=FEW_STEPS)
        assert figures["training_points"] + figures["validation_points"] == 500
        points = candidates(100, seed=3)[0]
        np.testing.assert_array_equal(network.ratio(points), quick.ratio(points))

    def test_the_sign_of_the_true_weight_does_not_matter(self, quick):
        features, weight, exact = candidates(500)
        network, _ = fitted((features, weight, exact * np.where(np.arange(500) % 3, 1, -1)), settings=FEW_STEPS)
        np.testing.assert_array_equal(network.ratio(features), quick.ratio(features))


class TestErrors:
    @pytest.mark.parametrize("unusable", ["weight", "exact"])
    def test_too_few_points(self, unusable):
        features, weight, exact = candidates(300)
        {"weight": weight, "exact": exact}[unusable][99:] = 0
        with pytest.raises(TrainingError, match="99 of 300 points"):
            fitted((features, weight, exact), settings=FEW_STEPS)

    def test_a_hundred_points_are_enough(self):
        _, figures = fitted(candidates(100), settings=FEW_STEPS | {"batch_size": 1000})
        assert figures["training_points"] == 90

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize(("which", "what"), [(0, "feature"), (1, "crude weight"), (2, "true weight")])
    def test_the_first_number_that_is_not_finite_is_named(self, which, what, value):
        points = candidates(200)
        points[which][16] = value
        for later in points:
            later[50:] = np.nan
        with pytest.raises(TrainingError, match=f"point 17 has a {what}"):
            fitted(points, settings=FEW_STEPS)

    @pytest.mark.parametrize(
        "shapes",
        [
            ((200,), (200,), (200,)),
            ((200, 3), (199,), (200,)),
            ((200, 3), (200,), (200, 1)),
            ((200, 0), (200,), (200,)),
        ],
    )
    def test_wrong_shapes(self, shapes):
        with pytest.raises(TrainingError, match="shapes"):
            fitted(tuple(np.ones(shape) for shape in shapes), settings=FEW_STEPS)

    @pytest.mark.parametrize("shape", [(5, 3), (4,), (2, 4, 1)])
    def test_features_of_another_shape(self, quick, shape):
        with pytest.raises(PluginError, match="shape"):
            quick.ratio(np.zeros(shape))

    def test_features_that_are_not_finite(self, quick):
        features = np.zeros((5, 4))
        features[2, 1] = np.nan
        with pytest.raises(PluginError, match="point 3"):
            quick.ratio(features)

    def test_a_device_that_is_not_there(self):
        with pytest.raises(TrainingError, match="cuda"):
            fitted(candidates(200), settings=FEW_STEPS | {"device": "cuda:99"})

    def test_a_training_that_diverges(self):
        with pytest.raises(TrainingError, match="learning_rate"):
            fitted(candidates(500), settings=FEW_STEPS | {"learning_rate": 1e30})
