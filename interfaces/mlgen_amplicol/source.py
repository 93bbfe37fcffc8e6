"""pyAmpliCol as a source of matrix elements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlgen.errors import ProcessError
from mlgen.hard_process.color_lines import single_flow
from mlgen.hard_process.diagrams import coupling_orders, spell
from mlgen.hard_process.matrix_element import MatrixElement, MatrixElements
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.permuted import permuted
from mlgen.hard_process.subprocess import Subprocess
from mlgen_amplicol import library
from mlgen_amplicol.evaluation import available_cores
from mlgen_amplicol.generation import Request, default_cache, generated
from mlgen_amplicol.matrix_element import AmplicolMatrixElement
from mlgen_amplicol.model import MODEL, model_values, restriction
from mlgen_amplicol.settings import AmplicolSettings
from mlgen_amplicol.symmetry import representative


class AmplicolMatrixElements(MatrixElements):
    """Matrix elements that pyAmpliCol generates."""

    settings: AmplicolSettings

    def prepare(self, subprocesses: Sequence[Subprocess], parameters: ModelParameters) -> list[MatrixElement]:
        """Return the matrix element of each subprocess, generated now where it is not in the cache.

        Equal ones are one object.

        Raises:
            ProcessError: pyAmpliCol is not installed, its model lacks something, or it cannot generate one.
        """
        library.version()
        made: dict[Subprocess, AmplicolMatrixElement] = {}
        in_order: dict[tuple[Subprocess, tuple[int, ...]], MatrixElement] = {}
        found = []
        for subprocess in subprocesses:
            orders = coupling_orders(subprocess, parameters)
            if orders is None:
                raise ProcessError(f"the model has no tree diagram of {spell(subprocess)}")
            masses = restriction(subprocess, parameters)
            stands_for = representative(subprocess, parameters, orders[1])
            if stands_for.subprocess not in made:
                made[stands_for.subprocess] = self._make(stands_for.subprocess, orders, masses, parameters)
            key = stands_for.subprocess, stands_for.permutation
            if key not in in_order:
                in_order[key] = permuted(made[stands_for.subprocess], stands_for.permutation)
            found.append(in_order[key])
        return found

    def fingerprint(self) -> dict[str, str]:
        """Program, version and options."""
        return {"program": "amplicol", "version": library.version(), "color": "full"}

    def _make(
        self, subprocess: Subprocess, orders: tuple[int, int], masses: str, parameters: ModelParameters
    ) -> AmplicolMatrixElement:
        cache = Path(self.settings.cache).expanduser() if self.settings.cache else default_cache()

        def artifact(color: str) -> Path:
            request = Request(spell(subprocess), orders, color, MODEL, masses, self.settings.execution)
            return generated(request, cache, self.settings.wait)

        one_flow = single_flow(subprocess.pdg_ids) is not None
        return AmplicolMatrixElement(
            subprocess,
            artifact("full"),
            None if one_flow else artifact("lc"),
            model_values(parameters),
            orders[0],
            self.settings.threads or available_cores(),
        )
