"""The main job: an event file in, a stage replaced, new event files out."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlgen.card import parse_card
from mlgen.chain import plan_chain, run_chain, train_chain
from mlgen.errors import CardError, ModelError, OutputError, PluginFailure
from mlgen.events import EventBatch
from mlgen.formats import open_events

SMALL = "steps = 60\nwidth = 16\ndepth = 1\nsolver_steps = 4\nlabel_steps = 20\n"


def card(text: str, directory: Path):
    return parse_card(text, "card.toml", directory)


def generator_card(
    examples: Path, events: int = 1500, seed: int = 4, outputs: str = "'new.lhe'", settings: str = SMALL
):
    return (
        f"[run]\nseed = {seed}\nevents = {events}\nbatch_size = 1000\n[input]\nfile = '{examples / 'zjet.lhe.gz'}'\n"
        f"[generator]\nplugin = 'cfm'\nmodel = 'models/z'\n{settings}[output]\nfiles = [{outputs}]\n"
    )


def whole(path: Path) -> EventBatch:
    with open_events(path) as events:
        return EventBatch.concatenate(list(events))


def assert_valid(batch: EventBatch, beam_energy: float) -> None:
    """Four-momentum, mass shells, incoming partons, colour lines; written without mlgen's own checks."""
    start = 0
    for count in batch.counts:
        here = slice(start, start + count)
        start += count
        status, mass = batch.column("status")[here], batch.column("generated_mass")[here]
        p = batch.momenta()[here]
        total = p[status == -1].sum(axis=0) - p[status == 1].sum(axis=0)
        assert np.abs(total).max() < 1e-9 * p[status == -1, 3].sum()
        shell = p[:, 3] ** 2 - (p[:, :3] ** 2).sum(axis=1) - mass**2
        assert np.abs(shell).max() < 1e-9 * (p[:, 3] ** 2).max()
        incoming = p[status == -1]
        assert np.all(incoming[:, :2] == 0)
        assert incoming[0, 2] > 0 > incoming[1, 2]
        assert np.all((incoming[:, 3] > 0) & (incoming[:, 3] < beam_energy))
        out = status == 1
        color, anticolor = batch.column("color1")[here], batch.column("color2")[here]
        sources = sorted([*color[out], *anticolor[status == -1]])
        sinks = sorted([*anticolor[out], *color[status == -1]])
        assert sources == sinks


@pytest.fixture(scope="module")
def trained(tmp_path_factory, request):
    """A run with a small network: its folder and its result."""
    examples = request.config.rootpath / "examples"
    folder = tmp_path_factory.mktemp("trained")
    text = generator_card(examples, outputs="'new.lhe', 'new.hepmc3.zst', 'new.root'")
    return folder, run_chain(plan_chain(card(text, folder)))


def test_new_events_are_valid_and_the_same_in_every_format(trained):
    folder, result = trained
    assert result.events == 1500
    assert result.exactness == "approximate"
    batch = whole(folder / "new.lhe")
    assert_valid(batch, 6500.0)
    for name in ("new.hepmc3.zst", "new.root"):
        copy = whole(folder / name)
        assert copy.momenta().tobytes() == batch.momenta().tobytes()
        assert copy.weight.tolist() == batch.weight.tolist()


def test_outputs_say_how_they_were_made(trained):
    folder, result = trained
    model = json.loads((folder / "models" / "z" / "model.json").read_text())
    for name in ("new.lhe", "new.hepmc3.zst", "new.root"):
        with open_events(folder / name) as events:
            record = events.run_info.provenance[-1]
            assert events.run_info.cross_section == pytest.approx(400.8, abs=0.1)
        [stage] = record["stages"]
        assert (stage["plugin"], stage["exactness"]) == ("cfm", "approximate")
        assert stage["model_sha256"] == result.stages[0].model_sha256
        assert record["seed"] == 4
        assert "[generator]" in record["card"]
    assert len(result.stages[0].model_sha256) == 64
    assert model["trained_on"]["events"] == 10_000


