"""Files of showers: both layouts, round trips, and every way in which a file can be wrong, in words."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from mlgen.errors import InputError, OutputError, WriteFailure
from mlgen.formats import shower_reader
from mlgen.formats.shower_files import is_shower_file, open_showers, write_showers
from mlgen.showers import Geometry, PolarLayer, RectangularLayer, ShowerBatch
from mlgen.testing.samples import showers

POLAR = showers(1, np.random.default_rng(0)).geometry
BINNING = """<Bins>
  <Bin pid="22" name="photon"><Layer id="0" r_edges="0,10,20,40" n_bin_alpha="2"/>
                              <Layer id="1" r_edges="0,10,20,40" n_bin_alpha="2"/></Bin>
  <Bin pid="211" name="pion"><Layer id="0" r_edges="0,5" n_bin_alpha="2"/></Bin>
</Bins>"""


@pytest.fixture
def binning(tmp_path):
    path = tmp_path / "binning.xml"
    path.write_text(BINNING)
    return path


@pytest.fixture
def batch():
    return showers(300, np.random.default_rng(7))


def challenge_file(path: Path, batch: ShowerBatch, **changes: np.ndarray | None) -> Path:
    """The two data sets of the CaloChallenge's public files, and nothing else."""
    content = {"incident_energies": batch.incident_energy[:, None], "showers": batch.voxels} | changes
    with h5py.File(path, "w") as file:
        for name, values in content.items():
            if values is not None:
                file.create_dataset(name, data=values, compression="gzip", chunks=True)
    return path


def calogan_file(path: Path, n: int = 20, **changes: np.ndarray | None) -> Path:
    rng = np.random.default_rng(3)
    content = {
        "energy": rng.uniform(1, 100, (n, 1)),
        "layer_0": rng.exponential(10, (n, 3, 96)),
        "layer_1": rng.exponential(10, (n, 12, 12)),
        "layer_2": rng.exponential(10, (n, 12, 6)),
        "overflow": np.zeros((n, 3)),
    } | changes
    with h5py.File(path, "w") as file:
        for name, values in content.items():
            if values is not None:
                file[name] = values
    return path


def read(path: Path, **options) -> ShowerBatch:
    with open_showers(path, **options) as stream:
        batches = list(stream)
    names = ("incident_energy", "pdg_id", "direction", "voxels")
    columns = {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in names}
    return ShowerBatch(**columns, geometry=stream.geometry)


def same(first: ShowerBatch, second: ShowerBatch) -> bool:
    names = ("incident_energy", "pdg_id", "direction", "voxels")
    return first.geometry == second.geometry and all(
        np.array_equal(getattr(first, name), getattr(second, name)) for name in names
    )


def test_what_is_written_is_read(tmp_path, batch):
    rng = np.random.default_rng(1)
    direction = rng.normal(size=(len(batch), 3))
    batch = dataclasses.replace(batch, direction=direction, pdg_id=rng.choice([22, -11, 211], len(batch)))
    halves = [
        ShowerBatch(*(getattr(batch, f)[part] for f in ("incident_energy", "pdg_id", "direction", "voxels")), POLAR)
        for part in (slice(0, 0), slice(0, 120), slice(120, None))
    ]
    path = tmp_path / "out.h5"
    provenance = [{"mlgen": "0.1.0", "seed": 3}]
    assert write_showers(path, iter(halves), provenance=provenance, attributes={"cut": 0.7}) == 300
    assert same(read(path), batch)
    assert list(tmp_path.iterdir()) == [path]
    with open_showers(path) as stream:
        assert stream.n_showers == len(stream) == 300
        assert stream.format == "calochallenge"
        assert stream.provenance == tuple(provenance)
        assert stream.attributes["cut"] == 0.7
        assert stream.attributes["showers_unit"] == "MeV"


def test_what_is_written_has_the_challenge_s_layout(tmp_path, batch):
    write_showers(tmp_path / "out.h5", [batch])
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_array_equal(file["incident_energies"][:], batch.incident_energy[:, None])
        np.testing.assert_array_equal(file["showers"][:], batch.voxels)


