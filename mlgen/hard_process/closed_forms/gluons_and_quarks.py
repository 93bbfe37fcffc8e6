"""Two gluons and a quark-antiquark pair, massless or heavy: ``g g > q q~`` and its crossings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlgen.hard_process.closed_forms.closed_form import ClosedForm, Invariants, average_factor, flows
from mlgen.hard_process.color_lines import outgoing_colors
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.subprocess import Subprocess
from mlgen.stages import FloatArray

#: Colours and helicities of two gluons.
_GLUON_STATES = 256


@dataclass(frozen=True)
class GluonsAndQuarks(ClosedForm):
    r"""Two gluons, a quark and an antiquark of mass m.

    .. math:: \overline{|M|^2}(g g \to Q \bar Q) = g_s^4 \left(\frac{1}{6 \tau_1 \tau_2} - \frac38\right)
              \left(\tau_1^2 + \tau_2^2 + \rho - \frac{\rho^2}{4 \tau_1 \tau_2}\right)

    with :math:`\tau_i = 2 p_i \cdot p_Q / \hat s` and :math:`\rho = 4 m^2 / \hat s`. The two flows connect the quark
    with the first or with the second gluon; their squared partial amplitudes are in the ratio
    :math:`\tau_2^2 : \tau_1^2`.

    References:
        Combridge, Nucl. Phys. B151 (1979) 429; Ellis, Stirling and Webber, QCD and Collider Physics, tables 7.1, 10.2.
    """

    gluons: tuple[int, int]
    quarks: tuple[int, int]
    mass: float

    def summed(self, invariants: Invariants, coupling_squared: FloatArray) -> FloatArray:
        """Return |M|^2 summed over all helicities and colours, ``(n,)``."""
        s = invariants(*self.gluons)
        tau_1, tau_2 = self._tau(invariants)
        rho = 4 * self.mass**2 / s
        product = tau_1 * tau_2
        return np.asarray(
            _GLUON_STATES
            * coupling_squared**2
            * (1 / (6 * product) - 3 / 8)
            * (tau_1**2 + tau_2**2 + rho - rho**2 / (4 * product))
        )

    def flow_weights(self, invariants: Invariants) -> list[FloatArray]:
        """Return the weight of the flows that connect the quark with the first and with the second gluon."""
        tau_1, tau_2 = self._tau(invariants)
        return [tau_2**2, tau_1**2]

    def _tau(self, invariants: Invariants) -> tuple[FloatArray, FloatArray]:
        s = invariants(*self.gluons)
        quark = self.quarks[0]
        return -invariants(self.gluons[0], quark) / s, -invariants(self.gluons[1], quark) / s


def gluons_and_quarks(subprocess: Subprocess, parameters: ModelParameters) -> GluonsAndQuarks | None:
    """Return the closed form of a subprocess of two gluons and a quark pair; None for any other."""
    ids = subprocess.pdg_ids
    colors = outgoing_colors(ids)
    if sorted(colors) != [-3, 3, 8, 8]:
        return None
    quark, antiquark = colors.index(3), colors.index(-3)
    if abs(ids[quark]) != abs(ids[antiquark]):
        return None
    first, second = (slot for slot, color in enumerate(colors) if color == 8)
    strings = (((quark, first, second, antiquark),), ((quark, second, first, antiquark),))
    return GluonsAndQuarks(
        flows(subprocess, strings),
        average_factor(subprocess),
        (first, second),
        (quark, antiquark),
        parameters.mass_of(ids[quark]),
    )
