"""Which chart each coordinate of a topology gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mlgen.events import FloatArray
from mlgen.representation.charts import (
    Bounded,
    BreitWigner,
    Chart,
    OneSided,
    Ordered,
    Periodic,
    Separated,
    breit_wigner_angle,
)
from mlgen.representation.cuts import SampleCuts
from mlgen.representation.edges import high_edge, low_edge
from mlgen.representation.kinematics import Kinematics

#: Share of the way to an edge of a rapidity's size that a sample must reach on both sides to have it on both.
_BOTH_SIDES = 0.95
#: Mass and width of what decays, ``(GeV, GeV)``, by PDG id; None where it is not known.
ResonanceTable = Callable[[int], tuple[float, float] | None]

#: Most room that is given to collinear pairs.
_LARGEST_ENHANCEMENT = 10.0


def blocks_of(kinematics: Kinematics, jets: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return how many jets an event must have for each coordinate to exist, ``(coordinates,)``."""
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
    return np.array(blocks, np.int64)


def choose_charts(
    kinematics: Kinematics,
    jets: Sequence[int],
    pdg_id: npt.NDArray[np.int64],
    cuts: SampleCuts,
    names: Sequence[str],
    values: FloatArray,
    resonances: ResonanceTable,
    *,
    both_ways: bool = False,
) -> tuple[Chart, ...]:
    """Choose the charts of one topology.

    Args:
        kinematics: The coordinates.
        jets: Rows of the jets, by falling transverse momentum.
        pdg_id: Of the particles of the most frequent class, ``(particles,)``.
        cuts: Those of the sample.
        names: Names of the coordinates in the order of the columns.
        values: Coordinates of the sample in that order, ``(n, coordinates)``.
        resonances: Masses and widths.
        both_ways: Whether there are mirror images of the events, with all rapidities of the other sign.
    """
    return tuple(_Charts(kinematics, list(jets), pdg_id, cuts, list(names), values, resonances, both_ways).all())


