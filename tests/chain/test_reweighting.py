"""Events reweighted from one matrix element to another, beside events that are made with the other one."""

import importlib.util
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2

from mlgen.card import parse_card
from mlgen.chain import plan_chain, plan_integration, run_chain, train_chain
from mlgen.errors import CardError, InputError, ModelError, PluginFailure, ProcessError, WeightError
from mlgen.events import EventBatch
from mlgen.formats import create_events, open_events
from mlgen.hard_process.closed_forms import ClosedForm, closed_form
from mlgen.hard_process.parameters import ModelParameters, ZPrime
from mlgen.hard_process.subprocess import Subprocess
from mlgen.report import render
from mlgen.run_info import Process, RunInfo, Variation

Z_PRIME = {"mass": 500.0, "width": 60.0, "coupling": 1.2}
IN_TOML = "{ mass = 500, width = 60, coupling = 1.2 }"
NEW = f"{{ program = 'closed-form', parameters = {{ z_prime = {IN_TOML} }} }}"
TO_Z_PRIME = f"[reweighting]\nname = 'zp'\nnew = {NEW}\nold = 'closed-form'\n"
TO_ITSELF = "[reweighting]\nnew = 'closed-form'\nold = 'closed-form'\n"


def run(text: str, directory: Path, *, events: str = "in.lhe", outputs: str = "'out.lhe'"):
    head = f"[input]\nfile = '{events}'\n[output]\nfiles = [{outputs}]\n"
    return run_chain(plan_chain(parse_card(head + text, "card.toml", directory), force=True))


def make_drell_yan(path: Path, seed: int, parameters: str = "{}", unweighting: str = "", events: int = 20_000):
    text = f"""
        [run]
        events = {events}
        seed = {seed}
        [process]
        reaction = "p p > mu+ mu-"
        energy = 13_000
        pdf = "NNPDF23_lo_as_0130_qed"
        scale = 500
        matrix_element = "closed-form"
        parameters = {parameters}
        cuts = {{ mass = {{ "mu+ mu-" = [250, 1000] }} }}
        [phase_space]
        plugin = "vegas"
        budget = 40_000
        {unweighting}
        [output]
        files = ["{path.name}"]
    """
    return run_chain(plan_chain(parse_card(text, "card.toml", path.parent)))


def whole(path: Path) -> EventBatch:
    with open_events(path) as events:
        return EventBatch.concatenate(list(events))


def information(path: Path) -> RunInfo:
    with open_events(path) as events:
        return events.run_info


def pair_mass(batch: EventBatch):
    momenta = batch.momenta().reshape(len(batch), 4, 4)
    pair = momenta[:, 2] + momenta[:, 3]
    return np.sqrt(pair[:, 3] ** 2 - (pair[:, :3] ** 2).sum(axis=1))


def event(*particles: tuple[int, int, float, float, float, float, float], weight: float = 1.0, **others) -> EventBatch:
    """One event of particles ``(pdg_id, status, px, py, pz, energy, mass)``."""
    names = ("pdg_id", "status", "px", "py", "pz", "energy", "generated_mass")
    columns = {name: np.array(values) for name, values in zip(names, zip(*particles, strict=True), strict=True)}
    return EventBatch.from_columns(np.array([len(particles)]), columns, weight=np.array([weight]), **others)


def two_to_two(incoming: tuple[int, int], outgoing: tuple[int, int], cosine: float = 0.3, **others) -> EventBatch:
    """Massless particles of 100 GeV each in their centre of mass, the first incoming one along +z."""
    sine = np.sqrt(1 - cosine**2)
    return event(
        (incoming[0], -1, 0, 0, 100, 100, 0),
        (incoming[1], -1, 0, 0, -100, 100, 0),
        (outgoing[0], 1, 100 * sine, 0, 100 * cosine, 100, 0),
        (outgoing[1], 1, -100 * sine, 0, -100 * cosine, 100, 0),
        **others,
    )


