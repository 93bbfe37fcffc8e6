"""HepMC of shower-level events, mostly of foreign files: particles, vertices, order, units, names of weights."""

import itertools

import awkward as ak
import numpy as np
import pyhepmc
import pytest

from mlgen.errors import OutputError
from mlgen.events import PARTICLE_COLUMNS, EventBatch
from mlgen.formats import hepmc_reader
from mlgen.formats.hepmc import HepMC2, HepMC3
from tests.formats.conftest import (
    RUN,
    assert_same_events,
    bits,
    foreign_file,
    foreign_run,
    foreign_showers,
    graphs,
    read,
    shower,
    written,
)


def assert_same_graph(batch, index, graph):
    """Compare with the event as pyhepmc has it."""
    start, stop = batch.offsets[index : index + 2]
    flat = graph.numpy.particles
    for name, theirs in (
        ("pdg_id", "pid"),
        ("status", "status"),
        ("px", "px"),
        ("py", "py"),
        ("pz", "pz"),
        ("energy", "e"),
        ("generated_mass", "generated_mass"),
    ):
        assert bits(batch.column(name)[start:stop]) == bits(getattr(flat, theirs)), name
    vertices = batch.vertices[index]
    ids = [v.id for v in graph.vertices]
    order = sorted(range(len(ids)), key=lambda i: -ids[i])
    assert len(vertices) == len(ids)
    for number, i in enumerate(order):
        vertex = graph.vertices[i]
        assert vertices[number].status == vertex.status
        mine = [vertices[number][c] for c in ("x", "y", "z", "t")]
        position = vertex.position
        assert mine == [position.x, position.y, position.z, position.t]
    ranks = {ids[i]: number for number, i in enumerate(order)}
    production = [ranks.get(p.production_vertex.id, -1) if p.production_vertex else -1 for p in graph.particles]
    end = [ranks[p.end_vertex.id] if p.end_vertex else -1 for p in graph.particles]
    assert batch.column("production_vertex")[start:stop].tolist() == production
    assert batch.column("end_vertex")[start:stop].tolist() == end
    parents = [sorted(q.id for q in p.parents) or [0] for p in graph.particles]
    assert batch.column("mother1")[start:stop].tolist() == [p[0] for p in parents]
    assert batch.column("mother2")[start:stop].tolist() == [p[-1] for p in parents]


def test_foreign_file_against_pyhepmc():
    data = foreign_file("HepMC3", foreign_showers())
    reader, (batch,) = read(HepMC3(), data)
    reference = graphs(data)
    assert len(batch) == len(reference) == 5
    for index, graph in enumerate(reference):
        assert_same_graph(batch, index, graph)
    assert batch.weight.tolist() == [1.5, 2.5, 3.5, 4.5, 5.5]
    assert {name: values.tolist() for name, values in batch.variations.items()} == {"up": [-2.0] * 5, "down": [0.1] * 5}
    assert batch.scale.tolist() == [90.5] * 5
    assert batch.alpha_qcd.tolist() == [0.125] * 5
    assert batch.alpha_qed.tolist() == [-1.0] * 5
    assert batch.process_id.tolist() == [221] * 5
    pairs = np.stack([batch.column("color1"), batch.column("color2")], axis=1)
    assert pairs[batch.column("status") == 21].tolist() == [[101, 102]] * 10
    assert not pairs[batch.column("status") != 21].any()
    assert [(beam.pdg_id, beam.energy) for beam in reader.run_info.beams] == [(2212, 6500.0)] * 2
    assert [(p.process_id, p.cross_section, p.error) for p in reader.run_info.processes] == [(221, 4.5, 0.25)]
    assert reader.run_info.generator == "Pythia8 8.313"
    assert reader.run_info.foreign["hepmc3"] == {
        "tools": [["Pythia8", "8.313", "a\nb \\ c"]],
        "attributes": {"note": "one\ntwo"},
    }


@pytest.mark.parametrize("source", ["HepMC3", "HepMC2"])
@pytest.mark.parametrize("target", [HepMC3(), HepMC2()])
def test_shower_level_round_trip(source, target):
    reader, (batch,) = read({"HepMC3": HepMC3(), "HepMC2": HepMC2()}[source], foreign_file(source, foreign_showers()))
    data = written(target, reader.run_info, batch)
    again, (got,) = read(target, data)
    if isinstance(target, HepMC3):
        assert_same_events(got, batch, ("up", "down"))
        for name in ("production_vertex", "end_vertex"):
            assert got.column(name).tolist() == batch.column(name).tolist()
        assert ak.to_list(got.vertices) == ak.to_list(batch.vertices)
        assert again.run_info == reader.run_info
        tools = [tool.name for tool in graphs(data)[0].run_info.tools]
        assert tools == ["Pythia8", "mlgen"] if source == "HepMC3" else ["mlgen"]
    assert graph_sets(got) == graph_sets(batch)
    assert got.weight.tolist() == batch.weight.tolist()
    assert got.variations["down"].tolist() == [0.1] * 5
    assert got.scale.tolist() == [90.5] * 5


