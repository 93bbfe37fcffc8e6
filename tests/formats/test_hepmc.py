import dataclasses
import gzip
import io
import itertools
import math
import os
import re
import threading
from pathlib import Path

import awkward as ak
import numpy as np
import pyhepmc
import pytest

from mlgen.errors import InputError, OutputError
from mlgen.event_format import ReadOptions
from mlgen.events import PARTICLE_COLUMNS, EventBatch
from mlgen.formats import hepmc_reader, hepmc_record
from mlgen.formats.hepmc import HepMC2, HepMC3
from mlgen.run_info import Beam, Process, RunInfo, Variation

SHARED = Path(__file__).parents[3] / "shared" / "data" / "lhe"
BEAMS = (Beam(2212, 6500.0, 0, 247000), Beam(2212, 6500.0, 0, 247000))
RUN = RunInfo(
    beams=BEAMS,
    weight_strategy=-4,
    processes=(Process(7, 12.345678901234567, 0.1, 1.0), Process(8, 1.0, 0.2, 1.0)),
    variations=(
        Variation("scale up 2", "muR=2", {"MUR": "2.0"}, 0),
        Variation("mlgen.bnn.syst.up"),
        Variation("x\\|y"),
    ),
    variation_groups=({"name": "scales", "combine": "envelope"},),
    header="<header>\n# ünicode | \\ <b>\n</header>\n" + "long text \\\n" * 40_000,
    generator="MadGraph5_aMC@NLO 3.5.8",
    provenance=({"version": "0.0.9", "seed": 3},),
)


def event(particles, **others):
    """One event from rows in the order of `PARTICLE_COLUMNS`; lifetime and spin may be left out."""
    rows = [tuple(row) + (0.0, 9.0)[len(row) - 11 :] for row in particles]
    columns = dict(zip(PARTICLE_COLUMNS, zip(*rows, strict=True), strict=True))
    return EventBatch.from_columns(np.array([len(rows)]), columns, **{"weight": [1.0], **others})


def hard_batch():
    z_decay = [
        (2, -1, 0, 0, 501, 0, 0.0, -0.0, 100.1, 100.1, 0.0, 0.0, 1.0),
        (-2, -1, 0, 0, 0, 501, 0.0, 0.0, -20.3, 20.3, 0.0, 0.0, -1.0),
        (23, 2, 1, 2, 0, 0, 0.0, 0.0, 79.8, 120.4, 90.16, 1e-13, 9.0),
        (-11, 1, 3, 3, 0, 0, 30.1 / 3, 1e-300, 50.0, 60.2, 5.11e-4, 0.0, 1.0),
        (11, 1, 3, 0, 0, 0, -30.1 / 3, 0.0, 29.8, 60.2, 5.11e-4, 0.0, -1.0),
    ]
    tops = [
        (21, -1, 0, 0, 501, 502, 0.0, 0.0, 400.0, 400.0, 0.0),
        (21, -1, 0, 0, 503, 501, 0.0, 0.0, -500.0, 500.0, 0.0),
        (6, 2, 1, 2, 503, 0, 1.0, 2.0, -50.0, 450.0, 172.5),
        (-6, 2, 1, 2, 0, 502, -1.0, -2.0, -50.0, 450.0, 172.5),
        (24, 2, 3, 3, 0, 0, 0.5, 1.0, -20.0, 200.0, 80.4),
        (5, 1, 3, 3, 503, 0, 0.5, 1.0, -30.0, 250.0, 4.8),
        (-24, 2, 4, 4, 0, 0, -0.5, -1.0, -20.0, 200.0, 80.4),
        (-5, 1, 4, 0, 0, 502, -0.5, -1.0, -30.0, 250.0, 4.8),
        (-11, 1, 5, 5, 0, 0, 0.25, 0.5, -10.0, 100.0, 0.0),
        (12, 1, 5, 5, 0, 0, 0.25, 0.5, -10.0, 100.0, 0.0),
    ]
    orphans = [
        (1, -1, 0, 0, 501, 0, 0.0, 0.0, -10.0, 10.0, 0.0),
        (2, -1, 0, 0, 502, 0, 0.0, 0.0, 12.0, 12.0, 0.0),
        (1, 1, 1, 0, 502, 0, 3.0, 0.0, 1.0, 11.0, 0.0),
        (2, 1, 0, 0, 501, 0, -3.0, 0.0, 1.0, 11.0, 0.0),
    ]
    parts = [
        event(
            z_decay,
            weight=[-0.1],
            process_id=[7],
            scale=[91.188],
            alpha_qed=[1 / 127.9],
            alpha_qcd=[0.118],
            variations={"scale up 2": np.array([1 / 3]), "mlgen.bnn.syst.up": np.array([-5e-324])},
            comments=np.array(["# a\n <b> | \\n \\| \\\\ é€ trailing \t \r\n"], object),
        ),
        event(tops, weight=[2.5], process_id=[8], tag_attributes=np.array(['npLO="2" x=" a|b "'], object)),
        event(orphans, weight=[1e-30], scale=[0.0], variations={"x\\|y": np.array([math.pi])}),
    ]
    return EventBatch.concatenate(parts)


