"""The plugin manager with third-party packages that work, and with those that misbehave in every way."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from pathlib import Path

import pytest

from mlgen import plugins
from mlgen.errors import PluginError, PluginFailure, WeightError
from mlgen.plugins import HOST_DISTRIBUTION, PluginManager, plugin_errors, plugin_manager, use_third_party
from mlgen.stages import Contract, Stage

TOYS = Path(__file__).parent / "packages" / "toys"

KEEP_ALL = """
from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Exactness, Settings, Stage

class KeepAllSettings(Settings):
    share: float = 1.0

def factory():
    {factory}

@hookimpl
def mlgen_unweighting():
    yield Plugin("{name}", Stage.{stage}, factory, KeepAllSettings, Exactness.EXACT, "keeps all"{more})
"""


def keep_all(name="keep-all", stage="UNWEIGHTING", factory="raise ImportError('no module named heavy')", more=""):
    return KEEP_ALL.format(name=name, stage=stage, factory=factory, more=more)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install packages as pip would: a module, and a dist-info with an entry point, on the path."""
    modules = []

    def install_package(distribution: str, code: str, version: str = "1.0") -> None:
        module = distribution.replace("-", "_")
        site = tmp_path / distribution
        information = site / f"{module}-{version}.dist-info"
        information.mkdir(parents=True)
        information.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        information.joinpath("entry_points.txt").write_text(f"[mlgen]\nplugin = {module}\n")
        site.joinpath(f"{module}.py").write_text(code)
        monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()
        modules.append(module)

    yield install_package
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture(autouse=True)
def fresh_manager(monkeypatch):
    """Begin and end without plugins that another test loaded."""
    monkeypatch.delenv(plugins.DISABLE_VARIABLE, raising=False)
    use_third_party(True)
    yield
    use_third_party(True)


def names(manager: PluginManager, stage: Stage) -> list[str]:
    return [registered.offer.name for registered in manager.stage_plugins[stage]]


def failures(manager: PluginManager, distribution: str) -> list[str]:
    """What is told of a package after every hook was called."""
    assert manager.stage_plugins is not None
    return [str(failure) for failure in manager.failures if failure.source.distribution == distribution]


class TestThirdPartyPackage:
    @pytest.fixture(autouse=True)
    def toys(self, monkeypatch):
        monkeypatch.syspath_prepend(str(TOYS))

    @pytest.mark.parametrize("stage", Stage)
    def test_is_listed_for_each_stage(self, stage):
        manager = PluginManager()
        assert any(name.startswith("toy-") for name in names(manager, stage))
        assert failures(manager, "mlgen-toys") == []

    def test_is_found_and_made(self):
        manager = PluginManager()
        found = manager.find(Stage.UNWEIGHTING, "toy-keep-all")
        assert str(found.source) == "mlgen-toys 1.0"
        made = manager.create(found, found.offer.settings(width=3))
        assert isinstance(made, Contract)
        assert made.settings.width == 3

    def test_is_left_out_on_request(self):
        manager = PluginManager(third_party=False)
        assert "toy-keep-all" not in names(manager, Stage.UNWEIGHTING)
        assert "hit-or-miss" in names(manager, Stage.UNWEIGHTING)

    @pytest.mark.parametrize(("value", "there"), [("1", False), ("yes", False), ("0", True), ("", True)])
    def test_environment_variable(self, monkeypatch, value, there):
        monkeypatch.setenv(plugins.DISABLE_VARIABLE, value)
        assert ("toy-keep-all" in names(plugin_manager(), Stage.UNWEIGHTING)) is there

    def test_switch_of_the_command_line(self):
        use_third_party(False)
        assert "toy-keep-all" not in names(plugin_manager(), Stage.UNWEIGHTING)
        use_third_party(True)
        assert "toy-keep-all" in names(plugin_manager(), Stage.UNWEIGHTING)


def test_built_in_plugins_register_as_a_stranger_would():
    found = PluginManager().find(Stage.UNWEIGHTING, "hit-or-miss")
    assert found.source.distribution == HOST_DISTRIBUTION
    assert found.offer.references


