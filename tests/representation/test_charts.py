"""Charts and whitening: inverses, determinants, and what happens at their edges."""

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import kstest

from mlgen.representation import NormalMarginals
from mlgen.representation.charts import (
    OVERLAP,
    Bounded,
    BreitWigner,
    OneSided,
    Ordered,
    Periodic,
    Separated,
    breit_wigner_angle,
)
from mlgen.representation.coordinates import Whitening
from mlgen.representation.marginals import weighted_quantiles

N = 500
PI = np.pi


def columns(*distributions):
    return np.column_stack(distributions)


def apart(rng, n, radius):
    """Two rapidities and two azimuths, further apart than a radius."""
    x = columns(rng.normal(0, 1.5, 9 * n), rng.normal(0, 1.5, 9 * n), *rng.uniform(-PI, PI, (2, 9 * n)))
    azimuth = np.mod(x[:, 3] - x[:, 2] + PI, 2 * PI) - PI
    return x[np.hypot(x[:, 1] - x[:, 0], azimuth) > radius][:n]


def samples(rng):
    pt = np.sort(20 + rng.exponential(30, (N, 2)), axis=1)[:, ::-1]
    other = np.column_stack([apart(rng, N, 0.4)[:, [0, 1, 3]]])
    inside = np.hypot(other[:, 1] - other[:, 0], other[:, 2]) > 0.4
    return {
        "cosine": (Bounded(0, -1.0, 1.0), columns(rng.uniform(-1, 1, N))),
        "second column": (Bounded(1, 2.0, 7.0), columns(rng.normal(0, 1, N), rng.uniform(2, 7, N))),
        "above": (OneSided(0, 20.0), columns(20 + rng.exponential(30, N))),
        "below": (OneSided(0, 3.5, above=False), columns(3.5 - rng.exponential(2, N))),
        "ordered": (Ordered(1, 20.0, 0), pt),
        "Breit-Wigner": (BreitWigner(0, 91.2, 2.5, 60.0, 120.0), columns(rng.uniform(60, 120, N))),
        "from zero mass": (BreitWigner(0, 91.2, 2.5, 0.0, 400.0), columns(rng.uniform(1, 400, N))),
        "apart": (Separated(1, 0, 3, 2, 0.4), apart(rng, N, 0.4)),
        "apart, with room for collinear pairs": (Separated(1, 0, 3, 2, 0.4, 2.5), apart(rng, N, 0.4)),
        "apart, one azimuth zero": (Separated(1, 0, 2, -1, 0.4), other[inside]),
    }


NAMES = list(samples(np.random.default_rng(0)))


