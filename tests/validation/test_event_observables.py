import dataclasses
import warnings

import hist
import numpy as np
import pytest
from matplotlib.mathtext import MathTextParser
from particle import Particle

from mlgen.errors import UserError
from mlgen.events import EventBatch
from mlgen.formats import create_events
from mlgen.formats.reading import open_events
from mlgen.summary import Summary
from mlgen.testing.samples import drell_yan_events, drell_yan_run_info
from mlgen.validation import event_observables as module
from mlgen.validation.axes import choose_axis
from mlgen.validation.comparing import validate
from mlgen.validation.content import content_differences
from mlgen.validation.event_observables import choose_observables
from mlgen.validation.object_types import ObjectRef, type_of
from mlgen.validation.observable import Kind
from mlgen.validation.record import Verdict
from mlgen.validation.settings import JetSettings, ValidationSettings


def drell_yan(n=400, seed=1, **options):
    return drell_yan_events(n, np.random.default_rng(seed), **options)[0]


def chosen(*samples, **settings):
    return choose_observables([[sample] for sample in samples], ValidationSettings(**settings))


def names(observables):
    return [definition.name for definition in observables.definitions]


def table(observables, batch):
    found = observables(batch)
    return dict(zip(names(observables), found.values, strict=True)), found.index


def replaced(batch, **columns):
    old = batch.columns()
    return EventBatch.from_columns(
        batch.counts, old | columns, weight=batch.weight, process_id=batch.process_id, scale=batch.scale
    )


def test_drell_yan_with_a_jet():
    batch = drell_yan()
    observables = chosen(batch)
    assert names(observables) == [
        "sum pT", "m(all)", "y(all)", "scale", "alpha_s", "n(j)", "reaction",
        "pT(mu-)", "eta(mu-)", "phi(mu-)", "pT(mu+)", "eta(mu+)", "phi(mu+)",
        "pT(Z)", "y(Z)", "phi(Z)", "pT(j1)", "eta(j1)", "phi(j1)",
        "m(mu-, mu+)", "deltaR(mu-, mu+)", "deltaphi(mu-, mu+)", "cos theta*(mu-, mu+)", "phi*(mu-, mu+)",
        "m(mu-, j1)", "deltaR(mu-, j1)", "deltaphi(mu-, j1)",
        "m(mu+, j1)", "deltaR(mu+, j1)", "deltaphi(mu+, j1)",
    ]  # fmt: skip
    (remark,) = observables.remarks
    assert remark == (
        "Left out, because in all of the first events of all samples they say the same as another observable: "
        "HT = pT(Z), n(final) = n(j) + 2, m(Z) = m(mu-, mu+)."
    )
    values, index = table(observables, batch)
    assert np.array_equal(index, np.arange(400))
    # The Z decays to both muons, and recoils against the gluon.
    same, _ = table(chosen(batch, only=["m(Z)", "m(mu-, mu+)", "HT", "pT(Z)"]), batch)
    assert np.allclose(same["m(Z)"], same["m(mu-, mu+)"], rtol=1e-9)
    assert np.allclose(same["HT"], same["pT(Z)"])
    gluon = batch.counts == 6
    assert np.allclose(values["pT(Z)"][gluon], values["pT(j1)"][gluon], rtol=1e-9)
    assert np.array_equal(np.isnan(values["pT(j1)"]), ~gluon)
    assert np.array_equal(values["n(j)"], gluon)
    units = {d.name: d.unit for d in observables.definitions}
    assert (units["pT(Z)"], units["eta(mu-)"], units["phi(Z)"], units["m(all)"]) == ("GeV", "", "rad", "GeV")
    assert [d.name for d in observables.definitions if d.periodic] == [
        n for n in names(observables) if n[:4] in ("phi(", "phi*")
    ]


def test_angles_between_objects_end_at_pi():
    """Z and gluon are back to back, up to rounding: these events belong to the last bin, not to the overflow."""
    batch = drell_yan(2000)
    observables = chosen(batch, observables={"between": "deltaphi('Z', 'j1')"}, only=["between", "deltaphi(mu-, mu+)"])
    default, own = observables.definitions
    assert default.limits == pytest.approx((0.0, np.pi), abs=1e-8)
    assert own.limits is None
    axis = choose_axis(default, [], 50)
    assert len(axis.drawn_edges) == 51
    values, _ = table(observables, batch)
    between = values["between"][~np.isnan(values["between"])]
    assert np.allclose(between, np.pi)
    filled = hist.Hist(axis.to_hist()).fill([*between, np.pi, np.nextafter(np.pi, 0)]).values(flow=True)
    assert filled[-2] == len(between) + 2


