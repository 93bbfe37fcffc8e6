"""Cross sections of processes: the estimate, its error, when it stops, and models that fit or do not."""

import math

import numpy as np
import pytest
from scipy.stats import kstest

from mlgen.card import parse_card
from mlgen.chain import integrate, plan_chain, plan_integration, train_chain
from mlgen.chain.sums import Sums, consistency
from mlgen.chain.weight_efficiency import WeightModuli
from mlgen.errors import CardError, ModelError, PluginFailure, ProcessError, TrainingError
from mlgen.hard_process.matrix_element import ColorFlow, MatrixElement, MatrixElements
from mlgen.hookspecs import Tool
from mlgen.plugins import Registered, Source, plugin_manager
from mlgen.report import render
from mlgen.stages import Settings
from mlgen.store import read_record

PROCESS = "[process]\nreaction = 'e- e+ > mu- mu+'\nbeams = ['e-', 'e+']\nenergy = 10\n"
FLAT = "[phase_space]\nplugin = 'flat'\nbudget = 2000\n"


def card(text, directory):
    return parse_card(text, "card.toml", directory)


def integrated(text, directory):
    return integrate(plan_integration(card(text, directory)))


def test_a_known_cross_section(known, tmp_path):
    result = integrated(PROCESS + FLAT + "[integration]\npoints = 50_000\nbatch_size = 1000\n", tmp_path)
    assert result.points == 50_000
    assert result.stopped_by == "points"
    assert abs(result.cross_section - known.cross_section) < 4 * result.error
    # Var f = integral of f^2 - (integral of f)^2.
    second_moment = 100 * (4 / 3) * (7 / 8) * (9 / 5) * (31 / 32)
    error = math.sqrt((second_moment - known.cross_section**2) / 50_000)
    assert result.error == pytest.approx(error, rel=0.05)
    assert sum(c.cross_section for c in result.channels) == pytest.approx(result.cross_section, rel=1e-12)
    parts = {c.name: c.cross_section for c in result.subprocesses}
    assert parts == pytest.approx(
        {"e- e+ > mu- mu+": 1.5 * result.cross_section, "e+ e- > mu- mu+": -0.5 * result.cross_section}
    )
    # A quarter of the points is inside the cuts.
    assert result.outside_cuts == pytest.approx(37_500, abs=4 * math.sqrt(50_000 * 3 / 16))
    assert result.effective_sample_size == pytest.approx(50_000 * known.cross_section**2 / second_moment, rel=0.05)
    assert result.efficiency_at_maximum.overweight_share == 0
    assert result.consistency.degrees_of_freedom == 9
    assert "cross section" in render(result.page())


def test_errors_cover_the_truth(known, tmp_path):
    """Pulls over 60 seeds: mean 0 and width 1, at four standard errors each."""
    text = PROCESS + FLAT + "[integration]\npoints = 2000\n[run]\nseed = {}\n"
    results = [integrated(text.format(seed), tmp_path) for seed in range(60)]
    pulls = np.array([(r.cross_section - known.cross_section) / r.error for r in results])
    assert abs(pulls.mean()) < 4 / math.sqrt(60)
    assert abs(pulls.std(ddof=1) - 1) < 4 / math.sqrt(2 * 59)


def test_the_same_seed_gives_the_same_numbers_and_another_one_others(known, tmp_path):
    text = PROCESS + FLAT + "[integration]\npoints = 3000\n[run]\nseed = {}\n"
    first, again, other = (integrated(text.format(seed), tmp_path).cross_section for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("limits", "stopped_by"),
    [
        ("precision = 0.02\npoints = 1_000_000\nbatch_size = 500", "precision"),
        ("precision = 0.0001\npoints = 4000", "points"),
        ("precision = 0.0001\ntime = 0.2\nbatch_size = 500", "time"),
    ],
)
def test_it_stops_at_what_is_reached_first(limits, stopped_by, known, tmp_path):
    result = integrated(PROCESS + FLAT + f"[integration]\n{limits}\n", tmp_path)
    assert result.stopped_by == stopped_by
    if stopped_by == "precision":
        assert result.relative_error <= 0.02
        assert result.points < 100_000
        # Not before there is something to compare.
        assert len(result.consistency.iterations) == 10


def test_a_precision_is_reached_when_nothing_is_asked_for(known, tmp_path):
    result = integrated(PROCESS + "[phase_space]\nplugin = 'vegas'\nbudget = 20_000\n", tmp_path)
    assert (result.stopped_by, result.relative_error <= 0.001) == ("precision", True)


