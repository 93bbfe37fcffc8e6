"""Low-level classifiers: closed forms, what only they see, chance, exchange of the samples."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import norm

from mlgen.errors import UserError
from mlgen.showers import Geometry, PolarLayer, ShowerBatch
from mlgen.stages import Progress
from mlgen.validation.separation import separation_powers
from mlgen.validation.settings import VoxelNetworkSettings
from mlgen.validation.shower_classifiers import low_level_auc, low_level_aucs
from mlgen.validation.voxel_encoding import ShowerTable, VoxelEncoding, VoxelForm

SMALL = VoxelNetworkSettings(width=32, layers=2, epochs=15, dropout=0)
GEOMETRY = Geometry("photon", (PolarLayer(0, (0.0, 1.0, 2.0), 3), PolarLayer(1, (0.0, 1.0), 4)))


def batch(voxels: np.ndarray, energy: float = 1000.0) -> ShowerBatch:
    n = len(voxels)
    return ShowerBatch(np.full(n, energy), np.full(n, 22), np.tile([0.0, 0.0, 1.0], (n, 1)), voxels, GEOMETRY)


def independent(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 10, size=(n, 10)).clip(1)


def correlated(n: int, seed: int) -> np.ndarray:
    """Each voxel as in `independent`; one of the first layer goes up and down with one of the second."""
    voxels = independent(n, seed)
    voxels[:, 7] = voxels[:, 1]
    return voxels


def test_two_gaussians_reach_the_closed_form():
    """Phi(d / sqrt 2) for a shift by d standard deviations."""
    shifted = independent(2000, 1)
    shifted[:, 3] += 10.0
    found = low_level_auc(batch(independent(2000, 2)), batch(shifted), seeds=1, network=SMALL, floor_seeds=1)
    best = norm.cdf(1 / np.sqrt(2))
    assert best - 0.04 - 3 * found.error < found.value < best + 3 * found.error
    assert found.floor == pytest.approx(0.5, abs=4 * found.floor_error)
    # 400 of each are judged: 0.3/sqrt(400) for each sample and more.
    assert 0.008 < found.error < 0.03
    assert found.p_value < 1e-6
    assert found.events == 2000


def test_a_broken_correlation_is_seen_by_no_histogram_but_by_the_network():
    truth = batch(correlated(3000, 3))
    voxels = correlated(3000, 4)
    voxels[:, 7] = np.random.default_rng(5).permutation(voxels[:, 7])
    sample = batch(voxels)
    # What is not made of both voxels: features of one layer.
    for name, power in separation_powers(truth, sample).items():
        if "(layer" in name:
            assert power.value <= power.expected + 4.5 * power.spread, name
    found = low_level_auc(truth, sample, seeds=1, form=VoxelForm.LOGARITHMIC, network=SMALL, floor_seeds=0)
    assert found.value > 0.65
    assert np.isnan(found.floor)


def test_nothing_is_found_in_equal_samples():
    told: list[Progress] = []
    samples = batch(independent(600, 6)), batch(independent(600, 7))
    found = low_level_aucs(*samples, seeds=1, network=SMALL, progress=told.append)
    assert {result.form for result in found} == set(VoxelForm)
    assert [r.measure.value for r in found] == sorted((r.measure.value for r in found), reverse=True)
    for result in found:
        assert result.measure.value == pytest.approx(0.5, abs=4 * result.measure.error)
        assert result.measure.floor == pytest.approx(0.5, abs=4 * result.measure.floor_error)
        assert result.measure.p_value > 1e-3
        # The halves of the reference are smaller than the samples here.
        assert "trained on 360 showers of each, 180 for the floor" in result.measure.note
    # For each form the sample and then its null floor, which tells the largest AUC so far: at the end that of the best.
    assert told[0].value == told[1].value
    assert told[-1].value == found[0].measure.value


def test_exchanged_samples_give_the_same():
    truth, sample = batch(independent(1000, 8)), batch(independent(1000, 9) * 1.02)
    there, back = (
        low_level_auc(*pair, seeds=1, network=with_dropout(SMALL), floor_seeds=0).value
        for pair in ((truth, sample), (sample, truth))
    )
    assert there > 0.55
    assert there == pytest.approx(back, abs=0.005)


def with_dropout(settings: VoxelNetworkSettings) -> VoxelNetworkSettings:
    """The same with dropout, which must be the same for both samples."""
    return settings.model_copy(update={"dropout": 0.2, "epochs": 5})


def test_same_seed_same_result():
    truth, sample = batch(independent(400, 10)), batch(independent(400, 11) * 1.05)
    quick = SMALL.model_copy(update={"epochs": 2})
    first, again, other = (
        low_level_aucs(truth, sample, seeds, forms=[VoxelForm.ENERGIES], network=quick, floor_seeds=0)[0].seed_values
        for seeds in ([5, 6], [5, 6], [7, 8])
    )
    assert first == again
    assert first != other
    assert first[0] != first[1]


def test_incident_energies_in_the_same_order_give_nothing_away():
    """Every energy is in both samples; were they in different parts, a network that learns them by heart would err."""
    rng = np.random.default_rng(12)
    energy = rng.uniform(1e3, 1e5, 600)
    truth, sample = (
        dataclasses.replace(batch(independent(600, seed)), incident_energy=energy, voxels=np.ones((600, 10)))
        for seed in (13, 14)
    )
    found = low_level_auc(truth, sample, seeds=1, network=SMALL, floor_seeds=0)
    # Showers that are the same have the same score: ties.
    assert found.value == pytest.approx(0.5)


def test_threshold_hides_what_is_below():
    voxels = independent(400, 15)
    truth, noisy = voxels.copy(), voxels.copy()
    truth[:, :5], noisy[:, :5] = 0.0, 0.01
    (found,) = low_level_aucs(
        batch(truth), batch(noisy), 1, forms=[VoxelForm.LOGARITHMIC], threshold=0.01, network=SMALL, floor_seeds=0
    )
    assert found.measure.value == pytest.approx(0.5)
    seen = low_level_auc(batch(truth), batch(noisy), 1, form=VoxelForm.LOGARITHMIC, network=SMALL, floor_seeds=0)
    assert seen.value > 0.95
    assert np.all(noisy[:, :5] == 0.01)


def encoded(form: VoxelForm, showers: ShowerBatch) -> np.ndarray:
    import torch

    table = ShowerTable(showers, 0.0, torch.device("cpu"))
    index = np.arange(len(showers))
    encoding = VoxelEncoding(form, 1.0, [table, table], [index, index])
    inputs = encoding(table, torch.from_numpy(index)).numpy()
    assert inputs.shape == (len(showers), encoding.size)
    return inputs


@pytest.mark.parametrize("form", list(VoxelForm))
def test_inputs(form):
    showers = batch(independent(200, 16))
    showers = dataclasses.replace(showers, incident_energy=np.random.default_rng(1).uniform(500, 2000, 200))
    showers.voxels[5] = 0.0
    inputs = encoded(form, showers)
    assert np.isfinite(inputs).all()
    np.testing.assert_allclose(inputs.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(inputs[:, 10:].std(axis=0), 1, rtol=1e-3)
    # Voxels together: unit variance each, or as much as all the others.
    others = 10 if form is VoxelForm.ENERGIES else inputs.shape[1] - 10
    assert inputs[:, :10].var(axis=0).sum() == pytest.approx(others, rel=1e-3)
    # Scaled all alike.
    voxels, energy = showers.voxels.astype(float), showers.incident_energy[:, None]
    expected = {
        VoxelForm.ENERGIES: voxels / energy,
        VoxelForm.NORMALISED: voxels / np.repeat(
            np.maximum(np.add.reduceat(voxels, [0, 6], axis=1), 1e-30), [6, 4], axis=1),
        VoxelForm.LOGARITHMIC: np.log10(1 + voxels),
    }[form]  # fmt: skip
    expected = expected - expected.mean(axis=0)
    scale = expected.std() / inputs[:, :10].std()
    np.testing.assert_allclose(inputs[:, :10] * scale, expected, atol=1e-4 * expected.std() * 10)


def test_what_never_varies_is_not_divided_by_rounding():
    assert np.abs(encoded(VoxelForm.NORMALISED, batch(np.full((300, 10), 7.0)))).max() == 0


@pytest.mark.parametrize(
    ("sample", "options", "message"),
    [
        (
            batch(independent(150, 1)),
            {},
            "200 showers of each sample are needed; the reference has 400, the sample 150",
        ),
        (batch(independent(400, 1)), {"seeds": []}, "no seed was given"),
    ],
)
def test_what_cannot_be_trained(sample, options, message):
    with pytest.raises(UserError, match=message):
        low_level_auc(batch(independent(400, 2)), sample, **options)
