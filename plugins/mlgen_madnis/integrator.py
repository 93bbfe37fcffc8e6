"""The integrator of the library madnis, set up for a training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from madnis.integrator import Buffer, ChannelGrouping, Integrator
from madnis.integrator import Integrand as MadnisIntegrand
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mlgen.stages import IntArray, Integrand
from mlgen_madnis.losses import LOSSES
from mlgen_madnis.networks import Networks
from mlgen_madnis.plan import Plan
from mlgen_madnis.settings import MadnisSettings

_WARM_UP_STEPS = 50
_LARGEST_GRADIENT = 10.0
#: Batches of new points from which the library takes the groups' integrals and standard deviations.
HISTORY = 20

#: Value, features and prior of points of the networks' hypercube, and their channels.
Function = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def madnis_integrator(
    function: Function,
    integrand: Integrand,
    group_of_channel: IntArray,
    networks: Networks,
    settings: MadnisSettings,
    plan: Plan,
    device: torch.device,
) -> Integrator:
    """Return the integrator, which moves the networks to `device` and trains them in place. It drops no channels.

    Args:
        function: What is called for new points, with tensors on `device`.
        integrand: Its dimensions, channels and features.
        group_of_channel: Group of each channel, ``(channels,)``.
        networks: What is trained.
        settings: Loss, learning rate and buffer.
        plan: Steps and batch sizes.
        device: Where torch computes.
    """
    channels = len(integrand.channels)
    network = networks.channel_weights

    def optimizer(parameters: Iterable[nn.Parameter]) -> Optimizer:
        kept = list(parameters)
        made = torch.optim.Adam(kept, settings.learning_rate, betas=(0.9, 0.99), fused=True)
        made.register_step_pre_hook(lambda *_: _clip(kept))
        return made

    integrator = Integrator(
        MadnisIntegrand(
            function,
            input_dim=integrand.dimensions,
            channel_count=channels,
            remapped_dim=integrand.features,
            has_channel_weight_prior=True,
            channel_grouping=_grouping(group_of_channel.tolist()),
        ),
        # There before the optimiser, which keeps the parameters that it is given.
        flow=networks.flows.to(device),
        cwnet=None if network is None else network.to(device),
        train_channel_weights=network is not None,
        loss=LOSSES[settings.loss],
        optimizer=optimizer,
        scheduler=lambda optimizer: LambdaLR(optimizer, lambda step: _rate(step, plan.steps)),
        batch_size=int(plan.batch_sizes[0]),
        uniform_channel_ratio=settings.uniform_channels,
        integration_history_length=HISTORY,
        buffered_steps=settings.buffered_steps,
        # One step in each cycle is on new points, however small the batches are: the budget counts on it.
        minimum_buffer_size=0,
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
    capacity = max(settings.buffer_size, int(plan.batch_sizes.max()))
    integrator.buffer = _DrawWithReplacement(capacity, shapes, persistent=False, dtypes=types).to(device)
    return integrator


class _DrawWithReplacement(Buffer):  # type: ignore[misc]
    """A buffer whose batches may hold a point twice: for one step in a large buffer that is quicker, and no worse."""

    def sample(self, count: int) -> list[Tensor | None]:
        """Return `count` points."""
        index = torch.randint(self.size, (min(count, self.size),), device=self._size.device)
        return [None if field is None else field[index] for field in self._buffer_fields()]


def _grouping(group_of_channel: list[int]) -> ChannelGrouping:
    first: dict[int, int] = {}
    for channel, group in enumerate(group_of_channel):
        first.setdefault(group, channel)
    return ChannelGrouping(
        [None if first[group] == channel else first[group] for channel, group in enumerate(group_of_channel)]
    )


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