def test_rectangular_geometry_and_particle_survive(tmp_path):
    first = read(calogan_file(tmp_path / "in.h5"), particle="e+")
    write_showers(tmp_path / "out.h5", [first])
    assert same(read(tmp_path / "out.h5"), first)
    assert set(first.pdg_id) == {-11}


@pytest.mark.parametrize("batch_size", [1, 7, 300, 10_000])
def test_batches_can_be_read_again(tmp_path, batch, batch_size):
    write_showers(tmp_path / "out.h5", [batch])
    with open_showers(tmp_path / "out.h5", batch_size=batch_size) as stream:
        for _ in range(2):
            batches = list(stream)
            assert [len(b) for b in batches[:-1]] == [batch_size] * (len(batches) - 1)
            np.testing.assert_array_equal(np.concatenate([b.voxels for b in batches]), batch.voxels)


def test_batches_of_many_voxels_stay_small(tmp_path, batch, monkeypatch):
    write_showers(tmp_path / "out.h5", [batch])
    monkeypatch.setattr(shower_reader, "BATCH_BYTES", 100 * 12 * 8 + 5)
    with open_showers(tmp_path / "out.h5") as stream:
        assert [len(b) for b in stream] == [100, 100, 100]


def test_a_batch_needs_a_shower(tmp_path, batch):
    write_showers(tmp_path / "out.h5", [batch])
    with pytest.raises(ValueError, match="batch of 0 showers"):
        open_showers(tmp_path / "out.h5", batch_size=0)


def test_public_file_with_its_binning(tmp_path, batch, binning):
    path = challenge_file(tmp_path / "in.hdf5", batch)
    assert same(read(path, geometry=binning, particle="photon"), batch)
    geometry = tmp_path / "geometry.json"
    geometry.write_text(POLAR.to_json())
    assert same(read(path, geometry=geometry), batch)


def test_binning_of_a_single_particle_needs_no_particle(tmp_path, batch, binning):
    binning.write_text(BINNING.split('  <Bin pid="211"')[0] + "</Bins>")
    path = challenge_file(tmp_path / "in.hdf5", batch)
    assert set(read(path, geometry=binning).pdg_id) == {22}


def test_one_dimensional_incident_energies(tmp_path, batch, binning):
    path = challenge_file(tmp_path / "in.hdf5", batch, incident_energies=batch.incident_energy)
    np.testing.assert_array_equal(
        read(path, geometry=binning, particle="photon").incident_energy, batch.incident_energy
    )


def test_calogan_file(tmp_path):
    path = calogan_file(tmp_path / "in.h5")
    batch = read(path)
    with h5py.File(path) as file:
        np.testing.assert_allclose(batch.incident_energy, 1000 * file["energy"][:, 0])
        np.testing.assert_array_equal(batch.voxels[:, 288:432].reshape(-1, 12, 12), file["layer_1"][:])
    assert batch.geometry == Geometry.calogan("")
    assert set(batch.pdg_id) == {0}


def test_calogan_layout_of_another_calorimeter(tmp_path):
    edges = tuple(np.linspace(-1, 1, 5).tolist())
    geometry = Geometry("photon", (RectangularLayer(0, edges, edges),))
    given = tmp_path / "geometry.json"
    given.write_text(geometry.to_json())
    images = np.ones((5, 4, 4))
    path = calogan_file(tmp_path / "in.h5", 5, energy=np.full((5, 1), 0.1), layer_0=images, layer_1=None, layer_2=None)
    assert read(path, geometry=given).geometry == geometry
    with pytest.raises(InputError, match=r"layers of 4 x 4 cells; its geometry, .* 3 x 96, 12 x 12, 12 x 6"):
        open_showers(path)


