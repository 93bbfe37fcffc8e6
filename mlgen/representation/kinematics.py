"""Momenta of one decay tree <-> coordinates without constraints.

Whatever the coordinates are, the momenta that come out conserve four-momentum and stand on their mass shells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mlgen.events import FloatArray, invariant_mass
from mlgen.representation.decay_tree import DecayTree
from mlgen.representation.frames import (
    boosted_along_z,
    breakup_momentum,
    from_collins_soper,
    from_local,
    to_collins_soper,
    to_local,
)

BoolArray = npt.NDArray[np.bool_]
Frame = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]

#: Relative precision with which a decoded event conserves momentum and decaying particles have their masses.
_PRECISION = 1e-9


@dataclass(frozen=True)
class Kinematics:
    """Invertible map between the momenta of a decay tree and coordinates.

    The coordinates, in the order of `names`:

    - ``mass i``: mass of each particle whose mass varies, and of each system of particles;
    - ``pt i``, ``azimuth i``, ``rapidity i``: of each particle from the hard scattering. One of them, the *recoiler*,
      has a rapidity only: its transverse momentum balances the others'. The first azimuth is left out, because
      events of unpolarised beams have no preferred azimuth; it is drawn uniformly when events are made;
    - ``cos_theta i``, ``phi i``: direction of the first product of each decay, in the rest frame of the decaying
      particle and along the axes of its helicity frame; for a particle from the hard scattering along those of Collins
      and Soper. A single such particle has the beam as its axis, and its first ``phi`` is left out like an azimuth
      above.

    ``i`` is the particle's number in the event, counted from 1 as in the file; ``i+j`` is a system of two.
    The incoming momenta follow from the sum.

    Args:
        tree: Who decays to whom.
        reversed_beams: Whether the first incoming particle moves towards -z.
        variable_mass: Particles whose mass is a coordinate, shape ``(particles,)``.
        recoiler: Position of the recoiler in ``tree.top``.
        seams: Where the interval of length 2 pi of each angle begins, shape ``(coordinates,)``; 0 for the others.
    """

    tree: DecayTree
    reversed_beams: bool
    variable_mass: BoolArray
    recoiler: int
    seams: FloatArray | None = None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Name of each coordinate."""
        names = [f"mass {self.label(node)}" for node in self._mass_nodes]
        for node in self._balanced:
            names += [f"pt {self.label(node)}"]
            if node != self._balanced[0]:
                names += [f"azimuth {self.label(node)}"]
        names += [f"rapidity {self.label(node)}" for node in self.tree.top]
        for node in self.tree.decays():
            names += [f"cos_theta {self.label(node)}"]
            if not self._is_axis_free(node):
                names += [f"phi {self.label(node)}"]
        return tuple(names)

    @property
    def angles(self) -> list[int]:
        """Coordinates that are angles with a period of 2 pi."""
        return [i for i, name in enumerate(self.names) if name.startswith(("azimuth", "phi"))]

    def label(self, node: int) -> str:
        """Return the name of a node: numbers of its particles, counted from 1."""
        return "+".join(str(row + 1) for row in self.tree.products(node))

    @cached_property
    def _mass_nodes(self) -> list[int]:
        return [i for i, node in enumerate(self.tree.nodes) if node.row < 0 or self.variable_mass[node.row]]

    @cached_property
    def _balanced(self) -> list[int]:
        """Particles from the hard scattering but the recoiler."""
        return [node for position, node in enumerate(self.tree.top) if position != self.recoiler]

    @cached_property
    def _descendants(self) -> list[list[int]]:
        below: list[list[int]] = [[] for _ in self.tree.nodes]
        for index in reversed(range(len(self.tree.nodes))):
            for child in self.tree.nodes[index].children:
                below[index] += [child, *below[child]]
        return below

    def _is_axis_free(self, node: int) -> bool:
        """Whether the azimuth of the node's decay is that of the whole event."""
        return self.tree.top == (node,)

    def _to_local(self, node: int) -> Frame:
        return to_collins_soper if node in self.tree.top else to_local

    def _from_local(self, node: int) -> Frame:
        return from_collins_soper if node in self.tree.top else from_local

    def encode(self, momenta: FloatArray, masses: FloatArray) -> FloatArray:
        """Coordinates of events.

        Args:
            momenta: ``(px, py, pz, energy)`` in GeV, shape ``(n, particles, 4)``; only the three-momenta of outgoing
                particles are used.
            masses: Mass of each particle in GeV, shape ``(n, particles)``; only those of outgoing particles are used.

        Returns:
            Shape ``(n, coordinates)``.
        """
        four, mass = self._node_momenta(momenta, masses)
        top = self.tree.top
        reference = self._balanced[0] if self._balanced else (self.tree.nodes[top[0]].children or top)[0]
        four = _rotated(four, -np.arctan2(four[reference, :, 1], four[reference, :, 0]))
        values = [mass[node] for node in self._mass_nodes]
        for node in self._balanced:
            values.append(np.hypot(four[node, :, 0], four[node, :, 1]))
            if node != self._balanced[0]:
                values.append(np.arctan2(four[node, :, 1], four[node, :, 0]))
        values += [_rapidity(four[node], mass[node]) for node in top]
        total = four[list(top)].sum(axis=0)
        back = -_rapidity(total, invariant_mass(*total.T))
        local = np.stack([boosted_along_z(momentum, back) for momentum in four])
        if len(top) == 1:
            local[top[0], :, :3] = 0.0
        for node in self.tree.decays():
            for below in self._descendants[node]:
                local[below] = self._to_local(node)(local[below], local[node], mass[node])
            x, y, z, _ = local[self.tree.nodes[node].children[0]].T
            values.append(np.cos(np.arctan2(np.hypot(x, y), z)))
            if not self._is_axis_free(node):
                values.append(np.arctan2(y, x))
        return self.wrapped(np.stack(values, axis=1))

    def _node_momenta(self, momenta: FloatArray, masses: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Momentum ``(nodes, n, 4)`` and mass ``(nodes, n)`` of each node, from the outgoing particles alone."""
        nodes = self.tree.nodes
        four = np.zeros((len(nodes), len(momenta), 4))
        mass = np.zeros((len(nodes), len(momenta)))
        for index in reversed(range(len(nodes))):
            row, children = nodes[index].row, list(nodes[index].children)
            if children:
                four[index] = four[children].sum(axis=0)
                mass[index] = invariant_mass(*four[index].T)
            else:
                four[index] = on_shell(momenta[:, row, :3], masses[:, row])
                mass[index] = masses[:, row]
        return four, mass

    def wrapped(self, values: FloatArray) -> FloatArray:
        """Bring each angle into its interval of length 2 pi; changes `values` ``(n, coordinates)`` in place."""
        if self.seams is not None:
            for angle in self.angles:
                values[:, angle] = self.seams[angle] + np.mod(values[:, angle] - self.seams[angle], 2 * np.pi)
        return values

    def with_seams(self, values: FloatArray, weight: FloatArray) -> Kinematics:
        """Return a copy that cuts each angle open where the fewest events are: at pi, 0 or a right angle.

        A network that sees an angle as a number on a line must not find a peak at both ends of it.

        Args:
            values: Coordinates, shape ``(n, coordinates)``.
            weight: Shape ``(n,)``.
        """
        seams = np.zeros(len(self.names))
        places = np.pi * np.array([-1.0, 0.0, -0.5, 0.5])
        for angle in self.angles:
            near = [weight[np.cos(values[:, angle] - place) > np.cos(np.pi / 8)].sum() for place in places]
            seams[angle] = places[int(np.argmin(near))]
        return replace(self, seams=seams)

    def decode(
        self, values: FloatArray, masses: FloatArray, azimuth: FloatArray
    ) -> tuple[FloatArray, FloatArray, BoolArray]:
        """Momenta of events from their coordinates.

        Args:
            values: Coordinates, shape ``(n, coordinates)``.
            masses: Mass of each particle that does not vary, NaN for those that do, shape ``(n, particles)``.
            azimuth: Azimuth by which each event is turned around the beam, shape ``(n,)``.

        Returns:
            Momenta ``(n, particles, 4)``, masses ``(n, particles)``, and which events are possible, ``(n,)``: a
            particle is not lighter than its products, and everything is finite.
        """
        # Impossible events give NaN on the way and are reported as such.
        with np.errstate(all="ignore"):
            return self._decode(dict(zip(self.names, values.T, strict=True)), masses, azimuth)

    def _decode(
        self, value: dict[str, FloatArray], masses: FloatArray, azimuth: FloatArray
    ) -> tuple[FloatArray, FloatArray, BoolArray]:
        nodes = self.tree.nodes
        mass = np.stack([masses[:, node.row] if node.row >= 0 else np.full(len(masses), np.nan) for node in nodes])
        for node in self._mass_nodes:
            mass[node] = np.where(np.isfinite(mass[node]), mass[node], value[f"mass {self.label(node)}"])
        local = np.zeros((len(nodes), len(masses), 4))
        for node in self._balanced:
            pt = value[f"pt {self.label(node)}"]
            phi = value.get(f"azimuth {self.label(node)}", np.zeros_like(pt))
            local[node, :, 0], local[node, :, 1] = pt * np.cos(phi), pt * np.sin(phi)
        if self._balanced:
            local[self.tree.top[self.recoiler], :, :2] = -local[self._balanced, :, :2].sum(axis=0)
        for node in self.tree.top:
            transverse_mass = np.hypot(mass[node], np.hypot(local[node, :, 0], local[node, :, 1]))
            rapidity = value[f"rapidity {self.label(node)}"]
            local[node, :, 2], local[node, :, 3] = (
                transverse_mass * np.sinh(rapidity),
                transverse_mass * np.cosh(rapidity),
            )
        total = local[list(self.tree.top)].sum(axis=0)
        boost = _rapidity(total, invariant_mass(*total.T))
        for node in self.tree.top:
            local[node] = boosted_along_z(local[node], -boost)
        if len(self.tree.top) == 1:
            local[self.tree.top[0], :, :3] = 0.0
        for node in self.tree.decays():
            self._place_products(node, value, mass, local)
        for node in reversed(self.tree.decays()):
            for below in self._descendants[node]:
                local[below] = self._from_local(node)(local[below], local[node], mass[node])
        lab = np.stack([boosted_along_z(momentum, boost) for momentum in local])
        return self._finished(_rotated(lab, azimuth), mass, masses)

    def _place_products(self, node: int, value: dict[str, FloatArray], mass: FloatArray, local: FloatArray) -> None:
        """Set the momenta of a decay's two products in the rest frame of the decaying particle."""
        first, second = self.tree.nodes[node].children
        momentum = breakup_momentum(mass[node], mass[first], mass[second])
        cos_theta = value[f"cos_theta {self.label(node)}"]
        sin_theta = np.sqrt(np.clip(1 - cos_theta**2, 0.0, None))
        phi = value.get(f"phi {self.label(node)}", np.zeros_like(cos_theta))
        space = momentum[:, None] * np.column_stack([sin_theta * np.cos(phi), sin_theta * np.sin(phi), cos_theta])
        local[first] = on_shell(space, mass[first])
        local[second] = on_shell(-space, mass[second])

    def _finished(
        self, lab: FloatArray, mass: FloatArray, masses: FloatArray
    ) -> tuple[FloatArray, FloatArray, BoolArray]:
        """Energies from the mass shell, decaying and incoming particles from sums: exact in double precision."""
        momenta = np.zeros((*masses.shape, 4))
        finished_masses = masses.copy()
        for index in reversed(range(len(self.tree.nodes))):
            node = self.tree.nodes[index]
            children = list(node.children)
            lab[index] = lab[children].sum(axis=0) if children else on_shell(lab[index, :, :3], mass[index])
            if node.row >= 0:
                momenta[:, node.row], finished_masses[:, node.row] = lab[index], mass[index]
        outgoing = [i for i, node in enumerate(self.tree.nodes) if not node.children]
        plus, minus = _light_cone(lab[outgoing], mass[outgoing])
        forward, backward = reversed(self.tree.incoming) if self.reversed_beams else self.tree.incoming
        momenta[:, forward], momenta[:, backward] = incoming_pair(plus, minus, masses[:, forward], masses[:, backward])
        possible = np.isfinite(momenta).all(axis=(1, 2)) & np.isfinite(finished_masses).all(axis=1)
        possible &= (momenta[:, forward, 2] > 0) & (momenta[:, backward, 2] < 0)
        # Numbers far out of all samples, such as rapidities of 30, exceed what double precision holds.
        possible &= np.all(momenta[:, :, 3] > 0, axis=1)
        lost = momenta[:, forward] + momenta[:, backward] - lab[outgoing].sum(axis=0)
        possible &= np.all(np.abs(lost) <= _PRECISION * lab[outgoing, :, 3].sum(axis=0)[:, None], axis=1)
        for index in self.tree.decays():
            off_shell = lab[index, :, 3] ** 2 - np.square(lab[index, :, :3]).sum(axis=1) - mass[index] ** 2
            possible &= np.abs(off_shell) <= _PRECISION * lab[index, :, 3] ** 2
        return momenta, finished_masses, possible


def on_shell(space: FloatArray, mass: FloatArray) -> FloatArray:
    """Four-momenta ``(n, 4)`` from three-momenta ``(n, 3)`` and masses ``(n,)``."""
    return np.column_stack([space, np.sqrt((space**2).sum(axis=1) + mass**2)])


def incoming_pair(
    plus: FloatArray, minus: FloatArray, mass_forward: FloatArray, mass_backward: FloatArray
) -> tuple[FloatArray, FloatArray]:
    r"""Incoming momenta along z with the given total.

    In the rest frame of the pair their energies and momentum are those of a two-body decay; light-cone components
    :math:`p^\pm = E \pm p_z` scale with the boost, and the small one of each follows from
    :math:`p^+ p^- = m^2`, so that nothing cancels.

    Args:
        plus: E + pz of the pair, shape ``(n,)``.
        minus: E - pz of the pair, shape ``(n,)``.
        mass_forward: Mass of the particle that moves towards +z, shape ``(n,)``.
        mass_backward: Mass of the other.

    Returns:
        Both four-momenta, shape ``(n, 4)``.
    """
    total_mass = np.sqrt(plus * minus)
    momentum = breakup_momentum(total_mass, mass_forward, mass_backward)
    result = []
    for mass, total, sign in ((mass_forward, plus, 1.0), (mass_backward, minus, -1.0)):
        large = total * (np.hypot(momentum, mass) + momentum) / total_mass
        small = mass**2 / large
        zero = np.zeros_like(large)
        result.append(np.column_stack([zero, zero, sign * (large - small) / 2, (large + small) / 2]))
    return result[0], result[1]


def _light_cone(momenta: FloatArray, mass: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sum of E + pz and of E - pz over particles, ``(particles, n, 4)``, without cancellation."""
    transverse = momenta[..., 0] ** 2 + momenta[..., 1] ** 2 + mass**2
    large = momenta[..., 3] + np.abs(momenta[..., 2])
    small = transverse / large
    forward = momenta[..., 2] >= 0
    return np.where(forward, large, small).sum(axis=0), np.where(forward, small, large).sum(axis=0)


def _rapidity(momentum: FloatArray, mass: FloatArray) -> FloatArray:
    transverse_mass = np.hypot(mass, np.hypot(momentum[:, 0], momentum[:, 1]))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.arcsinh(momentum[:, 2] / transverse_mass))


def _rotated(momenta: FloatArray, azimuth: FloatArray) -> FloatArray:
    """Turn momenta ``(particles, n, 4)`` around z."""
    cos, sin = np.cos(azimuth), np.sin(azimuth)
    result = momenta.copy()
    result[..., 0] = cos * momenta[..., 0] - sin * momenta[..., 1]
    result[..., 1] = sin * momenta[..., 0] + cos * momenta[..., 1]
    return result
