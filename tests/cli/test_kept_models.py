"""Models that no one names a folder for: kept in the cache, used again for the same training, never half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mlgen.formats import create_events, open_events
from mlgen.plugins import plugin_manager
from mlgen.seeds import Work, random_generator
from mlgen.testing import drell_yan_events

TOYS = Path(__file__).parent.parent / "packages" / "toys"
#: The toy generator, which stops where a test tells it to: until the file 'go' is there, after it made a file 'here.*'.
PLUGIN = """
import os, time
from pathlib import Path
from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import USE_TIME, Exactness, Settings, Stage
from pydantic import Field
import mlgen_toys

class PausingSettings(Settings):
    width: int = 64
    pace: int = Field(1, json_schema_extra={USE_TIME: True})

def pause(*_):
    folder = Path(os.environ["PAUSE_FOLDER"])
    (folder / f"here.{os.getpid()}").touch()
    while not (folder / "go").exists():
        time.sleep(0.02)

class Pausing(mlgen_toys.EventLibrary):
    def train(self, *arguments, **options):
        report = super().train(*arguments, **options)
        where = os.environ.get("PAUSE")
        if where == "training":
            pause()
        if where == "saving":
            os.fsync = pause
        return report

@hookimpl
def mlgen_generator():
    yield Plugin(
        "pausing", Stage.GENERATOR, lambda: Pausing, PausingSettings, Exactness.APPROXIMATE, "a toy", contract_version=1
    )
