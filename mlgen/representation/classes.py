"""Event classes: everything about an event that is not a real number.

Two events are of one class when their particles agree row by row in PDG id, status, mothers and colour flow, when they
belong to the same process and when their incoming particles are written in the same order along z. What is left are
momenta, masses, the scale and the couplings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.events import INTEGER_COLUMNS, EventBatch, FloatArray

IntArray = npt.NDArray[np.int64]

PDG_ID, STATUS, MOTHER1, MOTHER2, COLOR1, COLOR2 = range(len(INTEGER_COLUMNS))
#: Status of an incoming particle in the Les Houches Accord (hep-ph/0109068, table 2).
INCOMING = -1
FIRST_COLOR_LABEL = 501
#: Fills the rows behind the last particle of an event; no particle has this PDG id, status or label.
_PADDING = np.iinfo(np.int32).min
#: Numbers compared at a time when colour labels are looked up; bounds the memory of `canonical_colors`.
_COMPARISONS = 1 << 24
#: Columns of a wider range than the first are numbered before they are joined, and joined ones that exceed the second.
_LARGEST_SPAN, _LARGEST_KEY = 1 << 20, 1 << 42


@dataclass(frozen=True)
class EventClass:
    """One class of events.

    Args:
        rows: Integer columns of the particles in the order of `INTEGER_COLUMNS`, shape ``(particles, 6)``; colour
            labels count from 501 in order of appearance.
        process_id: The event's process.
        reversed_beams: Whether the first incoming particle moves towards -z.
    """

    rows: IntArray
    process_id: int
    reversed_beams: bool

    def describe(self) -> str:
        """Return the class in words, as PDG ids: ``2 -2 -> 23 21 -11 11 (process 1)``."""
        incoming = self.rows[:, STATUS] == INCOMING
        sides = [" ".join(str(i) for i in self.rows[side, PDG_ID]) for side in (incoming, ~incoming)]
        return f"{sides[0]} -> {sides[1]} (process {self.process_id})"


def padded(values: npt.NDArray[Any], counts: npt.NDArray[Any], fill: float) -> npt.NDArray[Any]:
    """Spread a flat particle column over ``(n, particles)``, with `fill` behind the last particle of an event.

    Args:
        values: Flat column, shape ``(sum(counts), ...)``.
        counts: Particles in each event, shape ``(n,)``.
        fill: What stands where an event has no particle.
    """
    shape = (len(counts), int(counts.max(initial=0)))
    result = np.full(shape + values.shape[1:], fill, values.dtype)
    result[np.arange(shape[1]) < counts[:, None]] = values
    return result


def unique_rows(table: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], IntArray]:
    """Find the different rows of a table, as ``np.unique`` along the first axis does, in a tenth of the time.

    Columns are joined to one number for each row, so that only few lists of numbers are sorted.

    Args:
        table: Shape ``(n, columns)``, without NaN.

    Returns:
        The different rows in ascending order, and the place of each row of the table among them, ``(n,)``.
    """
    key = np.zeros(len(table), np.int64)
    size = 1
    for column in table.T:
        if len(table) == 0 or not np.any(column != column[0]):
            continue
        if np.issubdtype(column.dtype, np.integer):
            low = int(column.min())
            values, span = column.astype(np.int64) - low, int(column.max()) - low + 1
        else:
            span = 0
        if not 0 < span <= _LARGEST_SPAN:
            known, values = np.unique(column, return_inverse=True)
            span = len(known)
        if size * span > _LARGEST_KEY:
            known, key = np.unique(key, return_inverse=True)
            size = len(known)
        key = key * span + values
        size *= span
    _, first, index = np.unique(key, return_index=True, return_inverse=True)
    return table[first], np.asarray(index, np.int64).reshape(-1)


def canonical_colors(colors: IntArray) -> IntArray:
    """Relabel colour lines in order of appearance, so that equal flows have equal labels.

    Args:
        colors: Labels, shape ``(n, particles, 2)``, 0 for none. A negative label (a colour sextet's second line,
            arXiv:1010.4261) keeps its sign.

    Returns:
        Labels from 501 on, same shape.
    """
    flat = np.abs(colors.reshape(len(colors), -1))
    labels = flat.shape[1]
    result = np.zeros_like(flat)
    step = max(1, _COMPARISONS // max(1, labels**2))
    for start in range(0, len(flat), step):
        part = flat[start : start + step]
        first = np.argmax(part[:, :, None] == part[:, None, :], axis=2)
        appears = (first == np.arange(labels)) & (part != 0)
        rank = np.cumsum(appears, axis=1) - 1
        relabelled = FIRST_COLOR_LABEL + np.take_along_axis(rank, first, axis=1)
        result[start : start + step] = np.where(part == 0, 0, relabelled)
    return np.asarray(np.sign(colors) * result.reshape(colors.shape), np.int64)


def find_classes(batch: EventBatch) -> tuple[list[EventClass], IntArray]:
    """Find the classes of a batch.

    Returns:
        The classes in ascending order of their numbers, and the class of each event, shape ``(n,)``.
    """
    if len(batch) == 0:
        return [], np.zeros(0, np.int64)
    counts = batch.counts
    flat = np.stack([batch.column(name) for name in INTEGER_COLUMNS], axis=1).astype(np.int64)
    rows = padded(flat, counts, _PADDING)
    exists = np.arange(rows.shape[1]) < counts[:, None]
    colors = np.where(exists[:, :, None], rows[:, :, COLOR1:], 0)
    rows[:, :, COLOR1:] = np.where(exists[:, :, None], canonical_colors(colors), _PADDING)
    reversed_beams = _first_incoming_pz(rows, padded(batch.column("pz"), counts, 0.0)) < 0
    table = np.column_stack([counts, reversed_beams, batch.process_id, rows.reshape(len(rows), -1)])
    unique, index = unique_rows(table)
    classes = [
        EventClass(line[3:].reshape(-1, len(INTEGER_COLUMNS))[: line[0]].copy(), int(line[2]), bool(line[1]))
        for line in unique
    ]
    return classes, index


def _first_incoming_pz(rows: IntArray, pz: FloatArray) -> FloatArray:
    first = np.argmax(rows[:, :, STATUS] == INCOMING, axis=1)
    return np.asarray(np.take_along_axis(pz, first[:, None], axis=1)[:, 0], np.float64)
