"""Observables that say the same as another: each test of the same number again only weakens all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlgen.validation.observable import FloatArray, Kind, Observable

#: Two values are the same when they agree to this, relatively and in the observable's unit.
SAME = 1e-6
#: What is found in fewer events is chance.
ENOUGH = 20


@dataclass(frozen=True, slots=True)
class Duplicate:
    """An observable that is a function of another in all pilot events of all samples.

    Args:
        row: The observable.
        of: The one that it is a function of.
        slope: The function: ``slope * other + offset``.
        offset: Likewise.
    """

    row: int
    of: int
    slope: float = 1.0
    offset: float = 0.0


def duplicates(
    definitions: Sequence[Observable], pilots: Sequence[FloatArray], order: Sequence[int]
) -> list[Duplicate]:
    """Find observables that are the same as another one, or, for whole numbers, a linear function of another one.

    The function is one and the same for all samples, and exact in each of their events. So whatever differs in the one
    observable differs in the other too.

    Args:
        definitions: The observables.
        pilots: Values of some events of each sample, each ``(observables, n)``; NaN where an event lacks one.
        order: Their rows, the one that is rather kept first.

    Returns:
        The later one of each two, with the earliest one that it is a function of. None where a sample has fewer than
        `ENOUGH` events, because what these have in common may be chance.
    """
    if not pilots or min(values.shape[1] for values in pilots) < ENOUGH:
        return []
    values = np.concatenate(list(pilots), axis=1)
    kept: list[int] = []
    found = []
    for row in order:
        kind = definitions[row].kind
        of = None
        if kind is not Kind.CATEGORY and _varies(values[row]):
            candidates = (other for other in kept if definitions[other].kind is kind)
            relation = _line if kind is Kind.INTEGER else _identity
            of = next(
                (
                    Duplicate(row, other, *line)
                    for other in candidates
                    if (line := relation(values[other], values[row])) is not None
                ),
                None,
            )
        if of is None:
            kept.append(row)
        else:
            found.append(of)
    return found


def _varies(values: FloatArray) -> bool:
    """Whether enough events have another value than the most common one; of a constant, everything is a function."""
    known = values[np.isfinite(values)]
    if len(known) < ENOUGH:
        return False
    _, counts = np.unique(known, return_counts=True)
    return bool(len(known) - counts.max() >= ENOUGH)


def _identity(first: FloatArray, second: FloatArray) -> tuple[float, float] | None:
    # Most pairs differ in the first events already.
    for part in (slice(0, ENOUGH), slice(None)):
        if not np.allclose(first[part], second[part], rtol=SAME, atol=SAME, equal_nan=True):
            return None
    return 1.0, 0.0


def _line(first: FloatArray, second: FloatArray) -> tuple[float, float] | None:
    if not np.array_equal(np.isnan(first), np.isnan(second)):
        return None
    first, second = first[~np.isnan(first)], second[~np.isnan(second)]
    low, high = int(first.argmin()), int(first.argmax())
    if first[low] == first[high]:
        return None
    slope = float((second[high] - second[low]) / (first[high] - first[low]))
    if slope == 0:
        return None
    offset = float(second[low] - slope * first[low])
    return (slope, offset) if np.allclose(slope * first + offset, second, rtol=0, atol=SAME) else None
