"""The plugin manager with third-party packages that work, and with those that misbehave in every way."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlgen import plugins
from mlgen.cli.plugins import command
from mlgen.errors import OutputError, PluginError, PluginFailure, UserError, WeightError
from mlgen.formats import format_by_name, format_for_output
from mlgen.formats.catalogue import no_format_advice, recognise
from mlgen.plugin_errors import plugin_errors
from mlgen.plugins import HOST_DISTRIBUTION, PluginManager, plugin_manager, use_third_party
from mlgen.stages import Contract, Stage

pytestmark = pytest.mark.usefixtures("fresh_manager")

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

FORMAT = """
from mlgen.event_format import EventFormat
from mlgen.hookspecs import hookimpl

class SomeFormat(EventFormat):
    name = "some"
    summary = "some events"
    suffixes = (".some",)
    contract_version = 1
    {more}

    def recognises(self, head):
        return head.startswith(b"SOME")

    def reader(self, stream, options):
        raise NotImplementedError

    def writer(self, stream, run_info):
        raise NotImplementedError

@hookimpl
def mlgen_event_formats():
    yield SomeFormat()
"""

TOOL = """
from mlgen.hookspecs import Tool, hookimpl
from mlgen.stages import Settings

@hookimpl
def mlgen_parton_showers():
    yield Tool("dipoles", lambda: object, Settings, "a shower", contract_version=1)
