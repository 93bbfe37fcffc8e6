"""The training of flows and channel weights, with madnis."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from madnis.integrator import Integrator
from torch import Tensor

from mlgen.errors import TrainingError
from mlgen.sampling import BoolArray, evaluate, prior_of_drawn
from mlgen.stages import FloatArray, Integrand
from mlgen_madnis.channel_weights import PRIOR_OFFSET
from mlgen_madnis.integrator import HISTORY, madnis_integrator
from mlgen_madnis.networks import Networks
from mlgen_madnis.plan import Plan
from mlgen_madnis.settings import MadnisSettings
from mlgen_madnis.vegas_start import VegasStart

#: Parts of the steps after which the networks become candidates; the start, VEGAS alone, is one too.
CHECKPOINTS = (0.7, 0.85, 1.0)
#: The candidates are running means of the parameters, with this factor for each step.
_RUNNING_MEAN = 0.998
#: Part of the steps after which groups of channels are dropped, again and again up to the second part: early enough for
#: the others to learn to do without them.
_DROPPING, _LAST_DROPPING = 0.1, 0.5


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The networks after some steps.

    Args:
        step: Number of the step; 0 before the first.
        parameters: Parameters of the networks, as `Networks.parameters` names them, on the CPU.
        active_groups: Whether a group of channels is drawn, ``(groups,)``.
        group_integrals: Integral of each group, ``(groups,)``, roughly: relative numbers.
    """

    step: int
    parameters: dict[str, Tensor]
    active_groups: BoolArray
    group_integrals: FloatArray


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """What the networks learn.

    Args:
        integrand: What is to be integrated.
        start: What VEGAS found; its integral is the unit of the losses.
    """

    integrand: Integrand
    start: VegasStart

    @property
    def drawn_groups(self) -> BoolArray:
        """Whether a group holds a channel that contributes, ``(groups,)``."""
        start = self.start
        return np.asarray(np.bincount(start.group_of_channel, start.probabilities, len(start.maps.grids)) > 0)

    def __call__(self, u: Tensor, channel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return value, features and prior at points ``u (n, d)`` of the maps, as madnis asks: type and device of `u`.

        Raises:
            TrainingError: The integrand returns something that is not finite, or of the wrong shape.
        """
        channels = channel.cpu().numpy()
        x, jacobian = self.start.maps.place(u.detach().cpu().double().numpy(), self.start.group_of_channel[channels])
        evaluated = evaluate(self.integrand, x, channels)
        drawn = self.drawn_groups[self.start.group_of_channel]
        prior = prior_of_drawn(drawn, self.integrand.features, evaluated.features, evaluated.prior)
        value = evaluated.value * jacobian / self.start.integral
        arrays = (value, evaluated.features, prior + PRIOR_OFFSET)
        first, second, third = (torch.from_numpy(np.ascontiguousarray(a)).to(u.device, u.dtype) for a in arrays)
        return first, second, third


def train_networks(
    task: TrainingTask,
    networks: Networks,
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
        networks: The networks; they end on `device`.
        settings: Learning rate, buffer, dropping.
        plan: Steps and batch sizes.
        device: Where torch computes.
        told: Called after each step with the points gone through so far and the relative standard deviation.

    Returns:
        Checkpoints, the untrained networks first, and the loss of each step on new points.

    Raises:
        TrainingError: Too few steps have a finite loss.
    """
    integrator = madnis_integrator(task, task.integrand, task.start.group_of_channel, networks, settings, plan, device)
    integrator.active_channels_mask.copy_(torch.from_numpy(task.drawn_groups))
    integrator.channel_dropping_interval = max(round(_DROPPING * plan.steps), HISTORY * plan.cycle)
    threshold = _dropping_threshold(task, networks, settings)
    parameters = networks.parameters
    means = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    checkpoints = [_checkpoint(0, integrator, means)]
    due = {max(1, round(part * plan.steps)) for part in CHECKPOINTS}
    losses: list[float] = []
    spread, failed, done = math.nan, 0, 0
    for step, batch_size in enumerate(plan.batch_sizes.tolist(), start=1):
        integrator.batch_size = batch_size
        integrator.channel_dropping_threshold = threshold if step <= _LAST_DROPPING * plan.steps else 0.0
        with warnings.catch_warnings():
            # A batch whose loss is not a number is skipped, and counted here.
            warnings.filterwarnings("ignore", message="nan batch")
            status = integrator.train_step()
        if not math.isfinite(status.loss):
            failed += 1
        elif not status.buffered:
            losses.append(status.loss)
            squared = status.loss if math.isnan(spread) else 0.95 * spread**2 + 0.05 * status.loss
            spread = math.sqrt(squared)
        decay = min(_RUNNING_MEAN, step / (step + 10))
        with torch.no_grad():
            for name, mean in means.items():
                mean.lerp_(parameters[name], 1 - decay)
        if step in due:
            checkpoints.append(_checkpoint(step, integrator, means))
        done += batch_size
        told(done, spread)
    if failed > plan.steps / 2:
        raise TrainingError(
            f"the loss was no finite number in {failed} of {plan.steps} steps; check the integrand for single points "
            "with huge values, or choose a smaller learning_rate"
        )
    return checkpoints, losses


def _dropping_threshold(task: TrainingTask, networks: Networks, settings: MadnisSettings) -> float:
    """Return the share below which groups are dropped; zero where none may be."""
    if networks.channel_weights is None:
        # The weights of the prior alone cannot make up for a channel that is dropped midway.
        return 0.0
    if task.start.negative_share >= settings.drop_channels:
        # The library sorts groups by their signed integrals: one that is large and negative would be the first to go.
        # Less negative than the threshold (parton densities at large x) nothing can be that matters.
        return 0.0
    return settings.drop_channels


def _checkpoint(step: int, integrator: Integrator, means: dict[str, Tensor]) -> Checkpoint:
    active = integrator.active_channels_mask.cpu().numpy().copy()
    integrals = np.ones(len(active))
    if integrator.integration_history.size:
        history, _, _ = integrator.integration_history
        integrals = np.abs(np.nan_to_num(history.double().cpu().numpy())).mean(axis=0)
    return Checkpoint(step, {name: mean.cpu().clone() for name, mean in means.items()}, active, integrals)
