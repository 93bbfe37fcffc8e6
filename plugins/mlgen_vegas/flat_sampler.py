"""Flat sampling: uniform points in each channel."""

from __future__ import annotations

from typing import Self

import numpy as np

from mlgen.errors import ModelError, TrainingError
from mlgen.sampling import (
    ChannelSampler,
    WeightMoments,
    check_arrays,
    check_integrand,
    evaluated_batches,
    remark_on_dropped,
)
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
from mlgen_vegas.settings import FlatSettings

#: Why a channel is never drawn.
_NOTHING_CONTRIBUTED = "since no point of the training contributed"


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
        for batch in evaluated_batches(integrand, np.full(channels, each), self.place, rng):
            moments.add(batch.channel, batch.weight)
            done += len(batch.weight)
            progress(Progress(done, each * channels))
        if not moments.contributes.any():
            raise TrainingError(f"the integrand is zero at all {done} points; check the cuts and the matrix element")
        probabilities = (
            moments.probabilities(moments.contributes, integrand.groups, self.settings.minimum_share)
            if self.settings.channels == "learned"
            else np.full(channels, 1 / channels)
        )
        self.set_channels(integrand, probabilities)
        spread = moments.relative_standard_deviation(probabilities)
        progress(Progress(done, done, "relative standard deviation", spread))
        return TrainingReport(
            figures={
                "relative_standard_deviation": spread,
                "integrand_calls": done,
                "channels_used": int(np.count_nonzero(probabilities)),
            },
            remarks=remark_on_dropped(integrand.channels, probabilities > 0, _NOTHING_CONTRIBUTED),
        )

    def place(self, uniform: FloatArray, counts: IntArray) -> tuple[FloatArray, FloatArray]:
        """Leave the points ``(n, d)`` where they are: the Jacobian ``(n,)`` is one."""
        return uniform, np.ones(len(uniform))

    def state(self) -> State:
        """Return the channel probabilities; no arrays before the training."""
        return self.channel_state() if self.trained else {}

    @classmethod
    def from_state(cls, settings: Settings, state: State) -> Self:
        """Make the sampler that `state` came from."""
        if not isinstance(settings, FlatSettings):
            raise ModelError(f"flat was given {type(settings).__name__}; FlatSettings are expected")
        check_arrays("flat", state, {"probabilities": 1, "dimensions": 0, "features": 0})
        made = cls(settings)
        made.set_channel_state(state)
        return made