# Code of a package, and what must be told of it.
BROKEN = {
    "import-error": ("import surely_not_installed", "ModuleNotFoundError: No module named 'surely_not_installed'"),
    "system-exit": ("raise SystemExit('bye')", "SystemExit: bye"),
    "syntax-error": ("def", "SyntaxError"),
    "own-error": ("raise ZeroDivisionError('by zero')", "ZeroDivisionError: by zero"),
    "hook-raises": (
        "from mlgen.hookspecs import hookimpl\n@hookimpl\ndef mlgen_unweighting():\n    raise OSError('no disk')\n",
        "OSError: no disk",
    ),
    "hook-raises-late": (
        "from mlgen.hookspecs import hookimpl\n@hookimpl\ndef mlgen_unweighting():\n"
        "    yield from ()\n    raise OSError('no disk')\n",
        "OSError: no disk",
    ),
    "hook-exits": (
        "from mlgen.hookspecs import hookimpl\n@hookimpl\ndef mlgen_unweighting():\n    raise SystemExit(3)\n",
        "SystemExit: 3",
    ),
    "wrong-type": (
        "from mlgen.hookspecs import hookimpl\n@hookimpl\ndef mlgen_unweighting():\n    return ['keep-all']\n",
        "the hook mlgen_unweighting gave str; Plugin is expected",
    ),
    "not-iterable": (
        "from mlgen.hookspecs import hookimpl\n@hookimpl\ndef mlgen_unweighting():\n    return None\n",
        "TypeError",
    ),
    "wrong-stage": (
        keep_all(name="keep-all", stage="GENERATOR"),
        "'keep-all' says it is for generator, but comes from the hook mlgen_unweighting",
    ),
    "unknown-hook": (
        "from mlgen.hookspecs import hookimpl\n@hookimpl\ndef mlgen_unweihgting():\n    return []\n",
        "mlgen_unweihgting",
    ),
    "wrong-arguments": (
        "from mlgen.hookspecs import hookimpl\n@hookimpl\ndef mlgen_unweighting(config):\n    return []\n",
        "config",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
class TestBrokenPackage:
    def test_is_told_and_breaks_nothing_else(self, install, kind):
        code, problem = BROKEN[kind]
        install("broken-package", code, "0.3")
        # Loaded after it: entry points of one name are in the order of their modules.
        install("working-package", keep_all(name="still-here"))
        manager = PluginManager()
        assert {"still-here", "hit-or-miss"} <= set(names(manager, Stage.UNWEIGHTING))
        assert failures(manager, "working-package") == []
        (failure,) = failures(manager, "broken-package")
        assert failure.startswith("broken-package 0.3 (entry point 'plugin'): ")
        assert problem in failure

    def test_is_shown_to_who_asks_for_what_is_not_there(self, install, kind):
        code, problem = BROKEN[kind]
        install("broken-package", code)
        with pytest.raises(PluginError) as refusal:
            PluginManager().find(Stage.UNWEIGHTING, "keep-all")
        assert problem in str(refusal.value)
        assert "may be in one of them" in str(refusal.value)


def test_what_a_package_prints_does_not_reach_standard_output(install, capsys):
    code = "print('hello from the import')\n" + keep_all()
    install("chatty-package", code.replace("    yield", "    print('hello from the hook')\n    yield"))
    assert "keep-all" in names(PluginManager(), Stage.UNWEIGHTING)
    output = capsys.readouterr()
    assert output.out == ""
    assert "hello from the import" in output.err
    assert "hello from the hook" in output.err


def test_factories_are_called_only_when_asked_for(install):
    install("heavy-package", keep_all())
    manager = PluginManager()
    found = manager.find(Stage.UNWEIGHTING, "keep-all")
    with pytest.raises(PluginFailure, match="no module named heavy"):
        manager.plugin_class(found)


class TestNames:
    def test_two_plugins_of_one_name(self, install):
        install("first-package", keep_all(), "1.1")
        install("second-package", keep_all(), "2.2")
        manager = PluginManager()
        with pytest.raises(PluginError) as refusal:
            manager.find(Stage.UNWEIGHTING, "keep-all")
        (conflict,) = manager.conflicts()
        for text in (str(refusal.value), conflict):
            assert "first-package 1.1" in text
            assert "second-package 2.2" in text

    def test_a_stranger_cannot_take_the_name_of_a_built_in_plugin(self, install):
        install("pirate-package", keep_all(name="hit-or-miss"))
        with pytest.raises(PluginError, match="pirate-package"):
            PluginManager().find(Stage.UNWEIGHTING, "hit-or-miss")
        assert PluginManager(third_party=False).find(Stage.UNWEIGHTING, "hit-or-miss")

    def test_unknown_name_lists_and_suggests(self):
        with pytest.raises(PluginError) as refusal:
            PluginManager().find(Stage.UNWEIGHTING, "hit-or-mis")
        assert "did you mean 'hit-or-miss'?" in str(refusal.value)
        assert "There is: hit-or-miss" in str(refusal.value)
        assert refusal.value.exit_code == 2

    def test_no_plugin_at_all(self):
        with pytest.raises(PluginError, match="There is: none"):
            PluginManager(entry_points=[]).find(Stage.GENERATOR, "cfm")

    def test_same_name_in_two_stages_is_no_conflict(self, install):
        code = keep_all(name="same") + keep_all(name="same", stage="AMPLITUDE").replace(
            "def mlgen_unweighting", "def mlgen_amplitude"
        )
        install("two-stage-package", code)
        assert PluginManager().conflicts() == []


class TestInside:
    """Exceptions from inside a plugin."""

    def find(self, install, **options):
        install("some-package", keep_all(**options), "4.5")
        return PluginManager().find(Stage.UNWEIGHTING, "keep-all")

    def test_name_version_stage_and_cause_are_kept(self, install):
        found = self.find(install)
        with pytest.raises(PluginFailure) as failure, plugin_errors(found):
            raise KeyError("px")
        assert str(failure.value) == "unweighting plugin 'keep-all' of some-package 4.5 failed: KeyError: 'px'"
        assert isinstance(failure.value.__cause__, KeyError)
        assert failure.value.exit_code == 1

    def test_errors_of_mlgen_pass(self, install):
        with pytest.raises(WeightError, match="all zero"), plugin_errors(self.find(install)):
            raise WeightError("all zero")

    def test_an_interrupt_passes(self, install):
        with pytest.raises(KeyboardInterrupt), plugin_errors(self.find(install)):
            raise KeyboardInterrupt

    def test_import_error_in_the_factory(self, install):
        found = self.find(install)
        with pytest.raises(PluginFailure, match="ImportError: no module named heavy") as failure:
            PluginManager().create(found, found.offer.settings())
        assert isinstance(failure.value.__cause__, ImportError)

    @pytest.mark.parametrize(
        "factory", ["return dict", "return 3", "from mlgen.stages import Contract; return Contract"]
    )
    def test_class_of_no_contract(self, install, factory):
        found = self.find(install, factory=factory)
        with pytest.raises(PluginFailure, match=r"a subclass of mlgen\.stages\.Unweighter is expected"):
            PluginManager.plugin_class(found)

    def test_class_that_lacks_a_method(self, install):
        found = self.find(install, factory="from mlgen.stages import Unweighter; return Unweighter")
        with pytest.raises(PluginFailure, match="does not implement from_state, prepare, report, state, unweight"):
            PluginManager().create(found, found.offer.settings())

    def test_other_version_of_the_contracts(self, install):
        with pytest.raises(PluginError) as refusal:
            self.find(install, more=", contract_version=99")
        assert "some-package 4.5" in str(refusal.value)
        assert "version 99" in str(refusal.value)
        assert "speaks version 1" in str(refusal.value)


def test_entry_point_without_a_distribution_is_told_as_such():
    entry_point = importlib.metadata.EntryPoint("stray", "surely_not_installed", "mlgen")
    (failure,) = PluginManager(entry_points=[entry_point]).failures
    assert "(unknown distribution) ? (entry point 'stray')" in str(failure)
