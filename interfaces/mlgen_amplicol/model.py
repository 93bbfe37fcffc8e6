"""The Standard Model of pyAmpliCol, with the parameters of a card."""

from __future__ import annotations

from mlgen.errors import ProcessError
from mlgen.hard_process.diagrams import cubic_diagrams, spell
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.particles import Z_PRIME, particle_of
from mlgen.hard_process.subprocess import Subprocess

#: The Standard Model within pyAmpliCol's package, and its restrictions by whether b quark and tau have a mass. (Its
#: "built-in-sm" has no neutrinos from a Z, and another |M|^2 of e- e+ > mu- mu+ than this one and the closed form.)
MODEL = "assets/models/json/sm/sm.json"
_RESTRICTIONS = {
    (True, True): "default",
    (False, True): "no_b_mass",
    (True, False): "no_tau_mass",
    (False, False): "no_masses",
}

#: Strong coupling at which matrix elements are evaluated, before they are scaled.
REFERENCE_ALPHA_S = 0.118

_BOTTOM, _TOP, _TAU, _Z, _W, _HIGGS = 5, 6, 15, 23, 24, 25
_ALWAYS_MASSLESS = (1, 2, 3, 4, 11, 13)


def restriction(subprocess: Subprocess, parameters: ModelParameters) -> str:
    """Return which restriction of the model has the masses of the particles in a subprocess.

    Raises:
        ProcessError: None has, or a Z' takes part.
    """
    present = {abs(pdg_id) for pdg_id in subprocess.pdg_ids}
    present |= {abs(line.pdg_id) for diagram in cubic_diagrams(subprocess, parameters) for line in diagram.propagators}
    if Z_PRIME in present:
        raise ProcessError(
            f"pyAmpliCol's Standard Model has no Z', which takes part in {spell(subprocess)}\n"
            "Use program = 'closed-form' where it has the reaction, or take z_prime out of the parameters"
        )
    heavy = [flavor for flavor in _ALWAYS_MASSLESS if flavor in present and parameters.mass_of(flavor) > 0]
    if heavy:
        name = particle_of(heavy[0]).name
        raise ProcessError(
            f"{name} has a mass of {parameters.mass_of(heavy[0]):g} GeV in {spell(subprocess)}; "
            "pyAmpliCol's Standard Model has it massless\nTake its mass out of the parameters"
        )
    # A mass of what does not take part would make an artifact of its own for nothing.
    bottom, tau = (flavor in present and parameters.mass_of(flavor) > 0 for flavor in (_BOTTOM, _TAU))
    return _RESTRICTIONS[bottom, tau]


def model_values(parameters: ModelParameters) -> dict[str, float]:
    """Return the values of the model's parameters by the names that pyAmpliCol has for them."""
    return {
        "aEWM1": parameters.alpha_em_inverse,
        "Gf": parameters.fermi_constant,
        "aS": REFERENCE_ALPHA_S,
        **{f"M{name}": parameters.mass_of(pdg_id) for name, pdg_id in _UFO_NAMES.items()},
        **{f"W{name}": parameters.width_of(pdg_id) for name, pdg_id in _UFO_NAMES.items()},
        **{f"ym{name}": parameters.mass_of(pdg_id) for name, pdg_id in _YUKAWA_NAMES.items()},
    }


_UFO_NAMES = {"B": _BOTTOM, "T": _TOP, "TA": _TAU, "Z": _Z, "H": _HIGGS, "W": _W}
_YUKAWA_NAMES = {"b": _BOTTOM, "t": _TOP, "tau": _TAU}
