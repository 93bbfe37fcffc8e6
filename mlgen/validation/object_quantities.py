"""What is computed from the momenta of objects, each quantity an array over the events of a batch.

Quantities ask `EventObjects` for those that they are made of, so that each is computed once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlgen.events import FloatArray
from mlgen.validation.object_types import MISSING, ObjectRef

if TYPE_CHECKING:
    from mlgen.validation.objects import EventObjects

#: A transverse momentum below this share of the energy is rounding of the file: it counts as zero, without direction.
ROUNDING = 1e-6

_Refs = tuple[ObjectRef, ...]


def _pt(objects: EventObjects, refs: _Refs) -> FloatArray:
    pt = np.hypot(objects.quantity("px", refs), objects.quantity("py", refs))
    pt[pt < ROUNDING * objects.hardness(refs)] = 0.0
    return pt


def _phi(objects: EventObjects, refs: _Refs) -> FloatArray:
    phi: FloatArray = np.arctan2(objects.quantity("py", refs), objects.quantity("px", refs))
    phi[objects.quantity("pt", refs) == 0] = np.nan
    return phi


def _eta(objects: EventObjects, refs: _Refs) -> FloatArray:
    eta: FloatArray = np.arcsinh(objects.quantity("pz", refs) / objects.quantity("pt", refs))
    eta[np.isinf(eta)] = np.nan
    return eta


def _rapidity(objects: EventObjects, refs: _Refs) -> FloatArray:
    # E - |pz| cancels for fast particles; the transverse mass does not.
    pz = objects.quantity("pz", refs)
    transverse_mass = np.hypot(np.maximum(objects.quantity("mass", refs), 0.0), objects.quantity("pt", refs))
    y = np.copysign(np.log((objects.quantity("energy", refs) + np.abs(pz)) / transverse_mass), pz)
    y[np.isinf(y)] = np.nan
    return y


def _theta(objects: EventObjects, refs: _Refs) -> FloatArray:
    return np.asarray(np.arctan2(objects.quantity("pt", refs), objects.quantity("pz", refs)), np.float64)


def _delta_phi(objects: EventObjects, refs: _Refs) -> FloatArray:
    first, second = refs
    difference = np.abs(objects.quantity("phi", (first,)) - objects.quantity("phi", (second,)))
    return np.where(difference > math.pi, 2 * math.pi - difference, difference)


def _delta_eta(objects: EventObjects, refs: _Refs) -> FloatArray:
    first, second = refs
    return np.abs(objects.quantity("eta", (first,)) - objects.quantity("eta", (second,)))


def _delta_r(objects: EventObjects, refs: _Refs) -> FloatArray:
    return np.hypot(objects.quantity("deltaeta", refs), objects.quantity("deltaphi", refs))


def _transverse_mass(objects: EventObjects, refs: _Refs) -> FloatArray:
    first, second = refs
    product = objects.quantity("pt", (first,)) * objects.quantity("pt", (second,))
    return np.asarray(np.sqrt(2 * product * (1 - np.cos(objects.quantity("deltaphi", refs)))))


def _collins_soper(objects: EventObjects, refs: _Refs) -> tuple[FloatArray, FloatArray, FloatArray]:
    r"""Momentum of the first of two objects in the Collins-Soper frame, which is at rest with both.

    The z axis bisects the angle between one beam and the reverse of the other; it points along the beam in whose
    direction the pair moves, since of two protons none is special. The x axis points along the transverse momentum
    of the pair (along the detector's, where there is none). With the momentum :math:`Q` of the pair and
    :math:`M_T^2 = Q^2 + Q_T^2`,

    .. math::
        p_z^* = \pm (p_{1z} E_2 - E_1 p_{2z}) / M_T, \quad
        p_x^* = \frac{Q}{M_T}
            \Bigl[p_{1T} \cdot \hat q_T - \frac{Q_T}{2} \Bigl(1 + \frac{m_1^2 - m_2^2}{Q^2}\Bigr)\Bigr], \quad
        p_y^* = p_{1T} \cdot (\hat z \times \hat q_T).

    References:
        Collins and Soper, Phys. Rev. D 16, 2219 (1977).
    """
    first, second = refs[:1], refs[1:]
    mass, pt = _positive(objects.quantity("mass", refs)), objects.quantity("pt", refs)
    side = np.copysign(1.0, objects.quantity("pz", refs))
    along_x = np.where(pt > 0, objects.quantity("px", refs) / pt, 1.0)
    along_y = np.where(pt > 0, objects.quantity("py", refs) / pt, 0.0)
    px, py = objects.quantity("px", first), objects.quantity("py", first)
    transverse_mass = np.hypot(mass, pt)
    asymmetry = (objects.quantity("mass", first) ** 2 - objects.quantity("mass", second) ** 2) / mass**2
    x = (px * along_x + py * along_y - 0.5 * pt * (1 + asymmetry)) * mass / transverse_mass
    y = side * (py * along_x - px * along_y)
    cross = objects.quantity("pz", first) * objects.quantity("energy", second)
    cross = cross - objects.quantity("energy", first) * objects.quantity("pz", second)
    return x, y, side * cross / transverse_mass


def _costheta_cs(objects: EventObjects, refs: _Refs) -> FloatArray:
    x, y, z = _collins_soper(objects, refs)
    return np.asarray(z / np.sqrt(x * x + y * y + z * z), np.float64)


def _phi_cs(objects: EventObjects, refs: _Refs) -> FloatArray:
    x, y, _ = _collins_soper(objects, refs)
    return np.where(objects.quantity("pt", refs) > 0, np.arctan2(y, x), np.nan)


def _positive(values: npt.NDArray[Any]) -> FloatArray:
    return np.where(values > 0, values, np.nan)


_MISSING = (ObjectRef(MISSING),)

#: Quantities of the summed momentum of one or more objects.
OBJECT_QUANTITIES: dict[str, Callable[[EventObjects, _Refs], FloatArray]] = {
    "px": lambda objects, refs: objects.component("px", refs),
    "py": lambda objects, refs: objects.component("py", refs),
    "pz": lambda objects, refs: objects.component("pz", refs),
    "energy": lambda objects, refs: objects.component("energy", refs),
    "pt": _pt,
    "eta": _eta,
    "y": _rapidity,
    "phi": _phi,
    "mass": lambda objects, refs: objects.mass(refs),
    "theta": _theta,
}
#: Quantities of two objects.
PAIR_QUANTITIES: dict[str, Callable[[EventObjects, _Refs], FloatArray]] = {
    "deltaR": _delta_r,
    "deltaphi": _delta_phi,
    "deltaeta": _delta_eta,
    "mt": _transverse_mass,
    "costheta_cs": _costheta_cs,
    "phi_cs": _phi_cs,
}
#: Quantities of the whole event.
EVENT_QUANTITIES: dict[str, Callable[[EventObjects, _Refs], FloatArray]] = {
    "HT": lambda objects, _: objects.jet_sum(),
    "sum_pt": lambda objects, _: objects.scalar_sum(),
    "sum_et": lambda objects, _: objects.transverse_energy(),
    "sum_pt_charged": lambda objects, _: objects.summed(objects.transverse, objects.charged),
    "missing_pt": lambda objects, _: objects.quantity("pt", _MISSING),
    "missing_phi": lambda objects, _: objects.quantity("phi", _MISSING),
    "scale": lambda objects, _: _positive(objects.batch.scale),
    "alpha_s": lambda objects, _: _positive(objects.batch.alpha_qcd),
    "process_id": lambda objects, _: objects.batch.process_id.astype(np.float64),
}
#: Particles that are counted without being objects: all final ones, and central charged ones.
COUNTED_SPECIES = ("final", "charged", "pi", "K", "p")
#: All of them.
QUANTITIES = OBJECT_QUANTITIES | PAIR_QUANTITIES | EVENT_QUANTITIES