def test_what_is_the_same_in_one_sample_only_stays():
    batch = drell_yan()
    # In the other sample, the Z is not quite the sum of its decay products in every 20th event.
    columns = batch.columns()
    z = np.flatnonzero(columns["pdg_id"] == 23)[::20]
    energy = columns["energy"].copy()
    energy[z] *= 1 + 1e-4
    other = replaced(batch, energy=energy)
    assert "m(Z)" not in names(chosen(batch))
    for samples in ((batch, other), (other, batch)):
        found = names(chosen(*samples))
        assert {"m(Z)", "m(mu-, mu+)"} <= set(found)
        assert "n(final)" not in found
    # A sample of which hardly any event is known decides nothing.
    assert {"m(Z)", "n(final)", "HT"} <= set(names(chosen(batch, batch[:19])))
    assert {"m(Z)", "n(final)", "HT"} <= set(names(choose_observables([[batch], []], ValidationSettings())))
    assert {"m(Z)", "n(final)", "HT"}.isdisjoint(names(chosen(batch, batch[:20], leave_out=["reaction"])))


def test_one_line_for_all_samples():
    """Muons in the one, electrons in the other: each count is a constant in a sample, but not in both."""
    muons = drell_yan()
    electrons = replaced(muons, pdg_id=np.where(np.abs(muons.column("pdg_id")) == 13,
                                                muons.column("pdg_id") * 11 // 13, muons.column("pdg_id")))  # fmt: skip
    both = EventBatch.concatenate([muons, electrons])
    assert [n for n in names(chosen(both)) if n[:3] in ("n(e", "n(m")] == ["n(e-)"]
    # Where they are not each other's opposites in one sample, a difference could hide.
    lone = np.arange(400) < 25
    lone_id = muons.column("pdg_id").copy()
    place = np.flatnonzero(lone_id == -13)
    lone_id[place[lone]] = -11
    mixed = replaced(muons, pdg_id=lone_id)
    assert [n for n in names(chosen(both, mixed)) if n[:3] in ("n(e", "n(m")] == ["n(e-)", "n(e+)"]


def test_the_user_s_own_observables_are_never_left_out():
    batch = drell_yan()
    observables = chosen(batch, observables={"mine": "m('mu-', 'mu+')", "m(Z)": "m('Z')", "again": "count('j')"})
    found = {definition.name: definition for definition in observables.definitions}
    assert {"mine", "m(Z)", "again", "m(mu-, mu+)", "n(j)"} <= set(found)
    # The classifier need not see the same number twice.
    assert [found[name].feature for name in ("mine", "m(Z)", "again", "m(mu-, mu+)", "n(j)")] == [False] * 3 + [
        True
    ] * 2
    named = chosen(batch, only=["m(*)", "m(Z)"])
    assert {"m(Z)", "m(mu-, mu+)"} <= set(names(named))
    assert "m(Z)" not in names(chosen(batch, only=["m(*)"]))


def test_reactions_are_those_of_the_summary(examples):
    with open_events(examples / "zjet.lhe.gz") as stream:
        batches = list(stream)
        summary = Summary(stream.run_info)
    for batch in batches:
        summary.add(batch)
    observables = choose_observables([batches[:1]], ValidationSettings(only=["reaction"]))
    (definition,) = observables.definitions
    assert definition.kind is Kind.CATEGORY
    assert definition.categories[-1] == "other"
    codes = np.concatenate([observables(batch).values[0] for batch in batches]).astype(int)
    assert len(codes) == summary.events
    counts = np.bincount(codes, minlength=len(definition.categories))
    expected = sorted(summary.reactions.values(), reverse=True)
    kept = len(definition.categories) - 1
    assert sorted(counts[:-1], reverse=True) == expected[:kept]
    assert counts[-1] == sum(expected[kept:])
    assert {"g u > mu- mu+ u", "u u~ > mu- mu+ g"} <= set(definition.categories[:3])


def test_rare_and_unseen_reactions_are_other():
    batch = drell_yan(300)
    observables = chosen(batch, only=["reaction"])
    strange = np.where(np.abs(batch.column("pdg_id")) == 2, batch.column("pdg_id") * 2, batch.column("pdg_id"))
    found = observables(replaced(batch, pdg_id=strange)).values[0]
    categories = observables.definitions[0].categories
    up = np.array(["u" in categories[int(code)].split() for code in observables(batch).values[0]])
    assert 0 < up.sum() < 300
    assert np.array_equal(found == len(categories) - 1, up)


def test_the_set_is_the_union_of_the_samples():
    muons = drell_yan()
    electrons = replaced(muons, pdg_id=np.where(np.abs(muons.column("pdg_id")) == 13,
                                                muons.column("pdg_id") * 11 // 13, muons.column("pdg_id")))  # fmt: skip
    observables = chosen(muons, electrons)
    assert {"pT(mu-)", "pT(e-)", "n(e-)"} <= set(names(observables))
    (remark,) = observables.remarks
    assert "n(e+) = n(e-), n(mu-) = 1 - n(e-), n(mu+) = 1 - n(e-)" in remark
    assert names(observables) == names(chosen(electrons, muons))
    values, _ = table(observables, electrons)
    assert np.isnan(values["pT(mu-)"]).all()
    assert np.isfinite(values["pT(e-)"]).all()


def test_masses_that_differ_between_samples_are_looked_at():
    light = drell_yan()
    assert "m(mu-)" not in names(chosen(light))
    muon = np.abs(light.column("pdg_id")) == 13
    mass = np.where(muon, 0.10566, light.column("generated_mass"))
    energy = np.where(muon, np.hypot(light.column("energy"), 0.10566), light.column("energy"))
    massive = replaced(light, generated_mass=mass, energy=energy)
    assert "m(mu-)" not in names(chosen(massive))
    assert "m(mu-)" in names(chosen(light, massive))
    values, _ = table(chosen(light, massive, only=["m(mu-)"]), massive)
    assert np.all(values["m(mu-)"] == 0.10566)


def test_selection():
    batch = drell_yan()
    everything, _ = table(chosen(batch, only=names(chosen(batch[:10]))), batch)
    observables = chosen(batch, select="pt('mu-') > 30 and count('j') == 1")
    values, index = table(observables, batch)
    expected = np.flatnonzero((everything["pT(mu-)"] > 30) & (everything["n(j)"] == 1))
    assert 0 < len(expected) < 400
    assert np.array_equal(index, expected)
    for name, row in values.items():
        assert np.array_equal(row, everything[name][index], equal_nan=True)
    # Without gluons there is no jet to look at.
    assert not [n for n in names(chosen(batch, select="count('j') == 0")) if "j1" in n]
    # That nothing passes is said when the whole sample was read.
    nothing = chosen(batch, select="pt('mu-') > 1e9")
    assert nothing(batch).values.shape == (len(nothing.definitions), 0)
    with pytest.raises(UserError, match="it gives a number; a condition such as"):
        chosen(batch, select="pt('mu-')")
    with pytest.raises(UserError, match="select \"pt\\('nope'\\) > 1\", character 4: object 'nope' is not known"):
        chosen(batch, select="pt('nope') > 1")


def test_own_observables():
    batch = drell_yan()
    observables = chosen(
        batch,
        observables={
            "pT(mu-)": {"expression": "pt('mu-')", "bins": 20, "range": (0.0, 100.0), "unit": "GeV", "log": False},
            "ratio": "pt('mu-') / pt('mu+')",
            "jets": {"expression": "count('j')", "label": "$N_j$"},
            "hard": "pt('mu-') > 30",
            "infinite": "log(count('j'))",
        },
    )
    own = {d.name: d for d in observables.definitions if d.group == "user"}
    assert list(own) == ["pT(mu-)", "ratio", "jets", "hard", "infinite"]
    assert names(observables).count("pT(mu-)") == 1
    assert (own["pT(mu-)"].bins, own["pT(mu-)"].limits, own["pT(mu-)"].log) == (20, (0.0, 100.0), False)
    assert (own["ratio"].label, own["jets"].label) == ("ratio", "$N_j$")
    assert [own[n].kind for n in ("ratio", "jets", "hard")] == [Kind.CONTINUOUS, Kind.INTEGER, Kind.INTEGER]
    values, _ = table(observables, batch)
    assert np.array_equal(values["jets"], values["n(j)"])
    assert np.array_equal(values["hard"], values["pT(mu-)"] > 30)
    # log(0): the event lacks it.
    assert np.array_equal(values["infinite"], np.where(values["n(j)"] == 1, 0.0, np.nan), equal_nan=True)


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"expression": "pt('mu')"}, "observable 'x' \"pt\\('mu'\\)\", character 4: object 'mu' is not known"),
        ({"expression": "pt('mu-')", "label": r"$\frac{1$"}, "its label .* is no Matplotlib mathtext"),
        ({"expression": "pt('mu-')", "range": (3.0, 1.0)}, "its range .* is not"),
        ({"expression": "pt('mu-')", "range": (0.0, 1.0), "log": True}, "a logarithmic axis cannot begin at 0"),
    ],
)
def test_own_observables_that_cannot_be(wanted, problem):
    with pytest.raises(UserError, match=problem):
        chosen(drell_yan(50), observables={"x": wanted})


