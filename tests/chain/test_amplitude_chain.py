"""A chain whose matrix element is a surrogate: weights, named weights, the guard, models that fit or do not."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from mlgen.amplitudes.checks import KinematicsError
from mlgen.amplitudes.element import OutsideError
from mlgen.amplitudes.loading import load_amplitude
from mlgen.card import parse_card
from mlgen.chain import integrate, plan_chain, plan_integration, run_chain, train_chain
from mlgen.chain.closure import validate_chain
from mlgen.chain.process_source import open_process
from mlgen.chain.process_stages import trained_stages
from mlgen.errors import ModelError
from mlgen.events import EventBatch
from mlgen.formats import open_events
from mlgen.hard_process.closed_forms import closed_form
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.subprocess import Subprocess
from mlgen.hookspecs import Plugin
from mlgen.plugins import Registered, Source, plugin_manager
from mlgen.report import render
from mlgen.stages import (
    Amplitude,
    AmplitudeProcess,
    AmplitudeSurrogate,
    Exactness,
    Settings,
    Stage,
    TrainingReport,
    silent,
)
from mlgen.store import read_record
from mlgen.validation.record import Verdict

DRELL_YAN = """
[process]
reaction = "d d~ > mu- mu+"
energy = 13_000
pdf = "NNPDF23_lo_as_0130_qed"
scale = "m(z)"
matrix_element = "closed-form"
[process.cuts]
mass = { "mu- mu+" = 50 }
"""
GLUONS = """
[process]
reaction = "g g > g g"
energy = 13_000
pdf = "NNPDF23_lo_as_0130_qed"
matrix_element = "closed-form"
[process.cuts]
pt = { g = 50 }
"""
VEGAS = "[phase_space]\nplugin = 'vegas'\nbudget = 10_000\n"
UNWEIGHTING = "[unweighting]\nplugin = 'hit-or-miss'\n"
MEMBERS = 4
BNN = f"""
[amplitude]
plugin = "bnn"
model = "models/amplitude"
points = 2000
test_points = 500
units = 32
members = {MEMBERS}
batch_size = 256
steps = 400
"""
NAMES = ["mlgen.bnn.syst.up", "mlgen.bnn.syst.down", *(f"mlgen.bnn.stat.{k}" for k in range(1, MEMBERS + 1))]


def card(text: str, directory, *, events: int = 1000, seed: int = 1, outputs: str = "'out.lhe'"):
    head = f"[run]\nevents = {events}\nseed = {seed}\n[output]\nfiles = [{outputs}]\n"
    return parse_card(head + text, "card.toml", directory)


def run(text: str, directory, **others: Any):
    retrain = others.pop("retrain", False)
    return run_chain(plan_chain(card(text, directory, **others), force=True, retrain=retrain))


def whole(path) -> EventBatch:
    with open_events(path) as events:
        return EventBatch.concatenate(list(events))


def information(path):
    with open_events(path) as events:
        return events.run_info


def sampler_of(folder):
    """A model that is none of an amplitude."""
    run(DRELL_YAN + VEGAS + "model = 'models/vegas'\n", folder, outputs="'sampler.lhe'", events=10)
    return folder / "models" / "vegas"


def momenta_of(batch: EventBatch) -> np.ndarray:
    """Of the four particles of each event."""
    return batch.momenta().reshape(-1, 4, 4)


def pair_mass(momenta: np.ndarray) -> np.ndarray:
    pair = momenta[:, 2] + momenta[:, 3]
    return np.sqrt(pair[:, 3] ** 2 - np.sum(pair[:, :3] ** 2, axis=1))


def cosine(momenta: np.ndarray) -> np.ndarray:
    """Of the angle between the first and the third particle in the centre of mass; all are massless."""
    first, second, third, _ = np.moveaxis(momenta, 1, 0)
    metric = np.array([-1.0, -1.0, -1.0, 1.0])
    return 1 - 2 * ((first * third) @ metric) / ((first * second) @ metric)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the surrogate of Drell-Yan was trained, with the sampler that drew its points."""
    directory = tmp_path_factory.mktemp("amplitude")
    train_chain(plan_chain(card(DRELL_YAN + VEGAS + BNN, directory), training_only=True))
    return directory


