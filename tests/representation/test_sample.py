"""Whole files as numbers: events of several generators that were read, and what is left out of them."""

import dataclasses

import numpy as np
import pytest

from mlgen.errors import TrainingError
from mlgen.events import EventBatch
from mlgen.formats import open_events
from mlgen.representation import Topology, collected, represent
from mlgen.representation.sample import constant_masses
from mlgen.testing.samples import drell_yan_events


def represented(batch, run_info, seed=1):
    return represent(collected([batch]), [beam.energy for beam in run_info.beams], np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("name", "outgoing"),
    [
        ("madgraph-2.0.0-wbj.lhe", [{3}, {3}]),
        ("madgraph-2.2.1-Z-mlm.lhe.gz", [{2}, {3}, {4}, {2}, {3}, {4}]),
        ("madgraph5-3.5.8-pp_to_jj.lhe.gz", [{2}]),
        ("powheg-box-v2-W.lhe", [{3}]),
        ("powheg-box-v2-Zj.lhe", [{4}]),
        ("pythia-6.413-ttbar.lhe", [{6}]),
        ("pythia-8.3.14-weakbosons.lhe", [{4}]),
    ],
)
def test_files_of_other_generators(shared_data, name, outgoing):
    """All events are represented, and the numbers give back events of the same total energy."""
    with open_events(shared_data / "lhe" / name) as stream:
        batch, info = collected(stream), stream.run_info
    found = represented(batch, info)
    assert [{int((topology.rows[0][:, 1] == 1).sum())} for topology in found.topologies] == outgoing
    used = sum(len(events.index) for events in found.events)
    assert used >= 0.99 * len(batch)
    energies = []
    for topology, events in zip(found.topologies, found.events, strict=True):
        decoded = topology.decode(events.normal, events.index, np.zeros(len(events.index)))
        assert decoded.possible.all()
        energies.append(decoded.momenta[:, :2, 3].sum(axis=1))
    if used == len(batch):
        first = batch.offsets[:-1]
        energy = batch.column("energy")
        expected = np.sort(energy[first] + energy[first + 1])
        # Eight printed digits, and the quantile knots: the outermost event of few is not a knot itself.
        assert np.sort(np.concatenate(energies)) == pytest.approx(expected, rel=1e-5)


def test_probabilities_are_the_shares_of_the_classes():
    batch, info = drell_yan_events(2000, np.random.default_rng(1), gluon_fraction=0.25)
    found = represented(batch, info)
    assert sum(topology.probability.sum() for topology in found.topologies) == pytest.approx(1)
    share = [topology.probability.sum() for topology in found.topologies]
    expected = np.mean(batch.counts == 5)
    assert share == pytest.approx([expected, 1 - expected], rel=1e-12)


def test_state_round_trip():
    batch, info = drell_yan_events(1000, np.random.default_rng(1))
    found = represented(batch, info)
    for topology, events in zip(found.topologies, found.events, strict=True):
        again = Topology.from_state(topology.state())
        first, second = (t.decode(events.normal, events.index, np.zeros(len(events.index))) for t in (topology, again))
        assert np.array_equal(first.momenta, second.momenta)
        assert np.array_equal(topology.features, again.features)
        assert again.names == topology.names


