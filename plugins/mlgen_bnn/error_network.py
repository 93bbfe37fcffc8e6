"""A small network that corrects learned errors where points that were not learned from show other ones."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from mlgen_bnn.layers import Linear

#: Hidden units, and points from which on there is enough to fit them to.
UNITS = 32
FEWEST_POINTS = 2000
#: Part of the points that decides when to stop.
_HELD_OUT = 0.2
_STEPS, _CHECK_EVERY, _BATCH = 1500, 20, 512
_LEARNING_RATE, _WEIGHT_DECAY = 2e-3, 0.1


class ErrorNetwork(nn.Module):
    """What is added to the logarithm of an error, from the inputs of a point and that logarithm.

    Args:
        inputs: Number of inputs.
        rng: Source of the start values; before a training nothing is added.
    """

    def __init__(self, inputs: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.first = Linear(inputs + 1, UNITS, rng)
        self.second = Linear(UNITS, 1, rng, scale=0.0)

    def forward(self, inputs: Tensor, log_error: Tensor) -> Tensor:
        """Return the corrected logarithms, ``(n,)``, of ``inputs (n, inputs)`` and ``log_error (n,)``."""
        seen = torch.cat([inputs, log_error[:, None]], dim=1)
        correction: Tensor = self.second(nn.functional.silu(self.first(seen)))[:, 0]
        return log_error + correction


def fit_error_network(
    inputs: Tensor, residual: Tensor, log_error: Tensor, rng: np.random.Generator
) -> ErrorNetwork | None:
    """Fit the correction by its Gaussian likelihood, with a part of the points held out to stop in time.

    Where networks follow their training points closely, errors there say little of those at other points, and a
    correction that is the same everywhere cannot make up for it.

    Args:
        inputs: Of points that the networks did not learn from, ``(n, inputs)``.
        residual: Prediction minus truth, ``(n,)``.
        log_error: Logarithm of the errors so far, ``(n,)``.
        rng: Source of the start values and of the batches.

    Returns:
        The network; None where there are fewer than `FEWEST_POINTS`, or nothing became better.
    """
    if len(residual) < FEWEST_POINTS:
        return None
    network = ErrorNetwork(inputs.shape[1], rng)
    optimiser = torch.optim.AdamW(network.parameters(), _LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    order = torch.from_numpy(rng.permutation(len(residual)))
    held_out = round(_HELD_OUT * len(residual))
    used, checked = order[held_out:], order[:held_out]

    def loss(chosen: Tensor) -> Tensor:
        corrected = network(inputs[chosen], log_error[chosen])
        each: Tensor = (0.5 * residual[chosen].square() * torch.exp(-2 * corrected) + corrected).mean()
        return each

    with torch.no_grad():
        first = best = float(loss(checked))
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    for step in range(1, _STEPS + 1):
        chosen = used[torch.from_numpy(rng.integers(len(used), size=_BATCH))]
        optimiser.zero_grad()
        loss(chosen).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step % _CHECK_EVERY == 0:
            with torch.no_grad():
                now = float(loss(checked))
            if now < best:
                best, kept = now, {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(kept)
    return network if best < first else None