def test_a_trained_model_is_reused_and_gives_the_same_bytes(trained, examples):
    folder, _ = trained
    again = generator_card(examples, outputs="'again.lhe'").replace("'models/z'", f"'{folder / 'models' / 'z'}'")
    result = run_chain(plan_chain(card(again, folder)))
    assert not result.stages[0].trained
    first, second = (folder / "new.lhe").read_text(), (folder / "again.lhe").read_text()
    assert first[first.index("<event>") :] == second[second.index("<event>") :]
    # Without an input the model is used as it is; another number of events starts the same way.
    more = (
        "[run]\nseed = 4\nevents = 1700\nbatch_size = 1000\n[generator]\nplugin = 'cfm'\nmodel = 'models/z'\n" + SMALL
    )
    run_chain(plan_chain(card(more + "[output]\nfiles = ['more.lhe']\n", folder)))
    assert whole(folder / "more.lhe")[:1000].momenta().tobytes() == whole(folder / "new.lhe")[:1000].momenta().tobytes()


def test_another_seed_gives_other_events(trained, examples):
    folder, _ = trained
    run_chain(plan_chain(card(generator_card(examples, seed=5, outputs="'other.lhe'"), folder)))
    assert whole(folder / "other.lhe").weight.tolist() == whole(folder / "new.lhe").weight.tolist()
    assert whole(folder / "other.lhe").momenta().tobytes() != whole(folder / "new.lhe").momenta().tobytes()


def test_a_model_of_other_settings_or_events_is_refused(trained, examples, tmp_path):
    folder, _ = trained
    other = generator_card(examples, outputs="'x.lhe'", settings=SMALL.replace("width = 16", "width = 32"))
    with pytest.raises(ModelError, match=r"width: .*16.*32.*\n.*--retrain"):
        run_chain(plan_chain(card(other, folder)))
    weighted = generator_card(examples, outputs="'x.lhe'").replace("zjet.lhe.gz", "zjet_weighted.lhe.gz")
    with pytest.raises(ModelError, match=r"trained on other events: zjet.lhe.gz .* the input now is zjet_weighted"):
        run_chain(plan_chain(card(weighted, folder)))
    assert not (folder / "x.lhe").exists()


def test_train_leaves_a_model_that_is_there(trained, examples):
    folder, result = trained
    kept = train_chain(plan_chain(card(generator_card(examples), folder), training_only=True))
    assert not kept.trained
    assert kept.model_sha256 == result.stages[0].model_sha256


def test_the_same_bytes_whatever_the_number_of_threads(examples, tmp_path):
    files = []
    for threads in ("1", "2"):
        folder = tmp_path / threads
        folder.mkdir()
        (folder / "card.toml").write_text(generator_card(examples, events=300))
        command = [sys.executable, "-m", "mlgen", "run", str(folder / "card.toml")]
        environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PATH": "/usr/bin:/bin"}
        subprocess.run(command, check=True, capture_output=True, env=environment, timeout=120)
        files.append((folder / "new.lhe").read_bytes())
        files.append((folder / "models" / "z" / "weights.safetensors").read_bytes())
    assert files[0] == files[2]
    assert files[1] == files[3]


@pytest.mark.physics
def test_pythia_showers_what_is_generated(trained):
    pythia8mc = pytest.importorskip("pythia8mc", reason="needs Pythia 8 (extra 'pythia8')")
    folder, _ = trained
    pythia = pythia8mc.Pythia("", False)
    for setting in (
        "Print:quiet = on",
        "Beams:frameType = 4",
        f"Beams:LHEF = {folder / 'new.lhe'}",
        "PartonLevel:MPI = off",
        "Random:setSeed = on",
        "Random:seed = 1",
    ):
        pythia.readString(setting)
    assert pythia.init()
    accepted = failed = 0
    while not pythia.infoPython().atEndOfFile():
        if pythia.next():
            accepted += 1
        elif not pythia.infoPython().atEndOfFile():
            failed += 1
    assert (accepted, failed) == (1500, 0)


def test_the_unweighting_example(examples, tmp_path):
    text = (examples / "unweight.toml").read_text().replace("zjet_weighted", str(examples / "zjet_weighted"))
    result = run_chain(plan_chain(card(text, tmp_path)))
    figures = result.stages[0].figures
    assert result.exactness == "exact"
    assert 0 < figures["overweight_share"] <= 0.001
    source, kept = whole(examples / "zjet_weighted.lhe.gz"), whole(tmp_path / "zjet.unweighted.lhe.gz")
    # Both samples estimate the cross section and the mean energy of the first muon; 4 sigma of the smaller sample.
    assert kept.weight.mean() == pytest.approx(source.weight.mean(), rel=4 / np.sqrt(len(kept)))

    def mean_energy(batch: EventBatch) -> tuple[float, float]:
        energy = np.array(batch.particles.energy[batch.particles.pdg_id == 13][:, 0])
        mean = np.average(energy, weights=batch.weight)
        share = batch.weight / batch.weight.sum()
        return mean, float(np.sqrt((share**2 * (energy - mean) ** 2).sum()))

    (truth, truth_error), (mean, error) = mean_energy(source), mean_energy(kept)
    assert abs(mean - truth) < 4 * np.hypot(error, truth_error)