def write(path: Path, *batches: EventBatch, info: RunInfo | None = None) -> None:
    info = info or RunInfo(weight_strategy=4, processes=(Process(1, 1.0, 0.0, 1.0),))
    with create_events(path, info) as output:
        for batch in batches:
            output.write(batch)


def ratio_of(path: Path, name: str = "zp"):
    batch = whole(path)
    return batch.variations[name] / batch.weight


@pytest.fixture(scope="module")
def drell_yan(tmp_path_factory):
    """Weighted muon pairs of the Standard Model."""
    folder = tmp_path_factory.mktemp("drell_yan")
    make_drell_yan(folder / "in.lhe", seed=3)
    return folder


def test_reweighted_events_agree_with_those_made_with_the_other_matrix_element(drell_yan, tmp_path):
    result = run(TO_Z_PRIME, tmp_path, events=str(drell_yan / "in.lhe"))
    direct = make_drell_yan(tmp_path / "direct.lhe", seed=4, parameters=f"{{ z_prime = {IN_TOML} }}")
    figures = result.stages[0].figures

    # The Z' changes the cross section by far more than the errors. 4 standard deviations are allowed.
    assert figures["cross_section_factor"] > 1.5
    error = np.hypot(figures["cross_section_error"], direct.cross_section_error)
    assert error < 0.03 * direct.cross_section
    assert abs(figures["cross_section"] - direct.cross_section) < 4 * error

    # Spectra in pb, bin by bin; chi^2 with a p-value above 1e-4, and without the new weight far below.
    samples = [whole(tmp_path / name) for name in ("out.lhe", "direct.lhe")]
    edges = np.linspace(250, 1000, 16)

    def histogram(batch, weight):
        share = weight / len(batch)
        counts = [np.histogram(pair_mass(batch), edges, weights=w)[0] for w in (share, share**2)]
        return counts[0], counts[1]

    new, old = (histogram(samples[0], w) for w in (samples[0].variations["zp"], samples[0].weight))
    truth = histogram(samples[1], samples[1].weight)
    assert np.all(truth[1] > 0)

    def p_value(values):
        squared = ((values[0] - truth[0]) ** 2 / (values[1] + truth[1])).sum()
        return chi2.sf(squared, len(edges) - 1)

    assert p_value(new) > 1e-4
    assert p_value(old) < 1e-50


def test_the_ratio_is_that_of_the_matrix_elements(drell_yan, tmp_path):
    run(TO_Z_PRIME, tmp_path, events=str(drell_yan / "in.lhe"))
    batch = whole(tmp_path / "out.lhe")
    momenta = batch.momenta().reshape(len(batch), 4, 4)
    pdg_id = batch.column("pdg_id").reshape(len(batch), 4)
    assert {13, -13} == set(pdg_id[:, 2].tolist()) | set(pdg_id[:, 3].tolist())
    expected = np.empty(len(batch))
    for ids in np.unique(pdg_id, axis=0):
        here = np.all(pdg_id == ids, axis=1)
        subprocess = Subprocess((int(ids[0]), int(ids[1])), (int(ids[2]), int(ids[3])))
        values = [
            closed_form(subprocess, parameters).evaluate(momenta[here], batch.alpha_qcd[here])
            for parameters in (ModelParameters(z_prime=ZPrime(**Z_PRIME)), ModelParameters())
        ]
        expected[here] = values[0] / values[1]
    np.testing.assert_allclose(ratio_of(tmp_path / "out.lhe"), expected, rtol=1e-9)


