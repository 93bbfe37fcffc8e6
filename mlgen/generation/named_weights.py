"""Named weights of generated events: networks of a Bayesian model, and a nuisance parameter at +1 and -1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlgen.events import FloatArray
from mlgen.generation.bayesian import member_of
from mlgen.generation.learning import Learned, family_log_density
from mlgen.generation.nuisance import nominal
from mlgen.run_info import Variation

if TYPE_CHECKING:
    from mlgen.generation.learned_generator import _Made

#: Largest logarithm of a named weight relative to the nominal one.
_LARGEST = 3.0


class NamedWeights:
    """What the named weights of a generator are called, and how they are computed.

    - ``mlgen.NAME.stat.1`` and so on: the density that one network of a Bayesian model gives the event, relative to the
      density it was drawn from (eq. 4.75). A histogram filled with one of them is that network's.
    - ``mlgen.NAME.theory.up`` and ``.down``: cross section and density at +1 and -1 of the nuisance parameter, relative
      to those at 0 (eq. 4.99).

    Both stay within a factor of twenty of the nominal weight (e^3, the cross section's factor not counted): beyond, a
    network says nothing of such events, and one of them would outweigh all others.

    Args:
        plugin: The generator's name.
        learned: What it learned.
    """

    def __init__(self, plugin: str, learned: Learned) -> None:
        self._learned = learned
        self.members = max((len(family.members) for family in learned.families), default=0)
        self._stat = [f"mlgen.{plugin}.stat.{k + 1}" for k in range(self.members)]
        self._theory = [f"mlgen.{plugin}.theory.{side}" for side in ("up", "down")] if learned.extra else []

    @property
    def variations(self) -> list[Variation]:
        """The named weights."""
        stat = [Variation(name, "density of one network that the training events allow") for name in self._stat]
        theory = [
            Variation(name, f"nuisance parameter at {value}")
            for name, value in zip(self._theory, ("+1", "-1"), strict=False)
        ]
        return stat + theory

    def of(self, made: _Made, weight: FloatArray) -> dict[str, FloatArray]:
        """Named weights of generated events whose nominal weights are given, ``(n,)`` each."""
        result = {name: weight.copy() for name in (*self._stat, *self._theory)}
        learned = self._learned
        for number, places, rows, points, labels in made.parts:
            if not len(places):
                continue
            family, local = learned.family_of(number)
            topology = np.full(len(places), local)
            before = family_log_density(family, rows, topology, 0.0)
            for name, member in zip(self._stat, family.members, strict=False):
                with member_of(family.density, member):
                    after = family_log_density(family, rows, topology, 0.0)
                result[name][places] *= _ratio(after - before)
            if not self._theory:
                continue
            given = np.hstack([points, nominal(len(points), learned.extra)])
            discrete = learned.labels[number].log_probability(given, labels)
            for side, (name, a) in enumerate(zip(self._theory, (1.0, -1.0), strict=True)):
                after = family_log_density(family, rows, topology, a)
                given[:, -1] = a
                shift = learned.labels[number].log_probability(given, labels) - discrete
                result[name][places] *= family.totals[side, local] * _ratio(after - before + shift)
        return result


def _ratio(logarithm: FloatArray) -> FloatArray:
    return np.exp(np.clip(logarithm, -_LARGEST, _LARGEST))
