"""The gradient boosting of the classifier test: small trees that tell two weighted sets of events apart."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from mlgen.threads import one_thread
from mlgen.validation.auc import BoolArray
from mlgen.validation.observable import FloatArray

#: Iterations are added in this number as long as they help, up to the largest.
_ITERATIONS, _MOST_ITERATIONS = 100, 500
#: Small trees: differences that matter here are small, and larger trees learn more noise before they see them.
_LEAVES, _LEARNING_RATE = 8, 0.08
#: Categories that scikit-learn can treat as such; codes beyond are taken for numbers.
_BINS = 255


def quantile_bins(values: FloatArray, categories: BoolArray) -> tuple[FloatArray, BoolArray]:
    """Quantile bins of all events, for the trees, which only look at the order; and which columns are categories.

    Done here once and not in each training, where scikit-learn needs many seconds for it when events have weights.

    Args:
        values: Shape ``(n, features)``; NaN where an event lacks the observable.
        categories: Which of them are codes of categories, ``(features,)``.

    Returns:
        Numbers of bins, NaN where there is no value, ``(n, columns)``, and which columns are categories,
        ``(columns,)``. Without the constant features; at least one column.
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


@one_thread()
def train_boosting(
    inputs: FloatArray,
    label: BoolArray,
    weight: FloatArray,
    held_out: BoolArray,
    *,
    categorical: BoolArray,
    seed: int,
) -> Callable[[FloatArray], FloatArray]:
    r"""Train gradient-boosted trees, cut off after the iteration with the smallest cross entropy of the held-out part.

    Args:
        inputs: What `quantile_bins` gives, shape ``(n, columns)``.
        label: Which events belong to class 1, ``(n,)``.
        weight: Positive weights with a mean of about one, ``(n,)``.
        held_out: Events that only decide when to stop, ``(n,)``.
        categorical: Which columns are categories, ``(columns,)``.
        seed: Of whatever scikit-learn draws.

    Returns:
        A function from inputs ``(m, columns)`` to the logits :math:`\ln D / (1 - D)`, ``(m,)``.
    """
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

    @one_thread()
    def logits(new: FloatArray) -> FloatArray:
        stages = trees.staged_decision_function(np.where(unknown, 0.0, new))
        return np.asarray(next(itertools.islice(stages, best - 1, None)), dtype=np.float64)

    return logits
