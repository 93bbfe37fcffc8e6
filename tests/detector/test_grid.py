"""The fixed grid: nothing gets lost, overlapping showers add up, the largest contribution is named."""

import math

import numpy as np
import pytest

from mlgen.cells import CELL_COLUMNS
from mlgen.detector.grid import CellGrid
from mlgen.errors import CardError


def cells(rows):
    """Columns of cells from rows of (layer, eta, phi, energy, particle)."""
    layer, eta, phi, energy, particle = np.array(rows, float).reshape(-1, 5).T
    columns = {name: np.zeros(len(layer), kind) for name, kind in CELL_COLUMNS.items()}
    return columns | {
        "layer": layer.astype(np.int32),
        "eta": eta,
        "phi": phi,
        "energy": energy,
        "particle": particle.astype(np.int32),
    }


def test_overlapping_showers_add_up_and_the_larger_one_is_named():
    rows = [(0, 0.12, 0.1, 5.0, 0), (0, 0.18, 0.15, 4.0, 1), (0, 0.14, 0.12, 2.0, 1), (1, 0.12, 0.1, 1.0, 0)]
    grid = CellGrid((0.1, 2 * math.pi / 16), {0: 20.0, 1: 50.0}, 1000.0)
    event, merged = grid.merged(np.zeros(4, int), cells(rows))
    assert merged["energy"].tolist() == [11.0, 1.0]
    assert merged["particle"].tolist() == [1, 0]
    assert event.tolist() == [0, 0]
    # The cell of eta 0.1 to 0.2 and the ninth of the 16 from -pi on.
    assert merged["voxel"].tolist() == [1 * 16 + 8] * 2
    np.testing.assert_allclose(merged["eta"], 0.15)
    np.testing.assert_allclose(merged["phi"], math.pi / 16)
    np.testing.assert_allclose(np.hypot(merged["x"], merged["y"]), [1020, 1050])
    np.testing.assert_allclose(np.arcsinh(merged["z"] / [1020, 1050]), 0.15)


def test_energy_of_every_event_and_layer_is_kept():
    rng = np.random.default_rng(2)
    n = 2000
    rows = np.stack(
        [
            rng.integers(0, 2, n),
            rng.uniform(-2, 2, n),
            rng.uniform(-math.pi, math.pi, n),
            rng.exponential(1.0, n),
            rng.integers(0, 5, n),
        ],
        axis=1,
    )
    event = np.sort(rng.integers(0, 7, n))
    columns = cells(rows)
    after, merged = CellGrid({"0": (0.5, 0.5), "1": (0.1, 0.3)}, {0: 0.0, 1: 0.0}, 1.0).merged(event, columns)
    for number in range(7):
        for layer in (0, 1):
            before = columns["energy"][(event == number) & (columns["layer"] == layer)].sum()
            here = (after == number) & (merged["layer"] == layer)
            assert merged["energy"][here].sum() == pytest.approx(before, rel=1e-12)
            assert len(set(merged["voxel"][here].tolist())) == here.sum()
    assert np.all(np.diff(after) >= 0)
    assert np.all(np.abs(merged["phi"]) < math.pi)
    # 2 pi / 0.5 is not whole: the circle has 13 cells, and 8 in eta.
    assert ((merged["layer"] == 0) & (after == 0)).sum() <= 13 * 8


def test_an_azimuth_of_pi_is_in_the_last_cell():
    _, merged = CellGrid((0.1, 0.1), {0: 0.0}, 1.0).merged(np.zeros(1, int), cells([(0, 0.0, math.pi, 1.0, 0)]))
    assert merged["voxel"].tolist() == [round(2 * math.pi / 0.1) - 1]


def test_no_cells():
    event, merged = CellGrid((0.1, 0.1), {0: 0.0}, 1.0).merged(np.zeros(0, int), cells([]))
    assert len(event) == len(merged["energy"]) == 0


def test_sizes_for_other_layers_are_refused():
    with pytest.raises(CardError, match="for the layers 0, 7; the model's calorimeter has the layers 0, 1"):
        CellGrid({"0": (0.1, 0.1), "7": (0.1, 0.1)}, {0: 0.0, 1: 10.0}, 1.0)


def test_no_cell_is_no_cell():
    event, merged = CellGrid((0.1, 0.1), {0: 20.0}, 1000.0).merged(np.zeros(0, int), cells([]))
    assert len(event) == 0
    assert {name: len(values) for name, values in merged.items()} == dict.fromkeys(CELL_COLUMNS, 0)


def test_cells_that_cannot_be_numbered_are_refused():
    with pytest.raises(CardError, match="take larger ones"):
        CellGrid((1e-5, 1e-5), {0: 20.0}, 1000.0).merged(np.zeros(1, int), cells([(0, 0.5, 0.1, 5.0, 0)]))
