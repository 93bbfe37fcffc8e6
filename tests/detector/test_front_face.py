"""The way to the front face: against a numerical integration of the Lorentz force, and against straight lines."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from mlgen.detector.front_face import Way, arrivals

#: Force in GeV/mm on a unit charge that flies across a field of 1 T: c in m/s, times 1e-9 (GeV/eV) and 1e-3 (m/mm).
FORCE = 299_792_458 * 1e-9 * 1e-3


def integrated(start, momentum, charge, field, radius):
    """Position and direction where a particle first crosses the cylinder from inside; None where it does not."""
    p = np.linalg.norm(momentum)

    def motion(_, state):
        direction = state[3:]
        return np.concatenate([direction, FORCE * charge / p * np.cross(direction, [0, 0, field])])

    def crossing(_, state):
        return np.hypot(state[0], state[1]) - radius

    crossing.terminal, crossing.direction = True, 1
    # Two full turns are more than enough; a particle at rest in the plane is not among these.
    length = min(2.1 * 2 * np.pi * p / (FORCE * abs(charge * field)), 1e6) if charge else 1e6
    state = np.concatenate([start, momentum / p])
    solution = solve_ivp(motion, (0, length), state, events=crossing, rtol=1e-10, atol=1e-7, max_step=length / 20)
    hits = solution.y_events[0]
    return (hits[0, :3], hits[0, 3:]) if len(hits) else None


@pytest.mark.physics
def test_helices_agree_with_the_equation_of_motion():
    rng = np.random.default_rng(4)
    n = 24
    start = rng.normal(0, 350, (n, 3))
    momentum = rng.normal(0, 0.7, (n, 3))
    charge = rng.choice([-2.0, -1.0, 1.0], n)
    found = arrivals(start, momentum, charge, radius=1500, magnetic_field=3.8)
    expected = [integrated(*row, 3.8, 1500) for row in zip(start, momentum, charge, strict=True)]
    reached = np.array([end is not None for end in expected])
    assert 6 < reached.sum() < 18
    assert np.array_equal(found.way, np.where(reached, Way.HITS, Way.CURLS_UP))
    for place in np.flatnonzero(reached):
        np.testing.assert_allclose(found.position[place], expected[place][0], atol=1e-3)
        np.testing.assert_allclose(found.direction[place], expected[place][1], atol=1e-6)
    assert np.isnan(found.position[~reached]).all()


def test_neutral_particles_and_those_without_a_field_fly_straight():
    rng = np.random.default_rng(5)
    n = 200
    start, momentum = rng.normal(0, 300, (n, 3)), rng.normal(0, 10, (n, 3))
    neutral = arrivals(start, momentum, np.zeros(n), radius=1500, magnetic_field=4)
    free = arrivals(start, momentum, np.ones(n), radius=1500)
    assert np.array_equal(neutral.position, free.position)
    np.testing.assert_allclose(np.hypot(*free.position.T[:2]), 1500, rtol=1e-12)
    way = free.position - start
    np.testing.assert_allclose(
        way / np.linalg.norm(way, axis=1, keepdims=True), momentum / np.linalg.norm(momentum, axis=1, keepdims=True)
    )
    assert np.all(np.sum(way * momentum, axis=1) > 0)


@pytest.mark.parametrize("p_t", [1e3, 1e6, 1e9])
def test_almost_straight_helices_keep_their_digits(p_t):
    """The sagitta of R^2 / (2 rho) is right to rounding, although rho is up to 1e12 times the accuracy asked for."""
    found = arrivals(np.zeros((1, 3)), np.array([[p_t, 0.0, 0.0]]), np.ones(1), radius=1500, magnetic_field=2)
    sagitta = FORCE * 2 / p_t * 1500**2 / 2
    # A positive charge in a field along +z turns clockwise: from +x toward -y.
    assert found.position[0, 1] == pytest.approx(-sagitta, rel=1e-6)
    assert found.direction[0, 1] == pytest.approx(-2 * sagitta / 1500, rel=1e-6)


def test_the_first_crossing_is_taken_also_after_more_than_half_a_turn():
    # It starts near the face, flies inward, and comes out again after most of a circle of 500 mm.
    p_t = FORCE * 2 * 500
    start, momentum = np.array([[0.0, 1100.0, 0.0]]), np.array([[0.0, -p_t, p_t]])
    found = arrivals(start, momentum, np.ones(1), radius=1500, magnetic_field=2)
    position, direction = integrated(start[0], momentum[0], 1.0, 2, 1500)
    np.testing.assert_allclose(found.position[0], position, atol=1e-3)
    np.testing.assert_allclose(found.direction[0], direction, atol=1e-6)
    # z grows with the length of the way in the plane: more than half the circle.
    assert found.position[0, 2] > np.pi * 500


def test_those_that_do_not_hit_are_told_apart():
    start = np.array([[0, 0, 0], [0, 0, 0], [0, 0, 0], [1600, 0, 0], [0, 0, 3500], [0, 0, 0]], float)
    momentum = np.array([[1, 0, 0], [0, 0, 1], [1, 0, 10], [-1, 0, 0], [1, 0, 0], [0.1, 0, 0]], float)
    found = arrivals(start, momentum, np.array([0, 0, 0, 0, 0, 1.0]), radius=1500, half_length=3000, magnetic_field=3.8)
    expected = [Way.HITS, Way.MISSES, Way.MISSES, Way.STARTS_BEHIND, Way.STARTS_BEHIND, Way.CURLS_UP]
    assert found.way.tolist() == expected


def test_no_particles():
    found = arrivals(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), radius=1500, magnetic_field=2)
    assert len(found.way) == len(found.position) == 0