def test_only_and_leave_out():
    batch = drell_yan()
    assert names(chosen(batch, only=["pT(*)", "HT"], leave_out=["*(j*)"])) == ["HT", "pT(mu-)", "pT(mu+)", "pT(Z)"]
    with pytest.raises(UserError, match=r"only: no observable matches 'pT\(mu\)'; did you mean 'pT\(mu.\)'\?"):
        chosen(batch, only=["HT", "pT(mu)"])
    with pytest.raises(UserError, match="leave_out: no observable is left"):
        chosen(batch, leave_out=["*"])
    remark, _ = chosen(batch, leave_out=["pt(mu-)"]).remarks
    assert remark == "leave_out: no observable matches 'pt(mu-)'; did you mean 'pT(mu-)'?"


def test_bottom_quarks_are_a_type_when_they_are_common():
    batch = drell_yan(1000, gluon_fraction=1.0)
    gluon = np.flatnonzero(batch.column("pdg_id") == 21)
    for share, expected in ((0.01, False), (0.2, True)):
        pdg_id = batch.column("pdg_id").copy()
        pdg_id[gluon[: int(share * 1000)]] = 5
        found = set(names(chosen(replaced(batch, pdg_id=pdg_id))))
        assert ("pT(b1)" in found) is expected
        assert "pT(j1)" in found


