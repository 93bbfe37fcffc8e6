"""[shower] of a card: what goes into which output, provenance, and what is said before any work."""

from __future__ import annotations

import gzip
import inspect
import json
import math
import re
import textwrap
from pathlib import Path

import numpy as np
import pyhepmc
import pytest
import uproot

from mlgen import hookspecs
from mlgen.card import parse_card
from mlgen.chain import plan_chain, run_chain
from mlgen.errors import CardError, InputError
from mlgen.events import EventBatch
from mlgen.formats import create_events, open_events
from mlgen.parton_shower import ShowerError
from mlgen.run_info import Beam, Process, RunInfo

pytest.importorskip("pythia8mc")
EXAMPLE = Path(__file__).parents[2] / "examples" / "zjet.lhe.gz"
FAST = '["PartonLevel:MPI = off", "HadronLevel:all = off"]'


def plan(folder, shower, files='"out.hepmc3"', more="", force=False):
    text = f'[input]\nfile = "{EXAMPLE}"\n{more}[shower]\nprogram = "pythia8"\n{shower}\n[output]\nfiles = [{files}]\n'
    return plan_chain(parse_card(text, "card.toml", folder), force=force)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """130 unweighted events with named weights, showered by two processes into three files."""
    folder = tmp_path_factory.mktemp("showered")
    with open_events(EXAMPLE, batch_size=130) as events:
        hard, info = next(iter(events)), events.run_info
    weight = np.random.default_rng(3).normal(1.0, 0.3, 130)
    weighted = EventBatch(
        hard.particles, weight, hard.process_id, hard.scale, hard.alpha_qed, hard.alpha_qcd,
        variations={"up": 1.25 * weight},
    )  # fmt: skip
    with create_events(folder / "in.lhe", info.replace(weight_strategy=-4).with_variations(("up",))) as output:
        output.write(weighted)
    files = '"out.hepmc3.zst", "out.root", "hard.lhe"'
    text = f"settings = {FAST}\nworkers = 2"
    made = plan(folder, text, files, more="[run]\nseed = 5\nbatch_size = 7\n")
    made = plan_chain(parse_card(made.card.text.replace(str(EXAMPLE), "in.lhe"), "card.toml", folder))
    return folder, weighted, run_chain(made)


def test_what_the_run_says(finished):
    _, _, result = finished
    (stage,) = result.stages
    assert (stage.stage, stage.plugin, result.events) == ("shower", "pythia8", 130)
    assert stage.figures == {"hard_events": 130, "showered_events": 130, "refused_events": 0}
    assert "PartonLevel:MPI = off" in stage.settings["settings"]
    assert stage.settings["tunes"]["Tune:pp"] == 14
    assert result.exactness == "exact"


def test_outputs_hold_what_they_can(finished):
    """The graph in HepMC and ROOT, with all weights; the hard events in LHE, with their provenance."""
    folder, hard, _ = finished
    found = {}
    for name in ("out.hepmc3.zst", "out.root", "hard.lhe"):
        with open_events(folder / name) as events:
            batch, info = EventBatch.concatenate(list(events)), events.run_info
        assert np.array_equal(batch.weight, hard.weight)
        assert np.array_equal(batch.variations["up"], hard.variations["up"])
        assert info.variation_names == ("up",)
        assert info.weight_strategy == -4
        assert abs(info.cross_section - 400.79892) < 1e-9
        found[name] = batch
        stages = [stage["plugin"] for stage in info.provenance[-1]["stages"]]
        assert stages == ([] if name == "hard.lhe" else ["pythia8"])
    assert not found["hard.lhe"].has_graph
    assert np.array_equal(found["hard.lhe"].column("px"), hard.column("px"))
    hepmc, root = found["out.hepmc3.zst"], found["out.root"]
    assert hepmc.has_graph
    for name in ("pdg_id", "status", "px", "energy", "generated_mass", "color1", "mother1", "production_vertex"):
        assert np.array_equal(hepmc.column(name), root.column(name)), name
    assert root.attributes[129]["mlgen_hard_event"] == "130"


