"""`pythia8`: events, weights and refusals beside Pythia itself, asked without mlgen."""

from __future__ import annotations

import gc
import gzip
import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlgen.errors import PluginError
from mlgen.events import EventBatch
from mlgen.formats import open_events
from mlgen.parton_shower import ShowerError, ShowerFailure
from mlgen.run_info import Process
from mlgen.seeds import Work, random_generator
from mlgen_pythia8 import library
from mlgen_pythia8.accounting import Account
from mlgen_pythia8.configuration import configuration
from mlgen_pythia8.engine import Engine, RefusedEvent
from mlgen_pythia8.printed import reason_of
from mlgen_pythia8.settings import Pythia8Settings
from mlgen_pythia8.shower import Pythia8Shower

pythia8mc = pytest.importorskip("pythia8mc")
EXAMPLE = Path(__file__).parents[2] / "examples" / "zjet.lhe.gz"
#: Without multiparton interactions: a fifth of the time.
FAST = ("PartonLevel:MPI = off",)
QUICK = (*FAST, "PartonLevel:ISR = off", "PartonLevel:FSR = off", "HadronLevel:all = off")
SEED = 4711


@pytest.fixture(scope="module")
def hard():
    """The first 40 events of the example and what is true of all of them."""
    with open_events(EXAMPLE, batch_size=40) as events:
        return next(iter(events)), events.run_info


@pytest.fixture(scope="module")
def engine(hard):
    return Engine(configuration(Pythia8Settings(settings=FAST)), hard[1])


@pytest.fixture(scope="module")
def showered(engine, hard):
    return engine.shower(hard[0], SEED).events


def plain_pythia(path, *settings, seed=SEED):
    """Pythia as its manual says: it reads the file itself."""
    pythia = pythia8mc.Pythia("", False)
    for line in ("Print:quiet = on", "Beams:frameType = 4", f"Beams:LHEF = {path}", *settings):
        assert pythia.readString(line)
    assert pythia.init()
    pythia.rndm.init(seed)
    return pythia


def pieces(events):
    """Columns of each event: of its particles, and of its vertices."""
    particle_ends, vertex_ends = np.cumsum(events.counts), np.cumsum(events.vertex_counts)
    for index in range(len(events.counts)):
        here = slice(particle_ends[index] - events.counts[index], particle_ends[index])
        there = slice(vertex_ends[index] - events.vertex_counts[index], vertex_ends[index])
        yield (
            {name: values[here] for name, values in events.columns.items()},
            {name: values[there] for name, values in events.vertex_columns.items()},
        )


def hepmc_vertices(event):
    """Vertices as ``Pythia8Plugins/HepMC3.h`` makes them: particles in and out, and the place."""
    ends, vertices = {}, []
    for number in range(1, event.size()):
        mothers = list(event[number].motherList())
        if not mothers:
            continue
        if mothers[0] not in ends:
            for mother in mothers:
                if mother in ends:
                    ends[mother][0].remove(mother)
                ends[mother] = None
            vertex = ([], [], [])
            vertices.append(vertex)
            for mother in mothers:
                vertex[0].append(mother)
                ends[mother] = vertex
        _, out, place = ends[mothers[0]]
        here = [getattr(event[number], name)() for name in ("xProd", "yProd", "zProd", "tProd")]
        if any(here) and not place:
            place += here
        out.append(number)
    return vertices


