r"""Bayesian networks: a normal distribution of weights instead of numbers.

The loss of a Bayesian generator, eq. (4.74), asks for the distribution :math:`q(\theta)` of smallest

.. math:: \mathcal L = -\bigl\langle \log p_\mathrm{model}(x) \bigr\rangle_{\theta \sim q, x}
          + D_\mathrm{KL}[q(\theta), p(\theta)]

For a normal q around the trained weights, and a likelihood that is quadratic in its reach, the smallest is known:

.. math:: q = \mathcal N(\hat\theta, \Lambda^{-1}), \quad
          \Lambda = N \bigl\langle g\,g^T \bigr\rangle_x + \frac{1}{s^2}, \quad
          g = \nabla_\theta \log p_\mathrm{model}(x)

with the prior's width s. It is taken with all correlations, for a part of the last layers' weights: those that multiply
the directions in which the layer's input varies most, and the biases. Of ten thousands of weights only the diagonal
could be kept, and what each of them alone may be wrong by adds up to far too much.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mlgen.generation.density import FamilyDensity
from mlgen.generation.fitting import Data
from mlgen.generation.settings import LearnedGeneratorSettings
from mlgen.torch_training import set_parameters

FloatArray = npt.NDArray[np.float64]

#: Events that the curvature is an average of, and at a time.
_EVENTS, _CHUNK = 40_000, 1024
#: Most weights of all layers together.
_MOST_WEIGHTS = 1500


@dataclass
class _Layer:
    """A last layer, and the directions of its input whose weights are uncertain."""

    name: str
    module: nn.Module
    weight: Tensor
    bias: Tensor
    centre: Tensor
    directions: Tensor

    @property
    def size(self) -> int:
        return len(self.weight) * (1 + self.directions.shape[1])

    def features(self, inputs: Tensor) -> Tensor:
        """One, and the input along the directions, ``(n, 1 + directions)``."""
        along = (inputs - self.centre) @ self.directions
        return torch.cat([along.new_ones(len(along), 1), along], dim=1)

    def shifted(self, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and bias with a change of the uncertain weights ``(outputs, 1 + directions)``."""
        weight = self.weight + shift[:, 1:] @ self.directions.t()
        return weight, self.bias + shift[:, 0] - shift[:, 1:] @ (self.directions.t() @ self.centre)


def fit_posterior(
    model: FamilyDensity,
    data: Data,
    settings: LearnedGeneratorSettings,
    likelihood: bool,
    rng: np.random.Generator,
    report: Callable[[int, float], None],
) -> list[dict[str, Tensor]]:
    """Draw networks that the training events allow.

    Args:
        model: The trained model; it stays as it is.
        data: Its events.
        settings: Of the generator.
        likelihood: Whether the model's loss is minus a log density; otherwise it is taken for the squared error of a
            normal distribution of the same width (the factor c of eq. 4.152).
        rng: Source of all randomness.
        report: Called with the events done and nothing else of interest.

    Returns:
        The parameters of `settings.members` networks.

    References:
        Eq. (4.73), (4.74) and (4.152) of Plehn et al., arXiv:2211.01421; Daxberger et al., arXiv:2106.14806.
    """
    noise = torch.Generator(device=data.rows.device)
    noise.manual_seed(int(rng.integers(2**63)))
    chosen = data.training[torch.from_numpy(rng.permutation(len(data.training))[:_EVENTS]).to(data.rows.device)]
    layers = _layers(model, data, chosen[:_CHUNK], noise, rng)
    size = sum(layer.size for layer in layers)
    curvature = np.zeros((size, size))
    mean_loss, weights = 0.0, 0.0
    for start in range(0, len(chosen), _CHUNK):
        part = chosen[start : start + _CHUNK]
        gradient, loss = _gradients(model, layers, data, part, noise, rng)
        weight = data.weight[part].abs().double()
        weighted = gradient.double() * weight.sqrt()[:, None]
        curvature += (weighted.t() @ weighted).cpu().numpy()
        mean_loss += float((weight * loss.double()).sum())
        weights += float(weight.sum())
        report(start + len(part), mean_loss / weights)
    curvature /= weights
    if not likelihood:
        # Minus the log of a normal distribution of the errors' own width; the loss is their mean over coordinates.
        curvature *= (model.family.width / (2 * mean_loss / weights)) ** 2
    # The sum of weights squared counts: weighted events are worth less than as many of equal weight.
    every = data.weight[data.training].double()
    effective = float(every.sum() ** 2 / every.square().sum())
    precision = effective * curvature + np.eye(size) / settings.prior_width**2
    values, axes = np.linalg.eigh(precision)
    # Rounding can make what the data say nothing of a little less than the prior.
    root = axes / np.sqrt(np.maximum(values, 1 / settings.prior_width**2))
    drawn = root @ rng.standard_normal((size, settings.members))
    return [_member(model, layers, column) for column in drawn.T]


