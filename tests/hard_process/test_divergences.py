"""Which reactions are infinite without cuts, and which cuts make them finite."""

import pytest

from mlgen.errors import ProcessError
from mlgen.hard_process.divergences import Kind, as_toml, completed_cuts, divergences, refuse_divergences
from mlgen.hard_process.reaction import reaction_of
from mlgen.hard_process.settings import CutSettings, ProcessSettings

MASS, JETS, SEPARATION = {"mass": {"mu+ mu-": 50}}, {"pt": {"j": 20}}, {"delta_r": {"j j": 0.4}}


def settings_of(text, cuts):
    if text.startswith("e"):
        beams = {"beams": text.split()[:2], "energy": 500}
    else:
        # Bottom quarks without mass, so that a beam may hold them.
        label = "g u d s c b u~ d~ s~ c~ b~" if "b >" in text else "g u d s c u~ d~ s~ c~"
        beams = {"energy": 13_000, "pdf": "any", "labels": {"p": label}}
    return ProcessSettings(reaction=text, cuts=cuts, **beams)


FINITE = [
    # 18.7 pb without a cut on the electron, 17.7 with pT > 1 GeV: a soft one does no harm.
    ("p p > e+ ve a", {"pt": {"a": 20}, "delta_r": {"e+ a": 0.4}}),
    ("p p > mu+ mu-", MASS),
    ("p p > w+ w-", {}),
    ("p p > z z", {}),
    ("p p > t t~", {}),
    ("p p > b b~", {}),
    ("g g > t t~", {}),
    ("p p > mu+ vm", {}),
    ("p p > vl vl~", {}),
    # A heavy particle between the line and what goes out.
    ("p p > e+ ve mu- vm~", {}),
    ("p p > e+ ve j", JETS),
    ("p p > e+ ve j j", JETS | SEPARATION),
    ("u b > d t", {}),
    ("u u~ > z a", {"pt": {"a": 20}}),
    # Both have the same transverse momentum.
    ("u u~ > z a", {"pt": {"z": 20}}),
    ("u u~ > z a", {"eta": {"a": 2}, "mass": {"z a": 120}}),
    ("g g > t t~ g", {"pt": {"g": 20}}),
    ("g g > t t~ g g", {"pt": {"g": 20}, "delta_r": {"g g": 0.4}}),
    ("g g > t t~ g g", {"pt": {"g": 20}, "mass": {"g g": 10}}),
    ("p p > mu+ mu- j", MASS | JETS),
    ("p p > mu+ mu- j j", MASS | JETS | SEPARATION),
    ("p p > j j", JETS),
    ("p p > j j", {"eta": {"j": 3}, "mass": {"j j": 50}}),
    ("e+ e- > ve ve~", {}),
    ("e+ e- > mu+ mu-", {}),
    ("e+ e- > j j", {}),
    ("e+ e- > w+ w-", {}),
    ("e+ e- > e+ e-", {"eta": {"e+": 2.5}}),
    ("e+ e- > e+ e-", {"pt": {"e-": 5}}),
    ("e+ e- > a a", {"eta": {"a": 2.5}}),
    # A soft electron does no harm.
    ("e+ e- > e+ ve w-", {"eta": {"e+": 2.5}}),
]
INFINITE = [
    ("p p > mu+ mu-", {}, Kind.SPLITTING, ("mu+", "mu-"), MASS),
    ("p p > mu+ mu-", {"pt": {"mu+": [0, 90]}, "eta": {"mu+": 2}}, Kind.SPLITTING, ("mu+", "mu-"), MASS),
    ("p p > j j", {}, Kind.EXCHANGE, ("g",), JETS),
    ("p p > j j", {"eta": {"j": 3}}, Kind.SPLITTING, ("g", "g"), JETS),
    ("u u~ > z a", {}, Kind.EXCHANGE, ("a",), {"pt": {"a": 20}}),
    # The photon may be soft, or the Z slow where it goes along with the beam.
    ("u u~ > z a", {"eta": {"a": 2}}, Kind.EXCHANGE, ("a",), {"pt": {"a": 20}}),
    ("u u~ > z a", {"eta": {"z": 2}, "mass": {"z a": 120}}, Kind.EXCHANGE, ("a",), {"pt": {"a": 20}}),
    ("g g > t t~ g", {}, Kind.EXCHANGE, ("g",), {"pt": {"g": 20}}),
    ("g g > t t~ g", {"eta": {"g": 3}}, Kind.EXCHANGE, ("g",), {"pt": {"g": 20}}),
    ("g g > t t~ g g", {"pt": {"g": 20}}, Kind.SPLITTING, ("g", "g"), {"delta_r": {"g g": 0.4}}),
    ("p p > mu+ mu- j", MASS, Kind.EXCHANGE, ("u",), JETS),
    ("p p > mu+ mu- j", JETS, Kind.SPLITTING, ("mu+", "mu-"), MASS),
    ("p p > z j j", JETS, Kind.SPLITTING, ("g", "u"), SEPARATION),
    ("e+ e- > e+ e-", {}, Kind.EXCHANGE, ("e+",), {"pt": {"e+": 10, "e-": 10}}),
    ("e+ e- > t t~ g", {}, Kind.SOFT, ("g",), {"pt": {"g": 10}}),
    ("e+ e- > mu+ mu- ta+ ta-", {}, Kind.SPLITTING, ("mu+", "mu-"), {"mass": {"mu+ mu-": 10}}),
    (
        "e+ e- > mu+ mu- mu+ mu-",
        {},
        Kind.SPLITTING,
        ("mu+", "mu-"),
        {"mass": {"mu+ mu-": 10}},
    ),
]


@pytest.mark.parametrize(("text", "cuts"), FINITE)
def test_finite(text, cuts):
    settings = settings_of(text, cuts)
    reaction = reaction_of(settings)
    refuse_divergences(reaction, settings)
    assert completed_cuts(reaction, settings) == settings.cuts


@pytest.mark.parametrize(("text", "cuts", "kind", "particles", "remedy"), INFINITE)
def test_infinite(text, cuts, kind, particles, remedy):
    settings = settings_of(text, cuts)
    reaction = reaction_of(settings)
    found = list(divergences(reaction, settings.cuts, protons=settings.has_protons))
    assert any(one.kind is kind and f" {' '.join(particles)} " in f"{one.words()} " for one in found)
    with pytest.raises(ProcessError, match="the cross section is infinite") as caught:
        refuse_divergences(reaction, settings)
    # What is suggested is all that is needed.
    completed = completed_cuts(reaction, settings)
    refuse_divergences(reaction, settings.model_copy(update={"cuts": completed}))
    for observable, bounds in CutSettings.model_validate(remedy):
        for key, bound in bounds.items():
            assert getattr(completed, observable)[key] == bound
        if bounds:
            assert as_toml(observable, getattr(completed, observable)) in str(caught.value)


def test_a_suggestion_respects_what_the_card_has():
    settings = settings_of("p p > t t~ j", {"pt": {"t": 30, "j": [0, 30]}})
    with pytest.raises(ProcessError) as caught:
        refuse_divergences(reaction_of(settings), settings)
    assert "pt = { t = 30, j = [15, 30] }" in str(caught.value)


def test_suggestions_fit_the_energy():
    settings = settings_of("e+ e- > e+ e-", {}).model_copy(update={"energy": 12.0})
    assert completed_cuts(reaction_of(settings), settings).pt == {"e+": 1.0, "e-": 1.0}
