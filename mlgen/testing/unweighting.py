"""Tests for plugins of the stage ``unweighting``."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from functools import partial

import numpy as np

from mlgen.errors import WeightError
from mlgen.stages import (
    Candidates,
    Capability,
    FloatArray,
    IntArray,
    Unweighted,
    Unweighter,
    UnweightingReport,
)
from mlgen.testing.exactness import checked_normalisation, kept_in_bins, require_known_answer
from mlgen.testing.known_surrogates import SURROGATES, Asked, Sample, batches
from mlgen.testing.rules import (
    require,
    require_agreement,
    require_array,
    require_different,
    require_refusal,
    unchanged,
)
from mlgen.testing.statement import cannot_be_checked, cases, checked_early, not_applicable, states_rules
from mlgen.testing.unweighting_candidates import (
    DECADES,
    UnweighterCandidates,
    UnweighterT,
    light_candidates,
    with_surrogate,
)

Observable = Callable[[FloatArray], FloatArray]

#: Functions of a variable between 0 and 1 that the candidates' weights depend on.
OBSERVABLES: dict[str, Observable] = {
    "x": lambda x: x,
    "x^2": lambda x: x**2,
    "x > 0.9": lambda x: (x > 0.9).astype(np.float64),
    "cos(7 x)": lambda x: np.cos(7 * x),
}


#: What to look for where the sample is wrong with one of the `SURROGATES`.
HINTS: dict[str, str] = {
    "none": "is the excess of overweights kept?",
    "good": "does exact_weight decide, and is the excess of overweights kept at every stage?",
    "bad": "does exact_weight decide, and is the excess of overweights kept at every stage?",
    "wrong": "can candidates pass whose surrogate is zero, negative or far too small, and is the excess of overweights "
    "kept at every stage?",
}


@states_rules
class UnweighterTests(UnweighterCandidates[UnweighterT]):
    """Tests for an `mlgen.stages.Unweighter`.

    In most tests all true weights are known; in some the weights come from a surrogate, and the true ones have to be
    asked for. A plugin that learns is trained first (`UnweighterCandidates.fresh`).

    That an exact plugin is exact is tested with a process that has a known answer (`mlgen.testing.known_process`): the
    cross section and ten distributions have to be the known ones, whatever a surrogate says (`SURROGATES`).
    """

    def test_progress_is_told(self) -> None:
        """Where the plugin learns: the progress callback is called during the training, counts up, and ends at the
        total.
        """
        self._skip_unless_it_learns()
        super().test_progress_is_told()

    def test_training_report_can_be_kept(self) -> None:
        """Where the plugin learns: the training returns a TrainingReport of numbers and text, with curves that are
        finite.
        """
        self._skip_unless_it_learns()
        super().test_training_report_can_be_kept()

    def test_prepare_before_training_is_refused(self) -> None:
        """Where the plugin learns, `prepare` before the training is an error in words."""
        self._skip_unless_it_learns()
        candidates = [self.surrogate_candidates()]
        require_refusal(lambda: self.make().prepare(candidates), "prepare() before train()")

    def _skip_unless_it_learns(self) -> None:
        if not self.make().learns:
            not_applicable("the plugin learns nothing")

    def test_other_seed_gives_another_result(self) -> None:
        """Another seed accepts other candidates, unless every candidate with a weight is kept."""
        weight = self.sample()[1]
        first, second = self.use(self.ready(), self.rng(1)), self.use(self.ready(), self.rng(2))
        if len(first["index"]) < np.count_nonzero(weight):
            require_different(first, second, "another seed has to accept other candidates")

    @checked_early
    def test_result_has_the_right_shape(self) -> None:
        """`unweight` gives indices of candidates, ascending, with a finite weight for each, as doubles."""
        weight = self.sample()[1]
        kept = self.ready().unweight(Candidates(weight), self.rng(1))
        _check_shape(kept, len(weight))
        require(len(kept.index) > 0, "none of the candidates was accepted")

    def test_no_and_one_candidate(self) -> None:
        """Batches of no and of one candidate can be unweighted."""
        ready = self.ready()
        for weights in (np.empty(0), np.array([1.0]), np.array([0.0])):
            _check_shape(ready.unweight(Candidates(weights), self.rng(1)), len(weights))

    def test_inputs_are_not_changed(self) -> None:
        """Training, `prepare` and `unweight` leave the arrays of the candidates as they are."""
        true, surrogate = Candidates(self.sample()[1]), self.surrogate_candidates()
        for candidates in (true, surrogate):
            given = {
                "weight": candidates.weight,
                "features": candidates.features,
                "true weight": candidates.all_exact(),
            }
            arrays = {name: array for name, array in given.items() if array is not None}
            implementation = self.fresh()
            with unchanged(arrays, "what is handed over must not be changed"):
                implementation.prepare([candidates])
                implementation.unweight(candidates, self.rng(1))
        implementation = self.make()
        if implementation.learns:
            first = next(self.training(self.rng(15)))
            arrays = {"weight": first.weight, "features": np.asarray(first.features), "true weight": first.all_exact()}
            with unchanged(arrays, "the candidates of the training must not be changed"):
                implementation.train(itertools.chain([first], self.training(self.rng(18))), self.rng(12))

    def test_signs_are_kept(self) -> None:
        """An accepted event has the sign of the candidate's weight."""
        weight = self.sample()[1]
        kept = self.ready().unweight(Candidates(weight), self.rng(1))
        same = np.sign(kept.weight) == np.sign(weight[kept.index])
        require(np.all(same), "an accepted event must keep the sign of its weight")

    def test_weight_zero_is_never_accepted(self) -> None:
        """A candidate of weight zero is never accepted."""
        weight = self.sample()[1]
        kept = self.ready().unweight(Candidates(weight), self.rng(1))
        require(np.all(weight[kept.index] != 0), "a candidate of weight 0 must never be accepted")

    def test_cross_section_is_kept(self) -> None:
        """Of an exact plugin, the mean weight of accepted events is that of the candidates, the cross section; also
        with a surrogate's weights.
        """
        self.only_if_exact()
        x, weight = self.sample()
        rule = "the mean weight of accepted events has to be that of the candidates, the cross section"
        for which in ("", "; weights of a surrogate"):
            means = []
            for repetition in range(self.repetitions):
                # In another order, so that another part of the candidates comes first.
                order = self.rng(300 + repetition).permutation(len(weight))
                candidates = with_surrogate(x, weight, self.rng(11), order) if which else Candidates(weight[order])
                implementation = self.fresh()
                implementation.prepare([candidates])
                kept = implementation.unweight(candidates, self.rng(100 + repetition))
                means.append(np.mean(kept.weight) * checked_normalisation(implementation))
            require_agreement(np.array(means), float(np.mean(weight)), rule + which)

    @cases("surrogate", SURROGATES)
    def test_exact(self, surrogate: str) -> None:
        """Of an exact plugin, and of one that corrects surrogates, the cross section and ten distributions of a process
        are the known ones, whatever the surrogate says.
        """
        self._only_if_exact_with_surrogates()
        contents = kept_in_bins(self.trained_for(surrogate), surrogate, self.seed)
        rule = f"surrogate '{surrogate}': the kept events are not distributed as the candidates ({HINTS[surrogate]})"
        require_known_answer(contents, rule)

    @cases("surrogate", SURROGATES)
    def test_exact_with_overweights(self, surrogate: str) -> None:
        """Of an exact plugin, and of one that corrects surrogates, ten distributions are the known ones also where the
        first pass did not see the heaviest candidates.
        """
        self._only_if_exact_with_surrogates()
        contents = kept_in_bins(self.trained_for(surrogate), surrogate, self.seed, with_overweights=True)
        rule = (
            f"surrogate '{surrogate}', prepared without the heaviest candidates: the kept events are not distributed "
            f"as the candidates ({HINTS[surrogate]})"
        )
        require_known_answer(contents, rule, shapes_only=True)

    def test_unbiased(self) -> None:
        """Of an exact plugin, weighted averages over accepted events are those over the candidates."""
        self.only_if_exact()
        _, weight = self.sample()
        rule = "weighted averages over accepted events have to be those over candidates"
        self._check_averages(Candidates(weight), Candidates(weight), rule)

    def test_unbiased_with_overweights(self) -> None:
        """Of an exact plugin, averages are right also where weights exceed all that `prepare` has seen: an overweight
        keeps its excess.
        """
        self.only_if_exact()
        _, weight = self.sample()
        seen = weight[np.abs(weight) < np.quantile(np.abs(weight), 0.8)]
        rule = "with weights above those of the first pass, averages must still be right (is the excess kept?)"
        self._check_averages(Candidates(seen), Candidates(weight), rule)

    def test_light_candidates_are_kept(self) -> None:
        """Of an exact plugin, light candidates are accepted too, as often as their weights say: the share of the cross
        section in each decade of the weights, down to 1e-4 of the largest, is that of the candidates.
        """
        self.only_if_exact()
        weight = light_candidates(self.rng(19))
        implementation = self.fresh()
        implementation.prepare([Candidates(weight)])
        decade = np.floor(-np.log10(weight / weight.max())).astype(np.int64).clip(0, len(DECADES) - 1)
        shares = np.empty((self.repetitions, len(DECADES)))
        for repetition in range(self.repetitions):
            kept = implementation.unweight(Candidates(weight), self.rng(400 + repetition))
            content = np.bincount(decade[kept.index], kept.weight, minlength=len(DECADES))
            shares[repetition] = content / content.sum()
        expected = np.bincount(decade, weight, minlength=len(DECADES)) / weight.sum()
        for number, share in reversed(list(enumerate(expected))):
            rule = (
                f"weights from {0.1 ** (number + 1):.0e} to {0.1**number:.0e} of the largest: their share of the cross "
                "section has to be that of the candidates (is the probability positive, and does each new weight make "
                "up for it?)"
            )
            require_agreement(shares[:, number], float(share), rule)

    def test_unbiased_with_surrogate_weights(self) -> None:
        """Of an exact plugin, and of one that corrects surrogates, averages are those with the true weights also where
        the candidates' weights are a surrogate's.
        """
        self._only_if_exact_with_surrogates()
        candidates = self.surrogate_candidates()
        rule = "with a surrogate's weights, averages must be those with the true ones (is exact_weight used?)"
        self._check_averages(candidates, candidates, rule)

    def _only_if_exact_with_surrogates(self) -> None:
        if not (self.says_exact or self.claims(Capability.CORRECTS_SURROGATES)):
            not_applicable("the plugin claims neither to be exact nor to correct surrogates")

    def _check_averages(self, seen: Candidates, candidates: Candidates, rule: str) -> None:
        """Prepare with `seen`, unweight the `candidates`, and compare with averages over the sample."""
        x, weight = self.sample()
        implementation = self.fresh()
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
        implementation = self.fresh()
        implementation.prepare([Candidates(weight)])
        kept = [implementation.unweight(Candidates(part), self.rng(1)) for part in np.array_split(weight, 3)]
        new = np.concatenate([part.weight for part in kept]) * checked_normalisation(implementation)
        report = implementation.report()
        expected: dict[str, float] = {
            "candidates": len(weight),
            "accepted": len(new),
            "efficiency": len(new) / len(weight),
            "negative_fraction": float(np.mean(new < 0)),
            "effective_sample_size": float(np.sum(new) ** 2 / np.sum(new**2)),
        }
        for name, value in expected.items():
            told = getattr(report, name)
            require(np.isclose(told, value, rtol=1e-9), f"report: {name} is {told}; {value} is what was accepted")
        _check_report(report)

    def test_report_tells_of_overweights(self) -> None:
        """Where weights exceed all that the first pass saw, the report tells of the overweights as they are: the kept
        events above ``maximum_weight``, the share of the cross section in their excess, and the largest ratio.
        """
        weight = np.abs(self.sample()[1])
        implementation = self.fresh()
        implementation.prepare([Candidates(weight[weight < np.quantile(weight, 0.8)])])
        kept = implementation.unweight(Candidates(weight), self.rng(1))
        report = implementation.report()
        maximum, size = report.maximum_weight, np.abs(kept.weight)
        ratio = weight[kept.index] / maximum
        fewest, most = np.count_nonzero(ratio > 1 + 1e-9), np.count_nonzero(ratio > 1 - 1e-9)
        said = f"with a maximum_weight of {maximum:.6g}"
        require(
            fewest <= report.overweight_events <= most,
            f"report: overweight_events is {report.overweight_events}; {said}, {fewest} kept events are above it",
        )
        excess = size * np.maximum(0.0, 1 - 1 / np.maximum(ratio, 1e-300))
        share = float(np.sum(excess) / np.sum(size))
        # The excess of all candidates may be told of instead of that of the kept ones.
        require(
            abs(report.overweight_share - share) <= 0.2 * share + 1e-9,
            f"report: overweight_share is {report.overweight_share:.4g}; {said}, {share:.4g} of the kept weight is in "
            "the excess of overweights",
        )
        # Who has no overweight may tell of any ratio that is not above one.
        largest = max(1.0, float(np.max(ratio, initial=0.0)))
        require(
            np.isclose(max(1.0, report.largest_overweight), largest, rtol=1e-6),
            f"report: largest_overweight is {report.largest_overweight:.6g}; {said}, the largest ratio is "
            f"{largest:.6g}",
        )

    def test_surrogates_are_corrected_where_it_says_so(self) -> None:
        """A plugin with the capability CORRECTS_SURROGATES asks for the true weights of what a surrogate's weights let
        pass, and of no other; one without it asks for all, or for none.
        """
        n = 5000
        (candidates,) = batches(Sample.draw(n, self.rng(17)), "good", [np.arange(n)])
        implementation = self.trained_for("good")()
        implementation.prepare([candidates])
        weight = Asked(candidates.all_exact())
        implementation.unweight(dataclasses.replace(candidates, exact_weight=weight), self.rng(1))
        # Who asks for none of those that are known to vanish still asks for all.
        all_of_them = n if candidates.vanishes is None else n - int(np.count_nonzero(candidates.vanishes))
        asked = f"unweight() asked for the true weights of {weight.asked:,} of {n:,} candidates"
        if self.claims(Capability.CORRECTS_SURROGATES):
            claim = "the plugin claims to correct surrogates (Capability.CORRECTS_SURROGATES)"
            way_out = self.if_switched_off(Capability.CORRECTS_SURROGATES)
            require(weight.asked > 0, f"{claim}, but {asked}: nothing corrects a surrogate that is wrong {way_out}")
            require(weight.asked < all_of_them, f"{claim}, but {asked}: the surrogate saves nothing {way_out}")
        else:
            require(
                weight.asked == 0 or weight.asked >= all_of_them,
                f"{asked}; a plugin that asks for those of what a surrogate lets pass says so where it registers: "
                "capabilities=frozenset({Capability.CORRECTS_SURROGATES})",
            )

    def test_true_evaluations_are_counted(self) -> None:
        """Where the report counts true weights, it counts all that were asked for, in both passes."""
        n = 5000
        candidates = batches(Sample.draw(n, self.rng(14)), "bad", np.array_split(np.arange(n), 3))
        implementation = self.trained_for("bad")()
        implementation.prepare(candidates)
        for batch in candidates:
            implementation.unweight(batch, self.rng(1))
        told = implementation.report().true_evaluations
        weights = [batch.exact_weight for batch in candidates]
        asked = sum(weight.asked for weight in weights if isinstance(weight, Asked))
        if told is not None:
            rule = "a candidate that both passes ask for counts twice"
            require(told == asked, f"report: true_evaluations is {told}; exact_weight was asked for {asked} ({rule})")

    def test_normalisation_is_one_where_all_true_weights_are_known(self) -> None:
        """`normalisation` is one where all true weights are known, and a positive number otherwise."""
        true, surrogate = Candidates(self.sample()[1]), self.surrogate_candidates()
        for candidates in (true, surrogate):
            implementation = self.fresh()
            _both_passes(implementation, candidates, self.rng(1))
            factor = checked_normalisation(implementation)
            if candidates is true:
                require(
                    abs(factor - 1) < 1e-12, f"normalisation() is {factor}; it is 1 where all true weights are known"
                )

    def test_report_before_anything_is_unweighted(self) -> None:
        """The report before anything was unweighted counts nothing, and is no error."""
        implementation = self.fresh()
        implementation.prepare([Candidates(self.sample()[1])])
        report = implementation.report()
        require(report.candidates == 0 == report.accepted, "report: nothing was unweighted yet, but it counts events")
        _check_report(report)

    def test_unusable_weights_are_refused(self) -> None:
        """No candidates, none with a weight, and weights that are no numbers are refused with a WeightError."""
        for weights, what in (
            ([], "prepare() without candidates"),
            ([np.empty(0)], "prepare() with an empty batch alone"),
            ([np.zeros(5)], "prepare() with all weights zero"),
            ([np.array([1.0, np.nan])], "prepare() with NaN"),
            ([np.array([1.0]), np.array([np.inf])], "prepare() with infinity"),
        ):
            candidates = [Candidates(batch) for batch in weights]
            require_refusal(partial(self.fresh().prepare, candidates), what, [WeightError])
        for bad in (np.nan, np.inf, -np.inf):
            weights_with_bad = Candidates(np.array([1.0, bad]))
            require_refusal(
                partial(self.ready().unweight, weights_with_bad, self.rng()),
                f"unweight() with a weight {bad}",
                [WeightError],
            )

    def test_unusable_true_weights_are_refused(self) -> None:
        """True weights that are no numbers are refused with a WeightError, in the pass that asks for them."""
        surrogate = self.surrogate_candidates()
        for bad in (np.nan, np.inf):

            def exact_weight(index: IntArray, bad: float = bad) -> FloatArray:
                return np.full(len(index), bad)

            broken = dataclasses.replace(surrogate, exact_weight=exact_weight)
            what = f"exact_weight that returns {bad}, in prepare() or at the latest in unweight()"
            require_refusal(partial(_both_passes, self.fresh(), broken, self.rng()), what, [WeightError])

    def test_surrogate_weights_that_are_no_numbers(self) -> None:
        """A surrogate's weights that are no numbers are refused with a WeightError, or do not matter."""
        surrogate = self.surrogate_candidates()
        implementation = self.fresh()
        if wrong := self._wrong_with(implementation, surrogate):
            cannot_be_checked(f"with a surrogate's weights that are numbers, {wrong}")
        for bad in (np.nan, np.inf, -np.inf):
            said = surrogate.weight.copy()
            said[::7] = bad
            implementation = self.fresh()
            try:
                wrong = self._wrong_with(implementation, dataclasses.replace(surrogate, weight=said))
            except WeightError as error:
                require(str(error).strip(), f"a surrogate's weight {bad}: WeightError was raised without a message")
                continue
            require(
                not wrong, f"with a surrogate's weights {bad}, a WeightError or the right result is expected; {wrong}"
            )

    def _wrong_with(self, implementation: UnweighterT, candidates: Candidates) -> str:
        """Unweight the sample with weights of a surrogate, and say what is wrong with the result; empty if nothing."""
        weight = self.sample()[1]
        kept = _both_passes(implementation, candidates, self.rng())
        _check_shape(kept, len(weight))
        if not np.all(kept.weight * weight[kept.index] > 0):
            return "signs are wrong, or candidates of weight 0 are accepted"
        mean = float(np.mean(kept.weight)) * checked_normalisation(implementation)
        # Some thousand events are kept, or more: that is five standard deviations or more.
        near = abs(mean / np.mean(weight) - 1) < 0.25
        return "" if near else f"the mean weight is {mean:.4g}, that of the candidates {np.mean(weight):.4g}"

    def test_wrong_shape_is_refused(self) -> None:
        """Weights of shape (n, 2) are an error in words."""
        wrong = Candidates(np.ones((4, 2)))
        require_refusal(lambda: self.fresh().prepare([wrong]), "prepare() with weights of shape (4, 2)")
        require_refusal(lambda: self.ready().unweight(wrong, self.rng()), "unweight() with weights of shape (4, 2)")

    def test_unweighting_before_prepare_is_refused(self) -> None:
        """`unweight` before `prepare` is an error in words."""
        require_refusal(
            lambda: self.fresh().unweight(Candidates(np.ones(3)), self.rng()), "unweight() before prepare()"
        )


def _both_passes(implementation: Unweighter, candidates: Candidates, rng: np.random.Generator) -> Unweighted:
    implementation.prepare([candidates])
    return implementation.unweight(candidates, rng)


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
