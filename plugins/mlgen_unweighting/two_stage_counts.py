"""What a two-stage unweighting did so far, in sums."""

from __future__ import annotations

import math

import numpy as np

from mlgen.stages import FloatArray, IntArray
from mlgen_unweighting.first_stage import FirstStage

#: A survivor's surrogate is far too small where its true weight is more than this many times as large.
_FAR = 30.0


class TwoStageCounts:
    r"""Sums over candidates, survivors of the first stage and accepted events.

    Means over all candidates are estimated with the surrogate as a control variate: with a guess :math:`g_i` for each
    candidate, and :math:`h_i` known of the survivors, which pass with the probability :math:`p_i`,

    .. math:: \frac{1}{N} \sum_i \Big( g_i + \theta_i \frac{h_i - g_i}{p_i} \Big), \qquad
              \theta_i = 1 \text{ for a survivor, else } 0,

    is unbiased, and exact where the guess is.
    """

    def __init__(self) -> None:
        self.candidates = self.survivors = self.asked = self.accepted = 0
        self.negative = self.overweight = self.doubted = 0
        self.largest = 0.0
        # Of accepted events, in units of the event weight: of |w'|, of its excess over 1, of w' and of w'^2.
        self.modulus = self.excess = self.signed = self.squares = 0.0
        self._largest_weight = self._modulus = 0.0
        # Of all candidates: terms of the estimates of the unit (with and without the guess) and of the mean weight.
        self._unit = self._plain_unit = self._mean = self._mean_squares = 0.0

    def add(
        self,
        first: FirstStage,
        maximum: float,
        candidates: int,
        surrogate: FloatArray,
        survivors: IntArray,
        asked: int,
        weight: FloatArray,
        factor: FloatArray,
    ) -> None:
        """Count one batch.

        Args:
            first: The first stage.
            maximum: Of the second.
            candidates: All of the batch.
            surrogate: Surrogate weights of those that may have a weight, ``(n,)``.
            survivors: Which of these passed the first stage, ``(k,)``.
            asked: How many of these were asked for their true weight.
            weight: True weight over the probability to pass, of these, ``(k,)``.
            factor: New weights of the accepted, in units of the event weight.
        """
        size = np.abs(factor)
        self.candidates += candidates
        self.survivors += len(survivors)
        self.asked += asked
        self.accepted += len(factor)
        self.negative += int(np.count_nonzero(factor < 0))
        self.overweight += int(np.count_nonzero(size > 1))
        self.largest = max(self.largest, float(np.abs(weight).max(initial=0.0)) / maximum)
        self.modulus += math.fsum(size)
        self.excess += math.fsum(size - 1)
        self.signed += math.fsum(factor)
        self.squares += math.fsum(size**2)
        self._estimate(first, maximum, surrogate, survivors, weight)

    def _estimate(
        self, first: FirstStage, maximum: float, surrogate: FloatArray, survivors: IntArray, weight: FloatArray
    ) -> None:
        probability = first.probability(surrogate)
        chance = probability[survivors]
        guess = np.minimum(first.modulus_ratio * np.abs(surrogate), probability * maximum)
        left = np.minimum(np.abs(weight), maximum)
        self._unit += math.fsum(guess) + math.fsum(left - guess[survivors] / chance)
        self._plain_unit += math.fsum(left)
        terms = first.ratio * surrogate
        terms[survivors] += weight - terms[survivors] / chance
        self._mean += math.fsum(terms)
        self._mean_squares += math.fsum(terms**2)
        modulus = np.abs(weight) * chance
        self._largest_weight = max(self._largest_weight, float(modulus.max(initial=0.0)))
        self._modulus += math.fsum(np.abs(weight))
        expected = np.maximum(first.modulus_ratio * np.abs(surrogate[survivors]), first.floor)
        self.doubted += int(
            np.count_nonzero((modulus > _FAR * expected) | ((surrogate[survivors] <= 0) & (modulus > 0)))
        )

    def unit(self) -> float:
        """The weight of an event that is no overweight, in the candidates' unit."""
        unit = self._unit / self.candidates
        # A surrogate that is far off makes a poor control variate.
        return unit if unit > 0.5 * self._plain_unit / self.candidates else self._plain_unit / self.candidates

    def mean(self) -> float:
        """Estimate of the mean true weight of all candidates."""
        return self._mean / self.candidates

    def mean_error(self) -> float:
        """Its standard error."""
        if self.candidates < 2:
            return abs(self.mean())
        variance = max(self._mean_squares / self.candidates - self.mean() ** 2, 0.0)
        return math.sqrt(variance / (self.candidates - 1))

    def largest_share(self) -> float:
        """The largest true weight in units of the sum over all candidates."""
        return self._largest_weight / self._modulus if self._modulus else 0.0
