"""Fills the histograms of one sample, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlgen.errors import WeightError
from mlgen.validation.axes import Axis
from mlgen.validation.observable import Features, FloatArray, Values
from mlgen.validation.reservoir import Reservoir

HALVES = 2


@dataclass(frozen=True, slots=True)
class Sums:
    """Sum of some events' weights, and of their squares."""

    weight: float = 0.0
    square: float = 0.0

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.weight + other.weight, self.square + other.square)

    @classmethod
    def of(cls, weight: FloatArray) -> Sums:
        """Sum weights, ``(n,)``."""
        return cls(float(weight.sum()), float(weight @ weight))


@dataclass(frozen=True, slots=True)
class Filled:
    """One sample after all its events went through.

    Args:
        axes: Bins of each observable.
        sums: For each observable, sums of weights in halves and fine bins with flows, ``(halves, fine + 2)``.
        squares: Likewise, sums of squared weights.
        bands: For each observable and each named weight of the band, sums in the fine bins with flows, ``(fine + 2,)``.
        features: A random subset of the events.
        events: Events seen.
        selected: Events that passed the selection.
        negative: Selected events with a negative weight.
        everything: Sums over all events.
        chosen: Sums over the selected.
        lacking: Sums over the selected events that lack each observable.
        smallest: Smallest value of each observable, ``(observables,)``; NaN if no event has it.
        largest: Largest value, likewise.
    """

    axes: tuple[Axis, ...]
    sums: list[FloatArray]
    squares: list[FloatArray]
    bands: list[dict[str, FloatArray]]
    features: Features
    events: int
    selected: int
    negative: int
    everything: Sums
    chosen: Sums
    lacking: tuple[Sums, ...]
    smallest: FloatArray
    largest: FloatArray

    @property
    def effective_events(self) -> float:
        """(sum w)^2 / sum w^2 of the selected (Kish)."""
        return self.chosen.weight**2 / self.chosen.square if self.chosen.square else 0.0

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
    _selected: int = 0
    _negative: int = 0
    _everything: Sums = field(default_factory=Sums)
    _chosen: Sums = field(default_factory=Sums)
    _lacking: list[Sums] = field(init=False)
    _smallest: FloatArray = field(init=False)
    _largest: FloatArray = field(init=False)
    _histograms: list[list[Any]] = field(init=False)
    _bands: list[dict[str, Any]] = field(init=False)
    _reservoir: Reservoir = field(init=False)

    def __post_init__(self) -> None:
        import hist

        self._lacking = [Sums() for _ in self.axes]
        self._smallest, self._largest = np.full(len(self.axes), np.inf), np.full(len(self.axes), -np.inf)
        axes = [axis.to_hist() for axis in self.axes]
        copies = HALVES if self.halves else 1
        self._histograms = [[hist.Hist(axis, storage=hist.storage.Weight()) for _ in range(copies)] for axis in axes]
        self._bands = [{name: hist.Hist(axis, storage=hist.storage.Double()) for name in self.band} for axis in axes]
        self._reservoir = Reservoir(self.keep)

    def add(
        self, found: Values, weight: FloatArray, variations: Mapping[str, FloatArray], rng: np.random.Generator
    ) -> None:
        """Add a batch.

        Args:
            found: Observables of the selected events.
            weight: Of all events of the batch, ``(n,)``.
            variations: Named weights of the band, each ``(n,)``; NaN counts as the nominal weight.
            rng: Decides the halves and the random subset.

        Raises:
            WeightError: A weight is not finite. Names the first such event.
        """
        if not np.isfinite(weight).all():
            event = self.events + int(np.flatnonzero(~np.isfinite(weight))[0]) + 1
            raise WeightError(f"event {event}: its weight is {weight[event - self.events - 1]}; a number is expected")
        self.events += len(weight)
        self._everything += Sums.of(weight)
        if not len(found.index):
            return
        if len(found.index) < len(weight):
            weight = weight[found.index]
            variations = {name: values[found.index] for name, values in variations.items()}
        self._selected += len(weight)
        self._negative += int((weight < 0).sum())
        self._chosen += Sums.of(weight)
        parts = self._parts(len(weight), rng)
        equal = float(weight[0]) if (weight == weight[0]).all() else None
        named = {name: np.where(np.isnan(v), weight, v) for name in self.band for v in [variations.get(name, weight)]}
        for row, column in enumerate(found.values):
            known = None
            # A sum is the quickest way to find a NaN.
            if math.isnan(column.sum()):
                known = ~np.isnan(column)
                self._lacking[row] += Sums.of(weight[~known])
            self._fill(row, column, weight, equal, known, parts)
            if named:
                x = self._placed(row, column if known is None else column[known])
                for name, histogram in self._bands[row].items():
                    histogram.fill(x, weight=named[name] if known is None else named[name][known])
        self._reservoir.add(np.concatenate([found.values, weight[None]]), rng)

    def _parts(self, n: int, rng: np.random.Generator) -> list[Any]:
        """Random halves of a batch: a file may be ordered, or alternate."""
        if not self.halves:
            return [slice(None)]
        order = rng.permutation(n)
        # An odd event goes to either half with the same chance.
        middle = (n + int(rng.integers(2))) // 2
        return [np.sort(order[:middle]), np.sort(order[middle:])]

    def _fill(
        self,
        row: int,
        column: FloatArray,
        weight: FloatArray,
        equal: float | None,
        known: Any,
        parts: Sequence[Any],
    ) -> None:
        values = column if known is None else column[known]
        if len(values):
            self._smallest[row] = min(self._smallest[row], float(values.min()))
            self._largest[row] = max(self._largest[row], float(values.max()))
        column = self._placed(row, column)
        for part, histogram in zip(parts, self._histograms[row], strict=True):
            x, w = column[part], weight[part]
            if known is not None:
                x, w = x[known[part]], w[known[part]]
            histogram.fill(x, weight=w if equal is None else equal)

    def _placed(self, row: int, column: FloatArray) -> FloatArray:
        """A negative value has no logarithm, and would be taken for overflow: it lies below a logarithmic axis."""
        return np.maximum(column, 0.0) if self.axes[row].log else column

    def finished(self) -> Filled:
        """Everything that was filled."""
        rows = self._reservoir.rows(len(self.axes) + 1)
        features = Features(rows[:, :-1], rows[:, -1], tuple(axis.observable for axis in self.axes))
        absent = self._smallest > self._largest
        return Filled(
            axes=tuple(self.axes),
            sums=[np.stack([h.values(flow=True) for h in halves]) for halves in self._histograms],
            squares=[np.stack([h.variances(flow=True) for h in halves]) for halves in self._histograms],
            bands=[{name: h.values(flow=True) for name, h in bands.items()} for bands in self._bands],
            features=features,
            events=self.events,
            selected=self._selected,
            negative=self._negative,
            everything=self._everything,
            chosen=self._chosen,
            lacking=tuple(self._lacking),
            smallest=np.where(absent, np.nan, self._smallest),
            largest=np.where(absent, np.nan, self._largest),
        )
