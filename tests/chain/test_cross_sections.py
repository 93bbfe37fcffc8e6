"""Cross sections beside those of Pythia 8, with the same parton densities, scales and couplings."""

import math
from pathlib import Path

import numpy as np
import pytest

from mlgen.card import card_from
from mlgen.chain import integrate, plan_integration
from mlgen.hard_process.integrand import HBAR_C_SQUARED
from mlgen.hard_process.maps import madspace_context
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.parton_densities import PartonDensities
from mlgen.hard_process.pdf_files import find_pdf

PDF = "NNPDF23_lo_as_0130_qed"
# Pythia takes alpha_em(m_Z) between 0.00780 and 0.00783 only.
ALPHA_EM = 0.00781751
EVENTS = 100_000


def pythia_cross_section(settings: list[str]) -> tuple[float, float, float]:
    """Cross section and its error in pb, of a hard process alone, and the width of the Z that Pythia uses."""
    pythia8mc = pytest.importorskip("pythia8mc")
    pythia = pythia8mc.Pythia("", False)
    for line in [
        "Print:quiet = on",
        "Random:setSeed = on",
        "Random:seed = 4",
        "PartonLevel:all = off",
        "HadronLevel:all = off",
        "Beams:eCM = 13000.",
        f"PDF:pSet = LHAGrid1:{PDF}_0000.dat",
        # One kind of setting for one outgoing particle, another for two.
        "SigmaProcess:factorScale1 = 2",
        "SigmaProcess:renormScale1 = 2",
        "SigmaProcess:factorScale2 = 5",
        "SigmaProcess:renormScale2 = 5",
        *settings,
    ]:
        assert pythia.readString(line), line
    assert pythia.init()
    for _ in range(EVENTS):
        pythia.next()
    info = pythia.infoPython()
    return info.sigmaGen() * 1e9, info.sigmaErr() * 1e9, pythia.particleData.mWidth(23)


def require_agreement(process: dict[str, object], expected: float, error: float) -> None:
    content = {
        "run": {"seed": 3},
        "process": {"beams": ["p", "p"], "energy": 13_000, "pdf": PDF, **process},
        "phase_space": {"plugin": "vegas", "iterations": 5, "points": 10_000},
        "integration": {"points": 100_000},
    }
    result = integrate(plan_integration(card_from(content, "test", "", Path.cwd())))
    uncertainty = math.hypot(result.error, error)
    assert uncertainty < 0.005 * expected, "the comparison is meant to be one at the per-cent level"
    assert abs(result.cross_section - expected) < 4 * uncertainty, f"{result.cross_section} {expected} {uncertainty}"
    assert result.consistency.p_value > 1e-4


@pytest.mark.physics
def test_top_pairs() -> None:
    """p p > t t~ with fixed scale and coupling, at four standard errors of about 0.2 %."""
    expected, error, _ = pythia_cross_section(
        [
            "Top:gg2ttbar = on",
            "Top:qqbar2ttbar = on",
            "6:m0 = 173.",
            # Pythia would smear the mass of the tops, and has b quarks in the proton that this reaction leaves out.
            "PhaseSpace:useBreitWigners = off",
            "PDF:extrapolate = off",
            "SigmaProcess:alphaSorder = 0",
            "SigmaProcess:alphaSvalue = 0.118",
            f"SigmaProcess:renormFixScale = {173.0**2}",
            f"SigmaProcess:factorFixScale = {173.0**2}",
        ]
    )
    process = {
        "reaction": "p p > t t~",
        "labels": {"p": "g u d s c b u~ d~ s~ c~ b~"},
        "scale": 173.0,
        "alpha_s": 0.118,
    }
    require_agreement(process, expected, error)