def test_other_programs_read_the_outputs(finished):
    folder, hard, _ = finished
    with pyhepmc.open(folder / "out.hepmc3.zst") as file:
        events = list(file)
    assert len(events) == 130
    tools = {tool.name: tool.version for tool in events[0].run_info.tools}
    assert re.fullmatch(r"8\.\d+(\.\d+)?", tools["mlgen:pythia8"])
    for number, event in enumerate(events[:5]):
        assert event.weight("up") == hard.variations["up"][number]
        assert sorted(p.status for p in event.particles).count(4) == 2
        final = [p for p in event.particles if p.status == 1]
        assert all(p.end_vertex is None for p in final)
        assert abs(sum(p.momentum.e for p in final) - 13000) < 1e-2
        assert event.cross_section.xsec() == pytest.approx(400.79892)
        assert event.pdf_info.parton_id1 in {-5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 21}
        # The muon of the Z is the one of the hard event.
        muon = next(p for p in event.particles if p.pid == 13)
        assert muon.production_vertex.particles_in[0].pid == 23
    with uproot.open(folder / "out.root") as file:
        assert file["events"].num_entries == 130
        assert json.loads(str(file["mlgen_run_info"]))["provenance"][-1]["seed"] == 5


def test_the_same_bytes_for_any_number_of_processes(finished):
    """Another number of processes, and batches of another size."""
    folder, _, _ = finished
    text = f'[run]\nseed = 5\n[input]\nfile = "in.lhe"\n[shower]\nprogram = "pythia8"\nsettings = {FAST}\nworkers = 1\n'
    card = parse_card(f'{text}[output]\nfiles = ["again.root"]\n', "card.toml", folder)
    run_chain(plan_chain(card))
    batches = []
    for name in ("out.root", "again.root"):
        with open_events(folder / name) as events:
            batches.append(EventBatch.concatenate(list(events)))
    for name in ("px", "energy", "pdg_id", "mother1", "end_vertex"):
        assert np.array_equal(batches[0].column(name), batches[1].column(name))


def broken_events(path):
    """Three events u u~ > g g; the colours of the second do not connect."""
    columns = {
        "pdg_id": np.tile([2, -2, 21, 21], 3),
        "status": np.tile([-1, -1, 1, 1], 3),
        "mother1": np.tile([0, 0, 1, 1], 3),
        "mother2": np.tile([0, 0, 2, 2], 3),
        "color1": np.array([501, 0, 501, 503, 501, 0, 501, 504, 501, 0, 501, 503]),
        "color2": np.array([0, 502, 503, 502, 0, 502, 503, 502, 0, 502, 503, 502]),
        "px": np.tile([0.0, 0.0, 300.0, -300.0], 3),
        "pz": np.tile([500.0, -500.0, 400.0, -400.0], 3),
        "energy": np.full(12, 500.0),
    }
    batch = EventBatch.from_columns(
        np.full(3, 4), columns | {"py": np.zeros(12)}, weight=1.0, process_id=1, scale=300.0
    )
    info = RunInfo((Beam(2212, 6500.0), Beam(2212, 6500.0)), 3, (Process(1, 6.0, 0.1, 1.0),))
    with create_events(path, info) as output:
        output.write(batch)