"""


def write_events(path: Path, seed: int, n: int = 50) -> Path:
    batch, info = drell_yan_events(n, np.random.default_rng(seed))
    with create_events(path, info) as output:
        output.write(batch)
    return path


@pytest.fixture
def events(tmp_path):
    return write_events(tmp_path / "events.lhe", 1)


@pytest.fixture
def site(tmp_path_factory, monkeypatch):
    """Install the plugin and the toys that it is made of, as pip would; with an empty cache."""
    folder = tmp_path_factory.mktemp("site")
    information = folder / "mlgen_pausing-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mlgen-pausing\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[mlgen]\npausing = mlgen_pausing\n")
    (folder / "mlgen_pausing.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(TOYS))
    monkeypatch.syspath_prepend(str(folder))
    plugin_manager.cache_clear()
    yield folder
    sys.modules.pop("mlgen_pausing", None)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("MLGEN_CACHE", str(folder))
    return folder


@pytest.fixture
def run(site, cache, events, tmp_path, mlgen_command):
    """Run the generator on events; returns what the run says of itself, and the bytes that it wrote."""

    def run_command(*options: object, source: Path = events) -> tuple[dict, bytes]:
        output = tmp_path / "out.lhe"
        arguments = ["run", source, "--generator", "pausing", "-n", 30, "--json", "--force", *options, "-o", output]
        code, out, err = mlgen_command(*arguments)
        assert code == 0, err
        return json.loads(out), output.read_bytes()

    return run_command


def models(cache: Path) -> list[str]:
    """What may be taken for a model, by its name."""
    return sorted(path.name for path in (cache / "models").glob("*") if not path.name.startswith("."))


def test_the_same_training_is_done_once(run, cache):
    (first, written), (second, again) = run(), run()
    [one], [other] = first["stages"], second["stages"]
    assert (one["trained"], other["trained"]) == (True, False)
    assert one["model"] == other["model"] == str(cache / "models" / models(cache)[0])
    assert one["model_sha256"] == other["model_sha256"]
    assert written == again
    assert len(models(cache)) == 1
    assert models(cache)[0].startswith("pausing-")
    assert (Path(one["model"]) / "report.html").is_file()


def test_it_is_said_which_model_was_used(run, cache, events, tmp_path, mlgen_command):
    run()
    command = ("run", events, "--generator", "pausing", "-n", 30, "-o", tmp_path / "b.lhe", "--force")
    code, out, _ = mlgen_command(*command)
    assert code == 0
    assert f"model {cache / 'models' / models(cache)[0]}, used as it was" in out.replace(str(Path.cwd()) + "/", "")


@pytest.mark.parametrize(
    "options",
    [
        ("--set", "generator.width=32"),
        ("--seed", 7),
        ("--on-error", "skip"),
        ("--set", "run.batch_size=7"),
        ("--input-format", "lhe"),
    ],
)
def test_another_training_is_another_model(run, cache, options):
    run()
    result, _ = run(*options)
    assert result["stages"][0]["trained"]
    assert len(models(cache)) == 2
    assert not run(*options)[0]["stages"][0]["trained"]
    assert not run()[0]["stages"][0]["trained"]


def test_other_events_are_another_model(run, cache, tmp_path, events):
    run()
    result, _ = run(source=write_events(tmp_path / "others.lhe", 2))
    assert result["stages"][0]["trained"]
    assert len(models(cache)) == 2
    copy = tmp_path / "copy.lhe"
    copy.write_bytes(events.read_bytes())
    assert not run(source=copy)[0]["stages"][0]["trained"]


def test_another_version_of_the_plugin_is_another_model(run, cache, site):
    run()
    (site / "mlgen_pausing-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: mlgen-pausing\nVersion: 1.0.1\n"
    )
    plugin_manager.cache_clear()
    assert run()[0]["stages"][0]["trained"]
    assert len(models(cache)) == 2


def test_settings_of_use_are_those_of_the_card_not_of_the_model(run, cache):
    run("--set", "generator.pace=5")
    result, _ = run()
    assert not result["stages"][0]["trained"]
    assert result["stages"][0]["settings"]["pace"] == 1
    assert run("--set", "generator.pace=3")[0]["stages"][0]["settings"]["pace"] == 3
    assert len(models(cache)) == 1


def test_retrain_trains_again(run, cache):
    run()
    result, _ = run("--retrain")
    assert result["stages"][0]["trained"]
    assert len(models(cache)) == 1
    assert not run()[0]["stages"][0]["trained"]


def test_a_model_folder_leaves_the_cache_alone(run, cache, tmp_path):
    result, _ = run("--model", tmp_path / "mine")
    assert result["stages"][0]["model"] == str(tmp_path / "mine")
    assert not cache.exists()


def test_a_card_without_a_model_uses_the_cache(run, cache, events, tmp_path, mlgen_command):
    run()
    card = tmp_path / "card.toml"
    card.write_text(
        "[run]\nevents = 40\n[input]\nfile = 'events.lhe'\n[generator]\nplugin = 'pausing'\n"
        "[output]\nfiles = ['card.lhe']\n"
    )
    code, out, err = mlgen_command("run", card, "--json")
    assert code == 0, err
    assert not json.loads(out)["stages"][0]["trained"]


def test_a_damaged_model_is_trained_again(run, cache):
    _, written = run()
    weights = cache / "models" / models(cache)[0] / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    result, again = run()
    assert result["stages"][0]["trained"]
    assert "cannot be used and was trained again" in result["remarks"][0]
    assert again == written
    assert not run()[0]["stages"][0]["trained"]


def test_a_cache_that_cannot_be_written_is_a_remark(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MLGEN_CACHE", str(tmp_path / "file"))
    result, _ = run()
    [stage] = result["stages"]
    assert (stage["trained"], stage["model"]) == (True, "")
    [remark] = result["remarks"]
    assert str(tmp_path / "file") in remark
    assert "the model is not kept" in remark
    assert "MLGEN_CACHE" in remark


def test_a_full_disk_is_a_remark(run, cache, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        # Of models only: outputs go to the disk by way of `mlgen.files`.
        patch.setattr("mlgen.store.os", type("Os", (), {**vars(os), "fsync": full}))
        result, _ = run()
    assert "No space left" in result["remarks"][0]
    assert models(cache) == []
    assert [path.name for path in (cache / "models").iterdir()] == [".lock"]


class Started:
    """The command in a process of its own, stopped where `pause` says."""

    def __init__(self, site: Path, events: Path, name: str, pause: str = "", *options: str) -> None:
        self.folder = events.parent
        self.output = self.folder / name
        path = os.pathsep.join([str(site), str(TOYS), os.environ.get("PYTHONPATH", "")])
        arguments = [str(events), "--generator", "pausing", *options, "-n", "30", "-o", str(self.output), "--json"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlgen", "run", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "PAUSE": pause, "PAUSE_FOLDER": str(self.folder)},
            # A shell's background job ignores SIGINT, and so would its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def wait_until_there(self) -> None:
        deadline = time.monotonic() + 60
        while not (self.folder / f"here.{self.process.pid}").exists() and time.monotonic() < deadline:
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)
        assert (self.folder / f"here.{self.process.pid}").exists()

    def ended(self) -> tuple[int, bytes, bytes]:
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@pytest.mark.parametrize(
    ("pause", "number"),
    [
        ("training", signal.SIGINT),
        ("saving", signal.SIGINT),
        ("saving", signal.SIGTERM),
        ("saving", signal.SIGKILL),
    ],
)
def test_a_training_that_is_killed_leaves_no_model(pause, number, site, cache, events, tmp_path, run):
    started = Started(site, events, "killed.lhe", pause)
    started.wait_until_there()
    started.process.send_signal(number)
    code, _, err = started.ended()
    assert code == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    assert b"Traceback" not in err
    assert models(cache) == []
    if number != signal.SIGKILL:
        assert [path.name for path in cache.rglob("*") if path.name not in ("models", ".lock")] == []
    assert not list(tmp_path.glob("*killed*"))
    result, _ = run()
    assert result["stages"][0]["trained"]
    assert result["remarks"] == []
    assert not run()[0]["stages"][0]["trained"]


@pytest.mark.parametrize("options", [(), ("--retrain",)])
def test_two_trainings_at_once(options, site, cache, events, tmp_path, run):
    if options:
        run()
    both = [Started(site, events, f"{name}.lhe", "training", *options) for name in ("a", "b")]
    for started in both:
        started.wait_until_there()
    (tmp_path / "go").touch()
    results = []
    for started in both:
        code, out, err = started.ended()
        assert code == 0, err
        results.append(json.loads(out))
    assert [result["remarks"] for result in results] == [[], []]
    assert all(result["stages"][0]["trained"] for result in results)
    assert len(models(cache)) == 1
    result, written = run()
    assert not result["stages"][0]["trained"]
    # The names of the outputs are in the card, which is in the header.
    others = [started.output.read_bytes() for started in both]
    assert len({content[content.index(b"<event>") :] for content in (written, *others)}) == 1
    assert len({found["stages"][0]["model_sha256"] for found in (result, *results)}) == 1


class TestOneAhead:
    def test_batches_are_generated_in_order_and_one_at_a_time(self, run, monkeypatch, tmp_path):
        run()
        import mlgen_toys

        generate, busy, threads, sizes = mlgen_toys.EventLibrary.generate, threading.Lock(), set(), []
        made = []

        def watched(self, n, rng):
            assert busy.acquire(blocking=False)
            try:
                threads.add(threading.current_thread())
                sizes.append(n)
                made.append((self, rng.bit_generator.state))
                return generate(self, n, rng)
            finally:
                busy.release()

        monkeypatch.setattr(mlgen_toys.EventLibrary, "generate", watched)
        run("--set", "run.batch_size=8")
        assert sizes == [8, 8, 8, 6]
        assert len(threads) == 1
        assert threading.main_thread() not in threads
        assert [state for _, state in made] == [
            random_generator(1, Work.GENERATE, index).bit_generator.state for index in range(4)
        ]
        with open_events(tmp_path / "out.lhe") as stream:
            pz = np.concatenate([batch.column("pz") for batch in stream])
        expected = [generate(made[0][0], n, random_generator(1, Work.GENERATE, index)) for index, n in enumerate(sizes)]
        assert pz.tolist() == np.concatenate([batch.column("pz") for batch in expected]).tolist()

    def test_an_error_of_the_plugin_comes_as_it_is(self, run, monkeypatch, events, tmp_path, mlgen_command):
        run()
        import mlgen_toys

        generate = mlgen_toys.EventLibrary.generate

        def broken(self, n, rng):
            if n < 8:
                raise ZeroDivisionError("deep inside")
            return generate(self, n, rng)

        monkeypatch.setattr(mlgen_toys.EventLibrary, "generate", broken)
        command = ["run", events, "--generator", "pausing", "-n", "30", "--set", "run.batch_size=8"]
        code, _, err = mlgen_command(*command, "-o", tmp_path / "broken.lhe")
        assert code == 1
        assert "generator plugin 'pausing' of mlgen-pausing 1.0 failed: ZeroDivisionError: deep inside" in err
        assert not list(tmp_path.glob("*broken*"))
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("mlgen-generator")]

    def test_a_full_disk_ends_the_worker(self, run, events, mlgen_command):
        code, _, err = mlgen_command(
            "run", events, "--generator", "pausing", "-n", 30, "--set", "run.batch_size=8", "--format", "lhe",
            "-o", "/dev/full",
        )  # fmt: skip
        assert code == 1
        assert "No space left" in err
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("mlgen-generator")]