def test_everything_else_stays_as_it_is(drell_yan, tmp_path):
    source = whole(drell_yan / "in.lhe")
    result = run(TO_Z_PRIME, tmp_path, events=str(drell_yan / "in.lhe"))
    batch, info = whole(tmp_path / "out.lhe"), information(tmp_path / "out.lhe")
    assert result.exactness == "exact"
    assert batch.weight.tobytes() == source.weight.tobytes()
    assert batch.momenta().tobytes() == source.momenta().tobytes()
    assert list(batch.variations) == ["zp"] == list(info.variation_names)
    assert info.cross_section == information(drell_yan / "in.lhe").cross_section
    record = info.provenance[-1]["stages"][0]
    assert (record["stage"], record["exactness"]) == ("reweighting", "exact")
    assert record["settings"]["name"] == "zp"
    for side in ("new", "old"):
        assert record["settings"][side]["program"] == "closed-form"
        assert record["settings"][side]["version"]
    assert record["settings"]["new"]["parameters"]["z_prime"] == Z_PRIME
    assert record["settings"]["old"]["parameters"]["z_prime"] is None
    assert "effective sample size" in render(result.page())
    json.dumps(result.to_dict())


def test_other_named_weights_stay_and_several_are_added(tmp_path):
    weights = {"up": np.array([0.1]), "down": np.array([1 / 3])}
    info = RunInfo(
        weight_strategy=-4,
        processes=(Process(1, 2.0, 0.0, 1.0),),
        variations=(Variation("up", "scale up", group=0), Variation("down", "scale down")),
        variation_groups=({"name": "scales"},),
    )
    events = [
        two_to_two((2, -2), (13, -13), weight=0.7, variations=weights),
        two_to_two((1, -1), (13, -13), weight=-0.3, variations=weights),
    ]
    write(tmp_path / "in.lhe", *events, info=info)
    text = f"[[reweighting]]\nname = 'first'\nnew = {NEW}\nold = 'closed-form'\n"
    text += f"[[reweighting]]\nname = 'second'\nnew = 'closed-form'\nold = {NEW}\n"
    result = run(text, tmp_path, outputs="'out.lhe', 'out.hepmc3', 'out.root', 'out.lheh5'")
    out = whole(tmp_path / "out.lhe")
    assert out.weight.tolist() == [0.7, -0.3]
    assert out.variations["up"].tolist() == [0.1, 0.1]
    assert out.variations["down"].tolist() == [1 / 3, 1 / 3]
    np.testing.assert_allclose(out.variations["first"] * out.variations["second"], out.weight**2, rtol=1e-14)
    assert np.all(out.variations["first"] * out.weight > 0)
    groups = {variation.name: variation.group for variation in information(tmp_path / "out.lhe").variations}
    assert groups == {"up": 0, "down": None, "first": 1, "second": 1}
    assert [stage.figures["weight"] for stage in result.stages] == ["first", "second"]
    for name in ("out.hepmc3", "out.root", "out.lheh5"):
        copy = whole(tmp_path / name)
        assert {k: v.tolist() for k, v in copy.variations.items()} == {k: v.tolist() for k, v in out.variations.items()}


def test_the_weight_survives_from_format_to_format(drell_yan, tmp_path):
    from mlgen.chain.convert import convert

    run(TO_Z_PRIME, tmp_path, events=str(drell_yan / "in.lhe"))
    expected = whole(tmp_path / "out.lhe").variations["zp"]
    names = ["out.lhe", "a.hepmc3.gz", "b.root", "c.lhe.gz"]
    for before, after in itertools.pairwise(names):
        convert([tmp_path / before], tmp_path / after)
        assert whole(tmp_path / after).variations["zp"].tobytes() == expected.tobytes()
    assert information(tmp_path / "c.lhe.gz").provenance[0]["stages"]


