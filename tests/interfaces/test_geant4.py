"""Showers of Geant4: energies, symmetries and profiles, against an independent run and against each other."""

from __future__ import annotations

import importlib.util
import math
import os
import signal

import numpy as np
import pytest

from mlgen.errors import DetectorError, SimulationFailure
from mlgen.showers import Geometry, PolarLayer, RectangularLayer
from mlgen_geant4 import Geant4Settings, data_files, simulation
from mlgen_geant4.calorimeter import calorimeter_of
from mlgen_geant4.engine import begin_of
from mlgen_geant4.simulation import Geant4Simulation

needs_geant4 = pytest.mark.skipif(
    importlib.util.find_spec("geant4_pybind") is None, reason="geant4-pybind is not installed"
)
#: Statistical tests allow deviations of so many standard errors; the seeds are fixed.
SIGMAS = 4.0
NO_DATA = Geant4Settings(physics="em-without-data")
CALOGAN_DEPTHS = ((0.0, 90.0), (90.0, 437.0), (437.0, 480.0))
RADII = (0.0, 10.0, 20.0, 40.0, 80.0, 240.0)


def polar(n_angular: int = 10, radii: tuple[float, ...] = RADII) -> Geometry:
    return Geometry("e+", tuple(PolarLayer(k, radii, n_angular, at) for k, at in enumerate(CALOGAN_DEPTHS)))


def fine(cells: int = 120) -> Geometry:
    edges = tuple(np.linspace(-240, 240, cells + 1).tolist())
    return Geometry("e+", tuple(RectangularLayer(k, edges, edges, at) for k, at in enumerate(CALOGAN_DEPTHS)))


def showers(
    made: Geant4Simulation, energy, n: int = 20, *, pdg_id: int = -11, direction=(0.0, 0.0, 1.0), seed: int = 1
):
    energies = np.broadcast_to(np.asarray(energy, float), n)
    return made.simulate(np.full(n, pdg_id), energies, np.tile(direction, (n, 1)), np.arange(n) + 1000 * seed)


def agree(first: np.ndarray, second: np.ndarray | float) -> bool:
    """Whether the means of two samples (or of one, and a number) are within `SIGMAS` standard errors."""
    variance = np.var(first, axis=0, ddof=1) / len(first)
    other = np.asarray(second, float)
    if other.ndim:
        variance = variance + np.var(other, axis=0, ddof=1) / len(other)
        other = other.mean(axis=0)
    return bool(np.all(np.abs(first.mean(axis=0) - other) <= SIGMAS * np.sqrt(variance) + 1e-12))


def by_layer(batch) -> np.ndarray:
    return np.add.reduceat(batch.voxels, batch.geometry.layer_offsets[:-1], axis=1)


@pytest.fixture(scope="module")
def calogan():
    with Geant4Simulation(NO_DATA) as made:
        yield made


@pytest.fixture(scope="module")
def positrons(calogan):
    """24 positrons of 2 GeV in the calorimeter of the CaloGAN."""
    return showers(calogan, 2000.0, 24)


@pytest.fixture(scope="module")
def positrons_polar():
    """The same, scored in rings and slices."""
    with Geant4Simulation(NO_DATA, polar()) as made:
        return showers(made, 2000.0, 24, seed=2)


