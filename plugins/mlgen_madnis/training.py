"""The training of flows and channel weights, with madnis."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from madnis.integrator import Buffer, ChannelGrouping, Integrator
from madnis.integrator import Integrand as MadnisIntegrand
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mlgen.errors import TrainingError
from mlgen.stages import IntArray, Integrand
from mlgen_madnis.channel_weights import PRIOR_OFFSET, ChannelWeightNetwork
from mlgen_madnis.losses import LOSSES
from mlgen_madnis.plan import Plan
from mlgen_madnis.settings import MadnisSettings
from mlgen_madnis.smooth_maps import SmoothMaps
from mlgen_madnis.spline_flows import SplineFlows
from mlgen_vegas.channel_sampler import prior_of_drawn
from mlgen_vegas.evaluation import evaluate

#: Parts of the steps after which the networks become candidates; the start, VEGAS alone, is one too.
CHECKPOINTS = (0.7, 0.85, 1.0)
#: The candidates are running means of the parameters, with this factor for each step.
_RUNNING_MEAN = 0.998
_WARM_UP_STEPS = 50
_LARGEST_GRADIENT = 10.0
#: Parts of the training, after each of which but the last channels may be dropped.
_DROPPINGS = 5

Parameters = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The networks after some steps.

    Args:
        step: Number of the step; 0 before the first.
        flows: Parameters of the flows.
        network: Parameters of the network of the channel weights; None where there is none.
        active_groups: Whether a group of channels is drawn, ``(groups,)``.
        group_integrals: Integral of each group, ``(groups,)``, roughly: relative numbers.
    """

    step: int
    flows: Parameters
    network: Parameters | None
    active_groups: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    group_integrals: np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """What the networks learn.

    Args:
        integrand: What is to be integrated.
        maps: Smooth VEGAS maps of the groups.
        group_of_channel: Group of each channel, ``(channels,)``.
        drawn: Whether VEGAS found that a channel contributes, ``(channels,)``.
        integral: What VEGAS found for the integral of the absolute value: the unit of the losses.
    """

    integrand: Integrand
    maps: SmoothMaps
    group_of_channel: IntArray
    drawn: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    integral: float

    @property
    def groups(self) -> int:
        """Number of groups."""
        return len(self.maps.grids)

    @property
    def drawn_groups(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Whether a group holds a channel that contributes, ``(groups,)``."""
        return np.bincount(self.group_of_channel, self.drawn, self.groups) > 0

    def __call__(self, u: Tensor, channel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return value, features and prior at points ``u (n, d)`` of the maps, in single precision, as madnis asks.

        Raises:
            TrainingError: The integrand returns something that is not finite, or of the wrong shape.
        """
        channels = channel.cpu().numpy()
        x, jacobian = self.maps.place(u.detach().cpu().double().numpy(), self.group_of_channel[channels])
        evaluated = evaluate(self.integrand, x, channels)
        drawn = self.drawn_groups[self.group_of_channel]
        prior = prior_of_drawn(drawn, self.integrand.features, evaluated.features, evaluated.prior)
        value = evaluated.value * jacobian / self.integral
        arrays = (value, evaluated.features, prior + PRIOR_OFFSET)
        first, second, third = (torch.from_numpy(np.ascontiguousarray(a)).to(u.device, u.dtype) for a in arrays)
        return first, second, third


class _DrawWithReplacement(Buffer):  # type: ignore[misc]
    """A buffer whose batches may hold a point twice: for one step in a large buffer that is quicker, and no worse."""

    def sample(self, count: int) -> list[Tensor | None]:
        """Return `count` points."""
        index = torch.randint(self.size, (min(count, self.size),), device=self._size.device)
        return [None if field is None else field[index] for field in self._buffer_fields()]


def new_networks(
    dimensions: int, features: int, group_of_channel: IntArray, settings: MadnisSettings, units: int
) -> tuple[SplineFlows, ChannelWeightNetwork | None]:
    """Make untrained networks: identity and prior channel weights. Draws from torch's generator.

    Args:
        dimensions: Of the hypercube.
        features: Features of a point.
        group_of_channel: Group of each channel, ``(channels,)``.
        settings: Layers, bins and units.
        units: Units of the flows' hidden layers.
    """
    flows = SplineFlows(dimensions, group_of_channel.tolist(), layers=settings.layers, units=units, bins=settings.bins)
    if not settings.learn_channel_weights or len(group_of_channel) == 1:
        return flows, None
    network = ChannelWeightNetwork(
        features,
        len(group_of_channel),
        layers=settings.channel_weight_layers,
        units=settings.channel_weight_units,
    )
    return flows, network


def train_networks(
    task: TrainingTask,
    flows: SplineFlows,
    network: ChannelWeightNetwork | None,
    settings: MadnisSettings,
    plan: Plan,
    device: torch.device,
    told: Callable[[int, float], None],
) -> tuple[list[Checkpoint], list[float]]:
    """Train the networks in place.

    The loss is the variance of the weights in units of the integral, for the division of points among the groups that
    `MadnisSettings.loss` names.

    Args:
        task: What is to be learned.
        flows: The flows.
        network: The network of the channel weights, or None.
        settings: Learning rate, buffer, dropping.
        plan: Steps and batch size.
        device: Where torch computes.
        told: Called after each step with its number and the relative standard deviation.

    Returns:
        Checkpoints, the untrained networks first, and the loss of each step on new points.

    Raises:
        TrainingError: Too few steps have a finite loss.
    """
    integrator = _integrator(task, flows, network, settings, plan, device)
    modules = [module for module in (flows, network) if module is not None]
    means = [parameter.detach().clone() for module in modules for parameter in module.parameters()]
    checkpoints = [_checkpoint(0, integrator, task, flows, network, None)]
    due = {max(1, round(part * plan.steps)) for part in CHECKPOINTS}
    losses: list[float] = []
    spread, failed = math.nan, 0
    for step in range(1, plan.steps + 1):
        with warnings.catch_warnings():
            # A batch whose loss is not a number is skipped, and counted here.
            warnings.simplefilter("ignore")
            status = integrator.train_step()
        if not math.isfinite(status.loss):
            failed += 1
        elif not status.buffered:
            losses.append(status.loss)
            squared = status.loss if math.isnan(spread) else 0.95 * spread**2 + 0.05 * status.loss
            spread = math.sqrt(squared)
        decay = min(_RUNNING_MEAN, step / (step + 10))
        with torch.no_grad():
            parameters = (parameter for module in modules for parameter in module.parameters())
            for mean, parameter in zip(means, parameters, strict=True):
                mean.lerp_(parameter, 1 - decay)
        if step in due:
            checkpoints.append(_checkpoint(step, integrator, task, flows, network, means))
        told(step, spread)
    if failed > plan.steps / 2:
        raise TrainingError(
            f"the loss was no finite number in {failed} of {plan.steps} steps; check the integrand for single points "
            "with huge values, or choose a smaller learning_rate"
        )
    return checkpoints, losses


def _integrator(
    task: TrainingTask,
    flows: SplineFlows,
    network: ChannelWeightNetwork | None,
    settings: MadnisSettings,
    plan: Plan,
    device: torch.device,
) -> Integrator:
    integrand = task.integrand
    channels = len(integrand.channels)
    first = {group: channel for channel, group in reversed(list(enumerate(task.group_of_channel.tolist())))}
    targets = [first[group] for group in task.group_of_channel.tolist()]
    grouping = ChannelGrouping([None if target == i else target for i, target in enumerate(targets)])

    def optimizer(parameters: Iterable[nn.Parameter]) -> Optimizer:
        kept = list(parameters)
        made = torch.optim.Adam(kept, settings.learning_rate, betas=(0.9, 0.99), fused=True)
        made.register_step_pre_hook(lambda *_: _clip(kept))
        return made

    integrator = Integrator(
        MadnisIntegrand(
            task,
            input_dim=integrand.dimensions,
            channel_count=channels,
            remapped_dim=integrand.features,
            has_channel_weight_prior=True,
            channel_grouping=grouping,
        ),
        flow=flows.to(device),
        cwnet=None if network is None else network.to(device),
        train_channel_weights=network is not None,
        loss=LOSSES[settings.loss],
        optimizer=optimizer,
        scheduler=lambda optimizer: LambdaLR(optimizer, lambda step: _rate(step, plan.steps)),
        batch_size=plan.batch_size,
        uniform_channel_ratio=settings.uniform_channels,
        buffered_steps=settings.buffered_steps,
        # The weights of the prior alone cannot make up for a channel that is dropped midway.
        channel_dropping_threshold=0.0 if network is None else settings.drop_channels,
        channel_dropping_interval=plan.steps // _DROPPINGS + 1,
        channel_grouping_mode="uniform",
        # Each batch asks for the integrand once, however many of its points lie outside the cuts.
        batch_size_threshold=-1.0,
        device=device,
    )
    shapes: list[tuple[int, ...] | None] = [
        (integrand.dimensions,), (integrand.features,), (), (), (), (channels,), None, (), None, None,
    ]  # fmt: skip
    whole = torch.int64
    types = [None, None, None, None, whole, None, None, whole, None, None]
    capacity = max(settings.buffer_size, plan.batch_size)
    integrator.buffer = _DrawWithReplacement(capacity, shapes, persistent=False, dtypes=types).to(device)
    integrator.active_channels_mask.copy_(torch.from_numpy(task.drawn_groups))
    return integrator


def _clip(parameters: list[nn.Parameter]) -> None:
    """Limit the gradient; one that is not finite is taken away, so that the optimiser leaves all as it is."""
    norm = nn.utils.clip_grad_norm_(parameters, _LARGEST_GRADIENT)
    if not torch.isfinite(norm):
        for parameter in parameters:
            parameter.grad = None


def _rate(step: int, steps: int) -> float:
    """Return the learning rate in units of the largest: a short rise, and a cosine that falls to zero."""
    rise = min(1.0, (step + 1) / min(_WARM_UP_STEPS, steps))
    return rise * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))


def _checkpoint(
    step: int,
    integrator: Integrator,
    task: TrainingTask,
    flows: SplineFlows,
    network: ChannelWeightNetwork | None,
    means: list[Tensor] | None,
) -> Checkpoint:
    """Return the running means of the parameters, or the parameters themselves where there are none yet."""
    names_of_flows = [name for name, _ in flows.named_parameters()]
    values = means if means is not None else [p.detach() for p in flows.parameters()]
    if means is None and network is not None:
        values = values + [p.detach() for p in network.parameters()]
    copies = [value.cpu().clone() for value in values]
    of_flows = dict(zip(names_of_flows, copies, strict=False))
    of_network = (
        None
        if network is None
        else dict(zip((name for name, _ in network.named_parameters()), copies[len(of_flows) :], strict=True))
    )
    integrals = np.ones(task.groups)
    if integrator.integration_history.size:
        history, _, _ = integrator.integration_history
        integrals = np.abs(np.nan_to_num(history.double().cpu().numpy())).mean(axis=0)
    active = integrator.active_channels_mask.cpu().numpy().copy()
    return Checkpoint(step, of_flows, of_network, active, integrals)
