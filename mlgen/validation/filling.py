"""Fills the histograms of one sample, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.validation.axes import Axis
from mlgen.validation.observable import Features
from mlgen.validation.reservoir import Reservoir

FloatArray = npt.NDArray[np.float64]

HALVES = 2


@dataclass(slots=True)
class Filled:
    """One sample after all its events went through.

    Args:
        axes: Bins of each observable.
        sums: For each observable, sums of weights in halves and fine bins with flows, ``(2, fine + 2)``.
        squares: Likewise, sums of squared weights.
        bands: For each observable and each named weight of the band, sums in the drawn bins with flows.
        features: A random subset of the events.
        events: Events seen.
        selected: Events that passed the selection.
        weight: Sum of the weights of the selected.
        square: Sum of their squares.
        negative: Selected events with a negative weight.
        all_events_weight: Sum of the weights of all events.
        all_events_square: Sum of their squares.
        lacking: For each observable, sum of the weights of selected events that lack it.
    """

    axes: tuple[Axis, ...]
    sums: list[FloatArray]
    squares: list[FloatArray]
    bands: list[dict[str, FloatArray]]
    features: Features
    events: int
    selected: int
    weight: float
    square: float
    negative: int
    all_events_weight: float
    all_events_square: float
    lacking: FloatArray

    @property
    def effective_events(self) -> float:
        """(sum w)^2 / sum w^2 (Kish)."""
        return self.weight**2 / self.square if self.square else 0.0

    @property
    def negative_fraction(self) -> float:
        """Share of the selected events with a negative weight."""
        return self.negative / self.selected if self.selected else math.nan


@dataclass(slots=True)
class Filler:
    """Takes batches of observables and fills everything that a comparison needs.

    Args:
        axes: Bins of each observable.
        band: Named weights that make the band.
        keep: Events of the random subset.
        halves: Whether the two halves are needed (the reference).
    """

    axes: Sequence[Axis]
    band: Sequence[str]
    keep: int
    halves: bool
    events: int = 0
    selected: int = 0
    weight: float = 0.0
    square: float = 0.0
    negative: int = 0
    all_events_weight: float = 0.0
    all_events_square: float = 0.0
    lacking: FloatArray = field(init=False)
    _histograms: list[list[Any]] = field(init=False)
    _bands: list[dict[str, Any]] = field(init=False)
    _reservoir: Reservoir = field(init=False)

    def __post_init__(self) -> None:
        import hist

        self.lacking = np.zeros(len(self.axes))
        axes = [axis.to_hist() for axis in self.axes]
        copies = HALVES if self.halves else 1
        self._histograms = [[hist.Hist(axis, storage=hist.storage.Weight()) for _ in range(copies)] for axis in axes]
        self._bands = [{name: hist.Hist(axis, storage=hist.storage.Double()) for name in self.band} for axis in axes]
        self._reservoir = Reservoir(self.keep)

    def add(
        self,
        values: FloatArray,
        weight: FloatArray,
        variations: Mapping[str, FloatArray],
        rng: np.random.Generator,
        *,
        offered: int,
        offered_weight: float,
        offered_square: float,
    ) -> None:
        """Add a batch.

        Args:
            values: Shape ``(observables, n)``; NaN where an event lacks the observable.
            weight: Shape ``(n,)``.
            variations: Named weights of the band, each ``(n,)``; NaN counts as the nominal weight.
            rng: Decides the halves and the random subset.
            offered: Events before the selection.
            offered_weight: Sum of their weights.
            offered_square: Sum of the squares of their weights.
        """
        n = len(weight)
        self.events += offered
        self.all_events_weight += offered_weight
        self.all_events_square += offered_square
        if not n:
            return
        self.selected += n
        self.weight += float(weight.sum())
        self.square += float(weight @ weight)
        self.negative += int((weight < 0).sum())
        if self.halves:
            # Shuffled halves: a file may be ordered, or alternate.
            order = rng.permutation(n)
            parts = [np.sort(order[: (n + 1) // 2]), np.sort(order[(n + 1) // 2 :])]
            if rng.random() < 0.5:
                parts.reverse()
        unit = bool(n) and bool((weight == weight[0]).all())
        scalar = float(weight[0]) if unit else None
        for row, column in enumerate(values):
            known = None
            if np.isnan(column.sum()):
                known = ~np.isnan(column)
                self.lacking[row] += float(weight[~known].sum())
            for half, histogram in enumerate(self._histograms[row]):
                chosen: Any = parts[half] if self.halves else slice(None)
                x, w, k = column[chosen], weight[chosen], None if known is None else known[chosen]
                if k is not None:
                    x, w = x[k], w[k]
                histogram.fill(x, weight=w if scalar is None else scalar)
            for name, histogram in self._bands[row].items():
                varied = variations.get(name, weight)
                varied = np.where(np.isnan(varied), weight, varied)
                if known is None:
                    histogram.fill(column, weight=varied)
                else:
                    histogram.fill(column[known], weight=varied[known])
        self._reservoir.add(np.concatenate([values, weight[None]]), rng)

    def finished(self) -> Filled:
        """Everything that was filled."""
        rows = self._reservoir.rows(len(self.axes) + 1)
        features = Features(rows[:, :-1], rows[:, -1], tuple(axis.observable for axis in self.axes))
        return Filled(
            axes=tuple(self.axes),
            sums=[np.stack([h.values(flow=True) for h in halves]) for halves in self._histograms],
            squares=[np.stack([h.variances(flow=True) for h in halves]) for halves in self._histograms],
            bands=[{name: h.values(flow=True) for name, h in bands.items()} for bands in self._bands],
            features=features,
            events=self.events,
            selected=self.selected,
            weight=self.weight,
            square=self.square,
            negative=self.negative,
            all_events_weight=self.all_events_weight,
            all_events_square=self.all_events_square,
            lacking=self.lacking,
        )
