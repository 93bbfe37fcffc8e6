"""Probabilities of labels, against distributions in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from mlgen.errors import ModelError, TrainingError
from mlgen.generation.label_network import LabelNetwork
from mlgen.threads import one_thread

SIZE = {"width": 24, "depth": 1}
#: Three conditions: labels 0 and 1, the same the other way round, and label 2 alone. Label 3 never occurs.
ALLOWED = np.array([[True, True, False, False], [True, True, False, False], [False, False, True, False]])
FEATURES = np.eye(3, dtype=np.float32)
SIGN = np.array([1.0, -1.0, 0.0])


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def train(x, label, condition=None, weight=None, *, allowed=ALLOWED, features=FEATURES, steps=600, seed=1):
    return LabelNetwork.train(
        x,
        label,
        np.ones(len(x)) if weight is None else weight,
        allowed,
        np.zeros(len(x), np.int64) if condition is None else condition,
        features,
        **SIZE,
        steps=steps,
        batch_size=512,
        learning_rate=3e-3,
        rng=np.random.default_rng(seed),
        report=lambda step, loss: None,
    )


def gaussians(n, seed):
    """Two Gaussians of unit width around (-0.8, 0) and (0.8, 0), a quarter of the events in the second.

    By Bayes' theorem p(1 | x) = sigmoid(1.6 x_0 - log 3); the second condition has the mirror image.
    """
    rng = np.random.default_rng(seed)
    condition = rng.integers(0, 3, n)
    label = np.where(condition == 2, 2, rng.random(n) < 0.25)
    x = rng.standard_normal((n, 2))
    x[:, 0] += np.where(label == 2, 0.0, SIGN[condition] * 0.8 * (2 * label - 1))
    return x, label, condition


def truth(x, condition):
    return sigmoid(1.6 * SIGN[condition] * x[:, 0] - np.log(3))


@pytest.fixture(scope="module")
def learned():
    with one_thread():
        return train(*gaussians(30_000, 1))


def test_two_gaussians(learned):
    """The mean error of the probability is below 0.02, the largest within two widths of the origin below 0.1.

    A logistic regression with its three parameters would be off by 0.006 after the 9,000 events of each condition; the
    frequencies, without x, by more than 0.15.
    """
    x, _, condition = gaussians(20_000, 2)
    probability = np.exp(learned.log_probability(x, condition))
    assert np.allclose(probability.sum(axis=1), 1.0, atol=1e-12)
    choice = condition < 2
    error = np.abs(probability[:, 1] - truth(x, condition))[choice]
    assert error.mean() < 0.02
    assert error[np.abs(x[choice]).max(axis=1) < 2].max() < 0.1
    assert np.abs(0.25 - truth(x, condition))[choice].mean() > 0.15
    assert (probability[~choice] == [0, 0, 1, 0]).all()


def test_what_is_not_allowed_is_never_drawn(learned):
    x, _, condition = gaussians(20_000, 3)
    drawn = learned.draw(x, condition, np.random.default_rng(4))
    assert ALLOWED[condition, drawn].all()
    assert (np.isneginf(learned.log_probability(x, condition)) == ~ALLOWED[condition]).all()
    # Not even by uniform numbers at the ends of their range.
    for value in (0.0, np.nextafter(1.0, 0.0)):

        class Always(np.random.Generator):
            def random(self, size, value=value):
                return np.full(size, value)

        extreme = learned.draw(x, condition, Always(np.random.PCG64(1)))
        assert (extreme == np.where(condition == 2, 2, int(value > 0))).all()


@pytest.mark.physics
def test_labels_are_drawn_with_their_probabilities(learned):
    """Chi-squared of ten points, 20,000 draws each: a p-value above 1e-4."""
    x, _, condition = gaussians(60, 5)
    x, condition = x[condition < 2][:10], condition[condition < 2][:10]
    probability = np.exp(learned.log_probability(x, condition))[:, 1]
    many = np.repeat(np.arange(10), 20_000)
    drawn = learned.draw(x[many], condition[many], np.random.default_rng(6))
    ones = np.bincount(many, drawn)
    chi2 = np.sum((ones - 20_000 * probability) ** 2 / (20_000 * probability * (1 - probability)))
    assert stats.chi2.sf(chi2, 10) > 1e-4


def test_calibrated_frequencies(learned):
    x, _, condition = gaussians(20_000, 7)
    target = np.array([[1.0, 3.0, 0, 0], [1e-3, 0.999, 0, 0], [0, 0, 5.0, 0]])
    calibrated = learned.calibrate(x, condition, target)
    probability = np.exp(calibrated.log_probability(x, condition))
    for number in range(3):
        mean = probability[condition == number].mean(axis=0)
        assert np.abs(mean - target[number] / target[number].sum()).max() < 1e-6
    # Ratios of odds between points stay as they were.
    before, after = (network.log_probability(x, condition)[condition == 0] for network in (learned, calibrated))
    odds = [table[:, 1] - table[:, 0] for table in (before, after)]
    assert np.ptp(odds[1] - odds[0]) < 1e-9


def test_calibration_with_many_labels_far_from_the_target():
    """Steep logits, where a plain Newton step overshoots, and frequencies down to 1e-6."""
    rng = np.random.default_rng(8)
    network = train(*gaussians(3_000, 1), steps=50)
    assert network.network is not None
    labels = 30
    allowed = rng.random((4, labels)) < 0.7
    steep = LabelNetwork.from_state(
        {
            **network.state(),
            "offset": np.where(allowed, rng.normal(0, 8, allowed.shape), -np.inf),
            "network.features": np.eye(4, 3, dtype=np.float32),
            "network.outward.weight": rng.normal(0, 3, (labels, SIZE["width"])).astype(np.float32),
            "network.outward.bias": np.zeros(labels, np.float32),
        },
        dimension=2,
        conditions=4,
        labels=labels,
        **SIZE,
    )
    x, condition = rng.standard_normal((8_000, 2)), rng.integers(0, 4, 8_000)
    target = np.where(allowed, 10 ** rng.uniform(-6, 0, allowed.shape), 0.0)
    target /= target.sum(axis=1, keepdims=True)
    probability = np.exp(steep.calibrate(x, condition, target).log_probability(x, condition))
    for number in range(4):
        assert np.abs(probability[condition == number].mean(axis=0) - target[number]).max() < 1e-6


def test_calibration_to_zero_and_without_points(learned):
    x, _, condition = gaussians(2_000, 9)
    target = np.array([[0, 1.0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    here = condition < 2
    calibrated = learned.calibrate(x[here], condition[here], target)
    assert (calibrated.draw(x, condition, np.random.default_rng(1))[condition == 0] == 1).all()
    assert (calibrated.offset[1:] == learned.offset[1:]).all()


@pytest.mark.parametrize(("value", "column"), [(-1.0, 0), (np.nan, 0), (1.0, 2)])
def test_frequencies_that_cannot_be(learned, value, column):
    target = np.array([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]])
    target[1, column] = value
    with pytest.raises(TrainingError, match=f"label {column} with condition 1 cannot be"):
        learned.calibrate(*gaussians(10, 1)[::2], target)
    with pytest.raises(TrainingError, match=r"shape \(3, 4\)"):
        learned.calibrate(*gaussians(10, 1)[::2], target[:2])


def test_state(learned):
    state = learned.state()
    again = LabelNetwork.from_state(state, dimension=2, conditions=3, labels=4, **SIZE)
    x, _, condition = gaussians(5_000, 10)
    assert (again.log_probability(x, condition) == learned.log_probability(x, condition)).all()
    draws = [network.draw(x, condition, np.random.default_rng(1)) for network in (learned, again)]
    assert (draws[0] == draws[1]).all()
    assert set(again.state()) == set(state)
    # What was handed out is a copy.
    state["network.outward.weight"][...] = 0.0
    assert (again.log_probability(x, condition) == learned.log_probability(x, condition)).all()


def test_state_that_does_not_fit(learned):
    shapes = {"dimension": 2, "conditions": 3, "labels": 4, **SIZE}
    state = learned.state()
    for name in state:
        with pytest.raises(ModelError, match=f"'{name}' of the model is missing"):
            LabelNetwork.from_state({key: values for key, values in state.items() if key != name}, **shapes)
        with pytest.raises(ModelError, match=f"'{name}' of the model has shape"):
            LabelNetwork.from_state({**state, name: state[name][None]}, **shapes)
    with pytest.raises(ModelError, match=r"first\.0\.bias' of the model does not belong"):
        LabelNetwork.from_state(state, **{**shapes, "depth": 0})
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(ModelError, match="'offset'"):
            LabelNetwork.from_state({**state, "offset": np.full((3, 4), value)}, **shapes)


def test_one_label_for_each_condition_needs_no_network():
    rng = np.random.default_rng(11)
    condition = rng.integers(0, 3, 1_000)
    network = train(rng.standard_normal((1_000, 2)), condition, condition, allowed=np.eye(3, dtype=bool))
    assert network.network is None
    x = rng.standard_normal((3, 2))
    assert (network.draw(x, np.array([2, 0, 1]), rng) == [2, 0, 1]).all()
    assert (network.log_probability(x, np.arange(3)).diagonal() == 0).all()
    again = LabelNetwork.from_state(network.state(), dimension=2, conditions=3, labels=3, **SIZE)
    assert again.network is None
    assert (again.offset == network.offset).all()


def test_few_events_give_frequencies():
    """With 25 events exactly those, one event being shared evenly; labels without events stay possible."""
    rng = np.random.default_rng(12)
    allowed, features = np.array([[True, True, True, False]]), np.zeros((1, 0), np.float32)
    label = np.repeat([0, 1], [20, 5])
    network = train(rng.standard_normal((25, 2)), label, allowed=allowed, features=features)
    expected = np.array([20 + 1 / 3, 5 + 1 / 3, 1 / 3, 0]) / 26
    assert np.allclose(np.exp(network.log_probability(np.ones((1, 2)), np.zeros(1, int))), expected, atol=1e-12)


def test_noise_is_not_learned():
    """Sixty events whose labels have nothing to do with x: on average over ten trainings the loss grows by < 0.05."""
    allowed, features = np.ones((1, 4), bool), np.zeros((1, 0), np.float32)
    true = np.array([0.5, 0.3, 0.15, 0.05])
    excess = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x, label = rng.standard_normal((60, 4)), rng.choice(4, 60, p=true)
        table = np.log((np.bincount(label, minlength=4) + 0.25) / 61)
        network = train(x, label, allowed=allowed, features=features, steps=300, seed=seed)
        log_probability = network.log_probability(rng.standard_normal((4_000, 4)), np.zeros(4_000, int))
        excess.append(true @ (table - log_probability.mean(axis=0)))
    assert np.mean(excess) < 0.05
    assert np.median(excess) < 0.01


@pytest.mark.physics
def test_negative_weights():
    """A fifth of the events counts negatively, whichever label: p = (0.8 p_+ - 0.1) / 0.6; mean error below 0.02."""
    rng = np.random.default_rng(13)
    n = 40_000
    x = rng.standard_normal((n, 2))
    positive = rng.random(n) < 0.8
    one = 0.2 + 0.6 * sigmoid(2 * x[:, 0])
    label = (rng.random(n) < np.where(positive, one, 0.5)).astype(np.int64)
    # Label 2 is negative on the whole, label 3 always.
    label[:300], positive[:100], positive[100:300] = 2, True, False
    label[300:400], positive[300:400] = 3, False
    network = train(
        x, label, weight=np.where(positive, 1.0, -1.0), allowed=np.ones((1, 5), bool), features=np.zeros((1, 0), "f4")
    )
    probability = np.exp(network.log_probability(x[400:], np.zeros(n - 400, int)))
    assert np.abs(probability[:, 1] - (0.8 * one[400:] - 0.1) / 0.6).mean() < 0.02
    assert (probability[:, 2:4] == 0).all()
    assert (network.allowed == [[True, True, False, False, True]]).all()


def test_only_negative_weights():
    """There is one label at least, whatever the weights."""
    network = train(np.zeros((4, 1)), np.array([0, 0, 0, 1]), weight=-np.ones(4), allowed=np.ones((1, 2), bool))
    assert np.allclose(np.exp(network.offset), [[0.7, 0.3]])


def test_repeatable():
    state = torch.random.get_rng_state()
    first, second, other = (train(*gaussians(2_000, 14), steps=60, seed=seed) for seed in (1, 1, 2))
    assert first.network is not None
    arrays = [network.state() for network in (first, second, other)]
    assert all((arrays[0][name] == arrays[1][name]).all() for name in arrays[0])
    assert not all((arrays[0][name] == arrays[2][name]).all() for name in arrays[0])
    assert (torch.random.get_rng_state() == state).all()


def test_progress_is_told():
    told = []
    x, label, condition = gaussians(1_000, 15)
    LabelNetwork.train(
        x, label, np.ones(1_000), ALLOWED, condition, FEATURES, **SIZE, steps=120, batch_size=100, learning_rate=1e-3,
        rng=np.random.default_rng(1), report=lambda step, loss: told.append((step, loss)),
    )  # fmt: skip
    assert [step for step, _ in told] == [50, 100, 120]
    assert all(0 < loss < 1 for _, loss in told)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": np.array([0, 3])}, "event 2 has the label 3, which its condition 0 does not allow"),
        ({"label": np.array([0, 7])}, "event 2 has the label 7"),
        ({"condition": np.array([5, 0])}, "event 1 .* condition 5"),
        ({"allowed": np.array([[True, False], [False, False]])}, "condition 1 allows no label"),
        ({"weight": np.array([1, np.nan])}, "event 2 has a coordinate or a weight"),
        ({"x": np.array([[np.inf], [0]])}, "event 1 has a coordinate or a weight"),
    ],
)
def test_events_that_cannot_be_learned_from(change, message):
    events = {"x": np.zeros((2, 1)), "label": np.array([0, 1]), "condition": np.zeros(2, int), "weight": np.ones(2)}
    with pytest.raises(TrainingError, match=message):
        train(**{**events, **change})
