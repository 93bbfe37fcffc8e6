"""The commands as a user types them: exit codes, messages, what is on stdout and what on stderr."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mlgen.events import EventBatch
from mlgen.formats import create_events, open_events
from mlgen.run_info import Beam, Process, RunInfo

INFO = RunInfo(
    beams=(Beam(2212, 6500.0, 0, 247000), Beam(2212, 6500.0, 0, 247000)),
    weight_strategy=-4,
    processes=(Process(1, 30.0, 0.5, 1.0), Process(2, 12.0, 0.5, 1.0)),
    generator="Test 1.0",
)


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """400 weighted events u u~ > e- e+, a tenth of them with a negative weight."""
    rng = np.random.default_rng(3)
    n = 400
    energy = rng.uniform(20.0, 500.0, n)
    pz = np.stack([energy, -energy, energy, -energy], axis=1).ravel()
    columns = {
        "pdg_id": np.tile([2, -2, 11, -11], n),
        "status": np.tile([-1, -1, 1, 1], n),
        "mother1": np.tile([0, 0, 1, 1], n),
        "mother2": np.tile([0, 0, 2, 2], n),
        "color1": np.tile([501, 0, 0, 0], n),
        "color2": np.tile([0, 501, 0, 0], n),
        "px": pz * 0,
        "py": pz * 0,
        "pz": pz,
        "energy": abs(pz),
        "generated_mass": pz * 0,
    }
    weight = rng.exponential(30.0, n) * np.where(np.arange(n) % 10 == 0, -1, 1)
    batch = EventBatch.from_columns(
        np.full(n, 4), columns, weight=weight, process_id=1, variations={"up": 1.1 * weight, "down": 0.9 * weight}
    )
    path = tmp_path / "events.lhe.gz"
    with create_events(path, INFO.with_variations(("up", "down"))) as output:
        output.write(batch)
    return path


def test_info(mlgen_command, events):
    code, out, _ = mlgen_command("info", events)
    assert code == 0
    lines = {line[:26].strip(): line[26:].strip() for line in out.splitlines()}
    text = " ".join(out.split())
    assert "beams p 6500 GeV, PDF 247000 on p 6500 GeV, PDF 247000" in text
    assert "process 1 30 +- 0.5 pb" in text
    assert "cross section 42 +- 0.71 pb" in text
    assert "events 400" in text
    assert "(IDWTUP -4)" in text
    assert "negative 10.00% (40 events)" in text
    assert "variations 2: up, down" in text
    assert "u~ u > e+ e- 400" in text
    assert lines


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_info_of_particles_without_a_name_and_weights_of_zero(weight, mlgen_command, tmp_path):
    columns = {"pdg_id": [1000022, 2], "status": [-1, 1], "px": [0, 0], "py": [0, 0], "pz": [5, 5], "energy": [9, 9]}
    batch = EventBatch.from_columns(np.array([2]), {k: np.array(v) for k, v in columns.items()}, weight=[weight])
    with create_events(tmp_path / "susy.lhe", RunInfo()) as output:
        output.write(batch)
    code, out, _ = mlgen_command("info", tmp_path / "susy.lhe")
    assert code == 0
    assert "1000022 > u" in out


def test_info_of_no_events(mlgen_command, tmp_path):
    with create_events(tmp_path / "none.lhe", INFO):
        pass
    code, out, _ = mlgen_command("info", tmp_path / "none.lhe")
    assert code == 0
    assert "events" in out


def test_info_as_json_is_only_json_on_stdout(mlgen_command, events):
    code, out, _ = mlgen_command("info", "--json", events)
    content = json.loads(out)
    assert code == 0
    assert content["events"] == 400
    assert content["negative_fraction"] == 0.1
    assert content["reactions"] == [{"incoming": [-2, 2], "outgoing": [-11, 11], "events": 400}]


def test_convert_and_back(mlgen_command, events, tmp_path):
    for name in ("e.hepmc3.zst", "e.root", "e.h5", "e.lhe"):
        assert mlgen_command("convert", events, tmp_path / name)[0] == 0
        assert mlgen_command("convert", tmp_path / name, tmp_path / "back.lhe", "--force")[0] == 0
        with open_events(events) as one, open_events(tmp_path / "back.lhe") as two:
            first, second = next(iter(one)), next(iter(two))
        assert first.weight.tolist() == second.weight.tolist()
        assert first.variations["up"].tolist() == second.variations["up"].tolist()
        assert first.momenta().tolist() == second.momenta().tolist()


def test_convert_to_standard_output(mlgen_command, events):
    code, out, _ = mlgen_command("convert", events, "-", "--format", "lhe", "-n", 3)
    assert code == 0
    assert out.startswith("<LesHouchesEvents")
    assert out.count("<event") == 3
    assert out.rstrip().endswith("</LesHouchesEvents>")


def test_run_unweights(mlgen_command, events, tmp_path):
    output = tmp_path / "unweighted.lhe"
    code, out, _ = mlgen_command("run", events, "--unweighting", "hit-or-miss", "-o", output, "--json")
    assert code == 0
    result = json.loads(out)
    figures = result["stages"][0]["figures"]
    assert result["exactness"] == "exact"
    assert figures["candidates"] == 400
    assert figures["accepted"] == result["events"]
    with open_events(events) as source, open_events(output) as unweighted:
        candidates, accepted = next(iter(source)), next(iter(unweighted))
        record = unweighted.run_info.provenance[-1]
    # Without overweights all weights have one size, and their sum over all candidates' share is the cross section.
    assert len(set(np.round(np.abs(accepted.weight), 9))) == 1
    assert figures["maximum_weight"] == np.abs(candidates.weight).max()
    assert np.all(np.isclose(accepted.variations["up"] / accepted.weight, 1.1, rtol=1e-12))
    assert abs(accepted.weight[0]) == pytest.approx(np.abs(candidates.weight).mean(), rel=1e-9)
    assert record["stages"][0]["plugin"] == "hit-or-miss"
    assert record["seed"] == 1
    with open_events(output) as unweighted:
        assert unweighted.run_info.weight_strategy == -4
    assert "hit-or-miss" in record["card"]


@pytest.mark.parametrize(
    "arguments",
    [
        "{in} --unweighting hit-or-miss -n 100 -o {tmp}/a.lhe.gz {tmp}/b.hepmc3 {tmp}/c.root",
        "{in} -o {tmp}/a.lhe.gz {tmp}/b.hepmc3 {tmp}/c.root --unweighting hit-or-miss -n 100",
        "{in} -o {tmp}/a.lhe.gz -o {tmp}/b.hepmc3 --unweighting hit-or-miss -o {tmp}/c.root -n 100",
        "{in} --output {tmp}/a.lhe.gz {tmp}/b.hepmc3 -n 100 -o{tmp}/c.root --unweighting hit-or-miss",
        "-n 100 --output={tmp}/a.lhe.gz {tmp}/b.hepmc3 {tmp}/c.root --unweighting hit-or-miss -- {in}",
        "--unweighting hit-or-miss -o {tmp}/a.lhe.gz {tmp}/b.hepmc3 {tmp}/c.root -n 100 {in}",
    ],
)
def test_one_option_is_followed_by_several_outputs(arguments, mlgen_command, events, tmp_path):
    words = arguments.replace("{in}", str(events)).replace("{tmp}", str(tmp_path)).split()
    code, out, err = mlgen_command("run", *words)
    assert code == 0, err
    assert {path.name for path in tmp_path.iterdir()} == {"events.lhe.gz", "a.lhe.gz", "b.hepmc3", "c.root"}
    assert all(str(tmp_path / name) in out for name in ("a.lhe.gz", "b.hepmc3", "c.root"))


def test_events_go_to_standard_output_and_a_file(mlgen_command, events, tmp_path):
    command = ("run", events, "--unweighting", "hit-or-miss", "--format", "lhe", "-o", tmp_path / "a.lhe", "-")
    code, out, err = mlgen_command(*command)
    assert code == 0, err
    assert out == (tmp_path / "a.lhe").read_text()


def test_run_from_a_card_next_to_its_events(mlgen_command, events, tmp_path, monkeypatch):
    card = tmp_path / "card.toml"
    card.write_text(
        "[input]\nfile = 'events.lhe.gz'\n[unweighting]\nplugin = 'hit-or-miss'\n"
        "[output]\nfiles = ['out.lhe', 'out.root']\n"
    )
    monkeypatch.chdir("/")
    assert mlgen_command("run", card)[0] == 0
    assert (tmp_path / "out.lhe").exists()
    assert (tmp_path / "out.root").exists()
    elsewhere = tmp_path / "new" / "place"
    assert mlgen_command("run", card, "-d", elsewhere)[0] == 0
    assert (elsewhere / "out.lhe").read_bytes() == (tmp_path / "out.lhe").read_bytes()


def test_the_seed_decides(mlgen_command, events, tmp_path):
    def run(seed, name):
        command = ("run", events, "--unweighting", "hit-or-miss", "-o", tmp_path / name, "--seed", seed)
        assert mlgen_command(*command)[0] == 0
        with open_events(tmp_path / name) as stream:
            return next(iter(stream)).weight.size, next(iter(stream)).column("pz").tolist()

    assert run(5, "a.lhe") == run(5, "b.lhe")
    assert run(5, "c.lhe") != run(6, "d.lhe")


def test_events_from_a_pipe_can_be_unweighted(events, tmp_path):
    import gzip

    command = [sys.executable, "-m", "mlgen", "run", "-", "--unweighting", "hit-or-miss", "-o", "-", "--format", "lhe"]
    process = subprocess.run(
        command, input=gzip.decompress(events.read_bytes()), capture_output=True, check=True, timeout=120
    )
    (tmp_path / "piped.lhe").write_bytes(process.stdout)
    with open_events(tmp_path / "piped.lhe") as stream:
        assert 0 < sum(map(len, stream)) < 400


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "{tmp}/nothing.lhe"], "there is no such file"),
        (["info", "{tmp}"], "is a folder, and none of a trained model"),
        (["convert", "{events}"], "at least two files"),
        (["convert", "{events}", "{events}"], "exists already"),
        (["convert", "{events}", "{events}", "--force"], "the output is the input as well"),
        (["convert", "{events}", "{events}", "{tmp}/x.lhe"], "is given twice"),
        (["run", "{events}", "--unweighting", "hit-or-miss", "-o", "-", "--format", "lhe", "--json"], "cannot both go"),
        (["convert", "{events}", "{tmp}/x.doc"], "format is not clear"),
        (["convert", "{events}", "{tmp}/x.lhe", "--on-error", "ignore"], "'ignore' is not one of 'stop', 'skip'"),
        (["run", "{events}", "-o", "{tmp}/x.lhe", "--generator", "cmf"], "no generator plugin is called 'cmf'; did"),
        (["run", "{events}", "--unweighting", "hit-or-miss"], "there is no output"),
        (["run", "{events}", "--unweighting", "hit-or-miss", "--set", "x"], "SECTION.KEY=VALUE"),
        (["run", "{events}", "-o", "{tmp}/x.lhe", "--unweighting", "hit-or-miss", "--set", "unweighting.qantile=1"],
         "did you mean 'quantile'"),
        (["run", "{events}", "-o", "{tmp}/x.lhe", "-o", "{tmp}/x.lhe"], "is there twice"),
        (["run", "-o", "{tmp}/x.lhe", "{events}", "--unweighting", "hit-or-miss"], "there is no input, and "),
        (["run", "{events}", "-o", "{tmp}/x.lhe", "{events}", "--unweighting", "hit-or-miss"],
         "exists already; choose another name, or overwrite it with --force\nAfter -o, all files up to the next"),
        (["run", "{events}", "-o", "{tmp}/x.lhe", "{events}", "--unweighting", "hit-or-miss", "--force"],
         "the output is the input as well"),
        (["run", "{events}", "--unweighting", "hit-or-miss", "-o"], "Option '-o' requires an argument"),
        (["run", "{tmp}/no.toml"], "the card cannot be read"),
        (["train", "{events}"], "a card (a .toml file) is expected"),
        (["rnu"], "no such command 'rnu'; did you mean 'run'?"),
        (["init", "{tmp}/nowhere/card.toml"], "cannot be written"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_message_and_exit_code_2(arguments, message, mlgen_command, events, tmp_path):
    before = sorted(tmp_path.iterdir())
    code, out, err = mlgen_command(*[a.format(tmp=tmp_path, events=events) for a in arguments])
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("[amplitude]\nplugin = 'x'", "it is used with a [process]"),
        ("[phase_space]\nplugin = 'x'", "sampled for a [process]"),
        ("[integration]\npoints = 1000", "integrated is a [process]"),
        ("[shower]\nprogram = 'pythia8'", "nothing to start from"),
    ],
)
def test_what_cannot_be_run_yet_is_said(section, message, mlgen_command, tmp_path):
    card = tmp_path / "card.toml"
    card.write_text(f"{section}\n[output]\nfiles = ['x.lhe']\n")
    code, _, err = mlgen_command("run", card)
    assert code == 2
    assert message in err


def test_a_failure_while_running_is_exit_code_1(mlgen_command, events):
    code, _, err = mlgen_command("convert", events, "/dev/full", "--format", "lhe")
    assert code == 1
    assert "No space left on device" in err
    assert "Traceback" not in err


def test_debug_shows_the_traceback(mlgen_command, tmp_path):
    for arguments in (["--debug", "info", tmp_path], ["info", tmp_path, "--debug"]):
        code, _, err = mlgen_command(*arguments)
        assert code == 2
        assert "Traceback" in err


def test_init_writes_a_card_that_runs(mlgen_command, events, tmp_path):
    card = tmp_path / "card.toml"
    assert mlgen_command("init", card, "--events", "events.lhe.gz")[0] == 0
    from mlgen.card import load_card

    parsed = load_card(card)
    assert parsed.model.input.file == ["events.lhe.gz"]
    assert mlgen_command("init", card)[0] == 2


def test_plugins_lists_the_built_in(mlgen_command):
    code, out, _ = mlgen_command("plugins", "--json")
    content = json.loads(out)
    assert code == 0
    assert [p["name"] for p in content["stages"]["unweighting"]] == ["hit-or-miss", "two-stage"]
    assert [(p["name"], p["exactness"]) for p in content["stages"]["generator"]] == [
        ("cfm", "approximate"),
        ("discflow", "approximate"),
    ]
    assert [(tool["name"], tool["requires"]) for tool in content["tools"]["parton_showers"]] == [("pythia8", "pythia8")]
    assert {f["name"] for f in content["event_formats"]} == {"lhe", "lheh5", "hepmc3", "hepmc2", "root", "rntuple"}
    assert content["failures"] == []
    assert "hit-or-miss" in mlgen_command("plugins")[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_leaves_no_output(number, tmp_path):
    fifo = tmp_path / "events.lhe"
    import os

    os.mkfifo(fifo)
    process = subprocess.Popen(
        [sys.executable, "-m", "mlgen", "convert", str(fifo), str(tmp_path / "out.lhe")],
        stderr=subprocess.PIPE,
        # A shell's background job ignores SIGINT, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    content = (Path(__file__).parent.parent / "formats" / "dialects" / "sherpa.lhe").read_bytes()
    start = content.index(b"<event>")
    with fifo.open("wb") as writer:
        writer.write(content[:start] + content[start : content.index(b"</LesHouchesEvents>")] * 40_000)
        writer.flush()
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".out.lhe.*.part")) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert list(tmp_path.glob(".out.lhe.*.part"))
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode in (130, 143)
    assert b"Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["events.lhe"]


def test_help_is_quick_to_import():
    script = (
        "import sys, mlgen.cli; heavy = {'torch', 'awkward', 'numpy', 'pylhe', 'uproot', 'pydantic', 'particle'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=60).stdout
    assert out == b"[]\n"


def test_converting_imports_no_torch(events, tmp_path):
    script = (
        "import sys; from mlgen.chain.convert import convert; from pathlib import Path;"
        f"convert([Path({str(events)!r})], Path({str(tmp_path / 'x.root')!r})); print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=60).stdout
    assert out == b"False\n"


def test_a_run_leaves_a_report_with_the_weights_that_were_unweighted(events, tmp_path, mlgen_command):
    report = tmp_path / "run.html"
    arguments = ("run", events, "--unweighting", "hit-or-miss", "-o", tmp_path / "out.lhe", "--report", report)
    code, out, err = mlgen_command(*arguments)
    assert code == 0, err
    assert str(report) in out
    page = report.read_text()
    assert "Weights before the unweighting" in page
    assert "hit-or-miss" in page
    code, _, err = mlgen_command(*arguments[:-2], "--force", "--report", report)
    assert code == 0, err
    code, _, err = mlgen_command(*arguments[:5], tmp_path / "other.lhe", "--report", report)
    assert code == 2
    assert not (tmp_path / "other.lhe").exists()
    before = events.read_bytes()
    code, _, err = mlgen_command(*arguments[:-1], events, "--force")
    assert code == 2
    assert "would replace an event file" in err
    assert events.read_bytes() == before


def test_a_training_leaves_a_report_beside_its_model(examples, tmp_path, mlgen_command):
    model = tmp_path / "model"
    short = ("steps=30", "width=16", "label_steps=20", "discriminator_rounds=0", "discriminator_epochs=0")
    settings = tuple(part for one in short for part in ("--set", f"generator.{one}"))
    code, out, err = mlgen_command("train", examples / "zjet.toml", "--model", model, *settings)
    assert code == 0, err
    assert "report.html" in out
    assert "Training of discflow" in (model / "report.html").read_text()
    # The report is part of the model's folder, and no reason to leave the folder alone.
    code, _, err = mlgen_command("train", examples / "zjet.toml", "--model", model, "--retrain", *settings)
    assert code == 0, err


@pytest.mark.parametrize(("suffix", "head"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_a_run_draws_its_weights_before_and_after_the_unweighting(suffix, head, events, tmp_path, mlgen_command):
    plot = tmp_path / f"weights.{suffix}"
    arguments = ("run", events, "--unweighting", "hit-or-miss", "-o", tmp_path / "out.lhe")
    code, out, err = mlgen_command(*arguments, "--plot", plot)
    assert code == 0, err
    assert str(plot) in out
    assert plot.read_bytes().startswith(head)
    if suffix == "svg":
        # Letters are paths; what they say is in comments.
        for entry in ("before: positive", "before: negative", "after: positive", "after: negative"):
            assert f"<!-- {entry} weights -->" in plot.read_text()
    code, _, err = mlgen_command(*arguments, "--plot", plot, "--force")
    assert code == 0, err
    # The name that 'mlgen integrate' has for it.
    assert mlgen_command(*arguments, "--plots", tmp_path / f"other.{suffix}", "--force")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plot", "{tmp}/weights.svg"], "there are no weights to draw"),
        (["--unweighting", "hit-or-miss", "--plot", "{tmp}/weights.jpg"], "a plot is written as png, pdf, svg"),
        (["--unweighting", "hit-or-miss", "--plot", "{tmp}/no/weights.png"], "there is no directory"),
        (["--unweighting", "hit-or-miss", "--plot", "{tmp}/there.png"], "exists already"),
        (["--unweighting", "hit-or-miss", "--plot", "{tmp}/x.lhe", "--force"], "the plot would replace an event file"),
        (["--unweighting", "hit-or-miss", "--plot", "{events}", "--force"], "the plot would replace an event file"),
        (["--unweighting", "hit-or-miss", "--plot", "{tmp}/x.svg", "--report", "{tmp}/x.svg"], "have one name"),
    ],
)
def test_a_plot_that_cannot_be_written_is_told_before_the_run(arguments, message, events, mlgen_command, tmp_path):
    (tmp_path / "there.png").touch()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    names = [argument.format(tmp=tmp_path, events=events) for argument in arguments]
    code, out, err = mlgen_command("run", events, "-o", tmp_path / "x.lhe", *names)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_format_that_ends_the_program_is_a_failure(mlgen_command, examples, tmp_path):
    """With exit code 0, it would look as if the events had been written."""
    plugin = tmp_path / "ending.py"
    plugin.write_text(
        "from mlgen.event_format import EventFormat\n"
        "from mlgen.hookspecs import hookimpl\n\n"
        "class Ending(EventFormat):\n"
        "    name, summary, suffixes, contract_version = 'ending', 'ends the program', ('.ending',), 1\n"
        "    def recognises(self, head): return False\n"
        "    def reader(self, stream, options): raise SystemExit(0)\n"
        "    def writer(self, stream, run_info): raise SystemExit(0)\n\n"
        "@hookimpl\n"
        "def mlgen_event_formats():\n"
        "    yield Ending()\n"
    )
    code, _, err = mlgen_command("convert", examples / "zjet.lhe.gz", tmp_path / "new.ending", "--plugin", plugin)
    assert code == 1
    assert "SystemExit: 0" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ending.py"]
