"""`mlgen integrate`, and cards that start from a process, as a user types them."""

import json
import logging
import math

import pytest

from mlgen.cli.terminal import reporter

PROCESS = """
[process]
reaction = "e- e+ > mu- mu+"
beams = ["e-", "e+"]
energy = 1
"""
POINTS = "\n[integration]\npoints = 5000\n"


@pytest.fixture
def card(tmp_path):
    path = tmp_path / "card.toml"
    path.write_text(PROCESS + "[phase_space]\nplugin = 'flat'\nbudget = 2000\n" + POINTS)
    return path


def lines_of_table(out: str) -> dict[str, str]:
    found = {}
    for line in out.splitlines():
        name, _, value = line.strip().partition("  ")
        found[name] = value.strip()
    return found


def test_a_table(card, mlgen_command):
    code, out, err = mlgen_command("integrate", card)
    assert code == 0, err
    rows = lines_of_table(out)
    assert rows["reaction"] == "e- e+ > mu- mu+"
    assert rows["cross section"].split()[3] == "pb"
    assert rows["stopped by"] == "points"
    assert rows["points"] == "5,000"
    assert rows["calls for training"] == "2,000"
    assert "at an overweight share of" in rows["unweighting efficiency"]
    assert rows["at the largest weight"].count("0.00%") == 1
    assert "of 10 iterations (p-value" in rows["chi^2/ndf"]
    assert rows["subprocesses"].startswith("e- e+ > mu- mu+")
    assert "remark" not in rows
    # Progress is none of the result.
    assert "integrating" in err


def test_json_and_limits_of_the_command_line(card, mlgen_command):
    code, out, _ = mlgen_command("integrate", card, "--json", "--points", 3000, "--seed", 5)
    assert code == 0
    content = json.loads(out)
    assert (content["points"], content["seed"], content["stopped_by"]) == (3000, 5, "points")
    # 4 pi alpha^2 / (3 s); four standard errors.
    expected = 4 * math.pi / (3 * 132.507**2) * 0.3893793721e9
    assert abs(content["cross_section"] - expected) < 4 * content["error"]
    assert content["stage"]["plugin"] == "flat"
    _, again, _ = mlgen_command("integrate", card, "--json", "--points", 3000, "--seed", 5)
    assert json.loads(again)["cross_section"] == content["cross_section"]
    _, other, _ = mlgen_command("integrate", card, "--json", "--points", 100_000, "--precision", 0.01)
    assert json.loads(other)["stopped_by"] == "precision"


