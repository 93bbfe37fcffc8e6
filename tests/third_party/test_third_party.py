"""Packages of strangers (`examples/third_party`), installed with pip into an environment of their own.

The environment sees what is installed where the tests run, so that neither mlgen nor torch has to be installed again;
its own packages are in its own folder, and `mlgen` is run as a whole process there.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp

import mlgen
from mlgen import open_events
from mlgen.testing import check_events

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / "examples" / "third_party"
BROKEN = "mlgen-broken 1.2.0"
FUTURE = "mlgen-future 3.0.0"
CONTRACT = "mlgen-future-contract 1.0.0"
#: A training that takes seconds, and still comes close.
QUICK = ("--set", "generator.components=12", "--set", "generator.trees=30", "--set", "generator.iterations=40")


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and its `mlgen`."""

    python: Path
    cache: Path

    def run(self, *arguments: object, directory: Path | None = None, sleep: float = 0, **variables: str):
        """Run Python in it; modules of the broken package that sleep do so for `sleep` seconds."""
        inherited = {k: v for k, v in os.environ.items() if k not in ("MLGEN_DISABLE_PLUGINS", "PYTHONPATH")}
        own = {"MLGEN_BROKEN_SLEEP": str(sleep), "MLGEN_CACHE": str(self.cache), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [str(self.python), *map(str, arguments)],
            cwd=directory,
            env={**inherited, **own, **variables},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def mlgen(self, *arguments: object, directory: Path | None = None, sleep: float = 0, **variables: str):
        """Run its `mlgen`."""
        return self.run("-m", "mlgen", *arguments, directory=directory, sleep=sleep, **variables)


def make_environment(folder: Path) -> Environment:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site_packages = next(folder.glob("lib/python*/site-packages"))
    running = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    lines = [f"import site; site.addsitedir({path!r})" for path in running]
    (site_packages / "running_environment.pth").write_text("\n".join(lines) + "\n")
    return Environment(folder / "bin" / "python", folder / "cache")


def install(environment: Environment, *packages: Path) -> None:
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--no-cache-dir", "--disable-pip-version-check"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(environment.python), "install", *options, *map(str, packages)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages where a build may leave its files."""
    folder = tmp_path_factory.mktemp("sources") / "third_party"
    leave_out = shutil.ignore_patterns("build", "*.egg-info", "__pycache__", "models", ".*_cache")
    return Path(shutil.copytree(PACKAGES, folder, ignore=leave_out))


@pytest.fixture(scope="session")
def environment(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with all packages: the one that works, those that are broken, those of a future mlgen."""
    made = make_environment(tmp_path_factory.mktemp("environment") / "all")
    install(made, *sorted(folder for folder in sources.iterdir() if (folder / "pyproject.toml").exists()))
    return made


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment without any of them."""
    return make_environment(tmp_path_factory.mktemp("environment") / "bare")


@pytest.fixture(scope="session")
def listing(environment: Environment) -> dict[str, object]:
    """What `mlgen plugins --json` says."""
    done = environment.mlgen("plugins", "--json", sleep=0.7)
    assert done.returncode == 0, done.stderr
    made: dict[str, object] = json.loads(done.stdout)
    return made


@pytest.fixture(scope="session")
def trained(environment: Environment, sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the package's card after a run of it."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copy(sources / "mlgen-boosted-mixture" / "card.toml", folder)
    shutil.copy(ROOT / "examples" / "zjet.lhe.gz", folder)
    done = environment.mlgen("run", "card.toml", "-n", 3000, *QUICK, directory=folder)
    assert done.returncode == 0, done.stderr
    assert "boosted-mixture 0.3.0 (approximate)" in done.stdout
    return folder


class TestOneThatWorks:
    def test_it_is_listed_like_the_built_in_ones(self, listing):
        (found,) = [one for one in listing["stages"]["generator"] if one["name"] == "boosted-mixture"]
        assert (found["distribution"], found["version"]) == ("mlgen-boosted-mixture", "0.3.0")
        assert found["exactness"] == "approximate"
        assert found["capabilities"] == ["density"]
        assert found["settings"]["components"]["default"] == 40
        assert all(setting["description"] for setting in found["settings"].values())

    def test_its_card_runs(self, trained):
        with open_events(trained / "zjet.new.lhe.gz") as stream:
            run_info, batches = stream.run_info, list(stream)
        assert sum(len(batch) for batch in batches) == 3000
        for batch in batches:
            check_events(batch, run_info)
        with open_events(trained / "zjet.lhe.gz") as stream:
            assert run_info.cross_section == pytest.approx(stream.run_info.cross_section, rel=1e-9)
            assert run_info.beams == stream.run_info.beams

    def test_its_events_are_like_those_that_it_learned_from(self, trained):
        """The largest distance of two distributions (Kolmogorov and Smirnov), for 3,000 and 10,000 events.

        For equal ones it exceeds 0.052 once in 100,000 times. A single Gaussian has the distributions of coordinates
        too, but not where the quark goes in events with a gluon: it is at 0.23 there.
        """
        true, made = (_observables(trained / name) for name in ("zjet.lhe.gz", "zjet.new.lhe.gz"))
        distances = {name: float(ks_2samp(true[name], made[name]).statistic) for name in true}
        along_quark = distances.pop("rapidity along the quark")
        assert max(distances.values()) < 0.08, distances
        assert along_quark < 0.17

    def test_files_say_where_their_events_come_from(self, trained):
        with open_events(trained / "zjet.new.lhe.gz") as stream:
            entry = json.dumps(stream.run_info.provenance[-1])
        stage = json.loads(entry)["stages"][0]
        assert stage["plugin"] == "boosted-mixture"
        assert stage["distribution"] == "mlgen-boosted-mixture"
        assert stage["version"] == "0.3.0"
        assert stage["exactness"] == "approximate"

    def test_its_model_is_used_again(self, environment, trained, tmp_path):
        before = {path.name: path.read_bytes() for path in (trained / "models" / "zjet").iterdir()}
        assert "weights.safetensors" in before
        done = environment.mlgen(
            "run", "card.toml", "-n", 3000, *QUICK, "--force", "--json", "-o", tmp_path / "again.lhe", directory=trained
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["stages"][0]["trained"] is False
        assert {path.name: path.read_bytes() for path in (trained / "models" / "zjet").iterdir()} == before
        with gzip.open(trained / "zjet.new.lhe.gz", "rt") as first:
            assert _events(first.read()) == _events((tmp_path / "again.lhe").read_text())

    def test_its_model_needs_the_package(self, bare, trained):
        done = bare.mlgen("run", "card.toml", *QUICK, "-o", "other.lhe", directory=trained)
        assert done.returncode == 2
        assert "no generator plugin is called 'boosted-mixture'" in done.stderr
        assert not (trained / "other.lhe").exists()

    def test_its_own_tests_pass(self, environment, sources):
        tests = sources / "mlgen-boosted-mixture"
        # Its test of the kit is what the next test here does.
        arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_boosted_mixture.py")
        done = environment.run(*arguments, directory=tests)
        assert done.returncode == 0, done.stdout[-4000:]

    def test_it_conforms(self, environment):
        done = environment.mlgen("check-plugin", "boosted-mixture")
        assert done.returncode == 0, done.stdout + done.stderr


class TestBrokenOnes:
    @pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
    def test_help_is_undisturbed(self, environment, bare, arguments):
        """A module that sleeps for ten minutes would make this time out."""
        done, expected = environment.mlgen(*arguments, sleep=600), bare.mlgen(*arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, expected.stdout, "")
        assert done.stdout

    @pytest.mark.parametrize(
        ("entry_point", "words"),
        [
            ("broken_import", "ModuleNotFoundError: No module named 'surely_not_installed_anywhere'"),
            ("broken_missing", "No module named 'mlgen_broken.is_not_there'"),
            ("broken_exit", "SystemExit: mlgen-broken: no licence server found"),
            ("broken_hook_name", "'mlgen_generators', which mlgen"),
            ("broken_hook_name", "did you mean 'mlgen_generator'"),
            ("broken_offer", "the hook mlgen_phase_space gave dict; Plugin is expected"),
            ("broken_offer", "'misplaced' says it is for calorimeter, but comes from the hook mlgen_phase_space"),
            ("broken_offer", "'NoneType' object is not iterable"),
            ("broken_raise", "RuntimeError: the shower library /data/showers.h5 is not mounted"),
        ],
    )
    def test_what_is_wrong_is_shown(self, listing, entry_point, words):
        own = [failure for failure in listing["failures"] if f"{BROKEN} (entry point '{entry_point}')" in failure]
        assert any(words in failure for failure in own), own

    def test_what_can_be_used_is_listed(self, listing):
        names = {stage: [one["name"] for one in plugins] for stage, plugins in listing["stages"].items()}
        assert "listed" in names["phase_space"]
        assert "sleepy" in names["amplitude"]
        assert "talkative" in names["unweighting"]
        assert "misplaced" not in names["calorimeter"] + names["phase_space"]
        assert {"cfm", "discflow"} <= set(names["generator"])

    def test_a_list_for_people(self, environment):
        done = environment.mlgen("plugins", sleep=0.7)
        assert done.returncode == 0, done.stderr
        assert f"{BROKEN} (entry point 'broken_exit'): SystemExit" in done.stdout
        assert f"slow: {BROKEN} (entry point 'broken_sleep')" in done.stdout
        assert "***" not in done.stdout

    def test_what_it_prints_does_not_get_among_the_events(self, environment, examples):
        events = examples / "zjet_weighted.lhe.gz"
        done = environment.mlgen("run", events, "--unweighting", "talkative", "-o", "-", "--format", "lhe")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("<LesHouchesEvents")
        assert done.stdout.count("<event>") == 3000
        assert "***" not in done.stdout
        assert "*** mlgen-broken keeps everything ***" in done.stderr

    def test_asking_for_what_it_had_shows_its_failure(self, environment, examples, tmp_path):
        done = environment.mlgen("run", examples / "zjet.lhe.gz", "--generator", "quantum", "-o", tmp_path / "new.lhe")
        assert done.returncode == 2
        assert "no generator plugin is called 'quantum'" in done.stderr
        assert f"{BROKEN} (entry point 'broken_import'): ModuleNotFoundError" in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("hollow", "ModuleNotFoundError: No module named 'mlgen_broken.network'"),
            ("no-generator", "a subclass of mlgen.stages.EventGenerator is expected"),
        ],
    )
    def test_a_plugin_without_its_class(self, environment, examples, tmp_path, name, words):
        done = environment.mlgen("run", examples / "zjet.lhe.gz", "--generator", name, "-o", tmp_path / "new.lhe")
        assert done.returncode == 1
        assert f"generator plugin '{name}' of {BROKEN}" in done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert not any(tmp_path.iterdir())

    @pytest.mark.parametrize("switch", ["option", "variable"])
    def test_without_third_party_plugins(self, environment, bare, switch):
        """All of them are left out, and none is imported, or this would take ten minutes."""
        option, variables = (["--no-plugins"], {}) if switch == "option" else ([], {"MLGEN_DISABLE_PLUGINS": "1"})
        done = environment.mlgen(*option, "plugins", sleep=600, **variables)
        expected = bare.mlgen(*option, "plugins", **variables)
        assert (done.returncode, done.stdout, done.stderr) == (0, expected.stdout, "")
        for name in ("mlgen-boosted-mixture", "mlgen-broken", "mlgen-future"):
            assert name not in done.stdout


class TestThoseOfAFutureMlgen:
    def test_a_requirement_on_a_newer_mlgen(self, listing):
        (failure,) = [failure for failure in listing["failures"] if FUTURE in failure]
        assert "mlgen-hep>=9" in failure
        assert f"mlgen-hep {mlgen.__version__}" in failure
        # What would go wrong first if it were imported is not the point.
        assert "quantum" not in failure

    def test_asking_for_it_names_both_versions(self, environment, examples, tmp_path):
        output = tmp_path / "new.lhe"
        done = environment.mlgen("run", examples / "zjet.lhe.gz", "--generator", "future-flow", "-o", output)
        assert done.returncode == 2
        (line,) = [line for line in done.stderr.splitlines() if FUTURE in line]
        assert "mlgen-hep>=9" in line
        assert f"mlgen-hep {mlgen.__version__}" in line

    def test_asking_for_newer_contracts_names_both_versions(self, environment, examples, tmp_path):
        done = environment.mlgen(
            "run", examples / "zjet.lhe.gz", "--generator", "streaming", "-o", tmp_path / "new.lhe"
        )
        assert done.returncode == 2
        assert f"generator plugin 'streaming' of {CONTRACT} was written for version 2 of the contracts" in done.stderr
        assert "speaks version 1" in done.stderr
        assert not any(tmp_path.iterdir())

    def test_newer_contracts_are_listed_as_such(self, listing):
        (found,) = [one for one in listing["stages"]["generator"] if one["name"] == "streaming"]
        assert found["contract_version"] == 2

    @pytest.mark.parametrize(
        ("entry_point", "words"),
        [
            ("future_hook", f"'mlgen_hadronisation', which mlgen {mlgen.__version__} does not know"),
            ("future_argument", "unexpected keyword argument 'time'"),
        ],
    )
    def test_what_this_mlgen_does_not_know(self, listing, entry_point, words):
        place = f"{CONTRACT} (entry point '{entry_point}')"
        assert any(place in failure and words in failure for failure in listing["failures"])


def _observables(file: Path) -> dict[str, np.ndarray]:
    """Of pairs of leptons, and of the whole event; the events of the example have six particles each."""
    with open_events(file) as stream:
        batches = list(stream)
    momenta = np.concatenate([batch.momenta().reshape(len(batch), 6, 4) for batch in batches])
    incoming = np.concatenate([batch.column("pdg_id").reshape(len(batch), 6)[:, :2] for batch in batches])
    pair, energy = momenta[:, 2], momenta[:, :2, 3]
    rapidity = np.log(energy[:, 0] / energy[:, 1]) / 2
    gluon = incoming == 21
    return {
        "mass": np.sqrt(pair[:, 3] ** 2 - np.square(pair[:, :3]).sum(axis=1)),
        "transverse momentum": np.hypot(pair[:, 0], pair[:, 1]),
        "rapidity": np.arctanh(pair[:, 2] / pair[:, 3]),
        "collision energy": 2 * np.sqrt(energy[:, 0] * energy[:, 1]),
        "rapidity along the quark": np.where(gluon[:, 0], -rapidity, rapidity)[gluon.any(axis=1)],
    }


def _events(text: str) -> list[str]:
    """The events of a Les Houches file, without its head."""
    return text.split("<event>")[1:]
