"""Learned weights w = D / (1 - D) of a classifier, and where in phase space their tails lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlgen.validation.auc import BoolArray, normalised, swap_negative, weighted_auc
from mlgen.validation.observable import Features, FloatArray, Kind, Observable
from mlgen.validation.record import Tail

#: Limit of |ln w|, so that a weight and its inverse are finite numbers.
_LARGEST_LOG_RATIO = 20.0
#: Share of the events in a tail, and the number of events that it has at least.
_TAIL_SHARE, _TAIL_EVENTS = 0.01, 100
#: Standard deviations from which a tail, or a failed closure, is more than noise.
_NOISE = 3.0
_OBSERVABLES_PER_TAIL = 3
#: AUC above which an observable is said to characterise a tail; the best one is always given.
_SEPARATES = 0.6


def calibrated_log_ratio(
    logits: FloatArray, is_reference: BoolArray, weight: FloatArray, rng: np.random.Generator
) -> FloatArray:
    r"""Calibrate logits so that they are :math:`\ln w = \ln p_\mathrm{reference} / p_\mathrm{sample}`.

    Platt's scaling :math:`\ln w = a\,l + b` with :math:`a \ge 0`, from the weighted cross entropy. The events are split
    at random in two halves, and each half is scaled with the constants of the other: no event calibrates itself.

    Args:
        logits: Out-of-fold logits, shape ``(n,)``.
        is_reference: Which events are the reference's, ``(n,)``.
        weight: Shape ``(n,)``, of either sign; each sample is normalised to one.
        rng: Splits the events.

    Returns:
        :math:`\ln w`, shape ``(n,)``. With negative weights it is the logarithm of :math:`\mu_1 / \mu_0` of
        `mlgen.validation.auc.swap_negative`.

    References:
        Platt, Advances in Large Margin Classifiers (1999) 61; lecture notes eq. 4.94.
    """
    result = np.empty(len(logits))
    half = _random_half(is_reference, rng)
    for inside in (half, ~half):
        label, size = swap_negative(normalised(weight[inside], is_reference[inside]), is_reference[inside])
        slope, offset = _scaling(logits[inside], label, size)
        result[~inside] = slope * logits[~inside] + offset
    return np.clip(result, -_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO)


def closure_remark(learned: FloatArray, is_reference: BoolArray, weight: FloatArray) -> str:
    r"""Check that the mean of :math:`w = p_\mathrm{reference} / p_\mathrm{sample}` over the sample is one.

    Args:
        learned: Learned weights of reference and sample, shape ``(n,)``.
        is_reference: Which events are the reference's, ``(n,)``.
        weight: Shape ``(n,)``, of either sign.

    Returns:
        A sentence if the mean is further from one than three standard errors and one per cent; else empty.
    """
    label, size = swap_negative(normalised(weight, is_reference), is_reference)
    share = size[~label] / size[~label].sum()
    mean = float(np.sum(share * learned[~label]))
    error = float(np.sqrt(np.sum(np.square(share * (learned[~label] - mean)))))
    if abs(mean - 1.0) <= max(_NOISE * error, 0.01):
        return ""
    return (
        f"The learned weights do not close: their mean over the sample is {mean:.3f} +- {error:.3f} instead of 1, "
        "so they cannot be used for reweighting. This happens where the sample lacks regions that the reference has."
    )


def find_tails(
    reference: Features, sample: Features, learned_reference: FloatArray, learned_sample: FloatArray
) -> tuple[tuple[Tail, ...], tuple[str, ...]]:
    r"""Say which observables characterise the events with the smallest and the largest learned weights.

    The low tail is the percent of the sample's events with the smallest weights, the high tail the percent of the
    reference's events with the largest (100 events at least). A tail is only reported if the two samples really differ
    there, that is if their shares in the region differ by three standard deviations in the direction that the weights
    say; the weights are out of fold, so this is an independent check.

    An observable is judged by how well it alone tells the tail's events from all events (of the same sample): the
    largest of the AUCs of its value :math:`x` and of :math:`|x - \mathrm{median}|`, from 0.5 to 1. Events that lack the
    observable stand before or behind all others, whichever separates better; categories are ordered by how much more
    frequent they are in the tail. The three best of each side are given, the second and third only if
    they separate at all (AUC of 0.6).

    Args:
        reference: Events of the reference, ``(n, features)``.
        sample: Events of the sample, ``(m, features)``.
        learned_reference: Their learned weights, ``(n,)``.
        learned_sample: Their learned weights, ``(m,)``.

    Returns:
        The tails, best observable first, low side first; and remarks. The quantiles of a tail whose events all lack
        the observable are NaN.
    """
    tails: list[Tail] = []
    remarks: list[str] = []
    for side, own, learned in (("low", sample, learned_sample), ("high", reference, learned_reference)):
        size = np.abs(own.weight)
        fraction = min(max(_TAIL_SHARE, _TAIL_EVENTS / len(own)), 0.25)
        if side == "low":
            limit = weighted_quantiles(learned, size, (fraction,))[0]
            in_reference, in_sample = learned_reference <= limit, learned_sample <= limit
        else:
            limit = weighted_quantiles(learned, size, (1.0 - fraction,))[0]
            in_reference, in_sample = learned_reference >= limit, learned_sample >= limit
        share_reference, error_reference = _share(reference.weight, in_reference)
        share_sample, error_sample = _share(sample.weight, in_sample)
        excess = (share_reference - share_sample) / max(float(np.hypot(error_reference, error_sample)), 1e-300)
        significant = (limit < 1.0 and excess < -_NOISE) if side == "low" else (limit > 1.0 and excess > _NOISE)
        if not significant:
            remarks.append(f"The {side} tail of the learned weights is compatible with noise.")
            continue
        remarks.append(
            f"The {side} tail of the learned weights (w {'<=' if side == 'low' else '>='} {limit:.3g}) holds "
            f"{100 * share_reference:.2f} +- {100 * error_reference:.2f} % of the reference and "
            f"{100 * share_sample:.2f} +- {100 * error_sample:.2f} % of the sample."
        )
        inside = in_sample if side == "low" else in_reference
        share = share_sample if side == "low" else share_reference
        found = [
            _tail(side, float(limit), share, observable, own.values[:, column], size, inside)
            for column, observable in enumerate(own.observables)
        ]
        ranked = sorted(found, key=lambda item: -item[0].separation)[:_OBSERVABLES_PER_TAIL]
        for number, (tail, words) in enumerate(ranked):
            if number and tail.separation < _SEPARATES:
                break
            tails.append(tail)
            if words:
                remarks.append(words)
    return tuple(tails), tuple(remarks)


def weighted_quantiles(values: FloatArray, weight: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Smallest values below or at which at least these shares of the weight lie.

    Args:
        values: Shape ``(n,)``, without NaN.
        weight: Shape ``(n,)``; not negative.
        levels: From 0 to 1.

    Returns:
        Shape ``(levels,)``; NaN for no events, or events without weight.
    """
    if not len(values) or not weight.sum() > 0.0:
        return np.full(len(levels), np.nan)
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weight[order])
    place = np.searchsorted(cumulative, np.array(levels) * cumulative[-1])
    return np.asarray(values[order][np.minimum(place, len(values) - 1)], dtype=np.float64)


