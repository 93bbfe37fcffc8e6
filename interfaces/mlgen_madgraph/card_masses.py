"""Masses and widths of a parameter card, which have to be those that the phase space has."""

from __future__ import annotations

import re
from pathlib import Path

from mlgen.errors import ProcessError
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.particles import particle_of
from mlgen.hard_process.subprocess import Subprocess

_MASS = re.compile(r"^\s*(\d+)\s+([-+.\deE]+)")


def check_masses(card: Path, subprocess: Subprocess, parameters: ModelParameters) -> None:
    """Refuse a card with other masses of the external particles; what it does not say is taken to be right.

    Raises:
        ProcessError: A mass differs; names the particle and both masses.

    References:
        Skands et al., SUSY Les Houches Accord, hep-ph/0311123 (block MASS).
    """
    if not card.is_file():
        return
    masses: dict[int, float] = {}
    block = ""
    for line in card.read_text(errors="replace").splitlines():
        words = line.split()
        if words and words[0].lower() in ("block", "decay"):
            block = words[1].lower() if words[0].lower() == "block" and len(words) > 1 else ""
        elif block == "mass" and (entry := _MASS.match(line)):
            masses[int(entry[1])] = abs(float(entry[2]))
    for pdg_id in subprocess.pdg_ids:
        card_mass, mass = masses.get(abs(pdg_id)), parameters.mass_of(pdg_id)
        if card_mass is not None and abs(card_mass - mass) > 1e-6 * max(mass, card_mass):
            wanted = f"parameters = {{ mass = {{ {parameters.name_of(pdg_id)} = {card_mass:g} }} }}"
            raise ProcessError(
                f"{particle_of(pdg_id).name} has a mass of {mass:g} GeV in the process, but of {card_mass:g} GeV in "
                f"'{card}'\nMake them equal: {wanted}"
            )
