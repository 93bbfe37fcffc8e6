"""What the author of a density of points may get wrong is told in words, before torch does."""

from __future__ import annotations

import numpy as np
import pytest

from mlgen.errors import TrainingError
from mlgen.generation import LearnedGenerator, LearnedGeneratorSettings
from mlgen.testing import drell_yan_events

from .conftest import LinearNormal

QUICK = {"steps": 5, "batch_size": 64, "label_steps": 2}


def generator(method=None, wrong=None, **settings):
    class Wrong(LinearNormal):
        pass

    if method is not None:
        right = getattr(LinearNormal, method)
        setattr(Wrong, method, lambda self, *arguments: wrong(right(self, *arguments)))

    class WrongGenerator(LearnedGenerator):
        name = "wrong"
        summary = "wrong"

        def make_density(self, dimension, context):
            return Wrong(dimension, context)

    return WrongGenerator(LearnedGeneratorSettings(**QUICK, **settings))


def train(made):
    events, run_info = drell_yan_events(600, np.random.default_rng(1))
    made.train([events], run_info, np.random.default_rng(2))
    return made


def test_a_right_one_trains():
    assert len(train(generator()).generate(10, np.random.default_rng(3))) == 10


@pytest.mark.parametrize(
    ("method", "wrong", "problem"),
    [
        ("loss", lambda loss: loss.mean(), r"loss\(\) of Wrong gave \(\); a tensor of shape \(\d+,\) is expected"),
        ("loss", lambda loss: loss[:, None], r"loss\(\) of Wrong gave \(\d+, 1\); a tensor of shape \(\d+,\)"),
        ("loss", lambda loss: 1.0, r"loss\(\) of Wrong gave float; a tensor"),
        ("sample", lambda points: points.T, r"sample\(\) of Wrong gave \(\d+, \d+\); a tensor of shape \(\d+, \d+\)"),
    ],
)
def test_a_wrong_shape(method, wrong, problem):
    with pytest.raises(ValueError, match=problem):
        train(generator(method, wrong)).generate(10, np.random.default_rng(3))


def test_a_wrong_shape_of_a_density():
    made = train(generator())
    made = type(generator("log_density", lambda found: found[:, None])).from_state(made.settings, made.state())
    events, _ = drell_yan_events(20, np.random.default_rng(1))
    with pytest.raises(ValueError, match=r"log_density\(\) of Wrong gave \(\d+, 1\); a tensor of shape \(\d+,\)"):
        made.log_density(events)


def test_a_bayesian_model_needs_last_layers():
    with pytest.raises(TrainingError, match=r"uncertainty = 'bayesian' needs layers .* last_layers\(\) of Wrong gives"):
        train(generator("last_layers", lambda layers: [], uncertainty="bayesian"))
