"""Events, hard and showered, and what writes, reads and compares them, shared by the tests of HepMC.

pytest has loaded this file as `tests.formats.conftest` before it collects the tests beside it, so they can import it.
"""

import io
import math

import numpy as np
import pyhepmc

from mlgen.event_format import ReadOptions
from mlgen.events import PARTICLE_COLUMNS, EventBatch
from mlgen.run_info import Beam, Process, RunInfo, Variation

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