@pytest.mark.physics
def test_each_event_is_the_one_that_pythia_makes_of_the_file(showered):
    """Particles, HepMC status codes, vertices with their places: the same bits as a plain Pythia with that seed."""
    pythia = plain_pythia(EXAMPLE, *FAST)
    names = ("px", "py", "pz", "energy", "pdg_id", "status", "generated_mass", "lifetime", "color1", "color2", "spin")
    displaced = 0
    for columns, places in pieces(showered):
        assert pythia.next()
        particles = [
            (p.px(), p.py(), p.pz(), p.e(), p.id(), p.statusHepMC(), p.m(), p.tau(), p.col(), p.acol(), p.pol())
            for p in (pythia.event[number] for number in range(pythia.event.size()))
        ]
        mine = list(zip(*(columns[name].tolist() for name in names), strict=True))
        assert sorted(mine) == sorted(particles[1:])
        expected = sorted(
            (sorted(particles[i] for i in into), sorted(particles[i] for i in out), place or [0.0] * 4)
            for into, out, place in hepmc_vertices(pythia.event)
        )
        found = [([], [], [float(places[name][v]) for name in "xyzt"]) for v in range(len(places["x"]))]
        for side, name in enumerate(("end_vertex", "production_vertex")):
            for particle, vertex in zip(mine, columns[name].tolist(), strict=True):
                if vertex >= 0:
                    found[vertex][side].append(particle)
        assert sorted((sorted(into), sorted(out), place) for into, out, place in found) == expected
        displaced += sum(any(place) for _, _, place in found)
    assert displaced > 100


def test_mothers_stand_before_their_daughters_and_are_those_of_the_graph(showered):
    for columns, _ in pieces(showered):
        position = np.arange(len(columns["pdg_id"])) + 1
        born = columns["production_vertex"] >= 0
        assert np.count_nonzero(~born) == 2
        assert np.all(columns["mother2"][born] < position[born])
        for name in ("mother1", "mother2"):
            mother = columns[name][born] - 1
            assert np.array_equal(columns["end_vertex"][mother], columns["production_vertex"][born])


def test_energy_momentum_and_charge_are_conserved(showered):
    """From the beams to the stable particles; Pythia itself allows a relative 1e-3 at most."""
    from particle import Particle

    charges = {}
    for columns, _ in pieces(showered):
        final, beams = columns["status"] == 1, columns["status"] == 4
        for name in ("px", "py", "pz", "energy"):
            assert abs(columns[name][final].sum() - columns[name][beams].sum()) < 1e-3
        for pdg_id in set(columns["pdg_id"][final].tolist()) - set(charges):
            charges[pdg_id] = Particle.from_pdgid(pdg_id).charge
        assert round(sum(charges[i] for i in columns["pdg_id"][final].tolist())) == 2


def test_a_batch_does_not_depend_on_those_before_it(engine, hard, showered):
    engine.shower(hard[0][5:15], 7)
    again = engine.shower(hard[0], SEED).events
    for name, values in showered.columns.items():
        assert np.array_equal(again.columns[name], values)
    other = engine.shower(hard[0][:5], SEED + 1).events
    assert not np.array_equal(other.counts, showered.counts[:5])


def test_nothing_is_printed(hard, capfd):
    Engine(configuration(Pythia8Settings(settings=QUICK)), hard[1]).shower(hard[0][:2], 1)
    assert capfd.readouterr() == ("", "")


def with_column(batch, name, change):
    columns = batch.columns()
    columns[name] = change(columns[name].copy(), columns)
    return EventBatch.from_columns(
        batch.counts,
        columns,
        weight=batch.weight,
        process_id=batch.process_id,
        scale=batch.scale,
        alpha_qed=batch.alpha_qed,
        alpha_qcd=batch.alpha_qcd,
    )


def test_events_that_pythia_refuses_have_a_reason(engine, hard):
    batch = hard[0][:4]
    second, third = batch.offsets[1], batch.offsets[2]

    def cut(color, columns):
        rows = np.arange(second, third)
        color[rows[(columns["status"][rows] == -1) & (color[rows] > 0)][:1]] = 999
        return color

    part = engine.shower(with_column(batch, "color1", cut), 1)
    assert part.index.tolist() == [0, 2, 3]
    (refused,) = part.refused
    assert (refused.index, refused.kind) == (1, "input")
    assert refused.reason.startswith("ProcessLevel::checkColours: unphysical colour flow (its colour lines do not conn")
    assert "999" in refused.reason

    def push(px, _):
        px[third - 1] += 40.0
        return px

    (refused,) = engine.shower(with_column(batch, "px", push), 1).refused
    assert (refused.index, refused.kind) == (1, "input")
    assert refused.reason.endswith("(its px is not conserved, by 40 GeV)")


