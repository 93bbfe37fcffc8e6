"""The annihilation of an electron and a positron into three photons: amplitudes with a dimension, in closed form."""

from __future__ import annotations

import itertools

import numpy as np

from mlgen.stages import AmplitudeProcess, FloatArray, InnerLine
from mlgen.testing.samples import isotropic

_ALPHA = 1 / 137.035999
#: Energies of a beam in GeV.
_ENERGIES = (75.0, 200.0)
#: The cuts: the smallest energy of a photon in units of that of a beam, and its largest |cosine| with the beams.
_SMALLEST_SHARE, _LARGEST_COSINE = 0.2, 0.85
_ELECTRON, _POSITRON, _PHOTON = 11, -11, 22


def three_photon_amplitudes(n: int, rng: np.random.Generator) -> tuple[AmplitudeProcess, FloatArray, FloatArray]:
    """Make points of e- e+ -> gamma gamma gamma in the centre of mass, all massless: three like particles.

    The energy of a beam is uniform from 75 to 200 GeV. |M|^2 is in GeV^-2, of the order of 1e-5, so that it shows when
    momenta are taken in another unit, or when an error that is relative is taken for one in the unit of |M|^2.

    Args:
        n: Number of points.
        rng: Source of all random numbers.

    Returns:
        The process, momenta ``(n, 5, 4)`` as ``(px, py, pz, energy)`` in GeV, and |M|^2 in GeV^-2, ``(n,)``.
    """
    found = np.empty((0, 3, 4))
    while len(found) < n:
        photons = _massless_at_rest(n + 100, rng)
        cosine = np.abs(photons[..., 2] / photons[..., 3])
        inside = np.all((photons[..., 3] > _SMALLEST_SHARE) & (cosine < _LARGEST_COSINE), axis=1)
        found = np.concatenate([found, photons[inside]])
    energy = rng.uniform(*_ENERGIES, n)
    momenta = np.zeros((n, 5, 4))
    momenta[:, :2, 3] = 1.0
    momenta[:, 0, 2], momenta[:, 1, 2] = 1.0, -1.0
    momenta[:, 2:] = found[:n]
    momenta *= energy[:, None, None]
    # Each photon comes from the electron or the positron.
    lines = tuple(InnerLine((beam, photon)) for beam, photon in itertools.product((0, 1), (2, 3, 4)))
    process = AmplitudeProcess((_ELECTRON, _POSITRON, _PHOTON, _PHOTON, _PHOTON), (0.0,) * 5, lines)
    return process, momenta, squared_amplitude(momenta)


def squared_amplitude(momenta: FloatArray) -> FloatArray:
    r"""Return |M|^2 of e- e+ -> n photons, n = 2 or 3, averaged over incoming spins and summed over the others.

    .. math:: (2 e^2)^n \, \frac{s^{n - 2}}{2} \,
              \frac{\sum_i a_i b_i (a_i^2 + b_i^2) \times (1 \text{ for } n = 3, \tfrac12 \text{ for } n = 2)}
              {\prod_i a_i b_i}, \qquad a_i = 2 p_1 k_i, \quad b_i = 2 p_2 k_i

    Args:
        momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV, the electron and the positron first.

    References:
        Berends, De Causmaecker, Gastmans, Kleiss, Troost and Wu, Nucl. Phys. B206 (1982) 61: all amplitudes but those
        with one photon of the other helicity vanish. For n = 2 it is :math:`2 e^4 (t/u + u/t)`.
    """
    electron, positron, photons = momenta[:, :1], momenta[:, 1:2], momenta[:, 2:]
    number = photons.shape[1]
    first, second = 2 * _product(electron, photons), 2 * _product(positron, photons)
    s = 2 * _product(electron, positron)[:, 0]
    # With two photons, each is the one of the other helicity of the other.
    counted = np.sum(first * second * (first**2 + second**2), axis=1) / (2 if number == 2 else 1)
    factor = 0.5 * (8 * np.pi * _ALPHA) ** number
    return np.asarray(factor * s ** (number - 2) * counted / np.prod(first * second, axis=1))


def _massless_at_rest(n: int, rng: np.random.Generator) -> FloatArray:
    """Three massless momenta that are flat in phase space, ``(n, 3, 4)``: at rest together, with energy 2 (RAMBO).

    References:
        Kleiss, Stirling and Ellis, Comput. Phys. Commun. 40 (1986) 359.
    """
    energy = -np.log(rng.random((n, 3)) * rng.random((n, 3)))
    momenta = np.concatenate([energy[..., None] * isotropic(3 * n, rng).reshape(n, 3, 3), energy[..., None]], axis=2)
    total = momenta.sum(axis=1)
    mass = np.sqrt(total[:, 3] ** 2 - np.sum(total[:, :3] ** 2, axis=1))
    boost = -total[:, None, :3] / mass[:, None, None]
    gamma = (total[:, 3] / mass)[:, None]
    along = np.sum(boost * momenta[..., :3], axis=2)
    energies = gamma * momenta[..., 3] + along
    space = momenta[..., :3] + boost * (momenta[..., 3] + along / (1 + gamma))[..., None]
    return np.asarray(np.concatenate([space, energies[..., None]], axis=2) * (2 / mass)[:, None, None])


def _product(first: FloatArray, second: FloatArray) -> FloatArray:
    return np.asarray(first[..., 3] * second[..., 3] - np.sum(first[..., :3] * second[..., :3], axis=-1))