@pytest.mark.physics
def test_electron_pairs() -> None:
    """p p > e+ e- between 60 and 120 GeV, photon and Z and their interference, at four standard errors of 0.2 %."""
    fermi_constant, mass_z = 1.16639e-5, 91.188
    mass_w2 = mass_z**2 / 2 + math.sqrt(
        mass_z**4 / 4 - math.pi * ALPHA_EM * mass_z**2 / (fermi_constant * math.sqrt(2))
    )
    sin2_theta = 1 - mass_w2 / mass_z**2
    expected, error, width_z = pythia_cross_section(
        [
            "WeakSingleBoson:ffbar2gmZ = on",
            "23:onMode = off",
            "23:onIfAny = 11",
            f"23:m0 = {mass_z}",
            "SigmaProcess:alphaEMorder = -1",
            f"StandardModel:alphaEMmZ = {ALPHA_EM}",
            f"StandardModel:sin2thetaW = {sin2_theta}",
            f"StandardModel:sin2thetaWbar = {sin2_theta}",
            "PhaseSpace:mHatMin = 60.",
            "PhaseSpace:mHatMax = 120.",
            f"SigmaProcess:factorFixScale = {mass_z**2}",
            f"SigmaProcess:renormFixScale = {mass_z**2}",
        ]
    )
    process = {
        "reaction": "p p > e+ e-",
        "labels": {"p": "g u d s c b u~ d~ s~ c~ b~"},
        "scale": mass_z,
        # Pythia computes the width of the Z from its couplings.
        "parameters": {"alpha_em_inverse": 1 / ALPHA_EM, "fermi_constant": fermi_constant, "width": {"z": width_z}},
        "cuts": {"mass": {"e+ e-": [60, 120]}},
    }
    require_agreement(process, expected, error)


@pytest.mark.physics
def test_muon_pairs_are_those_of_a_quadrature() -> None:
    """d d~ > mu- mu+ above 50 GeV, photon and Z, at four standard errors of 0.1 %: the textbook formula, integrated."""
    parameters, scale = ModelParameters(), 91.188
    alpha, sin2_theta = parameters.alpha_em, parameters.sin2_theta_w
    mass, width = parameters.mass_of(23), parameters.width_of(23)
    densities = PartonDensities(find_pdf(PDF), [1, -1], madspace_context(1))
    nodes, weights = np.polynomial.legendre.leggauss(8)

    def pieces(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
        return (middle[:, None] + half[:, None] * nodes).ravel(), (half[:, None] * weights).ravel()

    edges = [np.geomspace(50, 80, 12), np.linspace(80, 102, 30)[1:], np.geomspace(102, 13_000, 30)[1:]]
    masses, mass_weights = pieces(np.concatenate(edges))
    rapidities, rapidity_weights = pieces(np.linspace(-1, 1, 25))
    s = masses**2
    luminosity = []
    for tau in s / 13_000**2:
        rapidity = -math.log(tau) / 2 * rapidities
        x1, x2 = np.sqrt(tau) * np.exp(rapidity), np.sqrt(tau) * np.exp(-rapidity)
        both = densities(x1, np.full_like(x1, scale))[:, 0] * densities(x2, np.full_like(x2, scale))[:, 1]
        luminosity.append(float(np.sum(both * rapidity_weights)) * -math.log(tau) / 2)
    charge, axial_q, vector_q, axial_l, vector_l = -1 / 3, -1, -1 + 4 / 3 * sin2_theta, -1, -1 + 4 * sin2_theta
    propagator = s / (16 * sin2_theta * (1 - sin2_theta)) / ((s - mass**2) ** 2 + (mass * width) ** 2)
    photon_and_z = (
        charge**2
        - 2 * charge * vector_q * vector_l * propagator * (s - mass**2)
        + (vector_q**2 + axial_q**2)
        * (vector_l**2 + axial_l**2)
        * propagator**2
        * ((s - mass**2) ** 2 + (mass * width) ** 2)
    )
    partonic = 4 * math.pi * alpha**2 / (9 * s) * HBAR_C_SQUARED * photon_and_z
    expected = float(np.sum(mass_weights * 2 / masses * np.array(luminosity) * partonic))
    process = {"reaction": "d d~ > mu- mu+", "scale": scale, "cuts": {"mass": {"mu- mu+": 50}}}
    require_agreement(process, expected, 0.0)
