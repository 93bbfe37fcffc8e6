import io
import math
from decimal import Decimal, getcontext

import numpy as np
import pyhepmc
import pylhe
import pytest
import vector
from scipy import stats

from mlgen.errors import UserError
from mlgen.event_format import ReadOptions
from mlgen.events import PARTICLE_COLUMNS, EventBatch
from mlgen.formats.hepmc import HepMC3
from mlgen.formats.reading import open_events
from mlgen.testing.samples import drell_yan_events
from mlgen.validation.object_types import (
    ALL,
    BOTTOM,
    JET,
    MAX_RANK,
    MISSING,
    ObjectDirectory,
    ObjectRef,
    particle_name,
    type_of,
)
from mlgen.validation.objects import EventObjects

MU, ANTI_MU, Z = (ObjectRef(type_of(i)) for i in (13, -13, 23))
J1, J2, J3 = (ObjectRef(JET, rank) for rank in (1, 2, 3))


def hard_event(rows, **others):
    """One hard event from (pdg_id, status, mother, px, py, pz, energy, mass)."""
    names = ("pdg_id", "status", "mother1", "px", "py", "pz", "energy", "generated_mass")
    columns = dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))
    return EventBatch.from_columns(np.array([len(rows)]), columns, **{"weight": [1.0], **others})


def by_pylhe(path, count):
    """The first events as lists of (pdg id, status, vector, mass), read by another program."""
    events = []
    for event in pylhe.LHEFile.fromfile(path).events:
        events.append(
            [(int(p.id), int(p.status), vector.obj(px=p.px, py=p.py, pz=p.pz, E=p.e), p.m) for p in event.particles]
        )
        if len(events) == count:
            break
    return events


def leading(event, ids, rank=1):
    found = sorted((p[2] for p in event if p[0] in ids and p[1] in (1, 2)), key=lambda v: -v.pt)
    return found[rank - 1] if len(found) >= rank else None


PARTONS = (1, 2, 3, 4, 5, -1, -2, -3, -4, -5, 21)


@pytest.mark.physics
@pytest.mark.parametrize("name", ["zjet", "madgraph-2.2.1-Z-mlm", "madgraph5-3.5.8-pp_to_jj"])
def test_kinematics_against_vector(name, examples, request):
    if name == "zjet":
        path = examples / "zjet.lhe.gz"
    else:
        path = request.getfixturevalue("shared_data") / "lhe" / f"{name}.lhe.gz"
    events = by_pylhe(path, 200)
    with open_events(path, batch_size=200) as stream:
        objects = EventObjects(next(iter(stream)))
    quantities = {"pt": "pt", "phi": "phi", "eta": "eta", "y": "rapidity", "theta": "theta", "energy": "E", "px": "px"}
    compared = 0
    for ref, ids, rank in ((MU, (13,), 1), (Z, (23,), 1), (J1, PARTONS, 1), (J2, PARTONS, 2), (J3, PARTONS, 3)):
        for ours, theirs in quantities.items():
            values = objects.quantity(ours, (ref,))
            for event, value in zip(events, values, strict=True):
                expected = leading(event, ids, rank)
                if expected is None:
                    assert math.isnan(value)
                elif expected.pt > 1e-3:
                    # E - |pz| of a fast particle, which `vector` takes, has few of the file's 8 to 10 digits left.
                    digits = 2e-4 if ours == "y" else 1e-9
                    assert value == pytest.approx(getattr(expected, theirs), rel=digits, abs=digits), (ref.name, ours)
                    compared += 1
    assert compared > 1000
    for refs, ids in (((MU, ANTI_MU), ((13,), (-13,))), ((MU, J1), ((13,), PARTONS))):
        found = {q: objects.quantity(q, refs) for q in ("mass", "deltaR", "deltaphi", "deltaeta")}
        for row, event in enumerate(events):
            first, second = (leading(event, i) for i in ids)
            if first is None or second is None:
                assert all(math.isnan(values[row]) for values in found.values())
                continue
            assert found["mass"][row] == pytest.approx((first + second).mass, rel=1e-6)
            assert found["deltaR"][row] == pytest.approx(first.deltaR(second), rel=1e-9)
            assert found["deltaphi"][row] == pytest.approx(abs(first.deltaphi(second)), rel=1e-9)
            assert found["deltaeta"][row] == pytest.approx(abs(first.deltaeta(second)), rel=1e-9, abs=1e-12)