class _Charts:
    """What `choose_charts` knows, and has done."""

    def __init__(
        self,
        kinematics: Kinematics,
        jets: list[int],
        pdg_id: npt.NDArray[np.int64],
        cuts: SampleCuts,
        names: list[str],
        values: FloatArray,
        resonances: ResonanceTable,
        both_ways: bool,
    ) -> None:
        self.kinematics, self.jets, self.pdg_id, self.cuts = kinematics, jets, pdg_id, cuts
        self.column = {name: i for i, name in enumerate(names)}
        self.names, self.values, self.resonances, self.both_ways = names, values, resonances, both_ways
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
        """Neighbouring jets that must be apart; the last ones first: the earlier are then still as they were."""
        charts: list[Chart] = []
        for first, second in reversed(list(pairwise(self.jets))):
            radius = self.cuts.radius(first, second)
            labels = [f"{kind} {row + 1}" for kind in ("rapidity", "azimuth") for row in (second, first)]
            places = [self.column.get(label, -1) for label in labels]
            if not 0 < radius < np.pi / 2 or places[2] < 0 or f"pt {first + 1}" not in self.column:
                continue
            charts.append(
                Separated(places[0], places[1], places[2], places[3], radius, self._enhancement(places, radius))
            )
            charts.append(Periodic(places[2], -np.pi))
            self.done |= {places[0], places[2]}
        # The angle of a pair is mapped after all pairs are.
        return [c for c in charts if isinstance(c, Separated)] + [c for c in charts if isinstance(c, Periodic)]

    def _enhancement(self, places: list[int], radius: float) -> float:
        """By how much the density of pairs at the smallest distance exceeds that at larger ones, relative to it."""
        dy = self.values[:, places[0]] - self.values[:, places[1]]
        dphi = self.values[:, places[2]] - (self.values[:, places[3]] if places[3] >= 0 else 0.0)
        distance = np.hypot(dy, np.mod(dphi + np.pi, 2 * np.pi) - np.pi)
        near, far = (
            np.mean((distance > low) & (distance < high)) / (high**2 - low**2)
            for low, high in ((radius, 1.25 * radius), (2.5 * radius, max(3.75 * radius, radius + 0.5)))
        )
        # At the hole itself; in the ring, which reaches to 1.25 times the radius, it is a fifth less.
        return float(np.clip(1.25 * (near / far - 1), 0, _LARGEST_ENHANCEMENT)) if far > 0 else 0.0

    def _jet_momenta(self) -> list[Chart]:
        columns = [self.column[f"pt {row + 1}"] for row in self.jets if f"pt {row + 1}" in self.column]
        if not columns:
            return []
        # The softest jet decides, whatever the others do.
        softest = self.values[:, columns[-1]]
        edge = low_edge(softest)
        edge = 0.0 if edge is None else max(edge, 0.0)
        hardest = low_edge(self.values[:, columns[0]])
        self.done |= set(columns)
        ordered = [Ordered(low, edge, high) for high, low in pairwise(columns)]
        return [*reversed(ordered), OneSided(columns[0], edge if hardest is None else max(hardest, edge))]

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
        if known is not None:
            low, high = self._ends_of_resonance(values, *known)
            if low < known[0] < high and high - low > 3 * known[1]:
                return BreitWigner(column, known[0], known[1], low, high)
        return self._between(column)

    @staticmethod
    def _ends_of_resonance(values: FloatArray, mass: float, width: float) -> tuple[float, float]:
        """Edges of a mass, or else what no event of the sample comes near."""
        # An edge is easier to see where the peak is drawn apart.
        angle = breit_wigner_angle(values, mass, width)
        low, high = low_edge(values), high_edge(values)
        if low is None and (edge := low_edge(angle)) is not None and edge > -np.pi / 2:
            low = np.sqrt(max(mass**2 + mass * width * np.tan(edge), 0.0))
        if high is None and (edge := high_edge(angle)) is not None and edge < np.pi / 2:
            high = np.sqrt(mass**2 + mass * width * np.tan(edge))
        low = max(float(values.min()) - width, 0.0) if low is None else low
        return float(low), float(values.max() + width if high is None else high)

    def _resonance(self, label: str) -> int:
        """PDG id of what decays to the particles of a label, 0 where it is none that is known.

        A particle of the record, or the Z or W that makes a pair of leptons or of quark and antiquark.
        """
        rows = [int(number) - 1 for number in label.split("+")]
        if len(rows) == 1:
            return int(self.pdg_id[rows[0]])
        kinds = self.pdg_id[rows]
        size = np.abs(kinds)
        fermions = np.all((size >= 11) & (size <= 16)) or np.all((size >= 1) & (size <= 5))
        if len(rows) != 2 or not fermions or kinds[0] * kinds[1] > 0:
            return 0
        return 24 if kinds.sum() % 2 else 23

    def _pt(self, column: int, label: str) -> Chart:
        edge = low_edge(self.values[:, column])
        return OneSided(column, 0.0 if edge is None else max(edge, 0.0))

    def _azimuth(self, column: int, label: str) -> Chart:
        seams = self.kinematics.seams
        low = 0.0 if seams is None else float(seams[self.kinematics.names.index(self.names[column])])
        return Periodic(column, low)

    _phi = _azimuth

    def _rapidity(self, column: int, label: str) -> Chart | None:
        values = self.values[:, column]
        # Cuts are mostly the same on both sides, and twice as easy to see there together.
        edge = high_edge(np.abs(values))
        if edge is not None and (self.both_ways or min(values.max(), -values.min()) > _BOTH_SIDES * edge):
            return Bounded(column, -edge, edge)
        return None if self.both_ways else self._between(column)

    def _cos_theta(self, column: int, label: str) -> Chart:
        return Bounded(column, -1.0, 1.0)
