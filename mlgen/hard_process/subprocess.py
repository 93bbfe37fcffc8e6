"""One reaction of definite particles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, order=True)
class Subprocess:
    """Two incoming and n outgoing particles, as PDG ids.

    Momenta of a subprocess stand in this order: ``(n, 2 + outgoing, 4)``.
    """

    incoming: tuple[int, int]
    outgoing: tuple[int, ...]

    @classmethod
    def of(cls, pdg_ids: Sequence[int]) -> Self:
        """Return the subprocess of the given PDG ids, the incoming ones first."""
        first, second, *outgoing = pdg_ids
        return cls((first, second), tuple(outgoing))

    @property
    def pdg_ids(self) -> tuple[int, ...]:
        """All PDG ids, the incoming ones first."""
        return self.incoming + self.outgoing
