"""MadNIS: flows for the channels and learned channel weights, on top of VEGAS."""

from __future__ import annotations

from typing import Self

import numpy as np
import torch

from mlgen.errors import ModelError
from mlgen.sampling import ChannelSampler, check_integrand, remark_on_dropped
from mlgen.stages import (
    FloatArray,
    IntArray,
    Integrand,
    Progress,
    ProgressCallback,
    Settings,
    State,
    TrainingReport,
    no_progress,
)
from mlgen.threads import one_thread
from mlgen.torch_settings import device_for, seeded
from mlgen_madnis.networks import new_networks
from mlgen_madnis.neural_channels import NeuralChannels
from mlgen_madnis.plan import Plan, plan_training
from mlgen_madnis.selection import Choice, best_checkpoint
from mlgen_madnis.settings import MadnisSettings
from mlgen_madnis.sizes import sizes_for
from mlgen_madnis.smooth_maps import SmoothMaps
from mlgen_madnis.training import Checkpoint, TrainingTask, train_networks
from mlgen_madnis.vegas_start import VegasStart, groups_of, start_from_vegas

#: Arrays of the state that belong to no network, with their number of dimensions.
_ARRAYS = {"probabilities": 1, "dimensions": 0, "features": 0, "grids": 3, "group_of_channel": 1, "active": 1}