@pytest.fixture(scope="module")
def model(folder):
    """The amplitude that was kept there."""
    plan = plan_integration(card(DRELL_YAN + VEGAS + BNN, folder))
    trained = trained_stages(plan, open_process(plan.card), silent)
    return trained.elements[0].part


# A surrogate that was trained


@pytest.mark.physics
def test_weights_are_those_of_the_matrix_element_within_the_surrogates_own_error(folder, model):
    """The same points with the surrogate and with the truth.

    Pulls of 5000 points: the calibration is known from 200 validation points only, so that coverages of 68 % and 95 %
    are asked for at 10 % and 4 %. The cross section: a surrogate that is wrong by one error everywhere is allowed.
    """
    plan = plan_integration(card(DRELL_YAN + VEGAS + BNN, folder))
    process = open_process(plan.card)
    trained = trained_stages(plan, process, silent)
    batch = trained.source.draw(5000, np.random.default_rng(3))
    exact = trained.source.with_matrix_elements(process.matrix_elements).draw(5000, np.random.default_rng(3))
    assert batch.points.momenta.tobytes() == exact.points.momenta.tobytes()
    counts = exact.weight != 0
    ratio = batch.weight[counts] / exact.weight[counts]
    momenta = exact.points.momenta[counts]
    inside = ~model.domain.outside(momenta)
    assert np.array_equal(ratio[~inside], np.ones(np.count_nonzero(~inside)))
    assert inside.mean() > 0.99
    predicted = model.predict(momenta[inside], np.full(np.count_nonzero(inside), 0.118))
    relative = np.hypot(predicted.systematic, predicted.statistical) / predicted.value
    pull = np.abs(ratio[inside] - 1) / (relative * ratio[inside])
    assert np.mean(pull < 1) > 0.68 - 0.10
    assert np.mean(pull < 1.96) > 0.95 - 0.04
    # It did learn something, and did not learn it by heart.
    assert 1e-5 < np.median(np.abs(ratio[inside] - 1)) < 0.03
    allowed = np.sum(exact.weight[counts][inside] * relative)
    assert abs(np.sum(batch.weight - exact.weight)) < allowed
    assert allowed < 0.05 * np.sum(exact.weight)


@pytest.mark.physics
def test_the_cross_section_is_that_of_the_matrix_element(folder):
    """Two integrations from different seeds: four standard errors of the difference, and the accuracy of the surrogate.

    The mean of Delta over the test points is the surrogate's bias at random points; 0.5 % is asked for.
    """
    points = "[integration]\npoints = 20_000\n"
    found = integrate(plan_integration(card(DRELL_YAN + VEGAS + BNN + points, folder, seed=5)))
    exact = integrate(plan_integration(card(DRELL_YAN + VEGAS + points, folder, seed=6)))
    error = math.hypot(found.error, exact.error)
    assert error < 0.005 * exact.cross_section
    assert abs(found.cross_section - exact.cross_section) < 4 * error + 0.005 * exact.cross_section


def test_an_integration_says_that_it_is_approximate(folder):
    text = DRELL_YAN + VEGAS + BNN + "[integration]\npoints = 2000\n"
    found = integrate(plan_integration(card(text, folder)))
    assert found.exactness == "approximate"
    assert found.amplitude is not None
    assert (found.amplitude.plugin, found.amplitude.stage, found.amplitude.trained) == ("bnn", "amplitude", False)
    assert found.amplitude.figures["points_asked"] == found.points - found.outside_cuts
    content = json.loads(json.dumps(found.to_dict()))
    assert content["amplitude"]["model_sha256"] == found.amplitude.model_sha256
    page = render(found.page())
    assert "bnn" in page
    assert "median absolute delta" in page
    exact = integrate(plan_integration(card(DRELL_YAN + VEGAS + "[integration]\npoints = 2000\n", folder)))
    assert (exact.exactness, exact.amplitude) == ("exact", None)
    assert exact.to_dict()["amplitude"] is None
    assert "median absolute delta" not in render(exact.page())