def test_an_event_has_one_ratio_however_it_is_written(tmp_path):
    """Order of outgoing particles, which beam is which, an inner resonance, other multiplicities in the batch."""
    plain = two_to_two((2, -2), (13, -13))
    swapped = two_to_two((2, -2), (-13, 13), cosine=-0.3)
    first, second, third, fourth = (
        tuple(float(plain.particles[name][0][i]) for name in ("px", "py", "pz", "energy")) for i in range(4)
    )
    # The first incoming particle along -z, and everything mirrored in z: the same event, seen from the other side.
    turned = event(
        *(
            (pdg_id, status, p[0], p[1], -p[2], p[3], 0)
            for pdg_id, status, p in ((2, -1, first), (-2, -1, second), (13, 1, third), (-13, 1, fourth))
        )
    )
    # The antiquark first, along +z: u comes from the other side, so that cos theta changes its sign.
    exchanged = two_to_two((-2, 2), (13, -13), cosine=-0.3)
    with_resonance = event(
        (13, 1, *third, 0), (2, -1, *first, 0), (23, 2, 0, 0, 0, 200, 200), (-2, -1, *second, 0), (-13, 1, *fourth, 0)
    )
    others = [two_to_two((1, -1), (13, -13)), two_to_two((-2, 1), (11, -12)), two_to_two((-11, 11), (13, -13))]
    angles = 2 * np.pi * np.arange(3) / 3
    three_gluons = event(
        *((21, -1, 0, 0, sign * 60, 60, 0) for sign in (1, -1)),
        *((21, 1, 40 * np.sin(angle), 0, 40 * np.cos(angle), 40, 0) for angle in angles + 0.2),
    )
    events = [plain, others[0], swapped, turned, others[1], exchanged, with_resonance, others[2], three_gluons]
    write(tmp_path / "in.lhe", *events)
    run(TO_Z_PRIME, tmp_path)
    ratio = ratio_of(tmp_path / "out.lhe")
    same = ratio[[0, 2, 3, 5, 6]]
    np.testing.assert_allclose(same, same[0], rtol=1e-12)
    assert abs(same[0] - 1) > 1e-3
    # A Z' has no charge: nothing changes where a W is exchanged.
    assert ratio[4] == ratio[8] == 1
    assert abs(ratio[1] - same[0]) > 1e-3
    assert abs(ratio[7] - 1) > 1e-3


def test_the_same_matrix_element_twice_gives_the_nominal_weight(shared_data, tmp_path, amplicol_cache):
    """Three final particles of MadGraph, one of them massless, with eleven digits."""
    # Not imported here: with it comes symbolica, which then keeps the process that generates from running.
    if importlib.util.find_spec("pyamplicol") is None:
        pytest.skip("pyamplicol is not installed")
    program = f"{{ program = 'amplicol', cache = '{amplicol_cache}' }}"
    head = f"[run]\nevents = 2000\n[reweighting]\nnew = {program}\nold = {program}\n"
    result = run(head, tmp_path, events=str(shared_data / "lhe" / "madgraph-3.7.1-gg_ttg.lhe.gz"))
    batch = whole(tmp_path / "out.lhe")
    np.testing.assert_allclose(batch.variations["mlgen.reweighted"], batch.weight, rtol=1e-12)
    assert result.stages[0].figures["effective_sample_size"] == pytest.approx(2000)


def test_only_accepted_events_are_reweighted(drell_yan, tmp_path, monkeypatch):
    asked = []
    evaluate = ClosedForm.evaluate
    monkeypatch.setattr(
        ClosedForm, "evaluate", lambda self, p, a: (asked.append(len(p)), evaluate(self, p, a))[1], raising=True
    )
    result = run(TO_Z_PRIME + "[unweighting]\nplugin = 'hit-or-miss'\n", tmp_path, events=str(drell_yan / "in.lhe"))
    assert [stage.stage for stage in result.stages] == ["unweighting", "reweighting"]
    assert sum(asked) == 2 * result.events < 2 * 20_000
    # The same ratio as in the weighted sample, where the same events are.
    run(TO_Z_PRIME, tmp_path, events=str(drell_yan / "in.lhe"), outputs="'all.lhe'")
    unweighted, weighted = whole(tmp_path / "out.lhe"), whole(tmp_path / "all.lhe")
    place = {p.tobytes(): n for n, p in enumerate(weighted.momenta().reshape(-1, 16))}
    found = [place[p.tobytes()] for p in unweighted.momenta().reshape(-1, 16)]
    ratios = ratio_of(tmp_path / "all.lhe")
    np.testing.assert_allclose(ratio_of(tmp_path / "out.lhe"), ratios[found], rtol=1e-13)
    # Both samples give the same cross section of the Z'; 4 standard deviations of the smaller one.
    figures = result.stages[1].figures
    truth = weighted.variations["zp"].mean()
    assert abs(figures["cross_section"] - truth) < 4 * figures["cross_section_error"]
    largest = figures["event_of_largest_ratio"] - 1
    assert largest in found
    assert ratios[largest] == pytest.approx(figures["largest_ratio"])


