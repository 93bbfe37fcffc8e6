"""Attributes of HepMC events and their parts: cross section as of each event, PDFs, heavy ions, free texts."""

import dataclasses
import re

import numpy as np
import pyhepmc

from mlgen.events import EventBatch
from mlgen.formats.hepmc import HepMC2, HepMC3
from tests.formats.conftest import foreign_file, foreign_run, graphs, read, shower, written


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
