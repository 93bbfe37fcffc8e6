"""Plugins in a single file: named by a card or an option, shown as such, refused in words where they cannot be used."""

from __future__ import annotations

import hashlib
import json
import re
import shutil

import pytest
from click.testing import CliRunner

from mlgen.card import load_card
from mlgen.cli import cli
from mlgen.errors import CardError, ModelError, PluginError, PluginFailure
from mlgen.formats import open_events
from mlgen.plugins import PluginManager, add_plugin_file, forget_plugin_files, plugin_manager
from mlgen.stages import Stage

PLUGIN = '''
"""Unweights as hit-or-miss does."""

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Exactness, Stage
from mlgen_unweighting.settings import HitOrMissSettings

{version}

class MySettings(HitOrMissSettings):
    tries: int = 1

def factory():
    from mlgen_unweighting.hit_or_miss import HitOrMiss

    return HitOrMiss

@hookimpl
def mlgen_unweighting():
    yield Plugin("my-own", Stage.UNWEIGHTING, factory, MySettings, Exactness.EXACT, "my own", contract_version=1)
'''
GENERATOR = """
from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Exactness, Stage
from mlgen_discflow.settings import DiscFlowSettings

__version__ = "0.3"

class MySettings(DiscFlowSettings):
    steps: int | None = 20
    label_steps: int = 10
    discriminator_rounds: int = 0
    discriminator_epochs: int = 0

def factory():
    from mlgen_discflow.generator import DiscFlowGenerator

    class MyFlow(DiscFlowGenerator):
        name = "my-flow"
        settings_type = MySettings

    return MyFlow

@hookimpl
def mlgen_generator():
    yield Plugin("my-flow", Stage.GENERATOR, factory, MySettings, Exactness.APPROXIMATE, "my own", contract_version=1)
"""
BROKEN = {
    "raises": ("x = 1\nraise RuntimeError('not today')\n", r"plugin\.py:2: RuntimeError: not today"),
    "exits": ("import sys\nsys.exit(3)\n", r"plugin\.py:2: SystemExit: 3"),
    "is no Python": ("def f(:\n", r"plugin\.py:1: SyntaxError"),
    "needs another library": ("import surely_not_there\n", "No module named 'surely_not_there'"),
    "has no hook": ("x = 1\n", "it has no hook: a function decorated with @hookimpl"),
    "forgets the decorator": ("def mlgen_generator():\n    pass\n", "'mlgen_generator' is not decorated"),
    "has an unknown hook": (
        "from mlgen.hookspecs import hookimpl\n@hookimpl\ndef mlgen_generators():\n    return []\n",
        r"the hook 'mlgen_generators', which mlgen 0\.1\.0 does not know; did you mean 'mlgen_generator'\?",
    ),
    "offers nothing": (
        "from mlgen.hookspecs import hookimpl\n@hookimpl\ndef mlgen_generator():\n    return []\n",
        "its hooks offer nothing",
    ),
    "offers something else": (
        "from mlgen.hookspecs import hookimpl\n@hookimpl\ndef mlgen_generator():\n    yield 3\n",
        "gave int; Plugin is expected",
    ),
    "has a hook that raises": (
        "from mlgen.hookspecs import hookimpl\n@hookimpl\ndef mlgen_generator():\n    raise OSError('no disk')\n",
        r"plugin\.py: OSError: no disk \(line 4\)",
    ),
}


@pytest.fixture
def write(tmp_path):
    def write_plugin(code=None, name="my_plugin.py", version=""):
        path = tmp_path / name
        path.write_text(PLUGIN.format(version=version) if code is None else code)
        return path

    return write_plugin


@pytest.fixture(autouse=True)
def forget():
    yield
    forget_plugin_files()


@pytest.fixture
def weighted(examples, tmp_path):
    return shutil.copy(examples / "zjet_weighted.lhe.gz", tmp_path / "weighted.lhe.gz")


def mlgen(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=True)


