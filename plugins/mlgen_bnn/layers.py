"""Linear layers, with or without a Gaussian distribution of their weights."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

#: Width of the weights' distributions before the training, relative to that of their start values.
START_WIDTH = 1e-3


class Linear(nn.Module):
    r"""A linear layer; of a Bayesian one each weight is drawn from :math:`\mathcal N(\mu, \sigma_q^2)`.

    Biases have no distribution. What a Bayesian layer gives is Gaussian for given inputs, with mean and variance

    .. math:: \mu^T x + b, \quad (\sigma_q^2)^T x^2,

    so that outputs are drawn instead of weights: a draw of its own for each point, with less noise in the gradients.

    Args:
        inputs: Number of inputs.
        outputs: Number of outputs.
        bayesian: Whether weights have distributions.
        rng: Source of the start values, uniform within one over the root of the inputs.
        scale: Factor of the start values.

    References:
        Kingma, Salimans and Welling, arXiv:1506.02557 (local reparametrisation).
    """

    def __init__(
        self, inputs: int, outputs: int, rng: np.random.Generator, *, bayesian: bool = False, scale: float = 1.0
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(_tensor(scale * rng.uniform(-bound, bound, (inputs, outputs))))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.log_width = (
            nn.Parameter(torch.full((inputs, outputs), math.log(START_WIDTH * bound))) if bayesian else None
        )

    def forward(self, x: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return the outputs ``(n, outputs)``: of the mean weights, or drawn with `noise`."""
        mean = torch.addmm(self.bias, x, self.weight)
        if self.log_width is None or noise is None:
            return mean
        width = torch.sqrt(self.variance(x) + 1e-16)
        return mean + width * torch.randn(mean.shape, generator=noise, device=mean.device)

    def variance(self, x: Tensor) -> Tensor:
        """Return the variance of the outputs, ``(n, outputs)``."""
        if self.log_width is None:
            return x.new_zeros((len(x), self.weight.shape[1]))
        return x.square() @ torch.exp(2 * self.log_width)

    def divergence(self, prior_width: float) -> Tensor:
        r"""Return the Kullback-Leibler divergence from the prior of width :math:`\sigma_p` around zero, summed.

        .. math:: \sum \frac{\sigma_q^2 - \sigma_p^2 + \mu^2}{2 \sigma_p^2} + \log \frac{\sigma_p}{\sigma_q}

        Of a layer without distributions, :math:`\mu^2 / 2 \sigma_p^2` is left.

        References:
            Eq. (1.92) and (1.93) of Plehn et al., arXiv:2211.01421.
        """
        squares = self.weight.square().sum() / (2 * prior_width**2)
        if self.log_width is None:
            return squares
        width = torch.exp(2 * self.log_width)
        return squares + (width / (2 * prior_width**2) - 0.5 + math.log(prior_width) - self.log_width).sum()

    def set_widths(self, precision: Tensor) -> None:
        """Make the widths those of Gaussians of the given precisions, ``(inputs, outputs)``, one over width squared."""
        if self.log_width is not None:
            with torch.no_grad():
                self.log_width.copy_(-0.5 * torch.log(precision))

    def draw(self, rng: np.random.Generator) -> None:
        """Put weights that are drawn from the distributions in the place of their means."""
        if self.log_width is None:
            return
        with torch.no_grad():
            standard = _tensor(rng.standard_normal(tuple(self.weight.shape)))
            self.weight.add_(torch.exp(self.log_width) * standard.to(self.weight.device))


def _tensor(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