def test_figures_say_on_how_many_events_the_weight_rests(tmp_path):
    cosines = [0.3, 0.5, -0.2, 0.9]
    weights = np.array([1.0, 2.0, 1.0, 1.0])
    batches = [
        two_to_two((2, -2), (13, -13), cosine=c, weight=w) for c, w in zip(cosines, weights.tolist(), strict=True)
    ]
    info = RunInfo(weight_strategy=4, processes=(Process(1, 10.0, 0.5, 2.0),))
    write(tmp_path / "in.lhe", *batches, info=info)
    figures = run(TO_Z_PRIME, tmp_path).stages[0].figures
    new = whole(tmp_path / "out.lhe").variations["zp"]
    ratio = new / weights
    factor = new.sum() / weights.sum()
    assert figures["mean_ratio"] == pytest.approx(ratio.mean(), rel=1e-12)
    assert figures["spread_of_ratio"] == pytest.approx(ratio.std(), rel=1e-9)
    assert figures["cross_section"] == pytest.approx(10 * factor, rel=1e-12)
    own = 10 * np.sqrt(((new - factor * weights) ** 2).sum()) / weights.sum()
    assert figures["cross_section_error"] == pytest.approx(np.hypot(0.5 * factor, own), rel=1e-9)
    assert figures["effective_sample_size"] == pytest.approx(new.sum() ** 2 / (new**2).sum(), rel=1e-12)
    assert figures["effective_sample_size_before"] == pytest.approx(25 / 7, rel=1e-12)
    assert figures["event_of_largest_ratio"] == 1 + int(ratio.argmax())


def test_a_weight_that_rests_on_few_events_is_remarked(drell_yan, tmp_path):
    narrow = TO_Z_PRIME.replace("width = 60", "width = 0.3")
    result = run(narrow, tmp_path, events=str(drell_yan / "in.lhe"))
    assert any("rests on few events" in remark for remark in result.stages[0].remarks)
    weak = TO_Z_PRIME.replace("coupling = 1.2", "coupling = 0.5")
    wide = run(weak, tmp_path, events=str(drell_yan / "in.lhe"))
    assert wide.stages[0].remarks == ()


def test_what_a_file_leaves_out_is_remarked(tmp_path):
    sine = np.sqrt(1 - 0.3**2)
    # A muon as Pythia writes it, with its mass and six digits, and no alpha_s.
    muons = [
        (pdg_id, 1, round(sign * 100 * sine, 4), 0, sign * 30, round(float(np.hypot(100, 0.10566)), 4), 0.10566)
        for pdg_id, sign in ((13, 1), (-13, -1))
    ]
    write(
        tmp_path / "in.lhe",
        event((2, -1, 0, 0, 100, 100, 0), (-2, -1, 0, 0, -100, 100, 0), *muons),
        two_to_two((2, -2), (13, -13), alpha_qcd=0.1),
    )
    result = run(TO_Z_PRIME, tmp_path)
    ratio = ratio_of(tmp_path / "out.lhe")
    assert ratio[0] == pytest.approx(ratio[1], rel=1e-4)
    assert any("mu+ 0.1057 GeV, mu- 0.1057 GeV" in remark for remark in result.stages[0].remarks)
    assert any(remark.startswith("1 events do not say their alpha_s") for remark in result.stages[0].remarks)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("new = 'closd-form'\nold = 'closed-form'", "card.toml:6: .* new: .* 'closd-form'; did you mean 'closed-form'"),
        ("new = 'closed-form'", r"\[reweighting\] old: is missing"),
        ("new = { program = 'closed-form', model = 'm' }\nold = 'closed-form'", "say where .* one of them"),
        ("new = { parameters = {} }\nold = 'closed-form'", "say where .* one of them"),
        ("new = { model = 'm', parameters = {} }\nold = 'closed-form'", "parameters: a trained surrogate has what"),
        ("new = { program = 'closed-form', x = 1 }\nold = 'closed-form'", "new.x: unknown key"),
        (
            "old = 'closed-form'\nnew = { program = 'closed-form', parameters = { z_prim = { mass = 1 } } }",
            "card.toml:7: .* new.parameters.z_prim: unknown key; did you mean 'z_prime'",
        ),
        ("name = 'a b'\nnew = 'closed-form'\nold = 'closed-form'", "a name of a weight is one word"),
        ("new = 'closed-form'\nold = 'closed-form'\n[generator]\nplugin = 'cfm'", "follow what it learned"),
    ],
)
def test_a_card_that_cannot_be_run(text, message, tmp_path):
    with pytest.raises(CardError, match=message):
        run(f"[reweighting]\n{text}\n", tmp_path)


