"""One reaction of definite particles."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Subprocess:
    """Two incoming and n outgoing particles, as PDG ids.

    Momenta of a subprocess stand in this order: ``(n, 2 + outgoing, 4)``.
    """

    incoming: tuple[int, int]
    outgoing: tuple[int, ...]

    @property
    def pdg_ids(self) -> tuple[int, ...]:
        """All PDG ids, the incoming ones first."""
        return self.incoming + self.outgoing
