"""Factorisation and renormalisation scales."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from mlgen.errors import ProcessError, nearest
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.particles import find_particle
from mlgen.stages import FloatArray

#: Takes momenta ``(n, particles, 4)`` as ``(energy, px, py, pz)`` in GeV, returns ``(n,)`` in GeV.
Scale = Callable[[FloatArray], FloatArray]

_DYNAMIC = ("ht/2", "ht", "sqrt(s-hat)", "m(z)")


def _transverse_masses(momenta: FloatArray) -> FloatArray:
    r"""Sum of :math:`\sqrt{m^2 + p_T^2}` over the outgoing particles, ``(n,)``."""
    outgoing = momenta[:, 2:]
    squared = outgoing[..., 0] ** 2 - outgoing[..., 3] ** 2
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)).sum(axis=1))


def _collision_energy(momenta: FloatArray) -> FloatArray:
    """Energy of the two partons in their centre of mass, ``(n,)``; massless partons along the beam."""
    total = momenta[:, 0] + momenta[:, 1]
    return np.asarray(np.sqrt(np.maximum(total[:, 0] ** 2 - total[:, 3] ** 2, 0.0)))


def scale_function(scale: float | str, parameters: ModelParameters) -> Scale:
    r"""Return the function of the momenta that a scale of the card stands for.

    ``"ht"`` is :math:`\sum \sqrt{m^2 + p_T^2}` over the outgoing particles, ``"ht/2"`` half of it (MadGraph's default),
    ``"sqrt(s-hat)"`` the partons' collision energy, ``"m(z)"`` the mass of a named particle, a number itself in GeV.

    Raises:
        ProcessError: It is none of these, or not positive; lists what there is.
    """
    if isinstance(scale, int | float):
        return _fixed(float(scale), f"scale = {scale}")
    text = re.sub(r"\s+", "", scale).lower()
    if text == "ht":
        return _transverse_masses
    if text == "ht/2":
        return lambda momenta: 0.5 * _transverse_masses(momenta)
    if text == "sqrt(s-hat)":
        return _collision_energy
    if match := re.fullmatch(r"m\((.+)\)", text):
        particle = find_particle(match[1])
        return _fixed(parameters.mass_of(particle.pdg_id), f"scale = '{scale}'")
    raise ProcessError(
        f"there is no scale '{scale}'{nearest(scale, _DYNAMIC)}; there are: a number in GeV, 'ht/2', 'ht', "
        "'sqrt(s-hat)', and the mass of a particle, as 'm(z)'"
    )


def _fixed(value: float, what: str) -> Scale:
    if not (value > 0 and np.isfinite(value)):
        raise ProcessError(f"{what} is {value:g} GeV; a scale is positive")
    return lambda momenta: np.full(len(momenta), value)