@pytest.mark.physics
def test_geant4_showers(shared_data):
    # README of the file: deposited over incident energy is 0.997, with what is outside the scored square.
    path = shared_data / "geant4" / "eplus_1_100.h5"
    with open_showers(path) as stream:
        assert stream.n_showers == 22240
        assert stream.geometry == Geometry.calogan("e+")
        assert stream.format == "calogan"
        batches = list(stream)
    with h5py.File(path) as file:
        overflow = file["overflow"][:].sum(dtype=float)
    deposited = sum(batch.voxels.sum() for batch in batches)
    incident = sum(batch.incident_energy.sum() for batch in batches)
    assert (deposited + overflow) / incident == pytest.approx(0.997, abs=0.001)
    assert min(batch.incident_energy.min() for batch in batches) >= 1000
    assert set(batches[0].pdg_id) == {-11}


def test_showers_are_told_from_other_files(tmp_path, batch, shared_data):
    write_showers(tmp_path / "ours.h5", [batch])
    assert is_shower_file(tmp_path / "ours.h5")
    assert is_shower_file(challenge_file(tmp_path / "public.h5", batch))
    assert is_shower_file(calogan_file(tmp_path / "calogan.h5"))
    assert not is_shower_file(shared_data / "lhe" / "hpcgen.hdf5")
    assert not is_shower_file(shared_data / "lhe" / "madgraph-2.0.0-wbj.lhe")
    assert not is_shower_file(tmp_path / "nowhere.h5")
    assert not is_shower_file(tmp_path)
    (tmp_path / "ours.h5").write_bytes((tmp_path / "ours.h5").read_bytes()[:100])
    assert not is_shower_file(tmp_path / "ours.h5")


def test_events_are_no_showers(shared_data):
    with pytest.raises(InputError, match=r"hpcgen.hdf5: is no file of showers: it holds .*events"):
        open_showers(shared_data / "lhe" / "hpcgen.hdf5")


def test_geometry_that_nobody_gave(tmp_path, batch):
    path = challenge_file(tmp_path / "in.hdf5", batch)
    with pytest.raises(InputError, match=r"showers of 12 voxels, but does not say where(.|\n)*--geometry .*--particle"):
        open_showers(path)


def test_particle_that_nobody_gave(tmp_path, batch, binning):
    path = challenge_file(tmp_path / "in.hdf5", batch)
    with pytest.raises(InputError, match=r"binnings for: photon \(12 voxels\), pion \(2 voxels\); say which"):
        open_showers(path, geometry=binning)
    with pytest.raises(InputError, match="no binning for 'muon'; there is one for: photon, pion"):
        open_showers(path, geometry=binning, particle="muon")


def test_binning_that_does_not_fit(tmp_path, batch, binning):
    path = challenge_file(tmp_path / "in.hdf5", batch)
    with pytest.raises(InputError, match=r"showers of 12 voxels, .*'pion' in .* has 2(.|\n)*would fit .* for: photon"):
        open_showers(path, geometry=binning, particle="pion")
    path = challenge_file(tmp_path / "in.hdf5", batch, showers=batch.voxels[:, 1:])
    with pytest.raises(InputError, match=r"11 voxels(.|\n)*No other binning in it fits"):
        open_showers(path, geometry=binning, particle="photon")


def test_geometry_that_contradicts_the_file(tmp_path, batch, binning):
    write_showers(tmp_path / "out.h5", [batch])
    assert same(read(tmp_path / "out.h5", geometry=binning, particle="photon"), batch)
    binning.write_text(BINNING.replace("0,10,20,40", "0,10,20,50"))
    with pytest.raises(InputError, match="carries a geometry of its own, which differs"):
        open_showers(tmp_path / "out.h5", geometry=binning, particle="photon")


def test_files_that_are_not_there_or_something_else(tmp_path):
    (tmp_path / "text.h5").write_text("no HDF5")
    for name, problem in (("nowhere.h5", "no such file"), ("", "is a directory"), ("text.h5", "is no HDF5 file")):
        with pytest.raises(InputError, match=problem):
            open_showers(tmp_path / name)


