import json

import numpy as np
import pytest

from mlgen.validation.as_json import to_dict
from mlgen.validation.learned_weights import calibrated_log_ratio, closure_remark, find_tails, weighted_quantiles
from mlgen.validation.observable import Features, Kind, Observable
from mlgen.validation.record import ClassifierTest, Comparison, SampleRecord, Tail, ValidationResult


def shifted(n, d, seed):
    """Two Gaussians, the reference at zero; ln p_reference / p_sample is d^2 / 2 - d x."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(size=n), rng.normal(d, 1.0, n)])
    return x, np.arange(2 * n) < n, 0.5 * d**2 - d * x


@pytest.mark.physics
@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (3.0, 0.4), (0.2, -1.0)])
def test_calibration_gives_back_the_exact_ratio(slope, offset):
    """Whatever scale the logits had; constants from 10,000 effective events, so to 10 %, over three standard errors."""
    _, is_reference, exact = shifted(10_000, 0.7, 1)
    found = calibrated_log_ratio(slope * exact + offset, is_reference, np.ones(20_000), np.random.default_rng(2))
    assert np.polyfit(exact, found, 1) == pytest.approx([1.0, 0.0], abs=0.1)


@pytest.mark.physics
def test_logits_of_noise_become_weights_of_one():
    """The slope of pure noise is zero within a few per cent (10,000 effective events)."""
    rng = np.random.default_rng(3)
    found = calibrated_log_ratio(rng.normal(size=20_000), np.arange(20_000) < 10_000, np.ones(20_000), rng)
    assert np.abs(np.exp(found) - 1).mean() < 0.05


def test_perfectly_separated_samples_have_finite_weights():
    is_reference = np.arange(1000) < 500
    found = calibrated_log_ratio(
        np.where(is_reference, 30.0, -30.0), is_reference, np.ones(1000), np.random.default_rng(4)
    )
    assert np.isfinite(np.exp(found)).all()
    assert np.isfinite(np.exp(-found)).all()
    assert (np.sign(found) == np.where(is_reference, 1, -1)).all()


def test_calibration_does_not_use_an_event_for_itself():
    """Turning the labels of one half changes the other half's weights, and its own stay as they are."""
    _, is_reference, exact = shifted(500, 1.0, 5)
    weight = np.ones(1000)
    before = calibrated_log_ratio(exact, is_reference, weight, np.random.default_rng(6))
    heavier = weight.copy()
    heavier[10] = 50.0
    after = calibrated_log_ratio(exact, is_reference, heavier, np.random.default_rng(6))
    assert after[10] == before[10]
    assert 300 < np.count_nonzero(after != before) < 700


@pytest.mark.physics
def test_closure_of_exact_weights_and_of_wrong_ones():
    """Exact weights close within three standard errors for this seed; twice their logarithm does not."""
    _, is_reference, exact = shifted(20_000, 0.5, 7)
    weight = np.ones(40_000)
    assert closure_remark(np.exp(exact), is_reference, weight) == ""
    assert "do not close" in closure_remark(np.exp(2 * exact), is_reference, weight)


def tails_of(values, learned, kinds, n):
    observables = tuple(Observable(f"x{k}", f"x{k}", kind=kind, categories=("g", "q")) for k, kind in enumerate(kinds))
    halves = [Features(part, np.ones(len(part)), observables) for part in (values[:n], values[n:])]
    return find_tails(*halves, learned[:n], learned[n:])


