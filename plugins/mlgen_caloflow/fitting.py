"""The training of a network: Adam, a cosine, averaged parameters, and held-out showers that decide when to stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from mlgen.errors import TrainingError
from mlgen.stages import IntArray
from mlgen_caloflow.settings import CaloFlowSettings

_VALIDATIONS = 25
_REPORT_EVERY = 20
_GRADIENT_NORM = 50.0
_WARM_UP = 100
#: Memory of the moving average of the parameters, as a share of all steps.
_AVERAGED_SHARE = 0.02
_WEIGHT_DECAY = 0.01
_LAST_LEARNING_RATE = 1e-2


@dataclass
class Course:
    """What happened in a training: mean losses, held-out losses with the averaged parameters, the best of these."""

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best: float = math.inf
    best_step: int = 0
    steps: int = 0


def fit(
    network: nn.Module,
    loss: Callable[[IntArray], Tensor],
    validate: Callable[[], float],
    showers: int,
    passes: float,
    settings: CaloFlowSettings,
    rng: np.random.Generator,
    report: Callable[[int, int, float], None],
) -> Course:
    """Train in place; the network ends with the averaged parameters of the smallest held-out loss.

    Args:
        network: What is trained.
        loss: Mean loss of the training showers with these numbers.
        validate: Loss of the held-out showers.
        showers: Number of training showers.
        passes: Passes through them.
        settings: Of the surrogate.
        rng: Source of all randomness.
        report: Called with the steps done, those to do, and the loss.

    Raises:
        TrainingError: The loss became infinite or NaN.
    """
    size = min(settings.batch_size, showers)
    steps = max(settings.fewest_steps, math.ceil(passes * showers / size))
    parameters = list(network.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _learning_rate(step, steps))
    average = [parameter.detach().clone() for parameter in parameters]
    best = [parameter.clone() for parameter in average]
    course, recent = Course(), list[float]()
    every = max(1, steps // _VALIDATIONS)
    order, place = np.zeros(0, np.int64), 0
    for step in range(1, steps + 1):
        if place + size > len(order):
            order, place = rng.permutation(showers), 0
        network.train()
        value = loss(order[place : place + size])
        place += size
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, _GRADIENT_NORM)
        optimiser.step()
        schedule.step()
        # A short memory at first, so that the average forgets the start values.
        memory = max(2.0, min(_AVERAGED_SHARE * steps, step / 5))
        with torch.no_grad():
            torch._foreach_lerp_(average, list[Tensor](parameters), 1 / memory)
        recent.append(value.item())
        if not math.isfinite(recent[-1]):
            raise TrainingError(f"the loss became {recent[-1]} after {step} steps; choose a smaller learning_rate")
        course.steps = step
        if step % _REPORT_EVERY == 0 or step == steps:
            course.loss.append(float(np.mean(recent)))
            recent.clear()
            report(step, steps, course.loss[-1])
        if step % every == 0 or step == steps:
            with _parameters_of(network, parameters, average):
                course.validation_loss.append(validate())
            if course.validation_loss[-1] < course.best:
                course.best, course.best_step = course.validation_loss[-1], step
                best = [parameter.clone() for parameter in average]
            elif step - course.best_step > settings.patience * steps:
                break
    _set(parameters, best)
    network.eval()
    return course


@contextmanager
def _parameters_of(network: nn.Module, parameters: list[nn.Parameter], values: list[Tensor]) -> Iterator[None]:
    """Give a network other values for a while, and its form without dropout."""
    own = [parameter.detach().clone() for parameter in parameters]
    _set(parameters, values)
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        _set(parameters, own)
        network.train()


def _set(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)


def _learning_rate(step: int, steps: int) -> float:
    warm_up = min(_WARM_UP, max(1, steps // 10))
    cosine = 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))
    return min((step + 1) / warm_up, 1.0) * (_LAST_LEARNING_RATE + (1 - _LAST_LEARNING_RATE) * cosine)
