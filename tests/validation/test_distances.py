import time

import numpy as np
import pytest
from scipy import stats

from mlgen.validation.distances import (
    distances,
    frechet_distance,
    frechet_physics_distance,
    kernel_physics_distance,
)
from mlgen.validation.encoding import Encoding, tame
from mlgen.validation.observable import Features, Kind, Observable
from mlgen.validation.wasserstein import total_variation, wasserstein

COLUMNS = tuple(Observable(f"x{number}", f"$x_{number}$") for number in range(4))


def _normal(rng, events, shift=0.0, scale=1.0):
    values = rng.normal(size=(events, 4))
    values[:, 1] += values[:, 0]
    values[:, 0] = scale * values[:, 0] + shift
    return Features(values, np.ones(events), COLUMNS)


def _joined(first, second, sign=1.0):
    return Features(
        np.concatenate([first.values, second.values]),
        np.concatenate([first.weight, sign * second.weight]),
        first.observables,
    )


@pytest.mark.physics
def test_frechet_distance_of_normal_distributions():
    # Commuting covariances: |m|^2 + sum (s - t)^2, in a rotated frame.
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    first, second = np.array([1.0, 2.0, 0.0]), np.array([2.0, 0.5, 0.3])
    covariances = [rotation @ np.diag(widths**2) @ rotation.T for widths in (first, second)]
    shift = np.array([0.1, -0.2, 0.3])
    distance = frechet_distance(np.zeros(3), covariances[0], shift, covariances[1])
    assert distance == pytest.approx(0.14 + np.sum((first - second) ** 2), abs=1e-7)
    assert frechet_distance(shift, covariances[0], shift, covariances[0]) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.physics
def test_frechet_physics_distance_reaches_the_closed_form():
    # A shift of 0.3 and a width of 1.2 in units of the reference's, in one column. The encoding lets values beyond
    # three widths grow logarithmically, which changes a width of 1.2 by 0.006. Five standard errors.
    rng = np.random.default_rng(2)
    value, error = frechet_physics_distance(_normal(rng, 20_000), _shifted(rng, 20_000), rng)
    assert value == pytest.approx(0.3**2 + 0.2**2, abs=5 * error + 0.01)
    assert error < 0.01


def _shifted(rng, events):
    values = rng.normal(size=(events, 4))
    values[:, 1] += values[:, 0]
    values[:, 3] = 1.2 * values[:, 3] + 0.3
    return Features(values, np.ones(events), COLUMNS)


@pytest.mark.physics
def test_both_distances_are_zero_on_average_when_nothing_differs():
    # 25 pairs, five standard errors. The median of the batches of KPD lies below their mean by a part of its error.
    rng = np.random.default_rng(3)
    both = (frechet_physics_distance, kernel_physics_distance)
    values = np.array([[compute(_normal(rng, 600), _normal(rng, 600), rng) for compute in both] for _ in range(25)])
    means, spreads = values[:, :, 0].mean(axis=0), values[:, :, 0].std(axis=0)
    assert np.all(np.abs(means) < 5 * spreads / np.sqrt(25))
    # Without the extrapolation FPD would be at least twice (mean) the number of columns over the events.
    assert abs(means[0]) < 2 * 4 / 600 / 2
    # Errors are not too small, nor more than twice too large.
    errors = values[:, :, 1].mean(axis=0)
    assert np.all((0.8 * spreads < errors) & (errors < 2 * spreads))


@pytest.mark.physics
def test_larger_distortions_are_farther_away_and_improbable():
    rng = np.random.default_rng(4)
    reference = _normal(rng, 8000)
    by_shift = [distances(reference, _normal(rng, 4000, shift=shift), rng) for shift in (0.0, 0.2, 0.6)]
    for number, name in enumerate(("FPD", "KPD")):
        measures = [found[number] for found in by_shift]
        assert [measure.name for measure in measures] == [name] * 3
        assert measures[0].value < measures[1].value < measures[2].value
        assert measures[0].p_value > 1e-3
        assert measures[1].p_value < 1e-2
        assert measures[2].p_value < 1e-6
        for measure in measures:
            assert abs(measure.floor) < 5 * measure.floor_error
            assert measure.events == 4000


