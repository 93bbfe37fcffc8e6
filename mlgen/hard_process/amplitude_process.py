"""What an amplitude belongs to, from a subprocess and the parameters of the model."""

from __future__ import annotations

from mlgen.hard_process.diagrams import cubic_diagrams
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.subprocess import Subprocess
from mlgen.stages import AmplitudeProcess, InnerLine


def amplitude_process(subprocess: Subprocess, parameters: ModelParameters) -> AmplitudeProcess:
    """Return particles, masses and the lines of all diagrams at lowest order; none where the model has no diagram.

    Only lines that decay into outgoing particles have a width: in the t-channel nothing is resonant.
    """
    lines = {
        InnerLine(
            tuple(sorted(line.legs)),
            parameters.mass_of(line.pdg_id),
            parameters.width_of(line.pdg_id) if line.is_s_channel else 0.0,
        ): None
        for diagram in cubic_diagrams(subprocess, parameters)
        for line in diagram.propagators
    }
    masses = tuple(parameters.mass_of(pdg_id) for pdg_id in subprocess.pdg_ids)
    return AmplitudeProcess(subprocess.pdg_ids, masses, tuple(lines))
