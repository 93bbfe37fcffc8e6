"""`BnnSurrogate`: |M|^2 from networks that know how well they know it."""

from __future__ import annotations

import json
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from mlgen.errors import ModelError, PluginError, TrainingError
from mlgen.stages import (
    Amplitude,
    AmplitudeProcess,
    AmplitudeSurrogate,
    FloatArray,
    InnerLine,
    Progress,
    ProgressCallback,
    Settings,
    State,
    TrainingReport,
    no_progress,
)
from mlgen.threads import one_thread
from mlgen.torch_settings import device_for, seeded
from mlgen_bnn.calibration import Calibration, calibrate
from mlgen_bnn.error_network import ErrorNetwork, fit_error_network
from mlgen_bnn.invariants import Features, Invariants
from mlgen_bnn.networks import Network, Output, sets_of
from mlgen_bnn.posterior import set_last_widths
from mlgen_bnn.settings import BnnSettings
from mlgen_bnn.training import Points, evaluated, train_networks

#: Fewest points, validation points included.
FEWEST_POINTS = 50
STATE_VERSION = 1
#: Largest logarithm of an error of the logarithm of |M|^2: an error of 7 is a factor of a thousand either way.
_LARGEST_LOG_ERROR = 2.0
_ARRAYS = ("center", "spread", "target", "calibration")


