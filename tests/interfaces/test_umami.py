"""UMAMI libraries: one that is compiled here, one that pyAmpliCol writes, and folders as MadGraph lays them out."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess as processes
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from mlgen.errors import ProcessError
from mlgen.hard_process.closed_forms import closed_form
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.particles import find_particle
from mlgen.hard_process.subprocess import Subprocess
from mlgen.plugins import plugin_manager
from mlgen_madgraph import UmamiSettings
from mlgen_madgraph.source import UmamiMatrixElements

PARAMETERS = ModelParameters()

#: g g > t t~ with the closed form of Combridge, as a library: flavour 1 is twice flavour 0, so that it shows which is
#: asked for; the colour index is 0 below a random number of 0.25. The interface is declared as the UMAMI paper has it.
SOURCE = r"""
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <stdio.h>
enum { SUCCESS, ERROR, NOT_IMPLEMENTED, UNSUPPORTED_INPUT, UNSUPPORTED_OUTPUT, UNINITIALIZED, UNSUPPORTED_META };
int umami_get_meta(int key, void* result) {
    static const int values[] = {0, 4, 3, 16, 2};
    if (key < 0 || key > 4) return UNSUPPORTED_META;
    *(int*)result = values[key];
    return SUCCESS;
}
int umami_initialize(void** handle, char const* card) {
    FILE* file = fopen(card, "r");
    char line[256];
    double mass = -1, value;
    if (!file) return ERROR;
    while (fgets(line, sizeof line, file)) if (sscanf(line, " 6 %lf", &value) == 1) mass = value;
    fclose(file);
    if (mass < 0) return ERROR;
    *handle = malloc(sizeof(double));
    *(double*)*handle = mass;
    return SUCCESS;
}
int umami_free(void* handle) { free(handle); return SUCCESS; }
int umami_matrix_element(void* handle, size_t count, size_t stride, size_t offset, size_t n_in, int const* in_keys,
                         void const* const* in, size_t n_out, int const* out_keys, void* const* out) {
    double const *p = 0, *alpha_s = 0, *random = 0;
    int const* flavor = 0;
    double mass = *(double*)handle;
    for (size_t i = 0; i < n_in; ++i) switch (in_keys[i]) {
        case 0: p = in[i]; break;
        case 1: alpha_s = in[i]; break;
        case 2: flavor = in[i]; break;
        case 3: random = in[i]; break;
        default: return UNSUPPORTED_INPUT;
    }
    for (size_t k = offset; k < offset + count; ++k) {
#define P(particle, component) p[k + stride * ((particle) + 4 * (component))]
#define DOT(a, b) (P(a,0)*P(b,0) - P(a,1)*P(b,1) - P(a,2)*P(b,2) - P(a,3)*P(b,3))
        double s = 2 * DOT(0, 1), t1 = 2 * DOT(0, 2) / s, t2 = 2 * DOT(1, 2) / s, rho = 4 * mass * mass / s;
        double g2 = 4 * M_PI * alpha_s[k];
        double value = g2 * g2 * (1 / (6*t1*t2) - 0.375) * (t1*t1 + t2*t2 + rho - rho*rho / (4*t1*t2));
        for (size_t i = 0; i < n_out; ++i) switch (out_keys[i]) {
            case 0: ((double*)out[i])[k] = value * (flavor && flavor[k] == 1 ? 2 : 1); break;
            case 2: ((int*)out[i])[k] = random && random[k] < 0.25 ? 0 : 1; break;
            default: return UNSUPPORTED_OUTPUT;
        }
    }
    return SUCCESS;
}
"""

CARD = """\
BLOCK SMINPUTS # inputs
    1 1.32507e+02 # aEWM1
BLOCK MASS # masses
    5 4.7 # MB
    6 {top} # MT
