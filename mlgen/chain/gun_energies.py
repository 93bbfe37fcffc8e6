"""The particle gun of a card, with the energies of the file that it names."""

from __future__ import annotations

import math
from pathlib import Path

from mlgen.card import Card
from mlgen.errors import InputError
from mlgen.formats.shower_files import is_shower_file
from mlgen.particle_gun import MEV, ParticleGun


def gun_of(card: Card) -> ParticleGun:
    """Make the particle gun that a card's [particle_gun] describes.

    Raises:
        InputError: The file of energies cannot be read, or has none, or one that is not above zero.
    """
    settings = card.model.particle_gun
    if settings is None:
        raise ValueError("the card has no [particle_gun]")
    if settings.file is None:
        return ParticleGun(settings, settings.energies)
    path = card.path(settings.file)
    return ParticleGun(settings, _energies_of_showers(path) if is_shower_file(path) else _energies_of_text(path))


def _energies_of_showers(path: Path) -> tuple[float, ...]:
    """Incident energies of showers, GeV. What their voxels are does not matter."""
    import h5py

    from mlgen.formats.shower_layout import checked_layout

    with h5py.File(path, "r") as file:
        layout = checked_layout(str(path), file)
        values = file[layout.energy][()].reshape(-1).astype(float) * (layout.to_mev / MEV)
    for number, energy in enumerate(values.tolist(), start=1):
        if not 0 < energy < math.inf:
            raise InputError(str(path), f"the incident energy of shower {number:,} is {energy:g}, not above zero")
    return tuple(values.tolist())


def _energies_of_text(path: Path) -> tuple[float, ...]:
    """Energies in a text, GeV, one a line; ``#`` begins a comment."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text, and no HDF5 file of showers"
        raise InputError(str(path), f"the energies cannot be read: {reason}") from error
    energies = []
    for number, line in enumerate(lines, start=1):
        content = line.split("#", 1)[0].strip()
        if not content:
            continue
        try:
            energy = float(content)
        except ValueError:
            energy = math.nan
        if not 0 < energy < math.inf:
            raise InputError(str(path), f"an energy in GeV above zero is expected; this is '{content}'", line=number)
        energies.append(energy)
    if not energies:
        raise InputError(str(path), "has no energies; one a line is expected, in GeV")
    return tuple(energies)