def test_what_is_wrong_with_values_is_said(known, tmp_path):
    text = PROCESS + FLAT + "[integration]\npoints = 2000\n"
    assert integrated(text, tmp_path).remarks == ()
    known.broken = "not finite"
    result = integrated(text, tmp_path)
    assert result.not_finite > 0
    assert f"at {result.not_finite:,} of 2,000 points evaluated the integrand is not finite" in result.remarks[0]
    known.broken = "negative"
    result = integrated(text, tmp_path)
    assert result.negative > 0
    assert "the integrand is negative, because parton densities or the matrix element are" in result.remarks[0]
    assert result.cross_section < known.cross_section


@pytest.mark.parametrize("plugin", ["flat", "vegas"])
@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("no phase space", r"(?s)zero at all ([\d,]+) points that were tried; of these\n  \1 are outside the cuts"),
        (
            "never finite",
            r"(?s)\d have a matrix element that is infinite or not a number.*outside the cuts|"
            r"(?s:outside the cuts.*\d have a matrix element that is infinite or not a number)",
        ),
    ],
)
def test_why_nothing_counts_is_said(plugin, broken, reason, known, tmp_path):
    known.broken = broken
    with pytest.raises(ProcessError, match=reason):
        integrated(PROCESS + f"[phase_space]\nplugin = '{plugin}'\nbudget = 4000\n", tmp_path)


def test_another_trouble_of_a_training_is_said_with_the_counts(known, tmp_path, monkeypatch):
    from mlgen_vegas.flat_sampler import FlatSampler

    def train(self, integrand, budget, rng, progress):
        integrand(rng.random((100, 2)), np.zeros(100, int))
        raise TrainingError("the budget is too small")

    monkeypatch.setattr(FlatSampler, "train", train)
    known.broken = "not finite"
    with pytest.raises(TrainingError, match=r"the budget is too small\n  at \d+ of 100 points evaluated"):
        integrated(PROCESS + FLAT, tmp_path)


def test_a_sampler_that_breaks_its_contract_is_named(known, tmp_path, monkeypatch):
    from mlgen_vegas.flat_sampler import FlatSampler

    monkeypatch.setattr(FlatSampler, "channel_weights", lambda self, features, prior: prior * 1.1)
    with pytest.raises(PluginFailure, match=r"phase_space plugin 'flat' .*do not sum to one"):
        integrated(PROCESS + FLAT, tmp_path)


@pytest.mark.physics
@pytest.mark.parametrize("plugin", ["flat", "vegas"])
def test_muon_pairs_at_low_energy(plugin, tmp_path):
    """4 pi alpha^2 / (3 s), to which the Z adds some 1e-5 at 1 GeV; four standard errors."""
    text = PROCESS.replace("energy = 10", "energy = 1")
    result = integrated(
        text + f"[phase_space]\nplugin = '{plugin}'\nbudget = 10_000\n[integration]\nprecision = 0.002\n", tmp_path
    )
    expected = 4 * math.pi / (3 * 132.507**2) * 0.3893793721e9
    assert result.cross_section == pytest.approx(expected, abs=4 * result.error)
    assert result.error < 0.0021 * expected


