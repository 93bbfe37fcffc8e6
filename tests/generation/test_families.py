"""Families of topologies: which of them share blocks, and what the model of a family does with these."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mlgen.events import INTEGER_COLUMNS, EventBatch
from mlgen.generation.density import FamilyDensity, block_dimensions
from mlgen.generation.families import family_events, find_families
from mlgen.representation import represent


def core_and_jets(core, jets, n, rng):
    """Events of g g > core + gluons: pairs of PDG id and mass of the core's particles; momenta without meaning."""
    kinds = [*core, *[(21, 0.0)] * jets]
    pt, y, phi = 20 + rng.exponential(30, (n, len(kinds))), rng.normal(0, 1, (n, len(kinds))), rng.uniform(-3, 3, n)
    pt[:, len(core) :] = -np.sort(-pt[:, len(core) :], axis=1)
    phi = phi[:, None] + rng.uniform(-np.pi, np.pi, (n, len(kinds)))
    px, py = pt * np.cos(phi), pt * np.sin(phi)
    px[:, 0], py[:, 0] = -px[:, 1:].sum(axis=1), -py[:, 1:].sum(axis=1)
    mass = np.broadcast_to([m for _, m in kinds], (n, len(kinds)))
    mt = np.sqrt(mass**2 + px**2 + py**2)
    out = np.stack([px, py, mt * np.sinh(y), mt * np.cosh(y)], axis=2)
    total = out.sum(axis=1)
    zero = np.zeros(n)
    halves = [(total[:, 3] + s * total[:, 2]) / 2 for s in (1, -1)]
    incoming = [np.stack([zero, zero, s * e, e], axis=1) for s, e in zip((1, -1), halves, strict=True)]
    momenta = np.concatenate([np.stack(incoming, axis=1), out], axis=1)
    particles = 2 + len(kinds)
    rows = np.zeros((n, particles, 6), np.int64)
    rows[:, :, 0] = [21, 21, *[kind for kind, _ in kinds]]
    rows[:, :, 1] = [-1, -1, *[1] * len(kinds)]
    rows[:, 2:, 2:4] = [1, 2]
    columns = dict(zip(INTEGER_COLUMNS, rows.reshape(-1, 6).T, strict=True))
    columns |= dict(zip(("px", "py", "pz", "energy"), momenta.reshape(-1, 4).T, strict=True))
    columns["generated_mass"] = np.concatenate([np.zeros((n, 2)), mass], axis=1).ravel()
    return EventBatch.from_columns(
        np.full(n, particles), columns, weight=1.0, process_id=1, scale=91.0, alpha_qed=0.0078, alpha_qcd=0.118
    )


Z, TOPS, W = [(23, 91.2)], [(6, 173.0), (-6, 173.0)], [(24, 80.4), (-24, 80.4)]


def families_of(*samples):
    rng = np.random.default_rng(1)
    batch = EventBatch.concatenate([core_and_jets(core, jets, 300, rng) for core, jets in samples])
    representation = represent(batch, (), mirrors=False)
    families = find_families(representation.topologies)
    jets = [[len(representation.topologies[k].jets) for k in family.topologies] for family in families]
    return representation, families, jets


@pytest.mark.parametrize(("core", "most"), [(Z, 3), (TOPS, 2)])
def test_multiplicities_of_one_core_are_one_family(core, most):
    representation, [family], [jets] = families_of(*[(core, k) for k in range(most + 1)])
    assert jets == list(range(most + 1))
    kinematic = [representation.topologies[k].kinematic for k in family.topologies]
    # What each multiplicity has more than the one before it, for it and all larger ones.
    blocks = [block for block in family.blocks if block.first < kinematic[-1]]
    assert [block.last for block in blocks] == kinematic
    assert [block.first for block in blocks] == [0, *kinematic[:-1]]
    assert all(block.given == block.first for block in blocks)
    for number, block in enumerate(blocks):
        assert block.members.tolist() == [k >= number for k in range(most + 1)]


def test_blocks_hold_each_column_once_and_those_of_each_topology():
    representation, families, _ = families_of((Z, 0), (Z, 1), (Z, 2), (TOPS, 0), (TOPS, 1))
    for family in families:
        places = np.concatenate([np.arange(block.first, block.last) for block in family.blocks])
        assert sorted(places) == list(range(family.width))
        for number, k in enumerate(family.topologies):
            own = [np.arange(b.first, b.last) for b in family.blocks if b.members[number]]
            assert sorted(np.concatenate(own)) == sorted(family.columns[number])
            assert len(family.columns[number]) == representation.topologies[k].dimension


def test_different_cores_are_different_families():
    _, families, jets = families_of((Z, 0), (Z, 1), (TOPS, 0), (TOPS, 1))
    assert sorted(jets) == [[0, 1], [0, 1]]
    assert len(families) == 2
    # A core of two particles and one of one with a jet have as many particles.
    representation, families, _ = families_of((Z, 1), (TOPS, 0))
    assert len(families) == 2
    assert {t.particles for t in representation.topologies} == {4}


def test_cores_that_differ_in_flavour_alone_are_one_topology():
    representation, [family], _ = families_of((TOPS, 0), (W, 0))
    assert len(representation.topologies) == 1
    assert family.topologies == (0,)