@pytest.mark.physics
def test_weights_that_restore_the_distribution_give_the_floor():
    # Drawn with density proportional to exp(0.5 x) more; weights undo it. Then without the weights.
    rng = np.random.default_rng(5)
    reference, sample = _normal(rng, 8000), _normal(rng, 4000)
    values = sample.values.copy()
    values[:, 0] += 0.5
    values[:, 1] += 0.5
    weighted = Features(values, np.exp(-0.5 * values[:, 0]), COLUMNS)
    for measure in distances(reference, weighted, rng):
        assert abs(measure.value) < 5 * measure.error
        assert measure.p_value > 1e-3
    for measure in distances(reference, Features(values, np.ones(4000), COLUMNS), rng):
        assert measure.value > 5 * measure.error
        assert measure.p_value < 1e-6


@pytest.mark.physics
def test_negative_weights_cancel_a_bump():
    rng = np.random.default_rng(6)
    reference, bump, same_bump = _normal(rng, 8000), _normal(rng, 800, shift=3.0), _normal(rng, 800, shift=3.0)
    with_bump = _joined(_normal(rng, 3200), bump)
    cancelled = _joined(with_bump, same_bump, sign=-1.0)
    for measure in distances(reference, cancelled, rng):
        assert abs(measure.value) < 5 * measure.error
        assert measure.p_value > 1e-3
    assert all(measure.p_value < 1e-6 for measure in distances(reference, with_bump, rng))


@pytest.mark.physics
def test_p_values_are_uniform_when_nothing_differs():
    # 20 pairs, KS at 1e-4 for each of the two; the sample's weights are broad.
    rng = np.random.default_rng(7)
    p_values = []
    for _ in range(20):
        sample = _normal(rng, 400)
        sample = Features(sample.values, rng.lognormal(0, 0.5, 400), COLUMNS)
        p_values.append([measure.p_value for measure in distances(_normal(rng, 800), sample, rng)])
    for column in np.array(p_values).T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4


def test_distances_say_nothing_where_there_is_nothing_to_say():
    rng = np.random.default_rng(8)
    assert distances(_normal(rng, 300), _normal(rng, 300), rng) == ()
    constant = Features(np.ones((1000, 4)), np.ones(1000), COLUMNS)
    assert distances(constant, constant, rng) == ()
    balanced = Features(rng.normal(size=(1000, 4)), np.tile([1.0, -1.0], 500), COLUMNS)
    with pytest.raises(ValueError, match="weights of the sample sum to zero"):
        frechet_physics_distance(_normal(rng, 1000), balanced, rng)
    with pytest.raises(ValueError, match="reference has 100 events"):
        kernel_physics_distance(_normal(rng, 100), balanced, rng)
    with pytest.raises(ValueError, match="no observable varies"):
        frechet_physics_distance(constant, constant, rng)


def test_encoding():
    rng = np.random.default_rng(9)
    observables = (
        Observable("pT", "", unit="GeV"),
        Observable("phi", "", periodic=True),
        Observable("process", "", kind=Kind.CATEGORY, categories=("qq", "gg", "qg")),
        Observable("charge", "", kind=Kind.CATEGORY, categories=("-", "+")),
        Observable("mass", ""),
        Observable("jet pT", ""),
        Observable("jet eta", ""),
        Observable("n", "", kind=Kind.INTEGER),
    )
    events = 2000
    jets = rng.random(events) < 0.5
    values = np.stack(
        [
            rng.exponential(50.0, events) + 20.0,
            rng.uniform(-np.pi, np.pi, events),
            rng.integers(0, 3, events),
            rng.integers(0, 2, events),
            np.full(events, 0.105658) * (1 + 1e-8 * rng.normal(size=events)),
            np.where(jets, rng.exponential(30.0, events), np.nan),
            np.where(jets, rng.normal(size=events), np.nan),
            (rng.random(events) < 0.1).astype(float),
        ],
        axis=1,
    )
    reference = Features(values, np.ones(events), observables)
    values = values.copy()
    values[0, 0] = 1e12
    sample = Features(values, np.ones(events), observables)
    encoding = Encoding.fit(reference, sample)
    assert encoding.names == (
        "pT", "cos phi", "sin phi", "process = qq", "process = gg", "process = qg", "charge = +",
        "jet pT", "jet pT absent", "jet eta", "n",
    )  # fmt: skip
    assert [observables[feature].name for feature in encoding.features[-3:]] == ["jet pT", "jet eta", "n"]
    encoded = encoding(reference)
    assert encoded.shape == (events, 11)
    assert np.isfinite(encoding(sample)).all()
    assert encoding(sample)[:, 0].max() < 40
    quartiles = np.quantile(encoded[:, 0], [0.25, 0.5, 0.75])
    assert quartiles[1] == pytest.approx(0.0, abs=0.01)
    assert quartiles[2] - quartiles[0] == pytest.approx(1.349, rel=0.01)
    np.testing.assert_array_equal(encoded[:, 8], ~jets)
    np.testing.assert_array_equal(encoded[~jets, 7], 0.0)
    np.testing.assert_allclose(encoded[:, 1] ** 2 + encoded[:, 2] ** 2, 2.0)
    with pytest.raises(ValueError, match="different features, or in another order: pT"):
        Encoding.fit(reference, Features(values[:, 1:], np.ones(events), observables[1:]))


