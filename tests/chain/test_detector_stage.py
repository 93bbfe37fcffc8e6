"""The calorimeter of a chain: from event files to cells and showers, its model, and what cannot be."""

import json
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot

from mlgen.card import CalorimeterSection, parse_card
from mlgen.chain import detector_stage, plan_chain, run_chain, train_chain
from mlgen.chain.closure import validate_chain
from mlgen.errors import CardError, InputError, ModelError, OutputError, PluginFailure, UserError
from mlgen.events import EventBatch
from mlgen.formats import create_events, open_events
from mlgen.formats.shower_files import write_showers
from mlgen.hookspecs import CALORIMETER_KEYS, PLUGIN_KEYS
from mlgen.run_info import Process, RunInfo
from mlgen.showers import Geometry, PolarLayer, ShowerBatch

N = 130
PHOTON, POSITRON, PION, NEUTRINO = 22, -11, 211, 14


@pytest.fixture(autouse=True)
def installed(known_showers):
    """The surrogate in closed form is there."""


def training(path: Path, particle: str, pdg_id: int, geometry: Geometry | None = None) -> Path:
    """A file of showers from 1 to 100 GeV."""
    geometry = geometry or Geometry.calogan(particle)
    rng = np.random.default_rng(pdg_id + 100)
    energy = np.concatenate([[1e3, 1e5], rng.uniform(1e3, 1e5, 20)])
    voxels = rng.exponential(1.0, (22, geometry.n_voxels))
    voxels *= (energy / voxels.sum(axis=1))[:, None]
    direction = np.tile([0.0, 0.0, 1.0], (22, 1))
    write_showers(path, [ShowerBatch(energy, np.full(22, pdg_id), direction, voxels, geometry)])
    return path


@pytest.fixture
def folder(tmp_path):
    """A folder with events of a photon, a positron, a pion and a neutrino each, and with showers to train on."""
    rng = np.random.default_rng(11)
    eta, phi = rng.uniform(-2, 2, 4 * N), rng.uniform(-np.pi, np.pi, 4 * N)
    p_t = np.exp(rng.uniform(np.log(0.3), np.log(80), 4 * N))
    pz = p_t * np.sinh(eta)
    columns = {
        "pdg_id": np.tile([PHOTON, POSITRON, PION, NEUTRINO], N),
        "status": np.ones(4 * N, int),
        "px": p_t * np.cos(phi),
        "py": p_t * np.sin(phi),
        "pz": pz,
        "energy": np.hypot(p_t, pz),
        "generated_mass": np.zeros(4 * N),
        "production_vertex": np.zeros(4 * N, int),
        "end_vertex": np.full(4 * N, -1),
    }
    weight = rng.normal(1, 1, N)
    batch = EventBatch.from_columns(
        np.full(N, 4),
        columns,
        weight=weight,
        vertex_counts=np.ones(N, int),
        vertex_columns={name: np.zeros(N) for name in ("x", "y", "z", "t", "status")},
        variations={"muR up": 1.5 * weight},
    )
    info = RunInfo(weight_strategy=-4, processes=(Process(1, 30.0, 0.5, 1.0),)).with_variations(("muR up",))
    with create_events(tmp_path / "events.hepmc3.gz", info) as output:
        output.write(batch)
    training(tmp_path / "photon.h5", "photon", PHOTON)
    training(tmp_path / "eplus.h5", "e+", POSITRON)
    return tmp_path


def card(folder, calorimeter="", outputs="'out.root'", run="", plugin="known-showers", start=None, model="'model'"):
    start = "[input]\nfile = 'events.hepmc3.gz'\n" if start is None else start
    model = f"model = {model}\n" if model else ""
    text = (
        f"[run]\nseed = 3\n{run}\n{start}[calorimeter]\nplugin = '{plugin}'\n{model}"
        f"showers = ['eplus.h5', 'photon.h5']\n{calorimeter}\n[output]\nfiles = [{outputs}]\n"
    )
    return parse_card(text, "card.toml", folder)