def test_plots_and_report(card, mlgen_command, tmp_path):
    for suffix, head in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        plot = tmp_path / f"weights.{suffix}"
        code, out, err = mlgen_command("integrate", card, "--plots", plot, "--points", 1000)
        assert (code, plot.name in out) == (0, True), err
        assert plot.read_bytes().startswith(head)
    report = tmp_path / "report.html"
    assert mlgen_command("integrate", card, "--report", report)[0] == 0
    text = report.read_text()
    assert "Cross section of e- e+ &gt; mu- mu+" in text
    assert "Independent iterations" in text
    code, _, err = mlgen_command("integrate", card, "--report", report)
    assert (code, "exists already" in err) == (2, True)
    assert mlgen_command("integrate", card, "--report", report, "--force")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plots", "weights.jpg"], "a plot is written as png, pdf, svg"),
        (["--sampler", "vega"], "did you mean 'vegas'?"),
        (["--precision", "2"], "--precision"),
        (["--set", "process.energy=-3"], "command line: [process] energy: -3 is not allowed"),
        (["--set", "process.reaction='e- e+ > mu- mu+ a'", "--set", "process.cuts.pt={j=3}"], "no subprocess has"),
        (["--set", "process.reaction='e- e+ > mu- e+'"], "muon number"),
        (["--set", "process.reaction='e- e+ > muu- mu+'"], "did you mean 'mu-'?"),
        (["--set", "process.cuts.mass={'mu- mu+'=30}"], "the cuts leave no phase space"),
        (["--set", "process.pdf='CT10'"], "has no effect"),
        (["--set", "integration.pointz=3"], "did you mean 'points'?"),
        (["--report", "nowhere/report.html"], "there is no directory"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(arguments, message, card, mlgen_command):
    code, out, err = mlgen_command("integrate", card, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_no_card(mlgen_command, examples):
    code, _, err = mlgen_command("integrate", "events.lhe")
    assert (code, "a card (a .toml file) is expected" in err) == (2, True)
    code, _, err = mlgen_command("integrate", examples / "unweight.toml")
    assert (code, "there is no [process] to integrate" in err) == (2, True)


def test_train_run_and_info_of_a_process(card, mlgen_command, tmp_path):
    model = tmp_path / "models" / "mu"
    code, out, err = mlgen_command("train", card, "--model", model)
    assert (code, lines_of_table(out)["integrand calls"]) == (0, "2,000"), err
    assert (model / "report.html").is_file()
    output = tmp_path / "out.lhe"
    code, out, err = mlgen_command(
        "run", card, "--model", model, "-n", 200, "-o", output, "--unweighting", "hit-or-miss"
    )
    assert code == 0, err
    assert "used as it was" in lines_of_table(out)["phase_space"]
    code, out, _ = mlgen_command("info", output)
    assert lines_of_table(out)["events"] == "200"
    assert "phase_space flat (exact), unweighting hit-or-miss (exact)" in lines_of_table(out)["made by"]
    code, _, err = mlgen_command("run", card, "--model", model, "-n", 200, "-o", output, "--set", "process.energy=2")
    assert code == 2
    code, _, err = mlgen_command(
        "run", card, "--model", model, "-n", 200, "-o", output, "--force", "--set", "process.energy=2"
    )
    assert (code, "energy: 1.0 then, 2.0 now" in err) == (2, True)


def test_init_writes_a_card_that_runs(mlgen_command, tmp_path):
    card = tmp_path / "dy.toml"
    code, out, _ = mlgen_command("init", card, "--process")
    assert (code, "dy.toml written" in out) == (0, True)
    small = ("--set", "phase_space.budget=20000")
    assert mlgen_command("integrate", card, "--points", 2000, *small)[0] == 0
    assert mlgen_command("run", card, "-n", 100, *small)[0] == 0
    assert (tmp_path / "dy.lhe.gz").is_file()
    assert (tmp_path / "models" / "dy").is_dir()
    code, _, err = mlgen_command("integrate", card, "--points", 2000, *small)
    assert code == 0, err
    code, _, err = mlgen_command("init", tmp_path / "other.toml", "--process", "e.lhe")
    assert (code, "a reaction is expected" in err) == (2, True)
    code, _, err = mlgen_command("init", "-", "--process", "g g > g g", "--events", "e.lhe")
    assert (code, "not both" in err) == (2, True)


@pytest.mark.parametrize(
    ("reaction", "lines"),
    [
        ("g g > g g", ["energy = 13_000 ", "pt = { g = 20 } "]),
        ("p p > j j", ["pt = { j = 20 } "]),
        ("p p > l+ l-", ['mass = { "l+ l-" = 50 } ']),
        ("g g > g g g", ["pt = { g = 20 } ", 'delta_r = { "g g" = 0.4 } ']),
        ("p p > t t~", ["# pt = { t = 20 }"]),
        ("e- e+ > mu- mu+", ['beams = ["e-", "e+"] ', "energy = 250 "]),
    ],
)
def test_a_new_card_has_what_its_reaction_needs(reaction, lines, mlgen_command, tmp_path):
    card = tmp_path / "new.toml"
    code, _, err = mlgen_command("init", card, "--process", reaction)
    assert code == 0, err
    text = card.read_text()
    assert f'\nreaction = "{reaction}"' in text
    for line in lines:
        assert f"\n{line}" in text
    code, out, err = mlgen_command("integrate", card, "--points", 1000, "--set", "phase_space.budget=5000")
    assert code == 0, err
    assert lines_of_table(out)["reaction"] == reaction


@pytest.mark.parametrize(
    ("reaction", "message"),
    [
        ("e+ e- > t t~", "energy = 500 "),
        ("e+ e- > e+ e-", 'pt = { "e+" = 10, "e-" = 10 } '),
        ("p p > mu+ mu- a", 'delta_r = { "mu+ a" = 0.4, "mu- a" = 0.4 } '),
    ],
)
def test_a_new_card_of_other_reactions(reaction, message, mlgen_command):
    code, out, _ = mlgen_command("init", "-", "--process", reaction)
    assert (code, message in out) == (0, True)


@pytest.mark.parametrize(
    ("reaction", "message"),
    [
        ("p p > mu+ e-", "muon number"),
        ("p p > muu+ mu-", "did you mean 'mu+'?"),
        ("e- p > e- j", "beam 1 is p, which holds no e-"),
        ("p p > z", "two particles into one"),
    ],
)
def test_no_card_is_written_for_what_cannot_be(reaction, message, mlgen_command, tmp_path):
    code, out, err = mlgen_command("init", tmp_path / "new.toml", "--process", reaction)
    assert (code, out, message in err) == (2, "", True), err
    assert list(tmp_path.iterdir()) == []


def test_another_sampler_leaves_out_what_the_card_says_for_its_own(card, mlgen_command, tmp_path):
    model = tmp_path / "models" / "mu"
    card.write_text(
        card.read_text().replace("plugin = 'flat'", "plugin = 'vegas'\niterations = 3\nmodel = 'models/mu'")
    )
    assert mlgen_command("integrate", card)[0] == 0
    assert model.is_dir()
    code, out, err = mlgen_command("integrate", card, "--sampler", "flat")
    assert code == 0, err
    rows = lines_of_table(out)
    assert rows["remark"] == (
        "--sampler flat: the card's [phase_space] is for 'vegas'; iterations, model of it are left out"
    )
    assert rows["phase space"].startswith("flat")
    assert "model" not in rows["phase space"]
    assert rows["calls for training"] == "2,000"
    # The card's own sampler keeps its model, and another folder is taken.
    assert "used as it was" in mlgen_command("integrate", card, "--sampler", "vegas")[1]
    other = tmp_path / "models" / "flat"
    assert mlgen_command("integrate", card, "--sampler", "flat", "--model", other)[0] == 0
    assert other.is_dir()


@pytest.mark.parametrize(
    "key", ['process.cuts.mass."mu- mu+"', "process.cuts.mass.mu- mu+", "process.cuts.mass.'mu- mu+'"]
)
def test_keys_of_set_may_be_quoted(key, card, mlgen_command):
    code, _, err = mlgen_command("integrate", card, "--set", f"{key}=[3, 5]")
    assert (code, "the cuts leave no phase space" in err) == (2, True), err
    code, _, err = mlgen_command("integrate", card, "--set", "process.cuts..mass=3")
    assert (code, "SECTION.KEY=VALUE is expected" in err) == (2, True)


def test_figures_that_would_confuse_are_not_shown(card, mlgen_command, tmp_path):
    code, out, _ = mlgen_command("integrate", card, "--sampler", "vegas")
    assert (code, "absolute integral" in out) == (0, False)


def test_what_packages_of_mlgen_log_is_shown_while_something_is_reported(capfd):
    with reporter("preparing"):
        logging.getLogger("mlgen_amplicol.generation").info("generating %s", "g g > t t~")
        logging.getLogger("somebody").info("not this")
        logging.getLogger("somebody").warning("but this")
    logging.getLogger("mlgen_amplicol.generation").info("nor this")
    err = capfd.readouterr().err
    assert err.startswith("generating g g > t t~\nbut this\npreparing: done")
    assert not logging.getLogger().isEnabledFor(logging.INFO)


def test_a_sampler_of_the_command_line_needs_none_in_the_card(mlgen_command, tmp_path):
    (tmp_path / "card.toml").write_text(
        '[process]\nreaction = "e+ e- > mu+ mu-"\nbeams = ["e+", "e-"]\nenergy = 100\n[phase_space]\nbudget = 500\n'
    )
    code, _, err = mlgen_command("integrate", str(tmp_path / "card.toml"), "--points", "1000")
    assert code == 2
    assert "card.toml:5: [phase_space] plugin: is missing" in err
    code, out, _ = mlgen_command("integrate", str(tmp_path / "card.toml"), "--points", "1000", "--sampler", "flat")
    assert code == 0
    assert "cross section" in out
