"""The contract of a detector simulation: the example of its hook works, and what goes wrong is said."""

from __future__ import annotations

import inspect
import textwrap

import numpy as np
import pytest

from mlgen import hookspecs
from mlgen.chain.detector_simulations import make_simulation
from mlgen.detector_simulation import DetectorSimulation
from mlgen.errors import DetectorError, PluginFailure
from mlgen.hookspecs import Tool
from mlgen.plugins import Registered, Source
from mlgen.showers import Geometry, PolarLayer
from mlgen.stages import Settings


class LayerSettings(Settings):
    layers: int = 6


@pytest.fixture
def example() -> type[DetectorSimulation]:
    """The class in the documentation of the hook."""
    text = inspect.getdoc(hookspecs.mlgen_detector_simulations) or ""
    _, _, code = text.partition("in each layer::\n")
    scope: dict = {}
    exec(textwrap.dedent(code.partition("\nThe hook, in the module")[0]), scope)
    return scope["MyDetector"]


def test_the_example_simulates_showers(example):
    with example(LayerSettings()) as made:
        energy, seeds = np.array([1000.0, 50.0]), np.array([3, 2**62])
        showers = made.simulate(np.array([11, 22]), energy, np.tile([0, 0, 1.0], (2, 1)), seeds)
        assert showers.voxels.shape == (2, made.geometry.n_voxels) == (2, 6)
        assert np.all(showers.voxels.sum(axis=1) < energy)
        assert made.description["physics"] == "exponential"
        made.check_particle(22)
        with pytest.raises(DetectorError, match="knows the PDG ids 11, -11, 22"):
            made.check_particle(13)


def test_the_example_refuses_voxels_that_it_cannot_score(example):
    with pytest.raises(DetectorError, match="but not where in it"):
        example(LayerSettings(), Geometry("e-", (PolarLayer(0, (0.0, 1.0, 2.0), 4),)))


def registered(factory, requires: str = "") -> Registered[Tool]:
    offer = Tool("mine", factory, Settings, "", requires=requires, contract_version=1)
    return Registered(offer, Source("my-package", "2.0", "mine"))


def missing_import():
    raise ModuleNotFoundError("No module named 'geant5'", name="geant5")


@pytest.mark.parametrize(
    ("factory", "requires", "error", "message"),
    [
        (missing_import, "geant5", DetectorError, r"'mine' needs geant5: pip install 'mlgen-hep\[geant5\]'"),
        (missing_import, "", DetectorError, "'mine' needs geant5: install geant5"),
        (lambda: 1 / 0, "", PluginFailure, "'mine' of my-package 2.0 failed: ZeroDivisionError"),
        (lambda: lambda settings, geometry: "?", "", PluginFailure, "DetectorSimulation is expected"),
    ],
)
def test_a_simulation_that_cannot_be_made(factory, requires, error, message):
    with pytest.raises(error, match=message):
        make_simulation(registered(factory, requires), Settings(), None)
