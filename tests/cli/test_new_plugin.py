import re

import pytest

from mlgen.stages import Stage


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_it_says_what_was_made_and_what_comes_next(mlgen_command, tmp_path):
    code, out, err = mlgen_command("new-plugin", "own-mixture", "--stage", "generator")
    assert (code, err) == (0, "")
    assert "distribution mlgen-own-mixture, import package own_mixture, plugin own-mixture" in out
    for line in ("cd own-mixture", "pip install -e .", "mlgen plugins", "mlgen check-plugin own-mixture", "mlgen run"):
        assert re.search(rf"^  {re.escape(line)}", out, re.MULTILINE), line
    assert "src/own_mixture/model.py" in out
    assert (tmp_path / "own-mixture" / "src" / "own_mixture" / "model.py").is_file()


def test_the_folder_can_be_chosen(mlgen_command, tmp_path):
    code, out, _ = mlgen_command("new-plugin", "own", "--stage", "unweighting", "-d", "some where")
    assert code == 0
    assert "  cd 'some where'" in out
    assert (tmp_path / "some where" / "pyproject.toml").is_file()


def test_without_a_stage_all_five_are_told(mlgen_command):
    code, _, err = mlgen_command("new-plugin", "own")
    assert code == 2
    for stage in Stage:
        assert re.search(rf"^  {stage.value} +\w+ \w+", err, re.MULTILINE), stage


def test_an_unknown_stage_is_refused(mlgen_command):
    code, _, err = mlgen_command("new-plugin", "own", "--stage", "detector")
    assert code == 2
    assert "'detector'" in err
    assert "calorimeter" in err


def test_a_folder_with_something_in_it_is_refused_unless_forced(mlgen_command, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "README.md").write_text("mine")
    (tmp_path / "own" / "notes.txt").write_text("mine")
    arguments = ("new-plugin", "own", "--stage", "phase_space")
    code, out, err = mlgen_command(*arguments)
    assert (code, out) == (2, "")
    assert "not empty" in err
    assert "--force" in err
    assert (tmp_path / "own" / "README.md").read_text() == "mine"
    assert mlgen_command(*arguments, "--force")[0] == 0
    assert (tmp_path / "own" / "README.md").read_text().startswith("# mlgen-own")
    assert (tmp_path / "own" / "notes.txt").read_text() == "mine"


def test_a_name_that_is_taken_is_refused_and_nothing_is_left(mlgen_command, tmp_path):
    code, _, err = mlgen_command("new-plugin", "vegas", "--stage", "phase_space")
    assert code == 2
    assert "mlgen-hep" in err
    assert list(tmp_path.iterdir()) == []
