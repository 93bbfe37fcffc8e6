"""Boosted trees as plain arrays, so that a model needs neither pickle nor scikit-learn to be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from mlgen.errors import ModelError
from mlgen.representation.arrays import floats, integers

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Trees:
    """A sum of regression trees, padded to the largest; a node without children is its own child.

    Args:
        feature: The input that each node looks at, ``(trees, nodes)``.
        threshold: Inputs up to this go left, ``(trees, nodes)``.
        left: Left child of each node, ``(trees, nodes)``.
        right: Right child, ``(trees, nodes)``.
        value: What a leaf adds to the sum, ``(trees, nodes)``.
    """

    feature: Integers
    threshold: Floats
    left: Integers
    right: Integers
    value: Floats

    @classmethod
    def none(cls) -> Self:
        """No trees: zero everywhere."""
        integers_, floats_ = np.zeros((0, 1), np.int64), np.zeros((0, 1))
        return cls(integers_, floats_, integers_, integers_, floats_)

    def __call__(self, inputs: Floats) -> Floats:
        """Sum of all trees, ``(n,)``, for ``inputs (n, features)``."""
        # Thresholds were chosen between inputs of single precision.
        single = inputs.astype(np.float32)
        each = np.arange(len(single))
        total = np.zeros(len(single))
        for feature, threshold, left, right, value in zip(
            self.feature, self.threshold, self.left, self.right, self.value, strict=True
        ):
            node = np.zeros(len(single), np.int64)
            while True:
                below = single[each, feature[node]] <= threshold[node]
                following = np.where(below, left[node], right[node])
                if np.array_equal(following, node):
                    break
                node = following
            total += value[node]
        return total

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything as named arrays."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]], features: int) -> Self:
        """Inverse of `state`, for inputs of so many features.

        Raises:
            ModelError: The arrays do not fit.
        """
        feature = integers(state, "feature", (None, None), 0, features)
        shape = feature.shape
        left, right = (integers(state, name, shape, 0, shape[1]) for name in ("left", "right"))
        own = np.arange(shape[1])
        # Children stand behind their parents, so that every walk ends.
        if np.any((left < own) | (right < own) | ((left == own) != (right == own))):
            raise ModelError("the arrays 'left' and 'right' of the model are no trees")
        return cls(feature, floats(state, "threshold", shape), left, right, floats(state, "value", shape))
