"""Observables of showers: closed forms, an independent computation, and what is chosen."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from mlgen.errors import UserError
from mlgen.formats.shower_files import open_showers
from mlgen.showers import Geometry, PolarLayer, ShowerBatch
from mlgen.testing.samples import showers
from mlgen.validation.observable import Kind
from mlgen.validation.settings import ValidationSettings
from mlgen.validation.shower_observables import READOUT_THRESHOLD, ShowerObservables, choose_shower_observables

CALOGAN = Geometry.calogan()
EVERYTHING = ValidationSettings()


def shower(geometry: Geometry, hits: dict[tuple[int, int], float], incident_energy: float = 100.0) -> ShowerBatch:
    """One shower with energies in some voxels, by layer and voxel in the layer."""
    voxels = np.zeros((1, geometry.n_voxels))
    for (layer, voxel), energy in hits.items():
        voxels[0, geometry.layer_offsets[layer] + voxel] = energy
    return ShowerBatch(np.array([incident_energy]), np.array([11]), np.array([[0.0, 0.0, 1.0]]), voxels, geometry)


def by_name(batch: ShowerBatch, **options) -> dict[str, np.ndarray]:
    observables = choose_shower_observables(batch.geometry, EVERYTHING, **options)
    values = observables(batch)
    np.testing.assert_array_equal(values.index, np.arange(len(batch)))
    return {o.name: row for o, row in zip(observables.definitions, values.values, strict=True)}


def test_one_voxel_is_a_point():
    voxel = 5 * 12 + 2
    found = by_name(shower(CALOGAN, {(1, voxel): 25.0}))
    x, y = -220 + 40 * 5, -220 + 40 * 2
    assert found["centre x(layer 1)"] == pytest.approx(x)
    assert found["centre y(layer 1)"] == pytest.approx(y)
    assert found["width x(layer 1)"] == found["width y(layer 1)"] == 0
    assert found["E_total / E_inc"] == 0.25
    assert found["E_inc"] == 100
    assert found["E(layer 1)"] == found["E_total"] == 25
    assert found["fraction(layer 1)"] == 1
    assert found["hits(layer 1)"] == found["hits"] == 1
    assert found["E_ratio(layer 1)"] == 1
    assert found["depth"] == found["layer of most energy"] == 1
    assert found["depth width"] == 0


def test_two_equal_voxels_are_half_a_distance_wide():
    found = by_name(shower(CALOGAN, {(0, 0 * 96 + 10): 4.0, (0, 2 * 96 + 30): 4.0}))
    # 160 mm and 5 mm cells: the centres are 320 mm apart in x, 100 mm in y.
    assert found["centre x(layer 0)"] == pytest.approx(0)
    assert found["centre y(layer 0)"] == pytest.approx(-240 + 5 * 20.5)
    assert found["width x(layer 0)"] == pytest.approx(160)
    assert found["width y(layer 0)"] == pytest.approx(50)
    assert found["E_ratio(layer 0)"] == 0


def test_rings_have_a_radius():
    geometry = Geometry("photon", (PolarLayer(0, (0.0, 10.0, 30.0), 1), PolarLayer(12, (0.0, 10.0), 1)))
    found = by_name(shower(geometry, {(0, 0): 30.0, (0, 1): 10.0}))
    mean = (3 * 5 + 20) / 4
    assert found["centre r(layer 0)"] == pytest.approx(mean)
    assert found["width r(layer 0)"] == pytest.approx(math.sqrt((3 * 25 + 400) / 4 - mean**2))
    assert found["E_ratio(layer 0)"] == pytest.approx(0.5)
    assert not [name for name in found if "x(" in name]
    # A single voxel has no second-hottest one.
    assert "E_ratio(layer 12)" not in found


def test_layers_without_energy_have_no_centre():
    found = by_name(shower(CALOGAN, {(0, 3): 1.0}))
    for name in ("centre x", "centre y", "width x", "width y", "E_ratio"):
        assert np.isnan(found[f"{name}(layer 2)"])
    assert found["E(layer 2)"] == found["hits(layer 2)"] == found["fraction(layer 2)"] == 0


def test_empty_shower():
    found = by_name(shower(CALOGAN, {}))
    assert found["E_total / E_inc"] == found["E_total"] == found["hits"] == 0
    for name in ("depth", "depth width", "layer of most energy", "fraction(layer 0)", "centre x(layer 0)"):
        assert np.isnan(found[name])


def test_layers_add_up():
    batch = showers(500, np.random.default_rng(5))
    found = by_name(batch)
    layers = [f"layer {layer.layer_id}" for layer in batch.geometry.layers]
    np.testing.assert_allclose(sum(found[f"E({name})"] for name in layers), found["E_total"])
    np.testing.assert_allclose(sum(found[f"fraction({name})"] for name in layers), 1)
    np.testing.assert_array_equal(sum(found[f"hits({name})"] for name in layers), found["hits"])
    np.testing.assert_allclose(found["E_total / E_inc"] * found["E_inc"], batch.voxels.sum(axis=1))


def test_scaled_energies_change_no_shape():
    batch = showers(100, np.random.default_rng(6))
    scaled = ShowerBatch(3 * batch.incident_energy, batch.pdg_id, batch.direction, 3 * batch.voxels, batch.geometry)
    first, second = by_name(batch), by_name(scaled)
    for name in first:
        factor = 3 if name.startswith(("E(", "E_inc", "E_total")) and name != "E_total / E_inc" else 1
        np.testing.assert_allclose(second[name], factor * first[name], rtol=1e-9, atol=1e-9, err_msg=name)


def straightforward(batch: ShowerBatch, threshold: float) -> dict[str, list[float]]:
    """The features as the CaloChallenge's evaluation and the CaloGAN paper define them, voxel by voxel."""
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    for energies in batch.voxels.tolist():
        total, weighted, squared, start = sum(energies), 0.0, 0.0, 0
        for k, layer in enumerate(batch.geometry.layers):
            here = energies[start : start + layer.n_voxels]
            start += layer.n_voxels
            energy = sum(here)
            weighted, squared = weighted + k * energy, squared + k * k * energy
            x = y = xx = yy = 0.0
            hits = voxel = 0
            for slice_number in range(layer.n_angular):
                angle = -math.pi + (slice_number + 0.5) * 2 * math.pi / layer.n_angular
                for inner, outer in zip(layer.radial_edges, layer.radial_edges[1:], strict=False):
                    radius = (inner + outer) / 2
                    x += here[voxel] * radius * math.cos(angle) / energy
                    y += here[voxel] * radius * math.sin(angle) / energy
                    xx += here[voxel] * (radius * math.cos(angle)) ** 2 / energy
                    yy += here[voxel] * (radius * math.sin(angle)) ** 2 / energy
                    hits += here[voxel] > threshold
                    voxel += 1
            first, second = sorted(here)[:-3:-1]
            note(f"centre x(layer {layer.layer_id})", x)
            note(f"centre y(layer {layer.layer_id})", y)
            note(f"width x(layer {layer.layer_id})", math.sqrt(max(xx - x * x, 0)))
            note(f"width y(layer {layer.layer_id})", math.sqrt(max(yy - y * y, 0)))
            note(f"hits(layer {layer.layer_id})", hits)
            note(f"E_ratio(layer {layer.layer_id})", (first - second) / (first + second))
        note("depth", weighted / total)
        note("depth width", math.sqrt(squared / total - (weighted / total) ** 2))
    return found


