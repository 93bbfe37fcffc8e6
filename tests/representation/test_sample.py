"""Whole files as numbers: what is found, what is left out, and what is refused."""

import dataclasses

import numpy as np
import pytest

from mlgen.errors import TrainingError
from mlgen.events import EventBatch
from mlgen.representation import collected, represent
from mlgen.representation.canonical_rows import is_jet, jet_rows
from mlgen.representation.decay_tree import DecayTree
from mlgen.representation.sample import constant_masses
from mlgen.testing.samples import drell_yan_events

PROTONS = [(2212, 6500.0), (2212, 6500.0)]
NUMBERS = ("process_id", "scale", "alpha_qed", "alpha_qcd")


def represented(batch, beams=PROTONS):
    return represent(collected([batch]), beams)


def used(found):
    return sum(len(events.number) for events in found.events)


def test_probabilities_are_the_shares_of_the_classes():
    batch, _ = drell_yan_events(2000, np.random.default_rng(1), gluon_fraction=0.25)
    found = represented(batch)
    share = [topology.probability for topology in found.topologies]
    expected = np.mean(batch.counts == 5)
    assert share == pytest.approx([expected, 1 - expected], rel=1e-12)
    assert found.remarks == ()


def test_weights_and_variations():
    batch, _ = drell_yan_events(1000, np.random.default_rng(1))
    weight = np.random.default_rng(2).uniform(1, 3, 1000) * np.where(np.arange(1000) % 10 == 0, -1, 1)
    batch = dataclasses.replace(batch, weight=weight, variations={"up": 1.1 * weight, "down": 0.8 * weight})
    found = represent(collected([batch], variations=["up", "down"]), PROTONS)
    for events in found.events:
        assert events.weight == pytest.approx(weight[events.number] / np.abs(weight).mean())
        assert events.variations == pytest.approx(np.tile([[1.1], [0.8]], len(events.number)))
    share = [weight[events.number].sum() / weight.sum() for events in found.events]
    assert [topology.probability for topology in found.topologies] == pytest.approx(share)


def test_blocks_are_ordered_by_jets():
    """First what does not depend on jets, then each jet; the azimuth of the only decay comes with the first jet."""
    batch, _ = drell_yan_events(1000, np.random.default_rng(1))
    with_gluon, without = represented(batch[np.argsort(batch.counts)]).topologies
    if with_gluon.particles < without.particles:
        with_gluon, without = without, with_gluon
    assert without.names == ("mass 3", "rapidity 3", "cos_theta 3")
    assert with_gluon.names == ("mass 3", "rapidity 3", "cos_theta 3", "pt 6", "rapidity 6", "phi 3")
    assert with_gluon.blocks.tolist() == [0, 0, 0, 1, 1, 1]
    assert with_gluon.describe().endswith("23 13 -13 21")


def test_jets():
    assert is_jet(np.array([21, 1, -5, 6, 22, 11, 0, 24])).tolist() == [True, True, True] + [False] * 5
    # A quark from a decay is no jet of the hard scattering, nor is an incoming one.
    rows = np.array(
        [
            [21, -1, 0, 0, 0, 0],
            [21, -1, 0, 0, 0, 0],
            [24, 2, 1, 2, 0, 0],
            [21, 1, 1, 2, 0, 0],
            [1, 1, 3, 3, 0, 0],
            [-2, 1, 3, 3, 0, 0],
            [22, 1, 1, 2, 0, 0],
        ]
    )
    assert jet_rows(rows, DecayTree.from_rows(rows)) == (3,)


def test_events_of_many_classes_are_judged_each_by_its_own():
    """As in one class, whatever the number of classes that share a tree, and their beams' directions."""
    batch, _ = drell_yan_events(2000, np.random.default_rng(1))
    columns = batch.columns()
    broken = np.repeat(np.arange(2000) < 10, batch.counts) & (columns["pdg_id"] == 13)
    reflected = np.random.default_rng(3).random(2000) < 0.5
    sign = np.where(np.repeat(reflected, batch.counts), -1, 1) * np.where(broken, -1, 1)
    columns["pz"] = columns["pz"] * sign
    processes = np.random.default_rng(2).integers(0, 300, 2000)
    batch = EventBatch.from_columns(
        batch.counts, columns, weight=batch.weight, process_id=processes, scale=91.2, alpha_qed=0.0078, alpha_qcd=0.118
    )
    found = represented(batch)
    assert used(found) == 1990
    assert len(found.remarks) == 1
    assert "10 of 2000 events" in found.remarks[0]
    assert "sum of its products" in found.remarks[0]
    assert len(found.topologies) == 4
    first = batch.offsets[:-1]
    for topology, events in zip(found.topologies, found.events, strict=True):
        assert np.all(events.number >= 10)
        assert np.all(batch.counts[events.number] == topology.particles)
        assert np.all((batch.column("pz")[first[events.number]] < 0) == topology.kinematics.reversed_beams)
        assert np.array_equal(topology.labels.process_id[events.flavour], processes[events.number])