def without_showers(checked):
    """The same card without training showers."""
    text = "\n".join(line for line in checked.text.split("\n") if not line.startswith("showers"))
    return parse_card(text, "card.toml", checked.directory)


def run(checked, **options):
    return run_chain(plan_chain(checked, **options))


def test_from_events_to_cells_and_showers(folder):
    result = run(card(folder, outputs="'out.root', 'out.hepmc3', 'showers.h5'"))
    assert result.events == N
    assert result.exactness == "approximate"
    assert [path.name for path in result.outputs] == ["out.root", "out.hepmc3", "showers.h5"]
    with open_events(folder / "events.hepmc3.gz") as events:
        batch = EventBatch.concatenate(list(events))
    pdg_id, momenta = batch.column("pdg_id"), batch.momenta()
    eta = np.arcsinh(momenta[:, 2] / np.hypot(momenta[:, 0], momenta[:, 1]))
    chosen = np.isin(pdg_id, [PHOTON, POSITRON]) & (np.abs(eta) <= 1.5) & (momenta[:, 3] >= 1)
    outside = chosen & (momenta[:, 3] > 100)
    with uproot.open(folder / "out.root") as file:
        assert file["events"].num_entries == N
        cells = file["cells"].arrays()
        names = str(file["mlgen_variation_names"]).split("\n")
    with h5py.File(folder / "showers.h5") as file:
        showers = {name: file[name][:] for name in file if name != "mlgen"}
    assert ak.sum(ak.num(cells["particle_pdg_id"])) == chosen.sum() == len(showers["showers"])
    assert ak.flatten(cells["particle_index"]).tolist() == (np.flatnonzero(chosen) % 4).tolist()
    np.testing.assert_allclose(ak.flatten(cells["particle_eta"]), eta[chosen], atol=1e-9)
    assert ak.flatten(cells["particle_outside_range"]).tolist() == outside[chosen].tolist()
    assert np.array_equal(np.asarray(cells["weight"]), batch.weight)
    assert names == ["muR up"]
    assert np.array_equal(np.asarray(cells["variations"])[:, 0], batch.variations["muR up"])
    # What is in the cells is what is in the showers, event by event.
    energy = np.bincount(showers["event"], weights=showers["showers"].sum(axis=1), minlength=N)
    np.testing.assert_allclose(ak.sum(cells["cell_energy"], axis=1), energy, rtol=1e-12)
    np.testing.assert_allclose(showers["incident_energies"][:, 0], 1000 * momenta[chosen, 3], rtol=1e-12)
    flight = momenta[chosen, :3] / np.linalg.norm(momenta[chosen, :3], axis=1, keepdims=True)
    np.testing.assert_allclose(showers["flight_direction"], flight, atol=1e-12)
    np.testing.assert_allclose(showers["position"] / np.linalg.norm(showers["position"], axis=1)[:, None], flight)
    # Other formats hold the events as they came.
    with open_events(folder / "out.hepmc3") as events:
        again = EventBatch.concatenate(list(events))
    assert again.momenta().tobytes() == momenta.tobytes()


def test_the_run_says_what_became_of_the_particles(folder):
    result = run(card(folder, outputs="'out.root', 'showers.h5'"))
    [stage] = result.stages
    figures = stage.figures
    assert (stage.stage, stage.plugin, stage.trained) == ("calorimeter", "known-showers", True)
    assert figures["final_particles"] == 4 * N
    assert figures["invisible"] == N
    assert sum(entry["count"] for entry in result.particles) == 4 * N
    parts = ("showers", "not_known_to_the_model", "below_minimum_energy", "outside_acceptance", "invisible")
    assert sum(figures[name] for name in parts) == 4 * N
    assert any(remark.startswith("visible, but not known") and "pi+" in remark for remark in stage.remarks)
    assert any("flagged" in remark for remark in stage.remarks)
    assert stage.settings["radius"] == 1500
    json.dumps(result.to_dict())
    from mlgen.report.render import render

    page = render(result.page())
    assert "not known to the model" in page
    with uproot.open(folder / "out.root") as file:
        record = json.loads(str(file["mlgen_run_info"]))["provenance"][-1]
    with h5py.File(folder / "showers.h5") as file:
        assert json.loads(file["mlgen/provenance"].asstr()[()])[-1] == record
    assert record["stages"][0]["model_sha256"] == stage.model_sha256
    assert record["stages"][0]["settings"]["minimum_energy"] == 1.0


