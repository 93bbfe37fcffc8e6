"""Mirror images: made where the sample has the symmetry, refused where it does not."""

import numpy as np
import pytest

from mlgen.representation import represent
from mlgen.representation.mirrors import Mirror, mirrored, mirrors_of

ROWS = [
    [21, -1, 0, 0, 0, 0],
    [21, -1, 0, 0, 0, 0],
    *([k, 1, 1, 2, 0, 0] for k in (13, -13, 21)),
]
EQUAL = [(2212, 6500.0), (2212, 6500.0)]
Y, Z, BOTH = Mirror(True, False), Mirror(False, True), Mirror(True, True)


def events(toys, n, seed=1):
    """Phase space alone has every symmetry."""
    return toys.phase_space(ROWS, np.zeros((n, 5)), np.random.default_rng(seed))


def found(momenta, beams=EQUAL, weight=None):
    n = len(momenta)
    return mirrors_of(momenta, np.full(n, momenta.shape[1]), np.ones(n) if weight is None else weight, beams)


def thinned(momenta, odd, seed=2):
    """Keep 60 % of the events with one sign of a quantity, and all of the other."""
    keep = (odd > 0) | (np.random.default_rng(seed).random(len(momenta)) < 0.6)
    return momenta[keep]


def sense(momenta, a, b):
    return momenta[:, a, 0] * momenta[:, b, 1] - momenta[:, a, 1] * momenta[:, b, 0]


def test_symmetric_sample_has_all(toys):
    assert found(events(toys, 5000)) == (Y, Z, BOTH)


@pytest.mark.parametrize(
    "beams", [[(2212, 6500.0), (-2212, 6500.0)], [(2212, 6500.0), (2212, 4000.0)], [(11, 30.0), (2212, 900.0)], []]
)
def test_unequal_beams_are_not_exchanged(toys, beams):
    assert found(events(toys, 5000), beams) == (Y,)


@pytest.mark.parametrize("row", [2, 3, 4])
def test_forward_asymmetry_is_seen(toys, row):
    momenta = events(toys, 5000)
    assert found(thinned(momenta, momenta[:, row, 2])) == (Y,)


def test_boost_asymmetry_is_seen(toys):
    momenta = events(toys, 5000)
    assert found(thinned(momenta, momenta[:, 2:, 2].sum(axis=1))) == (Y,)


@pytest.mark.parametrize("pair", [(2, 3), (2, 4), (3, 4)])
def test_handed_sample_is_seen(toys, pair):
    momenta = events(toys, 5000)
    # No equal beams make this: half a turn across the beams reverses the sense.
    assert found(thinned(momenta, sense(momenta, *pair))) == ()
    # Handed with the sign of the longitudinal difference, like absorptive parts make it: the half turn is left. Either
    # mirror alone would wash it out.
    twisted = sense(momenta, *pair) * (momenta[:, pair[0], 2] - momenta[:, pair[1], 2])
    assert found(thinned(momenta, twisted)) == (BOTH,)


def test_false_refusals_are_rare(toys):
    """None in 300 samples: five standard errors of 10 quantities are exceeded in 6 of a million."""
    for seed in range(300):
        momenta = events(toys, 200, seed)
        weight = np.random.default_rng(seed).choice([1.0, -0.2], len(momenta), p=[0.9, 0.1])
        assert found(momenta, weight=weight) == (Y, Z, BOTH)


@pytest.mark.parametrize("mirror", [Y, Z, BOTH])
def test_image_is_a_reflection(toys, mirror):
    momenta = events(toys, 100)
    image = mirrored(momenta, (0, 1), mirror)
    assert np.array_equal(mirrored(image, (0, 1), mirror), momenta)
    products = np.einsum("nim,njm,m->nij", momenta, momenta, [-1, -1, -1, 1])
    swap = [1, 0, 2, 3, 4] if mirror.exchanges_beams else [0, 1, 2, 3, 4]
    again = np.einsum("nim,njm,m->nij", image, image, [-1, -1, -1, 1])
    assert again[:, swap][:, :, swap] == pytest.approx(products)
    # The first incoming particle still moves to +z.
    assert np.all(image[:, 0, 2] > 0)
    assert np.all(np.sign(sense(image, 2, 3)) == np.sign(sense(momenta, 2, 3)) * (-1 if mirror.turns_y else 1))


def test_points_of_images_decode_to_images(toys):
    momenta = events(toys, 500)
    representation = represent(toys.batch_of(ROWS, momenta, np.zeros((500, 5))), EQUAL)
    (topology,), (one,) = representation.topologies, representation.events
    assert one.points.shape == (4, 500, topology.dimension)
    assert one.beams_exchanged.tolist() == [False, False, True, True]
    for points, mirror in zip(one.points[1:], (Y, Z, BOTH), strict=True):
        image = topology.decode(points, one.flavour, np.zeros(500))
        expected = mirrored(momenta, (0, 1), mirror)
        assert toys.turned(image.momenta, 4) == pytest.approx(toys.turned(expected, 4), rel=1e-7, abs=1e-6)


def test_images_are_inside_the_charts(toys):
    """A cut on a rapidity at one side only, by chance or by detectors, and images with the other sign."""
    momenta = events(toys, 20_000)
    rapidity = np.arctanh(momenta[:, 4, 2] / momenta[:, 4, 3])
    momenta = momenta[np.abs(rapidity) < 1.5]
    n = len(momenta)
    representation = represent(toys.batch_of(ROWS, momenta, np.zeros((n, 5))), EQUAL)
    (topology,), (one,) = representation.topologies, representation.events
    chart = [c for c in topology.coordinates.charts if c.columns == (topology.names.index("rapidity 5"),)]
    assert [(c.low, c.high) for c in chart] == [(-1.5, 1.5)]
    for points in one.points:
        assert np.abs(points).max() < 8
        assert topology.decode(points, one.flavour, np.zeros(n)).possible.all()
    # Without mirror images: an edge on one side is on that side alone.
    late = momenta[np.arctanh(momenta[:, 4, 2] / momenta[:, 4, 3]) > -0.5]
    (topology,) = represent(toys.batch_of(ROWS, late, np.zeros((len(late), 5))), EQUAL).topologies
    chart = [c for c in topology.coordinates.charts if c.columns == (topology.names.index("rapidity 5"),)]
    assert [(c.low, c.high) for c in chart] == [(-0.5, 1.5)]


def test_no_mirrors_if_not_asked_for(toys):
    batch = toys.batch_of(ROWS, events(toys, 500), np.zeros((500, 5)))
    assert represent(batch, EQUAL, mirrors=False).events[0].points.shape[0] == 1
