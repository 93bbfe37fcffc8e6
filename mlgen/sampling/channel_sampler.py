"""What samplers with a probability for each channel and a density within it have in common."""

from __future__ import annotations

import abc

import numpy as np

from mlgen.errors import ModelError, TrainingError
from mlgen.sampling.channel_probabilities import systematic_counts
from mlgen.sampling.prior_weights import prior_of_drawn
from mlgen.stages import FloatArray, IntArray, Integrand, PhaseSpaceSampler, Points, Settings, State


class ChannelSampler(PhaseSpaceSampler):
    r"""Draws channel :math:`c` with probability :math:`p_c` and a position with density :math:`p(x | c)`.

    A plugin writes `place`, ``train`` (which ends with `set_channels`), ``state`` (with `channel_state` among its
    arrays) and ``from_state`` (with `set_channel_state`).

    A channel that did not contribute in the training is never drawn. The prior weights of the others are scaled to sum
    to one, which is exact, since all channels map the same space.

    The channels of the ``n`` points of one call are drawn systematically, not one by one: each channel gets its
    expected number of points, rounded at random, and then all are shuffled. Every point has the density
    :math:`p_c \, p(x | c)` on average over rounding and shuffling, so that the mean of the weights of a call, and of
    any prefix of it, is unbiased. The points of one call are not independent, though. With the mean :math:`m_c` and the
    standard deviation :math:`\sigma_c` of the weights in channel :math:`c`, and their mean :math:`m` over all
    channels, the means of calls scatter with the variance

    .. math:: \frac1n \sum_c p_c \sigma_c^2
        \quad\text{instead of}\quad \frac1n \sum_c p_c \left[\sigma_c^2 + (m_c - m)^2\right]

    of independent points. The plain variance of the weights estimates the second. An error that is quoted from it is
    therefore too large by the root of the ratio, wherever channels differ in their mean weight, and means of calls
    scatter less than it says: pulls narrower than one are what is to be expected. That leaves out the rounding of the
    numbers of points, which matters while there are hardly more points than channels.

    Args:
        settings: The plugin's settings.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._probabilities = np.empty(0)
        self._dimensions = 0
        self._features = 0

    @abc.abstractmethod
    def place(self, uniform: FloatArray, counts: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return positions ``(n, d)`` and their Jacobian ``(n,)`` for uniform points sorted by channel.

        The Jacobian is one over the density within the channel.

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
        """How often each channel is drawn, ``(channels,)``; empty before the training."""
        return self._probabilities

    @property
    def dimensions(self) -> int:
        """Dimensions of the hypercube; 0 before the training."""
        return self._dimensions

    @property
    def features(self) -> int:
        """Number of features of a point; 0 before the training."""
        return self._features

    def set_channels(self, integrand: Integrand, probabilities: FloatArray) -> None:
        """End a training: from now on points of `integrand` are drawn.

        Args:
            integrand: What was learned.
            probabilities: How often each channel is drawn, ``(channels,)``; they sum to one.
        """
        self._probabilities = probabilities
        self._dimensions, self._features = integrand.dimensions, integrand.features

    def sample(self, n: int, rng: np.random.Generator) -> Points:
        """Draw exactly `n` points.

        Raises:
            TrainingError: There was no training.
            ValueError: `n` is negative.
        """
        if n < 0:
            raise ValueError(f"{n} points were asked for; 0 or more are expected")
        self.require_training()
        counts = systematic_counts(self._probabilities, n, rng)
        x, jacobian = self.place(rng.random((n, self._dimensions)), counts)
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
        self.require_training()
        return prior_of_drawn(self._probabilities > 0, self._features, features, prior)

    def require_training(self) -> None:
        """Refuse to go on untrained.

        Raises:
            TrainingError: There was no training.
        """
        if not self.trained:
            raise TrainingError(f"{type(self).__name__} has learned nothing yet: train() comes first")

    def channel_state(self) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64 | np.int64]]]:
        """Return what `set_channels` was given: ``probabilities (channels,)``, ``dimensions ()``, ``features ()``."""
        return {
            "probabilities": self._probabilities,
            "dimensions": np.asarray(self._dimensions),
            "features": np.asarray(self._features),
        }

    def set_channel_state(self, state: State) -> None:
        """Take over what `channel_state` gave; other arrays of the state are left alone.

        Raises:
            ModelError: It makes no sense.
        """
        probabilities = np.array(state["probabilities"], np.float64)
        if not (np.all(probabilities >= 0) and np.isclose(probabilities.sum(), 1, rtol=0, atol=1e-9)):
            raise ModelError(f"{type(self).__name__} needs channel probabilities that sum to 1; {probabilities} do not")
        self._probabilities = probabilities
        self._dimensions, self._features = int(state["dimensions"]), int(state["features"])
