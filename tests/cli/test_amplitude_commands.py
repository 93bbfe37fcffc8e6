"""Surrogates of matrix elements as a user types them: trained on files and processes, used, refused."""

import json

import numpy as np
import pytest

from mlgen.formats import open_events
from mlgen.hard_process.closed_forms import closed_form
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.subprocess import Subprocess

GLUONS = (21, 21, 21, 21)
#: Not the 0.118 that a card has when it says nothing.
ALPHA_S = 0.2
AMPLITUDE = """
[amplitude]
plugin = "bnn"
model = "models/gluons"
units = 16
members = 3
batch_size = 256
steps = 60
"""
PROCESS = """
[process]
reaction = "g g > g g"
energy = 13_000
pdf = "NNPDF23_lo_as_0130_qed"
matrix_element = "closed-form"
[process.cuts]
pt = { g = 50 }
[phase_space]
plugin = "vegas"
budget = 10_000
"""
DRELL_YAN = """
[process]
reaction = "d d~ > mu- mu+"
energy = 13_000
pdf = "NNPDF23_lo_as_0130_qed"
scale = "m(z)"
matrix_element = "closed-form"
[process.cuts]
mass = { "mu- mu+" = [50, 150] }
[phase_space]
plugin = "vegas"
budget = 5_000
"""


def gluon_points(n: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """Two gluons into two, isotropic in their centre of mass at angles that cuts keep, with |M|^2 in closed form."""
    rng = np.random.default_rng(8)
    half = 50 * rng.random(n) ** -0.4 / 0.9
    cosine, azimuth = rng.uniform(-0.9, 0.9, n), rng.uniform(0, 2 * np.pi, n)
    sine = np.sqrt(1 - cosine**2)
    out = np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine], axis=1)
    beam = np.broadcast_to([0.0, 0.0, 1.0], (n, 3))
    directions = np.stack([beam, -beam, out, -out], axis=1)
    momenta = half[:, None, None] * np.concatenate([directions, np.ones((n, 4, 1))], axis=2)
    form = closed_form(Subprocess((21, 21), (21, 21)), ModelParameters())
    return momenta, form.evaluate(momenta, np.full(n, ALPHA_S))


def write(path, momenta: np.ndarray, values: np.ndarray, pdg_ids=GLUONS) -> None:
    if path.suffix == ".npz":
        arrays = {"momenta": momenta, "values": values}
        np.savez(path, **arrays, **({} if pdg_ids is None else {"pdg_ids": np.array(pdg_ids)}))
        return
    names = [f"{component}{number}" for number in range(1, 5) for component in ("px", "py", "pz", "E")]
    head = "" if pdg_ids is None else "# pdg: " + " ".join(map(str, pdg_ids)) + "\n"
    rows = np.column_stack([momenta.reshape(len(momenta), -1), values])
    lines = [",".join(repr(float(number)) for number in row) for row in rows]
    path.write_text(head + ",".join([*names, "value"]) + "\n" + "\n".join(lines) + "\n")


def card_of(folder, text: str):
    path = folder / "card.toml"
    path.write_text(text)
    return path


def lines_of_table(out: str) -> dict[str, str]:
    found = {}
    for line in out.splitlines():
        name, _, value = line.strip().partition("  ")
        found[name] = value.strip()
    return found


def models_in(folder) -> list[str]:
    return [path.name for path in (folder / "models").glob("*")] if (folder / "models").exists() else []


# Points of a file


@pytest.mark.parametrize("name", ["points.npz", "points.csv"])
def test_a_surrogate_is_trained_on_a_file_of_points(name, mlgen_command, tmp_path):
    momenta, values = gluon_points()
    write(tmp_path / name, momenta, values)
    card = card_of(tmp_path, AMPLITUDE + f"file = '{name}'\nalpha_s = {ALPHA_S}\n")
    code, out, err = mlgen_command("train", card)
    assert code == 0, err
    rows = lines_of_table(out)
    assert rows["model"].endswith("models/gluons (trained now)")
    assert rows["plugin"].startswith("bnn ")
    assert "approximate" in rows["plugin"]
    # A fifth of the file at most is held out.
    assert rows["test points"] == "160"
    assert float(rows["median absolute delta"]) < 0.05
    assert (tmp_path / "models" / "gluons" / "report.html").is_file()
    page = (tmp_path / "models" / "gluons" / "report.html").read_text()
    assert "Relative accuracy of the amplitudes" in page
    assert "Pulls of the amplitudes" in page
    code, out, _ = mlgen_command("train", card)
    assert (code, "was there already" in lines_of_table(out)["model"]) == (0, True)
    code, out, _ = mlgen_command("train", card, "--json", "--retrain")
    assert (code, json.loads(out)["trained"], json.loads(out)["stage"]) == (0, True, "amplitude")
    # Other points under the same name.
    write(tmp_path / name, momenta, 2 * values)
    code, out, err = mlgen_command("train", card)
    assert (code, out) == (2, "")
    assert f"the model there was trained on other points: {name} (SHA-256 " in err
    assert "--retrain" in err
    code, _, err = mlgen_command("train", card, "--set", "amplitude.alpha_s=0.118")
    assert (code, "trained with alpha_s = 0.2, the card says 0.118" in err) == (2, True)


