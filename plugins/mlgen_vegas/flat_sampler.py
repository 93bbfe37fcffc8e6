"""Flat sampling: uniform points in each channel."""

from __future__ import annotations

from typing import Self

import numpy as np

from mlgen.errors import ModelError, TrainingError
from mlgen.stages import (
    FloatArray,
    IntArray,
    Integrand,
    Progress,
    ProgressCallback,
    Settings,
    State,
    TrainingReport,
    no_progress,
)
from mlgen_vegas.channel_probabilities import WeightMoments
from mlgen_vegas.channel_sampler import ChannelSampler, check_names_and_dimensions, names_of_dropped
from mlgen_vegas.evaluation import check_integrand, evaluated_batches
from mlgen_vegas.settings import FlatSettings


class FlatSampler(ChannelSampler):
    """Uniform points in the hypercube of each channel: the density is the channel's probability.

    Args:
        settings: Whether the channel probabilities are learned.
    """

    settings: FlatSettings

    def train(
        self,
        integrand: Integrand,
        budget: int | None,
        rng: np.random.Generator,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        """Learn the channel probabilities from uniform points, as many in each channel.

        Args:
            integrand: What is to be integrated.
            budget: Points of the integrand, all of which are used; None: ``settings.points`` for each channel.
            rng: Source of the points.
            progress: Told after each batch.

        Raises:
            TrainingError: The integrand is zero at all points or not finite, or the budget is less than one point for
                each channel.
        """
        check_integrand(integrand)
        channels = len(integrand.channels)
        each = self.settings.points if budget is None else budget // channels
        if each < 1:
            raise TrainingError(f"a budget of {budget} points is too small for {channels} channels; 1 each is needed")
        moments, done = WeightMoments(channels), 0
        for batch in evaluated_batches(integrand, np.full(channels, each), self._place, rng):
            moments.add(batch.channel, batch.weight)
            done += len(batch.weight)
            progress(Progress(done, each * channels))
        if not moments.contributes.any():
            raise TrainingError(f"the integrand is zero at all {done} points; check the cuts and the matrix element")
        self._dimensions, self._features = integrand.dimensions, integrand.features
        self._probabilities = (
            moments.probabilities(moments.contributes, integrand.groups, self.settings.minimum_share)
            if self.settings.channels == "learned"
            else np.full(channels, 1 / channels)
        )
        spread = moments.relative_standard_deviation(self._probabilities)
        progress(Progress(done, done, "relative standard deviation", spread))
        return TrainingReport(
            figures={
                "relative_standard_deviation": spread,
                "integrand_calls": done,
                "channels_used": int(np.count_nonzero(self._probabilities)),
            },
            remarks=names_of_dropped(integrand.channels, self._probabilities),
        )

    def _place(self, uniform: FloatArray, counts: IntArray) -> tuple[FloatArray, FloatArray]:
        return uniform, np.ones(len(uniform))

    def state(self) -> State:
        """Return the channel probabilities; no arrays before the training."""
        return self._channel_state() if self.trained else {}

    @classmethod
    def from_state(cls, settings: Settings, state: State) -> Self:
        """Make the sampler that `state` came from."""
        if not isinstance(settings, FlatSettings):
            raise ModelError(f"flat was given {type(settings).__name__}; FlatSettings are expected")
        check_names_and_dimensions("flat", state, {"probabilities": 1, "dimensions": 0, "features": 0})
        made = cls(settings)
        made._set_channel_state(state)
        return made
