"""Physical coordinates <-> numbers without bounds: every edge that a sample has lies at infinity.

A *chart* acts on some columns of ``(n, coordinates)`` arrays; a list of charts, applied one after the other, takes the
coordinates of `mlgen.representation.Kinematics` to numbers that a network can learn. Each has a Jacobian.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from mlgen.events import FloatArray

#: Keeps logarithms finite where an event lies on its edge, relative to the interval.
_TINY = 1e-13
#: Distance from the cut of a circle, in radians, within which events are shown on either side.
OVERLAP = 0.8
#: Newton's steps of `Separated`: each doubles the digits, and four are enough for sixteen.
_STEPS = 8
#: Fields of charts that name columns.
_COLUMNS = ("column", "upper", "rapidity", "other_rapidity", "azimuth", "other_azimuth")


class Chart(abc.ABC):
    """An invertible map of some columns."""

    @property
    def columns(self) -> tuple[int, ...]:
        """Columns that the map looks at; -1 for none."""
        return tuple(getattr(self, name) for name in _COLUMNS if hasattr(self, name))

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
        return breit_wigner_angle(mass, self.mass, self.width)

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
    :math:`|\Delta\phi| = \pi` in the same direction,

    .. math:: u = R^2 \frac{\rho^2 - a^2}{R^2 - a^2}, \quad \rho'^2 = R^2 \frac{F(u)}{F(R^2)}, \quad
              F(u) = u + A a^2 \ln(1 + u / a^2)

    The map is smooth outside the hole and moves no edge. Where particles like to be collinear, the density is about
    :math:`1 + A a^2 / \rho^2` times that elsewhere; the logarithm gives such a peak the room that makes it flat.

    Args:
        rapidity: Column of the rapidity of the second particle; that of the difference afterwards.
        other_rapidity: Column of the first one's.
        azimuth: Column of the second's azimuth; that of the difference, in :math:`(-\pi, \pi)`, afterwards.
        other_azimuth: Column of the first's, or -1 where that is zero.
        radius: Radius of the hole.
        enhancement: The A above: by how much the density at the hole exceeds that elsewhere, relative to it.
    """

    rapidity: int
    other_rapidity: int
    azimuth: int
    other_azimuth: int
    radius: float
    enhancement: float = 0.0

    def _way(self, dy: FloatArray, dphi: FloatArray) -> FloatArray:
        """One over the squared way to the edge, ``(n,)``."""
        length = np.maximum(dy**2 + dphi**2, _TINY)
        return np.asarray(dphi**2 / length / np.pi**2)

    def _room(self, u: FloatArray) -> FloatArray:
        """F(u) / u, ``(n,)``; its value for zero there."""
        hole = self.radius**2
        ratio = np.maximum(u / hole, _TINY)
        return np.asarray(1 + self.enhancement * np.log1p(ratio) / ratio)

    def _edge_room(self, inverse_edge: FloatArray) -> FloatArray:
        """F(R^2) / R^2, ``(n,)``."""
        return self._room(1 / np.maximum(inverse_edge, _TINY))

    def forward(self, x: FloatArray) -> FloatArray:
        """See `Chart`."""
        dy = x[:, self.rapidity] - x[:, self.other_rapidity]
        dphi = x[:, self.azimuth] - (x[:, self.other_azimuth] if self.other_azimuth >= 0 else 0.0)
        dphi = np.mod(dphi + np.pi, 2 * np.pi) - np.pi
        inverse_edge, squared = self._way(dy, dphi), np.maximum(dy**2 + dphi**2, _TINY)
        gain = 1 / (1 - self.radius**2 * inverse_edge)
        u = np.maximum(gain * (squared - self.radius**2), _TINY)
        edge = self._edge_room(inverse_edge)
        factor = np.sqrt(u * self._room(u) / edge / squared)
        x[:, self.rapidity], x[:, self.azimuth] = dy * factor, dphi * factor
        slope = 1 + self.enhancement * self.radius**2 / (self.radius**2 + u)
        return np.asarray(np.log(gain * slope / edge))

    def inverse(self, x: FloatArray) -> None:
        """See `Chart`."""
        dy, dphi = x[:, self.rapidity], x[:, self.azimuth]
        inverse_edge, squared = self._way(dy, dphi), np.maximum(dy**2 + dphi**2, _TINY)
        u = self._without_room(squared * self._edge_room(inverse_edge))
        original = u * (1 - self.radius**2 * inverse_edge) + self.radius**2
        factor = np.sqrt(original / squared)
        x[:, self.rapidity] = dy * factor + x[:, self.other_rapidity]
        dphi = dphi * factor + (x[:, self.other_azimuth] if self.other_azimuth >= 0 else 0.0)
        x[:, self.azimuth] = np.mod(dphi + np.pi, 2 * np.pi) - np.pi

    def _without_room(self, value: FloatArray) -> FloatArray:
        """Solve F(u) = value: F is concave, so that Newton's steps from below stay below and grow."""
        if self.enhancement == 0:
            return value
        hole = self.radius**2
        u = value / (1 + self.enhancement)
        for _ in range(_STEPS):
            slope = 1 + self.enhancement * hole / (hole + u)
            u = np.maximum(u + (value - u * self._room(u)) / slope, 0.0)
        return u


@dataclass(frozen=True)
class Periodic(Chart):
    r"""An angle, whose ends are one: events near them are shown on either side at random.

    A density on a circle that is cut open has two edges, and sent to infinity they are tails that have to fit each
    other. Instead an event at a distance e from the cut, :math:`e < \delta`, is moved by :math:`2\pi` with the
    probability :math:`1 - s`, :math:`s = \frac12 (1 + \sin \frac{\pi e}{2 \delta})`: the density fades out smoothly on
    either side, and folded back it is the original one.

    Args:
        column: Column of the angle.
        low: Where the circle is cut.
    """

    column: int
    low: float

    def _stay(self, angle: FloatArray) -> FloatArray:
        """Probability that an event is shown where it is, ``(n,)``."""
        distance = np.minimum(angle - self.low, self.low + 2 * np.pi - angle)
        return np.asarray(0.5 * (1 + np.sin(0.5 * np.pi * np.clip(distance / OVERLAP, 0, 1))))

    def forward(self, x: FloatArray) -> FloatArray:
        """See `Chart`; the density there is less than that of the angle, because of what is shown elsewhere."""
        x[:, self.column] = self.low + np.mod(x[:, self.column] - self.low, 2 * np.pi)
        return np.asarray(-np.log(self._stay(x[:, self.column])))

    def inverse(self, x: FloatArray) -> None:
        """See `Chart`."""
        x[:, self.column] = self.low + np.mod(x[:, self.column] - self.low, 2 * np.pi)

    def unfold(self, x: FloatArray, rng: np.random.Generator) -> None:
        """Show events near the cut on either side of it, in place."""
        angle = x[:, self.column]
        moved = rng.random(len(x)) >= self._stay(angle)
        way = np.where(angle < self.low + np.pi, 2 * np.pi, -2 * np.pi)
        x[:, self.column] = np.where(moved, angle + way, angle)


def breit_wigner_angle(mass: FloatArray, pole: float, width: float) -> FloatArray:
    r"""Return :math:`\arctan \frac{m^2 - M^2}{M \Gamma}`, which is uniform for a Breit-Wigner in the squared mass."""
    return np.asarray(np.arctan((mass**2 - pole**2) / (pole * width)))


#: Charts by the names under which models keep them.
CHARTS: Mapping[str, type[Chart]] = {
    kind.__name__: kind for kind in (Bounded, BreitWigner, OneSided, Ordered, Periodic, Separated)
}