FILES = ("out.lhe", "out.hepmc3", "out.root")


@pytest.fixture(scope="module", params=["", UNWEIGHTING], ids=["weighted", "unweighted"])
def files(request, folder):
    """A run of 1500 events, which are several batches, in three formats."""
    subfolder = folder / ("weighted" if request.param == "" else "unweighted")
    subfolder.mkdir()
    text = DRELL_YAN + VEGAS + BNN.replace("models/amplitude", "../models/amplitude") + request.param
    result = run(text, subfolder, events=1500, outputs=", ".join(map(repr, FILES)))
    return subfolder, result


@pytest.mark.parametrize("name", FILES)
def test_named_weights_are_the_error_of_the_surrogate_at_the_events_momenta(name, files, model):
    """Of an independent prediction at the momenta of the file, whose azimuth is another one.

    Networks compute in single precision: factors agree to 1e-5. Where the matrix element was taken, they are 1.
    """
    subfolder, result = files
    batch, info = whole(subfolder / name), information(subfolder / name)
    assert len(batch) == 1500
    assert list(info.variation_names) == NAMES
    assert set(batch.variations) == set(NAMES)
    momenta = momenta_of(batch)
    outside = model.domain.outside(momenta)
    alpha_s = np.full(1500, 0.118)
    predicted, members = model.predict(momenta, alpha_s), model.predict_members(momenta, alpha_s)
    relative = np.where(outside, 0.0, predicted.systematic / predicted.value)
    factors = {"mlgen.bnn.syst.up": 1 + relative, "mlgen.bnn.syst.down": 1 - relative}
    for k in range(MEMBERS):
        factors[f"mlgen.bnn.stat.{k + 1}"] = np.where(outside, 1.0, members[:, k] / predicted.value)
    for variation, expected in factors.items():
        assert batch.variations[variation] / batch.weight == pytest.approx(expected, abs=1e-5), variation
    # These are errors of some size, and the networks differ.
    assert 1e-4 < np.median(relative) < 0.2
    columns = np.stack([batch.variations[f"mlgen.bnn.stat.{k + 1}"] / batch.weight for k in range(MEMBERS)])
    assert np.all(columns.std(axis=0)[~outside] > 1e-6)
    assert result.exactness == "approximate"


def test_a_network_is_the_same_one_in_all_batches_and_files(folder, model):
    """A histogram that is filled with one of them moves as that network does, whatever the seed of the run."""
    edges = np.array([50, 80, 88, 91, 94, 100, 13_000.0])
    text = DRELL_YAN + VEGAS + BNN
    shifts = []
    for seed in (11, 12):
        run(text, folder, events=2500, seed=seed, outputs="'seed.hepmc3'")
        batch = whole(folder / "seed.hepmc3")
        momenta = momenta_of(batch)
        inside = ~model.domain.outside(momenta)
        mass = pair_mass(momenta)
        alpha_s = np.full(len(batch), 0.118)
        nominal = np.histogram(mass, edges, weights=batch.weight)[0]
        members = model.predict_members(momenta, alpha_s) / model.predict(momenta, alpha_s).value[:, None]
        own = []
        for k in range(MEMBERS):
            filled = np.histogram(mass, edges, weights=batch.variations[f"mlgen.bnn.stat.{k + 1}"])[0]
            factor = np.where(inside, members[:, k], 1.0)
            expected = np.histogram(mass, edges, weights=batch.weight * factor)[0]
            assert filled == pytest.approx(expected, rel=1e-5)
            own.append(filled / nominal - 1)
        shifts.append(own)
    first, second = np.array(shifts)
    # Between the two files the same shifts, between the networks others.
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.9
    assert np.all(np.abs(first - second).max(axis=0) < np.ptp(first, axis=0))


