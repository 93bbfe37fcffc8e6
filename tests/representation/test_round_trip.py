"""Events -> points -> events, and points that no event had."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlgen.errors import ModelError, TrainingError
from mlgen.events import EventBatch
from mlgen.formats import open_events
from mlgen.representation import Topology, collected, represent
from mlgen.representation.canonical_rows import order_by_pt
from mlgen.representation.charts import OVERLAP, Periodic

N = 400
IN, HARD = (0, 0), (1, 2)
Z, W, TOP = (91.1876, 2.4955, 66.0, 116.0), (80.36, 2.1, 60.0, 100.0), (172.6, 1.4, 160.0, 185.0)


def particle(pdg_id, status, mothers):
    return [pdg_id, status, *mothers, 0, 0]


def hard(*pdg_ids):
    return [particle(21, -1, IN), particle(21, -1, IN), *(particle(k, 1, HARD) for k in pdg_ids)]


def boson(kind, leptons, *jets):
    return [
        *hard()[:2],
        particle(kind, 2, HARD),
        *(particle(k, 1, (3, 3)) for k in leptons),
        *(particle(k, 1, HARD) for k in jets),
    ]


TOP_PAIR = [
    *hard()[:2],
    particle(6, 2, HARD),
    particle(-6, 2, HARD),
    particle(24, 2, (3, 3)),
    particle(5, 1, (3, 3)),
    particle(-24, 2, (4, 4)),
    particle(-5, 1, (4, 4)),
    particle(-11, 1, (5, 5)),
    particle(12, 1, (5, 5)),
    particle(13, 1, (7, 7)),
    particle(-14, 1, (7, 7)),
]
#: Rows of the event, and the mass of each: a number, or pole, width and range of a resonance.
TOYS = {
    "2 -> 1": (hard(25), [0, 0, 125.0]),
    "2 -> 1 -> 2 of fixed mass": (boson(25, (22, 22)), [0, 0, 125.0, 0, 0]),
    "Z": (boson(23, (13, -13)), [0, 0, Z, 0.105, 0.105]),
    "W": (boson(24, (-11, 12)), [0, 0, W, 0, 0]),
    "Z j": (boson(23, (13, -13), 21), [0, 0, Z, 0, 0, 0]),
    "Z jj": (boson(23, (13, -13), 21, 1), [0, 0, Z, 0, 0, 0, 0]),
    "W jjj": (boson(-24, (11, -12), 21, 21, 2), [0, 0, W, 0, 0, 0, 0, 0]),
    "pair": (hard(11, -11), [0] * 4),
    "pair j": (hard(11, 21, -11), [0] * 5),
    "pair b b": (hard(5, -5, 11, -12), [0, 0, 4.7, 4.7, 0, 0]),
    "four leptons": (hard(11, -11, 13, -13), [0] * 6),
    "photon j": (hard(22, 21), [0] * 4),
    "photon jj": (hard(21, 22, 21), [0] * 5),
    "jj": (hard(21, 21), [0] * 4),
    "jjj": (hard(21, 21, 2), [0] * 5),
    "jjjj": (hard(21, 21, 21, 21), [0] * 6),
    "t j": (hard(6, 1), [0, 0, 173.0, 0]),
    "massive incoming": (
        [particle(5, -1, IN), particle(2, -1, IN), *(particle(k, 1, HARD) for k in (24, 5, 1))],
        [4.8, 0.33, 80.4, 4.8, 0.33],
    ),
    "top pair": (TOP_PAIR, [0, 0, TOP, TOP, W, 4.8, W, 4.8, 0, 0, 0, 0]),
    "three-body decay": (
        [*hard(6)[:2], particle(6, 2, HARD), *(particle(k, 1, (3, 3)) for k in (5, -11, 12)), particle(21, 1, HARD)],
        [0, 0, TOP, 4.8, 0, 0, 0],
    ),
}


def made(toys, name, rng, *, n=N, reversed_beams=False, **numbers):
    rows, kinds = TOYS[name]
    masses = np.array(
        [toys.breit_wigner(*kind, n, rng) if isinstance(kind, tuple) else np.full(n, kind) for kind in kinds]
    ).T
    momenta = toys.phase_space(rows, masses, rng, reversed_beams=reversed_beams)
    return toys.batch_of(rows, momenta, masses, **numbers), momenta, masses


def decoded(topology, events, image=0):
    n = len(events.weight)
    return topology.decode(events.points[image], events.flavour, np.zeros(n))


def physics_holds(toys, topology, found, energy=6500.0):
    """Momentum is conserved, particles are on shell, and the incoming ones move along z with less than the beams'."""
    momenta, masses = found.momenta[found.possible], found.masses[found.possible]
    scale = momenta[:, :2, 3].sum(axis=1)
    lost = momenta[:, :2].sum(axis=1) - momenta[:, topology.outgoing].sum(axis=1)
    assert np.all(np.abs(lost) <= 1e-9 * scale[:, None])
    squared = momenta[..., 3] ** 2 - (momenta[..., :3] ** 2).sum(axis=2)
    assert np.all(np.abs(squared - masses**2) <= 1e-9 * momenta[..., 3] ** 2)
    assert np.all(momenta[:, :2, :2] == 0)
    assert np.all(momenta[:, :2, 3] < energy)
    assert np.all(momenta[:, 0, 2] * momenta[:, 1, 2] < 0)


