"""The training of a network: Adam, a cosine, averaged parameters, and held-out showers that decide when to stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from mlgen.errors import TrainingError
from mlgen.stages import IntArray
from mlgen.torch_training import cosine_learning_rate, parameters_of, set_parameters
from mlgen_caloflow.settings import CaloFlowSettings

_VALIDATIONS = 25
_REPORT_EVERY = 20
_GRADIENT_NORM = 50.0
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


def planned_steps(showers: int, passes: float, settings: CaloFlowSettings) -> int:
    """Return how many steps `fit` takes, unless it stops before."""
    return max(settings.fewest_steps, math.ceil(passes * showers / min(settings.batch_size, showers)))


def fit(
    network: nn.Module,
    loss: Callable[[IntArray], Tensor],
    validate: Callable[[], float],
    showers: int,
    passes: float,
    settings: CaloFlowSettings,
    rng: np.random.Generator,
    report: Callable[[int, float], None],
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
        report: Called with the steps done and the loss.

    Raises:
        TrainingError: The loss became infinite or NaN.
    """
    size = min(settings.batch_size, showers)
    steps = planned_steps(showers, passes, settings)
    parameters = list(network.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, partial(cosine_learning_rate, steps=steps, last=_LAST_LEARNING_RATE)
    )
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
            report(step, course.loss[-1])
        if step % every == 0 or step == steps:
            network.eval()
            with parameters_of(parameters, average), torch.no_grad():
                course.validation_loss.append(validate())
            if course.validation_loss[-1] < course.best:
                course.best, course.best_step = course.validation_loss[-1], step
                best = [parameter.clone() for parameter in average]
            elif step - course.best_step > settings.patience * steps:
                break
    set_parameters(parameters, best)
    network.eval()
    return course
