import math

import numpy as np
import pytest

from mlgen.validation.axes import FINE, choose_axis
from mlgen.validation.observable import Kind, Observable


def pilots(*samples):
    return [np.asarray(values, np.float64) for values in samples]


def test_a_steep_spectrum_starts_at_its_cut_and_keeps_nearly_all_events():
    rng = np.random.default_rng(1)
    pt = 20 + rng.exponential(30, 20_000)
    axis = choose_axis(Observable("pT(j1)", "pT"), pilots(pt), 50)
    assert axis.edges[0] == 20
    assert not axis.log
    assert 25 <= len(axis.drawn_edges) - 1 <= 100
    assert (pt > axis.edges[-1]).mean() < 0.005


def test_a_narrow_peak_is_not_lost_in_its_tails():
    rng = np.random.default_rng(2)
    mass = 91.19 + 1.25 * rng.standard_cauchy(20_000)
    axis = choose_axis(Observable("m(mu-, mu+)", "m", "GeV"), pilots(mass[(mass > 50) & (mass < 400)]), 50)
    assert np.diff(axis.drawn_edges)[0] <= 1.25


def test_the_range_covers_every_sample():
    low, high = np.linspace(0, 1, 1000), np.linspace(5, 6, 1000)
    axis = choose_axis(Observable("x", "x"), pilots(low, high), 50)
    assert axis.edges[0] <= 0
    assert axis.edges[-1] >= 6


def test_what_spans_decades_gets_a_logarithmic_axis():
    energy = np.geomspace(1e-3, 1e4, 5000)
    axis = choose_axis(Observable("E", "E", "MeV"), pilots(energy), 50)
    assert axis.log
    ratios = axis.edges[1:] / axis.edges[:-1]
    assert np.allclose(ratios, ratios[0])


def test_whole_numbers_have_a_bin_each_and_many_share_them():
    n = choose_axis(Observable("n(j)", "n", kind=Kind.INTEGER), pilots([0, 1, 2, 3]), 50)
    assert n.edges.tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5]
    many = choose_axis(Observable("n", "n", kind=Kind.INTEGER), pilots(np.arange(1500)), 50)
    widths = np.diff(many.edges)
    assert (widths == np.round(widths[0])).all()
    assert len(widths) <= 60


def test_categories_are_centred_on_their_codes():
    observable = Observable("reaction", "reaction", kind=Kind.CATEGORY, categories=("a", "b", "c"))
    assert choose_axis(observable, pilots([0, 2]), 50).edges.tolist() == [-0.5, 0.5, 1.5, 2.5]


def test_an_angle_has_its_whole_circle():
    axis = choose_axis(Observable("phi", "phi", periodic=True), pilots([0.1, 0.2]), 40)
    assert (axis.edges[0], axis.edges[-1], len(axis.edges)) == (-math.pi, math.pi, 40 * FINE + 1)


def test_what_the_user_asks_for_is_obeyed():
    axis = choose_axis(Observable("x", "x", bins=7, limits=(0.0, 14.0)), pilots([100.0]), 50)
    assert axis.drawn_edges.tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    assert choose_axis(Observable("x", "x", log=True, limits=(1.0, 100.0)), pilots([1.0]), 50).log


@pytest.mark.parametrize("value", [0.0, 91.19, -3.0, 1e-12])
def test_a_constant_lies_inside_its_axis_and_a_slightly_other_one_in_another_bin(value):
    axis = choose_axis(Observable("m", "m"), pilots(np.full(100, value)), 50)
    place = np.searchsorted(axis.edges, [value, value * 1.002 + 1e-5])
    assert 0 < place[0] < len(axis.edges)
    assert place[0] != place[1]


def test_without_any_value_there_is_still_an_axis():
    axis = choose_axis(Observable("m", "m"), pilots(np.full(5, np.nan), []), 50)
    assert axis.edges[0] < 0 < axis.edges[-1]
