"""VEGAS: adaptive maps, one for each channel or group of channels."""

from __future__ import annotations

from collections.abc import Sequence
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
from mlgen_vegas.adaptive_maps import AdaptiveMaps
from mlgen_vegas.settings import VegasSettings

#: Fewest points of a channel in one iteration from which anything can be learned.
_FEWEST_POINTS = 10


def maps_of_channels(groups: Sequence[int], *, share_groups: bool) -> IntArray:
    """Return the number of the map that each channel uses, ``(channels,)``.

    Args:
        groups: Group of each channel.
        share_groups: Whether the channels of a group share a map.
    """
    return np.unique(groups, return_inverse=True)[1] if share_groups else np.arange(len(groups))


def fewest_points(map_of_channel: IntArray) -> int:
    """Return the fewest points of one iteration from which something can be learned in each channel."""
    members = np.bincount(map_of_channel)
    return _FEWEST_POINTS * len(members) * int(members.max())


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
        self._map_of_channel: IntArray = np.empty(0, np.int64)

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
        map_of_channel = maps_of_channels(integrand.groups, share_groups=self.settings.share_groups)
        n_maps = int(map_of_channel.max()) + 1
        points = n_maps * self.settings.points if budget is None else budget // iterations
        needed = fewest_points(map_of_channel)
        if points < needed:
            raise TrainingError(
                f"{points} points in each of {iterations} iterations are too few for {channels} channels; "
                + (
                    f"points = {-(-needed // n_maps)} or more is expected"
                    if budget is None
                    else f"a budget of {needed * iterations} or more is expected"
                )
            )
        maps = AdaptiveMaps.uniform(n_maps, integrand.dimensions, self.settings.increments)

        def place(uniform: FloatArray, counts: IntArray) -> tuple[FloatArray, FloatArray]:
            return maps.place(uniform, map_of_channel, counts)

        share = equal = 1 / np.bincount(map_of_channel)[map_of_channel] / n_maps
        contributes = np.zeros(channels, bool)
        curve: list[float] = []
        negative_share = 0.0
        calls, total = 0, points * iterations
        for iteration in range(iterations):
            # Rounded down: the budget is an upper bound.
            counts = (share * points).astype(np.int64)
            moments = WeightMoments(channels)
            for batch in evaluated_batches(integrand, counts, place, rng):
                moments.add(batch.channel, batch.weight)
                maps.learn(batch.uniform, batch.weight, map_of_channel, batch.counts)
                calls += len(batch.weight)
                progress(Progress(calls, total, "relative standard deviation", curve[-1] if curve else float("nan")))
            contributes |= moments.contributes
            negative_share = max(negative_share, moments.negative_share)
            if not contributes.any():
                raise TrainingError(
                    f"the integrand is zero at all {calls} points; check the cuts and the matrix element"
                )
            probabilities = moments.probabilities(contributes, map_of_channel.tolist(), self.settings.minimum_share)
            curve.append(moments.relative_standard_deviation(probabilities))
            share = (equal + probabilities) / 2
            if iteration < iterations - 1:
                maps.adapt(self.settings.alpha)
        self._maps, self._map_of_channel = maps, map_of_channel
        self.set_channels(integrand, probabilities)
        progress(Progress(total, total, "relative standard deviation", curve[-1]))
        return TrainingReport(
            figures={
                "relative_standard_deviation": curve[-1],
                "absolute_integral": moments.integral_of_size,
                "negative_share": negative_share,
                "integrand_calls": calls,
                "channels_used": int(np.count_nonzero(probabilities)),
                "maps": n_maps,
            },
            curves={"relative standard deviation": curve},
            remarks=remark_on_dropped(
                integrand.channels, probabilities > 0, "since no point of the training contributed"
            ),
        )

    def place(self, uniform: FloatArray, counts: IntArray) -> tuple[FloatArray, FloatArray]:
        """Move uniform points ``(n, d)``, sorted by channel, through the maps of their channels."""
        if self._maps is None:
            raise TrainingError("vegas has no maps yet: train() comes first")
        return self._maps.place(uniform, self._map_of_channel, counts)

    def state(self) -> State:
        """Return grids ``(maps, d, increments + 1)``, map and probability of each channel; nothing before training."""
        if self._maps is None or not self.trained:
            return {}
        return self.channel_state() | {"grids": self._maps.grids, "map_of_channel": self._map_of_channel}

    @classmethod
    def from_state(cls, settings: Settings, state: State) -> Self:
        """Make the sampler that `state` came from."""
        if not isinstance(settings, VegasSettings):
            raise ModelError(f"vegas was given {type(settings).__name__}; VegasSettings are expected")
        expected = {"probabilities": 1, "dimensions": 0, "features": 0, "grids": 3, "map_of_channel": 1}
        check_arrays("vegas", state, expected)
        made = cls(settings)
        made.set_channel_state(state)
        grids, map_of_channel = np.array(state["grids"], np.float64), np.array(state["map_of_channel"], np.int64)
        if grids.shape[1] != made.dimensions or map_of_channel.shape != made.channel_probabilities.shape:
            raise ModelError(
                f"vegas has grids of shape {grids.shape} for {made.dimensions} dimensions, and maps of "
                f"{len(map_of_channel)} channels, of which {len(made.channel_probabilities)} have probabilities"
            )
        if map_of_channel.min() < 0 or map_of_channel.max() >= len(grids):
            raise ModelError(f"vegas has {len(grids)} maps, but channels that need others: {map_of_channel}")
        if np.any(np.diff(grids, axis=2) <= 0) or np.any(grids[..., 0] != 0) or np.any(grids[..., -1] != 1):
            raise ModelError("vegas needs grids that ascend from 0 to 1")
        made._maps, made._map_of_channel = AdaptiveMaps(grids), map_of_channel
        return made
