"""Production of two muons by a quark and an antiquark: the process whose answer the kit knows without a Monte Carlo."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlgen.stages import FloatArray, IntArray

#: Interval of the cosine of the angle between the mu- and the quark, in the frame where both partons have one energy.
_Interval = tuple[FloatArray, FloatArray]

_Z_MASS, _Z_WIDTH, _SIN2, _ALPHA = 91.1876, 2.4952, 0.2312, 1 / 128.0
_SQUARED_HBARC = 3.893793721e8  # GeV^2 pb
_COLLISION_ENERGY = 13_000.0
_SMALLEST_MASS, _LARGEST_MASS, _LARGEST_RAPIDITY = 60.0, 120.0, 2.7
# The cuts on each muon.
_SMALLEST_PT, _LARGEST_ETA = 15.0, 2.7
# Candidates are drawn from a resonance that is too wide, as from a sampler that is not perfect.
_DRAWN_WIDTH = 1.5 * _Z_WIDTH


@dataclass(frozen=True)
class Distribution:
    """An observable with its bins; the first and the last one are open.

    Args:
        value: The observable as a function of mass and rapidity of the pair and of the cosine.
        above: Interval of the cosine in which the observable is above a value, for given mass and rapidity.
        edges: The inner edges of its bins.
    """

    value: Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
    above: Callable[[float, FloatArray, FloatArray], _Interval]
    edges: tuple[float, ...]

    def of_positive_muon(self, *edges: float) -> Distribution:
        """Return the same observable of the other muon, which has the opposite cosine."""

        def above(value: float, mass: FloatArray, rapidity: FloatArray) -> _Interval:
            lower, upper = self.above(value, mass, rapidity)
            return -upper, -lower

        return Distribution(lambda mass, rapidity, cosine: self.value(mass, rapidity, -cosine), above, edges)


def _everywhere_if(condition: npt.NDArray[np.bool_]) -> _Interval:
    return np.where(condition, -1.0, 1.0), np.ones(condition.shape)


def _above_energy(value: float, mass: FloatArray, rapidity: FloatArray) -> _Interval:
    cosine = (2 * value / mass - np.cosh(rapidity)) / np.sinh(rapidity)
    return np.where(rapidity > 0, cosine, -1.0), np.where(rapidity > 0, 1.0, cosine)


def _above_pt(value: float, mass: FloatArray, rapidity: FloatArray) -> _Interval:
    cosine = np.sqrt(np.maximum(0.0, 1 - (2 * value / mass) ** 2))
    return -cosine, cosine


def _distributions() -> Iterator[tuple[str, Distribution]]:
    yield (
        "mass of the pair in GeV",
        Distribution(lambda m, y, c: m, lambda v, m, y: _everywhere_if(m > v), (86.0, 90.0, 91.2, 93.0, 105.0)),
    )
    yield (
        "rapidity of the pair",
        Distribution(lambda m, y, c: y, lambda v, m, y: _everywhere_if(y > v), (-2.0, -0.8, 0.2, 1.2, 2.3)),
    )
    yield (
        "cos theta",
        Distribution(
            lambda m, y, c: c, lambda v, m, y: (np.full(m.shape, v), np.ones(m.shape)), (-0.6, -0.2, 0.2, 0.6)
        ),
    )
    yield (
        "pT of the muons in GeV",
        Distribution(lambda m, y, c: m / 2 * np.sqrt(1 - c**2), _above_pt, (24.0, 33.0, 39.0, 43.0, 45.0)),
    )
    eta = Distribution(
        lambda m, y, c: y + np.arctanh(c),
        lambda v, m, y: (np.tanh(v - y), np.ones(m.shape)),
        (-1.2, -0.3, 0.5, 1.2, 2.0),
    )
    energy = Distribution(
        lambda m, y, c: m / 2 * (np.cosh(y) + c * np.sinh(y)), _above_energy, (42.0, 50.0, 70.0, 110.0, 200.0)
    )
    along = Distribution(
        lambda m, y, c: m / 2 * (np.sinh(y) + c * np.cosh(y)),
        lambda v, m, y: ((2 * v / m - np.sinh(y)) / np.cosh(y), np.ones(m.shape)),
        (-60.0, -20.0, 10.0, 50.0, 120.0),
    )
    for name, of_negative, unit in (("eta", eta, ""), ("energy", energy, " in GeV"), ("pz", along, " in GeV")):
        yield f"{name} of the mu-{unit}", of_negative
        yield f"{name} of the mu+{unit}", of_negative.of_positive_muon(*of_negative.edges)


DISTRIBUTIONS: dict[str, Distribution] = dict(_distributions())


def _couplings(mass: FloatArray) -> tuple[FloatArray, FloatArray]:
    r"""Coefficients of :math:`1 + \cos^2\theta` and :math:`\cos\theta`, from an up quark to a muon."""
    quark, muon = 2 / 3, -1.0
    quark_a, muon_a = 0.5, -0.5
    quark_v, muon_v = quark_a - 2 * quark * _SIN2, muon_a - 2 * muon * _SIN2
    s = mass**2
    kappa = 1 / (4 * _SIN2 * (1 - _SIN2))
    resonance = (s - _Z_MASS**2) ** 2 + (_Z_MASS * _Z_WIDTH) ** 2
    chi1 = kappa * s * (s - _Z_MASS**2) / resonance
    chi2 = (kappa * s) ** 2 / resonance
    charges = quark * muon
    even = (
        charges**2 + 2 * charges * quark_v * muon_v * chi1 + (quark_v**2 + quark_a**2) * (muon_v**2 + muon_a**2) * chi2
    )
    odd = 4 * charges * quark_a * muon_a * chi1 + 8 * quark_v * quark_a * muon_v * muon_a * chi2
    return even, odd


def partonic_cross_section(mass: FloatArray, cosine: FloatArray) -> FloatArray:
    r"""Return d sigma / d cos(theta) of u u~ -> mu- mu+ at tree level, in pb.

    .. math:: \frac{\pi \alpha^2}{6 \hat s} \left[ A (1 + \cos^2\theta) + B \cos\theta \right]

    with photon and Z in A and B, all fermions massless.

    References:
        Ellis, Stirling and Webber, QCD and Collider Physics, eqs. (3.3) to (3.6); divided by three colours.
    """
    even, odd = _couplings(mass)
    return _scale(mass) * (even * (1 + cosine**2) + odd * cosine)


def _scale(mass: FloatArray) -> FloatArray:
    return np.asarray(_SQUARED_HBARC * np.pi * _ALPHA**2 / (6 * mass**2))


def _luminosity(mass: FloatArray, rapidity: FloatArray) -> FloatArray:
    """Product of two invented parton densities, of a quark and an antiquark, per unit of tau and rapidity."""
    quark, antiquark = (mass / _COLLISION_ENERGY * np.exp(sign * rapidity) for sign in (1, -1))
    return np.asarray(2 * quark**-0.7 * (1 - quark) ** 3 * 0.3 * antiquark**-1.1 * (1 - antiquark) ** 7)


def _largest_cosine(mass: FloatArray, rapidity: FloatArray) -> FloatArray:
    """Up to which both muons pass the cuts; below zero where they never do."""
    return np.minimum(np.sqrt(1 - (2 * _SMALLEST_PT / mass) ** 2), np.tanh(_LARGEST_ETA - np.abs(rapidity)))


def points(u: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Turn points of the unit cube, ``(n, 3)``, into mass, rapidity, cosine and weight, each ``(n,)``.

    The mean of the weights is the cross section in pb; a point outside the cuts has weight zero.
    """
    lower, upper = (_angle(edge, _DRAWN_WIDTH) for edge in (_SMALLEST_MASS, _LARGEST_MASS))
    mass, jacobian = _resonance(lower + (upper - lower) * u[:, 0], _DRAWN_WIDTH)
    rapidity, cosine = _LARGEST_RAPIDITY * (2 * u[:, 1] - 1), 2 * u[:, 2] - 1
    weight = _luminosity(mass, rapidity) * partonic_cross_section(mass, cosine)
    weight *= jacobian * (upper - lower) * 2 * _LARGEST_RAPIDITY * 2
    return mass, rapidity, cosine, np.where(np.abs(cosine) < _largest_cosine(mass, rapidity), weight, 0.0)


