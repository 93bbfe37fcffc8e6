"""Coordinates of a decay tree <-> uncorrelated numbers of order one, fitted to a sample."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

from mlgen.errors import ModelError
from mlgen.events import FloatArray
from mlgen.representation.arrays import as_bytes, integers, text
from mlgen.representation.chart_choice import ResonanceTable, blocks_of, choose_charts
from mlgen.representation.charts import CHARTS, Chart, Periodic
from mlgen.representation.cuts import SampleCuts
from mlgen.representation.kinematics import Kinematics
from mlgen.representation.marginals import NormalMarginals

#: Smallest width of a coordinate, given those before it, that is stretched to one; what is narrower is noise.
_SMALLEST_WIDTH = 0.02


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
    def fit(cls, values: FloatArray, weight: FloatArray, copies: int = 1) -> Self:
        """Fit to unbounded coordinates ``(n, d)`` with signed weights ``(n,)``; `copies`: see `NormalMarginals.fit`."""
        marginals = NormalMarginals.fit(values, weight, copies)
        normal, _ = marginals.forward(values)
        share = weight / weight.sum()
        # einsum and not a matrix product: its result does not depend on the number of threads.
        mean = np.einsum("n,ni->i", share, normal)
        centred = normal - mean
        covariance = np.einsum("ni,nj->ij", share[:, None] * centred, centred)
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
        *,
        both_ways: bool = False,
    ) -> Self:
        """Choose the charts.

        Args:
            kinematics: The coordinates.
            jets: Rows of the jets, by falling transverse momentum.
            pdg_id: Of the particles of the most frequent class, ``(particles,)``.
            cuts: Those of the sample.
            values: Coordinates of the sample, ``(n, coordinates)``.
            resonances: Masses and widths.
            both_ways: Whether there are mirror images of the events, with all rapidities of the other sign.
        """
        blocks = blocks_of(kinematics, jets)
        order = np.argsort(blocks, kind="stable")
        names = [kinematics.names[i] for i in order]
        charts = choose_charts(kinematics, jets, pdg_id, cuts, names, values[:, order], resonances, both_ways=both_ways)
        return cls(order, blocks[order], charts)

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

    def unfold(self, unbounded: FloatArray, rng: np.random.Generator) -> None:
        """Show events near the cut of an angle on either side of it, in place: how a density is to be learned."""
        for chart in self.charts:
            if isinstance(chart, Periodic):
                chart.unfold(unbounded, rng)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything as named arrays."""
        charts = json.dumps([[type(chart).__name__, asdict(chart)] for chart in self.charts])  # type: ignore[call-overload]
        return {"order": self.order, "blocks": self.blocks, "charts": as_bytes(charts)}

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]], names: Sequence[str]) -> Self:
        """Inverse of `state`, for coordinates of the given names.

        Raises:
            ModelError: The arrays do not fit.
        """
        d = len(names)
        order, blocks = integers(state, "order", (d,)), integers(state, "blocks", (d,), 0)
        if sorted(order.tolist()) != list(range(d)):
            raise ModelError(f"the model's array 'order' does not order the {d} coordinates {', '.join(names)}")
        written = text(state, "charts")
        try:
            charts = tuple(CHARTS[kind](**values) for kind, values in json.loads(written))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the model's array 'charts' cannot be read: {error}") from error
        for chart in charts:
            if not all(-1 <= column < d for column in chart.columns):
                raise ModelError(f"the model's array 'charts' has a map of columns {chart.columns}; there are {d}")
        return cls(order, blocks, charts)


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
