"""Points that are drawn from a stream in proportion to their weights."""

from __future__ import annotations

import numpy as np

from mlgen.stages import FloatArray, IntArray


class PointReservoir:
    """Points of a stream, drawn one after the other in proportion to the weights of those that are left.

    Values and momenta are asked for those only that may be among them.

    Args:
        number: How many are kept.
        particles: Particles of a point.

    Attributes:
        number: As given.
        momenta: Of the points so far, ``(kept, particles, 4)``.
        values: Likewise, ``(kept,)``.

    References:
        Efraimidis and Spirakis, Inf. Process. Lett. 97, 181 (2006).
    """

    def __init__(self, number: int, particles: int) -> None:
        self.number = number
        self.momenta, self.values = np.zeros((0, particles, 4)), np.zeros(0)
        self._keys = np.zeros(0)
        self._sum = self._squares = 0.0

    @property
    def full(self) -> bool:
        """Whether there are as many points as are kept."""
        return len(self.values) == self.number

    @property
    def effective_size(self) -> float:
        """(sum w)^2 / sum w^2 of all points that were offered (Kish)."""
        return self._sum**2 / self._squares if self._squares else 0.0

    def offered(self, weight: FloatArray, rng: np.random.Generator) -> tuple[IntArray, FloatArray]:
        """Return which of some points may be kept, ``(k,)``, and their keys, for `keep`.

        Args:
            weight: Of the points, ``(n,)``, not negative.
            rng: Source of ``n`` numbers.
        """
        self._sum += float(weight.sum())
        self._squares += float(np.sum(weight**2))
        with np.errstate(divide="ignore"):
            keys = rng.exponential(size=len(weight)) / weight
        new = np.flatnonzero(keys < (self._keys.max() if self.full else np.inf))
        return new, keys[new]

    def keep(self, keys: FloatArray, momenta: FloatArray, values: FloatArray) -> None:
        """Add what `offered` chose; a value of zero has no weight, and one that is not finite is none."""
        good = np.isfinite(values) & (values != 0)
        self._keys = np.concatenate([self._keys, keys[good]])
        self.momenta = np.concatenate([self.momenta, momenta[good]])
        self.values = np.concatenate([self.values, values[good]])
        if len(self._keys) > self.number:
            kept = np.argpartition(self._keys, self.number - 1)[: self.number]
            self._keys, self.momenta, self.values = self._keys[kept], self.momenta[kept], self.values[kept]