@needs_geant4
class TestEnergies:
    @pytest.mark.physics
    def test_nearly_all_energy_is_deposited(self, positrons):
        # Measured with another program, ../shared/data/geant4/README.md: 0.997.
        share = positrons.voxels.sum(axis=1) / 2000
        assert abs(share.mean() - 0.997) < SIGMAS * share.std() / math.sqrt(len(share)) + 0.001
        assert share.max() < 1 + 2 * 0.511 / 2000  # a positron also brings its mass, and finds an electron's

    @pytest.mark.physics
    def test_argon_gets_a_fixed_share(self):
        # Measured with another program: 0.190 from 1 to 100 GeV. The showers fluctuate by 12 % / sqrt(E/GeV).
        with Geant4Simulation(NO_DATA.model_copy(update={"deposits": "active"})) as made:
            low, high = (showers(made, energy, n).voxels.sum(axis=1) / energy for energy, n in ((500, 40), (2000, 16)))
        assert agree(low, 0.190)
        assert agree(high, 0.190)
        assert high.std() / math.sqrt(len(high)) < 0.005

    @pytest.mark.physics
    def test_the_same_as_another_program_made(self, calogan, shared_data):
        import h5py

        path = shared_data / "geant4" / "eplus_1_100.h5"
        if not path.is_file():
            pytest.skip(f"needs {path}")
        with h5py.File(path) as file:
            energy = file["energy"][:8000, 0] * 1000
            chosen = np.flatnonzero((energy > 2000) & (energy < 4000))[:120]
            images = [file[f"layer_{k}"][:8000][chosen] for k in range(3)]
        energy = energy[chosen]
        assert len(chosen) == 120
        ours = showers(calogan, energy[:30], 30, seed=3)
        theirs = np.stack([image.sum(axis=(1, 2)) for image in images], axis=1) / energy[:, None]
        assert agree(by_layer(ours) / energy[:30, None], theirs)
        # The profile in the 96 strips of the first layer, in bins that have energy in every shower.
        bins = [0, 44, 46, 47, 48, 49, 50, 52, 96]
        strips = ours.voxels[:, :288].reshape(-1, 3, 96).sum(axis=1) / energy[:30, None]
        other = images[0].sum(axis=1) / energy[:, None]
        assert agree(np.add.reduceat(strips, bins[:-1], axis=1), np.add.reduceat(other, bins[:-1], axis=1))

    @pytest.mark.physics
    def test_photons_pass_a_plate_as_often_as_pair_production_lets_them(self):
        # Seven ninths of a conversion in a radiation length of lead, 6.37 g/cm2 (Particle Data Group), at high energy.
        plate = {"layers": 1, "active": "G4_Galactic", "active_thickness": 0.1}
        with Geant4Simulation(NO_DATA.model_copy(update=plate)) as made:
            photons = showers(made, 20_000.0, 300, pdg_id=22)
            charged = showers(made, 20_000.0, 20)
        passed = np.mean(photons.voxels.sum(axis=1) == 0)
        expected = math.exp(-7 / 9 * 0.2 * 11.35 / 6.37)
        assert abs(passed - expected) < SIGMAS * math.sqrt(expected * (1 - expected) / len(photons))
        # A charged one never does: a minimum-ionising particle loses 12.7 MeV/cm in lead.
        assert charged.voxels.sum(axis=1).min() > 0.5 * 0.2 * 12.7

    @pytest.mark.physics
    def test_left_is_like_right(self, positrons):
        image = positrons.voxels[:, 288:432].reshape(-1, 12, 12)
        assert agree(image[:, :6].sum(axis=(1, 2)) - image[:, 6:].sum(axis=(1, 2)), 0.0)
        assert agree(image[:, :, :6].sum(axis=(1, 2)) - image[:, :, 6:].sum(axis=(1, 2)), 0.0)


@needs_geant4
class TestPolarVoxels:
    @pytest.mark.physics
    def test_layers_get_the_same_as_rectangular_ones(self, positrons, positrons_polar):
        assert agree(by_layer(positrons_polar), by_layer(positrons))
        assert agree(positrons_polar.voxels.sum(axis=1), positrons.voxels.sum(axis=1))

    @pytest.mark.physics
    def test_rings_get_the_same_as_the_cells_inside_them(self, positrons_polar):
        with Geant4Simulation(NO_DATA, fine()) as made:
            cells = showers(made, 2000.0, 16, seed=5)
        rings = positrons_polar.voxels.reshape(-1, 3, 10, 5).sum(axis=(1, 2)) / 2000
        number = np.digitize(cells.geometry.layers[0].radii, RADII) - 1
        image = cells.voxels.reshape(len(cells), 3, -1).sum(axis=1) / 2000
        inside = np.stack([image[:, number == ring].sum(axis=1) for ring in range(5)], axis=1)
        # Cells of 4 mm are not cut at the edge of a ring: some of each ring's energy is in its neighbour.
        assert np.allclose(rings.mean(axis=0)[2:4], inside.mean(axis=0)[2:4], rtol=0.12)
        assert np.isclose(rings.mean(axis=0)[:2].sum(), inside.mean(axis=0)[:2].sum(), rtol=0.04)

    @pytest.mark.physics
    def test_slices_get_the_same(self, positrons_polar):
        slices = positrons_polar.voxels.reshape(-1, 3, 10, 5).sum(axis=(1, 3))
        deviation = slices.mean(axis=0) - slices.mean()
        assert np.all(np.abs(deviation) < SIGMAS * slices.std(axis=0, ddof=1) / math.sqrt(len(slices)))

    @pytest.mark.physics
    @pytest.mark.parametrize("n_angular", [8, 5])
    def test_oblique_particles_go_where_they_point(self, n_angular):
        # Towards an angle in the middle of a slice, behind the y axis: a mirrored or turned order would show.
        at = -math.pi + 2 * math.pi * (n_angular - 1.5) / n_angular
        direction = (0.5 * math.cos(at), 0.5 * math.sin(at), math.sqrt(0.75))
        geometries = [polar(n_angular), Geometry.calogan()] if n_angular == 8 else [polar(n_angular)]
        for geometry in geometries:
            with Geant4Simulation(NO_DATA, geometry) as made:
                batch = showers(made, 1000.0, 6, direction=direction)
            inner = slice(batch.geometry.layer_offsets[1], batch.geometry.layer_offsets[2])
            energy = batch.voxels[:, inner].sum(axis=0)
            x, y = energy @ batch.geometry.centres[inner] / energy.sum()
            assert math.atan2(y, x) == pytest.approx(at, abs=0.1)
            assert math.hypot(x, y) > 50
            if geometry is geometries[0]:
                slices = energy.reshape(n_angular, -1).sum(axis=1)
                assert slices.argmax() == n_angular - 2
                assert slices.max() > 0.7 * slices.sum()

    def test_a_calochallenge_binning(self, shared_data):
        path = shared_data / "calochallenge" / "binning_dataset_1_photons.xml"
        with Geant4Simulation(NO_DATA, Geometry.from_xml(path, "photon")) as made:
            batch = showers(made, 500.0, 4, pdg_id=22)
        assert batch.voxels.shape == (4, 368)
        assert [layer.depth for layer in batch.geometry.layers] == [(96.0 * k, 96.0 * k + 96) for k in range(5)]
        assert np.all(batch.voxels.sum(axis=1) > 0.95 * 500)


