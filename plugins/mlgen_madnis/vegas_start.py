"""The start from VEGAS: what a training of `mlgen_vegas.vegas_sampler.VegasSampler` gives to the networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlgen.stages import FloatArray, IntArray, Integrand, ProgressCallback, TrainingReport
from mlgen_madnis.settings import MadnisSettings
from mlgen_madnis.smooth_maps import SmoothMaps
from mlgen_vegas.settings import VegasSettings
from mlgen_vegas.vegas_sampler import VegasSampler, fewest_points, maps_of_channels


@dataclass(frozen=True, slots=True)
class VegasStart:
    """What VEGAS found.

    Args:
        maps: Its maps, made smooth, one for each group of channels.
        group_of_channel: Group of each channel, ``(channels,)``.
        probabilities: How often VEGAS would draw each channel, ``(channels,)``; 0: it contributes nothing.
        integral: Integral of the absolute value.
        negative_share: Share of the integral of the absolute value where the integrand is negative.
        report: The report of its training.
    """

    maps: SmoothMaps
    group_of_channel: IntArray
    probabilities: FloatArray
    integral: float
    negative_share: float
    report: TrainingReport


def groups_of(integrand: Integrand, settings: MadnisSettings) -> IntArray:
    """Return the group of each channel, ``(channels,)``: those that share a map, and later a flow."""
    return maps_of_channels(integrand.groups, share_groups=settings.share_groups)


def fewest_vegas_points(group_of_channel: IntArray, settings: MadnisSettings) -> int:
    """Return the fewest points, all iterations together, from which VEGAS learns anything."""
    return settings.vegas_iterations * fewest_points(group_of_channel)


def start_from_vegas(
    integrand: Integrand, settings: MadnisSettings, points: int, rng: np.random.Generator, progress: ProgressCallback
) -> VegasStart:
    """Train VEGAS on at most `points` of the integrand.

    Raises:
        TrainingError: The integrand is zero at all points or not finite, or there are too few.
    """
    vegas = VegasSampler(
        VegasSettings(
            iterations=settings.vegas_iterations,
            increments=settings.vegas_increments,
            share_groups=settings.share_groups,
        )
    )
    report = vegas.train(integrand, points, rng, progress)
    state = vegas.state()
    return VegasStart(
        SmoothMaps(state["grids"]),
        np.asarray(state["map_of_channel"]),
        vegas.channel_probabilities,
        float(report.figures["absolute_integral"]),
        float(report.figures["negative_share"]),
        report,
    )
