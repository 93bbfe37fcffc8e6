"""What samplers with a probability for each channel and a density within it have in common."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import numpy as np

from mlgen.errors import ModelError, TrainingError
from mlgen.stages import FloatArray, IntArray, PhaseSpaceSampler, Points, Settings, State
from mlgen_vegas.channel_probabilities import systematic_counts


class ChannelSampler(PhaseSpaceSampler):
    r"""Draws channel :math:`c` with probability :math:`p_c` and a position with density :math:`p(x | c)`.

    The channels of the ``n`` points of one call are drawn systematically, not one by one: each channel gets its
    expected number of points, rounded at random, and then all are shuffled. Every point has the density
    :math:`p_c \, p(x | c)` on average over the offset, so that the sum over the points of a call, and over any prefix
    of them, is unbiased. The variance is never larger than that of independent points: an error from the plain
    variance of the weights is right or slightly too large, never too small.

    A channel that did not contribute in the training is never drawn. The prior weights of the others are scaled to sum
    to one, which is exact, since all channels map the same space.

    Args:
        settings: The plugin's settings.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._probabilities = np.empty(0)
        self._dimensions = 0
        self._features = 0

    @abc.abstractmethod
    def _place(self, uniform: FloatArray, counts: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return positions ``(n, d)`` and their Jacobian ``(n,)`` for uniform points sorted by channel.

        Args:
            uniform: Uniform points, ``(n, d)``.
            counts: How many of them belong to each channel in turn, ``(channels,)``.
        """

    @property
    def trained(self) -> bool:
        """Whether there is something to draw from."""
        return len(self._probabilities) > 0

    @property
    def channel_probabilities(self) -> FloatArray:
        """How often each channel is drawn, ``(channels,)``."""
        return self._probabilities

    def sample(self, n: int, rng: np.random.Generator) -> Points:
        """Draw exactly `n` points.

        Raises:
            TrainingError: There was no training.
            ValueError: `n` is negative.
        """
        if n < 0:
            raise ValueError(f"{n} points were asked for; 0 or more are expected")
        self._require_training()
        counts = systematic_counts(self._probabilities, n, rng)
        x, jacobian = self._place(rng.random((n, self._dimensions)), counts)
        density = np.repeat(self._probabilities, counts) / jacobian
        order = rng.permutation(n)
        return Points(x[order], np.repeat(np.arange(len(counts)), counts)[order], density[order])

    def channel_weights(self, features: FloatArray, prior: FloatArray) -> FloatArray:
        """Return the prior weights of the channels that are drawn, each row scaled to sum to one, ``(n, channels)``.

        Where the prior gives all weight to channels that are not drawn, those that are share it equally.

        Raises:
            TrainingError: There was no training.
            ValueError: The arrays have another shape than in the training, or hold NaN.
        """
        self._require_training()
        return prior_of_drawn(self._probabilities > 0, self._features, features, prior)

    def _require_training(self) -> None:
        if not self.trained:
            raise TrainingError(f"{type(self).__name__} has learned nothing yet: train() comes first")

    def _channel_state(self) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64 | np.int64]]]:
        return {
            "probabilities": self._probabilities,
            "dimensions": np.asarray(self._dimensions),
            "features": np.asarray(self._features),
        }

    def _set_channel_state(self, state: State) -> None:
        """Take over what `_channel_state` gave.

        Raises:
            ModelError: It makes no sense.
        """
        probabilities = np.array(state["probabilities"], np.float64)
        if not (np.all(probabilities >= 0) and np.isclose(probabilities.sum(), 1, rtol=0, atol=1e-9)):
            raise ModelError(f"{type(self).__name__} needs channel probabilities that sum to 1; {probabilities} do not")
        self._probabilities = probabilities
        self._dimensions, self._features = int(state["dimensions"]), int(state["features"])


def check_names_and_dimensions(what: str, state: State, expected: dict[str, int]) -> None:
    """Refuse a state that lacks an array, or has one of another dimension.

    Raises:
        ModelError: It does not fit.
    """
    found = {name: np.ndim(array) for name, array in state.items()}
    if found != expected:
        raise ModelError(f"{what} needs arrays with dimensions {expected}; there are {found}")
    for name, array in state.items():
        if not np.all(np.isfinite(array)):
            raise ModelError(f"{what} needs finite numbers; its array '{name}' holds others")


def prior_of_drawn(
    drawn: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], n_features: int, features: FloatArray, prior: FloatArray
) -> FloatArray:
    """Return `prior` (n, channels) with the channels that are not `drawn` left out, each row summing to one.

    Args:
        drawn: Whether a channel is ever drawn, ``(channels,)``.
        n_features: Features of a point that are expected.
        features: Of the points, ``(n, features)``.
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


def names_of_dropped(channels: Sequence[str], probabilities: FloatArray) -> tuple[str, ...]:
    """Return a remark that names the channels that are never drawn, where there are any."""
    dropped = [f"'{name}'" for name, probability in zip(channels, probabilities, strict=True) if probability == 0]
    if not dropped:
        return ()
    return (f"never drawn, since no point of the training contributed: channels {', '.join(dropped)}",)
