"""Tests for plugins of the stage ``unweighting``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, TypeVar

import numpy as np
import pytest

from mlgen.errors import WeightError
from mlgen.stages import (
    Candidates,
    Exactness,
    FloatArray,
    IntArray,
    ProgressCallback,
    Unweighted,
    Unweighter,
    UnweightingReport,
    no_progress,
)
from mlgen.testing.base import ContractTests
from mlgen.testing.rules import (
    Arrays,
    require,
    require_agreement,
    require_array,
    require_different,
    require_refusal,
    unchanged,
)

UnweighterT = TypeVar("UnweighterT", bound=Unweighter)
Observable = Callable[[FloatArray], FloatArray]

#: Functions of a variable between 0 and 1 that the candidates' weights depend on.
OBSERVABLES: dict[str, Observable] = {
    "x": lambda x: x,
    "x^2": lambda x: x**2,
    "x > 0.9": lambda x: (x > 0.9).astype(np.float64),
    "cos(7 x)": lambda x: np.cos(7 * x),
}


class UnweighterTests(ContractTests[UnweighterT]):
    """Tests for an `mlgen.stages.Unweighter`.

    The candidates have a variable x, uniform in 0 to 1, and weights that are spread over two orders of magnitude, grow
    with x, are negative for a share of the events that depends on x, and are zero for one in ten. In most tests these
    are the true weights; in some they come from a surrogate, and the true ones have to be asked for.

    Attributes:
        exactness: As registered; only an exact plugin has to be unbiased.
        candidates: Number of candidates.
        repetitions: Number of independent unweightings of the same candidates. Their spread gives the standard error,
            so that the test of unbiasedness knows nothing of the method. Five standard errors of 25 repetitions
            are exceeded by chance once in 25,000 times (Student's t with 24 degrees of freedom); the seed is fixed.
    """

    exactness: ClassVar[Exactness] = Exactness.EXACT
    candidates: ClassVar[int] = 20_000
    repetitions: ClassVar[int] = 25

    def sample(self) -> tuple[FloatArray, FloatArray]:
        """Return the variable x and the weight of each candidate, each ``(candidates,)``; weights in pb."""
        rng = self.rng(10)
        x = rng.random(self.candidates)
        weight = rng.lognormal(x, 0.6)
        weight[rng.random(self.candidates) < 0.1 + 0.2 * x] *= -1
        weight[rng.random(self.candidates) < 0.1] = 0.0
        return x, weight

    def learn(
        self, implementation: UnweighterT, rng: np.random.Generator, progress: ProgressCallback = no_progress
    ) -> None:
        """Prepare with all candidates, in batches of different sizes."""
        weight = self.sample()[1]
        implementation.prepare(Candidates(part) for part in np.split(weight, [1, 1, len(weight) // 3]))

    def use(self, implementation: UnweighterT, rng: np.random.Generator) -> Arrays:
        """Unweight all candidates."""
        kept = implementation.unweight(Candidates(self.sample()[1]), rng)
        return {"index": kept.index, "weight": kept.weight}

    def test_other_seed_gives_another_result(self) -> None:
        """Unless nothing is random, which is when every candidate with a weight is kept."""
        weight = self.sample()[1]
        first, second = self.use(self.ready(), self.rng(1)), self.use(self.ready(), self.rng(2))
        if len(first["index"]) < np.count_nonzero(weight):
            require_different(first, second, "another seed has to accept other candidates")

    def test_result_has_the_right_shape(self) -> None:
        """Indices ascend and are candidates; weights are finite doubles, one for each."""
        weight = self.sample()[1]
        kept = self.ready().unweight(Candidates(weight), self.rng(1))
        _check_shape(kept, len(weight))
        require(len(kept.index) > 0, "none of the candidates was accepted")

    def test_no_and_one_candidate(self) -> None:
        """Batches of no and of one candidate work."""
        ready = self.ready()
        for weights in (np.empty(0), np.array([1.0]), np.array([0.0])):
            _check_shape(ready.unweight(Candidates(weights), self.rng(1)), len(weights))

    def test_inputs_are_not_changed(self) -> None:
        """Neither pass writes into the weights."""
        weight = self.sample()[1]
        implementation = self.make()
        with unchanged({"weight": weight}, "the weights that are handed over must not be changed"):
            implementation.prepare([Candidates(weight)])
            implementation.unweight(Candidates(weight), self.rng(1))

    def test_signs_are_kept(self) -> None:
        """An accepted candidate has the sign that it had."""
        weight = self.sample()[1]
        kept = self.ready().unweight(Candidates(weight), self.rng(1))
        same = np.sign(kept.weight) == np.sign(weight[kept.index])
        require(np.all(same), "an accepted event must keep the sign of its weight")

    def test_weight_zero_is_never_accepted(self) -> None:
        """A candidate of weight zero is no event."""
        weight = self.sample()[1]
        kept = self.ready().unweight(Candidates(weight), self.rng(1))
        require(np.all(weight[kept.index] != 0), "a candidate of weight 0 must never be accepted")

    def test_cross_section_is_kept(self) -> None:
        """The average weight of accepted events estimates that of the candidates, also with a surrogate's weights."""
        self._skip_unless_exact()
        weight = self.sample()[1]
        for candidates, which in (
            (Candidates(weight), ""),
            (self._surrogate_candidates(), "; weights of a surrogate"),
        ):
            implementation = self.make()
            implementation.prepare([candidates])
            means = [
                np.mean(implementation.unweight(candidates, self.rng(100 + i)).weight) for i in range(self.repetitions)
            ]
            rule = "the mean weight of accepted events has to be that of the candidates, the cross section"
            require_agreement(np.array(means), float(np.mean(weight)), rule + which)

    def test_unbiased(self) -> None:
        """Weighted averages over accepted events estimate those over candidates."""
        self._skip_unless_exact()
        _, weight = self.sample()
        rule = "weighted averages over accepted events have to be those over candidates"
        self._check_averages(Candidates(weight), Candidates(weight), rule)

    def test_unbiased_with_overweights(self) -> None:
        """Also where weights exceed all that were seen in the first pass: their excess must be kept."""
        self._skip_unless_exact()
        _, weight = self.sample()
        seen = weight[np.abs(weight) < np.quantile(np.abs(weight), 0.8)]
        rule = "with weights above those of the first pass, averages must still be right (is the excess kept?)"
        self._check_averages(Candidates(seen), Candidates(weight), rule)

    def test_unbiased_with_surrogate_weights(self) -> None:
        """Also where the weights are a surrogate's: the true ones, of the candidates that need it, must decide."""
        self._skip_unless_exact()
        candidates = self._surrogate_candidates()
        rule = "with a surrogate's weights, averages must be those with the true ones (is exact_weight used?)"
        self._check_averages(candidates, candidates, rule)

    def _surrogate_candidates(self) -> Candidates:
        """The sample with a surrogate's weights, and the true ones to be asked for."""
        x, weight = self.sample()
        # Off by up to a factor of two, in a way that depends on x, as a network is.
        surrogate = weight * self.rng(11).uniform(0.5, 1.0, len(weight)) * (1 + x)

        def exact_weight(index: IntArray) -> FloatArray:
            require_array(index, np.shape(index), "iu", "the index that exact_weight was called with")
            return weight[index]

        return Candidates(surrogate, exact_weight)

    def _skip_unless_exact(self) -> None:
        if self.exactness is not Exactness.EXACT:
            pytest.skip("the plugin does not claim to be exact")

    def _check_averages(self, seen: Candidates, candidates: Candidates, rule: str) -> None:
        """Prepare with `seen`, unweight the `candidates`, and compare with averages over the sample."""
        x, weight = self.sample()
        implementation = self.make()
        implementation.prepare([seen])
        found: dict[str, list[float]] = {name: [] for name in OBSERVABLES}
        for repetition in range(self.repetitions):
            kept = implementation.unweight(candidates, self.rng(200 + repetition))
            for name, observable in OBSERVABLES.items():
                values = observable(x[kept.index])
                found[name].append(float(np.sum(kept.weight * values) / np.sum(kept.weight)))
        for name, observable in OBSERVABLES.items():
            expected = float(np.sum(weight * observable(x)) / np.sum(weight))
            require_agreement(np.array(found[name]), expected, f"{rule}; observable {name}")

    def test_report_agrees_with_the_result(self) -> None:
        """The report counts what was looked at and accepted, over all batches."""
        weight = self.sample()[1]
        implementation = self.make()
        self.learn(implementation, self.rng())
        kept = [implementation.unweight(Candidates(part), self.rng(1)) for part in np.array_split(weight, 3)]
        new = np.concatenate([part.weight for part in kept])
        report = implementation.report()
        expected = {
            "candidates": len(weight),
            "accepted": len(new),
            "efficiency": len(new) / len(weight),
            "negative_fraction": np.mean(new < 0),
            "effective_sample_size": np.sum(new) ** 2 / np.sum(new**2),
        }
        for name, value in expected.items():
            told = getattr(report, name)
            require(np.isclose(told, value, rtol=1e-9), f"report: {name} is {told}; {value} is what was accepted")
        _check_report(report)

    def test_report_before_anything_is_unweighted(self) -> None:
        """The report of nothing is all zero, not an error."""
        implementation = self.make()
        self.learn(implementation, self.rng())
        report = implementation.report()
        require(report.candidates == 0 == report.accepted, "report: nothing was unweighted yet, but it counts events")
        _check_report(report)

    def test_unusable_weights_are_refused(self) -> None:
        """No candidates, none with a weight, and weights that are no numbers are a WeightError."""
        for weights, what in (
            ([], "prepare() without candidates"),
            ([np.empty(0)], "prepare() with an empty batch alone"),
            ([np.zeros(5)], "prepare() with all weights zero"),
            ([np.array([1.0, np.nan])], "prepare() with NaN"),
            ([np.array([1.0]), np.array([np.inf])], "prepare() with infinity"),
        ):
            candidates = [Candidates(batch) for batch in weights]
            require_refusal(partial(self.make().prepare, candidates), what, [WeightError])
        for bad in (np.nan, np.inf, -np.inf):
            weights_with_bad = Candidates(np.array([1.0, bad]))
            require_refusal(
                partial(self.ready().unweight, weights_with_bad, self.rng()),
                f"unweight() with a weight {bad}",
                [WeightError],
            )

    def test_wrong_shape_is_refused(self) -> None:
        """Weights of shape (n, 2) are an error."""
        wrong = Candidates(np.ones((4, 2)))
        require_refusal(lambda: self.make().prepare([wrong]), "prepare() with weights of shape (4, 2)")
        require_refusal(lambda: self.ready().unweight(wrong, self.rng()), "unweight() with weights of shape (4, 2)")

    def test_unweighting_before_prepare_is_refused(self) -> None:
        """Without a first pass there is no maximum."""
        require_refusal(lambda: self.make().unweight(Candidates(np.ones(3)), self.rng()), "unweight() before prepare()")


def _check_shape(kept: Unweighted, n: int) -> None:
    accepted = len(kept.index)
    require_array(kept.index, (accepted,), "iu", "index")
    require_array(kept.weight, (accepted,), "f", "weight")
    require(np.all(np.diff(kept.index) > 0), "index must ascend, each candidate at most once")
    require(np.all((kept.index >= 0) & (kept.index < n)), "index must point at candidates of the batch")


def _check_report(report: UnweightingReport) -> None:
    for name in ("efficiency", "overweight_share", "negative_fraction"):
        require(0 <= getattr(report, name) <= 1, f"report: {name} is {getattr(report, name)}, not between 0 and 1")
    require(0 <= report.overweight_events <= report.accepted, "report: more overweights than accepted events")
    require(report.maximum_weight > 0, f"report: maximum_weight is {report.maximum_weight}; it must be positive")