@pytest.mark.physics
def test_the_final_state_has_the_mass_and_rapidity_of_the_partons(examples):
    with open_events(examples / "zjet.lhe.gz", batch_size=500) as stream:
        batch = next(iter(stream))
    objects = EventObjects(batch)
    incoming = batch.momenta()[batch.column("status") == -1].reshape(len(batch), 2, 4)
    plus, minus = (incoming[:, :, 3].sum(axis=1) + sign * incoming[:, :, 2].sum(axis=1) for sign in (1, -1))
    everything = (ObjectRef(ALL),)
    # The file has 8 digits of momenta up to some TeV.
    assert np.allclose(objects.quantity("mass", everything), np.sqrt(plus * minus), rtol=1e-4)
    assert np.allclose(objects.quantity("y", everything), 0.5 * np.log(plus / minus), atol=1e-4)


def test_rapidity_of_a_fast_particle_keeps_its_digits():
    getcontext().prec = 50
    px, pz, mass = Decimal("0.3"), Decimal("3000"), Decimal("0.105")
    energy = (px * px + pz * pz + mass * mass).sqrt()
    expected = ((energy + pz) / (energy - pz)).ln() / 2
    for sign in (1, -1):
        batch = hard_event([(13, 1, 0, float(px), 0.0, sign * float(pz), float(energy), float(mass))])
        found = EventObjects(batch).quantity("y", (MU,))[0]
        assert found == pytest.approx(sign * float(expected), rel=1e-12)


def test_mass_of_a_final_particle_is_the_files_own_unless_its_momentum_contradicts():
    energy = 500.0
    # Seven digits, as some programs write: the mass of the momentum would be 0.02 GeV.
    rounded = (13, 1, 0, 300.0, 0.0, 400.0, 500.0000004, 0.105)
    contradicting = (13, 1, 0, 300.0, 0.0, 399.0, energy, 0.105)
    resonance = (23, 2, 0, 30.0, 0.0, 40.0, math.sqrt(50.0**2 + 91.0**2), 80.0)
    for row, ref, expected in (
        (rounded, MU, 0.105),
        (contradicting, MU, math.sqrt(energy**2 - 300.0**2 - 399.0**2)),
        (resonance, Z, 91.0),
    ):
        found = EventObjects(hard_event([row])).quantity("mass", (ref,))[0]
        assert found == pytest.approx(expected, rel=1e-12)
    spacelike = hard_event([(13, 1, 0, 30.0, 0.0, 40.0, 40.0, 0.0)])
    assert EventObjects(spacelike).quantity("mass", (MU,))[0] == pytest.approx(-30.0)


def test_a_transverse_momentum_that_is_rounding_has_no_direction():
    batch = hard_event([(23, 2, 0, 1e-9, -1e-8, 100.0, 135.0, 91.0)])
    objects = EventObjects(batch)
    assert objects.quantity("pt", (Z,))[0] == 0.0
    assert math.isnan(objects.quantity("phi", (Z,))[0])
    assert math.isnan(objects.quantity("eta", (Z,))[0])
    assert objects.quantity("y", (Z,))[0] == pytest.approx(0.5 * math.log(235.0 / 35.0))


def test_only_the_last_copy_of_a_resonance_counts():
    batch = hard_event(
        [
            (21, -1, 0, 0.0, 0.0, 400.0, 400.0, 0.0),
            (21, -1, 0, 0.0, 0.0, -400.0, 400.0, 0.0),
            (6, 2, 1, 200.0, 0.0, 0.0, 270.0, 173.0),
            (6, 2, 3, 150.0, 0.0, 0.0, 230.0, 173.0),
            (21, 1, 3, 50.0, 0.0, 0.0, 50.0, 0.0),
            (2, 2, 4, 10.0, 0.0, 0.0, 10.0, 0.0),
            (-6, 1, 1, -200.0, 0.0, 0.0, 270.0, 173.0),
        ]
    )
    objects = EventObjects(batch)
    assert objects.count(type_of(6))[0] == 1
    assert objects.quantity("pt", (ObjectRef(type_of(6)),))[0] == 150.0
    # An intermediate light quark is no jet, and incoming partons are none either.
    assert objects.count(JET)[0] == 1
    assert objects.final_share(type_of(6)) == 0.0
    assert objects.final_share(type_of(-6)) == 1.0


