"""A network that learns the ratio of the true event weight to a crude one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mlgen.errors import ModelError, PluginError, TrainingError
from mlgen.stages import FloatArray, Progress, ProgressCallback, no_progress
from mlgen.threads import one_thread
from mlgen.torch_settings import device_for, seeded
from mlgen_unweighting.network_training import Points, train

#: Fewest points that something is learned from.
FEWEST_POINTS = 100
#: Importance of a point in the training: true weight over its mean, at most this, and this more for every point.
_LARGEST_IMPORTANCE, _LEAST_IMPORTANCE = 10.0, 0.1
#: Standardised features are cut here, so that a point far from all others is no worse than one at the edge.
_LARGEST_INPUT = 10.0
#: Share of the range of the targets by which predictions may leave it, on either side.
_MARGIN = 0.02
#: Largest logarithm of a ratio, whatever was seen: its exponential is finite and positive.
_LARGEST_LOGARITHM = 700.0
#: Points that are evaluated at a time.
_CHUNK = 32_768


class EventWeightNetwork:
    r"""A network for the ratio of the true event weight to a crude one, :math:`r(x) \approx |w| / |\tilde w|`.

    The product :math:`s = |\tilde w| \, r(x)` is the surrogate of a two-stage unweighting: events are accepted with
    :math:`s` first, and of those with :math:`|w| / s`, which is the more efficient the narrower its distribution is.
    The crude weight has all that is known in closed form and jumps from point to point, such as Jacobians and
    densities; what is left to the network is smooth.

    It is a feed-forward network with residual connections from layer to layer, of features that are standardised, for
    the standardised logarithm of the ratio. Predictions stay within the range of the ratios that were learned from,
    widened a little. Made by `fit` or `from_state`.

    References:
        Danziger et al., SciPost Phys. 12, 164 (2022), arXiv:2109.11964, sec. 3.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> features, weight = rng.random((1000, 2)), rng.random(1000)
        >>> exact = weight * np.exp(features.sum(axis=1))
        >>> network, figures = EventWeightNetwork.fit(
        ...     features, weight, exact, rng, units=16, layers=2, steps=300, batch_size=256, learning_rate=5e-3,
        ...     validation_share=0.1, device="cpu",
        ... )
        >>> bool(abs(network.ratio(np.array([[0.5, 0.5]])) / np.e - 1) < 0.02)
        True
    """

    def __init__(
        self, network: _Network, center: FloatArray, scale: FloatArray, target: FloatArray, log_range: FloatArray
    ) -> None:
        self._network = network
        # Of the features: (x - center) * scale, with a scale of zero where nothing varies.
        self._center, self._scale = center, scale
        # Mean and width of the logarithm of the ratio, and the range that predictions are kept to.
        self._target, self._log_range = target, log_range

    @classmethod
    def fit(
        cls,
        features: FloatArray,
        weight: FloatArray,
        exact: FloatArray,
        rng: np.random.Generator,
        *,
        units: int,
        layers: int,
        steps: int,
        batch_size: int,
        learning_rate: float,
        validation_share: float,
        device: str,
        progress: ProgressCallback = no_progress,
    ) -> tuple[Self, dict[str, float | int]]:
        r"""Learn from candidates whose true weights are known.

        Points whose crude weight is zero or negative, or whose true weight is zero, are left out: the logarithm of
        their ratio is not defined. The loss is the mean squared error of that logarithm, with the importance

        .. math:: \min(|w| / \overline{|w|}, 10) + 0.1

        of each point: candidates are where the sampler puts them, and errors count where the events are.

        Args:
            features: ``(n, f)``.
            weight: Crude weights, ``(n,)``.
            exact: True weights, ``(n,)``, of either sign.
            rng: Source of all randomness.
            units: Width of each layer.
            layers: Number of hidden layers.
            steps: Number of training steps.
            batch_size: Points in a step.
            learning_rate: The largest one.
            validation_share: Share of the points that the best step is chosen by.
            device: ``auto``, ``cpu`` or ``cuda``, or ``cuda:n``.
            progress: Told how far the training is, with the validation loss.

        Returns:
            The network, and figures of the training. ``relative_spread`` is the standard deviation over the mean of
            :math:`|w| / s` on the validation points, as the second stage sees them, which is in proportion to
            :math:`s`; ``quantile_999`` is the ratio, over the mean too, that one in a thousand of these exceeds.

        Raises:
            TrainingError: Wrong shapes, numbers that are not finite, or too few points; a device that is not there; or
                the training diverged.
        """
        features, weight, exact = (np.asarray(array, np.float64) for array in (features, weight, exact))
        _check(features, weight, exact)
        usable = (weight > 0) & (exact != 0)
        if (number := int(np.count_nonzero(usable))) < FEWEST_POINTS:
            raise TrainingError(
                f"{number} of {len(weight)} points have a positive crude weight and a true weight that is not zero; "
                f"{FEWEST_POINTS} or more are needed to learn the event weight"
            )
        on = device_for(device)
        features, weight, exact = features[usable], weight[usable], np.abs(exact[usable])
        log_ratio = np.log(exact) - np.log(weight)
        importance = np.minimum(exact / exact.mean(), _LARGEST_IMPORTANCE) + _LEAST_IMPORTANCE
        held_out, used = np.split(rng.permutation(number), [min(max(1, round(validation_share * number)), number - 1)])
        with one_thread(), seeded(rng, on):
            made = cls(_Network(features.shape[1], units, layers), *_standards(features[used], log_ratio[used]))
            targets = (log_ratio - made._target[0]) / made._target[1]
            points = Points(made._inputs(features), _tensor(targets), _tensor(importance)).to(on)
            training, validation = (points[torch.from_numpy(part).to(on)] for part in (used, held_out))
            loss = train(
                made._network.to(on),
                training,
                validation,
                rng,
                steps=steps,
                batch_size=batch_size,
                learning_rate=learning_rate,
                told=lambda step, latest: progress(Progress(step, steps, "loss", latest)),
            )
            made._network.cpu()
        surrogate = weight[held_out] * made.ratio(features[held_out])
        spread, quantile = _second_stage(exact[held_out], surrogate)
        return made, {
            "training_points": len(used),
            "validation_points": len(held_out),
            "steps": steps,
            "validation_loss": loss,
            "relative_spread": spread,
            "quantile_999": quantile,
        }

    def ratio(self, features: FloatArray) -> FloatArray:
        """Predict the size of the true weight over that of the crude one, ``(n,)``, positive and finite.

        Raises:
            PluginError: The features are not ``(n, f)`` with the ``f`` of the training, or not finite.
        """
        features = np.asarray(features, np.float64)
        if features.ndim != 2 or features.shape[1] != len(self._center):
            raise PluginError(f"features of shape {features.shape} were given; (n, {len(self._center)}) is expected")
        if not np.isfinite(features).all():
            raise PluginError(f"the features of point {_first_not_finite(features)} are not finite")
        predicted = np.empty(len(features))
        with one_thread(), torch.no_grad():
            for start in range(0, len(features), _CHUNK):
                part = slice(start, start + _CHUNK)
                predicted[part] = self._network(self._inputs(features[part])).numpy()
        logarithm = predicted * self._target[1] + self._target[0]
        return np.asarray(np.exp(np.clip(logarithm, *self._log_range)))

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return everything that was learned, as named arrays."""
        network = {name: tensor.numpy().copy() for name, tensor in self._network.state_dict().items()}
        own = {"center": self._center, "scale": self._scale, "target": self._target, "log_range": self._log_range}
        return network | {name: array.copy() for name, array in own.items()}

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Make the network that `state` came from; it predicts the same, to the last bit.

        Raises:
            ModelError: The arrays do not fit.
        """
        # The first layer tells the numbers of features and units, the names that of the layers.
        units, features = _array(state, "first.weight", (None, None), np.float32).shape
        layers = 1 + len({name.rpartition(".")[0] for name in state if name.startswith("hidden.")})
        with torch.device("meta"):
            network = _Network(features, units, layers)
        expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        own = {"center": (features,), "scale": (features,), "target": (2,), "log_range": (2,)}
        if unknown := sorted(set(state) - set(expected) - set(own)):
            raise ModelError(f"the arrays {unknown} are none of an event-weight network with {layers} layers")
        learned = {name: _array(state, name, shape, np.float32) for name, shape in expected.items()}
        network.load_state_dict({name: torch.from_numpy(array) for name, array in learned.items()}, assign=True)
        center, scale, target, log_range = (_array(state, name, shape, np.float64) for name, shape in own.items())
        if not -_LARGEST_LOGARITHM <= log_range[0] <= log_range[1] <= _LARGEST_LOGARITHM:
            raise ModelError(f"the array 'log_range' of the event-weight network is {log_range}, which is no range")
        return cls(network, center, scale, target, log_range)

    def _inputs(self, features: FloatArray) -> Tensor:
        standardised = (features - self._center) * self._scale
        return _tensor(np.clip(standardised, -_LARGEST_INPUT, _LARGEST_INPUT))


class _Network(nn.Module):
    """Hidden layers of equal width, each but the first added to what it is given, and a linear last one."""

    def __init__(self, features: int, units: int, layers: int) -> None:
        super().__init__()
        self.first = nn.Linear(features, units)
        self.hidden = nn.ModuleList(nn.Linear(units, units) for _ in range(layers - 1))
        self.last = nn.Linear(units, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs, ``(n,)``."""
        x = nn.functional.silu(self.first(inputs))
        for layer in self.hidden:
            x = x + nn.functional.silu(layer(x))
        output: Tensor = self.last(x)[:, 0]
        return output


