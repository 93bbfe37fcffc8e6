import dataclasses

import numpy as np
import pytest

from mlgen.events import EventBatch
from mlgen.formats import create_events
from mlgen.formats.reading import open_events
from mlgen.run_info import Beam
from mlgen.testing.samples import drell_yan_events, drell_yan_run_info
from mlgen.validation.content import count_reactions
from mlgen.validation.event_observables import choose_observables
from mlgen.validation.levels import Level, at_level, by_content, graph_level, level_of
from mlgen.validation.settings import ValidationSettings


def graph(*events):
    """Events of final particles (pdg_id, px), as they are read from HepMC."""
    rows = [row for event in events for row in event]
    columns = {"pdg_id": np.array([row[0] for row in rows]), "px": np.array([float(row[1]) for row in rows])}
    columns |= {"py": 0 * columns["px"], "pz": 0 * columns["px"], "energy": np.abs(columns["px"])}
    columns["production_vertex"] = columns["end_vertex"] = np.full(len(rows), -1)
    return EventBatch.from_columns(
        np.array([len(event) for event in events]),
        columns,
        weight=np.ones(len(events)),
        vertex_counts=np.zeros(len(events), int),
        vertex_columns={name: np.zeros(0) for name in ("x", "y", "z", "t", "status")},
    )


HARD = graph([(13, 30), (-13, -30)], [(13, 30), (21, -30)])
SHOWER = graph([(13, 30), (-13, -30)], [(13, 30), (211, -30)])


def test_final_hadrons_tell_the_level():
    assert level_of([HARD]) is Level.HARD
    assert level_of([HARD, SHOWER]) is Level.SHOWER
    assert graph_level([drell_yan_events(3, np.random.default_rng(1))[0]]) is None
    assert [batch.has_graph for batch in by_content([HARD, HARD[:1]])] == [False, False]
    # A batch without a hadron is one of its sample all the same.
    assert [batch.has_graph for batch in by_content([SHOWER[:1], SHOWER])] == [True, True]


def test_all_batches_of_a_sample_have_one_level():
    events = [[(13, 30), (-13, -30), (22, 5)], [(13, 30), (-13, -25), (211, -5)]] * 30
    sample = graph(*events)
    settings = ValidationSettings(observables={"photons": "count('gamma')", "muons": "count('mu-')"}, only=["*s"])
    observables = choose_observables([[sample, graph([(13, 40), (22, 30)])]], settings)
    assert observables.graphs is Level.SHOWER
    row = [definition.name for definition in observables.definitions].index("photons")
    # A soft photon is an object of hard events only.
    assert observables(sample[:1]).values[row].tolist() == [0.0]
    assert at_level(sample[:1], None).has_graph is False


@pytest.mark.parametrize(
    ("beams", "incoming"),
    [
        ((Beam(2212, 6500.0), Beam(2212, 6500.0)), None),
        ((), None),
        ((Beam(11, 50.0), Beam(-11, 50.0)), (11, -11)),
        ((Beam(11, 50.0), Beam(2212, 900.0)), (11, 2)),
    ],
)
def test_incoming_particles_are_those_of_the_hard_process(beams, incoming, tmp_path):
    """With beams in front of both partons, without, with partons that are the beams, and one of each."""
    batch, _ = drell_yan_events(50, np.random.default_rng(2))
    columns = batch.columns()
    if incoming is not None:
        first = columns["status"] == -1
        columns["pdg_id"][first] = np.tile(incoming, 50)
        columns["color1"][:] = columns["color2"][:] = 0
        columns["energy"][first] = columns["pz"][first] = 50.0
        columns["pz"][np.flatnonzero(first)[1::2]] *= -1
    batch = EventBatch.from_columns(batch.counts, columns, weight=1.0, process_id=1)
    with create_events(tmp_path / "x.hepmc2", dataclasses.replace(drell_yan_run_info(), beams=beams)) as output:
        output.write(batch)
    with open_events(tmp_path / "x.hepmc2") as stream:
        read = list(stream)
    assert all(part.has_graph for part in read)
    expected, found = count_reactions([batch]), count_reactions(by_content(read))
    assert found.counts == expected.counts
    assert found.names == expected.names