def test_order_ranks_and_sums():
    rng = np.random.default_rng(5)
    counts = rng.integers(0, 60, 40)
    total = int(counts.sum())
    columns = {name: rng.normal(size=total) for name in ("px", "py", "pz")}
    columns["energy"] = np.sqrt(sum(c**2 for c in columns.values()))
    columns["pdg_id"] = rng.choice([1, -5, 5, 21, 13, 12, -16], total)
    batch = EventBatch.from_columns(counts, columns, weight=np.ones(40))
    objects = EventObjects(batch)
    pt = np.hypot(columns["px"], columns["py"])
    sums = {"HT": [], "sum_pt": [], "missing_pt": []}
    for row, (start, stop) in enumerate(zip(batch.offsets[:-1], batch.offsets[1:], strict=True)):
        ids, here = columns["pdg_id"][start:stop], pt[start:stop]
        for kind, chosen in ((JET, np.isin(ids, PARTONS)), (BOTTOM, np.abs(ids) == 5), (MU.type, ids == 13)):
            expected = sorted(here[chosen], reverse=True)
            assert objects.count(kind)[row] == len(expected)
            for rank in (1, 2, 7, MAX_RANK):
                found = objects.quantity("pt", (ObjectRef(kind, rank),))[row]
                assert found == expected[rank - 1] if rank <= len(expected) else math.isnan(found)
        sums["HT"].append(here[np.isin(ids, PARTONS)].sum())
        sums["sum_pt"].append(here.sum())
        invisible = np.isin(np.abs(ids), (12, 16))
        sums["missing_pt"].append(abs(complex(*(columns[c][start:stop][invisible].sum() for c in ("px", "py")))))
    for name, expected in sums.items():
        assert np.allclose(objects.quantity(name), expected, rtol=1e-12)


def in_collins_soper_frame(first, second):
    """Direction of the first of two in their rest frame, by explicit boosts of the beams."""
    pair = first + second
    forward, backward = vector.obj(px=0, py=0, pz=1, E=1), vector.obj(px=0, py=0, pz=-1, E=1)
    if pair.rapidity < 0:
        forward, backward = backward, forward
    one, a, b = (p.boostCM_of_p4(pair).to_Vector3D() for p in (first, forward, backward))
    z_axis = (a.unit() - b.unit()).unit()
    x_axis = -(a.unit() + b.unit()).unit()
    y_axis = z_axis.cross(x_axis)
    return one.dot(z_axis) / one.mag, math.atan2(one.dot(y_axis), one.dot(x_axis))


@pytest.mark.physics
@pytest.mark.parametrize("masses", [(0.0, 0.0), (0.105, 0.105), (20.0, 5.0)])
def test_collins_soper_angles_against_explicit_boosts(masses):
    rng = np.random.default_rng(3)
    checked = 0
    for _ in range(200):
        momenta = rng.normal(0.0, 40.0, (2, 3)) + np.array([0.0, 0.0, rng.normal(0.0, 100.0)])
        first, second = (
            vector.obj(px=p[0], py=p[1], pz=p[2], mass=mass) for p, mass in zip(momenta, masses, strict=True)
        )
        batch = hard_event([(i, 1, 0, p.px, p.py, p.pz, p.E, m)
                            for i, p, m in zip((13, -13), (first, second), masses, strict=True)])  # fmt: skip
        objects = EventObjects(batch)
        cosine, phi = in_collins_soper_frame(first, second)
        assert objects.quantity("costheta_cs", (MU, ANTI_MU))[0] == pytest.approx(cosine, abs=1e-8)
        assert objects.quantity("phi_cs", (MU, ANTI_MU))[0] == pytest.approx(phi, abs=1e-6)
        checked += cosine * (first + second).pz < 0
    assert 50 < checked < 150


@pytest.mark.physics
def test_isotropic_leptons_are_flat_in_the_collins_soper_frame():
    """Kolmogorov-Smirnov tests of three uniform distributions, each of p > 1e-3."""
    batch, _ = drell_yan_events(20_000, np.random.default_rng(11))
    objects = EventObjects(batch)
    cosine, phi = (objects.quantity(name, (MU, ANTI_MU)) for name in ("costheta_cs", "phi_cs"))
    gluon = batch.counts == 6
    assert np.array_equal(np.isnan(phi), ~gluon)
    for values, low, width in ((cosine[gluon], -1, 2), (cosine[~gluon], -1, 2), (phi[gluon], -math.pi, 2 * math.pi)):
        assert stats.kstest(values, stats.uniform(low, width).cdf).pvalue > 1e-3
    # With the particles exchanged, the direction is the opposite one.
    assert np.allclose(objects.quantity("costheta_cs", (ANTI_MU, MU)), -cosine, atol=1e-9)
    turned = np.abs(objects.quantity("phi_cs", (ANTI_MU, MU)) - phi)[gluon]
    assert np.allclose(turned, math.pi, atol=1e-6)