def test_a_failing_plugin_is_named(examples, tmp_path, monkeypatch):
    import mlgen_unweighting.hit_or_miss as module

    def broken(self, weights, rng):
        raise ZeroDivisionError("deep inside")

    monkeypatch.setattr(module.HitOrMiss, "unweight", broken)
    text = (examples / "unweight.toml").read_text().replace("zjet_weighted", str(examples / "zjet_weighted"))
    with pytest.raises(PluginFailure, match=r"unweighting plugin 'hit-or-miss' of mlgen-hep .*ZeroDivisionError: deep"):
        run_chain(plan_chain(card(text, tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_events_of_an_approximate_chain_do_not_become_exact(examples, tmp_path):
    run_chain(plan_chain(card(generator_card(examples, events=100), tmp_path)))
    made = tmp_path / "new.lhe"
    with open_events(made) as events:
        assert events.run_info.provenance[-1]["exactness"] == "approximate"
    text = f"""
[input]
file = "{made}"
[unweighting]
plugin = "hit-or-miss"
[output]
files = ["unweighted.lhe"]
"""
    result = run_chain(plan_chain(card(text, tmp_path)))
    assert result.exactness == "approximate"
    assert "the input was made by cfm: it stays approximate" in result.remarks
    with open_events(tmp_path / "unweighted.lhe") as events:
        assert [record["exactness"] for record in events.run_info.provenance] == ["approximate", "approximate"]


def test_an_exactness_is_that_of_the_weakest_stage(examples, tmp_path):
    text = generator_card(examples) + "[unweighting]\nplugin = 'hit-or-miss'\n"
    plan = plan_chain(card(text, tmp_path))
    assert [stage.exactness.value for stage in plan.stages] == ["approximate", "exact"]
    assert plan.exactness.value == "approximate"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("[output]\nfiles = ['x.lhe']\n", CardError, "nothing to start from"),
        ("[input]\nfile = 'e.lhe'\n", CardError, "there is no output"),
        ("[input]\nfile = 'e.lhe'\n[output]\nfiles = ['x.txt']\n", OutputError, "format is not clear"),
        ("[input]\nfile = ['-', '-']\n[output]\nfiles = ['x.lhe']\n", CardError, "can be read once only"),
        (
            "[input]\nfile = 'e'\n[unweighting]\nplugin = 'hit-or-miss'\nmodel = 'm'\n[output]\nfiles = ['x.lhe']\n",
            CardError,
            "it learns nothing; leave it out",
        ),
        (
            "[generator]\nplugin = 'cfm'\nmodel = 'nowhere'\n[output]\nfiles = ['x.lhe']\n",
            CardError,
            "'nowhere' is not there|nowhere' is not there",
        ),
    ],
)
def test_a_card_that_cannot_be_run(text, error, message, tmp_path):
    with pytest.raises(error, match=message):
        plan_chain(card(text, tmp_path))


@pytest.mark.parametrize("name", ["zjet.toml", "unweight.toml", "drell_yan.toml"])
def test_every_example_card_can_be_planned(name, examples, tmp_path):
    from mlgen.card import load_card

    plan = plan_chain(load_card(examples / name), force=True)
    assert all(path.exists() for path in plan.inputs)


@pytest.mark.parametrize(
    ("section", "message"),
    [("[generator]\nplugin = 'cfm'\n", "training needs"), ("", "nothing to train")],
)
def test_training_needs_a_model_and_a_place(section, message, examples, tmp_path):
    parsed = card(f"[input]\nfile = '{examples / 'zjet.lhe.gz'}'\n{section}", tmp_path)
    with pytest.raises(CardError, match=message):
        plan_chain(parsed, training_only=True)


def test_provenance_says_what_the_command_line_changed(examples, tmp_path):
    from mlgen.cli.cards import card_of

    path = tmp_path / "card.toml"
    path.write_text(generator_card(examples))
    changed = card_of((str(path),), {"seed": 9, "settings": ("generator.solver_steps=3",), "events": 1500})
    assert dict(changed.changed) == {"run.seed": 9, "generator.solver_steps": 3}
    with pytest.raises(CardError, match=r"^command line: \[generator\] width: 0 is not allowed"):
        plan_chain(card_of((str(path),), {"settings": ("generator.width=0",)}))


def test_a_reused_model_is_described_by_the_settings_of_its_training(trained, tmp_path):
    folder, _ = trained
    text = "[run]\nevents = 20\n[generator]\nplugin = 'cfm'\nmodel = 'models/z'\n[output]\nfiles = ['few.lhe']\n"
    [stage] = run_chain(plan_chain(card(text, folder), force=True)).stages
    assert stage.settings["width"] == 16


def test_a_place_for_the_model_is_checked_before_the_training(examples, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "z").write_text("in the way")
    with pytest.raises(ModelError, match="a model is a folder"):
        plan_chain(card(generator_card(examples), tmp_path))


def broken_batch(kind: str, n: int, rng: np.random.Generator) -> EventBatch:
    import dataclasses

    from mlgen.testing import drell_yan_events

    batch, _ = drell_yan_events(n + (kind == "number"), rng)
    if kind == "weight":
        batch = dataclasses.replace(batch, weight=np.full(len(batch), np.nan))
    if kind == "variation":
        batch = dataclasses.replace(batch, variations={"undeclared": batch.weight})
    return batch


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("number", "gave 21 events; 20 were"),
        ("weight", "not finite"),
        ("variation", "'undeclared', which its run_info"),
    ],
)
def test_what_a_generator_gives_is_checked(kind, message, trained, monkeypatch):
    import mlgen_cfm.generator as module

    folder, _ = trained
    monkeypatch.setattr(module.CfmGenerator, "generate", lambda self, n, rng: broken_batch(kind, n, rng))
    text = "[run]\nevents = 20\n[generator]\nplugin = 'cfm'\nmodel = 'models/z'\n[output]\nfiles = ['bad.lhe']\n"
    with pytest.raises(PluginFailure, match=rf"generator plugin 'cfm' of mlgen-hep .*{message}"):
        run_chain(plan_chain(card(text, folder)))
    assert not (folder / "bad.lhe").exists()