@pytest.mark.parametrize("name", ["pythia-6.413-ttbar.lhe", "pythia-8.3.14-weakbosons.lhe", "hpcgen.hdf5",
                                  "madgraph-2.0.0-wbj.lhe", "powheg-box-v2-W.lhe"])  # fmt: skip
def test_real_files(name, shared_data, monkeypatch):
    with open_events(shared_data / "lhe" / name) as stream:
        batches = list(stream)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setattr(module, "duplicates", lambda *_: [])
        observables = choose_observables([batches], ValidationSettings())
        values = np.concatenate([observables(batch).values for batch in batches], axis=1)
    found = names(observables)
    assert len(set(found)) == len(found) <= 90
    assert not np.isinf(values).any()
    rows = dict(zip(found, values, strict=True))
    for key, row in rows.items():
        if key.startswith("deltaphi"):
            assert np.nanmin(row) >= 0
            assert np.nanmax(row) <= np.pi
    if name == "powheg-box-v2-W.lhe":
        assert np.nanmedian(rows["m(e-, nu)"]) == pytest.approx(80.4, abs=1.5)
        assert np.allclose(rows["missing pT"], rows["pT(nu)"])
    if name == "pythia-6.413-ttbar.lhe":
        assert np.median(rows["m(t)"]) == pytest.approx(175.0, abs=3.0)


def test_every_label_can_be_drawn(shared_data):
    parser = MathTextParser("path")
    for name in ("pythia-8.3.14-weakbosons.lhe", "pythia-6.413-ttbar.lhe"):
        with open_events(shared_data / "lhe" / name) as stream:
            batch = next(iter(stream))
        for definition in (*chosen(batch).definitions, *chosen(shower_level(batch)).definitions):
            # Mass, rapidity and azimuth of one object are written alike.
            if not definition.name.startswith(("y(", "phi(", "eta(")):
                parser.parse(definition.label)


def test_labels_of_particles_of_every_kind_can_be_drawn():
    parser = MathTextParser("path")
    for pdg_id in [*(int(p.pdgid) for p in Particle.all()[::80]), 1000022, -1000006, 9000005, 35]:
        for rank in (1, 2):
            parser.parse(f"$p_T({ObjectRef(type_of(pdg_id), rank).label})$")


