"""Fits with scikit-learn, whose models become plain arrays here. Imported when a training begins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import logsumexp
from sklearn.cluster import KMeans
from sklearn.ensemble import GradientBoostingClassifier

from boosted_mixture.mixture import Floats, Integers, Mixture
from boosted_mixture.plugin import BoostedMixtureSettings
from boosted_mixture.trees import Trees

#: Added to variances of points, which are one on average: no component becomes a spike on a few events.
SMALLEST_VARIANCE = 1e-3
#: Gain of the mean log likelihood with which expectation maximisation ends.
TOLERANCE = 1e-3
#: Trees without a better validation loss after which the boosting stops.
PATIENCE = 15


def fit_mixture(
    points: Floats,
    labels: Integers,
    weight: Floats,
    settings: BoostedMixtureSettings,
    rng: np.random.Generator,
) -> tuple[Mixture, list[float]]:
    """Fit a mixture to points with labels, by expectation maximisation from clusters of k-means.

    scikit-learn's own mixture knows neither weights nor labels; here both count, so that a component stands for events
    of similar momenta and flavours.

    Args:
        points: ``(n, d)``.
        labels: Flavour, colour flow and spin state, ``(n, 3)``.
        weight: Positive weights, ``(n,)``.
        settings: Sizes.
        rng: Source of all randomness.

    Returns:
        The mixture, and the mean log likelihood after each step.
    """
    table, label = np.unique(labels, axis=0, return_inverse=True)
    label = label.reshape(-1)
    n, d = points.shape
    share = weight / weight.sum()
    # One event's worth of all labels for each component, shared as in the sample: none is impossible.
    prior = np.bincount(label, share, len(table)) / n
    if n < 2 * (d + 1):
        # Points have mean 0 and covariance 1 by construction, and so few cannot say more.
        return Mixture(np.ones(1), np.zeros((1, d)), np.eye(d)[None], table, prior[None] / prior.sum()), []
    # Events of very different weights are worth fewer.
    components = int(np.clip(1 / np.square(share).sum() // settings.events_per_component, 1, settings.components))
    clusters = KMeans(components, n_init=1, max_iter=50, random_state=int(rng.integers(2**31)))
    cluster = clusters.fit_predict(points, sample_weight=weight)
    responsibility = np.eye(components)[cluster]
    likelihood: list[float] = []
    for _ in range(settings.iterations):
        mixture = _maximised(points, label, table, share[:, None] * responsibility, prior)
        with np.errstate(divide="ignore"):
            joint = mixture.log_components(points) + np.log(mixture.probability.T[label])
        density = logsumexp(joint, axis=1)
        responsibility = np.exp(joint - density[:, None])
        likelihood.append(float(share @ density))
        if len(likelihood) > 1 and likelihood[-1] - likelihood[-2] < TOLERANCE:
            break
    return mixture, likelihood


def _maximised(points: Floats, label: Integers, table: Integers, part: Floats, prior: Floats) -> Mixture:
    """The most likely mixture if the part ``(n, k)`` of each event belongs to each component."""
    total = part.sum(axis=0)
    part, total = part[:, total > 0], total[total > 0]
    mean = part.T @ points / total[:, None]
    root = np.empty((len(total), points.shape[1], points.shape[1]))
    for k, own in enumerate(part.T):
        centred = points - mean[k]
        covariance = (own[:, None] * centred).T @ centred / total[k]
        root[k] = np.linalg.cholesky(covariance + SMALLEST_VARIANCE * np.eye(len(covariance)))
    counts = np.stack([np.bincount(label, own, len(table)) for own in part.T]) + prior
    return Mixture(total / total.sum(), mean, root, table, counts / counts.sum(axis=1, keepdims=True))


def fit_trees(
    true: Floats,
    weight: Floats,
    made: Floats,
    settings: BoostedMixtureSettings,
    rng: np.random.Generator,
    told: Callable[[int, float], None],
) -> tuple[Trees, list[float]]:
    """Fit trees whose sum is the log of the ratio of two densities.

    Args:
        true: Inputs of the training events, ``(n, features)``.
        weight: Their weights, ``(n,)``.
        made: Inputs of events that the mixture made, ``(m, features)``.
        settings: Sizes.
        rng: Source of all randomness.
        told: Called with the number of trees and the cross entropy so far.

    Returns:
        The trees, and the cross entropy after each.

    References:
        Andreassen and Nachman, arXiv:1907.08209: a classifier is a density ratio.
    """
    inputs = np.concatenate([true, made]).astype(np.float32)
    is_true = np.r_[np.ones(len(true), bool), np.zeros(len(made), bool)]
    # Both classes weigh the same, so that no constant has to be taken out of the logit.
    balanced = np.r_[weight / weight.sum(), np.full(len(made), 1 / len(made))] * len(inputs) / 2
    boosting = GradientBoostingClassifier(
        n_estimators=settings.trees,
        max_depth=settings.depth,
        learning_rate=settings.learning_rate,
        subsample=0.5,
        min_samples_leaf=20,
        init="zero",
        n_iter_no_change=PATIENCE,
        random_state=int(rng.integers(2**31)),
    )

    def monitor(tree: int, fitted: GradientBoostingClassifier, _: object) -> bool:
        told(tree + 1, float(fitted.train_score_[tree]))
        return False

    boosting.fit(inputs, is_true, sample_weight=balanced, monitor=monitor)
    parts = [stage.tree_ for stage in boosting.estimators_[:, 0]]
    nodes = max(part.node_count for part in parts)
    own = np.arange(nodes)
    feature, left, right = (np.zeros((len(parts), nodes), np.int64) for _ in range(3))
    threshold, value = (np.zeros((len(parts), nodes)) for _ in range(2))
    left[:], right[:] = own, own
    for t, part in enumerate(parts):
        n, inner = part.node_count, part.children_left >= 0
        feature[t, :n] = np.where(inner, part.feature, 0)
        threshold[t, :n] = np.where(inner, part.threshold, 0.0)
        left[t, :n] = np.where(inner, part.children_left, own[:n])
        right[t, :n] = np.where(inner, part.children_right, own[:n])
        value[t, :n] = settings.learning_rate * part.value[:, 0, 0]
    trees = Trees(feature, threshold, left, right, value)
    return trees, [float(score) for score in boosting.train_score_[: len(parts)]]
