"""Classifier two-sample test: can a strong classifier tell a sample from the reference?"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlgen.errors import WeightError
from mlgen.stages import Progress, ProgressCallback, no_progress
from mlgen.validation.auc import Auc, BoolArray, normalised, swap_negative, weighted_auc
from mlgen.validation.classifier_network import train_network
from mlgen.validation.encoding import Encoding
from mlgen.validation.learned_weights import calibrated_log_ratio, closure_remark, find_tails
from mlgen.validation.observable import Features, FloatArray, Kind
from mlgen.validation.record import ClassifierTest, Measure
from mlgen.validation.settings import ClassifierSettings

#: Events of each sample, and effective events (sum w)^2 / sum w^2, below which there is no test: a training on half of
#: them would learn noise, and the AUC would have an error of more than 0.04.
FEWEST_EVENTS = 200
_FEWEST_EFFECTIVE_EVENTS = 100
_FOLDS = 2
#: Correlation between the AUCs of the folds that their error allows for. Toys with these classifiers have about zero, a
#: linear classifier with many features nearly one; then a p-value of 0.01 still is a chance of 0.022.
_FOLD_CORRELATION = 0.5
#: Share of the training events that decides when a training ends.
_HELD_OUT = 0.2
#: p-value above which the samples are called indistinguishable, and tails of the learned weights are noise.
_NOISE_P_VALUE = 0.01
#: Boosting iterations are added in this number as long as they help, up to the largest.
_ITERATIONS, _MOST_ITERATIONS = 100, 500
#: Small trees: differences that matter here are small, and larger trees learn more noise before they see them.
_LEAVES, _LEARNING_RATE = 8, 0.08
#: Categories that scikit-learn can treat as such; codes beyond are taken for numbers.
_BINS = 255

_Scores = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True)
class _Problem:
    """Two samples to be told apart, the reference's events first; `inputs` by method, each ``(n, columns)``."""

    inputs: Mapping[str, FloatArray]
    categorical: BoolArray
    is_reference: BoolArray
    weight: FloatArray

    def train(self, method: str, chosen: BoolArray, rng: np.random.Generator) -> _Scores:
        """Train on the chosen events; gives a function from inputs to logits."""
        label, weight = swap_negative(
            normalised(self.weight[chosen], self.is_reference[chosen]), self.is_reference[chosen]
        )
        held_out = rng.random(len(label)) < _HELD_OUT
        for part in (held_out, ~held_out):
            # Balanced by itself, or the logits of each training would have an offset of their own.
            for members in (part & label, part & ~label):
                weight[members] *= 0.5 * part.sum() / max(weight[members].sum(), 1e-300)
        seed = int(rng.integers(2**31))
        inputs = self.inputs[method][chosen]
        if method == "network":
            return train_network(inputs, label, weight, held_out, seed=seed)
        return _train_boosting(inputs, label, weight, held_out, self.categorical, seed=seed)


