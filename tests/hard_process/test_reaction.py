from __future__ import annotations

import itertools
import re

import pytest

from mlgen.errors import ProcessError
from mlgen.hard_process.parameters import ModelParameters, ZPrime
from mlgen.hard_process.particles import find_particle, particle_of
from mlgen.hard_process.reaction import Reaction, parse_reaction, reaction_of
from mlgen.hard_process.settings import ProcessSettings
from mlgen.hard_process.subprocess import Subprocess

PARAMETERS = ModelParameters()
PP = ("p", "p")
QUARKS = (1, 2, 3, 4)


def parse(
    text: str,
    beams: tuple[str, str] = PP,
    *,
    parameters: ModelParameters = PARAMETERS,
    labels: dict[str, str] | None = None,
) -> Reaction:
    return parse_reaction(text, beams, parameters, labels)


def ids(text: str) -> tuple[int, ...]:
    return tuple(find_particle(name).pdg_id for name in text.split())


def test_reaction_of_definite_particles_stands_for_itself_alone() -> None:
    reaction = parse("  g g   >t t~ g ")
    assert reaction.text == "g g > t t~ g"
    assert reaction.subprocesses == (Subprocess((21, 21), (6, -6, 21)),)
    assert reaction.slots == ("g", "g", "t", "t~", "g")
    assert reaction.masses == (0, 0, 173, 173, 0)
    assert reaction.outgoing == 3
    assert reaction.coupling_orders == (3, 0)
    assert reaction.remarks == ()
    assert parse("d d~ > mu- mu+").subprocesses == (Subprocess((1, -1), (13, -13)),)


def test_drell_yan_with_a_jet_is_every_crossing_of_each_flavour() -> None:
    reaction = parse("p p > mu+ mu- j")
    expected = set()
    for quark in QUARKS:
        expected |= {((quark, -quark), 21), ((-quark, quark), 21)}
        for parton in (quark, -quark):
            expected |= {((parton, 21), parton), ((21, parton), parton)}
    assert {(s.incoming, s.outgoing[2]) for s in reaction.subprocesses} == expected
    assert len(reaction.subprocesses) == 24
    assert all(s.outgoing[:2] == (-13, 13) for s in reaction.subprocesses)
    assert reaction.coupling_orders == (1, 2)


@pytest.mark.physics
def test_two_jets_are_the_65_subprocesses_of_madgraph() -> None:
    """MadGraph lists 65 for p p > j j, the two orders of the incoming particles as one."""
    subprocesses = parse("p p > j j").subprocesses
    assert len({(tuple(sorted(s.incoming)), tuple(sorted(s.outgoing))) for s in subprocesses}) == 65
    # Every one with different incoming particles is there in both orders: 65 + 52 of those.
    assert len(subprocesses) == 117
    mirrored = {Subprocess((s.incoming[1], s.incoming[0]), s.outgoing) for s in subprocesses}
    assert mirrored == set(subprocesses)


def test_outgoing_particles_are_there_once_whatever_their_order() -> None:
    for text in ("p p > j j", "p p > j p"):
        subprocesses = parse(text).subprocesses
        assert len({(s.incoming, tuple(sorted(s.outgoing))) for s in subprocesses}) == len(subprocesses) == 117
    assert Subprocess((2, 21), (21, 2)) in parse("p p > j j").subprocesses


def test_charged_current_sums_flavours_of_both_leptons() -> None:
    reaction = parse("p p > l+ vl")
    expected = {
        (pair, lepton)
        for pair in itertools.chain.from_iterable(((up, down), (down, up)) for up, down in ((2, -1), (4, -3)))
        for lepton in ((-11, 12), (-13, 14))
    }
    assert {(s.incoming, s.outgoing) for s in reaction.subprocesses} == expected


def test_subprocesses_of_higher_order_are_dropped() -> None:
    # u d~ > c s~ needs two W couplings, everything with a gluon line none.
    two_jets = {(s.incoming, frozenset(s.outgoing)) for s in parse("p p > j j").subprocesses}
    assert ((2, -1), frozenset(ids("c s~"))) not in two_jets
    assert ((2, -1), frozenset(ids("u d~"))) in two_jets
    # Asked for alone it is there, by its W.
    assert parse("u d~ > c s~").coupling_orders == (0, 2)


def test_own_labels_and_a_bottom_in_the_proton() -> None:
    reaction = parse("p p > mu+ mu-", labels={"p": "p b b~"})
    assert len(reaction.subprocesses) == 10
    assert reaction.parameters.mass_of(5) == 0
    assert PARAMETERS.mass_of(5) == 4.7
    assert reaction.remarks == ("The bottom quark is massless: it is in the label p.",)
    assert find_particle("b") in reaction.labels["p"]


def test_bottom_with_a_mass_of_the_users_own_is_refused_in_a_jet() -> None:
    with pytest.raises(ProcessError, match=r'b = 4.2 }, but the label j = "j b b~" holds the bottom quark'):
        parse("p p > j j", parameters=ModelParameters(mass={"b": 4.2}), labels={"j": "j b b~"})


