"""From momenta to what the networks see: logarithms of Lorentz invariants, and the ansatz that |M|^2 is divided by."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from mlgen.stages import AmplitudeProcess, FloatArray, InnerLine
from mlgen_bnn.canonical_order import in_canonical_order
from mlgen_bnn.color_strings import StringSum

#: Smallest invariant in units of s-hat that is told from zero: below, doubles have no digits left.
_TINY = 1e-15
#: Shares of more stringings than these are not shown to the networks.
_MOST_SHARES = 24


@dataclass(frozen=True, slots=True)
class Features:
    """What is known of points.

    Args:
        inputs: ``(n, features)``; of any order of magnitude, without like particles' order.
        log_scale: Logarithm of the power of the energy that |M|^2 has as its dimension, ``(n,)``.
        log_strings: Logarithm of the ansatz of colour strings in the same unit, ``(n,)``; that of the power of the
            energy where the process has no strings.
    """

    inputs: FloatArray
    log_scale: FloatArray
    log_strings: FloatArray


class Invariants:
    r"""Invariants of a process.

    The inputs are :math:`\log \hat s`; :math:`\log(2 |p_i \cdot p_j| / \hat s)` for all pairs of particles but the
    incoming one; the share of each set of colour strings in the ansatz; and for the lines inside the diagrams,
    :math:`\log(|q^2 - m^2| / \hat s)`, where the line is a resonance
    :math:`\log(|q^2 - m^2 + i m \Gamma| / \hat s)` and :math:`\arctan((q^2 - m^2) / (m \Gamma))`. A line that says the
    same as a pair of massless particles is left out.

    |M|^2 of n particles has the dimension GeV^(8 - 2 n).

    Args:
        process: The process.
    """

    def __init__(self, process: AmplitudeProcess) -> None:
        self.process = process
        particles = len(process.pdg_ids)
        self.pairs = tuple(itertools.combinations(range(particles), 2))
        self._first, self._second = (np.array(slots) for slots in zip(*self.pairs, strict=True))
        self.strings = StringSum(process.pdg_ids, self.pairs)
        lines = [line for line in _distinct(process) if not self._is_pair(line)]
        self._signs = np.zeros((len(lines), particles))
        for number, line in enumerate(lines):
            self._signs[number, list(line.slots)] = [1.0 if slot < 2 else -1.0 for slot in line.slots]
        self._mass = np.array([line.mass for line in lines])
        self._width = np.array([line.width for line in lines])
        # q^2 of a line is a sum of squared masses and of scalar products of pairs.
        self._line_pairs = np.array(
            [[s[i] * s[j] for i, j in self.pairs] for s in self._signs],
        ).reshape(len(lines), len(self.pairs))
        self._line_constant = (self._signs != 0) @ np.square(process.masses) - self._mass**2

    def _is_pair(self, line: InnerLine) -> bool:
        """Whether q^2 - m^2 of the line is the scalar product of two particles, up to its sign."""
        particles = len(self.process.pdg_ids)
        slots = line.slots if 2 * len(line.slots) <= particles else _others(line.slots, particles)
        if len(slots) != 2 or line.width > 0:
            return False
        squared = sum(self.process.masses[slot] ** 2 for slot in slots)
        return abs(squared - line.mass**2) < 1e-9 * max(squared, 1.0)

    @property
    def size(self) -> int:
        """Number of inputs."""
        resonances = int(np.count_nonzero(self._width))
        return len(self.pairs) + len(self._mass) + resonances + self._shares

    @property
    def _shares(self) -> int:
        count = len(self.strings.stringings)
        return count if 1 < count <= _MOST_SHARES else 0

    def __call__(self, momenta: FloatArray) -> Features:
        """Return the features of ``momenta (n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV."""
        ordered = in_canonical_order(self.process, momenta)
        # By component, each contiguous: several times faster than products of four-vectors.
        px, py, pz, energy = np.ascontiguousarray(ordered.transpose(2, 1, 0))
        first, second = self._first, self._second
        products = energy[first] * energy[second]
        for component in (px, py, pz):
            products -= component[first] * component[second]
        products *= 2.0
        scale = products[0]
        log_scale = np.log(scale)
        relative = np.abs(products / scale)
        logarithms = np.log(np.maximum(relative, _TINY, out=relative)).T
        columns = [log_scale[:, None], logarithms[:, 1:]]
        log_energy = (4 - len(self.process.pdg_ids)) * log_scale
        log_strings = log_energy
        if self.strings.stringings:
            total, shares = self.strings(logarithms)
            log_strings = log_energy + total
            if self._shares:
                columns.append(np.maximum(shares, -30.0))
        if len(self._mass):
            columns += self._lines(products, scale)
        return Features(np.concatenate(columns, axis=1), log_energy, log_strings)

    def _lines(self, products: FloatArray, scale: FloatArray) -> list[FloatArray]:
        # An incoming and an outgoing particle: (p_i - p_j)^2 = m_i^2 + m_j^2 - 2 p_i p_j, which the signs give.
        distance = (self._line_pairs @ products).T + self._line_constant
        broad = self._mass * self._width
        columns = [np.log(np.maximum(np.hypot(distance, broad) / scale[:, None], _TINY))]
        resonant = self._width > 0
        if resonant.any():
            columns.append(np.arctan(distance[:, resonant] / broad[resonant]))
        return columns


def _distinct(process: AmplitudeProcess) -> list[InnerLine]:
    """The inner lines, each once whichever of its sides it was told by."""
    particles = len(process.pdg_ids)
    found: dict[tuple[tuple[int, ...], float, float], InnerLine] = {}
    for line in process.inner_lines:
        sides = tuple(sorted(line.slots)), _others(line.slots, particles)
        slots = min(sides, key=lambda side: (len(side), side))
        found.setdefault((slots, line.mass, line.width), InnerLine(slots, line.mass, line.width))
    return list(found.values())


def _others(slots: tuple[int, ...], particles: int) -> tuple[int, ...]:
    return tuple(slot for slot in range(particles) if slot not in slots)
