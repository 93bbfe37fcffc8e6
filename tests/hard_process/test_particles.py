from __future__ import annotations

import re
from typing import Any

import pytest

from mlgen.errors import ProcessError
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.particles import (
    DEFAULT_LABELS,
    find_particle,
    particle_of,
    particles_named,
    resolve_labels,
)

GHOSTS_AND_GOLDSTONES = 250


@pytest.mark.physics
def test_particles_are_those_of_madgraph(madgraph_model: dict[str, Any]) -> None:
    compared = 0
    for theirs in madgraph_model["particles"]:
        if abs(theirs["pdg_code"]) >= GHOSTS_AND_GOLDSTONES:
            continue
        ours = find_particle(theirs["name"].lower())
        assert ours.pdg_id == theirs["pdg_code"]
        assert ours.antiname == theirs["antiname"].lower()
        assert ours.charge_thirds == pytest.approx(3 * theirs["charge"])
        assert ours.color == theirs["color"]
        assert ours.two_spin + 1 == theirs["spin"]
        assert sum(ours.lepton_flavors) == theirs["lepton_number"]
        assert ours.baryon_thirds == {3: 1, -3: -1}.get(theirs["color"], 0)
        compared += 1
    assert compared == 12 + 12 + 6  # quarks, leptons, and g a z w+ w- h


@pytest.mark.physics
def test_parameters_are_those_of_madgraph(madgraph_model: dict[str, Any]) -> None:
    theirs = {name: value[0] for name, value in madgraph_model["restriction"].items()}
    ours = ModelParameters()
    assert ours.alpha_em_inverse == theirs["aEWM1"]
    assert ours.fermi_constant == theirs["Gf"]
    for particle in madgraph_model["particles"]:
        pdg_id = particle["pdg_code"]
        if abs(pdg_id) >= GHOSTS_AND_GOLDSTONES or abs(pdg_id) == 24:
            continue
        assert ours.mass_of(pdg_id) == theirs.get(particle["mass"], 0.0), particle["name"]
        assert ours.width_of(pdg_id) == theirs.get(particle["width"], 0.0), particle["name"]
    assert ours.width_of(-24) == theirs["WW"]


@pytest.mark.physics
def test_mass_of_the_w_is_that_of_madgraph() -> None:
    # The param_card of every MadGraph process with the model sm says so.
    assert ModelParameters().mass_w == pytest.approx(80.419002, abs=1e-6)
    assert ModelParameters().mass_of(24) == ModelParameters().mass_w


def test_sine_of_the_mixing_angle_relates_the_two_definitions() -> None:
    r"""G_F / sqrt 2 = pi alpha / (2 m_W^2 sin^2), the relation that the scheme rests on."""
    parameters = ModelParameters()
    fermi = 3.141592653589793 * parameters.alpha_em / (2**0.5 * parameters.mass_w**2 * parameters.sin2_theta_w)
    assert fermi == pytest.approx(parameters.fermi_constant, rel=1e-12)


def test_antiparticle_of_antiparticle_is_the_particle() -> None:
    for name in ("u", "t~", "e-", "vt", "g", "w-", "zp"):
        particle = find_particle(name)
        assert particle.anti.anti == particle
        assert particle_of(particle.pdg_id) == particle
    assert find_particle("g").anti is find_particle("g")


@pytest.mark.parametrize(
    ("name", "meant"), [("G", "g"), ("tau-", "ta-"), ("gamma", "a"), ("u-", "mu-"), ("W+", "w+"), ("t~~", "t~")]
)
def test_unknown_particle_is_an_error_with_the_nearest_name(name: str, meant: str) -> None:
    with pytest.raises(ProcessError, match=re.escape(f"called '{name}'; did you mean '{meant}'")) as error:
        find_particle(name)
    assert "ve~" in str(error.value)  # and all there are


def test_unknown_pdg_id_is_an_error_with_those_there_are() -> None:
    with pytest.raises(ProcessError, match=r"PDG id 42; there are: .* 21 22"):
        particle_of(42)


def test_default_labels_hold_antiparticles_and_no_bottom() -> None:
    labels = resolve_labels()
    assert set(labels) == set(DEFAULT_LABELS)
    assert sorted(particle.pdg_id for particle in labels["p"]) == [-4, -3, -2, -1, 1, 2, 3, 4, 21]
    assert labels["j"] == labels["p"]
    assert [particle.name for particle in labels["l+"]] == ["e+", "mu+"]


def test_a_label_may_name_labels_and_itself() -> None:
    labels = resolve_labels({"p": "p b b~", "q": "p, t t~", "once": "u u j"})
    assert [particle.name for particle in labels["p"]][-2:] == ["b", "b~"]
    assert labels["q"][: len(labels["p"])] == labels["p"]
    assert len(labels["once"]) == len(labels["j"])
    assert len(labels["j"]) == 9
    assert particles_named("q", labels) == labels["q"]
    assert particles_named("t", labels) == (find_particle("t"),)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"u": "d s"}, "'u' has the name of a particle"),
        ({"x": "  "}, "'x' stands for nothing"),
        ({"x": "u jj"}, "label 'x': no particle or label is called 'jj'; did you mean 'j'"),
        ({"p": "g u d"}, "a proton holds the antiparticle of each of its quarks too; add u~ d~"),
        ({"a b": "u"}, "'a b' is no name of a label"),
    ],
)
def test_labels_that_make_no_sense_are_errors(labels: dict[str, str], message: str) -> None:
    with pytest.raises(ProcessError, match=message):
        resolve_labels(labels)
