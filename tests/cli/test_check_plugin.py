"""``mlgen check-plugin``: what it shows, its exit codes, and what it refuses."""

import json
from pathlib import Path

import pytest

from mlgen.plugins import plugin_manager

PACKAGES = Path(__file__).parents[1] / "packages"

FILE = '''
"""Two plugins: the hit-or-miss that comes with mlgen, and one with the wrong sign."""

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Exactness, Stage, Unweighted
from mlgen_unweighting.hit_or_miss import HitOrMiss
from mlgen_unweighting.settings import HitOrMissSettings


class Mine(HitOrMiss):
    pass


class Wrong(HitOrMiss):
    def unweight(self, candidates, rng):
        print("noise on standard output")
        kept = super().unweight(candidates, rng)
        return Unweighted(kept.index, -kept.weight)


@hookimpl
def mlgen_unweighting():
    for name, made in (("mine", lambda: Mine), ("wrong", lambda: Wrong)):
        yield Plugin(
            name, Stage.UNWEIGHTING, made, HitOrMissSettings, Exactness.EXACT, "a copy", contract_version=1
        )
'''


@pytest.fixture
def wrong(monkeypatch):
    """The packages of correct and of wrong plugins."""
    for package in ("toys", "wrong"):
        monkeypatch.syspath_prepend(str(PACKAGES / package))
    plugin_manager.cache_clear()


@pytest.fixture
def plugin_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_a_builtin_passes(mlgen_command):
    code, out, _ = mlgen_command("check-plugin", "flat")
    assert code == 0
    assert "phase_space plugin 'flat' of mlgen-hep" in out
    assert "passed          integrals-are-right" in out
    assert "0 broken" in out
    assert "relative standard deviation of the weights after the kit's short training: 0." in out


@pytest.mark.usefixtures("wrong")
def test_a_broken_rule_is_shown_with_its_words_and_where_it_is_documented(mlgen_command):
    code, out, _ = mlgen_command("check-plugin", "not-repeatable")
    assert code == 3
    lines = [line.strip() for line in out.splitlines()]
    start = next(i for i, line in enumerate(lines) if line.startswith("broken"))
    assert "same-seed-gives-the-same-training" in lines[start]
    assert lines[start + 1] == "the same seed has to give the same training: 'halves' has other values"
    assert lines[start + 2] == "rule: Two trainings with one seed end with the same state, bit for bit."
    where = "reference/conformance.html#same-seed-gives-the-same-training"
    assert lines[start + 3] == f"documented in mlgen's documentation, {where}"
    assert out.count("\n  broken") == 1
    assert "'make docs' in a clone of mlgen" in out


@pytest.mark.usefixtures("wrong")
def test_a_crash_is_shown_with_its_line(mlgen_command):
    code, out, _ = mlgen_command("check-plugin", "crashes", "--rule", "prediction-has-the-right-shape")
    assert code == 3
    assert "IndexError: index 7" in out
    assert "Traceback" not in out
    line = next(
        number
        for number, text in enumerate((PACKAGES / "wrong" / "mlgen_wrong.py").read_text().splitlines(), 1)
        if "momenta[:, 7]" in text
    )
    assert f"mlgen_wrong.py:{line}" in out
    _, out, _ = mlgen_command("check-plugin", "crashes", "--rule", "prediction-has-the-right-shape", "--debug")
    assert "Traceback (most recent call last)" in out


@pytest.mark.usefixtures("wrong")
def test_one_mistake_is_shown_once(mlgen_command):
    code, out, _ = mlgen_command("check-plugin", "crashes-everywhere")
    assert code == 3
    broken = out.count("\n  broken")
    assert broken > 10
    # Once with its rule, and one line for each of the others.
    assert out.count("\n    rule: ") == 1
    assert out.count("\n    as above: KeyError: 'meen', ") == broken - 1
    assert f"\n{broken} broken rules: KeyError: 'meen', " in out
    first = next(line for line in out.splitlines() if line.startswith("  broken"))
    assert "prediction-has-the-right-shape" in first


@pytest.mark.usefixtures("wrong")
def test_a_capability_that_settings_switch_off_is_told_how_to_leave_out(mlgen_command):
    _, out, _ = mlgen_command("check-plugin", "claims-members", "--rule", "members-are-there-where-it-says-so")
    assert "--without members" in out
    assert "capabilities = frozenset(...)" in out
    arguments = ("--rule", "members-are-there-where-it-says-so", "--without", "members")
    code, _, _ = mlgen_command("check-plugin", "claims-members", *arguments)
    assert code == 0


