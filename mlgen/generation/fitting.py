"""The training of a family's density: SOAP, a cosine, averaged parameters, and events that decide when to stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from mlgen.errors import TrainingError
from mlgen.generation.density import FamilyDensity
from mlgen.generation.families import FamilyEvents
from mlgen.generation.nuisance import Nuisance
from mlgen.generation.settings import LearnedGeneratorSettings
from mlgen.torch_training import cosine_learning_rate, parameters_of, set_parameters

#: Validations in a training of full length, and events that each looks at, at least (by other noise) and at most.
_VALIDATIONS = 40
_FEWEST_VALIDATED, _MOST_VALIDATED = 5_000, 20_000
#: Fewest steps between two.
_LEAST_STEPS = 50
_REPORT_EVERY = 20
_GRADIENT_NORM = 5.0
#: Memory of the moving average of the parameters, in steps, as a share of all steps.
_AVERAGED_SHARE = 0.03
_LAST_LEARNING_RATE = 1e-3
#: Largest decrease of the loss for which a negative weight still counts: beyond it, a single event of negative weight
#: would be driven out of the model for ever.
_LARGEST_LOSS = 50.0


@dataclass
class Course:
    """What happened in a training.

    Args:
        loss: Mean over `_REPORT_EVERY` steps each.
        validation_loss: Of held-out events, with the averaged parameters.
        best: The smallest of these.
        steps: Steps that were done.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best: float = math.inf
    best_step: int = 0
    steps: int = 0


@dataclass
class Data:
    """Events of a family as tensors."""

    rows: Tensor
    topology: Tensor
    weight: Tensor
    training: Tensor
    held_out: Tensor
    nuisance: Nuisance

    @classmethod
    def of(cls, events: FamilyEvents, nuisance: Nuisance, device: torch.device) -> Data:
        """Put events on a device."""
        return cls(
            torch.from_numpy(events.rows).to(device),
            torch.from_numpy(events.topology).to(device),
            torch.from_numpy(events.weight.astype(np.float32)).to(device),
            torch.from_numpy(np.flatnonzero(~events.held_out)).to(device),
            torch.from_numpy(np.flatnonzero(events.held_out)).to(device),
            nuisance,
        )


def fit_density(
    model: FamilyDensity,
    data: Data,
    settings: LearnedGeneratorSettings,
    steps: int,
    rng: np.random.Generator,
    report: Callable[[int, float], None],
    *,
    factor: Tensor | None = None,
    select: bool = True,
) -> Course:
    """Train the model in place; it ends with the averaged parameters of the smallest validation loss.

    Args:
        model: The model.
        data: Its events.
        settings: Of the generator.
        steps: Optimisation steps.
        rng: Source of all randomness.
        report: Called with the steps done and the loss.
        factor: Multiplies the weight of each event, ``(n,)``.
        select: Whether to keep the parameters of the smallest validation loss; otherwise the last ones.

    Raises:
        TrainingError: The loss became infinite or NaN.

    References:
        Eq. (4.85) of Plehn et al., arXiv:2211.01421; SOAP: Vyas et al., arXiv:2409.11321.
    """
    from pytorch_optimizer import SOAP

    noise = torch.Generator(device=data.rows.device)
    noise.manual_seed(int(rng.integers(2**63)))
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        return Course(best=0.0)
    optimiser = SOAP(parameters, lr=settings.learning_rate, betas=(0.95, 0.95), weight_decay=0.0)
    for group in optimiser.param_groups:
        group["precondition_frequency"] = 10
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, partial(cosine_learning_rate, steps=steps, last=_LAST_LEARNING_RATE)
    )
    weight = data.weight if factor is None else data.weight * factor
    validate = _validation(model, data, rng)
    average = [parameter.detach().clone() for parameter in parameters]
    best = [parameter.clone() for parameter in average]
    course = Course(best=validate())
    course.validation_loss.append(course.best)
    size = settings.batch_for(len(data.training))
    every = max(_LEAST_STEPS, steps // _VALIDATIONS)
    images = len(data.rows)
    recent: list[float] = []
    order, place = torch.zeros(0, dtype=torch.int64), 0
    for step in range(1, steps + 1):
        if place + size > len(order):
            order, place = data.training[torch.from_numpy(rng.permutation(len(data.training)))], 0
        chosen = order[place : place + size]
        place += size
        image = torch.from_numpy(rng.integers(0, images, size)).to(chosen.device)
        extra, ratio = data.nuisance.drawn(chosen, rng)
        losses = model.loss(data.rows[image, chosen], data.topology[chosen], extra, noise)
        signed = weight[chosen] * ratio
        loss = (signed * torch.where(signed < 0, losses.clamp(max=_LARGEST_LOSS), losses)).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, _GRADIENT_NORM)
        optimiser.step()
        schedule.step()
        # A short memory at first, so that the average forgets the start values.
        memory = max(2.0, min(_AVERAGED_SHARE * steps, step / 5))
        with torch.no_grad():
            torch._foreach_lerp_(average, list[Tensor](parameters), 1 / memory)
        recent.append(loss.item())
        if not math.isfinite(recent[-1]):
            raise TrainingError(f"the loss became {recent[-1]} after {step} steps; choose a smaller learning_rate")
        course.steps = step
        if step % _REPORT_EVERY == 0 or step == steps:
            course.loss.append(float(np.mean(recent)))
            recent.clear()
            report(step, course.loss[-1])
        if step % every == 0 or step == steps:
            with parameters_of(parameters, average):
                course.validation_loss.append(validate())
            if course.validation_loss[-1] < course.best or not select:
                course.best, course.best_step = course.validation_loss[-1], step
                best = [parameter.clone() for parameter in average]
            if select and step - course.best_step > settings.patience * steps:
                break
    set_parameters(parameters, best)
    return course


def _validation(model: FamilyDensity, data: Data, rng: np.random.Generator) -> Callable[[], float]:
    """Return a function that computes the loss of the held-out events, always with the same noise."""
    held_out = data.held_out[:_MOST_VALIDATED]
    used = held_out.repeat(max(1, math.ceil(_FEWEST_VALIDATED / max(1, len(held_out)))))
    seed = int(rng.integers(2**63))
    extra, ratio = data.nuisance.drawn(used, rng)
    weight = data.weight[used] * ratio

    def validate() -> float:
        noise = torch.Generator(device=data.rows.device)
        noise.manual_seed(seed)
        with torch.no_grad():
            losses = [
                model.loss(data.rows[0, part], data.topology[part], given, noise).clamp(max=_LARGEST_LOSS)
                for part, given in zip(torch.split(used, 4096), torch.split(extra, 4096), strict=True)
            ]
            return float((weight * torch.cat(losses)).mean()) if len(losses) else 0.0

    return validate
