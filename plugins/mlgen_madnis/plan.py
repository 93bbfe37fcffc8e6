"""How the points of the integrand are divided between the VEGAS start, the training and the choice of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

from mlgen.errors import TrainingError
from mlgen_madnis.settings import MadnisSettings
from mlgen_madnis.sizes import Sizes

#: Fewest points of each part, for each channel, from which anything can be learned.
_FEWEST_POINTS = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """Points of the integrand and steps of a training.

    Args:
        vegas: Points of the VEGAS start, all iterations together.
        steps: Optimisation steps.
        batch_size: Points in one of them.
        held_out: Points on which the best checkpoint is chosen.
    """

    vegas: int
    steps: int
    batch_size: int
    held_out: int

    @property
    def work(self) -> int:
        """Points that are gone through, those of buffered steps included."""
        return self.vegas + self.steps * self.batch_size + self.held_out


def plan_training(settings: MadnisSettings, sizes: Sizes, channels: int, maps: int, budget: int | None) -> Plan:
    """Return what the settings ask for, all parts made smaller in proportion where the budget does not reach.

    Args:
        settings: The plugin's settings.
        sizes: Its sizes.
        channels: Number of channels.
        maps: Number of VEGAS maps.
        budget: Points of the integrand that may be used; None: as many as the settings ask for.

    Raises:
        TrainingError: The budget is too small.
    """
    each = settings.buffered_steps + 1
    vegas = settings.vegas_iterations * sizes.vegas_points * maps
    online = -(-sizes.steps // each)
    wanted = vegas + online * sizes.batch_size + settings.held_out_points
    scale = 1.0 if budget is None else min(1.0, budget / wanted)
    plan = Plan(
        vegas=int(vegas * scale),
        steps=min(sizes.steps, int(online * scale) * each),
        batch_size=sizes.batch_size,
        held_out=int(settings.held_out_points * scale),
    )
    fewest = {
        "the VEGAS start": (plan.vegas, settings.vegas_iterations * channels * _FEWEST_POINTS),
        "the training": (plan.steps * plan.batch_size, each * sizes.batch_size),
        "the choice of a checkpoint": (plan.held_out, channels * _FEWEST_POINTS),
    }
    for part, (points, needed) in fewest.items():
        if points < needed:
            raise TrainingError(
                f"a budget of {budget} points is too small for {channels} channels: {part} would get {points} points, "
                f"{needed} or more are expected. The settings ask for {wanted} altogether"
            )
    return plan