@pytest.mark.physics
def test_tails_name_the_observable_that_differs():
    """10,000 events: the 1 % tails of a Gaussian shifted by 0.7 lie beyond its 10 and 90 % quantiles."""
    x, _, exact = shifted(10_000, 0.7, 8)
    rng = np.random.default_rng(9)
    values = np.stack([rng.normal(size=20_000), x, rng.integers(0, 2, 20_000)], axis=1)
    tails, remarks = tails_of(values, np.exp(exact), [Kind.CONTINUOUS, Kind.CONTINUOUS, Kind.CATEGORY], 10_000)
    assert [(tail.side, tail.observable) for tail in tails] == [("low", "x1"), ("high", "x1")]
    low, high = tails
    assert low.lower > low.bulk_upper
    assert high.upper < high.bulk_lower
    assert low.weight < 1 < high.weight
    assert low.share == pytest.approx(0.01, rel=0.02)
    # A tail of 1 % at the end: 0.995, since its own events are among all events.
    assert low.separation == pytest.approx(0.995, abs=1e-3)
    assert any("low tail" in remark and "of the reference" in remark for remark in remarks)


def test_weights_that_say_nothing_have_no_tails():
    rng = np.random.default_rng(10)
    values = rng.normal(size=(10_000, 1))
    tails, remarks = tails_of(values, np.exp(0.1 * rng.normal(size=10_000)), [Kind.CONTINUOUS], 5000)
    assert tails == ()
    assert remarks == (
        "The low tail of the learned weights is compatible with noise.",
        "The high tail of the learned weights is compatible with noise.",
    )


def test_a_tail_at_both_ends_is_characterised():
    """The sample is wider: its low weights are at both ends, where the value's own AUC is one half."""
    rng = np.random.default_rng(11)
    x = np.concatenate([rng.normal(size=10_000), rng.normal(0, 1.5, 10_000)])
    log_ratio = np.log(1.5) - 0.5 * x**2 * (1 - 1 / 2.25)
    tails, _ = tails_of(x[:, None], np.exp(log_ratio), [Kind.CONTINUOUS], 10_000)
    low = next(tail for tail in tails if tail.side == "low")
    assert low.separation > 0.98
    assert low.lower < low.bulk_lower < low.bulk_upper < low.upper


def test_weighted_quantiles_are_those_of_repeated_events():
    rng = np.random.default_rng(12)
    values, times = rng.normal(size=200), rng.integers(0, 5, 200)
    levels = (0.1, 0.5, 0.903)
    expected = np.quantile(np.repeat(values, times), levels, method="inverted_cdf")
    np.testing.assert_array_equal(weighted_quantiles(values, times.astype(float), levels), expected)
    assert np.isnan(weighted_quantiles(np.zeros(0), np.zeros(0), levels)).all()


def test_json_has_weighted_quantiles_and_no_nan():
    """Nine events of weight one and learned weight 1, one of weight 91 and learned weight 3: the median is 3."""
    tail = Tail("low", 0.5, 0.01, "pT(j)", np.nan, np.nan, 20.0, 50.0, 0.9)
    learned, weight = np.array([1.0] * 9 + [3.0]), np.array([1.0] * 9 + [-91.0])
    test = ClassifierTest((), {}, {"sample": learned}, {"sample": weight}, "network", (tail,))
    record = SampleRecord("a", ("a.lhe",), "lhe", 10, 10, 10.0, 0.1, np.nan, np.nan, "", "")
    comparison = Comparison(
        sample=record,
        observables=(),
        rate_p_value=np.nan,
        acceptance=None,
        classifier=test,
        distances=(),
        differences=(),
        p_value=1.0,
        agrees=True,
        words="",
        gates=(("auc", np.nan, 0.6),),
    )
    content = json.loads(json.dumps(to_dict(ValidationResult(record, (comparison,), 1, "1")), allow_nan=False))
    (plain,) = content["comparisons"]
    assert plain["classifier"]["learned_weight_quantiles"]["sample"]["0.01"] == 1.0
    assert plain["classifier"]["learned_weight_quantiles"]["sample"]["0.5"] == 3.0
    assert plain["classifier"]["tails"][0]["lower"] is None
    assert plain["classifier"]["tails"][0]["bulk_upper"] == 50.0
    assert plain["gates"] == [{"measure": "auc", "value": None, "limit": 0.6}]