def test_the_reason_is_the_one_that_came_most_often():
    text = (
        " PYTHIA Warning in A::b: nothing\n PYTHIA Error in StringFragmentation::fragment: stuck in joining\n"
        " PYTHIA Error in Pythia::next: hadronLevel failed; try again\n"
        * 9
        + " PYTHIA Error in C::d: once 17\n PYTHIA Abort from Pythia::next: parton+hadronLevel failed; giving up\n"
    )
    assert reason_of(text) == "StringFragmentation::fragment: stuck in joining"
    assert reason_of(" PYTHIA Error in C::d: value 1.5e+03\n") == reason_of(" PYTHIA Error in C::d: value 2\n")
    unknown = " PYTHIA Error in Pythia::check: unknown particle code , i = 5, id = 9999999\n"
    assert reason_of(unknown) == "Pythia::check: unknown particle code"
    assert reason_of("") == ""


@pytest.mark.physics
def test_matching_rejects_what_pythia_rejects(tmp_path, mlm_head):
    """MLM of p p > Z + jets: events handed over are accepted as from the file, and so is the cross section."""
    text = gzip.decompress(EXAMPLE.read_bytes()).decode().split("</init>", 1)[1].replace(" 242 ", " 1 ")
    events = text.split("</event>")[:60]
    numbered = [event.replace("<event>", f'<event number="{k}">') for k, event in enumerate(events)]
    path = tmp_path / "mlm.lhe"
    body = "</event>".join(numbered).lstrip().replace(" 241 ", " 1 ")
    path.write_text(f"{mlm_head}{body}</event>\n</LesHouchesEvents>\n")
    lines = (
        *FAST,
        "JetMatching:merge = on",
        "JetMatching:setMad = on",
        "JetMatching:nJetMax = 1",
        "HadronLevel:all = off",
    )
    with open_events(path, batch_size=60) as events:
        (batch,), info = list(events), events.run_info
    settings = configuration(Pythia8Settings(settings=lines))
    assert settings.matching
    assert settings.reader
    engine = Engine(settings, info)
    part = engine.shower(batch, SEED)
    pythia = pythia8mc.Pythia("", False)
    for line in ("Print:quiet = on", "Beams:frameType = 4", f"Beams:LHEF = {path}", "Check:abortIfVeto = on", *lines):
        pythia.readString(line)
    matching = pythia8mc.JetMatchingMadgraph()
    pythia.addUserHooksPtr(matching)
    assert pythia.init()
    pythia.rndm.init(SEED)
    accepted = [int(pythia.infoPython().getEventAttribute("number")) for _ in range(60) if pythia.next()]
    assert 5 < len(accepted) < 55
    assert part.index.tolist() == accepted
    assert {refused.kind for refused in part.refused} == {"vetoed"}
    account = Account()
    account.add(batch, part.index, part.events.weights[:, 0], part.refused)
    total, error = account.cross_section(info)
    assert math.isclose(total, pythia.infoPython().sigmaGen() * 1e9, rel_tol=1e-9)
    share = len(accepted) / 60
    assert math.isclose(error, math.hypot(5 * share, 1000 * math.sqrt(share * (1 - share) / 60)), rel_tol=1e-6)
    assert math.isclose(account.run_info(info).cross_section, total, rel_tol=1e-12)
    # They print when they are taken down: now, not into what a later test reads.
    del engine, pythia, matching
    gc.collect()


