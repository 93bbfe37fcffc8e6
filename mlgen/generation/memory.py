"""Whether generated events are copies of those that a generator was trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.errors import TrainingError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]

#: Generated points that are looked at, at most.
_MOST_POINTS = 5000
#: A generated point nearer than this to a training point is its copy, if so near is not to be expected by chance.
_COPY = 1e-6
#: Points so near by chance that are allowed, of all that are looked at.
_BY_CHANCE = 1e-4
#: Standard errors, and distance from one half, above which something is said.
_SIGNIFICANCE = 4.0
_NOTABLE = 0.02


@dataclass(frozen=True)
class MemoryCheck:
    """How near generated points are to those of the training, compared with ones that the generator never saw.

    Args:
        nearer_to_training: How often a generated point's nearest neighbour is a training point rather than a held-out
            one, for equal numbers of both: one half if the generator learned a distribution, more if it remembers.
        error: Standard deviation of that for a generator that remembers nothing.
        copies: Generated points that coincide with a training point.
        points: Generated points that were looked at.
        median_distance_ratio: Median of the distance to the nearest training point over that to the nearest held-out
            one, among equal numbers of both; one if nothing is remembered.
    """

    nearer_to_training: float
    error: float
    copies: int
    points: int
    median_distance_ratio: float

    def words(self) -> str | None:
        """Return a remark if the generator remembers training events, else None.

        It does if points coincide, or if more than half of the neighbours are training points: by more than 0.02 and
        more than four standard deviations.
        """
        excess = self.nearer_to_training - 0.5
        parts = []
        if excess > _NOTABLE and excess > _SIGNIFICANCE * self.error:
            parts.append(
                f"generated events are nearer to training events than to held-out ones in "
                f"{100 * self.nearer_to_training:.1f} +- {100 * self.error:.1f} % of the cases; 50 % is expected of a "
                "generator that remembers none"
            )
        if self.copies:
            parts.append(f"{self.copies} of {self.points} generated events are copies of training events")
        return "; ".join(parts) or None


def memory_check(
    generated: FloatArray, training: FloatArray, held_out: FloatArray, rng: np.random.Generator
) -> MemoryCheck:
    r"""Compare the nearest neighbours of generated points among training and held-out points.

    Let :math:`s` be the share of generated points whose nearest neighbour, among all :math:`m` training and :math:`k`
    held-out points, is a training point. For a generator that knows the distribution but not its points, which of the
    :math:`m + k` points are the training's is like drawn by lot, so that, with :math:`c_j` the number of times that
    point :math:`j` is the nearest, exactly

    .. math:: \langle s \rangle = \frac{m}{m + k}, \quad
              \sigma_s^2 = \frac{m k}{(m + k)^2} \, \frac{m + k}{m + k - 1} \, \frac{\sum_j (c_j - \bar c)^2}{N^2} ,

    which takes into account that generated points share neighbours. To be comparable with one half, the odds
    :math:`s / (1 - s)` are divided by :math:`m / k`. All training points are used: with only :math:`k` of them, drawn
    at random, one half would be expected as well, but most of the points that are remembered would be left out.

    Args:
        generated: Coordinates of order one, ``(n, d)``; of more than 5,000 points so many are drawn.
        training: Points of the training, ``(m, d)``.
        held_out: Points of the same distribution that the training has not seen, ``(k, d)``.
        rng: Source of all randomness.

    Raises:
        TrainingError: There are no points of one kind, they have different dimensions or are not finite. Names them.

    References:
        Nearest neighbours as a two-sample test: Schilling, J. Am. Stat. Assoc. 81, 799 (1986). As a test for copies:
        Meehan, Chaudhuri and Dasgupta, arXiv:2004.05675.
    """
    from scipy.spatial import cKDTree

    _check(generated, training, held_out)
    m, k = len(training), len(held_out)
    chosen = generated
    if len(generated) > _MOST_POINTS:
        chosen = generated[rng.choice(len(generated), _MOST_POINTS, replace=False)]
    n = len(chosen)
    # In random order, since among equally near points the tree's choice depends on it.
    order = rng.permutation(m + k)
    _, nearest = cKDTree(np.concatenate([training, held_out])[order]).query(chosen)
    share = float(np.mean(order[nearest] < m))
    counts = np.bincount(nearest, minlength=m + k)
    variance = m * k / ((m + k) * (m + k - 1)) * float(np.square(counts - n / (m + k)).sum()) / n**2
    nearer = share * k / (share * k + (1 - share) * m)
    # The derivative where nothing is remembered.
    error = math.sqrt(variance) * (m + k) ** 2 / (4 * m * k)

    equal = min(m, k)
    to_training, to_held_out = (
        cKDTree(points[rng.choice(len(points), equal, replace=False)]).query(chosen)[0]
        for points in (training, held_out)
    )
    tiny = np.finfo(float).tiny
    ratio = float(np.median((to_training + tiny) / (to_held_out + tiny)))

    tree = cKDTree(training)
    # Points of which so many are expected by chance: where coordinates lie dense, or have few values.
    typical = float(np.median(tree.query(held_out[rng.choice(k, min(k, _MOST_POINTS), replace=False)])[0]))
    copy = min(_COPY, typical * (_BY_CHANCE / n) ** (1 / training.shape[1]))
    copies = int(np.sum(tree.query(chosen)[0] < copy))
    return MemoryCheck(nearer, error, copies, n, ratio)


def _check(generated: FloatArray, training: FloatArray, held_out: FloatArray) -> None:
    """Raise TrainingError for points that cannot be compared."""
    for name, points in (("generated", generated), ("training", training), ("held-out", held_out)):
        if points.ndim != 2 or points.shape[1:] != training.shape[1:] or not points.size:
            raise TrainingError(
                f"the memory check needs {name} points of as many coordinates as all others; these have shape "
                f"{points.shape}, those of the training {training.shape}"
            )
        if not np.isfinite(points).all():
            raise TrainingError(f"the memory check needs finite coordinates; {name} points have others")
