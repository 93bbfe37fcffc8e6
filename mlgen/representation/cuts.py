"""The cuts that a sample was made with, found in the sample itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mlgen.events import FloatArray, invariant_mass
from mlgen.representation.arrays import floats, integers
from mlgen.representation.edges import high_edge, low_edge

BoolArray = npt.NDArray[np.bool_]

#: Relative rounding error with which an event on an edge is inside, and below which a quantity does not vary at all.
_ROUNDING, _CONSTANT = 1e-9, 1e-5

_ONE, _PAIR = ("pt", "eta"), ("delta_r", "mass")
_QUANTITIES = (*_ONE, *_PAIR)


@dataclass(frozen=True)
class SampleCuts:
    """Ranges of simple quantities of outgoing particles that end at an edge, not in a tail.

    Looked for in the transverse momentum and the size of the pseudorapidity of each outgoing particle, and in the
    distance and the invariant mass of each pair. What a network smears over such an edge is drawn again.

    Args:
        quantity: Which of the quantities each cut is on, ``(cuts,)``.
        rows: The particles, ``(cuts, 2)``; twice the same where one is concerned.
        low: Lower edge, ``(cuts,)``, minus infinity where there is none.
        high: Upper edge, likewise.
    """

    quantity: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    low: FloatArray
    high: FloatArray

    @classmethod
    def fit(cls, momenta: FloatArray, outgoing: Sequence[int]) -> Self:
        """Find the cuts.

        Args:
            momenta: ``(n, particles, 4)``.
            outgoing: Rows of the outgoing particles.
        """
        found: list[tuple[int, tuple[int, int], float, float]] = []
        pairs = [(a, b) for i, a in enumerate(outgoing) for b in outgoing[i + 1 :]]
        for number, name in enumerate(_QUANTITIES):
            for rows in [(row, row) for row in outgoing] if name in _ONE else pairs:
                values = _value(name, momenta, rows)
                # A particle without transverse momentum has no direction; the edges of a constant are the rounding
                # noise of the file; two particles alone are back to back.
                if not np.isfinite(values).all() or _is_constant(values) or (name == "delta_r" and len(outgoing) == 2):
                    continue
                low = None if name == "eta" else low_edge(values)
                high = high_edge(values)
                # Nothing is smaller than zero: that is no cut.
                if low is not None and low <= 0:
                    low = None
                if low is not None or high is not None:
                    found.append((number, rows, -np.inf if low is None else low, np.inf if high is None else high))
        return cls(
            np.array([cut[0] for cut in found], np.int64),
            np.array([cut[1] for cut in found], np.int64).reshape(-1, 2),
            np.array([cut[2] for cut in found], np.float64),
            np.array([cut[3] for cut in found], np.float64),
        )

    def inside(self, momenta: FloatArray) -> BoolArray:
        """Return which events ``(n, particles, 4)`` are inside all cuts, ``(n,)``."""
        inside = np.ones(len(momenta), bool)
        for number, rows, low, high in zip(self.quantity, self.rows, self.low, self.high, strict=True):
            values = _value(_QUANTITIES[number], momenta, (int(rows[0]), int(rows[1])))
            inside &= (values >= low * (1 - _ROUNDING)) & (values <= high * (1 + _ROUNDING))
        return inside

    def radius(self, first: int, second: int) -> float:
        """Return the smallest distance of two particles, 0 where there is no such cut."""
        for number, rows, low in zip(self.quantity, self.rows, self.low, strict=True):
            if _QUANTITIES[number] == "delta_r" and set(rows.tolist()) == {first, second} and np.isfinite(low):
                return float(low)
        return 0.0

    def describe(self, names: Sequence[str]) -> list[str]:
        """Return the cuts in words, with a name for each particle's row."""
        words = []
        for number, rows, low, high in zip(self.quantity, self.rows, self.low, self.high, strict=True):
            who = " ".join(names[row] for row in dict.fromkeys(rows.tolist()))
            parts = [f"> {low:.6g}"] * bool(np.isfinite(low)) + [f"< {high:.6g}"] * bool(np.isfinite(high))
            words.append(f"{_QUANTITIES[number]}({who}) {' and '.join(parts)}")
        return words

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything as named arrays."""
        return {"quantity": self.quantity, "rows": self.rows, "low": self.low, "high": self.high}

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]], particles: int) -> Self:
        """Inverse of `state`, for events of so many particles.

        Raises:
            ModelError: The arrays do not fit.
        """
        quantity = integers(state, "quantity", (None,), 0, len(_QUANTITIES))
        n = len(quantity)
        rows = integers(state, "rows", (n, 2), 0, particles)
        return cls(quantity, rows, floats(state, "low", (n,)), floats(state, "high", (n,)))


def _is_constant(values: FloatArray) -> bool:
    return bool(np.ptp(values) <= _CONSTANT * np.abs(values).max(initial=0.0))


def _value(name: str, momenta: FloatArray, rows: tuple[int, int]) -> FloatArray:
    first, second = momenta[:, rows[0]], momenta[:, rows[1]]
    with np.errstate(divide="ignore", invalid="ignore"):
        if name == "pt":
            return np.asarray(np.hypot(first[:, 0], first[:, 1]))
        if name == "eta":
            return np.abs(_pseudorapidity(first))
        if name == "mass":
            return invariant_mass(*(first + second).T)
        azimuth = np.arctan2(first[:, 1], first[:, 0]) - np.arctan2(second[:, 1], second[:, 0])
        azimuth = np.abs(np.mod(azimuth + np.pi, 2 * np.pi) - np.pi)
        return np.asarray(np.hypot(_pseudorapidity(first) - _pseudorapidity(second), azimuth))


def _pseudorapidity(momentum: FloatArray) -> FloatArray:
    return np.asarray(np.arcsinh(momentum[:, 2] / np.hypot(momentum[:, 0], momentum[:, 1])))
