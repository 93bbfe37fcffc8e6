"""The maps of the channels from the unit hypercube to momenta, and the prior channel weights, by way of madspace."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mlgen.errors import ProcessError
from mlgen.hard_process.channels import Channel, vertices
from mlgen.hard_process.cuts import Cut, PhaseSpaceLimits, madspace_cuts
from mlgen.hard_process.symmetry import ChannelGroups
from mlgen.stages import FloatArray, IntArray

#: Raised whenever a point of the hypercube becomes another event, or has another prior or other features, than before:
#: when channels, their order, groups, maps or features change. Models that were trained with another one do not fit.
MAPS_VERSION = 1

#: Points of a map from which it is found out which of its coordinates is an azimuth.
_FEWEST_FOR_AZIMUTH = 8


@functools.cache
def madspace_context(threads: int) -> Any:
    """Return the madspace context with that many threads, one of each number in a process.

    Every point is computed for itself, so that the number of threads changes no result.
    """
    import madspace

    return madspace.Context(threads)


def _diagram(channel: Channel, masses: Sequence[float], limits: PhaseSpaceLimits) -> Any:
    import madspace

    outgoing = frozenset(range(len(masses) - 2))
    propagators = []
    for number, line in enumerate(channel.lines):
        low, high = 0.0, math.inf
        if line.is_s_channel:
            slots = frozenset(leg - 2 for leg in line.legs)
            low = limits.minimum_energy() if slots == outgoing else limits.minimum_mass(slots)
            high = limits.maximum_mass(slots)
            if high <= low:
                raise ProcessError(
                    f"the cuts leave no phase space: the particles of one line of the channel '{channel.name}' have a "
                    f"mass of {low:g} GeV or more together, but may have {high:g} GeV at most"
                )
            # madspace minds the external masses by itself, and takes 0 for no limit.
            if low <= sum(masses[leg] for leg in line.legs):
                low = 0.0
        high = 0.0 if math.isinf(high) else high
        # The PDG id of a line is of no consequence to a map: here it says which line it is.
        propagators.append(madspace.Propagator(line.mass, line.width, 0, low, high, number + 1))
    lines = [[madspace.LineRef(line) for line in vertex] for vertex in vertices(channel, len(masses))]
    return madspace.Diagram(list(masses[:2]), list(masses[2:]), propagators, lines)


class Topologies:
    """What madspace makes of diagrams: one or more topologies each.

    Args:
        diagrams: Channels without a choice of resonances.
        masses: Of all external particles, the incoming ones first, in GeV.
        limits: What is known of invariant masses.

    Attributes:
        channels: A channel for each topology: where the resonances of a diagram cannot all be on their mass shells at
            once, there is one for each set that can.

    References:
        Heimel, Mattelaer, Winterhalder, arXiv:2602.06895, section 2.2.7.
    """

    def __init__(self, diagrams: Iterable[Channel], masses: Sequence[float], limits: PhaseSpaceLimits) -> None:
        import madspace

        self.of_diagram: list[list[Any]] = []
        self.channels: list[Channel] = []
        self._by_channel: dict[Channel, tuple[int, Any]] = {}
        for number, diagram in enumerate(diagrams):
            topologies = list(madspace.Topology.topologies(_diagram(diagram, masses, limits)))
            self.of_diagram.append(topologies)
            for topology in topologies:
                held = frozenset(diagram.lines[decay.pdg_id - 1] for decay in topology.decays if decay.on_shell)
                channel = diagram if len(topologies) == 1 else dataclasses.replace(diagram, on_shell=held)
                self.channels.append(channel)
                self._by_channel[channel] = number, topology

    def topology(self, channel: Channel) -> Any:
        """Return the topology of a channel."""
        return self._by_channel[channel][1]

    def diagram(self, channel: Channel) -> int:
        """Return the number of a channel's diagram."""
        return self._by_channel[channel][0]


