"""What became of the final particles of a run, by kind."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.detector.front_face import Way
from mlgen.detector.names import particle_name

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]

#: Kinds of particles that a sentence names; the others are counted together.
NAMED_KINDS = 8


class Fate(enum.IntEnum):
    """What became of a final particle. The first that holds, in this order, is taken."""

    INVISIBLE = 0
    OUTSIDE_ACCEPTANCE = 1
    BELOW_MINIMUM_ENERGY = 2
    NOT_KNOWN = 3
    STARTS_BEHIND = 4
    CURLS_UP = 5
    MISSES = 6
    OUTSIDE_RANGE_SKIPPED = 7
    SHOWER_OUTSIDE_RANGE = 8
    SHOWER = 9

    @property
    def description(self) -> str:
        """In words."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS = {
    Fate.INVISIBLE: "invisible: no detector sees them",
    Fate.OUTSIDE_ACCEPTANCE: "outside the acceptance",
    Fate.BELOW_MINIMUM_ENERGY: "below the minimum energy",
    Fate.NOT_KNOWN: "not known to the model",
    Fate.STARTS_BEHIND: "produced behind the front face",
    Fate.CURLS_UP: "curl up in the magnetic field",
    Fate.MISSES: "miss the front face",
    Fate.OUTSIDE_RANGE_SKIPPED: "left out: energy outside the range of the training",
    Fate.SHOWER_OUTSIDE_RANGE: "with a shower, flagged: energy outside the range of the training",
    Fate.SHOWER: "with a shower",
}
#: The fate of a particle that does not get to the front face.
FATE_OF_WAY = {Way.STARTS_BEHIND: Fate.STARTS_BEHIND, Way.CURLS_UP: Fate.CURLS_UP, Way.MISSES: Fate.MISSES}


@dataclass(frozen=True, slots=True)
class CensusRow:
    """How many particles of one kind had one fate, and their energy in GeV; events are not weighted."""

    pdg_id: int
    fate: Fate
    count: int
    energy: float

    @property
    def name(self) -> str:
        """Name of the kind of particle; its PDG id when it has none."""
        return particle_name(self.pdg_id)


class Census:
    """Counts particles by kind and fate.

    Args:
        trained: The energies that the model was trained on, in GeV, by PDG id.
    """

    def __init__(self, trained: Mapping[int, tuple[float, float]]) -> None:
        self._trained = trained
        self._counts: dict[tuple[int, int], tuple[int, float]] = {}

    def add(self, pdg_id: IntArray, fate: IntArray, energy: FloatArray) -> None:
        """Count particles: arrays of shape ``(n,)``, energies in GeV."""
        pairs = np.stack([np.asarray(pdg_id, np.int64), np.asarray(fate, np.int64)], axis=1)
        found, place = np.unique(pairs, axis=0, return_inverse=True)
        counts = np.bincount(place.ravel(), minlength=len(found)).tolist()
        energies = np.bincount(place.ravel(), weights=energy, minlength=len(found)).tolist()
        for (kind, what), count, total in zip(found.tolist(), counts, energies, strict=True):
            before = self._counts.get((kind, what), (0, 0.0))
            self._counts[kind, what] = (before[0] + count, before[1] + total)

    def rows(self, *fates: Fate) -> list[CensusRow]:
        """Return the counts of some fates (of all when none is named), the most frequent kinds first in each."""
        rows = [
            CensusRow(kind, Fate(what), count, energy)
            for (kind, what), (count, energy) in self._counts.items()
            if not fates or Fate(what) in fates
        ]
        return sorted(rows, key=lambda row: (row.fate, -row.count, row.pdg_id))

    def count(self, *fates: Fate) -> int:
        """Number of particles of some fates; of all when none is named."""
        return sum(row.count for row in self.rows(*fates))

    def figures(self) -> dict[str, int]:
        """Return the numbers that there are, by a name for the report."""
        figures = {
            "final_particles": self.count(),
            "showers": self.count(Fate.SHOWER, Fate.SHOWER_OUTSIDE_RANGE),
        }
        others = {
            "showers_outside_energy_range": Fate.SHOWER_OUTSIDE_RANGE,
            "left_out_outside_energy_range": Fate.OUTSIDE_RANGE_SKIPPED,
            "not_known_to_the_model": Fate.NOT_KNOWN,
            "produced_behind_front_face": Fate.STARTS_BEHIND,
            "curling_up": Fate.CURLS_UP,
            "missing_the_front_face": Fate.MISSES,
            "below_minimum_energy": Fate.BELOW_MINIMUM_ENERGY,
            "outside_acceptance": Fate.OUTSIDE_ACCEPTANCE,
            "invisible": Fate.INVISIBLE,
        }
        return figures | {name: number for name, fate in others.items() if (number := self.count(fate))}

    def remarks(self) -> Iterator[str]:
        """Say what a user should know: visible particles without a shower, and showers that may be wrong."""
        if unknown := self.rows(Fate.NOT_KNOWN):
            yield f"visible, but not known to the model and left out: {listed(unknown)}"
        if invisible := self.rows(Fate.INVISIBLE):
            yield f"invisible, which is no loss: {listed(invisible, energies=False)}"
        if skipped := self.rows(Fate.OUTSIDE_RANGE_SKIPPED):
            yield f"left out, because the model was trained on {self._trained_on()}: {listed(skipped)}"
        if outside := self.rows(Fate.SHOWER_OUTSIDE_RANGE):
            yield f"flagged, because the model was trained on {self._trained_on()}: {listed(outside)}"
        if not self.count(Fate.SHOWER, Fate.SHOWER_OUTSIDE_RANGE):
            yield "no particle got a shower: there are no cells"

    def _trained_on(self) -> str:
        return " and ".join(
            f"{particle_name(kind)} of {low:.4g} to {high:.4g} GeV" for kind, (low, high) in self._trained.items()
        )


def listed(rows: Sequence[CensusRow], *, energies: bool = True) -> str:
    """Name the most frequent kinds with their numbers, and their energies; count the others together."""
    parts = [_one(row.name, row.count, row.energy if energies else None) for row in rows[:NAMED_KINDS]]
    if others := rows[NAMED_KINDS:]:
        energy = sum(row.energy for row in others)
        parts.append(_one(f"{len(others)} further kinds", sum(r.count for r in others), energy if energies else None))
    return ", ".join(parts)


def _one(name: str, count: int, energy: float | None) -> str:
    return f"{name} {count:,}" + (f" ({energy:,.4g} GeV)" if energy is not None else "")
