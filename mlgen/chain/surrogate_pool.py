"""Candidates with a surrogate's weights, whose true weights are found out only where they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlgen.chain.candidate_pool import CandidatePool
from mlgen.chain.candidates import CandidateBatch, CandidateSource
from mlgen.chain.record_file import RecordFile
from mlgen.chain.spool import EventSpool, KeptCandidates, TemporaryFiles
from mlgen.stages import Candidates, FloatArray, IntArray


class SurrogatePool(CandidatePool):
    """Candidates that are drawn with a surrogate in the place of the matrix elements.

    Where a true weight is asked for, the point is evaluated again with the true matrix elements, its subprocess is
    drawn in proportion to what these contribute, and both are kept: asked for again, they cost nothing.

    Args:
        source: Draws points, with a surrogate in the place of the matrix elements.
        exact: The same with the true ones.
        seed: Of the run.
        files: Where candidates are kept.
        particles: Particles of each event, incoming ones included.
        cost_ratio: What a true weight costs, in units of what a candidate costs without it; None where not known.
        features: Whether candidates are to have features that their true weight may be learned from.

    Attributes:
        evaluations: Number of true weights that were computed.
    """

    def __init__(
        self,
        source: CandidateSource,
        exact: CandidateSource,
        seed: int,
        files: TemporaryFiles,
        particles: int,
        *,
        cost_ratio: float | None = None,
        features: bool = False,
    ) -> None:
        super().__init__(source, seed)
        self._exact = exact
        self._cost_ratio = cost_ratio
        self._with_features = features
        integrand = source.process.integrand
        columns: list[Any] = [("index", np.int32), ("channel", np.int32), ("factor", float), ("weight", float)]
        columns.append(("x", np.float64, (integrand.dimensions,)))
        if features:
            columns.append(("features", np.float64, (feature_count(source),)))
        self._points = RecordFile(files.path("points"), np.dtype(columns))
        self._evaluated = EventSpool(files, particles)
        # Parts of the evaluated ones that belong to each batch.
        self._parts: list[list[int]] = []
        self.evaluations = 0

    @property
    def kept(self) -> int:
        """Number of candidates that are inside the cuts, and have a luminosity."""
        return self._points.records

    def draw(self, n: int, at_most: int | None = None) -> FloatArray:
        """Draw a batch of candidates; returns the surrogate's weights in pb, zeros included."""
        batch = self._drawn(n)
        index = np.flatnonzero(batch.factor)
        if at_most is not None and len(index) >= at_most:
            index = index[:at_most]
            n = int(index[-1]) + 1
        columns = {
            "index": index,
            "channel": batch.channel[index],
            "factor": batch.factor[index],
            "weight": batch.weight[index],
            "x": batch.x[index],
        }
        if self._with_features:
            columns["features"] = features_of(self.source, batch)[index]
        self._points.append(columns)
        self._parts.append([])
        self._count(n)
        return np.asarray(batch.weight[:n])

    def candidates(self, number: int) -> Candidates:
        """Return a batch with the surrogate's weights; true ones are to be asked for."""
        points = self._points.read(number)
        n = self._sizes[number]
        weight, vanishes = np.zeros(n), np.ones(n, bool)
        channel = np.zeros(n, np.int64)
        index = points["index"]
        weight[index], vanishes[index], channel[index] = points["weight"], False, points["channel"]
        features = None
        if self._with_features:
            features = np.zeros((n, points["features"].shape[1]))
            features[index] = points["features"]

        def exact_weight(index: IntArray) -> FloatArray:
            return self._exact_weights(number, index)

        return Candidates(
            weight,
            exact_weight,
            features=features,
            vanishes=vanishes,
            groups={"channel": channel},
            cost_ratio=self._cost_ratio,
        )

    def events(self, number: int, index: IntArray) -> KeptCandidates:
        """Return candidates of a batch with all that makes them events; their true weights were asked for, or are."""
        self._exact_weights(number, index)
        known = self._known(number)
        return known.at(np.searchsorted(known.index, index))

    def _exact_weights(self, number: int, index: IntArray) -> FloatArray:
        index = np.asarray(index)
        places, weights = self._known_weights(number)
        missing = np.setdiff1d(index, places)
        if len(missing):
            self._evaluate(number, missing)
            places, weights = self._known_weights(number)
        found = np.zeros(len(index))
        if len(places):
            place = np.minimum(np.searchsorted(places, index), len(places) - 1)
            # What is not among the points vanishes.
            found = np.where(places[place] == index, weights[place], 0.0)
        return found

    def _evaluate(self, number: int, index: IntArray) -> None:
        """Evaluate points of a batch with the true matrix elements."""
        points = self._points.read(number)
        points = points[np.isin(points["index"], index)]
        if not len(points):
            return
        columns = (np.ascontiguousarray(points[name]) for name in ("x", "channel", "factor"))
        batch = self._exact.again(*columns)
        place = np.asarray(points["index"], np.int64)
        uniform = self._subprocess_numbers(number, self._sizes[number])[place]
        subprocess, sign = self._exact.process.draw_subprocesses(batch.points, uniform)
        evaluated = KeptCandidates(
            place,
            batch.weight * sign,
            batch.channel,
            subprocess,
            batch.points.momenta,
            batch.points.factorisation_scale,
            batch.points.alpha_s,
        )
        self._parts[number].append(self._evaluated.append(evaluated))
        self.evaluations += len(place)

    def _known_weights(self, number: int) -> tuple[IntArray, FloatArray]:
        """Places and true weights of the candidates of a batch that were evaluated, in the order of the places."""
        parts = [self._evaluated.weights(part) for part in self._parts[number]]
        if not parts:
            return np.zeros(0, np.int64), np.zeros(0)
        places = np.concatenate([part.index for part in parts])
        weights = np.concatenate([part.weight for part in parts])
        order = np.argsort(places)
        return places[order], weights[order]

    def _known(self, number: int) -> KeptCandidates:
        """Candidates of a batch that were evaluated, in the order of their places."""
        parts = [self._evaluated.read(part) for part in self._parts[number]]
        names = KeptCandidates.__dataclass_fields__
        whole = KeptCandidates(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
        return whole.at(np.argsort(whole.index))


def feature_count(source: CandidateSource) -> int:
    """Return the number of features that `features_of` gives."""
    subprocesses = len(source.process.subprocesses)
    return source.process.integrand.features + (subprocesses if subprocesses > 1 else 0)


def features_of(source: CandidateSource, batch: CandidateBatch) -> FloatArray:
    """Return what the ratio of true weight and weight may be learned from, ``(n, features)``.

    The features of the integrand, and of several subprocesses the share of each in the weight, which is that of its
    luminosity where |M|^2 is one.
    """
    points = batch.points
    if len(source.process.subprocesses) == 1:
        return points.features
    total = points.subprocess_values.sum(axis=1, keepdims=True)
    shares = np.divide(points.subprocess_values, total, out=np.zeros_like(points.subprocess_values), where=total != 0)
    return np.concatenate([points.features, shares], axis=1)
