"""Colour strings: how many there are, and their sum against |M|^2 of the literature."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from mlgen.hard_process.closed_forms import closed_form
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.subprocess import Subprocess
from mlgen_bnn.color_strings import MOST_STRINGINGS, StringSum, stringings

G = 21


def string_sum(pdg_ids, momenta):
    """The sum of strings in units of s-hat, and the shares."""
    pairs = tuple(itertools.combinations(range(len(pdg_ids)), 2))
    products = np.stack([2 * dot(momenta[:, i], momenta[:, j]) for i, j in pairs], axis=1)
    logarithm, shares = StringSum(pdg_ids, pairs)(np.log(products / products[:, :1]))
    return np.exp(logarithm), np.exp(shares)


def dot(p, q):
    return p[:, 3] * q[:, 3] - np.sum(p[:, :3] * q[:, :3], axis=1)


@pytest.mark.parametrize(
    ("pdg_ids", "number"),
    [
        *(((1, -1, *[G] * n), math.factorial(n)) for n in range(1, 6)),
        *(((G, G, *[G] * (n - 2)), math.factorial(n - 1) // 2) for n in range(3, 8)),
        # Two ways to join the ends, two chains for the gluon; with two gluons, 2! orders and three ways to cut them.
        ((1, -1, 2, -2, G), 2 * 2),
        ((1, 1, 1, 1, G, G), 2 * 2 * 3),
        ((G, G, 6, -6, 25), 2),
        ((1, -1, 23, G), 1),
        # No gluon, no colour.
        ((1, -1, 2, -2), 0),
        ((11, -11, 22, 22), 0),
        ((11, -11, 1, -1), 0),
    ],
)
def test_number_of_stringings(pdg_ids, number):
    found = stringings(pdg_ids)
    assert len(found) == number
    # Rings are the same from wherever they begin, and in either direction.
    rings = [frozenset(frozenset(pair) for pair in each.neighbours) for each in found if each.rings]
    assert len(set(found)) == len(found)
    assert len(pdg_ids) < 4 or len(set(rings)) == len(rings)
    coloured = [slot for slot, pdg_id in enumerate(pdg_ids) if abs(pdg_id) <= 6 or pdg_id == G]
    for each in found:
        assert sorted(itertools.chain(*each.chains, *each.rings)) == coloured


def test_too_many_stringings_are_none():
    assert math.factorial(6) > MOST_STRINGINGS
    assert stringings((1, -1, *[G] * 6)) == ()


@pytest.mark.parametrize(
    ("pdg_ids", "chains"),
    [
        # An incoming quark is an outgoing antiquark: a chain begins at the incoming antiquark and ends at the quark.
        ((2, -2, G), {(1, 2, 0)}),
        ((-2, 2, G), {(0, 2, 1)}),
        ((2, G, 2, G), {(2, 1, 3, 0), (2, 3, 1, 0)}),
        ((-2, G, -2, G), {(0, 1, 3, 2), (0, 3, 1, 2)}),
        ((G, G, 6, -6), {(2, 0, 1, 3), (2, 1, 0, 3)}),
    ],
)
def test_ends_of_chains(pdg_ids, chains):
    assert {each.chains[0] for each in stringings(pdg_ids)} == chains


@pytest.mark.physics
def test_four_gluons_are_those_of_the_literature(phase_space):
    """3 - tu/s^2 - su/t^2 - st/u^2: Combridge, Kripfganz and Ranft, Phys. Lett. 70B (1977) 234."""
    momenta = phase_space(500, [0.0] * 4)
    s, t, u = (2 * dot(momenta[:, 0], momenta[:, i]) * sign for i, sign in ((1, 1), (2, -1), (3, -1)))
    expected = 3 - t * u / s**2 - s * u / t**2 - s * t / u**2
    ratio = string_sum((G, G, G, G), momenta)[0] / expected
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)


@pytest.mark.physics
def test_five_gluons_are_those_of_parke_and_taylor(phase_space):
    """Up to five gluons the sum over strings is exact in colour; the closed form itself agrees with pyAmpliCol."""
    momenta = phase_space(500, [0.0] * 5)
    form = closed_form(Subprocess((G, G), (G, G, G)), ModelParameters())
    # GeV^-2, so that both are without dimension.
    expected = form.evaluate(momenta, np.full(len(momenta), 0.1)) * 1000.0**2
    ratio = string_sum((G, G, G, G, G), momenta)[0] / expected
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)
    assert expected.max() / expected.min() > 100


@pytest.mark.physics
@pytest.mark.parametrize(
    ("pdg_ids", "literature", "leading"),
    [
        ((1, -1, G, G), lambda s, t, u: (t**2 + u**2) * (32 / 27 / (t * u) - 8 / 3 / s**2), 2 / 3),
        ((G, G, 1, -1), lambda s, t, u: (t**2 + u**2) * (1 / 6 / (t * u) - 3 / 8 / s**2), 3 / 32),
        ((1, G, 1, G), lambda s, t, u: (s**2 + u**2) * (-4 / 9 / (s * u) + 1 / t**2), 1 / 4),
    ],
    ids=["q q~ > g g", "g g > q q~", "q g > q g"],
)
def test_a_pair_of_quarks_and_two_gluons_at_leading_colour(pdg_ids, literature, leading, phase_space):
    r"""|M|^2 of table 7.1 of Ellis, Stirling and Webber is that at leading colour times 1 - x / N^2.

    Written with :math:`2 t u = s^2 - t^2 - u^2`, the first one is :math:`\frac43 \frac{t^2 + u^2}{t u}
    \left[\frac{t^2 + u^2}{s^2} - \frac19\right]`: :math:`x = s^2 / (t^2 + u^2)`, with the invariant of the pair of
    quarks in the place of s. The strings have :math:`2 (t^2 + u^2)^2 / (s^2 t u)`. The factors of the three are those
    of the averages over the incoming colours, 1/9 : 1/64 : 1/24.
    """
    momenta = phase_space(500, [0.0] * 4)
    s, t, u = (2 * dot(momenta[:, 0], momenta[:, i]) * sign for i, sign in ((1, 1), (2, -1), (3, -1)))
    pair, first, second = (t, s, u) if pdg_ids[1] == G and pdg_ids[0] != G else (s, t, u)
    ratio = literature(s, t, u) / string_sum(pdg_ids, momenta)[0]
    np.testing.assert_allclose(ratio, leading * (1 - pair**2 / (first**2 + second**2) / 9), rtol=1e-9)


@pytest.mark.physics
def test_three_gluons_written_out(phase_space):
    """Eq. (7.13) of Mangano and Parke, hep-th/0509223, for a quark pair and three gluons: a sum over orders."""
    momenta = phase_space(100, [0.0] * 5)
    pdg_ids = (1, G, 1, G, G)

    def s(i, j):
        return 2 * dot(momenta[:, i], momenta[:, j]) / (2 * dot(momenta[:, 0], momenta[:, 1]))

    helicities = sum(s(2, i) ** 3 * s(0, i) + s(2, i) * s(0, i) ** 3 for i in (1, 3, 4))
    orders = sum(1 / (s(2, a) * s(a, b) * s(b, c) * s(c, 0) * s(0, 2)) for a, b, c in itertools.permutations((1, 3, 4)))
    np.testing.assert_allclose(string_sum(pdg_ids, momenta)[0], helicities * orders, rtol=1e-9)


def test_two_pairs_have_the_poles_of_their_chains(phase_space):
    """Where the gluon is near one quark, the poles are those of the chain that holds both."""
    momenta = phase_space(50, [0.0] * 5)

    def s(i, j):
        return 2 * dot(momenta[:, i], momenta[:, j]) / (2 * dot(momenta[:, 0], momenta[:, 1]))

    # d d~ > u u~ g: chains begin at 1 and 2, and end at 0 and 3; what has no gluon has no pole.
    expected = sum(s(q, a) / (s(q, 4) * s(4, a)) for q in (1, 2) for a in (0, 3))
    np.testing.assert_allclose(string_sum((1, -1, 2, -2, G), momenta)[0], expected, rtol=1e-9)


def test_shares_are_those_of_the_partial_amplitudes(phase_space):
    """Of q q~ > g g: 1/t^2 and 1/u^2 over their sum."""
    momenta = phase_space(100, [0.0] * 4)
    t, u = dot(momenta[:, 0], momenta[:, 2]), dot(momenta[:, 0], momenta[:, 3])
    found = string_sum((1, -1, G, G), momenta)[1]
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    # The chain 1, 2, 3, 0 has s_12 = s_03 = -u.
    orders = [each.chains[0] for each in stringings((1, -1, G, G))]
    expected = u**-2 / (t**-2 + u**-2)
    np.testing.assert_allclose(found[:, orders.index((1, 2, 3, 0))], expected, rtol=1e-9)
