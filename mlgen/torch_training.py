"""What trainings with torch share: parameters that are lent other values, and how the learning rate falls."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

#: Steps in which the learning rate rises; in a short training, a tenth of its steps.
_WARM_UP = 100


@contextmanager
def parameters_of(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> Iterator[None]:
    """Give parameters other values for a while."""
    own = [parameter.detach().clone() for parameter in parameters]
    set_parameters(parameters, values)
    try:
        yield
    finally:
        set_parameters(parameters, own)


def set_parameters(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    """Give parameters other values."""
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)


def cosine_learning_rate(step: int, steps: int, last: float) -> float:
    """Learning rate after so many of all steps, in units of the largest one: rises, then falls like a cosine to `last`.

    References:
        Loshchilov and Hutter, arXiv:1608.03983.
    """
    warm_up = min(_WARM_UP, max(1, steps // 10))
    cosine = 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))
    return min((step + 1) / warm_up, 1.0) * (last + (1 - last) * cosine)