class PriorWeights:
    r"""Prior channel weights from the propagators.

    .. math:: \alpha_i = \frac{P_i}{\sum_j P_j}, \qquad
              P_i = \prod_{k \in \mathrm{prop}} \frac{1}{|p_k^2 - m_k^2 - i m_k \Gamma_k|^2}

    over the channels that are there; a diagram that makes several channels shares its weight out among them by their
    resonances.

    Args:
        channels: The channels.
        topologies: Of their diagrams.
        particles: Number of external particles.
        context: The madspace context.

    References:
        Plehn et al., Modern Machine Learning for LHC Physicists, arXiv:2211.01421, eq. 4.115; Mattelaer, Ostrolenk,
        arXiv:2102.00773.
    """

    def __init__(self, channels: Sequence[Channel], topologies: Topologies, particles: int, context: Any) -> None:
        import madspace

        identity = [list(range(particles))]
        diagrams = list(dict.fromkeys(map(topologies.diagram, channels)))
        own = [topologies.of_diagram[diagram] for diagram in diagrams]
        weights = madspace.PropagatorChannelWeights(
            [one[0] for one in own], [identity] * len(own), [[i] for i in range(len(own))]
        )
        self._weights = madspace.FunctionRuntime(weights.function(), context)
        self.count = len(channels)
        # One function for each diagram with several channels: given all diagrams at once, madspace takes the weight of
        # those with one channel from the column of their output, which is not that of their input.
        self._shares = [
            madspace.FunctionRuntime(
                madspace.SubchannelWeights([one], [identity], [list(range(len(one)))]).function(), context
            )
            if len(one) > 1
            else None
            for one in own
        ]
        every = [channel for channel in topologies.channels if topologies.diagram(channel) in diagrams]
        # The columns as they come: diagram by diagram, a diagram's own channels one after the other.
        every.sort(key=lambda channel: diagrams.index(topologies.diagram(channel)))
        self._columns = [every.index(channel) for channel in channels]

    def __call__(self, momenta: FloatArray) -> FloatArray:
        """Return the weights, ``(n, channels)``, for ``momenta (n, particles, 4)`` as ``(energy, px, py, pz)``."""
        if not len(momenta):
            return np.zeros((0, self.count))
        # What madspace gives are views with points along the last stride.
        weights = np.ascontiguousarray(self._weights(momenta), np.float64)
        if all(shares is None for shares in self._shares):
            return weights
        parts = []
        for column, shares in enumerate(self._shares):
            own = np.ascontiguousarray(weights[:, column : column + 1])
            parts.append(own if shares is None else np.asarray(shares(momenta, own), np.float64))
        weights = np.ascontiguousarray(np.concatenate(parts, axis=1)[:, self._columns])
        total = weights.sum(axis=1, keepdims=True)
        # Where all channels that are left vanish, each is as good as the other.
        return np.where(total > 0, weights / np.where(total > 0, total, 1.0), 1 / self.count)


def _azimuth(runtime: Any, dimensions: int) -> int | None:
    """Return the coordinate of a map that is the azimuth of some cluster of outgoing particles, None if there is none.

    Args:
        runtime: The map.
        dimensions: Number of its coordinates.
    """
    x = np.random.default_rng(0).random((64, dimensions))
    momenta = np.asarray(runtime(x)[0])[:, 2:]
    momenta = momenta[possible := np.isfinite(momenta).all(axis=(1, 2))]
    if len(momenta) < _FEWEST_FOR_AZIMUTH:
        return None
    angle = 2 * np.pi * x[possible]
    outgoing = momenta.shape[1]
    for size in range(1, outgoing):
        for cluster in itertools.combinations(range(outgoing), size):
            total = momenta[:, list(cluster)].sum(axis=1)
            azimuth = np.arctan2(total[:, 2], total[:, 1])[:, None]
            for turned in (azimuth - angle, azimuth + angle):
                # Equal to within rounding for all points, up to full turns.
                direction = np.exp(1j * turned)
                found = np.flatnonzero(np.abs(direction - direction[0]).max(axis=0) < 1e-6)
                if len(found):
                    return int(found[0])
    return None


