"""The order in which the particles of an event are looked at: jets by falling transverse momentum.

Programs write like particles in an order that means nothing, and unlike jets in an order that depends on flavour. A
network that sees jets by transverse momentum sees one smooth density for all flavours; which row of the file each jet
belongs to is part of the event's label.
"""

from __future__ import annotations

import numpy as np

from mlgen.events import FloatArray
from mlgen.representation.classes import PDG_ID, STATUS, IntArray
from mlgen.representation.decay_tree import OUTGOING, DecayTree

_GLUON = 21
_HEAVIEST_JET_QUARK = 5
#: Transverse momenta of two jets that differ by less, relatively, are equal: two jets that balance each other.
SAME_PT = 1e-9


def is_jet(pdg_id: IntArray) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return which kinds of particles are jets: gluons, and quarks up to the bottom."""
    size = np.abs(pdg_id)
    return np.asarray((size == _GLUON) | ((size >= 1) & (size <= _HEAVIEST_JET_QUARK)))


def jet_rows(rows: IntArray, tree: DecayTree) -> tuple[int, ...]:
    """Rows of the jets that the hard scattering made, in the order of the file.

    Args:
        rows: Integer columns of an event, ``(particles, 6)``.
        tree: Its decay tree.
    """
    top = [tree.nodes[node].row for node in tree.top if not tree.nodes[node].children]
    return tuple(row for row in sorted(top) if rows[row, STATUS] == OUTGOING and bool(is_jet(rows[row, PDG_ID])))


def order_by_pt(momenta: FloatArray, jets: tuple[int, ...]) -> IntArray:
    """Row of the file for each place of the canonical event, ``(n, particles)``.

    Jets of equal transverse momentum (up to `SAME_PT`) stay in the order of the file, whatever rounding does to them.

    Args:
        momenta: ``(n, particles, 4)``.
        jets: Rows of the jets; the others stay where they are.
    """
    order = np.tile(np.arange(momenta.shape[1]), (len(momenta), 1))
    if len(jets) > 1:
        pt = np.hypot(momenta[:, jets, 0], momenta[:, jets, 1])
        places = np.argsort(-pt, axis=1, kind="stable")
        for last in range(len(jets) - 1, 0, -1):
            for first in range(last):
                _keep_equal_in_order(pt, places, first)
        order[:, jets] = np.asarray(jets)[places]
    return order


def _keep_equal_in_order(pt: FloatArray, places: IntArray, first: int) -> None:
    """Exchange a place and the next, in place, where they are equal and the wrong way round."""
    wrong = np.flatnonzero(places[:, first] > places[:, first + 1])
    hard, soft = pt[wrong, places[wrong, first]], pt[wrong, places[wrong, first + 1]]
    wrong = wrong[np.abs(hard - soft) <= SAME_PT * hard]
    places[wrong, first : first + 2] = places[wrong, first : first + 2][:, ::-1]
