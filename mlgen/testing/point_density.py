"""Whether the density of points of a learned generator is that of the points that it draws."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from mlgen.stages import EventGenerator, FloatArray
from mlgen.testing.rules import require

if TYPE_CHECKING:
    from torch import Tensor

    from mlgen.generation import LearnedGenerator, PointDensity

#: Points that are drawn, and the probability that a right density fails.
_POINTS, _FALSE_ALARM = 4000, 1e-6
#: Half width of the square over which the density is integrated, and points on each of its sides.
_HALF_WIDTH, _SIDE = 9.0, 241
#: Parameters are changed by that much, so that a flow is no identity.
_CHANGE = 0.3
#: How well a sum over the square is an integral.
_QUADRATURE = 0.01
_DIMENSION, _CONTEXT = 2, 1


def learned_generator(generator: EventGenerator) -> LearnedGenerator | None:
    """Return the generator if it is one of `mlgen.generation.LearnedGenerator` whose loss is a likelihood."""
    # Where that module was not imported, it is none; importing it here would import torch.
    module = sys.modules.get("mlgen.generation.learned_generator")
    if module is None or not isinstance(generator, module.LearnedGenerator):
        return None
    learned: LearnedGenerator = generator
    return learned if learned.likelihood else None


def require_density_of_points(make: Callable[[int, int], PointDensity], rng: np.random.Generator) -> None:
    """Fail unless `sample`, `log_density` and `loss` of a `PointDensity` belong together.

    It has two dimensions and one number that is given, and random parameters: each marginal distribution of what is
    drawn is compared with the integral of the density, by the largest distance of their cumulative distributions.

    Args:
        make: Makes a density of so many dimensions, given so many numbers.
        rng: Source of all randomness.
    """
    import torch

    density = make(_DIMENSION, _CONTEXT)
    density.initialise(rng)
    with torch.no_grad():
        for parameter in density.parameters():
            change = rng.normal(0.0, _CHANGE, tuple(parameter.shape))
            parameter.add_(torch.from_numpy(np.asarray(change)).to(parameter.dtype))

        def given(n: int) -> Tensor:
            return torch.full((n, _CONTEXT), 0.7)

        normal = torch.from_numpy(rng.standard_normal((_POINTS, _DIMENSION)).astype(np.float32))
        points = density.sample(normal, given(_POINTS))
        likelihood = density.log_density(points, given(_POINTS))
        loss = density.loss(points, given(_POINTS), torch.Generator().manual_seed(1))
        axis = np.linspace(-_HALF_WIDTH, _HALF_WIDTH, _SIDE)
        grid = torch.from_numpy(np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)).float()
        parts = [density.log_density(part, given(len(part))) for part in torch.split(grid, 4096)]
        square = torch.cat(parts).double().exp().numpy().reshape(_SIDE, _SIDE)
    offset = np.ptp((loss + likelihood).double().numpy())
    require(
        offset < 1e-2 * max(1.0, float(np.ptp(likelihood.numpy()))),
        "loss() has to be minus log_density(), up to a constant, where likelihood = True; is a sign lost?",
    )
    cell = (axis[1] - axis[0]) ** 2
    total = float(square.sum() * cell)
    require(
        abs(total - 1) < 2 * _QUADRATURE,
        f"the density integrates to {total:.4g}; 1 is expected: is the determinant of the Jacobian in log_density()?",
    )
    allowed = math.sqrt(0.5 * math.log(2 * _DIMENSION / _FALSE_ALARM) / _POINTS) + _QUADRATURE
    for number in range(_DIMENSION):
        marginal = square.sum(axis=1 - number) * cell
        distance = _distance(points[:, number].double().numpy(), axis, marginal)
        require(
            distance < allowed,
            "points that sample() draws are not distributed as log_density() says: their cumulative distributions "
            f"differ by {distance:.3f} in coordinate {number}, at most {allowed:.3f} are expected; is one of the two "
            "the inverse of what it should be?",
        )


def _distance(values: FloatArray, axis: FloatArray, content: FloatArray) -> float:
    """Largest distance of the cumulative distribution of values from that of cells around the points of an axis."""
    edges = axis + 0.5 * (axis[1] - axis[0])
    found = np.searchsorted(np.sort(values), edges, side="right") / len(values)
    return float(np.max(np.abs(found - np.cumsum(content))))