def test_cut_file(tmp_path, batch):
    write_showers(tmp_path / "out.h5", [batch])
    content = (tmp_path / "out.h5").read_bytes()
    for share in (0.3, 0.7, 0.99):
        (tmp_path / "cut.h5").write_bytes(content[: int(share * len(content))])
        with pytest.raises(InputError, match=r"cut\.h5: .*cut or damaged"):
            read(tmp_path / "cut.h5")


def test_damaged_chunk(tmp_path, batch):
    path = challenge_file(tmp_path / "out.h5", batch)
    with h5py.File(path) as file:
        chunk = file["showers"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"\xff" * chunk.size
    path.write_bytes(content)
    geometry = tmp_path / "geometry.json"
    geometry.write_text(POLAR.to_json())
    with pytest.raises(InputError, match=r"showers 1 to 300 cannot be read; the file is cut or damaged"):
        read(path, geometry=geometry)


@pytest.mark.parametrize(
    ("value", "kind"), [(np.nan, "1 NaN"), (np.inf, "1 infinite"), (-1e-9, "1 negative"), (-np.inf, "1 negative")]
)
@pytest.mark.parametrize("shower", [0, 250])
def test_bad_voxel_energies_are_counted(tmp_path, batch, binning, value, kind, shower):
    voxels = batch.voxels.copy()
    voxels[shower, 3] = value
    path = challenge_file(tmp_path / "in.h5", batch, showers=voxels)
    expected = f"'showers' has {kind} voxel energies, in 1 of 300 showers, first in shower {shower + 1}"
    with pytest.raises(InputError, match=expected):
        read(path, geometry=binning, particle="photon", batch_size=100)


def test_bad_energies_are_counted_to_the_end_of_the_file(tmp_path, batch, binning):
    voxels = batch.voxels.copy()
    voxels[[120, 120, 299], [0, 1, 2]] = -1, np.nan, -3
    path = challenge_file(tmp_path / "in.h5", batch, showers=voxels)
    expected = "1 NaN and 2 negative voxel energies, in 2 of 300 showers, first in shower 121"
    with pytest.raises(InputError, match=expected):
        read(path, geometry=binning, particle="photon", batch_size=50)


def test_bad_incident_energies(tmp_path, batch, binning):
    energy = batch.incident_energy.copy()
    energy[[5, 6, 7]] = 0, np.nan, -1
    path = challenge_file(tmp_path / "in.h5", batch, incident_energies=energy)
    expected = "'incident_energies' has 1 NaN and 1 negative and 1 zero incident energies, in 3 of 300"
    with pytest.raises(InputError, match=expected):
        read(path, geometry=binning, particle="photon")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"showers": None}, "no data set 'showers', which CaloChallenge HDF5 needs; it has incident_energies"),
        ({"incident_energies": None}, "no data set 'incident_energies'"),
        ({"showers": np.ones((300, 3, 4))}, r"'showers' has the shape \(300, 3, 4\)"),
        ({"incident_energies": np.ones((300, 2))}, r"'incident_energies' has the shape \(300, 2\); \(showers, 1\)"),
        ({"showers": np.ones((299, 12))}, "'showers' has 299 showers, but 'incident_energies' has 300"),
        ({"pdg_id": np.full(10, 22)}, "'pdg_id' has 10 showers"),
        ({"direction": np.ones((300, 2))}, r"'direction' has the shape \(300, 2\)"),
        ({"showers": np.full((300, 12), b"a")}, "'showers' is no data set of numbers"),
    ],
)
def test_data_sets_that_do_not_fit(tmp_path, batch, binning, changes, problem):
    path = challenge_file(tmp_path / "in.h5", batch, **changes)
    with pytest.raises(InputError, match=problem):
        open_showers(path, geometry=binning, particle="photon")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"energy": None}, "no data set 'energy', which CaloGAN HDF5 needs"),
        ({"layer_1": None}, "no data set 'layer_1'"),
        ({"layer_1": np.ones((20, 144))}, r"'layer_1' has the shape \(20, 144\)"),
        ({"layer_1": np.ones((20, 12, 11))}, "layers of 3 x 96, 12 x 11, 12 x 6 cells"),
        ({"layer_2": np.ones((19, 12, 6))}, "'layer_2' has 19 showers, but 'energy' has 20"),
    ],
)
def test_calogan_data_sets_that_do_not_fit(tmp_path, changes, problem):
    with pytest.raises(InputError, match=problem):
        open_showers(calogan_file(tmp_path / "in.h5", **changes))


