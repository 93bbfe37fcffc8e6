import json
import sys

import awkward as ak
import numpy as np
import pytest
from scipy.stats import kstest

from mlgen.errors import ProcessError
from mlgen.hard_process.drawing import drawn_columns
from mlgen.hard_process.hard_process import HardProcess
from mlgen.hard_process.integrand import HardPoints
from mlgen.hard_process.matrix_element import ColorFlow, MatrixElement, MatrixElements
from mlgen.hard_process.settings import ProcessSettings
from mlgen.hard_process.source_errors import MatrixElementFailure
from mlgen.stages import Settings

pytest.importorskip("pythia8mc")

#: Colour flows of g g > t t~, lines from 501.
FLOWS = (
    ColorFlow((501, 502, 501, 0), (502, 503, 0, 503)),
    ColorFlow((501, 503, 503, 0), (502, 501, 0, 502)),
)


class TwoFlows(MatrixElement):
    """Draws the first flow for top quarks that go forward, the second for those that go backward."""

    color_flows = FLOWS

    def evaluate(self, momenta, alpha_s):
        return np.ones(len(momenta))

    def color_flow_weights(self, momenta):
        forward = momenta[:, 2, 2] / momenta[:, 2, 3] > momenta[:, 3, 2] / momenta[:, 3, 3]
        return np.stack([forward, ~forward], axis=1).astype(np.float64)


class TestMatrixElements(MatrixElements):
    __test__ = False

    def prepare(self, subprocesses, parameters):
        return [TwoFlows()] * len(subprocesses)

    def fingerprint(self):
        return {"program": "test", "version": "1"}


class NoMatrixElements(MatrixElements):
    def prepare(self, subprocesses, parameters):
        raise ProcessError("nothing for g g > t t~ here")

    def fingerprint(self):
        return {}


BASE = {"reaction": "g g > t t~", "energy": 13_000, "pdf": "NNPDF23_lo_as_0130_qed", "scale": "ht/2"}


def process(sources=(), **settings):
    return HardProcess(ProcessSettings(**(BASE | settings)), sources or [TestMatrixElements(Settings())])


@pytest.fixture(scope="module")
def gluons_to_top_quarks():
    return process()


def hard_points(hard_process, n, seed=1):
    rng = np.random.default_rng(seed)
    integrand = hard_process.integrand
    points = integrand.points(rng.random((n, integrand.dimensions)), rng.integers(len(integrand.channels), size=n))
    assert (points.value != 0).all()
    return points


def test_events_are_a_valid_record(gluons_to_top_quarks):
    points = hard_points(gluons_to_top_quarks, 500)
    rng = np.random.default_rng(2)
    subprocess, factor = gluons_to_top_quarks.draw_subprocesses(points, rng.random(len(points)))
    assert (subprocess == 0).all()
    assert (factor == 1).all()
    weight = np.linspace(1, 2, 500)
    events = gluons_to_top_quarks.events(
        points.momenta, subprocess, weight, points.factorisation_scale, points.alpha_s, rng
    )
    assert len(events) == 500
    particles = {name: np.asarray(events.particles[name]) for name in events.particles.fields}
    assert (particles["pdg_id"] == [21, 21, 6, -6]).all()
    assert (particles["status"] == [-1, -1, 1, 1]).all()
    assert (particles["mother1"] == [0, 0, 1, 1]).all()
    assert (particles["mother2"] == [0, 0, 2, 2]).all()
    assert (particles["spin"] == 9).all()
    assert (particles["generated_mass"] == [0, 0, 173, 173]).all()
    momenta = np.stack([particles[name] for name in ("px", "py", "pz", "energy")], axis=-1)
    total = momenta[:, :2].sum(axis=1)
    np.testing.assert_allclose(momenta[:, 2:].sum(axis=1), total, rtol=0, atol=1e-9 * total[:, 3].min())
    squared = momenta[..., 3] ** 2 - (momenta[..., :3] ** 2).sum(axis=-1)
    np.testing.assert_allclose(squared[:, :2], 0, atol=1e-9)
    np.testing.assert_allclose(squared[:, 2:], 173.0**2, atol=1e-9 * (momenta[:, 2:, 3] ** 2).max())
    # The same events, each turned about the beams by an angle of its own.
    np.testing.assert_allclose(momenta[..., 2:], points.momenta[..., 2:], rtol=1e-9, atol=1e-7)
    before, after = (p[..., 0] + 1j * p[..., 1] for p in (points.momenta[:, 2:], momenta[:, 2:]))
    np.testing.assert_allclose(after[:, 0] * after[:, 1].conj(), before[:, 0] * before[:, 1].conj(), rtol=1e-6)
    angle = np.angle(after[:, 0] / before[:, 0])
    assert kstest(angle, "uniform", args=(-np.pi, 2 * np.pi)).pvalue > 1e-4
    np.testing.assert_array_equal(events.weight, weight)
    np.testing.assert_array_equal(events.scale, points.factorisation_scale)
    np.testing.assert_array_equal(events.alpha_qcd, points.alpha_s)
    np.testing.assert_allclose(events.alpha_qed, 1 / 132.507)


