"""The domain guard: how often it is wrong about points like those of the training, and what it notices."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import betabinom

from mlgen.amplitudes.domain import Domain
from mlgen.errors import ModelError, TrainingError
from mlgen.stages import AmplitudeProcess, InnerLine

TOP = 173.0
TTGG = AmplitudeProcess((21, 21, 6, -6, 21, 21), (0.0, 0.0, TOP, TOP, 0.0, 0.0))
UD = AmplitudeProcess((2, 1, 2, 1), (0.0,) * 4)
MUMUA = AmplitudeProcess((11, -11, 13, -13, 22), (0.0,) * 5, (InnerLine((2, 3), 91.19, 2.5), InnerLine((0, 2))))


def rambo(process, energy, rng):
    """Points in the centre of mass: Kleiss, Stirling and Ellis, Comput. Phys. Commun. 40, 359 (1986).

    Without the weights that massive particles have: any distribution will do here.
    """
    n, masses = len(energy), np.array(process.masses[2:])
    cosine, azimuth, u1, u2 = np.moveaxis(rng.random((n, len(masses), 4)), -1, 0)
    cosine, azimuth, q0 = 2 * cosine - 1, 2 * np.pi * azimuth, -np.log(u1 * u2)
    sine = np.sqrt(1 - cosine**2)
    q = q0[..., None] * np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine], axis=-1)
    total, total0 = q.sum(axis=1), q0.sum(axis=1)
    mass = np.sqrt(total0**2 - (total**2).sum(axis=1))
    b, gamma = -total / mass[:, None], total0 / mass
    bq = np.einsum("nk,nik->ni", b, q)
    p = q + b[:, None] * (q0 + bq / (1 + gamma)[:, None])[..., None]
    p *= (energy / mass)[:, None, None]
    squares, scale = (p**2).sum(axis=2), np.ones(n)
    for _ in range(30):  # Newton's method for the factor that makes the energies sum up.
        e = np.sqrt(scale[:, None] ** 2 * squares + masses**2)
        scale -= (e.sum(axis=1) - energy) / (scale[:, None] * squares / e).sum(axis=1)
    p *= scale[:, None, None]
    momenta = np.zeros((n, len(process.masses), 4))
    momenta[:, 2:, :3], momenta[:, 2:, 3] = p, np.sqrt((p**2).sum(axis=2) + masses**2)
    momenta[:, :2, 3] = energy[:, None] / 2
    momenta[:, :2, 2] = energy[:, None] / 2 * [1, -1]
    return momenta


def transverse(momenta):
    return np.hypot(momenta[..., 0], momenta[..., 1])


def invariant_mass(momenta, first, second):
    total = momenta[:, first] + momenta[:, second]
    return np.sqrt(total[:, 3] ** 2 - (total[:, :3] ** 2).sum(axis=1))


def ttgg(n, seed, pt=(20.0, np.inf)):
    """Points of g g > t t~ g g with a falling energy, the smaller gluon pT in a range, boosted along the beams."""
    rng, found = np.random.default_rng(seed), []
    while sum(map(len, found)) < n:
        points = rambo(TTGG, 400 + rng.exponential(400, 20_000), rng)
        smallest = transverse(points[:, 4:]).min(axis=1)
        found.append(points[(smallest > pt[0]) & (smallest < pt[1])])
    return boosted(np.concatenate(found)[:n], np.array([0, 0, 1]) * rng.uniform(-0.9, 0.9, (n, 1)))


def boosted(momenta, beta):
    """Boost each point by a velocity ``(n, 3)``."""
    gamma = 1 / np.sqrt(1 - (beta**2).sum(axis=1))
    along = np.einsum("nk,nik->ni", beta, momenta[..., :3])
    factor = (gamma**2 / (1 + gamma))[:, None] * along + gamma[:, None] * momenta[..., 3]
    space = momenta[..., :3] + factor[..., None] * beta[:, None]
    return np.concatenate([space, (gamma[:, None] * (momenta[..., 3] + along))[..., None]], axis=2)


@pytest.fixture(scope="module")
def training():
    return ttgg(20_000, 1)


@pytest.fixture(scope="module")
def held_out():
    return ttgg(5_000, 2)


@pytest.fixture(scope="module")
def fresh():
    return ttgg(20_000, 3)


@pytest.fixture(scope="module")
def domain(training, held_out):
    return Domain.fit(TTGG, training, held_out)


@pytest.mark.physics
@pytest.mark.parametrize(("quantile", "size"), [(0.2, 5000), (0.02, 5000), (1e-3, 5000), (1e-3, 100)])
def test_share_of_false_alarms(training, held_out, fresh, quantile, size):
    # A new answer exceeds the k-th largest of m held-out ones with a probability that is distributed as
    # Beta(k, m + 1 - k), whatever the distribution of the answers. There are two thresholds, with half the quantile
    # each; that of the ranges may be higher. Significance: 1e-4 on each side.
    allowed = max(math.floor((size + 1) * quantile / 2), 1)
    alarms = betabinom(len(fresh), allowed, size + 1 - allowed)
    outside = int(Domain.fit(TTGG, training, held_out[:size], quantile=quantile).outside(fresh).sum())
    assert alarms.ppf(1e-4) <= outside <= 2 * alarms.ppf(1 - 0.5e-4)


def test_guarantee_holds_on_average_over_small_held_out_samples(training, held_out, fresh):
    # 49 points and a quantile of 4 %: the largest of 49 is exceeded with probability 1/50. Two thresholds: 4 %.
    # The share of one sample has a standard deviation of 2/50 at most, that of the mean of 100 samples 0.4 %.
    shares = [
        Domain.fit(TTGG, training[:2000], held_out[49 * i : 49 * (i + 1)], quantile=0.04).outside(fresh[:2000]).mean()
        for i in range(100)
    ]
    assert np.mean(shares) < 0.04 + 4 * 0.004


def test_the_mahalanobis_distance_is_that_of_the_textbook():
    # For massless 2 -> 2 all invariants are products of powers of s, t and u; dependent ones must not matter.
    rng = np.random.default_rng(4)

    def points(n):
        energy, cosine = np.exp(rng.uniform(4, 7, n)), 1 - np.exp(rng.uniform(-5, np.log(1.99), n))
        momenta = np.zeros((n, 4, 4))
        momenta[..., 3] = 1
        momenta[:, 0, 2], momenta[:, 1, 2] = 1, -1
        momenta[:, 2, 0], momenta[:, 2, 2] = np.sqrt(1 - cosine**2), cosine
        momenta[:, 3, :3] = -momenta[:, 2, :3]
        logarithms = np.log(energy[:, None] ** 2 * np.stack([np.ones(n), (1 - cosine) / 2, (1 + cosine) / 2], axis=1))
        return momenta * energy[:, None, None] / 2, logarithms

    (training, x), (held_out, _), (fresh, y) = points(5000), points(2000), points(5000)
    domain = Domain.fit(UD, training, held_out, quantile=0.1)
    deviation = y - x.mean(axis=0)
    distance = np.sqrt(np.einsum("ni,ij,nj->n", deviation, np.linalg.inv(np.cov(x.T, bias=True)), deviation))
    within_ranges = np.all((y > x.min(axis=0)) & (y < x.max(axis=0)), axis=1)
    far = within_ranges & (distance > domain.state()["distance_threshold"])
    assert far.sum() > 100
    np.testing.assert_allclose(
        domain.score(fresh)[far], distance[far] / domain.state()["distance_threshold"], rtol=1e-6
    )
    first = int(np.flatnonzero(far)[0])
    expected = f"its distance from the training points is {domain.score(fresh)[first]:.4g} times what 95 % of held-out"
    assert domain.reason(fresh[first]) == f"{expected} points have"


def test_softer_gluons_than_in_the_training_are_noticed(domain):
    soft = ttgg(2000, 5, pt=(10.0, 18.0))
    outside = domain.outside(soft)
    assert outside.mean() > 0.99
    right = 0
    for point in soft[outside][:200]:
        softest = 4 + int(np.argmin(transverse(point[4:])))
        begin = f"the transverse momentum of particle {softest + 1}, the smallest among like ones, is "
        right += domain.reason(point).startswith(f"{begin}{transverse(point[softest]):.4g} GeV, the training")
    # Some of these points are still farther out in another invariant.
    assert right > 150


def test_twice_the_largest_energy_is_noticed(domain, training):
    largest = invariant_mass(training, 0, 1).max()
    rng = np.random.default_rng(6)
    points = rambo(TTGG, largest * rng.uniform(2, 3, 500), rng)
    assert domain.outside(points).mean() > 0.99
    assert all("the training reached from" in domain.reason(point) for point in points[:100])


def test_a_region_that_was_cut_out_is_noticed(training, held_out, fresh):
    below = [points[invariant_mass(points, 2, 3) < 600] for points in (training, held_out)]
    above = fresh[invariant_mass(fresh, 2, 3) > 700]
    domain = Domain.fit(TTGG, *below)
    assert domain.outside(above).mean() > 0.99
    within = invariant_mass(below[0], 2, 3)
    for point, mass in zip(above[:100], invariant_mass(above, 2, 3), strict=False):
        size = f"{mass:.4g}" if mass < 1000 else f"{mass:,.0f}"
        assert domain.reason(point) == (
            f"the invariant mass of particles 3 and 4 is {size} GeV, the training reached from {within.min():.4g} to "
            f"{within.max():.4g} GeV"
        )


@pytest.mark.parametrize("slots", [(2, 3), (0, 1, 4)])
def test_a_resonance_that_was_cut_out_of_the_middle_is_noticed(slots):
    # Either side of the line names it.
    process = AmplitudeProcess(MUMUA.pdg_ids, MUMUA.masses, (InnerLine(slots, 91.19, 2.5),))
    rng = np.random.default_rng(7)
    points = rambo(process, rng.uniform(150, 250, 60_000), rng)
    distance = np.abs(invariant_mass(points, 2, 3) - 91.19)
    away, near = points[distance > 10], points[distance < 4]
    domain = Domain.fit(process, away[:20_000], away[20_000:30_000])
    assert domain.outside(away[30_000:]).mean() < 0.003
    assert domain.outside(near).mean() > 0.99
    assert "of particles 3 and 4 from the resonance at M = 91.19 GeV is " in domain.reason(near[0])
    without = AmplitudeProcess(process.pdg_ids, process.masses)
    assert Domain.fit(without, away[:20_000], away[20_000:30_000]).outside(near).mean() < 0.01


def test_like_resonances_are_used_in_any_order():
    # e+ e- > mu+ mu- mu+ mu-: any mu+ with any mu- can come from a Z, though the process names only one of them.
    ids, line = (-11, 11, -13, 13, -13, 13), InnerLine((2, 3), 91.19, 2.5)
    process = AmplitudeProcess(ids, (0.0,) * 6, (line,))
    rng = np.random.default_rng(8)
    points = rambo(process, rng.uniform(200, 400, 3000), rng)
    domain = Domain.fit(process, points[:2000], points[2000:])
    for order in ([0, 1, 4, 3, 2, 5], [0, 1, 2, 5, 4, 3]):
        np.testing.assert_allclose(domain.score(points[:, order]), domain.score(points), rtol=1e-9)


def test_a_fixed_energy_is_no_edge_for_rounding():
    rng = np.random.default_rng(9)
    points = rambo(MUMUA, np.full(4000, 250.0), rng)
    domain = Domain.fit(MUMUA, points[:2000], points[2000:3000])
    moved = boosted(points[3000:], rng.uniform(-0.5, 0.5, (1000, 3)))
    np.testing.assert_allclose(domain.score(moved), domain.score(points[3000:]), rtol=1e-7)
    assert domain.outside(moved).mean() < 0.05
    higher = rambo(MUMUA, np.full(100, 255.0), rng)
    assert domain.outside(higher).all()
    assert domain.reason(higher[0]).startswith(
        "the invariant mass of particles 1 and 2, the partonic energy, is 255 GeV, the training reached from 250 to 250"
    )


def test_like_particles_may_stand_in_any_order(domain, fresh):
    for order in ([0, 1, 2, 3, 5, 4], [1, 0, 2, 3, 4, 5], [1, 0, 2, 3, 5, 4]):
        np.testing.assert_array_equal(domain.score(fresh[:, order]), domain.score(fresh))


def test_particles_that_differ_may_not(domain, fresh):
    assert not np.allclose(domain.score(fresh[:, [0, 1, 3, 2, 4, 5]]), domain.score(fresh))


def test_the_frame_does_not_matter(domain, fresh):
    rng = np.random.default_rng(10)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turned = fresh.copy()
    turned[..., :3] = fresh[..., :3] @ rotation.T
    direction = rng.normal(size=(len(fresh), 3))
    beta = direction / np.linalg.norm(direction, axis=1, keepdims=True) * rng.uniform(0, 0.95, (len(fresh), 1))
    np.testing.assert_allclose(domain.score(boosted(turned, beta)), domain.score(fresh), rtol=1e-6)


def test_neighbours_in_a_batch_do_not_matter(domain, fresh):
    one_by_one = np.concatenate([domain.score(fresh[i : i + 1]) for i in range(50)])
    np.testing.assert_allclose(one_by_one, domain.score(fresh)[:50], rtol=1e-12)
    assert domain.score(fresh[:0]).shape == (0,)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_momenta_that_are_not_finite_are_outside(domain, fresh, bad):
    points = fresh[:100].copy()
    points[7, 4, 2] = bad
    points[8, :, :] = bad
    assert np.isinf(domain.score(points)[8])
    assert np.isinf(domain.score(points)[7]) or np.isfinite(bad)
    assert np.all(domain.outside(points)[7:9])
    np.testing.assert_array_equal(np.delete(domain.score(points), [7, 8]), np.delete(domain.score(fresh[:100]), [7, 8]))
    assert domain.reason(points[8]) == "its momenta are not finite, or too large to be multiplied"


def test_nothing_but_zeros_is_outside(domain):
    assert domain.outside(np.zeros((1, 6, 4))).all()
    assert "the training reached from" in domain.reason(np.zeros((6, 4)))


def test_a_point_inside_needs_no_reason(domain, fresh):
    assert domain.reason(fresh[np.argmin(domain.score(fresh))]) == "it is inside the region of the training"


def test_few_held_out_points_are_named(training, held_out):
    domain = Domain.fit(TTGG, training, held_out[:100])
    points = ttgg(5000, 11)
    reasons = [domain.reason(point) for point in points[domain.outside(points)]]
    assert any(reason.endswith("times what all 100 held-out points have") for reason in reasons)


def test_the_state_makes_the_same_domain(domain, fresh):
    again = Domain.from_state(TTGG, domain.state())
    np.testing.assert_array_equal(again.score(fresh), domain.score(fresh))
    assert again.state().keys() == domain.state().keys()
    for name, array in domain.state().items():
        np.testing.assert_array_equal(again.state()[name], array)
    point = fresh[np.argmax(domain.score(fresh))]
    assert again.reason(point) == domain.reason(point)


def test_two_fits_are_alike(domain, training, held_out):
    for name, array in Domain.fit(TTGG, training, held_out).state().items():
        np.testing.assert_array_equal(array, domain.state()[name])


def test_a_state_lacking_an_array_is_refused(domain):
    for name in domain.state():
        state = domain.state()
        del state[name]
        with pytest.raises(ModelError, match=name):
            Domain.from_state(TTGG, state)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"low": np.zeros(3)}, r"'low' of shape \(19,\); it has \(3,\)"),
        ({"whitening": np.zeros(19)}, "'whitening' of shape"),
        ({"whitening": np.zeros((2, 3))}, "'whitening' of shape"),
        ({"range_threshold": np.ones(1)}, "'range_threshold' of shape"),
        ({"centre": np.full(19, np.nan)}, "'centre' holds others"),
        ({"centre": np.full(19, "x")}, "'centre' holds others"),
        ({"low_scale": np.zeros(19)}, "positive numbers; 'low_scale'"),
        ({"distance_threshold": np.asarray(-1.0)}, "positive numbers; 'distance_threshold'"),
        ({"low": np.full(19, 1e3)}, "'low' exceeds 'high'"),
    ],
)
def test_a_broken_state_is_refused(domain, change, words):
    with pytest.raises(ModelError, match=words):
        Domain.from_state(TTGG, domain.state() | change)


def test_the_state_of_another_process_is_refused(domain):
    with pytest.raises(ModelError, match="of shape"):
        Domain.from_state(UD, domain.state())


def test_points_that_allow_no_training_are_refused(training, held_out):
    with_nan = training.copy()
    with_nan[3, 1, 2] = np.nan
    for momenta, others, words in (
        (with_nan, held_out, "training point 4 are not finite"),
        (training, with_nan, "held-out point 4 are not finite"),
        (training[:99], held_out, "there are 99 training points"),
        (training, held_out[:0], "there are 0 held-out points"),
        (training[:, :-1], held_out, r"\(points, 6, 4\) is expected"),
        (training, held_out[..., :3], r"\(points, 6, 4\) is expected"),
    ):
        with pytest.raises(TrainingError, match=words):
            Domain.fit(TTGG, momenta, others)
    for quantile in (0.0, 1.0, np.nan):
        with pytest.raises(ValueError, match="the share of points outside"):
            Domain.fit(TTGG, training, held_out, quantile=quantile)


def test_momenta_of_another_shape_are_refused(domain, fresh):
    for wrong in (fresh[:, :-1], fresh[..., :3], fresh[0]):
        with pytest.raises(ValueError, match=r"\(points, 6, 4\) is expected"):
            domain.score(wrong)
    with pytest.raises(ValueError, match="is expected"):
        domain.reason(fresh)
