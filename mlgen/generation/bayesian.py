r"""Bayesian networks: a normal distribution of every weight instead of a number.

.. math:: \mathcal L = \bigl\langle \mathcal L(\theta) \bigr\rangle_{\theta \sim q}
          + \frac{c}{N} D_\mathrm{KL}[q(\theta), p(\theta)]

The means are the weights of a network that is trained already; what is learned are the widths.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from mlgen.generation.density import FamilyDensity
from mlgen.generation.fitting import Course, Data, set_parameters
from mlgen.generation.settings import LearnedGeneratorSettings

#: Logarithm of the variance that widths start from.
_FIRST_LOG_VARIANCE = -10.0
#: Share of the steps of the training that widths are learned in, and their learning rate.
_SHARE, _LEARNING_RATE = 0.25, 1e-2
_REPORT_EVERY = 20


def fit_posterior(
    model: FamilyDensity,
    data: Data,
    settings: LearnedGeneratorSettings,
    steps: int,
    strength: float,
    rng: np.random.Generator,
    report: Callable[[int, float], None],
) -> tuple[list[dict[str, Tensor]], Course]:
    """Learn the widths of a trained model's weights, and draw networks.

    Args:
        model: The trained model; it stays as it is.
        data: Its events.
        settings: Of the generator.
        steps: Of the training before.
        strength: The factor c: one where the loss is a likelihood.
        rng: Source of all randomness.
        report: Called with the steps done and the loss.

    Returns:
        The parameters of `settings.members` networks, and what happened.

    References:
        Eq. (4.73), (4.74) and (4.152) of Plehn et al., arXiv:2211.01421; local reparametrisation: arXiv:1506.02557.
    """
    device = data.rows.device
    noise = torch.Generator(device=device)
    noise.manual_seed(int(rng.integers(2**63)))
    means = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    log_variances = {name: torch.full_like(mean, _FIRST_LOG_VARIANCE).requires_grad_() for name, mean in means.items()}
    optimiser = torch.optim.Adam(list(log_variances.values()), _LEARNING_RATE)
    total = max(1, int(_SHARE * steps))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, total)
    # The sum of weights squared counts: weighted events are worth less than as many of equal weight.
    effective = float(data.weight[data.training].sum() ** 2 / data.weight[data.training].square().sum())
    size = settings.batch_for(len(data.training))
    course, recent = Course(), []
    for step in range(1, total + 1):
        chosen = data.training[torch.from_numpy(rng.integers(0, len(data.training), size)).to(device)]
        image = torch.from_numpy(rng.integers(0, len(data.rows), size)).to(device)
        extra, ratio = data.nuisance.drawn(chosen, rng)
        drawn = {
            name: mean + torch.exp(log_variances[name] / 2) * torch.randn(mean.shape, generator=noise, device=device)
            for name, mean in means.items()
        }
        arguments = (data.rows[image, chosen], data.topology[chosen], extra, noise)
        losses = torch.func.functional_call(_Loss(model), {f"model.{n}": v for n, v in drawn.items()}, arguments)
        loss = (data.weight[chosen] * ratio * losses).mean()
        divergence = sum(
            (_divergence(means[name], log_variances[name], settings.prior_width) for name in means),
            torch.zeros((), device=device),
        )
        loss = loss + strength * divergence / effective
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        recent.append(loss.item())
        course.steps = step
        if step % _REPORT_EVERY == 0 or step == total:
            course.loss.append(float(np.mean(recent)))
            recent.clear()
            report(step, course.loss[-1])
    members = []
    for _ in range(settings.members):
        with torch.no_grad():
            members.append(
                {
                    name: mean
                    + torch.exp(log_variances[name] / 2) * torch.randn(mean.shape, generator=noise, device=device)
                    for name, mean in means.items()
                }
            )
    return members, course


class _Loss(nn.Module):
    """Makes the loss of a model its forward call, for `torch.func.functional_call`."""

    def __init__(self, model: FamilyDensity) -> None:
        super().__init__()
        self.model = model

    def forward(self, rows: Tensor, topology: Tensor, extra: Tensor, noise: torch.Generator) -> Tensor:
        return self.model.loss(rows, topology, extra, noise)


def _divergence(mean: Tensor, log_variance: Tensor, prior_width: float) -> Tensor:
    ratio = torch.exp(log_variance) / prior_width**2
    return 0.5 * (ratio + mean.square() / prior_width**2 - 1 - torch.log(ratio)).sum()


class member_of:  # noqa: N801 - a context manager, used like a function
    """Give a model the parameters of one member for a while."""

    def __init__(self, model: nn.Module, member: dict[str, Tensor]) -> None:
        self._parameters = dict(model.named_parameters())
        self._member = member

    def __enter__(self) -> None:
        self._own = [parameter.detach().clone() for parameter in self._parameters.values()]
        set_parameters(list(self._parameters.values()), [self._member[name] for name in self._parameters])

    def __exit__(self, *exception: object) -> None:
        set_parameters(list(self._parameters.values()), self._own)
