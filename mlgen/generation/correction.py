"""The discriminators that correct generated events, learned when the densities are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from mlgen.generation.discriminator import Discriminator, discriminator_inputs
from mlgen.generation.learning import HELD_OUT, LARGEST_RATIO, Learned, possible_points

if TYPE_CHECKING:
    from mlgen.generation.learning import LearningReport

#: Most events of each kind, and the fewest of the training for which there is a discriminator.
_MOST, _FEWEST = 200_000, 2_000


def learn_discriminators(
    learned: Learned,
    epochs: int,
    rng: np.random.Generator,
    report: Callable[[int, float], None],
    remarks: LearningReport,
) -> None:
    """Learn a discriminator for each topology, between the events of the training and generated ones.

    The network is the one that tells held-out events apart best, so that it does not learn the training events by
    heart.

    Args:
        learned: What is learned so far; takes the discriminators.
        epochs: Passes at most.
        rng: Source of all randomness.
        report: Called with the epochs done and the cross entropy.
        remarks: Takes a remark for each topology without one.
    """
    training = learned.events_of_training
    for number, topology in enumerate(learned.topologies):
        events, held_out = training.events[number], training.held_out[number]
        if len(events.weight) < _FEWEST:
            remarks.remarks.append(
                f"{topology.describe()} and the like: {len(events.weight)} events are too few for a discriminator"
                f" ({_FEWEST} are needed); they are not corrected"
            )
            continue
        chosen = rng.permutation(len(events.weight))[:_MOST]
        azimuth = rng.uniform(-np.pi, np.pi, len(chosen))
        points = events.points[0][chosen]
        momenta = topology.decode(points, events.flavour[chosen], azimuth).momenta
        true = discriminator_inputs(topology, points, momenta)
        made_points, made_momenta, _ = possible_points(learned, number, len(chosen), rng)
        if len(made_points) < _FEWEST // 2:
            remarks.remarks.append(
                f"{topology.describe()} and the like: most generated points are impossible events; they are not"
                " corrected"
            )
            continue
        made = discriminator_inputs(topology, made_points, made_momenta)
        discriminator = Discriminator.make(true, rng)
        entropy = discriminator.train(
            true, events.weight[chosen], made, (held_out[chosen], rng.random(len(made)) < HELD_OUT), epochs, rng, report
        )
        discriminator.normalise(made, LARGEST_RATIO)
        learned.discriminators[number] = discriminator
        remarks.figures[f"cross_entropy_over_ln2{learned.suffix(number)}"] = entropy / float(np.log(2))
