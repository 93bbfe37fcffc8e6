"""The network behind the probabilities of labels, and its training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mlgen.errors import TrainingError

FloatArray = npt.NDArray[np.float64]
FloatArray32 = npt.NDArray[np.float32]

#: Points that are evaluated at a time; what a few layers need of them stays in the cache.
CHUNK = 4096
#: Share of the events that only decide which parameters are kept, at least and at most so many.
_HELD_OUT = 0.1
_FEWEST_HELD_OUT = 60
_MOST_HELD_OUT = 20_000
#: Validations in a training of full length, besides those at the steps 1, 2, 4, 8, ...
_VALIDATIONS = 50
#: Share of the steps without a better held-out loss after which a training ends.
_PATIENCE = 0.3
#: Share of the steps that the moving average of the parameters remembers.
_AVERAGED_SHARE = 0.02
_REPORT_EVERY = 50
_GRADIENT_NORM = 1.0
_WEIGHT_DECAY = 1e-2
#: Standard errors by which the held-out loss has to become better for the network to be kept.
_LEAST_GAIN = 1.0
_LAST_LEARNING_RATE = 1e-3


class ResidualNetwork(nn.Module):
    """Residual perceptron with SiLU: a point and the features of its condition in, one number for each label out.

    The condition is added, through a matrix, in the first layer and inside of each block. The output begins at zero.

    Args:
        dimension: Number of coordinates of a point.
        features: Of each condition, ``(conditions, f)``.
        labels: Number of labels.
        width: Width of the hidden layers.
        depth: Number of blocks, of two layers each.
    """

    features: Tensor

    def __init__(self, dimension: int, features: FloatArray32, labels: int, width: int, depth: int) -> None:
        super().__init__()
        self.register_buffer("features", torch.from_numpy(features))
        self.inward = _linear(dimension, width)
        # Without features there is nothing to embed, and nothing for an optimiser to take apart.
        self.embedding = _linear(features.shape[1], (depth + 1) * width) if features.shape[1] else None
        self.first = nn.ModuleList(_linear(width, width) for _ in range(depth))
        self.second = nn.ModuleList(_linear(width, width) for _ in range(depth))
        self.outward = _linear(width, labels)

    def initialise(self, rng: np.random.Generator) -> None:
        """Set all parameters from `rng`: weights uniform within one over the root of the inputs, last layers zero."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                bound = 1 / math.sqrt(parameter.shape[-1])
                values = rng.uniform(-bound, bound, tuple(parameter.shape))
                if parameter.ndim == 1 or name.startswith(("outward", "second")):
                    values[...] = 0.0
                parameter.copy_(torch.from_numpy(values))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return ``(n, labels)`` for points ``(n, dimension)`` and numbers of conditions ``(n,)``."""
        hidden = self.inward(x)
        conditions: tuple[Tensor | float, ...] = (0.0,) * (len(self.first) + 1)
        if self.embedding is not None:
            table = self.embedding(self.features)
            conditions = torch.split(nn.functional.embedding(condition, table), hidden.shape[1], dim=1)
        hidden = hidden + conditions[0]
        for first, second, added in zip(self.first, self.second, conditions[1:], strict=True):
            hidden = hidden + second(nn.functional.silu(first(nn.functional.silu(hidden)) + added))
        out: Tensor = self.outward(nn.functional.silu(hidden))
        return out


@dataclass(frozen=True, slots=True)
class LabelledEvents:
    """Events that the training uses.

    Args:
        points: ``(n, d)``.
        label: ``(n,)``.
        weight: Signed, ``(n,)``.
        condition: ``(n,)``.
        floor: Log-probability down to which an event of negative weight pushes its label, ``(n,)``.
    """

    points: Tensor
    label: Tensor
    weight: Tensor
    condition: Tensor
    floor: Tensor

    def __len__(self) -> int:
        return len(self.label)

    def at(self, rows: Tensor) -> LabelledEvents:
        """Those of some rows."""
        return LabelledEvents(
            self.points[rows], self.label[rows], self.weight[rows], self.condition[rows], self.floor[rows]
        )

    def losses(self, network: ResidualNetwork, table: Tensor) -> Tensor:
        """Loss of each event, ``(n,)``, for a network and the table added to it."""
        logits = network(self.points, self.condition) + nn.functional.embedding(self.condition, table)
        log_probability = torch.log_softmax(logits, dim=1).gather(1, self.label[:, None])[:, 0]
        bounded = torch.where(self.weight < 0, torch.maximum(log_probability, self.floor), log_probability)
        return -self.weight * bounded


def train_labels(
    network: ResidualNetwork,
    offset: FloatArray,
    events: LabelledEvents,
    steps: int,
    batch_size: int,
    learning_rate: float,
    rng: np.random.Generator,
    report: Callable[[int, float], None],
) -> FloatArray | None:
    """Train the network in place; return what is added to `offset`, or None if the frequencies were not beaten."""
    from pytorch_optimizer import SOAP

    order = torch.from_numpy(rng.permutation(len(events)))
    held_out = min(_MOST_HELD_OUT, max(int(_HELD_OUT * len(events)), min(_FEWEST_HELD_OUT, len(events) // 3)))
    check, training = events.at(order[:held_out]), events.at(order[held_out:])
    table = torch.from_numpy(offset.astype(np.float32))
    correction = torch.zeros_like(table, requires_grad=True)
    others = list(network.parameters())
    parameters = [*others, correction]
    optimisers: list[torch.optim.Optimizer] = [
        SOAP(others, lr=learning_rate, betas=(0.95, 0.95), weight_decay=_WEIGHT_DECAY, precondition_frequency=10),
        # Its gradients are zero but for the conditions of the batch.
        torch.optim.Adam([correction], learning_rate),
    ]
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _learning_rate(step, steps))
        for optimiser in optimisers
    ]

    def validate() -> Tensor:
        with torch.no_grad():
            parts = torch.split(torch.arange(held_out), CHUNK)
            return torch.cat([check.at(part).losses(network, table + correction) for part in parts]).double()

    average = [parameter.detach().clone() for parameter in parameters]
    start = best_losses = validate()
    best, best_step = [mean.clone() for mean in average], 0
    size, every = min(batch_size, len(training)), max(1, steps // _VALIDATIONS)
    queue, place = torch.zeros(0, dtype=torch.int64), 0
    recent: list[float] = []
    for step in range(1, steps + 1):
        if place + size > len(queue):
            queue, place = torch.from_numpy(rng.permutation(len(training))), 0
        loss = training.at(queue[place : place + size]).losses(network, table + correction).mean()
        place += size
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, _GRADIENT_NORM)
        for optimiser, schedule in zip(optimisers, schedules, strict=True):
            optimiser.step()
            schedule.step()
        # A short memory at first, so that the average forgets the start values.
        memory = max(1.0, min(_AVERAGED_SHARE * steps, step / 5))
        with torch.no_grad():
            torch._foreach_lerp_(average, parameters, 1 / memory)
        recent.append(loss.item())
        if not math.isfinite(recent[-1]):
            raise TrainingError(
                f"the loss became {recent[-1]} after {step} steps; choose a smaller learning_rate, and look for values "
                "that are far from all others"
            )
        if step % _REPORT_EVERY == 0 or step == steps:
            report(step, float(np.mean(recent)))
            recent.clear()
        if step % every == 0 or step == steps or step & (step - 1) == 0:
            own = [parameter.detach().clone() for parameter in parameters]
            _set(parameters, average)
            losses = validate()
            _set(parameters, own)
            if losses.mean() < best_losses.mean():
                best_losses, best, best_step = losses, [mean.clone() for mean in average], step
        if step - best_step > _PATIENCE * steps:
            break
    _set(parameters, best)
    better = start - best_losses
    # Written so that no difference at all, whose spread may be NaN, keeps the frequencies.
    if not better.mean() > _LEAST_GAIN * better.std() / math.sqrt(held_out):
        return None
    return np.asarray(correction.detach().numpy(), np.float64)


def _learning_rate(step: int, steps: int) -> float:
    warm_up = max(1, steps // 50)
    cosine = 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))
    return min((step + 1) / warm_up, 1.0) * (_LAST_LEARNING_RATE + (1 - _LAST_LEARNING_RATE) * cosine)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a layer without values: its own start values would come from torch's global random numbers."""
    with torch.device("meta"):
        layer = nn.Linear(inputs, outputs)
    return layer.to_empty(device="cpu")


def _set(parameters: list[Tensor], values: list[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)
