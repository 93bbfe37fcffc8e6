"""Momenta of events as a matrix element wants them: balanced, and on the mass shells of its model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlgen.chain.event_subprocesses import EventProblem, SubprocessEvents
from mlgen.hard_process.event_record import on_shell
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.particles import particle_of
from mlgen.stages import FloatArray

#: How much a mass of the events may differ from the model's, relative to it.
MASS_TOLERANCE = 1e-3
#: An electron's mass, in GeV, is not worth a remark.
SMALLEST_REMARKED_MASS = 1e-3
#: How far momenta may be moved, relative to the energy in the centre of mass.
MOMENTUM_TOLERANCE = 1e-3


def model_momenta(events: SubprocessEvents, masses: Sequence[float], negligible_mass: float) -> FloatArray:
    """Return momenta that balance, with exactly the masses of the model, the first incoming particle along +z.

    An event whose first incoming particle goes along -z is turned around, which changes no matrix element. Digits that
    a file leaves out, and masses that are negligible, are made good (`mlgen.hard_process.event_record.on_shell`).

    Args:
        events: Events of one subprocess, whose particles the model has.
        masses: Of its particles in the model, in GeV.
        negligible_mass: In GeV: masses of the events that are left out where the model has none.

    Returns:
        ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV.

    Raises:
        EventProblem: Masses of the events are not those of the model, or an event's momenta do not balance, are off
            the mass shells, or do not come in along the beam.
    """
    _refuse_other_masses(events, np.asarray(masses), negligible_mass)
    momenta = np.where((events.momenta[:, :1, 2] < 0)[..., None], events.momenta * [1, -1, -1, 1], events.momenta)
    with np.errstate(invalid="ignore", over="ignore"):
        balanced = on_shell(momenta, masses[2:])
        # Of massless particles along the beam.
        energy = 2 * np.sqrt(balanced[:, 0, 3] * balanced[:, 1, 3])
        moved = np.abs(balanced - momenta).max(axis=(1, 2))
        allowed = MOMENTUM_TOLERANCE * energy + _energy_of_masses(events, np.asarray(masses))
    # Not a number is wrong, too.
    wrong = np.flatnonzero(~(moved <= allowed))
    if len(wrong):
        first = wrong[0]
        raise EventProblem(
            int(events.places[first]),
            f"its momenta do not balance, are off the mass shells, or do not come in along the beam: by "
            f"{moved[first]:.3g} GeV, of {energy[first]:.4g} GeV in the centre of mass",
        )
    return balanced


def neglected_masses(events: SubprocessEvents, masses: Sequence[float]) -> dict[str, float]:
    """Return the largest mass in GeV, by particle, that events have and `model_momenta` leaves out."""
    largest = events.masses.max(axis=0, initial=0.0)
    found: dict[str, float] = {}
    for pdg_id, mass, model in zip(events.subprocess.pdg_ids, largest.tolist(), masses, strict=True):
        if model == 0 and mass > SMALLEST_REMARKED_MASS:
            name = particle_of(pdg_id).name
            found[name] = max(mass, found.get(name, 0.0))
    return found


def _energy_of_masses(events: SubprocessEvents, masses: FloatArray) -> FloatArray:
    """The energy in GeV that leaving out masses of outgoing particles takes away, ``(n,)``."""
    left_out = np.where(masses[2:] > 0, 0.0, events.masses[:, 2:])
    momentum = np.sqrt((events.momenta[:, 2:, :3] ** 2).sum(axis=2))
    return np.asarray((np.hypot(momentum, left_out) - momentum).sum(axis=1))


def _refuse_other_masses(events: SubprocessEvents, masses: FloatArray, negligible_mass: float) -> None:
    allowed = np.where(masses > 0, MASS_TOLERANCE * masses, negligible_mass)
    wrong = ~(np.abs(events.masses - masses) <= allowed)
    # What comes in is massless: both in the events and in the model.
    wrong[:, :2] |= masses[:2] > 0
    if not wrong.any():
        return
    row, slot = (int(numbers[0]) for numbers in np.nonzero(wrong))
    pdg_id = events.subprocess.pdg_ids[slot]
    own, model = float(events.masses[row, slot]), float(masses[slot])
    incoming = slot < 2
    raise EventProblem(
        int(events.places[row]),
        f"its {'incoming ' if incoming else ''}{particle_of(pdg_id).name} has a mass of {own:.6g} GeV, and one of "
        f"{model:.6g} GeV in the model; {_advice(pdg_id, own, model, incoming=incoming)}",
    )


def _advice(pdg_id: int, mass: float, model: float, *, incoming: bool) -> str:
    name = ModelParameters().name_of(pdg_id)
    if incoming:
        if model > 0:
            return f"give parameters = {{ mass = {{ {name} = 0 }} }} on both sides, new and old"
        return "only massless particles may come in"
    if name == "w":
        return "the mass of the W follows from alpha_em_inverse, fermi_constant and the mass of the Z: change these"
    if name == "zp":
        return f"give parameters = {{ z_prime = {{ mass = {mass:.6g}, width = ... }} }}"
    if not name:
        return "the matrix element has none"
    given = f"give parameters = {{ mass = {{ {name} = {mass:.6g} }} }} on both sides, new and old"
    if model == 0:
        return f"{given}, where the matrix elements can have it, or leave it out with negligible_mass = {mass:.3g}"
    return (
        f"{given}. A particle whose mass varies from event to event is off its mass shell, and has a matrix element "
        "with its decay products only"
    )