def test_explicit_massless_bottom_may_come_in() -> None:
    assert parse("b b~ > mu+ mu-", parameters=ModelParameters(mass={"b": 0})).masses == (0, 0, 0, 0)
    with pytest.raises(ProcessError, match=r"particle 1, b, has a mass of 4.7 GeV.*mass = { b = 0 }"):
        parse("b b~ > mu+ mu-")


def test_lepton_beams_are_the_incoming_particles() -> None:
    assert parse("e- e+ > mu- mu+", ("e-", "e+")).coupling_orders == (0, 2)
    with pytest.raises(ProcessError, match=r"beam 1 is e-, but incoming particle 1 is e\+; write e- there"):
        parse("e+ e- > mu- mu+", ("e-", "e+"))
    with pytest.raises(ProcessError, match=r"incoming particle 2 is g of p"):
        parse("e- p > e- j", ("e-", "e+"))


def test_slots_of_unequal_mass_are_refused() -> None:
    with pytest.raises(ProcessError, match=r"particle 3, ll, stands for .* \(mu- 0 GeV, ta- 1.777 GeV\)"):
        parse("u u~ > ll lr", labels={"ll": "mu- ta-", "lr": "mu+ ta+"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("g g t t~", "there is no '>'"),
        ("g g > t t~ > b", "there are 2 '>'"),
        ("z > mu+ mu-", "this is a decay, of which mlgen computes none"),
        ("> mu+ mu-", "there are 0 incoming particles"),
        ("g g g > t t~", "there are 3 incoming particles"),
        ("g g >", "there is no outgoing particle"),
        ("u u~ > z", "two particles into one have no phase space"),
        ("p p > t t~, t > w+ b", "decay chains .* are not supported"),
        ("p p > mu+ mu- / a", "excluded particles .* are not supported"),
        ("p p > t t~ QED=2", "coupling orders .* the lowest order is taken"),
        ("p p > t t~ [QCD]", "only tree level is computed"),
        ("g g > t t~ G", "'G'; did you mean 'g'"),
        ("p p > zp j", "no Z' .* z_prime = { mass"),
        ("mu+ mu- > z z", "beam 1 is p, which holds no mu[+]"),
        ("t g > t g", "beam 1 is p, which holds no t"),
    ],
)
def test_what_is_no_reaction_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(ProcessError, match=message):
        parse(text)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "u u~ > mu+ mu+",
            ["electric charge: 0 comes in, [+]2 goes out, a change of [+]2$", "muon number: 0 .* of -2"],
        ),
        ("u d > u u", ["electric charge: [+]1/3 comes in, [+]4/3 goes out, a change of [+]1$"]),
        ("u u~ > e- mu+", ["electron number: 0 .* of [+]1", "muon number: 0 .* of -1"]),
        ("u u > d~ e+", ["baryon number: [+]2/3 comes in, -1/3 goes out, a change of -1$", "electron number"]),
        ("g g > ve vt~", ["electron number", "tau number"]),
        ("a g > mu- mu+", ["colour: one octet, g, comes in"]),
        ("a a > mu- mu+ g", ["colour: one octet, g, goes out"]),
    ],
)
def test_violated_conservation_laws_are_named_with_their_amount(text: str, lines: list[str]) -> None:
    with pytest.raises(ProcessError, match="is impossible; not conserved is") as error:
        parse(text)
    listed = str(error.value).split("\n")[1:]
    assert len(listed) == len(lines)
    for found, expected in zip(listed, lines, strict=True):
        assert re.match(rf"  {expected}", found), found


def test_labels_without_any_possible_subprocess_show_the_nearest_miss() -> None:
    with pytest.raises(ProcessError, match=r"impossible in all its 81 subprocesses; in g g > e\+ mu- not conserved"):
        parse("p p > e+ mu-")


def test_no_diagram_is_an_error() -> None:
    with pytest.raises(ProcessError, match=r"u c~ > mu\+ mu-: no diagram at tree level\. .* would be conserved"):
        parse("u c~ > mu+ mu-")
    with pytest.raises(ProcessError, match="no diagram at tree level in any of 4 subprocesses"):
        parse("p p > t t")


def test_every_subprocess_conserves_charge() -> None:
    for subprocess in parse("p p > mu+ mu- j j").subprocesses:
        incoming, outgoing = (
            sum(particle_of(pdg_id).charge_thirds for pdg_id in side)
            for side in (subprocess.incoming, subprocess.outgoing)
        )
        assert incoming == outgoing


def settings(text: str, energy: float = 13_000, **parameters: object) -> ProcessSettings:
    return ProcessSettings.model_validate(
        {"reaction": text, "energy": energy, "pdf": "NNPDF23_lo_as_0130_qed", "parameters": parameters}
    )


def test_energy_below_threshold_is_refused() -> None:
    with pytest.raises(ProcessError, match=r"a mass of 346 GeV together, .* energy of 300 GeV"):
        reaction_of(settings("p p > t t~", 300))
    assert len(reaction_of(settings("p p > t t~", 400)).subprocesses) == 9


def test_z_prime_can_be_asked_for() -> None:
    parameters = ModelParameters(z_prime=ZPrime(mass=400, width=0.5))
    assert parse("p p > zp j", parameters=parameters).masses[2] == 400
