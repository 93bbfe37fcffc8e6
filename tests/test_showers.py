"""Geometries from the CaloChallenge's binning XML, and shower batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlgen.errors import InputError
from mlgen.showers import Geometry, Layer, ShowerBatch

CALOCHALLENGE = Path(__file__).parents[2] / "shared" / "data" / "calochallenge"

BINNING = """<Bins>
  <Bin pid="22" name="photon">
    <Layer id="0" r_edges="0,5,10,30" n_bin_alpha="1"/>
    <Layer id="1" r_edges="0,2,4,6" n_bin_alpha="10"/>
    <Layer id="4" r_edges="" n_bin_alpha="1"/>
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
        Layer(0, (0.0, 5.0, 10.0, 30.0), 1),
        Layer(1, (0.0, 2.0, 4.0, 6.0), 10),
        Layer(12, (0.0, 5.0), 1),
    )
    assert geometry.n_voxels == 3 + 30 + 1
    assert geometry.layer_offsets == (0, 3, 33, 34)
    assert geometry.particle == "photon"


def test_other_particle_of_the_file(binning):
    assert Geometry.from_xml(binning, "pion").n_voxels == 2


def test_unknown_particle_names_those_there_are(binning):
    with pytest.raises(InputError, match="no binning for 'muon'; there is one for: photon, pion"):
        Geometry.from_xml(binning, "muon")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<Bins>", "not a CaloChallenge binning file"),
        ("<other/>", "there is one for: nothing"),
        (BINNING.replace("0,5,10,30", "0,five"), "not a CaloChallenge binning file"),
        (BINNING.replace('n_bin_alpha="10"', 'n_bin_alpha="ten"'), "not a CaloChallenge binning file"),
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
    assert geometry.n_voxels == voxels
    assert len(geometry.layers) == layers


def test_length_of_a_batch():
    geometry = Geometry("photon", (Layer(0, (0.0, 5.0), 1),))
    batch = ShowerBatch(np.ones(3), np.full(3, 22), np.tile([0.0, 0.0, 1.0], (3, 1)), np.ones((3, 1)), geometry)
    assert len(batch) == 3
