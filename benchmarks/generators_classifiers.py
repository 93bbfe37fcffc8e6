"""How well classifiers tell generated events from held-out ones, by multiplicity, beside truth against truth."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from generators_output import Output
from generators_tables import FloatArray, Table, categories, find_objects, joined, kinematics

from mlgen.validation.auc import BoolArray
from mlgen.validation.classifier_boosting import quantile_bins, train_boosting
from mlgen.validation.classifier_network import train_network
from mlgen.validation.encoding import Encoding
from mlgen.validation.observable import Features, Kind, Observable
from mlgen.validation.record import Measure
from mlgen.validation.two_sample import Method, TwoSamples, two_sample_test

METHODS = ("gradient boosting", "network")
#: What a classifier sees: momenta alone; with the scale, which is a function of them in many files; with flavours and
#: colour flow; with all of that and spins. What a generator gets wrong for good in one of them hides the others.
COLUMNS = ("momenta", "momenta and scale", "momenta and classes", "everything")
_WITH_SCALE = COLUMNS[1::2]
_WITH_CLASSES = COLUMNS[2:]
#: Codes of fewer events than this, in both samples together, are one.
_FEWEST_OF_A_CODE = 20
_OTHERS = -1_000_000
_ROUND_OFF = 1e-6
_FEWEST_EVENTS = 400
#: Where the floor is known from an earlier generator, events of the one that is computed again and thrown away.
_TOKEN_FLOOR = 400


@dataclass(frozen=True)
class Samples:
    """Truth that was learned from, truth that was not, and generated events; all as tables."""

    train: Table
    heldout: Table
    generated: Table


class Classifiers:
    """Trains the classifiers; what the floor is, is found once for each multiplicity and kind of columns.

    Args:
        events: Events of each sample, at most.
        seeds: Trainings of each classifier.
        methods: Of `METHODS`.
        columns: Of `COLUMNS`.
    """

    def __init__(self, events: int, seeds: int, methods: tuple[str, ...], columns: tuple[str, ...]) -> None:
        self._events, self._seeds, self._methods, self._columns = events, seeds, methods, columns
        self._floors: dict[tuple[int, str, str], Measure] = {}

    def show(self, name: str, samples: Samples, output: Output) -> None:
        """Print the areas under the curves, with errors, beside the floor."""
        output.title(f"{name}: AUC of classifiers, against held-out events; {self._seeds} seeds, two folds")
        rows = []
        for multiplicity in np.unique(samples.heldout.multiplicity):
            parts = [
                table[table.multiplicity == multiplicity]
                for table in (samples.heldout, samples.generated, samples.train)
            ]
            if min(len(parts[0]), len(parts[1])) < _FEWEST_EVENTS:
                output.say(f"{multiplicity} final particles: {len(parts[0])} and {len(parts[1])} events are too few")
                continue
            for columns in self._columns:
                start = time.perf_counter()
                for measure, floor in self._compare(int(multiplicity), columns, parts):
                    rows.append(_row(int(multiplicity), columns, measure, floor, time.perf_counter() - start))
                    output.keep(
                        name, "auc", str(multiplicity), columns, measure.name.removeprefix("AUC, "),
                        value=measure.value, error=measure.error, p_value=measure.p_value, events=measure.events,
                        note=measure.note, floor=floor.floor, floor_error=floor.floor_error,
                    )  # fmt: skip
        output.table(
            ["final particles", "columns", "classifier", "events of each", "AUC", "floor", "p", "seeds", "s"], rows
        )

    def _compare(self, multiplicity: int, columns: str, parts: list[Table]) -> list[tuple[Measure, Measure]]:
        heldout, generated, train = parts
        n = min(len(heldout), len(generated), self._events)
        reference, sample = heldout[:n], generated[:n]
        # Truth that the reference does not have: what was learned from, or the rest of what was held out.
        other = train[:n] if len(train) >= n else joined([heldout[n:], train])[:n]
        if len(other) < n // 2:
            half = n // 2
            floor = (reference[:half], reference[half : 2 * half])
        else:
            floor = (reference[: len(other)], other)
        keys = {method: (multiplicity, columns, method) for method in self._methods}
        known = all(key in self._floors for key in keys.values())
        if known:
            floor = (floor[0][:_TOKEN_FLOOR], floor[1][:_TOKEN_FLOOR])
        sources = np.random.SeedSequence(1).spawn(self._seeds)
        found = two_sample_test(
            self._seen(reference, sample, columns),
            self._seen(*floor, columns),
            sources=sources,
            rng=np.random.default_rng(1),
        )
        if not known:
            self._floors |= {keys[m]: measure for m, measure in zip(self._methods, found.measures, strict=True)}
        return [(measure, self._floors[keys[m]]) for m, measure in zip(self._methods, found.measures, strict=True)]

    def _seen(self, reference: Table, sample: Table, columns: str) -> TwoSamples:
        first, second = features(reference, sample, columns)
        values = np.concatenate([first.values, second.values])
        methods: dict[str, Method] = {}
        for method in self._methods:
            if method == "network":
                encoding = Encoding.fit(first, second)
                methods[method] = Method(train_network, np.concatenate([encoding(first), encoding(second)]))
            else:
                kinds = np.array([o.kind is Kind.CATEGORY for o in first.observables], dtype=bool)
                inputs, categorical = quantile_bins(values, kinds)
                methods[method] = Method(functools.partial(train_boosting, categorical=categorical), inputs)
        is_reference: BoolArray = np.arange(len(values)) < len(first)
        return TwoSamples(methods, is_reference, np.concatenate([first.weight, second.weight]))


def features(reference: Table, sample: Table, seen: str) -> tuple[Features, Features]:
    """What a classifier sees of two samples of one multiplicity; `seen` is one of `COLUMNS`.

    Observables that are constant up to rounding in both, or the same as one before, are left out: that a generator
    rounds differently would hide everything else.
    """
    count = len(reference)
    both = joined([reference, sample])
    objects = find_objects(both)
    columns: list[FloatArray] = []
    observables: list[Observable] = []
    for name, values in kinematics(both, objects).items():
        if "scale" in name and seen not in _WITH_SCALE:
            continue
        if _constant(values) or any(_same(values, column) for column in columns):
            continue
        columns.append(values)
        angle = name.startswith(("phi", "delta phi"))
        observables.append(Observable(name, name, periodic=angle))
    if seen in _WITH_CLASSES:
        for name, codes in categories(both, objects).items():
            if "spin" in name and seen not in _WITH_SCALE:
                continue
            levels, index, number = np.unique(codes, return_inverse=True, return_counts=True)
            merged = np.where(number[index] < _FEWEST_OF_A_CODE, _OTHERS, codes)
            if len(levels) > 1:
                columns.append(merged.astype(np.float64))
                observables.append(Observable(name, name, kind=Kind.CATEGORY))
    values = np.stack(columns, axis=1)
    kinds = tuple(observables)
    return (
        Features(values[:count], reference.weight, kinds),
        Features(values[count:], sample.weight, kinds),
    )


def _constant(values: FloatArray) -> bool:
    known = values[np.isfinite(values)]
    return not len(known) or bool(np.ptp(known) <= _ROUND_OFF * max(float(np.abs(known).max()), 1.0))


def _same(values: FloatArray, column: FloatArray) -> bool:
    return bool(np.allclose(values, column, rtol=_ROUND_OFF, atol=_ROUND_OFF, equal_nan=True))


def _row(multiplicity: int, columns: str, measure: Measure, floor: Measure, seconds: float) -> list[str]:
    cells: list[Any] = [
        multiplicity,
        columns,
        measure.name.removeprefix("AUC, "),
        f"{measure.events:,}",
        f"{measure.value:.4f} +- {measure.error:.4f}",
        f"{floor.floor:.4f} +- {floor.floor_error:.4f}",
        f"{measure.p_value:.2g}",
        measure.note,
        f"{seconds:.0f}",
    ]
    return [str(cell) for cell in cells]