def test_a_surrogate_gives_an_approximate_weight(tmp_path):
    process = """
        [run]
        seed = 2
        events = 1000
        [process]
        reaction = "g g > t t~"
        energy = 13_000
        pdf = "NNPDF23_lo_as_0130_qed"
        matrix_element = "closed-form"
        [phase_space]
        plugin = "vegas"
        model = "models/vegas"
        budget = 20_000
        [output]
        files = ["in.lhe"]
    """
    amplitude = """
        [amplitude]
        plugin = "bnn"
        model = "models/tt"
        points = 3000
        test_points = 500
        uncertainty = "deterministic"
        units = 16
        layers = 2
        steps = 600
    """
    train_chain(plan_chain(parse_card(process + amplitude, "card.toml", tmp_path), training_only=True))
    run_chain(plan_chain(parse_card(process, "card.toml", tmp_path)))
    result = run("[reweighting]\nname = 'zp'\nnew = { model = 'models/tt' }\nold = 'closed-form'\n", tmp_path)
    assert result.exactness == result.stages[0].exactness == "approximate"
    ratio = ratio_of(tmp_path / "out.lhe")
    assert 0 < np.median(np.abs(ratio - 1)) < 0.01
    side = information(tmp_path / "out.lhe").provenance[-1]["stages"][0]["settings"]["new"]
    assert side["model"] == "models/tt"
    assert len(side["model_sha256"]) == 64
    # The other way round it is the inverse, and the outgoing order of the events is of no account.
    source = whole(tmp_path / "in.lhe")
    columns = source.columns()
    order = (4 * np.arange(len(source))[:, None] + [0, 1, 3, 2]).ravel()
    turned = EventBatch.from_columns(
        source.counts,
        {name: column[order] for name, column in columns.items()},
        weight=source.weight,
        alpha_qcd=source.alpha_qcd,
    )
    write(tmp_path / "turned.lhe", turned)
    run(
        "[reweighting]\nname = 'zp'\nold = { model = 'models/tt' }\nnew = 'closed-form'\n",
        tmp_path,
        events="turned.lhe",
    )
    np.testing.assert_allclose(ratio_of(tmp_path / "out.lhe"), 1 / ratio, rtol=1e-9)
    for folder, message in (("nothing", "new: .*nothing: there is no such folder"), ("vegas", "one of .phase_space")):
        with pytest.raises(ModelError, match=f"card.toml:7: .*{message}"):
            run(f"[reweighting]\nname = 'zp'\nnew = {{ model = 'models/{folder}' }}\nold = 'closed-form'\n", tmp_path)


