"""Sizes that the settings leave to the process."""

from __future__ import annotations

from dataclasses import dataclass

from mlgen_madnis.settings import MadnisSettings


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of a training.

    Args:
        steps: Optimisation steps.
        batch_size: Points in one of them.
        units: Units of the hidden layers of the flows' networks.
        vegas_points: Points for each map in one iteration of the VEGAS start.
    """

    steps: int
    batch_size: int
    units: int
    vegas_points: int


def sizes_for(settings: MadnisSettings, dimensions: int) -> Sizes:
    """Return the sizes that `settings` ask for, with ``"auto"`` resolved for a process of so many dimensions.

    Up to four dimensions (two particles with parton densities) little has to be learned beyond what VEGAS has; from
    eight on (four particles) there are many channels: a batch has to fill them all, and VEGAS gets fewer points for
    each.
    """
    steps, batch_size, units, vegas_points = (1000 if dimensions <= 4 else 2400), 1024, 32, 20_000
    if dimensions >= 8:
        steps, batch_size, units, vegas_points = 3000, 2048, 32, 8_000
    return Sizes(
        steps=steps if settings.steps == "auto" else settings.steps,
        batch_size=batch_size if settings.batch_size == "auto" else settings.batch_size,
        units=units if settings.units == "auto" else settings.units,
        vegas_points=vegas_points if settings.vegas_points == "auto" else settings.vegas_points,
    )
