"""Events of an independent phase-space generator (RAMBO), as batches."""

from types import SimpleNamespace

import numpy as np
import pytest

from mlgen.events import INTEGER_COLUMNS, EventBatch

BEAM_ENERGY = 6500.0


def boosted(momenta, velocity):
    """Lorentz boost by matrices, ``(n, k, 4)`` as (px, py, pz, E) and ``(n, 3)``."""
    gamma = 1 / np.sqrt(1 - (velocity**2).sum(axis=1))
    matrix = np.zeros((len(velocity), 4, 4))
    factor = gamma**2 / (1 + gamma)
    matrix[:, :3, :3] = np.eye(3) + factor[:, None, None] * velocity[:, :, None] * velocity[:, None, :]
    matrix[:, :3, 3] = matrix[:, 3, :3] = gamma[:, None] * velocity
    matrix[:, 3, 3] = gamma
    return np.einsum("nij,nkj->nki", matrix, momenta)


def rambo(mass, masses, rng):
    """Momenta at rest, ``(n, k, 4)``, of total mass ``(n,)`` and masses ``(n, k)``: Comput. Phys. Commun. 40, 359."""
    n, k = masses.shape
    cos, phi = rng.uniform(-1, 1, (n, k)), rng.uniform(0, 2 * np.pi, (n, k))
    energy = -np.log(rng.random((n, k)) * rng.random((n, k)))
    sin = np.sqrt(1 - cos**2)
    q = np.stack([energy * sin * np.cos(phi), energy * sin * np.sin(phi), energy * cos, energy], axis=2)
    total = q.sum(axis=1)
    size = np.sqrt(total[:, 3] ** 2 - (total[:, :3] ** 2).sum(axis=1))
    p = boosted(q, -total[:, :3] / total[:, 3:]) * (mass / size)[:, None, None]
    low, high = np.zeros(n), np.ones(n)
    for _ in range(100):
        middle = (low + high) / 2
        energies = np.sqrt(np.square(masses) + (middle[:, None] * p[:, :, 3]) ** 2).sum(axis=1)
        low, high = np.where(energies < mass, middle, low), np.where(energies < mass, high, middle)
    p[:, :, :3] *= high[:, None, None]
    p[:, :, 3] = np.sqrt(np.square(masses) + (p[:, :, :3] ** 2).sum(axis=2))
    return p


def two_body_momentum(mass, first, second):
    """Momentum of either product in the rest frame of a two-body decay, by Kallen's function."""
    a, b, c = mass**2, first**2, second**2
    return np.sqrt(a**2 + b**2 + c**2 - 2 * (a * b + b * c + c * a)) / (2 * mass)


def phase_space(rows, masses, rng, *, reversed_beams=False):
    """Momenta ``(n, particles, 4)`` of events with these rows and masses ``(n, particles)``."""
    n = len(masses)
    momenta = np.zeros((n, len(rows), 4))
    top = [i for i, row in enumerate(rows) if row[2] == 1 and row[3] == 2]
    total = masses[:, top[0]] if len(top) == 1 else masses[:, top].sum(axis=1) + rng.uniform(20, 500, n)
    if len(top) > 1:
        momenta[:, top] = rambo(total, masses[:, top], rng)
    else:
        momenta[:, top[0], 3] = total
    beta = np.zeros((n, 3))
    beta[:, 2] = np.tanh(rng.uniform(-1.8, 1.8, n))
    momenta[:, top] = boosted(momenta[:, top], beta)
    for parent in range(len(rows)):
        children = [i for i, row in enumerate(rows) if row[2] == parent + 1 and row[3] in (0, parent + 1)]
        if children:
            decay = rambo(masses[:, parent], masses[:, children], rng)
            momenta[:, children] = boosted(decay, momenta[:, parent, :3] / momenta[:, parent, 3:])
    # Incoming pair: momentum of a two-body system in its rest frame, boosted like the rest.
    momentum = two_body_momentum(total, masses[:, 0], masses[:, 1])
    pair = np.zeros((n, 2, 4))
    sign = -1 if reversed_beams else 1
    pair[:, 0, 2], pair[:, 1, 2] = sign * momentum, -sign * momentum
    pair[:, 0, 3], pair[:, 1, 3] = np.hypot(momentum, masses[:, 0]), np.hypot(momentum, masses[:, 1])
    momenta[:, :2] = boosted(pair, beta)
    return momenta


