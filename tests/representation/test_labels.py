"""Flavours, colour flows, spins and orders of the particles: from what the sample has, and nothing else."""

import numpy as np
import pytest

from mlgen.errors import ModelError
from mlgen.events import INTEGER_COLUMNS, EventBatch
from mlgen.representation import Labels, represent
from mlgen.representation.canonical_rows import order_by_pt
from mlgen.representation.classes import canonical_colors, unique_rows
from mlgen.representation.labels import find_labels, flavour_keys
from mlgen.run_info import Beam, Process, RunInfo
from mlgen.testing import check_events

N = 4000
#: Particles of q q~ -> Z g g, and two colour flows; the antiquark first in the second kind.
FLOWS = {
    1: [[501, 0], [0, 502], [0, 0], [501, 503], [503, 502]],
    2: [[501, 0], [0, 502], [0, 0], [503, 502], [501, 503]],
}


def events(toys, rng, *, order="random", n=N, weight=None):
    """q q~ -> Z g g and q~ q -> Z g g of two quarks, with two flows, helicities of the quarks, and names of lines."""
    masses = np.tile([0.0, 0.0, 91.2, 0.0, 0.0], (n, 1))
    rows = np.zeros((n, 5, 6), int)
    rows[:, :, 1] = [-1, -1, 1, 1, 1]
    rows[:, 2:, 2], rows[:, 2:, 3] = 1, 2
    quark = rng.choice([1, 2], n, p=[0.3, 0.7])
    rows[:, :, 0] = np.stack([quark, -quark, np.full(n, 23), np.full(n, 21), np.full(n, 21)], axis=1)
    flow = rng.choice([1, 2], n)
    rows[:, :, 4:] = np.array([FLOWS[f] for f in flow])
    momenta = toys.phase_space(rows[0].tolist(), masses, rng)
    helicity = rng.choice([-1.0, 1.0], n)
    spin = np.stack([helicity, -helicity, *np.full((3, n), 9.0)], axis=1)
    swapped = rng.random(n) < 0.5
    rows[swapped, :2] = rows[swapped][:, [1, 0]]
    spin[swapped, :2] = spin[swapped][:, [1, 0]]
    rows[swapped, :2, 1] = -1
    # Every event has other names for its lines.
    lines = rows[:, :, 4:]
    lines += np.where(lines > 0, rng.integers(0, 100, n)[:, None, None], 0)
    pt = np.hypot(momenta[:, 3:, 0], momenta[:, 3:, 1])
    first = {
        "random": pt[:, 0] > -1,
        "by pt": pt[:, 0] > pt[:, 1],
        "mostly by pt": (pt[:, 0] > pt[:, 1]) == (rng.random(n) < 0.8),
    }[order]
    gluons = np.where(first[:, None], [3, 4], [4, 3])
    momenta[:, 3:] = np.take_along_axis(momenta, gluons[:, :, None], axis=1)
    return toys.batch_of(rows, momenta, masses, weight=np.ones(n) if weight is None else weight(rows), spin=spin), rows


def represented(toys, batch):
    found = represent(batch, toys.beams)
    (topology,), (one,) = found.topologies, found.events
    return found, topology, one


def columns_of(batch, name):
    return batch.column(name).reshape(len(batch), -1)


def test_no_label_is_invented(toys):
    batch, rows = events(toys, np.random.default_rng(1))
    _, topology, one = represented(toys, batch)
    labels = topology.labels
    assert {tuple(line[:2]) for line in labels.pdg_id} == {(1, -1), (-1, 1), (2, -2), (-2, 2)}
    assert len(labels.pdg_id) == 4
    # A flow of an antiquark that comes first is another one: four flows, two for each flavour.
    assert len(labels.colors) == 4
    assert labels.allowed_colors.sum(axis=1).tolist() == [2] * 4
    assert len(labels.spins) == 2
    assert labels.allowed_spins.all()
    canonical = canonical_colors(labels.colors)
    assert np.array_equal(canonical, labels.colors)
    assert one.number.tolist() == list(range(N))
    assert np.array_equal(labels.pdg_id[one.flavour], rows[:, :, 0])


def test_shares_are_weighted_frequencies(toys):
    def weight(rows):
        return np.where(np.abs(rows[:, 0, 0]) == 1, 3.0, 1.0)

    batch, rows = events(toys, np.random.default_rng(2), weight=weight)
    found, topology, _ = represented(toys, batch)
    total = weight(rows).sum()
    for line, share in zip(topology.labels.pdg_id, topology.labels.share, strict=True):
        expected = weight(rows)[rows[:, 0, 0] == line[0]].sum() / total
        assert share == pytest.approx(expected, rel=1e-12)
    assert found.topologies[0].probability == pytest.approx(1)


