r"""The way of particles to the front face of a barrel calorimeter.

In a field :math:`B` along z, a particle of charge :math:`q` (in units of the positron's) and transverse momentum
:math:`p_T` turns by :math:`-\kappa` for each mm of its way in the transverse plane, with
:math:`\kappa = 0.299792458 \cdot 10^{-3}\, q B / p_T` (tesla, GeV, mm). After turning by :math:`2\theta` it has moved
along a chord of length :math:`2 \sin\theta / \kappa` in the direction :math:`\phi_0 - \theta`. With
:math:`u = 2 \tan\theta / \kappa`, and :math:`a` and :math:`b` the components of the starting point along the momentum
and to the left of it, the chord ends on the circle of radius :math:`R` where

.. math:: (1 - \kappa b - \kappa^2 Q / 4)\, u^2 + 2 a u - Q = 0, \qquad Q = R^2 - a^2 - b^2.

Without a field that is the straight line, and :math:`u` its length: there is no cancellation between a large radius of
curvature and its square, and one formula does for all. Energy loss and scattering on the way are not simulated.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

#: Curvature in 1/mm of a unit charge of 1 GeV transverse momentum in 1 tesla: the speed of light in m/ns, over 1000.
CURVATURE = 0.299792458e-3


class Way(enum.IntEnum):
    """How the way of a particle ends."""

    #: At the front face.
    HITS = 0
    #: It is produced at the front face or behind it.
    STARTS_BEHIND = 1
    #: The field turns it back before it gets there.
    CURLS_UP = 2
    #: It leaves through an end of the barrel, or along the beams.
    MISSES = 3


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Where particles hit the front face, and in which direction they fly there.

    Args:
        way: `Way` of each, ``(n,)``.
        position: In mm, ``(n, 3)``; NaN where it does not hit.
        direction: Unit vectors, ``(n, 3)``; NaN where it does not hit.
    """

    way: npt.NDArray[np.int8]
    position: FloatArray
    direction: FloatArray


def arrivals(
    start: FloatArray,
    momentum: FloatArray,
    charge: FloatArray,
    *,
    radius: float,
    half_length: float | None = None,
    magnetic_field: float = 0.0,
) -> Arrivals:
    """Follow particles to the cylinder around the z axis: the first point where they cross it.

    Args:
        start: Where they are produced, mm, ``(n, 3)``.
        momentum: In GeV, ``(n, 3)``.
        charge: In units of the positron's, ``(n,)``.
        radius: Of the cylinder, mm.
        half_length: Largest ``|z|`` of the cylinder, mm; None: it has no ends.
        magnetic_field: In tesla, along z.
    """
    n = len(start)
    way = np.full(n, Way.MISSES, np.int8)
    position, direction = np.full((n, 3), np.nan), np.full((n, 3), np.nan)
    transverse = np.hypot(momentum[:, 0], momentum[:, 1])
    behind = np.hypot(start[:, 0], start[:, 1]) >= radius
    if half_length is not None:
        behind |= np.abs(start[:, 2]) > half_length
    way[behind] = Way.STARTS_BEHIND
    moving = np.flatnonzero(~behind & (transverse > 0))
    origin, p_t = start[moving, :2], transverse[moving]
    forward = momentum[moving, :2] / p_t[:, None]
    left = np.stack([-forward[:, 1], forward[:, 0]], axis=1)
    curvature = CURVATURE * charge[moving] * magnetic_field / p_t
    along, across = np.sum(origin * forward, axis=1), np.sum(origin * left, axis=1)
    missing = radius**2 - along**2 - across**2
    leading = 1 - curvature * across - curvature**2 * missing / 4
    discriminant = along**2 + leading * missing
    reaches = discriminant >= 0
    way[moving[~reaches]] = Way.CURLS_UP
    root = np.sqrt(np.maximum(discriminant, 0.0))
    # u = numerator / denominator; the form without cancellation. A negative u is an angle beyond half a turn.
    numerator = np.where(along >= 0, missing, root - along)
    denominator = np.where(along >= 0, along + root, leading)
    half_turn = np.arctan2(curvature * numerator, 2 * denominator)
    with np.errstate(divide="ignore", invalid="ignore"):
        straight = curvature == 0
        length = np.where(straight, numerator / denominator, 2 * half_turn / curvature)
        chord = np.where(straight, length, 2 * np.sin(half_turn) / curvature)
    end = origin + chord[:, None] * _turned(forward, left, half_turn)
    z = start[moving, 2] + length * momentum[moving, 2] / p_t
    hits = reaches if half_length is None else reaches & (np.abs(z) <= half_length)
    flight = _turned(forward, left, 2 * half_turn) * p_t[:, None]
    vectors = np.concatenate([flight, momentum[moving, 2:]], axis=1)
    chosen = moving[hits]
    way[chosen] = Way.HITS
    position[chosen] = np.concatenate([end, z[:, None]], axis=1)[hits]
    direction[chosen] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True))[hits]
    return Arrivals(way, position, direction)


def _turned(forward: FloatArray, left: FloatArray, angle: FloatArray) -> FloatArray:
    """Directions turned clockwise by an angle."""
    return np.asarray(np.cos(angle)[:, None] * forward - np.sin(angle)[:, None] * left)
