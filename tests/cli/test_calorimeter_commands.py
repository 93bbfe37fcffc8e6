"""The calorimeter as a user asks for it: options, the table, and messages."""

import json

import h5py
import numpy as np
import pytest
import uproot

from mlgen.events import EventBatch
from mlgen.formats import create_events
from mlgen.formats.shower_files import write_showers
from mlgen.run_info import RunInfo
from mlgen.showers import Geometry, ShowerBatch


@pytest.fixture
def folder(tmp_path, monkeypatch, known_showers):
    """Four photons and a muon in two events, showers to train on and a card for that; the current directory."""
    monkeypatch.chdir(tmp_path)
    columns = {
        "pdg_id": [22, 22, 13, 22, 22],
        "status": [1] * 5,
        "px": [10.0, -20.0, 5.0, 0.5, 200.0],
        "py": [0.0] * 5,
        "pz": [0.0, 10.0, 0.0, 0.0, 0.0],
    }
    arrays = {name: np.array(values) for name, values in columns.items()}
    arrays["energy"] = np.hypot(arrays["px"], arrays["pz"])
    with create_events("events.hepmc3", RunInfo()) as output:
        output.write(EventBatch.from_columns(np.array([2, 3]), arrays, weight=[1.0, 2.0]))
    geometry = Geometry.calogan("photon")
    voxels = np.full((2, geometry.n_voxels), 1.0)
    direction = np.tile([0.0, 0.0, 1.0], (2, 1))
    write_showers("train.h5", [ShowerBatch(np.array([1e3, 1e5]), np.full(2, 22), direction, voxels, geometry)])
    (tmp_path / "train.toml").write_text(
        "[calorimeter]\nplugin = 'known-showers'\nmodel = 'model'\nshowers = 'train.h5'\n"
    )
    return tmp_path


def test_train_and_run(folder, mlgen_command):
    code, out, _ = mlgen_command("train", "train.toml")
    assert code == 0
    assert "trained now" in out
    known = ("--calorimeter", "known-showers", "--model", "model")
    code, out, _ = mlgen_command("run", "events.hepmc3", *known, "-o", "cells.root", "showers.h5", "--report", "r.html")
    assert code == 0
    text = " ".join(out.split())
    assert "calorimeter known-showers 1.0 (approximate), model model, used as it was" in text
    assert "showers 3" in text
    assert "visible, but not known to the model and left out: mu- 1 (5 GeV)" in text
    assert "flagged, because the model was trained on " in text
    assert "What became" in (folder / "r.html").read_text() or "what became" in (folder / "r.html").read_text()
    with uproot.open("cells.root") as file:
        assert file["cells/nparticle"].array().tolist() == [2, 1]
    with h5py.File("showers.h5") as file:
        assert file["incident_energies"][:, 0] == pytest.approx([10e3, np.hypot(20, 10) * 1e3, 200e3])
    code, out, _ = mlgen_command("run", "events.hepmc3", *known, "-o", "again.root", "--json")
    content = json.loads(out)
    assert {"particle": "mu-", "pdg_id": 13, "fate": "not known to the model", "count": 1, "energy": 5.0} in content[
        "particles"
    ]
    code, out, _ = mlgen_command("info", "cells.root", "--json")
    cells = json.loads(out)["cells"]
    assert (cells["events"], cells["showers"], cells["outside_range"]) == (2, {"22": 3}, 1)
    energy = sum(layer["energy_mev"] for layer in cells["layers"].values())
    with h5py.File("showers.h5") as file:
        assert energy == pytest.approx(file["showers"][:].sum())
        assert file["weight"][:].tolist() == [1.0, 1.0, 2.0]
    assert cells["particle_energy_gev"] == pytest.approx(10 + np.hypot(20, 10) + 200)
    assert "calorimeter cells" in mlgen_command("info", "cells.root")[1]
    assert "calorimeter cells" not in mlgen_command("info", "events.hepmc3")[1]
    # A model that is only used is where the user says, wherever the outputs go.
    assert mlgen_command("run", "events.hepmc3", *known, "-o", "other.root", "-d", "elsewhere")[0] == 0
    code, _, err = mlgen_command("run", "events.hepmc3", *known, "-o", "x.h5", "--set", "calorimeter.outside=stop")
    assert code == 2
    assert "event 2: particle 3, a gamma, has an energy of 200 GeV" in err
    assert not (folder / "x.h5").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--calorimeter", "known-shower", "-o", "x.root"), "did you mean 'known-showers'"),
        (("--calorimeter", "known-showers", "-o", "x.root"), "comes without a trained model: give model"),
        (("--calorimeter", "known-showers", "--model", "no", "-o", "x.root"), "there is no trained model in"),
        (
            ("--calorimeter", "known-showers", "--set", "calorimeter.showers=none.h5", "-o", "x.root"),
            "none.h5: there is no such file",
        ),
        (
            ("--calorimeter", "known-showers", "--set", "calorimeter.showers=events.hepmc3", "-o", "x.root"),
            "is no HDF5 file; showers are read from HDF5",
        ),
        (
            ("--calorimeter", "known-showers", "--set", "calorimeter.showers=train.h5", "-o", "x.hepmc3"),
            "none of them holds what [calorimeter] gives",
        ),
    ],
)
def test_a_mistake_is_one_message(folder, mlgen_command, arguments, message):
    code, out, err = mlgen_command("run", "events.hepmc3", *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    assert not list(folder.glob("x.*"))
