"""|M|^2 of events: from matrix elements, prepared when a subprocess first appears, or from a trained surrogate."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mlgen.card import Card
from mlgen.chain.matrix_element_sources import check_source, named_source
from mlgen.chain.surrogate_amplitude import SurrogateAmplitude, check_surrogate
from mlgen.errors import ModelError, PluginError
from mlgen.hard_process.matrix_element import MatrixElement, MatrixElements
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.particles import particle_of
from mlgen.hard_process.reweighting_settings import AmplitudeChoice
from mlgen.hard_process.source_errors import MatrixElementFailure, source_errors, source_name
from mlgen.hard_process.subprocess import Subprocess
from mlgen.stages import FloatArray

BoolArray = npt.NDArray[np.bool_]


class EventAmplitude(Protocol):
    """|M|^2 of any subprocess that events show.

    Attributes:
        name: What it is called in messages and figures.
    """

    @property
    def name(self) -> str:
        """What it is called."""

    def masses(self, subprocess: Subprocess) -> tuple[float, ...]:
        """Return the mass of each particle in GeV, for which `evaluate` wants momenta; called before `prepare`.

        Raises:
            mlgen.errors.ProcessError: As `prepare`, where that is known already.
        """

    def prepare(self, subprocess: Subprocess) -> None:
        """Make ready for a subprocess; called before `evaluate`, and as often as a batch has such events.

        Raises:
            mlgen.errors.ProcessError: It does not have the subprocess; says what it has.
        """

    def evaluate(self, subprocess: Subprocess, momenta: FloatArray, alpha_s: FloatArray) -> FloatArray:
        """Return |M|^2, ``(n,)``, as `mlgen.hard_process.matrix_element.MatrixElement.evaluate` does.

        Args:
            subprocess: Incoming particles in the order of their beams, outgoing ones sorted by kind
                (`mlgen.chain.event_subprocesses.SubprocessEvents`).
            momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV, with `masses`.
            alpha_s: ``(n,)``.
        """

    def outside(self, subprocess: Subprocess, momenta: FloatArray) -> BoolArray:
        """Return which events are outside the region in which the values can be trusted, ``(n,)``.

        Raises:
            mlgen.amplitudes.element.OutsideError: One is, and that is to stop the run.
        """

    def fingerprint(self) -> dict[str, Any]:
        """What defines the values, for the provenance of outputs: JSON-able."""

    def remarks(self) -> tuple[str, ...]:
        """What a user should know of the values so far, in sentences."""


class MatrixElementAmplitude:
    """|M|^2 of events from a source of matrix elements.

    Args:
        source: The source.
        name: What it is called.
        parameters: Those of the model.
    """

    def __init__(self, source: MatrixElements, name: str, parameters: ModelParameters) -> None:
        self.name = name
        self._source, self._parameters = source, parameters
        self._prepared: dict[Subprocess, MatrixElement] = {}

    def masses(self, subprocess: Subprocess) -> tuple[float, ...]:
        """Return the mass of each particle in GeV.

        Raises:
            ProcessError: The model does not have one of them.
        """
        return tuple(self._parameters.mass_of(particle_of(pdg_id).pdg_id) for pdg_id in subprocess.pdg_ids)

    def prepare(self, subprocess: Subprocess) -> None:
        """Prepare the matrix element of a subprocess that has not been met before."""
        if subprocess in self._prepared:
            return
        called = source_name(self._source)
        with source_errors(called):
            elements = self._source.prepare([subprocess], self._parameters)
        if len(elements) != 1:
            raise MatrixElementFailure(
                f"matrix elements {called}: prepare gave {len(elements)} matrix elements for one subprocess"
            )
        self._prepared[subprocess] = elements[0]

    def evaluate(self, subprocess: Subprocess, momenta: FloatArray, alpha_s: FloatArray) -> FloatArray:
        """Return |M|^2, ``(n,)``, of a subprocess that is prepared."""
        called = source_name(self._source)
        with source_errors(called):
            squared = np.asarray(self._prepared[subprocess].evaluate(momenta, alpha_s))
        if squared.shape != alpha_s.shape or squared.dtype.kind not in "fiu":
            raise MatrixElementFailure(
                f"matrix elements {called}: evaluate gave an array of {squared.dtype} of the shape {squared.shape} for "
                f"{len(momenta)} points; real numbers of the shape {alpha_s.shape} are expected"
            )
        return np.asarray(squared, np.float64)

    def outside(self, subprocess: Subprocess, momenta: FloatArray) -> BoolArray:
        """None: a matrix element has no region of its own."""
        return np.zeros(len(momenta), np.bool_)

    def fingerprint(self) -> dict[str, Any]:
        """What the source says of itself, and the parameters."""
        with source_errors(source_name(self._source)):
            own: Mapping[str, str] = self._source.fingerprint()
        return {**own, "parameters": self._parameters.model_dump(mode="json")}

    def remarks(self) -> tuple[str, ...]:
        """Nothing: a matrix element has no region of its own."""
        return ()


def check_amplitude(choice: AmplitudeChoice, card: Card, *keys: str | int) -> None:
    """Check that an amplitude can be opened, before any work.

    Args:
        choice: What the card says.
        card: The card.
        keys: Where it says so.

    Raises:
        CardError: There is no source of matrix elements of that name, or it has no such settings.
        ModelError: There is no model of an amplitude in the folder.
    """
    if choice.program is not None:
        check_source(choice.program, choice.settings, card, *keys)
    else:
        with _placed(card, *keys):
            check_surrogate(card.path(str(choice.model)))


def opened_amplitude(choice: AmplitudeChoice, card: Card, *keys: str | int) -> EventAmplitude:
    """Open the amplitude that a card names; the arguments are those of `check_amplitude`.

    Raises:
        CardError: There is no source of matrix elements of that name, or it has no such settings.
        ModelError: The model cannot be used.
        PluginError: The model's plugin is not there.
        ProcessError: What the source needs is not installed.
        PluginFailure: The source failed.
    """
    if choice.program is not None:
        source = named_source(choice.program, choice.settings, card, *keys)
        return MatrixElementAmplitude(source, choice.program, choice.parameters or ModelParameters())
    with _placed(card, *keys):
        return SurrogateAmplitude(card.path(str(choice.model)), str(choice.model), choice.outside)


@contextlib.contextmanager
def _placed(card: Card, *keys: str | int) -> Iterator[None]:
    """Say where in the card the model is named that cannot be used."""
    try:
        yield
    except (ModelError, PluginError) as error:
        raise type(error)(f"{card.place(*keys, 'model')}: [reweighting] {keys[-1]}: {error}") from error