def classifier_test(
    reference: Features,
    sample: Features,
    settings: ClassifierSettings,
    *,
    seed: int,
    progress: ProgressCallback = no_progress,
) -> ClassifierTest:
    r"""Train classifiers to tell the sample from the reference, and say how well they do on events they did not see.

    The same number of events, chosen at random, is taken from each; the null floor is the same measure for two disjoint
    sets of the reference of that number, so at most half of the reference is used in one comparison. Each training sees
    half of the events and scores the other half (two folds), so every event gets a score from a classifier that did not
    see it. A seed changes the split, the initial parameters and the batches.

    The AUC of each fold is computed by itself, so that its expectation is exactly one half when nothing differs, and
    the folds and seeds are averaged. Each fold is trained on the other's events, so their AUCs may be correlated: the
    error allows for a correlation of one half between folds and of one between seeds, and the p-value is that of the
    mean AUC for AUC > 0.5 with this error.

    An event of negative weight counts with its absolute weight in the other class, see
    `mlgen.validation.auc.swap_negative`; the AUC then is one half exactly if the signed densities agree. The learned
    weights then are not :math:`p_\mathrm{reference} / p_\mathrm{sample}` but
    :math:`(p_\mathrm{ref}^+ + p_\mathrm{sample}^-) / (p_\mathrm{sample}^+ + p_\mathrm{ref}^-)`, which is one where the
    signed densities agree, and larger where the sample has too little.

    Args:
        reference: Features of the reference, shape ``(n, features)``.
        sample: The same observables of the sample, ``(m, features)``.
        settings: Methods, number of seeds and of events.
        seed: Of everything that is random; the same seed gives the same result on the same machine.
        progress: Called after each training with its AUC.

    Returns:
        The test. Without measures, and with a remark, if there are too few events. Learned weights are those of the
        method with the larger AUC: its out-of-fold logits, averaged over the seeds and calibrated; they are in the
        order of the events.

    Raises:
        WeightError: A weight is not finite. Names the first such event.
        ValueError: The two have different observables.

    References:
        Lecture notes sec. 4.3.2, eq. 4.92 to 4.94; Lopez-Paz and Oquab, ICLR 2017, arXiv:1610.06545.
    """
    for name, features in (("reference", reference), ("sample", sample)):
        bad = np.flatnonzero(~np.isfinite(features.weight))
        if len(bad):
            raise WeightError(f"the {name}'s event {bad[0] + 1} has the weight {features.weight[bad[0]]}")
    events = min(len(reference) // 2, len(sample), settings.events)
    if events < FEWEST_EVENTS:
        return _no_test(
            f"Too few events for a classifier test: it needs {2 * FEWEST_EVENTS} of the reference (half of them for "
            f"the null floor) and {FEWEST_EVENTS} of the sample; there are {len(reference)} and {len(sample)}."
        )
    own, *sources = np.random.SeedSequence(seed).spawn(settings.seeds + 1)
    rng = np.random.default_rng(own)
    order = rng.permutation(len(reference))
    first = _take(reference, np.sort(order[:events]))
    second = _take(reference, np.sort(order[events : 2 * events]))
    chosen = _take(sample, np.sort(rng.permutation(len(sample))[:events]))
    for name, features in (("reference", first), ("reference", second), ("sample", chosen)):
        effective = _effective_events(features.weight)
        if effective < _FEWEST_EFFECTIVE_EVENTS:
            return _no_test(
                f"No classifier test: the weights of the {events} events of the {name} are worth {effective:.0f} "
                f"events of equal weight, (sum w)^2 / sum w^2; it needs {_FEWEST_EFFECTIVE_EVENTS}."
            )

    done, total = 0, len(settings.methods) * settings.seeds * 2 * _FOLDS

    def report(value: float) -> None:
        nonlocal done
        done += 1
        progress(Progress(done, total, "AUC", value))

    methods = list(dict.fromkeys(settings.methods))
    problem = _problem(first, chosen, methods)
    null = _problem(first, second, methods)
    measures: list[Measure] = []
    seed_values: dict[str, tuple[float, ...]] = {}
    logits: dict[str, FloatArray] = {}
    for method in methods:
        # The same splits for every method: they are told apart by what they learn, not by luck.
        runs = [_cross_fit(problem, method, np.random.default_rng(source), report) for source in sources]
        floors = [_cross_fit(null, method, np.random.default_rng(source), report)[1] for source in sources]
        measures.append(_measure(method, [area for _, area in runs], floors, events))
        seed_values[method] = tuple(area.value for _, area in runs)
        logits[method] = np.mean([score for score, _ in runs], axis=0)

    best = max(range(len(methods)), key=lambda k: measures[k].value)
    is_reference, weight = problem.is_reference, problem.weight
    learned = np.exp(calibrated_log_ratio(logits[methods[best]], is_reference, weight, rng))
    remarks = _weight_remarks(first, chosen)
    if closure := closure_remark(learned, is_reference, weight):
        remarks.append(closure)
    if measures[best].p_value < _NOISE_P_VALUE:
        tails, words = find_tails(first, chosen, learned[is_reference], learned[~is_reference])
        remarks += words
    else:
        tails = ()
        remarks.append("The classifiers find no difference: tails of the learned weights would be noise.")
    return ClassifierTest(
        measures=tuple(measures),
        seed_values=seed_values,
        learned_weights={"reference": learned[is_reference], "sample": learned[~is_reference]},
        event_weights={"reference": first.weight, "sample": chosen.weight},
        method=methods[best],
        tails=tails,
        remarks=tuple(remarks),
    )


def _no_test(remark: str) -> ClassifierTest:
    return ClassifierTest((), {}, {}, {}, "", (), (remark,))


def _take(features: Features, index: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Features:
    return replace(features, values=features.values[index], weight=features.weight[index])


def _effective_events(weight: FloatArray) -> float:
    squares = float(np.sum(np.square(weight)))
    return float(weight.sum()) ** 2 / squares if squares > 0.0 else 0.0


def _weight_remarks(reference: Features, sample: Features) -> list[str]:
    negative = [float(np.mean(features.weight * features.weight.sum() < 0.0)) for features in (reference, sample)]
    if not any(negative):
        return []
    return [
        f"Negative weights: {100 * negative[0]:.1f} % of the reference's and {100 * negative[1]:.1f} % of the sample's "
        "events have a weight of the other sign than their sum. They count with their absolute weight in the other "
        "class, so that the AUC is 0.5 exactly if the signed densities agree; the learned weights then are "
        "(p_reference+ + p_sample-) / (p_sample+ + p_reference-), which is 1 where the signed densities agree and "
        "larger where the sample has too little, but not the ratio of the signed densities."
    ]


def _problem(reference: Features, sample: Features, methods: Sequence[str]) -> _Problem:
    inputs: dict[str, FloatArray] = {}
    values = np.concatenate([reference.values, sample.values])
    categorical = np.zeros(0, dtype=bool)
    for method in methods:
        if method == "network":
            encoding = Encoding.fit(reference, sample)
            encoded = np.concatenate([encoding(reference), encoding(sample)])
            inputs[method] = encoded if encoded.shape[1] else np.zeros((len(values), 1))
        else:
            categories = [observable.kind is Kind.CATEGORY for observable in reference.observables]
            inputs[method], categorical = _binned(values, np.array(categories, dtype=bool))
    return _Problem(
        inputs,
        categorical,
        np.arange(len(values)) < len(reference),
        np.concatenate([reference.weight, sample.weight]),
    )


def _binned(values: FloatArray, categories: BoolArray) -> tuple[FloatArray, BoolArray]:
    """Quantile bins of all events, for the trees, which only look at the order; and which columns are categories.

    Done here once and not in each training, where scikit-learn needs many seconds for it when events have weights.
    """
    columns: list[FloatArray] = []
    categorical: list[bool] = []
    for column in range(values.shape[1]):
        known = values[np.isfinite(values[:, column]), column]
        levels = np.unique(known)
        if len(levels) == 0 or (len(levels) < 2 and len(known) == len(values)):
            continue
        # Infinite values are as good as missing ones, for all that a histogram shows.
        binned = np.where(np.isfinite(values[:, column]), values[:, column], np.nan)
        category = bool(categories[column]) and len(levels) <= _BINS
        if category or len(levels) <= _BINS:
            binned[np.isfinite(binned)] = np.searchsorted(levels, known)
        else:
            edges = np.unique(np.quantile(known, np.arange(1, _BINS) / _BINS))
            binned[np.isfinite(binned)] = np.searchsorted(edges, known)
        columns.append(binned)
        categorical.append(category)
    if not columns:
        return np.zeros((len(values), 1)), np.zeros(1, dtype=bool)
    return np.stack(columns, axis=1), np.array(categorical, dtype=bool)


def _cross_fit(
    problem: _Problem, method: str, rng: np.random.Generator, report: Callable[[float], None]
) -> tuple[FloatArray, Auc]:
    """Out-of-fold logits of every event, ``(n,)``, and the mean AUC of the folds."""
    fold = np.empty(len(problem.weight), dtype=np.int64)
    for members in (problem.is_reference, ~problem.is_reference):
        count = int(members.sum())
        fold[members] = rng.permutation(count) % _FOLDS
    scores = np.empty(len(fold))
    areas: list[Auc] = []
    for number in range(_FOLDS):
        test = fold == number
        scores[test] = problem.train(method, ~test, rng)(problem.inputs[method][test])
        areas.append(weighted_auc(scores[test], problem.is_reference[test], problem.weight[test]))
        report(areas[-1].value)
    value = float(np.mean([area.value for area in areas]))
    variance = float(np.mean([area.error**2 for area in areas]))
    return scores, Auc(value, float(np.sqrt(variance * (1.0 + (_FOLDS - 1) * _FOLD_CORRELATION) / _FOLDS)))


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


def _train_boosting(
    inputs: FloatArray,
    label: BoolArray,
    weight: FloatArray,
    held_out: BoolArray,
    categorical: BoolArray,
    *,
    seed: int,
) -> _Scores:
    """Gradient-boosted trees, cut off after the iteration with the smallest cross entropy of the held-out part."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    trees = HistGradientBoostingClassifier(
        learning_rate=_LEARNING_RATE,
        max_leaf_nodes=_LEAVES,
        min_samples_leaf=min(50, max(len(label) // 50, 5)),
        l2_regularization=1.0,
        categorical_features=categorical,
        early_stopping=False,
        warm_start=True,
        max_iter=0,
        random_state=seed,
    )
    # scikit-learn cannot bin a column that is missing in all events of a training.
    unknown = ~np.isfinite(inputs[~held_out]).any(axis=0)
    inputs = np.where(unknown, 0.0, inputs)
    best = 0
    target, size = label[held_out], weight[held_out]
    while trees.max_iter < _MOST_ITERATIONS and best >= 0.8 * trees.max_iter:
        trees.set_params(max_iter=trees.max_iter + _ITERATIONS)
        trees.fit(inputs[~held_out], label[~held_out], sample_weight=weight[~held_out])
        losses = [
            float(np.sum(size * np.logaddexp(0.0, np.where(target, -value, value))))
            for value in trees.staged_decision_function(inputs[held_out])
        ]
        best = int(np.argmin(losses)) + 1

    def logits(new: FloatArray) -> FloatArray:
        stages = trees.staged_decision_function(np.where(unknown, 0.0, new))
        return np.asarray(next(itertools.islice(stages, best - 1, None)), dtype=np.float64)

    return logits
