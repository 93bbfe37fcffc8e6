"""HepMC of hard events: round trip, graph, weights, and what is refused."""

import io
import math
from pathlib import Path

import numpy as np
import pyhepmc
import pytest

from mlgen.errors import OutputError
from mlgen.events import EventBatch
from mlgen.formats import hepmc_record
from mlgen.formats.hepmc import HepMC2, HepMC3
from mlgen.run_info import Beam
from tests.formats.conftest import RUN, assert_same_events, event, graphs, hard_batch, read, written

SHARED = Path(__file__).parents[3] / "shared" / "data" / "lhe"


def test_hard_events_come_back_exactly():
    batch = hard_batch()
    data = written(HepMC3(), RUN, batch, batch[1:])
    reader, batches = read(HepMC3(), data, batch_size=2)
    assert [len(b) for b in batches] == [2, 2, 1]
    expected = EventBatch.concatenate([batch, batch[1:]])
    got = EventBatch.concatenate(batches)
    assert not got.has_graph
    assert_same_events(got, expected, RUN.variation_names)
    assert got.comments.tolist() == expected.comments.tolist()
    assert got.tag_attributes.tolist() == expected.tag_attributes.tolist()
    assert reader.run_info == RUN
    assert reader.skipped.count == 0


def test_hard_graph_read_by_pyhepmc():
    zed, tops, orphans = graphs(written(HepMC3(), RUN, hard_batch()))
    mass = 0.938272
    for graph in (zed, tops, orphans):
        beams = [p for p in graph.particles if p.status == 4]
        assert [p.pid for p in beams] == [2212, 2212]
        assert [p.momentum.e for p in beams] == [6500.0, 6500.0]
        assert [p.momentum.pz for p in beams] == pytest.approx(
            [math.sqrt(6500**2 - mass**2), -math.sqrt(6500**2 - mass**2)], rel=1e-9
        )
        assert {p.id for p in graph.particles if p.production_vertex is None or p.production_vertex.id == 0} == {1, 2}
        assert all(v.particles_in and v.particles_out for v in graph.vertices)
        hard = [v for v in graph.vertices if len(v.particles_in) == 2]
        assert len(hard) == 1
        assert [p.status for p in hard[0].particles_in] == [3, 3]
        for parton in hard[0].particles_in:
            (beam,) = parton.parents
            assert beam.momentum.pz * parton.momentum.pz > 0
        for component in ("px", "py", "pz", "e"):
            into = sum(getattr(p.momentum, component) for p in hard[0].particles_in)
            out = sum(getattr(p.momentum, component) for p in hard[0].particles_out)
            assert out == pytest.approx(into, abs=1e-9)
    (resonance,) = [p for p in zed.particles if p.pid == 23]
    assert resonance.status == 2
    assert sorted(p.pid for p in resonance.end_vertex.particles_out) == [-11, 11]
    assert [p.status for p in resonance.children] == [1, 1]
    assert len(tops.vertices) == 6
    assert {p.pid: sorted(c.pid for c in p.children) for p in tops.particles if p.status == 2} == {
        6: [5, 24],
        -6: [-24, -5],
        24: [-11, 12],
        -24: [],
    }


def test_weights_names_cross_section_and_tools_read_by_pyhepmc():
    zed, tops, _ = graphs(written(HepMC3(), RUN, hard_batch()))
    assert zed.weight_names == ["Default", "scale_up_2", "mlgen.bnn.syst.up", "x\\|y"]
    assert list(zed.weights) == [-0.1, 1 / 3, -5e-324, 0.0]
    assert list(tops.weights) == [2.5, 0.0, 0.0, 0.0]
    section = zed.attributes["GenCrossSection"].astype(pyhepmc.GenCrossSection)
    assert section.xsec() == pytest.approx(13.345678901234567)
    assert section.xsec_err() == pytest.approx(math.hypot(0.1, 0.2))
    assert zed.attributes["alphaQCD"].astype(float) == 0.118
    assert zed.attributes["event_scale"].astype(float) == 91.188
    assert zed.attributes["signal_process_id"].astype(int) == 7
    assert next((tool.name, tool.version) for tool in zed.run_info.tools) == ("MadGraph5_aMC@NLO", "3.5.8")
    assert "mlgen" in [tool.name for tool in zed.run_info.tools]


def test_stages_are_tools():
    stages = [
        {"stage": "generator", "plugin": "cfm", "version": "1.2", "exactness": "approximate", "model_sha256": "ab12"},
        {"stage": "unweighting", "plugin": "plain", "version": "0.1", "exactness": "exact", "model_sha256": ""},
    ]
    run = RUN.replace(provenance=({"version": "0.2", "stages": stages}, {"version": "0.3", "command": "convert"}))
    data = written(HepMC3(), run, hard_batch())
    tools = [(tool.name, tool.version, tool.description) for tool in graphs(data)[0].run_info.tools]
    assert tools[1][:2] == ("mlgen", "0.3")
    assert tools[2:] == [
        ("mlgen:cfm", "1.2", "generator, approximate, model ab12"),
        ("mlgen:plain", "0.1", "unweighting, exact"),
    ]
    reader, _ = read(HepMC3(), data)
    assert reader.run_info == run


