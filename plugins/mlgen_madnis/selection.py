"""Which checkpoint is kept, and how often its channels are drawn: chosen on held-out points, against overweights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlgen.errors import TrainingError
from mlgen.sampling import (
    WeightMoments,
    evaluated_batches,
    proportional_to,
    systematic_counts,
    unweighting_efficiency,
)
from mlgen.stages import FloatArray, IntArray, Integrand
from mlgen_madnis.neural_channels import NeuralChannels
from mlgen_madnis.training import Checkpoint

#: Lower bound of a channel's probability, in units of that of equally likely channels.
_MINIMUM_SHARE = 0.02
#: Part of the held-out points on which the checkpoints compete; the best gets the rest.
_COMPETITION = 0.5


@dataclass(frozen=True, slots=True)
class Choice:
    """The networks that are kept.

    Args:
        step: The step that they come from.
        channels: The networks.
        probabilities: How often each channel is drawn, ``(channels,)``.
        efficiency: Unweighting efficiency at 0.1% of overweights on held-out points.
        relative_standard_deviation: Of the weights, on held-out points.
        calls: Points of the integrand that were used.
    """

    step: int
    channels: NeuralChannels
    probabilities: FloatArray
    efficiency: float
    relative_standard_deviation: float
    calls: int


@dataclass(frozen=True, slots=True)
class _HeldOut:
    """Held-out points: channel and weight within the channel, each ``(n,)``."""

    channel: IntArray
    weight: FloatArray

    def efficiency(self, probabilities: FloatArray) -> float:
        """Return the unweighting efficiency, were the channels drawn with these probabilities."""
        numbers = np.bincount(self.channel, minlength=len(probabilities))
        chosen = probabilities[self.channel] > 0
        channel = self.channel[chosen]
        return unweighting_efficiency(
            self.weight[chosen] / probabilities[channel], probabilities[channel] / numbers[channel]
        )


def best_checkpoint(
    integrand: Integrand,
    candidates: list[tuple[Checkpoint, NeuralChannels]],
    points: int,
    rng: np.random.Generator,
) -> Choice:
    """Return the candidate with the largest unweighting efficiency at 0.1% of overweights.

    Args:
        integrand: What is to be integrated.
        candidates: Checkpoints and their networks.
        points: Points of the integrand that may be used.
        rng: Source of the points.

    Raises:
        TrainingError: The integrand is zero at all points, or not finite.
    """
    each = int(points * _COMPETITION) // len(candidates)
    results, calls = [], 0
    for checkpoint, channels in candidates:
        held_out = _draw(integrand, channels, _first_probabilities(checkpoint, channels), each, rng)
        calls += len(held_out.weight)
        probabilities, efficiency = _best_probabilities(held_out, channels)
        results.append((efficiency, probabilities, held_out))
    best = int(np.argmax([efficiency for efficiency, _, _ in results]))
    checkpoint, channels = candidates[best]
    _, probabilities, first = results[best]
    more = _draw(integrand, channels, probabilities, points - calls, rng)
    calls += len(more.weight)
    held_out = _HeldOut(np.append(first.channel, more.channel), np.append(first.weight, more.weight))
    probabilities, efficiency = _best_probabilities(held_out, channels)
    moments = _moments(held_out, len(probabilities))
    if moments.integral_of_size == 0:
        raise TrainingError(f"the integrand is zero at all {calls} held-out points; check the cuts")
    return Choice(
        checkpoint.step,
        channels,
        probabilities,
        efficiency,
        moments.relative_standard_deviation(probabilities),
        calls,
    )


def _first_probabilities(checkpoint: Checkpoint, channels: NeuralChannels) -> FloatArray:
    """Probabilities from what the training saw: enough to measure better ones."""
    members = np.bincount(channels.group_of_channel, channels.active)
    integrals = checkpoint.group_integrals / np.maximum(members, 1)
    return proportional_to(integrals[channels.group_of_channel], channels.active, 0.2)


def _best_probabilities(held_out: _HeldOut, channels: NeuralChannels) -> tuple[FloatArray, float]:
    """Return the channel probabilities with the largest efficiency, and that efficiency.

    Tried are those that are proportional to each group's integral, to the root of its second moment, and to its
    largest weight but for the share of overweights; and these only as far as the data carry them.
    """
    group, active = channels.group_of_channel, channels.active
    moments = _moments(held_out, len(group))
    members = np.maximum(np.bincount(group, active), 1)
    of_group = group[held_out.channel]
    numbers = np.maximum(np.bincount(of_group, minlength=len(members)), 1)
    means = np.bincount(of_group, np.abs(held_out.weight), len(members)) / numbers
    efficiencies = np.array([_efficiency_of(held_out.weight[of_group == g]) for g in range(len(members))])
    tried = [
        proportional_to(means[group], active, _MINIMUM_SHARE),
        moments.probabilities(active, group.tolist(), _MINIMUM_SHARE),
        proportional_to((means / efficiencies)[group], active, _MINIMUM_SHARE),
        proportional_to((means / np.sqrt(efficiencies))[group], active, _MINIMUM_SHARE),
    ]
    found = [held_out.efficiency(probabilities) for probabilities in tried]
    best = int(np.argmax(found))
    return tried[best], found[best]


def _efficiency_of(weight: FloatArray) -> float:
    """Return the efficiency within a group; of a few points, a moderate one."""
    if len(weight) < 200 or not weight.any():
        return 0.5
    return max(unweighting_efficiency(weight), 0.01)


def _moments(held_out: _HeldOut, channels: int) -> WeightMoments:
    moments = WeightMoments(channels)
    moments.add(held_out.channel, held_out.weight)
    return moments


def _draw(
    integrand: Integrand, channels: NeuralChannels, probabilities: FloatArray, points: int, rng: np.random.Generator
) -> _HeldOut:
    """Draw points and evaluate them, each channel as often as its probability asks for: of a rare one perhaps none."""
    counts = systematic_counts(probabilities, points, rng)
    batches = list(evaluated_batches(integrand, counts, channels.place, rng, channels.channel_weights))
    return _HeldOut(
        np.concatenate([batch.channel for batch in batches]), np.concatenate([batch.weight for batch in batches])
    )
