"""Closed forms against pyAmpliCol, and the Z' and the colour flows against what has to hold."""

from __future__ import annotations

import importlib.util
import inspect
import math
import re
import textwrap

import numpy as np
import pytest

from mlgen import hookspecs
from mlgen.errors import ProcessError
from mlgen.hard_process.builtin import ClosedFormSettings
from mlgen.hard_process.closed_forms import closed_form
from mlgen.hard_process.closed_forms.source import ClosedForms
from mlgen.hard_process.color_lines import color_flow
from mlgen.hard_process.parameters import ModelParameters, ZPrime
from mlgen.hard_process.particles import find_particle, particle_of
from mlgen.hard_process.subprocess import Subprocess
from mlgen.plugins import plugin_manager

#: Massless but for the top, whose width closed forms do not have.
PARAMETERS = ModelParameters(mass={"b": 0, "ta": 0}, width={"t": 0})
ALPHA_S = 0.13

REACTIONS = [
    "d d~ > mu- mu+",
    "u~ u > e+ e-",
    "e- e+ > u u~",
    "e+ e- > mu- mu+",
    "s~ s > vm vm~",
    "u d~ > e+ ve",
    "e- d > d e-",
    "g g > g g",
    "g g > g g g",
    "g g > t t~",
    "d~ d > t~ t",
    "u g > g u",
    "u d~ > d~ u",
    "u u > u u",
]

#: Those that are compared with formulae from the literature, below, or whose crossings are compared.
KNOWN_OTHERWISE = ("g g > g g", "e+ e- > mu- mu+", "s~ s > vm vm~")


def subprocess_of(reaction: str) -> Subprocess:
    incoming, outgoing = ([find_particle(name).pdg_id for name in side.split()] for side in reaction.split(">"))
    return Subprocess((incoming[0], incoming[1]), tuple(outgoing))


def momenta_of(subprocess: Subprocess, n: int = 100, energy: float = 800.0, seed: int = 1) -> np.ndarray:
    """Points of flat phase space in the centre-of-mass frame, with no two particles too close."""
    import madspace

    masses = [PARAMETERS.mass_of(pdg_id) for pdg_id in subprocess.pdg_ids]
    mapping = madspace.PhaseSpaceMapping(masses, energy, mode="rambo", leptonic=True)
    uniform = np.random.default_rng(seed).uniform(0.02, 0.98, (n, mapping.random_dim()))
    momenta = np.asarray(mapping.map_forward([uniform])[0])
    return np.ascontiguousarray(momenta[..., [1, 2, 3, 0]])


def lines_of(element) -> list[tuple[tuple[int, int], ...]]:
    """The flows with the colour lines numbered in the order in which they occur."""
    found = []
    for flow in element.color_flows:
        names: dict[int, int] = {0: 0}
        found.append(
            tuple(
                (names.setdefault(color, len(names)), names.setdefault(anticolor, len(names)))
                for color, anticolor in zip(flow.color, flow.anticolor, strict=True)
            )
        )
    return found


@pytest.fixture(scope="module")
def amplicol(amplicol_cache):
    pytest.importorskip("mlgen_amplicol")
    if importlib.util.find_spec("pyamplicol") is None:
        pytest.skip("pyamplicol is not installed")
    from mlgen_amplicol.settings import AmplicolSettings
    from mlgen_amplicol.source import AmplicolMatrixElements

    return AmplicolMatrixElements(AmplicolSettings(cache=str(amplicol_cache)))


@pytest.mark.physics
@pytest.mark.parametrize("reaction", [reaction for reaction in REACTIONS if reaction not in KNOWN_OTHERWISE])
def test_agrees_with_amplicol(reaction, amplicol):
    subprocess = subprocess_of(reaction)
    momenta = momenta_of(subprocess)
    alpha_s = np.linspace(0.08, 0.15, len(momenta))
    (expected,) = amplicol.prepare([subprocess], PARAMETERS)
    form = closed_form(subprocess, PARAMETERS)
    assert form is not None
    np.testing.assert_allclose(form.evaluate(momenta, alpha_s), expected.evaluate(momenta, alpha_s), rtol=1e-8)
    ours, theirs = lines_of(form), lines_of(expected)
    assert sorted(ours) == sorted(theirs)
    weights, other = form.color_flow_weights(momenta), expected.color_flow_weights(momenta)
    # With one flavour pyAmpliCol's flows have terms of 1/N of the other exchange, which are not of leading colour.
    tolerance = 0.2 if reaction == "u u > u u" else 1e-9
    np.testing.assert_allclose(weights, other[:, [theirs.index(flow) for flow in ours]], atol=tolerance)


