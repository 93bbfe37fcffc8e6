"""Straight ways from noise to events, which a solver follows in few steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from mlgen.generation.density import FamilyDensity
from mlgen.generation.families import FamilyEvents
from mlgen.generation.nuisance import LARGEST
from mlgen_cfm.density import FlowMatchingDensity
from mlgen_cfm.settings import CfmSettings

#: Pairs of noise and points that are learned from, and the steps they are made with.
_PAIRS, _CHUNK, _SOLVER_STEPS = 200_000, 4096, 12
_REPORT_EVERY = 20
_LEARNING_RATE = 0.3


def rectify(
    model: FamilyDensity,
    events: FamilyEvents,
    settings: CfmSettings,
    rng: np.random.Generator,
    report: Callable[[int, float], None],
) -> None:
    """Train each velocity field on the pairs of noise and points that it makes itself.

    The points of a trained field follow the same density, but each belongs to one noise, so that the straight lines
    between them do not cross, and the field that is learned along them is nearly constant on each.

    Args:
        model: The trained model, changed in place.
        events: Events of the family: what is given is taken from these.
        settings: Of the generator.
        rng: Source of all randomness.
        report: Called with the steps done and the loss.

    References:
        Liu, Gong, Liu, arXiv:2209.03003.
    """
    from pytorch_optimizer import SOAP

    device = next(model.parameters()).device
    chosen = rng.integers(0, len(events), _PAIRS)
    topology = torch.from_numpy(events.topology[chosen]).to(device)
    # All values of a nuisance parameter that the model was trained for.
    values = rng.uniform(-LARGEST, LARGEST, (_PAIRS, model.extra)).astype(np.float32)
    extra = torch.from_numpy(values).to(device)
    # One draw of the model as it is: the context of each block is what the blocks before it gave.
    for block, density in zip(model.family.blocks, model.parts, strict=True):
        if not isinstance(density, FlowMatchingDensity):
            continue
        rows = torch.from_numpy(events.rows[0, chosen]).to(device)
        members = torch.from_numpy(block.members).to(device)[topology]
        own = torch.nonzero(members)[:, 0]
        if not len(own):
            continue
        contexts = model.context(block, rows[own], topology[own], extra[own])
        latent = torch.from_numpy(rng.standard_normal((len(own), block.last - block.first), np.float32)).to(device)
        with torch.no_grad():
            made = torch.cat(
                [
                    density.follow(z, c, "rk4", _SOLVER_STEPS)
                    for z, c in zip(torch.split(latent, _CHUNK), torch.split(contexts, _CHUNK), strict=True)
                ]
            )
        parameters = list(density.parameters())
        optimiser = SOAP(parameters, lr=_LEARNING_RATE * settings.learning_rate, betas=(0.95, 0.95), weight_decay=0.0)
        steps = settings.rectification_steps
        average = [parameter.detach().clone() for parameter in parameters]
        for step in range(1, steps + 1):
            for group in optimiser.param_groups:
                group["lr"] = _LEARNING_RATE * settings.learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))
            part = torch.from_numpy(rng.integers(0, len(own), settings.batch_for(len(events)))).to(device)
            t = torch.from_numpy(rng.random((len(part), 1), np.float32)).to(device)
            loss = density.matching_loss(made[part], latent[part], t, contexts[part]).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, 5.0)
            optimiser.step()
            with torch.no_grad():
                torch._foreach_lerp_(
                    average, [p.detach() for p in parameters], 1 / max(2.0, min(0.05 * steps, step / 5))
                )
            if step % _REPORT_EVERY == 0:
                report(step, loss.item())
        with torch.no_grad():
            for parameter, value in zip(parameters, average, strict=True):
                parameter.copy_(value)
