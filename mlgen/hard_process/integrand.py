"""The integrand of a hard process: differential cross section in the unit hypercube, by channel."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mlgen.errors import ProcessError
from mlgen.hard_process.source_errors import MatrixElementFailure, source_errors
from mlgen.stages import Evaluated, FloatArray, IntArray, Integrand

if TYPE_CHECKING:
    from mlgen.hard_process.cuts import CutMasks
    from mlgen.hard_process.maps import ChannelMaps, PriorWeights
    from mlgen.hard_process.matrix_element import MatrixElement
    from mlgen.hard_process.parton_densities import Coupling, PartonDensities
    from mlgen.hard_process.scales import Scale

#: (hbar c)^2 in pb GeV^2 (CODATA 2018, exact in the SI).
HBAR_C_SQUARED = 0.3893793721e9

#: Points that are tried before it is said that the cuts leave no phase space.
_TRIED_POINTS = 200_000
#: Smallest transverse momentum and energy that features tell apart, relative to the collision energy.
_TINY = 1e-9


@dataclass(slots=True)
class PointCounts:
    """What became of the points so far.

    Args:
        evaluated: All points.
        outside_cuts: Points that no subprocess keeps, those without a physical event included.
        outside_densities: Points inside the cuts whose momentum fractions or scale lie outside the grid of the parton
            densities, which are zero there.
        not_finite: Points whose value was infinite or NaN; it was set to zero.
        negative: Points with a negative value, which was kept.
    """

    evaluated: int = 0
    outside_cuts: int = 0
    outside_densities: int = 0
    not_finite: int = 0
    negative: int = 0


@dataclass(frozen=True, slots=True)
class HardPoints:
    """Everything that is known of points.

    Args:
        momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV, in the frame of the beams; zero where there
            is no such event. The azimuth of the whole event is not random: a map fixes it.
        value: In pb, ``(n,)``, as `mlgen.stages.Evaluated` has it.
        prior: Prior channel weights, ``(n, channels)``.
        features: ``(n, features)``.
        subprocess_values: In pb, ``(n, subprocesses)``; they sum to `value`.
        factorisation_scale: In GeV, ``(n,)``; zero where the value is zero because of the cuts.
        renormalisation_scale: Likewise.
        alpha_s: At the renormalisation scale, ``(n,)``; likewise.
    """

    momenta: FloatArray
    value: FloatArray
    prior: FloatArray
    features: FloatArray
    subprocess_values: FloatArray
    factorisation_scale: FloatArray
    renormalisation_scale: FloatArray
    alpha_s: FloatArray

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True, slots=True)
class Luminosity:
    """The parton densities of each subprocess.

    Args:
        densities: Of the partons in either beam, each once.
        columns: Columns of each subprocess's partons, ``(2, subprocesses)``.
    """

    densities: tuple[PartonDensities, PartonDensities]
    columns: IntArray

    def __call__(self, x: tuple[FloatArray, FloatArray], scale: FloatArray) -> FloatArray:
        """Return ``f_a(x1) f_b(x2)``, ``(n, subprocesses)``."""
        first, second = (density(at, scale) / at[:, None] for density, at in zip(self.densities, x, strict=True))
        return np.asarray(first[:, self.columns[0]] * second[:, self.columns[1]])

    def outside(self, x: tuple[FloatArray, FloatArray], scale: FloatArray) -> npt.NDArray[np.bool_]:
        """Return which points lie outside the grids, ``(n,)``."""
        first, second = (density.outside(at, scale) for density, at in zip(self.densities, x, strict=True))
        return np.asarray(first | second)


class ProcessIntegrand(Integrand):
    r"""The differential cross section in the hypercube, in pb, without channel weights.

    .. math:: f_c(x) = \frac{(\hbar c)^2}{2 \hat s} \sum_{ab} f_a(x_1, \mu_F) f_b(x_2, \mu_F)
              \overline{|M_{ab}|^2}\, J_c(x)

    with the Jacobian of the channel's map, :math:`J_c`.

    Args:
        channels: Name of each channel.
        groups: Group of each channel.
        maps: Of all channels.
        prior: The prior channel weights.
        masks: The cuts.
        matrix_elements: Of each subprocess; one object where subprocesses share it.
        source: What their source is called in an error.
        luminosity: None where the beams themselves collide.
        scales: Factorisation and renormalisation scale.
        coupling: alpha_s at a scale.
        energy: Of the two beams together, in GeV.

    Attributes:
        counts: What became of all points so far.
    """

    def __init__(
        self,
        *,
        channels: Sequence[str],
        groups: Sequence[int],
        maps: ChannelMaps,
        prior: PriorWeights,
        masks: CutMasks,
        matrix_elements: Sequence[MatrixElement],
        source: str,
        luminosity: Luminosity | None,
        scales: tuple[Scale, Scale],
        coupling: Coupling,
        energy: float,
    ) -> None:
        self.channels, self.groups = tuple(channels), tuple(groups)
        self.dimensions = maps.dimensions
        self.counts = PointCounts()
        self._maps, self._prior, self._masks = maps, prior, masks
        self._source = source
        self._luminosity, self._scales, self._coupling, self._energy = luminosity, scales, coupling, energy
        self.subprocesses = len(matrix_elements)
        self._mask_of = np.array(masks.of_subprocess)
        self._elements = _with_members(matrix_elements)
        self.features = features(np.ones((0, maps.particles, 4)), energy).shape[1]

    def with_matrix_elements(self, matrix_elements: Sequence[MatrixElement]) -> ProcessIntegrand:
        """Return the integrand with other matrix elements, one for each subprocess; points are counted together."""
        other = copy.copy(self)
        other._elements = _with_members(matrix_elements)
        return other

    def __call__(self, x: FloatArray, channel: IntArray) -> Evaluated:
        """Evaluate at ``x (n, d)`` for the channels ``(n,)``; see `mlgen.stages.Integrand`.

        Raises:
            MatrixElementFailure: A matrix element failed, or gave something else than a number for each point.
        """
        points = self._evaluated(x, channel, with_subprocesses=False)
        return Evaluated(points.value, points.prior, points.features)

    def points(self, x: FloatArray, channel: IntArray) -> HardPoints:
        """Evaluate, and return all that is known of the points, for events.

        Raises:
            MatrixElementFailure: A matrix element failed, as in a call.
        """
        return self._evaluated(x, channel, with_subprocesses=True)

    def squared(self, momenta: FloatArray, alpha_s: FloatArray, subprocess: IntArray) -> FloatArray:
        """Return |M|^2 of one subprocess at each point, ``(n,)``; zero, and counted, where it is not finite.

        Args:
            momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV.
            alpha_s: ``(n,)``.
            subprocess: Number of the subprocess of each point, ``(n,)``.

        Raises:
            MatrixElementFailure: A matrix element failed, as in a call.
        """
        values = np.zeros(len(momenta))
        for element, members in self._elements:
            own = np.flatnonzero(np.isin(subprocess, members))
            if len(own):
                values[own] = self._squared(element, np.ascontiguousarray(momenta[own]), alpha_s[own])
        finite = np.isfinite(values)
        self.counts.not_finite += int(np.count_nonzero(~finite))
        return np.where(finite, values, 0.0)

    def _evaluated(self, x: FloatArray, channel: IntArray, *, with_subprocesses: bool) -> HardPoints:
        n, channels = len(x), len(self.channels)
        x = np.ascontiguousarray(x, np.float64)
        channel = np.asarray(channel)
        momenta, x1, x2, jacobian = self._maps(x, channel)
        inside, kept = self._inside(momenta, jacobian)
        momenta, x1, x2, jacobian = momenta[inside], x1[inside], x2[inside], jacobian[inside]

        factorisation, renormalisation = (scale(momenta) for scale in self._scales)
        alpha_s = self._coupling(renormalisation)
        flux = HBAR_C_SQUARED / (2 * x1 * x2 * self._energy**2)
        host = np.ascontiguousarray(momenta[..., [1, 2, 3, 0]])
        if self._luminosity is None:
            luminosity = np.ones((len(momenta), self.subprocesses))
        else:
            luminosity = self._luminosity((x1, x2), factorisation)
            self.counts.outside_densities += int(np.count_nonzero(self._luminosity.outside((x1, x2), factorisation)))
        if self._masks.count > 1:
            luminosity = luminosity * kept[:, self._mask_of]
        terms = self._terms(host, alpha_s, luminosity, flux * jacobian, with_subprocesses=with_subprocesses)
        values = terms.sum(axis=1)
        self.counts.evaluated += n
        self.counts.outside_cuts += n - len(inside)
        self.counts.negative += int(np.count_nonzero(values < 0))

        def spread(part: FloatArray, rest: float = 0.0) -> FloatArray:
            whole = np.full((n, *part.shape[1:]), rest)
            whole[inside] = part
            return whole

        return HardPoints(
            momenta=spread(host) if with_subprocesses else host,
            value=spread(values),
            prior=spread(self._prior(momenta), 1 / channels),
            features=spread(features(momenta, self._energy)),
            subprocess_values=spread(terms) if with_subprocesses else terms,
            factorisation_scale=spread(factorisation) if with_subprocesses else factorisation,
            renormalisation_scale=spread(renormalisation) if with_subprocesses else renormalisation,
            alpha_s=spread(alpha_s) if with_subprocesses else alpha_s,
        )

    def _inside(self, momenta: FloatArray, jacobian: FloatArray) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """Points that some subprocess keeps, and for those which sets of cuts do."""
        # A map gives NaN where there is no such event, and a Jacobian of zero outside its own cuts.
        possible = np.flatnonzero(np.isfinite(jacobian) & (jacobian > 0))
        kept = self._masks(momenta if len(possible) == len(momenta) else momenta[possible])
        any_kept = kept.any(axis=1)
        return possible[any_kept], kept[any_kept]

    def _terms(
        self,
        momenta: FloatArray,
        alpha_s: FloatArray,
        luminosity: FloatArray,
        factor: FloatArray,
        *,
        with_subprocesses: bool,
    ) -> FloatArray:
        """Contributions in pb: of each subprocess, or of each matrix element where only the sum is wanted.

        Where the luminosity is zero, because a subprocess is cut away there for instance, the matrix element does not
        matter, be it infinite or NaN.
        """
        columns = self.subprocesses if with_subprocesses else len(self._elements)
        terms = np.zeros((len(momenta), columns))
        if not len(momenta):
            return terms
        for number, (element, members) in enumerate(self._elements):
            squared = self._squared(element, momenta, alpha_s) * factor
            each = luminosity[:, members] if with_subprocesses else luminosity[:, members].sum(axis=1, keepdims=True)
            product = np.multiply(squared[:, None], each, out=np.zeros_like(each), where=each != 0)
            terms[:, members if with_subprocesses else [number]] = product
        finite = np.isfinite(terms).all(axis=1)
        if not finite.all():
            self.counts.not_finite += int(np.count_nonzero(~finite))
            terms[~finite] = 0.0
        return terms

    def _squared(self, element: MatrixElement, momenta: FloatArray, alpha_s: FloatArray) -> FloatArray:
        """|M|^2 of one matrix element, ``(n,)``."""
        with source_errors(self._source):
            squared = np.asarray(element.evaluate(momenta, alpha_s))
        if squared.shape != alpha_s.shape or squared.dtype.kind not in "fiu":
            raise MatrixElementFailure(
                f"matrix elements {self._source}: evaluate gave an array of {squared.dtype} of the shape "
                f"{squared.shape} for {len(momenta)} points; real numbers of the shape {alpha_s.shape} are expected"
            )
        return np.asarray(squared, np.float64)

    def require_phase_space(self) -> None:
        """Look for one point inside the cuts, in all channels.

        Raises:
            ProcessError: There is none among the first; says how many were tried.
        """
        rng = np.random.default_rng(0)
        batch = 2_000
        for start in range(0, _TRIED_POINTS, batch):
            channel = (start + np.arange(batch)) % len(self.channels)
            momenta, _, _, jacobian = self._maps(rng.random((batch, self.dimensions)), channel)
            if len(self._inside(momenta, jacobian)[0]):
                return
            batch = 20_000 if start else batch
        raise ProcessError(
            f"the cuts leave no phase space: of {_TRIED_POINTS} points that were tried, not one is inside; loosen "
            "[process.cuts], or raise the energy"
        )


def _with_members(matrix_elements: Sequence[MatrixElement]) -> list[tuple[MatrixElement, IntArray]]:
    """Each matrix element with the subprocesses that it is the one of."""
    distinct = {id(element): element for element in matrix_elements}
    return [
        (element, np.array([i for i, other in enumerate(matrix_elements) if other is element]))
        for element in distinct.values()
    ]


def features(momenta: FloatArray, energy: float) -> FloatArray:
    r"""Return what a network should see of events: numbers of order one that do not change by a turn about the beam.

    The logarithm of the collision energy and the boost along the beam; for each outgoing particle the logarithms of
    transverse momentum and energy relative to the collision energy, and the rapidity, both seen from the partons'
    centre of mass; and, of three or more, the sine and cosine of its azimuth relative to the first particle.

    Args:
        momenta: ``(n, particles, 4)`` as ``(energy, px, py, pz)`` in GeV.
        energy: Of the two beams together, in GeV.

    Returns:
        ``(n, 5 outgoing)``; ``(n, 8)`` for two outgoing particles, which are back to back.
    """
    total = momenta[:, 0] + momenta[:, 1]
    plus, minus = total[:, 0] + total[:, 3], total[:, 0] - total[:, 3]
    collision_energy = np.sqrt(np.maximum(plus * minus, _TINY))
    boost = np.sqrt(np.maximum(plus, _TINY) / np.maximum(minus, _TINY))[:, None]
    outgoing = momenta[:, 2:]
    # Light-cone momenta in the centre of mass of the partons.
    forward = (outgoing[..., 0] + outgoing[..., 3]) / boost
    backward = (outgoing[..., 0] - outgoing[..., 3]) * boost
    scale = collision_energy[:, None]
    forward, backward = (np.maximum(part, _TINY * scale) for part in (forward, backward))
    transverse = np.maximum(np.hypot(outgoing[..., 1], outgoing[..., 2]), _TINY * scale)
    columns = [
        0.5 * np.log(collision_energy / energy)[:, None] + 1.0,
        np.log(boost),
        0.5 * np.log(transverse / scale) + 1.0,
        0.5 * np.log(0.5 * (forward + backward) / scale) + 0.5,
        0.25 * np.log(forward / backward),
    ]
    if outgoing.shape[1] > 2:
        cosine, sine = outgoing[..., 1] / transverse, outgoing[..., 2] / transverse
        columns.append(cosine[:, 1:] * cosine[:, :1] + sine[:, 1:] * sine[:, :1])
        columns.append(sine[:, 1:] * cosine[:, :1] - cosine[:, 1:] * sine[:, :1])
    return np.concatenate(columns, axis=1)