def test_color_flow_is_drawn_from_the_flows_of_the_matrix_element(gluons_to_top_quarks):
    points = hard_points(gluons_to_top_quarks, 300)
    index = np.zeros(300, int)
    events = gluons_to_top_quarks.events(
        points.momenta, index, points.value, points.factorisation_scale, points.alpha_s, np.random.default_rng(3)
    )
    forward = points.momenta[:, 2, 2] / points.momenta[:, 2, 3] > points.momenta[:, 3, 2] / points.momenta[:, 3, 3]
    for color, anticolor, is_forward in zip(events.particles.color1, events.particles.color2, forward, strict=True):
        flow = FLOWS[0] if is_forward else FLOWS[1]
        assert (tuple(color), tuple(anticolor)) == (flow.color, flow.anticolor)


def test_same_seed_same_events():
    hard_process = process(reaction="p p > t t~")
    points = hard_points(hard_process, 200)
    drawn = []
    for _ in range(2):
        rng = np.random.default_rng(7)
        index, _ = hard_process.draw_subprocesses(points, rng.random(len(points)))
        drawn.append(
            hard_process.events(
                points.momenta, index, points.value, points.factorisation_scale, points.alpha_s, rng
            ).particles
        )
    assert ak.all(drawn[0] == drawn[1])


def uniform(points):
    return np.random.default_rng(1).random(len(points))


def points_with(values):
    n = len(values)
    nothing = np.zeros(n)
    return HardPoints(np.zeros((n, 4, 4)), values.sum(axis=1), nothing, nothing, values, nothing, nothing, nothing)


def test_subprocesses_are_drawn_in_proportion(gluons_to_top_quarks):
    values = np.tile([[0.5, 0.0, 1.5]], (40_000, 1))
    index, factor = gluons_to_top_quarks.draw_subprocesses(points_with(values), uniform(values))
    assert (factor == 1).all()
    assert set(index) == {0, 2}
    # 5 standard deviations of a binomial with p = 1 / 4.
    assert abs(np.mean(index == 0) - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 40_000)
    all_negative = points_with(-values)
    index, factor = gluons_to_top_quarks.draw_subprocesses(all_negative, uniform(all_negative))
    assert (factor == 1).all()


def test_weights_of_each_subprocess_are_right_where_signs_differ(gluons_to_top_quarks):
    values = np.tile([[2.0, -0.5, 1.0, 0.0]], (100_000, 1))
    points = points_with(values)
    index, factor = gluons_to_top_quarks.draw_subprocesses(points, uniform(points))
    for number, expected in enumerate(values[0]):
        weight = np.where(index == number, points.value * factor, 0.0)
        assert abs(weight.mean() - expected) <= 5 * weight.std() / np.sqrt(len(weight))
    none, factor = gluons_to_top_quarks.draw_subprocesses(points_with(np.zeros((3, 2))), uniform(range(3)))
    assert len(none) == 3
    assert (factor == 0).all()


def test_run_info(gluons_to_top_quarks):
    info = gluons_to_top_quarks.run_info(500.0, 2.0, 800.0)
    assert info.init_numbers == [2212, 2212, 6500.0, 6500.0, 0, 0, 247000, 247000, 4, 1]
    assert (info.cross_section, info.cross_section_error) == (500.0, 2.0)
    assert info.processes[0].maximum_weight == 800.0
    assert gluons_to_top_quarks.run_info(1.0, 0.1, 1.0, negative=True).weight_strategy == -4
    assert gluons_to_top_quarks.run_info(1.0, 0.1, 1.0, weight_strategy=3).weight_strategy == 3


def test_fingerprint_tells_integrands_apart(gluons_to_top_quarks):
    known = gluons_to_top_quarks.fingerprint
    assert json.loads(json.dumps(known)) == known
    assert process().fingerprint == known
    for changed in (
        {"energy": 14_000},
        {"scale": 91.0},
        {"factorisation_scale": 91.0},
        {"alpha_s": 0.118},
        {"pdf": "NNPDF23_lo_as_0119_qed"},
        {"cuts": {"pt": {"t": 10}}},
        {"channels": {"drop": ["t[t]"]}},
        {"parameters": {"mass": {"t": 172.5}}},
        {"reaction": "p p > t t~"},
        {"beams": ["p", "p~"]},
    ):
        assert process(**changed).fingerprint != known, changed