def _layers(
    model: FamilyDensity, data: Data, chosen: Tensor, noise: torch.Generator, rng: np.random.Generator
) -> list[_Layer]:
    """The last layers, each with the principal directions of its input."""
    names = {id(module): name for name, module in model.named_modules()}
    modules = [module for density in model.parts for module in density.last_layers()]
    parameters = [dict(module.named_parameters()) for module in modules]
    outputs = sum(len(own["bias"]) for own in parameters)
    wanted = max(0, _MOST_WEIGHTS // outputs - 1)
    seen: dict[int, list[Tensor]] = {}
    with _watched(modules, lambda module, inputs, out: seen.setdefault(id(module), []).append(inputs)), torch.no_grad():
        extra, _ = data.nuisance.drawn(chosen, rng)
        model.loss(data.rows[0, chosen], data.topology[chosen], extra, noise)
    layers: list[_Layer] = []
    for module, own in zip(modules, parameters, strict=True):
        weight, bias = own["weight"].detach(), own["bias"].detach()
        inputs = torch.cat(seen[id(module)]) if id(module) in seen else torch.zeros_like(weight[:1])
        centre = inputs.mean(dim=0)
        _, _, directions = torch.linalg.svd(inputs - centre, full_matrices=False)
        layers.append(_Layer(names[id(module)], module, weight, bias, centre, directions[:wanted].t().contiguous()))
    return layers


def _gradients(
    model: FamilyDensity,
    layers: list[_Layer],
    data: Data,
    chosen: Tensor,
    noise: torch.Generator,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Gradient of each event's loss by all uncertain weights, ``(n, weights)``, and the losses, ``(n,)``."""
    calls: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def watch(module: nn.Module, inputs: Tensor, out: Tensor) -> Tensor:
        shift = torch.zeros_like(out, requires_grad=True)
        calls.setdefault(id(module), []).append((inputs.detach(), shift))
        return out + shift

    # Each density is asked for the events that have its block, in their order.
    having = {
        id(module): torch.nonzero(torch.from_numpy(block.members).to(chosen.device)[data.topology[chosen]])[:, 0]
        for block, density in zip(model.family.blocks, model.parts, strict=True)
        for module in density.last_layers()
    }
    extra, _ = data.nuisance.drawn(chosen, rng)
    with _watched([layer.module for layer in layers], watch):
        losses = model.loss(data.rows[0, chosen], data.topology[chosen], extra, noise)
    every = [shift for parts in calls.values() for _, shift in parts]
    by_shift = dict(zip(map(id, every), torch.autograd.grad(losses.sum(), every), strict=True))
    columns = []
    for layer in layers:
        own = losses.new_zeros(len(chosen), layer.size)
        if id(layer.module) in calls:
            (inputs, shift), *_ = calls[id(layer.module)]
            product = by_shift[id(shift)][:, :, None] * layer.features(inputs)[:, None, :]
            own[having[id(layer.module)]] = product.reshape(len(inputs), -1)
        columns.append(own)
    return torch.cat(columns, dim=1), losses.detach()


def _member(model: FamilyDensity, layers: list[_Layer], values: FloatArray) -> dict[str, Tensor]:
    """Parameters of the model with changed weights of the last layers."""
    member = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    start = 0
    with torch.no_grad():
        for layer in layers:
            part = torch.from_numpy(values[start : start + layer.size].astype(np.float32)).to(layer.weight.device)
            start += layer.size
            weight, bias = layer.shifted(part.reshape(len(layer.weight), -1))
            member[f"{layer.name}.weight"], member[f"{layer.name}.bias"] = weight.clone(), bias.clone()
    return member


@contextlib.contextmanager
def _watched(modules: list[nn.Module], watch: Callable[[nn.Module, Tensor, Tensor], Any]) -> Iterator[None]:
    """Call `watch` with layer, input and output whenever one of the layers is used; what it returns is the output."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor | None:
        result = watch(module, inputs[0], out)
        return result if isinstance(result, Tensor) else None

    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class member_of:  # noqa: N801 - a context manager, used like a function
    """Give a model the parameters of one member for a while."""

    def __init__(self, model: nn.Module, member: dict[str, Tensor]) -> None:
        self._parameters = dict(model.named_parameters())
        self._member = member

    def __enter__(self) -> None:
        self._own = [parameter.detach().clone() for parameter in self._parameters.values()]
        set_parameters(list(self._parameters.values()), [self._member[name] for name in self._parameters])

    def __exit__(self, *exception: object) -> None:
        set_parameters(list(self._parameters.values()), self._own)
