"""The kit's rule for densities of points: it passes a right one, and names what is wrong of others."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mlgen.generation import PointDensity
from mlgen.testing.point_density import require_density_of_points
from mlgen_cfm.generator import CfmGenerator
from mlgen_discflow.generator import DiscFlowGenerator
from mlgen_discflow.settings import DiscFlowSettings


class Sheared(PointDensity):
    """A normal distribution that is shifted, stretched and sheared."""

    def __init__(self, dimension: int, context: int) -> None:
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(dimension, 1 + context))
        self.log_width = torch.nn.Parameter(torch.zeros(dimension))
        self.shear = torch.nn.Parameter(torch.zeros(dimension))

    def initialise(self, rng):
        pass

    def last_layers(self):
        return []

    def mean(self, context):
        return torch.cat([torch.ones(len(context), 1), context], dim=1) @ self.shift.t()

    def loss(self, points, context, noise):
        return -self.log_density(points, context)

    def sample(self, normal, context):
        z = normal * self.log_width.exp()
        return self.mean(context) + torch.stack([z[:, 0], z[:, 1] + self.shear[0] * z[:, 0]], dim=1)

    def log_density(self, points, context):
        centred = points - self.mean(context)
        z = torch.stack([centred[:, 0], centred[:, 1] - self.shear[0] * centred[:, 0]], dim=1) / self.log_width.exp()
        return (-0.5 * z**2 - self.log_width - 0.5 * math.log(2 * math.pi)).sum(dim=1)


class LostSign(Sheared):
    def loss(self, points, context, noise):
        return self.log_density(points, context)


class Inverse(Sheared):
    def sample(self, normal, context):
        return normal * (-self.log_width).exp() - self.mean(context)


class NoJacobian(Sheared):
    def log_density(self, points, context):
        return super().log_density(points, context) + self.log_width.sum()


class IgnoresWhatIsGiven(Sheared):
    def sample(self, normal, context):
        return super().sample(normal, -5 * context)


def check(make):
    require_density_of_points(make, np.random.default_rng(3))


@pytest.mark.parametrize("seed", range(5))
def test_a_right_density_passes(seed):
    require_density_of_points(Sheared, np.random.default_rng(seed))


def test_the_spline_flow_of_discflow_passes():
    generator = DiscFlowGenerator(DiscFlowSettings(width=16, depth=1, bins=4))
    check(generator.make_density)


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        (LostSign, "is a sign lost"),
        (Inverse, "is one of the two the inverse"),
        (NoJacobian, "is the determinant of the Jacobian"),
        (IgnoresWhatIsGiven, "are not distributed as log_density"),
    ],
)
def test_a_wrong_density_is_told(wrong, rule):
    with pytest.raises(AssertionError, match=rule):
        check(wrong)


def test_a_loss_that_is_no_likelihood_is_left_alone():
    assert not CfmGenerator.likelihood
