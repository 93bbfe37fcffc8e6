"""From the columns of a Les Houches record to the particles and vertices of a HepMC event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.errors import OutputError
from mlgen.events import EventBatch
from mlgen.run_info import Beam

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Momentum and mass, in the order in which HepMC keeps them.
KINEMATICS = ("px", "py", "pz", "energy", "generated_mass")

INCOMING, SPACELIKE, BEAM = -1, -2, -9
HEPMC_BEAM, HEPMC_DOCUMENTATION = 4, 3

#: Numbers of the incoming and of the outgoing particles of one vertex, counted from 0 within the event.
Vertex = tuple[list[int], list[int]]


@dataclass(frozen=True, slots=True)
class HardGraph:
    """A batch of hard events as HepMC keeps them: with beam particles in front, and parents as ranges.

    Args:
        offsets: Start of each event in the flat columns, shape ``(n + 1,)``.
        added: Beam particles that were put in front of each event's own particles, shape ``(n,)``.
        pdg_id: Flat, shape ``(offsets[-1],)``, like `status` and each row of the others.
        status: HepMC status.
        kinematics: Rows as in `KINEMATICS`, shape ``(5, offsets[-1])``.
        parents: First and last parent counted from 1, 0 0 for none; shape ``(offsets[-1], 2)``.
        explicit: Vertices of the events whose parents are no disjoint ranges, by event.
    """

    offsets: Integers
    added: Integers
    pdg_id: npt.NDArray[np.int32]
    status: npt.NDArray[np.int32]
    kinematics: npt.NDArray[np.float64]
    parents: npt.NDArray[np.int32]
    explicit: dict[int, list[Vertex]]


def hard_graph(batch: EventBatch, beams: Sequence[Beam], first_event: int) -> HardGraph:
    """Give every event of a batch beams, a hard vertex and the decay vertices of its resonances.

    Beam particles are put in front where the run says what the beams are, there are two incoming particles and
    these are not the beams themselves. Whatever has an incoming particle for a mother, or no mother at all, comes
    out of the vertex in which all incoming particles meet.

    Args:
        batch: Hard events.
        beams: Beams of the run, none when it does not say.
        first_event: Number of the first event, counted from 1, for messages.

    Raises:
        OutputError: A particle's mother does not stand before it in the event.
    """
    counts = batch.counts
    starts = batch.offsets[:-1]
    columns = batch.columns()
    event = np.repeat(np.arange(len(batch)), counts)
    position = np.arange(len(event)) - starts[event]
    incoming = columns["status"] == INCOMING
    recorded = columns["status"] == BEAM

    first, last, n_incoming = _extent(incoming, event, len(batch))
    first_recorded, last_recorded, n_recorded = _extent(recorded, event, len(batch))
    toward, parton = _needed_beams(columns, beams, (n_incoming == 2) & (n_recorded == 0), first, last)
    added = toward.sum(axis=1)

    low, high, separate = _mother_ranges(columns)
    _check_order(low, high, position, event, first_event)
    shift = added[event]
    # A hard vertex of the recorded beams serves events that have no incoming particles of their own.
    hard_first = np.where(n_incoming > 0, first, first_recorded)
    hard_last = np.where(n_incoming > 0, last, last_recorded)
    meets = incoming | (recorded & (n_incoming == 0)[event])
    given = low > 0
    mother = starts[event] + low - 1
    other = starts[event] + high - 1
    from_incoming = given & (meets[np.where(given, mother, 0)] | meets[np.where(given, other, 0)])
    hard = ~incoming & ~recorded & (from_incoming | ~given) & (hard_first >= 0)[event]
    low = np.where(hard, (hard_first - starts)[event] + 1, low)
    high = np.where(hard, (hard_last - starts)[event] + 1, high)
    separate &= ~hard
    alone = low == high
    _check_order(np.where(alone, low, 0), np.where(alone, high, 0), position, event, first_event)
    low, high = np.where(low > 0, low + shift, 0), np.where(high > 0, high + shift, 0)
    low[recorded] = high[recorded] = 0
    for beam in (0, 1):
        chosen = toward[:, beam]
        low[parton[chosen, beam]] = high[parton[chosen, beam]] = 1 + (toward[chosen, 0] if beam else 0)
    for index in np.flatnonzero((n_recorded > 0) & (n_incoming > 0)):
        # Partons of recorded beams may lack the link; they follow the order of the beams.
        here = slice(starts[index], starts[index] + counts[index])
        orphans = np.flatnonzero(incoming[here] & (low[here] == 0))
        unused = [source for source in np.flatnonzero(recorded[here]) if not np.any(low[here] == source + 1)]
        for orphan, source in zip(orphans, unused, strict=False):
            if source < orphan:
                low[here][orphan] = high[here][orphan] = source + 1

    status = _hepmc_status(columns["status"])
    status[incoming & (low == 0)] = HEPMC_BEAM
    offsets = np.concatenate([[0], np.cumsum(counts + added)]).astype(np.int64)
    rows = offsets[:-1][event] + shift + position

    def placed(values: npt.NDArray[Any], dtype: Any) -> npt.NDArray[Any]:
        result = np.zeros((*values.shape[:-1], offsets[-1]), dtype)
        result[..., rows] = values
        return result

    kinematics = placed(np.stack([columns[name] for name in KINEMATICS]), np.float64)
    pdg_id, new_status = placed(columns["pdg_id"], np.int32), placed(status, np.int32)
    for side, beam_info in enumerate(beams[:2] if added.any() else ()):
        chosen = toward[:, side]
        beam_rows = offsets[:-1][chosen] + (toward[chosen, 0] if side else 0)
        kinematics[:, beam_rows] = _beam_kinematics(beam_info, 1 if side == 0 else -1)[:, None]
        pdg_id[beam_rows], new_status[beam_rows] = beam_info.pdg_id, HEPMC_BEAM
    parents = np.ascontiguousarray(placed(np.stack([low, high]), np.int32).T)

    scattered = (n_incoming > 0) & (last - first + 1 != n_incoming)
    irregular = scattered | _overlapping(parents, offsets)
    irregular[event[separate]] = True
    explicit = {}
    for index in np.flatnonzero(irregular):
        here = slice(starts[index], starts[index] + counts[index])
        explicit[int(index)] = _merged_vertices(
            parents[offsets[index] : offsets[index + 1]], int(added[index]), hard[here], separate[here], meets[here]
        )
    return HardGraph(offsets, added, pdg_id, new_status, kinematics, parents, explicit)


def _extent(flags: Flags, event: Integers, n: int) -> tuple[Integers, Integers, Integers]:
    """First and last flagged row of each event (-1 for none) and their number."""
    rows = np.flatnonzero(flags)
    first, last = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    last[event[rows]] = rows
    first[event[rows[::-1]]] = rows[::-1]
    return first, last, np.bincount(event[rows], minlength=n)


def _needed_beams(
    columns: dict[str, npt.NDArray[Any]], beams: Sequence[Beam], two: Flags, first: Integers, last: Integers
) -> tuple[Flags, Integers]:
    """Which beams have to be added to each event, and the row of the parton that comes out of each; ``(n, 2)``."""
    needed = np.zeros((len(two), 2), np.bool_)
    parton = np.stack([first, last], axis=1)
    if len(beams) != 2 or not two.any():
        return needed, parton
    # Beam 1 goes along +z, whatever the order of the incoming particles.
    turned = two & (columns["pz"][first] < columns["pz"][last])
    parton[turned] = parton[turned, ::-1]
    for index, beam in enumerate(beams):
        rows = parton[two, index]
        near = np.abs(columns["energy"][rows] - beam.energy) <= 1e-9 * beam.energy
        needed[two, index] = ~(near & (columns["pdg_id"][rows] == beam.pdg_id))
    return needed, parton


def _mother_ranges(columns: dict[str, npt.NDArray[Any]]) -> tuple[Integers, Integers, Flags]:
    """Mothers as ranges ``low <= high``, 0 0 for none; and whether they are two particles rather than a range."""
    first = np.maximum(columns["mother1"], 0).astype(np.int64)
    second = np.maximum(columns["mother2"], 0).astype(np.int64)
    first, second = np.where(first == 0, second, first), np.where(second == 0, first, second)
    return np.minimum(first, second), np.maximum(first, second), first > second + 1


def _check_order(low: Integers, high: Integers, position: Integers, event: Integers, first_event: int) -> None:
    late = np.flatnonzero((low > 0) & (high > position))
    if late.size:
        row = late[0]
        raise OutputError(
            f"event {first_event + event[row]}: particle {position[row] + 1} has particle {high[row]} for a mother; "
            "in HepMC a mother stands before its daughters"
        )


def _hepmc_status(status: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Status codes of HepMC (arXiv:1912.08005, table 1) for those of the Les Houches Accord."""
    result: npt.NDArray[np.int32] = np.abs(status).astype(np.int32)
    result[(status == INCOMING) | (status == SPACELIKE)] = HEPMC_DOCUMENTATION
    result[status == BEAM] = HEPMC_BEAM
    return result


