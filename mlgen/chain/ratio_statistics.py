"""What new weights are worth: mean and spread of their ratio to the nominal ones, and how many events they rest on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mlgen.stages import FloatArray, IntArray


@dataclass(slots=True)
class RatioStatistics:
    r"""Sums over events with nominal weights :math:`w` and new ones :math:`w' = w r`.

    The new cross section is :math:`\sigma' = \sigma R` with :math:`R = \sum w' / \sum w`. To the error of
    :math:`\sigma` comes that of a ratio of means, :math:`\sqrt{\sum (w' - R w)^2} / |\sum w|`.

    References:
        Cochran, Sampling Techniques, section 2.11 (ratio estimate); Kish, Survey Sampling, section 11.7 (effective
        sample size).
    """

    events: int = 0
    nominal: float = 0.0
    new: float = 0.0
    nominal_squares: float = 0.0
    new_squares: float = 0.0
    change_squares: float = 0.0
    change_products: float = 0.0
    ratio_changes: float = 0.0
    ratio_change_squares: float = 0.0
    smallest: float = math.inf
    largest: float = -math.inf
    largest_event: int = 0

    def add(self, weight: FloatArray, ratio: FloatArray, numbers: IntArray) -> None:
        """Add events: nominal weights, ratios and numbers of the events, ``(n,)`` each."""
        if not len(weight):
            return
        new = weight * ratio
        self.events += len(weight)
        self.nominal += float(weight.sum())
        self.new += float(new.sum())
        self.nominal_squares += float(weight @ weight)
        self.new_squares += float(new @ new)
        # Of small changes, differences of large sums would leave rounding alone.
        change = ratio - 1
        self.change_squares += float((weight * change) @ (weight * change))
        self.change_products += float((weight * change) @ weight)
        self.ratio_changes += float(change.sum())
        self.ratio_change_squares += float(change @ change)
        self.smallest = min(self.smallest, float(ratio.min()))
        largest = int(ratio.argmax())
        if ratio[largest] > self.largest:
            self.largest, self.largest_event = float(ratio[largest]), int(numbers[largest])

    @property
    def effective_share(self) -> float:
        """Effective sample size of the new weights over that of the nominal ones; NaN where there is none."""
        nominal, new = self._effective(self.nominal, self.nominal_squares), self._effective(self.new, self.new_squares)
        return new / nominal if nominal > 0 else math.nan

    def figures(self, cross_section: float, error: float) -> dict[str, float | int]:
        """Return what a user should see.

        Args:
            cross_section: Of the nominal weights, in pb; NaN where it is not known.
            error: Of that.
        """
        if not self.events:
            return {}
        mean_change = self.ratio_changes / self.events
        figures: dict[str, float | int] = {}
        if self.nominal != 0:
            factor = self.new / self.nominal
            gain = factor - 1
            variance = self.change_squares - 2 * gain * self.change_products + gain**2 * self.nominal_squares
            factor_error = math.sqrt(max(variance, 0.0)) / abs(self.nominal)
            if math.isfinite(cross_section):
                figures["cross_section"] = cross_section * factor
                figures["cross_section_error"] = math.hypot(error * factor, cross_section * factor_error)
            figures |= {"cross_section_factor": factor, "cross_section_factor_error": factor_error}
        return figures | {
            "mean_ratio": 1 + mean_change,
            "spread_of_ratio": math.sqrt(max(self.ratio_change_squares / self.events - mean_change**2, 0.0)),
            "smallest_ratio": self.smallest,
            "largest_ratio": self.largest,
            "event_of_largest_ratio": self.largest_event,
            "effective_sample_size": self._effective(self.new, self.new_squares),
            "effective_sample_size_before": self._effective(self.nominal, self.nominal_squares),
        }

    @staticmethod
    def _effective(total: float, squares: float) -> float:
        """Number of unit-weight events with the same statistical power (Kish)."""
        return total**2 / squares if squares > 0 else 0.0