def written(event_format, run_info, *batches):
    stream = io.BytesIO()
    writer = event_format.writer(stream, run_info)
    for batch in batches:
        writer.write(batch)
    writer.close()
    return stream.getvalue()


def read(event_format, data, **options):
    reader = event_format.reader(io.BytesIO(data), ReadOptions("x.hepmc", **options))
    return reader, list(reader)


def bits(values):
    return np.asarray(values, np.float64).tobytes()


def assert_same_events(got, expected, names):
    assert len(got) == len(expected)
    assert np.array_equal(got.counts, expected.counts)
    for name in PARTICLE_COLUMNS:
        assert bits(got.column(name)) == bits(expected.column(name)), name
    for name in ("weight", "process_id", "scale", "alpha_qed", "alpha_qcd"):
        assert bits(getattr(got, name)) == bits(getattr(expected, name)), name
    assert list(got.variations) == list(names)
    absent = np.full(len(expected), np.nan)
    for name in names:
        assert np.array_equal(got.variations[name], expected.variations.get(name, absent), equal_nan=True), name


def graphs(data, event_format="HepMC3"):
    with pyhepmc.open(io.BytesIO(data), format=event_format) as events:
        return list(events)


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


def shower(seed, run=None):
    """A shower-like event: beams, a hard vertex, splittings at displaced places, and colours."""
    rng = np.random.default_rng(seed)
    graph = pyhepmc.GenEvent(run) if run else pyhepmc.GenEvent()
    graph.event_number = seed

    def particle(pid, status):
        px, py, pz, mass = rng.normal(size=4)
        result = pyhepmc.GenParticle((px, py, pz, math.sqrt(px**2 + py**2 + pz**2 + mass**2)), pid, status)
        result.generated_mass = abs(mass)
        return result

    beams = [particle(2212, 4), particle(2212, 4)]
    beams[0].momentum, beams[1].momentum = (0, 0, 6500, 6500), (0, 0, -6500, 6500)
    partons = [particle(21, 21), particle(1, 21)]
    for beam, parton in zip(beams, partons, strict=True):
        vertex = pyhepmc.GenVertex()
        vertex.add_particle_in(beam)
        vertex.add_particle_out(parton)
        graph.add_vertex(vertex)
    hard = pyhepmc.GenVertex()
    hard.status = 5
    for parton in partons:
        hard.add_particle_in(parton)
    active = [particle(int(rng.integers(1, 6)), 2) for _ in range(2)]
    for parton in active:
        hard.add_particle_out(parton)
    graph.add_vertex(hard)
    for step in range(30):
        count = 2 if step % 7 == 6 else 1
        mothers = [active.pop(int(rng.integers(len(active)))) for _ in range(count)]
        vertex = pyhepmc.GenVertex(tuple(rng.normal(size=4)) if step % 5 == 4 or count == 2 else (0, 0, 0, 0))
        for mother in mothers:
            vertex.add_particle_in(mother)
        for _ in range(int(rng.integers(1, 4)) + 1):
            daughter = particle(int(rng.integers(11, 500)), 1)
            vertex.add_particle_out(daughter)
            active.append(daughter)
        graph.add_vertex(vertex)
        for mother in mothers:
            mother.status = 2
    for parton in partons:
        parton.attributes["flow1"], parton.attributes["flow2"] = 101, 102
    graph.attributes["alphaQCD"] = 0.125
    graph.attributes["event_scale"] = 90.5
    graph.attributes["signal_process_id"] = 221
    return graph


