"""A stack of independent flows on the unit hypercube, one for each group of channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from madnis.nn import Distribution
from torch import Tensor, nn
from torch.nn import functional

from mlgen_madnis.splines import spline


class SplineFlows(nn.Module, Distribution):  # type: ignore[misc]
    r"""Coupling blocks with rational quadratic splines, as a `madnis.nn.Distribution`.

    The model is that of `madnis.nn.Flow` with ``permutations="log"``: in :math:`2 \lceil \log_2 d \rceil` blocks every
    dimension is conditioned on every other. Points lie along the last axis and gradients of the splines are written
    out, which makes a step on a CPU several times faster. Untrained, each flow is the identity.

    Args:
        dimensions: Dimensions d.
        group_of_channel: Number of the flow that each channel uses, ``(channels,)``.
        layers: Layers of the network of each block.
        units: Units of its hidden layers.
        bins: Bins of the splines.

    References:
        Heimel et al., SciPost Phys. 15, 141 (2023), arXiv:2212.06172; Durkan et al., arXiv:1906.04032.
    """

    group_of_channel: Tensor

    def __init__(self, dimensions: int, group_of_channel: Sequence[int], *, layers: int, units: int, bins: int) -> None:
        super().__init__()
        self.dimensions, self.bins, self.layers = dimensions, bins, layers
        self.groups = max(group_of_channel) + 1
        self.register_buffer("group_of_channel", torch.tensor(group_of_channel), persistent=False)
        self._given, self._changed = _coupling_masks(dimensions)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for given, changed in zip(self._given, self._changed, strict=True):
            sizes = [len(given), *[units] * (layers - 1), len(changed) * (3 * bins + 1)]
            for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
                weight = torch.zeros(self.groups, outputs, inputs)
                bias = torch.zeros(self.groups, outputs, 1)
                if layer < layers - 1:
                    bound = 1 / math.sqrt(max(inputs, 1))
                    nn.init.uniform_(weight, -bound, bound)
                    nn.init.uniform_(bias, -bound, bound)
                self.weights.append(nn.Parameter(weight))
                self.biases.append(nn.Parameter(bias))

    def transform(self, x: Tensor, counts: Sequence[int], inverse: bool = False) -> tuple[Tensor, Tensor]:
        """Map points to uniform ones, or back.

        Args:
            x: Points, ``(n, d)``, sorted by group.
            counts: How many belong to each group.
            inverse: Whether to go from uniform points to those of the flow.

        Returns:
            Mapped points ``(n, d)``, and the logarithm of the map's determinant, ``(n,)``.
        """
        rows = list(x.t().contiguous().unbind(0))
        log_determinant = x.new_zeros(len(x))
        blocks = range(len(self._given))
        for block in reversed(blocks) if inverse else blocks:
            given = x.new_zeros(0, len(x))
            if self._given[block]:
                given = torch.stack([rows[i] for i in self._given[block]])
            value = torch.stack([rows[i] for i in self._changed[block]])
            raw = self._parameters_of_splines(block, 2 * given - 1, counts)
            mapped, log_derivative = spline(raw, value, self.bins, inverse)
            log_determinant = log_determinant + log_derivative.sum(0)
            for i, row in zip(self._changed[block], mapped.unbind(0), strict=True):
                rows[i] = row
        return torch.stack(rows, 1), log_determinant

    def _parameters_of_splines(self, block: int, given: Tensor, counts: Sequence[int]) -> Tensor:
        parts, start = [], 0
        first = block * self.layers
        for group, count in enumerate(counts):
            if count == 0:
                continue
            hidden = given[:, start : start + count]
            start += count
            for layer in range(self.layers):
                hidden = torch.addmm(self.biases[first + layer][group], self.weights[first + layer][group], hidden)
                if layer < self.layers - 1:
                    hidden = functional.leaky_relu(hidden, 0.01)
            parts.append(hidden)
        outputs = 3 * self.bins + 1
        if not parts:
            return given.new_zeros(len(self._changed[block]), outputs, 0)
        return torch.cat(parts, 1).reshape(len(self._changed[block]), outputs, -1)

    def sample(
        self,
        n: int,
        c: Tensor | None = None,
        channel: Tensor | list[int] | int | None = None,
        return_log_prob: bool = False,
        return_prob: bool = False,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor | tuple[Tensor, ...]:
        """Draw `n` points for the channels ``(n,)``, as `madnis.nn.Distribution` describes it."""
        order, counts = self._sorted(n, channel)
        uniform = torch.rand(n, self.dimensions, device=self.weights[0].device, dtype=self.weights[0].dtype)
        x, log_determinant = self.transform(uniform, counts, inverse=True)
        back = torch.argsort(order)
        # In single precision a point can be rounded to the edge, or beyond it.
        x, log_probability = x[back].clamp(1e-7, 1 - 1e-7), -log_determinant[back]
        results = (x, *[log_probability] * return_log_prob, *[log_probability.exp()] * return_prob)
        return results[0] if len(results) == 1 else results

    def log_prob(self, x: Tensor, c: Tensor | None = None, channel: Tensor | list[int] | int | None = None) -> Tensor:
        """Return the logarithm of the density at ``x (n, d)`` for the channels ``(n,)``."""
        order, counts = self._sorted(len(x), channel)
        _, log_determinant = self.transform(x[order], counts)
        return log_determinant[torch.argsort(order)]

    def _sorted(self, n: int, channel: Tensor | list[int] | int | None) -> tuple[Tensor, list[int]]:
        device = self.group_of_channel.device
        if isinstance(channel, Tensor):
            group = self.group_of_channel[channel]
        elif isinstance(channel, list):
            group = self.group_of_channel.repeat_interleave(torch.tensor(channel, device=device))
        else:
            group = self.group_of_channel[channel or 0].expand(n)
        counts: list[int] = torch.bincount(group, minlength=self.groups).tolist()
        return torch.argsort(group, stable=True), counts


def _coupling_masks(dimensions: int) -> tuple[list[list[int]], list[list[int]]]:
    """Return, for each block, the dimensions that are given and those that are changed."""
    changed = []
    for bit in range(max(1, math.ceil(np.log2(dimensions)))):
        ones = [i for i in range(dimensions) if i >> bit & 1]
        zeros = [i for i in range(dimensions) if not i >> bit & 1]
        changed += [part for part in (zeros, ones) if part]
    everything = range(dimensions)
    return [[i for i in everything if i not in part] for part in changed], changed