def test_weight_names_stay_different():
    assert hepmc_record.weight_names(["a b", "a_b", "Default", ""]) == [
        "Default",
        "a_b",
        "a_b_2",
        "Default_2",
        "unnamed",
    ]


def beam_status(run_info, particles):
    (graph,) = graphs(written(HepMC3(), run_info, event(particles)))
    return [(p.pid, p.status) for p in graph.particles], graph


def test_incoming_particles_that_are_the_beams():
    run = RUN.replace(beams=(Beam(11, 45.6), Beam(-11, 45.6)))
    particles = [
        (11, -1, 0, 0, 0, 0, 0.0, 0.0, 45.6, 45.6, 0.0),
        (-11, -1, 0, 0, 0, 0, 0.0, 0.0, -45.6, 45.6, 0.0),
        (13, 1, 1, 2, 0, 0, 45.6, 0.0, 0.0, 45.6, 0.1),
        (-13, 1, 1, 2, 0, 0, -45.6, 0.0, 0.0, 45.6, 0.1),
    ]
    status, graph = beam_status(run, particles)
    assert status == [(11, 4), (-11, 4), (13, 1), (-13, 1)]
    assert len(graph.vertices) == 1


def test_one_incoming_particle_is_a_beam_and_the_other_is_not():
    run = RUN.replace(beams=(Beam(11, 27.5), Beam(2212, 920.0)))
    particles = [
        (2, -1, 0, 0, 501, 0, 0.0, 0.0, -100.0, 100.0, 0.0),
        (11, -1, 0, 0, 0, 0, 0.0, 0.0, 27.5, 27.5, 0.0),
        (11, 1, 1, 2, 0, 0, 5.0, 0.0, 0.0, 27.5, 0.0),
        (2, 1, 1, 2, 501, 0, -5.0, 0.0, -72.5, 100.0, 0.0),
    ]
    status, graph = beam_status(run, particles)
    assert status == [(2212, 4), (2, 3), (11, 4), (11, 1), (2, 1)]
    assert graph.particles[0].momentum.pz < 0
    assert [p.pid for p in graph.particles[0].children] == [2]


@pytest.mark.parametrize("incoming", [1, 2])
def test_without_beams_in_the_run_incoming_particles_are_the_beams(incoming):
    particles = [(25, -1, 0, 0, 0, 0, 0.0, 0.0, 0.0, 125.0, 125.0)] * incoming
    particles += [(22, 1, 1, incoming, 0, 0, 62.5, 0.0, 0.0, 62.5, 0.0)] * 2
    run = RUN if incoming == 1 else RUN.replace(beams=())
    status, graph = beam_status(run, particles)
    assert [s for _, s in status] == [4] * incoming + [1, 1]
    assert len(graph.vertices) == 1


def test_recorded_beams_are_used():
    particles = [
        (2212, -9, 0, 0, 0, 0, 0.0, 0.0, 980.0, 980.0, 0.938),
        (-2212, -9, 0, 0, 0, 0, 0.0, 0.0, -980.0, 980.0, 0.938),
        (2, -1, 1, 0, 501, 0, 0.0, 0.0, 50.0, 50.0, 0.0),
        (-2, -1, 0, 0, 0, 501, 0.0, 0.0, -50.0, 50.0, 0.0),
        (23, 1, 3, 4, 0, 0, 0.0, 0.0, 0.0, 100.0, 100.0),
    ]
    status, graph = beam_status(RUN, particles)
    assert [s for _, s in status] == [4, 4, 3, 3, 1]
    assert [[p.pid for p in q.parents] for q in graph.particles] == [[], [], [2212], [-2212], [2, -2]]


def test_mothers_that_are_no_ranges():
    particles = [
        (21, -1, 0, 0, 0, 0, 0.0, 0.0, 10.0, 10.0, 0.0),
        (21, -1, 0, 0, 0, 0, 0.0, 0.0, -10.0, 10.0, 0.0),
        (6, 2, 1, 2, 0, 0, 1.0, 0.0, 0.0, 5.0, 0.0),
        (25, 1, 2, 1, 0, 0, 0.0, 0.0, 0.0, 5.0, 0.0),
        (-6, 2, 1, 1, 0, 0, -1.0, 0.0, 0.0, 10.0, 0.0),
        (22, 1, 5, 3, 0, 0, 0.0, 0.0, 0.0, 5.0, 0.0),
        (23, 1, 5, 0, 0, 0, 0.0, 0.0, 0.0, 10.0, 0.0),
    ]
    batch = event(particles)
    _, graph = beam_status(RUN, particles)
    top, higgs, antitop, photon, zed = graph.particles[4:]
    assert {p.id for p in top.parents} == {p.id for p in higgs.parents} == {p.id for p in antitop.parents} == {3, 4}
    # Particle 5 decays once, so what shares it as a mother comes from one vertex.
    assert photon.production_vertex.id == zed.production_vertex.id == top.end_vertex.id == antitop.end_vertex.id
    assert {p.pid for p in photon.parents} == {6, -6}
    assert higgs.end_vertex is None
    _, (got,) = read(HepMC3(), written(HepMC3(), RUN, batch))
    assert_same_events(got, batch, RUN.variation_names)