def test_a_file_says_what_its_weights_are_and_where_they_come_from(files):
    subfolder, result = files
    for name in FILES:
        info = information(subfolder / name)
        stages = {stage["stage"]: stage for stage in info.provenance[-1]["stages"]}
        assert stages["amplitude"]["plugin"] == "bnn"
        assert stages["amplitude"]["exactness"] == "approximate"
        assert stages["amplitude"]["model_sha256"] == result.stages[1].model_sha256
    declared = information(subfolder / "out.lhe")
    assert "one systematic standard deviation up" in declared.variations[0].description
    assert declared.variation_groups[declared.variations[0].group]["name"] == "mlgen.bnn"


def test_without_variations_there_are_no_named_weights(folder):
    run(DRELL_YAN + VEGAS + BNN + "variations = false\n", folder, events=100, outputs="'none.lhe'")
    assert list(information(folder / "none.lhe").variation_names) == []
    run(DRELL_YAN + VEGAS + BNN, folder, events=100, outputs="'some.lhe'")
    with_them, without = whole(folder / "some.lhe"), whole(folder / "none.lhe")
    assert with_them.weight.tolist() == without.weight.tolist()


def test_the_report_beside_the_model_has_its_accuracy(folder):
    page = (folder / "models" / "amplitude" / "report.html").read_text()
    assert "Relative accuracy of the amplitudes" in page
    assert "Pulls of the amplitudes" in page
    assert page.count("<svg") >= 4
    record = read_record(folder / "models" / "amplitude")
    assert (record.stage, record.trained_on.source, record.trained_on.events) == ("amplitude", "d d~ > mu- mu+", 2000)
    assert record.report.figures["test_points"] == 500


# The region of the training


LOWER = DRELL_YAN.replace('"mu- mu+" = 50', '"mu- mu+" = [20, 120]') + VEGAS


@pytest.fixture(scope="module")
def true_events(folder):
    """What the true matrix element gives below the mass that the surrogate was trained from."""
    run(LOWER, folder, outputs="'true.lhe'")
    return whole(folder / "true.lhe")


def test_outside_the_true_matrix_element_is_taken(folder, model, true_events):
    result = run(LOWER + BNN, folder, outputs="'lower.lhe'")
    batch = whole(folder / "lower.lhe")
    momenta = momenta_of(batch)
    # Outgoing particles are turned about the beams at random, the same way in both.
    assert momenta.tobytes() == momenta_of(true_events).tobytes()
    outside = model.domain.outside(momenta)
    low = pair_mass(momenta) < 49
    assert np.all(outside[low])
    assert low.sum() > 100
    assert batch.weight[outside].tolist() == true_events.weight[outside].tolist()
    for name in NAMES:
        assert batch.variations[name][outside].tolist() == batch.weight[outside].tolist()
    inside = ~outside
    assert np.all(batch.weight[inside] != true_events.weight[inside])
    assert batch.weight[inside] == pytest.approx(true_events.weight[inside], rel=0.5)
    figures = result.stages[1].figures
    assert figures["points_asked"] >= 1000
    assert figures["points_outside"] / figures["points_asked"] == pytest.approx(outside.mean(), abs=0.02)
    (remark,) = [remark for remark in result.remarks if "outside the region" in remark]
    assert remark.startswith(f"{figures['points_outside']:,} of {figures['points_asked']:,} points (")
    assert remark.endswith("the true matrix element was taken there")
    (elsewhere,) = result.stages[1].remarks[-1:]
    assert elsewhere.startswith("the surrogate was trained with other cuts, beams or densities (")
    assert "50.0" in elsewhere
    assert "20.0" in elsewhere


def test_outside_events_may_be_flagged(folder, model, true_events):
    result = run(LOWER + BNN + "outside = 'flag'\n", folder, outputs="'flag.lhe', 'flag.root'")
    for name in ("flag.lhe", "flag.root"):
        batch = whole(folder / name)
        assert list(information(folder / name).variation_names) == [*NAMES, "mlgen.bnn.inside"]
        outside = model.domain.outside(momenta_of(batch))
        assert np.all(outside[pair_mass(momenta_of(batch)) < 49])
        assert batch.variations["mlgen.bnn.inside"][outside].tolist() == [0.0] * int(outside.sum())
        assert batch.variations["mlgen.bnn.inside"][~outside].tolist() == batch.weight[~outside].tolist()
        # The surrogate is taken there all the same, with its own error.
        assert np.all(batch.weight[outside] != true_events.weight[outside])
        assert np.all(batch.variations["mlgen.bnn.syst.up"][outside] > batch.weight[outside])
    assert any("weight zero under the name mlgen.bnn.inside" in remark for remark in result.remarks)