def _beam_kinematics(beam: Beam, direction: int) -> npt.NDArray[np.float64]:
    from particle import InvalidParticle, Particle, ParticleNotFound

    try:
        mass = (Particle.from_pdgid(beam.pdg_id).mass or 0.0) / 1000.0
    except (InvalidParticle, ParticleNotFound):
        mass = 0.0
    if mass > beam.energy:
        mass = 0.0
    momentum = np.sqrt((beam.energy - mass) * (beam.energy + mass))
    return np.array([0.0, 0.0, direction * momentum, beam.energy, mass])


def _overlapping(parents: npt.NDArray[np.int32], offsets: Integers) -> Flags:
    """Events in which a particle stands in two different ranges of parents."""
    event = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    rows = np.flatnonzero(parents[:, 0] > 0)
    low = offsets[event[rows]] + parents[rows, 0] - 1
    length = parents[rows, 1] - parents[rows, 0] + 1
    base = int(length.max(initial=0)) + 1
    keys = np.unique(low * base + length)
    low, length = keys // base, keys % base
    size = int(offsets[-1]) + 1
    covered = np.cumsum(np.bincount(low, minlength=size) - np.bincount(low + length, minlength=size))
    result = np.zeros(len(offsets) - 1, np.bool_)
    result[event[np.flatnonzero(covered[:-1] > 1)]] = True
    return result


def _merged_vertices(
    parents: npt.NDArray[np.int32], added: int, hard: Flags, separate: Flags, meets: Flags
) -> list[Vertex]:
    """Vertices of one event; particles that share a parent come out of one vertex, as HepMC demands."""
    meeting = (np.flatnonzero(meets) + added).tolist()
    vertices: list[tuple[set[int], list[int]]] = []
    for child, (low, high) in enumerate(parents.tolist()):
        if low == 0:
            continue
        own = child - added
        if own >= 0 and hard[own]:
            mothers = set(meeting)
        elif own >= 0 and separate[own]:
            mothers = {low - 1, high - 1}
        else:
            mothers = set(range(low - 1, high))
        children = [child]
        for vertex in [v for v in vertices if v[0] & mothers]:
            mothers |= vertex[0]
            children = vertex[1] + children
            vertices.remove(vertex)
        vertices.append((mothers, children))
    return [(sorted(mothers), sorted(children)) for mothers, children in vertices]
