"""One seed for a run: where each piece of work gets its random numbers from.

Batch k of a piece of work uses the k-th child of the seed, so the result does not depend on how the work is split.
"""

from __future__ import annotations

import enum

import numpy as np


class Work(enum.IntEnum):
    """Pieces of work with random numbers of their own. Numbers are part of reproducibility: never change one."""

    TRAIN_GENERATOR = 1
    GENERATE = 2
    UNWEIGHT = 3
    VALIDATE = 4
    COMPARE = 5
    TRAIN_SAMPLER = 6
    SAMPLE_PHASE_SPACE = 7
    DRAW_SUBPROCESS = 8
    WRITE_EVENT = 9
    INTEGRATE = 10
    DRAW_TRAINING_POINTS = 11
    TRAIN_AMPLITUDE = 12
    TRAIN_UNWEIGHTING = 13
    SIMULATE_SHOWERS = 14
    TRAIN_CALORIMETER = 15
    GENERATE_SHOWERS = 16
    SHOWER_EVENTS = 17


def random_generator(seed: int, work: Work, batch: int = 0, *parts: int) -> np.random.Generator:
    """Random numbers for batch `batch` of a piece of work, or for a part of it, independent of all others."""
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=(int(work), batch, *parts))
    return np.random.Generator(np.random.PCG64(sequence))