def test_events_whose_colours_do_not_connect(tmp_path):
    broken_events(tmp_path / "in.lhe")
    text = '[input]\nfile = "in.lhe"\n[shower]\nprogram = "pythia8"\nworkers = 1\nsettings = ' + FAST
    text += '\n[output]\nfiles = ["out.hepmc3"]\n'
    problem = r"event 2 cannot be showered: .*unphysical colour flow.*tag 503, 504 has one end only\)\nMend the events"
    with pytest.raises(ShowerError, match=problem):
        run_chain(plan_chain(parse_card(text, "card.toml", tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["in.lhe"]
    result = run_chain(plan_chain(parse_card('[run]\non_error = "skip"\n' + text, "card.toml", tmp_path)))
    (stage,) = result.stages
    assert (result.events, result.cross_section) == (2, 6.0)
    assert stage.figures == {"hard_events": 3, "showered_events": 2, "refused_events": 1}
    assert stage.remarks[-1].startswith("not showered: 1 event, the first one 2: ProcessLevel::checkColours")


def test_the_cross_section_after_a_matching_is_that_of_each_output(tmp_path, mlm_head):
    """HepMC begins before it is known: there, the events say it."""
    text = gzip.decompress(EXAMPLE.read_bytes()).decode().split("</init>", 1)[1]
    events = re.sub(r"^6 24[12] ", "6 1 ", "</event>".join(text.split("</event>")[:45]), flags=re.MULTILINE)
    (tmp_path / "in.lhe").write_text(f"{mlm_head}{events.lstrip()}</event>\n</LesHouchesEvents>\n")
    settings = [*json.loads(FAST), "JetMatching:merge = on", "JetMatching:setMad = on", "JetMatching:nJetMax = 1"]
    text = f'[input]\nfile = "in.lhe"\n[shower]\nprogram = "pythia8"\nworkers = 1\nsettings = {json.dumps(settings)}\n'
    text += '[output]\nfiles = ["out.hepmc3", "out.root", "hard.lhe"]\n'
    result = run_chain(plan_chain(parse_card(text, "card.toml", tmp_path)))
    # Of unit weights: the share that is accepted, with the binomial error.
    share = result.events / 45
    assert 0.1 < share < 0.9
    assert math.isclose(result.cross_section, 1000 * share, rel_tol=1e-9)
    error = math.hypot(5 * share, 1000 * math.sqrt(share * (1 - share) / 45))
    for name in ("out.hepmc3", "out.root"):
        with open_events(tmp_path / name) as written:
            assert math.isclose(written.run_info.cross_section, 1000 * share, rel_tol=1e-9), name
            assert math.isclose(written.run_info.cross_section_error, error, rel_tol=1e-6), name
    with open_events(tmp_path / "hard.lhe") as written:
        assert written.run_info.cross_section == 1000


def test_events_that_are_showered_already(finished):
    folder, _, _ = finished
    text = '[input]\nfile = "out.root"\n[shower]\nprogram = "pythia8"\n[output]\nfiles = ["twice.hepmc3"]\n'
    with pytest.raises(InputError, match=r"out\.root: these events are showered already; \[shower\] takes hard events"):
        run_chain(plan_chain(parse_card(text, "card.toml", folder)))


@pytest.mark.parametrize(
    ("shower", "files", "problem"),
    [
        (
            'settings = ["Tune:pp = 99"]',
            '"x.root"',
            r"card\.toml:5: \[shower\] settings: 'Tune:pp = 99': the value is out",
        ),
        ("worker = 2", '"x.root"', r"card\.toml:5: \[shower\] worker: unknown key; did you mean 'workers'"),
        ("", '"x.lhe", "y.h5"', r"card\.toml:7: \[output\] files: .*none of them can hold showered events"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_work(shower, files, problem, tmp_path):
    with pytest.raises(CardError, match=problem):
        plan(tmp_path, shower, files)


def test_a_program_that_is_not_there(tmp_path):
    text = '[input]\nfile = "x.lhe"\n[shower]\nprogram = "pythia6"\n[output]\nfiles = ["x.root"]\n'
    problem = r"card\.toml:4: \[shower\] program: no parton shower is called 'pythia6'; did you mean 'pythia8'"
    with pytest.raises(CardError, match=problem):
        plan_chain(parse_card(text, "card.toml", tmp_path))


def test_the_example_of_the_hook():
    """The class that the hook's docstring shows works: what comes in goes out, and the graph holds together."""
    documentation = inspect.getdoc(hookspecs.mlgen_parton_showers) or ""
    _, _, text = documentation.partition("shower.py``, ")
    module: dict = {}
    code = text.partition("::\n")[2].partition("The hook, in")[0]
    exec(compile(textwrap.dedent(code), "<example>", "exec"), module)
    made = module["MyShower"](None)
    made.check(Path())
    with open_events(EXAMPLE, batch_size=50) as events:
        hard, info = next(iter(events)), events.run_info
    assert made.prepare(info, seed=1) == info
    (batch,) = made.shower([hard])
    particles = batch.events.particles
    for name in ("px", "py", "pz", "energy"):
        out = np.sum(particles[name][particles.production_vertex == 0], axis=1)
        assert np.allclose(out, np.sum(particles[name][particles.end_vertex == 0], axis=1), atol=1e-3)
    assert batch.hard_event.tolist() == list(range(1, 51))
    assert made.report().showered == 50
    made.close()


def test_a_comparison_of_stages_leaves_the_shower_out(tmp_path):
    from mlgen.chain.closure import _with_stages

    files = plan(tmp_path, "workers = 1")
    left = _with_stages(files.card, (), tmp_path / "x.lhe")
    assert left.model.shower is None
    assert plan_chain(left).shower is None
