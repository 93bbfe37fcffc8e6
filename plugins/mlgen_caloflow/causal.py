"""A network whose output for each piece depends on the pieces before it, for whole showers or piece by piece."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

#: A piece looks back at the pieces of its own block of this size and of the one before; smaller showers are one block.
_BLOCK = 512
_GLOBAL_WIDTH = 128


class CausalMixing(nn.Module):
    """Mixes pieces: each becomes a sum over the pieces before it (and itself), with weights of its own for each.

    The geometry is fixed, so a weight for each pair of voxels says more than attention. The channels are divided into
    groups that mix by other weights.

    Args:
        pieces: Number of pieces.
        groups: Groups of channels.
        itself: Whether a piece sees itself.
    """

    mask: Tensor

    def __init__(self, pieces: int, groups: int, *, itself: bool) -> None:
        super().__init__()
        self.pieces, self.groups = pieces, groups
        self.size = pieces if pieces <= _BLOCK else _BLOCK
        self.blocks = math.ceil(pieces / self.size)
        self.back = self.size if self.blocks > 1 else 0
        self.weight = nn.Parameter(torch.empty(groups, self.blocks, self.size, self.back + self.size))
        mask = torch.ones(self.size, self.back + self.size).tril(self.back + (0 if itself else -1))
        self.register_buffer("mask", mask, persistent=False)
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, channels: Tensor) -> Tensor:
        """Mix ``(pieces, n, channels)``."""
        pieces, n, _ = channels.shape
        weight = (self.weight * self.mask).to(channels.dtype)
        parts = channels.chunk(self.groups, dim=-1)
        if self.blocks == 1:
            mixed = [weight[g, 0] @ part.reshape(pieces, -1) for g, part in enumerate(parts)]
        else:
            mixed = [self._blockwise(weight[g], part.reshape(pieces, -1)) for g, part in enumerate(parts)]
        return torch.cat([part.view(pieces, n, -1) for part in mixed], dim=-1)

    def packed(self) -> Tensor:
        """The weights that are used, ``(groups, blocks, weights)``: about half of them."""
        return self.weight.detach()[:, :, self.mask > 0]

    def unpacked(self, packed: Tensor) -> Tensor:
        """Inverse of `packed`, as `weight` is; what is never used is zero."""
        weight = packed.new_zeros(self.weight.shape)
        weight[:, :, self.mask.to(packed.device) > 0] = packed
        return weight

    def _blockwise(self, weight: Tensor, flat: Tensor) -> Tensor:
        padded = functional.pad(flat, (0, 0, self.size, self.blocks * self.size - self.pieces))
        blocks = padded.view(self.blocks + 1, self.size, -1)
        seen = torch.cat([blocks[:-1], blocks[1:]], dim=1)
        return torch.bmm(weight, seen).reshape(self.blocks * self.size, -1)[: self.pieces]

    def row(self, piece: int, memory: Tensor) -> Tensor:
        """Mix for one piece, ``(n, channels)``, what it sees of ``memory (groups, pieces, n, channels / groups)``."""
        block, place = divmod(piece, self.size)
        first = max(0, block * self.size - self.back)
        stop = piece + 1
        begin = first - (block * self.size - self.back)
        weight = (self.weight[:, block, place] * self.mask[place])[:, None, begin : begin + stop - first]
        groups, _, n, width = memory.shape
        mixed = torch.bmm(weight, memory[:, first:stop].reshape(groups, stop - first, n * width))
        return mixed.view(groups, n, width).transpose(0, 1).reshape(n, groups * width)


class _Block(nn.Module):
    def __init__(self, pieces: int, width: int, groups: int, dropout: float) -> None:
        super().__init__()
        self.before_mixing, self.before_channels = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixing = CausalMixing(pieces, groups, itself=True)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.place = nn.Parameter(torch.zeros(pieces, 1, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, channels: Tensor) -> Tensor:
        channels = channels + self.dropout(self.out(self.mixing(self.value(self.before_mixing(channels)))))
        changed: Tensor = channels + self.dropout(self._channels(channels, self.place))
        return changed

    def _channels(self, channels: Tensor, place: Tensor) -> Tensor:
        changed: Tensor = self.down(functional.silu(self.up(self.before_channels(channels) + place)))
        return changed

    def row(self, piece: int, channels: Tensor, memory: Tensor) -> Tensor:
        value = self.value(self.before_mixing(channels))
        memory[:, piece] = value.view(len(channels), len(memory), -1).transpose(0, 1)
        channels = channels + self.out(self.mixing.row(piece, memory))
        return channels + self._channels(channels, self.place[piece])


class CausalNetwork(nn.Module):
    """Numbers for each piece from the pieces before it, from what is left before it, and from what is given.

    Args:
        pieces: Number of pieces.
        features: Numbers that describe a piece once it is taken.
        situation: Numbers that describe what is left before it.
        given: Numbers that hold for the whole shower.
        outputs: Numbers for each piece.
        width: Channels.
        depth: Blocks of mixing and a network of the channels.
        groups: Groups of channels with weights of their own.
        dropout: Share of the channels that is left out in a training.

    References:
        Masked autoregression: Germain et al., arXiv:1502.03509; mixing by weights: Tolstikhin et al., arXiv:2105.01601.
    """

    def __init__(
        self,
        pieces: int,
        features: int,
        situation: int,
        given: int,
        outputs: int,
        *,
        width: int,
        depth: int,
        groups: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.pieces, self.width, self.groups = pieces, width, groups
        self.of_features = nn.Parameter(torch.randn(pieces, features, width) * 0.3)
        self.of_situation = nn.Parameter(torch.randn(pieces, situation, width) * 0.3)
        self.place = nn.Parameter(torch.randn(pieces, 1, width) * 0.3)
        self.of_given = nn.Sequential(nn.Linear(given, _GLOBAL_WIDTH), nn.SiLU(), nn.Linear(_GLOBAL_WIDTH, width))
        self.first = CausalMixing(pieces, groups, itself=False)
        self.blocks = nn.ModuleList(_Block(pieces, width, groups, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Parameter(torch.randn(pieces, width, outputs) * 0.01)
        self.bias = nn.Parameter(torch.zeros(pieces, 1, outputs))

    def forward(self, features: Tensor, situation: Tensor, given: Tensor) -> Tensor:
        """Return ``(pieces, n, outputs)``.

        Args:
            features: ``(pieces, n, features)``; those of a piece matter to later ones only.
            situation: ``(pieces, n, situation)``.
            given: ``(n, given)``.
        """
        seen = functional.silu(torch.bmm(features, self.of_features) + self.place)
        channels = self.first(seen) + torch.bmm(situation, self.of_situation) + self.place + self.of_given(given)
        for block in self.blocks:
            channels = block(channels)
        return torch.bmm(self.norm(channels), self.output) + self.bias

    def stepping(self, given: Tensor) -> Stepping:
        """Go through pieces one by one, for ``given (n, given)``."""
        return Stepping(self, given)


class Stepping:
    """Outputs piece by piece; what pieces before had is kept, so that all steps together cost what `forward` costs."""

    def __init__(self, network: CausalNetwork, given: Tensor) -> None:
        self._network = network
        self._given = network.of_given(given)
        shape = (network.groups, network.pieces, len(given), network.width // network.groups)
        self._memory = [given.new_zeros(shape) for _ in range(1 + len(network.blocks))]
        self._piece = 0

    def outputs(self, situation: Tensor) -> Tensor:
        """Outputs for the next piece, ``(n, outputs)``, in the situation ``(n, situation)``."""
        network, piece = self._network, self._piece
        channels = situation @ network.of_situation[piece] + network.place[piece] + self._given
        channels = channels + network.first.row(piece, self._memory[0])
        for block, memory in zip(network.blocks, self._memory[1:], strict=True):
            channels = cast(_Block, block).row(piece, channels, memory)
        outputs: Tensor = network.norm(channels) @ network.output[piece] + network.bias[piece]
        return outputs

    def take(self, features: Tensor) -> None:
        """Say what the piece became, ``(n, features)``, and go on to the next."""
        network, piece = self._network, self._piece
        seen = functional.silu(features @ network.of_features[piece] + network.place[piece])
        self._memory[0][:, piece] = seen.view(len(seen), network.groups, -1).transpose(0, 1)
        self._piece += 1
