"""`mlgen info` of the folder of a trained model."""

from __future__ import annotations

import json

from mlgen.plugins import plugin_manager
from mlgen.stages import Stage
from mlgen.store import model_sha256


def shipped():
    return plugin_manager().find(Stage.CALORIMETER, "caloflow").offer.shipped_model()


def test_a_model(mlgen_command):
    code, out, _ = mlgen_command("info", str(shipped()))
    assert code == 0
    text = " ".join(out.split())
    assert "plugin caloflow of mlgen-hep" in text
    assert ", calorimeter trained on " in text
    assert "sampler student" in text
    assert model_sha256(shipped()) in text


def test_a_model_as_json(mlgen_command):
    code, out, _ = mlgen_command("info", "--json", str(shipped()))
    assert code == 0
    content = json.loads(out)
    assert (content["plugin"], content["stage"]) == ("caloflow", "calorimeter")
    assert content["settings"]["sampler"] == "student"
    assert content["sha256"] == model_sha256(shipped())


def test_another_folder(mlgen_command, tmp_path):
    code, _, err = mlgen_command("info", str(tmp_path))
    assert code == 2
    assert "is a folder, and none of a trained model (no model.json)" in err


def test_a_model_among_others(mlgen_command, examples):
    code, _, err = mlgen_command("info", str(examples / "zjet.lhe.gz"), str(shipped()))
    assert code == 2
    assert "name it alone" in err