def test_same_bytes_whatever_the_batches(folder, monkeypatch):
    digest = []
    for number, batch_size in enumerate((10_000, 40, 100)):
        # Only the events are written in other batches: the content of the trees is compared, not that of the baskets.
        run(card(folder, outputs=f"'{number}.root', '{number}.h5'", run=f"batch_size = {batch_size}"))
        with uproot.open(folder / f"{number}.root") as file:
            digest.append(ak.to_list(file["cells"].arrays()))
        with h5py.File(folder / f"{number}.h5") as file:
            assert np.array_equal(file["showers"][:], h5py.File(folder / "0.h5")["showers"][:])
    assert digest[0] == digest[1] == digest[2]
    run(card(folder, outputs="'again.root'"))
    again = (folder / "again.root").read_bytes()
    run(card(folder, outputs="'again.root'"), force=True)
    assert len(again) == len((folder / "again.root").read_bytes())
    # Another seed, other showers.
    changed = card(folder, outputs="'other.root'")
    run(parse_card(without_showers(changed).text.replace("seed = 3", "seed = 4"), "card.toml", folder))
    with uproot.open(folder / "other.root") as file:
        assert ak.to_list(file["cells"].arrays()) != digest[0]


def test_a_model_is_reused_or_refused(folder):
    first = train_chain(plan_chain(card(folder, outputs="'unused.root'"), training_only=True))
    assert first.trained
    assert not train_chain(plan_chain(card(folder), training_only=True)).trained
    record = json.loads((folder / "model" / "model.json").read_text())
    assert record["trained_on"] == {
        "source": "eplus.h5, photon.h5",
        "sha256": first.trained_on_sha256,
        "events": 44,
    }
    # Without showers it is used as it is.
    result = run(without_showers(card(folder)))
    assert result.stages[0].model_sha256 == first.model_sha256
    with pytest.raises(ModelError, match=r"other settings: response: trained with 0.5, card says 0.7.*\n.*--retrain"):
        run(card(folder, "response = 0.7", outputs="'b.root'"))
    (folder / "photon.h5").unlink()
    training(folder / "photon.h5", "photon", PHOTON, Geometry("photon", Geometry.calogan().layers[:2]))
    with pytest.raises(InputError, match=r"photon.h5: is of another calorimeter than .*eplus.h5: it has 432 voxels"):
        run(card(folder, outputs="'b.root'"))
    (folder / "eplus.h5").unlink()
    training(folder / "eplus.h5", "e+", POSITRON, Geometry("e+", Geometry.calogan().layers[:2]))
    with pytest.raises(ModelError, match=r"trained on other showers: eplus.h5, photon.h5 \(44 showers"):
        run(card(folder, outputs="'b.root'"))
    again = run(card(folder, outputs="'b.root'"), retrain=True)
    assert again.stages[0].trained
    assert not (folder / "b.h5").exists()


def test_without_a_folder_the_model_is_kept_in_the_cache(folder, monkeypatch):
    monkeypatch.setenv("MLGEN_CACHE", str(folder / "cache"))
    first = run(card(folder, model=None, outputs="'a.root'"))
    second = run(card(folder, model=None, outputs="'b.root'"))
    assert first.stages[0].trained
    assert not second.stages[0].trained
    assert first.stages[0].model_sha256 == second.stages[0].model_sha256
    third = run(card(folder, "response = 0.4", model=None, outputs="'c.root'"))
    assert third.stages[0].trained