def test_no_showers(tmp_path, batch):
    empty = np.empty((0, 12))
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["incident_energies"], file["showers"] = empty[:, :1], empty
    with pytest.raises(InputError, match=r"in\.h5: holds no showers: 'incident_energies' is empty"):
        open_showers(tmp_path / "in.h5")


def test_other_units_are_noticed(tmp_path, batch, binning):
    path = challenge_file(tmp_path / "in.h5", batch, incident_energies=batch.incident_energy / 1000)
    with pytest.raises(InputError, match=r"'incident_energies' in MeV, 'showers' in MeV\)(.|\n)*does not guess"):
        open_showers(path, geometry=binning, particle="photon")
    path = challenge_file(tmp_path / "in.h5", batch, showers=batch.voxels / 1000)
    with pytest.raises(InputError, match=r"deposit 0\.0008 times their incident energy"):
        open_showers(path, geometry=binning, particle="photon")
    with pytest.raises(InputError, match="'energy' in GeV"):
        open_showers(calogan_file(tmp_path / "in.h5", energy=np.full((20, 1), 5e4)))


@pytest.mark.parametrize("scale", [0.0, 0.01, 1.2])
def test_small_and_calibrated_responses_are_read(tmp_path, batch, binning, scale):
    path = challenge_file(tmp_path / "in.h5", batch, showers=batch.voxels * scale)
    np.testing.assert_array_equal(read(path, geometry=binning, particle="photon").voxels, batch.voxels * scale)


def test_files_are_not_replaced_unasked(tmp_path, batch):
    path = tmp_path / "out.h5"
    path.write_text("precious")
    with pytest.raises(OutputError, match="exists already"):
        write_showers(path, [batch])
    assert path.read_text() == "precious"
    assert write_showers(path, [batch], force=True) == 300
    with pytest.raises(OutputError, match="no directory"):
        write_showers(tmp_path / "none" / "out.h5", [batch])
    with pytest.raises(OutputError, match="is a directory"):
        write_showers(tmp_path, [batch])


def test_nothing_is_left_of_a_failure(tmp_path, batch):
    other = Geometry("photon", (PolarLayer(0, (0.0, 1.0), 12),))
    negative, missing = batch.voxels.copy(), batch.incident_energy.copy()
    negative[3, 4], missing[0] = -1, np.nan
    for batches, problem in (
        ([], "no showers to write"),
        ([batch, dataclasses.replace(batch, geometry=other)], "showers 301 to 600 have another geometry"),
        ([dataclasses.replace(batch, voxels=negative)], "1 voxel energies are negative"),
        ([dataclasses.replace(batch, incident_energy=missing)], "an incident energy is not positive"),
        ([dataclasses.replace(batch, voxels=batch.voxels[:, 1:])], "do not fit 12 voxels"),
    ):
        with pytest.raises(OutputError, match=problem):
            write_showers(tmp_path / "out.h5", batches)
        assert list(tmp_path.iterdir()) == []


def test_pipes_and_devices_are_left_alone(tmp_path, batch):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="cannot be written into a pipe or device"):
        write_showers(pipe, [batch], force=True)
    assert pipe.is_fifo()


def test_full_disk(tmp_path, batch, monkeypatch):
    def full(handle, data, offset):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mlgen.formats.lheh5_file.os.pwrite", full)
    with pytest.raises(WriteFailure, match="No space left on device; nothing was left"):
        write_showers(tmp_path / "out.h5", [batch])
    assert list(tmp_path.iterdir()) == []