def test_cross_sections_after_a_matching_go_with_the_weights():
    batch = EventBatch.from_columns(
        np.ones(4, int), {"px": np.zeros(4), "py": np.zeros(4), "pz": np.zeros(4), "energy": np.ones(4)},
        weight=[3.0, -1.0, 2.0, 4.0], process_id=[1, 2, 2, 1],
    )  # fmt: skip
    account = Account()
    refused = [RefusedEvent(2, "vetoed", "rejected"), RefusedEvent(3, "failed", "broken")]
    account.add(batch, np.array([0, 1]), np.array([0.5, 1.0]), refused)
    # What failed is in no sum: (3 * 0.5 - 1) / (3 - 1 + 2).
    assert account.share[0] == 0.125
    assert [(r.kind, r.count, r.first_event) for r in account.refusals] == [("vetoed", 1, 3), ("failed", 1, 4)]


@pytest.fixture(scope="module")
def varied(hard):
    """30 weighted events with named weights, showered by two processes with variations, and what came in."""
    batch, info = hard
    weight = np.linspace(-1.0, 2.0, 30) * 1e-3
    many = EventBatch.concatenate([batch[:30]] * 5)
    many = EventBatch(
        many.particles, np.tile(weight, 5), many.process_id, many.scale, many.alpha_qed, many.alpha_qcd,
        variations={"up": np.tile(1.5 * weight, 5), "mlgen.down": np.tile(0.5 * weight, 5)},
    )  # fmt: skip
    info = info.replace(weight_strategy=-1, processes=(Process(241, 1.0, 0.1, 1.0), Process(242, 2.0, 0.1, 1.0)))
    info = info.with_variations(("up", "mlgen.down"))
    lines = (*FAST, "HadronLevel:all = off", "UncertaintyBands:List = {low fsr:murfac=0.5, high fsr:murfac=2.0}")
    shower = Pythia8Shower(Pythia8Settings(settings=lines, variations=True, workers=2))
    shower.check(Path())
    run_info = shower.prepare(info, seed=11)
    batches = list(shower.shower([many[:7], many[7:130], many[130:]]))
    report = shower.report()
    shower.close()
    return many, run_info, batches, report, lines


def test_weights_go_through_and_variations_are_added(varied):
    """Nominal and named weights to the bit; Pythia's own are absolute, and differ from event to event."""
    hard, run_info, batches, report, _ = varied
    # Each change of a parameter, then the variations that were asked for.
    added = ("fsr.murfac=0.5", "fsr.murfac=2.0", "low", "high")
    assert run_info.variation_names == ("up", "mlgen.down", *(f"pythia8.{name}" for name in added))
    assert run_info.weight_strategy == -4
    assert (report.hard_events, report.showered, report.refusals) == (150, 150, ())
    assert report.run_info.cross_section == 3.0
    events = EventBatch.concatenate([batch.events for batch in batches])
    assert np.array_equal(np.concatenate([batch.hard_event for batch in batches]), np.arange(150) + 1)
    assert np.array_equal(events.weight, hard.weight)
    for name in ("up", "mlgen.down"):
        assert np.array_equal(events.variations[name], hard.variations[name])
    ratio = events.variations["pythia8.low"] / events.weight
    assert ratio.std() > 0.05
    assert 0.5 < ratio.mean() < 2
    assert [event["mlgen_hard_event"] for event in events.attributes[:2]] == ["1", "2"]
    assert np.array_equal(events.scale, hard.scale)


@pytest.mark.physics
def test_each_hundred_events_have_a_seed_of_their_own(varied, tmp_path):
    """The second hundred, showered in another process, is what a plain Pythia makes of it with the second child."""
    hard, run_info, batches, _, lines = varied
    engine = Engine(configuration(Pythia8Settings(settings=lines, variations=True)), run_info)
    seed = int(random_generator(11, Work.SHOWER_EVENTS, 1).integers(1, 900_000_001))
    alone = engine.shower(hard[100:], seed).events
    assert len(batches) == 2
    assert np.array_equal(batches[1].events.column("px"), alone.columns["px"])
    assert np.array_equal(batches[1].events.variations["pythia8.high"], hard.weight[100:] * alone.weights[:, 4])


