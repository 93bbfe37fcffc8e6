"""Physics objects of a batch of events: the leading muon, the second jet, what is missing.

Everything is an array over the events of the batch, NaN where an event lacks the object. `EventObjects` computes
each column when it is first asked for and keeps it, so that the observables that come with mlgen and the user's
expressions share their work, and cannot disagree.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.events import EventBatch, FloatArray, IntArray
from mlgen.validation.jets import cluster, jets_available
from mlgen.validation.object_quantities import QUANTITIES
from mlgen.validation.object_rows import FINAL, Rows, hard_objects, prompt_objects
from mlgen.validation.object_types import (
    ALL,
    BOTTOM,
    JET,
    MAX_RANK,
    MISSING,
    ObjectRef,
    ObjectType,
    Role,
    type_of,
)
from mlgen.validation.particle_properties import INVISIBLE_IDS, BoolArray, three_charge
from mlgen.validation.settings import JetSettings

#: Charged particles and hadrons of shower-level events are counted within this pseudorapidity.
CENTRAL_ETA = 2.5
#: Transverse energy of shower-level events is summed within this pseudorapidity.
CALORIMETER_ETA = 5.0
#: The mass that a file gives for a final particle is believed when it agrees with the momentum this well, in E^2.
MASS_AGREEMENT = 1e-6


@dataclass(frozen=True, slots=True)
class _Flat:
    """Columns of all particles (or jets), with NaN behind the last, so that row -1 is an object that is not there."""

    px: FloatArray
    py: FloatArray
    pz: FloatArray
    energy: FloatArray


class EventObjects:
    """Objects of one batch, and what is computed from their momenta.

    Hard events: the final particles (status 1) and the massive resonances that the record lists (status 2; of copies
    the last one), by type. Shower-level events: charged leptons, neutrinos and photons that do not come from the
    decay of a hadron, and jets ``j`` of all other visible final particles. The numbers are in GeV and rad.

    Args:
        batch: The events.
        jets: How jets are made.
    """

    def __init__(self, batch: EventBatch, jets: JetSettings | None = None) -> None:
        self.batch: EventBatch = batch
        self._jet_settings = jets or JetSettings()
        self._quantities: dict[tuple[str, tuple[str, ...]], FloatArray] = {}
        self._tables: dict[str, tuple[Rows, FloatArray, Rows]] = {}
        names = ("pdg_id", "status", "px", "py", "pz", "energy", "generated_mass")
        columns = batch.columns((*names, "mother1"))
        #: Columns of all particles, flat, and the event that each particle is in.
        self.pdg_id, self.status = columns["pdg_id"], columns["status"]
        self._mother = columns["mother1"]
        self.offsets = batch.offsets
        self.event = np.repeat(np.arange(len(batch)), np.diff(self.offsets))
        self._momenta = _Flat(*(_with_nan(columns[name]) for name in ("px", "py", "pz", "energy")))
        self._own_mass = columns["generated_mass"]

    def __len__(self) -> int:
        return len(self.batch)

    def quantity(self, name: str, objects: Sequence[ObjectRef] = ()) -> FloatArray:
        """Return a quantity of the objects' summed momentum, or of the whole event, shape ``(n,)``.

        Args:
            name: One of `OBJECT_QUANTITIES`, `PAIR_QUANTITIES` and `EVENT_QUANTITIES`.
            objects: Objects whose momenta are summed; the two, for a pair's quantity; none, for the event's.
        """
        key = (name, tuple(ref.name for ref in objects))
        found = self._quantities.get(key)
        if found is None:
            with np.errstate(all="ignore"):
                found = QUANTITIES[name](self, tuple(objects))
            self._quantities[key] = found
        return found

    def count(self, kind: ObjectType) -> FloatArray:
        """Number of objects of a type in each event, shape ``(n,)``."""
        return self._table(kind)[1]

    @functools.cached_property
    def final(self) -> Rows:
        """Flat rows of the final particles."""
        return np.flatnonzero(self.status == FINAL)

    @functools.cached_property
    def transverse(self) -> FloatArray:
        """Transverse momentum of every particle, flat, NaN behind the last."""
        return np.hypot(self._momenta.px, self._momenta.py)

    def types(self) -> set[ObjectType]:
        """Types that occur in the batch."""
        if self.batch.has_graph:
            found = {type_of(int(i)) for i in np.unique(self.pdg_id[self._prompt])}
            return found | ({JET} if jets_available() else set())
        kinds = np.unique(self.pdg_id[self._listed]).tolist()
        return {type_of(i) for i in kinds} | {BOTTOM for i in kinds if i in BOTTOM.ids}

    def final_share(self, kind: ObjectType) -> float:
        """Share of the objects of a type that are final particles, not resonances that decay."""
        rows = self._table(kind)[2]
        return float(np.mean(self.status[rows] == FINAL)) if len(rows) and not self._is_jet(kind) else 1.0

    # --- which rows are objects ---------------------------------------------------------------------------------

    @functools.cached_property
    def _listed(self) -> Rows:
        return hard_objects(self.pdg_id, self.status, self._mother, self.offsets)

    @functools.cached_property
    def _prompt(self) -> Rows:
        return prompt_objects(self.pdg_id, self.status, self._mother, self.offsets, self.transverse[:-1])

    @functools.cached_property
    def _invisible(self) -> Rows:
        return self.final[np.isin(self.pdg_id[self.final], INVISIBLE_IDS)]

    @functools.cached_property
    def _jets(self) -> tuple[_Flat, IntArray]:
        """Jets of a shower-level event, and the event that each is in."""
        taken = np.zeros(len(self.pdg_id), np.bool_)
        taken[self._prompt] = taken[self._invisible] = True
        rows = self.final[~taken[self.final]]
        momenta = np.stack([column[rows] for column in self._columns(self._momenta)])
        found, counts = cluster(momenta, np.bincount(self.event[rows], minlength=len(self)), self._jet_settings)
        return _Flat(*(_with_nan(row) for row in found)), np.repeat(np.arange(len(self)), counts)

    @staticmethod
    def _columns(flat: _Flat) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        return flat.px, flat.py, flat.pz, flat.energy

    def _is_jet(self, kind: ObjectType) -> bool:
        return self.batch.has_graph and kind.name == JET.name

    def _source(self, kind: ObjectType) -> _Flat:
        return self._jets[0] if self._is_jet(kind) else self._momenta

    def _table(self, kind: ObjectType) -> tuple[Rows, FloatArray, Rows]:
        """Rows of the objects by rank, ``(ranks, n)`` with -1 for none; their number, ``(n,)``; all their rows."""
        known = self._tables.get(kind.name)
        if known is not None:
            return known
        if self._is_jet(kind):
            flat, event = self._jets
            rows = np.arange(len(event))
            transverse = np.hypot(flat.px, flat.py)[:-1]
        else:
            listed = self._prompt if self.batch.has_graph else self._listed
            pdg_id = self.pdg_id[listed]
            rows = listed[pdg_id == kind.ids[0] if len(kind.ids) == 1 else np.isin(pdg_id, kind.ids)]
            event = self.event[rows]
            transverse = self.transverse[rows]
        counts = np.bincount(event, minlength=len(self))
        most = int(counts.max(initial=0))
        table = np.full((min(most, MAX_RANK), len(self)), -1, np.int64)
        if most == 1:
            table[0, event] = rows
        elif most > 1:
            order = np.lexsort((-transverse, event))
            ordered, place = rows[order], event[order]
            rank = np.arange(len(rows)) - (np.cumsum(counts) - counts)[place]
            kept = rank < MAX_RANK
            table[rank[kept], place[kept]] = ordered[kept]
        self._tables[kind.name] = known = (table, counts.astype(np.float64), rows)
        return known

    # --- momenta ------------------------------------------------------------------------------------------------

    def _rows(self, ref: ObjectRef) -> Rows:
        table = self._table(ref.type)[0]
        return table[ref.rank - 1] if ref.rank <= len(table) else np.full(len(self), -1, np.int64)

    def component(self, component: str, refs: tuple[ObjectRef, ...]) -> FloatArray:
        """One component of the summed momentum."""
        if len(refs) > 1:
            total = self.quantity(component, refs[:1]).copy()
            for ref in refs[1:]:
                total += self.quantity(component, (ref,))
            return total
        (ref,) = refs
        if ref.type.name == MISSING.name:
            return self._missing(component)
        values: FloatArray = getattr(self._source(ref.type), component)
        if ref.type.name == ALL.name:
            return self.summed(values, self.final)
        return values[self._rows(ref)]

    def summed(self, values: FloatArray, rows: Rows) -> FloatArray:
        """Sum of a flat column over the given rows of each event."""
        return self._per_event(self.event[rows], values[rows])

    def _per_event(self, event: IntArray, values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(event, weights=values, minlength=len(self)), np.float64)

    def _missing(self, component: str) -> FloatArray:
        # It has no longitudinal component, and its energy is that of a massless transverse momentum.
        if component == "pz":
            return np.full(len(self), np.nan)
        if component == "energy":
            return np.hypot(self.quantity("px", (ObjectRef(MISSING),)), self.quantity("py", (ObjectRef(MISSING),)))
        return self.summed(getattr(self._momenta, component), self._invisible)

    def hardness(self, refs: tuple[ObjectRef, ...]) -> FloatArray:
        """Energy scale against which a transverse momentum is judged to be rounding."""
        if any(ref.type.name == MISSING.name for ref in refs):
            return self.summed(self._momenta.energy, self._invisible)
        return self.quantity("energy", refs)

    def mass(self, refs: tuple[ObjectRef, ...]) -> FloatArray:
        r"""Mass, negative for a spacelike momentum.

        :math:`E^2 - p^2` of a fast light particle is mostly rounding of the file. So a single final particle has the
        mass that the file says, as long as its momentum agrees with it; everything else has that of its momentum.
        """
        px, py, pz, energy = (self.quantity(name, refs) for name in ("px", "py", "pz", "energy"))
        squared = (energy - pz) * (energy + pz) - px * px - py * py
        mass = np.copysign(np.sqrt(np.abs(squared)), squared)
        if len(refs) > 1 or refs[0].type.role is Role.SUM or self._is_jet(refs[0].type):
            return mass
        rows = self._rows(refs[0])
        found = rows >= 0
        own = np.full(len(self), np.nan)
        own[found] = self._own_mass[rows[found]]
        final = np.zeros(len(self), np.bool_)
        final[found] = self.status[rows[found]] == FINAL
        believed = final & (np.abs(squared - own * own) <= MASS_AGREEMENT * energy * energy)
        return np.where(believed, own, mass)

    # --- whole events -------------------------------------------------------------------------------------------

    def scalar_sum(self) -> FloatArray:
        """Scalar sum of the transverse momenta of all final particles."""
        return self.summed(self.transverse, self.final)

    def jet_sum(self) -> FloatArray:
        """Scalar sum of the transverse momenta of all ``j``: quarks up to b and gluons, or jets."""
        rows = self._table(JET)[2]
        if not self._is_jet(JET):
            return self.summed(self.transverse, rows)
        flat, event = self._jets
        return self._per_event(event, np.hypot(flat.px, flat.py)[:-1])

    def transverse_energy(self) -> FloatArray:
        r"""Sum of :math:`E \sin\theta` of the visible final particles with :math:`|\eta| < 5`."""
        visible = np.setdiff1d(self.final, self._invisible, assume_unique=True)
        rows = visible[self._within(visible, CALORIMETER_ETA)]
        momentum = np.hypot(self.transverse[rows], self._momenta.pz[rows])
        energy = self._momenta.energy[rows] * self.transverse[rows] / momentum
        return self._per_event(self.event[rows], energy)

    def _within(self, rows: Rows, eta: float) -> BoolArray:
        return np.asarray(np.abs(self._momenta.pz[rows]) < math.sinh(eta) * self.transverse[rows])

    @functools.cached_property
    def charged(self) -> Rows:
        """Rows of the charged final particles that are central."""
        rows = self.final[self._within(self.final, CENTRAL_ETA)]
        return np.asarray(rows[three_charge(self.pdg_id[rows]) != 0], np.int64)

    def final_count(self, species: str) -> FloatArray:
        """Number of final particles: of all, or of the central charged ones all or one species."""
        if species == "final":
            rows = self.final
        else:
            rows = self.charged
            pdg_id = {"charged": 0, "pi": 211, "K": 321, "p": 2212}[species]
            rows = rows[np.abs(self.pdg_id[rows]) == pdg_id] if pdg_id else rows
        return np.bincount(self.event[rows], minlength=len(self)).astype(np.float64)

    def has_invisible(self) -> bool:
        """Whether any event has an invisible particle."""
        return len(self._invisible) > 0


def _with_nan(values: npt.NDArray[Any]) -> FloatArray:
    result = np.empty(len(values) + 1)
    result[:-1], result[-1] = values, np.nan
    return result
