"""Which events a generator is asked for: ``g g > t t~ g``, or ``* > t t~ j``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mlgen.errors import UserError
from mlgen.hard_process.particles import particles_named, resolve_labels
from mlgen.representation import Topology

BoolArray = npt.NDArray[np.bool_]

ANY = "*"


class Selection:
    """Events whose particles a text names; labels such as ``p`` and ``j`` stand for several.

    Args:
        text: Incoming particles (or ``*`` for any two), ``>``, and the outgoing ones in any order.

    Raises:
        UserError: The text cannot be read.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        sides = text.split(">")
        if len(sides) != 2 or not sides[1].split():
            raise UserError(
                f"only = '{text}': 'A B > C D ...' is expected, or '* > C D ...' for any incoming particles"
            )
        if ANY in sides[1].split():
            raise UserError(f"only = '{text}': '*' stands for the incoming particles only; name the outgoing ones")
        self.incoming, self.outgoing = (self._sets(side.split()) for side in sides)
        if sides[0].split() == [ANY]:
            self.incoming = []
        elif len(self.incoming) != 2:
            raise UserError(f"only = '{text}': two incoming particles are expected, or '*'")

    def _sets(self, names: Sequence[str]) -> list[frozenset[int]]:
        known = resolve_labels()
        return [
            frozenset(particle.pdg_id for particle in particles_named(name, known)) for name in names if name != ANY
        ]

    def matches(self, topology: Topology) -> BoolArray:
        """Return which flavour labels of a topology are asked for, ``(flavours,)``."""
        rows = list(topology.kinematics.tree.incoming)
        result = np.zeros(len(topology.labels.pdg_id), bool)
        if len(topology.outgoing) != len(self.outgoing):
            return result
        for number, pdg_id in enumerate(topology.labels.pdg_id):
            incoming = [int(kind) for kind in pdg_id[rows]]
            fits = not self.incoming or all(
                kind in wanted for kind, wanted in zip(incoming, self.incoming, strict=True)
            )
            result[number] = fits and _assignable([int(kind) for kind in pdg_id[topology.outgoing]], self.outgoing)
        return result


def _assignable(kinds: list[int], wanted: list[frozenset[int]]) -> bool:
    """Whether each particle can be given to one of the sets, each set to one particle."""
    if Counter(kinds) == Counter(next(iter(one)) for one in wanted if len(one) == 1) and all(
        len(one) == 1 for one in wanted
    ):
        return True
    from scipy.optimize import linear_sum_assignment

    fits = np.array([[kind in one for one in wanted] for kind in kinds])
    rows, columns = linear_sum_assignment(fits, maximize=True)
    return bool(fits[rows, columns].all())


def selected(text: str, topologies: Sequence[Topology]) -> list[BoolArray]:
    """Return which flavour labels of each topology are asked for, all for an empty text.

    Raises:
        UserError: There are none; says what there is.
    """
    if not text:
        return [np.ones(len(topology.labels.pdg_id), bool) for topology in topologies]
    selection = Selection(text)
    found = [selection.matches(topology) for topology in topologies]
    if not any(matches.any() for matches in found):
        known = ", ".join(f"{topology.describe()} ({100 * topology.probability:.3g} %)" for topology in topologies)
        raise UserError(
            f"only = '{text}': the generator has seen no such events in its training and invents none; the most "
            f"frequent ones of each kind that it has seen are {known} (PDG ids)"
        )
    return found
