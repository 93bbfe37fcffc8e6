"""Geometries of calorimeters (CaloChallenge binning XML, CaloGAN, JSON), and shower batches."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from mlgen.errors import InputError
from mlgen.showers import Geometry, PolarLayer, RectangularLayer, ShowerBatch

CALOCHALLENGE = Path(__file__).parents[2] / "shared" / "data" / "calochallenge"

BINNING = """<Bins>
  <Bin pid="22" name="photon">
    <Layer id="0" r_edges="0,5,10,30" n_bin_alpha="1"/>
    <Layer id="1" r_edges="0,2,4,6" n_bin_alpha="10"/>
    <Layer id="4" r_edges="" n_bin_alpha="1"/>
    <Layer id="5" r_edges="0" n_bin_alpha="1"/>
    <Layer id="12" r_edges="0,5" n_bin_alpha="1"/>
  </Bin>
  <Bin pid="211" name="pion">
    <Layer id="0" r_edges="0,5" n_bin_alpha="2"/>
  </Bin>
</Bins>
"""


@pytest.fixture
def binning(tmp_path):
    path = tmp_path / "binning.xml"
    path.write_text(BINNING)
    return path


def test_layers_and_voxels(binning):
    geometry = Geometry.from_xml(binning, "photon")
    assert geometry.layers == (
        PolarLayer(0, (0.0, 5.0, 10.0, 30.0), 1),
        PolarLayer(1, (0.0, 2.0, 4.0, 6.0), 10),
        PolarLayer(12, (0.0, 5.0), 1),
    )
    assert geometry.n_voxels == 3 + 30 + 1
    assert geometry.layer_offsets == (0, 3, 33, 34)
    assert geometry.particle == "photon"


def test_other_particle_of_the_file(binning):
    assert Geometry.from_xml(binning, "pion").n_voxels == 2
    assert list(Geometry.all_from_xml(binning)) == ["photon", "pion"]


def test_unknown_particle_names_those_there_are(binning):
    with pytest.raises(InputError, match="no binning for 'muon'; there is one for: photon, pion"):
        Geometry.from_xml(binning, "muon")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<Bins>", "not a CaloChallenge binning file"),
        ("<other/>", "there is one for: nothing"),
        (BINNING.replace("0,5,10,30", "0,five"), "not a CaloChallenge binning file"),
        (BINNING.replace("0,5,10,30", "0,5,5"), "radial edges must ascend"),
        (BINNING.replace("0,5,10,30", "0,5,nan"), "radial edges must ascend"),
        (BINNING.replace("0,5,10,30", "-5,5"), "radii from 0 on"),
        (BINNING.replace('n_bin_alpha="10"', 'n_bin_alpha="ten"'), "not a CaloChallenge binning file"),
        (BINNING.replace('n_bin_alpha="10"', 'n_bin_alpha="0"'), "at least one angular slice"),
    ],
)
def test_file_that_is_something_else(binning, text, problem):
    binning.write_text(text)
    with pytest.raises(InputError, match=problem):
        Geometry.from_xml(binning, "photon")


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.xml"):
        Geometry.from_xml(tmp_path / "nowhere.xml", "photon")


# Numbers of voxels and layers as published: arXiv:2410.21611.
@pytest.mark.parametrize(
    ("file", "particle", "voxels", "layers"),
    [("binning_dataset_1_photons.xml", "photon", 368, 5), ("binning_dataset_2.xml", "electron", 6480, 45)],
)
def test_calochallenge(file, particle, voxels, layers):
    path = CALOCHALLENGE / file
    if not path.exists():
        pytest.skip(f"{path} is not there")
    geometry = Geometry.from_xml(path, particle)
    assert geometry.n_voxels == len(geometry.centres) == voxels
    assert len(geometry.layers) == layers
    assert Geometry.from_json(geometry.to_json()) == geometry


def test_polar_centres_run_over_radius_first_and_angle_from_minus_pi():
    # As the CaloChallenge's XMLHandler fills its lists: for each angle from -pi on, all radii.
    layer = PolarLayer(0, (0.0, 2.0, 6.0), 4)
    expected = [
        (r * math.cos(a), r * math.sin(a)) for a in np.pi * np.array([-0.75, -0.25, 0.25, 0.75]) for r in (1, 4)
    ]
    np.testing.assert_allclose(layer.centres, expected, atol=1e-12)
    assert layer.radii.tolist() == [1, 4] * 4


def test_discs_and_rings_are_centred_on_the_axis():
    layer = PolarLayer(0, (0.0, 2.0, 6.0), 1)
    assert layer.centres.tolist() == [[0, 0], [0, 0]]
    assert layer.radii.tolist() == [1, 4]


def test_rectangular_centres_are_those_of_the_flattened_image():
    layer = RectangularLayer(0, (0.0, 2.0, 6.0), (-1.0, 1.0, 2.0, 4.0))
    image = np.arange(6).reshape(layer.shape)
    x, y = layer.centres[image[1, 2]]
    assert (x, y) == (4, 3)
    assert layer.centres[image[0, 0]].tolist() == [1, 0]
    assert layer.radii[image[1, 2]] == 5


def test_calogan():
    # arXiv:1705.02355: cells of 160 x 5, 40 x 40 and 40 x 80 mm^2; 504 of them.
    geometry = Geometry.calogan("e+")
    assert geometry.n_voxels == 504
    assert [layer.shape for layer in geometry.layers] == [(3, 96), (12, 12), (12, 6)]
    cells = [(np.diff(layer.x_edges), np.diff(layer.y_edges)) for layer in geometry.layers]
    for (width, height), (x, y) in zip(cells, [(160, 5), (40, 40), (40, 80)], strict=True):
        np.testing.assert_allclose(width, x)
        np.testing.assert_allclose(height, y)
    assert [layer.depth for layer in geometry.layers] == [(0, 90), (90, 437), (437, 480)]
    np.testing.assert_allclose(geometry.centres.mean(axis=0), 0, atol=1e-12)
    assert geometry.pdg_id == -11


def test_particle_that_has_no_known_id():
    assert Geometry("something", ()).pdg_id == 0


@pytest.mark.parametrize(
    "geometry", [Geometry.calogan(), Geometry("pion", (PolarLayer(3, (0.1, 0.3), 7, (1.0, 2.5)),))]
)
def test_json_gives_the_same_geometry(geometry):
    assert Geometry.from_json(geometry.to_json()) == geometry


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"particle": "", "layers": [{"shape": "hexagonal"}]}', '{"particle": "", "layers": [{}]}']
)
def test_json_of_something_else(text):
    with pytest.raises(InputError, match="here: not a geometry of mlgen"):
        Geometry.from_json(text, "here")


def test_json_with_edges_that_do_not_ascend():
    text = Geometry("", (PolarLayer(0, (0.0, 5.0), 1),)).to_json().replace("5.0", "-5.0")
    with pytest.raises(InputError, match="must ascend"):
        Geometry.from_json(text)


def test_length_of_a_batch():
    geometry = Geometry("photon", (PolarLayer(0, (0.0, 5.0), 1),))
    batch = ShowerBatch(np.ones(3), np.full(3, 22), np.tile([0.0, 0.0, 1.0], (3, 1)), np.ones((3, 1)), geometry)
    assert len(batch) == 3
