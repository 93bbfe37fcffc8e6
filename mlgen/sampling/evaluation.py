"""The integrand at many points of chosen channels, batch by batch, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mlgen.errors import TrainingError
from mlgen.stages import Evaluated, FloatArray, IntArray, Integrand

#: Points of one call of the integrand: enough to hide its overhead, few enough to keep the prior weights of a hundred
#: channels in memory.
BATCH = 32_768

#: Moves uniform points ``(n, d)``, of which `counts` (channels,) belong to each channel in turn, to where the sampler
#: wants them; returns the positions and the Jacobian, ``(n,)``.
Place = Callable[[FloatArray, IntArray], tuple[FloatArray, FloatArray]]

#: Makes channel weights ``(n, channels)`` of features ``(n, features)`` and prior channel weights ``(n, channels)``.
ChannelWeights = Callable[[FloatArray, FloatArray], FloatArray]


@dataclass(frozen=True, slots=True)
class EvaluatedBatch:
    r"""Points of a training, sorted by channel.

    Args:
        uniform: Uniform numbers that the positions were made of, ``(n, d)``.
        counts: Points of each channel, ``(channels,)``.
        channel: Channel of each point, ``(n,)``.
        weight: :math:`\alpha_c f_c` times the Jacobian of the sampler's map, ``(n,)``.
    """

    uniform: FloatArray
    counts: IntArray
    channel: IntArray
    weight: FloatArray


def evaluated_batches(
    integrand: Integrand,
    counts: IntArray,
    place: Place,
    rng: np.random.Generator,
    channel_weights: ChannelWeights | None = None,
) -> Iterator[EvaluatedBatch]:
    r"""Evaluate `counts` (channels,) new points of each channel.

    Args:
        integrand: What is evaluated.
        counts: Points of each channel, ``(channels,)``.
        place: The sampler's map.
        rng: Source of the points.
        channel_weights: The weights :math:`\alpha`; None: the prior ones.

    Raises:
        TrainingError: The integrand returns something that is not finite, or of the wrong shape.
    """
    ends = np.cumsum(counts)
    for start in range(0, int(ends[-1]), BATCH):
        stop = min(start + BATCH, int(ends[-1]))
        inside = np.clip(ends, start, stop)
        part: IntArray = np.ediff1d(inside, to_begin=inside[:1] - start)
        channel = np.repeat(np.arange(len(counts)), part)
        uniform = rng.random((stop - start, integrand.dimensions))
        x, jacobian = place(uniform, part)
        found = evaluate(integrand, x, channel)
        shares = found.prior if channel_weights is None else channel_weights(found.features, found.prior)
        weight = shares[np.arange(len(x)), channel] * found.value * jacobian
        yield EvaluatedBatch(uniform, part, channel, np.asarray(weight, np.float64))


def evaluate(integrand: Integrand, x: FloatArray, channel: IntArray) -> Evaluated:
    """Evaluate at ``x (n, d)`` for the channels ``(n,)``, and check what comes back.

    Raises:
        TrainingError: The integrand returns something that is not finite, or of the wrong shape.
    """
    evaluated = integrand(x, channel)
    shapes = {
        "value": (len(x),),
        "prior": (len(x), len(integrand.channels)),
        "features": (len(x), integrand.features),
    }
    for name, shape in shapes.items():
        array = getattr(evaluated, name)
        if np.shape(array) != shape:
            raise TrainingError(f"the integrand's {name} has shape {np.shape(array)}; {shape} is expected")
        wrong = np.flatnonzero(~np.isfinite(array).reshape(len(x), -1).all(axis=1))
        if len(wrong):
            at = wrong[0]
            raise TrainingError(
                f"the integrand's {name} is {np.asarray(array)[at]} in channel '{integrand.channels[channel[at]]}' at "
                f"{np.array2string(x[at], precision=4)}; finite numbers are expected. An integrand has to return 0 "
                "where it is not defined"
            )
    return evaluated


def check_integrand(integrand: Integrand) -> None:
    """Refuse an integrand whose description makes no sense.

    Raises:
        TrainingError: It has no dimension, no channel, or not one group for each channel.
    """
    if integrand.dimensions < 1 or not integrand.channels:
        raise TrainingError(
            f"the integrand has {integrand.dimensions} dimensions and {len(integrand.channels)} channels; one or more "
            "of both are expected"
        )
    if len(integrand.groups) != len(integrand.channels):
        raise TrainingError(
            f"the integrand has {len(integrand.channels)} channels and groups for {len(integrand.groups)}; one group "
            "number for each channel is expected"
        )