class BnnSurrogate(AmplitudeSurrogate):
    r"""|M|^2 as an ansatz times the exponential of a network, with systematic and statistical errors.

    A network learns mean :math:`f` and error :math:`\sigma` of :math:`\log |M|^2 / A`, with the ansatz :math:`A` of
    `mlgen_bnn.color_strings`, from Lorentz invariants (`mlgen_bnn.invariants`). |M|^2 itself is then log-normal:

    .. math:: \langle |M|^2 \rangle = A\, e^{f + \sigma^2/2}, \quad
              \sigma_\mathrm{syst} = \langle |M|^2 \rangle \sqrt{e^{\sigma^2} - 1}

    for one network; over networks :math:`\theta` that the training data allow, the value is the mean of these, the
    squared systematic error the mean of :math:`\sigma_\mathrm{syst}^2(\theta)`, and the statistical error the standard
    deviation of :math:`\langle |M|^2 \rangle(\theta)`, eq. (1.87) to (1.91). Where only the weights of the last layer
    have distributions, mean and standard deviation over them are closed forms.

    Args:
        settings: Sizes, steps, and where the uncertainty comes from.

    References:
        Badger et al., SciPost Phys. Core 6, 034 (2023), arXiv:2206.14831; Bahl et al., arXiv:2412.12069; Plehn et al.,
        arXiv:2211.01421, sec. 1.2.4 to 1.3.1.
    """

    settings: BnnSettings

    def __init__(self, settings: BnnSettings) -> None:
        super().__init__(settings)
        self._invariants: Invariants | None = None
        self._networks: list[Network] = []
        self._members: list[Network] = []
        self._center = self._spread = np.zeros(0, np.float32)
        self._target = np.array([0.0, 1.0])
        self._with_strings = False
        self._calibration = Calibration()
        self._error_network: ErrorNetwork | None = None
        self._member_seed = 0

    @property
    def members(self) -> int:
        """Number of sampled networks; none of a deterministic one."""
        return 0 if self.settings.uncertainty == "deterministic" else self.settings.members

    def train(
        self,
        process: AmplitudeProcess,
        momenta: FloatArray,
        values: FloatArray,
        rng: np.random.Generator,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        """Learn from points; a part of them is kept for early stopping and for the calibration of the errors.

        Raises:
            TrainingError: The points do not allow it; says why.
        """
        _check_training(process, momenta, values)
        device = device_for(self.settings.device)
        invariants = Invariants(process)
        features = invariants(np.asarray(momenta, np.float64))
        log_values = np.log(np.asarray(values, np.float64))
        self._with_strings = _strings_are_better(self.settings.ansatz, invariants, features, log_values)
        ratio = log_values - (features.log_strings if self._with_strings else features.log_scale)
        order = rng.permutation(len(ratio))
        held_out = max(1, round(self.settings.validation_share * len(ratio)))
        used = order[held_out:]
        self._center = features.inputs[used].mean(axis=0).astype(np.float32)
        spread = features.inputs[used].std(axis=0)
        # An input that does not vary (the energy of equal beams) says nothing.
        self._spread = np.where(spread > 1e-6, spread, np.inf).astype(np.float32)
        width = float(ratio[used].std())
        # Where the ansatz is exact nothing but rounding is left to learn.
        self._target = np.array([ratio[used].mean(), max(width, 1e-6)])
        self._invariants = invariants
        with one_thread(), seeded(rng, device):
            networks = self._new_networks(rng)
            for network in networks:
                network.to(device)
            inputs, targets = self._standardised(features), (ratio - self._target[0]) / self._target[1]
            training, validation = (
                Points(inputs[part].to(device), _tensor(targets[part]).to(device), _tensor(log_values[part]).to(device))
                for part in (torch.from_numpy(used), torch.from_numpy(order[:held_out]))
            )
            unit = float(self._target[1])

            def told(step: int, error: float) -> None:
                progress(Progress(step, self.settings.steps, "mean relative error", error * unit))

            course = train_networks(networks, training, validation, self.settings, rng, told)
            if course.steps < self.settings.steps:
                progress(Progress(self.settings.steps, self.settings.steps, "mean relative error", course.best * unit))
            self._networks = [network.cpu() for network in networks]
            self._calibrate(validation, rng)
            if self.settings.uncertainty == "bayesian":
                set_last_widths(self._networks[0], training, self._corrected, self.settings.prior_width)
            self._member_seed = int(rng.integers(2**31))
            self._members = self._drawn_members()
        return TrainingReport(
            {
                "training_points": len(used),
                "validation_points": held_out,
                "ansatz": "colour strings" if self._with_strings else "power of the energy",
                "spread_of_the_logarithm": width,
                "inputs": int(np.count_nonzero(np.isfinite(self._spread))),
                "parameters": sum(p.numel() for network in self._networks for p in network.parameters()),
                "steps": course.steps,
                "best_step": course.best_step,
                "mean_relative_error_of_validation": course.best * unit,
                "calibration_factor": float(np.exp(self._calibration.offset)),
                "calibration_power": self._calibration.slope,
            },
            {"loss": course.loss, "validation_error": [error * unit for error in course.validation_error]},
        )

    def predict(self, momenta: FloatArray) -> Amplitude:
        """Predict for ``momenta (n, particles, 4)``; see `mlgen.stages.AmplitudeSurrogate`.

        Raises:
            PluginError: The momenta are of the wrong shape, or not finite.
        """
        features = self._features(momenta)
        with one_thread():
            inputs = self._standardised(features)
            networks = self._members if self._needs_members else self._networks
            outputs = [evaluated(network, inputs) for network in networks]
            natural = [self._natural(inputs, output) for output in outputs]
        log_mean, error, variance = (np.stack(parts) for parts in zip(*natural, strict=True))
        if self._needs_members:
            # All weights have been drawn: there is nothing left to average over.
            variance = np.zeros_like(variance)
        values = np.exp(log_mean + 0.5 * (error**2 + variance))
        # The mean square over log-normal networks is exp(variance) times the square of their mean.
        systematic = values * np.sqrt(np.expm1(error**2) * np.exp(variance))
        spread = values * np.sqrt(np.expm1(variance))
        ansatz = self._ansatz(features)
        if len(networks) == 1:
            return Amplitude(ansatz * values[0], ansatz * systematic[0], ansatz * spread[0])
        return Amplitude(
            ansatz * values.mean(axis=0),
            ansatz * np.sqrt(np.mean(systematic**2, axis=0)),
            ansatz * values.std(axis=0, ddof=1),
        )

    def predict_members(self, momenta: FloatArray) -> FloatArray:
        """Return |M|^2 of each sampled network, ``(n, members)``.

        Raises:
            PluginError: As `predict`.
        """
        features = self._features(momenta)
        if not self.members:
            return np.zeros((len(momenta), 0))
        with one_thread(), torch.no_grad():
            inputs = self._standardised(features)
            if self._needs_members:
                outputs = [evaluated(member, inputs) for member in self._members]
                mean, log_error = (
                    torch.stack(parts, dim=1) for parts in ([o.mean for o in outputs], [o.log_error for o in outputs])
                )
            else:
                # Only the last layer differs from member to member.
                network = self._networks[0]
                hidden = network.last_hidden(inputs)
                heads = torch.cat([member.mean.weight for member in self._members], dim=1)
                mean = hidden @ heads + network.mean.bias
                log_error = network.error(hidden)
            log_unit = np.log(self._target[1])
            corrected = [self._corrected(inputs, column) + log_unit for column in log_error.T]
            error = np.exp(np.minimum(corrected, _LARGEST_LOG_ERROR)).T
        log_mean = mean.double().numpy() * self._target[1] + self._target[0]
        return np.asarray(self._ansatz(features)[:, None] * np.exp(log_mean + 0.5 * error**2))

    @property
    def _needs_members(self) -> bool:
        """Whether mean and spread over the networks are no closed form."""
        one = self.settings.bayesian_layers == "last" and self.settings.uncertainty == "bayesian"
        return self.members > 0 and not one

    def _new_networks(self, rng: np.random.Generator) -> list[Network]:
        invariants = self._trained()
        sets = sets_of(invariants.process, invariants.pairs) if self.settings.inputs == "deep-sets" else None
        count = self.settings.members if self.settings.uncertainty == "ensemble" else 1
        return [Network(invariants.size, sets, self.settings, rng) for _ in range(count)]

    def _drawn_members(self) -> list[Network]:
        """The ensemble's members, or networks whose weights are drawn from their distributions."""
        if self.settings.uncertainty != "bayesian":
            return self._networks if self.members else []
        members = []
        for number in range(self.settings.members):
            # Each has a stream of its own, so that the first ones do not depend on how many there are.
            rng = np.random.default_rng([self._member_seed, number])
            (member,) = self._new_networks(rng)
            member.load_state_dict(self._networks[0].state_dict())
            for layer in member.linear_layers():
                layer.draw(rng)
            members.append(member)
        return members

    def _calibrate(self, validation: Points, rng: np.random.Generator) -> None:
        """Make the errors those that points show which no network learned from."""
        outputs = [evaluated(network, validation.inputs.cpu()) for network in self._networks]
        mean = torch.stack([output.mean for output in outputs]).mean(dim=0)
        residual = (mean - validation.targets.cpu()).double().numpy()
        squared = torch.stack([torch.exp(2 * output.log_error.double()) for output in outputs]).mean(dim=0)
        log_error = 0.5 * torch.log(squared)
        self._calibration = calibrate(residual, log_error.numpy())
        calibrated = _tensor(self._calibration(log_error.numpy()))
        self._error_network = fit_error_network(validation.inputs.cpu(), _tensor(residual), calibrated, rng)

    def _corrected(self, inputs: torch.Tensor, log_error: torch.Tensor) -> FloatArray:
        """Return the logarithm of the errors, ``(n,)``, as held-out points have them."""
        calibrated = self._calibration(log_error.double().numpy())
        if self._error_network is None:
            return calibrated
        with torch.no_grad():
            corrected: FloatArray = self._error_network(inputs, _tensor(calibrated)).double().numpy()
        return corrected

    def _features(self, momenta: FloatArray) -> Features:
        invariants = self._trained()
        array = np.asarray(momenta)
        particles = len(invariants.process.pdg_ids)
        if array.ndim != 3 or array.shape[1:] != (particles, 4):
            raise PluginError(f"momenta of shape {array.shape} were given; (n, {particles}, 4) is expected")
        # What is not finite is found in the features.
        with np.errstate(divide="ignore", invalid="ignore"):
            features = invariants(np.asarray(array, np.float64))
        if not np.isfinite(features.inputs).all():
            raise PluginError("momenta that are not finite, or of no process with positive energy, were given")
        return features

    def _standardised(self, features: Features) -> torch.Tensor:
        return torch.from_numpy((features.inputs.astype(np.float32) - self._center) / self._spread)

    def _ansatz(self, features: Features) -> FloatArray:
        return np.asarray(np.exp(features.log_strings if self._with_strings else features.log_scale))

    def _natural(self, inputs: torch.Tensor, output: Output) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Mean, error and variance of the mean of the logarithm, with the errors corrected."""
        mean, variance = output.mean.double().numpy(), output.variance.double().numpy()
        unit = self._target[1]
        # Of a network that has learned nothing errors can be beyond what a log-normal can have in doubles.
        error = np.exp(np.minimum(self._corrected(inputs, output.log_error) + np.log(unit), _LARGEST_LOG_ERROR))
        return mean * unit + self._target[0], error, np.minimum(variance * unit**2, _LARGEST_LOG_ERROR**2)

    def _trained(self) -> Invariants:
        if self._invariants is None:
            raise PluginError("the surrogate is not trained; train it, or load a trained model")
        return self._invariants

    def state(self) -> State:
        """Return everything that was learned, as named arrays."""
        process = self._trained().process
        about = {
            "version": STATE_VERSION,
            "pdg_ids": process.pdg_ids,
            "masses": process.masses,
            "inner_lines": [[line.slots, line.mass, line.width] for line in process.inner_lines],
            "with_strings": self._with_strings,
            "member_seed": self._member_seed,
            "error_network": self._error_network is not None,
        }
        state: dict[str, npt.NDArray[Any]] = {
            "about": np.frombuffer(json.dumps(about).encode(), np.uint8).copy(),
            "center": self._center,
            "spread": self._spread,
            "target": self._target,
            "calibration": np.array([self._calibration.offset, self._calibration.slope]),
        }
        for number, network in enumerate(self._networks):
            for name, tensor in network.state_dict().items():
                state[f"network{number}.{name}"] = tensor.numpy().copy()
        if self._error_network is not None:
            for name, tensor in self._error_network.state_dict().items():
                state[f"error_network.{name}"] = tensor.numpy().copy()
        return state

    @classmethod
    def from_state(cls, settings: Settings, state: State) -> Self:
        """Make the surrogate that `state` came from.

        Raises:
            ModelError: The arrays do not fit.
        """
        if not isinstance(settings, BnnSettings):
            raise ModelError(f"the settings are {type(settings).__name__}; BnnSettings are expected")
        surrogate = cls(settings)
        about = _about(state)
        lines = tuple(InnerLine(tuple(slots), mass, width) for slots, mass, width in about["inner_lines"])
        surrogate._invariants = Invariants(AmplitudeProcess(tuple(about["pdg_ids"]), tuple(about["masses"]), lines))
        surrogate._with_strings, surrogate._member_seed = bool(about["with_strings"]), int(about["member_seed"])
        size = surrogate._invariants.size
        center, spread, target, calibration = (
            _array(state, name, shape) for name, shape in zip(_ARRAYS, ((size,), (size,), (2,), (2,)), strict=True)
        )
        surrogate._center, surrogate._spread, surrogate._target = center, spread, target
        surrogate._calibration = Calibration(*map(float, calibration))
        networks = surrogate._new_networks(np.random.default_rng(0))
        named: dict[str, torch.nn.Module] = {f"network{number}": network for number, network in enumerate(networks)}
        if about["error_network"]:
            surrogate._error_network = ErrorNetwork(size, np.random.default_rng(0))
            named["error_network"] = surrogate._error_network
        known = {f"{prefix}.{name}" for prefix, network in named.items() for name in network.state_dict()}
        if unknown := sorted(set(state) - known - {"about", *_ARRAYS}):
            raise ModelError(f"the arrays {unknown} of the model belong to other settings")
        for prefix, network in named.items():
            network.load_state_dict(
                {
                    name: torch.from_numpy(_array(state, f"{prefix}.{name}", tuple(tensor.shape)).copy())
                    for name, tensor in network.state_dict().items()
                }
            )
        surrogate._networks = networks
        surrogate._members = surrogate._drawn_members()
        return surrogate


def _check_training(process: AmplitudeProcess, momenta: FloatArray, values: FloatArray) -> None:
    shape, particles = np.shape(momenta), len(process.pdg_ids)
    if len(shape) != 3 or shape[1:] != (particles, 4) or np.shape(values) != shape[:1]:
        raise TrainingError(
            f"momenta of shape {shape} and values of shape {np.shape(values)} were given; (n, {particles}, 4) and (n,) "
            "are expected"
        )
    if len(values) < FEWEST_POINTS:
        raise TrainingError(f"there are {len(values)} points to learn from; {FEWEST_POINTS} or more are expected")
    if not np.all(np.isfinite(momenta)):
        raise TrainingError("a momentum is not finite")
    if not (np.all(np.isfinite(values)) and np.all(np.asarray(values) > 0)):
        raise TrainingError("a value of |M|^2 is not finite or not positive; its logarithm is what is learned")


def _strings_are_better(ansatz: str, invariants: Invariants, features: Features, log_values: FloatArray) -> bool:
    if not invariants.strings.stringings or ansatz == "none":
        return False
    if ansatz == "strings":
        return True
    with_strings, without = (float(np.std(log_values - each)) for each in (features.log_strings, features.log_scale))
    return with_strings < without


def _tensor(values: FloatArray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


def _array(state: State, name: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if name not in state:
        raise ModelError(f"the array '{name}' of the model is missing")
    if state[name].shape != shape:
        raise ModelError(f"the array '{name}' of the model has the shape {state[name].shape}; {shape} is expected")
    return state[name]


def _about(state: State) -> dict[str, Any]:
    if "about" not in state:
        raise ModelError("the array 'about' of the model is missing; these are not the arrays of a bnn surrogate")
    try:
        about = json.loads(np.asarray(state["about"], np.uint8).tobytes())
        version = about["version"]
        missing = {"pdg_ids", "masses", "inner_lines", "with_strings", "member_seed", "error_network"} - set(about)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"the array 'about' of the model cannot be read: {error}") from error
    if version != STATE_VERSION or missing:
        raise ModelError(f"the model has version {version}; this bnn surrogate reads version {STATE_VERSION}")
    return dict(about)