class MadnisSampler(ChannelSampler):
    r"""Multi-channel importance sampling where densities and channel weights are learned.

    The density of a channel is that of a flow :math:`g_\theta` on top of the maps that VEGAS learned, smoothed; the
    channel weights are the prior weights times the exponential of a network, normalised. Both make the variances

    .. math:: \sigma_c^2 = \operatorname{Var}_{x \sim g_c} \frac{\alpha_c(x) f_c(x)}{g_c(x)}

    of the groups of channels small, on new points and on points seen before (`mlgen_madnis.losses`). Of the networks
    after several numbers of steps, VEGAS alone among them, those with the largest unweighting efficiency on held-out
    points are kept, where 0.1% of the integral may lie in the excess of overweights.

    Training runs in single precision, on a GPU where there is one, whose sums have no fixed order: only on the CPU does
    one seed give one model. Sampling always runs in double precision on the CPU, on one thread, so that a model gives
    the same points everywhere.

    Args:
        settings: Sizes, steps and points.

    References:
        Heimel et al., SciPost Phys. 15, 141 (2023), arXiv:2212.06172; SciPost Phys. 17, 023 (2024), arXiv:2311.01548;
        arXiv:2408.01486. Implemented with the library madnis.
    """

    settings: MadnisSettings

    def __init__(self, settings: MadnisSettings) -> None:
        super().__init__(settings)
        self._channels: NeuralChannels | None = None

    def train(
        self,
        integrand: Integrand,
        budget: int | None,
        rng: np.random.Generator,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        """Adapt VEGAS maps, train the networks, and choose the best of several checkpoints.

        Args:
            integrand: What is to be integrated.
            budget: Points of the integrand; None: as many as the settings ask for. With fewer than those, all parts
                of the training become smaller.
            rng: Source of all randomness.
            progress: Told after each step, with the relative standard deviation of the weights.

        Raises:
            TrainingError: The integrand is zero at all points or not finite, the budget is too small, or the training
                diverged.
        """
        check_integrand(integrand)
        device = device_for(self.settings.device)
        sizes = sizes_for(self.settings, integrand.dimensions)
        plan = plan_training(self.settings, sizes, groups_of(integrand, self.settings), budget)

        def told_by_vegas(step: Progress) -> None:
            progress(Progress(int(plan.vegas * step.done / step.total), plan.work, step.figure, step.value))

        def told(done: int, spread: float) -> None:
            progress(Progress(plan.vegas + done, plan.work, "relative standard deviation", spread))

        start = start_from_vegas(integrand, self.settings, plan.vegas, rng, told_by_vegas)
        task = TrainingTask(integrand, start)
        with one_thread(), seeded(rng, device):
            networks = new_networks(
                integrand.dimensions, integrand.features, start.group_of_channel, self.settings, sizes.units
            )
            checkpoints, losses = train_networks(task, networks, self.settings, plan, device, told)
        candidates = [(checkpoint, self._restored(task, sizes.units, checkpoint)) for checkpoint in checkpoints]
        choice = best_checkpoint(integrand, candidates, plan.held_out, rng)
        self._channels = choice.channels
        self.set_channels(integrand, choice.probabilities)
        progress(Progress(plan.work, plan.work, "unweighting efficiency", choice.efficiency))
        return _report(integrand, plan, start, choice, losses)

    def _restored(self, task: TrainingTask, units: int, checkpoint: Checkpoint) -> NeuralChannels:
        integrand, start = task.integrand, task.start
        with seeded(np.random.default_rng(0), torch.device("cpu")):
            networks = new_networks(
                integrand.dimensions, integrand.features, start.group_of_channel, self.settings, units
            )
        with torch.no_grad():
            for name, parameter in networks.parameters.items():
                parameter.copy_(checkpoint.parameters[name])
        active = checkpoint.active_groups[start.group_of_channel]
        return NeuralChannels(start.maps, networks, start.group_of_channel, active, integrand.features)

    def place(self, uniform: FloatArray, counts: IntArray) -> tuple[FloatArray, FloatArray]:
        """Move uniform points ``(n, d)``, sorted by channel, through flows and maps of their channels."""
        return self._trained_channels().place(uniform, counts)

    def channel_weights(self, features: FloatArray, prior: FloatArray) -> FloatArray:
        """Return the learned channel weights, ``(n, channels)``.

        Raises:
            TrainingError: There was no training.
            ValueError: The arrays have another shape than in the training, or hold NaN.
        """
        self.require_training()
        return self._trained_channels().channel_weights(features, prior)

    def _trained_channels(self) -> NeuralChannels:
        if self._channels is None:
            self.require_training()
            raise AssertionError("a trained sampler has channels")
        return self._channels

    def state(self) -> State:
        """Return the maps, the channel probabilities and the networks' parameters; nothing before the training."""
        if self._channels is None:
            return {}
        return {
            **self.channel_state(),
            "grids": self._channels.maps.grids,
            "group_of_channel": self._channels.group_of_channel,
            "active": self._channels.active,
            **self._channels.arrays(),
        }

    @classmethod
    def from_state(cls, settings: Settings, state: State) -> Self:
        """Make the sampler that `state` came from."""
        if not isinstance(settings, MadnisSettings):
            raise ModelError(f"madnis was given {type(settings).__name__}; MadnisSettings are expected")
        found = {name: np.ndim(state[name]) for name in _ARRAYS if name in state}
        if found != _ARRAYS:
            raise ModelError(f"madnis needs arrays with dimensions {_ARRAYS}; there are {found}")
        made = cls(settings)
        made.set_channel_state(state)
        made._channels = _loaded_channels(settings, state, made.dimensions, made.features)
        return made


def _loaded_channels(settings: MadnisSettings, state: State, dimensions: int, features: int) -> NeuralChannels:
    grids, group = np.array(state["grids"], np.float64), np.array(state["group_of_channel"], np.int64)
    active = np.array(state["active"], np.bool_)
    channels = len(state["probabilities"])
    if grids.shape[1] != dimensions or group.shape != (channels,) or active.shape != (channels,):
        raise ModelError(
            f"madnis has grids of shape {grids.shape} for {dimensions} dimensions and groups of {len(group)} channels, "
            f"of which {channels} have probabilities"
        )
    if not np.array_equal(np.unique(group), np.arange(len(grids))) or np.any(np.diff(grids, axis=2) <= 0):
        raise ModelError(f"madnis needs ascending grids for each of its groups; there are {len(grids)} for {group}")
    units = sizes_for(settings, dimensions).units
    with seeded(np.random.default_rng(0), torch.device("cpu")):
        networks = new_networks(dimensions, features, group, settings, units)
    parameters = networks.parameters
    if other := (set(state) - set(_ARRAYS)) ^ set(parameters):
        raise ModelError(f"madnis' networks do not fit the settings: {sorted(other)[0]} is missing, or too many")
    for name, parameter in parameters.items():
        array = torch.from_numpy(np.array(state[name]))
        if array.shape != parameter.shape:
            raise ModelError(
                f"madnis' array '{name}' has shape {tuple(array.shape)}; {tuple(parameter.shape)} is expected with "
                "these settings"
            )
        if not bool(torch.isfinite(array).all()):
            raise ModelError(f"madnis needs finite numbers; its array '{name}' holds others")
        with torch.no_grad():
            parameter.copy_(array)
    return NeuralChannels(SmoothMaps(grids), networks, group, active, features)


def _report(integrand: Integrand, plan: Plan, start: VegasStart, choice: Choice, losses: list[float]) -> TrainingReport:
    figures = start.report.figures
    return TrainingReport(
        figures={
            "unweighting_efficiency": choice.efficiency,
            "relative_standard_deviation": choice.relative_standard_deviation,
            "vegas_relative_standard_deviation": figures["relative_standard_deviation"],
            "integrand_calls": int(figures["integrand_calls"]) + plan.training + choice.calls,
            "channels_used": int(np.count_nonzero(choice.probabilities)),
            "flows": choice.channels.networks.flows.groups,
            "chosen_step": choice.step,
            "steps": plan.steps,
        },
        curves={"loss": losses, **start.report.curves},
        remarks=remark_on_dropped(
            integrand.channels, choice.channels.active, "since they contribute too little", start.probabilities
        ),
    )
