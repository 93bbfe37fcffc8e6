"""An amount of energy and the pieces that it is broken into, one after the other: exact sums, pieces of zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: What a piece takes of what is left: nothing, a part of it, all of it.
NOTHING, PART, ALL = 0, 1, 2
#: Limit of the coordinates of parts: beyond it a part is its limit in double precision.
_LIMIT = 25.0


@dataclass(frozen=True, slots=True)
class Pieces:
    """What pieces take, ``(n, pieces)`` each.

    Args:
        energy: Of each piece, MeV; at least the threshold, or zero.
        left: What is left before the piece is taken, of its segment, MeV.
        kind: `NOTHING`, `PART` or `ALL`.
        part: Coordinate of a part; zero for the other kinds.
        open: Whether there was a choice: something was left, and it is not the last piece, which takes all.
    """

    energy: FloatArray
    left: FloatArray
    kind: IntArray
    part: FloatArray
    open: npt.NDArray[np.bool_]

    def __getitem__(self, selection: slice | IntArray) -> Self:
        return type(self)(*(getattr(self, name)[selection] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class StickBreaking:
    r"""Pieces of some amounts (segments), each taken from what the pieces before have left.

    Of :math:`r` that is left, a piece :math:`e` takes nothing, all, or a part with the coordinate

    .. math:: y = \log \frac{e - t}{r - t - e}, \qquad t \le e \le r - t

    so that no piece and no rest is below the threshold :math:`t`, all pieces sum to the amount, and none is negative,
    whatever the coordinates are.

    Args:
        sizes: Number of pieces of each segment.
        threshold: Smallest piece, MeV.
    """

    sizes: tuple[int, ...]
    threshold: float

    @property
    def n_pieces(self) -> int:
        """Number of pieces of all segments."""
        return sum(self.sizes)

    @property
    def segment(self) -> IntArray:
        """Segment of each piece, ``(pieces,)``."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @property
    def starts(self) -> IntArray:
        """First piece of each segment, ``(segments,)``."""
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int64)

    @property
    def last(self) -> npt.NDArray[np.bool_]:
        """Whether a piece is the last of its segment, ``(pieces,)``."""
        return np.isin(np.arange(self.n_pieces), self.starts + np.asarray(self.sizes) - 1)

    def amounts(self, energy: FloatArray) -> FloatArray:
        """Sum of the pieces of each segment, ``(n, segments)``."""
        return np.asarray(np.add.reduceat(energy, self.starts, axis=1))

    def broken(self, energy: FloatArray) -> Pieces:
        """Tell what pieces ``(n, pieces)`` in MeV, zero or at least the threshold, take of what is left."""
        left = np.empty_like(energy)
        for start, size in zip(self.starts, self.sizes, strict=True):
            here = slice(start, start + size)
            # From the end: what is left is exactly what follows.
            left[:, here] = np.cumsum(energy[:, here][:, ::-1], axis=1)[:, ::-1]
        rest = np.zeros_like(left)
        rest[:, :-1] = left[:, 1:]
        last = self.last
        rest[:, last] = 0.0
        kind = np.where(energy <= 0, NOTHING, np.where(rest <= 0, ALL, PART))
        tiny = np.finfo(np.float64).tiny
        with np.errstate(divide="ignore"):
            part = np.log(np.maximum(energy - self.threshold, tiny)) - np.log(np.maximum(rest - self.threshold, tiny))
        part = np.where(kind == PART, np.clip(part, -_LIMIT, _LIMIT), 0.0)
        return Pieces(energy, left, kind, part, (left > 0) & ~last)

    def taken(self, left: FloatArray, kind: IntArray, part: FloatArray) -> FloatArray:
        """Energy of one piece, ``(n,)``, for what is left before it, its kind and its coordinate.

        Where less than twice the threshold is left there are no parts; such a piece takes all.
        """
        energy, _ = self.taken_one_by_one(left, kind[None], part[None])
        first: FloatArray = energy[0]
        return first

    def taken_one_by_one(self, left: FloatArray, kind: IntArray, part: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Energies of consecutive pieces of a segment, ``(pieces, n)``, and what is left after them, ``(n,)``.

        Args:
            left: Before the first of them, ``(n,)``.
            kind: ``(pieces, n)``.
            part: ``(pieces, n)``.
        """
        threshold = self.threshold
        share = 1 / (1 + np.exp(-np.clip(part, -_LIMIT, _LIMIT)))
        nothing, every = kind == NOTHING, kind == ALL
        energy = np.empty(share.shape)
        left = left.copy()
        for piece, taken in enumerate(energy):
            above = left - 2 * threshold
            np.multiply(share[piece], above, out=taken)
            taken += threshold
            np.copyto(taken, left, where=every[piece] | (above < 0))
            taken[nothing[piece]] = 0.0
            left -= taken
        return energy, left
