"""Events as columns without gaps, for measures and networks that need numbers of order one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlgen.validation.observable import Features, FloatArray, Kind, Observable

#: Distance from the median, in robust standard deviations, from which a value enters only logarithmically.
_LINEAR_RANGE = 3.0
#: A spread below this fraction of the values is round-off, for instance of a file with seven digits.
_ROUND_OFF = 1e-6
#: Interquartile range of a normal distribution of unit width.
_NORMAL_INTERQUARTILE_RANGE = 1.3489795


@dataclass(frozen=True, slots=True)
class _Column:
    """Column number `feature` of the features, written as the column `name` of the encoding.

    `part` is ``value``, ``cos``, ``sin``, ``category`` (with its `code`) or ``absent``.
    """

    name: str
    feature: int
    part: str
    centre: float = 0.0
    scale: float = 1.0
    code: int = 0

    def __call__(self, values: FloatArray) -> FloatArray:
        present = np.isfinite(values)
        if self.part == "absent":
            return np.asarray(~present, dtype=np.float64)
        known = np.where(present, values, 0.0)
        if self.part == "category":
            encoded = (known == self.code).astype(np.float64)
        elif self.part == "cos":
            encoded = np.sqrt(2.0) * np.cos(known)
        elif self.part == "sin":
            encoded = np.sqrt(2.0) * np.sin(known)
        else:
            encoded = tame((known - self.centre) / self.scale)
        return np.where(present, encoded, 0.0)


@dataclass(frozen=True, slots=True)
class Encoding:
    r"""Standardised columns without NaN, made from observables.

    =================== ==============================================================================================
    observable          columns
    =================== ==============================================================================================
    number              :math:`t\big((x - \mathrm{median}) / s\big)` with the reference's median and robust scale
                        :math:`s = \mathrm{IQR} / 1.349` (standard deviation where the interquartile range vanishes)
    angle (`periodic`)  :math:`\sqrt 2 \cos x` and :math:`\sqrt 2 \sin x`, of unit variance for a flat angle
    category            1 or 0 for each code that occurs; one column when there are two
    absent (NaN)        0 in the columns above, and 1 in the column ``NAME absent``. Observables that are absent in the
                        same events share one such column
    constant            none
    =================== ==============================================================================================

    with `tame`'s :math:`t`, which keeps the order of the values, so that nothing is hidden from a classifier, but
    lets no single event of a heavy tail dominate means, covariances and kernels.

    Args:
        columns: How each column is made.
    """

    columns: tuple[_Column, ...]

    @classmethod
    def fit(cls, reference: Features, sample: Features) -> Encoding:
        """Choose the columns.

        Medians and scales are the reference's; the sample only counts for which codes occur, what is ever absent and
        what is constant, so that a column that is constant in the reference alone is kept.

        Args:
            reference: Features of shape ``(n, features)``. Quantiles are taken with the absolute values of its weights.
            sample: The same observables, ``(m, features)``.

        Returns:
            The encoding; call it with either of the two.

        Raises:
            ValueError: The two have different observables.
        """
        names = [observable.name for observable in reference.observables]
        others = [observable.name for observable in sample.observables]
        if names != others:
            differing = sorted(set(names) ^ set(others)) or names
            raise ValueError(f"the two samples have different features, or in another order: {', '.join(differing)}")
        columns: list[_Column] = []
        absences: list[npt.NDArray[np.bool_]] = []
        for feature, observable in enumerate(reference.observables):
            values = np.concatenate([reference.values[:, feature], sample.values[:, feature]])
            present = np.isfinite(values)
            if present.any():
                columns += _columns(observable, feature, values, np.abs(reference.weight))
            absent = ~present
            if present.any() and absent.any() and not any(np.array_equal(absent, known) for known in absences):
                absences.append(absent)
                columns.append(_Column(f"{observable.name} absent", feature, "absent"))
        return cls(tuple(columns))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns: ``pT(mu-)``, ``cos phi(mu-)``, ``process = 1``, ``pT(jet 2) absent``."""
        return tuple(column.name for column in self.columns)

    @property
    def features(self) -> tuple[int, ...]:
        """The column of the features that each column is made from."""
        return tuple(column.feature for column in self.columns)

    def __call__(self, features: Features) -> FloatArray:
        """Encode events.

        Args:
            features: Events with the observables that the encoding was fitted to, ``(n, features)``.

        Returns:
            Finite numbers, shape ``(n, columns)``.
        """
        encoded = np.empty((len(features), len(self.columns)))
        for number, column in enumerate(self.columns):
            encoded[:, number] = column(features.values[:, column.feature])
        return encoded


def tame(values: FloatArray) -> FloatArray:
    r"""Leave :math:`|z| \le 3` as it is and let the tails grow logarithmically.

    :math:`t(z) = z` for :math:`|z| \le 3`, else :math:`\mathrm{sign}(z)\,(3 + \ln(|z| - 2))`: increasing, with a
    continuous derivative.

    Args:
        values: Any shape.

    Returns:
        The same shape.
    """
    excess = np.maximum(np.abs(values) - _LINEAR_RANGE, 0.0)
    tamed: FloatArray = np.clip(values, -_LINEAR_RANGE, _LINEAR_RANGE) + np.sign(values) * np.log1p(excess)
    return tamed


def _columns(observable: Observable, feature: int, values: FloatArray, weight: FloatArray) -> list[_Column]:
    """Columns of one observable; `values` are the reference's, as many as `weight`, and then the sample's."""
    known = values[np.isfinite(values)]
    if observable.kind is Kind.CATEGORY:
        codes = np.unique(known).astype(int).tolist()
        if len(codes) <= 2:
            # The second is one minus the first.
            codes = codes[1:]
        return [
            _Column(f"{observable.name} = {_category(observable, code)}", feature, "category", code=code)
            for code in codes
        ]
    lowest, highest = float(known.min()), float(known.max())
    if highest - lowest <= _ROUND_OFF * max(abs(lowest), abs(highest)):
        return []
    if observable.periodic:
        return [_Column(f"{part} {observable.name}", feature, part) for part in ("cos", "sin")]
    own = values[: len(weight)]
    chosen = np.isfinite(own) & (weight > 0.0)
    centre, scale = _location_and_scale(own[chosen], weight[chosen])
    if scale <= _ROUND_OFF * abs(centre):
        # Constant in the reference, or absent from it.
        scale = highest - lowest
    return [_Column(observable.name, feature, "value", centre=centre, scale=scale)]


def _category(observable: Observable, code: int) -> str:
    return observable.categories[code] if 0 <= code < len(observable.categories) else str(code)


def _location_and_scale(values: FloatArray, weight: FloatArray) -> tuple[float, float]:
    """Weighted median and robust standard deviation; zeros for no values."""
    if not len(values):
        return 0.0, 0.0
    order = np.argsort(values)
    ordered = values[order]
    cumulative = np.cumsum(weight[order])
    places = np.searchsorted(cumulative, np.array([0.25, 0.5, 0.75]) * cumulative[-1])
    lower, centre, upper = ordered[np.minimum(places, len(ordered) - 1)]
    if upper > lower:
        return float(centre), float(upper - lower) / _NORMAL_INTERQUARTILE_RANGE
    mean = np.average(values, weights=weight)
    return float(centre), float(np.sqrt(np.average((values - mean) ** 2, weights=weight)))
