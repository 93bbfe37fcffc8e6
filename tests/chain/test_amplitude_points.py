"""Training points of amplitudes: what they are distributed as, what belongs to them, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from mlgen.card import parse_card
from mlgen.chain import plan_integration
from mlgen.chain.amplitude_points import distinct_elements, draw_points
from mlgen.chain.candidates import CandidateSource
from mlgen.chain.process_source import open_process
from mlgen.chain.samplers import trained_sampler
from mlgen.errors import TrainingError
from mlgen.hard_process.matrix_element import MatrixElement
from mlgen.stages import Points, no_progress, silent

LEPTONS = """
[process]
reaction = "e- e+ > mu- mu+"
beams = ["e-", "e+"]
energy = 200
matrix_element = "closed-form"
[phase_space]
plugin = "flat"
budget = 2000
"""
DRELL_YAN = """
[process]
reaction = "q qb > mu- mu+"
labels = { q = "d s u", qb = "d~ s~ u~" }
energy = 13_000
pdf = "NNPDF23_lo_as_0130_qed"
scale = "m(z)"
matrix_element = "closed-form"
[process.cuts]
mass = { "mu- mu+" = 50 }
[phase_space]
plugin = "vegas"
budget = 10_000
"""
GLUONS = """
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
ALPHA_S = 0.118


def source_of(text: str) -> CandidateSource:
    plan = plan_integration(parse_card(text, "card.toml", Path.cwd()))
    process = open_process(plan.card)
    assert plan.sampler is not None
    sampler, _, _ = trained_sampler(plan, plan.sampler, process, silent)
    return CandidateSource(process, plan.sampler, sampler)


@pytest.fixture(scope="module")
def leptons() -> CandidateSource:
    return source_of(LEPTONS)


@pytest.fixture(scope="module")
def drell_yan() -> CandidateSource:
    return source_of(DRELL_YAN)


@pytest.fixture(scope="module")
def gluons() -> CandidateSource:
    return source_of(GLUONS)


def drawn(source: CandidateSource, number: int, draw: str = "mixture", seed: int = 1):
    return draw_points(source, number, draw, seed, no_progress)


def pair_mass(momenta: np.ndarray) -> np.ndarray:
    pair = momenta[:, 2] + momenta[:, 3]
    return np.sqrt(pair[:, 3] ** 2 - np.sum(pair[:, :3] ** 2, axis=1))


def cosine(momenta: np.ndarray) -> np.ndarray:
    """Of the angle between the first and the third particle, in the frame of two equal beams."""
    return momenta[:, 2, 2] / momenta[:, 2, 3]


# What they are distributed as


