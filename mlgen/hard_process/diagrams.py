"""All cubic tree diagrams of a subprocess at lowest order, from the three-point vertices of the model."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.particles import Z_PRIME, particle_of
from mlgen.hard_process.subprocess import Subprocess


@dataclass(frozen=True, slots=True)
class Propagator:
    """An inner line of a diagram.

    Args:
        pdg_id: The particle that flows along the line: into `legs` in the s-channel, out of them in the t-channel.
        legs: External legs on one side, counted from 0 with the incoming ones first. In the s-channel all of them are
            outgoing (the line decays into them); in the t-channel it is the side of leg 0.
    """

    pdg_id: int
    legs: frozenset[int]

    @property
    def is_s_channel(self) -> bool:
        """Whether the line's momentum is that of outgoing particles alone."""
        return 0 not in self.legs


@dataclass(frozen=True, slots=True)
class CubicDiagram:
    """A tree diagram whose vertices all join three lines.

    Args:
        propagators: The inner lines, ``particles - 3`` of them, which say what the vertices join.
    """

    propagators: tuple[Propagator, ...]


def cubic_diagrams(subprocess: Subprocess, parameters: ModelParameters) -> tuple[CubicDiagram, ...]:
    """Return all diagrams with three-point vertices that have the fewest electroweak couplings.

    Four-point vertices are left out: they have no propagator that a diagram of the same order does not have.
    The quark mixing matrix is the unit matrix, and the Higgs couples to what has a mass.

    Returns:
        The diagrams, always in the same order; none where the model has none.
    """
    return _cubic_diagrams(subprocess, _model_of(parameters))


def coupling_orders(subprocess: Subprocess, parameters: ModelParameters) -> tuple[int, int] | None:
    r"""Return the powers of the strong and of the electroweak coupling in the lowest-order :math:`|M|^2`.

    They are :math:`(k, l)` for :math:`|M|^2 \propto \alpha_s^k \alpha^l`, the couplings of one amplitude
    ("QCD" and "QED" in MadGraph), and add up to the number of particles minus two.

    Returns:
        The two powers; None where there is no diagram.
    """
    best = _best_orders(subprocess, _model_of(parameters))
    vertices = len(subprocess.pdg_ids) - 2
    return None if best is None else (best, vertices - best)


def spell(subprocess: Subprocess) -> str:
    """Return a subprocess as a reaction is written: ``g g > t t~``."""
    incoming, outgoing = (
        " ".join(particle_of(pdg_id).name for pdg_id in side) for side in (subprocess.incoming, subprocess.outgoing)
    )
    return f"{incoming} > {outgoing}"


@dataclass(frozen=True, slots=True)
class _Model:
    """What of the parameters decides which vertices there are."""

    massive_fermions: frozenset[int]
    has_z_prime: bool


_FERMIONS = (1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16)
_CHARGED_FERMIONS = (1, 2, 3, 4, 5, 6, 11, 13, 15)


def _model_of(parameters: ModelParameters) -> _Model:
    massive = frozenset(pdg_id for pdg_id in _FERMIONS if parameters.mass_of(pdg_id) > 0)
    return _Model(massive, parameters.z_prime is not None)


def _three_point_vertices(model: _Model) -> Iterator[tuple[tuple[int, int, int], int]]:
    """Particles of each three-point vertex, all outgoing, with its power of the strong coupling."""
    yield (21, 21, 21), 1
    for fermion in _FERMIONS:
        yield (fermion, -fermion, 23), 0
        if fermion <= 6:
            yield (fermion, -fermion, 21), 1
        if fermion in _CHARGED_FERMIONS:
            yield (fermion, -fermion, 22), 0
        if fermion in model.massive_fermions:
            yield (fermion, -fermion, 25), 0
        if model.has_z_prime:
            yield (fermion, -fermion, Z_PRIME), 0
    for lower in (1, 3, 5, 11, 13, 15):
        yield (lower, -(lower + 1), 24), 0
        yield (-lower, lower + 1, -24), 0
    for boson in (22, 23, 25):
        yield (boson, 24, -24), 0
    yield (23, 23, 25), 0
    yield (25, 25, 25), 0


