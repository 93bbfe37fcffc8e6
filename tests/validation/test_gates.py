import dataclasses
import math

import pytest

from mlgen.errors import UserError
from mlgen.validation.gates import Gate, gate_values, gated
from mlgen.validation.record import Comparison, Measure, SampleRecord, ValidationResult

SAMPLE = SampleRecord("new", ("new.lhe",), "lhe", 10, 10, 10.0, 0.0, 1.0, 0.1, "", "")


def comparison(p_value=1e-5, distances=()):
    return Comparison(SAMPLE, (), math.nan, None, None, tuple(distances), (), p_value, False, "words")


@pytest.mark.parametrize(
    ("text", "gate"), [("3", Gate("sigma", 3.0)), ("auc=0.51", Gate("auc", 0.51)), ("Chi2 = 2", Gate("chi2", 2.0))]
)
def test_what_can_be_asked_for(text, gate):
    assert Gate.parse(text) == gate


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acu=0.5", "did you mean 'auc'"),
        ("auc=low", "a number is expected"),
        ("", "a number is expected"),
        ("nan", "a number is expected"),
        ("0.51", "did you mean auc=0.51"),
        ("fpd=-5", "would always fail"),
    ],
)
def test_what_is_no_gate_says_what_is_expected(text, message):
    with pytest.raises(UserError, match=message):
        Gate.parse(text)


def test_sigma_is_the_two_sided_significance():
    """A p-value of 2.7e-3 is 3 sigma."""
    assert gate_values(comparison(p_value=2.6998e-3))["sigma"] == pytest.approx(3, abs=1e-4)
    assert 8 < gate_values(comparison(p_value=0.0))["sigma"] < math.inf


def test_a_measure_above_its_limit_fails_and_one_below_holds():
    fpd = Measure("FPD", 0.3, 0.01, 0.1, 0.01, math.nan, 100)
    result = ValidationResult(SAMPLE, (comparison(distances=[fpd]),), 1, "0")
    for limit, failures in ((0.2, 1), (0.4, 0), (0.3, 0)):
        checked, failed = gated(result, [Gate("fpd", limit)])
        assert len(failed) == failures
        assert checked.comparisons[0].gates == (("fpd", 0.3, limit),)


def test_what_was_not_measured_does_not_pass():
    result = ValidationResult(dataclasses.replace(SAMPLE), (comparison(),), 1, "0")
    _, failed = gated(result, [Gate("auc", 0.6)])
    assert "was not measured" in failed[0]
