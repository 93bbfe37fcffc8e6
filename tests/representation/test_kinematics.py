"""Momenta <-> coordinates, with events of an independent phase-space generator (`conftest`)."""

import numpy as np
import pytest

from mlgen.events import invariant_mass
from mlgen.representation import DecayTree, Kinematics
from mlgen.representation.decay_tree import StructureError
from mlgen.representation.frames import from_local, helicity_axes, to_local
from mlgen.representation.kinematics import incoming_pair

N = 300


def particle(pdg_id, status, mothers):
    return [pdg_id, status, *mothers, 0, 0]


IN = (0, 0)
HARD = (1, 2)
TOP_CHAIN = [
    particle(21, -1, IN),
    particle(21, -1, IN),
    particle(6, 2, HARD),
    particle(-6, 2, HARD),
    particle(24, 2, (3, 3)),
    particle(5, 1, (3, 3)),
    particle(-11, 1, (5, 5)),
    particle(12, 1, (5, 5)),
    particle(-5, 1, (4, 4)),
    particle(13, 1, (4, 4)),
    particle(-14, 1, (4, 4)),
]
#: Rows of the event, mass of each row.
EVENTS = {
    "2 -> 1": ([particle(1, -1, IN), particle(-1, -1, IN), particle(25, 1, HARD)], [0, 0, 125.0]),
    "2 -> 1 -> 2": (
        [
            particle(1, -1, IN),
            particle(-1, -1, IN),
            particle(23, 2, HARD),
            particle(13, 1, (3, 0)),
            particle(-13, 1, (3, 0)),
        ],
        [0, 0, 91.0, 0.105, 0.105],
    ),
    "2 -> 2": (
        [particle(21, -1, IN), particle(2, -1, IN), particle(6, 1, HARD), particle(1, 1, HARD)],
        [0, 0, 173.0, 0],
    ),
    "2 -> 3": (
        [particle(21, -1, IN), particle(2, -1, IN), *(particle(k, 1, HARD) for k in (2, 24, 1))],
        [0, 0, 0, 80.4, 0],
    ),
    "2 -> 4": ([particle(21, -1, IN), particle(21, -1, IN), *[particle(21, 1, HARD)] * 4], [0] * 6),
    "leptons without boson": (
        [particle(2, -1, IN), particle(-2, -1, IN), *(particle(k, 1, HARD) for k in (-11, 11, 21))],
        [0, 0, 0.000511, 0.000511, 0],
    ),
    "massive incoming": (
        [particle(5, -1, IN), particle(2, -1, IN), *(particle(k, 1, HARD) for k in (24, 5, 1))],
        [4.8, 0.33, 80.4, 4.8, 0.33],
    ),
    "top pair, one with a three-body decay": (TOP_CHAIN, [0, 0, 173.0, 172.0, 80.0, 4.8, 0, 0, 4.8, 0.105, 0]),
}


def table_of(masses):
    return np.tile(np.array(masses, float), (N, 1))