def test_a_process_or_no_input_cannot_be_reweighted(tmp_path):
    process = "[process]\nreaction = 'e- e+ > mu- mu+'\nbeams = ['e-', 'e+']\nenergy = 10\n"
    for plan, text in (
        (plan_chain, process + TO_ITSELF + "[output]\nfiles = ['x.lhe']"),
        (plan_integration, process + TO_ITSELF),
    ):
        with pytest.raises(CardError, match=r"card.toml:5: \[reweighting\]: it takes events from a file"):
            plan(parse_card(text, "card.toml", tmp_path))
    with pytest.raises(CardError, match="no events to reweight"):
        plan_chain(parse_card(TO_ITSELF + "[output]\nfiles = ['x.lhe']", "card.toml", tmp_path))


def test_names_are_one_each(tmp_path):
    two = "[[reweighting]]\nnew = 'closed-form'\nold = 'closed-form'\n" * 2
    with pytest.raises(CardError, match=r"card.toml:8: .* two of the name 'mlgen.reweighted'"):
        run(two, tmp_path)
    write(tmp_path / "in.lhe", two_to_two((2, -2), (13, -13)))
    run(TO_Z_PRIME, tmp_path)
    with pytest.raises(CardError, match=r"card.toml:6: .* have a weight 'zp' already"):
        run(TO_Z_PRIME, tmp_path, events="out.lhe", outputs="'again.lhe'")


BOTTOM = two_to_two((5, -5), (13, -13))
MASSIVE_BOTTOM = event(
    (21, -1, 0, 0, 100, 100, 0),
    (21, -1, 0, 0, -100, 100, 0),
    (5, 1, 99.8895, 0, 0, 100, 4.7),
    (-5, 1, -99.8895, 0, 0, 100, 4.7),
)
LIGHT_BOTTOM = "{ program = 'closed-form', parameters = { mass = { b = 0 } } }"


@pytest.mark.parametrize(
    ("batch", "sides", "error", "message"),
    [
        (two_to_two((2, -2), (13, -11)), ("closed-form",) * 2, ProcessError, "event 2: .*u u~ > e[+] mu-"),
        (two_to_two((2, -2), (13, 1000021)), ("closed-form",) * 2, ProcessError, "event 2: .*PDG id 1000021"),
        (BOTTOM, ("closed-form",) * 2, InputError, "event 2: its incoming b .* mass = { b = 0 }"),
        (MASSIVE_BOTTOM, (LIGHT_BOTTOM,) * 2, InputError, "event 2: its b .* { b = 4.7 }.* negligible_mass = 4.7"),
        (
            event(*[(2, -1, 0, 0, s * 50, 50, 0) for s in (1, -1)], (13, 1, 0, 0, 0, 100, 0)),
            ("closed-form",) * 2,
            InputError,
            "event 2: it has 1 outgoing particles",
        ),
        (
            event((2, -1, 0, 0, 50, 50, 0), *[(13, 1, s * 50, 0, 0, 50, 0) for s in (1, -1)]),
            ("closed-form",) * 2,
            InputError,
            "event 2: it has 1 incoming particles",
        ),
        (
            event(
                (2, -1, 0, 0, 100, 100, 0),
                (-2, -1, 0, 0, -100, 100, 0),
                (13, 1, 90, 0, 0, 90, 0),
                (-13, 1, -90, 0, 0, 90, 0),
            ),
            ("closed-form",) * 2,
            InputError,
            "event 2: its momenta do not balance",
        ),
    ],
)
def test_an_event_without_a_matrix_element_is_named(batch, sides, error, message, tmp_path):
    write(tmp_path / "in.lhe", two_to_two((2, -2), (13, -13)), batch)

    def side(text):
        return text if text.startswith("{") else f"'{text}'"

    with pytest.raises(error, match=message) as caught:
        run(f"[reweighting]\nnew = {side(sides[0])}\nold = {side(sides[1])}\n", tmp_path)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out.lhe").exists()


