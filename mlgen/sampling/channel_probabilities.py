"""How often each channel is drawn: probabilities, and the whole numbers of points that they become."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlgen.stages import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]


def proportional_to(sizes: FloatArray, contributes: BoolArray, minimum_share: float) -> FloatArray:
    """Return probabilities proportional to `sizes` (channels,), zero for channels that do not contribute.

    Args:
        sizes: Not negative; where all are zero, the channels that contribute are equally likely.
        contributes: Channels that are to be drawn at all, ``(channels,)``; one or more.
        minimum_share: Lower bound, in units of that of equally likely channels.
    """
    chosen = np.where(contributes, sizes, 0.0)
    if chosen.sum() == 0:
        chosen = contributes.astype(np.float64)
    smallest = minimum_share / np.count_nonzero(contributes)
    raised = np.where(contributes, np.maximum(chosen / chosen.sum(), smallest), 0.0)
    return np.asarray(raised / raised.sum())


def systematic_counts(probabilities: FloatArray, n: int, rng: np.random.Generator) -> IntArray:
    """Return how many of `n` points fall to each channel, ``(channels,)``: as even as whole numbers can be.

    Each count is the expected number, rounded up or down so that its mean over the random offset is exactly
    ``n * probabilities``. An estimate with these counts is as unbiased as one with multinomial counts; how its variance
    differs is said at `mlgen.sampling.ChannelSampler`.

    Args:
        probabilities: Probability of each channel, ``(channels,)``; they sum to one.
        n: Number of points.
        rng: Source of the offset: one number.
    """
    edges = np.cumsum(probabilities)
    # Rounding must neither leave a point over nor give one to a channel behind the last that is drawn.
    edges[np.flatnonzero(probabilities)[-1] :] = 1.0
    ends = np.floor(n * edges + rng.random()).astype(np.int64)
    return np.ediff1d(ends, to_begin=ends[:1])