def _random_half(is_reference: BoolArray, rng: np.random.Generator) -> BoolArray:
    """Half of the events of each sample."""
    half = np.zeros(len(is_reference), dtype=bool)
    for members in (is_reference, ~is_reference):
        index = rng.permutation(np.flatnonzero(members))
        half[index[: len(index) // 2]] = True
    return half


def _scaling(logits: FloatArray, label: BoolArray, weight: FloatArray) -> tuple[float, float]:
    """Slope and offset that minimise the weighted cross entropy, by Newton's method.

    The slope has a Gaussian prior around one whose width is one: without it samples that are perfectly separated, or
    logits that are all the same, have no finite answer.
    """
    # Weights that count events: their sum is the number of effective events.
    weight = weight * weight.sum() / np.sum(np.square(weight))
    design = np.stack([logits, np.ones_like(logits)])
    target = label.astype(np.float64)
    parameters = np.array([1.0, 0.0])

    def loss(trial: FloatArray) -> float:
        value = trial @ design
        return float(np.sum(weight * (np.logaddexp(0.0, value) - target * value)) + 0.5 * (trial[0] - 1.0) ** 2)

    current = loss(parameters)
    for _ in range(50):
        probability = 1.0 / (1.0 + np.exp(-np.clip(parameters @ design, -500.0, 500.0)))
        gradient = design @ (weight * (probability - target)) + [parameters[0] - 1.0, 0.0]
        hessian = (design * (weight * probability * (1.0 - probability))) @ design.T + np.diag([1.0, 1e-9])
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while (following := loss(parameters - scale * step)) > current and scale > 1e-6:
            scale *= 0.5
        if scale <= 1e-6:
            break
        parameters = parameters - scale * step
        done = current - following < 1e-9 * (1.0 + abs(current))
        current = following
        if done:
            break
    if parameters[0] < 0.0:
        # Worse than chance: nothing was learned, and the best constant for classes of equal weight is 1/2.
        return 0.0, 0.0
    return float(parameters[0]), float(parameters[1])


def _share(weight: FloatArray, inside: BoolArray) -> tuple[float, float]:
    """Share of the total weight, which may have terms of either sign, and its error."""
    v = weight / weight.sum()
    share = float(v[inside].sum())
    return share, float(np.sqrt(np.sum(np.square(v * (inside - share)))))


def _tail(
    side: str,
    limit: float,
    share: float,
    observable: Observable,
    values: FloatArray,
    weight: FloatArray,
    inside: BoolArray,
) -> tuple[Tail, str]:
    """How well `observable` separates the events `inside` from all, and a remark where quantiles do not say it."""
    present = np.isfinite(values)
    lower, upper = weighted_quantiles(values[present & inside], weight[present & inside], (0.1, 0.9))
    bulk_lower, bulk_upper = weighted_quantiles(values[present], weight[present], (0.1, 0.9))
    separation = 0.5
    for score in _scores(observable, values, weight, inside):
        separation = max(separation, _separation(score, weight, inside))
    tail = Tail(
        side,
        limit,
        share,
        observable.name,
        float(lower),
        float(upper),
        float(bulk_lower),
        float(bulk_upper),
        separation,
    )
    if not weight[inside].sum() > 0.0:
        return tail, ""
    absent = float(weight[inside & ~present].sum() / weight[inside].sum())
    absent_bulk = float(weight[~present].sum() / weight.sum())
    if absent > max(0.5, absent_bulk):
        return tail, (
            f"{100 * absent:.0f} % of the events in the {side} tail lack {observable.name} "
            f"({100 * absent_bulk:.0f} % of all events do)."
        )
    if observable.kind is Kind.CATEGORY:
        codes, rank = np.unique(values[present], return_inverse=True)
        frequency = np.bincount(rank, (weight * inside)[present], minlength=len(codes)) / weight[inside].sum()
        most = int(np.argmax(frequency))
        bulk = float(weight[values == codes[most]].sum() / weight.sum())
        code = int(codes[most])
        name = observable.categories[code] if 0 <= code < len(observable.categories) else str(code)
        return tail, (
            f"{100 * float(frequency[most]):.0f} % of the events in the {side} tail have {observable.name} = {name} "
            f"({100 * bulk:.0f} % of all events do)."
        )
    return tail, ""


def _scores(observable: Observable, values: FloatArray, weight: FloatArray, inside: BoolArray) -> list[FloatArray]:
    """One-dimensional scores made from an observable, without NaN."""
    present = np.isfinite(values)
    if observable.kind is Kind.CATEGORY:
        _, rank = np.unique(np.where(present, values, np.nan), return_inverse=True)
        frequency = np.bincount(rank, weight)
        return [(np.bincount(rank, weight * inside) / np.maximum(frequency, 1e-300))[rank]]
    median = weighted_quantiles(values[present], weight[present], (0.5,))[0]
    scores = []
    for score in (values, np.abs(values - median)):
        scores.append(np.where(present, score, -np.inf))
        if not present.all():
            scores.append(np.where(present, score, np.inf))
    return scores


def _separation(score: FloatArray, weight: FloatArray, inside: BoolArray) -> float:
    """AUC between the events inside and all events, folded to at least one half."""
    outside = float(weight[~inside].sum())
    total = float(weight.sum())
    if not 0.0 < outside < total:
        return 0.5
    against_others = weighted_auc(score, inside, weight).value
    # Among all events are those inside, against which they have an AUC of one half.
    value = (outside * against_others + (total - outside) * 0.5) / total
    return max(value, 1.0 - value)