def batch_of(rows, momenta, masses, *, weight=1.0, **numbers):
    """A batch of events with these rows: ``(particles, 6)`` for all, or ``(n, particles, 6)``."""
    n, particles = momenta.shape[:2]
    table = np.broadcast_to(np.asarray(rows), (n, particles, 6)).reshape(-1, 6)
    columns = dict(zip(INTEGER_COLUMNS, table.T, strict=True))
    columns.update(zip(("px", "py", "pz", "energy"), momenta.reshape(-1, 4).T, strict=True))
    columns["generated_mass"] = np.ascontiguousarray(masses).reshape(-1)
    numbers = {"process_id": 1, "scale": 91.2, "alpha_qed": 0.0078, "alpha_qcd": 0.118, **numbers}
    if "spin" in numbers:
        columns["spin"] = np.asarray(numbers.pop("spin")).reshape(-1)
    return EventBatch.from_columns(np.full(n, particles), columns, weight=weight, **numbers)


def turned(momenta, row):
    """Turn events so that one particle has azimuth 0."""
    angle = -np.arctan2(momenta[:, row, 1], momenta[:, row, 0])
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x, y = momenta[:, :, 0], momenta[:, :, 1]
    return np.stack([cos * x - sin * y, sin * x + cos * y, momenta[:, :, 2], momenta[:, :, 3]], axis=2)


def breit_wigner(pole, width, low, high, n, rng):
    """Masses of a Breit-Wigner in the squared mass between two masses."""
    first, last = np.arctan((np.array([low, high]) ** 2 - pole**2) / (pole * width))
    return np.sqrt(pole**2 + pole * width * np.tan(rng.uniform(first, last, n)))


def pseudorapidity(momenta):
    return np.arcsinh(momenta[..., 2] / np.hypot(momenta[..., 0], momenta[..., 1]))


def distance(first, second):
    """Distance of two particles in pseudorapidity and azimuth."""
    azimuth = np.arctan2(first[:, 1], first[:, 0]) - np.arctan2(second[:, 1], second[:, 0])
    azimuth = np.abs(np.mod(azimuth + np.pi, 2 * np.pi) - np.pi)
    return np.hypot(pseudorapidity(first) - pseudorapidity(second), azimuth)


def invariant(momenta):
    return np.sqrt(np.maximum(momenta[..., 3] ** 2 - (momenta[..., :3] ** 2).sum(axis=-1), 0))


def log_determinant(function, points, steps):
    """Log of the determinant of a map's matrix of derivatives by central differences, ``(n,)``."""
    n, d = points.shape
    matrix = np.empty((n, d, d))
    for column in range(d):
        step = np.zeros_like(points)
        step[:, column] = steps[:, column] if np.ndim(steps) == 2 else steps
        matrix[:, :, column] = (function(points + step) - function(points - step)) / (2 * step[:, column, None])
    return np.linalg.slogdet(matrix)[1]


@pytest.fixture(scope="session")
def toys():
    """The functions of this file."""
    return SimpleNamespace(
        beams=[(2212, BEAM_ENERGY)] * 2,
        boosted=boosted,
        rambo=rambo,
        phase_space=phase_space,
        batch_of=batch_of,
        turned=turned,
        breit_wigner=breit_wigner,
        pseudorapidity=pseudorapidity,
        distance=distance,
        invariant=invariant,
        log_determinant=log_determinant,
    )