@pytest.mark.parametrize(("order", "shares"), [("random", [0.5]), ("by pt", [1.0]), ("mostly by pt", [0.2, 0.8])])
def test_orders_of_like_jets(toys, order, shares):
    """Shuffled where the file prefers none, kept where it does, within five standard errors of each label."""
    rng = np.random.default_rng(3)
    batch, _ = events(toys, rng, order=order)
    _, topology, _ = represented(toys, batch)
    labels = topology.labels
    for flavour in range(len(labels.pdg_id)):
        own = np.sort(labels.order_share[labels.order_flavour == flavour])
        assert own.sum() == pytest.approx(1)
        expected = shares if len(shares) == 2 else shares * round(1 / shares[0])
        exact = order != "mostly by pt"
        events_of_label = N * labels.share[flavour]
        assert own == pytest.approx(expected, abs=1e-12 if exact else 5 * np.sqrt(0.16 / events_of_label))
    flavour = rng.integers(0, len(labels.pdg_id), 20_000)
    drawn = labels.draw_orders(flavour, rng)
    hardest_first = np.mean(drawn[:, 3] == 3)
    assert abs(hardest_first - max(shares)) < 5 * np.sqrt(0.25 / 20_000) + 5 * np.sqrt(0.16 / N) * (len(shares) == 2)
    assert np.array_equal(np.sort(drawn, axis=1), np.tile(np.arange(5), (20_000, 1)))


def test_labels_of_negative_sum_are_left_out_with_a_remark(toys):
    def weight(rows):
        return np.where(rows[:, 0, 0] == -1, -0.5, 1.0)

    batch, rows = events(toys, np.random.default_rng(4), weight=weight)
    found, topology, one = represented(toys, batch)
    gone = rows[:, 0, 0] == -1
    assert len(topology.labels.pdg_id) == 3
    assert not np.any(topology.labels.pdg_id[:, 0] == -1)
    assert topology.probability == pytest.approx(1)
    assert np.array_equal(one.number, np.flatnonzero(~gone))
    assert one.points.shape[1] == len(one.weight) == len(one.color) == (~gone).sum()
    assert len(found.remarks) == 1
    assert f"{gone.sum()} events" in found.remarks[0]
    assert "-1 1 23 21 21" in found.remarks[0]


def test_mirror_is_an_involution(toys):
    batch, _ = events(toys, np.random.default_rng(5))
    _, topology, _ = represented(toys, batch)
    labels = topology.labels
    for table, mirror in zip((labels.pdg_id, labels.colors, labels.spins), labels.mirror, strict=True):
        assert np.array_equal(mirror[mirror], np.arange(len(table)))
    flavour, color, spin = labels.mirror
    assert np.array_equal(labels.pdg_id[flavour], labels.pdg_id[:, [1, 0, 2, 3, 4]])
    assert np.array_equal(labels.spins[spin], labels.spins[:, [1, 0, 2, 3, 4]])
    assert np.array_equal(canonical_colors(labels.colors[color][:, [1, 0, 2, 3, 4]]), labels.colors)


def test_mirror_that_is_not_there(toys):
    batch, rows = events(toys, np.random.default_rng(6))
    one_way = batch[np.flatnonzero(rows[:, 0, 0] > 0)]
    labels = represented(toys, one_way)[1].labels
    assert labels.mirror[0].tolist() == [-1, -1]


@pytest.mark.parametrize("order", ["random", "by pt"])
def test_columns_of_the_file_come_back(toys, order):
    """Labels and order give the file's own integers, up to names of colour lines; and others are as valid."""
    rng = np.random.default_rng(7)
    batch, _ = events(toys, rng, order=order)
    _, topology, one = represented(toys, batch)
    momenta = batch.momenta().reshape(N, 5, 4)
    own = order_by_pt(momenta, topology.jets)
    made = topology.integer_columns(one.flavour, one.color, own)
    for place, name in enumerate(INTEGER_COLUMNS[:4]):
        assert np.array_equal(made[:, :, place], columns_of(batch, name))
    colors = np.stack([columns_of(batch, name) for name in INTEGER_COLUMNS[4:]], axis=2).astype(np.int64)
    assert np.array_equal(made[:, :, 4:], canonical_colors(colors))
    # Generated events: any point, a flow that its flavour has, a drawn order.
    points = rng.normal(0, 1, (N, topology.dimension))
    decoded = topology.decode(points, one.flavour, rng.uniform(-np.pi, np.pi, N))
    drawn = topology.labels.draw_orders(one.flavour, rng)
    back = np.argsort(drawn, axis=1)
    each = np.arange(N)[:, None]
    rows = topology.integer_columns(one.flavour, one.color, drawn)
    generated = toys.batch_of(rows, decoded.momenta[each, back], decoded.masses[each, back])
    info = RunInfo(
        beams=(Beam(2212, 6500.0),) * 2,
        weight_strategy=3,
        processes=(Process(1, 1.0, 1.0, 1.0),),
        generator="test",
    )
    check_events(generated[np.flatnonzero(decoded.possible)], info)


