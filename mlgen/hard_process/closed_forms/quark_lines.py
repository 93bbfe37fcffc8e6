"""Two quark lines that exchange a gluon: ``q q' > q q'`` and its crossings, ``q q~ > t t~``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlgen.hard_process.closed_forms.closed_form import ClosedForm, Invariants, average_factor, flows
from mlgen.hard_process.color_lines import outgoing_colors
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.subprocess import Subprocess
from mlgen.stages import FloatArray

#: Colours and helicities of two quarks.
_QUARK_STATES = 36


@dataclass(frozen=True)
class QuarkLines(ClosedForm):
    r"""Two lines of quarks, one of which may be heavy, or of one massless flavour.

    With all particles outgoing, the lines :math:`(q_1, \bar q_1)` and :math:`(q_2, \bar q_2)`,
    :math:`x = 2 q_1 \cdot q_2`, :math:`y = 2 q_1 \cdot \bar q_2`, :math:`z = (q_1 + \bar q_1)^2` and the
    mass m of the second,

    .. math:: \sum |M|^2 = 16 g_s^4 \, \frac{x^2 + y^2 + 2 m^2 z}{z^2}

    and for one flavour, where the lines may as well be :math:`(q_1, \bar q_2)` and :math:`(q_2, \bar q_1)`,

    .. math:: \sum |M|^2 = g_s^4 \left(16 \, \frac{x^2 + y^2}{z^2} + 16 \, \frac{x^2 + z^2}{y^2}
              - \frac{32}{3} \frac{x^2}{y z}\right) .

    At leading colour a gluon connects the quark of one line with the antiquark of the other.

    References:
        Combridge, Nucl. Phys. B151 (1979) 429; Ellis, Stirling and Webber, QCD and Collider Physics, tables 7.1, 10.2.
    """

    first: tuple[int, int]
    second: tuple[int, int]
    mass: float
    one_flavor: bool

    def summed(self, invariants: Invariants, coupling_squared: FloatArray) -> FloatArray:
        """Return |M|^2 summed over all helicities and colours, ``(n,)``."""
        x, y, z = self._invariants(invariants)
        value = (x**2 + y**2 + 2 * self.mass**2 * z) / z**2
        if self.one_flavor:
            value = value + (x**2 + z**2) / y**2 - 2 / 3 * x**2 / (y * z)
        return np.asarray(4 / 9 * _QUARK_STATES * coupling_squared**2 * value)

    def flow_weights(self, invariants: Invariants) -> list[FloatArray]:
        """Return the weight of the one flow, or of the two flows of one flavour."""
        if not self.one_flavor:
            return super().flow_weights(invariants)
        x, y, z = self._invariants(invariants)
        return [(x**2 + y**2) / z**2, (x**2 + z**2) / y**2]

    def _invariants(self, invariants: Invariants) -> tuple[FloatArray, FloatArray, FloatArray]:
        (q_1, antiquark_1), (q_2, antiquark_2) = self.first, self.second
        # The first line is massless: its invariant needs no mass.
        return invariants(q_1, q_2), invariants(q_1, antiquark_2), invariants(q_1, antiquark_1)


def quark_lines(subprocess: Subprocess, parameters: ModelParameters) -> QuarkLines | None:
    """Return the closed form of a subprocess of two quark lines; None for any other."""
    ids = subprocess.pdg_ids
    colors = outgoing_colors(ids)
    if sorted(colors) != [-3, -3, 3, 3]:
        return None
    quarks = [slot for slot, color in enumerate(colors) if color == 3]
    antiquarks = [slot for slot, color in enumerate(colors) if color == -3]
    flavors = [abs(ids[slot]) for slot in quarks]
    if sorted(flavors) != sorted(abs(ids[slot]) for slot in antiquarks):
        return None
    # The heavy line comes second.
    quarks.sort(key=lambda slot: parameters.mass_of(ids[slot]))
    first, second = quarks
    if parameters.mass_of(ids[first]) > 0:
        return None
    if abs(ids[antiquarks[0]]) != abs(ids[first]):
        antiquarks.reverse()
    one_flavor = flavors[0] == flavors[1]
    strings = [((first, antiquarks[1]), (second, antiquarks[0]))]
    if one_flavor:
        strings.append(((first, antiquarks[0]), (second, antiquarks[1])))
    return QuarkLines(
        flows(subprocess, tuple(strings)),
        average_factor(subprocess),
        (first, antiquarks[0]),
        (second, antiquarks[1]),
        parameters.mass_of(ids[second]),
        one_flavor,
    )
