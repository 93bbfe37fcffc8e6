"""The network of the low-level classifiers: it is asked to tell showers of two samples apart by all voxels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mlgen.validation.observable import FloatArray
from mlgen.validation.settings import VoxelNetworkSettings

if TYPE_CHECKING:
    import torch

#: Steps over which the averaged parameters, the ones that are used, forget.
_MEMORY = 60
_PIECE = 2_000

Indices = npt.NDArray[np.intp]
#: Gives the inputs of some showers, ``(len(index), size)``: of the reference for True, of the sample for False.
Inputs = Callable[[bool, "torch.Tensor"], "torch.Tensor"]


def train_voxel_network(
    inputs: Inputs,
    size: int,
    training: Indices,
    validation: Indices,
    settings: VoxelNetworkSettings,
    *,
    seed: int,
    device: torch.device,
) -> Callable[[Indices], tuple[FloatArray, FloatArray]]:
    r"""Train on the cross entropy of equally many showers of both samples.

    The parameters are averaged over the last steps, and kept from the epoch with the smallest cross entropy of the
    validation showers. Shower i of the reference and shower i of the sample stand in the same batch and in the same
    part: where the sample was generated for the incident energies of the reference, these tell nothing. With the
    samples exchanged the network is the same with the opposite sign, but for rounding. Draws nothing from torch's
    global generators.

    Args:
        inputs: Gives the inputs of showers by their number.
        size: Number of inputs.
        training: Numbers of the showers to train on, the same for both samples, ``(n,)``.
        validation: Numbers of those that decide when to stop, ``(m,)``.
        settings: The network and its training.
        seed: Of the initial parameters, the batches and the dropout.
        device: Where to train.

    Returns:
        A function from numbers of showers to the logits :math:`\ln D / (1 - D)` of the reference's and of the
        sample's, where D is the probability to be of the reference.
    """
    import torch

    from mlgen.torch_training import parameters_of, set_parameters

    generator = torch.Generator().manual_seed(seed)
    network = _network(size, settings, generator, device)
    parameters = list(network.parameters())
    optimiser = torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=settings.weight_decay)
    half = max(1, min(settings.batch_size // 2, len(training)))
    steps_per_epoch = max(1, len(training) // half)
    steps = settings.epochs * steps_per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.5 * (1.0 + math.cos(math.pi * step / steps)))
    softplus = torch.nn.functional.softplus
    showers = torch.from_numpy(training)
    average = [parameter.detach().clone() for parameter in parameters]
    best, best_loss, best_epoch = average, math.inf, 0
    step = 0
    for epoch in range(settings.epochs):
        order = showers[torch.randperm(len(showers), generator=generator)].to(device)
        for chosen in torch.split(order, half)[:steps_per_epoch]:
            x = torch.cat([inputs(True, chosen), inputs(False, chosen)])
            logits = _forward(network, x, settings.dropout, generator)
            of_reference, of_sample = torch.split(logits, len(chosen))
            loss = 0.5 * (softplus(-of_reference).mean() + softplus(of_sample).mean())
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            step += 1
            with torch.no_grad():
                for mean, parameter in zip(average, parameters, strict=True):
                    mean.lerp_(parameter, 1.0 / min(step, _MEMORY))
        with parameters_of(parameters, average):
            of_reference, of_sample = (
                _in_pieces(network, inputs, which, validation, device) for which in (True, False)
            )
        value = float(0.5 * (softplus(-of_reference).mean() + softplus(of_sample).mean()))
        if value < best_loss:
            best, best_loss, best_epoch = [mean.clone() for mean in average], value, epoch
        if epoch - best_epoch >= settings.patience:
            break
    set_parameters(parameters, best)

    def logits_of(index: Indices) -> tuple[FloatArray, FloatArray]:
        of_reference, of_sample = (
            _in_pieces(network, inputs, which, index, device).double().cpu().numpy() for which in (True, False)
        )
        return of_reference, of_sample

    return logits_of


def _network(
    size: int, settings: VoxelNetworkSettings, generator: torch.Generator, device: torch.device
) -> torch.nn.ModuleList:
    """Linear layers with random parameters from `generator`; the last begins at zero, which is D = 1/2."""
    import torch

    layers: list[torch.nn.Module] = []
    for _ in range(settings.layers):
        linear = torch.nn.utils.skip_init(torch.nn.Linear, size, settings.width)  # type: ignore[no-untyped-call]
        torch.nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu", generator=generator)
        torch.nn.init.zeros_(linear.bias)
        layers.append(linear)
        size = settings.width
    last = torch.nn.utils.skip_init(torch.nn.Linear, size, 1)  # type: ignore[no-untyped-call]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    return torch.nn.ModuleList([*layers, last]).to(device)


def _forward(
    network: torch.nn.ModuleList, x: torch.Tensor, dropout: float = 0.0, generator: torch.Generator | None = None
) -> torch.Tensor:
    import torch

    *hidden, last = network
    for linear in hidden:
        x = torch.nn.functional.leaky_relu(linear(x))
        if dropout and generator is not None:
            # The same for both samples, so that nothing changes but the sign when they are exchanged.
            kept = torch.rand((len(x) // 2, x.shape[1]), generator=generator) >= dropout
            x = x * kept.to(x.device).repeat(2, 1) / (1.0 - dropout)
    logits: torch.Tensor = last(x)[:, 0]
    return logits


def _in_pieces(
    network: torch.nn.ModuleList, inputs: Inputs, reference: bool, index: Indices, device: torch.device
) -> torch.Tensor:
    import torch

    with torch.no_grad():
        return torch.cat(
            [
                _forward(network, inputs(reference, part))
                for part in torch.split(torch.from_numpy(index).to(device), _PIECE)
            ]
        )
