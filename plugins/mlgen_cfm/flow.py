"""Flow matching: training of the velocity field, and the way from noise to points."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from mlgen.events import FloatArray
from mlgen_cfm.network import VelocityNetwork
from mlgen_cfm.settings import CfmSettings

FloatArray32 = npt.NDArray[np.float32]

#: Share of the events that is held out, and the most that are.
HELD_OUT, MOST_HELD_OUT = 0.1, 2000
#: Points at which the validation loss is computed; few events are used several times, with other noise.
VALIDATION_POINTS = 4000
VALIDATIONS = 20
#: Memory of the moving average of the parameters, in steps, as a share of all steps.
AVERAGED_SHARE = 0.05
REPORT_EVERY = 20
GRADIENT_NORM = 1.0
WEIGHT_DECAY = 1e-2
#: Points that are moved from noise to data at a time.
CHUNK = 10_000


@dataclass
class FlowTraining:
    """What happened: losses over the steps, and the validation loss of the parameters that were kept."""

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best: float = math.inf


def flow_matching_loss(
    network: VelocityNetwork,
    data: torch.Tensor,
    noise: torch.Tensor,
    t: torch.Tensor,
    features: torch.Tensor,
    weight: torch.Tensor,
) -> torch.Tensor:
    r"""Weighted flow-matching loss on linear paths.

    .. math::
        \mathcal L = \left\langle w \, \bigl[ v_\theta((1-t) x_0 + t r, t, c) - (r - x_0) \bigr]^2 \right\rangle

    Args:
        network: The velocity field.
        data: Points :math:`x_0`, shape ``(n, dimension)``.
        noise: Standard normal numbers :math:`r`, same shape.
        t: Times, shape ``(n, 1)``.
        features: Class features, shape ``(n, features)``.
        weight: Signed weights, shape ``(n,)``.

    References:
        Lipman et al., arXiv:2210.02747; eq. (4.151) of Plehn et al., arXiv:2211.01421.
    """
    error = network((1 - t) * data + t * noise, t, features) - (noise - data)
    loss: torch.Tensor = (weight * error.square().mean(dim=1)).mean()
    return loss


def train_flow(
    network: VelocityNetwork,
    data: FloatArray,
    features: FloatArray32,
    weight: FloatArray,
    steps: int,
    settings: CfmSettings,
    rng: np.random.Generator,
    report: Callable[[int, float], None],
) -> FlowTraining:
    """Train the network and leave it with the averaged parameters of the smallest validation loss.

    Args:
        network: Initialised network.
        data: Points, shape ``(n, dimension)``.
        features: Class features of each, shape ``(n, features)``.
        weight: Signed weights, shape ``(n,)``.
        steps: Optimisation steps.
        settings: The generator's settings.
        rng: Source of all noise.
        report: Called with the steps done and the loss.
    """
    order = rng.permutation(len(data))
    held_out = min(MOST_HELD_OUT, max(1, int(HELD_OUT * len(data))))
    points, conditions = torch.from_numpy(data.astype(np.float32)), torch.from_numpy(features)
    weights = torch.from_numpy(weight.astype(np.float32))
    training = torch.from_numpy(order[held_out:])
    validate = _validation(network, points, conditions, weights, torch.from_numpy(order[:held_out]), rng)
    size = min(settings.batch_size, len(training))
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=WEIGHT_DECAY)
    warm_up = max(1, steps // 50)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda k: min((k + 1) / warm_up, 0.5 * (1 + math.cos(math.pi * min(k / steps, 1.0))))
    )
    average = [parameter.detach().clone() for parameter in network.parameters()]
    result = FlowTraining(best=validate())
    best = [parameter.clone() for parameter in average]
    result.validation_loss.append(result.best)
    every = max(1, steps // VALIDATIONS)
    queue = np.zeros(0, np.int64)
    recent: list[float] = []
    for step in range(1, steps + 1):
        if len(queue) < size:
            queue = np.concatenate([queue, rng.permutation(len(training))])
        chosen, queue = training[torch.from_numpy(queue[:size])], queue[size:]
        noise = torch.from_numpy(rng.standard_normal((size, data.shape[1]), np.float32))
        # One time in each of `size` equal intervals: less noise than independent times.
        t = torch.from_numpy((np.arange(size, dtype=np.float32) + rng.random(size, np.float32)) / size)[:, None]
        loss = flow_matching_loss(network, points[chosen], noise, t, conditions[chosen], weights[chosen])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
        optimiser.step()
        schedule.step()
        # A short memory at first, so that the average forgets the start values.
        memory = max(2.0, min(AVERAGED_SHARE * steps, step / 5))
        with torch.no_grad():
            torch._foreach_lerp_(average, list(network.parameters()), 1 / memory)
        recent.append(loss.item())
        if step % REPORT_EVERY == 0 or step == steps:
            result.loss.append(float(np.mean(recent)))
            recent.clear()
            report(step, result.loss[-1])
        if step % every == 0 or step == steps:
            with _parameters_of(network, average):
                result.validation_loss.append(validate())
            if result.validation_loss[-1] < result.best:
                result.best = result.validation_loss[-1]
                best = [parameter.clone() for parameter in average]
    _set(network, best)
    return result


class _parameters_of:  # noqa: N801 - a context manager, used like a function
    """Give the network other parameters for a while."""

    def __init__(self, network: VelocityNetwork, values: list[torch.Tensor]) -> None:
        self.network, self.values = network, values

    def __enter__(self) -> None:
        self.own = [parameter.detach().clone() for parameter in self.network.parameters()]
        _set(self.network, self.values)

    def __exit__(self, *exception: object) -> None:
        _set(self.network, self.own)


def _set(network: VelocityNetwork, values: list[torch.Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), values, strict=True):
            parameter.copy_(value)


def _validation(
    network: VelocityNetwork,
    points: torch.Tensor,
    conditions: torch.Tensor,
    weights: torch.Tensor,
    held_out: torch.Tensor,
    rng: np.random.Generator,
) -> Callable[[], float]:
    """Return a function that computes the loss of the held-out events, always with the same noise and times."""
    used = held_out.repeat(max(1, math.ceil(VALIDATION_POINTS / len(held_out))))
    noise = torch.from_numpy(rng.standard_normal((len(used), points.shape[1]), np.float32))
    times = rng.permutation((np.arange(len(used)) + 0.5) / len(used)).astype(np.float32)
    t = torch.from_numpy(times)[:, None]

    def validate() -> float:
        with torch.no_grad():
            return flow_matching_loss(network, points[used], noise, t, conditions[used], weights[used]).item()

    return validate


def points_from_noise(
    network: VelocityNetwork, noise: FloatArray32, features: FloatArray32, solver_steps: int
) -> FloatArray:
    """Follow the velocity field from noise at t = 1 to data at t = 0, eq. (4.139) of arXiv:2211.01421.

    Args:
        network: The velocity field.
        noise: Standard normal numbers, shape ``(n, dimension)``.
        features: Class features, shape ``(n, features)``.
        solver_steps: Steps of the classical Runge-Kutta method of fourth order.

    Returns:
        Points, shape ``(n, dimension)``.
    """
    result = np.empty(noise.shape)
    step = -1.0 / solver_steps
    with torch.no_grad():
        for start in range(0, len(noise), CHUNK):
            x = torch.from_numpy(noise[start : start + CHUNK])
            condition = torch.from_numpy(features[start : start + CHUNK])

            def velocity(x: torch.Tensor, t: float, condition: torch.Tensor = condition) -> torch.Tensor:
                out: torch.Tensor = network(x, torch.full((len(x), 1), t), condition)
                return out

            for k in range(solver_steps):
                t = 1.0 + k * step
                first = velocity(x, t)
                second = velocity(x + step / 2 * first, t + step / 2)
                third = velocity(x + step / 2 * second, t + step / 2)
                fourth = velocity(x + step * third, t + step)
                x = x + step / 6 * (first + 2 * second + 2 * third + fourth)
            result[start : start + CHUNK] = x.numpy()
    return result