class TestFind:
    def arguments(self, toys):
        batch, rows = events(toys, np.random.default_rng(8))
        _, topology, one = represented(toys, batch)
        order = order_by_pt(batch.momenta().reshape(N, 5, 4), topology.jets)
        each = np.arange(N)[:, None]
        spins = columns_of(batch, "spin")[each, order]
        return topology.labels, one, [batch.process_id, rows[:, :, 0][each, order], order, rows[each, order, 4:], spins]

    def test_labels_of_the_sample(self, toys):
        labels, one, arguments = self.arguments(toys)
        flavour, color, spin = labels.find(*arguments)
        assert np.array_equal(flavour, one.flavour)
        assert np.array_equal(color, one.color)
        assert np.array_equal(spin, one.spin)
        assert np.array_equal(labels.keys, unique_rows(flavour_keys(*arguments[:3]))[0])

    def test_labels_that_are_not_there(self, toys):
        labels, _, arguments = self.arguments(toys)
        process, pdg_id, order, colors, spins = (argument[:3].copy() for argument in arguments)
        process[0], spins[2, 0] = 7, 0.5
        pdg_id[1, :2] = [3, -3]
        colors[2, 3:] = 0
        flavour, color, spin = labels.find(process, pdg_id, order, colors, spins)
        assert (flavour >= 0).tolist() == [False, False, True]
        assert (color >= 0).tolist() == [True, True, False]
        assert (spin >= 0).tolist() == [True, True, False]


def test_unlike_jets_are_seen_by_pt(toys):
    """The file has the gluon before the quark: which is harder is part of the label, and gives the file's order."""
    rng = np.random.default_rng(9)
    rows = [[21, -1, 0, 0, 0, 0], [2, -1, 0, 0, 0, 0], *([k, 1, 1, 2, 0, 0] for k in (23, 21, 2))]
    masses = np.tile([0, 0, 91.2, 0, 0], (N, 1))
    momenta = toys.phase_space(rows, masses, rng)
    _, topology, one = represented(toys, toys.batch_of(rows, momenta, masses))
    assert sorted(topology.labels.pdg_id[:, 3:].tolist()) == [[2, 21], [21, 2]]
    gluon_harder = np.hypot(*momenta[:, 3, :2].T) > np.hypot(*momenta[:, 4, :2].T)
    assert np.array_equal(topology.labels.pdg_id[one.flavour][:, 3] == 21, gluon_harder)
    drawn = topology.labels.draw_orders(one.flavour, rng)
    assert np.all(topology.integer_columns(one.flavour, one.color, drawn)[:, :, 0] == [row[0] for row in rows])


def test_find_labels_of_one_event():
    pdg_id = np.array([[1, -1, 21, 21]])
    labels, *numbers = find_labels(
        pdg_id, np.array([5]), np.array([[0, 1, 3, 2]]), np.zeros((1, 4, 2), int), np.full((1, 4), 9.0), np.ones(1), 2.0
    )
    assert [number.tolist() for number in numbers] == [[0], [0], [0]]
    assert labels.share.tolist() == [0.5]
    assert labels.draw_orders(np.zeros(3, int), np.random.default_rng(1)).tolist() == [[0, 1, 3, 2]] * 3
    again = Labels.from_state(labels.state())
    assert all(np.array_equal(getattr(again, name), getattr(labels, name)) for name in labels.state())
    with pytest.raises(ModelError, match="orders"):
        Labels.from_state({**labels.state(), "orders": np.array([[0, 1, 3, 3]])})
    with pytest.raises(ModelError, match="order_flavour"):
        Labels.from_state({**labels.state(), "order_flavour": np.array([1])})


@pytest.mark.parametrize("kind", ["small", "wide", "floats"])
def test_unique_rows_is_numpys(kind):
    rng = np.random.default_rng(10)
    for _ in range(100):
        shape = (rng.integers(0, 60), rng.integers(1, 30))
        table = {
            "small": lambda shape=shape: rng.integers(-3, 3, shape),
            "wide": lambda shape=shape: rng.choice([-(2**31), 0, 7, 2**31, 2**62], shape),
            "floats": lambda shape=shape: 0.5 * rng.integers(-3, 3, shape),
        }[kind]()
        rows, index = unique_rows(table)
        expected, inverse = np.unique(table, axis=0, return_inverse=True)
        assert np.array_equal(rows, expected)
        assert np.array_equal(index, inverse.reshape(-1))


def test_batches_without_colours(toys):
    batch, _ = events(toys, np.random.default_rng(11), n=50)
    columns = batch.columns()
    columns["color1"], columns["color2"] = np.zeros((2, 250), int)
    plain = EventBatch.from_columns(batch.counts, columns, weight=batch.weight, process_id=1)
    assert represented(toys, plain)[1].labels.colors.tolist() == [[[0, 0]] * 5]