def test_the_model_that_comes_with_the_plugin(folder, monkeypatch):
    train_chain(plan_chain(card(folder, plugin="shipped-showers", model="'shipped'"), training_only=True))
    monkeypatch.setenv("MLGEN_KNOWN_SHOWERS_MODEL", str(folder / "shipped"))
    before = {path.name: path.read_bytes() for path in (folder / "shipped").iterdir()}
    bare = without_showers(card(folder, plugin="shipped-showers", model=None))
    for force in (False, True):
        # --retrain is for what has something to learn from.
        [stage] = run(bare, force=force, retrain=force).stages
        assert not stage.trained
        assert stage.model == str(folder / "shipped")
    assert {path.name: path.read_bytes() for path in (folder / "shipped").iterdir()} == before
    monkeypatch.setenv("MLGEN_KNOWN_SHOWERS_MODEL", str(folder / "gone"))
    with pytest.raises(PluginFailure, match=r"'shipped-showers'.* is not in .*gone"):
        run(bare, force=True)
    with pytest.raises(CardError, match="'known-showers' comes without a trained model"):
        run(without_showers(card(folder, model=None)))


def test_hard_events_go_through_it_as_they_are(folder, examples):
    start = f"[input]\nfile = '{examples / 'zjet.lhe.gz'}'\n"
    result = run(card(folder, "acceptance = { eta = [-2.5, 2.5] }", run="events = 150", start=start))
    remark = next(text for text in result.stages[0].remarks if "not known" in text)
    # A hard jet is a parton, and no model knows it.
    assert " g " in f" {remark} "
    with uproot.open(folder / "out.root") as file:
        assert file["cells"].num_entries == file["events"].num_entries == 150


def test_a_grid_merges_cells(folder):
    run(card(folder, outputs="'fine.root'"))
    run(card(folder, "cell_size = { 0 = [0.003, 0.1], 1 = [0.025, 0.025], 2 = [0.05, 0.025] }", outputs="'grid.root'"))
    with uproot.open(folder / "fine.root") as fine, uproot.open(folder / "grid.root") as grid:
        one, two = fine["cells"].arrays(), grid["cells"].arrays()
    np.testing.assert_allclose(ak.sum(one["cell_energy"], axis=1), ak.sum(two["cell_energy"], axis=1), rtol=1e-12)
    for event in range(N):
        keys = list(zip(two["cell_layer"][event], two["cell_voxel"][event], strict=True))
        assert len(set(keys)) == len(keys)


BINNING = """<Bins><Bin pid="22" name="photon" etaMin="0" etaMax="0"><Layer id="0" r_edges="0,5,10" n_bin_alpha="2"/>
<Layer id="1" r_edges="0,5,20" n_bin_alpha="1"/></Bin></Bins>"""


def bare_showers(path: Path, n_voxels: int) -> Path:
    """A file of the CaloChallenge's, which does not say what its voxels are."""
    with h5py.File(path, "w") as file:
        file["incident_energies"] = np.array([[1e3], [5e3], [2e4]])
        file["showers"] = np.full((3, n_voxels), 10.0)
    return path


def test_showers_of_the_calochallenge_with_their_binning(folder):
    (folder / "binning.xml").write_text(BINNING)
    bare_showers(folder / "challenge.h5", 6)
    text = card(folder, "geometry = 'binning.xml'\nlayer_depths = [20, 150]").text
    text = text.replace("['eplus.h5', 'photon.h5']", "'challenge.h5'")
    run(parse_card(text, "card.toml", folder))
    with uproot.open(folder / "out.root") as file:
        cells = file["cells"].arrays()
    assert set(ak.flatten(cells["particle_pdg_id"]).tolist()) == {PHOTON}
    # One ring around the axis: its centre is 150 mm behind the face.
    distance = np.sqrt(sum(cells[f"cell_{axis}"] ** 2 for axis in "xyz"))[cells["cell_layer"] == 1]
    face = np.sqrt(sum(cells[f"particle_{axis}"] ** 2 for axis in "xyz"))
    particle = cells["cell_particle"][cells["cell_layer"] == 1]
    np.testing.assert_allclose(ak.flatten(distance), ak.flatten(face[particle]) + 150)


