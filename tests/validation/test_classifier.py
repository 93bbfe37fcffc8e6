import itertools
from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_info, threadpool_limits

from mlgen.errors import WeightError
from mlgen.stages import Progress
from mlgen.threads import one_thread
from mlgen.validation import classifier_network
from mlgen.validation.auc import weighted_auc
from mlgen.validation.classifier import classifier_test
from mlgen.validation.classifier_boosting import train_boosting
from mlgen.validation.classifier_network import train_network
from mlgen.validation.observable import Features, Kind, Observable
from mlgen.validation.settings import FEWEST_EVENTS, ClassifierSettings
from mlgen.validation.two_sample import Method, TwoSamples, two_sample_test

ONE_SEED = ClassifierSettings(seeds=1)
BOOSTING = ClassifierSettings(seeds=1, methods=["gradient boosting"])


def features(values, weight=None, kinds=None):
    values = np.asarray(values, dtype=float)
    kinds = kinds or [Kind.CONTINUOUS] * values.shape[1]
    observables = tuple(
        Observable(f"x{k}", f"$x_{k}$", kind=kind, categories=("g", "q", "b") if kind is Kind.CATEGORY else ())
        for k, kind in enumerate(kinds)
    )
    return Features(values, np.ones(len(values)) if weight is None else np.asarray(weight, dtype=float), observables)


def threads():
    return [torch.get_num_threads(), *(library["num_threads"] for library in threadpool_info())]


@pytest.fixture
def two_threads():
    """Two threads for all libraries, also where the suite runs with one; the numbers that they report."""
    before = torch.get_num_threads()
    with threadpool_limits(limits=2):
        torch.set_num_threads(2)
        yield threads()
    torch.set_num_threads(before)


def test_auc_is_the_share_of_ordered_pairs_with_ties_and_weights():
    """By the definition, over all pairs, for weights of either sign."""
    rng = np.random.default_rng(1)
    score = rng.integers(0, 6, 40).astype(float)
    is_reference = np.arange(40) < 15
    weight = rng.normal(1.0, 1.0, 40)
    v = weight / np.where(is_reference, weight[is_reference].sum(), weight[~is_reference].sum())
    first = is_reference ^ (v < 0)
    pairs = [
        (abs(v[i] * v[j]), 1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0)
        for i, j in itertools.product(np.flatnonzero(first), np.flatnonzero(~first))
    ]
    expected = sum(w * k for w, k in pairs) / sum(w for w, _ in pairs)
    assert weighted_auc(score, is_reference, weight).value == pytest.approx(expected, rel=1e-12)


@pytest.mark.physics
@pytest.mark.parametrize("weights", ["one", "exponential", "signed"])
def test_auc_error_is_its_spread(weights):
    """1,000 toys know their spread to 2.2 %; 9 % are more than four standard deviations."""
    rng = np.random.default_rng(2)
    areas = []
    for _ in range(1000):
        score = np.concatenate([rng.normal(0.4, 1, 300), rng.normal(0, 1, 200)])
        weight = np.ones(500) if weights == "one" else rng.exponential(size=500)
        if weights == "signed":
            weight = weight * np.where(rng.random(500) < 0.1, -1, 1)
        areas.append(weighted_auc(score, np.arange(500) < 300, weight))
    spread = np.std([area.value for area in areas])
    assert np.mean([area.error for area in areas]) == pytest.approx(spread, rel=0.09)


@pytest.mark.physics
def test_shifted_gaussians_reach_the_best_possible_auc():
    """Phi(d / sqrt 2) for a shift of d; no classifier is better, beyond three standard errors, nor much worse."""
    rng = np.random.default_rng(3)
    reference, sample = rng.normal(size=(2000, 3)), rng.normal(size=(1000, 3))
    sample[:, 1] += 1.0
    found = classifier_test(features(reference), features(sample), ONE_SEED, seed=4)
    best = norm.cdf(1 / np.sqrt(2))
    for measure in found.measures:
        assert best - 0.02 - 3 * measure.error < measure.value < best + 3 * measure.error
        assert abs(measure.floor - 0.5) < 4 * measure.floor_error
        assert measure.p_value < 1e-6
        assert measure.events == 1000
    assert [measure.name for measure in found.measures] == ["AUC, gradient boosting", "AUC, network"]
    best_of_side = {tail.side: tail.observable for tail in reversed(found.tails)}
    assert best_of_side == {"low": "x1", "high": "x1"}
    low = next(tail for tail in found.tails if tail.side == "low")
    assert low.lower > low.bulk_upper - 0.5
    assert low.weight < 1
    # The exact ratio p_reference / p_sample = exp(1/2 - x), of events out of fold.
    logarithm = np.log(found.learned_weights["sample"])
    exact = 0.5 - sample[:, 1]
    assert np.corrcoef(logarithm, exact)[0, 1] > 0.9
    assert np.mean((logarithm - exact) ** 2) < 0.25 * exact.var()
    assert not any("do not close" in remark for remark in found.remarks)


