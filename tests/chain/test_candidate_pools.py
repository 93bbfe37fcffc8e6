"""Candidates of a real process in pools: true weights only where they are asked for, once, and of the right points."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mlgen.card import parse_card
from mlgen.chain import plan_integration
from mlgen.chain.candidate_pool import CandidatePool, KnownPool
from mlgen.chain.candidates import CandidateSource
from mlgen.chain.crude_weights import crude_source, feature_count
from mlgen.chain.process_source import open_process
from mlgen.chain.process_stages import trained_stages
from mlgen.chain.record_file import RecordFile
from mlgen.chain.spool import TemporaryFiles
from mlgen.chain.stand_ins import StandIn, replaced
from mlgen.chain.surrogate_pool import SurrogatePool
from mlgen.errors import WriteFailure
from mlgen.hard_process.closed_forms import closed_form
from mlgen.hard_process.matrix_element import MatrixElement
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.subprocess import Subprocess
from mlgen.seeds import Work, random_generator
from mlgen.stages import silent

CARD = """
[run]
events = 1
[process]
reaction = "{reaction}"
energy = 13_000
pdf = "NNPDF23_lo_as_0130_qed"
scale = "m(z)"
matrix_element = "closed-form"
[process.cuts]
mass = {{ "mu+ mu-" = 50 }}
pt = {{ "mu+" = 20 }}
[phase_space]
plugin = "vegas"
budget = 2_000
"""
SEED = 6
BATCHES = (400, 300)


class Skewed(StandIn):
    """A surrogate that is wrong by a factor that depends on the point, and by another one of its own."""

    def __init__(self, element: MatrixElement, factor: float) -> None:
        super().__init__(element)
        self._factor = factor

    def evaluate(self, momenta, alpha_s):
        return self.element.evaluate(momenta, alpha_s) * np.exp(0.03 * momenta[:, 2, 0]) * self._factor


def source_of(reaction: str) -> CandidateSource:
    plan = plan_integration(parse_card(CARD.format(reaction=reaction), "card.toml", Path()))
    return trained_stages(plan, open_process(plan.card), silent).exact


@pytest.fixture(scope="module")
def one() -> CandidateSource:
    """Of a single subprocess."""
    return source_of("u u~ > mu+ mu-")


@pytest.fixture(scope="module")
def many() -> CandidateSource:
    """Of several subprocesses, which share matrix elements."""
    return source_of("p p > mu+ mu-")


@pytest.fixture
def files():
    with TemporaryFiles() as found:
        yield found


def skewed(exact: CandidateSource) -> CandidateSource:
    """Surrogates of up-type and of down-type quarks, which are wrong by different factors."""
    factors = itertools.cycle((0.7, 1.5))
    return exact.with_matrix_elements(
        replaced(exact.process.matrix_elements, lambda element: Skewed(element, next(factors)))
    )


def learning(exact: CandidateSource, files: TemporaryFiles) -> SurrogatePool:
    return SurrogatePool(crude_source(exact), exact, SEED, files, features=True, cost_ratio=7.0)


def with_surrogate(exact: CandidateSource, files: TemporaryFiles) -> SurrogatePool:
    return SurrogatePool(skewed(exact), exact, SEED, files)


def filled(pool: CandidatePool) -> CandidatePool:
    for n in BATCHES:
        pool.draw(n)
    return pool


def known(exact: CandidateSource) -> tuple[list[np.ndarray], list]:
    """True weights of the same points, zeros included, and what makes them events."""
    with TemporaryFiles() as files:
        pool = KnownPool(exact, SEED, files, 4)
        filled(pool)
        weights = [pool.candidates(number).weight for number in range(len(pool))]
        return weights, [pool.events(k, np.flatnonzero(weight)) for k, weight in enumerate(weights)]


#: Pools in which a true weight is that of the whole point, and the process.
Made = tuple[Callable[[CandidateSource, TemporaryFiles], SurrogatePool], str]
WHOLE: list[Made] = [(learning, "many"), (learning, "one"), (with_surrogate, "one")]


@pytest.fixture(params=WHOLE, ids=lambda made: f"{made[0].__name__}-{made[1]}")
def exact_and_pool(request, files) -> tuple[CandidateSource, SurrogatePool]:
    made, process = request.param
    exact = request.getfixturevalue(process)
    pool = made(exact, files)
    filled(pool)
    return exact, pool


def test_true_weights_are_those_of_the_true_matrix_elements_at_the_same_points(exact_and_pool):
    exact, pool = exact_and_pool
    weights, _ = known(exact)
    for number, expected in enumerate(weights):
        candidates = pool.candidates(number)
        assert candidates.vanishes.tolist() == (expected == 0).tolist()
        assert 0 < np.count_nonzero(expected) < len(expected)
        found = candidates.exact_weight(np.arange(len(expected)))
        assert found == pytest.approx(expected, rel=1e-12, abs=0)
        # What is known before is something else.
        inside = expected != 0
        assert np.ptp(candidates.weight[inside] / expected[inside]) > 0.1
        assert np.all(candidates.weight[~inside] == 0)


def test_points_that_are_evaluated_together_have_the_same_bits_in_two_pools(one, files):
    """And those that are evaluated with others agree to rounding."""
    pool = with_surrogate(one, files)
    filled(pool)
    with TemporaryFiles() as others:
        again = with_surrogate(one, others)
        filled(again)
        index = np.arange(0, BATCHES[0], 3)
        first = pool.candidates(0).exact_weight(index)
        assert first.tobytes() == again.candidates(0).exact_weight(index).tobytes()
    for number, place in enumerate(index[:10]):
        with TemporaryFiles() as others:
            alone = with_surrogate(one, others)
            alone.draw(BATCHES[0])
            found = alone.candidates(0).exact_weight(np.array([place]))
            assert found[0] == pytest.approx(first[number], rel=1e-12, abs=0)


def test_true_weights_may_be_asked_for_piecemeal_twice_and_in_any_order(exact_and_pool):
    exact, pool = exact_and_pool
    weights, _ = known(exact)
    rng = np.random.default_rng(2)
    asked: list[set[int]] = [set(), set()]
    for turn in range(12):
        number = turn % 2
        index = rng.permutation(BATCHES[number])[: rng.integers(0, 120)]
        found = pool.candidates(number).exact_weight(index)
        assert found == pytest.approx(weights[number][index], rel=1e-12, abs=0)
        asked[number] |= set(index[weights[number][index] != 0].tolist())
        # Each once, and none that vanishes.
        assert pool.evaluations == sum(map(len, asked))
    before = pool.evaluations
    for number in (1, 0):
        index = np.array(sorted(asked[number]))[::-1]
        assert pool.candidates(number).exact_weight(index) == pytest.approx(weights[number][index], rel=1e-12, abs=0)
    assert pool.evaluations == before


def test_what_vanishes_is_zero_and_costs_nothing(exact_and_pool):
    _, pool = exact_and_pool
    candidates = pool.candidates(0)
    vanishing = np.flatnonzero(candidates.vanishes)
    assert len(vanishing) > 10
    assert np.all(candidates.exact_weight(vanishing) == 0)
    assert pool.evaluations == 0
    assert candidates.exact_weight(np.zeros(0, np.int64)).shape == (0,)
    assert (
        pool.kept + sum(np.count_nonzero(pool.candidates(k).vanishes) for k in range(2)) == pool.total == sum(BATCHES)
    )


def test_events_are_the_points_that_the_weights_belong_to(exact_and_pool):
    """Those of the pool with the true matrix elements: momenta, subprocess, scale, coupling, channel."""
    exact, pool = exact_and_pool
    _, expected = known(exact)
    for number, whole in enumerate(expected):
        places = np.arange(0, len(whole), 4)
        index = whole.index[places]
        pool.candidates(number).exact_weight(index)
        evaluations = pool.evaluations
        found = pool.events(number, index)
        assert pool.evaluations == evaluations
        assert found.index.tolist() == index.tolist()
        assert found.momenta == pytest.approx(whole.momenta[places], rel=1e-12, abs=1e-9)
        for name in ("scale", "alpha_s"):
            assert getattr(found, name) == pytest.approx(getattr(whole, name)[places], rel=1e-12), name
        for name in ("channel", "subprocess"):
            assert getattr(found, name).tolist() == getattr(whole, name)[places].tolist(), name


def test_a_true_weight_is_the_crude_one_times_the_matrix_element_at_the_events_momenta(one, files):
    """The closed form is evaluated here, at what stands in the events."""
    pool = learning(one, files)
    filled(pool)
    form = closed_form(Subprocess.of(one.process.subprocesses[0].pdg_ids), ModelParameters())
    candidates = pool.candidates(1)
    index = np.flatnonzero(~candidates.vanishes)
    weight = candidates.exact_weight(index)
    events = pool.events(1, index)
    squared = form.evaluate(events.momenta, events.alpha_s)
    assert weight == pytest.approx(candidates.weight[index] * squared, rel=1e-9)


def test_features_and_costs_are_passed_on(many, files):
    pool = learning(many, files)
    filled(pool)
    candidates = pool.candidates(0)
    assert candidates.cost_ratio == 7.0
    features = candidates.features
    assert features.shape == (BATCHES[0], feature_count(many))
    subprocesses = len(many.process.subprocesses)
    inside = ~candidates.vanishes
    # The last are shares of the subprocesses.
    assert features[inside, -subprocesses:].sum(axis=1) == pytest.approx(1)
    assert np.all(features[~inside] == 0)


def test_of_several_subprocesses_the_surrogate_chooses_one_and_the_weight_makes_up_for_it(many, files):
    """Weight times probability is the true contribution of the one that was chosen; averages are right for each.

    The latter at four standard errors of the choice alone, for the same points.
    """
    pool = with_surrogate(many, files)
    n = 4000
    pool.draw(n)
    batches = {}
    for name, source in (("true", many), ("surrogate", skewed(many))):
        batches[name] = source.draw(n, random_generator(SEED, Work.SAMPLE_PHASE_SPACE, 0))
    true, guess = batches["true"].contributions(), batches["surrogate"].contributions()
    share = np.abs(guess) / np.maximum(np.abs(guess).sum(axis=1, keepdims=True), 1e-300)
    alike = (guess != 0) / np.maximum((guess != 0).sum(axis=1, keepdims=True), 1)
    probability = 0.95 * share + 0.05 * alike
    candidates = pool.candidates(0)
    index = np.flatnonzero(~candidates.vanishes)
    weight = candidates.exact_weight(index)
    subprocess = candidates.groups["process"][index]
    assert pool.events(0, index).subprocess.tolist() == subprocess.tolist()
    assert pool.evaluations == len(index)
    chosen = true[index, subprocess], probability[index, subprocess]
    assert weight * chosen[1] == pytest.approx(chosen[0], rel=1e-9)
    assert candidates.weight[index] * chosen[1] == pytest.approx(guess[index, subprocess], rel=1e-9)
    for number in range(true.shape[1]):
        found = np.sum(weight[subprocess == number])
        expected = np.sum(true[:, number])
        p, t = probability[index, number], true[index, number]
        deviation = np.sqrt(np.sum(np.where(p > 0, t**2 * (1 - p) / np.where(p > 0, p, 1), 0)))
        assert abs(found - expected) < 4 * deviation
        assert deviation < 0.2 * expected


def test_a_pool_that_ends_with_the_last_one_needed(many, files):
    """The numbers that choose subprocesses are those of all that were drawn: the others change nothing."""
    short = KnownPool(many, SEED, files, 4)
    short.draw(BATCHES[0], at_most=50)
    assert (short.kept, short.size_of(0)) == (50, short.total)
    weights, events = known(many)
    assert short.candidates(0).weight.tolist() == weights[0][: short.total].tolist()
    found = short.events(0, events[0].index[:50])
    assert found.momenta.tobytes() == events[0].momenta[:50].tobytes()
    assert found.subprocess.tolist() == events[0].subprocess[:50].tolist()
    with TemporaryFiles() as others:
        learned = learning(many, others)
        learned.draw(BATCHES[0], at_most=50)
        assert (learned.kept, learned.total) == (50, short.total)
        index = events[0].index[:50]
        assert learned.candidates(0).exact_weight(index) == pytest.approx(weights[0][index], rel=1e-12)
        assert learned.events(0, index).subprocess.tolist() == found.subprocess.tolist()


# Records on disk

KIND = np.dtype([("number", np.int32), ("vector", np.float64, (2,))])


def test_records_come_back_part_by_part(tmp_path):
    file = RecordFile(tmp_path / "records", KIND)
    parts = [{"number": np.arange(n), "vector": np.arange(2.0 * n).reshape(n, 2)} for n in (3, 0, 2)]
    assert [file.append(part) for part in parts] == [0, 1, 2]
    assert (len(file), file.records) == (3, 5)
    for number in (2, 0, 1):
        found = file.read(number)
        assert found["number"].tolist() == parts[number]["number"].tolist()
        assert found["vector"].tolist() == parts[number]["vector"].tolist()
    file.clear()
    assert (len(file), file.records, file.path.exists()) == (0, 0, False)
    file.append(parts[2])
    assert file.read(0)["number"].tolist() == [0, 1]


def test_a_full_disk_is_said_and_a_folder_that_is_gone(tmp_path):
    part = {"number": np.arange(9000), "vector": np.ones((9000, 2))}
    full = RecordFile(Path("/dev/full"), KIND)
    with pytest.raises(WriteFailure, match=r"/dev: the candidates cannot be kept there: No space left .*; set TMPDIR"):
        full.append(part)
    # What was not written is not among the parts.
    assert (len(full), full.records) == (0, 0)
    with pytest.raises(WriteFailure, match=f"{tmp_path / 'gone'}: .*No such file or directory"):
        RecordFile(tmp_path / "gone" / "records", KIND).append(part)


def test_a_pool_says_that_the_disk_is_full(one, files):
    pool = with_surrogate(one, files)
    pool._points.path = Path("/dev/full")
    with pytest.raises(WriteFailure, match="set TMPDIR"):
        pool.draw(2000)
