"""From a shower's frame to the detector: axes, depths, and what does not fit."""

import math

import numpy as np
import pytest

from mlgen.detector.particles import pseudorapidity
from mlgen.detector.placement import VoxelPlaces, axes
from mlgen.errors import CardError
from mlgen.showers import Geometry, PolarLayer, RectangularLayer


def directions(n: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    eta, phi = rng.uniform(-3, 3, n), rng.uniform(-math.pi, math.pi, n)
    vectors = np.stack([np.cos(phi), np.sin(phi), np.sinh(eta)], axis=1)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_axes_lie_across_the_flight_and_along_growing_eta_and_phi():
    flight = directions(50)
    eta, phi = axes(flight)
    for first, second, product in (
        (eta, eta, 1),
        (phi, phi, 1),
        (eta, phi, 0),
        (eta, flight, 0),
        (phi, flight, 0),
    ):
        np.testing.assert_allclose(np.sum(first * second, axis=1), product, atol=1e-12)
    step = 1e-6
    along_eta, along_phi = flight + step * eta, flight + step * phi
    # One radian of the polar angle is 1 / sin(theta) of pseudorapidity; in azimuth likewise.
    sine = np.hypot(flight[:, 0], flight[:, 1])
    np.testing.assert_allclose((pseudorapidity(along_eta) - pseudorapidity(flight)) / step, 1 / sine, rtol=1e-4)
    turn = np.arctan2(along_phi[:, 1], along_phi[:, 0]) - np.arctan2(flight[:, 1], flight[:, 0])
    np.testing.assert_allclose(turn / step, 1 / sine, rtol=1e-4)


LAYERS = (
    RectangularLayer(0, (-10.0, 10.0, 30.0), (-5.0, 5.0, 15.0, 25.0), (0.0, 40.0)),
    RectangularLayer(2, (-10.0, 10.0), (-5.0, 5.0), (40.0, 100.0)),
)


def test_voxels_are_at_the_middle_of_their_layers():
    places = VoxelPlaces(Geometry("photon", LAYERS), x_axis="eta")
    face, flight = np.array([[1500.0, 0.0, 0.0]]), np.array([[1.0, 0.0, 0.0]])
    # At eta 0 and phi 0: depth is x, phi is y, eta is z.
    found = places.positions(face, flight, np.zeros(7, int), np.arange(7))
    expected = [[1520, y, x] for x in (0, 20) for y in (0, 10, 20)] + [[1570, 0, 0]]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert places.layer.tolist() == [0] * 6 + [2]
    turned = VoxelPlaces(Geometry("photon", LAYERS), x_axis="phi")
    swapped = turned.positions(face, flight, np.zeros(7, int), np.arange(7))
    np.testing.assert_allclose(swapped, np.array(expected)[:, [0, 2, 1]], atol=1e-9)


def test_layers_without_a_depth_are_at_the_face_or_where_the_card_says():
    geometry = Geometry("photon", (PolarLayer(0, (0.0, 5.0), 1), PolarLayer(3, (0.0, 5.0), 1)))
    face, flight = np.array([[0.0, 1500.0, 0.0]]), np.array([[0.0, 1.0, 0.0]])
    for depths, expected in ((None, [1500, 1500]), ((12.0, 90.0), [1512, 1590])):
        places = VoxelPlaces(geometry, depths)
        assert places.positions(face, flight, np.zeros(2, int), np.arange(2))[:, 1].tolist() == expected


@pytest.mark.parametrize(
    ("layers", "depths", "problem"),
    [(LAYERS, (1.0, 2.0), "knows the depths"), ((PolarLayer(0, (0.0, 5.0), 1),), (1.0, 2.0), "has 2 entries")],
)
def test_depths_that_do_not_fit_are_refused(layers, depths, problem):
    with pytest.raises(CardError, match=problem):
        VoxelPlaces(Geometry("photon", layers), depths)


@pytest.mark.parametrize(("geometry", "axis"), [(Geometry.calogan("photon"), "phi"), (None, "eta")])
def test_the_x_axis_is_what_the_calorimeter_is_known_by(geometry, axis):
    """The CaloGAN's first layer has 96 strips of 5 mm in eta, 3 cells in phi; the CaloChallenge's x is eta."""
    geometry = geometry or Geometry("photon", (PolarLayer(0, (0.0, 5.0, 10.0), 4),))
    places, face, flight = VoxelPlaces(geometry), np.array([[1500.0, 0.0, 0.0]]), np.array([[1.0, 0.0, 0.0]])
    assert places.x_axis == axis
    n = geometry.layers[0].n_voxels
    found = places.positions(face, flight, np.zeros(n, int), np.arange(n))
    along_eta, along_phi = (np.unique(np.round(found[:, column], 9)) for column in (2, 1))
    if axis == "phi":
        assert (len(along_eta), len(along_phi)) == (96, 3)
        np.testing.assert_allclose(np.diff(along_eta), 5.0)
    else:
        np.testing.assert_allclose(found[:, [2, 1]], geometry.centres, atol=1e-9)