def test_collins_soper_angles_that_do_not_exist():
    lone = EventObjects(hard_event([(13, 1, 0, 30.0, 0.0, 40.0, 50.0, 0.0)]))
    momentum = (30.0, 0.0, 40.0, 45.0, 0.0)
    spacelike = EventObjects(hard_event([(13, 1, 0, *momentum), (-13, 1, 0, *momentum)]))
    for objects in (lone, spacelike):
        for name in ("costheta_cs", "phi_cs"):
            assert math.isnan(objects.quantity(name, (MU, ANTI_MU))[0])


def test_missing_momentum_is_transverse():
    # W -> mu nu with the muon along x and the neutrino along y.
    batch = hard_event(
        [
            (13, 1, 0, 30.0, 0.0, 40.0, 50.0, 0.0),
            (-14, 1, 0, 0.0, 20.0, 15.0, 25.0, 0.0),
            (1000022, 1, 0, 0.0, 5.0, 0.0, 100.0, 99.87),
        ]
    )
    objects = EventObjects(batch)
    missing = ObjectRef(MISSING)
    assert objects.quantity("missing_pt")[0] == 25.0
    assert objects.quantity("missing_phi")[0] == pytest.approx(math.pi / 2)
    assert objects.quantity("deltaphi", (MU, missing))[0] == pytest.approx(math.pi / 2)
    assert objects.quantity("mt", (MU, missing))[0] == pytest.approx(math.sqrt(2 * 30.0 * 25.0))
    assert math.isnan(objects.quantity("mass", (missing,))[0])
    nothing = EventObjects(hard_event([(13, 1, 0, 30.0, 0.0, 40.0, 50.0, 0.0)]))
    assert nothing.quantity("missing_pt")[0] == 0.0
    assert math.isnan(nothing.quantity("missing_phi")[0])


def test_names_are_those_that_one_types():
    names = [particle_name(i) for i in (1, -5, 6, -6, 11, -13, 14, -14, 15, 21, 22, 23, 24, -24, 25, 1000022, 2212)]
    expected = [
        "d",
        "b~",
        "t",
        "t~",
        "e-",
        "mu+",
        "vm",
        "vm~",
        "tau-",
        "g",
        "gamma",
        "Z",
        "W+",
        "W-",
        "H",
        "1000022",
        "p",
    ]
    assert names == expected
    assert [type_of(i).name for i in (3, -5, 21, -12, -6, 9000005)] == ["j", "j", "j", "nu", "t~", "9000005"]


def test_objects_by_name():
    directory = ObjectDirectory([MU.type, type_of(-11), JET, type_of(-6), type_of(1000022), Z.type, type_of(22)])
    for text, expected in {
        "mu-": "mu-",
        " MU- ": "mu-",
        "mu-2": "mu-2",
        "mu- 2": "mu-2",
        "j": "j1",
        "j1": "j1",
        "j 12": "j12",
        "tbar": "t~",
        "a": "gamma",
        "z": "Z",
        "l": "l",
        "l+2": "l+2",
        "1000022": "1000022",
        "1000022 2": "1000022 2",
        "all": "all",
        "missing": "missing",
    }.items():
        assert directory.object(text).name == expected
        # The name that is shown can be typed again.
        assert directory.object(expected).name == expected
    for text, problem in {
        "mu": "object 'mu' is not known; did you mean 'mu-'?",
        "j0": "object 'j0' is not known",
        "j51": "too far down; the 50 leading",
        "all2": "not known",
        "": "object '' is not known; there are: e\\+, mu-, gamma, ",
        "tau-": "not known",
    }.items():
        with pytest.raises(UserError, match=problem):
            directory.object(text)


# --- shower level -------------------------------------------------------------------------------------------------


def graph_of(rows):
    """A HepMC event from (pdg_id, status, mothers, px, py, pz, energy), mothers counted from 0."""
    graph = pyhepmc.GenEvent(pyhepmc.Units.GEV, pyhepmc.Units.MM)
    particles = [pyhepmc.GenParticle(tuple(row[3:7]), row[0], row[1]) for row in rows]
    vertices = {}
    for row, particle in zip(rows, particles, strict=True):
        if row[2]:
            if row[2] not in vertices:
                vertices[row[2]] = pyhepmc.GenVertex((0, 0, 0, 0))
                for mother in row[2]:
                    vertices[row[2]].add_particle_in(particles[mother])
            vertices[row[2]].add_particle_out(particle)
    for vertex in vertices.values():
        graph.add_vertex(vertex)
    return graph


