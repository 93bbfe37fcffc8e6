"""One matrix element of a UMAMI library."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.errors import MlgenError, ProcessError
from mlgen.hard_process.diagrams import spell
from mlgen.hard_process.matrix_element import ColorFlow, MatrixElement
from mlgen.hard_process.subprocess import Subprocess
from mlgen.stages import FloatArray

#: (px, py, pz, energy) as (energy, px, py, pz).
_ENERGY_FIRST = [3, 0, 1, 2]
#: What a library says that does not know of flavours.
_UNSUPPORTED_INPUT = "unsupported input key"


class UmamiMatrixElement(MatrixElement):
    """A matrix element that is called through `madspace.MatrixElementApi`.

    Args:
        subprocess: Its particles.
        library: The file.
        parameter_card: Handed to the library.
        flavor: Number of the flavours among those of the library; None where it has one set only.
        color_flows: By the library's colour index.

    Raises:
        ProcessError: The library cannot be loaded, or is for another number of particles.
    """

    def __init__(
        self,
        subprocess: Subprocess,
        library: Path,
        parameter_card: Path,
        flavor: int | None,
        color_flows: tuple[ColorFlow, ...],
    ) -> None:
        self.subprocess, self.library, self.flavor, self.color_flows = subprocess, library, flavor, color_flows
        # What the libraries were given is read once: a card that was written anew is another one.
        card = parameter_card.resolve()
        self._card = str(card), card.stat().st_mtime_ns
        try:
            self._api = _context(*self._card).load_matrix_element(str(library.resolve()), str(card))
            particles = self._api.particle_count()
        except RuntimeError as error:
            raise ProcessError(
                f"the UMAMI library '{library}' cannot be used with the parameter card '{parameter_card}': {error}"
            ) from error
        if particles != len(subprocess.pdg_ids):
            raise ProcessError(
                f"the UMAMI library '{library}' is for {particles} particles, "
                f"but {spell(subprocess)} has {len(subprocess.pdg_ids)}"
            )

    def evaluate(self, momenta: FloatArray, alpha_s: FloatArray) -> FloatArray:
        """Return |M|^2 (`mlgen.hard_process.matrix_element.MatrixElement.evaluate`)."""
        strong = np.broadcast_to(np.asarray(alpha_s, dtype=float), (len(momenta),))
        (value,) = self._call(("momenta_in", "alpha_s_in"), "matrix_element_out", momenta, strong)
        return np.asarray(value, dtype=float)

    def draw_color_flows(self, momenta: FloatArray, uniform: FloatArray) -> npt.NDArray[np.intp]:
        """Return the number of a colour flow for each point, ``(n,)``, drawn by the library."""
        if len(self.color_flows) == 1:
            return np.zeros(len(momenta), dtype=np.intp)
        inputs = ("momenta_in", "alpha_s_in", "random_color_in")
        any_coupling = np.full(len(momenta), 0.118)
        (index,) = self._call(inputs, "color_index_out", momenta, any_coupling, np.ascontiguousarray(uniform))
        return np.asarray(index, dtype=np.intp)

    def _call(self, inputs: tuple[str, ...], output: str, momenta: FloatArray, *others: FloatArray) -> tuple[Any, ...]:
        ordered = np.ascontiguousarray(np.asarray(momenta, dtype=float)[..., _ENERGY_FIRST])
        if not len(ordered):
            return (np.zeros(0),)
        arguments = [ordered, *(np.ascontiguousarray(other) for other in others)]
        try:
            try:
                flavor = np.full(len(ordered), self.flavor or 0, dtype=np.int32)
                result = self._function((*inputs, "flavor_in"), output)(*arguments, flavor)
            except RuntimeError as error:
                # The number of the only flavours need not be said.
                if self.flavor or _UNSUPPORTED_INPUT not in str(error):
                    raise
                result = self._function(inputs, output)(*arguments)
        except RuntimeError as error:
            raise MlgenError(f"{spell(self.subprocess)}: {error}") from error
        return (np.asarray(result.numpy() if hasattr(result, "numpy") else result),)

    def _function(self, inputs: tuple[str, ...], output: str) -> Any:
        return _compiled(self._card, self._api.index(), self._api.particle_count(), inputs, output)


@functools.cache
def _context(card: str, changed: int) -> Any:
    """The libraries that were given a parameter card: madspace has one instance of a library for all of a context."""
    import madspace

    return madspace.Context(1)


@functools.cache
def _compiled(card: tuple[str, int], index: int, particles: int, inputs: tuple[str, ...], output: str) -> Any:
    import madspace

    function = madspace.MatrixElement(
        index,
        particles,
        [getattr(madspace.MatrixElement.MatrixElementInput, name) for name in inputs],
        [getattr(madspace.MatrixElement.MatrixElementOutput, output)],
        1,
        False,
    ).function()
    return madspace.FunctionRuntime(function, _context(*card))
