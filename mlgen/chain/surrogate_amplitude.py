"""|M|^2 of events from a trained surrogate of an amplitude."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt

from mlgen.hard_process.diagrams import spell
from mlgen.hard_process.subprocess import Subprocess
from mlgen.stages import FloatArray
from mlgen.store import StoredModel

if TYPE_CHECKING:
    from mlgen.amplitudes.model import AmplitudeModel


class SurrogateAmplitude:
    """|M|^2 of events from the model that ``[amplitude]`` trained.

    Args:
        folder: Of the model.
        name: What it is called: as the card says it.
        outside: Whether events outside the region of the training stop the run, or are only told.

    Raises:
        ModelError: There is no model, it is damaged, or is none of an amplitude.
        PluginError: Its plugin is not there.
    """

    def __init__(self, folder: Path, name: str, outside: Literal["flag", "stop"]) -> None:
        from mlgen.amplitudes.loading import stored_amplitude

        self.name = name
        self._stored: StoredModel = stored_amplitude(folder)
        self._model = cast("AmplitudeModel", self._stored.implementation)
        self._stops = outside == "stop"
        self._asked = self._outside = 0

    def masses(self, subprocess: Subprocess) -> tuple[float, ...]:
        """Return the mass of each particle in GeV, as in the training.

        Raises:
            ProcessError: It was not trained for the subprocess; says for which.
        """
        part, order = self._model.find(subprocess.pdg_ids)
        masses = np.empty(len(order))
        masses[order] = part.process.masses
        return tuple(masses.tolist())

    def prepare(self, subprocess: Subprocess) -> None:
        """Nothing is to be prepared."""

    def evaluate(self, subprocess: Subprocess, momenta: FloatArray, alpha_s: FloatArray) -> FloatArray:
        """Return |M|^2, ``(n,)``; outside the region of the training it is extrapolated."""
        part, order = self._model.find(subprocess.pdg_ids)
        return part.predict(np.ascontiguousarray(momenta[:, order]), alpha_s).value

    def outside(self, subprocess: Subprocess, momenta: FloatArray) -> npt.NDArray[np.bool_]:
        """Return which events are outside the region of the training, ``(n,)``, and count them.

        Raises:
            mlgen.amplitudes.element.OutsideError: One is, and that is to stop the run; says what is farthest outside.
        """
        part, order = self._model.find(subprocess.pdg_ids)
        ordered = np.ascontiguousarray(momenta[:, order])
        outside = part.domain.outside(ordered)
        self._asked += len(ordered)
        self._outside += int(np.count_nonzero(outside))
        if self._stops and outside.any():
            from mlgen.amplitudes.element import OutsideError

            first = int(np.flatnonzero(outside)[0])
            raise OutsideError(
                f"{np.count_nonzero(outside):,} of {len(outside):,} events of {spell(subprocess)} are outside the "
                f"region that the surrogate {self.name} was trained in; of the first of them, "
                f"{part.domain.reason(ordered[first])}\n"
                'Train it with points from there, or take it all the same: outside = "flag" beside its model'
            )
        return outside

    def fingerprint(self) -> dict[str, Any]:
        """The model and what it was trained on."""
        record = self._stored.record
        return {
            "model": self.name,
            "model_sha256": self._stored.sha256,
            "plugin": record.plugin,
            "version": record.version,
            "trained_on": record.trained_on.source,
            "trained_on_sha256": record.trained_on.sha256,
        }

    def remarks(self) -> tuple[str, ...]:
        """How many events are outside the region of the training."""
        if not self._outside:
            return ()
        return (
            f"{self._outside:,} of {self._asked:,} events are outside the region that the surrogate {self.name} was "
            "trained in, where it extrapolates",
        )


def check_surrogate(folder: Path) -> None:
    """Check that a folder holds the model of an amplitude, whose plugin is there.

    Raises:
        ModelError: It does not.
        PluginError: Its plugin is not there.
    """
    from mlgen.amplitudes.loading import amplitude_record

    amplitude_record(folder)