@pytest.mark.physics
@pytest.mark.parametrize(("method", "rho", "n"), [("gradient boosting", 0.2, 8000), ("network", 0.4, 700)])
def test_pure_correlation_is_found(method, rho, n):
    """Equal marginals, but a correlation in the sample: p < 1e-3."""
    rng = np.random.default_rng(5)
    reference, sample = rng.normal(size=(2 * n, 2)), rng.normal(size=(n, 2))
    sample[:, 1] = rho * sample[:, 0] + np.sqrt(1 - rho**2) * sample[:, 1]
    settings = ClassifierSettings(seeds=1, methods=[method])
    assert classifier_test(features(reference), features(sample), settings, seed=6).measures[0].p_value < 1e-3


@pytest.mark.physics
def test_negative_weights_cancel_a_bump():
    """A bump of weight +1 and as many events of weight -1 there: no difference (p > 1e-3); one without signs."""
    rng = np.random.default_rng(7)
    bump = np.concatenate([[0.3, -0.2] + 0.2 * rng.normal(size=(360, 2)), rng.normal(size=(1200, 2))])
    weight = np.concatenate([np.ones(180), -np.ones(180), np.ones(1200)])
    reference = features(rng.normal(size=(3120, 2)))
    signed = classifier_test(reference, features(bump, weight), ONE_SEED, seed=8)
    moduli = classifier_test(reference, features(bump, np.abs(weight)), BOOSTING, seed=8)
    for measure in signed.measures:
        assert measure.p_value > 1e-3
        assert abs(measure.value - 0.5) < 3.5 * measure.error
    assert any("11.5 %" in remark and "Negative weights" in remark for remark in signed.remarks)
    assert all(measure.p_value < 1e-6 for measure in moduli.measures)
    assert not any("Negative weights" in remark for remark in moduli.remarks)


@pytest.mark.physics
def test_weights_are_part_of_the_density():
    """Events drawn from one density and weighted to another agree with events drawn from that (p > 1e-3)."""
    rng = np.random.default_rng(9)
    reference = rng.normal(0.3, 1.0, size=(4000, 1))
    sample = rng.normal(size=(2000, 1))
    weighted = features(sample, np.exp(0.3 * sample[:, 0] - 0.045))
    assert classifier_test(features(reference), weighted, BOOSTING, seed=10).measures[0].p_value > 1e-3
    assert classifier_test(features(reference), features(sample), BOOSTING, seed=10).measures[0].p_value < 1e-6


@pytest.mark.physics
def test_missing_values_and_categories_are_seen():
    """Only how often an observable is missing, or a category occurs, differs: p < 1e-6 for both methods."""
    rng = np.random.default_rng(11)

    def events(n, missing, frequencies):
        values = np.stack([rng.normal(size=n), rng.choice(3, n, p=frequencies)], axis=1)
        values[rng.random(n) < missing, 0] = np.nan
        return features(values, kinds=[Kind.CONTINUOUS, Kind.CATEGORY])

    reference = events(1600, 0.2, [0.2, 0.5, 0.3])
    lacking = classifier_test(reference, events(800, 0.4, [0.2, 0.5, 0.3]), ONE_SEED, seed=12)
    assert all(measure.p_value < 1e-6 for measure in lacking.measures)
    low = next(tail for tail in lacking.tails if tail.side == "low")
    assert low.observable == "x0"
    assert np.isnan(low.lower)
    assert any("100 % of the events in the low tail lack x0" in remark for remark in lacking.remarks)
    flavours = classifier_test(events(1000, 0.2, [0.2, 0.5, 0.3]), events(500, 0.2, [0.4, 0.5, 0.1]), ONE_SEED, seed=13)
    assert all(measure.p_value < 1e-6 for measure in flavours.measures)
    assert any("have x1 = g" in remark for remark in flavours.remarks)


