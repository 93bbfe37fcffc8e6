r"""Colour strings: how coloured particles can be connected at leading colour, and what that makes of |M|^2.

A string runs from a triplet over gluons to an antitriplet, :math:`(q, g_1, \dots, g_k, \bar q)`, or around a ring of
gluons. The squared partial amplitude of a set of strings has the soft and collinear poles

.. math:: \prod_\mathrm{chains} \frac{s_{q \bar q}}{s_{q 1} s_{12} \cdots s_{k \bar q}}
          \prod_\mathrm{rings} \frac{1}{s_{12} s_{23} \cdots s_{k 1}}, \quad s_{ij} = 2 |p_i \cdot p_j|,

and |M|^2 at leading colour is the sum over all ways to string the particles, times a function without poles of that
kind. For the maximally helicity-violating amplitudes (MHV) of gluons, or of one pair of massless quarks and gluons,
that function is known: :math:`\sum_{i<j} s_{ij}^4`, and
:math:`\sum_i (s_{qi}^3 s_{\bar q i} + s_{qi} s_{\bar q i}^3) / s_{q \bar q}^2`.

References:
    Parke and Taylor, Phys. Rev. Lett. 56, 2459 (1986); Mangano and Parke, Phys. Rept. 200, 301 (1991), hep-th/0509223,
    sec. 5 and 7.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mlgen.hard_process.color_lines import outgoing_colors
from mlgen.stages import FloatArray

#: More ways to string the particles than these cost more than they bring.
MOST_STRINGINGS = 400


@dataclass(frozen=True, slots=True)
class Stringing:
    """One way to string all coloured particles: chains (triplet first), and rings of gluons, as slots."""

    chains: tuple[tuple[int, ...], ...]
    rings: tuple[tuple[int, ...], ...] = ()

    @property
    def neighbours(self) -> tuple[tuple[int, int], ...]:
        """Pairs of slots whose invariants stand in the denominator."""
        pairs = [pair for chain in self.chains if len(chain) > 2 for pair in itertools.pairwise(chain)]
        pairs += [pair for ring in self.rings for pair in zip(ring, (*ring[1:], ring[0]), strict=True)]
        return tuple((min(pair), max(pair)) for pair in pairs)

    @property
    def ends(self) -> tuple[tuple[int, int], ...]:
        """Pairs of slots whose invariants stand in the numerator."""
        pairs = [(chain[0], chain[-1]) for chain in self.chains if len(chain) > 2]
        return tuple((min(pair), max(pair)) for pair in pairs)


def stringings(pdg_ids: Sequence[int]) -> tuple[Stringing, ...]:
    """Return all ways to string the coloured particles of a process.

    Returns:
        None of them where no gluon is there (nothing has such poles), where a particle is of another colour, or where
        there are more than `MOST_STRINGINGS`.
    """
    colors = outgoing_colors(pdg_ids)
    slots = {color: [slot for slot, own in enumerate(colors) if own == color] for color in (3, -3, 8)}
    gluons = slots[8]
    if not gluons or len(slots[3]) != len(slots[-3]) or any(color not in (1, 3, -3, 8) for color in colors):
        return ()
    quarks = len(slots[3])
    if _count(quarks, len(gluons)) > MOST_STRINGINGS:
        return ()
    if quarks:
        return tuple(_chained(slots[3], slots[-3], gluons))
    return tuple(_ringed(gluons))


def _count(quarks: int, gluons: int) -> int:
    if not quarks:
        # A ring and its mirror image are one.
        return max(1, math.factorial(gluons - 1) // 2)
    return math.factorial(quarks) * math.factorial(gluons) * math.comb(gluons + quarks - 1, gluons)


def _chained(triplets: Sequence[int], antitriplets: Sequence[int], gluons: Sequence[int]) -> Iterator[Stringing]:
    for ends in itertools.permutations(antitriplets):
        for order in itertools.permutations(gluons):
            for cuts in itertools.combinations_with_replacement(range(len(gluons) + 1), len(triplets) - 1):
                bounds = [0, *cuts, len(gluons)]
                parts = [order[first:last] for first, last in itertools.pairwise(bounds)]
                yield Stringing(tuple((q, *part, a) for q, part, a in zip(triplets, parts, ends, strict=True)))


def _ringed(gluons: Sequence[int]) -> Iterator[Stringing]:
    first, *others = gluons
    for order in itertools.permutations(others):
        # A ring and its mirror image are one.
        if len(order) < 2 or order[0] < order[-1]:
            yield Stringing((), ((first, *order),))


class StringSum:
    """The sum over all stringings, from the logarithms of the invariants.

    Args:
        pdg_ids: Of the process.
        pairs: The pairs of slots whose logarithms will be given, in their order, the smaller slot first.

    Attributes:
        stringings: The ways to string the particles; none where the sum is of no use.
    """

    def __init__(self, pdg_ids: Sequence[int], pairs: Sequence[tuple[int, int]]) -> None:
        self.stringings = stringings(pdg_ids)
        place = {pair: number for number, pair in enumerate(pairs)}
        self._powers = np.zeros((len(pairs), len(self.stringings)))
        for number, stringing in enumerate(self.stringings):
            for sign, chosen in ((-1.0, stringing.neighbours), (1.0, stringing.ends)):
                for pair in chosen:
                    self._powers[place[pair], number] += sign
        colors = outgoing_colors(pdg_ids)
        self._gluons = [slot for slot, color in enumerate(colors) if color == 8]
        self._quarks = [slot for slot, color in enumerate(colors) if abs(color) == 3]
        self._place = place
        coloured = len(self._gluons) + len(self._quarks)
        self._mhv = bool(self.stringings) and coloured == len(colors) and len(self._quarks) in (0, 2)

    def __call__(self, logarithms: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the logarithm of the sum, with the MHV numerator where that fits, and the share of each stringing.

        Args:
            logarithms: Of ``s_ij`` in units of s-hat, ``(n, pairs)``.

        Returns:
            ``(n,)`` and ``(n, stringings)``; the shares are logarithms.
        """
        terms = logarithms @ self._powers
        largest = terms.max(axis=1)
        total = largest + np.log(np.exp(terms - largest[:, None]).sum(axis=1))
        shares = terms - total[:, None]
        return (total + self._numerator(logarithms) if self._mhv else total), shares

    def _numerator(self, logarithms: FloatArray) -> FloatArray:
        def column(first: int, second: int) -> FloatArray:
            return np.asarray(logarithms[:, self._place[min(first, second), max(first, second)]])

        if not self._quarks:
            powers = [4 * column(*pair) for pair in itertools.combinations(self._gluons, 2)]
            return np.asarray(np.log(np.exp(np.stack(powers)).sum(axis=0)))
        quark, antiquark = self._quarks
        terms = []
        for gluon in self._gluons:
            one, other = column(quark, gluon), column(antiquark, gluon)
            terms += [3 * one + other, one + 3 * other]
        return np.asarray(np.log(np.exp(np.stack(terms)).sum(axis=0)) - 2 * column(quark, antiquark))
