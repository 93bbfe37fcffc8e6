r"""The flow and the discriminator in turns, without an equilibrium between them.

In each round a discriminator learns what tells the flow's events from those of the training, and the flow goes on with
the events weighted by what it says:

.. math:: \mathcal L = -\bigl\langle w_D(x)^\alpha \log p_\mathrm{model}(x) \bigr\rangle_{p_\mathrm{data}}, \quad
          w_D = \frac{D}{1 - D} \to \frac{p_\mathrm{data}}{p_\mathrm{model}}

Where the flow has too few events they count more, and less where it has too many; once it has the right ones,
:math:`w_D = 1` and the loss is the plain one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mlgen.events import FloatArray
from mlgen.generation.discriminator import Discriminator, discriminator_inputs
from mlgen.generation.fitting import Course, Data, fit_density
from mlgen.generation.learning import HELD_OUT, Learned, LearningReport, possible_points
from mlgen.torch_training import set_parameters
from mlgen_discflow.settings import DiscFlowSettings

#: Most events of a topology that a discriminator is trained with in a round, and the fewest for which there is one.
_MOST, _FEWEST = 60_000, 2_000
#: Learning rate of the flow in the rounds, relative to that of the plain training.
_LEARNING_RATE = 0.3


def fit_with_discriminator(
    learned: Learned,
    number: int,
    data: Data,
    settings: DiscFlowSettings,
    steps: int,
    rng: np.random.Generator,
    report: Callable[[int, float], None],
    remarks: LearningReport,
    course: Course,
) -> None:
    """Train a family's flow further, in rounds with a discriminator.

    What is kept in the end is the flow of the round whose discriminator could tell its events apart least, judged by
    held-out events; that of the plain training is among them.

    Args:
        learned: What is learned so far.
        number: The family.
        data: Its events.
        settings: Of the generator.
        steps: Optimisation steps of all rounds.
        rng: Source of all randomness.
        report: Called with the steps done and the loss.
        remarks: Takes the cross entropies.
        course: What happened so far; takes the losses.

    References:
        Eq. (4.95) to (4.97) of Plehn et al., arXiv:2211.01421; arXiv:2110.13632.
    """
    family = learned.families[number]
    rounds = settings.discriminator_rounds
    slower = settings.model_copy(update={"learning_rate": _LEARNING_RATE * settings.learning_rate})
    parameters = list(family.density.parameters())
    entropies: list[float] = []
    flows = []
    for turn in range(rounds + 1):
        weights, entropy = _taught(learned, number, settings, rng)
        entropies.append(entropy)
        flows.append([parameter.detach().clone() for parameter in parameters])
        if turn == rounds:
            break
        power = settings.discriminator_power * (turn + 1) / rounds
        factor = torch.from_numpy((weights**power).astype(np.float32)).to(data.weight.device)
        own = fit_density(
            family.density,
            data,
            slower,
            max(1, steps // rounds),
            rng,
            lambda done, loss, before=turn * (steps // rounds): report(before + done, loss),  # type: ignore[misc]
            factor=factor,
            select=False,
        )
        course.loss += own.loss
        course.validation_loss += own.validation_loss
    best = int(np.argmax(entropies))
    set_parameters(parameters, flows[best])
    suffix = f".{number}" if len(learned.families) > 1 else ""
    remarks.curves[f"cross_entropy_over_ln2{suffix}"] = [entropy / float(np.log(2)) for entropy in entropies]
    remarks.figures[f"discriminator_round{suffix}"] = best


def enough_events(learned: Learned, number: int) -> bool:
    """Whether a topology of the family has enough events for a discriminator."""
    events = learned.events_of_training.events
    return any(len(events[k].weight) >= _FEWEST for k in learned.families[number].family.topologies)


def _taught(
    learned: Learned,
    number: int,
    settings: DiscFlowSettings,
    rng: np.random.Generator,
) -> tuple[FloatArray, float]:
    """Weights of all events of a family by its discriminators, ``(n,)``, and the mean of these' cross entropies.

    The order of the events is that of the family's: topology by topology.
    """
    training = learned.events_of_training
    weights, entropies, sizes = [], [], []
    for k in learned.families[number].family.topologies:
        topology, events, held_out = learned.topologies[k], training.events[k], training.held_out[k]
        n = len(events.weight)
        if n < _FEWEST:
            weights.append(np.ones(n))
            continue
        azimuth = rng.uniform(-np.pi, np.pi, n)
        momenta = topology.decode(events.points[0], events.flavour, azimuth).momenta
        true = discriminator_inputs(topology, events.points[0], momenta)
        chosen = rng.permutation(n)[:_MOST]
        made_points, made_momenta, _ = possible_points(learned, k, len(chosen), rng)
        if len(made_points) < _FEWEST // 2:
            weights.append(np.ones(n))
            continue
        made = discriminator_inputs(topology, made_points, made_momenta)
        # A new one in each round: its cross entropy tells how good the flow is, not how long it was trained.
        discriminator = Discriminator.make(true, rng)
        entropy = discriminator.train(
            true[chosen],
            events.weight[chosen],
            made,
            (held_out[chosen], rng.random(len(made)) < HELD_OUT),
            settings.discriminator_epochs,
            rng,
        )
        ratio = discriminator.ratio(true)
        weights.append(ratio / ratio.mean())
        entropies.append(entropy)
        sizes.append(n)
    mean = float(np.average(entropies, weights=sizes)) if entropies else 0.0
    return np.concatenate(weights), mean
