"""Cuts on the outgoing particles: what the card says, and where that holds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.errors import ProcessError
from mlgen.hard_process.particles import Particle, particle_of, particles_named
from mlgen.hard_process.settings import CutSettings, cut_limits
from mlgen.hard_process.subprocess import Subprocess
from mlgen.stages import FloatArray


@dataclass(frozen=True, slots=True, order=True)
class Cut:
    """One bound on one observable of definite outgoing particles.

    Args:
        observable: ``pt``, ``eta``, ``rapidity``, ``delta_r`` or ``mass``.
        slots: The outgoing particles, counted from 0, ascending.
        minimum: In GeV for momenta and masses.
        maximum: Likewise.
    """

    observable: str
    slots: tuple[int, ...]
    minimum: float = 0.0
    maximum: float = math.inf

    def permuted(self, permutation: Sequence[int]) -> Cut:
        """Return the cut on the particles that those of this one are moved to."""
        slots = tuple(sorted(permutation[slot] for slot in self.slots))
        return Cut(self.observable, slots, self.minimum, self.maximum)


def resolve_cuts(
    cuts: CutSettings,
    subprocesses: Sequence[Subprocess],
    labels: Mapping[str, tuple[Particle, ...]],
) -> tuple[frozenset[Cut], ...]:
    """Return the cuts of each subprocess.

    A key holds for every outgoing particle (or pair, or group) of a subprocess that it names, so that ``pt = {j = 20}``
    cuts on all jets, and a label can mean other particles in other subprocesses.

    Args:
        cuts: Those of the card.
        subprocesses: Those of the reaction.
        labels: Particles of each label.

    Raises:
        ProcessError: A particle is unknown, nothing in the reaction has the name, or two bounds contradict each other.
    """
    result: list[dict[tuple[str, tuple[int, ...]], tuple[Cut, str]]] = [{} for _ in subprocesses]
    for observable, entries in cuts:
        for key, bound in entries.items():
            where = f"cuts: {observable} of '{key}'"
            minimum, maximum = cut_limits(observable, bound)
            try:
                groups = [tuple(particle.pdg_id for particle in particles_named(name, labels)) for name in key.split()]
            except ProcessError as error:
                raise ProcessError(f"{where}: {error}") from error
            found = False
            for subprocess, own in zip(subprocesses, result, strict=True):
                for slots in _matching(groups, subprocess):
                    found = True
                    _add(own, Cut(observable, slots, minimum, maximum), where)
            if not found:
                raise ProcessError(
                    f"{where}: no subprocess has "
                    + (f"an outgoing '{key}'" if len(groups) == 1 else f"outgoing particles '{key}' at a time")
                    + f"; for instance, {_shown(subprocesses[0])} goes out"
                )
    return tuple(frozenset(cut for cut, _ in own.values()) for own in result)


def _shown(subprocess: Subprocess) -> str:
    return " ".join(particle_of(pdg_id).name for pdg_id in subprocess.outgoing)


def _matching(groups: Sequence[tuple[int, ...]], subprocess: Subprocess) -> set[tuple[int, ...]]:
    """Slots that the groups of PDG ids name, each slot at most once in a match."""
    slots = [[i for i, pdg_id in enumerate(subprocess.outgoing) if pdg_id in group] for group in groups]
    return {tuple(sorted(match)) for match in itertools.product(*slots) if len(set(match)) == len(match)}


def _add(own: dict[tuple[str, tuple[int, ...]], tuple[Cut, str]], cut: Cut, where: str) -> None:
    place = (cut.observable, cut.slots)
    if place in own:
        before, there = own[place]
        minimum, maximum = max(cut.minimum, before.minimum), min(cut.maximum, before.maximum)
        if minimum >= maximum:
            raise ProcessError(
                f"{where} and {there} leave no phase space: together they ask for more than {minimum:g} and less than "
                f"{maximum:g}"
            )
        cut, where = Cut(cut.observable, cut.slots, minimum, maximum), f"{there} and {where}"
    own[place] = (cut, where)


def common_cuts(cuts: Sequence[frozenset[Cut]]) -> frozenset[Cut]:
    """Return the bounds that hold in every subprocess: those, a phase-space map may make use of."""
    by_place = [{(cut.observable, cut.slots): cut for cut in own} for own in cuts]
    return frozenset(
        Cut(
            *place,
            min(own[place].minimum for own in by_place),
            max(own[place].maximum for own in by_place),
        )
        for place in set.intersection(*(set(own) for own in by_place))
    )


class PhaseSpaceLimits:
    """What cuts and masses say of invariant masses: limits for the maps, so that less is sampled in vain.

    Args:
        cuts: Cuts that hold everywhere.
        masses: Of the outgoing particles, in GeV.
    """

    def __init__(self, cuts: frozenset[Cut], masses: Sequence[float]) -> None:
        self._masses = tuple(masses)
        self._pt = [0.0] * len(masses)
        self._pair: dict[tuple[int, ...], float] = {}
        self._delta_r: dict[tuple[int, ...], float] = {}
        self._maximum: dict[frozenset[int], float] = {}
        for cut in cuts:
            if cut.observable == "pt":
                self._pt[cut.slots[0]] = cut.minimum
            elif cut.observable == "mass":
                self._pair[cut.slots] = cut.minimum
                self._maximum[frozenset(cut.slots)] = cut.maximum
            elif cut.observable == "delta_r":
                self._delta_r[cut.slots] = cut.minimum
        for slots, delta_r in self._delta_r.items():
            # Massless: m^2 = 2 pt pt' (cosh(d eta) - cos(d phi)), smallest at d eta = 0 for a given delta R.
            if self._masses[slots[0]] == self._masses[slots[1]] == 0:
                pt = self._pt[slots[0]] * self._pt[slots[1]]
                mass = math.sqrt(2 * pt * (1 - math.cos(min(delta_r, math.pi))))
                self._pair[slots] = max(self._pair.get(slots, 0.0), mass)

    def minimum_mass(self, slots: frozenset[int]) -> float:
        """Smallest invariant mass that a group of outgoing particles can have, in GeV."""
        at_rest = sum(self._masses[slot] for slot in slots)
        inside = [
            mass + sum(self._masses[slot] for slot in slots.difference(group))
            for group, mass in self._pair.items()
            if slots.issuperset(group)
        ]
        return max([at_rest, *inside])

    def maximum_mass(self, slots: frozenset[int]) -> float:
        """Largest invariant mass that a group of outgoing particles can have, in GeV."""
        return min((maximum for group, maximum in self._maximum.items() if group >= slots), default=math.inf)

    def minimum_energy(self) -> float:
        """Smallest energy of the collision in its centre of mass, in GeV: the transverse masses have to go in."""
        transverse = [math.hypot(mass, pt) for mass, pt in zip(self._masses, self._pt, strict=True)]
        with_pair = [
            mass + sum(value for slot, value in enumerate(transverse) if slot not in group)
            for group, mass in self._pair.items()
        ]
        return max([sum(transverse), *with_pair])


def madspace_cuts(cuts: frozenset[Cut], outgoing: int, minimum_energy: float = 0.0) -> Any:
    """Return the cuts as ``madspace.Cuts``; None where there are none.

    Args:
        cuts: The cuts.
        outgoing: Number of outgoing particles.
        minimum_energy: Smallest partonic energy, in GeV, for the maps.
    """
    import madspace

    options = madspace.Observable.ObservableOption
    names = {
        "pt": options.obs_pt,
        "eta": options.obs_eta_abs,
        "rapidity": options.obs_y_abs,
        "delta_r": options.obs_delta_r,
    }
    # madspace picks particles by PDG id: here each has a number of its own.
    ids = [101, 102, *range(1, outgoing + 1)]
    items = []
    for cut in sorted(cuts):
        groups = [[slot + 1] for slot in cut.slots]
        if cut.observable == "mass":
            pair = len(groups) == 2
            observable = madspace.Observable(
                ids, options.obs_pair_mass if pair else options.obs_mass, groups, sum_momenta=not pair
            )
        else:
            observable = madspace.Observable(ids, names[cut.observable], groups)
        items.append(madspace.CutItem(observable, min=cut.minimum, max=cut.maximum))
    if minimum_energy > 0:
        items.append(madspace.CutItem(madspace.Observable(ids, options.obs_sqrt_s, []), min=minimum_energy))
    return madspace.Cuts(items) if items else None


class CutMasks:
    """Which points each subprocess keeps.

    Args:
        cuts: Of each subprocess.
        outgoing: Number of outgoing particles.
        context: The madspace context.

    Attributes:
        of_subprocess: For each subprocess the column of its cuts.
        count: Number of columns: sets of cuts that differ.
    """

    def __init__(self, cuts: Sequence[frozenset[Cut]], outgoing: int, context: Any) -> None:
        import madspace

        distinct = list(dict.fromkeys(cuts))
        self.of_subprocess = tuple(distinct.index(own) for own in cuts)
        self.count = len(distinct)
        built = [madspace_cuts(own, outgoing) for own in distinct]
        self._masks = [None if one is None else madspace.FunctionRuntime(one.function(), context) for one in built]

    def __call__(self, momenta: FloatArray) -> npt.NDArray[np.bool_]:
        """Return ``(n, sets of cuts)`` for ``momenta (n, particles, 4)`` as ``(energy, px, py, pz)``, contiguous."""
        result = np.ones((len(momenta), self.count), bool)
        if len(momenta):
            for column, mask in enumerate(self._masks):
                if mask is not None:
                    result[:, column] = np.asarray(mask(momenta)) > 0.5
        return result