@pytest.mark.parametrize("reversed_beams", [False, True])
@pytest.mark.parametrize("name", TOYS)
def test_events_come_back(toys, name, reversed_beams):
    rng = np.random.default_rng(1)
    scale = rng.lognormal(4, 0.3, N)
    coupling = rng.uniform(0.1, 0.13, N)
    batch, momenta, masses = made(toys, name, rng, reversed_beams=reversed_beams, scale=scale, alpha_qcd=coupling)
    found = represent(batch, toys.beams)
    (topology,), (events,) = found.topologies, found.events
    assert topology.kinematics.reversed_beams == reversed_beams
    assert events.points.shape[1:] == (N, topology.dimension)
    order = order_by_pt(momenta, topology.jets)
    each = np.arange(N)[:, None]
    again = decoded(topology, events)
    assert again.possible.all()
    reference = topology.particles - 1
    error = toys.turned(again.momenta, reference) - toys.turned(momenta[each, order], reference)
    if topology.particles > 3:
        assert np.all(np.abs(error).max(axis=(1, 2)) < 1e-9 * momenta[:, :2, 3].sum(axis=1))
    assert again.masses == pytest.approx(masses[each, order], rel=1e-9, abs=1e-9)
    assert again.numbers["scale"] == pytest.approx(scale, rel=1e-9)
    assert again.numbers["alpha_qcd"] == pytest.approx(coupling, rel=1e-9)
    assert again.numbers["alpha_qed"].tolist() == [0.0078] * N
    # What was decoded, encoded again; an event near the cut of an angle may have been shown on its other side.
    points, _ = topology.encode(again.momenta, again.masses, again.numbers)
    same = np.abs(points - events.points[0]).max(axis=1) < 1e-5
    assert same.mean() >= 1 - 0.15 * len(topology.kinematics.angles)
    once_more = topology.decode(points, events.flavour, np.zeros(N))
    assert once_more.momenta == pytest.approx(again.momenta, rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("name", TOYS)
def test_any_numbers_are_events(toys, name):
    rng = np.random.default_rng(2)
    batch, _, _ = made(toys, name, rng)
    (topology,) = represent(batch, toys.beams).topologies
    points = rng.normal(0, 1, (5000, topology.dimension))
    found = topology.decode(points, np.zeros(5000, int), rng.uniform(-np.pi, np.pi, 5000))
    # Parents that are lighter than their products, or jets that change their order, are not possible.
    assert found.possible.mean() > 0.5
    physics_holds(toys, topology, found)
    wild = np.concatenate([10 * points, 1e3 * points, np.full((1, topology.dimension), np.nan)])
    found = topology.decode(wild, np.zeros(len(wild), int), np.zeros(len(wild)))
    physics_holds(toys, topology, found)
    assert not found.possible[-1]


def test_any_numbers_at_all(toys):
    batch, _, _ = made(toys, "Z jj", np.random.default_rng(3))
    (topology,) = represent(batch, toys.beams).topologies
    shape = (20, topology.dimension)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(arrays(np.float64, shape, elements=st.floats(width=64)))
    def check(points):
        physics_holds(toys, topology, topology.decode(points, np.zeros(20, int), np.zeros(20)))

    check()


@pytest.mark.parametrize("name", ["Z jj", "pair j", "photon jj", "top pair", "jjj"])
def test_density_of_points_is_that_of_coordinates(toys, name):
    """The log of the determinant of `Topology.encode` against differences."""
    rng = np.random.default_rng(4)
    scale = rng.lognormal(4, 0.3, N)
    batch, _, _ = made(toys, name, rng, scale=scale, alpha_qcd=rng.uniform(0.1, 0.13, N))
    found = represent(batch, toys.beams)
    (topology,), (events,) = found.topologies, found.events
    again = decoded(topology, events)
    _, logarithm = topology.encode(again.momenta, again.masses, again.numbers)
    values = topology.kinematics.encode(again.momenta, again.masses)
    numbers = topology.numbers.encode(topology.functions(again.momenta), again.numbers)

    def mapped(both):
        unbounded, _ = topology.coordinates.forward(both[:, : topology.kinematic])
        return topology.whitening.forward(np.hstack([unbounded, both[:, topology.kinematic :]]))[0]

    both = np.hstack([values, numbers])
    expected = toys.log_determinant(mapped, both, 1e-6 * np.maximum(np.abs(both), 1e-2))
    # Near the cut of an angle a part of the density is shown elsewhere.
    for chart in topology.coordinates.charts:
        if isinstance(chart, Periodic):
            angle = topology.coordinates.forward(values)[0][:, chart.column]
            distance = np.minimum(angle - chart.low, chart.low + 2 * np.pi - angle)
            expected -= np.log(0.5 * (1 + np.sin(0.5 * np.pi * np.clip(distance / OVERLAP, 0, 1))))
    # At a knot, where the second derivative jumps, differences are less precise.
    assert np.median(np.abs(logarithm - expected)) < 1e-6
    assert np.abs(logarithm - expected).max() < 0.1


@pytest.mark.parametrize(
    "name",
    [
        "madgraph-2.0.0-wbj.lhe",
        "madgraph-2.2.1-Z-mlm.lhe.gz",
        "madgraph-3.7.1-gg_ttg.lhe.gz",
        "madgraph-3.7.1-pp_tt012j.lhe.gz",
        "madgraph5-3.5.8-pp_to_jj.lhe.gz",
        "powheg-box-v2-W.lhe",
        "powheg-box-v2-Zj.lhe",
        "pythia-6.413-ttbar.lhe",
        "pythia-8.3.14-weakbosons.lhe",
    ],
)
def test_files_of_other_generators(toys, shared_data, name):
    """All events are represented and come back, up to the digits that the file has."""
    path = shared_data / "lhe" / name
    if not path.exists():
        pytest.skip(f"needs {path}")
    with open_events(path) as stream:
        batch, info = collected(stream), stream.run_info
    found = represent(batch, [(beam.pdg_id, beam.energy) for beam in info.beams])
    assert sum(len(events.number) for events in found.events) >= 0.99 * len(batch)
    all_momenta = batch.momenta()
    for topology, events in zip(found.topologies, found.events, strict=True):
        places = batch.offsets[events.number][:, None] + np.arange(topology.particles)
        momenta = all_momenta[places]
        order = order_by_pt(momenta, topology.jets)
        momenta = momenta[np.arange(len(order))[:, None], order]
        again = decoded(topology, events)
        # Of thousands of events, one on the very edge of a cut may fall over it by the file's rounding.
        assert again.possible.mean() > 1 - 2e-3
        reference = topology.outgoing[-1]
        error = np.abs(toys.turned(again.momenta, reference) - toys.turned(momenta, reference)).max(axis=(1, 2))
        assert np.all(error[again.possible] < 1e-6 * momenta[:, :2, 3].sum(axis=1)[again.possible])
        for number in ("scale", "alpha_qcd", "alpha_qed"):
            expected = getattr(batch, number)[events.number]
            assert again.numbers[number] == pytest.approx(expected, rel=2e-4)
        physics_holds(toys, topology, again, info.beams[0].energy)


class TestCuts:
    """A sample with cuts: they are found, and what is decoded is inside."""

    def events(self, toys, n, rng, jets=2):
        kinds = (23, 21, 1)[: 1 + jets]
        rows = boson(23, (13, -13), *kinds[1:])
        parts, count = [], 0
        while count < n:
            masses = np.zeros((4 * n, len(rows)))
            masses[:, 2] = toys.breit_wigner(91.1876, 2.4955, 60, 120, 4 * n, rng)
            # A continuum, as of photons, that reaches the edges.
            masses[:, 2] = np.where(rng.random(4 * n) < 0.5, masses[:, 2], rng.uniform(60, 120, 4 * n))
            momenta = toys.phase_space(rows, masses, rng)
            outgoing = momenta[:, 3:]
            inside = np.all(np.hypot(outgoing[..., 0], outgoing[..., 1]) > 20, axis=1)
            inside &= np.all(np.abs(toys.pseudorapidity(outgoing)) < 2.5, axis=1)
            for a in range(3, len(rows)):
                for b in range(a + 1, len(rows)):
                    inside &= toys.distance(momenta[:, a], momenta[:, b]) > 0.4
            parts.append((momenta[inside], masses[inside]))
            count += int(inside.sum())
        return rows, *(np.concatenate(part)[:n] for part in zip(*parts, strict=True))

    def test_are_found_and_kept(self, toys):
        rng = np.random.default_rng(5)
        n = 20_000
        rows, momenta, masses = self.events(toys, n, rng)
        found = represent(toys.batch_of(rows, momenta, masses), toys.beams)
        (topology,), (events,) = found.topologies, found.events
        words = set(topology.cuts.describe([str(i + 1) for i in range(7)]))
        assert {"mass(4 5) > 60 and < 120"} <= words
        assert {f"pt({i}) > 20" for i in (4, 5, 7)} <= words
        assert {f"eta({i}) < 2.5" for i in (4, 5, 6, 7)} <= words
        assert "delta_r(6 7) > 0.4" in words
        assert decoded(topology, events).possible.all()
        points = rng.normal(0, 1.2, (20_000, topology.dimension))
        again = topology.decode(points, np.zeros(20_000, int), rng.uniform(-np.pi, np.pi, 20_000))
        inside = again.momenta[again.possible]
        assert again.possible.mean() > 0.3
        outgoing, slack = inside[:, 3:], 1e-8
        pt = np.hypot(outgoing[..., 0], outgoing[..., 1])
        assert pt.min() > 20 - slack
        assert np.abs(toys.pseudorapidity(outgoing)).max() < 2.5 + slack
        assert toys.distance(inside[:, 5], inside[:, 6]).min() > 0.4 - slack
        mass = toys.invariant(inside[:, 3] + inside[:, 4])
        assert mass.min() > 60 - slack
        assert mass.max() < 120 + slack
        assert np.all(pt[:, 2] >= pt[:, 3] * (1 - slack))

    def test_small_samples_have_none(self, toys):
        rng = np.random.default_rng(6)
        rows, momenta, masses = self.events(toys, 150, rng)
        (topology,) = represent(toys.batch_of(rows, momenta, masses), toys.beams).topologies
        assert len(topology.cuts.quantity) == 0


class TestHardCases:
    def test_jets_of_equal_pt_keep_their_order(self, toys):
        """Two jets balance each other: which is the harder one is rounding, and must not change an event's label."""
        rng = np.random.default_rng(7)
        rows = np.array(hard(21, 2))
        rows[1, 0] = 2
        n = 1000
        momenta = toys.phase_space(rows, np.zeros((n, 4)), rng)
        momenta[:, 2:, :2] *= 1 + 1e-14 * rng.normal(size=(n, 2, 1))
        assert order_by_pt(momenta, (2, 3)).tolist() == [[0, 1, 2, 3]] * n
        found = represent(toys.batch_of(rows, momenta, np.zeros((n, 4))), toys.beams)
        (topology,), (events,) = found.topologies, found.events
        assert len(topology.labels.pdg_id) == 1
        again = topology.decode(events.points[0], events.flavour, rng.uniform(-np.pi, np.pi, n))
        assert order_by_pt(again.momenta, topology.jets).tolist() == [[0, 1, 2, 3]] * n

    def test_order_by_pt(self):
        momenta = np.zeros((1, 6, 4))
        momenta[0, 2:, 0] = [10.0, 30.0, 30.0 * (1 + 1e-13), 20.0]
        assert order_by_pt(momenta, (2, 3, 4, 5)).tolist() == [[0, 1, 3, 4, 5, 2]]
        assert order_by_pt(momenta, (3, 5)).tolist() == [[0, 1, 2, 3, 4, 5]]

    def test_photons_are_no_jets(self, toys):
        batch, _, _ = made(toys, "photon jj", np.random.default_rng(8))
        (topology,) = represent(batch, toys.beams).topologies
        assert topology.jets == (2, 4)

    @pytest.mark.parametrize("n", [1, 2, 5, 20])
    @pytest.mark.parametrize("name", ["Z j", "top pair", "jj", "2 -> 1"])
    def test_few_events(self, toys, name, n):
        batch, momenta, _ = made(toys, name, np.random.default_rng(9), n=n)
        found = represent(batch, toys.beams)
        (topology,), (events,) = found.topologies, found.events
        again = decoded(topology, events)
        assert again.possible.all()
        assert again.momenta[:, :2, 3] == pytest.approx(momenta[:, :2, 3], rel=1e-6)
        points = np.random.default_rng(1).normal(0, 1, (50, topology.dimension))
        assert topology.decode(points, np.zeros(50, int), np.zeros(50)).possible.any()

    def test_fixed_collision_energy_is_refused(self, toys):
        """e- e+ -> Z -> q q~ at rest: two coordinates of the others follow from the rest; no map has so few."""
        rng = np.random.default_rng(10)
        masses = np.zeros((N, 5))
        rows = [particle(11, -1, IN), particle(-11, -1, IN), *(particle(k, 1, HARD) for k in (1, -1, 21))]
        momenta = np.zeros((N, 5, 4))
        momenta[:, 2:] = toys.rambo(np.full(N, 91.2), masses[:, 2:], rng)
        momenta[:, 0, 2:], momenta[:, 1, 2:] = [45.6, 45.6], [-45.6, 45.6]
        for beams in ([], [(11, 45.6), (-11, 45.6)]):
            with pytest.raises(TrainingError, match="same energy in all events"):
                represent(toys.batch_of(rows, momenta, masses), beams)

    def test_two_peaks_of_a_mass(self, toys):
        """Z and a heavier boson: both peaks come back with their shares."""
        rng = np.random.default_rng(11)
        n = 20_000
        rows = boson(23, (13, -13))
        masses = np.zeros((n, 5))
        heavy = rng.random(n) < 0.3
        first, second = toys.breit_wigner(91.2, 2.5, 60, 120, n, rng), toys.breit_wigner(400, 4.0, 350, 450, n, rng)
        masses[:, 2] = np.where(heavy, second, first)
        momenta = toys.phase_space(rows, masses, rng)
        (topology,) = represent(toys.batch_of(rows, momenta, masses), toys.beams).topologies
        found = topology.decode(rng.normal(0, 1, (n, topology.dimension)), np.zeros(n, int), np.zeros(n))
        mass = found.masses[found.possible, 2]
        # The map's knots are 0.18 standard deviations apart; what is between two of them is left to the network.
        assert abs(np.mean(mass > 300) - 0.3) < 0.18 * np.exp(-0.5 * 0.52**2) / np.sqrt(2 * np.pi)
        for pole, width, low, high in ((91.2, 2.5, 60, 120), (400, 4.0, 350, 450)):
            peak = np.mean(np.abs(mass - pole) < width) / np.mean((mass > low) & (mass < high))
            made_peak = np.mean(np.abs(masses[:, 2] - pole) < width) / np.mean(
                (masses[:, 2] > low) & (masses[:, 2] < high)
            )
            assert abs(peak - made_peak) < 0.1

    def test_sharp_peak_of_an_angle(self, toys):
        """Jets that are back to back within a hundredth: the seam is elsewhere, and the width comes back."""
        rng = np.random.default_rng(12)
        n = 5000
        kick = rng.normal(0, 0.01, n)
        momenta = np.zeros((n, 5, 4))
        hard_pt = rng.uniform(100, 200, n)
        for row, (pt, phi) in enumerate([(hard_pt, np.zeros(n)), (0.9 * hard_pt, np.pi + kick)], start=2):
            eta = rng.normal(0, 1, n)
            momenta[:, row] = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)], 1)
        momenta[:, 4, :2] = -momenta[:, 2:4, :2].sum(axis=1)
        momenta[:, 4, 3] = np.sqrt(np.square(momenta[:, 4, :3]).sum(axis=1) + 80.4**2)
        total = momenta[:, 2:].sum(axis=1)
        plus, minus = (total[:, 3] + total[:, 2]) / 2, (total[:, 3] - total[:, 2]) / 2
        momenta[:, 0, 2:], momenta[:, 1, 2:] = np.stack([plus, plus], 1), np.stack([-minus, minus], 1)
        masses = np.tile([0, 0, 0, 0, 80.4], (n, 1))
        batch = toys.batch_of(hard(21, 21, 24), momenta, masses)
        (topology,) = represent(batch, toys.beams).topologies
        points = rng.normal(0, 1, (n, topology.dimension))
        found = topology.decode(points, np.zeros(n, int), np.zeros(n))
        phi = np.arctan2(found.momenta[:, 2:4, 1], found.momenta[:, 2:4, 0])
        width = np.std(np.mod(phi[:, 1] - phi[:, 0], 2 * np.pi) - np.pi)
        assert 0.008 < width < 0.013


