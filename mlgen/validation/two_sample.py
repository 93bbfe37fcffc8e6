"""Classifier two-sample test of any arrays: how well trained classifiers tell two weighted sets of events apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mlgen.stages import Progress, ProgressCallback, no_progress
from mlgen.validation.auc import Auc, BoolArray, normalised, swap_negative, weighted_auc
from mlgen.validation.learned_weights import calibrated_log_ratio
from mlgen.validation.observable import FloatArray
from mlgen.validation.record import Measure

_FOLDS = 2
#: Correlation between the AUCs of the folds that their error allows for. Toys with these classifiers have about zero, a
#: linear classifier with many features nearly one; then a p-value of 0.01 still is a chance of 0.022.
_FOLD_CORRELATION = 0.5
#: Share of the training events that decides when a training ends.
_HELD_OUT = 0.2

#: What a trainer takes: the first dimension are the events, the others are between adapter and trainer.
InputArray = npt.NDArray[Any]


class Trainer(Protocol):
    """Trains a classifier, for instance `mlgen.validation.classifier_network.train_network`."""

    def __call__(
        self, inputs: InputArray, label: BoolArray, weight: FloatArray, held_out: BoolArray, *, seed: int
    ) -> Callable[[InputArray], FloatArray]:
        r"""Train.

        Args:
            inputs: Shape ``(n, ...)``.
            label: Which events belong to class 1, ``(n,)``.
            weight: Positive weights with a mean of about one and the same sum in both classes, ``(n,)``.
            held_out: Events that only decide when to stop, ``(n,)``.
            seed: Of everything that is random.

        Returns:
            A function from inputs ``(m, ...)`` to the logits :math:`\ln D / (1 - D)`, ``(m,)``.
        """
        ...


@dataclass(frozen=True, slots=True)
class Method:
    """A classifier, and the events as it sees them.

    Args:
        train: Trains it.
        inputs: Events of the reference, then those of the sample, ``(n, ...)``.
    """

    train: Trainer
    inputs: InputArray


@dataclass(frozen=True, slots=True)
class TwoSamples:
    """Two samples to be told apart.

    Args:
        methods: Classifiers by name, all with the same events.
        is_reference: Which events are the reference's, ``(n,)``: the first ones.
        weight: Shape ``(n,)``, of either sign, finite; no sample's weights sum to zero.
    """

    methods: Mapping[str, Method]
    is_reference: BoolArray
    weight: FloatArray

    @property
    def events(self) -> int:
        """Events of the smaller sample."""
        count = int(self.is_reference.sum())
        return min(count, len(self.is_reference) - count)


@dataclass(frozen=True, slots=True)
class TwoSampleResult:
    """How well two samples are told apart.

    Args:
        measures: AUC of each method, beside its floor.
        seed_values: AUC of each training, by method.
        scores: Out-of-fold logits of the events, mean of the seeds, by method, each ``(n,)``.
        learned_weights: Calibrated :math:`w = D / (1 - D)` of the method with the largest AUC, ``(n,)``.
        best: Number of that method.
    """

    measures: tuple[Measure, ...]
    seed_values: Mapping[str, tuple[float, ...]]
    scores: Mapping[str, FloatArray]
    learned_weights: FloatArray
    best: int


def two_sample_test(
    samples: TwoSamples,
    null: TwoSamples,
    *,
    sources: Sequence[np.random.SeedSequence],
    rng: np.random.Generator,
    progress: ProgressCallback = no_progress,
) -> TwoSampleResult:
    r"""Train classifiers to tell two samples apart, and say how well they do on events they did not see.

    Each training sees half of the events and scores the other half (two folds), so every event gets a score from a
    classifier that did not see it. The AUC of each fold is computed by itself, so that its expectation is exactly one
    half when nothing differs, and the folds and seeds are averaged. Each fold is trained on the other's events, so
    their AUCs may be correlated: the error allows for a correlation of one half between folds and of one between seeds,
    and the p-value is that of the mean AUC for AUC > 0.5 with this error.

    Args:
        samples: Reference and sample.
        null: Two disjoint sets of events of the reference, with the same methods: what the null floor is from.
        sources: One for each training of a method: of the split, the initial parameters and the batches.
        rng: Splits the events for the calibration of the learned weights.
        progress: Called after each training with its AUC; after one for a null floor with the largest AUC so far, so
            that the last one is that of the sample.

    Returns:
        AUCs, scores and learned weights, in the order of the events.

    Example:
        Showers as two arrays of voxels, seen by a network of one's own::

            inputs = np.concatenate([geant4_voxels, flow_voxels])
            weight = np.ones(len(inputs))
            is_reference = np.arange(len(inputs)) < len(geant4_voxels)
            samples = TwoSamples({"voxels": Method(train_network, inputs)}, is_reference, weight)
    """
    done, total = 0, (len(samples.methods) + len(null.methods)) * len(sources) * _FOLDS

    def report(value: float) -> None:
        nonlocal done
        done += 1
        progress(Progress(done, total, "AUC", value))

    def report_floor(value: float) -> None:
        report(largest)

    measures: list[Measure] = []
    seed_values: dict[str, tuple[float, ...]] = {}
    scores: dict[str, FloatArray] = {}
    largest = 0.0
    for method in samples.methods:
        # The same splits for every method: they are told apart by what they learn, not by luck.
        runs = [_cross_fit(samples, method, np.random.default_rng(source), report) for source in sources]
        largest = max(largest, _mean([area for _, area in runs]).value)
        floors = [_cross_fit(null, method, np.random.default_rng(source), report_floor)[1] for source in sources]
        measures.append(_measure(method, [area for _, area in runs], floors, samples.events))
        seed_values[method] = tuple(area.value for _, area in runs)
        scores[method] = np.mean([score for score, _ in runs], axis=0)
    best = max(range(len(measures)), key=lambda number: measures[number].value)
    logits = list(scores.values())[best]
    learned = np.exp(calibrated_log_ratio(logits, samples.is_reference, samples.weight, rng))
    return TwoSampleResult(tuple(measures), seed_values, scores, learned, best)


def _cross_fit(
    samples: TwoSamples, method: str, rng: np.random.Generator, report: Callable[[float], None]
) -> tuple[FloatArray, Auc]:
    """Out-of-fold logits of every event, ``(n,)``, and the mean AUC of the folds."""
    fold = np.empty(len(samples.weight), dtype=np.int64)
    for members in (samples.is_reference, ~samples.is_reference):
        count = int(members.sum())
        fold[members] = rng.permutation(count) % _FOLDS
    scores = np.empty(len(fold))
    areas: list[Auc] = []
    for number in range(_FOLDS):
        test = fold == number
        scores[test] = _train(samples, method, ~test, rng)(samples.methods[method].inputs[test])
        areas.append(weighted_auc(scores[test], samples.is_reference[test], samples.weight[test]))
        report(areas[-1].value)
    value = float(np.mean([area.value for area in areas]))
    variance = float(np.mean([area.error**2 for area in areas]))
    return scores, Auc(value, float(np.sqrt(variance * (1.0 + (_FOLDS - 1) * _FOLD_CORRELATION) / _FOLDS)))


def _train(
    samples: TwoSamples, method: str, chosen: BoolArray, rng: np.random.Generator
) -> Callable[[InputArray], FloatArray]:
    """Train on the chosen events; gives a function from inputs to logits."""
    is_reference = samples.is_reference[chosen]
    label, weight = swap_negative(normalised(samples.weight[chosen], is_reference), is_reference)
    held_out = rng.random(len(label)) < _HELD_OUT
    for part in (held_out, ~held_out):
        # Balanced by itself, or the logits of each training would have an offset of their own.
        for members in (part & label, part & ~label):
            weight[members] *= 0.5 * part.sum() / max(weight[members].sum(), 1e-300)
    seed = int(rng.integers(2**31))
    return samples.methods[method].train(samples.methods[method].inputs[chosen], label, weight, held_out, seed=seed)


def _mean(areas: list[Auc]) -> Auc:
    """Mean of the areas of several seeds, which are of the same events and may be fully correlated."""
    return Auc(float(np.mean([area.value for area in areas])), float(np.mean([area.error for area in areas])))


def _measure(method: str, runs: list[Auc], floors: list[Auc], events: int) -> Measure:
    from scipy.stats import norm

    area, floor = _mean(runs), _mean(floors)
    values = [run.value for run in runs]
    note = f"mean of {len(runs)} seed{'s' if len(runs) > 1 else ''}"
    if len(runs) > 1:
        note += f", from {min(values):.4f} to {max(values):.4f}"
    return Measure(
        name=f"AUC, {method}",
        value=area.value,
        error=area.error,
        floor=floor.value,
        floor_error=floor.error,
        p_value=float(norm.sf((area.value - 0.5) / area.error)) if area.error > 0.0 else float(area.value <= 0.5),
        events=events,
        note=note,
    )
