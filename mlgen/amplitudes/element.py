"""A surrogate in the place of a matrix element, and what becomes of points outside the region it was trained in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mlgen.amplitudes.model import AmplitudePart
from mlgen.errors import UserError
from mlgen.hard_process.diagrams import spell
from mlgen.hard_process.matrix_element import MatrixElement
from mlgen.hard_process.subprocess import Subprocess
from mlgen.stages import FloatArray

#: What is done with a point outside: the true matrix element, the surrogate all the same and a mark, or an error.
Outside = Literal["matrix-element", "flag", "stop"]


class OutsideError(UserError):
    """A surrogate was asked outside the region that it was trained in, and is not to answer there."""


@dataclass(slots=True)
class GuardCounts:
    """Points that surrogates were asked for; those of them that lay outside the region of the training; and those for
    which a surrogate had no positive number.
    """

    asked: int = 0
    outside: int = 0
    unusable: int = 0

    def clear(self) -> None:
        """Begin to count anew."""
        self.asked = self.outside = self.unusable = 0


class SurrogateElement(MatrixElement):
    """|M|^2 of a surrogate, with the colour flows of the matrix element that it stands for.

    Args:
        exact: The true matrix element.
        part: The surrogate.
        order: For each of its particles, the slot of that particle in the matrix element.
        outside: What is done with points outside the region of its training.
        counts: Where points are counted.
    """

    def __init__(
        self, exact: MatrixElement, part: AmplitudePart, order: Sequence[int], outside: Outside, counts: GuardCounts
    ) -> None:
        self.exact, self.part, self.outside = exact, part, outside
        self.color_flows = exact.color_flows
        self._order = list(order)
        self._in_order = self._order == sorted(self._order)
        self._counts = counts

    def evaluate(self, momenta: FloatArray, alpha_s: FloatArray) -> FloatArray:
        """Return |M|^2, ``(n,)``; see `mlgen.hard_process.matrix_element.MatrixElement.evaluate`.

        Raises:
            OutsideError: A point is outside, and that is to stop the run.
        """
        ordered = self._ordered(momenta)
        outside = self.part.domain.outside(ordered)
        self._counts.asked += len(momenta)
        self._counts.outside += int(np.count_nonzero(outside))
        if self.outside == "stop" and outside.any():
            raise self._refusal(ordered, outside)
        exact = outside if self.outside == "matrix-element" else np.zeros(len(momenta), bool)
        values = np.empty(len(momenta))
        values[~exact] = self.part.predict(ordered[~exact] if exact.any() else ordered, alpha_s[~exact]).value
        unusable = ~exact & ~_usable(values)
        self._counts.unusable += int(np.count_nonzero(unusable))
        exact = exact | unusable
        if exact.any():
            values[exact] = self.exact.evaluate(np.ascontiguousarray(momenta[exact]), alpha_s[exact])
        return values

    def relative_error(self, momenta: FloatArray) -> FloatArray:
        """Return the standard deviation of |M|^2 that the surrogate claims, relative to it, ``(n,)``.

        Systematic and statistical one together; zero where the true matrix element is taken.

        Args:
            momenta: ``(n, particles, 4)``.
        """
        ordered = self._ordered(momenta)
        predicted = self.part.predict(ordered, np.full(len(momenta), self.part.alpha_s))
        asked = _usable(predicted.value)
        if self.outside == "matrix-element":
            asked &= ~self.part.domain.outside(ordered)
        error = np.hypot(predicted.systematic, predicted.statistical)
        return np.divide(error, predicted.value, out=np.zeros(len(momenta)), where=asked & np.isfinite(error))

    def draw_color_flows(self, momenta: FloatArray, uniform: FloatArray) -> npt.NDArray[np.intp]:
        """Return the number of a colour flow for each point, ``(n,)``, as the true matrix element draws them."""
        return self.exact.draw_color_flows(momenta, uniform)

    def variations(self, momenta: FloatArray, prefix: str) -> Mapping[str, FloatArray]:
        """Return factors of the weight for the surrogate's uncertainty, by name, each ``(n,)``.

        Args:
            momenta: ``(n, particles, 4)``.
            prefix: Begin of the names: with ``mlgen.bnn`` they are ``mlgen.bnn.syst.up``, ``mlgen.bnn.stat.1``, ...

        Returns:
            ``syst.up`` and ``syst.down``, one systematic standard deviation up and down; ``stat.k``, the k-th sampled
            network; and where points outside are flagged, ``inside``: zero outside, so that what is filled with it
            is the part inside. One where the true matrix element was taken.
        """
        ordered = self._ordered(momenta)
        alpha_s = np.full(len(momenta), self.part.alpha_s)
        predicted = self.part.predict(ordered, alpha_s)
        outside = self.part.domain.outside(ordered)
        asked = _usable(predicted.value)
        if self.outside == "matrix-element":
            asked &= ~outside
        relative = np.divide(predicted.systematic, predicted.value, out=np.zeros(len(momenta)), where=asked)
        members = self.part.predict_members(ordered, alpha_s)
        ratios = np.divide(members, predicted.value[:, None], out=np.ones_like(members), where=asked[:, None])
        factors = {f"{prefix}.syst.up": 1 + relative, f"{prefix}.syst.down": 1 - relative}
        factors |= {f"{prefix}.stat.{k}": column for k, column in enumerate(ratios.T, start=1)}
        if self.outside == "flag":
            factors[f"{prefix}.inside"] = (~outside).astype(np.float64)
        return factors

    def _ordered(self, momenta: FloatArray) -> FloatArray:
        return momenta if self._in_order else np.asarray(momenta[:, self._order])

    def _refusal(self, momenta: FloatArray, outside: npt.NDArray[np.bool_]) -> OutsideError:
        first, *_ = np.flatnonzero(outside)
        return OutsideError(
            f"the surrogate of {spell(Subprocess.of(self.part.process.pdg_ids))} is asked outside the region "
            f"that it was trained in, at {np.count_nonzero(outside):,} of {len(momenta):,} points; at the first of "
            f"them, {self.part.domain.reason(momenta[first])}\n"
            "Train it with points from there, or say what to do with such points: [amplitude] outside = "
            '"matrix-element" or "flag"'
        )


def _usable(values: FloatArray) -> npt.NDArray[np.bool_]:
    """Which predictions of |M|^2 can be a weight, ``(n,)``.

    A weight of zero would never become an event, and one that is no number is none: neither is for a surrogate to say.
    """
    return np.isfinite(values) & (values > 0)


def variation_names(prefix: str, members: int, outside: Outside) -> tuple[str, ...]:
    """Return the names of `SurrogateElement.variations`, in order."""
    names = [f"{prefix}.syst.up", f"{prefix}.syst.down", *(f"{prefix}.stat.{k}" for k in range(1, members + 1))]
    return (*names, f"{prefix}.inside") if outside == "flag" else tuple(names)