def test_new_particles_go_by_their_number():
    batch = drell_yan()
    pdg_id = np.where(batch.column("pdg_id") == 23, 32, batch.column("pdg_id"))
    observables = chosen(replaced(batch, pdg_id=pdg_id))
    assert {"pT(32)", "y(32)"} <= set(names(observables))
    assert "m(32) = m(mu-, mu+)" in observables.remarks[0]
    values, _ = table(
        chosen(replaced(batch, pdg_id=pdg_id), only=["m(32)", "m(mu-, mu+)"]), replaced(batch, pdg_id=pdg_id)
    )
    assert np.allclose(values["m(32)"], values["m(mu-, mu+)"])


def test_process_ids_are_compared_only_when_one_asks():
    batch = drell_yan(1000)
    many = dataclasses.replace(batch, process_id=np.arange(1000) % 3 + 7)
    assert names(chosen(batch, many)) == names(chosen(batch))
    values, _ = table(chosen(batch, many, observables={"id": "process_id()"}), many)
    assert np.array_equal(values["id"], np.arange(1000) % 3 + 7)


def shower_level(batch):
    """The final particles of hard events, as if they were at shower level: a pion for each gluon or quark."""
    vertices = {name: np.zeros(0) for name in ("x", "y", "z", "t", "status")}
    columns = batch.columns()
    columns["production_vertex"] = columns["end_vertex"] = np.full(len(columns["px"]), -1)
    parton = (np.abs(columns["pdg_id"]) <= 5) | (columns["pdg_id"] == 21)
    columns["pdg_id"] = np.where(parton & (columns["status"] == 1), 211, columns["pdg_id"])
    return EventBatch.from_columns(
        batch.counts,
        columns,
        weight=batch.weight,
        vertex_counts=np.zeros(len(batch), int),
        vertex_columns=vertices,
    )


def test_a_jet_of_one_particle_is_the_particle():
    batch = drell_yan(300)
    showered = shower_level(batch)
    settings = ValidationSettings(jets=JetSettings(pt_min=25.0))
    observables = choose_observables([[showered]], settings)
    assert {"sum ET", "n(charged)", "pT(j1)"} <= set(names(observables))
    hard, _ = table(choose_observables([[batch]], settings), batch)
    after, _ = table(observables, showered)
    seen = (hard["pT(j1)"] > 25.0) & (np.abs(hard["eta(j1)"]) < 5.0)
    assert 20 < seen.sum() < 300
    assert np.array_equal(after["n(j)"], seen)
    for name in ("pT(j1)", "eta(j1)", "m(mu-, mu+)", "deltaR(mu-, j1)"):
        assert np.allclose(after[name][seen], hard[name][seen], rtol=1e-6), name
    assert (after["n(charged)"] <= 3).all()


LEPTONS = [
    "n(mu-)", "pT(mu-)", "eta(mu-)", "phi(mu-)", "pT(mu+)", "eta(mu+)", "phi(mu+)",
    "m(mu-, mu+)", "deltaR(mu-, mu+)", "deltaphi(mu-, mu+)", "cos theta*(mu-, mu+)", "phi*(mu-, mu+)",
]  # fmt: skip


@pytest.mark.parametrize("order", [1, -1])
def test_partons_are_not_compared_with_jets(order):
    batch = drell_yan(300)
    samples = [batch, shower_level(batch)][::order]
    observables = chosen(*samples)
    assert names(observables) == LEPTONS[1:]
    assert observables.remarks[0].startswith("Hard events are compared with shower-level events: only")
    hard, _ = table(observables, batch)
    after, _ = table(observables, shower_level(batch))
    for name, values in hard.items():
        assert np.allclose(values, after[name], equal_nan=True), name
    own = chosen(*samples, observables={"mine": "pt('j1')"})
    assert any("'j' is a parton in hard events, a jet in the others" in remark for remark in own.remarks)
    with pytest.raises(UserError, match="only: no observable matches 'HT'"):
        chosen(*samples, only=["HT"])


def test_levels_without_anything_in_common():
    batch = drell_yan(50, gluon_fraction=1.0)
    quarks = replaced(batch, pdg_id=np.where(np.abs(batch.column("pdg_id")) == 13, 1, batch.column("pdg_id")))
    with pytest.raises(UserError, match="nothing means the same in both"):
        chosen(quarks, shower_level(quarks))
    assert names(chosen(quarks, shower_level(quarks), observables={"x": "pt('j1')"})) == ["x"]


