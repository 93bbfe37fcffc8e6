"""Batches of events, and what is true of their file."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from mlgen.events import PARTICLE_COLUMNS, EventBatch, RecordError, invariant_mass, rebatched
from mlgen.formats import create_events, open_events
from mlgen.run_info import Beam, Process, RunInfo, Variation, WeightNormalisation
from mlgen.testing import drell_yan_events


@pytest.fixture
def events():
    return drell_yan_events(20, np.random.default_rng(1))[0]


def small(counts=(2, 0, 3), **fields):
    total = sum(counts)
    columns = {name: np.arange(total, dtype=float) + i for i, name in enumerate(("px", "py", "pz"))}
    columns["energy"] = np.full(total, 50.0)
    columns["pdg_id"] = np.arange(total)
    return EventBatch.from_columns(np.array(counts), columns, weight=np.arange(1.0, len(counts) + 1), **fields)


def same(first: EventBatch, second: EventBatch) -> bool:
    columns = all(np.array_equal(first.column(name), second.column(name)) for name in PARTICLE_COLUMNS)
    return columns and np.array_equal(first.counts, second.counts) and np.array_equal(first.weight, second.weight)


class TestFromColumns:
    def test_what_is_missing_is_unknown_as_the_accord_says(self):
        batch = small()
        assert set(batch.column("spin")) == {9}
        assert set(batch.column("mother1")) == {0}
        assert set(batch.column("status")) == {1}
        assert batch.scale.tolist() == [-1, -1, -1]
        assert batch.process_id.tolist() == [0, 0, 0]

    def test_generated_mass_is_that_of_the_momentum(self):
        batch = EventBatch.from_columns(
            np.array([2]), {"px": [0.0, 3.0], "py": [0.0, 0.0], "pz": [3.0, 4.0], "energy": [5.0, 4.0]}, weight=1
        )
        assert batch.column("generated_mass").tolist() == [4.0, -3.0]

    def test_momenta_are_vectors(self):
        batch = EventBatch.from_columns(
            np.array([1]), {"px": [3.0], "py": [4.0], "pz": [0.0], "energy": [13.0]}, weight=2.0
        )
        assert batch.particles.pt.tolist() == [[5.0]]
        assert batch.particles.mass.tolist() == [[12.0]]
        assert batch.momenta().tolist() == [[3.0, 4.0, 0.0, 13.0]]

    def test_counts_and_offsets(self):
        batch = small()
        assert len(batch) == 3
        assert batch.counts.tolist() == [2, 0, 3]
        assert batch.offsets.tolist() == [0, 2, 2, 5]
        assert not batch.has_graph

    def test_no_events(self):
        assert len(small(())) == 0
        assert small(()).momenta().shape == (0, 4)

    def test_vertices(self):
        columns = {name: np.zeros(3) for name in ("x", "y", "z", "t", "status")}
        batch = small((1, 1), vertex_counts=np.array([1, 2]), vertex_columns=columns)
        assert batch.has_graph
        assert batch[1:].vertices["x"].tolist() == [[0.0, 0.0]]

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"weight": np.ones(2)}, "broadcast|shape"),
            ({"variations": {"up": np.ones(2)}}, r"variation 'up' has shape \(2,\); \(3,\) is expected"),
            ({"comments": np.array(["a"], object)}, "comments has 1 entries; 3 are expected"),
            ({"vertex_counts": np.array([1, 1, 1])}, "only one of them is given"),
        ],
    )
    def test_fields_that_do_not_belong_together(self, change, problem):
        arguments = {"weight": np.ones(3)} | change
        columns = {name: np.zeros(5) for name in ("px", "py", "pz", "energy")}
        with pytest.raises((RecordError, ValueError), match=problem):
            EventBatch.from_columns(np.array([2, 0, 3]), columns, **arguments)

    def test_column_of_the_wrong_length(self):
        columns = {name: np.zeros(2) for name in ("px", "py", "pz", "energy")} | {"spin": np.zeros(3)}
        with pytest.raises(RecordError, match=r"'spin' has shape \(3,\); \(2,\) is expected"):
            EventBatch.from_columns(np.array([2]), columns, weight=1)

    def test_unknown_column(self):
        columns = {name: np.zeros(2) for name in ("px", "py", "pz", "energy", "colour1")}
        with pytest.raises(RecordError, match=r"no particle column 'colour1'; did you mean 'color1'\?"):
            EventBatch.from_columns(np.array([2]), columns, weight=1)


class TestSelection:
    def test_slice_and_mask_and_index(self, events):
        assert same(events[3:5], events[np.array([3, 4])])
        mask = np.zeros(20, bool)
        mask[3:5] = True
        assert same(events[3:5], events[mask])
        assert len(events[5:5]) == 0

    def test_everything_is_selected_alike(self):
        text = np.array(["a", "b", "c"], object)
        batch = small(variations={"up": np.array([1.0, 2.0, 3.0])}, comments=text, tag_attributes=text)[1:]
        assert batch.variations["up"].tolist() == [2.0, 3.0]
        assert batch.comments.tolist() == batch.tag_attributes.tolist() == ["b", "c"]
        assert batch.weight.tolist() == [2.0, 3.0]

    def test_concatenation_is_the_inverse_of_slicing(self, events):
        assert same(EventBatch.concatenate([events[:7], events[7:7], events[7:]]), events)

    def test_variations_and_texts_that_only_some_have(self):
        first = small((1,), variations={"up": np.array([2.0])}, comments=np.array(["text"], object))
        second = small((1,), variations={"down": np.array([3.0])})
        joined = EventBatch.concatenate([first, second])
        np.testing.assert_array_equal(joined.variations["up"], [2.0, np.nan])
        np.testing.assert_array_equal(joined.variations["down"], [np.nan, 3.0])
        assert joined.comments.tolist() == ["text", ""]
        assert joined.tag_attributes is None

    def test_nothing_to_concatenate(self):
        with pytest.raises(RecordError, match="no batch"):
            EventBatch.concatenate([])

    def test_hard_and_shower_level_events_do_not_mix(self):
        columns = {name: np.zeros(1) for name in ("x", "y", "z", "t", "status")}
        graph = small((1,), vertex_counts=np.array([1]), vertex_columns=columns)
        with pytest.raises(RecordError, match="one batch"):
            EventBatch.concatenate([small((1,)), graph])


class TestRebatched:
    @pytest.mark.parametrize("size", [1, 3, 7, 20, 100])
    def test_same_events_in_batches_of_one_size(self, events, size):
        parts = [events[:1], events[1:1], events[1:12], events[12:]]
        batches = list(rebatched(parts, size))
        assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
        assert 0 < len(batches[-1]) <= size
        assert same(EventBatch.concatenate(batches), events)

    def test_nothing(self):
        assert list(rebatched([], 5)) == []

    @pytest.mark.parametrize("size", [0, -1])
    def test_size_that_makes_no_sense(self, events, size):
        with pytest.raises(ValueError, match="1 or more"):
            list(rebatched([events], size))


def test_invariant_mass():
    # The right-angled triangle 5, 12, 13; then a light, fast particle, where E^2 - pz^2 loses most digits.
    mass = invariant_mass(np.array([0.0]), np.array([0.0]), np.array([12.0]), np.array([13.0]))
    assert mass.tolist() == [5.0]
    energy = np.hypot(1e6, 0.5)
    assert invariant_mass(np.zeros(1), np.zeros(1), np.array([1e6]), np.array([energy]))[0] == pytest.approx(
        0.5, rel=1e-3
    )


@pytest.fixture
def run_info():
    return RunInfo(
        beams=(Beam(2212, 6500.0, 0, 247000), Beam(2212, 6500.0)),
        weight_strategy=-4,
        processes=(Process(1, 3.0, 0.3, 2.0), Process(2, 4.0, 0.4, 5.0)),
        variations=(Variation("1001", "muR=2", {"MUR": "2.0"}, 0), Variation("1002")),
        variation_groups=({"name": "scale"},),
        header="<header>\n<MG5ProcCard>é</MG5ProcCard>\n</header>",
        init_text="<generator name='MG5'>3.5</generator>",
        generator="MG5 3.5",
        lhe_attributes={"extra": "1"},
        provenance=({"mlgen": "0.1.0"},),
        foreign={"hepmc": {"tools": ["a"]}},
    )


class TestRunInfo:
    def test_json_round_trip(self, run_info):
        assert RunInfo.from_json(run_info.to_json()) == run_info
        assert RunInfo.from_json(RunInfo().to_json()) == RunInfo()

    def test_json_of_a_later_version(self, run_info):
        content = json.loads(run_info.to_json()) | {"something_new": 1}
        assert RunInfo.from_json(json.dumps(content)) == run_info

    def test_not_a_number_survives_json(self):
        again = RunInfo.from_json(RunInfo(processes=(Process(1, math.nan, 0.0, math.inf),)).to_json())
        assert math.isnan(again.processes[0].cross_section)
        assert again.processes[0].maximum_weight == math.inf

    def test_cross_section_is_the_sum_with_errors_in_quadrature(self, run_info):
        assert run_info.cross_section == 7.0
        assert run_info.cross_section_error == pytest.approx(0.5)
        assert math.isnan(RunInfo().cross_section)
        assert math.isnan(RunInfo().cross_section_error)

    # As hep-ph/0109068 describes IDWTUP.
    @pytest.mark.parametrize(
        ("strategy", "normalisation"),
        [
            (1, WeightNormalisation.AVERAGE),
            (-2, WeightNormalisation.AVERAGE),
            (3, WeightNormalisation.UNIT),
            (-3, WeightNormalisation.UNIT),
            (4, WeightNormalisation.AVERAGE),
            (-4, WeightNormalisation.AVERAGE),
            (0, WeightNormalisation.UNKNOWN),
        ],
    )
    def test_normalisation(self, strategy, normalisation):
        assert RunInfo(weight_strategy=strategy).normalisation is normalisation

    def test_with_variations_adds_what_is_new(self, run_info):
        assert run_info.with_variations(("1002", "mine")).variation_names == ("1001", "1002", "mine")
        assert run_info.with_variations(("1001",)) is run_info


@pytest.mark.parametrize("suffix", [".lhe", ".hepmc3", ".hepmc2", ".root", ".lheh5"])
def test_numbers_of_numpy_in_the_run_information_are_written_as_numbers(suffix, tmp_path):
    events, info = drell_yan_events(3, np.random.default_rng(1))
    beams = (Beam(np.int64(2212), np.float64(6500.0)), Beam(2212, np.float32(6500.0)))
    process = Process(np.int32(1), np.float64(27.8), np.float64(0.4), np.float32(1.5))
    assert [type(value) for value in (process.process_id, process.error, process.maximum_weight)] == [int, float, float]
    path = tmp_path / f"events{suffix}"
    with create_events(path, info.replace(beams=beams, processes=(process,))) as output:
        output.write(events)
    with open_events(path) as again:
        assert again.run_info.cross_section == 27.8
        assert again.run_info.beams[0].energy == 6500.0