@pytest.mark.parametrize(
    ("calorimeter", "outputs", "error", "problem"),
    [
        ("", "'out.hepmc3'", CardError, "none of them holds what .calorimeter. gives"),
        (
            "radiu = 3",
            "'out.root'",
            CardError,
            "card.toml:10: .calorimeter. radiu: unknown key; did you mean .radius",
        ),
        ("radius = -3", "'out.root'", CardError, "card.toml:10: .calorimeter. radius: -3 is not allowed"),
        ("acceptance = { eta = [2, 1] }", "'out.root'", CardError, r"acceptance.eta: \[minimum, maximum\]"),
        ("outside = 'ignore'", "'out.root'", CardError, "'flag', 'clip', 'skip' or 'stop'"),
        ("cell_size = [0.1, -1]", "'out.root'", CardError, "sizes are positive"),
        ("cell_size = { 9 = [0.1, 0.1] }", "'out.root'", CardError, "the model's calorimeter has the layers 0, 1, 2"),
        ("layer_depths = [1, 2, 3]", "'out.root'", CardError, "knows the depths of its layers"),
        ("geometry = 'binning.xml'", "'out.root'", InputError, "no binning for 'e.'; there is one for: photon"),
        ("geometry = 'none.xml'", "'out.root'", CardError, "card.toml:10.*none.xml: there is no such file"),
        ("unknown = 'stop'", "'out.root', 'showers.h5'", UserError, "is a pi. of"),
        ("outside = 'stop'", "'out.root', 'showers.h5'", UserError, "was trained on 1 to 100 GeV"),
        ("", "'eplus.h5'", OutputError, "exists already"),
    ],
)
def test_what_cannot_be_is_an_error(calorimeter, outputs, error, problem, folder):
    (folder / "binning.xml").write_text(BINNING.replace("0,5,10", ",".join(map(str, range(252)))))
    with pytest.raises(error, match=problem):
        run(card(folder, calorimeter, outputs))
    assert not list(folder.glob("out.*"))
    assert not list(folder.glob("showers*"))
    assert not list(folder.glob(".*.part"))


def test_files_that_are_no_showers_are_refused(folder):
    bare_showers(folder / "photon.h5.new", 504).replace(folder / "photon.h5")
    with pytest.raises(InputError, match=r"photon.h5: has showers of 504 voxels, but does not say where these are"):
        run(card(folder))
    with h5py.File(folder / "photon.h5", "w") as file:
        file["energies"], file["cells"] = np.ones(3), np.ones((3, 504))
    with pytest.raises(InputError, match=r"photon.h5: is no file of showers: it holds cells, energies; expected are"):
        run(card(folder))
    with h5py.File(folder / "photon.h5", "w") as file:
        file["incident_energies"], file["showers"] = np.ones((3, 1)), np.ones((3, 21, 24))
    with pytest.raises(InputError, match="'showers' has the shape"):
        run(card(folder))
    training((folder / "photon.h5.new"), "", 0).replace(folder / "photon.h5")
    with pytest.raises(InputError, match=r"photon.h5: does not say which particle its showers are of"):
        run(card(folder))


def test_a_geometry_that_is_not_the_models_is_refused(folder):
    train_chain(plan_chain(card(folder), training_only=True))
    layers = Geometry.calogan().layers
    (folder / "same.json").write_text(Geometry("photon", layers).to_json())
    run(without_showers(card(folder, "geometry = 'same.json'")))
    (folder / "other.json").write_text(Geometry("photon", (PolarLayer(0, (0.0, 5.0), 504),)).to_json())
    with pytest.raises(
        ModelError, match=r"(?s)model: the model is of another calorimeter than .*other.json \(card.toml:9"
    ):
        run(without_showers(card(folder, "geometry = 'other.json'")), force=True)


