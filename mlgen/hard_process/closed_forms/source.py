"""The closed forms as a source of matrix elements."""

from __future__ import annotations

from collections.abc import Sequence

import mlgen
from mlgen.errors import ProcessError
from mlgen.hard_process.closed_forms import REACTIONS, ClosedForm, closed_form
from mlgen.hard_process.diagrams import spell
from mlgen.hard_process.matrix_element import MatrixElement, MatrixElements
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.particles import particle_of
from mlgen.hard_process.subprocess import Subprocess


class ClosedForms(MatrixElements):
    """Matrix elements in closed form (`mlgen.hard_process.closed_forms`)."""

    def prepare(self, subprocesses: Sequence[Subprocess], parameters: ModelParameters) -> list[MatrixElement]:
        """Return the matrix element of each subprocess; equal ones are one object.

        Raises:
            ProcessError: There is no closed form of one; says which, and what there is.
        """
        known: dict[ClosedForm, MatrixElement] = {}
        found: list[MatrixElement] = []
        for subprocess in subprocesses:
            form = closed_form(subprocess, parameters)
            if form is None:
                raise ProcessError(_absent(subprocess, parameters))
            found.append(known.setdefault(form, form))
        return found

    def fingerprint(self) -> dict[str, str]:
        """Program and version."""
        return {"program": "closed-form", "version": mlgen.__version__}


def _absent(subprocess: Subprocess, parameters: ModelParameters) -> str:
    heavy = sorted(
        {
            f"{particle_of(i).name} ({parameters.mass_of(i):g} GeV)"
            for i in subprocess.pdg_ids
            if particle_of(i).two_spin == 1 and parameters.mass_of(i) > 0 and abs(i) != 6
        }
    )
    hint = f"\nMost of them have massless fermions only; here are {', '.join(heavy)}" if heavy else ""
    return f"there is no closed form of the matrix element of {spell(subprocess)}; there is one of {REACTIONS}{hint}"
