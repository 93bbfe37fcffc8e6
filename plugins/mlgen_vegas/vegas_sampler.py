"""VEGAS: adaptive maps, one for each channel or group of channels."""

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
from mlgen_vegas.adaptive_maps import AdaptiveMaps
from mlgen_vegas.channel_probabilities import WeightMoments
from mlgen_vegas.channel_sampler import ChannelSampler, check_names_and_dimensions, names_of_dropped
from mlgen_vegas.evaluation import check_integrand, evaluated_batches
from mlgen_vegas.settings import VegasSettings

#: Fewest points of a channel in one iteration from which anything can be learned.
_FEWEST_POINTS = 10


class VegasSampler(ChannelSampler):
    r"""A map :math:`y \to x(y)` for each channel, so that :math:`p(x | c) = 1 / |\partial x / \partial y|`.

    Each iteration samples all channels and adapts their maps to :math:`(\alpha_c f_c)^2` with the prior channel
    weights :math:`\alpha`. The first iteration gives each map as many points; later ones divide half of the points by
    how often the channels would be drawn. The last iteration adapts nothing: it measures how often a channel should be
    drawn with the maps as they are.

    Args:
        settings: Points, iterations and speed of the adaptation.

    References:
        Lepage, J. Comput. Phys. 27, 192 (1978); J. Comput. Phys. 439, 110386 (2021), arXiv:2009.05112;
        Ohl, Comput. Phys. Commun. 120, 13 (1999), hep-ph/9806432 (one map for each channel).
    """

    settings: VegasSettings

    def __init__(self, settings: VegasSettings) -> None:
        super().__init__(settings)
        self._maps: AdaptiveMaps | None = None
        self._map_of_channel = np.empty(0, np.int64)

    def train(
        self,
        integrand: Integrand,
        budget: int | None,
        rng: np.random.Generator,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        """Adapt the maps, and learn how often each channel should be drawn.

        Args:
            integrand: What is to be integrated.
            budget: Points of the integrand, all of which are used, as many in each iteration; None:
                ``settings.points`` for each map and iteration.
            rng: Source of the points.
            progress: Told after each batch, with the relative standard deviation of the last iteration.

        Raises:
            TrainingError: The integrand is zero at all points or not finite, or the budget is too small: fewer
                than ten points for a channel in an iteration.
        """
        check_integrand(integrand)
        channels, iterations = len(integrand.channels), self.settings.iterations
        groups = np.unique(integrand.groups, return_inverse=True)[1] if self.settings.share_groups else range(channels)
        self._map_of_channel = np.asarray(groups, np.int64)
        maps = int(self._map_of_channel.max()) + 1
        self._dimensions, self._features = integrand.dimensions, integrand.features
        self._maps = AdaptiveMaps.uniform(maps, integrand.dimensions, self.settings.increments)

        points = maps * self.settings.points if budget is None else budget // iterations
        equal = 1 / np.bincount(self._map_of_channel)[self._map_of_channel] / maps
        needed = int(np.ceil(_FEWEST_POINTS / equal.min()))
        if points < needed:
            raise TrainingError(
                f"{points} points in each of {iterations} iterations are too few for {channels} channels; a budget of "
                f"{needed * iterations} or more is expected"
            )
        share = equal
        contributes = np.zeros(channels, bool)
        curve: list[float] = []
        calls, total = 0, points * iterations
        for iteration in range(iterations):
            # Rounded down: the budget is an upper bound.
            counts = (share * points).astype(np.int64)
            moments = WeightMoments(channels)
            for batch in evaluated_batches(integrand, counts, self._place, rng):
                moments.add(batch.channel, batch.weight)
                self._maps.learn(batch.uniform, batch.weight, self._map_of_channel, batch.counts)
                calls += len(batch.weight)
                progress(Progress(calls, total, "relative standard deviation", curve[-1] if curve else float("nan")))
            contributes |= moments.contributes
            if not contributes.any():
                raise TrainingError(
                    f"the integrand is zero at all {calls} points; check the cuts and the matrix element"
                )
            self._probabilities = moments.probabilities(
                contributes, self._map_of_channel.tolist(), self.settings.minimum_share
            )
            curve.append(moments.relative_standard_deviation(self._probabilities))
            share = (equal + self._probabilities) / 2
            if iteration < iterations - 1:
                self._maps.adapt(self.settings.alpha)
        progress(Progress(total, total, "relative standard deviation", curve[-1]))
        return TrainingReport(
            figures={
                "relative_standard_deviation": curve[-1],
                "absolute_integral": moments.integral_of_size,
                "integrand_calls": calls,
                "channels_used": int(np.count_nonzero(self._probabilities)),
                "maps": maps,
            },
            curves={"relative standard deviation": curve},
            remarks=names_of_dropped(integrand.channels, self._probabilities),
        )

    def _place(self, uniform: FloatArray, counts: IntArray) -> tuple[FloatArray, FloatArray]:
        if self._maps is None:
            raise TrainingError("vegas has no maps yet: train() comes first")
        return self._maps.place(uniform, self._map_of_channel, counts)

    def state(self) -> State:
        """Return grids ``(maps, d, increments + 1)``, map and probability of each channel; nothing before training."""
        if self._maps is None or not self.trained:
            return {}
        return self._channel_state() | {"grids": self._maps.grids, "map_of_channel": self._map_of_channel}

    @classmethod
    def from_state(cls, settings: Settings, state: State) -> Self:
        """Make the sampler that `state` came from."""
        if not isinstance(settings, VegasSettings):
            raise ModelError(f"vegas was given {type(settings).__name__}; VegasSettings are expected")
        expected = {"probabilities": 1, "dimensions": 0, "features": 0, "grids": 3, "map_of_channel": 1}
        check_names_and_dimensions("vegas", state, expected)
        made = cls(settings)
        made._set_channel_state(state)
        grids, map_of_channel = np.array(state["grids"], np.float64), np.array(state["map_of_channel"], np.int64)
        if grids.shape[1] != made._dimensions or map_of_channel.shape != made._probabilities.shape:
            raise ModelError(
                f"vegas has grids of shape {grids.shape} for {made._dimensions} dimensions, and maps of "
                f"{len(map_of_channel)} channels, of which {len(made._probabilities)} have probabilities"
            )
        if map_of_channel.min() < 0 or map_of_channel.max() >= len(grids):
            raise ModelError(f"vegas has {len(grids)} maps, but channels that need others: {map_of_channel}")
        if np.any(np.diff(grids, axis=2) <= 0) or np.any(grids[..., 0] != 0) or np.any(grids[..., -1] != 1):
            raise ModelError("vegas needs grids that ascend from 0 to 1")
        made._maps, made._map_of_channel = AdaptiveMaps(grids), map_of_channel
        return made
