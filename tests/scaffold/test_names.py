import sys
from pathlib import Path

import pytest

from mlgen.errors import UserError
from mlgen.scaffold.names import LONGEST, checked_names
from mlgen.stages import Stage


def test_all_names_follow_from_one(tmp_path):
    names = checked_names("Own-Mixture2", Stage.GENERATOR, tmp_path)
    assert names.plugin == "Own-Mixture2"
    assert names.distribution == "mlgen-own-mixture2"
    assert names.package == "own_mixture2"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "letters, digits and single dashes"),
        ("2-jets", "a letter first"),
        ("my_mixture", "letters, digits and single dashes"),
        ("my--mixture", "single dashes"),
        ("my-", "single dashes"),
        ("../mixture", "letters, digits and single dashes"),
        ("mixture\n", "letters, digits and single dashes"),
        ("größe", "letters, digits and single dashes"),
        ("x" * (LONGEST + 1), f"{LONGEST} at most"),
        ("mlgen", "choose another name"),
        ("mlgen-mixture", "for instance 'mixture'"),
        ("class", "keyword of Python"),
        ("None", "keyword of Python"),
        ("match", "keyword of Python"),
        ("cfm", r"mlgen-hep \S+ has a generator plugin of that name"),
    ],
)
def test_names_that_cannot_be_used_are_refused_in_words(name, words, tmp_path):
    with pytest.raises(UserError, match=words):
        checked_names(name, Stage.GENERATOR, tmp_path)


def test_a_name_of_another_stage_is_free(tmp_path):
    # Not the package: there is no module of that name.
    assert checked_names("cfm", Stage.AMPLITUDE, tmp_path).package == "cfm"


def test_a_module_of_that_name_is_left_alone(tmp_path):
    assert checked_names("json", Stage.GENERATOR, tmp_path).package == "mlgen_json"


def test_where_both_names_are_modules_the_name_is_refused(tmp_path, monkeypatch):
    (tmp_path / "mlgen_json.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match="modules called 'json' and 'mlgen_json' already"):
        checked_names("json", Stage.GENERATOR, tmp_path / "json")


def test_the_package_itself_is_no_clash(tmp_path, monkeypatch):
    """Whoever installed a package with ``pip install -e .`` can write it again, with --force."""
    source = tmp_path / "own-mixture" / "src" / "own_mixture"
    source.mkdir(parents=True)
    (source / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(source.parent))
    assert checked_names("own-mixture", Stage.GENERATOR, tmp_path / "own-mixture").package == "own_mixture"
    assert checked_names("own-mixture", Stage.GENERATOR, tmp_path / "elsewhere").package == "mlgen_own_mixture"


def test_nothing_is_imported_to_find_out(tmp_path, monkeypatch):
    (tmp_path / "quarrelsome.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert checked_names("quarrelsome", Stage.GENERATOR, Path("quarrelsome")).package == "mlgen_quarrelsome"
    assert "quarrelsome" not in sys.modules
