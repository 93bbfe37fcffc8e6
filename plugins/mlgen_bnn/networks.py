"""The networks: a point's invariants in, the logarithm of |M|^2 over its ansatz and that of its error out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mlgen.stages import AmplitudeProcess
from mlgen_bnn.layers import Linear
from mlgen_bnn.settings import BnnSettings

#: Start value of the logarithm of the error, in units of the spread of what is learned.
_START_LOG_ERROR = -2.0


@dataclass(frozen=True, slots=True)
class Output:
    """What a network says of points, in units of the spread of what is learned.

    Args:
        mean: ``(n,)``.
        log_error: Logarithm of the systematic standard deviation, ``(n,)``.
        variance: Variance of `mean` that the distributions of the last layer's weights make, ``(n,)``.
    """

    mean: Tensor
    log_error: Tensor
    variance: Tensor


class Network(nn.Module):
    """Hidden layers, and two heads: one for the mean, one for the error.

    Args:
        inputs: Number of inputs.
        sets: For deep sets, what they see; None without.
        settings: Sizes, and which layers are Bayesian.
        rng: Source of the start values.
    """

    def __init__(self, inputs: int, sets: Sets | None, settings: BnnSettings, rng: np.random.Generator) -> None:
        super().__init__()
        bayesian = settings.uncertainty == "bayesian"
        everywhere = bayesian and settings.bayesian_layers == "all"
        self.sets = None
        width = inputs
        if sets is not None:
            self.sets = DeepSets(sets, settings.set_units, rng, bayesian=everywhere)
            width += self.sets.outputs
        self.hidden = nn.ModuleList()
        for _ in range(settings.layers):
            self.hidden.append(Linear(width, settings.units, rng, bayesian=everywhere))
            width = settings.units
        self.mean = Linear(width, 1, rng, bayesian=bayesian, scale=0.1)
        self.error = Linear(width, 1, rng, bayesian=everywhere, scale=0.1)
        with torch.no_grad():
            self.error.bias.fill_(_START_LOG_ERROR)

    def forward(self, x: Tensor, noise: torch.Generator | None = None) -> Output:
        """Evaluate ``x (n, inputs)``; with `noise`, hidden layers and error are drawn from their distributions.

        The mean is never drawn: the likelihood's average over the last layer is a closed form.
        """
        hidden = self.last_hidden(x, noise)
        variance = self.mean.variance(hidden)[:, 0]
        return Output(self.mean(hidden)[:, 0], self.error(hidden, noise)[:, 0], variance)

    def last_hidden(self, x: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return what the heads see, ``(n, units)``."""
        hidden = x if self.sets is None else torch.cat([x, self.sets(x, noise)], dim=1)
        for layer in self.hidden:
            hidden = nn.functional.silu(layer(hidden, noise))
        return hidden

    def linear_layers(self) -> Iterator[Linear]:
        """All layers."""
        return (module for module in self.modules() if isinstance(module, Linear))


@dataclass(frozen=True, slots=True)
class Sets:
    """What deep sets see of the inputs.

    Args:
        inputs: For each particle the numbers of the inputs that are its invariants with all others.
        kinds: Groups of particles that are alike; a particle of its own kind is alone.
    """

    inputs: tuple[tuple[int, ...], ...]
    kinds: tuple[tuple[int, ...], ...]


def sets_of(process: AmplitudeProcess, pairs: Sequence[tuple[int, int]]) -> Sets:
    """Return the sets of a process whose first inputs belong to `pairs`."""
    particles = range(len(process.pdg_ids))
    grouped = {slot for group in process.like_particles for slot in group}
    kinds = (*process.like_particles, *((slot,) for slot in particles if slot not in grouped))
    place = {pair: number for number, pair in enumerate(pairs)}
    inputs = tuple(
        tuple(place[min(slot, other), max(slot, other)] for other in particles if other != slot) for slot in particles
    )
    return Sets(inputs, kinds)


class DeepSets(nn.Module):
    r"""Sums over like particles of a network that sees one particle's invariants, :math:`\sum_i \phi(x_i)`.

    The particles that a particle's invariants are with come in canonical order, so that the sum does not depend on how
    like particles were given.

    References:
        Sec. 2.2.4 of Plehn et al., arXiv:2211.01421; arXiv:2412.12069.
    """

    def __init__(self, sets: Sets, units: int, rng: np.random.Generator, *, bayesian: bool) -> None:
        super().__init__()
        self._inputs, self._kinds = [list(part) for part in sets.inputs], [list(kind) for kind in sets.kinds]
        seen = len(sets.inputs[0])
        self.first, self.second = (
            nn.ModuleList(Linear(width, units, rng, bayesian=bayesian) for _ in sets.kinds) for width in (seen, units)
        )
        self.outputs = units * len(sets.kinds)

    def forward(self, x: Tensor, noise: torch.Generator | None) -> Tensor:
        """Return the sums, ``(n, outputs)``, from the inputs ``(n, inputs)``."""
        sums = []
        for kind, first, second in zip(self._kinds, self.first, self.second, strict=True):
            places = [place for slot in kind for place in self._inputs[slot]]
            each = x[:, places].reshape(len(x) * len(kind), len(places) // len(kind))
            hidden = nn.functional.silu(first(each, noise))
            hidden = nn.functional.silu(second(hidden, noise))
            sums.append(hidden.reshape(len(x), len(kind), hidden.shape[1]).sum(dim=1))
        return torch.cat(sums, dim=1)
