"""Gates: limits above which a validation fails, for use in CI."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from mlgen.errors import UserError, nearest
from mlgen.validation.record import Comparison, ValidationResult, Verdict
from mlgen.validation.verdicts import sigma

#: What a gate can be put on, and what it is.
GATES = {
    "sigma": "significance of the smallest p-value after the number of tests, in standard deviations",
    "auc": "largest AUC of the classifiers",
    "chi2": "largest chi^2/ndf of an observable",
    "wasserstein": "largest Wasserstein distance of an observable over the mean of its null floor",
    "fpd": "Frechet physics distance",
    "kpd": "kernel physics distance",
    "separation": "largest separation power S^2 of a feature of showers",
}


@dataclass(frozen=True, slots=True)
class Gate:
    """A limit: the comparison fails when the measure is above it."""

    measure: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Gate:
        """Read ``MEASURE=NUMBER``, or a number alone: standard deviations.

        Raises:
            UserError: It is neither.
        """
        name, equals, value = text.partition("=")
        if not equals:
            name, value = "sigma", text
        name = name.strip().lower()
        if name not in GATES:
            raise UserError(
                f"--fail-above {text}: no measure '{name}'{nearest(name, GATES)}; there are: {', '.join(GATES)}"
            )
        try:
            limit = float(value)
        except ValueError:
            limit = math.nan
        if limit < 0:
            raise UserError(f"--fail-above {text}: a limit below 0 would always fail; give one of 0 or more")
        if not math.isfinite(limit):
            raise UserError(f"--fail-above {text}: a number is expected, or MEASURE=NUMBER, for instance auc=0.51")
        if not equals and 0.5 < limit < 1:
            raise UserError(f"--fail-above {text}: a number alone counts standard deviations; did you mean auc={text}?")
        return cls(name, limit)


def gate_values(comparison: Comparison) -> dict[str, float]:
    """The largest value of each measure that a gate can be put on; NaN where it was not measured."""
    tests = [result.test for result in comparison.observables if result.test is not None and result.test.ndf]
    ratios = [
        result.wasserstein / result.wasserstein_floor
        for result in comparison.observables
        if result.wasserstein_floor > 0 and math.isfinite(result.wasserstein)
    ]
    distances = {measure.name.lower(): measure.value for measure in comparison.distances}
    measures = comparison.classifier.measures if comparison.classifier is not None else ()
    return {
        # Beyond all significance where one of the samples lacks an observable altogether.
        "sigma": math.inf
        if any(r.verdict is Verdict.MISSING for r in comparison.observables)
        else sigma(comparison.p_value),
        "auc": max((m.value for m in measures), default=math.nan),
        "chi2": max((test.chi2 / test.ndf for test in tests), default=math.nan),
        "wasserstein": max(ratios, default=math.nan),
        "fpd": distances.get("fpd", math.nan),
        "kpd": distances.get("kpd", math.nan),
        "separation": max((s.value for s in comparison.showers.separations), default=math.nan)
        if comparison.showers is not None
        else math.nan,
    }


def gated(result: ValidationResult, gates: Sequence[Gate]) -> tuple[ValidationResult, tuple[str, ...]]:
    """Hold every comparison against the gates.

    A measure that could not be taken does not pass: a gate must not open because there was nothing to see.

    Returns:
        The result with the gates of each comparison filled in, and a sentence for each failure.
    """
    comparisons, failures = [], []
    for comparison in result.comparisons:
        values = gate_values(comparison)
        taken = tuple((gate.measure, values[gate.measure], gate.limit) for gate in gates)
        comparisons.append(dataclasses.replace(comparison, gates=taken))
        for measure, value, limit in taken:
            if math.isnan(value):
                failures.append(
                    f"{comparison.sample.name}: {measure} was not measured, so the limit {limit:g} does not hold"
                )
            elif value > limit:
                failures.append(f"{comparison.sample.name}: {measure} is {value:.4g}, above the limit {limit:g}")
    return dataclasses.replace(result, comparisons=tuple(comparisons)), tuple(failures)
