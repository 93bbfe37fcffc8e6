"""Coordinates of a decay tree <-> uncorrelated numbers of order one, fitted to a sample."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

from mlgen.errors import ModelError
from mlgen.events import FloatArray
from mlgen.representation.charts import Bounded, BreitWigner, Chart, OneSided, Ordered, Separated
from mlgen.representation.cuts import SampleCuts
from mlgen.representation.edges import high_edge, low_edge
from mlgen.representation.kinematics import Kinematics
from mlgen.representation.marginals import NormalMarginals

#: Smallest width of a coordinate, given those before it, that is stretched to one; what is narrower is noise.
_SMALLEST_WIDTH = 0.02
_CHARTS: Mapping[str, type[Chart]] = {
    kind.__name__: kind for kind in (Bounded, BreitWigner, OneSided, Ordered, Separated)
}
#: Mass and width of what decays, ``(GeV, GeV)``, by PDG id; None where it is not known.
ResonanceTable = Callable[[int], tuple[float, float] | None]


@dataclass(frozen=True)
class Whitening:
    """Take coordinates to normal numbers of mean 0 and covariance 1, each given those before it.

    The map is triangular: the first k numbers belong to the first k coordinates, whatever follows.

    Args:
        marginals: The map of each coordinate by itself.
        mean: Of the normal numbers, ``(d,)``.
        stretch: Lower triangular root of their covariance, ``(d, d)``.

    References:
        Eq. (4.90) of Plehn et al., arXiv:2211.01421.
    """

    marginals: NormalMarginals
    mean: FloatArray
    stretch: FloatArray

    @classmethod
    def fit(cls, values: FloatArray, weight: FloatArray) -> Self:
        """Fit to unbounded coordinates ``(n, d)`` with signed weights ``(n,)``."""
        marginals = NormalMarginals.fit(values, weight)
        normal, _ = marginals.forward(values)
        share = weight / weight.sum()
        # einsum and not a matrix product: its result does not depend on the number of threads.
        mean = np.einsum("n,ni->i", share, normal)
        centred = normal - mean
        covariance = np.einsum("n,ni,nj->ij", share, centred, centred)
        return cls(marginals, mean, _triangular_root(covariance))

    def forward(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Points ``(n, d)`` and the log of the determinant, ``(n,)``."""
        normal, logarithm = self.marginals.forward(values)
        points = solve_triangular(self.stretch, (normal - self.mean).T, lower=True).T
        return np.ascontiguousarray(points), logarithm - np.log(np.diag(self.stretch)).sum()

    def inverse(self, points: FloatArray) -> FloatArray:
        """Coordinates ``(n, d)`` of points."""
        return self.marginals.inverse(self.mean + np.einsum("nj,ij->ni", points, self.stretch))