def weighted(source: CandidateSource, n: int = 200_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Momenta of independent points, the part of the first matrix element in their weights, and that over |M|^2."""
    batch = source.draw(n, np.random.default_rng(17))
    counts = batch.weight != 0
    (element, members), *_ = distinct_elements(source.process)
    momenta, weight = batch.points.momenta[counts], batch.contributions()[counts][:, members].sum(axis=1)
    return momenta, weight, weight / element.evaluate(momenta, np.full(len(weight), ALPHA_S))


def p_value(values: np.ndarray, reference: np.ndarray, weight: np.ndarray, edges: np.ndarray) -> float:
    """Of a histogram of unweighted points beside one of weighted points, by chi^2."""
    counts = np.histogram(values, edges)[0]
    share = len(values) / weight.sum()
    expected = share * np.histogram(reference, edges, weights=weight)[0]
    variance = expected + share**2 * np.histogram(reference, edges, weights=weight**2)[0]
    assert counts.sum() == len(values)
    assert np.all(expected > 5), expected
    return float(chi2.sf(np.sum((counts - expected) ** 2 / variance), len(counts) - 1))


#: Bins of the mass of a muon pair in GeV, and of the cosine of a scattering angle.
MASSES = np.array([50, 60, 75, 86, 90, 92, 96, 110, 13_000.0])
COSINES = np.linspace(-1, 1, 11)


@pytest.mark.physics
def test_points_like_events_have_the_mass_of_weighted_events(drell_yan):
    """The pair's mass about the Z, at a significance of 1e-4; that of a constant |M|^2 is excluded at 1e-10."""
    momenta, weight, flat = weighted(drell_yan)
    points = drawn(drell_yan, 2000, "matrix-element")[0]
    assert p_value(pair_mass(points.momenta), pair_mass(momenta), weight, MASSES) > 1e-4
    assert p_value(pair_mass(points.momenta), pair_mass(momenta), flat, MASSES) < 1e-10


@pytest.mark.physics
@pytest.mark.parametrize(("draw", "part"), [("phase-space", 0.0), ("mixture", 0.5)])
def test_points_of_phase_space_have_the_angles_of_a_constant_matrix_element(leptons, draw, part):
    """At a significance of 1e-4; any other mixture that could be meant is excluded at 1e-8."""
    momenta, weight, flat = weighted(leptons)
    points = drawn(leptons, 2000, draw)[0]
    for other in (0.0, 0.5, 1.0):
        expected = other * weight / weight.sum() + (1 - other) * flat / flat.sum()
        found = p_value(cosine(points.momenta), cosine(momenta), expected, COSINES)
        assert found > 1e-4 if other == part else found < 1e-8


@pytest.mark.physics
def test_points_of_phase_space_do_not_follow_the_sampler(drell_yan):
    """The pair's mass at a constant |M|^2, though most of what the sampler draws is at the Z: within 15 % in each bin.

    A bin of 100 points is known to 10 %, of 1000 to 3 %; the rest is room for drawing without replacement.
    """
    momenta, _, flat = weighted(drell_yan)
    points = drawn(drell_yan, 2000, "phase-space")[0]
    edges = np.array([50, 60, 75, 110, 160, 13_000.0])
    counts = np.histogram(pair_mass(points.momenta), edges)[0]
    expected = np.histogram(pair_mass(momenta), edges, weights=flat)[0] * len(points.values) / flat.sum()
    assert np.all(np.abs(counts - expected) < 0.15 * expected + 4 * np.sqrt(expected)), f"{counts}, {expected}"


# What belongs to them


def test_values_are_those_of_the_matrix_element_at_the_reference_coupling(gluons):
    (points,) = drawn(gluons, 500)
    (element,) = gluons.process.matrix_elements
    expected = element.evaluate(points.momenta, np.full(500, ALPHA_S))
    assert points.values == pytest.approx(expected, rel=1e-12)
    # At the candidates themselves the coupling runs.
    alpha_s = gluons.draw(500, np.random.default_rng(1)).points.alpha_s
    assert alpha_s[alpha_s > 0].std() > 0.001


def test_subprocesses_of_one_matrix_element_share_their_points(drell_yan):
    process = drell_yan.process
    names = [subprocess.pdg_ids[:2] for subprocess in process.subprocesses]
    elements = distinct_elements(process)
    assert [{names[number] for number in members} for _, members in elements] == [{(1, -1), (3, -3)}, {(2, -2)}]
    points = drawn(drell_yan, 300)
    assert [len(part.values) for part in points] == [300, 300]
    for (element, _), part in zip(elements, points, strict=True):
        expected = element.evaluate(part.momenta, np.full(300, ALPHA_S))
        assert part.values == pytest.approx(expected, rel=1e-12)
    # Not the same function: up quarks have another charge.
    other = elements[0][0].evaluate(points[1].momenta, np.full(300, ALPHA_S))
    assert np.median(np.abs(other / points[1].values - 1)) > 0.1


@pytest.mark.parametrize("draw", ["matrix-element", "phase-space", "mixture"])
def test_no_point_is_there_twice_and_the_seed_decides(leptons, draw):
    """So points that are held out are none of those that are trained on."""
    (first,), (again,), (other,) = (drawn(leptons, 1501, draw, seed) for seed in (1, 1, 2))
    assert len(np.unique(first.momenta.reshape(1501, -1), axis=0)) == 1501
    assert first.momenta.tobytes() == again.momenta.tobytes()
    assert first.values.tobytes() == again.values.tobytes()
    together = np.concatenate([first.momenta, other.momenta]).reshape(3002, -1)
    assert len(np.unique(together, axis=0)) == 3002


def test_the_order_of_points_is_random(leptons):
    """The first half of a mixture is one as well; Kolmogorov's distance of two halves, at about 1e-5."""
    (points,) = drawn(leptons, 2000)
    first, second = (np.sort(part) for part in np.split(cosine(points.momenta), 2))
    at = np.concatenate([first, second])
    distance = np.max(np.abs(np.searchsorted(first, at) - np.searchsorted(second, at))) / 1000
    assert distance < 2.45 * np.sqrt(2 / 1000)


def test_progress_is_told(leptons):
    told: list[Any] = []
    draw_points(leptons, 1000, "mixture", 1, told.append)
    assert told[-1].done == told[-1].total >= 1000


# What is refused


class Changed(MatrixElement):
    """A matrix element times a function of momenta and coupling."""

    def __init__(self, element: MatrixElement, change: Any) -> None:
        self.color_flows = element.color_flows
        self._element, self._change = element, change

    def evaluate(self, momenta, alpha_s):
        return self._element.evaluate(momenta, alpha_s) * self._change(momenta, alpha_s)


def changed(source: CandidateSource, *changes: Any) -> CandidateSource:
    elements = distinct_elements(source.process)
    new = [Changed(element, change) for (element, _), change in zip(elements, changes, strict=True)]
    of_each = {member: new[k] for k, (_, members) in enumerate(elements) for member in members}
    return source.with_matrix_elements([of_each[k] for k in range(len(of_each))])


def nothing(momenta, alpha_s):
    return np.ones(len(momenta))


def test_a_negative_matrix_element_is_refused(leptons):
    source = changed(leptons, lambda momenta, alpha_s: np.where(cosine(momenta) > 0.5, -1.0, 1.0))
    with pytest.raises(TrainingError) as caught:
        drawn(source, 200)
    assert str(caught.value).startswith("e- e+ > mu- mu+: |M|^2 is not positive at ")
    assert "a surrogate learns its logarithm" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda momenta, alpha_s: 1 + 1e-4 * alpha_s / ALPHA_S,
        # A power, and not that of the order.
        lambda momenta, alpha_s: alpha_s / ALPHA_S,
    ],
)
def test_a_matrix_element_that_is_no_power_of_the_coupling_is_refused(gluons, change):
    with pytest.raises(TrainingError, match=r"^g g > g g: \|M\|\^2 of .* does not grow with the power 2 of the strong"):
        drawn(changed(gluons, change), 200)
    assert len(drawn(changed(gluons, nothing), 200)[0].values) == 200