def test_against_loops_over_voxels():
    rng = np.random.default_rng(8)
    geometry = Geometry(
        "photon", (PolarLayer(0, (0, 1, 3, 7), 5), PolarLayer(2, (0, 2, 5), 3), PolarLayer(3, (1, 2), 8))
    )
    voxels = rng.exponential(size=(50, geometry.n_voxels)) * (rng.random((50, geometry.n_voxels)) < 0.7)
    batch = ShowerBatch(np.full(50, 60.0), np.full(50, 22), np.tile([0.0, 0, 1], (50, 1)), voxels, geometry)
    for threshold in (0.0, 0.5):
        found = by_name(batch, hit_threshold=threshold)
        for name, expected in straightforward(batch, threshold).items():
            # Where one voxel was hit, rounding leaves the loops a width of about 1e-7 mm.
            np.testing.assert_allclose(found[name], expected, rtol=1e-9, atol=1e-6, err_msg=name)


def test_many_layers_are_grouped():
    layers = tuple(PolarLayer(i, (0.0, 4.65, 9.3), 16) for i in range(45))
    geometry = Geometry("electron", layers)
    observables = choose_shower_observables(geometry, EVERYTHING)
    names = [observable.name for observable in observables.definitions]
    assert "E(layers 0-4)" in names
    assert "E(layers 40-44)" in names
    assert len(names) == 7 + 9 * 8
    found = by_name(shower(geometry, {(5, 0): 2.0, (9, 0): 2.0, (44, 3): 1.0}))
    assert found["E(layers 5-9)"] == 4
    assert found["E(layers 40-44)"] == 1
    assert found["depth"] == pytest.approx((10 + 18 + 44) / 5)
    x, y = layers[0].centres[0]
    assert (found["centre x(layers 5-9)"][0], found["centre y(layers 5-9)"][0]) == pytest.approx((x, y))
    assert found["width x(layers 5-9)"] == 0