@functools.cache
def _joins(model: _Model) -> dict[tuple[int, int], tuple[tuple[int, int], ...]]:
    """The particles that can decay into each ordered pair, with the power of the strong coupling."""
    joins: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for triple, strong in _three_point_vertices(model):
        for parent in range(3):
            first, second = (triple[other] for other in range(3) if other != parent)
            decaying = particle_of(triple[parent]).anti.pdg_id
            joins.setdefault((first, second), set()).add((decaying, strong))
            joins.setdefault((second, first), set()).add((decaying, strong))
    return {pair: tuple(sorted(parents)) for pair, parents in joins.items()}


#: A set of legs as a bit mask, and the particle that decays into them.
_Current = tuple[int, int]
#: Power of the strong coupling below a current, and the pairs of currents that it can decay into at that power.
_Splittings = tuple[int, tuple[tuple[_Current, _Current], ...]]


@functools.lru_cache(maxsize=1024)
def _currents(subprocess: Subprocess, model: _Model) -> dict[_Current, _Splittings]:
    """The particles that each set of legs other than leg 0 can come from, at the greatest power of the strong coupling.

    The powers of two halves add, so a tree with the greatest power is made of trees with the greatest power.
    """
    joins = _joins(model)
    legs = len(subprocess.pdg_ids)
    outgoing = [particle_of(subprocess.incoming[1]).anti.pdg_id, *subprocess.outgoing]
    currents: dict[_Current, _Splittings] = {(1 << leg, outgoing[leg - 1]): (0, ()) for leg in range(1, legs)}
    of_set: dict[int, list[int]] = {1 << leg: [outgoing[leg - 1]] for leg in range(1, legs)}
    everything = (1 << legs) - 2
    for legs_here in sorted(range(2, everything + 1, 2), key=lambda mask: (mask.bit_count(), mask)):
        if legs_here.bit_count() < 2:
            continue
        found: dict[int, tuple[int, list[tuple[_Current, _Current]]]] = {}
        for half, rest in _halves(legs_here):
            for first in of_set.get(half, ()):
                for second in of_set.get(rest, ()):
                    for parent, strong in joins.get((first, second), ()):
                        pair = ((half, first), (rest, second))
                        power = strong + currents[pair[0]][0] + currents[pair[1]][0]
                        if parent not in found or power > found[parent][0]:
                            found[parent] = (power, [pair])
                        elif power == found[parent][0]:
                            found[parent][1].append(pair)
        of_set[legs_here] = sorted(found)
        for parent, (power, pairs) in found.items():
            currents[legs_here, parent] = (power, tuple(pairs))
    return currents


def _halves(mask: int) -> Iterator[tuple[int, int]]:
    """All ways to split a set in two, each once: the first half has the lowest member."""
    lowest = mask & -mask
    others = mask ^ lowest
    subset = others
    while True:
        subset = (subset - 1) & others
        yield lowest | subset, others ^ subset
        if subset == 0:
            return


def _root(subprocess: Subprocess) -> _Current:
    return (1 << len(subprocess.pdg_ids)) - 2, subprocess.incoming[0]


def _best_orders(subprocess: Subprocess, model: _Model) -> int | None:
    found = _currents(subprocess, model).get(_root(subprocess))
    return None if found is None else found[0]


#: The pairs of currents that meet in each vertex of a tree, with the current that decays into them.
_Tree = tuple[tuple[_Current, _Current, _Current], ...]


@functools.lru_cache(maxsize=1024)
def _cubic_diagrams(subprocess: Subprocess, model: _Model) -> tuple[CubicDiagram, ...]:
    currents = _currents(subprocess, model)
    if _root(subprocess) not in currents:
        return ()
    trees: dict[_Current, list[_Tree]] = {}

    def trees_below(current: _Current) -> list[_Tree]:
        if current not in trees:
            pairs = currents[current][1]
            trees[current] = [
                ((current, first, second), *left, *right)
                for first, second in pairs
                for left in trees_below(first)
                for right in trees_below(second)
            ] or [()]
        return trees[current]

    return tuple(_diagram(tree, subprocess) for tree in trees_below(_root(subprocess)))


def _diagram(tree: _Tree, subprocess: Subprocess) -> CubicDiagram:
    everything = (1 << len(subprocess.pdg_ids)) - 1
    propagators = []
    for _, *decay_products in tree:
        for mask, pdg_id in decay_products:
            if mask.bit_count() > 1:
                # Where leg 1 is among the decay products the line is a t-channel, told by the other side.
                side = everything ^ mask if mask & 2 else mask
                propagators.append(Propagator(pdg_id, frozenset(_members(side))))
    return CubicDiagram(tuple(propagators))


def _members(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
