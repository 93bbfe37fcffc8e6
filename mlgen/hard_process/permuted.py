"""A matrix element for particles in another order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mlgen.hard_process.matrix_element import ColorFlow, MatrixElement
from mlgen.stages import FloatArray


class Permuted(MatrixElement):
    """The matrix element of the same particles in another order.

    Args:
        matrix_element: The one that is there.
        permutation: For each of its particles, the slot of that particle in the order of the new one.
    """

    def __init__(self, matrix_element: MatrixElement, permutation: Sequence[int]) -> None:
        self.matrix_element = matrix_element
        self.permutation = np.asarray(permutation)
        # Position in the order that is there of each particle of the new one.
        inverse = np.argsort(self.permutation)
        self.color_flows = tuple(
            ColorFlow(
                tuple(flow.color[slot] for slot in inverse),
                tuple(flow.anticolor[slot] for slot in inverse),
            )
            for flow in matrix_element.color_flows
        )

    def evaluate(self, momenta: FloatArray, alpha_s: FloatArray) -> FloatArray:
        """Return |M|^2 (`mlgen.hard_process.matrix_element.MatrixElement.evaluate`)."""
        return self.matrix_element.evaluate(momenta[:, self.permutation], alpha_s)

    def color_flow_weights(self, momenta: FloatArray) -> FloatArray:
        """Return the probability of each colour flow, ``(n, flows)``."""
        return self.matrix_element.color_flow_weights(momenta[:, self.permutation])

    def draw_color_flows(self, momenta: FloatArray, uniform: FloatArray) -> npt.NDArray[np.intp]:
        """Return the number of a colour flow for each point, ``(n,)``."""
        return self.matrix_element.draw_color_flows(momenta[:, self.permutation], uniform)


def permuted(matrix_element: MatrixElement, permutation: Sequence[int]) -> MatrixElement:
    """Return a matrix element for another order of its particles; itself where the order is the same."""
    if list(permutation) == sorted(permutation):
        return matrix_element
    return Permuted(matrix_element, permutation)
