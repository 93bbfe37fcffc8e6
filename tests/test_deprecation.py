"""What will go is said one minor version ahead, by those who use it, and is gone when it was said to be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import Field

import mlgen
from mlgen import deprecation
from mlgen.card import parse_card
from mlgen.deprecation import DEPRECATIONS, Deprecation, MlgenDeprecationWarning
from mlgen.plugin_offers import check_contract_version
from mlgen.stages import CONTRACT_VERSION, CONTRACT_VERSIONS, Settings, Stage

SOON = Deprecation("[run] batch_size", "0.1", "0.2", "leave it out")


@pytest.fixture
def deprecate(monkeypatch):
    return lambda name, what: monkeypatch.setattr(deprecation, "DEPRECATIONS", {name: what})


def test_nothing_is_overdue():
    """Fails in the version in which something was said to be gone, until it is."""
    assert [str(entry) for entry in DEPRECATIONS.values() if entry.overdue] == []


def test_versions_of_the_contracts():
    assert CONTRACT_VERSIONS[-1] == CONTRACT_VERSION == max(CONTRACT_VERSIONS)
    spoken = {f"contracts {version}" for version in CONTRACT_VERSIONS}
    deprecated = {name for name in DEPRECATIONS if name.startswith("contracts ")}
    assert deprecated <= spoken - {f"contracts {CONTRACT_VERSION}"}


@pytest.mark.parametrize(("since", "removed"), [("0.1", "0.1"), ("0.2.1", "0.2.3"), ("0.3", "0.2"), ("1.2", "0.9")])
def test_a_minor_version_that_warns_is_between(since, removed):
    with pytest.raises(ValueError, match="a later minor version is expected"):
        Deprecation("it", since, removed, "take that")
    assert not Deprecation("it", "0.9", "1.0", "take that").overdue


def test_overdue(monkeypatch):
    for version, overdue in (("0.1.7", False), ("0.2.0", True), ("1.0.0", True)):
        monkeypatch.setattr(mlgen, "__version__", version)
        assert SOON.overdue is overdue


def test_lines_of_a_card_are_not_looked_for_where_nothing_is_deprecated(monkeypatch):
    """Finding one means to parse the card line by line."""
    monkeypatch.setattr("mlgen.card._line_of", lambda text, keys: pytest.fail(f"looked for {keys}"))
    parse_card("[run]\nseed = 2\nbatch_size = 100\n", "card.toml", Path())


def test_a_key_of_the_card(deprecate):
    text = "[run]\nseed = 2\nbatch_size = 100\n"
    parse_card(text, "card.toml", Path())  # no warning, which would be an error
    deprecate("run.batch_size", SOON)
    expected = (
        r"card\.toml:3: \[run\] batch_size is deprecated since mlgen 0\.1 and will be gone in mlgen 0\.2: leave it"
    )
    with pytest.warns(MlgenDeprecationWarning, match=expected):
        parse_card(text, "card.toml", Path())
    parse_card("[run]\nseed = 2\n", "card.toml", Path())


class OldSettings(Settings):
    width: int = 3
    breadth: int = Field(3, deprecated="say width")


def test_a_setting_of_a_plugin():
    card = parse_card('[generator]\nplugin = "mine"\nbreadth = 4\n', "card.toml", Path())
    with pytest.warns(MlgenDeprecationWarning, match=r"card\.toml:3: \[generator\] breadth is deprecated: say width"):
        assert card.check_settings(Stage.GENERATOR, OldSettings).model_dump()["breadth"] == 4
    card = parse_card('[generator]\nplugin = "mine"\nwidth = 4\n', "card.toml", Path())
    assert card.check_settings(Stage.GENERATOR, OldSettings).width == 4


def test_a_version_of_the_contracts(deprecate):
    check_contract_version(1, "generator plugin 'mine'")
    deprecate("contracts 1", Deprecation("version 1 of the contracts", "0.1", "0.3", "see docs/contributing.md"))
    with pytest.warns(MlgenDeprecationWarning, match=r"generator plugin 'mine'.*will be gone in mlgen 0\.3"):
        check_contract_version(1, "generator plugin 'mine'")


def test_the_command_line_says_it_once(tmp_path):
    (tmp_path / "card.toml").write_text('[run]\nbatch_size = 3\n[input]\nfile = "not there"\n[output]\nfiles="n.lhe"\n')
    code = (
        "from mlgen import deprecation, cli\n"
        "soon = deprecation.Deprecation('[run] batch_size', '0.1', '0.2', 'leave it out')\n"
        "deprecation.DEPRECATIONS = {'run.batch_size': soon}\n"
        "cli.main(['run', 'card.toml'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("mlgen: warning: card.toml:2: [run] batch_size is deprecated") == 1
    assert "FutureWarning" not in done.stderr
