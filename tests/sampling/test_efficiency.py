"""Unweighting efficiency at a share of overweights: a closed form, and the plugin that unweights."""

from __future__ import annotations

import numpy as np
import pytest

from mlgen.sampling import unweighting_efficiency
from mlgen.stages import Candidates
from mlgen_unweighting.hit_or_miss import HitOrMiss
from mlgen_unweighting.settings import HitOrMissSettings


def test_of_an_exponential_distribution():
    # The share above w is exp(-w): 0.1% is at ln 1000, so that the efficiency is 1 / ln 1000 = 0.1448.
    weight = np.random.default_rng(1).exponential(size=400_000)
    assert unweighting_efficiency(weight) == pytest.approx(1 / np.log(1000), rel=0.02)


def test_it_is_that_of_hit_or_miss():
    weight = np.random.default_rng(2).lognormal(size=5000)
    unweighter = HitOrMiss(HitOrMissSettings(maximum="overweight-share", overweight_share=1e-3))
    unweighter.prepare([Candidates(weight)])
    expected = weight.mean() / float(unweighter.state()["maximum_weight"])
    assert unweighting_efficiency(weight) == pytest.approx(expected, rel=1e-3)


def test_a_multiplicity_of_two_is_the_point_twice():
    weight = np.random.default_rng(3).exponential(size=2000)
    number = 1.0 + (np.arange(2000) % 3 == 0)
    twice = np.repeat(weight, number.astype(int))
    expected = unweighting_efficiency(twice)
    assert unweighting_efficiency(weight, number) == pytest.approx(expected, rel=1e-6)


def test_equal_weights_have_efficiency_one():
    assert unweighting_efficiency(np.full(100, 2.0)) == pytest.approx(1, rel=1e-3)