@pytest.mark.parametrize(("n_layers", "last"), [(10, "layer 9"), (11, "layer 10"), (12, "layers 10-11")])
def test_ten_layers_are_looked_at_one_by_one(n_layers, last):
    geometry = Geometry("", tuple(PolarLayer(i, (0.0, 1.0), 3) for i in range(n_layers)))
    names = [observable.name for observable in ShowerObservables(geometry).definitions]
    assert f"E({last})" in names
    assert ("E(layer 0)" in names) == (n_layers <= 10)


def test_single_layer_has_no_depth():
    geometry = Geometry("", (PolarLayer(0, (0.0, 1.0), 3),))
    found = by_name(shower(geometry, {(0, 1): 1.0}))
    assert "depth" not in found
    assert found["E(layer 0)"] == 1


def test_definitions_are_unique_and_drawable():
    from matplotlib.mathtext import MathTextParser

    definitions = ShowerObservables(CALOGAN).definitions
    assert len({observable.name for observable in definitions}) == len(definitions)
    for observable in definitions:
        MathTextParser("path").parse(observable.label)
    kinds = {observable.name: observable.kind for observable in definitions}
    assert kinds["hits(layer 0)"] is kinds["layer of most energy"] is Kind.INTEGER
    assert kinds["E(layer 0)"] is Kind.CONTINUOUS


def test_only_and_leave_out():
    settings = ValidationSettings(only=["E*", "depth"], leave_out=["*(layer [01])", "E_ratio*"])
    chosen = choose_shower_observables(CALOGAN, settings)
    names = [observable.name for observable in chosen.definitions]
    assert names == ["E_total / E_inc", "E_inc", "E_total", "depth", "E(layer 2)"]
    batch = shower(CALOGAN, {(0, 5): 3.0, (2, 7): 5.0})
    everything = by_name(batch)
    for name, row in zip(names, chosen(batch).values, strict=True):
        assert row == everything[name]


def test_nothing_left():
    with pytest.raises(UserError, match="no observable is left; for these showers there are: E_total / E_inc, E_inc"):
        choose_shower_observables(CALOGAN, ValidationSettings(only=["pT*"]))


@pytest.mark.parametrize("settings", [{"observables": {"a": "1"}}, {"select": "1 > 0"}])
def test_expressions_are_for_events(settings):
    with pytest.raises(UserError, match=rf"\[validation\] {next(iter(settings))}: expressions are for events"):
        choose_shower_observables(CALOGAN, ValidationSettings(**settings))


def test_what_no_pilot_has_is_left_out():
    pilots = [[shower(CALOGAN, {(0, 1): 1.0})], [shower(CALOGAN, {(0, 1): 1.0, (1, 1): 1.0})]]
    names = {observable.name for observable in choose_shower_observables(CALOGAN, EVERYTHING, pilots).definitions}
    assert "centre x(layer 1)" in names
    assert "centre x(layer 2)" not in names
    assert "E(layer 2)" in names


def test_other_calorimeter():
    photons = showers(3, np.random.default_rng(1))
    with pytest.raises(UserError, match="different calorimeters: 3 layers with 504 voxels, and 2 layers with 12"):
        choose_shower_observables(CALOGAN, EVERYTHING, [[photons]])
    with pytest.raises(UserError, match=r"shape \(3, 12\) do not fit 3 layers with 504 voxels"):
        ShowerObservables(CALOGAN)(photons)


def test_batch_is_not_changed():
    batch = showers(50, np.random.default_rng(2))
    before = batch.voxels.copy()
    ShowerObservables(batch.geometry)(batch)
    np.testing.assert_array_equal(batch.voxels, before)


def test_empty_batch():
    batch = showers(0, np.random.default_rng(2))
    assert ShowerObservables(batch.geometry)(batch).values.shape == (
        len(ShowerObservables(batch.geometry).definitions),
        0,
    )


def test_readout_threshold_of_dataset_2():
    assert pytest.approx(15.15e-3, rel=1e-3) == READOUT_THRESHOLD


@pytest.mark.physics
def test_geant4_showers_are_symmetric():
    """A pencil beam at the centre, without a field: centres average to zero, and x and y are alike in square cells."""
    path = Path(__file__).parents[3] / "shared" / "data" / "geant4" / "eplus_1_100.h5"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    with open_showers(path) as stream:
        batch = next(iter(stream))
        found = by_name(batch)
    n = len(batch)
    for name in ("centre x(layer 0)", "centre y(layer 0)", "centre x(layer 1)", "centre y(layer 1)"):
        # Four standard deviations, four times: a chance of 3e-4.
        assert abs(found[name].mean()) < 4 * found[name].std() / math.sqrt(n), name
    widths = found["width x(layer 1)"] - found["width y(layer 1)"]
    assert abs(widths.mean()) < 4 * widths.std() / math.sqrt(n)
    # README of the file: 0.997, a little of which is outside the cells.
    assert found["E_total / E_inc"].mean() == pytest.approx(0.997, abs=0.002)
    assert np.all(found["E_total / E_inc"] < 1.01)