def test_fingerprint_has_what_the_keys_of_cuts_mean():
    def cuts(**labels):
        known = {"reaction": "g g > t t~ g", "cuts": {"pt": {"x": 20}}, "labels": labels}
        return process(**known).fingerprint["cuts"]

    assert cuts(x="g") == {"pt of 5": [20.0, None]}
    assert cuts(x="g t t~") == {f"pt of {number}": [20.0, None] for number in (3, 4, 5)}
    # Where subprocesses differ, each has its own.
    both = process(reaction="p p > t t~ j", cuts={"pt": {"j": 20, "g": [30, 500]}})
    outgoing = [subprocess.outgoing[2] for subprocess in both.subprocesses]
    assert both.fingerprint["cuts"] == {"pt of 5": [[30.0, 500.0] if g == 21 else [20.0, None] for g in outgoing]}


class Failing(TwoFlows):
    """Fails, or gives something else than what was asked for, in one of its methods."""

    def __init__(self, values=None, drawn=None):
        self.values, self.drawn = values, drawn

    def evaluate(self, momenta, alpha_s):
        return np.ones(len(momenta)) if self.values is None else self.values(len(momenta))

    def draw_color_flows(self, momenta, uniform):
        return np.zeros(len(momenta), int) if self.drawn is None else self.drawn(len(momenta))


class FailingMatrixElements(TestMatrixElements):
    def __init__(self, **given):
        super().__init__(Settings())
        self.given = given

    def prepare(self, subprocesses, parameters):
        return [Failing(**self.given)] * len(subprocesses)


def raises(n):
    raise RuntimeError(f"no values for {n} points")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (raises, "failed: RuntimeError: no values for"),
        (lambda n: np.ones((n, 1)), r"evaluate gave an array of float64 of the shape \((\d+), 1\) for \1 points"),
        (lambda n: 1.0, r"of the shape \(\) for"),
        (lambda n: np.ones(n, complex), "an array of complex128"),
    ],
)
def test_a_matrix_element_that_fails_is_told_by_its_source(values, problem):
    broken = process([FailingMatrixElements(values=values)])
    x, channel = np.full((5, broken.integrand.dimensions), 0.5), np.zeros(5, int)
    for evaluate in (broken.integrand, broken.integrand.points):
        with pytest.raises(MatrixElementFailure, match=f"FailingMatrixElements of tests.*{problem}"):
            evaluate(x, channel)


@pytest.mark.parametrize(
    ("drawn", "problem"),
    [
        (raises, "failed: RuntimeError"),
        (lambda n: np.full(n, 2), r"gave numbers from 2 to 2, .* numbers from 0 to 1, one for each point"),
        (lambda n: np.full(n, -1), "gave numbers from -1 to -1"),
        (lambda n: np.zeros(n), "gave an array of float64"),
        (lambda n: np.zeros(n + 1, int), r"of the shape \(6,\), for 5 points"),
    ],
)
def test_flows_that_there_are_not_are_told_by_their_source(drawn, problem):
    broken = process([FailingMatrixElements(drawn=drawn)])
    points = hard_points(broken, 5)
    with pytest.raises(MatrixElementFailure, match=f"FailingMatrixElements of .*{problem}"):
        broken.events(
            points.momenta, np.zeros(5, int), points.value, points.alpha_s, points.alpha_s, np.random.default_rng(1)
        )


def test_a_source_that_fails_or_prints_while_it_prepares(capsys):
    class Broken(TestMatrixElements):
        def prepare(self, subprocesses, parameters):
            sys.stdout.write("preparing\n")
            raise KeyError("u")

    with pytest.raises(MatrixElementFailure, match=r"Broken of .* failed: KeyError: 'u'"):
        process([Broken(Settings())])
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "preparing\n")


def test_a_column_without_weight_is_never_drawn():
    weights = np.array([[0.0, 0.3, 0.0, 0.7, 0.0]])
    largest = np.nextafter(1.0, 0.0)
    assert [int(drawn_columns(weights, np.array([u]))[0]) for u in (0.0, 0.29, 0.31, largest)] == [1, 1, 3, 3]
    assert drawn_columns(np.array([[1.0, 0.0]]) * 1e-310, np.array([largest])) == 0


def test_the_first_source_that_has_the_reaction_is_taken():
    none, some = NoMatrixElements(Settings()), TestMatrixElements(Settings())
    assert process([none, some]).source is some
    with pytest.raises(ProcessError, match=r"^nothing for g g > t t~ here$"):
        process([none])
    with pytest.raises(
        ProcessError, match=r"no source has the matrix element(\n  NoMatrixElements of tests: nothing.*){2}"
    ):
        process([none, none])