def foreign_file(event_format, graphs_, run=None):
    stream = io.BytesIO()
    with pyhepmc.open(stream, "w", format=event_format) as output:
        for graph in graphs_:
            output.write(graph)
    return stream.getvalue()


def foreign_run():
    run = pyhepmc.GenRunInfo()
    run.weight_names = ["nominal", "up", "down"]
    run.tools = [pyhepmc.GenRunInfo.ToolInfo("Pythia8", "8.313", "a\nb \\ c")]
    run.attributes["note"] = "one\ntwo"
    return run


def foreign_showers(n=5):
    run = foreign_run()
    result = []
    for seed in range(n):
        graph = shower(seed, run)
        graph.weights = [1.5 + seed, -2.0, 0.1]
        section = pyhepmc.GenCrossSection()
        section.set_cross_section(4.5, 0.25)
        graph.cross_section = section
        result.append(graph)
    return result


def attributed_showers():
    """Three showers with a running cross section, PDFs, heavy ions and attributes of particles and vertices."""
    run = foreign_run()
    result = []
    for number, (value, error) in enumerate([(100.0, 30.0), (50.0, 7.0), (42.125, 1 / 3)]):
        graph = shower(number, run)
        graph.weights = [1.0, 2.0, 3.0]
        section = pyhepmc.GenCrossSection()
        # As Pythia does it: the attribute has to know its event to hold an entry for each weight.
        graph.cross_section = section
        section.set_cross_section(value, error, 10 * (number + 1), 25 * (number + 1))
        section.set_xsec("up", 2 * value)
        pdf = pyhepmc.GenPdfInfo()
        pdf.parton_id1, pdf.parton_id2, pdf.x1, pdf.x2, pdf.scale = 21, 1, 0.1 + number, 0.02, 91.0
        pdf.xf1, pdf.xf2, pdf.pdf_id1, pdf.pdf_id2 = 0.5, 0.25, 247000, 247001
        graph.pdf_info = pdf
        ion = pyhepmc.GenHeavyIon()
        ion.Ncoll, ion.impact_parameter = 3 + number, 4.5
        graph.heavy_ion = ion
        graph.attributes["note"] = "one\ntwo \\ | three"
        graph.attributes["trials"] = 17 + number
        graph.particles[4].attributes["theta"] = 0.25
        graph.vertices[2].attributes["kind"] = "a b"
        result.append(graph)
    return result


def texts_of(data):
    """The attributes of each event as they stand in the file; HepMC3 leaves open in which order."""
    events = re.split(rb"(?m)^E ", data)[1:]
    return [sorted(line for line in event.split(b"\n") if line.startswith(b"A ")) for event in events]


def test_attributes_of_events_come_back():
    data = foreign_file("HepMC3", attributed_showers())
    reader, (batch,) = read(HepMC3(), data)
    assert [p.cross_section for p in reader.run_info.processes] == [100.0]
    assert batch.attributes[2]["trials"] == "19"
    assert batch.attributes[0]["note"] == "one\ntwo \\ | three"
    assert "alphaQCD" not in batch.attributes[0]
    again = written(HepMC3(), reader.run_info, batch[:1], batch[1:])

    def comparable(lines):
        # Numbers that have a column may change in the digits of a zero at the end.
        return [line for line in lines if line.split()[2] not in (b"alphaQCD", b"event_scale")]

    assert list(map(comparable, texts_of(again))) == list(map(comparable, texts_of(data)))
    for graph, reference in zip(graphs(again), graphs(data), strict=True):
        section, expected = graph.cross_section, reference.cross_section
        assert [section.xsec(i) for i in range(3)] == [expected.xsec(i) for i in range(3)]
        assert section.xsec_err() == expected.xsec_err()
        assert section.accepted_events == expected.accepted_events > 0
        assert section.attempted_events == expected.attempted_events > 0
        assert graph.pdf_info == reference.pdf_info
        assert graph.heavy_ion == reference.heavy_ion
        assert graph.particles[4].attributes["theta"].astype(float) == 0.25
    values = [graph.cross_section.xsec() for graph in graphs(again)]
    assert values == [100.0, 50.0, 42.125]


