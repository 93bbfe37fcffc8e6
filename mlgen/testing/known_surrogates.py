"""Candidates of the known process, with the weights that surrogates of different quality say they have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from mlgen.stages import Candidates, FloatArray, IntArray
from mlgen.testing.known_process import bins, points
from mlgen.testing.rules import require, require_array

#: What a true weight is said to cost, in units of what a candidate costs without it.
COST_RATIO = 20.0


@dataclass(frozen=True, slots=True)
class Sample:
    """Candidates of the known process.

    Args:
        mass: Mass of the pair in GeV, ``(n,)``.
        rapidity: Rapidity of the pair, ``(n,)``.
        features: The point of phase space, each coordinate from -1 to 1, ``(n, 3)``.
        weight: True weights in pb, ``(n,)``; zero outside the cuts.
        noise: Normally distributed numbers that can be told from nothing, ``(n,)``.
        bins: Bin of each candidate in each distribution, ``(n, distributions)``.
    """

    mass: FloatArray
    rapidity: FloatArray
    features: FloatArray
    weight: FloatArray
    noise: FloatArray
    bins: IntArray

    @classmethod
    def draw(cls, n: int, rng: np.random.Generator) -> Sample:
        """Draw `n` candidates."""
        u = rng.random((n, 3))
        mass, rapidity, cosine, weight = points(u)
        return cls(mass, rapidity, 2 * u - 1, weight, rng.standard_normal(n), bins(mass, rapidity, cosine))


def _good(sample: Sample) -> FloatArray:
    f = sample.features
    return np.asarray(sample.weight * (1 + 0.02 * np.sin(3 * f[:, 0] + 2 * f[:, 1] - 4 * f[:, 2])))


def _bad(sample: Sample) -> FloatArray:
    # The more so, the larger the rapidity.
    return np.asarray(sample.weight * np.exp((0.7 + 0.5 * sample.features[:, 1]) * sample.noise))


def _wrong(sample: Sample) -> FloatArray:
    f = sample.features
    usual = 4 ** np.sin(3 * f[:, 0] + 2 * f[:, 1] - 4 * f[:, 0] * f[:, 2])
    # Each of these corners is a bin: whoever loses one has nothing in that bin.
    corners = [sample.rapidity > 2.3, sample.rapidity < -2.0, sample.mass > 105]
    return np.asarray(sample.weight * np.select(corners, [0.0, 1e-6, -0.2], usual))


#: What a surrogate says of the candidates.
#:
#: ``none``: there is no surrogate, all true weights are known. ``good``: 2 % off. ``bad``: a factor of 1.2 to 3.3 off,
#: at random. ``wrong``: off by up to a factor of 4, in a way that depends on phase space, and in three corners of it
#: zero, 1e-6 of the truth, and negative; they hold 3.3 %, 1.3 % and 0.5 % of the cross section.
SURROGATES: dict[str, Callable[[Sample], FloatArray] | None] = {
    "none": None,
    "good": _good,
    "bad": _bad,
    "wrong": _wrong,
}


class Asked:
    """True weights for `Candidates.exact_weight`, which checks what it is asked for, and counts.

    Args:
        weight: The true weights.

    Attributes:
        asked: How many true weights were asked for.
    """

    def __init__(self, weight: FloatArray) -> None:
        self._weight = weight
        self.asked = 0

    def __call__(self, index: IntArray) -> FloatArray:
        """Return the true weights of some candidates."""
        what = "the index that exact_weight was called with"
        require_array(index, (np.size(index),), "iu", what)
        require(np.all((index >= 0) & (index < len(self._weight))), f"{what} must point at candidates of the batch")
        self.asked += len(index)
        return self._weight[index]


def batches(sample: Sample, surrogate: str, parts: list[npt.NDArray[np.intp]]) -> list[Candidates]:
    """Return candidates of a sample, with the weights that a surrogate gives them.

    Args:
        sample: The candidates.
        surrogate: Name of one of the `SURROGATES`. Only with the bad one it is not known which candidates vanish.
        parts: Which candidates are in each batch.
    """
    says = SURROGATES[surrogate]
    said = None if says is None else says(sample)
    made = []
    for part in parts:
        weight, features = sample.weight[part], sample.features[part]
        groups = {"channel": (features[:, 1] > 0).astype(np.int64)}
        if said is None:
            made.append(Candidates(weight=weight, features=features, groups=groups))
            continue
        made.append(
            Candidates(
                weight=said[part],
                exact_weight=Asked(weight),
                relative_error=partial(claimed_errors, features),
                features=features,
                vanishes=None if surrogate == "bad" else weight == 0,
                groups=groups,
                cost_ratio=COST_RATIO,
            )
        )
    return made


def claimed_errors(features: FloatArray, index: IntArray) -> FloatArray:
    """Return relative errors that a surrogate claims, ``(k,)``: they have nothing to do with its true ones.

    They follow a feature, are zero for a part of the candidates, and no number for another.
    """
    first = features[index, 0]
    return np.where(first > 0.8, 0.0, np.where(first < -0.8, np.nan, 0.05 * np.exp(first)))


def training_batches(surrogate: str, rng: np.random.Generator) -> Iterator[Candidates]:
    """Return batches without an end, for an unweighting that learns."""
    while True:
        yield from batches(Sample.draw(1000, rng), surrogate, [np.arange(1000)])