def test_text_of_shower_level_events_is_that_of_hepmc3_itself(monkeypatch):
    """Written as text or through HepMC3's objects, the events are equal, and so are all lines but for the digits."""
    events = [*foreign_showers(), shower(9, foreign_run())]
    reader, (batch,) = read(HepMC3(), foreign_file("HepMC3", events))
    texts = [written(HepMC3(), reader.run_info, batch)]
    monkeypatch.setattr("mlgen.formats.hepmc_writer.has_order", lambda batch: False)
    texts.append(written(HepMC3(), reader.run_info, batch))
    fast, slow = (graphs(text) for text in texts)
    assert len(fast) == len(events)
    assert fast == slow
    words = [[line.split()[:4] for line in text.splitlines() if line[:2] in (b"E ", b"P ", b"V ")] for text in texts]
    assert words[0] == words[1]
    assert texts[0] != texts[1]


def graph_sets(batch):
    """The graph without order: for each event its vertices with place and the momenta that go in and out."""
    result = []
    for index in range(len(batch)):
        particles, vertices = ak.to_list(batch.particles[index]), ak.to_list(batch.vertices[index])
        keys = [(p["pdg_id"], p["status"], p["px"], p["energy"], p["color1"], p["color2"]) for p in particles]
        result.append(
            {
                (
                    *(vertex[c] for c in ("x", "y", "z", "t", "status")),
                    frozenset(k for k, p in zip(keys, particles, strict=True) if p["end_vertex"] == number),
                    frozenset(k for k, p in zip(keys, particles, strict=True) if p["production_vertex"] == number),
                )
                for number, vertex in enumerate(vertices)
            }
        )
    return result


def test_daughters_before_mothers_are_put_in_order():
    """HepMC2 files list vertices in any order, but HepMC3 needs mothers first."""
    lines = foreign_file("HepMC2", [shower(1)]).split(b"\n")
    begins = [i for i, line in enumerate(lines) if line.startswith(b"V ")] + [len(lines) - 3]
    blocks = [lines[begin:end] for begin, end in itertools.pairwise(begins)]
    turned = b"\n".join(lines[: begins[0]] + [line for block in blocks[::-1] for line in block] + lines[begins[-1] :])
    reader, (batch,) = read(HepMC2(), turned)
    assert (batch.column("mother2") > np.arange(len(batch.column("mother2")))).any()
    data = written(HepMC3(), reader.run_info, batch)
    (graph,) = graphs(data)
    assert len(graph.particles) == batch.counts[0]
    _, (got,) = read(HepMC3(), data)
    assert (got.column("mother2") <= np.arange(len(got.column("mother2")))).all()
    assert graph_sets(got) == graph_sets(batch)


def test_vertex_that_does_not_exist_is_refused():
    _, (batch,) = read(HepMC3(), foreign_file("HepMC3", [shower(1)]))
    columns = batch.columns((*PARTICLE_COLUMNS, "production_vertex", "end_vertex"))
    columns["end_vertex"] = np.full(len(columns["end_vertex"]), 3)
    few = {name: np.zeros(2) for name in ("x", "y", "z", "t", "status")}
    wrong = EventBatch.from_columns(
        batch.counts, columns, weight=[1.0], vertex_counts=np.array([2]), vertex_columns=few
    )
    with pytest.raises(OutputError, match="event 1: a particle names vertex 3, the event has 2"):
        written(HepMC3(), RUN, wrong)


def test_units_are_converted():
    graph = shower(3)
    expected = [(p.momentum.px, p.generated_mass) for p in graph.particles]
    places = {v.id: v.position.x for v in graph.vertices}
    graph.set_units(pyhepmc.Units.MEV, pyhepmc.Units.CM)
    for event_format, reader in (("HepMC3", HepMC3()), ("HepMC2", HepMC2())):
        data = foreign_file(event_format, [graph])
        assert b"U MEV CM" in data
        _, (batch,) = read(reader, data)
        got = sorted(zip(batch.column("px").tolist(), batch.column("generated_mass").tolist(), strict=True))
        assert np.allclose(got, sorted(expected), rtol=1e-12)
        if event_format == "HepMC3":
            assert np.allclose(batch.vertices[0].x, [places[i] for i in sorted(places, reverse=True)], rtol=1e-12)


def test_position_of_the_event_is_inherited():
    data = foreign_file("HepMC3", [shower(3)]).replace(b"\nU GEV", b" @ 1.0 2.0 3.0 4.0\nU GEV", 1)
    _, (batch,) = read(HepMC3(), data)
    assert batch.vertices[0].t.tolist()[:3] == [4.0] * 3
    assert_same_graph(batch, 0, graphs(data)[0])


def test_weights_without_names():
    graph = shower(1)
    graph.weights = [1.0, 2.0, 3.0]
    reader, (batch,) = read(HepMC3(), foreign_file("HepMC3", [graph]))
    assert reader.run_info.variation_names == ("weight_1", "weight_2")
    assert [batch.variations[name].tolist() for name in reader.run_info.variation_names] == [[2.0], [3.0]]


def test_batches_end_early_where_particles_are_many(monkeypatch):
    data = foreign_file("HepMC3", foreign_showers())
    monkeypatch.setattr(hepmc_reader, "BATCH_PARTICLES", 100)
    monkeypatch.setattr(hepmc_reader, "GROUP_LINES", 100)
    _, batches = read(HepMC3(), data)
    assert len(batches) > 1
    assert sum(map(len, batches)) == 5


def test_weight_names_of_a_foreign_file_that_come_twice_are_kept_apart():
    from mlgen.formats.hepmc_run import names_for

    assert names_for(["Default", "a", "a", "a"], 4) == ["Default", "a", "a (2)", "a (3)"]
    assert names_for(["Default a a"], 3) == ["Default", "a", "a (2)"]
    assert names_for([], 3) == ["", "weight_1", "weight_2"]
