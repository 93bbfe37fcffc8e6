"""Subprocesses with the same matrix element, up to the order of the particles.

What differs only in the names of equivalent flavours, in which beam is which, or in the order of the outgoing
particles is generated and kept once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.subprocess import Subprocess

_LIGHT_QUARKS = (1, 2, 3, 4, 5)
_DOWN_TYPE, _UP_TYPE = (1, 3, 5), (2, 4)
_GENERATIONS = ((1, 2), (3, 4))
_LEPTONS = ((11, 12), (13, 14), (15, 16))
_GLUON, _PHOTON, _Z = 21, 22, 23


@dataclass(frozen=True, slots=True)
class Representative:
    """The subprocess whose matrix element is that of another one.

    Args:
        subprocess: Its particles, in an order of its own.
        permutation: For each of its slots, the slot of that particle in the other subprocess.
    """

    subprocess: Subprocess
    permutation: tuple[int, ...]


def representative(subprocess: Subprocess, parameters: ModelParameters, qed_order: int) -> Representative:
    """Return the subprocess that stands for all with the same matrix element as the given one.

    Args:
        subprocess: Any subprocess.
        parameters: Equivalent flavours are massless.
        qed_order: Power of the electroweak coupling in the amplitude.
    """
    best: Representative | None = None
    for names in _relabellings(subprocess, parameters, qed_order):
        renamed = [_renamed(pdg_id, names) for pdg_id in subprocess.pdg_ids]
        incoming = sorted((0, 1), key=lambda slot: _order(renamed[slot]))
        outgoing = sorted(range(2, len(renamed)), key=lambda slot: _order(renamed[slot]))
        candidate = Representative(
            Subprocess(
                (renamed[incoming[0]], renamed[incoming[1]]),
                tuple(renamed[slot] for slot in outgoing),
            ),
            (*incoming, *outgoing),
        )
        if best is None or _key(candidate) < _key(best):
            best = candidate
    if best is None:  # the names as they are are always one relabelling
        raise AssertionError
    return best


def _relabellings(subprocess: Subprocess, parameters: ModelParameters, qed_order: int) -> Iterator[dict[int, int]]:
    """Renamings of flavours that leave the matrix element as it is."""
    present = {abs(pdg_id) for pdg_id in subprocess.pdg_ids}
    massless = {flavor for flavor in (*_LIGHT_QUARKS, 11, 13, 15) if parameters.mass_of(flavor) == 0}
    quarks: list[Iterator[dict[int, int]]] = []
    if qed_order == 0:
        quarks.append(_within(tuple(q for q in _LIGHT_QUARKS if q in massless), present))
    elif _only_neutral_currents(subprocess):
        quarks.extend(_within(tuple(q for q in kind if q in massless), present) for kind in (_DOWN_TYPE, _UP_TYPE))
    else:
        quarks.append(_doublets([g for g in _GENERATIONS if massless.issuperset(g)], present))
    leptons = _doublets([doublet for doublet in _LEPTONS if doublet[0] in massless], present)
    for parts in itertools.product(*quarks, leptons):
        yield {old: new for part in parts for old, new in part.items()}


def _only_neutral_currents(subprocess: Subprocess) -> bool:
    """Whether no W can take part at lowest order, so that a quark knows no more than its own charge."""
    balance: dict[int, int] = {}
    for slot, pdg_id in enumerate(subprocess.pdg_ids):
        kind, sign = abs(pdg_id), (1 if pdg_id > 0 else -1) * (-1 if slot < 2 else 1)
        if kind in _LIGHT_QUARKS or 11 <= kind <= 16:
            balance[kind] = balance.get(kind, 0) + sign
        elif kind not in (_GLUON, _PHOTON, _Z):
            return False
    flavors_of_leptons = {kind for kind in balance if kind > 10}
    return not any(balance.values()) and not any(set(doublet) <= flavors_of_leptons for doublet in _LEPTONS)


def _within(flavors: tuple[int, ...], present: set[int]) -> Iterator[dict[int, int]]:
    """Renamings of the flavours that are present into the first ones of an equivalent set."""
    there = [flavor for flavor in flavors if flavor in present]
    for names in itertools.permutations(flavors[: len(there)]):
        yield dict(zip(there, names, strict=True))


def _doublets(doublets: Sequence[tuple[int, int]], present: set[int]) -> Iterator[dict[int, int]]:
    """Renamings of whole doublets into the first ones of an equivalent set."""
    there = [doublet for doublet in doublets if not present.isdisjoint(doublet)]
    for names in itertools.permutations(doublets[: len(there)]):
        yield {old: new for pair in zip(there, names, strict=True) for old, new in zip(*pair, strict=True)}


def _renamed(pdg_id: int, names: dict[int, int]) -> int:
    name = names.get(abs(pdg_id), abs(pdg_id))
    return name if pdg_id > 0 else -name


def _order(pdg_id: int) -> tuple[int, bool]:
    """Gluons first, then quarks and the others by flavour, each before its antiparticle."""
    return (0 if abs(pdg_id) == _GLUON else abs(pdg_id), pdg_id < 0)


def _key(candidate: Representative) -> tuple[tuple[int, bool], ...]:
    return tuple(_order(pdg_id) for pdg_id in candidate.subprocess.pdg_ids)