def test_a_capability_that_is_not_there_cannot_be_left_out(mlgen_command):
    code, _, err = mlgen_command("check-plugin", "two-stage", "--without", "density")
    assert code == 2
    assert "--without density: 'two-stage' is not registered as able to do that" in err
    assert "there is: corrects_surrogates" in err


@pytest.mark.usefixtures("wrong")
def test_a_class_that_is_not_complete_is_a_broken_rule(mlgen_command):
    code, out, _ = mlgen_command("check-plugin", "incomplete")
    assert code == 3
    assert "Incomplete does not implement from_state, predict, train" in out


@pytest.mark.usefixtures("wrong")
def test_one_written_for_other_contracts_is_refused(mlgen_command):
    code, _, err = mlgen_command("check-plugin", "of-the-future")
    assert code == 2
    assert "version 99 of the contracts" in err


def test_json(mlgen_command, plugin_file):
    arguments = ("check-plugin", "wrong", "--plugin", plugin_file, "--rule", "signs-are-kept", "--json")
    code, out, err = mlgen_command(*arguments)
    assert code == 3
    (checked,) = json.loads(out)["plugins"]
    assert checked["name"] == "wrong"
    assert (checked["passed"], checked["broken"], checked["not_applicable"]) == (0, 1, 0)
    (rule,) = checked["rules"]
    assert rule["rule"] == "signs-are-kept"
    assert rule["verdict"] == "broken"
    assert rule["documented"].endswith("#signs-are-kept")
    assert "noise on standard output" in err


def test_all_plugins_of_a_file(mlgen_command, plugin_file):
    code, out, _ = mlgen_command("check-plugin", "--plugin", plugin_file, "--rule", "signs-are-kept")
    assert code == 3
    assert "mine: 1 passed, 0 broken" in out
    assert "wrong: 0 passed, 1 broken" in out


def test_settings_are_set_and_shown(mlgen_command):
    code, out, _ = mlgen_command(
        "check-plugin",
        "hit-or-miss",
        "--set",
        "maximum=efficiency",
        "--set",
        "efficiency=0.5",
        "--rule",
        "signs-are-kept",
    )
    assert code == 0
    assert "maximum=efficiency efficiency=0.5" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["hit-or-mis"], "did you mean 'hit-or-miss'?"),
        (["nothing-like-it"], "unweighting: hit-or-miss, two-stage"),
        (["flat", "--stage", "generator"], "no generator plugin is called 'flat'"),
        (["flat", "--rule", "integrals-are-rigth"], "did you mean 'integrals-are-right'?"),
        (["flat", "--set", "chanels=uniform"], "did you mean 'channels'?"),
        (["flat", "--set", "channels"], "KEY=VALUE is expected"),
        (["flat", "--set", "channels=some"], "not settings of 'flat': channels"),
        ([], "NAME is missing"),
    ],
)
def test_what_cannot_be_checked_is_refused(mlgen_command, arguments, words):
    code, _, err = mlgen_command("check-plugin", *arguments)
    assert code == 2
    assert words in err


def test_known_settings_are_listed_for_an_unknown_one_only(mlgen_command):
    _, _, err = mlgen_command("check-plugin", "flat", "--set", "channels=some")
    assert "There is" not in err
    _, _, err = mlgen_command("check-plugin", "flat", "--set", "chanels=uniform")
    assert "There is: channels" in err


SAME_NAME = FILE.replace('("wrong", lambda: Wrong)', '("flat", lambda: Mine)')


def test_a_name_of_two_stages_needs_one_of_them(mlgen_command, tmp_path):
    path = tmp_path / "same.py"
    path.write_text(SAME_NAME)
    code, _, err = mlgen_command("check-plugin", "flat", "--plugin", path)
    assert code == 2
    assert "'flat' is a plugin of phase_space and of unweighting; say which: --stage phase_space" in err
    code, out, _ = mlgen_command(
        "check-plugin", "flat", "--plugin", path, "--stage", "unweighting", "--rule", "signs-are-kept"
    )
    assert code == 0
    assert "unweighting plugin 'flat' of same.py" in out


def test_ctrl_c_stops_it(mlgen_command, tmp_path):
    path = tmp_path / "stopped.py"
    path.write_text(FILE.replace('print("noise on standard output")', "raise KeyboardInterrupt"))
    code, _, err = mlgen_command("check-plugin", "wrong", "--plugin", path)
    assert code == 130
    assert "interrupted" in err