def test_a_plugin_that_gives_nonsense_is_named(folder, known_showers, monkeypatch):
    train_chain(plan_chain(card(folder), training_only=True))
    right = known_showers.KnownShowers.generate

    def wrong(self, *arguments):
        made = right(self, *arguments)
        return ShowerBatch(made.incident_energy, made.pdg_id, made.direction, made.voxels * np.nan, made.geometry)

    monkeypatch.setattr(known_showers.KnownShowers, "generate", wrong)
    with pytest.raises(PluginFailure, match=r"calorimeter plugin 'known-showers'.* negative or not finite"):
        run(card(folder))


@pytest.mark.parametrize("factor", [1000, 1 / 1000])
def test_energies_in_another_unit_are_told(factor, folder, known_showers, monkeypatch):
    train_chain(plan_chain(card(folder), training_only=True))
    right = known_showers.KnownShowers.generate

    def wrong(self, *arguments):
        made = right(self, *arguments)
        return ShowerBatch(made.incident_energy, made.pdg_id, made.direction, made.voxels * factor, made.geometry)

    monkeypatch.setattr(known_showers.KnownShowers, "generate", wrong)
    with pytest.raises(
        PluginFailure, match=r"'known-showers'.* times the energy of their particles; is their energy in"
    ):
        run(card(folder))
    assert not (folder / "cells.root").exists()


def test_training_needs_showers_and_a_place(folder):
    for checked in (without_showers(card(folder)), card(folder, model=None)):
        with pytest.raises(CardError, match=r'training needs showers = .* and model = "FOLDER"'):
            plan_chain(checked, training_only=True)
    with pytest.raises(CardError, match="there is no trained model in"):
        run(without_showers(card(folder)))


def test_events_of_a_process_go_through_it(folder, known):
    process = "[process]\nreaction = 'e- e+ > mu- mu+'\nbeams = ['e-', 'e+']\nenergy = 10\n"
    process += "[phase_space]\nplugin = 'flat'\nbudget = 1000\n"
    text = card(
        folder, "stand_ins = { 'mu-' = 'e+', 'mu+' = 'e+' }", "'out.lhe', 'out.root'", "events = 120", start=process
    )
    result = run(text)
    assert [stage.stage for stage in result.stages] == ["phase_space", "calorimeter"]
    with open_events(folder / "out.lhe") as events:
        batch = EventBatch.concatenate(list(events))
    with uproot.open(folder / "out.root") as file:
        cells = file["cells"].arrays()
    assert np.array_equal(np.asarray(cells["weight"]), batch.weight)
    kinds, status = batch.column("pdg_id"), batch.column("status")
    eta = np.arcsinh(batch.momenta()[:, 2] / np.maximum(np.hypot(*batch.momenta()[:, :2].T), 1e-300))
    chosen = (status == 1) & (np.abs(eta) <= 1.5) & (batch.momenta()[:, 3] >= 1)
    assert chosen.sum() > 100
    assert ak.flatten(cells["particle_pdg_id"]).tolist() == kinds[chosen].tolist()
    assert result.stages[1].figures["showers"] == chosen.sum()


def test_a_closure_has_nothing_to_say_of_a_calorimeter(folder):
    with pytest.raises(CardError, match=r"which changes no event; compare its showers .*: mlgen validate --showers"):
        validate_chain(card(folder))


def test_the_keys_that_are_taken_are_those_of_the_card():
    assert set(CalorimeterSection.model_fields) == PLUGIN_KEYS | CALORIMETER_KEYS


def test_groups_of_events_are_whole(folder, monkeypatch):
    """Groups are counted from the first event, whatever batches come."""
    sizes = []
    simulate = detector_stage.Detector.simulate

    def counted(self, events, first_event, rng, take=None):
        sizes.append((first_event, len(events)))
        return simulate(self, events, first_event, rng, take)

    monkeypatch.setattr(detector_stage.Detector, "simulate", counted)
    run(card(folder, run="batch_size = 60"))
    assert sizes == [(0, 100), (100, 30)]