@pytest.mark.physics
def test_points_of_a_file_stand_in_for_the_matrix_element_of_a_process(mlgen_command, tmp_path):
    """Values at another coupling than the process has; the same points with the closed form, to 1 %."""
    write(tmp_path / "points.npz", *gluon_points(2000), pdg_ids=None)
    text = AMPLITUDE.replace("steps = 60", "steps = 200") + f"file = 'points.npz'\nalpha_s = {ALPHA_S}\n"
    card = card_of(tmp_path, PROCESS + text + "outside = 'flag'\n")
    assert mlgen_command("train", card)[0] == 0
    found = []
    for content in (PROCESS + text + "outside = 'flag'\n", PROCESS):
        card.write_text(content)
        code, out, err = mlgen_command("integrate", card, "--points", 5000, "--json")
        assert code == 0, err
        found.append(json.loads(out))
    assert found[0]["points"] == found[1]["points"] == 5000
    assert found[0]["cross_section"] == pytest.approx(found[1]["cross_section"], rel=0.01)
    # Without the scaling it would be (0.2 / alpha_s)^2 times as large: nothing that could be overlooked.
    assert found[0]["amplitude"]["figures"]["points_asked"] > 4000
    assert (found[0]["exactness"], found[1]["exactness"]) == ("approximate", "exact")


def off_shell(momenta, values):
    """Particles 3 and 4 of one point with masses, at the momentum that is conserved."""
    momenta[6, 2:, :3] *= 0.5


def not_conserved(momenta, values):
    momenta[6, 3] *= 1.01


def a_momentum_is_nan(momenta, values):
    momenta[6, 2, 1] = np.nan


def a_value_is_nan(momenta, values):
    values[6] = np.nan


def a_value_is_negative(momenta, values):
    values[6] *= -1


def a_value_is_zero(momenta, values):
    values[6:9] = 0


@pytest.mark.parametrize("process", ["", PROCESS], ids=["file alone", "with a process"])
@pytest.mark.parametrize("name", ["points.npz", "points.csv"])
@pytest.mark.parametrize(
    ("change", "messages"),
    [
        (off_shell, ["point 7", "particle 3 (PDG id 21)", "0 GeV is expected"]),
        (not_conserved, ["point 7", "four-momentum is not conserved"]),
        (a_momentum_is_nan, ["point 7", "not finite"]),
        (a_value_is_nan, ["|M|^2 of point 7 is nan; it has to be finite", "1 of 800 points"]),
        (a_value_is_negative, ["|M|^2 of point 7 is -", "it has to be positive"]),
        (a_value_is_zero, ["|M|^2 of point 7 is 0; it has to be positive (so in 3 of 800 points"]),
    ],
)
def test_points_that_cannot_be_are_refused(change, messages, name, process, mlgen_command, tmp_path):
    momenta, values = gluon_points()
    change(momenta, values)
    write(tmp_path / name, momenta, values)
    card = card_of(tmp_path, process + AMPLITUDE + f"file = '{name}'\n")
    code, out, err = mlgen_command("train", card)
    assert (code, out) == (2, ""), err
    for message in messages:
        assert message in err
    assert "Traceback" not in err
    assert models_in(tmp_path) == []


