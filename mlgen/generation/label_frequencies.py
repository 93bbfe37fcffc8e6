"""Frequencies of labels: those of events, and probabilities that are shifted to given ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]

#: Largest number of Newton steps of a calibration; a handful is usual.
_NEWTON_STEPS = 100
#: Largest change of a logit in a Newton step.
_LARGEST_SHIFT = 5.0
#: Points that are looked at at a time.
_CHUNK = 4096


def frequencies(label: IntArray, weight: FloatArray, allowed: BoolArray, condition: IntArray) -> FloatArray:
    """Positive frequencies of the labels, ``(conditions, labels)``, from the events and one more, shared evenly."""
    cells, size = condition * allowed.shape[1] + label, allowed.size
    total, moduli, events = (
        np.bincount(cells, values, size).reshape(allowed.shape) for values in (weight, np.abs(weight), None)
    )
    # Where nothing positive is left, which label it is cannot matter; but there has to be one.
    total = np.where((total > 0).any(axis=1, keepdims=True), total, moduli)
    possible = allowed & ((total > 0) | (events == 0))
    # The weight of one event.
    one = np.where(events.sum(axis=1) > 0, moduli.sum(axis=1) / np.maximum(events.sum(axis=1), 1), 1.0)
    one = np.where(one > 0, one, 1.0)
    raised = np.where(possible, total + (one / possible.sum(axis=1))[:, None], 0.0)
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float64)


def shift_to(logits: FloatArray, target: FloatArray) -> FloatArray:
    """What to add to logits ``(n, labels)`` so that their mean probabilities are the target's, ``(labels,)``."""
    shift = np.zeros(len(target))
    value, mean, curvature = _moments(logits, shift, target)
    for _ in range(_NEWTON_STEPS):
        gradient = mean - target
        if np.all(np.abs(gradient) < np.minimum(1e-9, 1e-6 * target)):
            break
        # The gradient has no part along (1, 1, ...), in which the curvature vanishes.
        regular = curvature + np.full_like(curvature, 1 / len(target)) + np.diag(1e-12 + 1e-9 * np.diag(curvature))
        step = -np.linalg.solve(regular, gradient)
        step *= min(1.0, _LARGEST_SHIFT / np.abs(step).max())
        off = float((gradient**2 / target).sum())
        # Iterative scaling is never too long. It is slow close to the target, and ahead of Newton's step far from it.
        scaling = np.log(target / np.maximum(mean, np.finfo(float).tiny))
        for candidate in (step, step / 4, step / 16, scaling) if scaling.max() < _LARGEST_SHIFT else (scaling,):
            new = _moments(logits, shift + candidate, target)
            # Close to the smallest value its differences are lost in rounding, but not those of the gradient.
            same = abs(new[0] - value) <= 1e-12 * max(1.0, abs(value))
            if new[0] < value - 1e-12 * abs(value) or (same and ((new[1] - target) ** 2 / target).sum() < off):
                break
        shift = shift + candidate
        value, mean, curvature = new
    return shift


def _moments(logits: FloatArray, shift: FloatArray, target: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """The convex function that the shift makes smallest, the mean probabilities, and the function's curvature."""
    value, mean, products = 0.0, np.zeros(len(target)), np.zeros((len(target), len(target)))
    for start in range(0, len(logits), _CHUNK):
        raised = logits[start : start + _CHUNK] + shift
        largest = raised.max(axis=1, keepdims=True)
        exponential = np.exp(raised - largest)
        total = exponential.sum(axis=1, keepdims=True)
        probability = exponential / total
        value += float((np.log(total) + largest).sum())
        mean += probability.sum(axis=0)
        products += probability.T @ probability
    mean /= len(logits)
    return value / len(logits) - float(target @ shift), mean, np.diag(mean) - products / len(logits)
