from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from mlgen.hard_process.parameters import ModelParameters, ZPrime
from mlgen.hard_process.settings import ChannelSettings, CutSettings, ProcessSettings, mass_scale

TTG: dict[str, Any] = {"reaction": "g g > t t~ g", "energy": 13_000, "pdf": "NNPDF23_lo_as_0130_qed"}
LEPTONS: dict[str, Any] = {"reaction": "e- e+ > mu- mu+", "energy": 91.2, "beams": ["e-", "e+"]}


def settings(**changed: Any) -> ProcessSettings:
    return ProcessSettings.model_validate({**TTG, **changed})


def test_defaults() -> None:
    process = settings()
    assert process.beams == ("p", "p")
    assert process.has_protons
    assert process.fixed_alpha_s is None
    assert process.scales == ("ht/2", "ht/2")
    assert process.matrix_element is None
    assert process.parameters.mass_of(6) == 173.0
    assert process.channels.only is None
    leptons = ProcessSettings.model_validate(LEPTONS)
    assert not leptons.has_protons
    assert leptons.fixed_alpha_s == 0.118


@pytest.mark.parametrize(
    "process",
    [
        settings(),
        settings(factorisation_scale=100, renormalisation_scale="m(t)", alpha_s=0.12),
        settings(
            cuts={"pt": {"j": 20, "mu+": [25, 500]}, "mass": {"mu+ mu-": 50}, "delta_r": {"j j": 0.4}},
            labels={"p": "p b b~"},
            parameters={"mass": {"t": 172.5}, "width": {"z": 2.5}, "z_prime": {"mass": 400, "width": 0.5}},
            channels={"only": "z(mu+ mu-)", "drop": ["a(mu+ mu-)"]},
            matrix_element={"program": "amplicol", "optimisation": 2},
        ),
        ProcessSettings.model_validate(LEPTONS),
    ],
)
def test_settings_survive_json(process: ProcessSettings) -> None:
    assert ProcessSettings.model_validate(json.loads(process.model_dump_json())) == process
    assert ProcessSettings.model_validate(process.model_dump()) == process


def test_own_masses_leave_the_others_alone() -> None:
    parameters = settings(parameters={"mass": {"t": 172.5}, "z_prime": {"mass": 400, "width": 0.5}}).parameters
    assert (parameters.mass_of(-6), parameters.mass_of(23)) == (172.5, 91.188)
    assert (parameters.mass_of(32), parameters.width_of(32)) == (400, 0.5)
    assert parameters.z_prime is not None
    assert parameters.z_prime.coupling == 1


def test_scales_for_each_purpose() -> None:
    assert settings(scale=173).scales == (173.0, 173.0)
    assert settings(scale="HT", renormalisation_scale="M( z )").scales == ("ht", "m(z)")
    assert settings(scale="HT / 2").scales == ("ht/2", "ht/2")
    assert mass_scale("m(z)") == "z"
    assert mass_scale("ht") is None


def test_matrix_element_by_name_or_with_settings() -> None:
    by_name = settings(matrix_element="amplicol").matrix_element
    with_settings = settings(matrix_element={"program": "amplicol", "color": "full"}).matrix_element
    assert by_name is not None
    assert with_settings is not None
    assert (by_name.program, by_name.settings) == ("amplicol", {})
    assert (with_settings.program, with_settings.settings) == ("amplicol", {"color": "full"})


def test_cuts_are_numbers_or_pairs() -> None:
    cuts = settings(cuts={"pt": {"g": 20}, "mass": {"t t~": [400, 600], "t t~ g": 500}}).cuts
    assert cuts.pt == {"g": 20.0}
    assert cuts.mass == {"t t~": (400.0, 600.0), "t t~ g": 500.0}
    assert cuts.eta == {}


