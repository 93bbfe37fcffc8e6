"""Two-stage unweighting of a [process]: as exact as a run without a surrogate, whatever the surrogate is.

Chains are compared with weighted events of the true matrix elements: the cross section at four standard errors of the
difference; shares of the cross section in bins by a chi^2 with the errors of both, p-values above 1e-4 each. Costs of
true weights are set, so that nothing depends on how fast the machine is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from mlgen.amplitudes.model import AmplitudePart
from mlgen.card import parse_card
from mlgen.chain import plan_chain, run_chain, train_chain
from mlgen.chain.closure import validate_chain
from mlgen.chain.report import RunResult
from mlgen.errors import CardError, ModelError
from mlgen.events import EventBatch
from mlgen.formats import open_events
from mlgen.formats.writing import create_events
from mlgen.hard_process.closed_forms import closed_form
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.subprocess import Subprocess
from mlgen.report import render
from mlgen.run_info import RunInfo, Variation
from mlgen.stages import Amplitude, silent
from mlgen.store import COSTS_FILE
from mlgen.validation.record import Verdict

SETTINGS = """
energy = 13_000
pdf = "NNPDF23_lo_as_0130_qed"
scale = "m(z)"
matrix_element = "closed-form"
[process.cuts]
mass = { "mu+ mu-" = 50 }
[phase_space]
plugin = "vegas"
budget = 10_000
"""
ONE = '[process]\nreaction = "u u~ > mu+ mu-"' + SETTINGS
MANY = '[process]\nreaction = "p p > mu+ mu-"' + SETTINGS
BNN = """
[amplitude]
plugin = "bnn"
model = "models/amplitude"
points = 2000
test_points = 200
units = 32
members = 2
batch_size = 256
steps = 250
"""
HIT_OR_MISS = '[unweighting]\nplugin = "hit-or-miss"\nmaximum = "overweight-share"\n'
TWO_STAGE = '[unweighting]\nplugin = "two-stage"\n'
#: A true weight that costs five times as much as a candidate.
FIVE = TWO_STAGE + "cost_ratio = 5\n"
LEARNING = """
[unweighting]
plugin = "two-stage"
surrogate = "event-weight"
model = "models/weights"
cost_ratio = 5
training_points = 4_000
steps = 120
units = 32
layers = 2
batch_size = 256
"""
SMALLEST = 1e-4


def card(text: str, directory: Path, *, events: int = 1000, seed: int = 1, outputs: str = "'out.lhe'"):
    head = f"[run]\nevents = {events}\nseed = {seed}\n[output]\nfiles = [{outputs}]\n"
    return parse_card(head + text, "card.toml", directory)


def run(text: str, directory: Path, *, retrain: bool = False, **others: Any) -> RunResult:
    return run_chain(plan_chain(card(text, directory, **others), force=True, retrain=retrain))


def whole(path: Path) -> EventBatch:
    with open_events(path) as events:
        return EventBatch.concatenate(list(events))


def information(path: Path) -> RunInfo:
    with open_events(path) as events:
        return events.run_info


def figures(result: RunResult, plugin: str = "two-stage"):
    return next(stage.figures for stage in result.stages if stage.plugin == plugin)


def same_events(first: Path, second: Path) -> bool:
    """Whether two files have the same momenta and weights; their records may differ."""
    one, other = whole(first), whole(second)
    return one.momenta().tobytes() == other.momenta().tobytes() and one.weight.tolist() == other.weight.tolist()


# What is compared


def cosine(momenta: np.ndarray) -> np.ndarray:
    """Of the angle between the first and the third particle in the centre of mass; all are massless."""
    first, second, third, _ = np.moveaxis(momenta, 1, 0)
    metric = np.array([-1.0, -1.0, -1.0, 1.0])
    return 1 - 2 * ((first * third) @ metric) / ((first * second) @ metric)


def pair(momenta: np.ndarray) -> np.ndarray:
    return momenta[:, 2] + momenta[:, 3]


def mass(momenta: np.ndarray) -> np.ndarray:
    return np.sqrt(pair(momenta)[:, 3] ** 2 - np.sum(pair(momenta)[:, :3] ** 2, axis=1))


def rapidity(momenta: np.ndarray) -> np.ndarray:
    return np.arctanh(pair(momenta)[:, 2] / pair(momenta)[:, 3])


def transverse_momentum(momenta: np.ndarray) -> np.ndarray:
    return np.hypot(momenta[:, 2, 0], momenta[:, 2, 1])


HISTOGRAMS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], list[float]]] = {
    "mass": (mass, [50, 75, 85, 89, 90.5, 91.5, 93, 97, 120, 13_000]),
    "rapidity": (rapidity, [-10, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 10]),
    "cosine": (cosine, [-1, -0.9, -0.6, -0.3, 0, 0.3, 0.6, 0.9, 1]),
    "transverse momentum": (transverse_momentum, [0, 15, 25, 33, 40, 45, 60, 6_500]),
}


def shares(weight: np.ndarray, number: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the cross section by bin, and their variances as of independent bins."""
    total = weight.sum()
    return np.bincount(number, weight, bins) / total, np.bincount(number, weight**2, bins) / total**2


