"""Sizes that the settings leave to the process."""

from __future__ import annotations

from dataclasses import dataclass

from mlgen_madnis.settings import MadnisSettings


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of a training.

    Args:
        steps: Optimisation steps.
        batch_size: Points in the first of them.
        last_batch_size: Points in the last.
        units: Units of the hidden layers of the flows' networks.
        vegas_points: Points for each map in one iteration of the VEGAS start.
    """

    steps: int
    batch_size: int
    last_batch_size: int
    units: int
    vegas_points: int


def sizes_for(settings: MadnisSettings, dimensions: int) -> Sizes:
    """Return the sizes that `settings` ask for, with ``"auto"`` resolved for a process of so many dimensions.

    Up to four dimensions (two particles with parton densities) little has to be learned beyond what VEGAS has; from
    eight on (four particles) there are many channels, and VEGAS gets fewer points for each. From six on the last batch
    is four times as large as the first: small batches learn the rough shape from few points, and large ones, which
    hold more of the rare large weights, settle the rest.
    """
    if dimensions >= 8:
        steps, vegas_points = 3000, 8_000
    elif dimensions >= 6:
        steps, vegas_points = 2000, 20_000
    else:
        steps, vegas_points = (1000 if dimensions <= 4 else 2400), 20_000
    first = 1024 if settings.batch_size == "auto" else settings.batch_size
    growth = 4 if dimensions >= 6 else 1
    return Sizes(
        steps=steps if settings.steps == "auto" else settings.steps,
        batch_size=first,
        last_batch_size=growth * first if settings.last_batch_size == "auto" else settings.last_batch_size,
        units=32 if settings.units == "auto" else settings.units,
        vegas_points=vegas_points if settings.vegas_points == "auto" else settings.vegas_points,
    )