@pytest.mark.parametrize(
    ("changed", "where", "message"),
    [
        ({"energy": -1}, "energy", "greater than 0"),
        ({"energy": float("inf")}, "energy", "finite"),
        ({"beams": "pp"}, "beams", "'pp' are no two beams"),
        ({"beams": ["p", "p", "p"]}, "beams", "are no two beams"),
        ({"beams": ["p", "n"]}, "beams", "there is no beam 'n'"),
        ({"beams": ["p", "e-"]}, "beams", "p on e- is not supported"),
        ({"pdf": None}, "", "need parton densities; name an LHAPDF set"),
        ({"beams": ["e-", "e+"]}, "", "pdf = 'NNPDF23_lo_as_0130_qed' has no effect"),
        ({"beams": ["e-", "e+"], "pdf": None, "alpha_s": "pdf"}, "", "no parton densities to take it from"),
        ({"scale": "ht/3"}, "scale", "'ht/3' is no scale; did you mean 'ht/2'.*; expected is"),
        ({"scale": -5.0}, "scale", "greater than 0"),
        ({"scale": "m(zz)"}, "scale", "no particle is called 'zz'; did you mean 'z'"),
        ({"scale": 0}, "scale", "greater than 0"),
        ({"renormalisation_scale": True}, "renormalisation_scale", "is no scale"),
        ({"scale": 91.0, "factorisation_scale": 1.0, "renormalisation_scale": 2.0}, "", "scale has no effect"),
        ({"alpha_s": "run"}, "alpha_s", "is no alpha_s; expected is a number greater than 0, or 'pdf'"),
        ({"labels": {"x": "u qq"}}, "labels", "label 'x': no particle or label is called 'qq'"),
        ({"parameters": {"mass": {"w": 80}}}, "parameters.mass", "the mass of the W follows"),
        ({"parameters": {"mass": {"tt": 80}}}, "parameters.mass", "called 'tt'; did you mean 't'"),
        ({"parameters": {"mass": {"t": -1}}}, "parameters.mass", "t = -1"),
        ({"parameters": {"z_prime": {"mass": 400, "width": 0}}}, "parameters.z_prime.width", "greater than 0"),
        ({"cuts": {"pt": {"j": [50, 20]}}}, "cuts.pt.j", "leaves no phase space"),
        ({"cuts": {"pt": {"j": "big"}}}, "cuts.pt.j", "is no cut; expected is a number, or"),
        ({"cuts": {"eta": {"j": -5}}}, "cuts.eta.j", "not negative"),
        ({"cuts": {"eta": {"j": [1, 2, 3]}}}, "cuts.eta.j", "is no cut"),
        ({"cuts": {"pt": {"j": float("nan")}}}, "cuts.pt.j", "not negative"),
        ({"cuts": {"mass": {"j j": float("inf")}}}, "cuts.mass.j j", "only a maximum is 'inf'"),
        ({"cuts": {"eta": {"j": 0}}}, "cuts", "leaves no phase space"),
        ({"cuts": {"pt": {"j j": 20}}}, "cuts", "takes one particle, not 2"),
        ({"cuts": {"delta_r": {"j": 0.4}}}, "cuts", "takes two particles, not 1"),
        ({"cuts": {"mass": {"j": 50}}}, "cuts", "takes two particles or more, not 1"),
        ({"cuts": {"pT": {"j": 50}}}, "cuts.pT", "Extra inputs"),
        ({"cutz": {}}, "cutz", "Extra inputs"),
    ],
)
def test_what_is_not_allowed_is_refused_in_words(changed: dict[str, Any], where: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as error:
        settings(**changed)
    problems = error.value.errors()
    assert [".".join(map(str, problem["loc"])) for problem in problems] == [where]


@pytest.mark.parametrize("model", [ProcessSettings, ModelParameters, ZPrime, CutSettings, ChannelSettings])
def test_every_setting_has_a_description(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, name


def test_settings_load_no_heavy_library() -> None:
    code = (
        "import sys, mlgen.hard_process.settings, mlgen.hard_process.reaction;"
        "print([m for m in ('madspace', 'torch', 'numpy', 'pyamplicol', 'vegas') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