def test_a_mass_can_be_given_or_left_out(tmp_path):
    write(tmp_path / "in.lhe", MASSIVE_BOTTOM)
    heavy = "{ program = 'closed-form', parameters = { mass = { b = 4.7 } } }"
    run(f"[reweighting]\nname = 'zp'\nnew = {heavy}\nold = 'closed-form'\n", tmp_path)
    assert ratio_of(tmp_path / "out.lhe")[0] == 1
    both = f"[reweighting]\nname = 'zp'\nnegligible_mass = 5\nnew = {LIGHT_BOTTOM}\nold = {LIGHT_BOTTOM}\n"
    result = run(both, tmp_path)
    assert ratio_of(tmp_path / "out.lhe")[0] == 1
    assert any("b 4.7 GeV" in remark for remark in result.stages[0].remarks)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([1.0, 0.0], WeightError, r"card.toml:8: .* old: event 3: \|M\|\^2 of u u~ > mu- mu[+] is 0 .* cannot have"),
        ([1.0, np.nan], WeightError, r"old: event 3: .* is nan"),
        ([-1.0, 1.0], WeightError, r"card.toml:7: .* new: event 3: .* is -1 "),
        ([np.inf, 1.0], WeightError, r"new: event 3: .* is inf"),
        ([np.float64(1e300), 1e-300], WeightError, "old: event 3"),
    ],
)
def test_values_that_give_no_weight_are_errors(values, error, message, tmp_path, monkeypatch):
    def broken(self, momenta, alpha_s):
        with_z_prime = any(exchange.mass == Z_PRIME["mass"] for exchange in self.exchanges)
        squared = np.ones(len(momenta))
        squared[np.abs(momenta[:, 2, 2]) < 1] = values[0 if with_z_prime else 1]
        return squared

    monkeypatch.setattr(ClosedForm, "evaluate", broken)
    good = two_to_two((2, -2), (13, -13))
    write(tmp_path / "in.lhe", good, good, two_to_two((2, -2), (13, -13), cosine=0.0), good)
    with pytest.raises(error, match=message):
        run(TO_Z_PRIME, tmp_path)


def test_a_source_that_fails_is_named(tmp_path, monkeypatch):
    write(tmp_path / "in.lhe", two_to_two((2, -2), (13, -13)))
    monkeypatch.setattr(ClosedForm, "evaluate", lambda self, momenta, alpha_s: np.ones(3))
    with pytest.raises(PluginFailure, match=r"'closed-form' of .* the shape \(3,\) for 1 points"):
        run(TO_Z_PRIME, tmp_path)
    monkeypatch.setattr(ClosedForm, "evaluate", lambda self, momenta, alpha_s: 1 // 0)
    with pytest.raises(PluginFailure, match=r"'closed-form' of .* ZeroDivisionError"):
        run(TO_Z_PRIME, tmp_path)


def test_shower_level_events_are_refused(tmp_path):
    (tmp_path / "in.hepmc3").write_text(
        "HepMC::Version 3.02.06\nHepMC::Asciiv3-START_EVENT_LISTING\nE 0 1 4\nU GEV MM\nW 1.0\n"
        "P 1 0 2 0 0 100 100 0 4\nP 2 0 -2 0 0 -100 100 0 4\nV -1 0 [1,2]\n"
        "P 3 -1 13 100 0 0 100 0 1\nP 4 -1 -13 -100 0 0 100 0 1\nHepMC::Asciiv3-END_EVENT_LISTING\n"
    )
    with pytest.raises(InputError, match="event 1: it is shower-level"):
        run(TO_ITSELF, tmp_path, events="in.hepmc3")


def test_the_reweighting_example(examples, tmp_path):
    for name in ("drell_yan.toml", "reweight_z_prime.toml"):
        text = (examples / name).read_text().replace("events = 10_000", "events = 500")
        run_chain(plan_chain(parse_card(text, name, tmp_path)))
    batch = whole(tmp_path / "drell_yan.z_prime.lhe.gz")
    assert len(batch) == 500
    assert np.isfinite(batch.variations["z_prime"]).all()
