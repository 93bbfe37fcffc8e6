"""Separation powers: closed forms, chance, errors, and what is binned."""

import dataclasses

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from mlgen.errors import UserError
from mlgen.showers import Geometry, PolarLayer, ShowerBatch
from mlgen.testing.samples import showers
from mlgen.validation.average_showers import average_showers
from mlgen.validation.plot_output import to_png
from mlgen.validation.plot_showers import average_shower_figure, separation_figure
from mlgen.validation.separation import separation_power, separation_powers
from mlgen.validation.shower_features import binned_features, feature_edges, whole_edges


def scaled(batch: ShowerBatch, factor) -> ShowerBatch:
    return dataclasses.replace(batch, voxels=batch.voxels * factor)


def responses(values: np.ndarray) -> ShowerBatch:
    """Showers in one voxel, whose total response is given."""
    n = len(values)
    geometry = Geometry("photon", (PolarLayer(0, (0.0, 1.0), 1),))
    direction = np.tile([0.0, 0.0, 1.0], (n, 1))
    return ShowerBatch(np.full(n, 100.0), np.full(n, 22), direction, 100.0 * values[:, None], geometry)


@pytest.fixture(scope="module")
def truth():
    return showers(1500, np.random.default_rng(1))


@pytest.fixture(scope="module")
def equal(truth):
    return separation_powers(truth, showers(750, np.random.default_rng(2)))


def test_definition():
    p, q = np.array([1.0, 3.0, 0.0, 0.0]), np.array([0.0, 3.0, 3.0, 0.0])
    # Half of (1/4)^2/(1/4) + (1/4)^2/(5/4) + (1/2)^2/(1/2).
    assert separation_power(p, q) == pytest.approx(0.5 * (0.25 + 0.05 + 0.5))
    assert separation_power(p, 7 * p) == 0
    assert separation_power(p, np.array([0.0, 0.0, 1.0, 5.0])) == pytest.approx(1)
    assert separation_power(p, q) == separation_power(q, p)


def test_two_gaussians_against_the_integral():
    """Shifted by a standard deviation: the integral over the densities, which 40 bins follow."""
    rng = np.random.default_rng(3)
    exact = 0.5 * quad(lambda x: (norm.pdf(x) - norm.pdf(x - 1)) ** 2 / (norm.pdf(x) + norm.pdf(x - 1)), -10, 11)[0]
    first, second = (responses(1 + 0.01 * (rng.normal(size=20_000) + shift)) for shift in (0.0, 1.0))
    found = separation_powers(first, second)["E_total / E_inc"]
    assert found.error < 0.05 * exact
    # Bins lose little; the value of finite samples is too large by the expected one.
    assert found.value - found.expected == pytest.approx(exact, abs=4 * found.error + 0.01 * exact)


def test_equal_distributions_are_compatible_with_chance_and_floor(equal):
    assert len(equal) > 15
    for name, power in equal.items():
        # Four standard deviations of each of about 20.
        assert abs(power.value - power.expected) < 4.5 * power.spread, name
        assert power.p_value > 1e-3, name
        # Halves of 750 against 1,500 and 750: the floor is about 4/3 of the expected value.
        assert power.floor < 4 / 3 * power.expected + 5 * power.floor_error, name
        assert 0.7 * power.spread < power.error < 2.0 * power.spread, name


def test_expected_value_is_that_of_chi_squared(equal):
    """(B - 1)/4 (1/n + 1/m) for B bins."""
    power = equal["E_total / E_inc"]
    assert power.expected == pytest.approx((power.bins - 1) / 4 * (1 / 1500 + 1 / 750), rel=0.05)


def test_error_covers_the_scatter_of_repeated_samples():
    rng = np.random.default_rng(4)
    found = []
    for _ in range(20):
        first, second = (responses(1 + 0.01 * (rng.normal(size=1000) + shift)) for shift in (0.0, 0.4))
        found.append(separation_powers(first, second)["E_total / E_inc"])
    scatter = np.std([power.value for power in found], ddof=1)
    # Known to 16 %; three standard deviations.
    assert np.mean([power.error for power in found]) == pytest.approx(scatter, rel=0.5)


def test_a_shifted_response_is_seen_where_it_is(truth):
    found = separation_powers(truth, scaled(showers(1500, np.random.default_rng(5)), 1.02))
    power = found["E_total / E_inc"]
    assert power.value > power.expected + 10 * power.spread
    assert power.p_value < 2e-3
    for name in ("sparsity", "centre x(layer 0)", "width y(layer 1)"):
        assert found[name].value < found[name].expected + 4.5 * found[name].spread, name


def test_entries_of_one_shower_are_not_independent(truth):
    """Every voxel twice: the spectrum's spread stays that of the showers, instead of becoming smaller."""
    layer = truth.geometry.layers[0]
    twice = Geometry("photon", (*truth.geometry.layers, dataclasses.replace(layer, layer_id=2),
                                dataclasses.replace(layer, layer_id=3)))  # fmt: skip

    def doubled(batch):
        return dataclasses.replace(batch, voxels=np.concatenate([batch.voxels, batch.voxels], axis=1), geometry=twice)

    other = showers(1500, np.random.default_rng(6))
    once, double = separation_powers(truth, other), separation_powers(doubled(truth), doubled(other))
    assert double["voxel energies"].expected == pytest.approx(once["voxel energies"].expected, rel=0.1)


