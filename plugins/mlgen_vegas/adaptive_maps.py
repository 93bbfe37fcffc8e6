"""Several of Lepage's adaptive maps, over one unit hypercube."""

from __future__ import annotations

from typing import Any

import numpy as np
import vegas

from mlgen.stages import FloatArray, IntArray

#: Part of each grid that stays uniform, so that no increment shrinks to nothing and every density stays finite.
_UNIFORM_PART = 1e-9


class AdaptiveMaps:
    r"""Maps :math:`y \to x(y)` of the unit hypercube, each dimension by itself, piecewise linear.

    Args:
        grids: Positions of the nodes, ``(maps, d, increments + 1)``, ascending from 0 to 1.

    References:
        Lepage, J. Comput. Phys. 439, 110386 (2021), arXiv:2009.05112, sec. 2.
    """

    def __init__(self, grids: FloatArray) -> None:
        self._maps: list[Any] = [vegas.AdaptiveMap(grid) for grid in grids]

    @classmethod
    def uniform(cls, maps: int, dimensions: int, increments: int) -> AdaptiveMaps:
        """Make maps that change nothing."""
        return cls(np.broadcast_to(np.linspace(0, 1, increments + 1), (maps, dimensions, increments + 1)))

    @property
    def grids(self) -> FloatArray:
        """Positions of the nodes, ``(maps, d, increments + 1)``."""
        return np.stack([np.array(one.grid, np.float64) for one in self._maps])

    def place(self, uniform: FloatArray, maps: IntArray, counts: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return positions ``(n, d)`` and Jacobians ``(n,)``.

        Args:
            uniform: Uniform points, ``(n, d)``.
            maps: Map of each of the sections that the points come in, ``(sections,)``.
            counts: Length of each section, ``(sections,)``.
        """
        x, jacobian = np.empty_like(uniform), np.empty(len(uniform))
        for index, section in _sections(maps, counts):
            self._maps[index].map(uniform[section], x[section], jacobian[section])
        return np.minimum(x, 1.0, out=x), jacobian

    def learn(self, uniform: FloatArray, weight: FloatArray, maps: IntArray, counts: IntArray) -> None:
        """Add points, with integrand times Jacobian as their weight ``(n,)``, to what `adapt` will use."""
        squared = np.ascontiguousarray(weight**2)
        for index, section in _sections(maps, counts):
            self._maps[index].add_training_data(uniform[section], squared[section])

    def adapt(self, alpha: float) -> None:
        """Concentrate the increments where the squared weights are large."""
        for index, one in enumerate(self._maps):
            one.adapt(alpha=alpha)
            grid = np.array(one.grid, np.float64)
            even = np.linspace(0, 1, grid.shape[1])
            self._maps[index] = vegas.AdaptiveMap((1 - _UNIFORM_PART) * grid + _UNIFORM_PART * even)


def _sections(maps: IntArray, counts: IntArray) -> list[tuple[int, slice]]:
    ends = np.cumsum(counts)
    return [
        (int(index), slice(int(end - count), int(end)))
        for index, count, end in zip(maps, counts, ends, strict=True)
        if count
    ]