def test_outside_a_run_may_be_stopped(folder):
    with pytest.raises(Exception, match="is asked outside the region that it was trained in") as caught:
        run(LOWER + BNN + "outside = 'stop'\n", folder, outputs="'stop.lhe', 'stop.root'")
    assert type(caught.value).__name__ == "OutsideError"
    assert caught.value.exit_code == 2
    assert "the training reached from" in str(caught.value)
    assert not (folder / "stop.lhe").exists()
    assert not (folder / "stop.root").exists()


REWEIGHTING = """
[input]
file = "true.lhe"
[reweighting]
name = "again"
old = "closed-form"
new = { model = "models/amplitude" }
[output]
files = ["again.lhe"]
"""


def test_events_of_a_file_outside_are_flagged(folder, model, true_events):
    result = run_chain(plan_chain(parse_card(REWEIGHTING, "card.toml", folder), force=True))
    batch = whole(folder / "again.lhe")
    outside = model.domain.outside(momenta_of(batch))
    assert np.all(outside[pair_mass(momenta_of(batch)) < 49])
    assert batch.weight.tolist() == true_events.weight.tolist()
    assert list(information(folder / "again.lhe").variation_names) == ["again", "again.inside"]
    assert batch.variations["again.inside"].tolist() == np.where(outside, 0.0, batch.variations["again"]).tolist()
    told = [remark for stage in result.stages for remark in stage.remarks if "outside the region" in remark]
    assert told[0].startswith(f"new: {outside.sum():,} of {len(batch):,} events")


def test_events_of_a_file_outside_may_stop_the_run(folder, true_events):
    text = REWEIGHTING.replace('"models/amplitude" }', '"models/amplitude", outside = "stop" }')
    with pytest.raises(OutsideError, match=r"the invariant mass of particles .* the training reached from"):
        run_chain(plan_chain(parse_card(text.replace("again.lhe", "stopped.lhe"), "card.toml", folder)))
    assert not (folder / "stopped.lhe").exists()


def test_a_model_can_be_asked_from_python(folder, model, true_events):
    momenta = momenta_of(true_events)[:100]
    loaded = load_amplitude(folder / "models" / "amplitude")
    pdg_ids = [1, -1, -13, 13]
    exchanged = np.ascontiguousarray(momenta[:, [0, 1, 3, 2]])
    alpha_s = np.full(100, 0.118)
    found = loaded.predict(pdg_ids, exchanged, alpha_s)
    assert found.value.tolist() == model.predict(momenta, alpha_s).value.tolist()
    assert loaded.outside(pdg_ids, exchanged).tolist() == model.domain.outside(momenta).tolist()
    with pytest.raises(KinematicsError):
        loaded.predict(pdg_ids, 1.1 * exchanged[:, :, ::-1], alpha_s)
    with pytest.raises(ModelError, match=r"one of \[phase_space\]"):
        load_amplitude(sampler_of(folder))


# Models that are there already


