"""The network of the classifier test: a small perceptron that tells two weighted sets of events apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from mlgen.threads import one_thread
from mlgen.validation.auc import BoolArray
from mlgen.validation.observable import FloatArray

if TYPE_CHECKING:
    import torch

_WIDTH = 128
_LAYERS = 3
_EPOCHS = 30
#: First epochs, in which only the linear layer is trained.
_LINEAR_EPOCHS = 2
#: Epochs without a better loss on the held-out part after which a training ends.
_PATIENCE = 5
_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 1e-2
_LARGEST_BATCH = 1024
#: Steps over which the averaged parameters, the ones that are used, forget. Without the average the loss of the
#: last steps is noise of the order of a distortion of some per cent.
_MEMORY = 60
#: Distance from zero from which squares of the inputs do not grow.
_LARGEST_SQUARED = 3.0


def train_network(
    inputs: FloatArray, label: BoolArray, weight: FloatArray, held_out: BoolArray, *, seed: int
) -> Callable[[FloatArray], FloatArray]:
    r"""Train a network on the weighted cross entropy of lecture notes eq. 4.21, 4.92.

    Three hidden layers of 128 with SiLU, beside them a linear layer of the inputs and their squares, which is trained
    alone at first: with many columns it finds shifts and widths of single ones before the others learn noise. AdamW
    with a cosine schedule; the parameters are averaged over the last steps and kept from the epoch with the smallest
    loss on the held-out part. Trained on a GPU where there is one. Draws nothing from the global generators.

    Args:
        inputs: Standardised, without NaN, shape ``(n, columns)``.
        label: Which events belong to class 1, ``(n,)``.
        weight: Positive weights with a mean of about one, ``(n,)``.
        held_out: Events that only decide when to stop, ``(n,)``.
        seed: Of the initial parameters and the batches.

    Returns:
        A function from inputs ``(m, columns)`` to the logits :math:`\ln D / (1 - D)`, ``(m,)``.
    """
    import torch  # noqa: F401  # before the limit, which holds for what is loaded

    with one_thread():
        return _train(inputs, label, weight, held_out, seed)


def _train(
    inputs: FloatArray, label: BoolArray, weight: FloatArray, held_out: BoolArray, seed: int
) -> Callable[[FloatArray], FloatArray]:
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = torch.Generator().manual_seed(seed)
    network = _network(inputs.shape[1], generator).to(device)
    x = torch.from_numpy(inputs.astype(np.float32)).to(device)
    y = torch.from_numpy(label.astype(np.float32)).to(device)
    w = torch.from_numpy(weight.astype(np.float32)).to(device)
    check = torch.from_numpy(np.flatnonzero(held_out)).to(device)
    training = torch.from_numpy(np.flatnonzero(~held_out))
    batch = min(max(len(training) // 40, 64), _LARGEST_BATCH)
    steps_per_epoch = max(len(training) // batch, 1)
    optimiser = torch.optim.AdamW(network.parameters(), _LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    steps = _EPOCHS * steps_per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.5 * (1.0 + math.cos(math.pi * step / steps)))
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits

    parameters = list(network.parameters())
    average = [parameter.detach().clone() for parameter in parameters]
    best, best_loss, best_epoch = average, math.inf, 0
    step = 0
    for epoch in range(_EPOCHS):
        order = training[torch.randperm(len(training), generator=generator)].to(device)
        for chosen in torch.split(order, batch)[:steps_per_epoch]:
            # Parameters without a gradient stay as they are, and so do the hidden layers' zero logits.
            optimiser.zero_grad()
            loss = cross_entropy(_logits(network, x[chosen], deep=epoch >= _LINEAR_EPOCHS), y[chosen], w[chosen])
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            step += 1
            with torch.no_grad():
                memory = min(step, _MEMORY)
                for mean, parameter in zip(average, parameters, strict=True):
                    mean.lerp_(parameter, 1.0 / memory)
        with torch.no_grad():
            current = [parameter.detach().clone() for parameter in parameters]
            _set(parameters, average)
            value = float(cross_entropy(_in_pieces(network, x[check]), y[check], w[check]))
            if value < best_loss:
                best, best_loss, best_epoch = [mean.clone() for mean in average], value, epoch
            _set(parameters, current)
        if epoch - max(best_epoch, _LINEAR_EPOCHS - 1) >= _PATIENCE:
            break
    _set(parameters, best)

    @one_thread()
    def logits(new: FloatArray) -> FloatArray:
        with torch.no_grad():
            result = _in_pieces(network, torch.from_numpy(new.astype(np.float32)).to(device))
        return np.asarray(result.cpu().numpy(), dtype=np.float64)

    return logits


def _network(columns: int, generator: torch.Generator) -> torch.nn.ModuleDict:
    """Perceptron, and a linear layer of inputs and squares beside it.

    Initial parameters are from `generator`; both last layers begin at zero, which is D = 1/2.
    """
    import torch

    layers: list[torch.nn.Module] = []
    size = columns
    for _ in range(_LAYERS):
        linear = torch.nn.utils.skip_init(torch.nn.Linear, size, _WIDTH)  # type: ignore[no-untyped-call]
        torch.nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu", generator=generator)
        torch.nn.init.zeros_(linear.bias)
        layers += [linear, torch.nn.SiLU()]
        size = _WIDTH
    last = [torch.nn.utils.skip_init(torch.nn.Linear, inputs, 1) for inputs in (size, 2 * columns)]  # type: ignore[no-untyped-call]
    for linear in last:
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    return torch.nn.ModuleDict({"deep": torch.nn.Sequential(*layers, last[0]), "direct": last[1]})


def _logits(network: torch.nn.ModuleDict, x: torch.Tensor, *, deep: bool = True) -> torch.Tensor:
    import torch

    # Squares of zero mean and unit variance for a normal distribution.
    squares = (x.clamp(-_LARGEST_SQUARED, _LARGEST_SQUARED).square() - 1.0) / math.sqrt(2.0)
    logits: torch.Tensor = network["direct"](torch.cat([x, squares], dim=1))
    return (logits + network["deep"](x) if deep else logits)[:, 0]


def _in_pieces(network: torch.nn.ModuleDict, x: torch.Tensor) -> torch.Tensor:
    """Logits, in pieces that stay in the cache."""
    import torch

    return torch.cat([_logits(network, part) for part in torch.split(x, 4096)]) if len(x) else x.new_zeros(0)


def _set(parameters: list[torch.nn.Parameter], values: list[torch.Tensor]) -> None:
    import torch

    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)
