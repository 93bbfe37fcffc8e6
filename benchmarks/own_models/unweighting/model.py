"""Which candidates are accepted: the one file to edit. All else is in the modules beside it.

The sample is unbiased for any probability that is above zero where the weight is not zero, zero where it is, and at
most one. It decides how many events are accepted, and how much their weights differ.
"""

from __future__ import annotations

import math

import numpy as np
from mlgen.stages import FloatArray, State

from own_median import PluginSettings


class Model:
    r"""Hit-or-miss: accept with the probability :math:`\min(1, |w| / w_\mathrm{max})`.

    The maximum is the smallest that leaves no more than a share of :math:`\sum |w|` in the excess of overweights.

    Args:
        settings: The settings of the card.

    Attributes:
        maximum: The weight from which on every candidate is accepted, in the unit of the weights. Heavier ones are
            counted as overweights: every model needs it.

    References:
        Gao et al., Phys. Rev. D 101, 076002 (2020), arXiv:2001.10028.
    """

    # YOUR MODEL: what it is made with. `choose` or `load` follows.
    def __init__(self, settings: PluginSettings) -> None:
        self._settings = settings
        self.maximum = self._floor = math.nan

    # YOUR MODEL: the first pass. It is no training and has no `rng`: what is chosen follows from the weights alone.
    def choose(self, size: FloatArray) -> None:
        """Choose the maximum for candidates with ``|w| = size``, ``(n,)``; one or more of them is not zero."""
        block = min(self._settings.block, len(size))
        largest = size[: len(size) // block * block].reshape(-1, block).max(axis=1)
        self.maximum = float(np.median(largest)) or float(size.max())
        self._floor = self._settings.floor * float(np.mean(np.minimum(1.0, size / self.maximum)))

    # YOUR MODEL: the second pass.
    def probability(self, size: FloatArray) -> FloatArray:
        """Return the probability that a candidate with ``|w| = size`` is accepted, ``(n,)`` for ``(n,)``."""
        return np.where(size > 0, np.clip(size / self.maximum, self._floor, 1.0), 0.0)

    # YOUR MODEL: all that was chosen, as named arrays, whatever their number.
    def state(self) -> State:
        """Return what was chosen."""
        return {"maximum": np.asarray(self.maximum), "floor": np.asarray(self._floor)}

    # YOUR MODEL: the way back.
    def load(self, state: State) -> None:
        """Take over what `state` gave."""
        self.maximum, self._floor = float(state["maximum"]), float(state["floor"])
