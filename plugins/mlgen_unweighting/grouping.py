"""Candidates that are told apart by the numbers of their groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.errors import WeightError
from mlgen.stages import Candidates, IntArray

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GroupMaxima:
    """The maximum weight of each group.

    Args:
        group: Numbers of the groups, ascending, ``(g,)``.
        maximum: Their maxima, ``(g,)``.
        largest: The largest of them.
    """

    group: IntArray
    maximum: FloatArray
    largest: float

    def of(self, numbers: IntArray) -> FloatArray:
        """Return the maximum for candidates of the groups with these numbers, ``(n,)``.

        That of a group which is not known is the largest one, so that few of its candidates are overweights.
        """
        place = np.minimum(np.searchsorted(self.group, numbers), len(self.group) - 1)
        return np.where(self.group[place] == numbers, self.maximum[place], self.largest)

    def remark(self, name: str, most: int) -> str:
        """Say what the maxima are, the largest first and no more than `most` of them.

        Args:
            name: What the candidates are told apart by.
            most: Number of groups to list.
        """
        largest = np.argsort(-self.maximum, kind="stable")[:most]
        listed = ", ".join(f"{self.maximum[place]:.3g} ({name} {self.group[place]})" for place in largest)
        others = len(self.group) - len(largest)
        return f"each {name} has its own maximum, so that event weights differ between them: {listed}" + (
            f", and {others} smaller ones" if others else ""
        )


def group_numbers(candidates: Candidates, name: str, before: int) -> IntArray:
    """Return the number of each candidate's group.

    Args:
        candidates: One batch of ``n`` candidates.
        name: What they are told apart by: ``process`` or ``channel``.
        before: Candidates that came ahead of this batch, for the messages.

    Raises:
        WeightError: There are no groups of that name, not one number for each candidate, or a negative one.
    """
    if name not in candidates.groups:
        known = ", ".join(f"'{other}'" for other in candidates.groups)
        there = f"are told apart by {known} only" if known else "have no groups at all"
        instead = "".join(f"maximum_per = '{other}', or " for other in candidates.groups)
        raise WeightError(
            f"maximum_per = '{name}' needs the {name} of each candidate, but the candidates {there}; "
            f"set {instead}maximum_per = 'sample'"
        )
    numbers: npt.NDArray[Any] = np.asarray(candidates.groups[name])
    expected = np.shape(candidates.weight)
    if numbers.shape != expected or numbers.dtype.kind not in "iu":
        raise WeightError(
            f"the {name} numbers have shape {numbers.shape} and type {numbers.dtype}; integers of shape {expected}, "
            "one for each candidate, are expected"
        )
    negative = np.flatnonzero(numbers < 0)
    if len(negative):
        raise WeightError(
            f"candidate {before + int(negative[0]) + 1} (counted from 1) has the {name} number "
            f"{numbers[negative[0]]}; numbers from 0 are expected"
        )
    return numbers.astype(np.int64, copy=False)


def by_group(numbers: IntArray, weights: FloatArray) -> Iterator[tuple[int, FloatArray]]:
    """Yield each group's number, ascending, and the weights of its candidates, in their order; ``(n,)`` each."""
    order = np.argsort(numbers, kind="stable")
    groups, starts = np.unique(numbers[order], return_index=True)
    for group, part in zip(groups, np.split(weights[order], starts)[1:], strict=True):
        yield int(group), part