def test_a_model_is_kept_and_used_for_its_process_only(known, tmp_path):
    text = PROCESS + FLAT + "model = 'models/mu'\n[integration]\npoints = 2000\n"
    trained = train_chain(plan_chain(card(text, tmp_path), training_only=True))
    assert trained.trained
    record = read_record(tmp_path / "models" / "mu")
    assert record.trained_on.process["energy"] == 10
    assert (record.trained_on.source, record.trained_on.budget) == ("e- e+ > mu- mu+", 2000)
    assert record.trained_on.events <= 2000
    result = integrated(text, tmp_path)
    assert not result.stage.trained
    assert result.stage.model_sha256 == trained.model_sha256
    assert result.training_calls == record.trained_on.events
    with pytest.raises(ModelError, match=r"another process \(e- e\+ > mu- mu\+\).*\n  energy: 10.0 then, 20.0 now\n"):
        integrated(text.replace("energy = 10", "energy = 20"), tmp_path)
    with pytest.raises(ModelError, match=r"trained with budget = 2,000, the card says budget = 3,000"):
        integrated(text.replace("budget = 2000", "budget = 3000"), tmp_path)
    with pytest.raises(
        ModelError, match=r"phase_space plugin 'flat' was asked to serve the phase_space plugin 'vegas'"
    ):
        integrated(text.replace("'flat'", "'vegas'"), tmp_path)
    plan = plan_integration(card(text.replace("energy = 10", "energy = 20"), tmp_path), retrain=True)
    assert integrate(plan).stage.trained


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[input]\nfile = 'e.lhe'\n", r"there is no \[process\] to integrate"),
        (PROCESS + "[phase_space]\nplugin = 'vega'\n", "did you mean 'vegas'"),
        (PROCESS + FLAT + "no_such = 1\n", r"card.toml:8: \[phase_space\] no_such: unknown key"),
        # What integrating does not need is checked as well.
        (PROCESS + "[unweighting]\nplugin = 'hit-or-mis'\n", "did you mean 'hit-or-miss'"),
        (PROCESS + "[unweighting]\nplugin = 'hit-or-miss'\nmax = 1\n", r"card.toml:7: \[unweighting\] max"),
        (PROCESS + "[generator]\nplugin = 'cfm'\n", r"card.toml:5: \[generator\]: it learns from events"),
        (PROCESS + "[shower]\nprogram = 'x'\n", r"card.toml:6: \[shower\] program: no parton shower is called 'x'"),
    ],
)
def test_what_cannot_be_integrated(text, message, tmp_path):
    with pytest.raises(Exception, match=message) as caught:
        plan_integration(card(text, tmp_path))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PROCESS, r"there is no output"),
        (PROCESS + "[output]\nfiles = ['x.lhe']\n", r"\[run\] events is missing"),
        (PROCESS + "[generator]\nplugin = 'cfm'\n[output]\nfiles = ['x.lhe']\n", "it learns from events"),
        (
            PROCESS + "[amplitude]\nplugin = 'bnn'\nfile = 'no.npz'\n[output]\nfiles = ['x.lhe']\n",
            "there is no such file",
        ),
        (PROCESS + "[process.parameters]\nno = 1\n", r"card.toml:6: \[process\] parameters.no: unknown key"),
    ],
)
def test_what_cannot_be_run(text, message, tmp_path):
    with pytest.raises(CardError, match=message):
        plan_chain(card(text, tmp_path))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("matrix_element = 'amplicl'", "no source of matrix elements is called 'amplicl'; did you mean 'amplicol'"),
        (
            "matrix_element = { program = 'closed-form', speed = 3 }",
            r"card.toml:5: \[process\] matrix_element.speed: unknown key",
        ),
    ],
)
def test_a_source_of_matrix_elements_that_cannot_be_used(lines, message, tmp_path):
    with pytest.raises(CardError, match=message):
        integrated(PROCESS + lines + "\n" + FLAT, tmp_path)


HADRONS = "[process]\nenergy = 13_000\npdf = 'NNPDF23_lo_as_0130_qed'\nscale = 1e12\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PROCESS.replace("> mu-", "> e-"), r"^card.toml:2: \[process\] reaction: e- e\+ > e- mu\+ is impossible"),
        (PROCESS + "[process.cuts]\npt = { j = 3 }\n", r"^card.toml:5: \[process\] cuts: pt of 'j': no subprocess"),
        (PROCESS + "[process.channels]\nonly = 'q(mu-)'\n", r"^card.toml:5: \[process\] channels: only has"),
        (
            HADRONS + "reaction = 'p p > j j'\n",
            r"(?s)^card.toml:1: \[process\] cuts: p p > j j: the cross section is infinite.*pt = \{ j = 20 \}$",
        ),
        (
            HADRONS + "reaction = 'p p > t t~'\n",
            r"(?s)are outside the grid of the parton densities \(x from 1e-09 to 1, scales from 1 to 1e\+04 GeV\)",
        ),
    ],
)
def test_what_is_wrong_with_a_process_is_said_with_its_place(text, message, tmp_path):
    with pytest.raises(ProcessError, match=message) as caught:
        integrated(text + "[phase_space]\nplugin = 'vegas'\nbudget = 5000\n", tmp_path)
    assert "not asked" not in str(caught.value)


class OwnSettings(Settings):
    """Settings of a source of matrix elements that fails."""

    fails: str


class OwnElement(MatrixElement):
    color_flows = (ColorFlow((0,) * 4, (0,) * 4),)

    def __init__(self, fails: str) -> None:
        self.fails = fails

    def evaluate(self, momenta, alpha_s):
        if self.fails == "evaluate":
            raise KeyError("mass")
        return np.ones((len(momenta), 2) if self.fails == "shape" else len(momenta))


