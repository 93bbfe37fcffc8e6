"""Two-stage unweighting as a user types it: figures of a run, trainings, settings that are refused."""

import json

import pytest

from mlgen.formats import open_events

PROCESS = """
[run]
events = 800
[process]
reaction = "u u~ > mu+ mu-"
energy = 13_000
pdf = "NNPDF23_lo_as_0130_qed"
scale = "m(z)"
matrix_element = "closed-form"
[process.cuts]
mass = { "mu+ mu-" = 50 }
[phase_space]
plugin = "vegas"
budget = 5_000
[output]
files = ["out.lhe"]
"""
LEARNING = """
[unweighting]
plugin = "two-stage"
surrogate = "event-weight"
model = "models/weights"
training_points = 1_000
steps = 30
units = 16
layers = 1
batch_size = 256
"""
FIGURES = {
    "candidates",
    "accepted",
    "efficiency",
    "overweight_events",
    "overweight_share",
    "negative_fraction",
    "effective_sample_size",
    "true_evaluations",
    "first_stage_efficiency",
    "second_stage_efficiency",
    "hit_or_miss_efficiency",
    "mean_weight",
    "mean_weight_error",
    "gain_over_hit_or_miss",
    "gain_at_cost_ratio_1",
    "gain_at_cost_ratio_1000",
    "pays_from_true_weight_us",
    "true_weight_us",
}


@pytest.fixture
def card(tmp_path):
    path = tmp_path / "card.toml"
    path.write_text(PROCESS + LEARNING)
    return path


def test_a_run_says_what_it_cost(card, mlgen_command, tmp_path):
    code, out, err = mlgen_command("run", card, "--json")
    assert code == 0, err
    content = json.loads(out)
    assert (content["events"], content["exactness"]) == (800, "exact")
    sampler, unweighting = content["stages"]
    assert (unweighting["stage"], unweighting["plugin"], unweighting["trained"]) == ("unweighting", "two-stage", True)
    figures = unweighting["figures"]
    assert figures.keys() >= FIGURES
    assert figures["candidates"] == sampler["figures"]["candidates"]
    assert figures["mean_weight"] == content["cross_section"]
    stages = figures["first_stage_efficiency"] * figures["second_stage_efficiency"]
    assert figures["efficiency"] == pytest.approx(stages, rel=1e-12)
    assert {"training", "sampling", "matrix element", "unweighting", "events"} <= content["seconds"].keys()
    with open_events(tmp_path / "out.lhe") as events:
        assert sum(map(len, events)) == 800
        assert events.run_info.cross_section == pytest.approx(content["cross_section"], rel=1e-12)


def test_a_table_a_plot_and_a_report(card, mlgen_command, tmp_path):
    plot, report = tmp_path / "weights.png", tmp_path / "report.html"
    code, out, err = mlgen_command("run", card, "--plot", plot, "--report", report)
    assert code == 0, err
    rows = dict(part for line in out.splitlines() if len(part := line.strip().split("  ", 1)) == 2)
    assert rows["sample is"].strip() == "exact"
    assert "trained now" in rows["unweighting"]
    assert rows["gain at other cost ratios"].strip().startswith("1: ")
    assert rows["time, matrix element"].strip().endswith(" s")
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "first stage efficiency" in report.read_text()


def test_the_network_is_trained_by_the_command(card, mlgen_command, tmp_path):
    code, out, err = mlgen_command("train", card, "--json")
    assert code == 0, err
    content = json.loads(out)
    assert (content["stage"], content["plugin"], content["trained"]) == ("unweighting", "two-stage", True)
    assert content["figures"]["training_points"] + content["figures"]["validation_points"] == 1000
    assert (tmp_path / "models" / "weights" / "report.html").is_file()
    assert not (tmp_path / "out.lhe").exists()
    code, out, _ = mlgen_command("train", card)
    assert (code, "was there already" in out) == (0, True)
    code, out, err = mlgen_command("train", card, "--retrain", "--seed", 2)
    assert (code, "trained now" in out) == (0, True), err


def test_a_network_for_another_energy_is_refused(card, mlgen_command, tmp_path):
    assert mlgen_command("train", card)[0] == 0
    code, _, err = mlgen_command("run", card, "--set", "process.energy=8000")
    assert code == 2
    assert "trained for another process" in err
    assert "energy: 13000" in err
    assert not (tmp_path / "out.lhe").exists()


@pytest.mark.parametrize(
    ("section", "key", "message"),
    [
        ("plugin = 'two-stage'\noverweight_share = 1.5\n", "overweight_share", "less than 1"),
        ("plugin = 'two-stage'\ncost_ratio = 0\n", "cost_ratio", "greater than 0"),
        ("plugin = 'two-stage'\nevaluated_share = 0\n", "", "evaluated_share is a number above 0 and up to 1"),
        ("plugin = 'two-stage'\nevaluated_share = 'most'\n", "evaluated_share", "'optimal'"),
        ("plugin = 'two-stage'\nsurrogate = 'amplitudes'\n", "surrogate", "'amplitude' or 'event-weight'"),
        ("plugin = 'two-stage'\nsteps = 100\n", "", "steps is set, but belongs to surrogate = 'event-weight'"),
        ("plugin = 'two-stage'\noverweight_shares = 0.1\n", "overweight_shares", "did you mean 'overweight_share'?"),
        ("plugin = 'two-stage'\nmaximum = 'sample'\n", "maximum", "unknown key"),
        ("plugin = 'two-stages'\n", "", "did you mean 'two-stage'?"),
        ("plugin = 'two-stage'\nmodel = 'models/none'\n", "model", "it learns nothing; leave it out"),
    ],
)
def test_a_bad_setting_is_named_with_its_line(section, key, message, mlgen_command, tmp_path):
    path = tmp_path / "card.toml"
    text = PROCESS + "[unweighting]\n" + section
    path.write_text(text)
    code, out, err = mlgen_command("run", path)
    assert (code, out) == (2, "")
    assert message in err
    lines = text.split("\n")
    begin = lines.index("[unweighting]")
    # A rule about several settings is named with the section.
    places = (
        [begin + 1] if not key else [n for n, line in enumerate(lines, 1) if n > begin and line.startswith(f"{key} =")]
    )
    if "two-stages" not in section:
        assert f"{path}:{places[0]}: [unweighting]" in err
    assert not (tmp_path / "out.lhe").exists()


def test_what_is_set_on_the_command_line_is_named_so(card, mlgen_command):
    code, _, err = mlgen_command("run", card, "--set", "unweighting.pilot=10")
    assert code == 2
    assert "command line: [unweighting] pilot: 10 is not allowed" in err
