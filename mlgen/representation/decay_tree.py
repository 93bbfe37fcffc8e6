"""The tree of a hard event: who came from the hard scattering, and who decayed to whom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlgen.events import FloatArray
from mlgen.representation.classes import INCOMING, MOTHER1, MOTHER2, PDG_ID, STATUS, IntArray

OUTGOING = 1
RESONANCE = 2


class StructureError(Exception):
    """A class of events is built in a way that has no tree; the message says why. Never leaves the package."""


@dataclass(frozen=True, slots=True)
class Node:
    """A particle, or a system of several: the rest of a many-body decay, or a pair of leptons.

    Args:
        row: The particle's row in the event, counted from 0; -1 for a system of several particles that is none.
        children: Indices of the two nodes that it decays to in `DecayTree.nodes`; empty for an outgoing particle.
    """

    row: int
    children: tuple[int, ...]


@dataclass(frozen=True)
class DecayTree:
    """The particles of an event as a tree of two-body decays.

    A decay to three or more bodies is a chain of two-body ones: the first product and the rest, whose invariant mass
    is one more number. Two leptons that come directly from the hard scattering are taken as the products of a boson
    that the file does not show, because their invariant mass is what matters.

    Args:
        incoming: Rows of the two incoming particles.
        top: Nodes that the hard scattering made.
        nodes: All nodes, parents before their children.
    """

    incoming: tuple[int, int]
    top: tuple[int, ...]
    nodes: tuple[Node, ...]

    @classmethod
    def from_rows(cls, rows: IntArray) -> DecayTree:
        """Build the tree from the particles of an event, shape ``(particles, 6)``.

        Raises:
            StructureError: There is no such tree.
        """
        status = rows[:, STATUS]
        unknown = sorted(set(status.tolist()) - {INCOMING, OUTGOING, RESONANCE})
        if unknown:
            raise StructureError(f"status {unknown[0]} (only -1, 1 and 2 can be represented)")
        incoming = np.flatnonzero(status == INCOMING)
        if len(incoming) != 2:
            raise StructureError(f"{len(incoming)} incoming particles (2 can be represented)")
        top, children = _mother_links(rows, set(incoming.tolist()))
        nodes: list[Node] = []
        pair = lepton_pair(rows, top)
        roots = [_add(row, rows, children, nodes) for row in top if row not in pair]
        if pair:
            roots.append(_add_system(list(pair), rows, children, nodes))
        reached = {node.row for node in nodes} - {-1}
        if len(reached) != len(rows) - 2:
            lost = min(set(range(len(rows))) - reached - set(incoming.tolist()))
            raise StructureError(f"particle {lost + 1} does not come from the hard scattering")
        return cls((int(incoming[0]), int(incoming[1])), tuple(roots), tuple(nodes))

    def products(self, node: int) -> list[int]:
        """Rows of the particles that a node stands for: its own, or those of its parts."""
        if self.nodes[node].row >= 0:
            return [self.nodes[node].row]
        return [row for child in self.nodes[node].children for row in self.products(child)]

    def top_momenta(self, momenta: FloatArray) -> FloatArray:
        """Momenta of what the hard scattering made, before decays: ``(nodes, n, 4)`` of ``(n, particles, 4)``."""
        return np.stack([momenta[:, self.products(node)].sum(axis=1) for node in self.top])

    def decays(self) -> list[int]:
        """Nodes that decay, parents before their children."""
        return [index for index, node in enumerate(self.nodes) if node.children]


def lepton_pair(rows: IntArray, top: list[int]) -> tuple[int, ...]:
    """Return the two rows of `top` that are outgoing leptons; none when there are more or fewer."""
    leptons = tuple(row for row in top if rows[row, STATUS] == OUTGOING and 11 <= abs(rows[row, PDG_ID]) <= 16)
    return leptons if len(leptons) == 2 else ()


def _mother_links(rows: IntArray, incoming: set[int]) -> tuple[list[int], dict[int, list[int]]]:
    """Return the rows that the hard scattering made, and the children of each row."""
    top: list[int] = []
    children: dict[int, list[int]] = {}
    for row in range(len(rows)):
        if row in incoming:
            continue
        mothers = {int(rows[row, column]) - 1 for column in (MOTHER1, MOTHER2)} - {-1}
        if not mothers or mothers <= incoming:
            top.append(row)
        elif len(mothers) == 1 and (mother := mothers.pop()) < len(rows) and rows[mother, STATUS] == RESONANCE:
            children.setdefault(mother, []).append(row)
        else:
            raise StructureError(f"mothers of particle {row + 1} are neither the incoming pair nor one resonance")
    if not top:
        raise StructureError("no particle comes from the hard scattering")
    return top, children


def _add(row: int, rows: IntArray, children: dict[int, list[int]], nodes: list[Node]) -> int:
    products = children.get(row, [])
    if rows[row, STATUS] == RESONANCE and len(products) < 2:
        raise StructureError(f"resonance {row + 1} has {len(products)} decay products (2 or more are expected)")
    index = len(nodes)
    nodes.append(Node(row, ()))
    nodes[index] = Node(row, _add_products(products, rows, children, nodes))
    return index


def _add_products(
    products: list[int], rows: IntArray, children: dict[int, list[int]], nodes: list[Node]
) -> tuple[int, ...]:
    if not products:
        return ()
    first = _add(products[0], rows, children, nodes)
    if len(products) == 2:
        return first, _add(products[1], rows, children, nodes)
    return first, _add_system(products[1:], rows, children, nodes)


def _add_system(products: list[int], rows: IntArray, children: dict[int, list[int]], nodes: list[Node]) -> int:
    index = len(nodes)
    nodes.append(Node(-1, ()))
    nodes[index] = Node(-1, _add_products(products, rows, children, nodes))
    return index
