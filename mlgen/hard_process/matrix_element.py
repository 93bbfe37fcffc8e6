"""The contract of matrix elements: what `mlgen_matrix_elements` offers are classes that implement `MatrixElements`."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlgen.hard_process.drawing import drawn_columns
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.subprocess import Subprocess
from mlgen.stages import FloatArray, Settings


@dataclass(frozen=True, slots=True)
class ColorFlow:
    """Colour lines of one event: the numbers ICOLUP(1) and ICOLUP(2) of each particle.

    Args:
        color: Colour line of each particle, incoming ones first, 0 for none, counted from 501.
        anticolor: Anticolour line, likewise.

    References:
        Boos et al., hep-ph/0109068, section 3.
    """

    color: tuple[int, ...]
    anticolor: tuple[int, ...]


class MatrixElement(abc.ABC):
    """|M|^2 of one subprocess.

    Subprocesses whose |M|^2 is the same function of the momenta (``u u~`` and ``c c~`` into the same) should be given
    the same object: it is evaluated once at each point.

    Attributes:
        color_flows: The leading-colour flows; one without lines where nothing is coloured.
    """

    color_flows: tuple[ColorFlow, ...]

    @abc.abstractmethod
    def evaluate(self, momenta: FloatArray, alpha_s: FloatArray) -> FloatArray:
        """Return |M|^2, ``(n,)``.

        Summed over helicities and colours of the outgoing, averaged over those of the incoming particles, with the
        factor for identical outgoing particles. Points are independent of each other.

        Args:
            momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV, incoming ones first, with positive
                energy, in the order of the subprocess.
            alpha_s: Strong coupling at each point, ``(n,)``.
        """

    def color_flow_weights(self, momenta: FloatArray) -> FloatArray:
        """Return the probability of each colour flow, ``(n, flows)``, each row summing to one.

        Proportional to the squared leading-colour partial amplitudes, summed over helicities. A source that draws flows
        by itself (`draw_color_flows`) need not know them.

        Raises:
            NotImplementedError: There are several flows, and this source does not say how likely they are.
        """
        if len(self.color_flows) != 1:
            # Not abstract: most matrix elements have one flow, or are given this method.
            raise NotImplementedError(f"{type(self).__name__} does not say how likely its colour flows are")
        return np.ones((len(momenta), 1))

    def draw_color_flows(self, momenta: FloatArray, uniform: FloatArray) -> npt.NDArray[np.intp]:
        """Return the number of a colour flow for each point, ``(n,)``, in proportion to `color_flow_weights`.

        Args:
            momenta: As for `evaluate`.
            uniform: A uniform number for each point, ``(n,)``.
        """
        return drawn_columns(self.color_flow_weights(momenta), uniform)


class MatrixElements(abc.ABC):
    """A source of matrix elements, made with its settings.

    Attributes:
        settings: What it was made with.
        registered_as: Name and package of the tool that it was made from, for messages; the host sets it.
    """

    registered_as: str = ""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abc.abstractmethod
    def prepare(self, subprocesses: Sequence[Subprocess], parameters: ModelParameters) -> list[MatrixElement]:
        """Return the matrix element of each subprocess, at lowest order.

        Raises:
            mlgen.errors.ProcessError: This source does not have one of them; says which and what it has.
        """

    @abc.abstractmethod
    def fingerprint(self) -> dict[str, str]:
        """What defines the values, beyond subprocesses and parameters: program, version, options, library digest.

        A model that was trained with one is refused with another.
        """
