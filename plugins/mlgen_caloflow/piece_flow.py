"""The teacher: a masked autoregressive flow of the pieces that energies are broken into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mlgen_caloflow.causal import CausalNetwork
from mlgen_caloflow.choices import choose, negative_log_likelihood, outputs_for, uniform_of
from mlgen_caloflow.stick_breaking import NOTHING, PART, FloatArray, Pieces, StickBreaking

#: Numbers that describe a piece (is it there, how much, its coordinate), and what is left before it (absolute and as a
#: share of its segment).
FEATURES, SITUATION = 3, 2
#: Shares below this are as good as nothing to the network.
_LEAST_SHARE = 1e-8
#: Smallest standard deviation that coordinates are divided by.
_LEAST_SCALE = 0.1


@dataclass(frozen=True, slots=True)
class PieceTensors:
    """Pieces as a network sees them, ``(pieces, n, ...)`` each."""

    features: Tensor
    situation: Tensor
    kind: Tensor
    part: Tensor
    open: Tensor


class PieceFlow(nn.Module):
    r"""Each piece is a spline of its uniform number, with parameters from the pieces before it.

    .. math:: p(e | c) = \prod_i p(e_i | e_1 ... e_{i-1}, c)

    One pass of the network gives the density of a shower; a shower takes one step for each piece.

    Args:
        sticks: How energies are broken into pieces.
        given: Numbers that are given of each shower.
        width: Channels of the network.
        depth: Its blocks.
        groups: Groups of channels with mixing weights of their own.
        bins: Bins of a spline.
        dropout: Of the training.

    References:
        Papamakarios et al., arXiv:1705.07057; Krause and Shih, arXiv:2106.05285.
    """

    part_mean: Tensor
    part_scale: Tensor

    def __init__(
        self, sticks: StickBreaking, given: int, *, width: int, depth: int, groups: int, bins: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.sticks = sticks
        self.register_buffer("part_mean", torch.zeros(sticks.n_pieces))
        self.register_buffer("part_scale", torch.ones(sticks.n_pieces))
        self.network = CausalNetwork(
            sticks.n_pieces,
            FEATURES,
            SITUATION,
            given,
            outputs_for(bins),
            width=width,
            depth=depth,
            groups=groups,
            dropout=dropout,
        )

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.part_mean.device

    def standardise(self, pieces: Pieces) -> None:
        """Take mean and standard deviation of each piece's coordinate from a sample."""
        counted = (pieces.kind == PART) & pieces.open
        number = np.maximum(counted.sum(axis=0), 1)
        mean = np.where(counted, pieces.part, 0.0).sum(axis=0) / number
        variance = np.where(counted, (pieces.part - mean) ** 2, 0.0).sum(axis=0) / number
        scale = np.where(number > 1, np.sqrt(variance), 1.0)
        self.part_mean.copy_(torch.from_numpy(mean))
        self.part_scale.copy_(torch.from_numpy(np.maximum(scale, _LEAST_SCALE)))

    def tensors(self, pieces: Pieces) -> PieceTensors:
        """Pieces as tensors."""
        sticks = self.sticks
        amounts = sticks.amounts(pieces.energy)[:, sticks.segment]
        mean, scale = self.part_mean.cpu().numpy(), self.part_scale.cpu().numpy()
        is_part = pieces.kind == PART
        part = np.where(is_part, (pieces.part - mean) / scale, 0.0)
        return PieceTensors(
            self._tensor(np.stack(piece_features(pieces.energy, part, sticks.threshold), axis=-1)),
            self._tensor(np.stack(situation_of(pieces.left, amounts, sticks.threshold), axis=-1)),
            self._tensor(pieces.kind),
            self._tensor(part),
            self._tensor(pieces.open),
        )

    def loss(self, tensors: PieceTensors, given: Tensor) -> Tensor:
        """Minus the mean log likelihood of a shower, up to a constant."""
        outputs = self.network(tensors.features, tensors.situation, given)
        return negative_log_likelihood(outputs, tensors.kind, tensors.part, tensors.open) / len(given)

    @torch.no_grad()
    def uniforms(self, pieces: Pieces, given: Tensor, noise: FloatArray) -> FloatArray:
        """Uniform numbers ``(n, pieces)`` that give these pieces; `noise` as `choices.uniform_of` has it."""
        tensors = self.tensors(pieces)
        outputs = self.network(tensors.features, tensors.situation, given)
        uniform = uniform_of(outputs, tensors.kind, tensors.part, self._tensor(noise))
        # Where there was no choice, any number will do.
        uniform = torch.where(tensors.open, uniform, self._tensor(noise))
        return np.asarray(uniform.T.cpu().numpy(), np.float64)

    @torch.no_grad()
    def sample(self, amounts: FloatArray, given: Tensor, uniform: FloatArray) -> FloatArray:
        """Break amounts ``(n, segments)`` in MeV into pieces ``(n, pieces)``, by uniform numbers ``(n, pieces)``."""
        sticks = self.sticks
        last, segment, starts = sticks.last, sticks.segment, set(sticks.starts.tolist())
        mean, scale = self.part_mean.cpu().numpy(), self.part_scale.cpu().numpy()
        energy = np.zeros((len(amounts), sticks.n_pieces))
        steps = self.network.stepping(given)
        numbers = self._tensor(uniform)
        left = np.zeros(len(amounts))
        for piece in range(sticks.n_pieces):
            amount = amounts[:, segment[piece]]
            if piece in starts:
                left = amount
            situation = np.stack(situation_of(left, amount, sticks.threshold), axis=-1)
            # Also where there is no choice: later pieces see what the network keeps of every piece.
            outputs = steps.outputs(self._tensor(situation, flat=True))
            if last[piece]:
                taken, standard = left, np.zeros(len(left))
            else:
                kinds, parts = choose(outputs, numbers[piece])
                kind = np.where(left > 0, kinds.cpu().numpy(), NOTHING)
                standard = np.where(kind == PART, parts.cpu().numpy(), 0.0).astype(np.float64)
                taken = sticks.taken(left, kind, standard * scale[piece] + mean[piece])
            left = left - taken
            energy[:, piece] = taken
            features = np.stack(piece_features(taken, standard, sticks.threshold), axis=-1)
            steps.take(self._tensor(features, flat=True))
        return energy

    def _tensor(self, values: np.ndarray, *, flat: bool = False) -> Tensor:
        """On the device, with the pieces first; numbers in single precision."""
        turned = values if flat else np.swapaxes(values, 0, 1)
        kind = np.float32 if turned.dtype.kind == "f" else turned.dtype
        return torch.from_numpy(np.ascontiguousarray(turned, kind)).to(self.device)


def piece_features(energy: FloatArray, part: FloatArray, threshold: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """What a network is told of a piece: whether it is there, how much it is, its standardised coordinate."""
    there = energy > 0
    amount = np.where(there, 0.5 * np.log10(np.maximum(energy, threshold)), 0.0)
    return there.astype(np.float64), amount, part


def situation_of(left: FloatArray, amount: FloatArray, threshold: float) -> tuple[FloatArray, FloatArray]:
    """What a network is told of what is left: how much, and which share of the amount."""
    share = np.divide(left, amount, out=np.zeros_like(left), where=amount > 0)
    return 0.5 * np.log10(np.maximum(left, threshold)), np.log10(np.maximum(share, _LEAST_SHARE))
