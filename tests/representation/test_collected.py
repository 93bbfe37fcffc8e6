"""Training events: all of them, or a fair draw from a file that is larger than memory should be."""

import numpy as np

from mlgen.events import EventBatch
from mlgen.representation import collected

BATCH = 100


def numbered(n: int):
    """Batches of one-particle events whose process id is their number."""
    for start in range(0, n, BATCH):
        number = np.arange(start, min(start + BATCH, n))
        one = np.ones(len(number))
        columns = {"pdg_id": one, "status": -one, "px": 0 * one, "py": 0 * one, "pz": one, "energy": one}
        yield EventBatch.from_columns(one.astype(int), columns, weight=one, process_id=number)


def test_a_small_file_is_taken_whole():
    batch = collected(numbered(250), 250, np.random.default_rng(1))
    assert batch.process_id.tolist() == list(range(250))


def test_each_event_of_a_large_file_has_the_same_chance():
    chosen = np.zeros(1000, int)
    draws, most = 150, 50
    for seed in range(draws):
        batch = collected(numbered(1000), most, np.random.default_rng(seed))
        assert len(batch) == len(set(batch.process_id)) == most
        chosen[batch.process_id] += 1
    # 20 groups of 50 neighbours, 375 expected in each; 5 sigma of the binomial for the largest of them.
    groups = chosen.reshape(20, 50).sum(axis=1)
    expected = draws * most / 20
    assert np.abs(groups - expected).max() < 5 * np.sqrt(expected)
    # Each is expected 7.5 times; 0.5 of the 1,000 are never chosen (six or more: p < 1e-4).
    assert np.count_nonzero(chosen == 0) < 6


def test_the_draw_follows_the_seed():
    first = collected(numbered(1000), 50, np.random.default_rng(3))
    again = collected(numbered(1000), 50, np.random.default_rng(3))
    assert first.process_id.tolist() == again.process_id.tolist()
