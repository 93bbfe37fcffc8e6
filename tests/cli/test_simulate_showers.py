"""``mlgen simulate-showers`` and ``mlgen info`` of what it writes."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from mlgen.chain.gun_plan import ShowerPlan
from mlgen.detector_simulation import DetectorSimulation
from mlgen.errors import SimulationFailure
from mlgen.formats.shower_files import open_showers
from mlgen.showers import Geometry, ShowerBatch

needs_geant4 = pytest.mark.skipif(
    importlib.util.find_spec("geant4_pybind") is None, reason="geant4-pybind is not installed"
)
POSITRONS = ("simulate-showers", "--particle", "e+", "--energy", "0.1..0.4", "--seed", "5")
WITHOUT_DATA = ("--set", "detector.physics=em-without-data")


class Counting(DetectorSimulation):
    """Puts all energy into the first voxel. Stands for a simulation that needs no program."""

    particles = (-11,)
    description = {"physics": "none"}  # noqa: RUF012 - a property in the contract
    geometry = Geometry.calogan("")
    fails_at = -1.0

    def simulate(self, pdg_id, incident_energy, direction, seeds):
        voxels = np.zeros((len(pdg_id), self.geometry.n_voxels))
        voxels[:, 0] = incident_energy
        voxels[:, 1] = seeds % 1000
        for shower, energy in enumerate(incident_energy):
            if energy == self.fails_at:
                raise SimulationFailure("it was ended by SIGKILL", shower=shower)
        return ShowerBatch(incident_energy, pdg_id, direction, voxels, self.geometry)


@pytest.fixture
def counting(monkeypatch):
    """The command with a simulation that takes no time."""
    monkeypatch.setattr(ShowerPlan, "make", lambda plan: Counting(plan.settings))
    return Counting


@needs_geant4
def test_showers_are_written_with_all_that_they_depend_on(mlgen_command, tmp_path):
    output = tmp_path / "eplus.h5"
    code, out, err = mlgen_command(*POSITRONS, *WITHOUT_DATA, "-n", 6, "-o", output, "--json")
    assert code == 0
    result = json.loads(out)
    assert result["showers"] == 6
    assert result["geometry"] == {"layers": 3, "voxels": 504}
    assert "showers/s" in err
    assert "Geant4 version" not in err  # its banner
    with h5py.File(output) as file:
        energy = file["incident_energies"][:, 0]
        assert file["showers"].shape == (6, 504)
        assert np.all((energy > 100) & (energy < 400))
        assert np.allclose(file["showers"][()].sum(axis=1), energy, rtol=0.1)
        assert file["pdg_id"][()].tolist() == [-11] * 6
        assert file.attrs["physics"] == "em-without-data"
        assert file.attrs["geant4_version"].startswith("11.")
        assert file.attrs["particle"] == "e+"
    with open_showers(output) as showers:
        (record,) = showers.provenance
        assert [layer.depth for layer in showers.geometry.layers] == [(0, 90), (90, 437), (437, 480)]
    assert record["detector"]["settings"]["absorber"] == "G4_Pb"
    assert record["particle_gun"]["energy"] == [0.1, 0.4]
    assert (record["seed"], record["showers"], record["command"]) == (5, 6, "simulate-showers")
    assert not (tmp_path / "eplus.h5.parts").exists()


@needs_geant4
def test_the_same_bytes_from_one_process_from_two_and_after_a_kill(mlgen_command, tmp_path):
    one, two, killed = (tmp_path / name for name in ("one.h5", "two.h5", "killed.h5"))
    arguments = [*POSITRONS, *WITHOUT_DATA, "-n", 16]
    assert mlgen_command(*arguments, "--jobs", 1, "-o", one)[0] == 0
    assert mlgen_command(*arguments, "--jobs", 2, "-o", two)[0] == 0
    command = [sys.executable, "-m", "mlgen", *map(str, arguments), "--jobs", "1", "-o", str(killed)]
    # Slow enough to be killed in time, with the energies of the others.
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = tmp_path / "killed.h5.parts"
    while not list(folder.glob("part-*[0-9]")):
        assert running.poll() is None
        time.sleep(0.001)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not killed.exists()
    code, _, err = mlgen_command(*arguments, "-o", killed)
    assert code == 2
    assert "go on with it with --resume" in err
    code, out, _ = mlgen_command(*arguments, "-o", killed, "--resume", "--json")
    assert code == 0
    assert 0 < json.loads(out)["resumed"] < 16
    assert one.read_bytes() == two.read_bytes() == killed.read_bytes()
    assert not folder.exists()


def test_a_run_with_other_settings_is_not_resumed(counting, mlgen_command, tmp_path, monkeypatch):
    output = tmp_path / "out.h5"
    arguments = ["simulate-showers", "--particle", "e+", "--energies", "1,2,3,4,5,6", "-o", output, "--jobs", 1]
    monkeypatch.setattr(counting, "fails_at", 5000.0)
    code, _, err = mlgen_command(*arguments, "--seed", 5)
    assert code == 1
    assert "shower 5 (5 GeV): it was ended by SIGKILL" in err
    assert f"{output}.parts: what was simulated is kept there" in " ".join(err.split())
    code, _, err = mlgen_command(*arguments, "--seed", 6, "--set", "detector.layers=70", "--resume")
    assert code == 2
    assert "seed: 5 before, 6 now" in err
    assert "detector.settings.layers: 80 before, 70 now" in err
    monkeypatch.setattr(counting, "fails_at", -1.0)
    # The power failed before it was on the disk.
    (tmp_path / "out.h5.parts" / "part-0000001").write_bytes(b"")
    code, out, _ = mlgen_command(*arguments, "--seed", 5, "--resume", "--json")
    assert code == 0
    assert json.loads(out)["resumed"] == 2
    with h5py.File(output) as file:
        assert file["showers"][:, 0].tolist() == [1000, 2000, 3000, 4000, 5000, 6000]


def test_two_runs_into_one_file_at_a_time_are_refused(counting, mlgen_command, tmp_path):
    from mlgen.chain.shower_parts import ShowerParts

    with ShowerParts(tmp_path / "out.h5", {}, resume=False, force=False):
        code, _, err = mlgen_command(
            "simulate-showers", "-n", 5, "--particle", "e+", "-o", tmp_path / "out.h5", "--force"
        )
    assert code == 2
    assert "another simulation is writing there" in err


def test_a_card(counting, mlgen_command, tmp_path, monkeypatch):
    (tmp_path / "energies.txt").write_text("# GeV\n10\n\n20.5  # a comment\n")
    (tmp_path / "card.toml").write_text(
        '[run]\nseed = 3\nevents = 5\n[particle_gun]\nparticle = "e+"\nfile = "energies.txt"\n'
        '[detector]\nprogram = "geant4"\nlayers = 60\n[output]\nfiles = "showers.h5"\n'
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    code, out, _ = mlgen_command("simulate-showers", "../card.toml")
    assert code == 0
    with open_showers(tmp_path / "showers.h5") as showers:
        assert next(iter(showers)).incident_energy.tolist() == [10e3, 20.5e3, 10e3, 20.5e3, 10e3]
        assert showers.provenance[0]["detector"]["settings"]["layers"] == 60
    code, _, err = mlgen_command("run", "../card.toml")
    assert code == 2
    assert "mlgen simulate-showers" in err
    # The energies of another file of showers; options come before the card.
    code, out, _ = mlgen_command(
        "simulate-showers", "../card.toml", "--energies", tmp_path / "showers.h5", "-n", 2, "-o", "again.h5", "--json"
    )
    assert code == 0
    assert json.loads(out)["showers"] == 2
    with h5py.File("again.h5") as file:
        assert file["incident_energies"][:, 0].tolist() == [10e3, 20.5e3]


def test_info_of_showers(counting, mlgen_command, tmp_path):
    output = tmp_path / "out.h5"
    mlgen_command("simulate-showers", "-n", 40, "--particle", "e+", "--energy", "1..9", "-o", output)
    code, out, _ = mlgen_command("info", output)
    text = " ".join(out.split())
    assert code == 0
    for row in (
        "showers 40",
        "incident particles e+ 40",
        "geometry 504 voxels in 3 layers, rectangular",
        "layer 1 at 90 to 437 mm 12 x 12 cells",
        "incidence normal",
        "physics none",
        "made by mlgen",
        "simulate-showers, seed 1",
    ):
        assert row in text
    code, out, _ = mlgen_command("info", output, "--json")
    content = json.loads(out)
    assert content["kind"] == "showers"
    assert 1000 < content["incident_energy_mev"][0] < content["incident_energy_mev"][1] < 9000
    assert sum(content["layer_energies_mev"]) > 1000


def test_info_of_showers_that_do_not_say_what_their_voxels_are(mlgen_command, tmp_path):
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["incident_energies"] = np.full((3, 1), 1000.0)
        file["showers"] = np.full((3, 4), 100.0)
    code, _, err = mlgen_command("info", tmp_path / "plain.h5")
    assert code == 2
    assert "--geometry" in err
    binning = tmp_path / "bins.xml"
    binning.write_text('<Bins><Bin pid="22" name="photon"><Layer id="0" r_edges="0,1,2" n_bin_alpha="2"/></Bin></Bins>')
    code, out, _ = mlgen_command("info", tmp_path / "plain.h5", "--geometry", binning)
    assert code == 0
    assert "4 voxels in 1 layers, polar" in out
    assert "40.00% of the incident energy" in out


XML = '<Bins><Bin pid="{}" name="{}"><Layer id="0" r_edges="{}" n_bin_alpha="2"/></Bin></Bins>'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--particle", "mu-"], "no particle is called 'mu-'"),
        (["--particle", "13"], "not with the particle 13"),
        (["--particle", "pi+"], "no hadrons; Geant4's data files are not here"),
        ([], "which particles?"),
        (["--particle", "e+", "--energy", "9..1"], "the lower first"),
        (["--particle", "e+", "--energy", "one"], "is no range of energies"),
        (["--particle", "e+", "--energies", "nowhere.txt"], "the energies cannot be read"),
        (["--particle", "e+", "--energies", "bad.txt"], "bad.txt: line 2: an energy in GeV above zero is expected"),
        (["--particle", "e+", "--program", "geant5"], "did you mean 'geant4'"),
        (["--particle", "e+", "--set", "detector.absorbr=G4_W"], "unknown key; did you mean 'absorber'"),
        (["--particle", "e+", "--set", "detector.physics=FTFP_BERT"], "needs Geant4's data files; not here: G4LEDATA"),
        (["--particle", "e+", "--set", "detector.width=100"], "set width to 480 mm at least"),
        (["--particle", "e+", "--geometry", "photon.xml"], "no binning for the particle -11; there is one for: photon"),
        (["--particle", "e+", "--geometry", "bad.txt"], "not a CaloChallenge binning file"),
        (["--particle", "photon", "--geometry", "empty.xml"], "no layer with two radial edges"),
        (["--particle", "--11"], "no particle is called '--11'"),
        (["--particle", "e+", "--energy", "2", "--energies", "3,4"], "one of --energy and --energies, not from both"),
        (["--particle", "e+", "-o", "there.h5"], "exists already"),
        (["--particle", "e+", "-o", "-"], "into a file whose name ends in .h5 or .hdf5"),
        (["--particle", "e+", "-o", "foreign.h5", "--force"], "there is 'mine.txt', which is none of them"),
        (["--particle", "e+", "-o", "nowhere/out.h5"], "there is no directory 'nowhere'"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(arguments, message, mlgen_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("GEANT4_DATA_DIR", "G4LEDATA", "G4PARTICLEXSDATA"):
        monkeypatch.delenv(variable, raising=False)
    Path("bad.txt").write_text("10\nten\n")
    Path("there.h5").write_text("")
    Path("foreign.h5.parts").mkdir()
    Path("foreign.h5.parts/mine.txt").write_text("precious")
    Path("photon.xml").write_text(XML.format(22, "photon", "0,10"))
    Path("empty.xml").write_text(XML.format(22, "photon", "0"))
    code, _, err = mlgen_command("simulate-showers", "-n", 2, "-o", "out.h5", *arguments)
    assert code == 2
    assert message in " ".join(err.split())
    assert not Path("out.h5").exists()
    assert not Path("out.h5.parts").exists()
    assert Path("foreign.h5.parts/mine.txt").read_text() == "precious"


def test_how_many_and_where_to_have_to_be_said(mlgen_command):
    assert "how many showers?" in mlgen_command("simulate-showers", "--particle", "e+", "-o", "out.h5")[2]
    assert "which file to write?" in mlgen_command("simulate-showers", "--particle", "e+", "-n", 2)[2]


def test_without_the_extra(mlgen_command, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, err = mlgen_command("simulate-showers", "-n", 2, "--particle", "e+", "-o", tmp_path / "out.h5")
    assert code == 2
    assert "pip install 'mlgen-hep[geant4]'" in err


def test_the_tool_is_listed(mlgen_command):
    tools = json.loads(mlgen_command("plugins", "--json")[1])["tools"]["detector_simulations"]
    assert [(tool["name"], tool["requires"]) for tool in tools] == [("geant4", "geant4")]