def test_equal_samples_have_no_tails():
    """p > 0.01 for this seed, which one in a hundred seeds would not give."""
    rng = np.random.default_rng(14)
    found = classifier_test(
        features(rng.normal(size=(1000, 3))), features(rng.normal(size=(500, 3))), BOOSTING, seed=15
    )
    assert found.measures[0].p_value > 0.01
    assert found.tails == ()
    assert any("no difference" in remark for remark in found.remarks)


def test_one_seed_gives_one_result_and_another_another(monkeypatch):
    monkeypatch.setattr(classifier_network, "_EPOCHS", 4)
    rng = np.random.default_rng(16)
    reference, sample = features(rng.normal(size=(400, 2))), features(rng.normal(0.2, 1.0, size=(200, 2)))
    steps: list[Progress] = []
    settings = ClassifierSettings(seeds=2)
    first = classifier_test(reference, sample, settings, seed=17, progress=steps.append)
    again = classifier_test(reference, sample, settings, seed=17)
    other = classifier_test(reference, sample, BOOSTING, seed=18)
    assert first.measures == again.measures
    assert all(np.array_equal(first.learned_weights[k], again.learned_weights[k]) for k in ("reference", "sample"))
    assert other.seed_values["gradient boosting"][0] not in first.seed_values["gradient boosting"]
    assert [step.done for step in steps] == list(range(1, 17))
    assert {(step.total, step.figure) for step in steps} == {(16, "AUC")}
    # Four trainings of each method on the sample, then four for its null floor, which tell the largest AUC so far.
    means = [measure.value for measure in first.measures]
    assert [step.value for step in steps[4:8]] == pytest.approx([means[0]] * 4)
    assert [step.value for step in steps[12:]] == pytest.approx([max(means)] * 4)
    assert np.mean([step.value for step in steps[8:12]]) == pytest.approx(means[1])
    assert {method: len(values) for method, values in first.seed_values.items()} == {
        "gradient boosting": 2,
        "network": 2,
    }
    assert all(
        np.mean(first.seed_values[m.name.removeprefix("AUC, ")]) == pytest.approx(m.value) for m in first.measures
    )


@pytest.mark.physics
def test_false_alarms_are_rare():
    """10 comparisons of equal samples: more than two with p < 0.01 has a chance below 1e-3."""
    alarms = 0
    for number in range(5):
        rng = np.random.default_rng(100 + number)
        found = classifier_test(
            features(rng.normal(size=(400, 2))), features(rng.normal(size=(200, 2))), BOOSTING, seed=number
        ).measures[0]
        alarms += (found.p_value < 0.01) + (norm.sf((found.floor - 0.5) / found.floor_error) < 0.01)
    assert alarms <= 2


def test_too_few_events_are_said_and_not_tested():
    enough, few = np.zeros((2 * FEWEST_EVENTS, 1)), np.zeros((FEWEST_EVENTS - 1, 1))
    for reference, sample in ((enough, few), (enough[:-2], enough)):
        found = classifier_test(features(reference), features(sample), ONE_SEED, seed=1)
        assert found.measures == ()
        assert "Too few events" in found.remarks[0]
        assert "400" in found.remarks[0]


def test_weights_that_cancel_are_said_and_not_tested():
    values = np.zeros((1000, 1))
    cancelling = np.where(np.arange(1000) % 2, 1.0, -1.0)
    found = classifier_test(features(values), features(values, cancelling), ONE_SEED, seed=1)
    assert found.measures == ()
    assert "events of equal weight" in found.remarks[0]


def test_all_negative_weights_are_a_matter_of_sign():
    rng = np.random.default_rng(19)
    reference, sample = rng.normal(size=(400, 1)), rng.normal(0.5, 1.0, size=(200, 1))
    plus = classifier_test(features(reference), features(sample), BOOSTING, seed=2)
    minus = classifier_test(features(reference), features(sample, -np.ones(200)), BOOSTING, seed=2)
    assert plus.measures == minus.measures


def test_constant_and_empty_observables_do_no_harm():
    rng = np.random.default_rng(20)
    values = np.stack([np.full(400, 3.0), np.full(400, np.nan), rng.normal(size=400)], axis=1)
    found = classifier_test(features(values), features(values[:200]), ONE_SEED, seed=3)
    assert all(np.isfinite(measure.value) for measure in found.measures)
    constant = classifier_test(features(values[:, :2]), features(values[:200, :2]), ONE_SEED, seed=3)
    assert [measure.value for measure in constant.measures] == [0.5, 0.5]
    assert all(np.allclose(learned, 1.0, atol=1e-3) for learned in constant.learned_weights.values())