class TestLeftOut:
    def broken(self, share, **changes):
        """Change columns of a share of the events."""
        batch, _ = drell_yan_events(2000, np.random.default_rng(1))
        columns = batch.columns()
        chosen = np.repeat(np.arange(len(batch)) < share * len(batch), batch.counts)
        for name, change in changes.items():
            columns[name] = np.where(chosen, change(columns), columns[name])
        others = {name: getattr(batch, name) for name in NUMBERS}
        return EventBatch.from_columns(batch.counts, columns, weight=batch.weight, **others)

    def test_few_events_are_left_out_with_a_remark(self):
        found = represented(self.broken(0.005, status=lambda c: np.where(c["pdg_id"] == 23, -2, c["status"])))
        assert len(found.remarks) == 1
        assert "status -2" in found.remarks[0]
        assert used(found) == 1990

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"status": lambda c: np.where(c["pdg_id"] == 23, 3, c["status"])}, "status 3"),
            ({"px": lambda c: np.where(c["status"] == -1, 5.0, c["px"])}, "mass"),
            (
                {
                    "px": lambda c: np.where(c["status"] == -1, 5.0, c["px"]),
                    "energy": lambda c: np.where(c["status"] == -1, np.hypot(c["energy"], 5.0), c["energy"]),
                },
                "does not move along z",
            ),
            ({"pz": lambda c: np.where(c["pdg_id"] == 13, -c["pz"], c["pz"])}, "sum of its products"),
            ({"pz": lambda c: np.where(c["status"] == -1, np.abs(c["pz"]), c["pz"])}, "head on"),
            (
                {
                    "pz": lambda c: np.where(c["status"] == -1, 1.1 * c["pz"], c["pz"]),
                    "energy": lambda c: np.where(c["status"] == -1, 1.1 * c["energy"], c["energy"]),
                },
                "not conserved",
            ),
            ({"generated_mass": lambda c: np.where(c["pdg_id"] == 23, 300.0, c["generated_mass"])}, "particle's mass"),
            (
                {
                    "generated_mass": lambda c: np.where(c["pdg_id"] == 13, -5.0, c["generated_mass"]),
                    "energy": lambda c: np.where(
                        c["pdg_id"] == 13,
                        np.sqrt(np.maximum(c["px"] ** 2 + c["py"] ** 2 + c["pz"] ** 2 - 25, 0)),
                        c["energy"],
                    ),
                },
                "negative",
            ),
        ],
    )
    def test_many_are_an_error_that_says_why(self, changes, reason):
        with pytest.raises(TrainingError, match=reason):
            represented(self.broken(0.5, **changes))

    def test_more_energy_than_the_beams_is_an_error(self):
        batch, _ = drell_yan_events(500, np.random.default_rng(1))
        with pytest.raises(TrainingError, match="more energy than its beam"):
            represented(batch, [(2212, 50.0), (2212, 50.0)])

    @pytest.mark.parametrize("value", [np.inf, np.nan])
    def test_momentum_that_is_no_number_names_the_event(self, value):
        batch, _ = drell_yan_events(500, np.random.default_rng(1))
        columns = batch.columns()
        columns["py"] = columns["py"].copy()
        columns["py"][batch.offsets[41] + 2] = value
        with pytest.raises(TrainingError, match="event 42 "):
            represented(EventBatch.from_columns(batch.counts, columns, weight=1.0))

    def test_scale_that_is_no_number_is_an_error(self):
        batch, _ = drell_yan_events(500, np.random.default_rng(1))
        scale = batch.scale.copy()
        scale[7] = np.nan
        with pytest.raises(TrainingError, match="not finite"):
            represented(dataclasses.replace(batch, scale=scale))

    @pytest.mark.parametrize("weight", [-np.ones(500), np.tile([1.0, -1.0], 250)])
    def test_total_that_is_not_positive_is_an_error(self, weight):
        batch, _ = drell_yan_events(500, np.random.default_rng(1))
        with pytest.raises(TrainingError, match="positive sum"):
            represented(dataclasses.replace(batch, weight=weight))

    def test_zero_weights_are_an_error(self):
        batch, _ = drell_yan_events(500, np.random.default_rng(1))
        with pytest.raises(TrainingError, match="zero"):
            represented(dataclasses.replace(batch, weight=np.zeros(500)))


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


def test_represent_does_not_change_its_input_and_repeats():
    batch, _ = drell_yan_events(500, np.random.default_rng(1))
    before = {name: values.copy() for name, values in batch.columns().items()}
    first, second = represented(batch), represented(batch)
    assert all(np.array_equal(before[name], values) for name, values in batch.columns().items())
    for one, other in zip(first.events, second.events, strict=True):
        assert np.array_equal(one.points, other.points)