class ChannelMaps:
    """The maps of all channels.

    There is one for each group of mirror images: the other members' momenta are exchanged afterwards, so that they are
    the same function of the hypercube.

    Nothing depends on a turn of the whole event about the beams. In each map one coordinate is the azimuth of a cluster
    of outgoing particles, whatever the others are; it is held fixed, and `mlgen.hard_process.event_record` turns each
    event by a random angle. That is exact, since the Jacobian is a function of invariants: it takes away one dimension,
    and makes what depends on differences of azimuths (collinear particles) a matter of fewer coordinates.

    Args:
        channels: The channels.
        groups: Their groups.
        topologies: Of their diagrams.
        energy: Of the two beams together, in GeV.
        cuts: Cuts that hold in all subprocesses.
        limits: What is known of invariant masses.
        leptonic: Whether the beams themselves collide, rather than partons in them.
        context: The madspace context.

    Attributes:
        dimensions: Of the hypercube.
        particles: Number of external particles.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        groups: ChannelGroups,
        topologies: Topologies,
        *,
        energy: float,
        cuts: frozenset[Cut],
        limits: PhaseSpaceLimits,
        leptonic: bool,
        context: Any,
    ) -> None:
        import madspace

        outgoing = len(channels[0].lines) + 1
        inside = madspace_cuts(cuts, outgoing, 0.0 if leptonic else limits.minimum_energy())
        self._runtimes, dimensions = [], 0
        for representative in groups.representative:
            topology = topologies.topology(channels[representative])
            mapping = madspace.PhaseSpaceMapping(topology, energy, leptonic, cuts=inside)
            self._runtimes.append(madspace.FunctionRuntime(mapping.forward_function(), context))
            dimensions = mapping.random_dim()
        # Without parton densities a pair has two coordinates only; samplers are left something to do.
        found = [_azimuth(runtime, dimensions) for runtime in self._runtimes] if dimensions > 2 else []
        azimuths = [coordinate for coordinate in found if coordinate is not None]
        self._azimuths = azimuths if len(azimuths) == len(self._runtimes) else []
        self.dimensions = dimensions - 1 if self._azimuths else dimensions
        self._group = np.array(groups.number)
        self.particles = outgoing + 2
        self._source, self._signs = groups.source(), groups.signs()
        self._moves = np.array([not symmetry.is_identity for symmetry in groups.symmetry])

    def __call__(self, x: FloatArray, channel: IntArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Map points.

        Args:
            x: In the hypercube, ``(n, dimensions)``.
            channel: Of each point, ``(n,)``.

        Returns:
            Momenta ``(n, particles, 4)`` as ``(energy, px, py, pz)`` in the frame of the beams, GeV; the momentum
            fractions of the two partons, ``(n,)`` each; and the Jacobian ``(n,)`` of phase space and momentum
            fractions, with all factors of 2 pi, zero (or NaN) where there is no such point.
        """
        n = len(x)
        momenta, fractions = np.empty((n, self.particles, 4)), np.empty((2, n))
        jacobian = np.empty(n)
        group = self._group[channel]
        order = np.argsort(group, kind="stable")
        ends = np.cumsum(np.bincount(group, minlength=len(self._runtimes)))
        positions = np.ascontiguousarray(x[order])
        start = 0
        for number, (runtime, end) in enumerate(zip(self._runtimes, ends.tolist(), strict=True)):
            if end > start:
                at, inside = order[start:end], positions[start:end]
                if self._azimuths:
                    inside = np.insert(inside, self._azimuths[number], 0.5, axis=1)
                momenta[at], fractions[0, at], fractions[1, at], jacobian[at] = map(np.asarray, runtime(inside))
            start = end
        moved = np.flatnonzero(self._moves[channel])
        if len(moved):
            which = channel[moved]
            source = self._source[which]
            momenta[moved] = momenta[moved[:, None], source] * self._signs[which][:, None, :]
            fractions[:, moved] = fractions[source[:, :2].T, moved]
        return momenta, fractions[0], fractions[1], jacobian
