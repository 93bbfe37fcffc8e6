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
from mlgen.chain.process_source import grid_range
from mlgen.errors import TrainingError
from mlgen.hard_process.diagrams import spell
from mlgen.hard_process.matrix_element import MatrixElement
from mlgen.hard_process.source_errors import source_errors, source_name
from mlgen.seeds import Work, random_generator
from mlgen.stages import FloatArray, IntArray, Progress, ProgressCallback

if TYPE_CHECKING:
    from mlgen.hard_process.hard_process import HardProcess

#: Candidates for each point that is chosen among them.
CANDIDATES_FOR_A_POINT = 3
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

    Candidates are drawn with the sampler, `CANDIDATES_FOR_A_POINT` for each point, and points chosen among those that
    count, without replacement: in proportion to the subprocesses' part of the weight, to that over |M|^2, or half of
    them each way. As the sampler already follows the weight, few candidates would be needed several times; such points
    are there once.

    Args:
        source: Draws candidates of the process.
        number: Points for each matrix element.
        draw: ``matrix-element``, ``phase-space`` or ``mixture``.
        seed: Of the run.
        progress: Told how many candidates there are.

    Raises:
        TrainingError: A matrix element is negative or no power of the strong coupling, or too few points count.
        mlgen.errors.ProcessError: No point counts.
    """
    process = source.process
    elements = distinct_elements(process)
    candidates = _candidates(source, elements, number * CANDIDATES_FOR_A_POINT, seed, progress)
    drawn = []
    for k, (element, members) in enumerate(elements):
        rng = random_generator(seed, Work.DRAW_TRAINING_POINTS, 0, k)
        name = spell(process.subprocesses[members[0]])
        possible = np.flatnonzero(candidates.contributions[:, k] != 0)
        size, squared = np.abs(candidates.contributions[possible, k]), candidates.values[possible, k]
        if len(possible) < number:
            raise TrainingError(
                f"{name}: {number:,} points are asked for, and {len(possible):,} of {len(candidates.momenta):,} "
                "candidates count; ask for fewer ([amplitude] points, test_points)"
            )
        if np.any(squared <= 0):
            raise TrainingError(
                f"{name}: |M|^2 is not positive at {np.count_nonzero(squared <= 0):,} of {len(possible):,} candidates; "
                "a surrogate learns its logarithm"
            )
        chosen = possible[_chosen(size, size / squared, number, draw, rng)]
        points = DrawnPoints(candidates.momenta[chosen], candidates.values[chosen, k])
        _check_coupling(process, element, points, name)
        drawn.append(points)
    return drawn


class _Recorded(MatrixElement):
    """A matrix element that keeps what it gave last, so that no value is computed twice."""

    def __init__(self, element: MatrixElement) -> None:
        self._element = element
        self.color_flows = element.color_flows
        self.last = np.zeros(0)

    def evaluate(self, momenta: FloatArray, alpha_s: FloatArray) -> FloatArray:
        self.last = self._element.evaluate(momenta, alpha_s)
        return self.last


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Candidates that count.

    Args:
        momenta: ``(n, particles, 4)``.
        contributions: The part of each matrix element in the weights, in pb, ``(n, elements)``.
        values: |M|^2 of each at the reference coupling, ``(n, elements)``.
    """

    momenta: FloatArray
    contributions: FloatArray
    values: FloatArray


def _candidates(
    source: CandidateSource,
    elements: Sequence[tuple[MatrixElement, list[int]]],
    number: int,
    seed: int,
    progress: ProgressCallback,
) -> _Candidates:
    power, _ = source.process.reaction.coupling_orders
    recorded = [_Recorded(element) for element, _ in elements]
    of_subprocess = {member: recorded[k] for k, (_, members) in enumerate(elements) for member in members}
    recording = source.with_matrix_elements([of_subprocess[k] for k in range(len(of_subprocess))])
    parts: list[tuple[FloatArray, FloatArray, FloatArray]] = []
    kept, batch = 0, 0
    while kept < number:
        drawn = recording.draw(_BATCH, random_generator(seed, Work.DRAW_TRAINING_POINTS, 1, batch))
        batch += 1
        points, weights = drawn.points, drawn.contributions()
        own = np.stack([weights[:, members].sum(axis=1) for _, members in elements], axis=1)
        # Matrix elements are asked at the points inside the cuts; the others have no momenta.
        inside = np.flatnonzero(np.any(points.momenta != 0, axis=(1, 2)))
        values = np.zeros_like(own)
        for k, element in enumerate(recorded):
            values[inside, k] = element.last * (REFERENCE_ALPHA_S / points.alpha_s[inside]) ** power
        counts = np.flatnonzero(np.any(own != 0, axis=1))
        parts.append((points.momenta[counts], own[counts], values[counts]))
        kept += len(counts)
        progress(Progress(min(kept, number), number))
        if not kept and batch * _BATCH >= POINTS_WITHOUT_ANY:
            raise nothing_counts(source.counts, grid_range(source.process))
    return _Candidates(*(np.concatenate(each)[:number] for each in zip(*parts, strict=True)))


def _chosen(size: FloatArray, flat: FloatArray, number: int, draw: str, rng: np.random.Generator) -> IntArray:
    """Choose candidates without replacement, in random order."""
    if draw == "mixture":
        first = _in_proportion(size, number // 2, rng)
        left = flat.copy()
        left[first] = 0.0
        chosen = np.concatenate([first, _in_proportion(left, number - len(first), rng)])
    else:
        chosen = _in_proportion(size if draw == "matrix-element" else flat, number, rng)
    return np.asarray(rng.permutation(chosen))


def _in_proportion(weight: FloatArray, number: int, rng: np.random.Generator) -> IntArray:
    """Places that are drawn one after the other in proportion to the weights of those that are left.

    References:
        Efraimidis and Spirakis, Inf. Process. Lett. 97, 181 (2006).
    """
    with np.errstate(divide="ignore"):
        keys = rng.exponential(size=len(weight)) / weight
    return np.asarray(np.argpartition(keys, number - 1)[:number] if number < len(weight) else np.arange(len(weight)))


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
