"""What a shower is made for, as numbers: particle, incident energy, layer energies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mlgen.errors import InputError, TrainingError
from mlgen.stages import FloatArray, IntArray

#: Rest energies in MeV (PDG 2024), for what an incident particle can deposit beyond its kinetic energy.
_ELECTRON, _MUON, _PION, _KAON, _PROTON = 0.51099895, 105.6583755, 139.57039, 493.677, 938.27208816
#: What can be set free beyond the kinetic energy: an antiparticle annihilates with one of matter; mesons and muons are
#: absorbed or decay.
_SET_FREE: Mapping[int, float] = {
    22: 0.0,
    11: 0.0,
    -11: 2 * _ELECTRON,
    13: _MUON,
    -13: _MUON,
    211: _PION,
    -211: _PION,
    321: _KAON,
    -321: _KAON,
    130: 497.611,
    2212: 0.0,
    2112: 0.0,
    -2212: 2 * _PROTON,
    -2112: 2 * 939.56542052,
}
#: Room above the largest response of the training, where deposits are calibrated and may exceed the incident energy.
_CALIBRATED_ROOM = 1.001
#: Energies of files are often of single precision: a shower that deposits all may seem to have a little more.
_ROUNDING = 1e-5


@dataclass(frozen=True, slots=True)
class Particles:
    """The particles that were learned, with what bounds their showers.

    Args:
        pdg_id: PDG ids, ascending, ``(kinds,)``.
        lowest: Smallest incident energy of each in the training, MeV, ``(kinds,)``.
        highest: Largest, likewise.
        response: Largest total deposit in units of the incident energy, ``(kinds,)``; zero where the limit is the
            energy that the particle brings.
    """

    pdg_id: IntArray
    lowest: FloatArray
    highest: FloatArray
    response: FloatArray

    @classmethod
    def of(cls, pdg_id: IntArray, energy: FloatArray, deposited: FloatArray) -> Self:
        """Take them from the training: ids, incident energies and total deposits, ``(n,)`` each, MeV."""
        kinds = np.unique(pdg_id)
        lowest, highest, response = np.zeros((3, len(kinds)))
        for k, kind in enumerate(kinds):
            here = pdg_id == kind
            lowest[k], highest[k] = energy[here].min(), energy[here].max()
            brought = energy[here] + _SET_FREE.get(int(kind), 0.0)
            if np.any(deposited[here] > brought * (1 + _ROUNDING)):
                response[k] = _CALIBRATED_ROOM * float((deposited[here] / energy[here]).max())
        return cls(kinds.astype(np.int64), lowest, highest, response)

    def ranges(self) -> dict[int, tuple[float, float]]:
        """As `mlgen.stages.ShowerSurrogate.energy_ranges` has them."""
        rows = zip(self.pdg_id.tolist(), self.lowest.tolist(), self.highest.tolist(), strict=True)
        return {pdg_id: (low, high) for pdg_id, low, high in rows}

    def numbers(self, pdg_id: IntArray) -> IntArray:
        """Number of each particle's kind, ``(n,)``.

        Raises:
            InputError: A particle was not learned.
        """
        place = np.searchsorted(self.pdg_id, pdg_id).clip(max=len(self.pdg_id) - 1)
        unknown = np.setdiff1d(pdg_id, self.pdg_id)
        if unknown.size:
            known = ", ".join(map(str, self.pdg_id.tolist()))
            raise InputError("caloflow", f"PDG id {int(unknown[0])} was not learned; learned were: {known}")
        return place

    def limit(self, number: IntArray, energy: FloatArray) -> FloatArray:
        """Largest total deposit, MeV, ``(n,)``."""
        free = np.array([_SET_FREE.get(int(kind), 0.0) for kind in self.pdg_id])
        response = self.response[number]
        return np.where(response > 0, response * energy, energy + free[number])

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """As named arrays."""
        return {name: getattr(self, name) for name in self.__slots__}


def incident_numbers(particles: Particles, number: IntArray, energy: FloatArray) -> FloatArray:
    """What the flow of layer energies is given, ``(n, 2 + kinds)``."""
    span = np.log(particles.highest.max() / particles.lowest.min()) or 1.0
    logarithm = np.log(energy / np.sqrt(particles.highest.max() * particles.lowest.min())) / span
    share = energy / particles.highest.max()
    kinds = np.eye(len(particles.pdg_id))[number]
    return np.concatenate([2 * logarithm[:, None], share[:, None], kinds], axis=1)


def layer_numbers(layers: FloatArray, energy: FloatArray, threshold: float) -> FloatArray:
    """What the flow of voxels is given of layer energies ``(n, layers)``, ``(n, 3 * layers)``."""
    there = layers > 0
    amount = np.log10(np.maximum(layers, threshold))
    share = np.log10(np.maximum(layers / energy[:, None], 1e-6))
    return np.concatenate([there, 0.5 * np.where(there, amount, 0.0), np.where(there, share, 0.0)], axis=1)


def check_showers(energy: FloatArray, voxels: FloatArray) -> None:
    """Refuse what nothing can be learned from.

    Raises:
        TrainingError: Energies that are not finite, not positive, or negative deposits.
    """
    if not (np.isfinite(energy).all() and (energy > 0).all()):
        raise TrainingError(f"{int(np.sum(~(energy > 0)))} incident energies are not positive, or not finite")
    wrong = ~(np.isfinite(voxels) & (voxels >= 0)).all(axis=1)
    if wrong.any():
        raise TrainingError(
            f"{int(wrong.sum())} showers have voxel energies that are negative or not finite, first number "
            f"{int(np.flatnonzero(wrong)[0]) + 1}"
        )
