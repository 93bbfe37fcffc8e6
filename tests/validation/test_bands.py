import numpy as np
import pytest

from mlgen.validation.bands import band

NOMINAL = np.array([1.0, 2.0])


def test_without_named_weights_there_is_no_band():
    assert band(NOMINAL, {}) is None


def test_up_and_down_span_an_envelope():
    low, high = band(NOMINAL, {"s.up": NOMINAL + 0.3, "s.down": NOMINAL - 0.1})
    assert high == pytest.approx(NOMINAL + 0.3)
    assert low == pytest.approx(NOMINAL - 0.1)


def test_replicas_give_their_standard_deviation_to_both_sides():
    rng = np.random.default_rng(6)
    replicas = {f"mlgen.bnn.stat.{k}": NOMINAL + rng.normal(0, 0.2, 2) for k in range(2000)}
    low, high = band(NOMINAL, replicas)
    assert high - NOMINAL == pytest.approx(0.2, rel=0.1)
    assert NOMINAL - low == pytest.approx(0.2, rel=0.1)


def test_independent_sources_add_in_quadrature():
    varied = {"a.up": NOMINAL + 3, "a.down": NOMINAL - 3, "b.up": NOMINAL + 4, "b.down": NOMINAL - 4}
    low, high = band(NOMINAL, varied)
    assert high == pytest.approx(NOMINAL + 5)
    assert low == pytest.approx(NOMINAL - 5)


def test_a_variation_to_one_side_does_not_widen_the_other():
    low, high = band(NOMINAL, {"muR=2": NOMINAL - 0.5, "muR=4": NOMINAL - 0.7})
    assert high == pytest.approx(NOMINAL)
    assert low == pytest.approx(NOMINAL - 0.7)
