"""Calorimeter cells in ROOT files and showers in HDF5: what plain uproot and h5py read."""

import h5py
import numpy as np
import pytest
import uproot

from mlgen.cells import CELL_COLUMNS, SHOWER_PARTICLE_COLUMNS, CellBatch, CellError
from mlgen.errors import OutputError
from mlgen.events import PARTICLE_COLUMNS, EventBatch
from mlgen.formats import cells_writer, create_events, open_events
from mlgen.formats.cells_reader import read_cells
from mlgen.formats.shower_files import open_showers
from mlgen.formats.shower_output import ShowerOutput
from mlgen.run_info import RunInfo
from mlgen.showers import Geometry, ShowerBatch

NAMES = ("scale up", "pdf 3")


def made(n, seed, first=0):
    """Random cells of n events, some of them without any."""
    rng = np.random.default_rng(seed)
    counts = {"particle": rng.integers(0, 3, n), "cell": rng.integers(0, 9, n)}
    columns = {
        kind: {name: rng.normal(0, 100, counts[kind].sum()).astype(dtype) for name, dtype in names.items()}
        for kind, names in (("particle", SHOWER_PARTICLE_COLUMNS), ("cell", CELL_COLUMNS))
    }
    return CellBatch(
        event=first + np.arange(n),
        weight=rng.normal(size=n),
        particle_counts=counts["particle"],
        particles=columns["particle"],
        cell_counts=counts["cell"],
        cells=columns["cell"],
        variations={name: rng.normal(size=n) for name in NAMES},
    )


@pytest.mark.parametrize("suffix", [".root", ".rntuple.root"])
def test_cells_are_read_back_as_they_were(suffix, tmp_path, monkeypatch):
    monkeypatch.setattr(cells_writer, "PIECE_EVENTS", 15)
    path = tmp_path / f"events{suffix}"
    batches = [made(10, 1), made(10, 2, 10), made(0, 3), made(7, 4, 20)]
    with create_events(path, RunInfo().with_variations(NAMES)) as output:
        for batch in batches:
            events = EventBatch.from_columns(
                np.zeros(len(batch), int), dict.fromkeys(PARTICLE_COLUMNS, np.zeros(0)), weight=batch.weight
            )
            output.write(events)
            output.write_cells(batch)
    with uproot.open(path) as file:
        tree = file["cells"]
        assert tree.num_entries == 27
        data = tree.arrays()
    assert data["event"].tolist() == list(range(27))
    assert np.array_equal(np.asarray(data["weight"]), np.concatenate([batch.weight for batch in batches]))
    expected = np.concatenate([np.stack([b.variations[name] for name in NAMES], axis=1) for b in batches])
    assert np.array_equal(np.asarray(data["variations"]), expected)
    for kind, names, counts, columns in (
        ("particle", SHOWER_PARTICLE_COLUMNS, "particle_counts", "particles"),
        ("cell", CELL_COLUMNS, "cell_counts", "cells"),
    ):
        for name, dtype in names.items():
            column = data[kind][name] if "rntuple" in suffix else data[f"{kind}_{name}"]
            assert [len(entry) for entry in column] == np.concatenate([getattr(b, counts) for b in batches]).tolist()
            flat = np.concatenate([np.asarray(entry) for entry in column])
            assert flat.dtype == dtype
            assert np.array_equal(flat, np.concatenate([getattr(b, columns)[name] for b in batches])), name
    again = list(read_cells(path))
    for name in ("event", "weight", "particle_counts", "cell_counts"):
        assert np.array_equal(
            np.concatenate([getattr(b, name) for b in again]), np.concatenate([getattr(b, name) for b in batches])
        )
    for part in ("particles", "cells", "variations"):
        for name in getattr(batches[0], part):
            wanted = np.concatenate([getattr(b, part)[name] for b in batches])
            assert np.array_equal(np.concatenate([getattr(b, part)[name] for b in again]), wanted), name
    # The file is one of events all the same.
    with open_events(path) as opened:
        assert sum(len(batch) for batch in opened) == 27


@pytest.mark.parametrize("suffix", [".root", ".rntuple.root"])
def test_no_event_has_an_empty_table(suffix, tmp_path):
    path = tmp_path / f"events{suffix}"
    with create_events(path, RunInfo().with_variations(NAMES)) as output:
        output.write_cells(CellBatch.empty())
    with uproot.open(path) as file:
        assert file["cells"].num_entries == 0
    assert not list(read_cells(path))


def test_a_file_of_other_weights_refuses_the_cells(tmp_path):
    with (
        pytest.raises(OutputError, match="'pdf 3' that the run information does not declare"),
        create_events(tmp_path / "events.root", RunInfo().with_variations(NAMES[:1])) as output,
    ):
        output.write_cells(made(3, 1))
    assert not list(tmp_path.iterdir())


def test_columns_that_do_not_belong_together_are_refused():
    whole = made(5, 1)
    fields = {name: getattr(whole, name) for name in CellBatch.__slots__}
    with pytest.raises(CellError, match="weight has shape"):
        CellBatch(**fields | {"weight": np.zeros(4)})
    with pytest.raises(CellError, match="cell columns are"):
        CellBatch(**fields | {"cells": {}})
    with pytest.raises(CellError, match="cell column 'energy' has shape"):
        CellBatch(**fields | {"cells": {**whole.cells, "energy": np.zeros(1)}})


COLUMNS = {"event": ((), "i8"), "position": ((3,), "f8")}


def showers(n):
    geometry = Geometry.calogan("e+")
    rng = np.random.default_rng(n)
    voxels = rng.exponential(1.0, (n, geometry.n_voxels))
    direction = np.tile([0.0, 0.0, 1.0], (n, 1))
    return ShowerBatch(rng.uniform(1e3, 1e4, n), np.full(n, -11), direction, voxels, geometry)


def test_showers_with_columns_of_their_own(tmp_path):
    path = tmp_path / "showers.h5"
    rng = np.random.default_rng(1)
    position = rng.normal(size=(5, 3))
    with ShowerOutput(path, showers(1).geometry, columns=COLUMNS, provenance=[{"program": "mlgen"}]) as output:
        for part in (slice(0, 3), slice(3, 5)):
            output.write(showers(5)[part], {"event": np.arange(5)[part], "position": position[part]})
        output.finish()
        assert not path.exists()
        output.publish()
    with h5py.File(path) as file:
        assert file["showers"].shape == (5, 504)
        assert file["incident_energies"].shape == (5, 1)
        assert np.array_equal(file["position"][:], position)
        assert file["event"][:].tolist() == [0, 1, 2, 3, 4]
    with open_showers(path) as stream:
        assert np.array_equal(next(iter(stream)).voxels, showers(5).voxels)
        assert stream.provenance == ({"program": "mlgen"},)
    assert [entry.name for entry in tmp_path.iterdir()] == ["showers.h5"]


def test_no_showers_are_an_empty_file(tmp_path):
    path = tmp_path / "showers.h5"
    with ShowerOutput(path, showers(1).geometry, columns=COLUMNS) as output:
        output.finish()
        output.publish()
    with h5py.File(path) as file:
        assert file["showers"].shape == (0, 504)
        assert file["position"].shape == (0, 3)


@pytest.mark.parametrize("finished", [False, True])
def test_what_is_not_published_is_thrown_away(finished, tmp_path):
    with ShowerOutput(tmp_path / "showers.h5", showers(1).geometry) as output:
        output.write(showers(3), {})
        if finished:
            output.finish()
    assert not list(tmp_path.iterdir())
