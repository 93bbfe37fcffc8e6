import numpy as np
from scipy.stats import kstest

from mlgen.validation.reservoir import Reservoir


def test_what_is_kept_is_a_uniform_subset_in_the_order_of_the_stream():
    """Kolmogorov-Smirnov, p > 1e-3."""
    rng = np.random.default_rng(3)
    reservoir = Reservoir(5_000)
    for start in range(0, 200_000, 10_000):
        reservoir.add(np.arange(start, start + 10_000, dtype=np.float64)[None], rng)
    rows = reservoir.rows(1)[:, 0]
    assert len(rows) == 5_000
    assert (np.diff(rows) > 0).all()
    assert kstest(rows / 200_000, "uniform").pvalue > 1e-3


def test_a_short_stream_is_kept_whole():
    reservoir = Reservoir(100)
    columns = np.arange(20, dtype=np.float64).reshape(2, 10)
    reservoir.add(columns, np.random.default_rng(1))
    assert (reservoir.rows(2) == columns.T).all()
    assert Reservoir(10).rows(3).shape == (0, 3)


def test_memory_stays_bounded():
    reservoir, rng = Reservoir(1_000), np.random.default_rng(4)
    for _ in range(100):
        reservoir.add(np.zeros((1, 10_000)), rng)
        assert sum(len(rows) for rows in reservoir._rows) <= 1_000 * 1.5 + 20_000