def test_a_model_is_used_as_it_was_and_gives_the_same_bytes(tmp_path):
    """What is drawn and what is learned depends on the card and the seed alone."""
    text = DRELL_YAN + VEGAS + BNN.replace("steps = 400", "steps = 20").replace("points = 2000", "points = 500")
    first = run(text, tmp_path, events=200)
    kept = (tmp_path / "out.lhe").read_bytes()
    assert first.stages[1].trained
    second = run(text, tmp_path, events=200)
    assert not second.stages[1].trained
    assert second.stages[1].model_sha256 == first.stages[1].model_sha256
    assert (tmp_path / "out.lhe").read_bytes() == kept
    # Trained again: from the same seed the same model, from another one another.
    again = run(text, tmp_path, events=200, retrain=True)
    assert (again.stages[1].trained, again.stages[1].model_sha256) == (True, first.stages[1].model_sha256)
    other = run(text, tmp_path, events=200, seed=2, retrain=True)
    assert other.stages[1].trained
    assert other.stages[1].model_sha256 != first.stages[1].model_sha256
    # Without a folder nothing is kept, and all else is the same.
    alone = run(text.replace('model = "models/amplitude"', ""), tmp_path, events=200, outputs="'alone.lhe'")
    assert alone.stages[1].trained
    (tmp_path / "kept.lhe").write_bytes(kept)
    assert whole(tmp_path / "alone.lhe").weight.tolist() == whole(tmp_path / "kept.lhe").weight.tolist()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "[process.cuts]",
            "parameters = { mass = { z = 90 } }\n[process.cuts]",
            r"other matrix elements \(d d~ > mu- mu\+\); the card \(d d~ > mu- mu\+\) differs in\n"
            r"  parameters.mass.z: 91.188 then, 90.0 now\n",
        ),
        ("d d~ > mu- mu+", "u u~ > mu- mu+", r"(?s)other matrix elements.*subprocesses: \[\[1, -1, 13, -13\]\] then"),
        ("units = 32", "units = 16", "other settings: units: trained with 32, card says 16"),
        ("points = 2000", "points = 1000", "trained with points = 2000, the card says 1000"),
        ("test_points = 500", "test_points = 400", "trained with test_points = 500, the card says 400"),
        ("test_points = 500", "test_points = 500\ndraw = 'phase-space'", "with draw = mixture, the card says phase-"),
        ("test_points = 500", "test_points = 500\noutside_share = 0.01", "with outside_share = 0.001, the card says 0"),
    ],
)
def test_a_model_is_refused_where_it_was_trained_for_something_else(before, after, message, folder):
    text = DRELL_YAN + VEGAS + BNN
    assert before in text
    plan = plan_integration(card(text.replace(before, after), folder))
    with pytest.raises(ModelError, match=message) as caught:
        integrate(plan)
    assert str(caught.value).endswith("Name another model folder, take this back, or train again with --retrain.")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("13_000", "8_000"),
        ('scale = "m(z)"', "scale = 'sqrt(s-hat)'"),
        # What a card leaves open is as it was in the training.
        ("units = 32", ""),
        ("points = 2000", ""),
    ],
)
def test_a_model_is_used_where_the_matrix_element_is_the_same(before, after, folder):
    text = DRELL_YAN + VEGAS + BNN + "[integration]\npoints = 1000\n"
    assert before in text
    found = integrate(plan_integration(card(text.replace(before, after, 1), folder)))
    assert found.amplitude is not None
    assert not found.amplitude.trained
    assert found.amplitude.settings["units"] == 32


# A surrogate that knows the truth


class ExactSettings(Settings):
    """What is wrong with it: a slope in the cosine of the scattering angle."""

    tilt: float = 0.0


class Exact(AmplitudeSurrogate):
    """The closed form, whose systematic error is a hundredth times the number of the first quark.

    Attributes:
        seen: Momenta that each one trained on and was asked for, in the order of the calls.
    """

    members = 2
    seen: list[tuple[str, np.ndarray]] = []  # noqa: RUF012 - emptied for each test

    def train(self, process, momenta, values, rng, progress=None):
        self.process = process
        self.seen.append(("train", momenta.copy()))
        return TrainingReport({"points": len(values)}, {"loss": [1.0, 0.5]})

    def predict(self, momenta):
        self.seen.append(("predict", momenta.copy()))
        first, second, *outgoing = self.process.pdg_ids
        form = closed_form(Subprocess((first, second), tuple(outgoing)), ModelParameters())
        value = form.evaluate(momenta, np.full(len(momenta), 0.118))
        if self.settings.tilt:
            value = value * (1 + self.settings.tilt * cosine(momenta))
        return Amplitude(value, 0.01 * abs(first) * value, 0.02 * value)

    def predict_members(self, momenta):
        return self.predict(momenta).value[:, None] * np.array([1.5, 0.5])

    def state(self):
        return {"pdg_ids": np.array(self.process.pdg_ids), "masses": np.array(self.process.masses)}

    @classmethod
    def from_state(cls, settings, state):
        made = cls(settings)
        made.process = AmplitudeProcess(tuple(state["pdg_ids"].tolist()), tuple(state["masses"].tolist()))
        return made