@pytest.fixture(scope="module")
def three_formats(tmp_path_factory):
    """The same hard events as LHE and as HepMC 2 and 3, read in batches that partly have no parton at all."""
    batch = drell_yan(600, gluon_fraction=0.1)
    info = drell_yan_run_info()
    folder = tmp_path_factory.mktemp("formats")
    paths = [folder / f"x.{suffix}" for suffix in ("lhe", "hepmc2", "hepmc3")]
    for path in paths:
        with create_events(path, info) as output:
            output.write(batch)
    return paths


def read(path, size=None):
    with open_events(path, **({"batch_size": size} if size else {})) as stream:
        return list(stream)


def test_hard_events_are_the_same_in_every_format(three_formats):
    lhe, *others = (read(path, 7) for path in three_formats)
    assert others[0][0].has_graph
    assert not lhe[0].has_graph
    for other in others:
        observables = choose_observables([lhe, other], ValidationSettings())
        assert names(observables) == names(choose_observables([lhe], ValidationSettings()))
        assert {"n(j)", "pT(j1)", "pT(Z)", "reaction", "m(all)"} <= set(names(observables))
        for first, second in zip(lhe, other, strict=True):
            expected, found = table(observables, first)[0], table(observables, second)[0]
            for name, values in expected.items():
                assert np.allclose(values, found[name], rtol=1e-7, atol=1e-7, equal_nan=True), name
        assert content_differences(lhe, drell_yan_run_info(), other, drell_yan_run_info()) == ()
        # By itself, such a file is what it holds, too.
        assert names(choose_observables([other], ValidationSettings())) == names(observables)


def test_hard_events_in_two_formats_agree_and_partons_are_no_jets_of_a_shower(three_formats):
    hepmc = read(three_formats[1], 7)
    showered = shower_level(EventBatch.concatenate(read(three_formats[0])))
    assert names(choose_observables([hepmc, [showered]], ValidationSettings())) == LEPTONS[1:]
    result = validate(three_formats[0], [three_formats[1]], ValidationSettings(classifier=False))
    # HepMC 2 has no place for what the weights mean.
    (sentence,) = result.comparisons[0].differences
    assert sentence.startswith("The weights are given differently")
    assert result.comparisons[0].agrees
    assert all(found.verdict is Verdict.AGREES for found in result.comparisons[0].observables)


@pytest.mark.parametrize("name", ["pythia-6.413-ttbar.lhe", "pythia-8.3.14-weakbosons.lhe", "powheg-box-v2-W.lhe"])
def test_real_hard_events_as_hepmc2(name, shared_data, tmp_path):
    path = shared_data / "lhe" / name
    lhe = read(path)
    with open_events(path) as stream, create_events(tmp_path / "x.hepmc2", stream.run_info) as output:
        for batch in stream:
            output.write(batch)
    hepmc = read(tmp_path / "x.hepmc2")
    assert hepmc[0].has_graph
    observables = choose_observables([lhe, hepmc], ValidationSettings())
    expected, found = (np.concatenate([observables(b).values for b in sample], axis=1) for sample in (lhe, hepmc))
    for key, first, second in zip(names(observables), expected, found, strict=True):
        assert np.allclose(first, second, rtol=1e-6, atol=1e-6, equal_nan=True), key


def test_without_fastjet_there_are_no_jets_and_it_is_said(monkeypatch):
    showered = shower_level(drell_yan(100))
    monkeypatch.setattr(module, "jets_available", lambda: False)
    monkeypatch.setattr("mlgen.validation.objects.jets_available", lambda: False)
    monkeypatch.setattr("mlgen.validation.jets.jets_available", lambda: False)
    observables = chosen(showered)
    assert not [n for n in names(observables) if "j" in n or n == "HT"]
    assert observables.remarks[0] == "No jets: jets need the package fastjet: pip install 'mlgen-hep[jets]'."
    assert observables(showered).values.shape[1] == 100
    for expression in ("pt('j1')", "HT()"):
        with pytest.raises(UserError, match=r"pip install 'mlgen-hep\[jets\]'"):
            chosen(showered, observables={"x": expression})


def test_no_events_and_one_event():
    batch = drell_yan(1)
    observables = chosen(batch)
    assert observables(batch).values.shape == (len(observables.definitions), 1)
    assert observables(batch[:0]).values.shape == (len(observables.definitions), 0)
    assert "pT(mu-)" in names(choose_observables([[], [batch[:0]], [batch]], ValidationSettings()))
