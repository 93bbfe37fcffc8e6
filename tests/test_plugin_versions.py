"""Versions: of the host that a package requires, and of the contracts that a plugin was written for."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from mlgen.cli import cli
from mlgen.errors import PluginError
from mlgen.plugins import PluginManager
from mlgen.stages import Stage

pytestmark = pytest.mark.usefixtures("fresh_manager")

PLUGIN = """
from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Exactness, Settings, Stage

@hookimpl
def mlgen_generator():
    yield Plugin("mine", Stage.GENERATOR, lambda: object, Settings, Exactness.EXACT, "", contract_version={version})
"""
TOOL = """
from mlgen.hookspecs import Tool, hookimpl
from mlgen.stages import Settings

@hookimpl
def mlgen_parton_showers():
    yield Tool("mine", lambda: object, Settings, "", contract_version=2)
"""


def failures(manager):
    assert set(manager.stage_plugins) == set(Stage)
    assert manager.tools is not None
    return [str(failure) for failure in manager.failures if failure.source.distribution == "my-package"]


def listed(*arguments):
    result = CliRunner().invoke(cli, ["plugins", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("requirement", ["mlgen-hep>=9", "mlgen_hep (<0.1)", "MLGEN-HEP[all]==2.*; python_version>'3'"])
def test_a_package_for_another_host_is_not_run(install, requirement):
    install("my-package", "raise RuntimeError('it was run')", requires=["numpy", requirement])
    (failure,) = failures(PluginManager())
    assert "my-package 1.0 (entry point 'plugin'): written for mlgen-hep" in failure
    assert "this is mlgen-hep 0.1.0. Install a release of one that fits the other" in failure
    assert "written for mlgen-hep" in listed()
    with pytest.raises(PluginError, match="written for mlgen-hep"):
        PluginManager().find(Stage.GENERATOR, "mine")


@pytest.mark.parametrize(
    "requirement",
    [
        "mlgen-hep",
        "mlgen-hep>=0.1,<0.2",
        "mlgen-hep>=9; extra == 'new'",
        "mlgen-hep-friends>=9",
        "mlgen-hep @@",
        "x>=1",
    ],
)
def test_a_package_for_this_host_is_run(install, requirement):
    install("my-package", PLUGIN.format(version=1), requires=[requirement])
    manager = PluginManager()
    assert failures(manager) == []
    assert manager.find(Stage.GENERATOR, "mine")


@pytest.mark.parametrize(("version", "advice"), [(2, "newer mlgen, or an older release"), (0, "a newer release of it")])
def test_a_plugin_for_other_contracts_is_listed_and_refused(install, version, advice):
    install("my-package", PLUGIN.format(version=version))
    expected = rf"generator plugin 'mine' of my-package 1\.0 was written for version {version} of the contracts; mlgen"
    with pytest.raises(PluginError, match=expected) as refusal:
        PluginManager().find(Stage.GENERATOR, "mine")
    assert "mlgen 0.1.0 speaks version 1." in str(refusal.value)
    assert advice in str(refusal.value)
    assert f"cannot be used: written for version {version} of the contracts" in listed()
    content = json.loads(listed("--json"))
    assert content["contract_versions"] == [1]
    (entry,) = [plugin for plugin in content["stages"]["generator"] if plugin["name"] == "mine"]
    assert entry["contract_version"] == version
    assert entry["problem"].startswith("written for version")


def test_a_tool_for_other_contracts_is_a_failure(install):
    install("my-package", TOOL)
    manager = PluginManager()
    assert "mine" not in [registered.offer.name for registered in manager.tools["parton_showers"]]
    assert "'mine' was written for version 2 of the contracts; mlgen 0.1.0 speaks version 1" in failures(manager)[0]


def test_several_versions_are_spoken(install, monkeypatch):
    monkeypatch.setattr("mlgen.plugin_offers.CONTRACT_VERSIONS", (1, 2, 3))
    install("my-package", PLUGIN.format(version=2))
    assert PluginManager().find(Stage.GENERATOR, "mine")
    assert "contracts: mlgen 0.1.0 speaks versions 1, 2 and 3" in listed()


def test_a_hook_of_a_newer_host(install):
    code = PLUGIN.format(version=1) + "\n@hookimpl\ndef mlgen_hadronisation():\n    return []\n"
    install("my-package", code)
    (failure,) = failures(PluginManager())
    assert "it has the hook 'mlgen_hadronisation', which mlgen 0.1.0 does not know" in failure
    assert "Was it written for a newer mlgen?" in failure


def test_a_package_that_is_slow_to_load_is_told(install, monkeypatch):
    monkeypatch.setattr("mlgen.cli.plugins.SLOW", 0.01)
    install("my-package", "import time\ntime.sleep(0.03)\n" + PLUGIN.format(version=1))
    assert "slow: my-package 1.0 (entry point 'plugin') took 0.0 s to load; heavy imports belong into the" in listed()