def test_names_are_not_taken_twice_and_dead_processes_are_errors(hard):
    batch, info = hard
    shower = Pythia8Shower(Pythia8Settings(settings=QUICK, variations=True, workers=1))
    with pytest.raises(ShowerError, match=r"have a weight 'pythia8\.fsr\.murfac=0\.5' already"):
        shower.prepare(info.with_variations(("pythia8.fsr.murfac=0.5",)), seed=1)
    shower.close()
    with pytest.raises(ShowerError, match="do not say what the beams are"):
        Pythia8Shower(Pythia8Settings()).prepare(info.replace(beams=()), seed=1)
    beams = (replace(info.beams[0], energy=0.0), info.beams[1])
    with pytest.raises(ShowerError, match="beam 1 of the events has an energy of 0 GeV"):
        Pythia8Shower(Pythia8Settings()).prepare(info.replace(beams=beams), seed=1)
    shower = Pythia8Shower(Pythia8Settings(settings=QUICK, workers=1))
    shower.prepare(info, seed=1)
    (process,) = shower._pool._processes.values()
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(ShowerFailure, match=r"died while it showered events 1 to 40: it was killed"):
        list(shower.shower([batch]))
    shower.close()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("PartonLevel:MIP = off", "has no such setting; did you mean 'PartonLevel:MPI'"),
        ("PartonLevel:MPI = maybe", "'maybe' is not allowed; on or off"),
        ("Tune:pp = 99", "out of Pythia's range"),
        ("Tune:pp = abc", "does not take 'abc'"),
        ("no setting", "'Name:setting = value' is expected"),
        ("Random:seed = 3", "mlgen does: the seed of the run is"),
        ("Beams:LHEF = x.lhe", r"give the event file as \[input\]"),
        ("POWHEG:veto = 1", "needs PowhegHooks"),
        ("PartonLevel:all = off", "there are no showered events"),
        ("ProcessLevel:all = off", "there are no showered events"),
        ("WeakSingleBoson:ffbar2gmZ = on", "Pythia would generate events of its own among those that it is to shower"),
        ("Beams:eCM = 14000.", "the beams are those of the events"),
    ],
)
def test_settings_that_cannot_be_used(line, problem, capfd):
    with pytest.raises(ShowerError, match=problem):
        configuration(Pythia8Settings(settings=line))
    assert capfd.readouterr() == ("", "")


def test_settings_of_a_file(tmp_path):
    """Settings files of main programs work as they are; what a main program decides is left out and told."""
    (tmp_path / "my.cmnd").write_text(
        "! comment\nMain:numberOfEvents = 5\nTune:pp = 21\n6:m0 = 172.5 ! top\n/*\nx\n*/\n"
    )
    found = configuration(Pythia8Settings(settings="Tune:pp = 6", settings_file="my.cmnd"), tmp_path)
    assert found.lines[-3:] == ("Tune:pp = 21", "6:m0 = 172.5 ! top", "Tune:pp = 6")
    assert ("Tune:pp", 6) in found.tunes
    assert len(found.remarks) == 1
    assert "my.cmnd:2: 'Main:numberOfEvents = 5' is left out" in found.remarks[0]
    with pytest.raises(ShowerError, match=r"none.cmnd: it cannot be read"):
        configuration(Pythia8Settings(settings_file="none.cmnd"), tmp_path)
    (tmp_path / "bad.cmnd").write_text("\nTune:qq = 3\n")
    with pytest.raises(ShowerError, match=r"bad.cmnd:2: 'Tune:qq = 3': Pythia has no such setting"):
        configuration(Pythia8Settings(settings_file="bad.cmnd"), tmp_path)


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pythia8mc", None)
    with pytest.raises(PluginError, match=r"pip install mlgen-hep\[pythia8\]"):
        library.pythia8()
