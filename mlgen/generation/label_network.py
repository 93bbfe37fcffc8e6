"""The discrete part of events: probabilities of labels (flavours, colour flows, helicities) for given kinematics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mlgen.errors import ModelError, TrainingError

FloatArray = npt.NDArray[np.float64]
FloatArray32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]

#: Share of the events that only decide which parameters are kept, at least and at most so many.
_HELD_OUT = 0.1
_FEWEST_HELD_OUT = 60
_MOST_HELD_OUT = 20_000
#: With fewer events a network is not tried.
_FEWEST_EVENTS = 30
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
#: Probability, relative to the label's frequency, below which an event of negative weight pushes no further.
_FLOOR = 0.01
#: Points that are evaluated at a time; what a few layers need of them stays in the cache.
_CHUNK = 4096
#: Largest number of Newton steps of a calibration; a handful is usual.
_NEWTON_STEPS = 100
#: Largest change of a logit in a Newton step.
_LARGEST_SHIFT = 5.0


@dataclass(frozen=True, eq=False)
class LabelNetwork:
    r"""Probabilities of labels for a point and a condition.

    .. math:: p(l | x, c) = \frac{e^{b_{cl} + f_l(x, c)}}{\sum_{l'} e^{b_{cl'} + f_{l'}(x, c)}}

    with a table :math:`b` and a residual network :math:`f`. The training starts at :math:`f = 0`, where the table holds
    the frequencies, and keeps the network only if events that it has not seen become more probable.

    Use `train` or `from_state` to make one.

    Args:
        offset: The table, ``(conditions, labels)``; minus infinity for what never occurs.
        dimension: Number of coordinates of a point.
        network: The network; None where the frequencies are all that was learned.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> never = np.array([[True, True, False]])
        >>> x, label, condition = rng.standard_normal((20, 2)), np.repeat([0, 1], 10), np.zeros(20, np.int64)
        >>> frequencies = LabelNetwork.train(
        ...     x, label, np.ones(20), never, condition, np.zeros((1, 0), np.float32), width=8, depth=1, steps=10,
        ...     batch_size=10, learning_rate=1e-3, rng=rng, report=lambda step, loss: None,
        ... )
        >>> np.exp(frequencies.log_probability(x[:1], condition[:1])).round(6).tolist()
        [[0.5, 0.5, 0.0]]
    """

    offset: FloatArray
    dimension: int
    network: ResidualNetwork | None

    @classmethod
    def train(
        cls,
        points: FloatArray,
        label: IntArray,
        weight: FloatArray,
        allowed: BoolArray,
        condition: IntArray,
        features: FloatArray32,
        *,
        width: int,
        depth: int,
        steps: int,
        batch_size: int,
        learning_rate: float,
        rng: np.random.Generator,
        report: Callable[[int, float], None],
    ) -> LabelNetwork:
        r"""Learn the probabilities from weighted events, by the cross entropy :math:`-\sum_i w_i \log p(l_i|x_i,c_i)`.

        A tenth of the events is held out. What is kept are the moving averages of the parameters at the smallest
        held-out loss; if that does not beat the loss of the frequencies by more than one standard error of the
        difference, it is the frequencies. Nothing is trained where each condition has one label, or with less than 30
        events.

        Events of negative weight make their label less probable, down to a hundredth of its frequency: without an end
        their loss would have no smallest value. A label whose weights in a condition add up to nothing or less gets
        probability zero there; an allowed one without events shares in the probability of one event.

        The optimiser is SOAP: after the same number of steps it is nearer to the truth than AdamW: the divergence was
        smaller by a tenth with 3,000 and 20,000 events of a test with twelve labels, by a quarter with 200,000.

        Args:
            points: Coordinates of order one, ``(n, d)``.
            label: Numbers from 0, ``(n,)``.
            weight: Signed, the mean of their moduli about 1, ``(n,)``.
            allowed: Which labels can occur with which condition, ``(conditions, labels)``. No others ever do.
            condition: Number of each event's condition, ``(n,)``; zeros where there is one.
            features: What the network sees of each condition, zeros and ones, ``(conditions, f)``.
            width: Width of the hidden layers.
            depth: Number of residual blocks.
            steps: Optimisation steps.
            batch_size: Events of a step.
            learning_rate: The largest; it falls as a cosine.
            rng: Source of all randomness.
            report: Called with the steps done and the latest loss.

        Raises:
            TrainingError: A label that is not allowed, a condition without labels, a coordinate or weight that is not
                finite, or a loss that became so.

        References:
            Cross entropy with weights: Plehn et al., arXiv:2211.01421, eq. (4.85). SOAP: Vyas et al., arXiv:2409.11321.
        """
        _check_events(points, label, weight, allowed, condition)
        frequency = _frequencies(label, weight, allowed, condition)
        with np.errstate(divide="ignore"):
            offset = np.log(frequency)
        possible = frequency > 0
        used = possible[condition, label] & (possible.sum(axis=1) > 1)[condition]
        if used.sum() < _FEWEST_EVENTS:
            return cls(offset, points.shape[1], None)
        events = _Events(
            torch.from_numpy(points[used].astype(np.float32)),
            torch.from_numpy(label[used].astype(np.int64)),
            torch.from_numpy(weight[used].astype(np.float32)),
            torch.from_numpy(condition[used].astype(np.int64)),
            torch.from_numpy((offset[condition[used], label[used]] + math.log(_FLOOR)).astype(np.float32)),
        )
        network = ResidualNetwork(points.shape[1], np.asarray(features, np.float32), offset.shape[1], width, depth)
        network.initialise(rng)
        correction = _train(network, offset, events, steps, batch_size, learning_rate, rng, report)
        if correction is None:
            return cls(offset, points.shape[1], None)
        return cls(offset + correction, points.shape[1], network)

    @property
    def allowed(self) -> BoolArray:
        """Which labels occur with which condition, ``(conditions, labels)``."""
        return self.offset > -np.inf

    def log_probability(self, points: FloatArray, condition: IntArray) -> FloatArray:
        """Logarithms of the probabilities of all labels, ``(n, labels)``; minus infinity for what never occurs.

        Args:
            points: Coordinates, ``(n, d)``.
            condition: Number of each point's condition, ``(n,)``.
        """
        result = np.full((len(points), self.offset.shape[1]), -np.inf)
        result[np.arange(len(points)), self.offset.argmax(axis=1)[condition]] = 0.0
        for rows, logits in self._logits(points, condition):
            result[rows] = torch.log_softmax(logits, dim=1).numpy()
        return result

    def draw(self, points: FloatArray, condition: IntArray, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw a label for each point, ``(n,)``.

        Args:
            points: Coordinates, ``(n, d)``.
            condition: Number of each point's condition, ``(n,)``.
            rng: Source of one uniform number for each point.
        """
        uniform = torch.from_numpy(rng.random(len(points)))
        # Of conditions with one label it is this one.
        result = np.asarray(self.offset.argmax(axis=1)[condition], np.int64)
        for rows, logits in self._logits(points, condition):
            summed = torch.exp(logits - logits.amax(dim=1, keepdim=True)).cumsum(dim=1)
            total = summed[:, -1]
            # Below the total even after rounding; then the first sum above belongs to a label that is possible.
            place = torch.minimum(uniform[rows] * total, torch.nextafter(total, torch.zeros_like(total)))
            result[rows] = (summed <= place[:, None]).sum(dim=1).numpy()
        return result

    def calibrate(self, points: FloatArray, condition: IntArray, target: FloatArray) -> LabelNetwork:
        r"""Return one whose mean probabilities over the points of each condition are the given frequencies.

        Changes the table only, by what makes :math:`\langle \log \sum_l e^{b_l + f_l(x)} \rangle - \sum_l t_l b_l`
        smallest, a convex function whose gradient is the difference of mean probability and target. Newton's method,
        to 1e-9; it may stop short of that only for logits that differ by hundreds.

        Args:
            points: Coordinates, distributed as those that labels will be drawn for, ``(n, d)``. The frequencies become
                right up to their statistical error, so there should be many of each condition.
            condition: Number of each point's condition, ``(n,)``. A condition without points stays as it is.
            target: Frequencies, ``(conditions, labels)``; rows are normalised, a row of zeros leaves its condition as
                it is. Labels with frequency zero do not occur any more.

        Raises:
            TrainingError: A frequency is negative or not finite, or belongs to a label that never occurs.
        """
        if target.shape != self.offset.shape:
            raise TrainingError(f"frequencies of shape {self.offset.shape} are expected; these have {target.shape}")
        wrong = ~(np.isfinite(target) & (target >= 0)) | ((target > 0) & ~self.allowed)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise TrainingError(
                f"the frequency of label {column} with condition {row} cannot be {target[row, column]}; a number that "
                "is not negative is expected, and zero for labels that never occur"
            )
        offset = self.offset.copy()
        for number in np.unique(condition):
            wanted = np.flatnonzero(target[number] > 0)
            if not len(wanted):
                continue
            kept = np.where(target[number] > 0, self.offset[number], -np.inf)
            if len(wanted) > 1:
                rows = condition == number
                logits = [part.numpy()[:, wanted] for _, part in self._logits(points[rows], condition[rows])]
                kept[wanted] += _shift(np.concatenate(logits), target[number, wanted] / target[number].sum())
            offset[number] = kept
        return replace(self, offset=offset)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything as named arrays."""
        state: dict[str, npt.NDArray[Any]] = {
            "offset": self.offset.copy(),
            "has_network": np.array([self.network is not None]),
        }
        if self.network is not None:
            for name, values in self.network.state_dict().items():
                state[f"network.{name}"] = values.numpy().copy()
        return state

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, npt.NDArray[Any]],
        *,
        dimension: int,
        conditions: int,
        labels: int,
        width: int,
        depth: int,
    ) -> LabelNetwork:
        """Inverse of `state`; ``from_state(n.state(), ...)`` gives the same numbers as ``n``, to the last bit.

        Args:
            state: The arrays.
            dimension: Number of coordinates of a point.
            conditions: Number of conditions.
            labels: Number of labels.
            width: Width of the hidden layers.
            depth: Number of residual blocks.

        Raises:
            ModelError: An array is missing, has another shape or cannot be what a training gave. Names it.
        """
        offset = np.array(_array(state, "offset", (conditions, labels)), np.float64)
        if np.isnan(offset).any() or (offset == np.inf).any() or not (offset > -np.inf).any(axis=1).all():
            raise ModelError("the array 'offset' of the model has a condition without labels, or numbers that are none")
        if not _array(state, "has_network", (1,))[0]:
            return cls(offset, dimension, None)
        features = state.get("network.features")
        if features is None or features.ndim != 2 or len(features) != conditions:
            found = "is missing" if features is None else f"has shape {features.shape}"
            raise ModelError(
                f"the array 'network.features' of the model {found}; a row for each of {conditions} is due"
            )
        network = ResidualNetwork(dimension, np.array(features, np.float32), labels, width, depth)
        expected = network.state_dict()
        surplus = {name.removeprefix("network.") for name in state if name.startswith("network.")} - set(expected)
        if surplus:
            raise ModelError(
                f"the array 'network.{min(surplus)}' of the model does not belong to a network of width {width} and "
                f"depth {depth}; load it with the settings it was trained with"
            )
        network.load_state_dict(
            {
                name: torch.from_numpy(np.array(_array(state, f"network.{name}", tuple(values.shape)), np.float32))
                for name, values in expected.items()
            }
        )
        return cls(offset, dimension, network)

    def _logits(self, points: FloatArray, condition: IntArray) -> Iterator[tuple[IntArray, Tensor]]:
        """Logits in double precision, ``(chunk, labels)``, with the rows they are of: all that have a choice."""
        choice = self.allowed.sum(axis=1) > 1
        every = np.flatnonzero(choice[condition])
        table = torch.from_numpy(self.offset)
        for start in range(0, len(every), _CHUNK):
            rows = every[start : start + _CHUNK]
            number = torch.from_numpy(np.asarray(condition[rows], np.int64))
            logits = table[number]
            if self.network is not None:
                x = torch.from_numpy(points[rows].astype(np.float32))
                with torch.no_grad():
                    logits += self.network(x, number)
            yield rows, logits


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
class _Events:
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

    def at(self, rows: Tensor) -> _Events:
        return _Events(self.points[rows], self.label[rows], self.weight[rows], self.condition[rows], self.floor[rows])

    def losses(self, network: ResidualNetwork, table: Tensor) -> Tensor:
        """Loss of each event, ``(n,)``, for a network and the table added to it."""
        logits = network(self.points, self.condition) + nn.functional.embedding(self.condition, table)
        log_probability = torch.log_softmax(logits, dim=1).gather(1, self.label[:, None])[:, 0]
        bounded = torch.where(self.weight < 0, torch.maximum(log_probability, self.floor), log_probability)
        return -self.weight * bounded


def _train(
    network: ResidualNetwork,
    offset: FloatArray,
    events: _Events,
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
            parts = torch.split(torch.arange(held_out), _CHUNK)
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


def _check_events(
    points: FloatArray, label: IntArray, weight: FloatArray, allowed: BoolArray, condition: IntArray
) -> None:
    """Raise TrainingError for what cannot be learned from."""
    without = np.flatnonzero(~allowed.any(axis=1))
    if len(without):
        raise TrainingError(f"condition {without[0]} allows no label; each needs one at least")
    finite = np.isfinite(points).all(axis=1) & np.isfinite(weight)
    if not finite.all():
        raise TrainingError(f"event {np.flatnonzero(~finite)[0] + 1} has a coordinate or a weight that is not finite")
    inside = (condition >= 0) & (condition < len(allowed)) & (label >= 0) & (label < allowed.shape[1])
    inside[inside] = allowed[condition[inside], label[inside]]
    if not inside.all():
        first = np.flatnonzero(~inside)[0]
        raise TrainingError(
            f"event {first + 1} has the label {label[first]}, which its condition {condition[first]} does not allow"
        )


def _frequencies(label: IntArray, weight: FloatArray, allowed: BoolArray, condition: IntArray) -> FloatArray:
    """Positive frequencies of the labels, ``(conditions, labels)``, from the events and one more, shared evenly."""
    cells, size = condition * allowed.shape[1] + label, allowed.size
    total, moduli, events = (
        np.bincount(cells, values, size).reshape(allowed.shape) for values in (weight, np.abs(weight), None)
    )
    # Where nothing positive is left, which label it is cannot matter; but there has to be one.
    total = np.where((total > 0).any(axis=1, keepdims=True), total, moduli)
    possible = allowed & ((total > 0) | (events == 0))
    # The weight of one event.
    one = np.where(events.sum(axis=1) > 0, moduli.sum(axis=1) / np.maximum(events.sum(axis=1), 1), 1.0)
    one = np.where(one > 0, one, 1.0)
    raised = np.where(possible, total + (one / possible.sum(axis=1))[:, None], 0.0)
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float64)


def _shift(logits: FloatArray, target: FloatArray) -> FloatArray:
    """What to add to logits ``(n, labels)`` so that their mean probabilities are the target's, ``(labels,)``."""
    shift = np.zeros(len(target))
    value, mean, curvature = _moments(logits, shift, target)
    for _ in range(_NEWTON_STEPS):
        gradient = mean - target
        if np.all(np.abs(gradient) < np.minimum(1e-9, 1e-6 * target)):
            break
        # The gradient has no part along (1, 1, ...), in which the curvature vanishes.
        regular = curvature + np.full_like(curvature, 1 / len(target)) + np.diag(1e-12 + 1e-9 * np.diag(curvature))
        step = -np.linalg.solve(regular, gradient)
        step *= min(1.0, _LARGEST_SHIFT / np.abs(step).max())
        off = float((gradient**2 / target).sum())
        # Iterative scaling is never too long. It is slow close to the target, and ahead of Newton's step far from it.
        scaling = np.log(target / np.maximum(mean, np.finfo(float).tiny))
        for candidate in (step, step / 4, step / 16, scaling) if scaling.max() < _LARGEST_SHIFT else (scaling,):
            new = _moments(logits, shift + candidate, target)
            # Close to the smallest value its differences are lost in rounding, but not those of the gradient.
            same = abs(new[0] - value) <= 1e-12 * max(1.0, abs(value))
            if new[0] < value - 1e-12 * abs(value) or (same and ((new[1] - target) ** 2 / target).sum() < off):
                break
        shift = shift + candidate
        value, mean, curvature = new
    return shift


def _moments(logits: FloatArray, shift: FloatArray, target: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """The convex function that the shift makes smallest, the mean probabilities, and the function's curvature."""
    value, mean, products = 0.0, np.zeros(len(target)), np.zeros((len(target), len(target)))
    for start in range(0, len(logits), _CHUNK):
        raised = logits[start : start + _CHUNK] + shift
        largest = raised.max(axis=1, keepdims=True)
        exponential = np.exp(raised - largest)
        total = exponential.sum(axis=1, keepdims=True)
        probability = exponential / total
        value += float((np.log(total) + largest).sum())
        mean += probability.sum(axis=0)
        products += probability.T @ probability
    mean /= len(logits)
    return value / len(logits) - float(target @ shift), mean, np.diag(mean) - products / len(logits)


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


def _array(state: Mapping[str, npt.NDArray[Any]], name: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return an array of the state, if it is there and has the shape."""
    if name not in state:
        raise ModelError(f"the array '{name}' of the model is missing")
    if state[name].shape != shape:
        raise ModelError(f"the array '{name}' of the model has shape {state[name].shape}; {shape} is expected")
    return state[name]
