"""What HepMC2 keeps of events, and its limits."""

import awkward as ak
import numpy as np
import pytest

from mlgen.errors import OutputError
from mlgen.formats.hepmc import HepMC2, HepMC3
from tests.formats.conftest import RUN, event, foreign_file, foreign_showers, graphs, hard_batch, read, written


def test_process_number_that_hepmc2_cannot_hold():
    good = event([(22, 1, 0, 0, 0, 0, 0.0, 0.0, 1.0, 1.0, 0.0)])
    bad = event([(22, 1, 0, 0, 0, 0, 0.0, 0.0, 1.0, 1.0, 0.0)], process_id=[1 << 40])
    with pytest.raises(OutputError, match="event 2: process 1099511627776"):
        written(HepMC2(), RUN, good, bad)


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
