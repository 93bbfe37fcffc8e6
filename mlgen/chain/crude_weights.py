"""Weights without matrix elements, and what the true ones may be learned from."""

from __future__ import annotations

import numpy as np

from mlgen.chain.candidates import CandidateBatch, CandidateSource
from mlgen.chain.stand_ins import UnitElement, replaced
from mlgen.stages import FloatArray


def crude_source(source: CandidateSource) -> CandidateSource:
    """Return a source of candidates without their matrix elements: with |M|^2 = 1."""
    return source.with_matrix_elements(replaced(source.process.matrix_elements, UnitElement))


def feature_count(source: CandidateSource) -> int:
    """Return the number of features that `features_of` gives."""
    subprocesses = len(source.process.subprocesses)
    return source.process.integrand.features + (subprocesses if subprocesses > 1 else 0)


def features_of(source: CandidateSource, batch: CandidateBatch) -> FloatArray:
    """Return what the ratio of true and crude weight may be learned from, ``(n, features)``.

    The features of the integrand, and of several subprocesses the share of each in the crude weight, which is that of
    its luminosity.
    """
    points = batch.points
    if len(source.process.subprocesses) == 1:
        return points.features
    values = points.subprocess_values
    total = values.sum(axis=1, keepdims=True)
    return np.concatenate([points.features, np.divide(values, total, out=np.zeros_like(values), where=total != 0)], 1)
