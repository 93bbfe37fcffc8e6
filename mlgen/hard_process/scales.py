"""Factorisation and renormalisation scales."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from mlgen.errors import ProcessError
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.particles import find_particle
from mlgen.hard_process.settings import mass_scale
from mlgen.stages import FloatArray

#: Takes momenta ``(n, particles, 4)`` as ``(energy, px, py, pz)`` in GeV, returns ``(n,)`` in GeV.
Scale = Callable[[FloatArray], FloatArray]


def _transverse_masses(momenta: FloatArray) -> FloatArray:
    r"""Sum of :math:`\sqrt{m^2 + p_T^2}` over the outgoing particles, ``(n,)``."""
    outgoing = momenta[:, 2:]
    squared = outgoing[..., 0] ** 2 - outgoing[..., 3] ** 2
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)).sum(axis=1))


def _collision_energy(momenta: FloatArray) -> FloatArray:
    """Energy of the two partons in their centre of mass, ``(n,)``; massless partons along the beam."""
    total = momenta[:, 0] + momenta[:, 1]
    return np.asarray(np.sqrt(np.maximum(total[:, 0] ** 2 - total[:, 3] ** 2, 0.0)))


_DYNAMIC: Mapping[str, Scale] = {
    "ht": _transverse_masses,
    "ht/2": lambda momenta: 0.5 * _transverse_masses(momenta),
    "sqrt(s-hat)": _collision_energy,
}


def scale_function(scale: float | str, parameters: ModelParameters) -> Scale:
    r"""Return the function of the momenta that a scale stands for.

    ``"ht"`` is :math:`\sum \sqrt{m^2 + p_T^2}` over the outgoing particles, ``"ht/2"`` half of it (MadGraph's default),
    ``"sqrt(s-hat)"`` the partons' collision energy, ``"m(z)"`` the mass of a named particle, a number itself in GeV.

    Args:
        scale: As `mlgen.hard_process.settings.ProcessSettings` has it.
        parameters: Where masses are from.

    Raises:
        ProcessError: It is the mass of a particle without mass.
    """
    if isinstance(scale, str) and scale in _DYNAMIC:
        return _DYNAMIC[scale]
    value = _mass(scale, parameters) if isinstance(scale, str) else scale
    return lambda momenta: np.full(len(momenta), value)


def _mass(scale: str, parameters: ModelParameters) -> float:
    mass = parameters.mass_of(find_particle(mass_scale(scale) or scale).pdg_id)
    if mass == 0:
        raise ProcessError(f"scale = '{scale}' is 0 GeV; a scale is greater than 0")
    return mass