def test_threshold_counts_as_zero_in_both(truth):
    noisy = dataclasses.replace(truth, voxels=np.where(truth.voxels == 0, 0.5, truth.voxels))
    assert separation_powers(truth, noisy)["sparsity"].value > 0.5
    found = separation_powers(truth, noisy, threshold=0.5)
    assert max(power.value for power in found.values()) == 0


def test_sparsity_is_one_less_the_share_that_is_hit(truth):
    features = {feature.name: feature for feature in binned_features(truth, truth)}
    feature = features["sparsity(layer 1)"]
    values = 1 - (truth.voxels[:, 6:] > 0).sum(axis=1) / 6
    assert np.all(feature.edges[feature.reference - 1] < values)
    assert np.all((values < feature.edges[feature.reference]) | (feature.reference == len(feature.edges)))


def test_every_layer_by_itself_however_many():
    geometry = Geometry("electron", tuple(PolarLayer(i, (0.0, 4.65), 4) for i in range(12)))
    rng = np.random.default_rng(7)
    n = 50
    batches = [
        ShowerBatch(np.full(n, 1e4), np.full(n, 11), np.tile([0.0, 0, 1], (n, 1)),
                    rng.exponential(size=(n, 48)).astype(np.float32), geometry)
        for _ in range(2)
    ]  # fmt: skip
    found = separation_powers(*batches)
    assert {f"E(layer {k})" for k in range(12)} <= set(found)
    # 12 layers are drawn in groups.
    assert to_png(average_shower_figure(average_showers(*batches)[0])).startswith(b"\x89PNG")


def test_bins():
    values = np.random.default_rng(8).normal(size=100_000)
    edges = feature_edges(values)
    assert edges[[0, -1]] == pytest.approx(norm.ppf([1e-3, 0.999]), abs=0.1)
    # A value that most showers have does not hide the others.
    np.testing.assert_allclose(feature_edges(np.concatenate([np.zeros(200_000), values])), edges)
    assert len(feature_edges(np.full(5, 3.0))) == len(feature_edges(np.full(5, np.nan))) == 2
    np.testing.assert_array_equal(whole_edges(np.array([2.0, 3.0, 5.0] * 1000)), [1.5, 2.5, 3.5, 4.5, 5.5])


def test_exchange_keeps_what_is_seen(truth):
    """Bins lie in the range of the reference, so that only what lies at their ends may change."""
    other = scaled(showers(1500, np.random.default_rng(9)), 1.01)
    there, back = separation_powers(truth, other), separation_powers(other, truth)
    for name, power in there.items():
        assert power.value == pytest.approx(back[name].value, abs=4 * power.error), name


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (showers(1, np.random.default_rng(1)), "the sample has 1 showers"),
        (responses(np.ones(50)), "different calorimeters: 2 layers with 12 voxels, and 1 layers with 1 voxels"),
    ],
)
def test_what_cannot_be_compared(truth, batch, message):
    with pytest.raises(UserError, match=message):
        separation_powers(truth, batch)


def test_average_showers(truth):
    found = average_showers(truth, scaled(truth[:800], 2.0), [10, 90, 5000])
    assert [average.title for average in found] == ["all incident energies", "around 10 GeV", "around 90 GeV"]
    np.testing.assert_allclose(found[0].reference, truth.voxels.mean(axis=0))
    np.testing.assert_allclose(found[0].sample, 2 * truth.voxels[:800].mean(axis=0))
    np.testing.assert_allclose(found[0].reference_error, truth.voxels.std(axis=0, ddof=1) / 1500**0.5)
    inside = (truth.incident_energy > 1e4 / 1.2) & (truth.incident_energy < 1.2e4)
    np.testing.assert_allclose(found[1].reference, truth.voxels[inside].mean(axis=0))
    assert found[1].reference_showers == inside.sum()


def test_figures_are_drawn(truth, equal):
    calogan = Geometry.calogan()
    voxels = np.random.default_rng(9).exponential(size=(30, 504)) * 50
    batch = ShowerBatch(np.full(30, 5e4), np.full(30, -11), np.tile([0.0, 0, 1], (30, 1)), voxels, calogan)
    for average in (average_showers(batch, batch)[0], average_showers(truth, truth)[0]):
        drawn = average_shower_figure(average, "a $ name", "another")
        # Two images and a ratio for each layer, two of them with a bar.
        assert len(drawn.axes) == 5 * len(average.geometry.layers)
        assert to_png(drawn).startswith(b"\x89PNG")
    labels = [label.get_text() for label in separation_figure(list(equal.values())).axes[0].get_yticklabels()]
    assert "E_total / E_inc" in labels