class TestSeveralFilesAsOneSample:
    """As the CaloChallenge's data sets 2 and 3 come."""

    @pytest.fixture
    def parts(self, tmp_path, batch):
        names = ("incident_energy", "pdg_id", "direction", "voxels")
        paths = []
        for number, part in enumerate((slice(0, 120), slice(120, 290), slice(290, 300))):
            paths.append(tmp_path / f"part{number}.h5")
            piece = ShowerBatch(*(getattr(batch, name)[part] for name in names), POLAR)
            provenance = [{"mlgen": "0.1.0", "seed": 3}, {"mlgen": "0.1.0", "seed": number}]
            attributes = {"cut": 0.7, "part": number}
            write_showers(paths[-1], [piece], provenance=provenance, attributes=attributes)
        return paths

    def test_they_are_read_one_after_the_other(self, parts, batch):
        with open_showers(*parts, batch_size=50) as stream:
            assert stream.n_showers == len(stream) == 300
            assert stream.geometry == POLAR
            assert stream.format == "calochallenge"
            for _ in range(2):
                batches = list(stream)
                assert [len(b) for b in batches] == [50, 50, 20, 50, 50, 50, 20, 10]
                for name in ("incident_energy", "pdg_id", "direction", "voxels"):
                    found = np.concatenate([getattr(b, name) for b in batches])
                    np.testing.assert_array_equal(found, getattr(batch, name))

    def test_what_they_share_is_known_of_all(self, parts):
        with open_showers(*parts) as stream:
            assert stream.attributes["cut"] == 0.7
            assert "part" not in stream.attributes
            assert [entry["seed"] for entry in stream.provenance] == [3, 0, 1, 2]

    def test_only_the_one_that_is_read_is_open(self, parts):
        with open_showers(*parts, batch_size=50) as stream:
            assert [file._opened for file in stream._files] == [None] * 3
            for _ in stream:
                assert sum(file._opened is not None for file in stream._files) == 1
            assert [file._opened for file in stream._files] == [None] * 3
            for _ in stream:
                break
        assert [file._opened for file in stream._files] == [None] * 3
        with pytest.raises(ValueError, match="was closed"):
            next(iter(stream))

    def test_two_readers_do_not_disturb_each_other(self, parts, batch):
        with open_showers(*parts, batch_size=30) as stream:
            pairs = list(zip(stream, stream, strict=True))
        for k in (0, 1):
            np.testing.assert_array_equal(np.concatenate([pair[k].voxels for pair in pairs]), batch.voxels)

    def test_files_that_do_not_belong_together(self, tmp_path, parts, batch):
        wide = Geometry("photon", (PolarLayer(0, (0.0, 1.0), 12),))
        widths = (PolarLayer(0, (0.0, 10.0, 20.0, 41.0), 2), *POLAR.layers[1:])
        other = {
            "particle": (Geometry("pion", POLAR.layers), "its showers are of 'pion', those of .*part0.h5 of 'photon'"),
            "layers": (wide, "it has 12 voxels in 1 layers, .*part0.h5 has 12 in 2"),
            "edges": (Geometry("photon", widths), r"layer 0 is PolarLayer\(.*41.0.*in .*part0.h5 PolarLayer"),
        }
        for name, (geometry, problem) in other.items():
            path = tmp_path / f"{name}.h5"
            write_showers(path, [dataclasses.replace(batch, geometry=geometry)])
            with pytest.raises(
                InputError, match=rf"{name}.h5: cannot be read as one sample with .*part0.h5: {problem}"
            ):
                open_showers(parts[0], path)
        path = calogan_file(tmp_path / "calogan.h5")
        with pytest.raises(InputError, match=r"it is CaloGAN HDF5, but .*part0.h5 is CaloChallenge HDF5"):
            open_showers(parts[0], path)

    def test_a_bad_one_is_named(self, tmp_path, parts):
        with pytest.raises(InputError, match=r"none.h5: there is no such file"):
            open_showers(*parts, tmp_path / "none.h5")
        with pytest.raises(ValueError, match="no file of showers"):
            open_showers()
