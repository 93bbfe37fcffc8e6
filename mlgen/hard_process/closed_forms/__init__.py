r"""Squared matrix elements that fit on a line: Drell-Yan pairs, and the strong interaction of four or five partons.

Each is a function of the invariants with all particles outgoing, so that one function serves every crossing, and
finds its particles in any order. Sums over colours and helicities are exact. Widths are fixed (in the propagators of
the electroweak bosons), light fermions are massless, and a heavy quark has no width in the t channel: programs that
put one there, as MadGraph does, differ by :math:`O(\Gamma^2 / m^2)`.
"""

from __future__ import annotations

from collections.abc import Callable

from mlgen.hard_process.closed_forms.closed_form import ClosedForm
from mlgen.hard_process.closed_forms.drell_yan import drell_yan
from mlgen.hard_process.closed_forms.gluons_and_quarks import gluons_and_quarks
from mlgen.hard_process.closed_forms.quark_lines import quark_lines
from mlgen.hard_process.closed_forms.three_gluons import only_gluons
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.subprocess import Subprocess

__all__ = ["REACTIONS", "ClosedForm", "closed_form"]

#: What there is, in words, for error messages.
REACTIONS = (
    "q q~ > l- l+ and its crossings, with photon, Z and Z'; q q~' > l vl~ with W; "
    "g g > g g, g g > g g g; g g > q q~, q q~ > g g, g q > g q; q q' > q q' with any flavours; "
    "g g > t t~, q q~ > t t~"
)

_FAMILIES: tuple[Callable[[Subprocess, ModelParameters], ClosedForm | None], ...] = (
    only_gluons,
    gluons_and_quarks,
    quark_lines,
    drell_yan,
)


def closed_form(subprocess: Subprocess, parameters: ModelParameters) -> ClosedForm | None:
    """Return the closed form of a subprocess at lowest order; None where there is none here.

    Equal matrix elements compare equal.
    """
    for family in _FAMILIES:
        found = family(subprocess, parameters)
        if found is not None:
            return found
    return None
