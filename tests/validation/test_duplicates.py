"""Observables that say the same as another."""

import numpy as np
import pytest

from mlgen.validation.duplicates import ENOUGH, Duplicate, duplicates
from mlgen.validation.observable import Kind, Observable

NUMBER, WHOLE, CATEGORY = (Observable(kind.value, "x", kind=kind) for kind in Kind)


def found(kind, *rows, order=None):
    values = np.array(rows, dtype=float)
    return duplicates([kind] * len(rows), [values], order or range(len(rows)))


def random(n=100, seed=1):
    return np.random.default_rng(seed).normal(50, 20, n)


def whole(n=100, seed=1, most=4):
    return np.random.default_rng(seed).integers(0, most, n)


def test_numbers_are_the_same_to_six_digits():
    x = random()
    assert found(NUMBER, x, x * (1 + 1e-7)) == [Duplicate(1, 0)]
    assert found(NUMBER, x, x * (1 + 1e-5)) == []
    assert found(NUMBER, x, 2 * x) == []
    other = x.copy()
    other[-1] += 1
    assert found(NUMBER, x, other) == []


def test_an_event_must_lack_both_or_none():
    x = random()
    lacking, other = x.copy(), x.copy()
    lacking[:30] = np.nan
    assert found(NUMBER, lacking, lacking) == [Duplicate(1, 0)]
    assert found(NUMBER, x, lacking) == []
    other[29] = np.nan
    assert found(NUMBER, lacking, other) == []
    assert found(WHOLE, np.round(lacking), np.round(other)) == []


@pytest.mark.parametrize(("slope", "offset"), [(1, 0), (1, 2), (-1, 3), (2, 1), (-0.5, 7)])
def test_whole_numbers_are_linear_functions(slope, offset):
    n = whole()
    assert found(WHOLE, n, slope * n + offset) == [Duplicate(1, 0, slope, offset)]
    other = slope * n + offset
    other[np.flatnonzero(n == 1)[0]] += 1
    assert found(WHOLE, n, other) == []


def test_a_function_that_cannot_be_undone_is_none():
    n = whole()
    assert found(WHOLE, n, np.minimum(n, 1)) == []
    assert found(WHOLE, np.minimum(n, 1), n) == []


def test_constants_and_rare_coincidences_are_left_alone():
    same = np.full(100, 3.0)
    assert found(NUMBER, same, same) == []
    assert found(WHOLE, same, same, whole()) == []
    few = (np.arange(100) < ENOUGH - 1).astype(float)
    assert found(WHOLE, few, few) == []
    enough = (np.arange(100) < ENOUGH).astype(float)
    assert found(WHOLE, enough, enough) == [Duplicate(1, 0)]
    # All but the most common number have to be enough.
    lacking = np.where(np.arange(100) <= ENOUGH, random(), np.nan)
    assert found(NUMBER, lacking, lacking) == [Duplicate(1, 0)]
    lacking[0] = np.nan
    assert found(NUMBER, lacking, lacking) == []


def test_the_order_says_which_is_kept():
    x = random()
    assert found(NUMBER, x, x, x, order=[2, 0, 1]) == [Duplicate(0, 2), Duplicate(1, 2)]


def test_kinds_do_not_mix_and_categories_are_no_numbers():
    n = whole().astype(float)
    assert duplicates([NUMBER, WHOLE], [np.array([n, n])], [0, 1]) == []
    assert found(CATEGORY, n, n) == []


def test_it_holds_for_every_sample_and_by_the_same_function():
    n, zeros = whole(most=2), np.zeros(100)
    both = [WHOLE, WHOLE]
    assert duplicates(both, [np.array([n, 1 - n]), np.array([n, 1 - n])], [0, 1]) == [Duplicate(1, 0, -1, 1)]
    assert duplicates(both, [np.array([n, 1 - n]), np.array([n, n])], [0, 1]) == []
    # Constant in the second sample, and on the line or not.
    assert duplicates(both, [np.array([n, 1 - n]), np.array([zeros, zeros + 1])], [0, 1]) == [Duplicate(1, 0, -1, 1)]
    assert duplicates(both, [np.array([n, 1 - n]), np.array([zeros, zeros])], [0, 1]) == []
    few = np.array([n, 1 - n])[:, : ENOUGH - 1]
    assert duplicates(both, [np.array([n, 1 - n]), few], [0, 1]) == []
    assert duplicates(both, [], [0, 1]) == []