def test_events_without_cross_section_get_that_of_the_run():
    first, second, _ = attributed_showers()
    third = shower(7, first.run_info)
    third.weights = [1.0, 1.0, 1.0]
    reader, (batch,) = read(HepMC3(), foreign_file("HepMC3", [first, second, third]))
    sections = [graph.cross_section.xsec() for graph in graphs(written(HepMC3(), reader.run_info, batch))]
    assert sections == [100.0, 50.0, 100.0]


def test_attributes_that_hepmc2_has_lines_for():
    reader, (batch,) = read(HepMC3(), foreign_file("HepMC3", attributed_showers()))
    data = written(HepMC2(), reader.run_info, batch)
    for graph, reference in zip(graphs(data, "HepMC2"), attributed_showers(), strict=True):
        assert graph.cross_section.xsec() == reference.cross_section.xsec()
        assert graph.pdf_info.x1 == reference.pdf_info.x1
        assert graph.pdf_info.pdf_id2 == 247001
        assert graph.heavy_ion.Ncoll == reference.heavy_ion.Ncoll
    _, (got,) = read(HepMC2(), data)
    newer = graphs(written(HepMC3(), reader.run_info, got))
    assert [graph.cross_section.xsec() for graph in newer] == [100.0, 50.0, 42.125]
    assert [graph.pdf_info.x1 for graph in newer] == [0.1, 1.1, 2.1]


def test_attributes_are_cut_and_joined():
    _, (batch,) = read(HepMC3(), foreign_file("HepMC3", attributed_showers()))
    _, (plain,) = read(HepMC3(), foreign_file("HepMC3", [shower(9, foreign_run())]))
    assert plain.attributes is None
    joined = EventBatch.concatenate([batch[1:2], batch[np.array([2, 0])]])
    assert [attributes["trials"] for attributes in joined.attributes] == ["18", "19", "17"]
    bare = EventBatch.concatenate([batch, dataclasses.replace(batch, attributes=None)])
    assert bare.attributes[2]["trials"] == "19"
    assert bare.attributes[3:].tolist() == [{}, {}, {}]


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


@pytest.mark.parametrize(("old", "new"), [(rb"(@ \S+) \S+", rb"\1"), (rb"@ \S+", b"@ x"), (rb"@ \S+", b"@ inf")])
def test_broken_position(old, new):
    data = broken(foreign_file("HepMC3", foreign_showers()), old, new)
    with pytest.raises(InputError, match="event 2") as caught:
        read(HepMC3(), data)
    assert "position" in str(caught.value) or "is expected" in str(caught.value)
    reader, (batch,) = read(HepMC3(), data, on_error="skip")
    assert len(batch) == 4
    assert reader.skipped.count == 1


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


def broken(data, old, new, count=1):
    """Change the second event of a file."""
    start = data.index(b"\nE ", data.index(b"\nE ") + 1)
    changed = data[:start] + re.sub(old, new, data[start:], count=count)
    assert changed != data
    return changed