def provenance(path):
    with open_events(path) as events:
        return events.run_info.provenance[-1]


@pytest.mark.parametrize("by", ["card", "option"])
def test_runs_and_is_shown_as_a_single_file(by, write, weighted, tmp_path):
    path = write(version='__version__ = "0.3"')
    output = tmp_path / "new.lhe"
    if by == "card":
        card = tmp_path / "card.toml"
        card.write_text(
            'plugins = ["my_plugin.py"]\n[input]\nfile = "weighted.lhe.gz"\n[unweighting]\nplugin = "my-own"\n'
            'tries = 2\n[output]\nfiles = "new.lhe"\n'
        )
        result = mlgen("run", card)
    else:
        result = mlgen("run", weighted, "--unweighting", "my-own", "--plugin", path, "-o", output)
    assert result.exit_code == 0, result.output
    record = provenance(output)
    (stage,) = record["stages"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    assert stage["plugin"] == "my-own"
    assert stage["distribution"] == "my_plugin.py (single file)"
    assert stage["version"] == f"0.3+sha256.{digest}"
    # The card that is kept names the file, whoever did.
    assert "my_plugin.py" in record["card"]


def test_is_known_only_where_it_is_named(write, weighted, tmp_path):
    path = write()
    listed = mlgen("plugins", "--plugin", path, "--json")
    assert "my-own" in [plugin["name"] for plugin in json.loads(listed.stdout)["stages"]["unweighting"]]
    # The file lies there, and a command before this one named it.
    assert "my-own" not in mlgen("plugins").stdout
    refused = mlgen("run", weighted, "--unweighting", "my-own", "-o", tmp_path / "new.lhe")
    assert isinstance(refused.exception, PluginError)


def test_is_used_although_installed_packages_are_left_out(write):
    result = mlgen("--no-plugins", "plugins", "--plugin", write())
    assert "my_plugin.py (single file)" in result.stdout


@pytest.mark.parametrize("what", BROKEN)
def test_one_that_cannot_be_used_is_told_at_once(what, write):
    code, problem = BROKEN[what]
    with pytest.raises(PluginError, match=problem) as error:
        add_plugin_file(write(code, "plugin.py"))
    assert "plugin.py" in str(error.value)
    assert plugin_manager().files == ()
    # Nothing else is disturbed.
    assert plugin_manager().find(Stage.UNWEIGHTING, "hit-or-miss")


def test_a_card_that_names_a_file_that_is_not_there(tmp_path):
    (tmp_path / "card.toml").write_text('\nplugins = "other.py"\n[input]\nfile = "events.lhe"\n')
    with pytest.raises(PluginError, match=r"card\.toml:2: plugins: .*other\.py: .*cannot be read: No such file"):
        load_card(tmp_path / "card.toml")


def test_a_file_of_the_card_that_is_not_there_although_an_option_names_another(write, weighted, tmp_path):
    (tmp_path / "card.toml").write_text('plugins = ["gone.py"]\n[input]\nfile = "weighted.lhe.gz"\n')
    result = mlgen("run", tmp_path / "card.toml", "--plugin", write())
    assert re.search(r"card\.toml:1: plugins: .*gone\.py: the plugin's file cannot be read", str(result.exception))


def test_something_else_than_a_python_file(tmp_path):
    with pytest.raises(PluginError, match="a Python file"):
        add_plugin_file(tmp_path / "my-package")


def test_is_loaded_once(write):
    path = write()
    first = add_plugin_file(path)
    registered = plugin_manager().find(Stage.UNWEIGHTING, "my-own")
    assert add_plugin_file(path) == first
    assert plugin_manager().find(Stage.UNWEIGHTING, "my-own").offer is registered.offer


def test_is_one_file_by_whatever_path(write, tmp_path):
    path = write()
    first = add_plugin_file(path)
    (tmp_path / "cards").mkdir()
    (tmp_path / "link.py").symlink_to(path)
    assert add_plugin_file(tmp_path / "cards" / ".." / path.name) == first
    assert add_plugin_file(tmp_path / "link.py") == first


def test_two_files_of_one_name_and_content_are_told_apart(write, tmp_path):
    first = write()
    second = tmp_path / "other" / first.name
    second.parent.mkdir()
    shutil.copy(first, second)
    add_plugin_file(first)
    add_plugin_file(second)
    with pytest.raises(PluginError) as refusal:
        plugin_manager().find(Stage.UNWEIGHTING, "my-own")
    assert f"from {first} (single file) and {second} (single file); rename one" in str(refusal.value)


def test_one_that_exits_when_it_is_used_is_a_failure(write, weighted, tmp_path):
    path = write(PLUGIN.format(version="").replace("def factory():", "def factory():\n    raise SystemExit(0)"))
    result = mlgen("run", weighted, "--unweighting", "my-own", "--plugin", path, "-o", tmp_path / "new.lhe")
    assert isinstance(result.exception, PluginFailure)
    checked = mlgen("check-plugin", "--plugin", path)
    assert checked.exit_code == 3
    assert "SystemExit: 0" in checked.stdout


def test_a_card_that_names_files_below_its_first_section_is_told_where_they_go(weighted, tmp_path):
    card = tmp_path / "card.toml"
    card.write_text('[input]\nfile = "weighted.lhe.gz"\nplugins = ["my_plugin.py"]\n')
    with pytest.raises(CardError, match=r"card\.toml:3: \[input\] plugins: .*named above the first section"):
        load_card(card)


def test_hooks_of_packages_are_not_called_again(write, monkeypatch):
    manager = PluginManager()
    before = manager.find(Stage.UNWEIGHTING, "hit-or-miss").offer
    manager.add_file(write())
    assert manager.find(Stage.UNWEIGHTING, "hit-or-miss").offer is before


def test_a_name_that_an_installed_package_has(write):
    add_plugin_file(write(PLUGIN.format(version="").replace("my-own", "hit-or-miss")))
    with pytest.raises(PluginError, match=r"from mlgen-hep .* and .*my_plugin.py \(single file\); rename one"):
        plugin_manager().find(Stage.UNWEIGHTING, "hit-or-miss")


def test_settings_of_the_file_are_checked_with_the_line(write, weighted, tmp_path):
    write()
    (tmp_path / "card.toml").write_text(
        'plugins = ["my_plugin.py"]\n[input]\nfile = "weighted.lhe.gz"\n'
        '[unweighting]\nplugin = "my-own"\ntires = 2\n[output]\nfiles = "new.lhe"\n'
    )
    result = mlgen("run", tmp_path / "card.toml")
    assert re.search(r"card\.toml:6: \[unweighting\] tires: unknown key; did you mean 'tries'", str(result.exception))


def test_other_code_is_another_version(write, examples, tmp_path):
    """A model of a file without a version of its own fits that very file; with one, that version."""
    code = GENERATOR
    arguments = ("run", examples / "zjet.lhe.gz", "--generator", "my-flow", "-n", 100, "--model", tmp_path / "model")

    def run(path, name):
        return mlgen(*arguments, "--plugin", path, "-o", tmp_path / name)

    plain = code.replace('__version__ = "0.3"', "")
    assert run(write(plain), "1.lhe").exit_code == 0
    assert run(write(plain), "2.lhe").exit_code == 0
    refused = run(write(plain + "# changed\n"), "3.lhe")
    assert isinstance(refused.exception, ModelError)
    assert "trained with my_plugin.py (single file) sha256." in str(refused.exception)
    assert "Install" not in str(refused.exception)
    shutil.rmtree(tmp_path / "model")
    assert run(write(code), "4.lhe").exit_code == 0
    changed = run(write(code + "# changed\n"), "5.lhe")
    assert changed.exit_code == 0
    remark = "has changed since this model was trained: train it again with --retrain"
    assert remark in " ".join(changed.stdout.split())
    assert remark not in " ".join(run(write(code), "6.lhe").stdout.split())