DECAY 6 1.4915 # WT
"""

FLOWS = [[[501, 502], [502, 503], [501, 0], [0, 503]], [[502, 503], [501, 502], [501, 0], [0, 503]]]


def subprocess_of(reaction: str) -> Subprocess:
    incoming, outgoing = ([find_particle(name).pdg_id for name in side.split()] for side in reaction.split(">"))
    return Subprocess((incoming[0], incoming[1]), tuple(outgoing))


def momenta_of(masses, n=40, energy=900.0) -> np.ndarray:
    import madspace

    mapping = madspace.PhaseSpaceMapping([0.0, 0.0, *masses], energy, mode="rambo", leptonic=True)
    uniform = np.random.default_rng(3).uniform(0.02, 0.98, (n, mapping.random_dim()))
    return np.ascontiguousarray(np.asarray(mapping.map_forward([uniform])[0])[..., [1, 2, 3, 0]])


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("umami")
    (folder / "gg_tt.c").write_text(SOURCE)
    library = folder / "libgg_tt.so"
    processes.run(
        [compiler, "-std=gnu11", "-O1", "-shared", "-fPIC", "-o", str(library), str(folder / "gg_tt.c"), "-lm"],
        check=True,
    )
    return library


@pytest.fixture
def card(tmp_path) -> Path:
    path = tmp_path / "param_card.dat"
    path.write_text(CARD.format(top=173.0))
    return path


@pytest.fixture
def madgraph_folder(tmp_path, compiled) -> Path:
    """A folder as MadGraph 7 lays it out, with two sets of flavours in one library."""
    folder = tmp_path / "PROC"
    (folder / "SubProcesses").mkdir(parents=True)
    (folder / "Cards").mkdir()
    (folder / "lib").mkdir()
    shutil.copy(compiled, folder / "lib" / "libgg_tt_cpu.so")
    (folder / "Cards" / "param_card.dat").write_text(CARD.format(top=173.0))
    record = {
        "incoming": [21, 21],
        "outgoing": [6, -6],
        "me_path": "lib/libgg_tt_{device}.so",
        "flavors": [
            {"index": 0, "options": [[21, 21, 6, -6]]},
            {"index": 1, "options": [[21, 21, 5, -5]]},
        ],
        "color_flows": [FLOWS, FLOWS],
    }
    (folder / "SubProcesses" / "subprocesses.json").write_text(json.dumps([record]))
    return folder


@pytest.mark.physics
def test_a_folder_of_madgraph(madgraph_folder):
    source = UmamiMatrixElements(UmamiSettings(folder=str(madgraph_folder)))
    straight, turned = source.prepare([subprocess_of("g g > t t~"), subprocess_of("g g > t~ t")], PARAMETERS)
    momenta = momenta_of([173.0, 173.0])
    alpha_s = np.linspace(0.1, 0.13, len(momenta))
    expected = closed_form(subprocess_of("g g > t t~"), PARAMETERS).evaluate(momenta, alpha_s)
    np.testing.assert_allclose(straight.evaluate(momenta, alpha_s), expected, rtol=1e-12)
    np.testing.assert_allclose(turned.evaluate(momenta[:, [0, 1, 3, 2]], alpha_s), expected, rtol=1e-12)
    assert straight.evaluate(momenta[:0], alpha_s[:0]).shape == (0,)


def test_flavours_of_a_library(madgraph_folder):
    card = madgraph_folder / "Cards" / "param_card.dat"
    card.write_text(card.read_text().replace("6 173.0", "6 4.7"))
    parameters = ModelParameters(mass={"t": 4.7})
    source = UmamiMatrixElements(UmamiSettings(folder=str(madgraph_folder)))
    top, bottom = source.prepare([subprocess_of("g g > t t~"), subprocess_of("g g > b b~")], parameters)
    momenta = momenta_of([4.7, 4.7])
    alpha_s = np.full(len(momenta), 0.118)
    np.testing.assert_allclose(bottom.evaluate(momenta, alpha_s), 2 * top.evaluate(momenta, alpha_s))


def test_colour_flows_are_drawn_by_the_library(madgraph_folder):
    source = UmamiMatrixElements(UmamiSettings(folder=str(madgraph_folder)))
    straight, turned = source.prepare([subprocess_of("g g > t t~"), subprocess_of("g g > t~ t")], PARAMETERS)
    momenta = momenta_of([173.0, 173.0], n=4)
    uniform = np.array([0.1, 0.2, 0.3, 0.9])
    assert straight.draw_color_flows(momenta, uniform).tolist() == [0, 0, 1, 1]
    assert turned.draw_color_flows(momenta[:, [0, 1, 3, 2]], uniform).tolist() == [0, 0, 1, 1]
    assert straight.color_flows[0].color == (501, 502, 501, 0)
    assert turned.color_flows[0].color == (501, 502, 0, 501)
    with pytest.raises(NotImplementedError, match="does not say how likely"):
        straight.color_flow_weights(momenta)


def test_the_fingerprint_follows_library_and_card(madgraph_folder):
    source = UmamiMatrixElements(UmamiSettings(folder=str(madgraph_folder)))
    before = source.fingerprint()
    card = madgraph_folder / "Cards" / "param_card.dat"
    card.write_text(card.read_text() + "# changed\n")
    after = source.fingerprint()
    assert {name for name in before if before[name] != after[name]} == {"param_card"}


def test_the_fingerprint_tells_libraries_of_the_same_name_apart(madgraph_folder, card, compiled, tmp_path):
    folder = madgraph_folder / "SubProcesses"
    (record,) = json.loads((folder / "subprocesses.json").read_text())
    other = {**record, "outgoing": [5, -5], "me_path": "other/libgg_tt_{device}.so"}
    (folder / "subprocesses.json").write_text(json.dumps([record, other]))
    (madgraph_folder / "other").mkdir()
    second = madgraph_folder / "other" / "libgg_tt_cpu.so"
    shutil.copy(compiled, second)
    source = UmamiMatrixElements(UmamiSettings(folder=str(madgraph_folder)))
    one_by_one = UmamiMatrixElements(
        UmamiSettings(
            libraries={"g g > t t~": str(madgraph_folder / "lib/libgg_tt_cpu.so"), "g g > b b~": str(second)},
            param_card=str(card),
        )
    )
    before = source.fingerprint(), one_by_one.fingerprint()
    second.write_bytes(compiled.read_bytes() + b"changed")
    changed = [
        {name for name, digest in was.items() if now[name] != digest}
        for was, now in zip(before, (source.fingerprint(), one_by_one.fingerprint()), strict=True)
    ]
    assert changed == [{"other/libgg_tt_cpu.so"}, {"g g > b b~"}]


def test_each_card_has_its_own_parameters(compiled, tmp_path):
    subprocess = subprocess_of("e- e+ > t t~")
    momenta = momenta_of([173.0, 173.0])
    values = []
    for mass in (173.0, 160.0):
        card = tmp_path / f"{mass}.dat"
        card.write_text(CARD.format(top=mass))
        settings = UmamiSettings(libraries={"e- e+ > t t~": str(compiled)}, param_card=str(card))
        (element,) = UmamiMatrixElements(settings).prepare([subprocess], ModelParameters(mass={"t": mass}))
        values.append(element.evaluate(momenta, np.full(len(momenta), 0.118)))
    assert not np.allclose(*values, rtol=1e-3)


@pytest.mark.physics
def test_a_library_that_pyamplicol_wrote(amplicol_cache, tmp_path):
    """u u~ > mu- mu+ through the UMAMI interface of another program, against the closed form."""
    if importlib.util.find_spec("pyamplicol") is None or shutil.which("make") is None or shutil.which("cc") is None:
        pytest.skip("needs pyamplicol, make and a C compiler")
    from mlgen_amplicol import generation
    from mlgen_amplicol.generation import Request, generated
    from mlgen_amplicol.model import MODEL

    options = tuple("--emit-api-bundle" if name == "--no-emit-api-bundle" else name for name in generation._OPTIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generation, "_OPTIONS", options)
        wanted = Request("u u~ > mu- mu+", (0, 2), "full", MODEL, "no_masses", "compiled")
        artifact = generated(wanted, amplicol_cache, 300)
    build = tmp_path / "build"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    made = processes.run(
        ["make", "-C", str(artifact / "API" / "umami"), f"BUILD_DIR={build}"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    settings = UmamiSettings(
        libraries={"u u~ > mu- mu+": str(next(build.rglob("libumami.so")))}, param_card=str(artifact)
    )
    subprocess = subprocess_of("u~ u > mu+ mu-")
    (element,) = UmamiMatrixElements(settings).prepare([subprocess], PARAMETERS)
    momenta = momenta_of([0.0, 0.0])
    alpha_s = np.full(len(momenta), 0.118)
    expected = closed_form(subprocess, PARAMETERS)
    np.testing.assert_allclose(element.evaluate(momenta, alpha_s), expected.evaluate(momenta, alpha_s), rtol=1e-10)
    assert element.color_flows == expected.color_flows


def test_missing_files(tmp_path, card, compiled):
    def prepare(**settings):
        UmamiMatrixElements(UmamiSettings(**settings)).prepare([subprocess_of("g g > t t~")], PARAMETERS)

    with pytest.raises(ProcessError, match=r"(?s)no folder with UMAMI libraries.*output mg7"):
        prepare(folder=str(tmp_path / "nowhere"))
    with pytest.raises(ProcessError, match=r"library of g g > t t~ is not there: .*nothing\.so"):
        prepare(libraries={"g g > t t~": str(tmp_path / "nothing.so")}, param_card=str(card))
    with pytest.raises(ProcessError, match=r"parameter card .* is not there: .*nothing\.dat"):
        prepare(libraries={"g g > t t~": str(compiled)}, param_card=str(tmp_path / "nothing.dat"))


def test_a_folder_that_was_not_compiled(madgraph_folder):
    shutil.rmtree(madgraph_folder / "lib")
    with pytest.raises(ProcessError, match="run 'make'"):
        UmamiMatrixElements(UmamiSettings(folder=str(madgraph_folder))).prepare([], PARAMETERS)


@pytest.mark.parametrize(
    ("text", "problem"), [("{", "is not valid JSON"), ('[{"incoming": [1]}]', "not as MadGraph 7 writes it")]
)
def test_a_list_that_cannot_be_read(madgraph_folder, text, problem):
    (madgraph_folder / "SubProcesses" / "subprocesses.json").write_text(text)
    with pytest.raises(ProcessError, match=problem):
        UmamiMatrixElements(UmamiSettings(folder=str(madgraph_folder))).prepare([], PARAMETERS)


def test_a_library_of_another_process(madgraph_folder, compiled, card):
    source = UmamiMatrixElements(UmamiSettings(folder=str(madgraph_folder)))
    with pytest.raises(ProcessError, match=re.escape("computes d d~ > t t~; there is: g g > t t~, g g > b b~")):
        source.prepare([subprocess_of("d d~ > t t~")], PARAMETERS)
    settings = UmamiSettings(libraries={"e- e+ > t t~ a": str(compiled)}, param_card=str(card))
    with pytest.raises(ProcessError, match=r"is for 4 particles, but e- e\+ > t t~ a has 5"):
        UmamiMatrixElements(settings).prepare([subprocess_of("e- e+ > t t~ a")], PARAMETERS)


def test_flows_that_are_not_known(compiled, card):
    settings = UmamiSettings(libraries={"g g > t t~": str(compiled)}, param_card=str(card))
    with pytest.raises(ProcessError, match=r"(?s)colour flows of g g > t t~ are not known.*folder"):
        UmamiMatrixElements(settings).prepare([subprocess_of("g g > t t~")], PARAMETERS)


def test_other_masses_than_those_of_the_process(madgraph_folder):
    source = UmamiMatrixElements(UmamiSettings(folder=str(madgraph_folder)))
    with pytest.raises(ProcessError, match=r"t has a mass of 170 GeV in the process, but of 173 GeV in"):
        source.prepare([subprocess_of("g g > t t~")], ModelParameters(mass={"t": 170.0}))


def test_a_card_or_a_library_that_cannot_be_used(compiled, tmp_path):
    empty = tmp_path / "empty.dat"
    empty.touch()
    settings = UmamiSettings(libraries={"e- e+ > t t~": str(compiled)}, param_card=str(empty))
    with pytest.raises(ProcessError, match=r"cannot be used with the parameter card .*empty\.dat"):
        UmamiMatrixElements(settings).prepare([subprocess_of("e- e+ > t t~")], PARAMETERS)[0].evaluate(
            momenta_of([173.0, 173.0], n=2), np.ones(2)
        )
    settings = UmamiSettings(libraries={"e- e+ > t t~": str(empty)}, param_card=str(empty))
    with pytest.raises(ProcessError, match=r"UMAMI library .*empty\.dat"):
        UmamiMatrixElements(settings).prepare([subprocess_of("e- e+ > t t~")], PARAMETERS)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({}, "folder or libraries"),
        ({"folder": "a", "libraries": {"g g > g g": "b"}}, "folder or libraries"),
        ({"libraries": {"g g > g g": "b"}}, "need a param_card"),
    ],
)
def test_settings(settings, problem):
    with pytest.raises(ValidationError, match=problem):
        UmamiSettings(**settings)


def test_registered_and_not_imported():
    assert "umami" in [tool.offer.name for tool in plugin_manager().tools["matrix_elements"]]
    code = "import sys, mlgen_madgraph; print({'madspace', 'torch'} & set(sys.modules))"
    assert processes.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"set()\n"
