"""Moments of the weights in each channel, and the channel probabilities that they ask for."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mlgen.sampling.channel_probabilities import BoolArray, proportional_to
from mlgen.stages import FloatArray, IntArray


class WeightMoments:
    r"""Moments of the weights :math:`w = \alpha_c f_c / p(x | c)` of points in each channel.

    Args:
        channels: Number of channels.
    """

    def __init__(self, channels: int) -> None:
        self.counts = np.zeros(channels)
        self._sizes = np.zeros(channels)
        self._negative_sizes = np.zeros(channels)
        self._squares = np.zeros(channels)

    def add(self, channel: IntArray, weight: FloatArray) -> None:
        """Add points of the channels ``(n,)`` with finite weights ``(n,)``."""
        channels = len(self.counts)
        self.counts += np.bincount(channel, minlength=channels)
        self._sizes += np.bincount(channel, np.abs(weight), channels)
        self._negative_sizes += np.bincount(channel, np.maximum(-weight, 0.0), channels)
        self._squares += np.bincount(channel, weight**2, channels)

    @property
    def contributes(self) -> BoolArray:
        """Whether a channel had a weight that was not zero, ``(channels,)``."""
        return np.asarray(self._sizes > 0)

    @property
    def second_moments(self) -> FloatArray:
        """Mean of the squared weights, ``(channels,)``; zero where there was no point."""
        return np.asarray(self._squares / np.maximum(self.counts, 1))

    @property
    def integral_of_size(self) -> float:
        r"""Estimate of :math:`\sum_c \int |\alpha_c f_c|`."""
        return float(np.sum(self._sizes / np.maximum(self.counts, 1)))

    @property
    def negative_share(self) -> float:
        """Share of `integral_of_size` where the integrand is negative; zero where there was no weight."""
        total = self.integral_of_size
        return float(np.sum(self._negative_sizes / np.maximum(self.counts, 1))) / total if total > 0 else 0.0

    def probabilities(self, contributes: BoolArray, groups: Sequence[int], minimum_share: float) -> FloatArray:
        r"""Return the channel probabilities with the smallest second moment of the weights, ``(channels,)``.

        A point that is drawn for channel :math:`c` with probability :math:`p_c` has the weight :math:`w / p_c`. The
        second moment :math:`\sum_c E_c[w^2] / p_c` is smallest for :math:`p_c \propto \sqrt{E_c[w^2]}`: this is
        Neyman's allocation with second moments instead of variances, since the events of all channels go into one
        sample, where a channel's mean weight that differs from the others' costs as much as a spread within it.

        Args:
            contributes: Channels that are to be drawn at all, ``(channels,)``.
            groups: Group of each channel; the members of a group get the same probability.
            minimum_share: Lower bound, in units of that of equally likely channels.

        References:
            Neyman, J. R. Stat. Soc. 97, 558 (1934); Kleiss and Pittau, Comput. Phys. Commun. 83, 141 (1994),
            hep-ph/9405257.
        """
        group = np.asarray(groups)
        members = np.bincount(group, contributes)
        totals = np.bincount(group, np.where(contributes, self.second_moments, 0.0))
        return proportional_to(np.sqrt(totals / np.maximum(members, 1))[group], contributes, minimum_share)

    def relative_standard_deviation(self, probabilities: FloatArray) -> float:
        """Standard deviation of the weights of points drawn so, in units of the mean of their sizes."""
        drawn = probabilities > 0
        second = float(np.sum(self.second_moments[drawn] / probabilities[drawn]))
        mean = self.integral_of_size
        return math.sqrt(max(second / mean**2 - 1, 0.0)) if mean > 0 else 0.0
