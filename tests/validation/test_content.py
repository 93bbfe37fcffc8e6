import dataclasses

import numpy as np

from mlgen.events import EventBatch
from mlgen.run_info import Beam, RunInfo, Variation
from mlgen.testing.samples import drell_yan_events, drell_yan_run_info
from mlgen.validation.content import content_differences, count_reactions, reaction_keys

RUN = drell_yan_run_info()


def drell_yan(n=1000, seed=1, **options):
    return drell_yan_events(n, np.random.default_rng(seed), **options)[0]


def with_ids(batch, change):
    """The same events with other final particles; `change` maps PDG ids of final particles."""
    columns = batch.columns()
    final = columns["status"] == 1
    new = np.array([change.get(i, i) for i in columns["pdg_id"].tolist()])
    return EventBatch.from_columns(
        batch.counts,
        columns | {"pdg_id": np.where(final, new, columns["pdg_id"])},
        weight=batch.weight,
        process_id=batch.process_id,
    )


def test_equal_samples():
    assert content_differences([drell_yan(seed=1)], RUN, [drell_yan(seed=2)], RUN) == ()


def test_beams():
    other = RUN.replace(beams=(Beam(2212, 980.0), Beam(-2212, 980.0)))
    (sentence,) = content_differences([], RUN, [], other)
    assert sentence == (
        "The beams differ: p of 6500 GeV on p of 6500 GeV in the reference, "
        "p of 980 GeV on p~ of 980 GeV in the sample."
    )
    (sentence,) = content_differences([], RUN, [], RUN.replace(beams=()))
    assert sentence.startswith("The sample does not say what its beams are; the other's are p of 6500 GeV on p of 6500")
    assert content_differences([], RUN.replace(beams=()), [], RUN.replace(beams=())) == ()
    # The same energy, written with fewer digits.
    near = RUN.replace(beams=(Beam(2212, 6500.0000001), Beam(2212, 6500.0)))
    assert content_differences([], RUN, [], near) == ()


def test_weights():
    other = RUN.replace(weight_strategy=-4, variations=tuple(Variation(f"w{i}") for i in range(8)))
    first, second = content_differences([], RUN, [], other)
    assert "unit weights: each event stands for an equal share of the cross section (IDWTUP 3)" in first
    assert "in the sample, the weights average to the cross section (IDWTUP -4)" in first
    assert (
        second
        == "The sample has 8 named weights that the reference lacks: 'w0', 'w1', 'w2', 'w3', 'w4', 'w5' and 2 more."
    )


def test_reactions_and_particles_of_one_sample_only():
    reference, sample = drell_yan(gluon_fraction=0.0), drell_yan(gluon_fraction=0.3, seed=4)
    share = (sample.counts == 6).sum()
    sentences = content_differences([reference], RUN, [sample[:400], sample[400:]], RUN)
    assert len(sentences) == 2
    assert f"where {share} are expected: " in sentences[0]
    assert sentences[0].startswith("Reactions of the sample that none of 1,000 events of the reference has")
    assert "u u~ > mu- mu+ g, " in sentences[0]
    assert sentences[1] == (
        "Final particles of the sample that none of 1,000 events of the reference has: "
        f"g in {share / 1000:.2%} ({share:,} of 1,000 events)."
    )


def test_what_may_be_missing_by_accident_is_not_reported():
    reference, sample = drell_yan(gluon_fraction=0.0), drell_yan(gluon_fraction=0.3, seed=4)
    # 30 % of 20 events are 6: no ten are expected.
    assert content_differences([reference[:20]], RUN, [sample], RUN) == ()
    assert content_differences([sample], RUN, [reference[:20]], RUN) == ()


