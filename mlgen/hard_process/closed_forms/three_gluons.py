"""``g g > g g`` and ``g g > g g g``."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from mlgen.hard_process.closed_forms.closed_form import ClosedForm, Invariants, average_factor, flows
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.subprocess import Subprocess
from mlgen.stages import FloatArray

_GLUON = 21
_COLORS = 3


@dataclass(frozen=True)
class OnlyGluons(ClosedForm):
    r"""The squared Parke-Taylor amplitudes of n = 4 or 5 gluons.

    .. math:: \sum |M|^2 = g_s^{2n-4} h_n N^{n-2} (N^2 - 1) \sum_{i<j} s_{ij}^4
              \sum_P \frac{1}{s_{12} s_{23} \cdots s_{n1}}

    over the (n - 1)! cyclic orders P, with :math:`h_4 = 1` and :math:`h_5 = 2`, the number of times that a pair
    (i, j) of helicities that differ from the others occurs. Exact in N for n <= 5. A colour flow is a cyclic order;
    its weight is the last fraction.

    References:
        Parke and Taylor, Phys. Rev. Lett. 56 (1986) 2459; Mangano and Parke, hep-th/0509223, section 9.
    """

    gluons: int

    def summed(self, invariants: Invariants, coupling_squared: FloatArray) -> FloatArray:
        """Return |M|^2 summed over all helicities and colours, ``(n,)``."""
        n = self.gluons
        fourth_powers = sum(invariants(i, j) ** 4 for i, j in itertools.combinations(range(n), 2))
        orders = np.sum(self.flow_weights(invariants), axis=0)
        multiplicity = 1 if n == 4 else 2
        color = multiplicity * _COLORS ** (n - 2) * (_COLORS**2 - 1)
        return np.asarray(coupling_squared ** (n - 2) * color * fourth_powers * orders)

    def flow_weights(self, invariants: Invariants) -> list[FloatArray]:
        """Return the product of the inverse invariants of neighbours, for each cyclic order."""
        inverse = {pair: 1 / invariants(*pair) for pair in itertools.combinations(range(self.gluons), 2)}
        weights = []
        for ring in _rings(self.gluons):
            neighbours = zip(ring, (*ring[1:], ring[0]), strict=True)
            weights.append(np.prod([inverse[min(pair), max(pair)] for pair in neighbours], axis=0))
        return weights


def only_gluons(subprocess: Subprocess, parameters: ModelParameters) -> OnlyGluons | None:
    """Return the closed form of a subprocess of four or five gluons; None for any other."""
    n = len(subprocess.pdg_ids)
    if n not in (4, 5) or set(subprocess.pdg_ids) != {_GLUON}:
        return None
    strings = tuple((ring,) for ring in _rings(n))
    return OnlyGluons(flows(subprocess, strings), average_factor(subprocess), n)


def _rings(n: int) -> list[tuple[int, ...]]:
    return [(0, *rest) for rest in itertools.permutations(range(1, n))]