"""


def keep_all(
    name="keep-all",
    stage="UNWEIGHTING",
    factory="raise ImportError('no module named heavy')",
    more=", contract_version=1",
):
    return KEEP_ALL.format(name=name, stage=stage, factory=factory, more=more)


def names(manager: PluginManager, stage: Stage) -> list[str]:
    return [registered.offer.name for registered in manager.stage_plugins[stage]]


def failures(manager: PluginManager, distribution: str) -> list[str]:
    """What is told of a package after every hook was called."""
    assert set(manager.stage_plugins) == set(Stage)
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

    @pytest.mark.parametrize("before", [None, "0", "1"])
    def test_switch_can_be_for_a_while(self, monkeypatch, before):
        if before is not None:
            monkeypatch.setenv(plugins.DISABLE_VARIABLE, before)
        with use_third_party(False):
            assert "toy-keep-all" not in names(plugin_manager(), Stage.UNWEIGHTING)
        assert os.environ.get(plugins.DISABLE_VARIABLE) == before
        assert ("toy-keep-all" in names(plugin_manager(), Stage.UNWEIGHTING)) is (before != "1")


def test_built_in_plugins_register_as_a_stranger_would():
    found = PluginManager().find(Stage.UNWEIGHTING, "hit-or-miss")
    assert found.source.distribution == HOST_DISTRIBUTION
    assert found.offer.references


# Code of a package, and what must be told of it.
BROKEN = {
    "import-error": ("import surely_not_installed", "ModuleNotFoundError: No module named 'surely_not_installed'"),
    "system-exit": ("raise SystemExit('bye')", "SystemExit: bye"),
    "exit-code-that-is-no-signal": ("raise SystemExit(200)", "SystemExit: 200"),
    "other-exception": ("class Stop(BaseException): ...\nraise Stop('no more')", "Stop: no more"),
    "argument-of-a-newer-host": (
        keep_all(more=", contract_version=1, accelerators=3"),
        "unexpected keyword argument 'accelerators' (this is mlgen 0.1.0; was it written for a newer one?)",
    ),
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
    "stage-as-text": (
        keep_all().replace("Stage.UNWEIGHTING", "'unweighting'"),
        "TypeError: plugin 'keep-all': stage is 'unweighting'; mlgen.stages.Stage is expected",
    ),
    "exactness-as-text": (
        keep_all().replace("Exactness.EXACT", "'exact'"),
        "TypeError: plugin 'keep-all': exactness is 'exact'; mlgen.stages.Exactness is expected",
    ),
    "no-contract-version": (keep_all(more=""), "contract_version"),
    "reserved-key": (
        keep_all().replace("share: float = 1.0", "model: str = ''"),
        "KeepAllSettings has a setting 'model', but that key of the card says something else",
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


def test_what_a_plugin_prints_while_it_runs_does_not_reach_standard_output(install, capsys):
    install("some-package", keep_all())
    with plugin_errors(PluginManager().find(Stage.UNWEIGHTING, "keep-all")):
        sys.stdout.write("hello from the training\n")
    sys.stdout.write("an event\n")
    assert capsys.readouterr() == ("an event\n", "hello from the training\n")


def test_what_comes_before_an_exception_of_a_hook_is_kept(install):
    install("half-package", keep_all() + "    raise OSError('no disk')\n")
    manager = PluginManager()
    assert "keep-all" in names(manager, Stage.UNWEIGHTING)
    assert "OSError: no disk" in failures(manager, "half-package")[0]


def test_a_signal_while_packages_are_loaded_ends_the_program(install):
    install("slow-package", "raise SystemExit(128 + 15)")
    with pytest.raises(SystemExit):
        PluginManager()


# What may be wrong with the class of an event format, and what must be told of it.
BROKEN_FORMATS = {
    "no-name": ("del name", "SomeFormat: name is None; a text is expected"),
    "empty-name": ("name = ''", "SomeFormat: name is ''"),
    "no-summary": ("del summary", "SomeFormat: summary is None"),
    "no-version": ("del contract_version", "contract_version is None; the number of the version of the contracts"),
    "other-version": ("contract_version = 7", "'some' was written for version 7 of the contracts; mlgen 0.1.0 speaks"),
    "no-suffixes": ("del suffixes", "'some': suffixes is None; a tuple of texts in lower case"),
    "suffixes-as-text": ("suffixes = '.some'", "suffixes is '.some'"),
    "suffix-without-dot": ("suffixes = ('some',)", "suffixes is ('some',)"),
    "suffix-in-capitals": ("suffixes = ('.SOME',)", "suffixes is ('.SOME',)"),
    "name-that-raises": ("name = property(lambda self: 1 / 0)", "ZeroDivisionError"),
}


class TestEventFormats:
    def test_a_third_party_format_is_found(self, install):
        install("some-package", FORMAT.format(more=""))
        assert format_by_name("some").summary == "some events"
        assert format_for_output(Path("events.SOME.gz")).name == "some"
        assert recognise(b"SOME events").name == "some"
        assert plugin_manager().failures == []

    @pytest.mark.parametrize("kind", BROKEN_FORMATS)
    def test_a_broken_one_breaks_nothing_else(self, install, kind):
        more, problem = BROKEN_FORMATS[kind]
        install("broken-package", FORMAT.format(more=more))
        assert format_for_output(Path("events.lhe")).name == "lhe"
        assert recognise(b"<LesHouchesEvents version='3.0'>").name == "lhe"
        (failure,) = plugin_manager().failures
        assert problem in str(failure)
        assert str(failure).startswith("broken-package 1.0")

    def test_one_that_raises_at_a_file_is_left_out_and_told(self, install):
        broken = FORMAT.format(more="").replace('head.startswith(b"SOME")', "1 / 0")
        install("a-broken-package", broken.replace('"some"', '"broken"').replace(".some", ".broken"))
        install("working-package", FORMAT.format(more=""))
        for _ in range(3):
            assert recognise(b"SOME events").name == "some"
        (failure,) = plugin_manager().failures
        assert "event format 'broken' looked at a file: ZeroDivisionError" in str(failure)
        assert recognise(b"P6") is None
        assert str(failure) in no_format_advice()
        assert "lhe: " in no_format_advice()

    def test_failures_are_shown_to_who_asks_for_what_is_not_there(self, install):
        install("broken-package", "import surely_not_installed")
        for ask, error in (
            (lambda: format_by_name("csv"), UserError),
            (lambda: format_for_output(Path("events.csv")), OutputError),
        ):
            with pytest.raises(error, match=r"may be in one of them:\n  broken-package 1.0"):
                ask()
        assert "broken-package 1.0" in no_format_advice()

    def test_nothing_is_said_of_failures_where_there_are_none(self):
        assert "could not be loaded" not in no_format_advice()


def test_plugins_command_lists_whatever_is_installed(install):
    code = keep_all().replace("share: float = 1.0", "share: Callable[[], int] = int")
    install("no-schema-package", "from collections.abc import Callable\n" + code)
    install("format-package", FORMAT.format(more="del suffixes"))
    text = CliRunner().invoke(command, [], catch_exceptions=False).stdout
    assert "keep-all" in text
    assert "format-package" in text
    assert "no-schema-package 1.0 (entry" not in text  # schemas are made for programs only
    content = json.loads(CliRunner().invoke(command, ["--json"], catch_exceptions=False).stdout)
    settings = {plugin["name"]: plugin["settings"] for plugin in content["stages"]["unweighting"]}
    assert settings["keep-all"] == {}
    assert settings["hit-or-miss"]["maximum"]["default"] == "sample"
    assert any("settings of 'keep-all'" in failure for failure in content["failures"])


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

    def test_two_tools_of_one_name(self, install):
        install("first-package", TOOL)
        install("second-package", TOOL)
        (conflict,) = PluginManager().conflicts()
        assert conflict == "2 parton showers are called 'dipoles': from first-package 1.0 and second-package 1.0"

    def test_a_format_with_the_name_of_another(self, install):
        install("pirate-package", FORMAT.format(more="name = 'lhe'"))
        with pytest.raises(PluginError, match=r"2 event formats are called 'lhe': .*mlgen-hep .* and pirate-package 1"):
            format_by_name("lhe")
        assert format_for_output(Path("events.lhe")).summary != "some events"
        assert recognise(b"<LesHouchesEvents version='3.0'>").summary != "some events"
        (conflict,) = plugin_manager().conflicts()
        assert "are called 'lhe'" in conflict

    def test_a_format_with_the_suffix_of_another(self, install):
        install("pirate-package", FORMAT.format(more="suffixes = ('.some', '.lhe', '.lhe')"))
        with pytest.raises(PluginError, match=r"suffix '.lhe': 'lhe' of mlgen-hep .* and 'some' of pirate-package 1"):
            format_for_output(Path("events.lhe.gz"))
        assert format_for_output(Path("events.lhe"), "lhe").name == "lhe"
        assert format_for_output(Path("events.some")).name == "some"
        assert len(plugin_manager().conflicts()) == 1

    def test_a_longer_suffix_is_no_conflict(self, install):
        install("polite-package", FORMAT.format(more="suffixes = ('.my.lhe',)"))
        assert format_for_output(Path("events.my.lhe")).name == "some"
        assert format_for_output(Path("events.lhe")).name == "lhe"
        assert plugin_manager().conflicts() == []

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

    @pytest.mark.parametrize("code", [0, 3])
    def test_an_exit_is_a_failure(self, install, code):
        """A run that a plugin ended must not look like one that is done."""
        found = self.find(install, factory=f"raise SystemExit({code})")
        with pytest.raises(PluginFailure, match=f"'keep-all' of some-package 4.5 failed: SystemExit: {code}"):
            PluginManager().create(found, found.offer.settings())

    def test_a_signal_passes(self, install):
        with pytest.raises(SystemExit), plugin_errors(self.find(install)):
            raise SystemExit(128 + signal.SIGTERM)

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


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        # What is said of it depends on whether the backport `importlib_metadata` was imported.
        (None, r"No module named 'surely_not_installed'|MetadataNotFound"),
        (b"Metadata-Version: 2.1\n", "No module named 'surely_not_installed'"),
        (b"Metadata-Version: 2.1\nName: stray\nVersion: 1\nAuthor: \xe9\xff\n", "UnicodeDecodeError"),
    ],
    ids=["missing", "nameless", "no text"],
)
def test_a_package_with_damaged_metadata_breaks_nothing_else(tmp_path, monkeypatch, metadata, problem):
    information = tmp_path / "stray-1.dist-info"
    information.mkdir()
    (information / "entry_points.txt").write_text("[mlgen]\nstray = surely_not_installed\n")
    if metadata is not None:
        (information / "METADATA").write_bytes(metadata)
    monkeypatch.syspath_prepend(tmp_path)
    manager = PluginManager()
    assert "hit-or-miss" in names(manager, Stage.UNWEIGHTING)
    (failure,) = failures(manager, "(unknown distribution)")
    assert re.search(rf"\(unknown distribution\) \? \(entry point 'stray'\): .*({problem})", failure)


def test_two_packages_with_one_module(install, tmp_path, monkeypatch):
    """As a package that was renamed leaves behind, where the former one was not uninstalled."""
    install("some-package", keep_all())
    (module,) = [e.value for e in importlib.metadata.entry_points(group="mlgen") if e.dist.name == "some-package"]
    information = tmp_path / "renamed_package-1.dist-info"
    information.mkdir()
    (information / "entry_points.txt").write_text(f"[mlgen]\nrenamed = {module}\n")
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: renamed-package\nVersion: 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    manager = PluginManager()
    assert "keep-all" in names(manager, Stage.UNWEIGHTING)
    (failure,) = [failure for failure in manager.failures if "-package" in failure.source.distribution]
    assert re.search(r"it leads to the same module as \w+-package 1.* \(entry point '\w+'\); uninstall", failure.error)


def test_the_classical_tool_of_a_stage(install):
    assert plugin_manager().classical(Stage.PHASE_SPACE).offer.classical
    with pytest.raises(PluginError, match=r"no plugin says that it is the classical one; name one in the card"):
        plugin_manager().classical(Stage.UNWEIGHTING)
    for number in (1, 2):
        install(f"classical-{number}", keep_all(f"keep-{number}", more=", contract_version=1, classical=True"))
    with pytest.raises(PluginError, match=r"'keep-1' of classical-1 1.0 and 'keep-2' of classical-2 1.0 say that they"):
        PluginManager().classical(Stage.UNWEIGHTING)