DAMAGES = {
    "garbage number": (rb"(?m)^(P 3 \S+ \S+ )\S+", rb"\1abc", "9 numbers are expected"),
    "nan momentum": (rb"(?m)^(P 3 \S+ \S+ )\S+", rb"\1nan", "not finite"),
    "inf momentum": (rb"(?m)^(P 3 \S+ \S+ )\S+", rb"\1-inf", "not finite"),
    "short particle": (rb"(?m)^(P 4 .*) \d+$", rb"\1", "9 numbers are expected"),
    "fraction": (rb"(?m)^(P 4 .*) \d+$", rb"\1 1.5", "whole number"),
    "missing particle": (rb"(?m)^P 4 .*\n", rb"", "announces"),
    "wrong number": (rb"(?m)^P 4 ", rb"P 5 ", "not numbered"),
    "missing vertex": (rb"(?m)^V .*\n", rb"", "announces"),
    "garbage vertex": (rb"(?m)^V (.*)\[", rb"V \1(", "is expected"),
    "vertex of nothing": (rb"(?m)^V (.*)\[3", rb"V \1[99", "99"),
    "unknown line": (rb"(?m)^U .*$", rb"? what", "one of E, U, W, A, P, V"),
    "unit": (rb"(?m)^U .*$", rb"U TEV MM", "GEV"),
    "nan weight": (rb"(?m)^W \S+", rb"W nan", "weight is not finite"),
    "inf variation": (rb"(?m)^W (\S+) \S+", rb"W \1 inf", "weight is not finite"),
    "too few weights": (rb"(?m)^W (.*) \S+$", rb"W \1", "weights"),
    "garbage weight": (rb"(?m)^W \S+", rb"W 1.0x", "malformed"),
    "garbage first line": (rb"E \d+ \d+", rb"E 1 x", "is expected"),
    "scale": (rb"event_scale \S+", rb"event_scale big", "event_scale"),
    "record": (rb"mlgen_lhe \d;", rb"mlgen_lhe ;", "mlgen_lhe"),
    "record length": (rb"mlgen_lhe 2;", rb"mlgen_lhe 1;", "mlgen_lhe"),
    "missing weight": (rb"mlgen_missing \S+", rb"mlgen_missing 77", "mlgen_missing"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_broken_event(damage):
    old, new, message = DAMAGES[damage]
    good = event(
        [
            (21, -1, 0, 0, 501, 502, 0.0, 0.0, 400.0, 400.0, 0.0),
            (21, -1, 0, 0, 503, 501, 0.0, 0.0, -500.0, 500.0, 0.0),
            (6, 1, 1, 2, 503, 0, 1.0, 2.0, -50.0, 450.0, 172.5),
            (-6, 1, 1, 2, 0, 502, -1.0, -2.0, -50.0, 450.0, 172.5),
        ],
        scale=[91.0],
        variations={"scale up 2": np.array([0.5])},
    )
    data = broken(written(HepMC3(), RUN, EventBatch.concatenate([good] * 4)), old, new)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read(HepMC3(), data)
    assert caught.value.source == "x.hepmc"
    assert caught.value.event == 2
    lines = data.split(b"\n")
    second, third = [i for i, line in enumerate(lines, start=1) if line.startswith(b"E ")][1:3]
    assert second <= caught.value.line < third
    reader, (batch,) = read(HepMC3(), data, on_error="skip")
    assert len(batch) == 3
    assert reader.skipped.count == 1
    assert "event 2" in reader.skipped.reasons[0]
    assert_same_events(batch, EventBatch.concatenate([good] * 3), RUN.variation_names)


def test_line_of_the_error():
    data = broken(written(HepMC3(), RUN, hard_batch()), rb"(?m)^(P 3 \S+ \S+ )\S+", rb"\1abc")
    with pytest.raises(InputError) as caught:
        read(HepMC3(), data)
    assert b"abc" in data.split(b"\n")[caught.value.line - 1]


def test_broken_first_event():
    data = written(HepMC3(), RUN, hard_batch())
    first = data.index(b"\nE ")
    data = data[:first] + data[first:].replace(b"\nP 1 ", b"\nP x ", 1)
    with pytest.raises(InputError, match="event 1"):
        read(HepMC3(), data)
    reader, (batch,) = read(HepMC3(), data, on_error="skip")
    assert reader.run_info == RUN
    assert len(batch) == 2
    assert reader.skipped.count == 1


@pytest.mark.parametrize("event_format", [HepMC3(), HepMC2()])
def test_cut_files(event_format):
    """Wherever a file is cut, it is noticed, and what is whole can still be read."""
    data = written(event_format, RUN.replace(header=""), hard_batch())
    begins = [found.start() + 1 for found in re.finditer(rb"\nE ", data)] + [data.index(b"\nHepMC::", 100) + 1]
    for cut in range(begins[0] + 5, len(data) - 25, 37):
        with pytest.raises(InputError, match=r"cut off|is expected|announce|malformed|are expected"):
            read(event_format, data[:cut])
        reader, batches = read(event_format, data[:cut], on_error="skip")
        whole = sum(begin <= cut for begin in begins[1:])
        assert sum(map(len, batches)) == whole
        assert reader.skipped.count == (0 if cut in begins or whole == 3 else 1)
        assert reader.skipped.reasons


def test_damaged_compression(tmp_path):
    from mlgen.formats import open_events

    path = tmp_path / "x.hepmc3.gz"
    data = gzip.compress(written(HepMC3(), RUN.replace(header=""), *[hard_batch()] * 300))
    path.write_bytes(data[: len(data) // 2])
    with open_events(path) as events, pytest.raises(InputError, match="truncated or damaged"):
        list(events)
    with open_events(path, on_error="skip") as events:
        kept = sum(map(len, events))
        assert 100 < kept < 900
        assert events.skipped.reasons


@pytest.mark.parametrize("event_format", [HepMC3(), HepMC2()])
def test_cut_header(event_format):
    data = written(event_format, RUN.replace(header=""))
    with pytest.raises(InputError, match="END_EVENT_LISTING"):
        read(event_format, data[: data.index(b"END_EVENT")])


def test_damaged_run_information():
    data = written(HepMC3(), RUN.replace(header="")).replace(b'mlgen_run_info {"beams"', b'mlgen_run_info {"beams')
    with pytest.raises(InputError, match="mlgen_run_info"):
        read(HepMC3(), data)


def test_joined_files():
    batch = hard_batch()
    one = written(HepMC3(), RUN, batch)
    _, (got,) = read(HepMC3(), one + one)
    assert_same_events(got, EventBatch.concatenate([batch, batch]), RUN.variation_names)
    renamed = RUN.replace(variations=(Variation("a"), Variation("b"), Variation("c")))
    other = written(HepMC3(), renamed, event([(22, 1, 0, 0, 0, 0, 0.0, 0.0, 1.0, 1.0, 0.0)]))
    with pytest.raises(InputError, match="other weights"):
        read(HepMC3(), one + other)
    reader, (got,) = read(HepMC3(), one + other * 2 + one, on_error="skip")
    assert len(got) == 6
    assert reader.skipped.count == 2


def test_hard_and_shower_level_events_in_one_file():
    batch = hard_batch()
    hard = written(HepMC3(), RUN, batch)
    _, (showered,) = read(HepMC3(), foreign_file("HepMC3", [shower(1), shower(2)]))
    _, batches = read(
        HepMC3(), hard + written(HepMC3(), RUN, showered) + broken(hard, rb"(?m)^W \S+", rb"W nan"), on_error="skip"
    )
    assert [(len(b), b.has_graph) for b in batches] == [(3, False), (2, True), (2, False)]
    assert_same_events(batches[0], batch, RUN.variation_names)
    assert ak.to_list(batches[1].vertices) == ak.to_list(showered.vertices)


def test_process_number_that_hepmc2_cannot_hold():
    good = event([(22, 1, 0, 0, 0, 0, 0.0, 0.0, 1.0, 1.0, 0.0)])
    bad = event([(22, 1, 0, 0, 0, 0, 0.0, 0.0, 1.0, 1.0, 0.0)], process_id=[1 << 40])
    with pytest.raises(OutputError, match="event 2: process 1099511627776"):
        written(HepMC2(), RUN, good, bad)


def test_line_ends_of_windows():
    batch = hard_batch()
    _, (got,) = read(HepMC3(), written(HepMC3(), RUN, batch).replace(b"\n", b"\r\n"))
    assert_same_events(got, batch, RUN.variation_names)


def test_through_a_pipe():
    batch = hard_batch()
    data = written(HepMC3(), RUN, batch)
    source, sink = os.pipe()

    def feed():
        with os.fdopen(sink, "wb") as output:
            output.write(data)

    thread = threading.Thread(target=feed)
    thread.start()
    with os.fdopen(source, "rb") as stream, HepMC3().reader(stream, ReadOptions("<stdin>")) as reader:
        assert not stream.seekable()
        (got,) = list(reader)
    thread.join()
    assert_same_events(got, batch, RUN.variation_names)


def test_hepmc2_keeps_what_it_can():
    batch = hard_batch()
    data = written(HepMC2(), RUN, batch)
    reader, (got,) = read(HepMC2(), data)
    assert got.has_graph
    assert got.counts.tolist() == (batch.counts + 2).tolist()
    assert got.weight.tolist() == batch.weight.tolist()
    names = ("scale_up_2", "mlgen.bnn.syst.up", "x\\|y")
    for mine, theirs in zip(names, RUN.variation_names, strict=True):
        assert np.array_equal(got.variations[mine], batch.variations[theirs], equal_nan=True)
    assert got.scale == pytest.approx(batch.scale, rel=1e-6)
    assert got.alpha_qcd == pytest.approx(batch.alpha_qcd, rel=1e-6)
    assert got.process_id.tolist() == batch.process_id.tolist()
    assert [(beam.pdg_id, beam.energy) for beam in reader.run_info.beams] == [(2212, 6500.0)] * 2
    assert reader.run_info.processes[0].cross_section == RUN.cross_section
    reference, (exact,) = read(HepMC3(), written(HepMC3(), RUN, batch))
    del reference
    kept = ("pdg_id", "color1", "color2", "px", "py", "pz", "energy", "generated_mass")
    for index in range(len(batch)):
        rows = {tuple(p[name] for name in kept) for p in ak.to_list(got.particles[index]) if p["status"] != 4}
        assert rows == {tuple(p[name] for name in kept) for p in ak.to_list(exact.particles[index])}
    for graph, wanted in zip(graphs(data, "HepMC2"), graphs(written(HepMC3(), RUN, batch)), strict=True):
        shape = sorted((len(v.particles_in), len(v.particles_out)) for v in graph.vertices)
        assert shape == sorted((len(v.particles_in), len(v.particles_out)) for v in wanted.vertices)


HEPMC2_DAMAGES = {
    "garbage number": (rb"(?m)^(P \S+ \S+ )\S+", rb"\1abc", "11 numbers are expected"),
    "nan momentum": (rb"(?m)^(P \S+ \S+ )\S+", rb"\1nan", "not finite"),
    "short particle": (rb"(?m)^(P \S+ \S+ ).*$", rb"\1", "13 words"),
    "missing particle": (rb"(?m)^P 1000[78] .*\n", rb"", "announce"),
    "missing vertex": (rb"(?m)^V .*\n", rb"", "vertex|vertices"),
    "short vertex": (rb"(?m)^(V \S+ \S+) .*$", rb"\1", "9 or more"),
    "unknown line": (rb"(?m)^U .*$", rb"? what", "one of E, N, U, C, H, F, V, P"),
    "inf weight": (rb"(?m)^(E .* 4) \S+( \S+ \S+ \S+)$", rb"\1 inf\2", "weight is not finite"),
    "too few weights": (rb"(?m)^(E .*) \S+$", rb"\1", "announced"),
    "garbage first line": (rb"E (\d+ \d+ \S+ \S+ \S+ \d+ \d+) \d+", rb"E \1 x", "malformed"),
    "end vertex": (rb"(?m)^(P 10002 .*) -3( 2 1 \d+ 2 \d+)$", rb"\1 -33\2", "missing"),
}


@pytest.mark.parametrize("damage", HEPMC2_DAMAGES)
def test_broken_hepmc2_event(damage):
    old, new, message = HEPMC2_DAMAGES[damage]
    data = broken(written(HepMC2(), RUN, hard_batch()), old, new)
    with pytest.raises(InputError, match=message) as caught:
        read(HepMC2(), data)
    assert caught.value.event == 2
    reader, (batch,) = read(HepMC2(), data, on_error="skip")
    assert len(batch) == 2
    assert reader.skipped.count == 1


def test_hepmc2_against_pyhepmc():
    data = foreign_file("HepMC2", foreign_showers())
    reader, (batch,) = read(HepMC2(), data)
    assert reader.run_info.variation_names == ("up", "down")
    for index, graph in enumerate(graphs(data, "HepMC2")):
        start, stop = batch.offsets[index : index + 2]
        mine = sorted(batch.column("px")[start:stop].tolist())
        assert mine == sorted(graph.numpy.particles.px.tolist())
        theirs = sorted((len(v.particles_in), len(v.particles_out), v.position.x, v.status) for v in graph.vertices)
        ends, productions = batch.column("end_vertex")[start:stop], batch.column("production_vertex")[start:stop]
        assert theirs == sorted(
            (int((ends == k).sum()), int((productions == k).sum()), v.x, v.status)
            for k, v in enumerate(batch.vertices[index])
        )


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


def test_weight_names_of_a_foreign_file_that_come_twice_are_kept_apart():
    from mlgen.formats.hepmc_run import names_for

    assert names_for(["Default", "a", "a", "a"], 4) == ["Default", "a", "a (2)", "a (3)"]
    assert names_for(["Default a a"], 3) == ["Default", "a", "a (2)"]
    assert names_for([], 3) == ["", "weight_1", "weight_2"]