def test_hard_and_shower_level():
    batch = drell_yan(10)
    columns = batch.columns()
    columns["pdg_id"] = np.where(columns["pdg_id"] == 21, 211, columns["pdg_id"])
    columns["production_vertex"] = columns["end_vertex"] = np.full(len(columns["px"]), -1)
    empty = {name: np.zeros(0) for name in ("x", "y", "z", "t", "status")}
    showered = EventBatch.from_columns(
        batch.counts,
        columns,
        weight=batch.weight,
        process_id=1,
        vertex_counts=np.zeros(10, int),
        vertex_columns=empty,
    )
    (sentence,) = content_differences([batch], RUN, [showered], RUN)
    assert (
        sentence == "The reference holds hard events, the sample shower-level events: "
        "only what means the same in both is compared."
    )


def test_lists_show_six_and_say_how_many_more():
    reference = drell_yan(2000, gluon_fraction=1.0)
    pdg_id = reference.column("pdg_id").copy()
    gluons = np.flatnonzero(pdg_id == 21)
    strange = [3, -3, 4, -4, 5, -5, 1, -1]
    pdg_id[gluons] = np.array(strange)[np.arange(len(gluons)) % 8]
    sample = EventBatch.from_columns(
        reference.counts, reference.columns() | {"pdg_id": pdg_id}, weight=reference.weight, process_id=1
    )
    sentences = content_differences([reference], RUN, [sample], RUN)
    reactions = next(s for s in sentences if s.startswith("Reactions of the sample"))
    assert reactions.count(" > ") == 6
    assert reactions.endswith("; and 10 more reactions.")
    kinds = next(s for s in sentences if s.startswith("Final particles of the sample"))
    assert kinds.endswith("; and 2 more kinds.")
    assert kinds.count(" in ") == 6


def test_process_ids_are_labels():
    batch = drell_yan(1000)
    (sentence,) = content_differences([batch], RUN, [dataclasses.replace(batch, process_id=np.full(1000, 7))], RUN)
    assert sentence == (
        "The process ids (LPRUP) differ: 1 in the reference, 7 in the sample. They are the generator's labels and are "
        "not compared."
    )
    many = dataclasses.replace(batch, process_id=np.arange(1000) % 9)
    (sentence,) = content_differences([many], RUN, [batch], RUN)
    assert "differ: 0, 1, 2, 3, 4, 5 and 3 more in the reference, 1 in the sample." in sentence
    # An id that one event has may be missing by accident.
    rare = dataclasses.replace(batch, process_id=np.where(np.arange(1000) < 5, 2, 1))
    assert content_differences([batch], RUN, [rare], RUN) == ()


def test_particles_are_counted_by_event():
    reference = drell_yan(200, gluon_fraction=1.0)
    sample = with_ids(reference, {13: 22, -13: 22})
    sentences = content_differences([reference], RUN, [sample], RUN)
    # Both muons became photons: two in each event, but 200 events of 200.
    assert any("gamma in 100.00% (200 of 200 events)" in sentence for sentence in sentences)
    assert any("mu- in 100.00% (200 of 200 events); and mu+ in 100.00%" in sentence for sentence in sentences)


def test_reactions_do_not_depend_on_the_order_of_the_particles():
    pdg_id = np.array([21, 2, 13, -13, 2, 2, 21, 2, 23, -13, 13, 21, 2, 13, 13, 2])
    status = np.array([-1, -1, 1, 1, 1, -1, -1, 1, 2, 1, 1, -1, -1, 1, 1, 1])
    keys = reaction_keys(pdg_id, status, np.array([0, 5, 11, 16, 16]))
    assert keys[0] == keys[1] != keys[2]
    assert keys[3] == 0
    counts = count_reactions([EventBatch.from_columns(np.array([5, 6, 5]), {
        "pdg_id": pdg_id, "status": status, **{c: np.ones(16) for c in ("px", "py", "pz", "energy")}},
        weight=np.ones(3))])  # fmt: skip
    assert {counts.names[key]: number for key, number in counts.counts.items()} == {
        "g u > mu- mu+ u": 2,
        "g u > mu- mu- u": 1,
    }


def test_nothing_is_known():
    assert content_differences([], RunInfo(), [], RunInfo()) == ()
    assert content_differences([drell_yan(10)], RunInfo(), [], RunInfo()) == ()
