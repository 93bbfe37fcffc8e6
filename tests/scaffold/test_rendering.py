import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mlgen
from mlgen.scaffold import new_plugin
from mlgen.scaffold.rendering import host_versions
from mlgen.scaffold.stage_packages import STAGE_PACKAGES
from mlgen.stages import CONTRACT_VERSION, Stage

ROOT = Path(__file__).parents[2]
#: The longest and the shortest name: lines of code must not depend on it.
NAMES = ("a-name-of-forty-characters-which-is-long", "q")


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    """Packages of all stages, each with a long and a short name."""
    folder = tmp_path_factory.mktemp("packages")
    for stage in Stage:
        for name in NAMES:
            new_plugin(name, stage, folder / f"{stage.value}-{name}")
    return folder


def in_all(packages: Path):
    for stage in Stage:
        for name in NAMES:
            yield stage, name, packages / f"{stage.value}-{name}"


def test_every_stage_has_a_package():
    assert set(STAGE_PACKAGES) == set(Stage)


def test_every_package_has_all_its_files(packages):
    for _, name, folder in in_all(packages):
        package = name.replace("-", "_")
        for file in (
            "pyproject.toml",
            "README.md",
            ".gitignore",
            ".github/workflows/test.yml",
            "card.toml",
            f"src/{package}/__init__.py",
            f"src/{package}/model.py",
            f"src/{package}/py.typed",
            f"tests/test_{package}.py",
        ):
            assert (folder / file).is_file(), folder / file


def test_nothing_of_the_templates_is_left(packages):
    for _, _, folder in in_all(packages):
        for path in folder.rglob("*"):
            if path.suffix in (".py", ".toml", ".md", ".yml"):
                text = path.read_text()
                assert not {"<<", "<%"} & {text[i : i + 2] for i in range(len(text))}, path
                assert text.endswith("\n"), path


def test_the_contract_version_is_a_number_and_the_host_is_bounded(packages):
    for _, name, folder in in_all(packages):
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        assert project["name"] == f"mlgen-{name}"
        assert f"mlgen-hep{host_versions(mlgen.__version__)}" in project["dependencies"]
        assert project["entry-points"]["mlgen"] == {name.replace("-", "_"): name.replace("-", "_")}
        hooks = ast.parse((folder / "src" / name.replace("-", "_") / "__init__.py").read_text())
        values = [
            node.value for node in ast.walk(hooks) if isinstance(node, ast.keyword) and node.arg == "contract_version"
        ]
        assert [ast.literal_eval(value) for value in values] == [CONTRACT_VERSION]


def test_the_card_names_the_plugin(packages):
    for stage, name, folder in in_all(packages):
        card = tomllib.loads((folder / "card.toml").read_text())
        assert card[stage.value]["plugin"] == name
        assert set(card["output"]["files"]) == set(STAGE_PACKAGES[stage].outputs)
        for path in [card["input"]["file"]] if "input" in card else []:
            assert (folder / path).is_file()


def test_places_to_edit_are_marked_in_the_model_only(packages):
    for _, name, folder in in_all(packages):
        modules = {path.name: path.read_text() for path in (folder / "src" / name.replace("-", "_")).glob("*.py")}
        assert "YOUR MODEL" in modules["model.py"]
        assert "YOUR SETTINGS" in modules["__init__.py"]
        others = {file: text for file, text in modules.items() if file not in ("model.py", "__init__.py")}
        assert others
        assert not any("YOUR" in text for text in others.values())
        readme = (folder / "README.md").read_text()
        for file in modules:
            assert f"`src/{name.replace('-', '_')}/{file}` |" in readme, file


def test_every_method_of_a_model_is_marked(packages):
    """Those that the other modules call: whoever puts in another model has to write all of them."""
    for _, name, folder in in_all(packages):
        text = (folder / "src" / name.replace("-", "_") / "model.py").read_text()
        (model,) = [one for one in ast.parse(text).body if isinstance(one, ast.ClassDef)]
        lines = text.splitlines()
        for method in (one for one in model.body if isinstance(one, ast.FunctionDef)):
            if method.name == "__init__" or not method.name.startswith("_"):
                assert lines[method.lineno - 2].startswith("    # YOUR MODEL: "), method.name


def test_the_code_keeps_the_rules_of_mlgen_for_style(packages):
    """By its own configuration, and by that of mlgen but for where first-party packages are."""
    for arguments in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--no-cache", str(packages)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    for _, name, folder in in_all(packages):
        package = name.replace("-", "_")
        own = ["--config", 'src=["src"]', "--config", f'lint.isort.known-first-party=["{package}"]']
        command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--config", str(ROOT / "pyproject.toml"), *own]
        done = subprocess.run([*command, "."], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("version", "bounds"),
    [
        ("0.1.0", ">=0.1,<0.2"),
        ("0.12.3", ">=0.12,<0.13"),
        ("1.4.2", ">=1.4,<2"),
        ("0.2.0.dev1", ">=0.2.0.dev1,<0.3"),
        ("1.0rc1", ">=1.0rc1,<2"),
    ],
)
def test_bounds_of_the_host(version, bounds):
    from packaging.specifiers import SpecifierSet

    assert host_versions(version) == bounds
    assert SpecifierSet(bounds).contains(version, prereleases=True)
