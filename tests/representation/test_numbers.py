"""Quantile transforms and tables of couplings."""

import numpy as np
import pytest

from mlgen.events import EventBatch
from mlgen.representation import CouplingTable, QuantileTransform
from mlgen.representation.couplings import coupling_tables

LOWEST_ALPHA_S_SCALE = 5.0


class TestQuantiles:
    def test_normal_numbers_are_normal(self):
        """An exponential with a sharp edge becomes a standard normal: Kolmogorov's distance at 99.9 %."""
        rng = np.random.default_rng(1)
        values = 20 + rng.exponential(30, (5000, 1))
        transform = QuantileTransform.fit(values, np.ones(5000))
        normal = np.sort(transform.forward(20 + rng.exponential(30, (5000, 1)), rng)[:, 0])
        quantile = np.quantile(np.random.default_rng(2).standard_normal(1_000_000), (np.arange(5000) + 0.5) / 5000)
        rank = np.searchsorted(quantile, normal) / 5000
        assert np.max(np.abs(rank - np.arange(5000) / 5000)) < 1.95 * np.sqrt(2 / 5000)

    def test_inverse(self):
        rng = np.random.default_rng(1)
        values = np.column_stack([rng.exponential(30, 3000), rng.normal(0, 2, 3000)])
        transform = QuantileTransform.fit(values, np.ones(3000))
        assert transform.inverse(transform.forward(values, rng)) == pytest.approx(values, rel=1e-9, abs=1e-9)
        assert np.all(np.diff(transform.values, axis=1) > 0)

    def test_never_leaves_the_range(self):
        rng = np.random.default_rng(1)
        values = rng.uniform(3, 4, (1000, 1))
        transform = QuantileTransform.fit(values, np.ones(1000))
        found = transform.inverse(np.array([[-50.0], [50.0]]))
        assert found.ravel().tolist() == [values.min(), values.max()]

    def test_a_value_that_many_events_share_keeps_its_share(self):
        """A third of the events has the scale 91.2; so have a third of normal numbers."""
        rng = np.random.default_rng(1)
        values = np.where(rng.random(6000) < 1 / 3, 91.2, rng.uniform(20, 200, 6000))[:, None]
        transform = QuantileTransform.fit(values, np.ones(6000))
        normal = transform.forward(values, rng)
        assert abs(normal.std() - 1) < 0.05
        again = transform.inverse(rng.standard_normal((6000, 1)))
        # Five sigma of both samples, and the step between two knots.
        assert abs(np.mean(again == 91.2) - 1 / 3) < 5 * np.sqrt(2 * 2 / 9 / 6000) + 0.004

    def test_weights_count_also_negative_ones(self):
        """Two uniform halves of weight 2 and -1 cancelling half of the upper one."""
        rng = np.random.default_rng(1)
        lower, upper, cancelled = rng.uniform(0, 1, 4000), rng.uniform(1, 2, 4000), rng.uniform(1, 2, 2000)
        values = np.concatenate([lower, upper, cancelled])[:, None]
        weight = np.concatenate([np.ones(8000), -np.ones(2000)])
        transform = QuantileTransform.fit(values, weight)
        found = transform.inverse(rng.standard_normal((20_000, 1)))
        # 4000 of 6000 in the lower half; the errors of the training sample dominate.
        assert np.mean(found < 1) == pytest.approx(2 / 3, abs=0.02)
        assert np.all(np.diff(transform.values) >= 0)


def one_loop(scale):
    return 1 / (1.2 * np.log(scale / 0.2))


class TestCouplings:
    def batch(self, scale, alpha_qcd, alpha_qed=0.0078):
        nothing = {name: np.zeros(0) for name in ("px", "py", "pz", "energy")}
        n = len(scale)
        return EventBatch.from_columns(
            np.zeros(n, int), nothing, weight=1.0, scale=scale, alpha_qcd=alpha_qcd, alpha_qed=alpha_qed
        )

    def test_running_coupling_is_found(self):
        scale = np.random.default_rng(1).uniform(LOWEST_ALPHA_S_SCALE, 300, 1000)
        tables = coupling_tables(self.batch(scale, one_loop(scale)))
        assert tables["alpha_qcd"].argument == "scale"
        between = np.linspace(10, 250, 77)
        assert tables["alpha_qcd"].at(between) == pytest.approx(one_loop(between), rel=1e-9)
        assert tables["alpha_qed"].at(between).tolist() == [0.0078] * 77

    def test_coupling_of_another_scale_is_not_a_function(self):
        rng = np.random.default_rng(1)
        scale = rng.uniform(LOWEST_ALPHA_S_SCALE, 300, 1000)
        assert "alpha_qcd" not in coupling_tables(self.batch(scale, one_loop(scale * rng.uniform(0.5, 2, 1000))))

    def test_one_coupling_as_a_function_of_the_other(self):
        rng = np.random.default_rng(1)
        scale = rng.uniform(LOWEST_ALPHA_S_SCALE, 300, 1000)
        hidden = scale * rng.uniform(0.5, 2, 1000)
        electromagnetic = 1 / (128 - 2 * np.log(hidden))
        tables = coupling_tables(self.batch(scale, one_loop(hidden), electromagnetic))
        assert tables["alpha_qed"].argument == "alpha_qcd"
        assert tables["alpha_qed"].at(one_loop(hidden)) == pytest.approx(electromagnetic, rel=1e-6)

    def test_constant_reads_back_the_same(self):
        table = CouplingTable.fit("scale", np.array([1.0, 2.0]), np.array([0.118, 0.118]))
        assert table is not None
        assert table.at(np.array([5.0])).tolist() == [0.118]
