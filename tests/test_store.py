"""Trained models on disk: what is written, what is read back, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from pydantic import Field

from mlgen import store
from mlgen.errors import ModelError, PluginFailure
from mlgen.hookspecs import Plugin
from mlgen.plugins import Registered, Source
from mlgen.stages import Exactness, Settings, Stage, TrainingReport, Unweighter
from mlgen.store import TrainedOn, load_model, model_sha256, read_record, save_model


class Inner(Settings):
    layers: int = 3


class LineSettings(Settings):
    width: int = 64
    rate: float = 0.1
    network: Inner = Inner()
    device: str = Field("cpu", json_schema_extra={store.USE_TIME: True})


class Line(Unweighter):
    """Holds any arrays; only its state matters here."""

    def __init__(self, settings):
        super().__init__(settings)
        self.arrays = {}

    def prepare(self, candidates):
        raise NotImplementedError

    def unweight(self, candidates, rng):
        raise NotImplementedError

    def report(self):
        raise NotImplementedError

    def state(self):
        return self.arrays

    @classmethod
    def from_state(cls, settings, state):
        if "too many" in state:
            raise ModelError("the array 'too many' has shape (3,); (2,) is expected")
        if "defect" in state:
            raise ZeroDivisionError("inside the plugin")
        made = cls(settings)
        made.arrays = dict(state)
        return made


def registered(name="line", stage=Stage.UNWEIGHTING, distribution="mlgen-line", version="1.2.3", contract_version=1):
    plugin = Plugin(
        name, stage, lambda: Line, LineSettings, Exactness.EXACT, "a line", contract_version=contract_version
    )
    return Registered(plugin, Source(distribution, version, "line"))


TRAINED_ON = TrainedOn("zjets.lhe.gz", "ab" * 32, 1000)
REPORT = TrainingReport({"loss": 0.5, "note": "fine"}, {"loss": [1.0, float("nan"), float("inf")]}, ("slow",))
STATE = {
    "scalar": np.asarray(1.5),
    "columns": np.arange(6.0).reshape(2, 3).T,
    "big endian": np.arange(3, dtype=">i4"),
    "nothing": np.empty((0, 4), np.float32),
    "flag": np.array([True, False]),
}


def save(folder, state=STATE, settings=None, plugin=None, **options):
    settings = settings or LineSettings(width=128)
    line = Line(settings)
    line.arrays = dict(state)
    options = {"trained_on": TRAINED_ON, "seed": 7, "report": REPORT} | options
    return save_model(folder, plugin or registered(), settings, line, **options)


@pytest.fixture
def model(tmp_path):
    return save(tmp_path / "model")


class TestRoundTrip:
    def test_arrays(self, model):
        loaded = load_model(model, registered()).implementation.state()
        assert set(loaded) == set(STATE)
        for name, array in STATE.items():
            np.testing.assert_array_equal(loaded[name], array)
            assert loaded[name].shape == array.shape

    def test_no_arrays(self, tmp_path):
        assert load_model(save(tmp_path / "m", {}), registered()).implementation.state() == {}

    def test_record(self, model):
        record = read_record(model)
        assert record == load_model(model, registered()).record
        assert (record.plugin, record.stage, record.distribution) == ("line", "unweighting", "mlgen-line")
        assert (record.version, record.seed, record.trained_on) == ("1.2.3", 7, TRAINED_ON)
        assert record.settings["width"] == 128
        assert record.report.figures == REPORT.figures
        assert record.report.remarks == ("slow",)
        np.testing.assert_array_equal(record.report.curves["loss"], REPORT.curves["loss"])

    def test_settings_are_those_of_the_training(self, model):
        assert load_model(model, registered()).settings == LineSettings(width=128)

    def test_record_is_strict_json(self, model):
        def refuse(text):
            raise AssertionError(f"{text} is not JSON")

        json.loads((model / "model.json").read_text(), parse_constant=refuse)

    def test_same_training_gives_the_same_bytes(self, tmp_path):
        first, second = save(tmp_path / "a"), save(tmp_path / "b", dict(reversed(STATE.items())))
        for name in ("model.json", "weights.safetensors"):
            assert (first / name).read_bytes() == (second / name).read_bytes()
        assert model_sha256(first) == model_sha256(second)

    def test_sha256_is_that_of_both_files_one_after_the_other(self, model):
        joined = (model / "weights.safetensors").read_bytes() + (model / "model.json").read_bytes()
        assert model_sha256(model) == hashlib.sha256(joined).hexdigest() == load_model(model, registered()).sha256

    def test_numpy_numbers_in_the_report(self, tmp_path):
        report = TrainingReport({"loss": np.float32(0.5), "steps": np.int64(3)})
        assert read_record(save(tmp_path / "m", report=report)).report.figures == {"loss": 0.5, "steps": 3}

    def test_is_as_public_as_other_files(self, model):
        mask = os.umask(0)
        os.umask(mask)
        assert model.stat().st_mode & 0o777 == 0o777 & ~mask


class TestPlace:
    def test_parents_are_made_and_nothing_else_is_left(self, tmp_path):
        save(tmp_path / "models" / "zjets")
        assert sorted(p.name for p in (tmp_path / "models").iterdir()) == ["zjets"]

    def test_an_existing_model_is_refused_without_force(self, model):
        before = model_sha256(model)
        with pytest.raises(ModelError, match="there is a model already"):
            save(model, seed=8)
        assert model_sha256(model) == before

    def test_force_replaces(self, model):
        save(model, seed=8, force=True)
        assert read_record(model).seed == 8
        assert [p.name for p in model.parent.iterdir()] == ["model"]

    def test_force_does_not_replace_a_model_of_another_stage(self, model):
        before = (model / "weights.safetensors").read_bytes()
        other = registered(stage=Stage.AMPLITUDE)
        with pytest.raises(ModelError, match=r"a model of the unweighting plugin 'line' is there, which one of amp"):
            save(model, plugin=other, force=True)
        assert (model / "weights.safetensors").read_bytes() == before

    def test_force_never_deletes_anything_but_a_model(self, model):
        (model / "thesis.tex").write_text("years of work")
        with pytest.raises(ModelError, match=r"holds 'thesis\.tex'"):
            save(model, force=True)
        assert (model / "thesis.tex").exists()

    def test_what_a_killed_program_left_in_a_model_is_no_obstacle(self, model):
        (model / ".report.html.0123456789ab.part").write_text("half a rep")
        save(model, seed=8, force=True)
        assert read_record(model).seed == 8
        assert sorted(p.name for p in model.iterdir()) == ["model.json", "weights.safetensors"]
        (model / ".notes.txt.0123456789ab.part").write_text("somebody else's")
        with pytest.raises(ModelError, match=r"holds '\.notes\.txt"):
            save(model, seed=9, force=True)

    def test_an_empty_folder_is_filled(self, tmp_path):
        (tmp_path / "m").mkdir()
        assert read_record(save(tmp_path / "m")).seed == 7

    def test_a_file_is_refused(self, tmp_path):
        (tmp_path / "m").write_text("")
        with pytest.raises(ModelError, match="a model is a folder"):
            save(tmp_path / "m", force=True)

    @pytest.mark.parametrize("exists", [False, True])
    def test_a_failure_while_writing_leaves_all_as_it_was(self, tmp_path, monkeypatch, exists):
        folder = tmp_path / "m"
        if exists:
            save(folder)
        before = model_sha256(folder) if exists else None

        def full(descriptor):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ModelError, match="No space left"):
            save(folder, seed=8, force=True)
        assert [p.name for p in tmp_path.iterdir()] == (["m"] if exists else [])
        assert not exists or model_sha256(folder) == before

    def test_a_failure_while_moving_brings_the_older_model_back(self, model, monkeypatch):
        before, rename = model_sha256(model), Path.rename

        def refuse_new(self, target):
            if self.name.endswith(".part"):
                raise OSError(5, "Input/output error")
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", refuse_new)
        with pytest.raises(ModelError, match="Input/output error"):
            save(model, seed=8, force=True)
        assert model_sha256(model) == before
        assert [p.name for p in model.parent.iterdir()] == ["model"]

    @pytest.mark.parametrize("moved", [False, True])
    @pytest.mark.parametrize("signal", [SystemExit(143), KeyboardInterrupt()])
    def test_a_signal_while_moving_leaves_a_whole_model(self, model, monkeypatch, signal, moved):
        before, rename = model_sha256(model), Path.rename

        def interrupted(self, target):
            if self.name.endswith(".part"):
                if moved:
                    rename(self, target)
                raise signal
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", interrupted)
        with pytest.raises(type(signal)):
            save(model, seed=8, force=True)
        assert load_model(model, registered()).record.seed == (8 if moved else 7)
        assert (model_sha256(model) == before) is not moved
        assert [p.name for p in model.parent.iterdir()] == ["model"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("other", "both"),
        [
            ({"name": "curve"}, ["'line'", "'curve'"]),
            ({"stage": Stage.GENERATOR}, ["unweighting", "generator"]),
            ({"distribution": "other-line"}, ["mlgen-line 1.2.3", "other-line 1.2.3"]),
            ({"version": "1.3.0"}, ["1.2.3", "1.3.0", "Install mlgen-line 1.2"]),
            ({"version": "2.2.3"}, ["1.2.3", "2.2.3"]),
            ({"contract_version": 2}, ["version 1", "version 2"]),
        ],
    )
    def test_a_model_of_another_plugin_names_both(self, model, other, both):
        with pytest.raises(ModelError) as refusal:
            load_model(model, registered(**other))
        assert all(text in str(refusal.value) for text in [*both, "model.json"])
        assert refusal.value.exit_code == 2

    def test_another_patch_version_is_fine(self, model):
        assert load_model(model, registered(version="1.2.9")).record.version == "1.2.3"

    def test_no_model(self, tmp_path):
        with pytest.raises(ModelError, match="there is no such folder"):
            load_model(tmp_path / "nowhere", registered())
        with pytest.raises(ModelError, match=r"there is no model\.json"):
            read_record(tmp_path)

    def test_weights_are_missing(self, model):
        (model / "weights.safetensors").unlink()
        with pytest.raises(ModelError, match=r"there is no weights\.safetensors"):
            load_model(model, registered())

    def test_weights_are_damaged(self, model):
        weights = bytearray((model / "weights.safetensors").read_bytes())
        weights[-1] ^= 1
        (model / "weights.safetensors").write_bytes(weights)
        with pytest.raises(ModelError, match="damaged or from another model") as refusal:
            load_model(model, registered())
        assert read_record(model).weights_sha256 in str(refusal.value)

    def test_weights_are_no_safetensors_file(self, model):
        content = json.loads((model / "model.json").read_text())
        content["weights_sha256"] = hashlib.sha256(b"cos\nsystem\n(S'ls'\ntR.").hexdigest()
        (model / "model.json").write_text(json.dumps(content))
        (model / "weights.safetensors").write_bytes(b"cos\nsystem\n(S'ls'\ntR.")
        with pytest.raises(ModelError, match="not a safetensors file"):
            load_model(model, registered())

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("{", "not JSON"),
            ("[]", "not the record of an mlgen model"),
            ('{"format_version": 99, "mlgen_version": "9.9"}', "version 99 of the model format by mlgen 9.9"),
            ('{"format_version": 1}', "'report' is missing"),
        ],
    )
    def test_damaged_record(self, model, text, problem):
        (model / "model.json").write_text(text)
        with pytest.raises(ModelError, match=problem):
            load_model(model, registered())

    @pytest.mark.parametrize("key", ["plugin", "settings", "trained_on", "weights_sha256", "seed"])
    def test_record_of_wrong_types(self, model, key):
        content = json.loads((model / "model.json").read_text())
        for broken in ({k: v for k, v in content.items() if k != key}, content | {"trained_on": 3}):
            (model / "model.json").write_text(json.dumps(broken))
            with pytest.raises(ModelError, match=r"missing|damaged"):
                read_record(model)

    def test_not_utf8(self, model):
        (model / "model.json").write_bytes(b"\xff\xfe")
        with pytest.raises(ModelError, match="not JSON"):
            read_record(model)

    def test_arrays_that_do_not_fit_pass_through_with_the_file(self, tmp_path):
        folder = save(tmp_path / "m", {"too many": np.zeros(3)})
        with pytest.raises(ModelError, match=r"weights\.safetensors: the array 'too many' has shape"):
            load_model(folder, registered())

    def test_defect_of_the_plugin_is_reported_as_such(self, tmp_path):
        folder = save(tmp_path / "m", {"defect": np.zeros(3)})
        with pytest.raises(PluginFailure, match=r"'line' of mlgen-line 1\.2\.3 failed: ZeroDivisionError"):
            load_model(folder, registered())

    @pytest.mark.parametrize("value", [[1.0], np.array(["text"]), np.array([{}])])
    def test_state_that_is_no_array_of_numbers(self, tmp_path, value):
        with pytest.raises(ModelError):
            save(tmp_path / "m", {"x": value})
        assert list(tmp_path.iterdir()) == []


class TestSettings:
    def test_what_the_card_does_not_say_is_taken_from_the_training(self, model):
        assert load_model(model, registered(), LineSettings()).settings.width == 128

    def test_what_the_card_says_alike_is_fine(self, model):
        assert load_model(model, registered(), LineSettings(width=128)).settings.width == 128

    def test_contradictions_are_told_in_words(self, model):
        settings = LineSettings(width=64, network=Inner(layers=9))
        assert store.differences(read_record(model), settings) == [
            "width: trained with 128, card says 64",
            "network.layers: trained with 3, card says 9",
        ]
        with pytest.raises(ModelError, match="width: trained with 128, card says 64; network"):
            load_model(model, registered(), settings)

    def test_settings_of_use_may_differ(self, model):
        assert load_model(model, registered(), LineSettings(device="cuda")).settings.device == "cuda"

    def test_settings_of_a_training_are_all_but_those_of_use(self):
        settings = LineSettings(device="cuda", width=2)
        everything = {"width": 2, "rate": 0.1, "network": {"layers": 3}}
        assert store.training_settings(settings) == everything
        assert store.training_settings(settings, exclude_unset=True) == {"width": 2}

    def test_infinite_setting(self, tmp_path):
        settings = LineSettings(rate=float("inf"))
        folder = save(tmp_path / "m", settings=settings)
        assert load_model(folder, registered(), settings).settings == settings

    def test_settings_that_the_plugin_no_longer_knows(self, model):
        content = json.loads((model / "model.json").read_text())
        content["settings"]["momentum"] = 0.9
        (model / "model.json").write_text(json.dumps(content))
        with pytest.raises(ModelError, match="momentum: Extra inputs are not permitted"):
            load_model(model, registered())
