"""Training points of amplitudes, drawn with the sampler of a process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlgen.amplitudes.model import REFERENCE_ALPHA_S
from mlgen.chain.candidates import CandidateSource
from mlgen.chain.integration import POINTS_WITHOUT_ANY
from mlgen.chain.point_counts import nothing_counts
from mlgen.chain.point_reservoir import PointReservoir
from mlgen.chain.process_source import grid_range
from mlgen.errors import TrainingError
from mlgen.hard_process.diagrams import spell
from mlgen.hard_process.matrix_element import MatrixElement
from mlgen.hard_process.source_errors import source_errors, source_name
from mlgen.seeds import Work, random_generator
from mlgen.stages import FloatArray, Progress, ProgressCallback

if TYPE_CHECKING:
    from mlgen.hard_process.hard_process import HardProcess

#: Effective number of candidates for each point that is chosen among them.
CANDIDATES_FOR_A_POINT = 3
#: Candidates for each point, after which there are enough, however uneven their weights; and after which it is given up
#: where there are still fewer than points.
_MOST_CANDIDATES, _MOST_CANDIDATES_IN_VAIN = 30, 1000
_BATCH = 10_000
#: Points at which it is looked whether |M|^2 is a power of the strong coupling, and how far it may be off.
_COUPLING_POINTS, _COUPLING_TOLERANCE = 20, 1e-6


@dataclass(frozen=True, slots=True)
class DrawnPoints:
    """Training points of one matrix element.

    Args:
        momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV, in random order.
        values: |M|^2 at the coupling `mlgen.amplitudes.model.REFERENCE_ALPHA_S`, ``(n,)``.
    """

    momenta: FloatArray
    values: FloatArray


def distinct_elements(process: HardProcess) -> list[tuple[MatrixElement, list[int]]]:
    """Return each matrix element of a process with the numbers of its subprocesses."""
    members: dict[int, tuple[MatrixElement, list[int]]] = {}
    for number, element in enumerate(process.matrix_elements):
        members.setdefault(id(element), (element, []))[1].append(number)
    return list(members.values())


def draw_points(
    source: CandidateSource, number: int, draw: str, seed: int, progress: ProgressCallback
) -> list[DrawnPoints]:
    """Draw points for each matrix element of a process.

    Candidates are drawn with the sampler, and points chosen among them without replacement: in proportion to the
    subprocesses' part of the weight, to that over |M|^2, or half of them each way, from candidates of their own. There
    are as many candidates as it takes for an effective sample size (Kish) of `CANDIDATES_FOR_A_POINT` for each point,
    so that few of them would be needed several times; such points are there once.

    Args:
        source: Draws candidates of the process.
        number: Points for each matrix element.
        draw: ``matrix-element``, ``phase-space`` or ``mixture``.
        seed: Of the run.
        progress: Told how large the smallest effective sample is.

    Raises:
        TrainingError: A matrix element is negative or no power of the strong coupling, or too few points count.
        mlgen.errors.ProcessError: No point counts.
    """
    process = source.process
    elements = distinct_elements(process)
    like_events = {"matrix-element": number, "phase-space": 0, "mixture": number // 2}[draw]
    parts: list[list[DrawnPoints]] = [[] for _ in elements]
    for flat, wanted in ((False, like_events), (True, number - like_events)):
        if wanted:
            for part, chosen in zip(parts, _drawn(source, elements, wanted, seed, progress, flat=flat), strict=True):
                part.append(chosen)
    drawn = []
    for k, (element, members) in enumerate(elements):
        rng = random_generator(seed, Work.DRAW_TRAINING_POINTS, 0, k)
        name = spell(process.subprocesses[members[0]])
        order = rng.permutation(number)
        points = DrawnPoints(
            np.concatenate([part.momenta for part in parts[k]])[order],
            np.concatenate([part.values for part in parts[k]])[order],
        )
        if np.any(points.values <= 0):
            raise TrainingError(
                f"{name}: |M|^2 is not positive at {np.count_nonzero(points.values <= 0):,} of {number:,} points; "
                "a surrogate learns its logarithm"
            )
        _check_coupling(process, element, points, name)
        drawn.append(points)
    return drawn


class _Unit(MatrixElement):
    """One everywhere: what is left of a weight is that of phase space."""

    def __init__(self, element: MatrixElement) -> None:
        self.color_flows = element.color_flows

    def evaluate(self, momenta: FloatArray, alpha_s: FloatArray) -> FloatArray:
        return np.ones(len(momenta))


class _Recorded(MatrixElement):
    """A matrix element that keeps what it gave last, so that no value is computed twice."""

    def __init__(self, element: MatrixElement) -> None:
        self._element = element
        self.color_flows = element.color_flows
        self.last = np.zeros(0)

    def evaluate(self, momenta: FloatArray, alpha_s: FloatArray) -> FloatArray:
        self.last = self._element.evaluate(momenta, alpha_s)
        return self.last


def _drawn(
    source: CandidateSource,
    elements: Sequence[tuple[MatrixElement, list[int]]],
    number: int,
    seed: int,
    progress: ProgressCallback,
    *,
    flat: bool,
) -> list[DrawnPoints]:
    """Draw points for each matrix element, like events or, with `flat`, like events of a constant |M|^2."""
    process = source.process
    power, _ = process.reaction.coupling_orders
    asked = [_Unit(element) if flat else _Recorded(element) for element, _ in elements]
    of_subprocess = {member: asked[k] for k, (_, members) in enumerate(elements) for member in members}
    drawing = source.with_matrix_elements([of_subprocess[k] for k in range(len(of_subprocess))])
    reservoirs = [PointReservoir(number, len(process.subprocesses[0].pdg_ids)) for _ in elements]
    batch = 0
    while True:
        rng = random_generator(seed, Work.DRAW_TRAINING_POINTS, 1, batch, int(flat))
        drawn = drawing.draw(_BATCH, rng)
        batch += 1
        points, weights = drawn.points, drawn.contributions()
        # Matrix elements are asked at the points inside the cuts; the others have no momenta.
        inside = np.flatnonzero(np.any(points.momenta != 0, axis=(1, 2)))
        for (element, members), one, reservoir in zip(elements, asked, reservoirs, strict=True):
            own = weights[:, members].sum(axis=1)
            places = np.flatnonzero(own)
            new, keys = reservoir.offered(np.abs(own[places]), rng)
            at = places[new]
            if isinstance(one, _Recorded):
                values = one.last[np.searchsorted(inside, at)] * (REFERENCE_ALPHA_S / points.alpha_s[at]) ** power
            else:
                values = _values(process, element, points.momenta[at])
            reservoir.keep(keys, points.momenta[at], values)
        size = min(reservoir.effective_size for reservoir in reservoirs)
        wanted = CANDIDATES_FOR_A_POINT * number
        progress(Progress(int(min(size, wanted)), wanted))
        full = all(reservoir.full for reservoir in reservoirs)
        if full and (size >= wanted or batch * _BATCH >= _MOST_CANDIDATES * number):
            return [DrawnPoints(reservoir.momenta, reservoir.values) for reservoir in reservoirs]
        if batch * _BATCH < POINTS_WITHOUT_ANY or full:
            continue
        if not any(reservoir.effective_size for reservoir in reservoirs):
            raise nothing_counts(source.counts, grid_range(process))
        if batch * _BATCH >= _MOST_CANDIDATES_IN_VAIN * number:
            raise _too_few(process, elements, reservoirs, batch * _BATCH)


def _values(process: HardProcess, element: MatrixElement, momenta: FloatArray) -> FloatArray:
    with source_errors(source_name(process.source)):
        return np.asarray(element.evaluate(momenta, np.full(len(momenta), REFERENCE_ALPHA_S)), np.float64)


def _too_few(
    process: HardProcess,
    elements: Sequence[tuple[MatrixElement, list[int]]],
    reservoirs: Sequence[PointReservoir],
    candidates: int,
) -> TrainingError:
    (_, members), reservoir = min(zip(elements, reservoirs, strict=True), key=lambda pair: len(pair[1].values))
    return TrainingError(
        f"{spell(process.subprocesses[members[0]])}: {reservoir.number:,} points are asked for, and "
        f"{len(reservoir.values):,} of {candidates:,} candidates count; ask for fewer ([amplitude] points, test_points)"
    )


def _check_coupling(process: HardProcess, element: MatrixElement, points: DrawnPoints, name: str) -> None:
    """A surrogate is scaled with a power of the coupling: make sure that the matrix element is."""
    power, _ = process.reaction.coupling_orders
    momenta, values = points.momenta[:_COUPLING_POINTS], points.values[:_COUPLING_POINTS]
    with source_errors(source_name(process.source)):
        for factor in (1, 2):
            found = np.asarray(element.evaluate(momenta, np.full(len(momenta), factor * REFERENCE_ALPHA_S)))
            if np.any(np.abs(found / values / factor**power - 1) > _COUPLING_TOLERANCE):
                raise TrainingError(
                    f"{name}: |M|^2 of {source_name(process.source)} does not grow with the power {power} of the "
                    "strong coupling; a surrogate of it would be wrong where the coupling runs"
                )
