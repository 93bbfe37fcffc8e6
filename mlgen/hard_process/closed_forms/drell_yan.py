"""``q q~ > l- l+`` with photon, Z and Z', ``q q~' > l vl~`` with W, and their crossings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mlgen.hard_process.closed_forms.closed_form import ClosedForm, Invariants, average_factor, flows
from mlgen.hard_process.color_lines import outgoing_colors
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.particles import Particle, particle_of
from mlgen.hard_process.subprocess import Subprocess
from mlgen.stages import FloatArray

_COLORS = 3
_Z, _W = 23, 24


@dataclass(frozen=True, slots=True)
class Exchange:
    """A boson between two lines of massless fermions.

    Args:
        mass: In GeV.
        width: In GeV, fixed.
        couplings: Product of the couplings of the two lines, for their chiralities LL, LR, RL, RR.
    """

    mass: float
    width: float
    couplings: tuple[float, float, float, float]


@dataclass(frozen=True)
class DrellYan(ClosedForm):
    r"""Two lines of massless fermions that exchange electroweak bosons.

    With all particles outgoing, the lines :math:`(f, \bar f)` and :math:`(F, \bar F)`,
    :math:`x = 2 p_f \cdot p_F`, :math:`y = 2 p_f \cdot p_{\bar F}`, :math:`z = 2 p_f \cdot p_{\bar f}`,

    .. math:: \sum |M|^2 = 4 N \left( (|A_{LL}|^2 + |A_{RR}|^2) \, x^2 + (|A_{LR}|^2 + |A_{RL}|^2) \, y^2 \right) ,
              \qquad A_{ab} = \sum_V \frac{g_a^f g_b^F}{z - m_V^2 + i m_V \Gamma_V}

    where N is 3 if one line is of quarks, the photon couples with :math:`g = e Q`, the Z with
    :math:`e (T_3 - Q \sin^2 \theta_w) / (\sin \theta_w \cos \theta_w)`, and the W with
    :math:`e / (\sqrt 2 \sin \theta_w)` to left-handed doublets.

    References:
        Ellis, Stirling and Webber, QCD and Collider Physics, section 9.1; Particle Data Group, review 10
        (electroweak model).
    """

    first: tuple[int, int]
    second: tuple[int, int]
    colors: int
    exchanges: tuple[Exchange, ...]

    def summed(self, invariants: Invariants, coupling_squared: FloatArray) -> FloatArray:
        """Return |M|^2 summed over all helicities and colours, ``(n,)``; the strong coupling does not enter."""
        (fermion, antifermion), (other, other_anti) = self.first, self.second
        x, y, z = invariants(fermion, other), invariants(fermion, other_anti), invariants(fermion, antifermion)
        propagators = [1 / (z - each.mass**2 + 1j * each.mass * each.width) for each in self.exchanges]
        left_left, left_right, right_left, right_right = (
            np.abs(sum(each.couplings[k] * p for each, p in zip(self.exchanges, propagators, strict=True))) ** 2
            for k in range(4)
        )
        return np.asarray(
            4 * self.colors * ((left_left + right_right) * x**2 + (left_right + right_left) * y**2), dtype=float
        )


def drell_yan(subprocess: Subprocess, parameters: ModelParameters) -> DrellYan | None:
    """Return the closed form of a subprocess of two electroweak fermion lines; None for any other."""
    lines = _lines(subprocess, parameters)
    if lines is None:
        return None
    first, second = lines
    ids = subprocess.pdg_ids
    if abs(ids[first[0]]) == abs(ids[first[1]]):
        exchanges = _neutral(abs(ids[first[0]]), abs(ids[second[0]]), parameters)
    else:
        exchanges = (_charged(parameters),)
    colored = tuple(line for line in lines if particle_of(ids[line[0]]).color != 1)
    return DrellYan(
        flows(subprocess, (colored,)),
        average_factor(subprocess),
        first,
        second,
        _COLORS if colored else 1,
        exchanges,
    )


def _lines(subprocess: Subprocess, parameters: ModelParameters) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Return the slots of fermion and antifermion of both lines, all outgoing; None where there are no such lines."""
    ids = subprocess.pdg_ids
    if len(ids) != 4 or any(particle_of(i).two_spin != 1 or parameters.mass_of(i) > 0 for i in ids):
        return None
    if any(particle_of(i).charge_thirds == 0 for i in subprocess.incoming):
        return None  # neutrinos do not come in
    outgoing = [particle_of(i) if slot > 1 else particle_of(i).anti for slot, i in enumerate(ids)]
    families = [_family(particle) for particle in outgoing]
    lines = []
    for family in sorted(set(families)):
        slots = [slot for slot in range(4) if families[slot] == family]
        fermions = [slot for slot in slots if outgoing[slot].pdg_id > 0]
        if len(slots) != 2 or len(fermions) != 1:
            return None
        (antifermion,) = (slot for slot in slots if slot not in fermions)
        lines.append((fermions[0], antifermion))
    if len(lines) != 2 or outgoing_colors(ids).count(1) < 2:
        return None  # one line, or two lines of quarks, which exchange a gluon first
    charges = [sum(outgoing[slot].charge_thirds for slot in line) for line in lines]
    flavors = [abs(ids[line[0]]) == abs(ids[line[1]]) for line in lines]
    if sum(charges) != 0 or flavors[0] != flavors[1] or (charges[0] == 0) != flavors[0]:
        return None
    return lines[0], lines[1]


def _family(particle: Particle) -> tuple[int, int]:
    """Quark or lepton, and generation: at unit mixing a line stays within it."""
    number = abs(particle.pdg_id)
    return (0, (number - 1) // 2) if number < 10 else (1, (number - 11) // 2)


def _neutral(flavor: int, other: int, parameters: ModelParameters) -> tuple[Exchange, ...]:
    e = math.sqrt(4 * math.pi * parameters.alpha_em)
    photon, z = (_charges(flavor, e), _charges(other, e)), (_z(flavor, e, parameters), _z(other, e, parameters))
    exchanges = [
        Exchange(0.0, 0.0, _products(*photon)),
        Exchange(parameters.mass_of(_Z), parameters.width_of(_Z), _products(*z)),
    ]
    if (z_prime := parameters.z_prime) is not None:
        exchanges.append(Exchange(z_prime.mass, z_prime.width, _products(*z, factor=z_prime.coupling**2)))
    return tuple(exchanges)


def _charged(parameters: ModelParameters) -> Exchange:
    coupling = 4 * math.pi * parameters.alpha_em / (2 * parameters.sin2_theta_w)
    return Exchange(parameters.mass_of(_W), parameters.width_of(_W), (coupling, 0.0, 0.0, 0.0))


def _charges(flavor: int, e: float) -> tuple[float, float]:
    charge = e * particle_of(flavor).charge_thirds / 3
    return charge, charge


def _z(flavor: int, e: float, parameters: ModelParameters) -> tuple[float, float]:
    charge = particle_of(flavor).charge_thirds / 3
    isospin = 0.5 if flavor % 2 == 0 else -0.5
    sine_squared = parameters.sin2_theta_w
    scale = e / math.sqrt(sine_squared * (1 - sine_squared))
    return scale * (isospin - charge * sine_squared), -scale * charge * sine_squared


def _products(
    first: tuple[float, float], second: tuple[float, float], factor: float = 1.0
) -> tuple[float, float, float, float]:
    left, right = first
    other_left, other_right = second
    return (
        factor * left * other_left,
        factor * left * other_right,
        factor * right * other_left,
        factor * right * other_right,
    )
