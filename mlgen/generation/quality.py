"""How good a trained generator is: its own verdict, printed after each training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlgen.events import FloatArray
from mlgen.generation.discriminator import discriminator_inputs
from mlgen.generation.learning import LARGEST_RATIO, Learned, TrainingEvents, possible_points
from mlgen.generation.memory import memory_check
from mlgen.validation.auc import swap_negative, weighted_auc
from mlgen.validation.classifier_boosting import quantile_bins, train_boosting

if TYPE_CHECKING:
    from mlgen.generation.learned_generator import LearnedGenerator

#: Events of each kind that the classifier sees, and the fewest for a verdict.
_EVENTS, _FEWEST = 10_000, 200
_TRIAL_EVENTS = 2000


def judged(
    generator: LearnedGenerator, learned: Learned, training: TrainingEvents, rng: np.random.Generator
) -> tuple[dict[str, Any], list[str]]:
    """Compare generated events with those that were held out of the training.

    For the most probable topologies: the AUC of boosted trees on points and derived observables, beside that of as many
    events of the training, which is what a perfect generator would get; the nearest neighbours among training and
    held-out events; and the share of events that had to be drawn again.

    Returns:
        Figures and remarks.
    """
    figures: dict[str, Any] = {}
    remarks: list[str] = []
    before, settings = generator.redrawn, generator.settings
    # Whatever part of the events is asked for, all are judged.
    generator.settings = settings.model_copy(update={"only": ""})
    try:
        generator.generate(_TRIAL_EVENTS, rng)
    finally:
        generator.settings = settings
    again = generator.redrawn - before
    figures["redrawn_fraction"] = again / (_TRIAL_EVENTS + again)
    for number, topology in enumerate(learned.topologies):
        events, held_out = training.events[number], training.held_out[number]
        if int(held_out.sum()) < _FEWEST:
            continue
        count = min(_EVENTS, int(held_out.sum()), int((~held_out).sum()))
        made = _made(generator, learned, number, count, rng)
        if len(made[0]) < _FEWEST // 2:
            continue
        name = learned.suffix(number)
        own, seen = np.flatnonzero(held_out)[:count], rng.permutation(np.flatnonzero(~held_out))[:count]
        true, again_true = (
            _inputs(learned, number, events.points[0][chosen], events.flavour[chosen], rng) for chosen in (own, seen)
        )
        figures[f"auc{name}"] = _auc(made[1], true, made[2], events.weight[own], rng)
        figures[f"auc_floor{name}"] = _auc(again_true, true, events.weight[seen], events.weight[own], rng)
        check = memory_check(made[0], events.points[0][~held_out], events.points[0][held_out], rng)
        figures[f"nearer_to_training{name}"] = check.nearer_to_training
        words = check.words()
        if words:
            remarks.append(f"{topology.describe()} and the like: {words}")
    if not any(name.startswith("auc") for name in figures):
        remarks.append(
            f"too few events were held out to judge what was learned ({_FEWEST} of one kind are needed): compare with "
            "events that were not trained on, by 'mlgen validate'"
        )
    return figures, remarks


def _made(
    generator: LearnedGenerator, learned: Learned, number: int, count: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Points of generated events of one topology, what a classifier sees of them, and their weights."""
    points, momenta, _ = possible_points(learned, number, 2 * count, rng)
    weight = np.ones(len(points))
    correction = generator.settings.correction
    if correction != "none":
        weight = learned.ratio(number, points, momenta)
        if correction == "unweight":
            kept = rng.random(len(weight)) * LARGEST_RATIO < weight
            points, momenta, weight = points[kept], momenta[kept], np.maximum(weight[kept] / LARGEST_RATIO, 1.0)
    points, momenta, weight = points[:count], momenta[:count], weight[:count]
    return points, discriminator_inputs(learned.topologies[number], points, momenta), weight


def _inputs(
    learned: Learned, number: int, points: FloatArray, flavour: npt.NDArray[np.int64], rng: np.random.Generator
) -> FloatArray:
    topology = learned.topologies[number]
    momenta = topology.decode(points, flavour, rng.uniform(-np.pi, np.pi, len(points))).momenta
    return discriminator_inputs(topology, points, momenta)


def _auc(
    first: FloatArray, second: FloatArray, first_weight: FloatArray, second_weight: FloatArray, rng: np.random.Generator
) -> float:
    """AUC of boosted trees between two sets of events, on the half that they were not trained with, both ways."""
    inputs, categorical = quantile_bins(np.concatenate([first, second]), np.zeros(first.shape[1], bool))
    label = np.r_[np.zeros(len(first), bool), np.ones(len(second), bool)]
    weight = np.r_[first_weight / first_weight.mean(), second_weight / second_weight.mean()]
    part = rng.integers(0, 2, len(label))
    values = []
    for half in (0, 1):
        train = np.flatnonzero(part == half)
        test = np.flatnonzero(part != half)
        stopping = rng.random(len(train)) < 0.2
        # An event of negative weight counts in the other class.
        classes, size = swap_negative(weight[train], label[train])
        logits = train_boosting(
            inputs[train], classes, size, stopping, categorical=categorical, seed=int(rng.integers(2**31))
        )
        values.append(weighted_auc(logits(inputs[test]), label[test], weight[test]).value)
    return float(np.mean(values))