def test_more_points_than_there_are_candidates_is_an_error(drell_yan):
    """One of two matrix elements is zero at all of them."""
    with pytest.raises(TrainingError) as caught:
        drawn(changed(drell_yan, nothing, lambda momenta, alpha_s: np.zeros(len(momenta))), 2000)
    assert re.match(
        r"u u~ > mu- mu\+: [\d,]+ points are asked for, and 0 of [\d,]+ candidates count", str(caught.value)
    )


def test_a_matrix_element_that_is_seldom_there_gets_its_points(drell_yan):
    """As where the cuts of one subprocess are tight: it counts at a fortieth of the candidates."""
    source = changed(drell_yan, nothing, lambda momenta, alpha_s: (np.abs(pair_mass(momenta) - 91) > 30) * 1.0)
    first, second = drawn(source, 300)
    assert (len(first.values), len(second.values)) == (300, 300)
    assert np.all(np.abs(pair_mass(second.momenta) - 91) > 30)


class Interrupted:
    """A flat sampler whose second batch lies outside the cuts."""

    def __init__(self, sampler: Any) -> None:
        self._sampler, self.batches = sampler, 0

    def sample(self, n, rng):
        self.batches += 1
        points = self._sampler.sample(n, rng)
        x = np.full_like(points.x, 0.99999) if self.batches == 2 else points.x
        return Points(x, points.channel, points.density)

    def channel_weights(self, features, prior):
        return self._sampler.channel_weights(features, prior)


def test_a_batch_outside_the_cuts_does_not_matter():
    source = source_of(LEPTONS.replace("[phase_space]", '[process.cuts]\neta = { "mu-" = 1.5 }\n[phase_space]'))
    source._sampler = Interrupted(source._sampler)
    (points,) = drawn(source, 4000)
    assert source._sampler.batches == 3
    (element,) = source.process.matrix_elements
    assert points.values == pytest.approx(element.evaluate(points.momenta, np.full(4000, ALPHA_S)), rel=1e-12)
