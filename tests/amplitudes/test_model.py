"""The amplitude of a process: found by its particles, kept as arrays, and checked in what it predicts."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mlgen.amplitudes.checks import KinematicsError
from mlgen.amplitudes.domain import Domain
from mlgen.amplitudes.model import AmplitudeModel, AmplitudePart
from mlgen.errors import ModelError, PluginFailure, ProcessError
from mlgen.hookspecs import Plugin
from mlgen.plugins import Registered, Source
from mlgen.stages import (
    Amplitude,
    AmplitudeProcess,
    AmplitudeSurrogate,
    Exactness,
    InnerLine,
    Settings,
    Stage,
    TrainingReport,
)
from mlgen.store import state_from_bytes, state_to_bytes

PAIR = AmplitudeProcess((1, -1, 13, -13), (0.0,) * 4, (InnerLine((2, 3)), InnerLine((2, 3), 91.188, 2.4414)))
GLUONS = AmplitudeProcess((21, 21, 21, 21), (0.0,) * 4)


def points(n: int, seed: int) -> np.ndarray:
    """Two massless particles into two, isotropic in their centre of mass: ``(n, 4, 4)``."""
    rng = np.random.default_rng(seed)
    half, cosine, azimuth = rng.uniform(50, 150, n), rng.uniform(-1, 1, n), rng.uniform(0, 2 * np.pi, n)
    sine = np.sqrt(1 - cosine**2)
    out = np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine], axis=1)
    beam = np.broadcast_to([0.0, 0.0, 1.0], (n, 3))
    directions = np.stack([beam, -beam, out, -out], axis=1)
    return half[:, None, None] * np.concatenate([directions, np.ones((n, 4, 1))], axis=2)


class Scaled(AmplitudeSurrogate):
    """What it learned is one number; values depend on the energy and the direction of particle 2."""

    members = 2

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.scale = np.ones(1)

    def train(self, process, momenta, values, rng, progress=None):
        self.scale = np.array([np.mean(values)])
        return TrainingReport()

    def predict(self, momenta):
        value = self.scale * (1 + (momenta[:, 2, 2] / momenta[:, 2, 3] + 0.5) ** 2) * momenta[:, 0, 3]
        return Amplitude(value, 0.1 * value, 0.05 * value)

    def predict_members(self, momenta):
        return self.predict(momenta).value[:, None] * np.array([0.9, 1.2])

    def state(self):
        return {"scale": self.scale}

    @classmethod
    def from_state(cls, settings, state):
        if set(state) != {"scale"}:
            raise ModelError(f"the array 'scale' is expected; there are {sorted(state)}")
        made = cls(settings)
        made.scale = np.array(state["scale"])
        return made


REGISTERED: Any = Registered(
    Plugin("scaled", Stage.AMPLITUDE, lambda: Scaled, Settings, Exactness.APPROXIMATE, "a number", contract_version=1),
    Source("own-package", "2.1", "own"),
)


def part(
    process=PAIR, subprocesses=((1, -1, 13, -13), (3, -3, 13, -13)), scale=2.0, power=0, **others
) -> AmplitudePart:
    surrogate = others.pop("surrogate", Scaled)(Settings())
    surrogate.scale = np.array([scale])
    domain = Domain.fit(process, points(2000, 1), points(500, 2))
    return AmplitudePart(process, subprocesses, surrogate, domain, 0.118, power, REGISTERED)


@pytest.fixture(scope="module")
def model() -> AmplitudeModel:
    gluons = part(GLUONS, ((21, 21, 21, 21),), 3.0, 2)
    return AmplitudeModel(Settings(), [part(), gluons])


# Which part it is


@pytest.mark.parametrize(
    ("pdg_ids", "number", "order"),
    [
        ((1, -1, 13, -13), 0, [0, 1, 2, 3]),
        ((1, -1, -13, 13), 0, [0, 1, 3, 2]),
        ((3, -3, 13, -13), 0, [0, 1, 2, 3]),
        ((21, 21, 21, 21), 1, [0, 1, 2, 3]),
    ],
)
def test_a_subprocess_is_found_in_any_order_of_its_outgoing_particles(model, pdg_ids, number, order):
    found, slots = model.find(pdg_ids)
    assert found is model.parts[number]
    assert slots == order


def test_an_outgoing_particle_is_not_taken_for_an_incoming_one_of_its_kind():
    process = AmplitudeProcess((2, 1, 2, 1), (0.0,) * 4)
    model = AmplitudeModel(Settings(), [part(process, ((2, 1, 2, 1),))])
    assert model.find((2, 1, 2, 1))[1] == [0, 1, 2, 3]
    assert model.find((2, 1, 1, 2))[1] == [0, 1, 3, 2]
    with pytest.raises(ProcessError):
        model.find((1, 2, 2, 1))


@pytest.mark.parametrize("pdg_ids", [(-1, 1, 13, -13), (2, -2, 13, -13), (1, -1, 13, -13, 21), (1, -1, 13, 13)])
def test_an_unknown_subprocess_is_an_error_that_names_the_known_ones(model, pdg_ids):
    with pytest.raises(ProcessError) as caught:
        model.find(pdg_ids)
    message = str(caught.value)
    assert message.startswith("the surrogate has no ")
    assert message.endswith("it was trained for d d~ > mu- mu+, s s~ > mu- mu+, g g > g g")


def test_of_many_known_ones_ten_are_named():
    quarks = (1, 2, 3, 4, 5)
    many = tuple((q, -q, lepton, -lepton) for lepton in (11, 13, 15) for q in quarks)[:12]
    with pytest.raises(ProcessError) as caught:
        AmplitudeModel(Settings(), [part(subprocesses=many)]).find((21, 21, 21, 21))
    assert str(caught.value).endswith(" and 2 others")
    assert str(caught.value).count(" > ") == 11


# What it predicts


def test_momenta_may_come_in_the_order_of_the_particles_that_are_named(model):
    momenta, alpha_s = points(50, 3), np.full(50, 0.118)
    expected = Scaled(Settings()).predict(momenta).value * 2
    assert model.predict((1, -1, 13, -13), momenta, alpha_s).value == pytest.approx(expected, rel=1e-14)
    swapped = np.ascontiguousarray(momenta[:, [0, 1, 3, 2]])
    assert model.predict((1, -1, -13, 13), swapped, alpha_s).value == pytest.approx(expected, rel=1e-14)
    assert model.predict((1, -1, 13, -13), swapped, alpha_s).value != pytest.approx(expected, rel=0.1)


def test_values_and_errors_grow_with_the_power_of_the_coupling(model):
    momenta, gluons = points(30, 4), model.parts[1]
    alpha_s = np.linspace(0.08, 0.2, 30)
    at_reference = gluons.predict(momenta, np.full(30, 0.118))
    found = gluons.predict(momenta, alpha_s)
    factor = (alpha_s / 0.118) ** 2
    for name in ("value", "systematic", "statistical"):
        assert getattr(found, name) == pytest.approx(getattr(at_reference, name) * factor, rel=1e-13)
    members = gluons.predict_members(momenta, alpha_s)
    assert members == pytest.approx(found.value[:, None] * np.array([0.9, 1.2]), rel=1e-13)


def test_momenta_that_are_none_of_the_process_are_refused(model):
    momenta = points(5, 5)
    momenta[3, 2, 0] += 1.0
    with pytest.raises(KinematicsError, match="point 4: four-momentum is not conserved"):
        model.predict((1, -1, 13, -13), momenta, np.full(5, 0.118))


NAN = np.array([np.nan, 1.0, 1.0])
ONES = np.ones(3)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (ONES, "predict() gave ndarray; an Amplitude is expected"),
        (Amplitude(np.ones(2), ONES, ONES), "a value of float64, shape (2,); (3,) is expected"),
        (Amplitude(ONES, np.ones((3, 1)), ONES), "a systematic of float64, shape (3, 1)"),
        (Amplitude(np.ones(3, int), ONES, ONES), "a value of int64"),
        (Amplitude(NAN, ONES, ONES), "a value that is not finite"),
        (Amplitude(ONES, ONES, NAN), "a statistical that is not finite"),
        (Amplitude(ONES, -ONES, ONES), "a systematic standard deviation that is negative"),
    ],
)
def test_a_plugin_that_predicts_something_else_is_named(given, problem):
    class Broken(Scaled):
        def predict(self, momenta):
            return given

    with pytest.raises(PluginFailure) as caught:
        part(surrogate=Broken).predict(points(3, 6), np.full(3, 0.118))
    assert str(caught.value).startswith("amplitude plugin 'scaled' of own-package 2.1 failed: ValueError")
    assert problem in str(caught.value)


@pytest.mark.parametrize("columns", [np.ones((3, 3)), np.ones(3), np.full((3, 2), np.inf)])
def test_networks_that_are_not_as_many_as_it_says_are_an_error(columns):
    class Broken(Scaled):
        def predict_members(self, momenta):
            return columns

    with pytest.raises(PluginFailure, match=r"own-package 2.1 failed: ValueError: predict_members\(\) gave"):
        part(surrogate=Broken).predict_members(points(3, 6), np.full(3, 0.118))


# What is kept of it


def restored(state: dict[str, Any]) -> AmplitudeModel:
    return AmplitudeModel.restored(REGISTERED, Settings(), state)


def test_what_is_kept_comes_back(model):
    again = restored(state_from_bytes(state_to_bytes(model.state())))
    assert len(again.parts) == 2
    momenta, alpha_s = points(100, 7), np.linspace(0.08, 0.2, 100)
    for before, now in zip(model.parts, again.parts, strict=True):
        assert (now.process, now.subprocesses) == (before.process, before.subprocesses)
        assert (now.alpha_s, now.power, now.members) == (before.alpha_s, before.power, before.members)
        for name in ("value", "systematic", "statistical"):
            first, second = (getattr(each.predict(momenta, alpha_s), name) for each in (before, now))
            assert np.array_equal(first, second)
        assert np.array_equal(before.predict_members(momenta, alpha_s), now.predict_members(momenta, alpha_s))
        assert np.array_equal(before.domain.score(momenta), now.domain.score(momenta))
    # The two differ, so nothing was mixed up.
    first, second = (each.predict(momenta, alpha_s).value for each in again.parts)
    assert not np.allclose(first, second)
    # The same model is the same bytes.
    assert state_to_bytes(again.state()) == state_to_bytes(model.state())


def about(**changes: Any) -> np.ndarray:
    content = json.loads(AmplitudeModel(Settings(), [part()]).state()["about"].tobytes())
    return np.frombuffer(json.dumps(content | changes).encode(), np.uint8)


def part_without(name: str) -> np.ndarray:
    content = json.loads(AmplitudeModel(Settings(), [part()]).state()["about"].tobytes())
    del content["parts"][0][name]
    return np.frombuffer(json.dumps(content).encode(), np.uint8)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda state: state.pop("about"), "the array 'about' of the model is missing"),
        (lambda state: state.update(about=np.frombuffer(b"{no", np.uint8)), "'about' of the model cannot be read"),
        (lambda state: state.update(about=np.frombuffer(b"{}", np.uint8)), "'about' of the model cannot be read"),
        (lambda state: state.update(about=about(parts=3)), "'about' of the model cannot be read"),
        (lambda state: state.update(about=about(version=2)), "has version 2; this mlgen reads version 1"),
        (lambda state: state.update(about=part_without("process")), "'about' of the model cannot be read"),
        (lambda state: state.update(about=part_without("power")), "'about' of the model cannot be read"),
        (lambda state: state.pop("0.surrogate.scale"), "the array 'scale' is expected; there are []"),
        (lambda state: state.pop("0.domain.low"), "the domain of a surrogate needs the array 'low'"),
        (lambda state: state.update({"0.domain.low": np.zeros(2)}), "needs 'low' of shape"),
    ],
)
def test_a_broken_state_is_refused(change, problem):
    state = AmplitudeModel(Settings(), [part()]).state()
    change(state)
    with pytest.raises(ModelError) as caught:
        restored(state)
    assert problem in str(caught.value)


def test_a_state_does_not_say_of_which_plugin_it_is(model):
    with pytest.raises(ModelError, match="restored with its plugin"):
        AmplitudeModel.from_state(Settings(), model.state())
