"""An unweighting that keeps every event with its weight, and prints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

import numpy as np

from mlgen.errors import WeightError
from mlgen.stages import Candidates, Settings, State, Unweighted, Unweighter, UnweightingReport


class KeepAll(Unweighter):
    """Keeps everything."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.weights: list[np.ndarray] = []
        self.largest = 0.0

    def prepare(self, candidates: Iterable[Candidates]) -> None:
        """Look for the largest weight."""
        self.largest = max((float(np.abs(batch.all_exact()).max(initial=0)) for batch in candidates), default=0.0)
        if not self.largest > 0:
            raise WeightError("there are no candidates with a weight")

    def unweight(self, candidates: Candidates, rng: np.random.Generator) -> Unweighted:
        """Keep all candidates."""
        print("*** mlgen-broken keeps everything ***")
        weight = candidates.all_exact()
        self.weights.append(weight)
        return Unweighted(np.arange(len(weight)), weight)

    def report(self) -> UnweightingReport:
        """Count."""
        weight = np.concatenate([np.zeros(0), *self.weights])
        squares = float(np.square(weight).sum())
        return UnweightingReport(
            candidates=len(weight),
            accepted=len(weight),
            efficiency=1.0,
            maximum_weight=self.largest,
            overweight_events=0,
            overweight_share=0.0,
            largest_overweight=1.0,
            negative_fraction=float(np.mean(weight < 0)) if len(weight) else 0.0,
            effective_sample_size=float(weight.sum()) ** 2 / squares if squares else 0.0,
        )

    def state(self) -> State:
        """Return what was learned: the largest weight."""
        return {"largest": np.array([self.largest])}

    @classmethod
    def from_state(cls, settings: Settings, state: State) -> Self:
        """Make the unweighting that `state` came from."""
        made = cls(settings)
        made.largest = float(state["largest"][0])
        return made