def test_wide_files_are_joined(toys):
    """Topologies of different lengths in one file, with their shares."""
    rng = np.random.default_rng(13)
    first, second = made(toys, "Z", rng, n=300)[0], made(toys, "Z jj", rng, n=100)[0]
    found = represent(EventBatch.concatenate([first, second]), toys.beams)
    assert [topology.probability for topology in found.topologies] == pytest.approx([0.75, 0.25])
    assert [topology.particles for topology in found.topologies] == [5, 7]
    assert sorted(np.concatenate([events.number for events in found.events])) == list(range(400))


class TestState:
    def topology(self, toys):
        rng = np.random.default_rng(14)
        scale = rng.lognormal(4, 0.3, 3000)
        batch, _, _ = made(
            toys, "Z jj", rng, n=3000, scale=scale, alpha_qcd=0.118 / (1 + 0.118 * 1.2 * np.log(scale / 91.2))
        )
        found = represent(batch, toys.beams)
        return found.topologies[0], found.events[0]

    def test_is_bitwise_the_same(self, toys):
        topology, events = self.topology(toys)
        state = topology.state()
        again = Topology.from_state(state)
        first, second = decoded(topology, events), decoded(again, events)
        assert np.array_equal(first.momenta, second.momenta)
        assert all(np.array_equal(first.numbers[name], second.numbers[name]) for name in first.numbers)
        for one, other in zip(
            topology.encode(first.momenta, first.masses, first.numbers),
            again.encode(first.momenta, first.masses, first.numbers),
            strict=True,
        ):
            assert np.array_equal(one, other)
        assert again.names == topology.names
        written = again.state()
        assert set(written) == set(state)
        assert all(
            np.array_equal(written[name], state[name], equal_nan=state[name].dtype.kind == "f") for name in state
        )
        assert all(isinstance(array, np.ndarray) for array in state.values())

    @staticmethod
    def is_refused(state):
        """Whether there is a `ModelError`; any other exception fails the test."""
        try:
            Topology.from_state(state)
        except ModelError:
            return True
        return False

    def test_arrays_that_do_not_fit(self, toys):
        """Each array missing, longer, shorter, with one axis more or less, as text, and of too large numbers."""
        topology, _ = self.topology(toys)
        state = topology.state()
        free = {"cuts.low", "cuts.high"}
        for name, array in state.items():
            changes = {
                "missing": None,
                "one more axis": array[..., None],
                "one axis less": array.reshape(-1) if array.ndim > 1 else np.float64(0),
                "longer": np.concatenate([array, array[-1:]]) if len(array) else np.zeros((1, *array.shape[1:])),
                "text": np.full(array.shape, "x"),
            }
            for what, changed in changes.items():
                broken = {key: value for key, value in {**state, name: changed}.items() if value is not None}
                assert self.is_refused(broken), f"{name}, {what}"
            if len(array) and name not in free:
                # Without energies the beams are unknown; nothing else may be shorter.
                assert self.is_refused({**state, name: array[:-1]}), name
                assert self.is_refused({**state, name: array[:0]}) or name == "beam_energies", name
        assert Topology.from_state(state).names == topology.names
