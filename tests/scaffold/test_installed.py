"""New packages of all five stages, installed in an environment of their own: nothing is edited.

Kept short: one environment for all, which sees the packages of this one instead of installing torch again; one call of
pip; the tests of a package by pytest for one of them, since they are those of ``mlgen check-plugin`` and its card; of
the generator only rules that its own modules decide, since all others are those of `mlgen.generation`, which has tests
of its own; and two things are done at a time.
"""

import json
import os
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from mlgen.formats import open_events
from mlgen.scaffold import new_plugin
from mlgen.scaffold.stage_packages import STAGE_PACKAGES
from mlgen.stages import Stage

#: The rules that are checked of a package; all where it is not named.
RULES = {
    Stage.GENERATOR: (
        "saved-and-loaded-gives-the-same-result",
        "global-random-state-is-untouched",
        "points-are-drawn-from-their-density",
        "log-density-is-that-of-the-events",
    )
}
#: Settings in place of the card's.
QUICK = {Stage.GENERATOR: ("--set", "generator.steps=20", "--set", "generator.label_steps=10")}
NAMES = {stage: f"fresh-{stage.value.replace('_', '-')}" for stage in Stage}
#: The package whose tests are run by pytest.
TESTED = Stage.UNWEIGHTING
AT_A_TIME = 2


def environment(folder: Path) -> Path:
    """Make a virtual environment that sees the packages of this one, editable ones too; returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    own = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    Path(own, "packages_of_the_host.pth").write_text(
        f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    )
    return python


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    return environment(tmp_path_factory.mktemp("environment"))


def run(python: Path, *arguments: object, folder: Path) -> str:
    """Run Python in a folder; returns standard output."""
    command = [str(python), *(str(argument) for argument in arguments)]
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "MLGEN_DISABLE"))}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_packages_of_all_stages_work_at_once(tmp_path, python):
    """Installed, listed, conforming, typed, and run: what comes out says which package made it."""
    folders = {stage: tmp_path / name for stage, name in NAMES.items()}
    for stage, name in NAMES.items():
        new_plugin(name, stage, folders[stage])
    pip = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    editable = [part for folder in folders.values() for part in ("--editable", folder)]
    run(python, *pip, "--no-deps", "--no-build-isolation", "--no-index", *editable, folder=tmp_path)

    def listed() -> None:
        told = json.loads(run(python, "-m", "mlgen", "plugins", "--json", folder=tmp_path))
        assert told["failures"] == []
        assert told["conflicts"] == []
        for stage, name in NAMES.items():
            (own,) = [plugin for plugin in told["stages"][stage.value] if plugin["name"] == name]
            assert (own["distribution"], own["version"]) == (f"mlgen-{name}", "0.1.0")

    def conforms(stage: Stage) -> None:
        rules = [part for rule in RULES.get(stage, ()) for part in ("--rule", rule)]
        run(python, "-m", "mlgen", "check-plugin", NAMES[stage], *rules, folder=tmp_path)

    def runs(stage: Stage) -> None:
        run(python, "-m", "mlgen", "run", "card.toml", *QUICK.get(stage, ()), folder=folders[stage])
        with open_events(folders[stage] / STAGE_PACKAGES[stage].outputs[0]) as events:
            (record,) = events.run_info.provenance
            assert sum(len(batch) for batch in events) > 0
        (own,) = [made for made in record["stages"] if made["stage"] == stage.value]
        assert (own["plugin"], own["distribution"]) == (NAMES[stage], f"mlgen-{NAMES[stage]}")

    def is_typed() -> None:
        packages = [part for name in NAMES.values() for part in ("--package", name.replace("-", "_"))]
        # Looking through torch takes three times as long as all the rest.
        (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\n[mypy-torch.*]\nfollow_imports = skip\n")
        run(python, "-m", "mypy", *packages, folder=tmp_path)

    def has_tests() -> None:
        told = run(python, "-m", "pytest", "-p", "no:cacheprovider", "-v", folder=folders[TESTED])
        assert "test_the_card_runs PASSED" in told
        assert "test_registered_under_its_name PASSED" in told
        assert "test_exact[wrong] PASSED" in told

    # The longest first.
    work = [partial(runs, stage) for stage in reversed(list(Stage))]
    work += [partial(conforms, stage) for stage in reversed(list(Stage)) if stage is not TESTED]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for result in [pool.submit(check) for check in (is_typed, has_tests, *work, listed)]:
            result.result()