EXACT = "[amplitude]\nplugin = 'exact'\npoints = 1000\ntest_points = 200\n"


@pytest.fixture
def exact_plugin(monkeypatch):
    """An amplitude plugin besides those of the environment."""
    manager = plugin_manager()
    offer = Plugin(
        "exact", Stage.AMPLITUDE, lambda: Exact, ExactSettings, Exactness.APPROXIMATE, "truth", contract_version=1
    )
    own = Registered(offer, Source("own-package", "2.1", "own"))
    plugins = (*manager.stage_plugins[Stage.AMPLITUDE], own)
    monkeypatch.setitem(manager.stage_plugins, Stage.AMPLITUDE, plugins)
    monkeypatch.setattr(Exact, "seen", [])
    return Exact


@pytest.mark.parametrize("outside", ["matrix-element", "flag"])
@pytest.mark.parametrize(
    ("process", "tolerance"),
    # The coupling of a process of gluons runs, and is scaled with its square; without any, nothing is rounded.
    [(DRELL_YAN, 0.0), (GLUONS, 1e-12)],
    ids=["d d~ > mu- mu+", "g g > g g"],
)
@pytest.mark.parametrize("unweighting", ["", UNWEIGHTING], ids=["weighted", "unweighted"])
def test_a_perfect_surrogate_changes_no_weight(process, tolerance, unweighting, outside, exact_plugin, tmp_path):
    run(process + VEGAS + unweighting, tmp_path, events=600, outputs="'true.lhe'")
    result = run(process + VEGAS + EXACT + f"outside = '{outside}'\n" + unweighting, tmp_path, events=600)
    true, found = whole(tmp_path / "true.lhe"), whole(tmp_path / "out.lhe")
    assert momenta_of(found).tobytes() == momenta_of(true).tobytes()
    assert found.weight == pytest.approx(true.weight, rel=tolerance, abs=0)
    assert result.cross_section == pytest.approx(information(tmp_path / "true.lhe").cross_section, rel=1e-12)
    for name in ("pdg_id", "color1", "color2"):
        assert np.array_equal(found.column(name), true.column(name))
    if process == GLUONS:
        assert np.ptp(found.alpha_qcd) > 0.01
    # Ratios of named weights are those of the surrogate: 1 %, or 21 % for gluons; 3/2 and 1/2.
    size = 0.21 if process == GLUONS else 0.01
    inside = found.variations["mlgen.exact.stat.1"] != found.weight
    assert inside.mean() > 0.9
    for name, factor in (("syst.up", 1 + size), ("syst.down", 1 - size), ("stat.1", 1.5), ("stat.2", 0.5)):
        ratio = found.variations[f"mlgen.exact.{name}"] / found.weight
        assert ratio[inside] == pytest.approx(factor, rel=1e-12)
        assert np.all(ratio[~inside] == 1)
    if unweighting:
        assert np.median(found.weight) == found.weight.min()


def test_points_that_measure_are_none_that_were_trained_on(exact_plugin, tmp_path):
    train_chain(plan_chain(card(DRELL_YAN + VEGAS + EXACT + "model = 'models/exact'\n", tmp_path), training_only=True))
    (first, trained), (second, tested), *_ = exact_plugin.seen
    assert (first, second, len(trained), len(tested)) == ("train", "predict", 1000, 200)
    every = np.concatenate([trained, tested]).reshape(1200, -1)
    assert len(np.unique(every, axis=0)) == 1200
    figures = read_record(tmp_path / "models" / "exact").report.figures
    assert (figures["points"], figures["test_points"]) == (1000, 200)
    # The closed form at its own points.
    assert figures["median_absolute_delta"] < 1e-12
    # Drawn alike: half of both are at the Z, at five standard errors of a binomial share.
    shares = [np.mean(np.abs(pair_mass(momenta) - 91) < 5) for momenta in (trained, tested)]
    assert abs(shares[0] - shares[1]) < 5 * math.sqrt(0.25 / 1000 + 0.25 / 200)


