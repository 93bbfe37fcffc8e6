"""The discrete part of events: probabilities of labels (flavours, colour flows, helicities) for given kinematics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mlgen.errors import ModelError, TrainingError
from mlgen.generation.label_frequencies import frequencies, shift_to
from mlgen.generation.label_training import CHUNK, LabelledEvents, ResidualNetwork, train_labels

FloatArray = npt.NDArray[np.float64]
FloatArray32 = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]

#: With fewer events a network is not tried.
_FEWEST_EVENTS = 30
#: Probability, relative to the label's frequency, below which an event of negative weight pushes no further.
_FLOOR = 0.01


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
        frequency = frequencies(label, weight, allowed, condition)
        with np.errstate(divide="ignore"):
            offset = np.log(frequency)
        possible = frequency > 0
        used = possible[condition, label] & (possible.sum(axis=1) > 1)[condition]
        if used.sum() < _FEWEST_EVENTS:
            return cls(offset, points.shape[1], None)
        events = LabelledEvents(
            torch.from_numpy(points[used].astype(np.float32)),
            torch.from_numpy(label[used].astype(np.int64)),
            torch.from_numpy(weight[used].astype(np.float32)),
            torch.from_numpy(condition[used].astype(np.int64)),
            torch.from_numpy((offset[condition[used], label[used]] + math.log(_FLOOR)).astype(np.float32)),
        )
        network = ResidualNetwork(points.shape[1], np.asarray(features, np.float32), offset.shape[1], width, depth)
        network.initialise(rng)
        correction = train_labels(network, offset, events, steps, batch_size, learning_rate, rng, report)
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
                kept[wanted] += shift_to(np.concatenate(logits), target[number, wanted] / target[number].sum())
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
        for start in range(0, len(every), CHUNK):
            rows = every[start : start + CHUNK]
            number = torch.from_numpy(np.asarray(condition[rows], np.int64))
            logits = table[number]
            if self.network is not None:
                x = torch.from_numpy(points[rows].astype(np.float32))
                with torch.no_grad():
                    logits += self.network(x, number)
            yield rows, logits


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


def _array(state: Mapping[str, npt.NDArray[Any]], name: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return an array of the state, if it is there and has the shape."""
    if name not in state:
        raise ModelError(f"the array '{name}' of the model is missing")
    if state[name].shape != shape:
        raise ModelError(f"the array '{name}' of the model has shape {state[name].shape}; {shape} is expected")
    return state[name]
