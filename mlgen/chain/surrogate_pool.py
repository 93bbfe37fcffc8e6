"""Candidates with a surrogate's weights, whose true weights are found out only where they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlgen.chain.candidate_pool import CandidatePool
from mlgen.chain.candidates import CandidateBatch, CandidateSource
from mlgen.chain.crude_weights import crude_source, feature_count, features_of
from mlgen.chain.record_file import RecordFile
from mlgen.chain.spool import KeptCandidates, TemporaryFiles
from mlgen.hard_process.drawing import drawn_columns
from mlgen.stages import Candidates, FloatArray, IntArray

if TYPE_CHECKING:
    from mlgen.amplitudes.element import SurrogateElement
    from mlgen.hard_process.hard_process import HardProcess

#: Share of the candidates whose subprocess is any with the same probability; as much efficiency is lost at most.
_ALIKE = 0.05
#: True weights that were asked for.
_EVALUATED = np.dtype([("index", np.int32), ("subprocess", np.int32), ("weight", np.float64)])


class SurrogatePool(CandidatePool):
    r"""Candidates that are drawn with a surrogate in the place of the matrix elements.

    Where the surrogate knows the subprocesses, the subprocess j of a candidate is drawn with a probability

    .. math:: p_j = (1 - \epsilon) \frac{|s_j|}{\sum_k |s_k|} + \frac{\epsilon}{n},

    most of which is its share in the surrogate's weight; n subprocesses contribute there. The candidate's weight is
    :math:`s_j / p_j`, its true weight is its true contribution :math:`t_j` over :math:`p_j`: one matrix element is
    evaluated, and the mean over many draws is :math:`t_j` for each subprocess. The second term sees to it that none is
    lost where its own surrogate is far too small. Where the surrogate only knows their sum (weights that are to be
    learned from features), all are evaluated, and the subprocess is drawn in proportion to the true contributions.

    What was asked for is kept: asked for again, it costs nothing. Points are kept by their place in the hypercube, and
    mapped again when their momenta are needed.

    Args:
        source: Draws points, with a surrogate in the place of the matrix elements.
        exact: The same with the true ones.
        seed: Of the run.
        files: Where candidates are kept.
        surrogates: Surrogate of each subprocess, which say how large their errors are; none where nothing is said.
        cost_ratio: What a true weight costs, in units of what a candidate costs without it; None where not known.
        features: Whether candidates are to have features that their true weight may be learned from; the weights of
            `source` are those of |M|^2 = 1 then.

    Attributes:
        evaluations: Number of true weights that were computed.
    """

    def __init__(
        self,
        source: CandidateSource,
        exact: CandidateSource,
        seed: int,
        files: TemporaryFiles,
        *,
        surrogates: Sequence[SurrogateElement] = (),
        cost_ratio: float | None = None,
        features: bool = False,
    ) -> None:
        super().__init__(source, seed)
        self._exact, self._crude = exact, crude_source(exact)
        self._surrogates = tuple(surrogates)
        self._cost_ratio = cost_ratio
        self._with_features = features
        columns: list[Any] = [("index", np.int32), ("channel", np.int32), ("factor", float), ("weight", float)]
        columns.append(("x", np.float64, (source.process.integrand.dimensions,)))
        if features:
            columns.append(("features", np.float64, (feature_count(source),)))
        else:
            columns += [("subprocess", np.int32), ("probability", np.float64)]
        self._points = RecordFile(files.path("points"), np.dtype(columns))
        self._evaluated = RecordFile(files.path("evaluated"), _EVALUATED)
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
        weight = batch.weight
        columns = {"index": index, "channel": batch.channel, "factor": batch.factor, "x": batch.x}
        if self._with_features:
            columns["features"] = features_of(self.source, batch)
        else:
            values = batch.points.subprocess_values
            chances = _chances(values)
            subprocess = drawn_columns(chances, self._subprocess_numbers(len(self)))
            probability, value = _of_each(chances, subprocess), _of_each(values, subprocess)
            weight = batch.factor * np.divide(value, probability, out=np.zeros(len(value)), where=value != 0)
            columns |= {"subprocess": subprocess, "probability": probability}
        columns["weight"] = weight
        self._points.append({name: column if name == "index" else column[index] for name, column in columns.items()})
        self._parts.append([])
        self._count(n)
        return np.asarray(weight[:n])

    def candidates(self, number: int) -> Candidates:
        """Return a batch with the surrogate's weights; true ones are to be asked for."""
        points = self._points.read(number)
        n, index = self.size_of(number), points["index"]
        whole = {}
        for name in points.dtype.names or ():
            column = points[name]
            whole[name] = np.zeros((n, *column.shape[1:]), column.dtype)
            whole[name][index] = column
        vanishes = np.ones(n, np.bool_)
        vanishes[index] = False
        groups = {"channel": np.asarray(whole["channel"], np.int64)}
        if not self._with_features:
            groups["process"] = np.asarray(whole["subprocess"], np.int64)

        def exact_weight(asked: IntArray) -> FloatArray:
            return self._true(number, np.asarray(asked))[0]

        def relative_error(asked: IntArray) -> FloatArray:
            return self._errors(number, np.asarray(asked))

        return Candidates(
            whole["weight"],
            exact_weight,
            relative_error if self._surrogates else None,
            features=whole.get("features"),
            vanishes=vanishes,
            groups=groups,
            cost_ratio=self._cost_ratio,
        )

    def events(self, number: int, index: IntArray) -> KeptCandidates:
        """Return candidates of a batch with all that makes them events; `weight` is what is known of their weights."""
        points = self._points.read(number)
        points = points[np.searchsorted(points["index"], index)]
        batch = self._again(self._crude, points)
        if self._with_features and len(self._process.subprocesses) > 1:
            # Which subprocess it is, only the true contributions say.
            weight, subprocess = self._true(number, index)
        elif self._with_features:
            weight, subprocess = points["weight"], np.zeros(len(points), np.int64)
        else:
            weight, subprocess = points["weight"], np.asarray(points["subprocess"], np.int64)
        return KeptCandidates(
            index,
            np.asarray(weight, np.float64),
            np.asarray(points["channel"], np.int64),
            subprocess,
            batch.points.momenta,
            batch.points.factorisation_scale,
            batch.points.alpha_s,
        )

    @property
    def _process(self) -> HardProcess:
        return self._exact.process

    def _true(self, number: int, index: IntArray) -> tuple[FloatArray, IntArray]:
        """True weights and subprocesses of candidates of a batch; zero for what vanishes."""
        known = self._known(number)
        missing = np.setdiff1d(index, known["index"])
        if len(missing):
            points = self._points.read(number)
            points = points[np.isin(points["index"], missing)]
            if len(points):
                self._parts[number].append(self._evaluated.append(self._evaluate(number, points)))
                self.evaluations += len(points)
                known = self._known(number)
        weight, subprocess = np.zeros(len(index)), np.zeros(len(index), np.int64)
        if len(known):
            place = np.minimum(np.searchsorted(known["index"], index), len(known) - 1)
            there = known["index"][place] == index
            weight[there], subprocess[there] = known["weight"][place[there]], known["subprocess"][place[there]]
        return weight, subprocess

    def _errors(self, number: int, index: IntArray) -> FloatArray:
        """What the surrogates say of their errors, for candidates of a batch; zero for what vanishes."""
        points = self._points.read(number)
        place = np.minimum(np.searchsorted(points["index"], index), max(len(points) - 1, 0))
        there = np.flatnonzero(points["index"][place] == index) if len(points) else np.zeros(0, np.intp)
        points = points[place[there]]
        momenta = self._again(self._crude, points).points.momenta
        errors = np.zeros(len(index))
        for element in {id(one): one for one in self._surrogates}.values():
            own = np.array([one is element for one in self._surrogates])[points["subprocess"]]
            if own.any():
                errors[there[own]] = element.relative_error(np.ascontiguousarray(momenta[own]))
        return errors

    def _known(self, number: int) -> npt.NDArray[Any]:
        """The true weights of a batch that were asked for, in the order of their places."""
        parts = [self._evaluated.read(part) for part in self._parts[number]]
        known = np.concatenate(parts) if parts else np.empty(0, _EVALUATED)
        return known[np.argsort(known["index"])]

    def _evaluate(self, number: int, points: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Evaluate points of a batch with the true matrix elements."""
        index = np.asarray(points["index"], np.int64)
        if self._with_features:
            batch = self._again(self._exact, points)
            uniform = self._subprocess_numbers(number)[index]
            subprocess, sign = self._process.draw_subprocesses(batch.points, uniform)
            return {"index": index, "subprocess": subprocess, "weight": batch.weight * sign}
        batch = self._again(self._crude, points)
        subprocess = np.asarray(points["subprocess"], np.int64)
        squared = self._process.integrand.squared(batch.points.momenta, batch.points.alpha_s, subprocess)
        contribution = batch.factor * _of_each(batch.points.subprocess_values, subprocess) * squared
        return {"index": index, "subprocess": subprocess, "weight": contribution / points["probability"]}

    def _again(self, source: CandidateSource, points: npt.NDArray[Any]) -> CandidateBatch:
        x, channel, factor = (np.ascontiguousarray(points[name]) for name in ("x", "channel", "factor"))
        return source.again(x, channel, factor)


def _chances(values: FloatArray) -> FloatArray:
    """Return the probabilities that each subprocess is drawn with, from what it contributes to the surrogate's weight.

    Args:
        values: Contributions, ``(n, subprocesses)``; where all are zero, so are the probabilities.
    """
    size = np.abs(values)
    there = size > 0
    share = size / np.maximum(size.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    alike = there / np.maximum(there.sum(axis=1, keepdims=True), 1)
    return np.asarray((1 - _ALIKE) * share + _ALIKE * alike)


def _of_each(values: FloatArray, column: IntArray) -> FloatArray:
    """Return the value in the column of each row, ``(n,)``."""
    return np.asarray(np.take_along_axis(values, np.asarray(column)[:, None], axis=1)[:, 0])