MANY = """
[process]
reaction = "q qb > mu- mu+"
labels = { q = "d u s", qb = "s~ u~ d~" }
energy = 13_000
pdf = "NNPDF23_lo_as_0130_qed"
scale = "m(z)"
matrix_element = "closed-form"
[process.cuts]
mass = { "mu- mu+" = 50 }
"""


def test_subprocesses_of_one_matrix_element_share_its_surrogate(exact_plugin, tmp_path):
    """Weights of each subprocess are the true ones; its error is that of its own surrogate, d of 1 % and u of 2 %."""
    text = MANY + VEGAS + EXACT + "model = 'models/exact'\n"
    plan = plan_integration(card(text, tmp_path))
    process = open_process(plan.card)
    trained = trained_stages(plan, process, silent)
    quarks = [subprocess.pdg_ids[0] for subprocess in process.subprocesses]
    assert sorted(quarks) == [1, 2, 3]
    elements = dict(zip(quarks, trained.elements, strict=True))
    assert elements[1] is elements[3]
    assert elements[1] is not elements[2]
    assert [name for name, _ in exact_plugin.seen].count("train") == 2
    batch = trained.source.draw(1000, np.random.default_rng(1))
    true = trained.source.with_matrix_elements(process.matrix_elements).draw(1000, np.random.default_rng(1))
    assert np.array_equal(batch.contributions(), true.contributions())
    result = run(text, tmp_path, events=800)
    found = whole(tmp_path / "out.lhe")
    quark = found.column("pdg_id").reshape(-1, 4)[:, 0]
    ratio = found.variations["mlgen.exact.syst.up"] / found.weight
    inside = found.variations["mlgen.exact.stat.1"] != found.weight
    for pdg_id, error in ((1, 0.01), (3, 0.01), (2, 0.02)):
        chosen = inside & (quark == pdg_id)
        assert chosen.sum() > 10
        assert ratio[chosen] == pytest.approx(1 + error, rel=1e-12)
    figures = result.stages[1].figures
    assert {name for name in figures if "_of_" in name} == {
        "median_absolute_delta_of_d d~ > mu- mu+",
        "median_absolute_delta_of_u u~ > mu- mu+",
    }
    record = read_record(tmp_path / "models" / "exact")
    assert record.trained_on.events == 2000
    assert set(record.report.curves) == {"loss.0", "loss.1"}


def test_a_chain_is_compared_with_the_one_that_has_the_matrix_element(exact_plugin, tmp_path):
    """Nothing differs with the truth in its place, and an asymmetry that is not there is found."""
    text = "[validation]\nclassifier = false\n" + DRELL_YAN + EXACT
    right = validate_chain(card(text, tmp_path, events=1500))
    assert [comparison.sample.name for comparison in right.comparisons] == ["amplitude exact"]
    assert all(r.verdict is not Verdict.DIFFERS for c in right.comparisons for r in c.observables)
    wrong = validate_chain(card(text + "tilt = 0.7\n", tmp_path, events=1500))
    assert any(r.verdict is Verdict.DIFFERS for c in wrong.comparisons for r in c.observables)
    exact_plugin.seen.clear()
    whole_chain = validate_chain(card(text + VEGAS, tmp_path, events=300))
    names = [comparison.sample.name for comparison in whole_chain.comparisons]
    assert names == ["phase space vegas", "amplitude exact", "phase space vegas and amplitude exact"]
    # Trained once, whatever number of chains use it.
    assert [what for what, _ in exact_plugin.seen].count("train") == 1