def _check(features: FloatArray, weight: FloatArray, exact: FloatArray) -> None:
    shapes = (features.shape, weight.shape, exact.shape)
    if features.ndim != 2 or features.shape[1] == 0 or shapes[1:] != ((len(features),),) * 2:
        raise TrainingError(
            "features, crude weights and true weights of shapes {}, {} and {} were given; (n, f), (n,) and (n,) are "
            "expected, with one feature or more".format(*shapes)
        )
    named = (("feature", features), ("crude weight", weight), ("true weight", exact))
    broken = [(_first_not_finite(array), what) for what, array in named if not np.isfinite(array).all()]
    if broken:
        point, what = min(broken)
        raise TrainingError(f"point {point} has a {what} that is not finite; the event weight cannot be learned")


def _first_not_finite(array: FloatArray) -> int:
    """Number of the first point with a number that is not finite, counted from 1."""
    finite = np.isfinite(array)
    return int(np.argmin(finite.all(axis=1) if array.ndim > 1 else finite)) + 1


def _standards(features: FloatArray, log_ratio: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Center and scale of each feature, mean and width of the targets, and the range of predictions."""
    center, width = features.mean(axis=0), features.std(axis=0)
    # A feature that does not vary, but for rounding, says nothing.
    varies = width > 1e-9 * np.abs(features).max(axis=0)
    scale = np.divide(1.0, width, out=np.zeros_like(width), where=varies)
    # Where the crude weight is proportional to the true one nothing but rounding is left to learn.
    target = np.array([log_ratio.mean(), max(log_ratio.std(), 1e-6)])
    lowest, highest = log_ratio.min(), log_ratio.max()
    margin = _MARGIN * (highest - lowest)
    log_range = np.clip([lowest - margin, highest + margin], -_LARGEST_LOGARITHM, _LARGEST_LOGARITHM)
    return center, scale, target, log_range


def _second_stage(exact: FloatArray, surrogate: FloatArray) -> tuple[float, float]:
    """Relative standard deviation and 0.999 quantile over the mean of ``exact / surrogate``, as `surrogate` accepts."""
    share, relative = surrogate / surrogate.sum(), exact / surrogate / (exact.sum() / surrogate.sum())
    order = np.argsort(relative)
    place = np.searchsorted(np.cumsum(share[order]), 0.999)
    quantile = relative[order[min(int(place), len(order) - 1)]]
    return math.sqrt(float(share @ (relative - 1) ** 2)), float(quantile)


def _tensor(values: FloatArray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


def _array(
    state: Mapping[str, npt.NDArray[Any]], name: str, shape: tuple[int | None, ...], dtype: type[np.floating[Any]]
) -> npt.NDArray[Any]:
    """A copy of an array of the state, with one number or more; None stands for any."""
    if name not in state:
        raise ModelError(f"the array '{name}' of the event-weight network is missing")
    found = np.shape(state[name])
    fits = len(found) == len(shape) and all(a == b or (b is None and a) for a, b in zip(found, shape, strict=True))
    if not fits:
        raise ModelError(f"the array '{name}' of the event-weight network has the shape {found}; {shape} is expected")
    array = np.array(state[name], dtype)
    if not np.isfinite(array).all():
        raise ModelError(f"the array '{name}' of the event-weight network has numbers that are not finite")
    return array
