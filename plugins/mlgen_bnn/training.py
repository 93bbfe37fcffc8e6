"""The training of one network, or of an ensemble of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mlgen.errors import TrainingError
from mlgen_bnn.boosting import PointCounts
from mlgen_bnn.losses import likelihood_loss, repulsion
from mlgen_bnn.networks import Network, Output
from mlgen_bnn.settings import BnnSettings

#: Validations in a training of full length.
VALIDATIONS = 50
#: Points that losses are averaged over before they are told.
REPORT_EVERY = 50
#: What is kept is a running mean of the parameters, with this factor for each step.
_RUNNING_MEAN = 0.999
_GRADIENT_NORM = 1.0
_WARM_UP = 200
#: Factor of the learning rate that is left at the end.
_LAST_LEARNING_RATE = 1e-3
#: Points that are evaluated at a time.
_CHUNK = 20_000


@dataclass(frozen=True, slots=True)
class Points:
    """Training or validation points for the networks.

    Args:
        inputs: ``(n, inputs)``, each with mean zero and variance one.
        targets: ``(n,)``, likewise.
        log_values: Logarithm of |M|^2, ``(n,)``.
    """

    inputs: Tensor
    targets: Tensor
    log_values: Tensor

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(slots=True)
class Course:
    """What happened: the loss over the steps, the mean error on validation points, and the best of those."""

    loss: list[float] = field(default_factory=list)
    validation_error: list[float] = field(default_factory=list)
    best: float = math.inf
    best_step: int = 0
    steps: int = 0


def train_networks(
    networks: Sequence[Network],
    training: Points,
    validation: Points,
    settings: BnnSettings,
    rng: np.random.Generator,
    told: Callable[[int, float], None],
) -> Course:
    """Train the networks in place; they end with the running means of their parameters that were best.

    The optimiser is SOAP: Adam in the basis in which the gradients' second moments are diagonal. For a function without
    noise it is several times ahead of Adam after the same time.

    Args:
        networks: One network, or the members of an ensemble, on the device of the points.
        training: What is learned from.
        validation: What the best parameters are chosen by: the smallest mean absolute error of the ensemble's mean.
        settings: Steps, batches, likelihood, prior, boosting.
        rng: Source of all randomness.
        told: Called with the steps done and the latest mean absolute error on the validation points.

    Raises:
        TrainingError: The loss became infinite or NaN.

    References:
        Vyas et al., arXiv:2409.11321.
    """
    from pytorch_optimizer import SOAP

    device = training.targets.device
    noise = torch.Generator(device=device)
    noise.manual_seed(int(rng.integers(2**63)))
    named = [entry for network in networks for entry in network.named_parameters()]
    parameters: list[Tensor] = [parameter for _, parameter in named]
    widths = [parameter for name, parameter in named if name.endswith("log_width")]
    others = [parameter for name, parameter in named if not name.endswith("log_width")]
    optimisers: list[torch.optim.Optimizer] = [
        SOAP(others, lr=settings.learning_rate, betas=(0.95, 0.95), weight_decay=0.0, precondition_frequency=10)
    ]
    if widths:
        # In SOAP's basis the small gradients that all widths of a matrix have in common count as one.
        optimisers.append(torch.optim.Adam(widths, settings.learning_rate))
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _learning_rate(step, settings.steps))
        for optimiser in optimisers
    ]
    means = [parameter.detach().clone() for parameter in parameters]
    best = [mean.clone() for mean in means]
    counts = PointCounts(training.log_values, settings)
    size = min(settings.batch_size, len(training))
    every = max(1, settings.steps // VALIDATIONS)
    course = Course()
    recent: list[float] = []
    order, place = torch.zeros(0, dtype=torch.int64), 0
    for step in range(1, settings.steps + 1):
        if place + size > len(order):
            order, place = torch.from_numpy(rng.permutation(len(training))).to(device), 0
            counts.next_pass()
        chosen = order[place : place + size]
        place += size
        outputs = [network(training.inputs[chosen], noise) for network in networks]
        loss = _loss(networks, outputs, training, chosen, counts, settings)
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, _GRADIENT_NORM)
        for optimiser, schedule in zip(optimisers, schedules, strict=True):
            optimiser.step()
            schedule.step()
        # A short memory at first, so that the mean forgets the start values.
        with torch.no_grad():
            torch._foreach_lerp_(means, parameters, 1 - min(_RUNNING_MEAN, step / (step + 10)))
        recent.append(loss.item() / len(networks))
        if not math.isfinite(recent[-1]):
            raise TrainingError(
                f"the loss became {recent[-1]} after {step} steps; choose a smaller learning_rate, and look for values "
                "that are far from all others"
            )
        if step % REPORT_EVERY == 0 or step == settings.steps:
            course.loss.append(float(np.mean(recent)))
            recent.clear()
            told(step, course.validation_error[-1] if course.validation_error else math.nan)
        if step % every == 0 or step == settings.steps:
            own = [parameter.detach().clone() for parameter in parameters]
            _set(parameters, means)
            course.validation_error.append(_mean_error(networks, validation))
            _set(parameters, own)
            if course.validation_error[-1] < course.best:
                course.best, course.best_step = course.validation_error[-1], step
                best = [mean.clone() for mean in means]
        course.steps = step
        if step - course.best_step > settings.patience * settings.steps:
            break
    _set(parameters, best)
    return course


def evaluated(network: Network, inputs: Tensor) -> Output:
    """Evaluate a network for any number of points, without gradients and with its mean weights."""
    with torch.no_grad():
        parts = [network(inputs[start : start + _CHUNK]) for start in range(0, max(len(inputs), 1), _CHUNK)]
    return Output(*(torch.cat([getattr(part, name) for part in parts]) for name in ("mean", "log_error", "variance")))


def _loss(
    networks: Sequence[Network],
    outputs: Sequence[Output],
    training: Points,
    chosen: Tensor,
    counts: PointCounts,
    settings: BnnSettings,
) -> Tensor:
    target, count = training.targets[chosen], counts[chosen]
    total = target.new_zeros(())
    for network, output in zip(networks, outputs, strict=True):
        total = total + likelihood_loss(output, target, count, settings.error_weight)
        divergence = sum(
            (layer.divergence(settings.prior_width) for layer in network.linear_layers()), total.new_zeros(())
        )
        total = total + divergence / len(training)
    if len(networks) > 1 and settings.repulsion:
        total = total + settings.repulsion * repulsion(torch.stack([output.mean for output in outputs]), len(training))
    counts.seen(chosen, (outputs[0].mean - target) * torch.exp(-outputs[0].log_error))
    return total


def _learning_rate(step: int, steps: int) -> float:
    warm_up = min(_WARM_UP, max(1, steps // 10))
    cosine = 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))
    return min((step + 1) / warm_up, 1.0) * (_LAST_LEARNING_RATE + (1 - _LAST_LEARNING_RATE) * cosine)


def _mean_error(networks: Sequence[Network], points: Points) -> float:
    mean = torch.stack([evaluated(network, points.inputs).mean for network in networks]).mean(dim=0)
    return float((mean - points.targets).abs().mean())


def _set(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)
