"""A surrogate in the place of a matrix element: order of particles, coupling, points outside, named weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlgen.amplitudes.domain import Domain
from mlgen.amplitudes.element import GuardCounts, OutsideError, SurrogateElement, variation_names
from mlgen.amplitudes.model import AmplitudePart
from mlgen.errors import UserError
from mlgen.hard_process.matrix_element import ColorFlow, MatrixElement
from mlgen.hookspecs import Plugin
from mlgen.plugins import Registered, Source
from mlgen.stages import Amplitude, AmplitudeProcess, AmplitudeSurrogate, Exactness, Settings, Stage, TrainingReport

#: Particles 2 and 3 are different ones, so that their order matters.
PROCESS = AmplitudeProcess((1, -1, 13, -13), (0.0,) * 4)
MASSES = (100.0, 300.0)
ALPHA_S = 0.12


def points(n: int, seed: int, masses: tuple[float, float] = MASSES) -> np.ndarray:
    """Two massless particles into two, isotropic, boosted along the beams: ``(n, 4, 4)``."""
    rng = np.random.default_rng(seed)
    half, cosine, azimuth = rng.uniform(*masses, n) / 2, rng.uniform(-1, 1, n), rng.uniform(0, 2 * np.pi, n)
    sine = np.sqrt(1 - cosine**2)
    out = np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine], axis=1)
    beam = np.broadcast_to([0.0, 0.0, 1.0], (n, 3))
    directions = np.stack([beam, -beam, out, -out], axis=1)
    momenta = half[:, None, None] * np.concatenate([directions, np.ones((n, 4, 1))], axis=2)
    rapidity = rng.normal(size=n)[:, None]
    pz, energy = momenta[..., 2].copy(), momenta[..., 3].copy()
    momenta[..., 2] = np.cosh(rapidity) * pz + np.sinh(rapidity) * energy
    momenta[..., 3] = np.cosh(rapidity) * energy + np.sinh(rapidity) * pz
    return momenta


def product(momenta: np.ndarray, first: int, second: int) -> np.ndarray:
    p, q = momenta[:, first], momenta[:, second]
    return p[:, 3] * q[:, 3] - np.sum(p[:, :3] * q[:, :3], axis=1)


def shape(momenta: np.ndarray) -> np.ndarray:
    """A function that changes when particles 2 and 3 do."""
    return 1 + 4 * (product(momenta, 0, 2) / product(momenta, 0, 1)) ** 2


class Known(AmplitudeSurrogate):
    """`shape`, with a systematic error of a tenth at the first particle and three networks."""

    members = 3

    def train(self, process, momenta, values, rng, progress=None):
        return TrainingReport()

    def predict(self, momenta):
        value = shape(momenta)
        return Amplitude(value, 0.1 * value * product(momenta, 0, 2) / product(momenta, 0, 1), 0.05 * value)

    def predict_members(self, momenta):
        return shape(momenta)[:, None] * np.array([0.9, 1.0, 1.2]) + product(momenta, 0, 3)[:, None] / 1e6

    def state(self):
        return {}

    @classmethod
    def from_state(cls, settings, state):
        return cls(settings)


class Alone(Known):
    """Without networks, and zero everywhere."""

    members = 0

    def predict(self, momenta):
        return Amplitude(np.zeros(len(momenta)), np.full(len(momenta), 0.1), np.zeros(len(momenta)))

    def predict_members(self, momenta):
        return np.zeros((len(momenta), 0))


class Useless(Known):
    """No positive number at every third point, and networks that are nonsense there."""

    def predict(self, momenta):
        right = super().predict(momenta)
        value = np.where(useless(momenta), -right.value, right.value)
        value[np.flatnonzero(useless(momenta))[::2]] = 0.0
        return Amplitude(value, right.systematic, right.statistical)


def useless(momenta: np.ndarray) -> np.ndarray:
    """Where `Useless` has no positive number: at a third of all angles."""
    return product(momenta, 0, 2) / product(momenta, 0, 1) < 1 / 3


class Truth(MatrixElement):
    """A matrix element of another size, whose particles come as 0, 1, 3, 2."""

    color_flows = (ColorFlow((501, 0, 0, 0), (0, 501, 0, 0)),)

    def __init__(self) -> None:
        self.asked: list[np.ndarray] = []

    def evaluate(self, momenta, alpha_s):
        self.asked.append(momenta)
        return 1000.0 + momenta[:, 3, 3] + alpha_s

    def draw_color_flows(self, momenta, uniform):
        return (uniform > 0.5).astype(np.intp)


REGISTERED: Any = Registered(
    Plugin("known", Stage.AMPLITUDE, lambda: Known, Settings, Exactness.APPROXIMATE, "a shape", contract_version=1),
    Source("own-package", "2.1", "own"),
)


@pytest.fixture(scope="module")
def domain() -> Domain:
    return Domain.fit(PROCESS, points(5000, 1), points(1000, 2))


def element(domain: Domain, outside: Any, surrogate: type[AmplitudeSurrogate] = Known, order=(0, 1, 3, 2)):
    part = AmplitudePart(PROCESS, (PROCESS.pdg_ids,), surrogate(Settings()), domain, ALPHA_S, 2, REGISTERED)
    return SurrogateElement(Truth(), part, order, outside, GuardCounts())


@pytest.fixture
def both() -> tuple[np.ndarray, np.ndarray]:
    """Points of which every third is far outside the training, in the order of the matrix element; and which."""
    momenta, far = points(300, 3), points(300, 4, (20.0, 40.0))
    outside = np.arange(300) % 3 == 0
    momenta[outside] = far[outside]
    return np.ascontiguousarray(momenta[:, [0, 1, 3, 2]]), outside


def coupling(n: int) -> np.ndarray:
    return np.linspace(0.09, 0.2, n)


def test_particles_are_brought_into_the_order_of_the_training_and_the_coupling_runs(domain):
    momenta = points(200, 5)
    alpha_s = coupling(200)
    expected = shape(momenta) * (alpha_s / ALPHA_S) ** 2
    swapped = np.ascontiguousarray(momenta[:, [0, 1, 3, 2]])
    assert element(domain, "flag").evaluate(swapped, alpha_s) == pytest.approx(expected, rel=1e-14)
    in_order = element(domain, "flag", order=(0, 1, 2, 3))
    assert in_order.evaluate(momenta, alpha_s) == pytest.approx(expected, rel=1e-14)
    # The order matters.
    assert np.max(np.abs(in_order.evaluate(swapped, alpha_s) / expected - 1)) > 0.5


def test_the_true_matrix_element_is_asked_outside_and_nowhere_else(domain, both):
    momenta, outside = both
    surrogate, alpha_s = element(domain, "matrix-element"), coupling(300)
    found = surrogate.evaluate(momenta, alpha_s)
    assert np.array_equal(found[outside], Truth().evaluate(momenta[outside], alpha_s[outside]))
    inside = ~outside
    expected = shape(momenta[inside][:, [0, 1, 3, 2]]) * (alpha_s[inside] / ALPHA_S) ** 2
    assert found[inside] == pytest.approx(expected, rel=1e-14)
    assert len(surrogate.exact.asked) == 1
    assert np.array_equal(surrogate.exact.asked[0], momenta[outside])
    assert (surrogate._counts.asked, surrogate._counts.outside) == (300, 100)
    surrogate.evaluate(momenta[inside], alpha_s[inside])
    assert len(surrogate.exact.asked) == 1
    assert (surrogate._counts.asked, surrogate._counts.outside) == (500, 100)


def test_where_points_are_flagged_the_surrogate_is_taken_everywhere(domain, both):
    momenta, outside = both
    surrogate = element(domain, "flag")
    expected = shape(momenta[:, [0, 1, 3, 2]])
    assert surrogate.evaluate(momenta, np.full(300, ALPHA_S)) == pytest.approx(expected, rel=1e-14)
    assert surrogate.exact.asked == []
    assert surrogate._counts.outside == 100
    assert np.array_equal(surrogate.variations(momenta, "x")["x.inside"], (~outside).astype(float))


@pytest.mark.parametrize("outside", ["matrix-element", "flag", "stop"])
def test_the_true_matrix_element_is_asked_where_there_is_no_positive_number(domain, both, outside):
    """Whatever is done outside; and there is no error of the surrogate in it."""
    momenta, far = both
    if outside == "stop":
        momenta, far = momenta[~far], far[~far]
    alpha_s = coupling(len(momenta))
    surrogate = element(domain, outside, Useless)
    ordered = np.ascontiguousarray(momenta[:, [0, 1, 3, 2]])
    unusable = useless(ordered)
    if outside == "matrix-element":
        unusable &= ~far
    exact = unusable | far if outside == "matrix-element" else unusable
    assert 30 < np.count_nonzero(unusable) < 150
    found = surrogate.evaluate(momenta, alpha_s)
    assert np.array_equal(found[exact], Truth().evaluate(momenta[exact], alpha_s[exact]))
    assert found[~exact] == pytest.approx(shape(ordered[~exact]) * (alpha_s[~exact] / ALPHA_S) ** 2, rel=1e-14)
    assert len(surrogate.exact.asked) == 1
    counts = surrogate._counts
    assert (counts.asked, counts.unusable, counts.outside) == (len(momenta), unusable.sum(), far.sum())
    factors = surrogate.variations(momenta, "x")
    names = set(factors) - {"x.inside"}
    assert len(names) == 5
    for name in names:
        assert np.all(factors[name][exact] == 1.0), name
        assert np.all(factors[name][~exact] != 1.0) or name == "x.stat.2", name
    counts.clear()
    assert counts == GuardCounts()


def test_what_is_no_number_is_no_weight(domain, monkeypatch):
    """Plugins that give NaN or infinity are stopped before; numbers may become so with the coupling."""
    momenta, alpha_s = points(6, 8)[:, [0, 1, 3, 2]], coupling(6)
    surrogate = element(domain, "flag")
    right = AmplitudePart.predict

    def predict(self, momenta, alpha_s):
        predicted = right(self, momenta, alpha_s)
        predicted.value[:4] = np.nan, np.inf, -np.inf, 1e-3
        return predicted

    monkeypatch.setattr(AmplitudePart, "predict", predict)
    found = surrogate.evaluate(momenta, alpha_s)
    assert np.array_equal(found[:3], Truth().evaluate(momenta[:3], alpha_s[:3]))
    assert found[3] == 1e-3
    assert surrogate._counts.unusable == 3
    factors = surrogate.variations(momenta, "x")
    for name in ("x.syst.up", "x.syst.down", "x.stat.1", "x.stat.2", "x.stat.3"):
        assert factors[name][:3].tolist() == [1.0] * 3


def test_a_run_is_stopped_with_the_quantity_that_is_outside(domain, both):
    momenta, outside = both
    surrogate = element(domain, "stop")
    with pytest.raises(OutsideError) as caught:
        surrogate.evaluate(momenta, coupling(300))
    message = str(caught.value)
    assert issubclass(OutsideError, UserError)
    assert message.startswith("the surrogate of d d~ > mu- mu+ is asked outside the region that it was trained in")
    assert "at 100 of 300 points" in message
    # The first of them is point 0; which of its equivalent quantities is named does not matter.
    mass = np.sqrt(2 * product(momenta[:1], 0, 1))[0]
    assert f"{mass:.4g} GeV" in message or "2 p.p" in message or "transverse momentum" in message
    assert "the training reached from" in message
    assert 'outside = "matrix-element" or "flag"' in message
    inside = surrogate.evaluate(momenta[~outside], coupling(300)[~outside])
    assert len(inside) == 200


@pytest.mark.parametrize("outside", ["matrix-element", "flag", "stop"])
def test_variations_are_those_of_the_surrogate_by_name(domain, both, outside):
    momenta, far = both
    factors = element(domain, outside).variations(momenta, "mlgen.known")
    assert tuple(factors) == variation_names("mlgen.known", 3, outside)
    ordered = momenta[:, [0, 1, 3, 2]]
    relative = 0.1 * product(ordered, 0, 2) / product(ordered, 0, 1)
    members = Known(Settings()).predict_members(ordered) / shape(ordered)[:, None]
    if outside == "matrix-element":
        # There is no surrogate in these, and so no error of one.
        relative[far], members[far] = 0.0, 1.0
    assert factors["mlgen.known.syst.up"] - 1 == pytest.approx(relative, abs=1e-14)
    assert 1 - factors["mlgen.known.syst.down"] == pytest.approx(relative, abs=1e-14)
    for k in range(3):
        assert factors[f"mlgen.known.stat.{k + 1}"] == pytest.approx(members[:, k], rel=1e-13)


def test_names_of_variations():
    assert variation_names("mlgen.x", 2, "flag") == (
        "mlgen.x.syst.up",
        "mlgen.x.syst.down",
        "mlgen.x.stat.1",
        "mlgen.x.stat.2",
        "mlgen.x.inside",
    )
    assert variation_names("mlgen.x", 0, "stop") == ("mlgen.x.syst.up", "mlgen.x.syst.down")


def test_without_networks_and_where_nothing_is_predicted_no_factor_is_made_up(domain):
    factors = element(domain, "matrix-element", Alone).variations(points(10, 6)[:, [0, 1, 3, 2]], "x")
    assert {name: values.tolist() for name, values in factors.items()} == {
        "x.syst.up": [1.0] * 10,
        "x.syst.down": [1.0] * 10,
    }


def test_colours_are_those_of_the_true_matrix_element(domain):
    surrogate = element(domain, "matrix-element")
    assert surrogate.color_flows == Truth.color_flows
    assert surrogate.draw_color_flows(points(4, 7), np.array([0.1, 0.9, 0.6, 0.2])).tolist() == [0, 1, 1, 0]