def bins(mass: FloatArray, rapidity: FloatArray, cosine: FloatArray) -> IntArray:
    """Return the bin of each point in each distribution, ``(n, distributions)``."""
    return np.stack(
        [np.digitize(d.value(mass, rapidity, cosine), d.edges) for d in DISTRIBUTIONS.values()], axis=1
    ).astype(np.int64)


def _angle(mass: float, width: float) -> float:
    return float(np.arctan((mass**2 - _Z_MASS**2) / (_Z_MASS * width)))


def _resonance(angle: FloatArray, width: float) -> tuple[FloatArray, FloatArray]:
    """Mass of the pair, and d tau / d angle."""
    squared = _Z_MASS**2 + _Z_MASS * width * np.tan(angle)
    jacobian = ((squared - _Z_MASS**2) ** 2 + (_Z_MASS * width) ** 2) / (_Z_MASS * width)
    return np.sqrt(squared), jacobian / _COLLISION_ENERGY**2


@functools.cache
def true_contents(nodes: int = 24) -> dict[str, FloatArray]:
    """Return the cross section in each bin of each distribution, in pb: in closed form in the cosine, for the rest by
    Gauss-Legendre quadrature between the edges of mass and rapidity.

    Args:
        nodes: Number of points between two edges; the contents are right to 5e-5 of the cross section with 24.
    """
    # A muon has at most half of the mass as its pT: the contents of a bin of pT have a kink there.
    kinks = (2 * edge for edge in DISTRIBUTIONS["pT of the muons in GeV"].edges if 2 * edge > _SMALLEST_MASS)
    mass_edges = sorted([_SMALLEST_MASS, *DISTRIBUTIONS["mass of the pair in GeV"].edges, *kinks, _LARGEST_MASS])
    rapidity_edges = sorted([-_LARGEST_ETA, *DISTRIBUTIONS["rapidity of the pair"].edges, 0.0, _LARGEST_ETA])
    angle, angle_weight = _quadrature([_angle(edge, _Z_WIDTH) for edge in mass_edges], nodes)
    y, y_weight = _quadrature(rapidity_edges, nodes)
    line, jacobian = _resonance(angle, _Z_WIDTH)
    mass, rapidity = (grid.ravel() for grid in np.meshgrid(line, y, indexing="ij"))
    weight = np.outer(angle_weight * jacobian, y_weight).ravel() * _luminosity(mass, rapidity) * _scale(mass)
    even, odd = _couplings(mass)
    largest = _largest_cosine(mass, rapidity)

    def integral(cosine: FloatArray) -> FloatArray:
        cosine = np.clip(cosine, -largest, largest)
        return np.asarray(even * (cosine + cosine**3 / 3) + odd * cosine**2 / 2)

    contents = {}
    for name, distribution in DISTRIBUTIONS.items():
        above = [weight @ (integral(np.ones(mass.shape)) - integral(-np.ones(mass.shape)))]
        for edge in distribution.edges:
            lower, upper = distribution.above(edge, mass, rapidity)
            above.append(weight @ np.maximum(integral(upper) - integral(lower), 0.0))
        contents[name] = -np.diff([*above, 0.0])
    return contents


def _quadrature(edges: Sequence[float], nodes: int) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of the Gauss-Legendre rule between each two edges."""
    node, weight = np.polynomial.legendre.leggauss(nodes)
    lower, upper = np.asarray(edges[:-1])[:, None], np.asarray(edges[1:])[:, None]
    return ((lower + upper + (upper - lower) * node) / 2).ravel(), ((upper - lower) * weight / 2).ravel()
