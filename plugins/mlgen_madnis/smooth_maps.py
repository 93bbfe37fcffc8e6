"""Adaptive maps of VEGAS, made smooth, so that a flow on top of them has no steps to learn."""

from __future__ import annotations

import numpy as np

from mlgen.stages import FloatArray, IntArray


class SmoothMaps:
    r"""Maps :math:`u \to x(u)` of the unit hypercube through the nodes of VEGAS grids, with continuous derivatives.

    Between nodes the map is a monotonic rational quadratic function; the derivative at a node is the harmonic mean of
    the slopes on both sides.

    Args:
        grids: Positions of the nodes, ``(groups, d, increments + 1)``, ascending from 0 to 1.

    References:
        Gregory and Delbourgo, IMA J. Numer. Anal. 2, 123 (1982).
    """

    def __init__(self, grids: FloatArray) -> None:
        self.grids = grids
        increments = grids.shape[2] - 1
        self._slopes = np.diff(grids, axis=2) * increments
        inner = 2 * self._slopes[..., 1:] * self._slopes[..., :-1] / (self._slopes[..., 1:] + self._slopes[..., :-1])
        self._derivatives = np.concatenate([self._slopes[..., :1], inner, self._slopes[..., -1:]], axis=2)

    def place(self, u: FloatArray, group: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return positions ``(n, d)`` and Jacobians ``(n,)`` of the points ``u (n, d)`` of the groups ``(n,)``."""
        increments = self.grids.shape[2] - 1
        scaled = u * increments
        place = np.minimum(scaled.astype(np.int64), increments - 1)
        theta = scaled - place
        row, dimension = group[:, None], np.arange(u.shape[1])[None]
        slope, left = self._slopes[row, dimension, place], self.grids[row, dimension, place]
        before, after = self._derivatives[row, dimension, place], self._derivatives[row, dimension, place + 1]
        product = theta * (1 - theta)
        denominator = slope + (before + after - 2 * slope) * product
        x = left + slope / increments * (slope * theta**2 + before * product) / denominator
        jacobian = slope**2 * (after * theta**2 + 2 * slope * product + before * (1 - theta) ** 2) / denominator**2
        return np.clip(x, 0.0, 1.0), jacobian.prod(axis=1)