def test_a_column_that_is_constant_in_the_reference_alone_is_kept():
    reference = Features(np.full((50, 1), 2.0), np.ones(50), COLUMNS[:1])
    sample = Features(np.linspace(1.0, 3.0, 50)[:, np.newaxis], np.ones(50), COLUMNS[:1])
    encoding = Encoding.fit(reference, sample)
    assert encoding.names == ("x0",)
    assert np.ptp(encoding(sample)) == pytest.approx(1.0)


def test_tails_are_tamed_smoothly_and_in_order():
    grid = np.linspace(-50, 50, 100_001)
    tamed = tame(grid)
    slope = np.diff(tamed) / np.diff(grid)
    assert slope.min() > 0
    assert np.abs(np.diff(slope)).max() < 2e-3
    np.testing.assert_allclose(tamed[np.abs(grid) <= 3], grid[np.abs(grid) <= 3])
    assert tame(np.array([1e6]))[0] == pytest.approx(3 + np.log(1e6 - 2))


@pytest.mark.physics
def test_wasserstein_agrees_with_scipy():
    rng = np.random.default_rng(10)
    first, second = rng.normal(size=1000), rng.normal(0.3, 1.2, size=700)
    weights = rng.random(1000), rng.lognormal(size=700)
    expected = stats.wasserstein_distance(first, second, *weights)
    assert wasserstein(first, weights[0], second, weights[1]) == pytest.approx(expected, rel=1e-9)
    missing = np.append(second, np.nan)
    assert wasserstein(first, weights[0], missing, np.append(weights[1], 5.0)) == pytest.approx(expected, rel=1e-9)


def test_wasserstein_of_weights_that_cancel():
    # Two events of the same place and opposite weight are as good as none; and two at different places move weight.
    first, second = np.array([0.0, 1.0]), np.array([0.0, 1.0, 7.0, 7.0])
    assert wasserstein(first, np.ones(2), second, np.array([1.0, 1.0, 3.0, -3.0])) == pytest.approx(0.0, abs=1e-12)
    moved = wasserstein(first, np.ones(2), np.array([0.0, 1.0, 5.0, 7.0]), np.array([1.0, 1.0, 1.0, -1.0]))
    assert moved == pytest.approx(0.5 * 2.0)
    assert np.isnan(wasserstein(first, np.array([1.0, -1.0]), first, np.ones(2)))
    assert np.isnan(wasserstein(np.array([np.nan]), np.ones(1), first, np.ones(2)))


@pytest.mark.physics
def test_wasserstein_on_a_circle():
    rng = np.random.default_rng(11)
    angles = rng.normal(3.0, 0.2, 2000)
    weight = rng.random(2000)
    turned = np.mod(angles + 0.4 + np.pi, 2 * np.pi) - np.pi
    assert wasserstein(angles, weight, turned, weight, period=2 * np.pi) == pytest.approx(0.4, rel=1e-6)
    # The longest way on a circle is half of it, however far apart the numbers are.
    assert wasserstein(np.array([0.1]), np.ones(1), np.array([6.2]), np.ones(1), period=2 * np.pi) == pytest.approx(
        0.1 + 2 * np.pi - 6.2
    )


def test_total_variation():
    first, second = np.array([0.0, 0.0, 1.0, 2.0]), np.array([0.0, 1.0, 1.0, 3.0, np.nan])
    assert total_variation(first, np.ones(4), second, np.ones(5)) == pytest.approx(0.5)
    assert total_variation(first, np.ones(4), first, 3 * np.ones(4)) == 0.0


def test_a_distance_of_50000_events_takes_milliseconds():
    rng = np.random.default_rng(12)
    first, second = rng.normal(size=50_000), rng.normal(size=50_000)
    weight = np.ones(50_000)
    used = []
    for _ in range(5):
        start = time.process_time()
        wasserstein(first, weight, second, weight)
        used.append(time.process_time() - start)
    # 15 ms on an idle core; the bound allows for a busy one.
    assert min(used) < 0.1
