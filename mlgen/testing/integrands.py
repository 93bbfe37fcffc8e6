"""Integrands with known integrals, for the kit's tests of phase-space samplers."""

from __future__ import annotations

from collections import deque

import numpy as np

from mlgen.stages import Evaluated, FloatArray, IntArray, Integrand
from mlgen.testing.rules import Arrays


class OneChannel(Integrand):
    r"""The product :math:`\prod_i (\frac12 + \frac32 x_i^2)` in one channel; its integral is 1.

    Args:
        dimensions: Number of dimensions.
    """

    channels = ("flat",)
    groups = (0,)

    def __init__(self, dimensions: int) -> None:
        self.dimensions = self.features = dimensions

    def __call__(self, x: FloatArray, channel: IntArray) -> Evaluated:
        """Evaluate; the features are the point itself, scaled to -1 to 1."""
        value = np.prod(0.5 + 1.5 * x**2, axis=1)
        return Evaluated(np.asarray(value, np.float64), np.ones((len(x), 1)), 2 * x - 1)


class FourChannels(Integrand):
    r"""The product :math:`F(z) = \prod_i (a + 12 (1 - a) (z_i - \frac12)^2)` in four channels; its integral is 1.

    The channels are maps of one space, as those of a process are: two mirror images with :math:`z_0 = x_0^2` and
    :math:`z_0 = 1 - x_0^2`, and two that change nothing. The value in a channel is :math:`F` times the Jacobian of its
    map. The prior weight of the last channel is zero everywhere unless it is asked for.

    Args:
        dimensions: Number of dimensions.
        depth: The number :math:`a`, from 0 to 1 for an integrand that is nowhere negative; below 0 it is negative in
            some places, and its integral is 1 all the same.
        last_prior: Prior weight of the last channel, the same everywhere.
    """

    channels = ("left", "right", "flat", "spare")
    groups = (0, 0, 1, 2)

    def __init__(self, dimensions: int, depth: float = 0.5, last_prior: float = 0.0) -> None:
        self.dimensions = self.features = dimensions
        self._depth = depth
        self._last_prior = last_prior

    def __call__(self, x: FloatArray, channel: IntArray) -> Evaluated:
        """Evaluate; the features are the point in the common space, scaled to -1 to 1."""
        mapped = channel < 2
        z = x.copy()
        z[mapped, 0] **= 2
        z[channel == 1, 0] = 1 - z[channel == 1, 0]
        jacobian = np.where(mapped, 2 * x[:, 0], 1.0)
        value = np.prod(self._depth + 12 * (1 - self._depth) * (z - 0.5) ** 2, axis=1) * jacobian
        rest = (1 - self._last_prior) / 4
        prior = np.stack(
            [rest * (2 - z[:, 0]), rest * (1 + z[:, 0]), np.full(len(z), rest), np.full(len(z), self._last_prior)],
            axis=1,
        )
        return Evaluated(np.asarray(value, np.float64), np.asarray(prior, np.float64), 2 * z - 1)


class Watched(Integrand):
    """An integrand that counts how many of its points are asked for.

    Args:
        integrand: What it hands on.
    """

    def __init__(self, integrand: Integrand) -> None:
        self.dimensions, self.channels = integrand.dimensions, integrand.channels
        self.groups, self.features = integrand.groups, integrand.features
        self.asked = 0
        self._integrand = integrand

    def __call__(self, x: FloatArray, channel: IntArray) -> Evaluated:
        """Evaluate and count."""
        self.asked += len(x)
        return self._integrand(x, channel)


class Broken(Watched):
    """An integrand whose values are all the same number.

    Args:
        integrand: What it hands on, but for the value.
        value: The number.
    """

    def __init__(self, integrand: Integrand, value: float) -> None:
        super().__init__(integrand)
        self._value = value

    def __call__(self, x: FloatArray, channel: IntArray) -> Evaluated:
        """Evaluate, and put the number in place of the value."""
        evaluated = super().__call__(x, channel)
        return Evaluated(np.full(len(x), self._value), evaluated.prior, evaluated.features)


class Remembering(Watched):
    """An integrand that remembers what it returned, with copies, for the first and the last calls.

    Args:
        integrand: What it hands on.
    """

    def __init__(self, integrand: Integrand) -> None:
        super().__init__(integrand)
        self._first: list[tuple[Arrays, Arrays]] = []
        self._last: deque[tuple[Arrays, Arrays]] = deque(maxlen=5)

    @property
    def given(self) -> list[tuple[Arrays, Arrays]]:
        """What was returned, and copies."""
        return [*self._first, *self._last]

    def __call__(self, x: FloatArray, channel: IntArray) -> Evaluated:
        """Evaluate and remember."""
        evaluated = super().__call__(x, channel)
        arrays = {"value": evaluated.value, "prior": evaluated.prior, "features": evaluated.features}
        pair = (arrays, {name: array.copy() for name, array in arrays.items()})
        if len(self._first) < 5:
            self._first.append(pair)
        else:
            self._last.append(pair)
        return evaluated
