"""What stands in for a matrix element: to take its time, or to leave it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from mlgen.chain.timing import Timer
from mlgen.hard_process.matrix_element import MatrixElement
from mlgen.stages import FloatArray


class StandIn(MatrixElement):
    """Something else in the place of a matrix element, with its colour flows.

    Args:
        element: The matrix element.
    """

    def __init__(self, element: MatrixElement) -> None:
        self.element = element
        self.color_flows = element.color_flows

    def draw_color_flows(self, momenta: FloatArray, uniform: FloatArray) -> npt.NDArray[np.intp]:
        """Return the number of a colour flow for each point, ``(n,)``."""
        return self.element.draw_color_flows(momenta, uniform)


class UnitElement(StandIn):
    """|M|^2 = 1: what is left of a weight is phase space and luminosity."""

    def evaluate(self, momenta: FloatArray, alpha_s: FloatArray) -> FloatArray:
        """Return one for each point, ``(n,)``."""
        return np.ones(len(momenta))


class TimedElement(StandIn):
    """The matrix element itself, whose evaluations are timed.

    Args:
        element: The matrix element.
        timer: Where the time goes.
        work: What the work is called.
    """

    def __init__(self, element: MatrixElement, timer: Timer, work: str) -> None:
        super().__init__(element)
        self._timer, self._work = timer, work

    def evaluate(self, momenta: FloatArray, alpha_s: FloatArray) -> FloatArray:
        """Return |M|^2, ``(n,)``."""
        with self._timer(self._work):
            return self.element.evaluate(momenta, alpha_s)


def replaced(elements: Sequence[MatrixElement], stand_in: Callable[[MatrixElement], StandIn]) -> list[MatrixElement]:
    """Return what stands in for each matrix element; one object where there was one."""
    distinct = {id(element): stand_in(element) for element in elements}
    return [distinct[id(element)] for element in elements]