@needs_geant4
def test_a_shower_is_what_its_seed_makes_of_it(calogan):
    first = showers(calogan, 800.0, 6, seed=7)
    backwards = calogan.simulate(
        np.full(6, -11), np.full(6, 800.0), np.tile([0, 0, 1.0], (6, 1)), np.arange(6)[::-1] + 7000
    )
    assert np.array_equal(first.voxels, backwards.voxels[::-1])
    with Geant4Simulation(NO_DATA) as other:
        alone = other.simulate(np.array([-11]), np.array([800.0]), np.array([[0, 0, 1.0]]), np.array([7004]))
    assert np.array_equal(alone.voxels[0], first.voxels[4])
    assert len(np.unique(first.voxels.sum(axis=1))) == 6


@needs_geant4
def test_the_description_says_what_it_is(calogan, monkeypatch):
    description = calogan.description
    assert description["physics"] == "em-without-data"
    assert "FTFP" not in str(description)
    assert description["production_cut_mm"] == 0.7
    assert "80 x (2 mm G4_Pb (11.35 g/cm3) + 4 mm liquid argon (1.39 g/cm3))" in description["calorimeter"]
    assert calogan.particles == (11, -11, 22)


def test_a_particle_begins_before_the_front_face_and_within_the_world():
    """Along its direction, it comes to the middle of the front face, (0, 0, 0); the vacuum is 100 mm wide."""
    for slope in (0.001, 0.1, 1.0):
        direction = np.array([1.0, 0.0, slope]) / math.hypot(1.0, slope)
        begin = np.array(begin_of(tuple(direction)))
        assert np.allclose(begin / np.linalg.norm(begin), -direction)
        assert begin[2] < 0
        assert np.all(np.abs(begin) < 100)


@needs_geant4
def test_a_process_that_is_killed_is_an_error_that_says_where():
    with Geant4Simulation(NO_DATA) as made:
        showers(made, 100.0, 1)
        os.kill(made._process._process.pid, signal.SIGKILL)
        with pytest.raises(SimulationFailure, match="was ended by SIGKILL") as caught:
            showers(made, 100.0, 3)
        assert caught.value.shower == 0
        # It begins anew, as if nothing had been.
        assert len(showers(made, 100.0, 1)) == 1


@needs_geant4
def test_what_geant4_prints_before_it_stops_is_shown(monkeypatch, tmp_path):
    for folder in data_files.DATA_SETS.values():
        (tmp_path / f"{folder}0").mkdir()
    monkeypatch.setenv("GEANT4_DATA_DIR", str(tmp_path))
    made = Geant4Simulation(Geant4Settings())
    assert made.physics == "FTFP_BERT"
    assert made.particles == (11, -11, 22, 211, -211)
    # The folders are empty, and not of the version that Geant4 wants.
    with pytest.raises(SimulationFailure, match=r"(?s)the last that it printed:.*G4"):
        made.description  # noqa: B018 - starts Geant4


@needs_geant4
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"absorber": "G4_Pbb"}, "no material is called 'G4_Pbb'; did you mean 'G4_Pb'"),
        ({"active": "argon"}, "no material is called 'argon'"),
    ],
)
def test_a_material_that_is_not_there(settings, message):
    with Geant4Simulation(NO_DATA.model_copy(update=settings)) as made, pytest.raises(DetectorError, match=message):
        made.description  # noqa: B018


