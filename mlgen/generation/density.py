"""What the author of a generator gives: the density of points, and how a family is made of such densities."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from mlgen.generation.families import Block, Family, FloatArray32, IntArray

#: Points that go through a network at a time; what a layer needs of them stays in the cache.
CHUNK = 1024


class PointDensity(nn.Module, abc.ABC):
    """A density of points ``(n, dimension)`` of order one, given numbers ``(n, context)``.

    Made with these two dimensions; parameters are set by `initialise`.
    """

    @abc.abstractmethod
    def initialise(self, rng: np.random.Generator) -> None:
        """Set all parameters from `rng`. What is drawn then should be close to a standard normal."""

    @abc.abstractmethod
    def last_layers(self) -> list[nn.Module]:
        """Return the layers whose weights a Bayesian model is uncertain of; none where there can be no such model.

        Linear ones, with `weight` and `bias`, also masked ones; each is used once in a `loss`.
        """

    @abc.abstractmethod
    def loss(self, points: Tensor, context: Tensor, noise: torch.Generator) -> Tensor:
        """Return what is minimised on average, for each point, ``(n,)``; `noise` is the source of all randomness."""

    @abc.abstractmethod
    def sample(self, normal: Tensor, context: Tensor) -> Tensor:
        """Turn standard normal numbers ``(n, dimension)`` into points."""

    @abc.abstractmethod
    def log_density(self, points: Tensor, context: Tensor) -> Tensor:
        """Return the log of the density, ``(n,)``."""


class FamilyDensity(nn.Module):
    """The density of a family's rows: one `PointDensity` for each block, given the blocks before it.

    Args:
        family: The family.
        densities: One for each of its blocks, with the dimensions that `block_dimensions` tells.
        extra: Numbers of each event that are given besides, such as a nuisance parameter.
    """

    def __init__(self, family: Family, densities: list[PointDensity], extra: int = 0) -> None:
        super().__init__()
        self.family, self.extra = family, extra
        self.densities = nn.ModuleList(densities)

    @property
    def parts(self) -> list[PointDensity]:
        """The density of each block."""
        return cast(list[PointDensity], list(self.densities))

    def loss(self, rows: Tensor, topology: Tensor, extra: Tensor, noise: torch.Generator) -> Tensor:
        """Sum of the losses of all blocks of each event, ``(n,)``.

        Args:
            rows: ``(n, width)``.
            topology: Number within the family, ``(n,)``.
            extra: ``(n, extra)``.
            noise: Source of all randomness.
        """
        total = rows.new_zeros(len(rows))
        for block, density, chosen in self._blocks(topology):
            everything = len(chosen) == len(rows)
            own, numbers, given = (
                (rows, topology, extra) if everything else (rows[chosen], topology[chosen], extra[chosen])
            )
            part = density.loss(own[:, block.first : block.last], self.context(block, own, numbers, given), noise)
            _check_shape(density, "loss", part, (len(own),))
            total = total + part if everything else total.index_add(0, chosen, part)
        return total

    def log_density(self, rows: Tensor, topology: Tensor, extra: Tensor) -> Tensor:
        """Log of the density of each event's row, given its topology, ``(n,)``; arguments as in `loss`."""
        total = rows.new_zeros(len(rows))
        for block, density, chosen in self._blocks(topology):
            for part in torch.split(chosen, CHUNK):
                context = self.context(block, rows[part], topology[part], extra[part])
                found = density.log_density(rows[part, block.first : block.last], context)
                _check_shape(density, "log_density", found, (len(part),))
                total[part] += found
        return total

    def sample(self, topology: IntArray, extra: FloatArray32, rng: np.random.Generator) -> FloatArray32:
        """Draw rows ``(n, width)`` for topologies ``(n,)``."""
        device = next(self.parameters()).device
        rows = torch.zeros(len(topology), self.family.width, device=device)
        numbers, given = torch.from_numpy(topology).to(device), torch.from_numpy(extra).to(device)
        with torch.no_grad():
            for block, density, chosen in self._blocks(numbers):
                normal = rng.standard_normal((len(chosen), block.last - block.first), np.float32)
                noise = torch.from_numpy(normal).to(device)
                for part, here in zip(torch.split(chosen, CHUNK), torch.split(noise, CHUNK), strict=True):
                    context = self.context(block, rows[part], numbers[part], given[part])
                    points = density.sample(here, context)
                    _check_shape(density, "sample", points, tuple(here.shape))
                    rows[part, block.first : block.last] = points
        return np.asarray(rows.cpu().numpy())

    def context(self, block: Block, rows: Tensor, topology: Tensor, extra: Tensor) -> Tensor:
        """What is given to the density of a block, ``(n, context)``: columns before it, topology, further numbers."""
        parts = [rows[:, : block.given]]
        topologies = len(self.family.topologies)
        if topologies > 1:
            parts.append(nn.functional.one_hot(topology, topologies).to(rows.dtype))
        return torch.cat([*parts, extra], dim=1) if self.extra else torch.cat(parts, dim=1)

    def _blocks(self, topology: Tensor) -> Iterator[tuple[Block, PointDensity, Tensor]]:
        """Each block with its density and the events that have it."""
        for block, density in zip(self.family.blocks, self.parts, strict=True):
            members = torch.from_numpy(block.members).to(topology.device)
            chosen = torch.nonzero(members[topology])[:, 0]
            if len(chosen):
                yield block, density, chosen


def _check_shape(density: PointDensity, method: str, given: object, expected: tuple[int, ...]) -> None:
    """Refuse what would only be found out by the words of torch, somewhere else."""
    found = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
    if found != expected:
        name = type(density).__name__
        raise ValueError(f"{method}() of {name} gave {found}; a tensor of shape {expected} is expected")


def block_dimensions(family: Family, extra: int = 0) -> list[tuple[int, int]]:
    """Dimension and number of given numbers of each block's density."""
    topologies = len(family.topologies)
    return [
        (block.last - block.first, block.given + (topologies if topologies > 1 else 0) + extra)
        for block in family.blocks
    ]
