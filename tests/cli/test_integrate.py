"""`mlgen integrate`, and cards that start from a process, as a user types them."""

import json
import math

import pytest

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


def lines(out: str) -> dict[str, str]:
    found = {}
    for line in out.splitlines():
        name, _, value = line.strip().partition("  ")
        found[name] = value.strip()
    return found


def test_a_table(card, mlgen_command):
    code, out, err = mlgen_command("integrate", card)
    assert code == 0, err
    rows = lines(out)
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
    assert (code, lines(out)["integrand calls"]) == (0, "2,000"), err
    assert (model / "report.html").is_file()
    output = tmp_path / "out.lhe"
    code, out, err = mlgen_command(
        "run", card, "--model", model, "-n", 200, "-o", output, "--unweighting", "hit-or-miss"
    )
    assert code == 0, err
    assert "used as it was" in lines(out)["phase_space"]
    code, out, _ = mlgen_command("info", output)
    assert lines(out)["events"] == "200"
    assert "phase_space flat (exact), unweighting hit-or-miss (exact)" in lines(out)["made by"]
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
    code, _, err = mlgen_command("init", tmp_path / "other.toml", "--process", "e.lhe")
    assert (code, "a reaction is expected" in err) == (2, True)
    code, _, err = mlgen_command("init", "-", "--process", "g g > g g", "--events", "e.lhe")
    assert (code, "not both" in err) == (2, True)
    code, out, _ = mlgen_command("init", "-", "--process", "g g > g g")
    assert (code, 'reaction = "g g > g g"' in out) == (0, True)
    # A cut on muons would be a mistake there.
    assert '\n# mass = { "mu+ mu-" = 50 }' in out