class TestLeftOut:
    def broken(self, share, **changes):
        """Change columns of a share of the events."""
        batch, info = drell_yan_events(2000, np.random.default_rng(1))
        columns = batch.columns()
        chosen = np.repeat(np.arange(len(batch)) < share * len(batch), batch.counts)
        for name, change in changes.items():
            columns[name] = np.where(chosen, change(columns), columns[name])
        others = {name: getattr(batch, name) for name in ("process_id", "scale", "alpha_qed", "alpha_qcd")}
        return EventBatch.from_columns(batch.counts, columns, weight=batch.weight, **others), info

    def test_few_events_are_left_out_with_a_remark(self):
        batch, info = self.broken(0.005, status=lambda c: np.where(c["pdg_id"] == 23, -2, c["status"]))
        found = represented(batch, info)
        assert len(found.remarks) == 1
        assert "status -2" in found.remarks[0]
        assert sum(len(events.index) for events in found.events) == 1990

    def test_events_of_many_classes_are_judged_each_by_its_own(self):
        """As in one class, whatever the number of classes that share a tree, and their beams' directions."""
        batch, info = self.broken(0.005, pz=lambda c: np.where(c["pdg_id"] == 13, -c["pz"], c["pz"]))
        processes = np.random.default_rng(2).integers(0, 300, len(batch))
        mirrored = np.random.default_rng(3).random(len(batch)) < 0.5
        columns = batch.columns()
        columns["pz"] = np.where(np.repeat(mirrored, batch.counts), -columns["pz"], columns["pz"])
        others = {name: getattr(batch, name) for name in ("scale", "alpha_qed", "alpha_qcd")}
        batch = EventBatch.from_columns(batch.counts, columns, weight=batch.weight, process_id=processes, **others)
        found = represented(batch, info)
        assert sum(len(events.index) for events in found.events) == 1990
        assert len(found.remarks) == 1
        assert "10 of 2000 events" in found.remarks[0]
        assert "sum of its products" in found.remarks[0]
        used = np.arange(len(batch)) >= 10
        for topology, events in zip(found.topologies, found.events, strict=True):
            expected = [
                int((used & (processes == c.process_id) & self.alike(batch, c)).sum()) for c in topology.classes
            ]
            assert np.bincount(events.index, minlength=len(topology.classes)).tolist() == expected

    @staticmethod
    def alike(batch, event_class):
        first = batch.offsets[:-1]
        reversed_beams = batch.column("pz")[first] < 0
        same = [batch.counts == len(event_class.rows), reversed_beams == event_class.reversed_beams]
        for row, kind in enumerate(event_class.rows[:, 0]):
            inside = batch.counts > row
            same.append(inside & (batch.column("pdg_id")[np.where(inside, first + row, 0)] == kind))
        return np.logical_and.reduce(same)

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"status": lambda c: np.where(c["pdg_id"] == 23, 3, c["status"])}, "status 3"),
            ({"px": lambda c: np.where(c["status"] == -1, 5.0, c["px"])}, "mass"),
            ({"pz": lambda c: np.where(c["pdg_id"] == 13, -c["pz"], c["pz"])}, "sum of its products"),
            ({"generated_mass": lambda c: np.where(c["pdg_id"] == 23, 300.0, c["generated_mass"])}, "particle's mass"),
        ],
    )
    def test_many_are_an_error_that_says_why(self, changes, reason):
        batch, info = self.broken(0.5, **changes)
        with pytest.raises(TrainingError, match=reason):
            represented(batch, info)

    def test_more_energy_than_the_beams_is_an_error(self):
        batch, info = drell_yan_events(500, np.random.default_rng(1))
        slow = info.replace(beams=tuple(dataclasses.replace(beam, energy=50.0) for beam in info.beams))
        with pytest.raises(TrainingError, match="more energy than its beam"):
            represented(batch, slow)

    def test_momentum_that_is_no_number_names_the_event(self):
        batch, info = drell_yan_events(500, np.random.default_rng(1))
        columns = batch.columns()
        columns["py"] = columns["py"].copy()
        columns["py"][batch.offsets[41] + 2] = np.inf
        with pytest.raises(TrainingError, match="event 42 "):
            represented(EventBatch.from_columns(batch.counts, columns, weight=1.0), info)

    def test_negative_total_is_an_error(self):
        batch, info = drell_yan_events(500, np.random.default_rng(1))
        with pytest.raises(TrainingError, match="no class"):
            represented(dataclasses.replace(batch, weight=-np.ones(500)), info)


def test_masses_that_do_not_vary_are_constants():
    """Rounding noise of 1e-7 (POWHEG) is no variation; a Breit-Wigner is; a quark's mass belongs to its flavour."""
    rng = np.random.default_rng(1)
    index = rng.integers(0, 2, 500)
    kinds = np.array([[23, 1, 5], [23, 2, 4]])
    masses = np.column_stack([rng.normal(91, 2, 500), 1e-7 * rng.random(500), np.where(index == 0, 4.8, 1.5)])
    found = constant_masses(masses, kinds, index)
    assert np.isnan(found[:, 0]).all()
    assert np.abs(found[:, 1]).max() < 1e-6
    assert found[:, 2].tolist() == [4.8, 1.5]