@dataclass(frozen=True)
class Coordinates:
    """Map between the coordinates of `Kinematics` and unbounded ones.

    Args:
        order: Places of the coordinates in `Kinematics.names`, in the order that is used from here on, ``(d,)``.
        blocks: For each, the number of jets that an event must have for it to exist, ascending, ``(d,)``.
        charts: Applied one after the other.
    """

    order: npt.NDArray[np.int64]
    blocks: npt.NDArray[np.int64]
    charts: tuple[Chart, ...]

    @classmethod
    def fit(
        cls,
        kinematics: Kinematics,
        jets: Sequence[int],
        pdg_id: npt.NDArray[np.int64],
        cuts: SampleCuts,
        values: FloatArray,
        resonances: ResonanceTable,
    ) -> Self:
        """Choose the charts.

        Args:
            kinematics: The coordinates.
            jets: Rows of the jets, by falling transverse momentum.
            pdg_id: Of the particles of the most frequent class, ``(particles,)``.
            cuts: Those of the sample.
            values: Coordinates of the sample, ``(n, coordinates)``.
            resonances: Masses and widths.
        """
        blocks = np.array(_blocks(kinematics, jets), np.int64)
        order = np.argsort(blocks, kind="stable")
        names = [kinematics.names[i] for i in order]
        build = _Charts(kinematics, list(jets), pdg_id, cuts, names, values[:, order], resonances)
        return cls(order, blocks[order], tuple(build.all()))

    def forward(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Unbounded coordinates ``(n, d)`` and the log of the determinant, ``(n,)``."""
        x = values[:, self.order].copy()
        logarithm = np.zeros(len(x))
        for chart in self.charts:
            logarithm += chart.forward(x)
        return x, logarithm

    def inverse(self, unbounded: FloatArray) -> FloatArray:
        """Coordinates of `Kinematics`, ``(n, d)``."""
        x = unbounded.copy()
        for chart in reversed(self.charts):
            chart.inverse(x)
        result = np.empty_like(x)
        result[:, self.order] = x
        return result

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything as named arrays."""
        charts = json.dumps([[type(chart).__name__, asdict(chart)] for chart in self.charts])  # type: ignore[call-overload]
        return {
            "order": self.order,
            "blocks": self.blocks,
            "charts": np.frombuffer(charts.encode(), np.uint8).copy(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]], names: Sequence[str]) -> Self:
        """Inverse of `state`, for coordinates of the given names.

        Raises:
            ModelError: The arrays do not fit.
        """
        d = len(names)
        try:
            order, blocks = state["order"].astype(np.int64), state["blocks"].astype(np.int64)
            charts = tuple(
                _CHARTS[kind](**values) for kind, values in json.loads(np.asarray(state["charts"], np.uint8).tobytes())
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the model's arrays of coordinates do not fit: {error}") from error
        if sorted(order.tolist()) != list(range(d)) or blocks.shape != (d,):
            raise ModelError(f"the model's array 'order' does not order the {d} coordinates {', '.join(names)}")
        return cls(order, blocks, charts)


def _blocks(kinematics: Kinematics, jets: Sequence[int]) -> list[int]:
    """For each coordinate, how many jets an event must have for it to exist."""
    rank = {str(row + 1): number for number, row in enumerate(jets, start=1)}
    others = [node for node in kinematics.tree.top if kinematics.tree.nodes[node].row not in jets]
    blocks = []
    for name in kinematics.names:
        kind, label = name.split(" ", 1)
        block = rank.get(label, 0)
        if kind == "phi" and len(others) == 1 and jets and kinematics.label(others[0]) == label:
            # The only particle beside the jets: without a jet the azimuth of its decay would be that of the event.
            block = 1
        blocks.append(block)
    return blocks


class _Charts:
    """The choice of charts for one topology."""

    def __init__(
        self,
        kinematics: Kinematics,
        jets: list[int],
        pdg_id: npt.NDArray[np.int64],
        cuts: SampleCuts,
        names: list[str],
        values: FloatArray,
        resonances: ResonanceTable,
    ) -> None:
        self.kinematics, self.jets, self.pdg_id, self.cuts = kinematics, jets, pdg_id, cuts
        self.column = {name: i for i, name in enumerate(names)}
        self.names, self.values, self.resonances = names, values, resonances
        self.done: set[int] = set()

    def all(self) -> list[Chart]:
        charts = [*self._pairs(), *self._jet_momenta()]
        for column, name in enumerate(self.names):
            if column in self.done:
                continue
            kind = name.split(" ", 1)[0]
            chart = getattr(self, f"_{kind}")(column, name.split(" ", 1)[1])
            charts += [chart] if chart is not None else []
        return charts

    def _pairs(self) -> list[Chart]:
        """Neighbouring jets that must be apart; the last ones first, because the earlier are then still as they were."""
        charts: list[Chart] = []
        for first, second in reversed(list(zip(self.jets[:-1], self.jets[1:], strict=True))):
            radius = self.cuts.radius(first, second)
            labels = [f"{kind} {row + 1}" for kind in ("rapidity", "azimuth") for row in (second, first)]
            places = [self.column.get(label, -1) for label in labels]
            if not 0 < radius < np.pi / 2 or places[2] < 0 or f"pt {first + 1}" not in self.column:
                continue
            charts.append(Separated(places[0], places[1], places[2], places[3], radius))
            charts.append(Bounded(places[2], -np.pi, np.pi))
            self.done |= {places[0], places[2]}
        # The angle of a pair is mapped after all pairs are.
        return [c for c in charts if isinstance(c, Separated)] + [c for c in charts if isinstance(c, Bounded)]

    def _jet_momenta(self) -> list[Chart]:
        columns = [self.column[f"pt {row + 1}"] for row in self.jets if f"pt {row + 1}" in self.column]
        if not columns:
            return []
        # The softest jet decides, whatever the others do.
        softest = self.values[:, columns[-1]]
        edge = low_edge(softest)
        edge = 0.0 if edge is None else max(edge, 0.0)
        self.done |= set(columns)
        ordered = [Ordered(low, edge, high) for high, low in zip(columns[:-1], columns[1:], strict=True)]
        return [*reversed(ordered), OneSided(columns[0], edge)]

    def _between(self, column: int) -> Chart | None:
        low, high = low_edge(self.values[:, column]), high_edge(self.values[:, column])
        if low is not None and high is not None:
            return Bounded(column, low, high)
        if low is not None:
            return OneSided(column, low)
        return None if high is None else OneSided(column, high, above=False)

    def _mass(self, column: int, label: str) -> Chart | None:
        values = self.values[:, column]
        known = self.resonances(self._resonance(label))
        low, high = low_edge(values), high_edge(values)
        if known is not None:
            mass, width = known
            first = max(float(values.min()) - width, 0.0) if low is None else low
            last = float(values.max()) + width if high is None else high
            if first < mass < last and last - first > 3 * width:
                return BreitWigner(column, mass, width, first, last)
        return self._between(column)

    def _resonance(self, label: str) -> int:
        """PDG id of what decays to the particles of a label: a particle of the record, or what makes a pair of leptons."""
        rows = [int(number) - 1 for number in label.split("+")]
        if len(rows) == 1:
            return int(self.pdg_id[rows[0]])
        kinds = self.pdg_id[rows]
        return 23 if len(rows) == 2 and kinds.sum() == 0 else 24

    def _pt(self, column: int, label: str) -> Chart:
        edge = low_edge(self.values[:, column])
        return OneSided(column, 0.0 if edge is None else max(edge, 0.0))

    def _azimuth(self, column: int, label: str) -> Chart:
        seams = self.kinematics.seams
        low = 0.0 if seams is None else float(seams[self.kinematics.names.index(self.names[column])])
        return Bounded(column, low, low + 2 * np.pi)

    _phi = _azimuth

    def _rapidity(self, column: int, label: str) -> Chart | None:
        return self._between(column)

    def _cos_theta(self, column: int, label: str) -> Chart:
        return Bounded(column, -1.0, 1.0)


def _triangular_root(covariance: FloatArray) -> FloatArray:
    """Lower triangular root, in which no coordinate is narrower than `_SMALLEST_WIDTH` given those before it.

    Negative weights, or coordinates that follow from each other, can make a plain root fail.
    """
    d = len(covariance)
    root = np.zeros((d, d))
    for i in range(d):
        for j in range(i):
            root[i, j] = (covariance[i, j] - root[i, :j] @ root[j, :j]) / root[j, j]
        left = covariance[i, i] - root[i, :i] @ root[i, :i]
        root[i, i] = np.sqrt(max(left, _SMALLEST_WIDTH**2))
    return root
