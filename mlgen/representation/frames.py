"""Boosts and helicity frames, for many events at once.

A *local* momentum is one in the rest frame of some parent, along axes that belong to it: z points along the parent's
own momentum, y along its azimuth's direction. With polar angle theta and azimuth phi of the parent these axes are
the unit vectors of spherical coordinates (theta, phi, r), so that they are defined for every direction and the way
there can be undone exactly.
"""

from __future__ import annotations

import numpy as np

from mlgen.events import FloatArray


def boosted_to_rest(momentum: FloatArray, parent: FloatArray, mass: FloatArray) -> FloatArray:
    r"""Boost into the parent's rest frame, without a rotation.

    .. math:: E^* = (E_P E - \vec p_P \vec p) / m, \quad \vec p^* = \vec p - \vec p_P (E + E^*) / (E_P + m)

    Args:
        momentum: Four-momenta ``(px, py, pz, energy)``, shape ``(n, 4)``.
        parent: Four-momentum of the parent, shape ``(n, 4)``.
        mass: Mass of the parent, shape ``(n,)``.
    """
    return _boosted(momentum, parent, mass, -1.0)


def boosted_from_rest(momentum: FloatArray, parent: FloatArray, mass: FloatArray) -> FloatArray:
    """Inverse of `boosted_to_rest`."""
    return _boosted(momentum, parent, mass, 1.0)


def _boosted(momentum: FloatArray, parent: FloatArray, mass: FloatArray, sign: float) -> FloatArray:
    along = sign * np.einsum("ij,ij->i", momentum[:, :3], parent[:, :3])
    energy = (parent[:, 3] * momentum[:, 3] + along) / mass
    factor = sign * (momentum[:, 3] + energy) / (parent[:, 3] + mass)
    return np.column_stack([momentum[:, :3] + parent[:, :3] * factor[:, None], energy])


def helicity_axes(direction: FloatArray) -> FloatArray:
    """Return the axes of the helicity frame of particles that move along `direction`.

    Args:
        direction: Three-momenta, shape ``(n, 3)``; a vanishing one counts as +z.

    Returns:
        Unit vectors, shape ``(n, 3 axes, 3 components)``: x along growing polar angle, y along growing azimuth, z
        along the momentum.
    """
    transverse = np.hypot(direction[:, 0], direction[:, 1])
    along = np.where(transverse == 0, np.where(direction[:, 2] < 0, -1.0, 1.0), direction[:, 2])
    length = np.hypot(transverse, along)
    sin_theta, cos_theta = transverse / length, along / length
    safe = np.where(transverse == 0, 1.0, transverse)
    sin_phi, cos_phi = direction[:, 1] / safe, np.where(transverse == 0, 1.0, direction[:, 0] / safe)
    axes = np.zeros((len(direction), 3, 3))
    axes[:, 0, 0], axes[:, 0, 1], axes[:, 0, 2] = cos_theta * cos_phi, cos_theta * sin_phi, -sin_theta
    axes[:, 1, 0], axes[:, 1, 1] = -sin_phi, cos_phi
    axes[:, 2, 0], axes[:, 2, 1], axes[:, 2, 2] = sin_theta * cos_phi, sin_theta * sin_phi, cos_theta
    return axes


def to_local(momentum: FloatArray, parent: FloatArray, mass: FloatArray) -> FloatArray:
    """Momenta in the parent's rest frame along its helicity axes; shapes as in `boosted_to_rest`."""
    rest = boosted_to_rest(momentum, parent, mass)
    space = np.einsum("nij,nj->ni", helicity_axes(parent[:, :3]), rest[:, :3])
    return np.column_stack([space, rest[:, 3]])


def from_local(momentum: FloatArray, parent: FloatArray, mass: FloatArray) -> FloatArray:
    """Inverse of `to_local`."""
    space = np.einsum("nij,ni->nj", helicity_axes(parent[:, :3]), momentum[:, :3])
    return boosted_from_rest(np.column_stack([space, momentum[:, 3]]), parent, mass)


def to_collins_soper(momentum: FloatArray, parent: FloatArray, mass: FloatArray) -> FloatArray:
    """Momenta in the parent's rest frame along the axes of Collins and Soper; shapes as in `boosted_to_rest`.

    The way there goes along the beams until the parent moves sideways, and then along its transverse momentum. z halves
    the angle between one beam and the other reversed, x points along the parent's transverse momentum. What a quark
    and an antiquark make by a vector boson has a simple distribution there, whatever the boson's momentum.

    References:
        Collins and Soper, Phys. Rev. D 16, 2219 (1977).
    """
    rapidity, sideways, x, y = _collins_soper(parent, mass)
    rest = boosted_to_rest(boosted_along_z(momentum, -rapidity), sideways, mass)
    along, across = rest[:, 0] * x + rest[:, 1] * y, rest[:, 1] * x - rest[:, 0] * y
    return np.column_stack([along, across, rest[:, 2:]])


def from_collins_soper(momentum: FloatArray, parent: FloatArray, mass: FloatArray) -> FloatArray:
    """Inverse of `to_collins_soper`."""
    rapidity, sideways, x, y = _collins_soper(parent, mass)
    turned = np.column_stack(
        [momentum[:, 0] * x - momentum[:, 1] * y, momentum[:, 0] * y + momentum[:, 1] * x, momentum[:, 2:]]
    )
    return boosted_along_z(boosted_from_rest(turned, sideways, mass), rapidity)


def _collins_soper(parent: FloatArray, mass: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Rapidity of the parent, its momentum without it, and the direction of its transverse momentum."""
    pt = np.hypot(parent[:, 0], parent[:, 1])
    transverse_mass = np.hypot(mass, pt)
    rapidity = np.arcsinh(parent[:, 2] / transverse_mass)
    azimuth = np.arctan2(parent[:, 1], parent[:, 0])
    sideways = np.column_stack([parent[:, :2], np.zeros_like(pt), transverse_mass])
    return rapidity, sideways, np.cos(azimuth), np.sin(azimuth)


def boosted_along_z(momentum: FloatArray, rapidity: FloatArray) -> FloatArray:
    """Boost by `rapidity` (added to each particle's own) along z; shapes ``(n, 4)`` and ``(n,)``."""
    cosh, sinh = np.cosh(rapidity), np.sinh(rapidity)
    pz = cosh * momentum[:, 2] + sinh * momentum[:, 3]
    energy = cosh * momentum[:, 3] + sinh * momentum[:, 2]
    return np.column_stack([momentum[:, :2], pz, energy])


def breakup_momentum(mass: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """Momentum of either product in the rest frame of a two-body decay; NaN when the masses do not allow it.

    The square root of the triangle function over twice the mass (section "Two-body decays" of the kinematics review
    of the Particle Data Group, Phys. Rev. D 110, 030001 (2024)), in a form without cancellation.
    """
    product = (mass - first - second) * (mass + first + second) * (mass - first + second) * (mass + first - second)
    allowed = mass >= first + second
    return np.where(allowed, np.sqrt(np.where(allowed, product, 0.0)) / (2 * np.where(mass > 0, mass, 1.0)), np.nan)
