"""Hard events by subprocess: which particles come in and go out of each, with their momenta in one order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mlgen.events import EventBatch
from mlgen.hard_process.subprocess import Subprocess
from mlgen.stages import FloatArray, IntArray

#: Status codes (Boos et al., hep-ph/0109068, table 2); particles with others are inside the event.
_INCOMING, _OUTGOING = -1, 1


class EventProblem(Exception):  # noqa: N818 - who knows the file makes an error of it
    """An event that is not two particles into two or more.

    Args:
        place: Which one of the batch, from 0.
        problem: What is wrong with it.
    """

    def __init__(self, place: int, problem: str) -> None:
        self.place, self.problem = place, problem
        super().__init__(problem)


@dataclass(frozen=True, slots=True)
class SubprocessEvents:
    """The events of a batch that belong to one subprocess.

    Args:
        subprocess: Incoming particles in the order of the event; outgoing ones by kind, particles before antiparticles,
            so that events that differ in the order of their particles belong together.
        places: Which events of the batch they are, ``(n,)``, ascending.
        momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV, in the order of the subprocess.
        masses: As the file says them, ``(n, particles)`` in GeV.
    """

    subprocess: Subprocess
    places: IntArray
    momenta: FloatArray
    masses: FloatArray


def subprocess_events(batch: EventBatch) -> list[SubprocessEvents]:
    """Sort the events of a batch by subprocess, in the order in which these first appear.

    Particles that are neither incoming nor outgoing, such as resonances, are left out. Outgoing particles of one kind
    keep the order of the event.

    Raises:
        EventProblem: An event does not have two incoming and two or more outgoing particles.
    """
    columns = batch.columns(("pdg_id", "status", "px", "py", "pz", "energy", "generated_mass"))
    event = np.repeat(np.arange(len(batch)), batch.counts)
    kinematics = np.stack([columns[name] for name in ("px", "py", "pz", "energy", "generated_mass")], axis=1)
    incoming = np.flatnonzero(columns["status"] == _INCOMING)
    outgoing = np.flatnonzero(columns["status"] == _OUTGOING)
    _refuse_other_numbers(np.bincount(event[incoming], minlength=len(batch)), "incoming", _INCOMING, exactly=True)
    multiplicity = np.bincount(event[outgoing], minlength=len(batch))
    _refuse_other_numbers(multiplicity, "outgoing", _OUTGOING, exactly=False)
    pair = incoming.reshape(-1, 2)
    found: list[SubprocessEvents] = []
    for number in np.unique(multiplicity):
        places = np.flatnonzero(multiplicity == number)
        out = outgoing[np.isin(event[outgoing], places)].reshape(-1, number)
        pdg_id = columns["pdg_id"][out]
        order = np.argsort(2 * np.abs(pdg_id) + (pdg_id < 0), axis=1, kind="stable")
        rows = np.concatenate([pair[places], np.take_along_axis(out, order, axis=1)], axis=1)
        found += _by_subprocess(places, columns["pdg_id"][rows], kinematics[rows])
    # What is wrong is said of the first event that it is wrong with.
    return sorted(found, key=lambda events: int(events.places[0]))


def _by_subprocess(places: IntArray, pdg_id: IntArray, kinematics: FloatArray) -> Iterator[SubprocessEvents]:
    distinct, which = np.unique(pdg_id, axis=0, return_inverse=True)
    which = which.reshape(-1)
    for number, ids in enumerate(distinct.tolist()):
        chosen = np.flatnonzero(which == number)
        momenta, masses = kinematics[chosen, :, :4], kinematics[chosen, :, 4]
        yield SubprocessEvents(Subprocess((ids[0], ids[1]), tuple(ids[2:])), places[chosen], momenta, masses)


def _refuse_other_numbers(count: IntArray, kind: str, status: int, *, exactly: bool) -> None:
    wrong = np.flatnonzero(count != 2 if exactly else count < 2)
    if len(wrong):
        expected = "two" if exactly else "two or more"
        raise EventProblem(
            int(wrong[0]),
            f"it has {count[wrong[0]]} {kind} particles (status {status}); a matrix element has {expected}",
        )