@pytest.mark.parametrize("name", NAMES)
def test_inverse(name):
    chart, x = samples(np.random.default_rng(1))[name]
    y = x.copy()
    chart.forward(y)
    assert np.isfinite(y).all()
    chart.inverse(y)
    assert y == pytest.approx(x, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_determinant(toys, name):
    chart, x = samples(np.random.default_rng(2))[name]

    def mapped(values):
        result = values.copy()
        chart.forward(result)
        return result

    logarithm = chart.forward(x.copy())
    expected = toys.log_determinant(mapped, x, 1e-6)
    # Differences fail for the few events within a millionth of an edge, or on the cut of an angle.
    good = np.isclose(logarithm, expected, atol=1e-4)
    assert good.mean() > 0.99
    assert logarithm.shape == (len(x),)


@pytest.mark.parametrize(
    ("chart", "edges"),
    [
        (Bounded(0, -1.0, 1.0), [-1.0, 1.0]),
        (Bounded(0, 2.0, 7.0), [2.0, 7.0]),
        (OneSided(0, 20.0), [20.0]),
        (OneSided(0, 0.0), [0.0]),
        (OneSided(0, 3.5, above=False), [3.5]),
        (BreitWigner(0, 91.2, 2.5, 60.0, 120.0), [60.0, 120.0]),
        (BreitWigner(0, 91.2, 2.5, 1.0, 200.0), [1.0, 200.0]),
    ],
)
def test_events_on_an_edge_are_finite_and_stay_there(chart, edges):
    """Also those that rounding, or a file's few digits, put beyond it."""
    for edge in edges:
        x = np.array([[edge], [edge * (1 - 1e-9)], [edge * (1 + 1e-9)]])
        y = x.copy()
        assert np.isfinite(chart.forward(y)).all()
        assert np.isfinite(y).all()
        chart.inverse(y)
        assert y == pytest.approx(x, rel=1e-7, abs=1e-8)
    # However large a number, the edges are not left.
    y = np.array([[-700.0], [-40.0], [0.0], [40.0], [700.0]])
    chart.inverse(y)
    if len(edges) == 2:
        assert y.min() >= edges[0] - 1e-9
        assert y.max() <= edges[1] + 1e-9
    elif chart.above:
        assert y.min() >= edges[0]
    else:
        assert y.max() <= edges[0]
    assert np.all(np.diff(y[:, 0]) >= 0)


def test_ordered_at_its_edges():
    chart = Ordered(1, 20.0, 0)
    x = np.array([[50.0, 20.0], [50.0, 50.0], [20.0, 20.0], [50.0, 50.0 * (1 + 1e-9)]])
    y = x.copy()
    assert np.isfinite(chart.forward(y)).all()
    chart.inverse(y)
    assert y == pytest.approx(x, rel=1e-8)
    y = np.array([[50.0, -800.0], [50.0, 800.0]])
    chart.inverse(y)
    assert y[:, 1].tolist() == [20.0, 50.0]


def test_hole_is_gone_and_never_entered():
    """Uniform points outside a circle fill the plane; any points come out of it."""
    rng = np.random.default_rng(3)
    x = np.zeros((400_000, 3))
    x[:, 1], x[:, 2] = rng.uniform(-3, 3, 400_000), rng.uniform(-PI, PI, 400_000)
    x = x[np.hypot(x[:, 1], x[:, 2]) > 0.4]
    chart = Separated(1, 0, 2, -1, 0.4)
    chart.forward(x)
    assert np.abs(x[:, 2]).max() <= PI
    radius = np.hypot(x[:, 1], x[:, 2])
    inside, ring = np.sum(radius < 0.2), np.sum((radius > 0.2) & (radius < 0.4))
    # A ring of three times the area, up to the determinant of at most 1 / (1 - 0.4^2 / pi^2), and five sigma.
    assert abs(ring / inside - 3) < 0.06 + 5 * 3 / np.sqrt(inside)
    y = np.column_stack([np.zeros(1000), rng.normal(0, 1e-3, 1000), rng.normal(0, 1e-3, 1000)])
    chart.inverse(y)
    assert np.hypot(y[:, 1], y[:, 2]).min() >= 0.4 - 1e-9
    assert np.isfinite(y).all()


def test_breit_wigner_angle_is_uniform(toys):
    """Kolmogorov's test at 99.9 %."""
    mass = toys.breit_wigner(91.2, 2.5, 60, 120, 5000, np.random.default_rng(4))
    first, last = breit_wigner_angle(np.array([60.0, 120.0]), 91.2, 2.5)
    assert kstest((breit_wigner_angle(mass, 91.2, 2.5) - first) / (last - first), "uniform").pvalue > 1e-3


class TestPeriodic:
    chart = Periodic(0, -PI)

    def test_folds(self):
        x = np.linspace(-3 * PI, 3 * PI, 1001)[:, None]
        y = x.copy()
        self.chart.inverse(y)
        assert y.min() >= -PI
        assert y.max() <= PI
        assert np.cos(y) == pytest.approx(np.cos(x), abs=1e-12)
        assert np.sin(y) == pytest.approx(np.sin(x), abs=1e-12)

    def test_unfolded_density_fades_out_and_folds_back(self):
        """A uniform angle: the share at each place is as the formula says, within five standard errors."""
        rng = np.random.default_rng(5)
        n = 200_000
        x = rng.uniform(-PI, PI, (n, 1))
        y = x.copy()
        self.chart.unfold(y, rng)
        self.chart.inverse(z := y.copy())
        assert z == pytest.approx(x, abs=1e-12)
        outside = np.abs(y[:, 0]) - PI
        assert outside.max() <= OVERLAP
        # Uniform on either side: the integral of 1 - s over both overlaps.
        expected = 2 * OVERLAP * (0.5 - 1 / PI) / (2 * PI)
        assert abs(np.mean(outside > 0) - expected) < 5 * np.sqrt(expected / n)

    def test_density_at_home_and_elsewhere(self):
        x = np.array([[-PI + 1e-12], [PI - 1e-12], [PI - 0.5 * OVERLAP], [0.0]])
        assert np.exp(-self.chart.forward(x)) == pytest.approx([0.5, 0.5, 0.5 * (1 + np.sqrt(0.5)), 1.0])


def test_columns_of_charts():
    assert Bounded(3, 0.0, 1.0).columns == (3,)
    assert Ordered(3, 0.0, 1).columns == (3, 1)
    assert set(Separated(3, 2, 1, -1, 0.4).columns) == {3, 2, 1, -1}


DISTRIBUTIONS = {
    "normal": lambda rng, n: rng.normal(3, 2, n),
    "exponential": lambda rng, n: rng.exponential(30, n),
    "two peaks": lambda rng, n: np.where(rng.random(n) < 0.3, rng.normal(8, 0.5, n), rng.normal(0, 1, n)),
    "uniform": lambda rng, n: rng.uniform(-1, 1, n),
    "logistic": lambda rng, n: rng.logistic(0, 1, n),
}


class TestMarginals:
    @pytest.mark.parametrize("name", DISTRIBUTIONS)
    def test_numbers_are_normal(self, name):
        """Of other events of the distribution: Kolmogorov's distance at 99.9 %, and 0.02 for what is smoothed."""
        rng = np.random.default_rng(1)
        n = 20_000
        fitted = NormalMarginals.fit(DISTRIBUTIONS[name](rng, n)[:, None], np.ones(n))
        found, _ = fitted.forward(DISTRIBUTIONS[name](rng, n)[:, None])
        assert kstest(found[:, 0], "norm").statistic < 0.02 + 1.95 * np.sqrt(2 / n)

    @pytest.mark.parametrize("name", DISTRIBUTIONS)
    @pytest.mark.parametrize("n", [3, 50, 20_000])
    def test_inverse_and_monotone(self, name, n):
        rng = np.random.default_rng(2)
        values = DISTRIBUTIONS[name](rng, n)[:, None]
        fitted = NormalMarginals.fit(values, np.ones(n))
        assert np.all(np.diff(fitted.values) > 0)
        wide = np.linspace(values.min() - np.ptp(values), values.max() + np.ptp(values), 5001)[:, None]
        found, _ = fitted.forward(wide)
        assert np.all(np.diff(found[:, 0]) > 0)
        assert np.abs(fitted.inverse(found) - wide).max() < 1e-12 * np.abs(wide).max()
        normal = np.linspace(-8, 8, 5001)[:, None]
        back, _ = fitted.forward(fitted.inverse(normal))
        assert np.abs(back - normal).max() < 1e-7
        assert np.all(np.diff(fitted.inverse(normal)[:, 0]) > 0)

    @pytest.mark.parametrize("name", DISTRIBUTIONS)
    @pytest.mark.parametrize("copies", [1, 4])
    def test_ends_are_no_outliers(self, name, copies):
        """The outermost of 5000 normal numbers is beyond 6 in 1e-5 of samples; tails of other shapes have 1 more."""
        rng = np.random.default_rng(6)
        for _ in range(30):
            values = DISTRIBUTIONS[name](rng, 5000)[:, None]
            repeated = np.tile(values, (copies, 1))
            fitted = NormalMarginals.fit(repeated, np.ones(len(repeated)), copies)
            assert np.abs(fitted.forward(values)[0]).max() < 7

    @pytest.mark.parametrize("name", DISTRIBUTIONS)
    def test_determinant(self, toys, name):
        rng = np.random.default_rng(3)
        values = np.column_stack([DISTRIBUTIONS[name](rng, 3000), rng.normal(0, 1, 3000)])
        fitted = NormalMarginals.fit(values, np.ones(3000))
        _, logarithm = fitted.forward(values)
        expected = toys.log_determinant(lambda x: fitted.forward(x)[0], values, 1e-6)
        assert np.abs(logarithm - expected).max() < 1e-3
        assert np.median(np.abs(logarithm - expected)) < 1e-7

    def test_a_value_that_many_events_share_keeps_its_share(self):
        """A third of the events has the scale 91.2; so have a third of normal numbers."""
        rng = np.random.default_rng(4)
        n = 6000
        values = np.where(rng.random(n) < 1 / 3, 91.2, rng.uniform(20, 200, n))[:, None]
        fitted = NormalMarginals.fit(values, np.ones(n))
        again = fitted.inverse(rng.standard_normal((n, 1)))
        # Five sigma of both samples, and half of a knot's distance, 0.15 standard deviations, on either side.
        assert abs(np.mean(np.abs(again - 91.2) < 1e-3) - 1 / 3) < 5 * np.sqrt(2 * 2 / 9 / n) + 0.4 * 0.15

    def test_a_value_that_many_events_share_is_spread(self):
        """Its normal numbers fill the place that it has: normal ones come out, and none is where half of all are."""
        rng = np.random.default_rng(4)
        n = 20_000
        values = np.where(rng.random(n) < 0.5, 0.0, rng.normal(0, 1, n))[:, None]
        fitted = NormalMarginals.fit(values, np.ones(n))
        before, moved = values.copy(), values.copy()
        fitted.spread(moved, rng)
        assert moved == pytest.approx(before, abs=1e-6)
        normal, logarithm = fitted.forward(moved)
        assert np.isfinite(logarithm).all()
        assert len(np.unique(np.round(normal, 3))) > 1000
        # What the map's knots, 0.18 standard deviations apart, cannot follow.
        assert kstest(normal[:, 0], "norm").statistic < 0.4 * 0.18
        # A distribution without such a value stays as it is.
        smooth = rng.normal(0, 1, (n, 1))
        fitted = NormalMarginals.fit(smooth, np.ones(n))
        moved = smooth.copy()
        fitted.spread(moved, rng)
        assert np.array_equal(moved, smooth)

    def test_a_constant_is_spread(self):
        rng = np.random.default_rng(5)
        values = np.full((5000, 1), 91.2)
        fitted = NormalMarginals.fit(values, np.ones(5000))
        fitted.spread(values, rng)
        assert values == pytest.approx(np.full((5000, 1), 91.2), rel=1e-9)
        normal, _ = fitted.forward(values)
        assert kstest(normal[:, 0], "norm").pvalue > 1e-3

    @pytest.mark.parametrize("value", [0.0, 91.2, -1e6])
    @pytest.mark.parametrize("noise", [0.0, 1e-15])
    def test_constant(self, value, noise):
        values = value * (1 + noise * np.arange(100)[:, None])
        fitted = NormalMarginals.fit(values, np.ones(100))
        normal, logarithm = fitted.forward(values)
        assert np.isfinite(normal).all()
        assert np.isfinite(logarithm).all()
        assert fitted.inverse(normal) == pytest.approx(values, rel=1e-12, abs=1e-12)
        assert fitted.inverse(np.linspace(-4, 4, 9)[:, None]) == pytest.approx(
            np.full((9, 1), value), rel=1e-5, abs=1e-5
        )

    def test_weights_count_also_negative_ones(self):
        """Two uniform halves of weight 2 and -1 cancelling half of the upper one."""
        rng = np.random.default_rng(5)
        lower, upper, cancelled = rng.uniform(0, 1, 4000), rng.uniform(1, 2, 4000), rng.uniform(1, 2, 2000)
        values = np.concatenate([lower, upper, cancelled])[:, None]
        weight = np.concatenate([np.ones(8000), -np.ones(2000)])
        fitted = NormalMarginals.fit(values, weight)
        assert np.all(np.diff(fitted.values) > 0)
        # 4000 of 6000 in the lower half; the errors of the training sample dominate.
        normal, _ = fitted.forward(np.array([[1.0]]))
        assert ndtr(normal[0, 0]) == pytest.approx(2 / 3, abs=0.03)

    def test_weighted_quantiles(self):
        """Those of the sample in which an event of weight 3 stands three times."""
        rng = np.random.default_rng(6)
        values, weight = rng.normal(0, 1, 2000), rng.integers(1, 4, 2000)
        wanted = np.linspace(0.1, 0.9, 9)
        found = weighted_quantiles(values, weight.astype(float), wanted)
        assert found == pytest.approx(np.quantile(np.repeat(values, weight), wanted), abs=0.01)


class TestWhitening:
    def correlated(self, rng, n):
        x = rng.normal(0, 1, (n, 3)) @ np.array([[1.0, 0.8, -0.3], [0, 0.5, 0.9], [0, 0, 0.2]])
        return np.column_stack([np.exp(x[:, 0]), x[:, 1], x[:, 2] + 0.1 * x[:, 0] ** 2])

    def test_points_are_uncorrelated(self):
        rng = np.random.default_rng(1)
        n = 10_000
        values, weight = self.correlated(rng, n), rng.uniform(0.5, 1.5, n)
        fitted = Whitening.fit(values, weight)
        points, _ = fitted.forward(values)
        mean = weight @ points / weight.sum()
        covariance = (points - mean).T @ (weight[:, None] * (points - mean)) / weight.sum()
        assert mean == pytest.approx(np.zeros(3), abs=1e-10)
        assert covariance == pytest.approx(np.eye(3), abs=1e-8)

    def test_inverse_determinant_and_order(self, toys):
        rng = np.random.default_rng(2)
        values = self.correlated(rng, 3000)
        fitted = Whitening.fit(values, np.ones(3000))
        points, logarithm = fitted.forward(values)
        assert fitted.inverse(points) == pytest.approx(values, rel=1e-10, abs=1e-10)
        expected = toys.log_determinant(lambda x: fitted.forward(x)[0], values, 1e-6)
        assert np.abs(logarithm - expected).max() < 2e-3
        # The first numbers do not know of the later coordinates.
        values[:, 2] += 1
        assert np.array_equal(fitted.forward(values)[0][:, :2], points[:, :2])

    def test_a_coordinate_that_follows_from_another(self):
        """Its remaining width of nothing is not stretched to one; what comes out is still the relation."""
        rng = np.random.default_rng(3)
        values = rng.normal(0, 1, (2000, 1)) * [1.0, 2.0]
        fitted = Whitening.fit(values, np.ones(2000))
        points, _ = fitted.forward(values)
        assert np.isfinite(points).all()
        assert np.abs(points[:, 1]).max() < 1
        found = fitted.inverse(rng.normal(0, 1, (2000, 2)))
        assert np.std(found[:, 1] - 2 * found[:, 0]) < 0.1

    def test_negative_weights(self):
        rng = np.random.default_rng(4)
        values = self.correlated(rng, 5000)
        weight = np.where(rng.random(5000) < 0.3, -1.0, 1.0)
        fitted = Whitening.fit(values, weight)
        assert np.all(np.diag(fitted.stretch) > 0)
        points, logarithm = fitted.forward(values)
        assert np.isfinite(points).all()
        assert np.isfinite(logarithm).all()
