"""All tests of one comparison, and their p-values after the number of tests."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from mlgen.validation.observable import FloatArray
from mlgen.validation.shape_tests import adjusted_p_values


@dataclass(slots=True)
class Family:
    """The tests that are asked together whether a sample agrees; NaN stands for a test that was not made.

    FPD and KPD are not among them: their p-values are extrapolated where they matter.

    Args:
        shapes: p-value of each observable's shape.
        presence: Of the share of events that have the observable.
        numbers: Of the cross section and the acceptance.
        classifiers: Of each classifier.
    """

    shapes: list[float]
    presence: list[float]
    numbers: list[float]
    classifiers: list[float]
    adjusted_shapes: list[float] = field(init=False)
    adjusted_presence: list[float] = field(init=False)
    adjusted_numbers: list[float] = field(init=False)
    adjusted_classifiers: list[float] = field(init=False)
    tests: int = field(init=False)
    smallest: float = field(init=False)

    def __post_init__(self) -> None:
        parts = [self.shapes, self.presence, self.numbers, self.classifiers]
        adjusted: FloatArray = adjusted_p_values(np.concatenate([np.asarray(part, np.float64) for part in parts]))
        ends = np.cumsum([len(part) for part in parts])[:-1]
        split = [part.tolist() for part in np.split(adjusted, ends)]
        self.adjusted_shapes, self.adjusted_presence, self.adjusted_numbers, self.adjusted_classifiers = split
        known = adjusted[np.isfinite(adjusted)]
        self.tests = len(known)
        self.smallest = float(known.min()) if len(known) else math.nan
