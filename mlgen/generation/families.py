"""Families of topologies: the same core with any number of jets, learned by one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mlgen.events import FloatArray
from mlgen.representation import Topology, TopologyEvents

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
FloatArray32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Block:
    """Columns that are learned by one density, given the columns before them.

    Args:
        first: First column.
        last: The column behind the last one.
        given: Columns that are given: the first so many.
        members: Topologies that have it, ``(topologies,)``.
    """

    first: int
    last: int
    given: int
    members: BoolArray


@dataclass(frozen=True)
class Family:
    """Topologies whose momenta begin with the same coordinates.

    Rows of a family have the columns of all its members, with zeros where a topology has none: first what does not
    depend on jets, then each jet, then scale and couplings of each topology.

    Args:
        topologies: Their numbers in the representation, by rising number of jets.
        columns: Columns of each topology's points, one array ``(dimension,)`` for each.
        blocks: The blocks.

    References:
        Eq. (4.91) of Plehn et al., arXiv:2211.01421; arXiv:2110.13632, sec. 2.
    """

    topologies: tuple[int, ...]
    columns: tuple[IntArray, ...]
    blocks: tuple[Block, ...]

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.blocks[-1].last if self.blocks else 0

    def rows(self, number: int, points: FloatArray) -> FloatArray32:
        """Points ``(..., dimension)`` of the member `number` as rows ``(..., width)``."""
        rows = np.zeros((*points.shape[:-1], self.width), np.float32)
        rows[..., self.columns[number]] = points
        return rows


@dataclass(frozen=True)
class FamilyEvents:
    """Training events of a family.

    Args:
        rows: One array for each mirror image, ``(images, n, width)``.
        topology: Number of each event's topology within the family, ``(n,)``.
        weight: Signed weights, mean of the absolute values over the whole file 1, ``(n,)``.
        held_out: Events that are not learned from, ``(n,)``.
        variations: Named weights relative to the nominal one, ``(names, n)``.
    """

    rows: FloatArray32
    topology: IntArray
    weight: FloatArray
    held_out: BoolArray
    variations: FloatArray

    def __len__(self) -> int:
        return len(self.topology)


def find_families(topologies: Sequence[Topology]) -> list[Family]:
    """Group topologies; the first family is that of the most probable one."""
    order = sorted(range(len(topologies)), key=lambda k: len(topologies[k].jets))
    groups: list[list[int]] = []
    for k in order:
        for group in groups:
            if _fit_together(topologies[group[-1]], topologies[k]):
                group.append(k)
                break
        else:
            groups.append([k])
    groups.sort(key=min)
    return [_family(tuple(group), [topologies[k] for k in group]) for group in groups]


def family_events(
    family: Family, topologies: Sequence[Topology], events: Sequence[TopologyEvents], held_out: Sequence[BoolArray]
) -> FamilyEvents:
    """Put the events of a family's topologies together; `held_out` is by topology of the representation."""
    chosen = [events[k] for k in family.topologies]
    rows = [family.rows(number, one.points) for number, one in enumerate(chosen)]
    return FamilyEvents(
        np.concatenate(rows, axis=1),
        np.concatenate([np.full(len(one.weight), number) for number, one in enumerate(chosen)]).astype(np.int64),
        np.concatenate([one.weight for one in chosen]),
        np.concatenate([held_out[k] for k in family.topologies]),
        np.concatenate([one.variations for one in chosen], axis=1),
    )


def _roles(topology: Topology) -> list[tuple[int, str]]:
    """Block and name of each number of the momenta, with particles named by what they are to the event."""
    numbers = {row: f"jet{place}" for place, row in enumerate(topology.jets, start=1)}
    others = [row for row in range(topology.particles) if row not in numbers]
    numbers |= {row: f"core{place}" for place, row in enumerate(others)}
    roles = []
    for name, block in zip(topology.names[: topology.kinematic], topology.blocks, strict=True):
        kind, label = name.split(" ", 1)
        rows = [numbers[int(part) - 1] for part in label.split("+")]
        roles.append((int(block), f"{kind} {'+'.join(rows)}"))
    return roles


def _fit_together(smaller: Topology, larger: Topology) -> bool:
    """Whether the larger topology's numbers begin with all of the smaller one's."""
    if len(smaller.jets) >= len(larger.jets) or smaller.kinematics.reversed_beams != larger.kinematics.reversed_beams:
        return False
    first, second = _roles(smaller), _roles(larger)
    return second[: len(first)] == first and all(block > len(smaller.jets) for block, _ in second[len(first) :])


def _family(numbers: tuple[int, ...], topologies: Sequence[Topology]) -> Family:
    kinematic = max(topology.kinematic for topology in topologies)
    every = np.ones(len(topologies), bool)
    blocks = []
    starts = [0, *(topology.kinematic for topology in topologies)]
    for number, (first, last) in enumerate(pairwise(starts)):
        if last > first:
            blocks.append(Block(first, last, first, every & (np.arange(len(topologies)) >= number)))
    columns, end = [], kinematic
    for number, topology in enumerate(topologies):
        extra = topology.dimension - topology.kinematic
        if extra:
            blocks.append(Block(end, end + extra, kinematic, np.arange(len(topologies)) == number))
        columns.append(np.r_[np.arange(topology.kinematic), end + np.arange(extra)].astype(np.int64))
        end += extra
    return Family(numbers, tuple(columns), tuple(blocks))
