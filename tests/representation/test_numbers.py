"""Scale and couplings of events: functions that are found, and what becomes a coordinate."""

import numpy as np
import pytest

from mlgen.errors import ModelError, TrainingError
from mlgen.representation import CouplingTable, EventNumbers, represent
from mlgen.representation.couplings import coupling_tables

LOWEST_ALPHA_S_SCALE = 5.0
N = 2000
ROWS = [
    [21, -1, 0, 0, 0, 0],
    [21, -1, 0, 0, 0, 0],
    [11, 1, 1, 2, 0, 0],
    [-11, 1, 1, 2, 0, 0],
    [21, 1, 1, 2, 0, 0],
]


def one_loop(scale):
    return 1 / (1.2 * np.log(scale / 0.2))


class TestCouplings:
    def tables(self, scale, alpha_qcd, alpha_qed=0.0078):
        numbers = {"scale": scale, "alpha_qcd": alpha_qcd, "alpha_qed": alpha_qed}
        return coupling_tables({name: np.broadcast_to(values, scale.shape) for name, values in numbers.items()})

    def test_running_coupling_is_found(self):
        scale = np.random.default_rng(1).uniform(LOWEST_ALPHA_S_SCALE, 300, 1000)
        tables = self.tables(scale, one_loop(scale))
        assert tables["alpha_qcd"].argument == "scale"
        between = np.linspace(10, 250, 77)
        assert tables["alpha_qcd"].at(between) == pytest.approx(one_loop(between), rel=1e-9)
        assert tables["alpha_qed"].at(between).tolist() == [0.0078] * 77

    def test_coupling_of_another_scale_is_not_a_function(self):
        rng = np.random.default_rng(1)
        scale = rng.uniform(LOWEST_ALPHA_S_SCALE, 300, 1000)
        assert "alpha_qcd" not in self.tables(scale, one_loop(scale * rng.uniform(0.5, 2, 1000)))

    def test_one_coupling_as_a_function_of_the_other(self):
        rng = np.random.default_rng(1)
        scale = rng.uniform(LOWEST_ALPHA_S_SCALE, 300, 1000)
        hidden = scale * rng.uniform(0.5, 2, 1000)
        electromagnetic = 1 / (128 - 2 * np.log(hidden))
        tables = self.tables(scale, one_loop(hidden), electromagnetic)
        assert tables["alpha_qed"].argument == "alpha_qcd"
        assert tables["alpha_qed"].at(one_loop(hidden)) == pytest.approx(electromagnetic, rel=1e-6)

    def test_constant_reads_back_the_same(self):
        table = CouplingTable.fit("scale", np.array([1.0, 2.0]), np.array([0.118, 0.118]))
        assert table is not None
        assert table.at(np.array([5.0])).tolist() == [0.118]

    def test_unknown_scale(self):
        """The Les Houches Accord writes -1 for what is not known."""
        table = CouplingTable.fit("scale", np.full(10, -1.0), np.linspace(0.1, 0.12, 10))
        assert table is None


def transverse_mass(momenta):
    return np.sqrt(momenta[..., 3] ** 2 - momenta[..., 2] ** 2)


def half_of_ht(momenta):
    return np.hypot(momenta[:, 2:, 0], momenta[:, 2:, 1]).sum(axis=1) / 2


def pair_mass(momenta):
    pair = momenta[:, 2] + momenta[:, 3]
    return np.sqrt(pair[:, 3] ** 2 - (pair[:, :3] ** 2).sum(axis=1))


