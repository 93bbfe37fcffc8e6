"""Couplings of the events as a function of their scale, or of each other, where the file uses one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mlgen.events import FloatArray

#: Largest relative error with which a table must reproduce the couplings of the file.
TOLERANCE = 1e-4
_LARGEST_TABLE = 1000


@dataclass(frozen=True)
class CouplingTable:
    """A coupling as a function of another number, between the entries of a table; one entry for a constant.

    The inverse of a running coupling is a linear function of the logarithm of its scale at one loop, and so of the
    inverse of another running coupling: in these variables the table is linear between its entries.

    Args:
        argument: Of which number of the event: ``scale`` or ``alpha_qcd``.
        values: Values of the argument, ascending, shape ``(entries,)``.
        coupling: Shape ``(entries,)``.
    """

    argument: str
    values: FloatArray
    coupling: FloatArray

    @classmethod
    def fit(cls, argument: str, values: FloatArray, coupling: FloatArray) -> CouplingTable | None:
        """Make the table from events, ``(n,)`` each; None when the coupling is no function of the argument alone."""
        low, high = float(coupling.min()), float(coupling.max())
        if high - low <= TOLERANCE * max(abs(low), abs(high)):
            # The value of an event, not a mean: it reads back the same.
            return cls(argument, values[:1].copy(), coupling[:1].copy())
        if min(values.min(), low) <= 0:
            return None
        known, index = np.unique(values, return_index=True)
        if len(known) < 3:
            return None
        # Half of the entries at most: the table must predict the others.
        chosen = np.unique(np.linspace(0, len(known) - 1, min(len(known) // 2 + 1, _LARGEST_TABLE)).astype(int))
        table = cls(argument, known[chosen], coupling[index[chosen]])
        error = np.abs(table.at(values) - coupling)
        return table if np.all(error <= TOLERANCE * np.abs(coupling)) else None

    def at(self, values: FloatArray) -> FloatArray:
        """Coupling at each value of the argument, same shape."""
        if len(self.values) == 1:
            return np.full(len(values), self.coupling[0])
        known, wanted = self._logarithm(self.values), self._logarithm(values)
        order = slice(None, None, 1 if known[-1] > known[0] else -1)
        return np.asarray(1 / np.interp(wanted, known[order], 1 / self.coupling[order]), np.float64)

    def _logarithm(self, values: FloatArray) -> FloatArray:
        """Return what is linear in the logarithm of the scale at one loop, like the inverse of the coupling."""
        return np.asarray(np.log(values) if self.argument == "scale" else 1 / values, np.float64)


def coupling_tables(numbers: Mapping[str, FloatArray]) -> dict[str, CouplingTable]:
    """Find the couplings that are functions of another number; in an order in which they can be computed.

    Args:
        numbers: ``scale``, ``alpha_qcd`` and ``alpha_qed`` of events, ``(n,)`` each.
    """
    tables = {}
    for name, arguments in (("alpha_qcd", ("scale",)), ("alpha_qed", ("scale", "alpha_qcd"))):
        for argument in arguments:
            table = CouplingTable.fit(argument, numbers[argument], numbers[name])
            if table is not None:
                tables[name] = table
                break
    return tables