def test_incoming_particles_apart_from_each_other():
    particles = [
        (21, -1, 0, 0, 0, 0, 0.0, 0.0, 10.0, 10.0, 0.0),
        (22, 1, 1, 1, 0, 0, 0.0, 0.0, 0.0, 20.0, 0.0),
        (21, -1, 0, 0, 0, 0, 0.0, 0.0, -10.0, 10.0, 0.0),
    ]
    _, graph = beam_status(RUN.replace(beams=()), particles)
    (vertex,) = graph.vertices
    assert [p.pid for p in vertex.particles_in] == [21, 21]
    assert [p.pid for p in vertex.particles_out] == [22]


def test_daughter_before_the_only_incoming_particle_is_refused():
    particles = [(22, 1, 0, 0, 0, 0, 0.0, 0.0, 0.0, 1.0, 0.0), (25, -1, 0, 0, 0, 0, 0.0, 0.0, 0.0, 1.0, 1.0)]
    with pytest.raises(OutputError, match="event 1: particle 1 has particle 2 for a mother"):
        written(HepMC3(), RUN, event(particles))


def test_mother_after_daughter_is_refused():
    particles = [(21, -1, 0, 0, 0, 0, 0.0, 0.0, 1.0, 1.0, 0.0), (22, 1, 3, 3, 0, 0, 0.0, 0.0, 0.0, 1.0, 0.0)]
    particles.append((23, 2, 1, 1, 0, 0, 0.0, 0.0, 0.0, 1.0, 0.0))
    with pytest.raises(OutputError, match="event 1: particle 2 has particle 3 for a mother"):
        written(HepMC3(), RUN, event(particles))


@pytest.mark.parametrize("event_format", [HepMC3(), HepMC2()])
def test_undeclared_variation_is_refused(event_format):
    batch = event([(22, 1, 0, 0, 0, 0, 0.0, 0.0, 1.0, 1.0, 0.0)], variations={"scale up 3": np.array([1.0])})
    with pytest.raises(OutputError, match=r"event 1: .*'scale up 3'.*did you mean 'scale up 2'"):
        written(event_format, RUN, batch)


@pytest.mark.parametrize("field", ["weight", "px", "variation"])
def test_infinities_are_not_written(field):
    px = math.inf if field == "px" else 0.0
    good = event([(22, 1, 0, 0, 0, 0, 0.0, 0.0, 1.0, 1.0, 0.0)])
    bad = event(
        [(22, 1, 0, 0, 0, 0, px, 0.0, 1.0, 1.0, 0.0)],
        weight=[math.nan if field == "weight" else 1.0],
        variations={"scale up 2": np.array([math.inf if field == "variation" else 1.0])},
    )
    with pytest.raises(OutputError, match=r"event 3: .*not finite"):
        written(HepMC3(), RUN, good, EventBatch.concatenate([good, bad]))


def test_a_full_disk_is_not_swallowed():
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    writer = HepMC3().writer(Full(), RUN)
    with pytest.raises(OSError, match="No space left"):
        writer.write(hard_batch())


def test_no_events():
    data = written(HepMC3(), RUN)
    reader, batches = read(HepMC3(), data)
    assert batches == []
    assert reader.run_info == RUN


@pytest.mark.parametrize(("event_format", "other"), [(HepMC3(), HepMC2()), (HepMC2(), HepMC3())])
def test_recognised(event_format, other):
    head = written(event_format, RUN.replace(header=""))[:4096]
    assert event_format.recognises(head)
    assert not other.recognises(head)
    assert not event_format.recognises(b"<LesHouchesEvents version='3.0'>")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared sample files are not here")
@pytest.mark.parametrize("path", sorted(SHARED.glob("*.lhe*")), ids=lambda path: path.name)
def test_real_files_come_back_exactly(path):
    from mlgen.formats import open_events

    with open_events(path, batch_size=200) as events:
        batch = next(iter(events))
        info = events.run_info
    data = written(HepMC3(), info, batch)
    reader, (got,) = read(HepMC3(), data)
    assert reader.run_info == info
    assert_same_events(got, batch, info.variation_names)
    for name in ("comments", "tag_attributes"):
        mine, theirs = getattr(got, name), getattr(batch, name)
        assert (mine is None) == (theirs is None)
        assert mine is None or mine.tolist() == theirs.tolist()
    events_read = graphs(data)
    assert len(events_read) == len(batch)
    for graph in events_read:
        for particle in graph.particles:
            vertex = particle.production_vertex
            assert particle.status == 4 or (vertex is not None and len(vertex.particles_in) > 0)
        hard = max(graph.vertices, key=lambda v: len(v.particles_in))
        into, out = sum(p.momentum.e for p in hard.particles_in), sum(p.momentum.e for p in hard.particles_out)
        # The files give momenta with 8 to 11 digits.
        assert out == pytest.approx(into, rel=1e-5)
