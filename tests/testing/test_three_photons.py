"""The amplitudes e- e+ -> photons against closed forms, limits and symmetries."""

import numpy as np
import pytest

from mlgen.amplitudes.checks import check_momenta
from mlgen.testing import three_photon_amplitudes
from mlgen.testing.three_photons import squared_amplitude

PROCESS, MOMENTA, VALUES = three_photon_amplitudes(500, np.random.default_rng(1))
SQUARED_CHARGE = 4 * np.pi / 137.035999


def product(first, second):
    return first[..., 3] * second[..., 3] - np.sum(first[..., :3] * second[..., :3], axis=-1)


def test_momenta_are_those_of_the_process():
    check_momenta(MOMENTA, PROCESS)
    assert PROCESS.like_particles == ((2, 3, 4),)
    assert len(VALUES) == 500
    assert np.all(VALUES > 0)


def test_two_photons():
    """Peskin and Schroeder, eq. (5.105) without masses: 2 e^4 (t/u + u/t)."""
    cosine, beam = np.array([-0.7, 0.0, 0.3]), 100.0
    sine = np.sqrt(1 - cosine**2)
    momenta = np.zeros((3, 4, 4))
    momenta[:, :, 3] = beam
    momenta[:, 0, 2], momenta[:, 1, 2] = beam, -beam
    for slot, sign in ((2, 1), (3, -1)):
        momenta[:, slot, 0], momenta[:, slot, 2] = sign * beam * sine, sign * beam * cosine
    ratio = (1 - cosine) / (1 + cosine)
    np.testing.assert_allclose(squared_amplitude(momenta), 2 * SQUARED_CHARGE**2 * (ratio + 1 / ratio), rtol=1e-12)


def test_a_soft_photon_factorises():
    """Its factor is e^2 2 p1 p2 / (p1 k p2 k), whatever the other two do (Weinberg, Phys. Rev. 140 (1965) B516)."""
    beam, softness = 100.0, 1e-6
    hard = np.array(
        [[0.0, 0.0, beam, beam], [0.0, 0.0, -beam, beam], [60.0, 0.0, 80.0, beam], [-60.0, 0.0, -80.0, beam]]
    )
    soft = softness * beam * np.array([0.48, 0.6, 0.64, 1.0])
    three = np.concatenate([hard, soft[None]])[None]
    eikonal = SQUARED_CHARGE * 2 * product(hard[0], hard[1]) / (product(hard[0], soft) * product(hard[1], soft))
    assert squared_amplitude(three)[0] == pytest.approx(eikonal * squared_amplitude(hard[None])[0], rel=1e-5)


def test_it_has_the_dimension_of_one_over_a_squared_energy():
    np.testing.assert_allclose(squared_amplitude(1000 * MOMENTA), 1e-6 * VALUES, rtol=1e-9)


def test_like_particles_and_beams_can_be_exchanged():
    for order in ([0, 1, 3, 2, 4], [0, 1, 4, 3, 2], [1, 0, 2, 3, 4]):
        np.testing.assert_allclose(squared_amplitude(MOMENTA[:, order]), VALUES, rtol=1e-9)


def test_energies_of_the_photons_are_flat_in_the_dalitz_plot():
    """Between the cuts, phase space has a constant density in the energies of two photons, before the cut on angles."""
    from mlgen.testing.three_photons import _massless_at_rest

    photons = _massless_at_rest(40_000, np.random.default_rng(2))
    np.testing.assert_allclose(photons.sum(axis=1), np.tile([0.0, 0.0, 0.0, 2.0], (40_000, 1)), atol=1e-9)
    first, second = photons[:, 0, 3], photons[:, 1, 3]
    # The plot is the triangle of energies up to 1 whose sum is 1 or more; each quarter below holds 1/4 of it.
    corners = [(first > 0.5) & (second > 0.5) & (first + second > 1.5), (first < 0.5), (second < 0.5)]
    shares = [np.mean(corner) for corner in corners]
    # Five standard errors of a share of 1/4.
    np.testing.assert_allclose(shares, 0.25, atol=5 * np.sqrt(0.1875 / 40_000))
