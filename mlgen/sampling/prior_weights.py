"""Prior channel weights where some channels are never drawn."""

from __future__ import annotations

import numpy as np

from mlgen.sampling.channel_probabilities import BoolArray
from mlgen.stages import FloatArray


def prior_of_drawn(drawn: BoolArray, n_features: int, features: FloatArray, prior: FloatArray) -> FloatArray:
    """Return `prior` (n, channels) with the channels that are not `drawn` left out, each row summing to one.

    Where the prior gives all weight to channels that are not drawn, those that are share it equally. This is exact,
    since all channels map the same space.

    Args:
        drawn: Whether a channel is ever drawn, ``(channels,)``.
        n_features: Features of a point that are expected.
        features: Of the points, ``(n, features)``; only checked.
        prior: Prior channel weights, ``(n, channels)``.

    Raises:
        ValueError: The arrays have another shape than in the training, or hold NaN.
    """
    if features.ndim != 2 or features.shape[1] != n_features or prior.shape != (len(features), len(drawn)):
        raise ValueError(
            f"features have shape {features.shape} and prior channel weights {prior.shape}; (n, {n_features}) and "
            f"(n, {len(drawn)}) are expected"
        )
    if not (np.all(np.isfinite(features)) and np.all(np.isfinite(prior)) and np.all(prior >= 0)):
        raise ValueError("features and prior channel weights have to be finite, and the weights not negative")
    weights = np.where(drawn, prior, 0.0)
    total = weights.sum(axis=1, keepdims=True)
    equal = drawn / np.count_nonzero(drawn)
    return np.asarray(np.where(total > 0, weights / np.where(total > 0, total, 1.0), equal))
