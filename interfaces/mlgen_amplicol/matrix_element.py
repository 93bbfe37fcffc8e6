"""One matrix element of pyAmpliCol."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mlgen.hard_process.color_lines import color_flow, single_flow
from mlgen.hard_process.matrix_element import MatrixElement
from mlgen.hard_process.subprocess import Subprocess
from mlgen.stages import FloatArray
from mlgen_amplicol import library
from mlgen_amplicol.evaluation import evaluate
from mlgen_amplicol.flows import leading, strings_of
from mlgen_amplicol.model import REFERENCE_ALPHA_S


class AmplicolMatrixElement(MatrixElement):
    r"""A generated matrix element: :math:`|M|^2` in full colour, colour flows from the leading-colour amplitudes.

    Args:
        subprocess: Its particles.
        full_color: The artifact that gives its value.
        leading_color: The artifact that gives the weights of its colour flows; None where there is one flow.
        values: Parameters of the model, by pyAmpliCol's names.
        qcd_order: Power of the strong coupling in the amplitude: :math:`|M|^2 \propto \alpha_s` to that power.
        threads: How many may evaluate.
    """

    def __init__(
        self,
        subprocess: Subprocess,
        full_color: Path,
        leading_color: Path | None,
        values: Mapping[str, float],
        qcd_order: int,
        threads: int = 1,
    ) -> None:
        self.subprocess, self.qcd_order, self.threads = subprocess, qcd_order, threads
        self._full_color, self._leading_color, self._values = full_color, leading_color, dict(values)
        # An artifact that cannot be used is noticed now.
        library.runtime(full_color, self._values)
        ids = subprocess.pdg_ids
        self._flow_ids: list[str] = []
        if leading_color is None:
            strings = [single_flow(ids) or ()]
        else:
            flows = library.runtime(leading_color, self._values).physics.color_flows
            strings = [strings_of(ids, flow.word) for flow in flows]
            kept = leading(ids, strings) if qcd_order else range(len(strings))
            strings = [strings[number] for number in kept]
            self._flow_ids = [flows[number].id for number in kept]
        self.color_flows = tuple(color_flow(ids, each) for each in strings)

    def evaluate(self, momenta: FloatArray, alpha_s: FloatArray) -> FloatArray:
        """Return |M|^2 (`mlgen.hard_process.matrix_element.MatrixElement.evaluate`)."""
        value = evaluate(self._full_color, self._values, momenta, self.threads)
        return np.asarray(value * (np.asarray(alpha_s) / REFERENCE_ALPHA_S) ** self.qcd_order)

    def color_flow_weights(self, momenta: FloatArray) -> FloatArray:
        """Return the probability of each colour flow, ``(n, flows)``."""
        if self._leading_color is None or len(self.color_flows) == 1:
            return super().color_flow_weights(momenta)
        weights = np.stack(
            [
                evaluate(self._leading_color, self._values, momenta, self.threads, color_flows=[flow_id])
                for flow_id in self._flow_ids
            ],
            axis=-1,
        )
        total = weights.sum(axis=-1, keepdims=True)
        # Where all vanish, each is as good as another.
        uniform = np.full_like(weights, 1 / len(self._flow_ids))
        return np.asarray(np.divide(weights, total, out=uniform, where=total > 0))
