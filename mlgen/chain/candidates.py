"""Weighted points of a process, as a trained sampler draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlgen.chain.checks import check_channel_weights, check_points
from mlgen.chain.plan import PlannedStage
from mlgen.chain.spool import KeptCandidates
from mlgen.chain.stand_ins import TimedElement, replaced
from mlgen.chain.timing import Timer
from mlgen.plugin_errors import plugin_errors
from mlgen.stages import FloatArray, IntArray, PhaseSpaceSampler

if TYPE_CHECKING:
    from mlgen.hard_process.hard_process import HardProcess
    from mlgen.hard_process.integrand import HardPoints, PointCounts
    from mlgen.hard_process.matrix_element import MatrixElement


@dataclass(frozen=True, slots=True)
class CandidateBatch:
    """Points of a process with their weights.

    Args:
        x: Where they are in the hypercube, ``(n, d)``.
        points: The points themselves.
        channel: The channel that each was drawn for, ``(n,)``.
        factor: Channel weight over density, ``(n,)``; zero where the integrand is.
        weight: In pb, ``(n,)``: the mean over all points, zeros included, is the cross section.
    """

    x: FloatArray
    points: HardPoints
    channel: IntArray
    factor: FloatArray
    weight: FloatArray

    def contributions(self) -> FloatArray:
        """The part of each subprocess in the weights, in pb, ``(n, subprocesses)``."""
        return np.asarray(self.factor[:, np.newaxis] * self.points.subprocess_values)


class CandidateSource:
    """Draws points of a process.

    Args:
        process: The process.
        stage: The sampler's part of the plan.
        sampler: The trained sampler.
        timer: Where the time goes.
    """

    def __init__(
        self, process: HardProcess, stage: PlannedStage, sampler: PhaseSpaceSampler, timer: Timer | None = None
    ) -> None:
        self.process = process
        self._stage = stage
        self._sampler = sampler
        self._timer = timer or Timer()

    @property
    def sampler(self) -> str:
        """Name of the sampler's plugin."""
        return self._stage.name

    def with_matrix_elements(self, matrix_elements: Sequence[MatrixElement]) -> CandidateSource:
        """Return a source with other matrix elements, one for each subprocess, and the same sampler."""
        process = self.process.with_matrix_elements(matrix_elements)
        return CandidateSource(process, self._stage, self._sampler, self._timer)

    def timed(self, timer: Timer, work: str) -> CandidateSource:
        """Return the same source, whose time is taken.

        Args:
            timer: Where the time goes, as that of ``sampling`` and of ``mapping and densities``.
            work: What the evaluation of its matrix elements is called.
        """
        elements = replaced(self.process.matrix_elements, lambda element: TimedElement(element, timer, work))
        return CandidateSource(self.process.with_matrix_elements(elements), self._stage, self._sampler, timer)

    @property
    def counts(self) -> PointCounts:
        """Points evaluated so far, in the training too, and what was wrong with how many."""
        return self.process.integrand.counts

    def draw(self, n: int, rng: np.random.Generator) -> CandidateBatch:
        """Draw `n` points and evaluate them.

        Raises:
            mlgen.errors.PluginFailure: The sampler failed, or gave something that is not what its contract says.
        """
        integrand = self.process.integrand
        channels = len(integrand.channels)
        with self._timer("sampling"), plugin_errors(self._stage.registered):
            drawn = self._sampler.sample(n, rng)
            check_points(drawn, n, integrand.dimensions, channels)
        channel = np.asarray(drawn.channel)
        with self._timer("mapping and densities"):
            points = integrand.points(drawn.x, channel)
        # Where all is zero, nothing needs to be asked; a subprocess may be there though the sum vanishes.
        inside = np.flatnonzero(np.any(points.subprocess_values != 0, axis=1))
        factor = np.zeros(n)
        if len(inside):
            with self._timer("sampling"), plugin_errors(self._stage.registered):
                alpha = self._sampler.channel_weights(points.features[inside], points.prior[inside])
                check_channel_weights(alpha, len(inside), channels)
            factor[inside] = alpha[np.arange(len(inside)), channel[inside]] / drawn.density[inside]
        return CandidateBatch(drawn.x, points, channel, factor, factor * points.value)

    def again(self, x: FloatArray, channel: IntArray, factor: FloatArray) -> CandidateBatch:
        """Evaluate points that were drawn before, with the matrix elements of this source.

        Args:
            x: Where they are in the hypercube, ``(n, d)``.
            channel: The channel that each was drawn for, ``(n,)``.
            factor: Channel weight over density, ``(n,)``.
        """
        with self._timer("mapping and densities"):
            points = self.process.integrand.points(x, channel)
        return CandidateBatch(x, points, channel, factor, factor * points.value)

    def events(self, batch: CandidateBatch, uniform: FloatArray) -> KeptCandidates:
        """The points that can become events, each with a subprocess drawn in proportion to its contribution.

        Where contributions to a point have both signs, the weight is that of the subprocess that was drawn, so that
        the mean over many draws is right for each of them.

        Args:
            batch: The points.
            uniform: A uniform number for each, ``(n,)``.
        """
        subprocess, sign = self.process.draw_subprocesses(batch.points, uniform)
        weight = batch.weight * sign
        points = batch.points
        every = KeptCandidates(
            np.arange(len(weight)),
            weight,
            batch.channel,
            subprocess,
            points.momenta,
            points.factorisation_scale,
            points.alpha_s,
        )
        return every.at(np.flatnonzero(weight))