def kinematics_of(rows, *, reversed_beams=False, recoiler=0):
    table = np.array(rows)
    return Kinematics(DecayTree.from_rows(table), reversed_beams, table[:, 1] == 2, recoiler)


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("reversed_beams", [False, True])
def test_round_trip(toys, name, reversed_beams):
    rows, masses = EVENTS[name]
    momenta = toys.phase_space(rows, table_of(masses), np.random.default_rng(1), reversed_beams=reversed_beams)
    table = np.broadcast_to(masses, (N, len(masses)))
    last = len(kinematics_of(rows).tree.top) - 1
    for recoiler in {0, last}:
        kinematics = kinematics_of(rows, reversed_beams=reversed_beams, recoiler=recoiler)
        values = kinematics.encode(momenta, table)
        kinematics = kinematics.with_seams(values, np.ones(N))
        values = kinematics.wrapped(values)
        # Every free number of the phase space has one coordinate: 3 k - 4 for k outgoing particles at fixed energy,
        # the total's mass and rapidity more, one azimuth less. A narrow decaying particle counts like a free mass.
        outgoing = sum(row[1] == 1 for row in rows)
        if outgoing > 1:
            assert values.shape[1] == 3 * outgoing - 3
        constants = np.where(kinematics.variable_mass, np.nan, table)
        azimuth = np.random.default_rng(2).uniform(-np.pi, np.pi, N)
        found, found_masses, possible = kinematics.decode(values, constants, azimuth)
        assert possible.all()
        if len(rows) > 3:
            reference = len(rows) - 1
            error = np.abs(toys.turned(found, reference) - toys.turned(momenta, reference)).max(axis=(1, 2))
        else:
            error = np.abs(found - momenta).max(axis=(1, 2))
        assert np.all(error < 1e-9 * momenta[:, :2, 3].sum(axis=1))
        assert found_masses == pytest.approx(table, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", EVENTS)
def test_any_coordinates_give_valid_events(toys, name):
    """Shuffling each coordinate on its own makes events that never were, but valid ones."""
    rows, masses = EVENTS[name]
    rng = np.random.default_rng(3)
    table = np.broadcast_to(masses, (N, len(masses)))
    kinematics = kinematics_of(rows)
    values = rng.permuted(kinematics.encode(toys.phase_space(rows, table_of(masses), rng), table), axis=0)
    constants = np.where(kinematics.variable_mass, np.nan, table)
    momenta, _, possible = kinematics.decode(values, constants, rng.uniform(-np.pi, np.pi, N))
    assert possible.mean() > 0.5
    momenta = momenta[possible]
    status = np.array(rows)[:, 1]
    energy = momenta[:, :2, 3].sum(axis=1)
    lost = momenta[:, :2].sum(axis=1) - momenta[:, status == 1].sum(axis=1)
    assert np.all(np.abs(lost) < 1e-9 * energy[:, None])
    squared = momenta[..., 3] ** 2 - (momenta[..., :3] ** 2).sum(axis=2)
    assert np.all(np.abs(squared - np.square(masses)) < 1e-9 * momenta[..., 3] ** 2)
    assert np.all(momenta[:, :2, :2] == 0)


def test_parent_lighter_than_its_products_is_impossible():
    rows, masses = EVENTS["2 -> 1 -> 2"]
    kinematics = kinematics_of(rows)
    values = np.zeros((2, len(kinematics.names)))
    values[:, kinematics.names.index("mass 3")] = [0.2, 0.3]
    constants = np.where(kinematics.variable_mass, np.nan, np.tile(masses, (2, 1)))
    _, _, possible = kinematics.decode(values, constants, np.zeros(2))
    assert possible.tolist() == [False, True]


def test_decay_angle_of_the_hard_scattering_is_that_of_collins_and_soper(toys):
    """cos theta = (p1+ p2- - p1- p2+) / (Q sqrt(Q^2 + QT^2)) with p+- = E +- pz (Phys. Rev. D 16, 2219)."""
    rows, masses = EVENTS["2 -> 3"]
    rows = [*rows[:3], particle(24, 2, HARD), rows[4], particle(1, 1, (4, 4)), particle(-2, 1, (4, 4))]
    masses = [*masses, 0, 0]
    momenta = toys.phase_space(rows, table_of(masses), np.random.default_rng(4))
    kinematics = kinematics_of(rows)
    values = kinematics.encode(momenta, np.broadcast_to(masses, (N, len(masses))))
    parent, first, second = momenta[:, 3], momenta[:, 5], momenta[:, 6]
    plus, minus = ([p[:, 3] + sign * p[:, 2] for p in (first, second)] for sign in (1, -1))
    mass = np.sqrt(parent[:, 3] ** 2 - (parent[:, :3] ** 2).sum(axis=1))
    size = mass * np.sqrt(mass**2 + parent[:, 0] ** 2 + parent[:, 1] ** 2)
    expected = (plus[0] * minus[1] - minus[0] * plus[1]) / size
    assert values[:, kinematics.names.index("cos_theta 4")] == pytest.approx(expected, abs=1e-7)


def test_seam_is_where_no_events_are(toys):
    rows, masses = EVENTS["2 -> 3"]
    momenta = toys.phase_space(rows, table_of(masses), np.random.default_rng(1))
    kinematics = kinematics_of(rows)
    values = kinematics.encode(momenta, np.broadcast_to(masses, (N, len(masses))))
    (angle,) = kinematics.angles
    for peak, seam in ((0.0, -np.pi), (np.pi, 0.0), (np.pi / 2, -np.pi)):
        values[:, angle] = peak + np.linspace(-0.3, 0.3, N)
        assert kinematics.with_seams(values, np.ones(N)).seams[angle] == seam
    # Two peaks, as of a sample and its mirror image.
    values[:, angle] = np.where(np.arange(N) % 2, 0, np.pi) + np.linspace(-0.3, 0.3, N)
    assert kinematics.with_seams(values, np.ones(N)).seams[angle] == -np.pi / 2


def test_local_frame_has_the_parent_at_rest_and_its_flight_as_z():
    rng = np.random.default_rng(5)
    space = rng.normal(0, 50, (N, 3))
    mass = np.full(N, 30.0)
    parent = np.column_stack([space, np.sqrt((space**2).sum(axis=1) + mass**2)])
    assert to_local(parent, parent, mass)[:, :3] == pytest.approx(np.zeros((N, 3)), abs=1e-9)
    other = rng.normal(0, 20, (N, 3))
    momentum = np.column_stack([other, np.sqrt((other**2).sum(axis=1))])
    back = from_local(to_local(momentum, parent, mass), parent, mass)
    assert back == pytest.approx(momentum, abs=1e-9)
    axes = helicity_axes(space)
    assert np.einsum("nij,nkj->nik", axes, axes) == pytest.approx(np.broadcast_to(np.eye(3), (N, 3, 3)), abs=1e-12)
    assert np.linalg.det(axes) == pytest.approx(np.ones(N))


def test_incoming_pair_of_massive_quarks():
    """b and u with masses of MadGraph's file wbj: a sum of light-cone momenta is split without loss."""
    forward, backward = incoming_pair(np.array([1000.0]), np.array([20.0]), np.array([4.8]), np.array([0.33]))
    assert (forward + backward)[0] == pytest.approx([0, 0, 490, 510], rel=1e-14)
    masses = [invariant_mass(*momentum.T)[0] for momentum in (forward, backward)]
    assert masses == pytest.approx([4.8, 0.33], rel=1e-9)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([particle(1, -1, IN), particle(-1, -1, IN), particle(23, -2, HARD)], "status -2"),
        ([particle(1, -1, IN), particle(-1, -1, IN), particle(23, 3, HARD)], "status 3"),
        ([particle(1, -1, IN), particle(23, 1, (1, 1))], "1 incoming"),
        ([particle(1, -1, IN), particle(-1, -1, IN)], "no particle comes"),
        ([particle(1, -1, IN), particle(-1, -1, IN), particle(23, 2, HARD)], "0 decay products"),
        (
            [particle(1, -1, IN), particle(-1, -1, IN), particle(23, 1, HARD), particle(11, 1, (3, 3))],
            "neither the incoming pair nor one resonance",
        ),
        (
            [particle(1, -1, IN), particle(-1, -1, IN), particle(23, 1, HARD), *[particle(6, 2, (4, 4))] * 2],
            "does not come from the hard scattering",
        ),
    ],
)
def test_structures_without_a_tree_are_named(rows, reason):
    with pytest.raises(StructureError, match=reason):
        DecayTree.from_rows(np.array(rows))