def test_trials_enter_the_cross_section_of_unweighted_events(examples, tmp_path):
    """Sherpa's convention: sum of weights over sum of trials, whatever the unweighting leaves out."""
    import dataclasses

    from mlgen.formats import create_events

    source = whole(examples / "zjet_weighted.lhe.gz")
    trials = np.random.default_rng(8).geometric(0.3, len(source))
    marked = dataclasses.replace(
        source,
        tag_attributes=np.array([f' npLO="1" trials="{t}.0"' for t in trials], object),
        variations={"double": 2 * source.weight},
    )
    with open_events(examples / "zjet_weighted.lhe.gz") as events:
        info = events.run_info.with_variations(("double",))
    with create_events(tmp_path / "trials.lhe", info) as output:
        output.write(marked)
    text = "[input]\nfile = 'trials.lhe'\n[unweighting]\nplugin = 'hit-or-miss'\n[output]\nfiles = ['out.lhe']\n"
    result = run_chain(plan_chain(card(text, tmp_path)))
    kept = whole(tmp_path / "out.lhe")
    # All weights are positive and none is above the maximum, so that each new weight is the cross section itself.
    assert kept.weight == pytest.approx(source.weight.sum() / trials.sum(), rel=1e-12)
    assert kept.variations["double"] == pytest.approx(2 * kept.weight, rel=1e-12)
    assert set(kept.tag_attributes) == {' npLO="1"'}
    assert f"{trials.sum():,} trials" in result.remarks[0]


def test_records_that_somebody_edited_say_nothing():
    from mlgen.chain.report import approximate_stages

    assert approximate_stages(["x", None, {"stages": None}, {"exactness": "exact"}]) is None
    edited = [{"exactness": "approximate", "stages": None}, {"exactness": "approximate", "stages": ["x"]}]
    assert approximate_stages(edited) == []
