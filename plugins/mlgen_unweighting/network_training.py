"""The training of the network of event weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mlgen.errors import TrainingError

#: Validations in a training.
VALIDATIONS = 50
_GRADIENT_NORM = 1.0
_WARM_UP = 200
#: Factor of the learning rate that is left at the end.
_LAST_LEARNING_RATE = 1e-3


@dataclass(frozen=True, slots=True)
class Points:
    """Training or validation points.

    Args:
        inputs: ``(n, features)``, of order one.
        targets: ``(n,)``, of order one.
        importance: How much the error of each point counts, ``(n,)``, positive.
    """

    inputs: Tensor
    targets: Tensor
    importance: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, chosen: Tensor) -> Points:
        return Points(self.inputs[chosen], self.targets[chosen], self.importance[chosen])

    def to(self, device: torch.device) -> Points:
        """Return the same points on `device`."""
        return Points(self.inputs.to(device), self.targets.to(device), self.importance.to(device))


def mean_squared_error(network: nn.Module, points: Points) -> Tensor:
    r"""Return the error with the importance of each point: :math:`\sum_i p_i (f(x_i) - y_i)^2 / \sum_i p_i`."""
    squares: Tensor = (network(points.inputs) - points.targets).square()
    return (points.importance * squares).sum() / points.importance.sum()


def train(
    network: nn.Module,
    training: Points,
    validation: Points,
    rng: np.random.Generator,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    told: Callable[[int, float], None],
) -> float:
    """Train `network` in place; it ends with the parameters whose validation loss was smallest.

    The optimiser is SOAP, Adam in the basis in which the gradients' second moments are diagonal: where a function
    without noise is learned, the error after the same time is a fraction of Adam's.

    Args:
        network: On the device of the points.
        training: What is learned from.
        validation: What the best parameters are chosen by.
        rng: Source of the order of the points.
        steps: Number of steps.
        batch_size: Points in a step; all where there are fewer.
        learning_rate: The largest one: it rises at first, and falls like half a cosine wave after.
        told: Called with the steps done and the latest validation loss, `VALIDATIONS` times or so.

    Returns:
        The smallest validation loss.

    Raises:
        TrainingError: The loss became infinite or NaN.

    References:
        Vyas et al., arXiv:2409.11321 (SOAP); Loshchilov and Hutter, arXiv:1608.03983 (cosine).
    """
    from pytorch_optimizer import SOAP

    parameters = list(network.parameters())
    optimiser = SOAP(parameters, lr=learning_rate, betas=(0.95, 0.95), weight_decay=0.0, precondition_frequency=10)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: learning_rate_factor(step, steps))
    size = min(batch_size, len(training))
    every = max(1, steps // VALIDATIONS)
    best, best_loss = [parameter.detach().clone() for parameter in parameters], math.inf
    order, place = torch.zeros(0, dtype=torch.int64), 0
    for step in range(1, steps + 1):
        if place + size > len(order):
            order, place = torch.from_numpy(rng.permutation(len(training))).to(training.targets.device), 0
        loss = mean_squared_error(network, training[order[place : place + size]])
        place += size
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, _GRADIENT_NORM)
        optimiser.step()
        schedule.step()
        if step % every and step != steps:
            continue
        with torch.no_grad():
            validation_loss = float(mean_squared_error(network, validation))
        if not math.isfinite(validation_loss):
            raise TrainingError(f"the loss became {validation_loss} after {step} steps; choose a smaller learning_rate")
        told(step, validation_loss)
        if validation_loss < best_loss:
            best, best_loss = [parameter.detach().clone() for parameter in parameters], validation_loss
    with torch.no_grad():
        for parameter, value in zip(parameters, best, strict=True):
            parameter.copy_(value)
    return best_loss


def learning_rate_factor(step: int, steps: int) -> float:
    """Return the factor of the learning rate after `step` of `steps` steps."""
    warm_up = min(_WARM_UP, max(1, steps // 10))
    cosine = 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))
    return min((step + 1) / warm_up, 1.0) * (_LAST_LEARNING_RATE + (1 - _LAST_LEARNING_RATE) * cosine)
