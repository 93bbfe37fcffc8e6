"""The student: voxels in a few groups, each made at once from the uniform numbers of its voxels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mlgen_caloflow.causal import CausalNetwork
from mlgen_caloflow.choices import choose, negative_log_likelihood, normal_of, outputs_for
from mlgen_caloflow.piece_flow import PieceFlow, PieceTensors, piece_features, situation_of
from mlgen_caloflow.stick_breaking import ALL, FloatArray, StickBreaking

#: Numbers of each voxel that the network of what is known gives to that of the group.
_PER_PIECE = 8
#: Channels, blocks and groups of channels of a group's causal network.
_WIDTH, _DEPTH, _CHANNEL_GROUPS = 32, 2, 4
#: A voxel's own numbers: its normal number and its uniform one.
_NUMBERS = 2
#: Numbers of each earlier voxel that are known: whether it is there, and how much it is.
_KNOWN = 2


class _Group(nn.Module):
    """Consecutive pieces of one segment."""

    def __init__(self, first: int, size: int, given: int, bins: int, width: int) -> None:
        super().__init__()
        self.first, self.size = first, size
        self.start = nn.Linear(_KNOWN * first + 2 + given, width)
        self.hidden = nn.ModuleList(nn.Sequential(nn.SiLU(), nn.Linear(width, width)) for _ in range(2))
        self.spread = nn.Linear(width, size * _PER_PIECE)
        self.network = CausalNetwork(
            size,
            _NUMBERS + _PER_PIECE,
            _PER_PIECE,
            width,
            outputs_for(bins),
            width=_WIDTH,
            depth=_DEPTH,
            groups=_CHANNEL_GROUPS,
        )

    def forward(self, known: Tensor, situation: Tensor, given: Tensor, uniform: Tensor) -> Tensor:
        """Return ``(size, n, outputs)``.

        Args:
            known: What the pieces before became, ``(n, first * 2)``.
            situation: What is left before the group, ``(n, 2)``.
            given: ``(n, given)``.
            uniform: Of the group's pieces, ``(size, n)``; each matters to later pieces only.
        """
        hidden = self.start(torch.cat([known, situation, given], dim=1))
        for layer in self.hidden:
            hidden = hidden + layer(hidden)
        hidden = functional.silu(hidden)
        each = self.spread(hidden).view(-1, self.size, _PER_PIECE).transpose(0, 1)
        numbers = torch.stack([normal_of(uniform), 2 * uniform - 1], dim=-1).to(each.dtype)
        outputs: Tensor = self.network(torch.cat([numbers, each], dim=-1), each, hidden)
        return outputs


class GroupedFlow(nn.Module):
    """A flow like `PieceFlow`, from the same uniform numbers to the same pieces, in a few passes.

    In place of the earlier pieces of its own group, a piece sees their uniform numbers, which decide what they are;
    pieces of earlier groups it sees themselves. With one group for each layer, it is the inverse autoregressive flow of
    CaloFlow's second paper, layer by layer.

    Args:
        sticks: How energies are broken into pieces.
        given: Numbers that are given of each shower.
        steps: Groups, about; each segment has one at least.
        width: Of the networks of what is known.
        bins: Bins of a spline.

    References:
        Krause and Shih, arXiv:2110.11377; Kingma et al., arXiv:1606.04934.
    """

    part_mean: Tensor
    part_scale: Tensor

    def __init__(self, sticks: StickBreaking, given: int, *, steps: int, width: int, bins: int) -> None:
        super().__init__()
        self.sticks = sticks
        self.register_buffer("part_mean", torch.zeros(sticks.n_pieces))
        self.register_buffer("part_scale", torch.ones(sticks.n_pieces))
        self.groups = nn.ModuleList(
            _Group(first, size, given, bins, width) for first, size in _group_places(sticks, steps)
        )

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.part_mean.device

    def standardise_like(self, teacher: PieceFlow) -> None:
        """Take over how the teacher standardises coordinates."""
        self.part_mean.copy_(teacher.part_mean)
        self.part_scale.copy_(teacher.part_scale)

    def loss(self, tensors: PieceTensors, given: Tensor, uniform: Tensor) -> Tensor:
        """Minus the mean log likelihood of a shower whose earlier pieces are known by these uniform numbers.

        Args:
            tensors: Pieces, as the teacher sees them.
            given: ``(n, given)``.
            uniform: Uniform numbers from which the teacher makes these pieces, ``(pieces, n)``.
        """
        known = tensors.features[..., :_KNOWN].transpose(0, 1)
        total = given.new_zeros(())
        for group in cast(Iterable[_Group], self.groups):
            here = slice(group.first, group.first + group.size)
            before = known[:, : group.first].reshape(len(given), -1)
            outputs = group(before, tensors.situation[group.first], given, uniform[here])
            total = total + negative_log_likelihood(outputs, tensors.kind[here], tensors.part[here], tensors.open[here])
        return total / len(given)

    @torch.inference_mode()
    def sample(self, amounts: FloatArray, given: Tensor, uniform: FloatArray) -> FloatArray:
        """As `PieceFlow.sample`."""
        sticks, n = self.sticks, len(amounts)
        last, segment, starts = sticks.last, sticks.segment, set(sticks.starts.tolist())
        mean, scale = self.part_mean.cpu().numpy()[:, None], self.part_scale.cpu().numpy()[:, None]
        # Pieces first: the loop below goes through them.
        energy = np.zeros((sticks.n_pieces, n))
        known = given.new_zeros((n, sticks.n_pieces, _KNOWN))
        numbers = torch.from_numpy(np.ascontiguousarray(uniform.T, np.float32)).to(self.device)
        left = np.zeros(n)
        for group in cast(Iterable[_Group], self.groups):
            here = slice(group.first, group.first + group.size)
            amount = amounts[:, segment[group.first]]
            if group.first in starts:
                left = amount
            situation = np.stack(situation_of(left, amount, sticks.threshold), axis=-1)
            before = known[:, : group.first].reshape(n, -1)
            now = torch.from_numpy(situation.astype(np.float32)).to(self.device)
            outputs = group(before, now, given, numbers[here])
            kinds, parts = (values.cpu().numpy() for values in choose(outputs, numbers[here]))
            # The last piece of a segment takes all that is left.
            kinds[last[here]] = ALL
            energy[here], left = sticks.taken_one_by_one(left, kinds, parts * scale[here] + mean[here])
            there, how_much, _ = piece_features(energy[here], energy[here], sticks.threshold)
            known[:, here] = torch.from_numpy(np.stack([there.T, how_much.T], axis=-1).astype(np.float32)).to(
                self.device
            )
        return np.ascontiguousarray(energy.T)


def _group_places(sticks: StickBreaking, steps: int) -> list[tuple[int, int]]:
    """First piece and size of each group: segments are divided evenly, as many times as their size asks for."""
    places = []
    for start, size in zip(sticks.starts.tolist(), sticks.sizes, strict=True):
        number = max(1, round(steps * size / sticks.n_pieces))
        edges = [start + math.floor(k * size / number) for k in range(number + 1)]
        places += [(low, high - low) for low, high in itertools.pairwise(edges) if high > low]
    return places
