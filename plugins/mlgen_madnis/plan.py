"""How the points of the integrand are divided between the VEGAS start, the training and the choice of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlgen.errors import TrainingError
from mlgen.stages import IntArray
from mlgen_madnis.settings import MadnisSettings
from mlgen_madnis.sizes import Sizes
from mlgen_madnis.vegas_start import fewest_vegas_points

#: Fewest held-out points for each channel.
_FEWEST_HELD_OUT = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """Points of the integrand and steps of a training.

    Args:
        vegas: Points of the VEGAS start, all iterations together.
        batch_sizes: Points in each optimisation step, ``(steps,)``.
        cycle: Every so many steps one is on new points, the first among them; the others are on points seen before.
        held_out: Points on which the best checkpoint is chosen.
    """

    vegas: int
    batch_sizes: IntArray
    cycle: int
    held_out: int

    @property
    def steps(self) -> int:
        """Optimisation steps."""
        return len(self.batch_sizes)

    @property
    def training(self) -> int:
        """New points of the training."""
        return int(self.batch_sizes[:: self.cycle].sum())

    @property
    def work(self) -> int:
        """Points that are gone through, those of steps on points seen before included."""
        return self.vegas + int(self.batch_sizes.sum()) + self.held_out


def plan_training(settings: MadnisSettings, sizes: Sizes, group_of_channel: IntArray, budget: int | None) -> Plan:
    """Return what the settings ask for, all parts made smaller in proportion where the budget does not reach.

    Args:
        settings: The plugin's settings.
        sizes: Its sizes.
        group_of_channel: Group of each channel, ``(channels,)``.
        budget: Points of the integrand that may be used; None: as many as the settings ask for.

    Raises:
        TrainingError: The settings ask for too little, whatever the budget, or the budget is too small.
    """
    channels, groups = len(group_of_channel), int(group_of_channel.max()) + 1
    wanted = Plan(
        vegas=settings.vegas_iterations * sizes.vegas_points * groups,
        batch_sizes=_batch_sizes(sizes, sizes.steps),
        cycle=settings.buffered_steps + 1,
        held_out=settings.held_out_points,
    )
    fewest_vegas, fewest_held_out = fewest_vegas_points(group_of_channel, settings), channels * _FEWEST_HELD_OUT
    if wanted.vegas < fewest_vegas:
        needed = -(-fewest_vegas // (settings.vegas_iterations * groups))
        raise TrainingError(
            f"vegas_points = {sizes.vegas_points} is too small for {channels} channels in {groups} groups: set it to "
            f"{needed} or more"
        )
    if wanted.held_out < fewest_held_out:
        raise TrainingError(
            f"held_out_points = {wanted.held_out} is too small for {channels} channels: set it to {fewest_held_out} "
            "or more"
        )
    total = wanted.vegas + wanted.training + wanted.held_out
    if budget is None or budget >= total:
        return wanted
    scale = budget / total
    plan = Plan(
        vegas=int(wanted.vegas * scale),
        batch_sizes=_fewer_steps(wanted, sizes, int(wanted.training * scale)),
        cycle=wanted.cycle,
        held_out=int(wanted.held_out * scale),
    )
    parts = {
        "the VEGAS start": (plan.vegas, fewest_vegas),
        "the training": (plan.training, sizes.batch_size),
        "the choice of a checkpoint": (plan.held_out, fewest_held_out),
    }
    for part, (points, needed) in parts.items():
        if points < needed:
            raise TrainingError(
                f"a budget of {budget} points is too small for {channels} channels: {part} would get {points} points, "
                f"{needed} or more are expected. The settings ask for {total} altogether"
            )
    return plan


def _batch_sizes(sizes: Sizes, steps: int) -> IntArray:
    """Return the points in each step: they grow by the same factor from one to the next."""
    sizes_of_steps = np.geomspace(sizes.batch_size, sizes.last_batch_size, max(steps, 2))[:steps]
    return np.rint(sizes_of_steps).astype(np.int64)


def _fewer_steps(wanted: Plan, sizes: Sizes, points: int) -> IntArray:
    """Return the batch sizes of as many steps as `points` new points allow, whole cycles of them."""
    cycles = -(-wanted.steps // wanted.cycle) * points // wanted.training
    while cycles > 0:
        batch_sizes = _batch_sizes(sizes, min(cycles * wanted.cycle, wanted.steps))
        if batch_sizes[:: wanted.cycle].sum() <= points:
            return batch_sizes
        cycles -= 1
    return np.empty(0, np.int64)
