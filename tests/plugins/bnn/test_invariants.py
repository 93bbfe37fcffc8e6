"""Invariants of momenta: against four-vectors, and under all that must not change them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mlgen.hard_process.amplitude_process import amplitude_process
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.subprocess import Subprocess
from mlgen.stages import AmplitudeProcess, InnerLine
from mlgen.testing import scattering_amplitudes
from mlgen_bnn.invariants import Invariants

METRIC = np.diag([-1.0, -1.0, -1.0, 1.0])
#: Name, incoming and outgoing particles; all with like particles but the second.
PROCESSES = {
    "g g > t t~ g": Subprocess((21, 21), (6, -6, 21)),
    "u u~ > mu- mu+ g": Subprocess((2, -2), (13, -13, 21)),
    "u u~ > g g g": Subprocess((2, -2), (21, 21, 21)),
    "g g > g g g": Subprocess((21, 21), (21, 21, 21)),
    "u u > u u g": Subprocess((2, 2), (2, 2, 21)),
    "g g > g g": Subprocess((21, 21), (21, 21)),
    "g g > t t~ g g": Subprocess((21, 21), (6, -6, 21, 21)),
}


def process_of(name):
    return amplitude_process(PROCESSES[name], ModelParameters(mass={"b": 0}))


def lorentz_transformation(rng):
    """A boost with a velocity of 0.8 after a rotation, ``(4, 4)``."""
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    rotation[:, 0] *= np.linalg.det(rotation)
    beta = 0.8 * rotation[:, 1]
    gamma = 1 / np.sqrt(1 - 0.8**2)
    boost = np.eye(4)
    boost[:3, :3] += (gamma - 1) * np.outer(beta, beta) / 0.8**2
    boost[:3, 3] = boost[3, :3] = gamma * beta
    boost[3, 3] = gamma
    turn = np.eye(4)
    turn[:3, :3] = rotation
    return boost @ turn


def naive_lines(process, momenta):
    """What the docstring says of each inner line, one point and one line at a time."""
    columns = []
    for line in process.inner_lines:
        values = []
        for point in momenta:
            q = sum((1 if slot < 2 else -1) * point[slot] for slot in line.slots)
            s = 2 * point[0] @ METRIC @ point[1]
            distance = q @ METRIC @ q - line.mass**2
            row = [np.log(abs(distance + 1j * line.mass * line.width) / s)]
            if line.width:
                row.append(np.arctan(distance / (line.mass * line.width)))
            values.append(row)
        columns.append(np.array(values))
    return columns


@pytest.mark.parametrize("name", PROCESSES)
def test_scalar_products_are_those_of_the_four_vectors(name, phase_space):
    process = process_of(name)
    invariants = Invariants(process)
    momenta = sorted_by_energy(process, phase_space(30, process.masses))
    features = invariants(momenta)
    s = np.array([2 * p[0] @ METRIC @ p[1] for p in momenta])
    assert invariants.pairs == tuple(itertools.combinations(range(len(process.pdg_ids)), 2))
    assert features.inputs.shape == (30, invariants.size)
    np.testing.assert_allclose(features.inputs[:, 0], np.log(s), rtol=1e-12)
    if len(process.pdg_ids) == 4 or process.pdg_ids[0] == process.pdg_ids[1]:
        return  # the order of like particles is another one; their invariants are tested by the others
    for column, (i, j) in enumerate(invariants.pairs):
        if column:
            expected = [2 * p[i] @ METRIC @ p[j] for p in momenta] / s
            np.testing.assert_allclose(features.inputs[:, column], np.log(expected), rtol=1e-8)


def sorted_by_energy(process, momenta):
    """Like outgoing particles in canonical order already, in the centre of mass."""
    momenta = momenta.copy()
    for group in process.like_particles:
        if group[0] >= 2:
            order = np.argsort(-momenta[:, group, 3], axis=1)
            momenta[:, group] = np.take_along_axis(momenta[:, group], order[..., None], axis=1)
    return momenta


@pytest.mark.parametrize("name", ["g g > t t~ g", "u u~ > mu- mu+ g", "u u~ > g g g", "g g > t t~ g g"])
def test_each_line_is_among_the_inputs_once(name, phase_space):
    process = process_of(name)
    assert process.inner_lines
    momenta = phase_space(40, process.masses)
    if process.pdg_ids[0] == process.pdg_ids[1]:
        # Incoming particles in canonical order: the first outgoing particle is nearer to the first.
        products = np.einsum("nia,ab,nb->ni", momenta[:, :2], METRIC, momenta[:, 2])
        momenta[:, :2] = np.take_along_axis(momenta[:, :2], np.argsort(products, axis=1)[..., None], axis=1)
    momenta = sorted_by_energy(process, momenta)
    inputs = Invariants(process)(momenta).inputs
    for line, columns in zip(process.inner_lines, naive_lines(process, momenta), strict=True):
        for column in columns.T:
            if np.ptp(column) < 1e-9:
                continue  # of s-hat itself
            differences = np.abs(inputs - column[:, None]).max(axis=0)
            assert np.count_nonzero(differences < 1e-6) == 1, line


def test_a_resonance_has_a_distance_and_a_phase():
    """At q^2 = m^2 the distance is m Gamma; one width above, the phase is almost that of q^2 - m^2 = 2 m Gamma."""
    process = AmplitudeProcess((2, -2, 13, -13), (0.0,) * 4, (InnerLine((2, 3), 91.0, 2.5), InnerLine((2, 3))))
    energy = np.array([91.0, 93.5, 45.5]) / 2
    momenta = energy[:, None, None] * np.array([[0, 0, 1, 1], [0, 0, -1, 1], [0.6, 0, 0.8, 1], [-0.6, 0, -0.8, 1]])
    invariants = Invariants(process)
    inputs = invariants(momenta).inputs
    # The photon's line says what s-hat says.
    assert inputs.shape[1] == invariants.size == 6 + 2
    s = 4 * energy**2
    np.testing.assert_allclose(inputs[:, 6], 0.5 * np.log((s - 91**2) ** 2 + (91 * 2.5) ** 2) - np.log(s), rtol=1e-12)
    np.testing.assert_allclose(inputs[:, 7], [0, np.arctan(2 + 2.5 / 91), np.arctan(-0.75 * 91 / 2.5)], atol=1e-12)


def test_a_line_is_the_same_from_both_of_its_sides():
    masses = (0.0, 0.0, 173.0, 173.0, 0.0)
    for one, other in (((0, 2, 4), (1, 3)), ((2, 4), (0, 1, 3))):
        first, second, both = (
            Invariants(AmplitudeProcess((21, 21, 6, -6, 21), masses, lines))
            for lines in (
                [InnerLine(one, 100.0)],
                [InnerLine(other, 100.0)],
                [InnerLine(s, 100.0) for s in (one, other)],
            )
        )
        assert first.size == second.size == both.size == 10 + 6 + 1


@pytest.mark.parametrize("name", PROCESSES)
def test_frames_do_not_matter(name, phase_space):
    process = process_of(name)
    momenta = phase_space(100, process.masses)
    features = Invariants(process)(momenta)
    moved = Invariants(process)(momenta @ lorentz_transformation(np.random.default_rng(1)).T)
    for what in ("inputs", "log_scale", "log_strings"):
        np.testing.assert_allclose(getattr(moved, what), getattr(features, what), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", [name for name in PROCESSES if process_of(name).like_particles])
def test_like_particles_in_any_order(name, phase_space):
    process = process_of(name)
    momenta = phase_space(100, process.masses)
    features = Invariants(process)(momenta)
    for group in process.like_particles:
        for permuted in itertools.permutations(group):
            order = np.arange(len(process.pdg_ids))
            order[list(group)] = permuted
            exchanged = Invariants(process)(momenta[:, order])
            np.testing.assert_allclose(exchanged.inputs, features.inputs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "pdg_ids", [(1, -1, 21, 21), (11, -11, 22, 22), (21, 21, 21, 21), (2, 2, 2, 2), (11, -11, 23, 23)]
)
def test_two_like_particles_alone_in_any_order_and_frame(pdg_ids):
    """They have one energy in the centre of mass, whose order would be that of rounding."""
    _, momenta, _ = scattering_amplitudes(200, np.random.default_rng(1))
    invariants = Invariants(AmplitudeProcess(pdg_ids, (0.0,) * 4))
    expected = invariants(momenta).inputs
    moved = momenta @ lorentz_transformation(np.random.default_rng(2)).T
    for points in (momenta[:, [0, 1, 3, 2]], moved, moved[:, [0, 1, 3, 2]]):
        np.testing.assert_allclose(invariants(points).inputs, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", ["u u~ > g g g", "g g > t t~ g g"])
def test_what_the_energy_scales(name, phase_space):
    """|M|^2 of n particles is GeV^(8 - 2 n); of massless ones, nothing but s-hat knows the energy."""
    pdg_ids = PROCESSES[name].pdg_ids
    invariants = Invariants(AmplitudeProcess(pdg_ids, (0.0,) * len(pdg_ids)))
    momenta = phase_space(50, [0.0] * len(pdg_ids))
    features, scaled = invariants(momenta), invariants(3 * momenta)
    np.testing.assert_allclose(scaled.inputs[:, 1:], features.inputs[:, 1:], rtol=1e-9)
    np.testing.assert_allclose(scaled.inputs[:, 0], features.inputs[:, 0] + 2 * np.log(3), rtol=1e-12)
    for what in ("log_scale", "log_strings"):
        difference = getattr(scaled, what) - getattr(features, what)
        np.testing.assert_allclose(difference, (8 - 2 * len(pdg_ids)) * np.log(3), rtol=1e-9)


def test_without_strings_the_ansatz_is_the_power_of_the_energy():
    _, momenta, _ = scattering_amplitudes(20, np.random.default_rng(1))
    features = Invariants(AmplitudeProcess((11, -11, 22, 22), (0.0,) * 4))(momenta)
    np.testing.assert_array_equal(features.log_strings, features.log_scale)