@pytest.mark.physics
def test_another_set_of_parameters_agrees_with_amplicol(amplicol):
    parameters = ModelParameters(
        alpha_em_inverse=128.0, mass={"b": 0, "ta": 0, "z": 95.0, "t": 150.0}, width={"z": 3.0, "t": 0}
    )
    for reaction in ("d d~ > mu- mu+", "u d~ > e+ ve"):
        subprocess = subprocess_of(reaction)
        momenta = momenta_of(subprocess, energy=96.0)
        (expected,) = amplicol.prepare([subprocess], parameters)
        form = closed_form(subprocess, parameters)
        ones = np.ones(len(momenta))
        np.testing.assert_allclose(form.evaluate(momenta, ones), expected.evaluate(momenta, ones), rtol=1e-8)


@pytest.mark.physics
def test_four_gluons_are_those_of_the_literature():
    """g^4 9/2 (3 - tu/s^2 - su/t^2 - st/u^2): Combridge, Kripfganz and Ranft, Phys. Lett. 70B (1977) 234.

    Half of it, for two like particles that go out.
    """
    subprocess = subprocess_of("g g > g g")
    momenta = momenta_of(subprocess)
    s, t = 4 * momenta[:, 0, 3] * momenta[:, 1, 3], -2 * momenta[:, 0, 3] * momenta[:, 2, 3]
    # The first beam goes along the z axis.
    t = t * (1 - np.sign(momenta[:, 0, 2]) * momenta[:, 2, 2] / momenta[:, 2, 3])
    u = -s - t
    expected = 0.5 * (4 * math.pi * ALPHA_S) ** 2 * 4.5 * (3 - t * u / s**2 - s * u / t**2 - s * t / u**2)
    value = closed_form(subprocess, PARAMETERS).evaluate(momenta, np.full(len(momenta), ALPHA_S))
    np.testing.assert_allclose(value, expected, rtol=1e-10)


@pytest.mark.physics
def test_electron_pairs_far_below_the_z_are_those_of_quantum_electrodynamics():
    """|M|^2 = 2 e^4 (t^2 + u^2) / s^2, summed over final and averaged over initial spins."""
    subprocess = subprocess_of("e- e+ > mu- mu+")
    momenta = momenta_of(subprocess, energy=0.2)
    cosine = momenta[:, 2, 2] / momenta[:, 2, 3]
    expected = (4 * math.pi * PARAMETERS.alpha_em) ** 2 * (1 + cosine**2)
    value = closed_form(subprocess, PARAMETERS).evaluate(momenta, np.ones(len(momenta)))
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def z_boson_alone(momenta, mass, width, couplings, e, sine):
    """Sum over chiralities of |photon + bosons|^2 for d d~ > mu- mu+, written out with angles."""
    s = (momenta[:, 0, 3] + momenta[:, 1, 3]) ** 2
    cosine = momenta[:, 2, 2] / momenta[:, 2, 3] * np.sign(momenta[:, 0, 2])
    total = np.zeros(len(momenta))
    for quark in (-0.5 + sine / 3, sine / 3):
        for lepton in (-0.5 + sine, sine):
            like = (quark == -0.5 + sine / 3) == (lepton == -0.5 + sine)
            amplitude = e**2 / 3 / s + sum(
                weight * e**2 * quark * lepton / (sine * (1 - sine)) / (s - m * m + 1j * m * w)
                for m, w, weight in zip(mass, width, couplings, strict=True)
            )
            total += abs(amplitude) ** 2 * s**2 * (1 + cosine if like else 1 - cosine) ** 2
    return total / 12


@pytest.mark.physics
@pytest.mark.parametrize("energy", [91.188, 250.0, 400.0])
def test_z_prime(energy):
    """A Z' with the properties of the Z doubles what the Z gives; another one adds with its own pole."""
    subprocess = subprocess_of("d d~ > mu- mu+")
    momenta = momenta_of(subprocess, energy=energy)
    ones = np.ones(len(momenta))
    base = ModelParameters()
    e, sine = math.sqrt(4 * math.pi * base.alpha_em), base.sin2_theta_w
    mass, width = base.mass["z"], base.width["z"]
    cases = [
        (None, [mass], [width], [1.0]),
        (ZPrime(mass=mass, width=width), [mass], [width], [2.0]),
        (ZPrime(mass=400, width=0.5), [mass, 400], [width, 0.5], [1.0, 1.0]),
        (ZPrime(mass=400, width=0.5, coupling=-0.7), [mass, 400], [width, 0.5], [1.0, 0.49]),
    ]
    for z_prime, masses, widths, weights in cases:
        form = closed_form(subprocess, ModelParameters(z_prime=z_prime))
        expected = z_boson_alone(momenta, masses, widths, weights, e, sine)
        np.testing.assert_allclose(form.evaluate(momenta, ones), expected, rtol=1e-10)