@needs_geant4
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pdg_id": 211}, r"no hadrons; Geant4's data files are not here \(G4LEDATA"),
        ({"pdg_id": 13}, "not with the particle 13"),
        ({"energy": -1.0}, "above zero"),
        ({"direction": (0.0, 0.0, -1.0)}, "into the calorimeter"),
        ({"direction": (1.0, 0.0, 1.0)}, "unit vectors"),
    ],
)
def test_particles_that_cannot_be_simulated(change, message, monkeypatch, tmp_path):
    without_data(monkeypatch, tmp_path)
    energy = change.pop("energy", 100.0)
    with Geant4Simulation(Geant4Settings()) as made, pytest.raises(DetectorError, match=message):
        showers(made, energy, 2, **change)


def without_data(monkeypatch, tmp_path):
    for variable in ("GEANT4_DATA_DIR", *data_files.DATA_SETS):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_the_physics_is_what_the_data_allow(monkeypatch, tmp_path):
    without_data(monkeypatch, tmp_path)
    assert simulation._physics("auto")[0] == "em-without-data"
    with pytest.raises(DetectorError, match="QGSP_BERT needs Geant4's data files; not here: G4LEDATA"):
        simulation._physics("QGSP_BERT")
    for variable in data_files.DATA_SETS:
        monkeypatch.setenv(variable, str(tmp_path))
    assert simulation._physics("auto") == ("FTFP_BERT", [])
    assert simulation._physics("QGSP_BERT")[0] == "QGSP_BERT"
    assert simulation._physics("em-without-data")[0] == "em-without-data"
    with pytest.raises(DetectorError, match="not here: G4NEUTRONHPDATA"):
        simulation._physics("FTFP_BERT_HP")


def test_geant4_pybind_never_asks_for_data(monkeypatch, tmp_path):
    without_data(monkeypatch, tmp_path)
    # It asks, or downloads where CI=true, unless this is set.
    assert data_files.environment(tmp_path)["GEANT4_DATA_DIR"] == str(tmp_path)
    assert data_files.environment(None)["GEANT4_DATA_DIR"]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DetectorError, match=r"pip install 'mlgen-hep\[geant4\]'"):
        Geant4Simulation(NO_DATA)


class TestCalorimeter:
    def test_slabs_fill_it_and_are_cut_at_the_layers(self):
        made = calorimeter_of(Geant4Settings())
        assert made.depth == pytest.approx(480)
        assert sum(slab.thickness for slab in made.slabs if slab.active) == pytest.approx(320)
        for section, (begin, end) in enumerate(CALOGAN_DEPTHS):
            inside = [slab for slab in made.slabs if slab.section == section]
            assert (inside[0].begin, inside[-1].end) == (pytest.approx(begin), pytest.approx(end))
            assert sum(slab.thickness for slab in inside) == pytest.approx(end - begin)

    def test_another_calorimeter_has_layers_in_proportion(self):
        made = calorimeter_of(Geant4Settings(layers=40))
        assert [layer.depth for layer in made.geometry.layers] == [(0, 45), (45, 218.5), (218.5, 240)]

    def test_layers_without_a_depth_are_whole_layers(self):
        layers = tuple(PolarLayer(k, (0.0, 50.0), 1) for k in range(45))
        depths = [layer.depth for layer in calorimeter_of(Geant4Settings(), Geometry("e-", layers)).geometry.layers]
        assert depths[0][0] == 0
        assert depths[-1][1] == pytest.approx(480)
        assert all((end / 6) % 1 == pytest.approx(0, abs=1e-9) for _, end in depths)

    def test_what_is_behind_the_last_section_is_not_scored(self):
        made = calorimeter_of(Geant4Settings(section_ends=(90, 437, 470)))
        assert made.slabs[-1].section is None
        assert sum(slab.thickness for slab in made.slabs if slab.section is None) == pytest.approx(10)

    @pytest.mark.parametrize(
        ("settings", "geometry", "message"),
        [
            ({"width": 400.0}, None, "reach 240 mm from the axis, but the calorimeter ends at 200 mm"),
            ({"section_ends": (90.0, 480.0)}, None, "section_ends has 2 depths, but there are 3 layers"),
            ({"section_ends": (90.0, 437.0, 500.0)}, None, "end at a depth of 500 mm, but the calorimeter"),
            ({"layers": 10}, polar(), r"end at a depth of 480 mm, but the calorimeter, 10 x \(2 \+ 4\) mm, at 60 mm"),
            ({}, Geometry("e-", ()), "has no voxels"),
            (
                {},
                Geometry("e-", (RectangularLayer(0, (0.0, 1.0, 3.0), (0.0, 1.0)),)),
                "the cells are 1 to 2 mm wide in x",
            ),
            ({}, Geometry("e-", (*polar().layers[:2], polar().layers[1])), "in the order of their depth"),
        ],
    )
    def test_voxels_that_do_not_fit(self, settings, geometry, message):
        with pytest.raises(DetectorError, match=message):
            calorimeter_of(Geant4Settings(**settings), geometry)
