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
