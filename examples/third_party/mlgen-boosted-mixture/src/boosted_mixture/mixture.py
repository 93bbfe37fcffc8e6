"""A mixture of Gaussians in which each component also has labels of its own, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from mlgen.errors import ModelError
from mlgen.representation.arrays import floats, integers
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Mixture:
    r"""The density :math:`p(x, l) = \sum_k w_k\, N(x; \mu_k, L_k L_k^T)\, p_k(l)` of points and labels.

    Args:
        weight: Of the components, ``(k,)``, summing to one.
        mean: ``(k, d)``.
        root: Lower triangular roots of the covariances, ``(k, d, d)``.
        labels: Flavour, colour flow and spin state of each label, ``(l, 3)``.
        probability: Of each label in each component, ``(k, l)``, rows summing to one.
    """

    weight: Floats
    mean: Floats
    root: Floats
    labels: Integers
    probability: Floats

    def sample(self, n: int, rng: np.random.Generator) -> tuple[Floats, Integers]:
        """Draw points ``(n, d)`` with the number of their label, ``(n,)``."""
        component = rng.choice(len(self.weight), n, p=self.weight)
        normal = rng.standard_normal((n, self.mean.shape[1]))
        points = self.mean[component] + np.einsum("nij,nj->ni", self.root[component], normal)
        cumulative = np.cumsum(self.probability, axis=1)
        # One row after the other, each one higher than the last: a single search finds all labels.
        rows = np.arange(len(cumulative))[:, None] + cumulative / cumulative[:, -1:]
        found = np.searchsorted(rows.ravel(), component + rng.random(n), side="right")
        return points, (found - component * len(self.labels)).astype(np.int64)

    def log_components(self, points: Floats) -> Floats:
        """Log of weight times density of each component, ``(n, k)``."""
        result = np.empty((len(points), len(self.weight)))
        for k, (weight, mean, root) in enumerate(zip(self.weight, self.mean, self.root, strict=True)):
            distance = solve_triangular(root, (points - mean).T, lower=True)
            result[:, k] = np.log(weight) - 0.5 * (distance**2).sum(axis=0) - np.log(np.diag(root)).sum()
        return np.asarray(result - 0.5 * points.shape[1] * np.log(2 * np.pi))

    def log_density(self, points: Floats, label: Integers) -> Floats:
        """Log density of points with their labels, ``(n,)``; minus infinity where no component has the label."""
        with np.errstate(divide="ignore"):
            probability = np.log(self.probability.T[label])
        return np.asarray(logsumexp(self.log_components(points) + probability, axis=1))

    def find_labels(self, wanted: Integers) -> Integers:
        """Return the number of each label ``(n, 3)``, -1 for what was not trained, ``(n,)``."""
        known = {tuple(label): number for number, label in enumerate(self.labels.tolist())}
        return np.array([known.get(tuple(label), -1) for label in wanted.tolist()], np.int64)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything as named arrays."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]], dimension: int, limits: tuple[int, int, int]) -> Self:
        """Inverse of `state`, for points of `dimension` numbers and labels below `limits`.

        Raises:
            ModelError: The arrays do not fit.
        """
        weight = floats(state, "weight", (None,))
        labels = integers(state, "labels", (None, 3), 0)
        if len(labels) == 0 or np.any(labels >= limits):
            raise ModelError(f"the array 'labels' of the model is empty, or has labels that are not below {limits}")
        k = len(weight)
        probability = floats(state, "probability", (k, len(labels)))
        for name, rows in (("weight", weight[None]), ("probability", probability)):
            if np.any(rows < 0) or not np.allclose(rows.sum(axis=1), 1):
                raise ModelError(f"the array '{name}' of the model holds no probabilities")
        root = floats(state, "root", (k, dimension, dimension))
        if not np.all(np.diagonal(root, axis1=1, axis2=2) > 0):
            raise ModelError("the array 'root' of the model holds no roots of covariances")
        return cls(weight, floats(state, "mean", (k, dimension)), root, labels, probability)
