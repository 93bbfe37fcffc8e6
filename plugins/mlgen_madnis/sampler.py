"""MadNIS: flows for the channels and learned channel weights, on top of VEGAS."""

from __future__ import annotations

from typing import Self

import numpy as np
import torch

from mlgen.errors import ModelError
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
from mlgen_madnis.neural_channels import NeuralChannels
from mlgen_madnis.plan import Plan, plan_training
from mlgen_madnis.selection import Choice, best_checkpoint
from mlgen_madnis.settings import MadnisSettings
from mlgen_madnis.sizes import sizes_for
from mlgen_madnis.smooth_maps import SmoothMaps
from mlgen_madnis.torch_settings import device_for, one_thread, seeded
from mlgen_madnis.training import Checkpoint, TrainingTask, new_networks, train_networks
from mlgen_vegas.channel_sampler import ChannelSampler
from mlgen_vegas.evaluation import check_integrand
from mlgen_vegas.settings import VegasSettings
from mlgen_vegas.vegas_sampler import VegasSampler

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

    Training runs in single precision, on a GPU where there is one; sampling always runs in double precision on the
    CPU, on one thread, so that a model gives the same points everywhere.

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
        channels = len(integrand.channels)
        groups = np.unique(integrand.groups, return_inverse=True)[1] if self.settings.share_groups else range(channels)
        maps = int(max(groups)) + 1
        plan = plan_training(self.settings, sizes_for(self.settings, integrand.dimensions), channels, maps, budget)

        vegas, started = self._vegas_start(integrand, plan, rng, progress)
        state = vegas.state()
        task = TrainingTask(
            integrand,
            SmoothMaps(state["grids"]),
            np.asarray(state["map_of_channel"]),
            vegas.channel_probabilities > 0,
            float(started.figures["absolute_integral"]),
        )
        units = sizes_for(self.settings, integrand.dimensions).units

        def told(step: int, spread: float) -> None:
            done = plan.vegas + step * plan.batch_size
            progress(Progress(done, plan.work, "relative standard deviation", spread))

        with one_thread(), seeded(rng, device):
            flows, network = new_networks(
                integrand.dimensions, integrand.features, task.group_of_channel, self.settings, units
            )
            checkpoints, losses = train_networks(task, flows, network, self.settings, plan, device, told)

        def restored(checkpoint: Checkpoint) -> NeuralChannels:
            return self._restored(task, units, checkpoint)

        choice = best_checkpoint(integrand, [(c, restored(c)) for c in checkpoints], plan.held_out, rng)
        self._dimensions, self._features = integrand.dimensions, integrand.features
        self._channels, self._probabilities = choice.channels, choice.probabilities
        progress(Progress(plan.work, plan.work, "unweighting efficiency", choice.efficiency))
        return self._report(integrand, plan, started, choice, losses)

    def _vegas_start(
        self, integrand: Integrand, plan: Plan, rng: np.random.Generator, progress: ProgressCallback
    ) -> tuple[VegasSampler, TrainingReport]:
        vegas = VegasSampler(
            VegasSettings(
                iterations=self.settings.vegas_iterations,
                increments=self.settings.vegas_increments,
                share_groups=self.settings.share_groups,
            )
        )

        def told(step: Progress) -> None:
            progress(Progress(int(plan.vegas * step.done / step.total), plan.work, step.figure, step.value))

        return vegas, vegas.train(integrand, plan.vegas, rng, told)

    def _restored(self, task: TrainingTask, units: int, checkpoint: Checkpoint) -> NeuralChannels:
        with seeded(np.random.default_rng(0), torch.device("cpu")):
            flows, network = new_networks(
                task.integrand.dimensions, task.integrand.features, task.group_of_channel, self.settings, units
            )
        flows.load_state_dict(checkpoint.flows)
        if network is not None and checkpoint.network is not None:
            network.load_state_dict(checkpoint.network)
        active = checkpoint.active_groups[task.group_of_channel]
        return NeuralChannels(task.maps, flows, network, task.group_of_channel, active, task.integrand.features)

    def _report(
        self, integrand: Integrand, plan: Plan, started: TrainingReport, choice: Choice, losses: list[float]
    ) -> TrainingReport:
        dropped = [
            f"'{name}'" for name, active in zip(integrand.channels, choice.channels.active, strict=True) if not active
        ]
        online = -(-plan.steps // (self.settings.buffered_steps + 1))
        return TrainingReport(
            figures={
                "unweighting_efficiency": choice.efficiency,
                "relative_standard_deviation": choice.relative_standard_deviation,
                "vegas_relative_standard_deviation": started.figures["relative_standard_deviation"],
                "integrand_calls": int(started.figures["integrand_calls"]) + online * plan.batch_size + choice.calls,
                "channels_used": int(np.count_nonzero(self._probabilities)),
                "flows": choice.channels.flows.groups,
                "chosen_step": choice.step,
                "steps": plan.steps,
            },
            curves={"loss": losses, **started.curves},
            remarks=(f"never drawn, since they contribute too little: channels {', '.join(dropped)}",)
            if dropped
            else (),
        )

    def _place(self, uniform: FloatArray, counts: IntArray) -> tuple[FloatArray, FloatArray]:
        return self._trained_channels().place(uniform, counts)

    def channel_weights(self, features: FloatArray, prior: FloatArray) -> FloatArray:
        """Return the learned channel weights, ``(n, channels)``.

        Raises:
            TrainingError: There was no training.
            ValueError: The arrays have another shape than in the training, or hold NaN.
        """
        self._require_training()
        return self._trained_channels().channel_weights(features, prior)

    def _trained_channels(self) -> NeuralChannels:
        if self._channels is None:
            self._require_training()
            raise AssertionError("a trained sampler has channels")
        return self._channels

    def state(self) -> State:
        """Return the maps, the channel probabilities and the networks' parameters; nothing before the training."""
        if self._channels is None:
            return {}
        return {
            **self._channel_state(),
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
        made._set_channel_state(state)
        made._channels = _loaded_channels(settings, state, made._dimensions, made._features)
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
        flows, network = new_networks(dimensions, features, group, settings, units)
    parts: dict[str, torch.nn.Module] = {"flows": flows}
    if network is not None:
        parts["channel_weights"] = network
    expected = {f"{part}.{name}" for part, module in parts.items() for name in module.state_dict()}
    if other := (set(state) - set(_ARRAYS)) ^ expected:
        raise ModelError(f"madnis' networks do not fit the settings: {sorted(other)[0]} is missing, or too many")
    for part, module in parts.items():
        arrays = {name: torch.from_numpy(np.array(state[f"{part}.{name}"])) for name in module.state_dict()}
        wrong = [name for name, value in module.state_dict().items() if arrays[name].shape != value.shape]
        if wrong:
            raise ModelError(
                f"madnis' array '{part}.{wrong[0]}' has shape {tuple(arrays[wrong[0]].shape)}; "
                f"{tuple(module.state_dict()[wrong[0]].shape)} is expected with these settings"
            )
        if not all(bool(torch.isfinite(array).all()) for array in arrays.values()):
            raise ModelError(f"madnis needs finite numbers in its {part.replace('_', ' ')}")
        module.load_state_dict(arrays)
    return NeuralChannels(SmoothMaps(grids), flows, network, group, active, features)