@pytest.mark.parametrize("reaction", REACTIONS)
def test_colour_is_conserved_along_each_flow(reaction):
    subprocess = subprocess_of(reaction)
    form = closed_form(subprocess, PARAMETERS)
    for flow in form.color_flows:
        for slot, pdg_id in enumerate(subprocess.pdg_ids):
            kind = particle_of(pdg_id).color
            assert (flow.color[slot] > 0) == (kind in (3, 8))
            assert (flow.anticolor[slot] > 0) == (kind in (-3, 8))
        incoming = [*flow.color[:2], *flow.anticolor[2:]]
        outgoing = [*flow.anticolor[:2], *flow.color[2:]]
        assert sorted(filter(None, incoming)) == sorted(filter(None, outgoing))


def test_order_of_the_particles_does_not_matter():
    subprocess, turned = subprocess_of("u g > u g"), subprocess_of("g u > g u")
    momenta = momenta_of(subprocess)
    alpha_s = np.full(len(momenta), ALPHA_S)
    value = closed_form(subprocess, PARAMETERS).evaluate(momenta, alpha_s)
    other = closed_form(turned, PARAMETERS).evaluate(momenta[:, [1, 0, 3, 2]], alpha_s)
    np.testing.assert_allclose(value, other, rtol=1e-12)


def test_equal_matrix_elements_are_one_object():
    reactions = ["u u~ > mu- mu+", "c c~ > e- e+", "d d~ > mu- mu+", "s s~ > mu- mu+", "u~ u > mu- mu+"]
    up, charm, down, strange, turned = ClosedForms(ClosedFormSettings()).prepare(
        [subprocess_of(reaction) for reaction in reactions], ModelParameters()
    )
    assert up is charm
    assert down is strange
    assert len({id(up), id(down), id(turned)}) == 3


@pytest.mark.parametrize(
    ("reaction", "parameters"),
    [
        ("d d~ > mu- mu+ g", ModelParameters()),
        ("e- e+ > e- e+", ModelParameters()),
        ("e- e+ > ve ve~", ModelParameters()),
        ("t t~ > t t~", ModelParameters()),
        ("g g > h", ModelParameters()),
    ],
)
def test_what_there_is_not(reaction, parameters):
    with pytest.raises(ProcessError, match=re.escape(f"no closed form of the matrix element of {reaction}")):
        ClosedForms(ClosedFormSettings()).prepare([subprocess_of(reaction)], parameters)


def test_a_massive_lepton_is_named():
    with pytest.raises(ProcessError, match=r"massless fermions only; here are ta\+ \(1.777 GeV\)"):
        ClosedForms(ClosedFormSettings()).prepare([subprocess_of("d d~ > ta+ ta-")], ModelParameters())


def test_registered_with_the_host():
    names = [tool.offer.name for tool in plugin_manager().tools["matrix_elements"]]
    assert "closed-form" in names
    assert ClosedForms(ClosedFormSettings()).fingerprint()["program"] == "closed-form"


def test_wrong_colour_strings_are_refused():
    with pytest.raises(ValueError, match="once"):
        color_flow((1, -1, 21, 21), ((1, 2, 0),))
    with pytest.raises(ValueError, match="neither"):
        color_flow((1, -1, 21, 21), ((0, 2, 3, 1),))


def test_flows_are_drawn_in_proportion_to_their_weights():
    form = closed_form(subprocess_of("g g > t t~"), PARAMETERS)
    momenta = np.repeat(momenta_of(subprocess_of("g g > t t~"), n=1), 2000, axis=0)
    uniform = (np.arange(2000) + 0.5) / 2000
    drawn = form.draw_color_flows(momenta, uniform)
    share = form.color_flow_weights(momenta)[0, 0]
    assert abs((drawn == 0).mean() - share) <= 1 / 2000


@pytest.mark.physics
def test_the_example_of_the_hook(amplicol):
    """The class that the hook's docstring shows works, and is right: e- e+ > a a."""
    documentation = inspect.getdoc(hookspecs.mlgen_matrix_elements) or ""
    _, _, text = documentation.partition("amplitudes.py``::\n")
    module: dict = {}
    exec(compile(textwrap.dedent(text.partition("The hook, in")[0]), "<example>", "exec"), module)
    subprocess = subprocess_of("e- e+ > a a")
    source = module["MyMatrixElements"](ClosedFormSettings())
    (element,) = source.prepare([subprocess], ModelParameters())
    (expected,) = amplicol.prepare([subprocess], ModelParameters())
    momenta = momenta_of(subprocess)
    ones = np.ones(len(momenta))
    np.testing.assert_allclose(element.evaluate(momenta, ones), expected.evaluate(momenta, ones), rtol=1e-8)
    with pytest.raises(ProcessError, match="not e- e\\+ > mu- mu\\+"):
        source.prepare([subprocess_of("e- e+ > mu- mu+")], ModelParameters())
