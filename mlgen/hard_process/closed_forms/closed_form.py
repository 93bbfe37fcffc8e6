"""What the closed forms have in common: invariants, averages, colour flows."""

from __future__ import annotations

import abc
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from mlgen.hard_process.color_lines import Strings, color_flow
from mlgen.hard_process.matrix_element import ColorFlow, MatrixElement
from mlgen.hard_process.particles import particle_of
from mlgen.hard_process.subprocess import Subprocess
from mlgen.stages import FloatArray


@dataclass(frozen=True)
class ClosedForm(MatrixElement):
    """A squared matrix element with its colour flows; equal ones compare equal.

    Args:
        color_flows: The leading-colour flows.
        factor: What turns the sum over all helicities and colours into the average over those of the incoming
            particles, with the factor for identical outgoing ones and the sign of crossed fermions.
    """

    color_flows: tuple[ColorFlow, ...]
    factor: float

    def evaluate(self, momenta: FloatArray, alpha_s: FloatArray) -> FloatArray:
        """Return |M|^2 (`mlgen.hard_process.matrix_element.MatrixElement.evaluate`)."""
        return np.asarray(self.factor * self.summed(Invariants(momenta), 4 * math.pi * np.asarray(alpha_s)))

    def color_flow_weights(self, momenta: FloatArray) -> FloatArray:
        """Return the probability of each colour flow, ``(n, flows)``."""
        weights = np.stack(self.flow_weights(Invariants(momenta)), axis=-1)
        return np.asarray(weights / weights.sum(axis=-1, keepdims=True))

    @abc.abstractmethod
    def summed(self, invariants: Invariants, coupling_squared: FloatArray) -> FloatArray:
        """Return |M|^2 summed over all helicities and colours, ``(n,)``, given ``g_s^2``."""

    def flow_weights(self, invariants: Invariants) -> list[FloatArray]:
        """Return the squared leading-colour partial amplitude of each flow, ``(n,)`` each, to any common factor."""
        return [np.ones(len(invariants.momenta))]


class Invariants:
    """Scalar products of momenta, all of them counted as outgoing.

    Args:
        momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)``, the two incoming ones first, with positive energy.
    """

    def __init__(self, momenta: FloatArray) -> None:
        self.momenta = np.asarray(momenta, dtype=float)

    def __call__(self, first: int, second: int) -> FloatArray:
        """Twice the product of the momenta in two slots, ``(n,)`` in GeV^2: ``(p + q)^2`` where both are massless."""
        p, q = self.momenta[:, first], self.momenta[:, second]
        product = 2 * (p[:, 3] * q[:, 3] - np.einsum("ni,ni->n", p[:, :3], q[:, :3]))
        return np.asarray(product if (first < 2) == (second < 2) else -product)


def average_factor(subprocess: Subprocess) -> float:
    """Return the factor of `ClosedForm` for a subprocess: averages, identical particles, crossed fermions."""
    factor = 1.0
    for pdg_id in subprocess.incoming:
        particle = particle_of(pdg_id)
        # All that may come in here has two helicities.
        factor /= 2 * abs(particle.color)
        if particle.two_spin == 1:
            factor = -factor
    for count in Counter(subprocess.outgoing).values():
        factor /= math.factorial(count)
    return factor


def flows(subprocess: Subprocess, strings: tuple[Strings, ...]) -> tuple[ColorFlow, ...]:
    """Return the colour lines of each flow."""
    return tuple(color_flow(subprocess.pdg_ids, each) for each in strings)