@pytest.mark.parametrize(
    ("process", "amplitude", "options", "message"),
    [
        ("", "", {"n": 90}, "there are 90 training points; 100 at least are needed"),
        ("", "", {"n": 110}, "110 points are too few to train with and to test on 22 of them"),
        ("", "", {"pdg_ids": None}, "the file does not say which particles it has"),
        ("", "", {"pdg_ids": (21, 21, 13, -13)}, "g g > mu- mu+ has no diagram at tree level in the Standard Model"),
        ("", "draw = 'mixture'", {}, "[amplitude] draw: points are drawn, or read from a file; leave one of the two"),
        ("", "points = 500", {}, "[amplitude] points: points are drawn, or read from a file; leave one of the two out"),
        ("", "values = 'mee'", {}, "'mee'"),
        ("", "stepz = 3", {}, "did you mean 'steps'?"),
        (
            PROCESS,
            "",
            {"pdg_ids": (1, -1, 1, -1)},
            "the points are of d d~ > d d~ (PDG ids [1, -1, 1, -1]), the card's process is g g > g g ([21, 21, 21, 21]",
        ),
        (
            DRELL_YAN.replace('"d d~ >', '"p p >'),
            "",
            {},
            "points.npz has points of one subprocess, and p p > mu- mu+ has 8",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused(process, amplitude, options, message, mlgen_command, tmp_path):
    write(tmp_path / "points.npz", *gluon_points(options.get("n", 800)), pdg_ids=options.get("pdg_ids", GLUONS))
    card = card_of(tmp_path, process + AMPLITUDE + f"file = 'points.npz'\n{amplitude}\n")
    code, out, err = mlgen_command("train", card)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert models_in(tmp_path) == []


def test_what_a_card_with_points_needs(mlgen_command, tmp_path):
    card = card_of(tmp_path, AMPLITUDE + "file = 'nowhere.npz'\n")
    code, _, err = mlgen_command("train", card)
    assert (code, "nowhere.npz: there is no such file" in err) == (2, True)
    code, _, err = mlgen_command("train", card_of(tmp_path, AMPLITUDE))
    assert (code, "there are no points to learn from" in err) == (2, True)
    write(tmp_path / "points.npz", *gluon_points())
    text = AMPLITUDE + "file = 'points.npz'\n"
    card = card_of(tmp_path, text.replace('model = "models/gluons"', ""))
    code, _, err = mlgen_command("train", card)
    assert (code, 'training needs a place for the model: [amplitude] model = "FOLDER"' in err) == (2, True)
    code, _, err = mlgen_command("run", card_of(tmp_path, text), "-n", 10, "-o", tmp_path / "out.lhe")
    assert (code, "[amplitude]: it is used with a [process]" in err) == (2, True)
    assert not (tmp_path / "out.lhe").exists()
    assert models_in(tmp_path) == []


def test_a_model_of_a_file_is_not_taken_for_one_of_drawn_points(mlgen_command, tmp_path):
    momenta, values = gluon_points()
    write(tmp_path / "points.npz", momenta, values)
    text = AMPLITUDE.replace("steps = 60", "steps = 5")
    assert mlgen_command("train", card_of(tmp_path, PROCESS + text + "file = 'points.npz'\n"))[0] == 0
    code, out, err = mlgen_command("integrate", card_of(tmp_path, PROCESS + text + "points = 500\n"))
    assert (code, out) == (2, "")
    assert "points.npz" in err
    # Where the card says nothing of points, it is used as it is.
    code, out, err = mlgen_command("integrate", card_of(tmp_path, PROCESS + text), "--points", 500)
    assert (code, "used as it was" in lines_of_table(out)["amplitude"]) == (0, True)


# Points of a process


OF_PROCESS = AMPLITUDE.replace("models/gluons", "models/pairs") + "points = 500\ntest_points = 100\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A card whose surrogate was trained, and the folder that it stands in."""
    from click.testing import CliRunner

    from mlgen.cli import cli

    folder = tmp_path_factory.mktemp("trained")
    card = card_of(folder, DRELL_YAN + OF_PROCESS)
    result = CliRunner().invoke(cli, ["train", str(card)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return card


def test_the_surrogate_of_a_process_is_trained_once(trained, mlgen_command, tmp_path):
    code, out, err = mlgen_command("train", trained)
    assert code == 0, err
    rows = lines_of_table(out)
    assert "was there already" in rows["model"]
    assert rows["test points"] == "100"
    contents = []
    for name in ("first.lhe", "second.lhe"):
        code, out, err = mlgen_command("run", trained, "-n", 100, "-o", tmp_path / name)
        assert code == 0, err
        assert lines_of_table(out)["amplitude"].endswith("models/pairs, used as it was")
        contents.append((tmp_path / name).read_bytes())
    assert contents[0].replace(b"first.lhe", b"second.lhe") == contents[1]
    code, out, _ = mlgen_command("info", tmp_path / "first.lhe")
    assert "amplitude bnn (approximate)" in lines_of_table(out)["made by"]
    with open_events(tmp_path / "first.lhe") as events:
        names = events.run_info.variation_names
    assert names == tuple(f"mlgen.bnn.{end}" for end in ("syst.up", "syst.down", "stat.1", "stat.2", "stat.3"))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("process.parameters.mass.z=90", "parameters.mass.z: 91.188 then, 90.0 now"),
        ("process.reaction=u u~ > mu- mu+", "subprocesses: [[1, -1, 13, -13]] then, [[2, -2, 13, -13]] now"),
        ("amplitude.units=32", "units: trained with 16, card says 32"),
        ("amplitude.points=600", "trained with points = 500, the card says 600"),
        ("amplitude.draw=phase-space", "trained with draw = mixture, the card says phase-space"),
    ],
)
def test_a_surrogate_for_something_else_is_refused(setting, message, trained, mlgen_command, tmp_path):
    code, out, err = mlgen_command("run", trained, "-n", 10, "-o", tmp_path / "out.lhe", "--set", setting)
    assert (code, out) == (2, "")
    assert message in err
    assert "train again with --retrain" in err
    assert list(tmp_path.iterdir()) == []


def test_a_run_outside_the_region_of_the_training(trained, mlgen_command, tmp_path):
    cuts = 'process.cuts.mass."mu- mu+"=[20, 150]'
    arguments = ("run", trained, "-n", 300, "-o", tmp_path / "out.lhe", "--set", cuts)
    code, out, err = mlgen_command(*arguments, "--set", "amplitude.outside=stop")
    assert (code, out) == (2, "")
    assert "is asked outside the region that it was trained in, at " in err
    assert "the training reached from" in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
    code, out, err = mlgen_command(*arguments)
    assert code == 0, err
    assert "lie outside the region that the surrogate was trained in; the true matrix element was taken there" in out
    assert "the surrogate was trained with other cuts, beams or densities" in out
    code, out, err = mlgen_command(*arguments, "--force", "--set", "amplitude.outside=flag")
    assert (code, "weight zero under the name mlgen.bnn.inside" in out) == (0, True)


def test_an_integration_with_a_surrogate(trained, mlgen_command, tmp_path):
    report = tmp_path / "report.html"
    code, out, err = mlgen_command("integrate", trained, "--points", 1000, "--report", report)
    assert code == 0, err
    rows = lines_of_table(out)
    assert rows["amplitude"].startswith("bnn ")
    assert rows["amplitude"].endswith("models/pairs, used as it was")
    assert "median absolute delta" in report.read_text()
    assert "bnn" in report.read_text()
    code, out, _ = mlgen_command("integrate", trained, "--points", 1000, "--json")
    content = json.loads(out)
    assert content["exactness"] == "approximate"
    assert content["amplitude"]["plugin"] == "bnn"
    assert content["amplitude"]["figures"]["test_points"] == 100


def test_a_surrogate_that_would_be_thrown_away_is_not_trained(mlgen_command, tmp_path):
    text = OF_PROCESS.replace('model = "models/pairs"\n', "")
    sampler = DRELL_YAN.replace('plugin = "vegas"', 'plugin = "vegas"\nmodel = "models/sampler"')
    code, out, err = mlgen_command("train", card_of(tmp_path, sampler + text))
    assert (code, out) == (2, "")
    assert 'training needs a place for the model: [amplitude] model = "FOLDER"' in err


def test_names_of_the_section_are_checked(mlgen_command, tmp_path):
    for line, message in (
        ("outside = 'ignore'", "[amplitude] outside: 'ignore' is not allowed"),
        ("draw = 'flat'", "[amplitude] draw: 'flat' is not allowed"),
        ("outside_share = 0.7", "[amplitude] outside_share: 0.7 is not allowed"),
        ("test_points = 10", "[amplitude] test_points: 10 is not allowed"),
        ("unitz = 3", "did you mean 'units'?"),
    ):
        text = AMPLITUDE + line + "\n"
        code, out, err = mlgen_command("integrate", card_of(tmp_path, DRELL_YAN + text))
        assert (code, out, message in err) == (2, "", True), err
