"""What a two-stage unweighting saves, as measured, and for matrix elements that cost more or less."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

#: Costs of a true weight, in units of what a candidate costs without it, that the gain is extrapolated to.
COST_RATIOS = (1, 10, 100, 1000)


@dataclass(frozen=True, slots=True)
class UnweightingCosts:
    r"""Measured costs of a two-stage unweighting, and what a hit-or-miss would have cost.

    Times in seconds. An event of the two-stage unweighting costs

    .. math:: t_2(t_w) = \frac{N t_c + t_u + E\, (t_m + t_w)}{N_\mathrm{eff}}, \qquad
              t_1(t_w) = \frac{t_d + c\, t_w}{\varepsilon}

    is that of a hit-or-miss on the same candidates: N candidates with the surrogate for :math:`t_c` each, E true
    weights for :math:`t_w` each, after mapping the point again for :math:`t_m`, and :math:`t_u` for the unweighting
    itself; :math:`t_d` for a candidate without any weight, of which a share c is inside the cuts, and the efficiency
    :math:`\varepsilon` of a hit-or-miss with as large a share of overweights. The gain is :math:`t_1 / t_2`. For other
    :math:`t_w` the maxima stay what they are, though they would be chosen anew.

    Args:
        candidates: N.
        evaluations: E.
        effective_events: Effective sample size of the accepted events.
        hit_or_miss_efficiency: The efficiency of a hit-or-miss.
        drawing: Time to draw and map a candidate.
        surrogate: Time of the surrogate for a candidate.
        mapping: Time to map a point again.
        true_weight: Time of the matrix elements of a point.
        unweighting: Time of the unweighting, of all candidates.
        inside: c, the share of the candidates whose true weight is not known to vanish.

    References:
        Danziger et al., SciPost Phys. 12, 164 (2022), arXiv:2109.11964, where drawing a candidate costs
        nothing.
    """

    candidates: int
    evaluations: int
    effective_events: float
    hit_or_miss_efficiency: float
    drawing: float
    surrogate: float
    mapping: float
    true_weight: float
    unweighting: float
    inside: float = 1.0

    @classmethod
    def of_times(
        cls,
        seconds: Mapping[str, float],
        candidates: int,
        evaluations: int,
        effective_events: float,
        hit_or_miss_efficiency: float,
        inside: float = 1.0,
    ) -> UnweightingCosts:
        """Share the times of a run among candidates and true weights.

        Args:
            seconds: Wall time by piece of work.
            candidates: Number of candidates.
            evaluations: Number of true weights.
            effective_events: Effective sample size of the accepted events.
            hit_or_miss_efficiency: Of a hit-or-miss on the same candidates.
            inside: Share of the candidates whose true weight is not known to vanish.
        """
        mapping = seconds.get("mapping and densities", 0.0) / max(candidates + evaluations, 1)
        return cls(
            candidates,
            evaluations,
            effective_events,
            hit_or_miss_efficiency,
            drawing=seconds.get("sampling", 0.0) / max(candidates, 1) + mapping,
            surrogate=seconds.get("surrogate", 0.0) / max(candidates, 1),
            mapping=mapping,
            true_weight=seconds.get("matrix element", 0.0) / max(evaluations, 1),
            unweighting=seconds.get("unweighting", 0.0),
            inside=inside,
        )

    def per_event(self, true_weight: float | None = None) -> float:
        """Seconds of an effective event, with true weights that take `true_weight` seconds, or as measured."""
        cost = self.true_weight if true_weight is None else true_weight
        return (self._without_truth() + self.evaluations * cost) / self.effective_events

    def per_hit_or_miss_event(self, true_weight: float | None = None) -> float:
        """Seconds of an event of a hit-or-miss; likewise."""
        cost = self.true_weight if true_weight is None else true_weight
        return (self.drawing + self.inside * cost) / self.hit_or_miss_efficiency

    def gain(self, true_weight: float | None = None) -> float:
        """Time of a hit-or-miss over that of this unweighting; likewise."""
        return self.per_hit_or_miss_event(true_weight) / self.per_event(true_weight)

    def break_even(self) -> float:
        """Seconds of a true weight from which on this unweighting is faster: zero if always, infinite if never."""
        slope = self.inside / self.hit_or_miss_efficiency - self.evaluations / self.effective_events
        lead = self._without_truth() / self.effective_events - self.drawing / self.hit_or_miss_efficiency
        if slope <= 0:
            return 0.0 if lead < 0 and slope == 0 else math.inf
        return max(lead / slope, 0.0)

    def figures(self) -> dict[str, float]:
        """Gains and costs by name, times in microseconds."""
        figures = {"gain_over_hit_or_miss": self.gain()}
        unit = self.drawing + self.surrogate
        figures |= {f"gain_at_cost_ratio_{ratio}": self.gain(ratio * unit) for ratio in COST_RATIOS}
        times = {
            "pays_from_true_weight": self.break_even(),
            "true_weight": self.true_weight,
            "surrogate": self.surrogate,
            "drawing": self.drawing,
            "event": self.per_event(),
            "hit_or_miss_event": self.per_hit_or_miss_event(),
        }
        return figures | {f"{name}_us": 1e6 * value for name, value in times.items()}

    def _without_truth(self) -> float:
        candidate = self.drawing + self.surrogate
        return self.candidates * candidate + self.unweighting + self.evaluations * self.mapping