def read_graphs(graphs):
    stream = io.BytesIO()
    with pyhepmc.open(stream, "w", format="HepMC3") as output:
        for graph in graphs:
            output.write(graph)
    return EventBatch.concatenate(list(HepMC3().reader(io.BytesIO(stream.getvalue()), ReadOptions("x.hepmc"))))


def along_x(pdg_id, status, mothers, pt):
    return (pdg_id, status, mothers, pt, 0.0, 0.0, abs(pt))


HAND_MADE = [
    (2212, 4, (), 0.0, 0.0, 6500.0, 6500.0),
    (2212, 4, (), 0.0, 0.0, -6500.0, 6500.0),
    along_x(23, 62, (0, 1), 10.0),
    along_x(15, 2, (2,), 60.0),
    along_x(-13, 1, (2,), 50.0),
    # tau- -> nu_tau mu- nu: the muon is prompt, no hadron was involved.
    along_x(16, 1, (3,), 20.0),
    along_x(13, 1, (3,), 30.0),
    # A string between a quark and an antiquark, whose hadrons come from two mothers.
    along_x(5, 71, (0, 1), 40.0),
    along_x(-5, 71, (0, 1), 40.0),
    along_x(-511, 2, (7, 8), 45.0),
    along_x(111, 2, (7, 8), 25.0),
    # B0bar -> D+ e- nubar, D+ -> mu+ nu K0bar: far down, but from hadrons.
    along_x(411, 2, (9,), 15.0),
    along_x(11, 1, (9,), 14.0),
    along_x(-12, 1, (9,), 13.0),
    along_x(-13, 1, (11,), 12.0),
    along_x(14, 1, (11,), 11.0),
    # pi0 -> gamma gamma, and a photon that a quark radiated, hard and soft.
    along_x(22, 1, (10,), 24.0),
    along_x(22, 1, (10,), 12.0),
    along_x(22, 1, (0, 1), 35.0),
    along_x(22, 1, (0, 1), 3.0),
    along_x(211, 1, (7, 8), 7.0),
    (2212, 1, (0, 1), 0.0, 0.0, 3000.0, 3000.0),
]


def test_leptons_and_photons_of_hadrons_are_no_objects():
    batch = read_graphs([graph_of(HAND_MADE), graph_of(HAND_MADE[:7])])
    assert batch.has_graph
    objects = EventObjects(batch)
    for pdg_id, momenta in {13: [30.0], -13: [50.0], 11: [], 22: [35.0], 16: [20.0]}.items():
        kind = type_of(pdg_id)
        assert objects.count(kind)[0] == len(momenta), kind.name
        for rank, pt in enumerate(momenta, start=1):
            assert objects.quantity("pt", (ObjectRef(kind, rank),))[0] == pt
    assert objects.count(ObjectRef(type_of(22)).type).tolist() == [1, 0]
    # All invisible particles are missing, wherever they come from; only the pion and the muons are charged and central.
    assert objects.quantity("missing_pt").tolist() == [20.0 + 13.0 + 11.0, 20.0]
    assert objects.final_count("pi").tolist() == [1, 0]
    assert objects.final_count("charged").tolist() == [5, 2]
    assert objects.final_count("p").tolist() == [0, 0]
    assert objects.final_count("final").tolist() == [13, 3]
    visible = [50.0, 30.0, 14.0, 12.0, 24.0, 12.0, 35.0, 3.0, 7.0]
    assert objects.quantity("sum_et")[0] == pytest.approx(sum(visible))
    assert objects.quantity("sum_pt_charged")[0] == pytest.approx(50.0 + 30.0 + 14.0 + 12.0 + 7.0)


def test_a_graph_that_turns_in_a_circle_is_no_endless_loop():
    names = (*PARTICLE_COLUMNS[:4], "px", "py", "pz", "energy", "production_vertex", "end_vertex")
    rows = [(22, 1, 2, 2, 30.0, 0.0, 0.0, 30.0, 0, -1), (21, 62, 2, 2, 30.0, 0.0, 0.0, 30.0, 0, 0)]
    vertices = {name: np.zeros(1) for name in "xyzt"} | {"status": np.zeros(1, np.int32)}
    batch = EventBatch.from_columns(
        np.array([2]),
        dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True)),
        weight=[1.0],
        vertex_counts=np.array([1]),
        vertex_columns=vertices,
    )
    assert EventObjects(batch).count(type_of(22)).tolist() == [1]