def p_value(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> float:
    """Of the chi^2 between shares: one bin follows from the others."""
    difference, variance = first[0] - second[0], first[1] + second[1]
    filled = variance > 0
    return float(chi2.sf(np.sum(difference[filled] ** 2 / variance[filled]), np.count_nonzero(filled) - 1))


def p_values(first: EventBatch, second: EventBatch) -> dict[str, float]:
    found = {}
    for name, (observable, edges) in HISTOGRAMS.items():
        sides = [
            shares(one.weight, np.searchsorted(edges[1:-1], observable(momenta_of(one))), len(edges) - 1)
            for one in (first, second)
        ]
        found[name] = p_value(*sides)
    return found


def momenta_of(batch: EventBatch) -> np.ndarray:
    """Of the four particles of each event."""
    return batch.momenta().reshape(-1, 4, 4)


def incoming(batch: EventBatch) -> np.ndarray:
    """PDG ids of the first particle of each event."""
    return batch.column("pdg_id").reshape(-1, 4)[:, 0]


def mean_with_error(batch: EventBatch) -> tuple[float, float]:
    return float(batch.weight.mean()), float(batch.weight.std(ddof=1) / math.sqrt(len(batch)))


def pull(result: RunResult, other: RunResult) -> float:
    """Difference of cross sections in standard errors."""
    error = math.hypot(result.cross_section_error, other.cross_section_error)
    return (result.cross_section - other.cross_section) / error


def assert_agree(result: RunResult, file: Path, reference: tuple[RunResult, EventBatch]) -> EventBatch:
    """Cross section and histograms agree, the file with its own <init>; and the comparison means something."""
    expected, events = reference
    batch = whole(file)
    assert abs(pull(result, expected)) < 4
    assert result.cross_section_error < 0.02 * result.cross_section
    mean, error = mean_with_error(batch)
    assert abs(mean - result.cross_section) < 4 * math.hypot(error, result.cross_section_error)
    found = p_values(batch, events)
    assert min(found.values()) > SMALLEST, found
    return batch


# One subprocess and a network for it


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the surrogate of u u~ was trained."""
    directory = tmp_path_factory.mktemp("two-stage")
    train_chain(plan_chain(card(ONE + BNN, directory), training_only=True))
    return directory


def weighted_events(text: str, directory: Path) -> tuple[RunResult, EventBatch]:
    result = run(text, directory, events=30_000, seed=77, outputs="'weighted.lheh5'")
    return result, whole(directory / "weighted.lheh5")


@pytest.fixture(scope="module")
def weighted(tmp_path_factory) -> tuple[RunResult, EventBatch]:
    """Weighted events of the true matrix element."""
    return weighted_events(ONE, tmp_path_factory.mktemp("weighted"))


@pytest.fixture(scope="module")
def corrected(folder) -> RunResult:
    """Of a run with the surrogate, whose true weights decide."""
    return run(ONE + BNN + FIVE, folder, events=5000, outputs="'corrected.lhe', 'corrected.lheh5'")


@pytest.mark.physics
def test_events_are_those_of_the_matrix_element(folder, corrected, weighted):
    batch = assert_agree(corrected, folder / "corrected.lheh5", weighted)
    assert len(batch) == corrected.events == 5000
    assert corrected.exactness == "exact"
    found = figures(corrected)
    assert found["accepted"] >= 5000
    assert found["true_evaluations"] < found["candidates"]
    assert found["overweight_share"] < 0.01


def test_the_file_says_that_it_is_exact_and_has_no_weights_of_the_surrogate(folder, corrected):
    text = (folder / "corrected.lhe").read_text()
    assert "mlgen.bnn" not in text
    info, batch = information(folder / "corrected.lhe"), whole(folder / "corrected.lhe")
    assert list(info.variation_names) == []
    assert batch.variations == {}
    assert info.cross_section == pytest.approx(corrected.cross_section, rel=1e-12)
    assert info.cross_section_error == pytest.approx(corrected.cross_section_error, rel=1e-12)
    assert info.processes[0].maximum_weight == pytest.approx(batch.weight.max(), rel=1e-12)
    record = info.provenance[-1]
    assert record["exactness"] == "exact"
    stages = {stage["stage"]: stage for stage in record["stages"]}
    assert stages["amplitude"]["exactness"] == "approximate"
    assert stages["unweighting"]["plugin"] == "two-stage"


def test_almost_all_events_have_the_same_weight(folder, corrected):
    weight = whole(folder / "corrected.lheh5").weight
    values, counts = np.unique(weight, return_counts=True)
    assert values[np.argmax(counts)] == weight.min()
    # As many others as there are overweights among those that were accepted.
    assert len(weight) - counts.max() <= figures(corrected)["overweight_events"]
    assert counts.max() > 0.95 * len(weight)


def test_the_result_has_weights_before_and_after_costs_and_gain(folder, corrected):
    found = figures(corrected)
    assert sum(corrected.unweighted.positive.values()) == 5000
    assert corrected.unweighted.zero == 0
    assert sum(corrected.weights.positive.values()) + corrected.weights.zero == found["candidates"]
    assert corrected.cross_section == found["mean_weight"]
    for name in ("true_weight_us", "surrogate_us", "drawing_us", "event_us", "hit_or_miss_event_us"):
        assert found[name] > 0, name
    gains = [found[f"gain_at_cost_ratio_{ratio}"] for ratio in (1, 10, 100, 1000)]
    # The dearer a true weight, the more it is worth to ask for few of them.
    assert gains == sorted(gains)
    # It saves those which hit-or-miss asks for in vain, and no more.
    assert gains[-1] < 1 / found["hit_or_miss_efficiency"]
    assert found["gain_over_hit_or_miss"] == pytest.approx(found["hit_or_miss_event_us"] / found["event_us"])
    assert "gain over hit or miss" in render(corrected.page())
    json.dumps(corrected.to_dict())


def test_times_by_step_add_up_to_the_whole(folder):
    start = time.perf_counter()
    result = run(ONE + BNN + FIVE, folder, events=2000, outputs="'times.lhe'")
    whole_time = time.perf_counter() - start
    assert {"sampling", "mapping and densities", "surrogate", "matrix element", "unweighting"} <= result.seconds.keys()
    assert all(seconds >= 0 for seconds in result.seconds.values())
    # Planning and opening the model's card is not among them.
    assert 0.7 * whole_time < sum(result.seconds.values()) <= whole_time


def test_the_same_card_gives_the_same_bytes(folder):
    """Also where the cost of a true weight is measured: once, and kept with the model."""
    text = ONE + BNN + TWO_STAGE
    run(text, folder, events=500, outputs="'same.lhe'")
    first = (folder / "same.lhe").read_bytes()
    kept = json.loads((folder / "models" / "amplitude" / COSTS_FILE).read_text())
    (sampler,) = kept["cost_ratio"]
    assert sampler.startswith("vegas, ")
    assert kept["cost_ratio"][sampler] > 0
    again = run(text, folder, events=500, outputs="'same.lhe'")
    assert (folder / "same.lhe").read_bytes() == first
    assert not any(stage.trained for stage in again.stages if stage.plugin == "bnn")
    run(text, folder, events=500, outputs="'same.lhe'", seed=2)
    assert (folder / "same.lhe").read_bytes() != first


def test_the_dearer_true_weights_are_the_fewer_are_asked_for(folder):
    """For an event; and the more candidates are spent on one."""
    text = ONE + BNN + TWO_STAGE
    found = [
        figures(run(text + f"cost_ratio = {cost}\n", folder, events=6000, outputs=f"'{name}.lhe'"))
        for name, cost in (("cheap", 0.01), ("dear", 1000))
    ]
    cheap, dear = found
    assert dear["second_stage_efficiency"] > 1.1 * cheap["second_stage_efficiency"]
    assert dear["efficiency"] < 0.9 * cheap["efficiency"]
    # In all, with the pilots and all rounds.
    asked = [one["true_evaluations"] / one["accepted"] for one in found]
    assert asked[1] < asked[0]
    # What was measured once is used as a setting is.
    file = folder / "models" / "amplitude" / COSTS_FILE
    before = file.read_text()
    try:
        (sampler,) = json.loads(before)["cost_ratio"]
        file.write_text(json.dumps({"cost_ratio": {sampler: 1000.0}}))
        run(text, folder, events=6000, outputs="'kept.lhe'")
    finally:
        file.write_text(before)
    assert same_events(folder / "kept.lhe", folder / "dear.lhe")
    assert not same_events(folder / "kept.lhe", folder / "cheap.lhe")


@pytest.mark.physics
def test_true_weights_of_half_of_the_survivors_do(folder, corrected, weighted):
    result = run(ONE + BNN + FIVE + "evaluated_share = 0.5\n", folder, events=5000, outputs="'half.lheh5'")
    assert_agree(result, folder / "half.lheh5", weighted)
    assert result.exactness == "exact"
    half, full = figures(result), figures(corrected)
    # The pilot, 1,000 true weights, is asked for in both.
    assert half["true_evaluations"] < 0.85 * full["true_evaluations"]
    assert half["true_evaluations"] < half["accepted"] + 1000


def test_points_that_were_drawn_to_measure_costs_are_not_counted(folder):
    """As many points are asked for as candidates are inside the cuts, whether costs are measured or known."""
    (folder / "models" / "amplitude" / COSTS_FILE).unlink(missing_ok=True)
    found = [run(ONE + BNN + FIVE, folder, events=300, outputs="'counts.lhe'") for _ in range(2)]
    asked = [figures(result, "bnn")["points_asked"] for result in found]
    assert asked[0] == asked[1] <= figures(found[0])["candidates"]
    assert found[0].remarks == found[1].remarks


# A surrogate that is wrong


@pytest.fixture
def wrong(monkeypatch):
    """Every surrogate is off by a factor of 1/5 to 5, and gives zero, NaN or a negative number in corners."""
    right = AmplitudePart.predict

    def predict(self, momenta, alpha_s):
        predicted = right(self, momenta, alpha_s)
        angle = cosine(momenta)
        value = predicted.value * 5.0**angle
        value[angle > 0.9] = 0.0
        value[angle < -0.9] = np.nan
        value[np.abs(angle) < 0.1] *= -1
        return Amplitude(value, predicted.systematic, predicted.statistical)

    monkeypatch.setattr(AmplitudePart, "predict", predict)


@pytest.mark.physics
def test_a_wrong_surrogate_makes_no_difference(folder, wrong, weighted):
    for settings in ("", "evaluated_share = 0.5\n"):
        result = run(ONE + BNN + FIVE + settings, folder, events=4000, outputs="'wrong.lheh5'")
        assert_agree(result, folder / "wrong.lheh5", weighted)
        assert result.exactness == "exact"
        said = [remark for remark in result.remarks if "the surrogate gave no positive number" in remark]
        assert len(said) == 1
        # Of two thirds of the angle's range at the ends and in the middle, where there are fewest events.
        number = figures(result, "bnn")["points_unusable"]
        assert said[0].startswith(f"at {number:,} of ")
        assert 0.1 * figures(result)["candidates"] < number < 0.4 * figures(result)["candidates"]


def test_the_same_surrogate_is_found_out_where_nothing_corrects_it(folder, wrong, weighted):
    result = run(ONE + BNN + HIT_OR_MISS, folder, events=4000, outputs="'biased.lheh5'")
    assert result.exactness == "approximate"
    assert abs(pull(result, weighted[0])) > 10
    assert p_values(whole(folder / "biased.lheh5"), weighted[1])["cosine"] < 1e-20


def test_a_chain_is_compared_with_the_one_that_has_the_matrix_element(folder, wrong):
    """The surrogate alone differs; together with the unweighting it does not."""
    model = f"model = '{folder / 'models' / 'amplitude'}'"
    text = "[validation]\nclassifier = false\n" + ONE.partition("[phase_space]")[0]
    text += BNN.replace('model = "models/amplitude"', model) + FIVE
    result = validate_chain(card(text, folder, events=2500))
    differing = {
        comparison.sample.name: any(result.verdict is Verdict.DIFFERS for result in comparison.observables)
        for comparison in result.comparisons
    }
    assert differing == {
        "amplitude bnn": True,
        "unweighting two-stage": False,
        "amplitude bnn and unweighting two-stage": False,
    }


# Several subprocesses, and a network of whole weights


@pytest.fixture(scope="module")
def many_weighted(tmp_path_factory) -> tuple[RunResult, EventBatch]:
    return weighted_events(MANY, tmp_path_factory.mktemp("many-weighted"))


@pytest.fixture(scope="module")
def learned(tmp_path_factory) -> tuple[Path, RunResult]:
    """Where the network of event weights was trained by a run, and what the run says."""
    directory = tmp_path_factory.mktemp("learned")
    return directory, run(MANY + LEARNING, directory, events=5000, outputs="'learned.lheh5'")


def assert_subprocesses_agree(batch: EventBatch, reference: EventBatch) -> None:
    ids = np.union1d(incoming(batch), incoming(reference))
    assert len(ids) > 4
    sides = [shares(one.weight, np.searchsorted(ids, incoming(one)), len(ids)) for one in (batch, reference)]
    assert p_value(*sides) > SMALLEST


@pytest.mark.physics
def test_a_network_of_event_weights_makes_no_difference(learned, many_weighted):
    directory, result = learned
    batch = assert_agree(result, directory / "learned.lheh5", many_weighted)
    assert_subprocesses_agree(batch, many_weighted[1])
    assert result.exactness == "exact"
    assert figures(result)["true_evaluations"] < figures(result)["candidates"]


SMALL = BNN.replace("points = 2000", "points = 600").replace("steps = 250", "steps = 60")


@pytest.fixture(scope="module")
def many_folder(tmp_path_factory) -> Path:
    """Where a surrogate of each subprocess was trained, for a second or two: each is wrong by a factor of its own."""
    directory = tmp_path_factory.mktemp("many")
    train_chain(plan_chain(card(MANY + SMALL, directory), training_only=True))
    return directory


@pytest.mark.physics
def test_surrogates_of_several_subprocesses_make_no_difference(many_folder, wrong, many_weighted):
    result = run(MANY + SMALL + FIVE, many_folder, events=4000, outputs="'many.lheh5'")
    batch = assert_agree(result, many_folder / "many.lheh5", many_weighted)
    assert_subprocesses_agree(batch, many_weighted[1])


@pytest.mark.physics
def test_no_subprocess_is_lost_whose_surrogate_is_far_too_small(many_folder, monkeypatch, many_weighted):
    """By a factor of a million for up-type quarks; for the others it is right."""

    def predict(self, momenta, alpha_s):
        form = closed_form(Subprocess.of(self.process.pdg_ids), ModelParameters())
        value = form.evaluate(momenta, alpha_s) * (1e-6 if self.process.pdg_ids[0] % 2 == 0 else 1.0)
        return Amplitude(value, 0.1 * value, 0.1 * value)

    monkeypatch.setattr(AmplitudePart, "predict", predict)
    result = run(MANY + SMALL + FIVE, many_folder, events=3000, outputs="'lost.lheh5'")
    batch = assert_agree(result, many_folder / "lost.lheh5", many_weighted)
    assert_subprocesses_agree(batch, many_weighted[1])


def test_the_network_is_trained_once_and_kept(learned):
    directory, first = learned
    assert [stage.trained for stage in first.stages] == [True, True]
    assert (directory / "models" / "weights" / "report.html").is_file()
    again = run(MANY + LEARNING, directory, events=5000, outputs="'again.lheh5'")
    unweighting = again.stages[-1]
    assert not unweighting.trained
    assert unweighting.model_sha256 == first.stages[-1].model_sha256
    assert again.cross_section == first.cross_section
    assert same_events(directory / "again.lheh5", directory / "learned.lheh5")
    trained = train_chain(plan_chain(card(MANY + LEARNING, directory), training_only=True))
    assert (trained.plugin, trained.trained, trained.model_sha256) == ("two-stage", False, unweighting.model_sha256)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("energy = 13_000", "energy = 8_000", "trained for another process.*\n  energy: 13000.* then, 8000.* now"),
        ("steps = 120", "steps = 121", "trained with other settings: steps: trained with 120, card says 121"),
        ("p p > mu+ mu-", "u u~ > mu+ mu-", r"trained for another process \(p p > mu\+ mu-\)"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(before, after, message, learned):
    directory, _ = learned
    with pytest.raises(ModelError, match=message):
        run((MANY + LEARNING).replace(before, after), directory, outputs="'refused.lhe'")
    assert not (directory / "refused.lhe").exists()


def test_settings_that_are_for_the_use_may_change(learned):
    directory, first = learned
    text = MANY + LEARNING.replace("cost_ratio = 5", "cost_ratio = 0.01\noverweight_share = 0.01")
    result = run(text, directory, outputs="'other.lheh5'")
    assert not result.stages[-1].trained
    assert figures(result)["overweight_share"] > 2 * figures(first)["overweight_share"]


TINY = LEARNING.replace("4_000", "1_000").replace("steps = 120", "steps = 10")


def test_the_network_is_trained_by_its_own_command_and_again_when_asked(tmp_path):
    """Also when a run has left the cost of a true weight in the folder of the model."""
    trained = train_chain(plan_chain(card(MANY + TINY, tmp_path), training_only=True))
    assert (trained.stage, trained.trained) == ("unweighting", True)
    result = run(MANY + TINY, tmp_path, events=100)
    assert not result.stages[-1].trained
    assert result.stages[-1].model_sha256 == trained.model_sha256
    assert (tmp_path / "models" / "weights" / COSTS_FILE).is_file()
    longer = MANY + TINY.replace("steps = 10", "steps = 12")
    result = run(longer, tmp_path, events=100, retrain=True)
    assert result.stages[-1].trained
    assert result.stages[-1].model_sha256 != trained.model_sha256
    # What was measured with the old model is not used with the new one.
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["weights"]


def test_without_a_folder_nothing_is_kept(tmp_path):
    text = MANY + TINY.replace('model = "models/weights"\n', "")
    result = run(text, tmp_path, events=100)
    assert (result.stages[-1].trained, result.stages[-1].model) == (True, "")
    assert [path.name for path in tmp_path.iterdir()] == ["out.lhe"]
    first = (tmp_path / "out.lhe").read_bytes()
    run(text, tmp_path, events=100)
    assert (tmp_path / "out.lhe").read_bytes() == first
    with pytest.raises(CardError, match=r"training needs a place for the model: \[unweighting\] model"):
        plan_chain(card(text, tmp_path), training_only=True)


def test_costs_that_cannot_be_kept_are_measured_each_time(folder):
    """Where they should stand is a folder: what a model on a disk that is only read looks like to a writer."""
    file = folder / "models" / "amplitude" / COSTS_FILE
    file.unlink(missing_ok=True)
    file.mkdir()
    try:
        for _ in range(2):
            result = run(ONE + BNN + TWO_STAGE, folder, events=100, outputs="'unkept.lhe'")
            assert result.events == 100
        assert list(file.iterdir()) == []
    finally:
        file.rmdir()


def test_a_chain_that_learns_is_compared_and_trained_once(tmp_path):
    titles = []

    @contextlib.contextmanager
    def reporter(title):
        titles.append(title)
        with silent(title) as progress:
            yield progress

    text = "[validation]\nclassifier = false\n" + MANY + TINY.replace('model = "models/weights"\n', "")
    result = validate_chain(card(text, tmp_path, events=800), reporter)
    names = [comparison.sample.name for comparison in result.comparisons]
    assert names == [
        "phase space vegas",
        "unweighting two-stage",
        "phase space vegas and unweighting two-stage",
    ]
    assert all(r.verdict is not Verdict.DIFFERS for c in result.comparisons for r in c.observables)
    assert titles.count("training two-stage") == 1


# True weights that are known anyway


def test_without_a_surrogate_all_true_weights_are_known(weighted, tmp_path):
    result = run(ONE + FIVE, tmp_path, events=3000, outputs="'plain.lheh5'")
    assert_agree(result, tmp_path / "plain.lheh5", weighted)
    assert any("true weights of all candidates are known" in remark for remark in result.stages[-1].remarks)
    assert "true_evaluations" not in figures(result)
    run(ONE + HIT_OR_MISS, tmp_path, events=3000, outputs="'hit-or-miss.lheh5'")
    assert same_events(tmp_path / "plain.lheh5", tmp_path / "hit-or-miss.lheh5")


def with_variations(source: Path, target: Path) -> None:
    """Write the events of a file again, with two named weights."""
    with open_events(source) as events:
        variations = tuple(Variation(name, name, {}, 0) for name in ("up", "random"))
        groups = ({"name": "test", "combine": "none"},)
        info = events.run_info.replace(variations=variations, variation_groups=groups)
        rng = np.random.default_rng(4)
        with create_events(target, info) as output:
            for batch in events:
                named = {"up": 1.5 * batch.weight, "random": batch.weight * rng.normal(1, 0.3, len(batch))}
                output.write(dataclasses.replace(batch, variations=named))


def test_of_a_file_the_same_events_are_accepted_as_by_hit_or_miss(examples, tmp_path):
    """And named weights keep their ratio to the nominal one, event by event."""
    with_variations(examples / "zjet_weighted.lhe.gz", tmp_path / "weighted.lhe")
    results = []
    for name, settings in (
        ("two-stage", TWO_STAGE + "overweight_share = 0.02\n"),
        ("hit-or-miss", HIT_OR_MISS + "overweight_share = 0.02\n"),
    ):
        text = "[run]\nseed = 3\n[input]\nfile = 'weighted.lhe'\n" + settings + f"[output]\nfiles = ['{name}.lhe']\n"
        results.append(run_chain(plan_chain(parse_card(text, "card.toml", tmp_path), force=True)))
    assert same_events(tmp_path / "two-stage.lhe", tmp_path / "hit-or-miss.lhe")
    assert figures(results[0])["overweight_events"] > 0
    assert any("true weights of all candidates are known" in remark for remark in results[0].stages[-1].remarks)
    before, after = whole(tmp_path / "weighted.lhe"), whole(tmp_path / "two-stage.lhe")
    assert 0 < len(after) < len(before)
    # Events are told apart by the energy of their first particle.
    place = {energy: k for k, energy in enumerate(before.column("energy")[before.offsets[:-1]])}
    old = np.array([place[energy] for energy in after.column("energy")[after.offsets[:-1]]])
    assert np.all(np.diff(old) > 0)
    for name in ("up", "random"):
        ratio = before.variations[name][old] / before.weight[old]
        assert after.variations[name] / after.weight == pytest.approx(ratio, rel=1e-9)
    # Both estimate the same sum; at four standard errors of what unweighting adds.
    error = math.sqrt(np.sum(after.weight**2)) / len(after)
    assert abs(after.weight.mean() - before.weight.mean()) < 4 * error


# A maximum for each group


def test_each_process_of_a_file_has_its_own_maximum(examples, tmp_path):
    """Weights of one of the two processes are 50 times as large: with one maximum, few of the other would be left."""
    with open_events(examples / "zjet_weighted.lhe.gz") as events:
        first, second = (process.process_id for process in events.run_info.processes)
        with create_events(tmp_path / "two.lhe", events.run_info) as output:
            for batch in events:
                scale = np.where(batch.process_id == second, 50.0, 1.0)
                output.write(dataclasses.replace(batch, weight=batch.weight * scale))
    before = whole(tmp_path / "two.lhe")
    found = {}
    for per in ("process", "sample"):
        text = "[input]\nfile = 'two.lhe'\n[unweighting]\nplugin = 'hit-or-miss'\n"
        text += f"maximum_per = '{per}'\n[output]\nfiles = ['{per}.lhe']\n"
        run_chain(plan_chain(parse_card(text, "card.toml", tmp_path), force=True))
        found[per] = whole(tmp_path / f"{per}.lhe")
    after = found["process"]
    for process_id in (first, second):
        old = before.weight[before.process_id == process_id]
        new = after.weight[after.process_id == process_id]
        # The largest weight of each is its maximum; all are in the unit that averages to the cross section.
        assert new == pytest.approx(new[0], rel=1e-9)
        share = new.sum() / after.weight.sum()
        expected = old.sum() / before.weight.sum()
        accepted = np.sum(old) / old.max()
        error = expected * (1 - expected) / math.sqrt(accepted)
        assert abs(share - expected) < 4 * error * math.sqrt(2)
    ratio = before.weight[before.process_id == second].max() / before.weight[before.process_id == first].max()
    weights = [after.weight[after.process_id == process_id][0] for process_id in (first, second)]
    assert weights[1] / weights[0] == pytest.approx(ratio, rel=1e-6)
    counts = {per: np.count_nonzero(batch.process_id == first) for per, batch in found.items()}
    assert counts["process"] > 10 * counts["sample"]


@pytest.mark.physics
def test_each_channel_of_a_process_has_its_own_maximum(weighted, tmp_path):
    text = ONE + '[unweighting]\nplugin = "hit-or-miss"\nmaximum_per = "channel"\n'
    result = run(text, tmp_path, events=3000, outputs="'channels.lheh5'")
    batch = assert_agree(result, tmp_path / "channels.lheh5", weighted)
    values = np.unique(batch.weight.round(9))
    assert len(values) == result.stages[0].figures["channels_used"] == 2
    assert any("each channel has its own maximum" in remark for remark in result.stages[-1].remarks)


# What a card may not ask for


def line_of(text: str, beginning: str) -> int:
    return 1 + next(number for number, line in enumerate(text.split("\n")) if line.startswith(beginning))


@pytest.mark.parametrize(
    ("text", "beginning", "message"),
    [
        (ONE + BNN + LEARNING, "[unweighting]", "learn the weights of events, and there is an [amplitude]"),
        (
            "[input]\nfile = 'zjet_weighted.lhe.gz'\n" + LEARNING,
            "[unweighting]",
            "learn the weights of events, and those of a file or of a generator are known",
        ),
        (ONE + BNN + TWO_STAGE + "model = 'here'\n", "model = 'here'", "[unweighting] model: it learns nothing"),
        (ONE + HIT_OR_MISS + "model = 'here'\n", "model = 'here'", "[unweighting] model: it learns nothing"),
        (
            "[input]\nfile = 'zjet_weighted.lhe.gz'\n" + TWO_STAGE + "model = 'here'\n",
            "model = 'here'",
            "[unweighting] model: it learns nothing",
        ),
    ],
)
def test_what_does_not_go_together_is_said_with_its_line(text, beginning, message, examples, tmp_path):
    whole_text = "[run]\nevents = 10\n[output]\nfiles = ['out.lhe']\n" + text.replace("zjet_", f"{examples}/zjet_")
    with pytest.raises(CardError) as caught:
        plan_chain(parse_card(whole_text, "card.toml", tmp_path))
    assert str(caught.value).startswith(f"card.toml:{line_of(whole_text, beginning)}: ")
    assert message in str(caught.value)
