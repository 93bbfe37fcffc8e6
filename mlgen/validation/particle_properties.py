"""Properties of particles by their PDG ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]

#: Stable particles that no detector sees: neutrinos, sneutrinos, the lightest neutralino, gravitino and graviton,
#: and the codes for dark matter of the numbering scheme (Particle Data Group, Phys. Rev. D 110, 030001 (2024)).
INVISIBLE = (12, 14, 16, 18, 39, *range(51, 61), 1000012, 1000014, 1000016, 1000022, 1000039, 2000012, 2000014, 2000016)
INVISIBLE_IDS = np.array(sorted({*INVISIBLE, 5000039, *(-i for i in INVISIBLE)}), np.int64)

#: Properties of particles with PDG ids up to this one are kept in a table.
_LIMIT = 8192


class _Property:
    """A property of particles as a table that is filled when a kind is first met."""

    _UNKNOWN = -128

    def __init__(self, of: Callable[[int], int]) -> None:
        self._of = of
        self._table = np.full(2 * _LIMIT + 1, self._UNKNOWN, np.int8)
        self._others: dict[int, int] = {}

    def __call__(self, pdg_id: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
        near = np.abs(pdg_id) <= _LIMIT
        values = self._table[np.where(near, pdg_id, 0) + _LIMIT]
        new = np.flatnonzero(near & (values == self._UNKNOWN))
        if len(new):
            for i in np.unique(pdg_id[new]).tolist():
                self._table[i + _LIMIT] = self._of(i)
            values[new] = self._table[pdg_id[new] + _LIMIT]
        far = np.flatnonzero(~near)
        if len(far):
            kinds, inverse = np.unique(pdg_id[far], return_inverse=True)
            values[far] = np.array([self._other(i) for i in kinds.tolist()], np.int8)[inverse]
        return np.asarray(values, np.int8)

    def _other(self, pdg_id: int) -> int:
        if pdg_id not in self._others:
            self._others[pdg_id] = self._of(pdg_id)
        return self._others[pdg_id]


def _hadron(pdg_id: int) -> int:
    from particle import pdgid

    return int(pdgid.is_hadron(pdg_id))


def _charge(pdg_id: int) -> int:
    from particle import pdgid

    # Ions have charges that do not fit; whether there is one at all is what counts.
    return int(np.clip(pdgid.three_charge(pdg_id) or 0, -100, 100))


_HADRONS, _CHARGES = _Property(_hadron), _Property(_charge)


def is_hadron(pdg_id: npt.NDArray[Any]) -> BoolArray:
    """Whether each particle is a hadron."""
    return np.asarray(_HADRONS(pdg_id) == 1)


def three_charge(pdg_id: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
    """Three times the charge of each particle; of an ion, only whether there is one and its sign."""
    return _CHARGES(pdg_id)
