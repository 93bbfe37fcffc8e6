"""From noise to points: solvers of the ordinary differential equation of a velocity field."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]


def solve(velocity: Velocity, x: Tensor, start: float, end: float, solver: str, steps: int, tolerance: float) -> Tensor:
    r"""Follow :math:`dx / dt = v(x, t)` from one time to another.

    Args:
        velocity: v of points ``(n, d)`` at one time.
        x: Points at the time `start`, ``(n, d)``.
        start: Time to begin with.
        end: Time to end with.
        solver: ``heun`` (second order, two evaluations a step), ``rk4`` (fourth order, four) or ``dopri5`` (adaptive).
        steps: Steps of a solver with fixed ones.
        tolerance: Relative and absolute error of the adaptive one.

    Returns:
        Points at the time `end`.

    References:
        Eq. (4.139) and (4.154) of Plehn et al., arXiv:2211.01421.
    """
    if solver == "dopri5":
        from torchdiffeq import odeint

        times = torch.tensor([start, end], dtype=x.dtype, device=x.device)
        path: Tensor = odeint(lambda t, y: velocity(y, float(t)), x, times, rtol=tolerance, atol=tolerance)
        return path[-1]
    step = (end - start) / steps
    for k in range(steps):
        t = start + k * step
        first = velocity(x, t)
        if solver == "heun":
            x = x + step / 2 * (first + velocity(x + step * first, t + step))
            continue
        second = velocity(x + step / 2 * first, t + step / 2)
        third = velocity(x + step / 2 * second, t + step / 2)
        fourth = velocity(x + step * third, t + step)
        x = x + step / 6 * (first + 2 * second + 2 * third + fourth)
    return x
