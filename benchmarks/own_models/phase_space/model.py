"""The map of the unit hypercube that is adapted: the one file to edit. Channels and weights are mlgen's.

Any bijection of the unit hypercube will do whose Jacobian is known, finite and positive everywhere, a normalizing flow
for instance. The sample is unbiased whatever it learned, as long as the Jacobian is right.
"""

from __future__ import annotations

import numpy as np
import vegas
from mlgen.stages import FloatArray, State

from own_vegas import PluginSettings


class Model:
    r"""A map of uniform points :math:`y \to x`, each dimension by itself, with a density that is a histogram.

    The product :math:`\prod_i p_i(x_i)` with the smallest variance of the weights has
    :math:`p_i^2 \propto \int f^2 / \prod_{j \ne i} p_j`, integrated over all but :math:`x_i`: the shares of the bins
    are set to that from weighted points, again and again.

    Args:
        dimensions: Dimensions d of the hypercube.
        settings: The settings of the card.

    References:
        Lepage, J. Comput. Phys. 27, 192 (1978).
    """

    # YOUR MODEL: what it is made with. `initialise` or `load` follows.
    def __init__(self, dimensions: int, settings: PluginSettings) -> None:
        self._map = vegas.AdaptiveMap(np.tile(np.linspace(0.0, 1.0, settings.increments + 1), (dimensions, 1)))
        self._alpha, self._adapted = settings.alpha, 0

    # YOUR MODEL: its start, before a training. Randomness, if there is any, comes from `rng`.
    def initialise(self, rng: np.random.Generator) -> None:
        """Make it a map that changes nothing, or little."""
        self._adapted = 0

    # YOUR MODEL: the map.
    def place(self, uniform: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return positions ``(n, d)`` of uniform points ``(n, d)``, and one over their density, ``(n,)``."""
        x, jacobian = np.empty_like(uniform), np.empty(len(uniform))
        self._map.map(uniform, x, jacobian)
        return x, jacobian

    # YOUR MODEL: learn from points; called batch by batch.
    def learn(self, uniform: FloatArray, weight: FloatArray) -> None:
        """Take note of uniform points ``(n, d)`` and of integrand times Jacobian where they were placed, ``(n,)``."""
        self._map.add_training_data(uniform, weight**2)

    # YOUR MODEL: called after each iteration but the last.
    def adapt(self, rng: np.random.Generator) -> None:
        """Make use of what was noted, and forget it; randomness, if there is any, comes from `rng`."""
        self._map.adapt(alpha=self._alpha)
        self._adapted += 1

    # YOUR MODEL: all that was learned, as named arrays, whatever their number.
    def state(self) -> State:
        """Return what was learned."""
        grid = np.array(self._map.grid)
        return {"grid": grid, "widths": np.diff(grid, axis=1), "adapted": np.asarray(self._adapted)}

    # YOUR MODEL: the way back.
    def load(self, state: State) -> None:
        """Take over what `state` gave."""
        self._map = vegas.AdaptiveMap(state["grid"])
        self._adapted = int(state["adapted"])
