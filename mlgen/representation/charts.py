"""Physical coordinates <-> numbers without bounds: every edge that a sample has lies at infinity.

A *chart* acts on some columns of ``(n, coordinates)`` arrays; a list of charts, applied one after the other, takes the
coordinates of `mlgen.representation.Kinematics` to numbers that a network can learn. Each has a Jacobian.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from mlgen.events import FloatArray

#: Keeps logarithms finite where an event lies on its edge, relative to the interval.
_TINY = 1e-13


class Chart(abc.ABC):
    """An invertible map of some columns."""

    @abc.abstractmethod
    def forward(self, x: FloatArray) -> FloatArray:
        """Change columns of ``x (n, coordinates)`` in place; returns the log of the determinant, ``(n,)``."""

    @abc.abstractmethod
    def inverse(self, x: FloatArray) -> None:
        """Undo `forward`, in place."""


@dataclass(frozen=True)
class Bounded(Chart):
    r"""A coordinate between two edges: :math:`y = \ln \frac{x - a}{b - x}`.

    For an angle with edges at :math:`\pm\pi` this is :math:`2\,\mathrm{atanh}(\phi / \pi)`.
    """

    column: int
    low: float
    high: float

    def forward(self, x: FloatArray) -> FloatArray:
        """See `Chart`."""
        share = np.clip((x[:, self.column] - self.low) / (self.high - self.low), _TINY, 1 - _TINY)
        x[:, self.column] = logit(share)
        return np.asarray(-np.log(share * (1 - share)) - np.log(self.high - self.low))

    def inverse(self, x: FloatArray) -> None:
        """See `Chart`."""
        x[:, self.column] = self.low + (self.high - self.low) * expit(x[:, self.column])


@dataclass(frozen=True)
class OneSided(Chart):
    r"""A coordinate above (or below) an edge: :math:`y = \pm\ln |x - a|`, as in :math:`\log(p_T - p_{T,\min})`.

    References:
        Below eq. (4.89) of Plehn et al., arXiv:2211.01421.
    """

    column: int
    edge: float
    above: bool = True

    def forward(self, x: FloatArray) -> FloatArray:
        """See `Chart`."""
        sign = 1.0 if self.above else -1.0
        distance = np.maximum(sign * (x[:, self.column] - self.edge), _TINY)
        x[:, self.column] = sign * np.log(distance)
        return np.asarray(-np.log(distance))

    def inverse(self, x: FloatArray) -> None:
        """See `Chart`."""
        sign = 1.0 if self.above else -1.0
        x[:, self.column] = self.edge + sign * np.exp(sign * x[:, self.column])


@dataclass(frozen=True)
class Ordered(Chart):
    r"""A coordinate between an edge and another coordinate, which must not be mapped yet.

    :math:`y = \ln \frac{x - a}{u - x}` with the other's value :math:`u`: transverse momenta in descending order.
    """

    column: int
    edge: float
    upper: int

    def forward(self, x: FloatArray) -> FloatArray:
        """See `Chart`."""
        width = np.maximum(x[:, self.upper] - self.edge, _TINY)
        share = np.clip((x[:, self.column] - self.edge) / width, _TINY, 1 - _TINY)
        x[:, self.column] = logit(share)
        return np.asarray(-np.log(share * (1 - share)) - np.log(width))

    def inverse(self, x: FloatArray) -> None:
        """See `Chart`."""
        x[:, self.column] = self.edge + (x[:, self.upper] - self.edge) * expit(x[:, self.column])


@dataclass(frozen=True)
class BreitWigner(Chart):
    r"""A resonance's mass by its quantile: :math:`u = \arctan \frac{m^2 - M^2}{M \Gamma}`.

    Between the values of u at the edges, the logarithm of `Bounded` follows.

    References:
        Eq. (4.29) of Plehn et al., arXiv:2211.01421.
    """

    column: int
    mass: float
    width: float
    low: float
    high: float

    def _angle(self, mass: FloatArray) -> FloatArray:
        return np.asarray(np.arctan((mass**2 - self.mass**2) / (self.mass * self.width)))

    def forward(self, x: FloatArray) -> FloatArray:
        """See `Chart`."""
        first, last = self._angle(np.array([self.low, self.high]))
        mass = x[:, self.column]
        share = np.clip((self._angle(mass) - first) / (last - first), _TINY, 1 - _TINY)
        pole = (mass**2 - self.mass**2) / (self.mass * self.width)
        derivative = 2 * mass / (self.mass * self.width) / (1 + pole**2) / (last - first)
        x[:, self.column] = logit(share)
        return np.asarray(np.log(derivative) - np.log(share * (1 - share)))

    def inverse(self, x: FloatArray) -> None:
        """See `Chart`."""
        first, last = self._angle(np.array([self.low, self.high]))
        angle = first + (last - first) * expit(x[:, self.column])
        squared = self.mass**2 + self.mass * self.width * np.tan(angle)
        x[:, self.column] = np.sqrt(np.clip(squared, self.low**2, self.high**2))


@dataclass(frozen=True)
class Separated(Chart):
    r"""Two particles that must not be closer than a radius: the hole in the plane of their distance is drawn together.

    With :math:`\rho` the length of :math:`(\Delta y, \Delta\phi)`, a the radius, and R the way to the edge
    :math:`|\Delta\phi| = \pi` in the same direction, :math:`\rho'^2 = R^2 (\rho^2 - a^2) / (R^2 - a^2)`. The map is smooth
    outside the hole, moves no edge, and its determinant :math:`R^2 / (R^2 - a^2)` is all but one: a smooth density stays
    smooth, and the hole is gone.

    Args:
        rapidity: Column of the rapidity of the second particle; that of the difference afterwards.
        other_rapidity: Column of the first one's.
        azimuth: Column of the second's azimuth; that of the difference, in :math:`(-\pi, \pi)`, afterwards.
        other_azimuth: Column of the first's, or -1 where that is zero.
        radius: Radius of the hole.
    """

    rapidity: int
    other_rapidity: int
    azimuth: int
    other_azimuth: int
    radius: float

    def _way(self, dy: FloatArray, dphi: FloatArray) -> FloatArray:
        """One over the squared way to the edge, ``(n,)``."""
        length = np.maximum(dy**2 + dphi**2, _TINY)
        return np.asarray(dphi**2 / length / np.pi**2)

    def forward(self, x: FloatArray) -> FloatArray:
        """See `Chart`."""
        dy = x[:, self.rapidity] - x[:, self.other_rapidity]
        dphi = x[:, self.azimuth] - (x[:, self.other_azimuth] if self.other_azimuth >= 0 else 0.0)
        dphi = np.mod(dphi + np.pi, 2 * np.pi) - np.pi
        inverse_edge, squared = self._way(dy, dphi), np.maximum(dy**2 + dphi**2, _TINY)
        gain = 1 / (1 - self.radius**2 * inverse_edge)
        factor = np.sqrt(np.maximum(gain * (1 - self.radius**2 / squared), _TINY))
        x[:, self.rapidity], x[:, self.azimuth] = dy * factor, dphi * factor
        return np.asarray(np.log(gain))

    def inverse(self, x: FloatArray) -> None:
        """See `Chart`."""
        dy, dphi = x[:, self.rapidity], x[:, self.azimuth]
        inverse_edge, squared = self._way(dy, dphi), np.maximum(dy**2 + dphi**2, _TINY)
        original = squared * (1 - self.radius**2 * inverse_edge) + self.radius**2
        factor = np.sqrt(original / squared)
        x[:, self.rapidity] = dy * factor + x[:, self.other_rapidity]
        dphi = dphi * factor + (x[:, self.other_azimuth] if self.other_azimuth >= 0 else 0.0)
        x[:, self.azimuth] = np.mod(dphi + np.pi, 2 * np.pi) - np.pi