class TestScales:
    def sample(self, toys, scale, alpha_qcd=0.118, seed=1):
        masses = np.zeros((N, 5))
        momenta = toys.phase_space(ROWS, masses, np.random.default_rng(seed))
        scales = scale(momenta)
        batch = toys.batch_of(
            ROWS, momenta, masses, scale=scales, alpha_qcd=alpha_qcd(scales) if callable(alpha_qcd) else alpha_qcd
        )
        found = represent(batch, toys.beams)
        return found.topologies[0], found.events[0], scales

    @pytest.mark.parametrize(
        ("scale", "function", "factor"),
        [
            (lambda p: np.full(len(p), 91.1876), "constant", 91.1876),
            (half_of_ht, "sum of transverse", 0.5),
            (pair_mass, "mass of the heaviest", 1.0),
            (lambda p: 2 * transverse_mass(p[:, 2] + p[:, 3]), "transverse mass", 2.0),
            # The lepton pair balances the jet: the sum of both, before the decay, is twice as large.
            (lambda p: np.hypot(p[:, 4, 0], p[:, 4, 1]), "sum of transverse momenta before decays", 0.5),
            (lambda p: 1.37 * np.sqrt(4 * p[:, 0, 3] * p[:, 1, 3]), "collision energy", 1.37),
        ],
    )
    def test_functions_are_found(self, toys, scale, function, factor):
        topology, events, scales = self.sample(toys, scale)
        assert topology.numbers.coordinates == ()
        assert function in topology.numbers.scale_function
        assert topology.numbers.scale_factor == pytest.approx(factor, rel=1e-6)
        again = topology.decode(events.points[0], events.flavour, np.zeros(N))
        assert again.numbers["scale"] == pytest.approx(scales, rel=1e-8)
        # Also for events that are no copies: those of the mirror, by the function of their momenta.
        points = np.random.default_rng(2).normal(0, 1, (N, topology.dimension))
        other = topology.decode(points, np.zeros(N, int), np.zeros(N))
        expected = scale(other.momenta)[other.possible]
        assert other.numbers["scale"][other.possible] == pytest.approx(expected, rel=1e-8)

    def test_noise_becomes_a_coordinate(self, toys):
        rng = np.random.default_rng(3)
        topology, events, scales = self.sample(toys, lambda p: half_of_ht(p) * np.exp(rng.normal(0, 0.05, len(p))))
        assert topology.numbers.coordinates == ("scale",)
        assert "sum of transverse" in topology.numbers.scale_function
        assert topology.names[-1] == "scale"
        again = topology.decode(events.points[0], events.flavour, np.zeros(N))
        assert again.numbers["scale"] == pytest.approx(scales, rel=1e-9)
        points = rng.normal(0, 1, (N, topology.dimension))
        other = topology.decode(points, np.zeros(N, int), np.zeros(N))
        ratio = np.log(other.numbers["scale"] / half_of_ht(other.momenta))[other.possible]
        # A standard deviation of 0.05 within five standard errors of both samples, and what is smoothed.
        assert np.std(ratio) == pytest.approx(0.05, rel=5 / np.sqrt(N) + 0.03)

    def test_running_coupling_follows_the_scale(self, toys):
        topology, _, _ = self.sample(toys, half_of_ht, one_loop)
        assert topology.numbers.coordinates == ()
        points = np.random.default_rng(4).normal(0, 1, (N, topology.dimension))
        other = topology.decode(points, np.zeros(N, int), np.zeros(N))
        known = topology.numbers.tables["alpha_qcd"].values
        inside = other.possible & (other.numbers["scale"] > known[0]) & (other.numbers["scale"] < known[-1])
        assert inside.mean() > 0.9
        expected = one_loop(other.numbers["scale"][inside])
        assert other.numbers["alpha_qcd"][inside] == pytest.approx(expected, rel=1e-4)

    def test_coupling_that_is_no_function_becomes_a_coordinate(self, toys):
        rng = np.random.default_rng(5)
        coupling = rng.uniform(0.1, 0.13, N)
        topology, events, _ = self.sample(toys, half_of_ht, lambda scale: coupling)
        assert topology.numbers.coordinates == ("alpha_qcd",)
        again = topology.decode(events.points[0], events.flavour, np.zeros(N))
        assert again.numbers["alpha_qcd"] == pytest.approx(coupling, rel=1e-9)

    def test_unknown_scale_is_kept(self, toys):
        topology, events, _ = self.sample(toys, lambda p: np.full(len(p), -1.0), -1.0)
        assert topology.numbers.coordinates == ()
        again = topology.decode(events.points[0], events.flavour, np.zeros(N))
        assert again.numbers["scale"].tolist() == [-1.0] * N
        assert again.numbers["alpha_qcd"].tolist() == [-1.0] * N

    def test_scale_that_is_sometimes_unknown_is_an_error(self, toys):
        with pytest.raises(TrainingError, match="not finite"):
            self.sample(toys, lambda p: np.where(np.arange(len(p)) % 7 == 0, -1.0, half_of_ht(p)))


class TestState:
    def numbers(self):
        rng = np.random.default_rng(6)
        scale = rng.uniform(10, 300, 1000)
        numbers = {"scale": scale, "alpha_qcd": one_loop(scale), "alpha_qed": rng.uniform(0.007, 0.008, 1000)}
        functions = {"collision energy": scale * rng.uniform(1, 1.1, 1000)}
        return EventNumbers.fit(functions, numbers, {}), functions, numbers

    def test_round_trip(self):
        fitted, functions, numbers = self.numbers()
        again = EventNumbers.from_state(fitted.state())
        assert again.coordinates == fitted.coordinates == ("scale", "alpha_qed")
        values = fitted.encode(functions, numbers)
        assert np.array_equal(again.encode(functions, numbers), values)
        decoded = again.decode(functions, values)
        for name, column in numbers.items():
            assert decoded[name] == pytest.approx(column, rel=1e-4)

    @pytest.mark.parametrize(
        "change",
        [
            {"rule": np.frombuffer(b"no such function\n", np.uint8)},
            {"rule": np.frombuffer(b"constant\nmass", np.uint8)},
            {"rule": np.array([255, 254], np.uint8)},
            {"rule": np.array([-1])},
            {"alpha_qcd.argument": np.array([2])},
            {"alpha_qcd.argument": np.array([9])},
            {"alpha_qed.argument": np.array([1])},
            {"alpha_qcd.values": np.zeros(0)},
            {"factor": np.zeros(2)},
        ],
    )
    def test_arrays_that_mean_nothing(self, change):
        with pytest.raises(ModelError):
            EventNumbers.from_state({**self.numbers()[0].state(), **change})
