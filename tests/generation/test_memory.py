"""The memory check, against samples of which it is known whether they are copies."""

from __future__ import annotations

import numpy as np
import pytest

from mlgen.errors import TrainingError
from mlgen.generation.memory import MemoryCheck, memory_check


def correlated(n, d, rng):
    """Points that are neither normal nor independent."""
    mixing = np.random.default_rng(5).normal(size=(d, d)) / 2
    normal = rng.standard_normal((n, d))
    return normal + np.sin(normal @ mixing)


@pytest.mark.physics
@pytest.mark.parametrize("d", [1, 2, 6, 9])
@pytest.mark.parametrize(("training", "held_out"), [(1_800, 200), (500, 500), (200, 600)])
def test_independent_samples(d, training, held_out):
    """100 pulls: mean 0 within 0.45, width 1 within 0.3 (more than four standard errors), and not one remark."""
    pulls = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        check = memory_check(*(correlated(n, d, rng) for n in (1_000, training, held_out)), rng)
        assert check.words() is None
        assert check.copies == 0
        assert check.points == 1_000
        pulls.append((check.nearer_to_training - 0.5) / check.error)
    assert abs(np.mean(pulls)) < 0.45
    assert abs(np.std(pulls) - 1) < 0.3


@pytest.mark.physics
def test_a_wrong_but_independent_model_passes():
    """Points far from all others have few neighbours, which they share; the error has to grow with that."""
    pulls, errors = [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        generated = 0.3 * rng.standard_normal((1_000, 3)) + 2.5
        check = memory_check(generated, rng.standard_normal((900, 3)), rng.standard_normal((300, 3)), rng)
        pulls.append((check.nearer_to_training - 0.5) / check.error)
        errors.append(check.error)
    assert np.std(pulls) < 1.3
    # Without shared neighbours it would be half of this: 0.018.
    assert np.mean(errors) > 0.05


@pytest.mark.parametrize("d", [2, 6, 9])
def test_copies_with_small_noise(d):
    rng = np.random.default_rng(1)
    training, held_out, generated = (correlated(n, d, rng) for n in (9_000, 1_000, 6_000))
    copied = rng.random(6_000) < 0.5
    generated[copied] = training[rng.choice(9_000, copied.sum())] + 0.01 * rng.standard_normal((copied.sum(), d))
    check = memory_check(generated, training, held_out, rng)
    assert check.points == 5_000
    assert check.copies == 0
    assert check.nearer_to_training > 0.55
    assert "nearer to training events than to held-out ones" in check.words()


def test_all_of_equally_many_remembered():
    rng = np.random.default_rng(2)
    training, held_out = rng.standard_normal((1_000, 4)), rng.standard_normal((1_000, 4))
    check = memory_check(training + 1e-3 * rng.standard_normal((1_000, 4)), training, held_out, rng)
    assert check.nearer_to_training > 0.99
    assert check.median_distance_ratio < 0.01


@pytest.mark.parametrize("d", [1, 2, 6])
def test_exact_copies_are_counted(d):
    rng = np.random.default_rng(3)
    training, held_out, generated = (rng.standard_normal((n, d)) for n in (9_000, 1_000, 2_000))
    generated[::200] = training[:10]
    check = memory_check(generated, training, held_out, rng)
    assert check.copies == 10
    assert "10 of 2000 generated events are copies" in check.words()


def test_values_that_everything_shares_are_no_copies():
    """Coordinates with few values: equally near neighbours are shared by lot, and coincidence says nothing."""
    rng = np.random.default_rng(4)
    generated, training, held_out = (rng.integers(0, 5, (n, 2)).astype(float) for n in (2_000, 3_000, 1_000))
    pulls = []
    for _ in range(50):
        check = memory_check(generated, training, held_out, rng)
        assert check.words() is None
        pulls.append((check.nearer_to_training - 0.5) / check.error)
    assert np.abs(np.mean(pulls)) < 0.6
    assert check.median_distance_ratio == 1


def test_words():
    assert MemoryCheck(0.6, 0.01, 0, 100, 1.0).words() is not None
    assert MemoryCheck(0.6, 0.03, 0, 100, 1.0).words() is None
    assert MemoryCheck(0.519, 0.001, 0, 100, 1.0).words() is None
    assert MemoryCheck(0.4, 0.001, 0, 100, 1.0).words() is None
    assert MemoryCheck(0.4, 0.001, 1, 100, 1.0).words() == "1 of 100 generated events are copies of training events"


def test_repeatable():
    points = [np.random.default_rng(seed).standard_normal((n, 3)) for seed, n in enumerate((7_000, 3_000, 400))]
    first, second = (memory_check(*points, np.random.default_rng(1)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("held-out", np.zeros((0, 2))),
        ("generated", np.zeros((5, 3))),
        ("held-out", np.zeros(5)),
        ("training", np.full((5, 2), np.nan)),
    ],
)
def test_points_that_cannot_be_compared(name, points):
    given = {key: np.zeros((5, 2)) for key in ("generated", "training", "held-out")} | {name: points}
    with pytest.raises(TrainingError, match=name):
        memory_check(*given.values(), np.random.default_rng(1))
