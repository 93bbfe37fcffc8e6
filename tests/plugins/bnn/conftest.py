"""Points of flat phase space for the tests of the plugin `bnn`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest


def _massless(n: int, particles: int, rng: np.random.Generator) -> np.ndarray:
    """RAMBO: isotropic momenta, boosted and scaled to a total of (0, 0, 0, 1), ``(n, particles, 4)``."""
    cosine, azimuth = rng.uniform(-1, 1, (n, particles)), rng.uniform(0, 2 * np.pi, (n, particles))
    energy = -np.log(rng.uniform(size=(n, particles)) * rng.uniform(size=(n, particles)))
    sine = np.sqrt(1 - cosine**2)
    q = energy[..., None] * np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine, np.ones_like(sine)], -1)
    total = q.sum(axis=1)
    mass = np.sqrt(total[:, 3] ** 2 - np.sum(total[:, :3] ** 2, axis=1))
    velocity, gamma = -total[:, :3] / mass[:, None], total[:, 3] / mass
    along = np.einsum("na,nia->ni", velocity, q[..., :3])
    space = q[..., :3] + velocity[:, None] * (q[..., 3] + along / (1 + gamma)[:, None])[..., None]
    return np.concatenate([space, (gamma[:, None] * q[..., 3] + along)[..., None]], -1) / mass[:, None, None]


def _phase_space(n: int, masses: Sequence[float], energy: float = 1000.0, seed: int = 1) -> np.ndarray:
    """Points in the centre of mass, massless particles coming in along z, ``(n, particles, 4)`` in GeV.

    Outgoing particles get their masses by a common factor of their momenta.
    """
    outgoing = energy * _massless(n, len(masses) - 2, np.random.default_rng(seed))
    mass = np.array(masses[2:])
    low, high = np.zeros(n), np.ones(n)
    for _ in range(60):
        middle = (low + high) / 2
        too_much = np.sqrt(mass**2 + (middle[:, None] * outgoing[..., 3]) ** 2).sum(axis=1) > energy
        low, high = np.where(too_much, low, middle), np.where(too_much, middle, high)
    outgoing[..., :3] *= high[:, None, None]
    outgoing[..., 3] = np.sqrt(mass**2 + np.sum(outgoing[..., :3] ** 2, axis=-1))
    incoming = np.broadcast_to(energy / 2 * np.array([[0, 0, 1.0, 1], [0, 0, -1, 1]]), (n, 2, 4))
    return np.concatenate([incoming, outgoing], axis=1)


@pytest.fixture(scope="session")
def phase_space() -> Callable[..., np.ndarray]:
    """Return a function of the number of points, masses, energy and seed."""
    return _phase_space