def test_a_weight_that_is_not_finite_is_an_error():
    weight = np.ones(500)
    weight[6] = np.nan
    with pytest.raises(WeightError, match=r"1 of the 500 events of the sample .* not finite, for instance nan"):
        classifier_test(features(np.zeros((500, 1))), features(np.zeros((500, 1)), weight), ONE_SEED, seed=1)


def test_the_card_asks_for_as_many_events_as_the_test_needs():
    assert ClassifierSettings(events=FEWEST_EVENTS).events == FEWEST_EVENTS
    with pytest.raises(ValueError, match=f"greater than or equal to {FEWEST_EVENTS}"):
        ClassifierSettings(events=FEWEST_EVENTS - 1)


def test_one_thread_is_used_and_given_back(two_threads):
    with one_thread():
        inside = threads()
    assert set(inside) == {1}
    assert threads() == two_threads


@pytest.mark.parametrize(
    ("train", "owner", "name"),
    [
        (partial(train_boosting, categorical=np.zeros(2, dtype=bool)), HistGradientBoostingClassifier, "fit"),
        (train_network, classifier_network, "_logits"),
    ],
)
def test_trainings_use_one_thread_and_give_back_the_others(train, owner, name, two_threads, monkeypatch):
    """So that the same seed has the same bytes on any number of cores."""
    used = []
    original = getattr(owner, name)

    def spy(*arguments, **options):
        used.append(set(threads()))
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, spy)
    monkeypatch.setattr(classifier_network, "_EPOCHS", 1)
    rng = np.random.default_rng(21)
    inputs, label, held_out = rng.normal(size=(1000, 2)), np.arange(1000) < 500, rng.random(1000) < 0.2
    logits = train(inputs, label, np.ones(1000), held_out, seed=1)
    assert threads() == two_threads
    several = logits(inputs)
    assert threads() == two_threads
    assert used
    assert all(number == {1} for number in used)
    with threadpool_limits(limits=1):
        torch.set_num_threads(1)
        one = train(inputs, label, np.ones(1000), held_out, seed=1)(inputs)
    torch.set_num_threads(2)
    assert np.array_equal(several, one)


def test_two_sample_test_takes_any_arrays_and_any_trainer():
    """Images of 3 x 4 with a brighter pixel, and a trainer that looks at that pixel alone: Phi(1 / sqrt 2)."""
    rng = np.random.default_rng(22)
    inputs = rng.normal(size=(4000, 3, 4)).astype(np.float32)
    is_reference = np.arange(4000) < 2000
    inputs[~is_reference, 1, 2] += 1.0
    shapes = []

    def train(inputs, label, weight, held_out, *, seed):
        shapes.append((inputs.shape, inputs.dtype))
        assert weight[label].sum() == pytest.approx(weight[~label].sum())
        return lambda new: 0.5 - new[:, 1, 2].astype(float)

    samples = TwoSamples({"pixel": Method(train, inputs)}, is_reference, np.ones(4000))
    null_inputs = rng.normal(size=(4000, 3, 4)).astype(np.float32)
    null = TwoSamples({"pixel": Method(train, null_inputs)}, is_reference, np.ones(4000))
    found = two_sample_test(samples, null, sources=np.random.SeedSequence(23).spawn(1), rng=rng)
    (measure,) = found.measures
    assert measure.value == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=4 * measure.error)
    assert measure.floor == pytest.approx(0.5, abs=4 * measure.floor_error)
    assert shapes == [((2000, 3, 4), np.float32)] * 4
    exact = 0.5 - inputs[:, 1, 2]
    np.testing.assert_allclose(found.scores["pixel"], exact, rtol=1e-6)
    assert np.polyfit(exact, np.log(found.learned_weights), 1) == pytest.approx([1.0, 0.0], abs=0.2)


@pytest.mark.physics
def test_network_finds_the_width_of_one_of_many_columns():
    """A width of 1.25 in one of 40 columns: 4 standard errors, where the perceptron alone has an AUC of 0.50."""
    rng = np.random.default_rng(24)
    inputs, label = rng.normal(size=(16_000, 40)), np.arange(16_000) < 8000
    inputs[label, 3] *= 1.25
    train, test = np.arange(16_000) % 2 == 0, np.arange(16_000) % 2 == 1
    logits = train_network(inputs[train], label[train], np.ones(8000), rng.random(8000) < 0.2, seed=2)(inputs[test])
    area = weighted_auc(logits, label[test], np.ones(8000))
    assert area.value > 0.5 + 4 * area.error