def test_numbers_that_differ_from_topology_to_topology_are_blocks_of_their_own(higgs):
    """A scale that is no function of the momenta is a column of its topology, behind all momenta."""
    import dataclasses

    events = higgs.events(2000, 1)
    scale = 100 * np.exp(0.1 * np.random.default_rng(2).standard_normal(len(events)))
    representation = represent(dataclasses.replace(events, scale=scale), (), mirrors=False)
    [family] = find_families(representation.topologies)
    kinematic = max(topology.kinematic for topology in representation.topologies)
    own = [block for block in family.blocks if block.first >= kinematic]
    assert [block.members.sum() for block in own] == [1, 1, 1]
    assert all(block.given == kinematic for block in own)
    assert family.width == kinematic + 3


class Spy(torch.nn.Module):
    """A density that writes down what it is given."""

    def __init__(self, log):
        super().__init__()
        self.dummy = torch.nn.Parameter(torch.zeros(1))
        self.log = log

    def loss(self, points, context, noise):
        self.log.append((points, context))
        return points.sum(dim=1)

    def sample(self, normal, context):
        self.log.append((normal, context))
        return normal

    log_density = lambda self, points, context: points.sum(dim=1)  # noqa: E731


def test_what_each_block_is_given(higgs):
    """The columns before it, which topology it is, and further numbers; of the events that have it alone."""
    representation = represent(higgs.events(1000, 1), (), mirrors=False)
    [family] = find_families(representation.topologies)
    logs = [[] for _ in family.blocks]
    model = FamilyDensity(family, [Spy(log) for log in logs], extra=1)
    events = family_events(
        family,
        representation.topologies,
        representation.events,
        [np.zeros(len(e.weight), bool) for e in representation.events],
    )
    rows, topology = torch.from_numpy(events.rows[0]), torch.from_numpy(events.topology)
    extra = torch.arange(len(events), dtype=torch.float32)[:, None]
    loss = model.loss(rows, topology, extra, torch.Generator())
    sizes = block_dimensions(family, 1)
    for block, log, (dimension, context) in zip(family.blocks, logs, sizes, strict=True):
        [(points, given)] = log
        have = torch.from_numpy(block.members)[topology]
        assert points.shape == (int(have.sum()), dimension)
        assert given.shape[1] == context
        assert torch.equal(points, rows[have, block.first : block.last])
        assert torch.equal(given[:, : block.given], rows[have, : block.given])
        assert torch.equal(given[:, block.given : -1].argmax(dim=1), topology[have])
        assert torch.all(given[:, block.given : -1].sum(dim=1) == 1)
        assert torch.equal(given[:, -1:], extra[have])
    # Columns that a topology lacks are zero, so that the sum of all is that of its own.
    assert torch.allclose(loss, rows.sum(dim=1), atol=1e-4)
    assert torch.allclose(model.log_density(rows, topology, extra), rows.sum(dim=1), atol=1e-4)


def test_drawing_of_each_topology_fills_its_own_columns(higgs):
    representation = represent(higgs.events(1000, 1), (), mirrors=False)
    [family] = find_families(representation.topologies)
    model = FamilyDensity(family, [Spy([]) for _ in family.blocks])
    wanted = np.random.default_rng(1).integers(0, 3, 3000)
    rows = model.sample(wanted, np.zeros((3000, 0), np.float32), np.random.default_rng(2))
    for number, columns in enumerate(family.columns):
        own = rows[wanted == number]
        assert np.all(own[:, columns] != 0)
        assert np.all(np.delete(own, columns, axis=1) == 0)
        # Standard normal numbers: means within five standard errors.
        assert np.all(np.abs(own[:, columns].mean(axis=0)) < 5 / np.sqrt(len(own)))


@pytest.mark.physics
def test_an_added_jet_depends_on_what_it_is_added_to(higgs, linear):
    """y_jet = y_H / 2 + 0.8 g: slope and width of 8,000 generated events within five errors of 4,000."""
    generator = linear(higgs.events(8000, 3, (0.5, 0.5, 0.0)), label_steps=1, mirrors=False)
    made = higgs.numbers(generator.generate(16_000, np.random.default_rng(4)), 1)
    slope, _ = np.polyfit(made["y_higgs"], made["y_jet"], 1)
    left = made["y_jet"] - slope * made["y_higgs"]
    assert slope == pytest.approx(0.5, abs=5 * 0.8 / np.sqrt(4000) * np.sqrt(1.5))
    assert left.std() == pytest.approx(0.8, abs=5 * 0.8 / np.sqrt(2 * 4000) * np.sqrt(1.5))
    # The rapidity without jets is narrower: the number of jets is given to what both have.
    alone = higgs.numbers(generator.generate(16_000, np.random.default_rng(4)), 0)["y_higgs"]
    assert alone.std() == pytest.approx(0.7, abs=5 * 0.7 / np.sqrt(2 * 4000) * np.sqrt(1.5))
    assert made["y_higgs"].std() == pytest.approx(1.0, abs=5 / np.sqrt(2 * 4000) * np.sqrt(1.5))