class OwnSource(MatrixElements):
    def prepare(self, subprocesses, parameters):
        if self.settings.fails == "prepare":
            raise ValueError("nothing there")
        return [OwnElement(self.settings.fails) for _ in subprocesses]

    def fingerprint(self):
        return {}


@pytest.fixture
def own_source(monkeypatch):
    """A source of matrix elements besides those of the environment, and only that of the closed forms."""
    manager = plugin_manager()
    source = Source("own-package", "2.1", "own")
    own = Registered(Tool("own", lambda: OwnSource, OwnSettings, "fails", contract_version=1), source)
    closed = [tool for tool in manager.tools["matrix_elements"] if tool.offer.name == "closed-form"]
    monkeypatch.setitem(manager.tools, "matrix_elements", (*closed, own))


@pytest.mark.parametrize(
    ("fails", "problem"),
    [
        ("prepare", "failed: ValueError: nothing there"),
        ("evaluate", "failed: KeyError: 'mass'"),
        ("shape", "evaluate gave an array"),
    ],
)
def test_a_source_of_matrix_elements_that_fails_is_named(fails, problem, own_source, tmp_path):
    lines = f"matrix_element = {{ program = 'own', fails = '{fails}' }}\n"
    with pytest.raises(PluginFailure) as caught:
        integrated(PROCESS + lines + FLAT, tmp_path)
    assert str(caught.value).startswith("matrix elements 'own' of own-package 2.1")
    assert problem in str(caught.value)


def test_sources_that_were_not_asked_are_told_where_no_other_has_the_reaction(own_source, tmp_path):
    with pytest.raises(ProcessError) as caught:
        integrated(PROCESS.replace("mu- mu+", "w- w+").replace("10", "200") + FLAT, tmp_path)
    assert str(caught.value).startswith("card.toml:1: [process]: e- e+ > w- w+: no source has the matrix element")
    assert "\n  'closed-form' of mlgen-hep" in str(caught.value)
    assert "\n  'own' of own-package 2.1: not asked: fails: Field required" in str(caught.value)


def test_training_needs_a_folder(tmp_path):
    with pytest.raises(CardError, match=r'\[phase_space\] model = "FOLDER"'):
        plan_chain(card(PROCESS, tmp_path), training_only=True)


def test_iterations_of_a_sound_sample_agree_and_of_an_unsound_one_do_not():
    """p-values over 200 samples are uniform (Kolmogorov-Smirnov, 0.1 %)."""
    rng = np.random.default_rng(5)
    p_values = []
    for _ in range(200):
        found = consistency([Sums.of(rng.exponential(size=200)) for _ in range(20)], 10)
        p_values.append(found.p_value)
        assert [iteration.points for iteration in found.iterations] == [400] * 10
    assert kstest(p_values, "uniform").pvalue > 0.001
    drifting = [Sums.of(rng.exponential(size=200) + 0.1 * k) for k in range(20)]
    assert consistency(drifting, 10).p_value < 1e-6


def test_one_iteration_is_compared_with_nothing():
    found = consistency([Sums.of(np.ones(3))], 10)
    assert found.degrees_of_freedom == 0
    assert math.isnan(found.p_value)


@pytest.mark.parametrize("width", [0.3, 1.5])
def test_efficiencies_are_those_of_an_unweighting(width):
    rng = np.random.default_rng(6)
    weight = rng.lognormal(0, width, 20_000) * (rng.random(20_000) < 0.7)
    moduli = WeightModuli()
    for part in np.array_split(weight, 7):
        moduli.add(part)
    largest = moduli.at_largest()
    assert largest.maximum_weight == weight.max()
    assert largest.efficiency == pytest.approx(weight.mean() / weight.max(), rel=1e-12)
    # The smallest maximum with the excess allowed, by bisection over the weights themselves.
    low, high = 0.0, weight.max()
    for _ in range(100):
        middle = (low + high) / 2
        if np.maximum(weight - middle, 0).sum() <= 0.001 * weight.sum():
            high = middle
        else:
            low = middle
    found = moduli.at_overweight_share(0.001)
    assert found.maximum_weight == pytest.approx(high, rel=2e-3)
    assert found.efficiency == pytest.approx(np.minimum(weight, high).mean() / high, rel=2e-3)
    assert found.overweight_share == pytest.approx(0.001, rel=0.05)
    assert found.overweight_share <= 0.001 * (1 + 1e-9)


def test_without_any_weight_there_is_no_efficiency():
    moduli = WeightModuli()
    moduli.add(np.zeros(5))
    assert math.isnan(moduli.at_overweight_share(0.001).efficiency)
