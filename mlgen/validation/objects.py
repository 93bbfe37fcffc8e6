"""Physics objects of a batch of events: the leading muon, the second jet, what is missing.

Everything is an array over the events of the batch, NaN where an event lacks the object. `EventObjects` computes
each column when it is first asked for and keeps it, so that the observables that come with mlgen and the user's
expressions share their work, and cannot disagree.
"""

from __future__ import annotations

import enum
import functools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.errors import UserError, nearest
from mlgen.events import EventBatch, FloatArray, IntArray
from mlgen.validation.jets import INSTALL_ADVICE, cluster, jets_available
from mlgen.validation.settings import JetSettings

BoolArray = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]

#: Objects of one type that can be referred to.
MAX_RANK = 50
#: Photons of shower-level events that are objects have at least this transverse momentum in GeV; softer ones are
#: radiation of the shower, and part of the jets.
PHOTON_PT_MIN = 10.0
#: Charged particles and hadrons of shower-level events are counted within this pseudorapidity.
CENTRAL_ETA = 2.5
#: Transverse energy of shower-level events is summed within this pseudorapidity.
CALORIMETER_ETA = 5.0
#: A transverse momentum below this share of the energy is rounding of the file: it counts as zero, without direction.
ROUNDING = 1e-6
#: The mass that a file gives for a final particle is believed when it agrees with the momentum this well, in E^2.
MASS_AGREEMENT = 1e-6
#: Stable particles that no detector sees: neutrinos, sneutrinos, the lightest neutralino, gravitino and graviton,
#: and the codes for dark matter of the numbering scheme (Particle Data Group, Phys. Rev. D 110, 030001 (2024)).
INVISIBLE = (12, 14, 16, 18, 39, *range(51, 61), 1000012, 1000014, 1000016, 1000022, 1000039, 2000012, 2000014, 2000016)
INVISIBLE_IDS = np.array(sorted({*INVISIBLE, 5000039, *(-i for i in INVISIBLE)}), np.int64)

#: Partons, light leptons and photons: where a hard event lists one as intermediate, it is no object.
_NEVER_RESONANCES = (1, 2, 3, 4, 5, 9, 11, 12, 13, 14, 16, 21, 22)
_FINAL, _DECAYED = 1, 2
#: Properties of particles with PDG ids up to this one are kept in a table.
_LIMIT = 8192


class Role(enum.Enum):
    """What an object is good for; in the order in which a report shows them."""

    LEPTON = 0
    NEUTRINO = 1
    PHOTON = 2
    #: Massive: tops, weak bosons, whatever lies beyond the Standard Model.
    HEAVY = 3
    JET = 4
    #: A union of other types, for the user's expressions only.
    GROUP = 5
    #: Not a particle: the sum of all, or what is missing.
    SUM = 6


@dataclass(frozen=True, slots=True)
class ObjectType:
    """A type of objects.

    Args:
        name: As it is typed: ``mu-``, ``j``, ``t~``.
        ids: PDG ids that belong to it.
        label: Mathtext without dollar signs.
        role: What it is good for.
    """

    name: str
    ids: tuple[int, ...]
    label: str
    role: Role


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One object of an event: the `rank`-th of its type, counted from 1 in descending transverse momentum."""

    type: ObjectType
    rank: int = 1

    @property
    def name(self) -> str:
        """As it is typed: ``j1``, ``mu-`` (the leading one), ``mu-2``."""
        if self.type.role is Role.SUM:
            return self.type.name
        if self.rank == 1 and self.type.role is not Role.JET:
            return self.type.name
        return f"{self.type.name}{' ' if self.type.name[-1].isdigit() else ''}{self.rank}"

    @property
    def label(self) -> str:
        """Mathtext without dollar signs."""
        if self.type.role is Role.SUM or (self.rank == 1 and self.type.role is not Role.JET):
            return self.type.label
        # Braces keep a second index apart from one that the label has itself.
        base = self.type.label if self.type.label.isalpha() else f"{{{self.type.label}}}"
        return f"{base}_{{{self.rank}}}"


def _types() -> tuple[ObjectType, ...]:
    def both(*ids: int) -> tuple[int, ...]:
        return tuple(sign * i for i in ids for sign in (1, -1))

    return (
        ObjectType("e-", (11,), "e^-", Role.LEPTON),
        ObjectType("e+", (-11,), "e^+", Role.LEPTON),
        ObjectType("mu-", (13,), r"\mu^-", Role.LEPTON),
        ObjectType("mu+", (-13,), r"\mu^+", Role.LEPTON),
        ObjectType("tau-", (15,), r"\tau^-", Role.LEPTON),
        ObjectType("tau+", (-15,), r"\tau^+", Role.LEPTON),
        ObjectType("nu", both(12, 14, 16), r"\nu", Role.NEUTRINO),
        ObjectType("gamma", (22,), r"\gamma", Role.PHOTON),
        ObjectType("t", (6,), "t", Role.HEAVY),
        ObjectType("t~", (-6,), r"\bar{t}", Role.HEAVY),
        ObjectType("W+", (24,), "W^+", Role.HEAVY),
        ObjectType("W-", (-24,), "W^-", Role.HEAVY),
        ObjectType("Z", (23,), "Z", Role.HEAVY),
        ObjectType("H", (25,), "H", Role.HEAVY),
        ObjectType("b", both(5), "b", Role.JET),
        ObjectType("j", (*both(1, 2, 3, 4, 5), 21), "j", Role.JET),
        ObjectType("l", both(11, 13), r"\ell", Role.GROUP),
        ObjectType("l-", (11, 13), r"\ell^-", Role.GROUP),
        ObjectType("l+", (-11, -13), r"\ell^+", Role.GROUP),
    )


_STANDARD = {kind.name: kind for kind in _types()}
#: A b quark belongs to two types; by itself it counts as a jet, the later of them.
_BY_ID = {i: kind.name for kind in _STANDARD.values() if kind.role is not Role.GROUP for i in kind.ids}
#: All final particles together; the transverse momentum of the invisible ones.
ALL = ObjectType("all", (), r"\mathrm{all}", Role.SUM)
MISSING = ObjectType("missing", (), r"\mathrm{missing}", Role.SUM)
JET, BOTTOM = _STANDARD["j"], _STANDARD["b"]
#: Other ways to write a type, as generators do.
_ALIASES = {
    "a": "gamma", "photon": "gamma", "ta-": "tau-", "ta+": "tau+", "tbar": "t~", "jet": "j", "z0": "Z", "h0": "H",
    "v": "nu", "met": "missing",
}  # fmt: skip
_PARTICLE_NAMES = {
    1: "d", 2: "u", 3: "s", 4: "c", 5: "b", 6: "t", 11: "e-", 12: "ve", 13: "mu-", 14: "vm", 15: "tau-", 16: "vt",
    21: "g", 22: "gamma", 23: "Z", 24: "W+", 25: "H", -11: "e+", -13: "mu+", -15: "tau+", -24: "W-",
}  # fmt: skip


@functools.cache
def particle_name(pdg_id: int) -> str:
    """Name of a particle as one types it for a generator (``u~``, ``mu+``, ``vm``), its number when it has none."""
    if pdg_id in _PARTICLE_NAMES:
        return _PARTICLE_NAMES[pdg_id]
    if -pdg_id in _PARTICLE_NAMES and abs(pdg_id) <= 16:
        return _PARTICLE_NAMES[-pdg_id] + "~"
    from particle import InvalidParticle, Particle, ParticleNotFound

    try:
        return str(Particle.from_pdgid(pdg_id).name)
    except (ParticleNotFound, InvalidParticle):
        return str(pdg_id)


@functools.cache
def type_of(pdg_id: int) -> ObjectType:
    """Type that a particle of a hard event belongs to; one of its own when it is none of the Standard Model's."""
    if pdg_id in _BY_ID:
        return _STANDARD[_BY_ID[pdg_id]]
    from particle import InvalidParticle, Particle, ParticleNotFound

    name = particle_name(pdg_id)
    try:
        label = str(Particle.from_pdgid(pdg_id).latex_name)
    except (ParticleNotFound, InvalidParticle):
        label = rf"\mathrm{{{name}}}"
    return ObjectType(name, (pdg_id,), label, Role.HEAVY)


class ObjectDirectory:
    """The objects that can be named, and how they are spelt.

    Args:
        types: Types that the samples contain.
        jets_missing: Whether there would be jets if FastJet were installed.
    """

    def __init__(self, types: Iterable[ObjectType], jets_missing: bool = False) -> None:
        self.types = tuple(sorted(set(types), key=lambda kind: (kind.role.value, _order(kind), kind.name)))
        self.jets_missing = jets_missing
        groups = [
            group
            for group in _STANDARD.values()
            if group.role is Role.GROUP and any(set(kind.ids) <= set(group.ids) for kind in self.types)
        ]
        self._known = {kind.name: kind for kind in (*self.types, *groups, ALL, MISSING)}
        self._folded = {name.lower(): name for name in self._known}
        self._folded |= {alias: name for alias, name in _ALIASES.items() if name in self._known}

    def _type(self, name: str) -> ObjectType | None:
        return self._known.get(name) or self._known.get(self._folded.get(name.lower(), ""))

    def type(self, name: str) -> ObjectType:
        """Return a type by its name.

        Raises:
            UserError: There is none of this name; lists those there are.
        """
        found = self._type(name.strip())
        if found is None:
            raise UserError(self._unknown(name))
        return found

    def object(self, name: str) -> ObjectRef:
        """Return an object by its name: ``mu-``, ``j2``, ``j 2``.

        Raises:
            UserError: There is none of this name; lists those there are.
        """
        text = name.strip()
        found = self._type(text)
        if found is not None:
            return ObjectRef(found)
        # A type's own name may end in a digit, so that both ways to cut off a number are tried.
        for digits in (2, 1):
            match = re.fullmatch(rf"(.+?)\s*([1-9][0-9]{{{digits - 1}}})", text, re.ASCII)
            found = self._type(match[1]) if match else None
            if match and found is not None and found.role is not Role.SUM:
                if int(match[2]) > MAX_RANK:
                    raise UserError(f"object '{name}' is too far down; the {MAX_RANK} leading ones can be named")
                return ObjectRef(found, int(match[2]))
        raise UserError(self._unknown(name))

    def _unknown(self, name: str) -> str:
        if self.jets_missing and re.fullmatch(r"(j|jet)\s*[0-9]*", name.strip(), re.ASCII):
            return f"object '{name}' is a jet; {INSTALL_ADVICE}"
        names = [ObjectRef(kind).name for kind in self._known.values()]
        # Numbers of a type are no reason to be told of another type.
        hint = nearest(name.strip(), [*names, *self._known])
        return f"object '{name}' is not known{hint or ';'} there are: {', '.join(names)}"


def _order(kind: ObjectType) -> int:
    return list(_STANDARD).index(kind.name) if kind.name in _STANDARD else len(_STANDARD)


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
        self.batch = batch
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
                found = _QUANTITIES[name](self, tuple(objects))
            self._quantities[key] = found
        return found

    def count(self, kind: ObjectType) -> FloatArray:
        """Number of objects of a type in each event, shape ``(n,)``."""
        return self._table(kind)[1]

    @functools.cached_property
    def final(self) -> Rows:
        """Flat rows of the final particles."""
        return np.flatnonzero(self.status == _FINAL)

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
        return float(np.mean(self.status[rows] == _FINAL)) if len(rows) and not self._is_jet(kind) else 1.0

    # --- which rows are objects ---------------------------------------------------------------------------------

    @functools.cached_property
    def _listed(self) -> Rows:
        """Rows of a hard event that are objects: final particles, and resonances."""
        resonance = np.flatnonzero(self.status == _DECAYED)
        resonance = resonance[~np.isin(np.abs(self.pdg_id[resonance]), _NEVER_RESONANCES)]
        if not len(resonance):
            return self.final
        listed = self.status == _FINAL
        listed[resonance] = True
        # Of a particle that is listed again after radiation, only the last copy counts.
        mother = np.clip(self.offsets[self.event] + self._mother - 1, 0, len(self.pdg_id) - 1)
        copy = listed & (self._mother > 0) & (self.pdg_id[mother] == self.pdg_id) & (self.status[mother] == _DECAYED)
        listed[mother[copy]] = False
        return np.flatnonzero(listed)

    @functools.cached_property
    def _prompt(self) -> Rows:
        """Rows of a shower-level event that are leptons and photons, but not from a hadron's decay."""
        size = np.abs(self.pdg_id[self.final])
        photon = (size == 22) & (self.transverse[:-1][self.final] >= PHOTON_PT_MIN)
        rows = self.final[((size >= 11) & (size <= 16)) | photon]
        alive, current = np.arange(len(rows)), rows
        prompt = np.ones(len(rows), np.bool_)
        # All candidates climb to their mothers at once. In HepMC a hadron decays at a vertex that nothing else goes
        # into, so that the first mother is the only one as far as this matters. Beams have another status.
        for _ in range(int(np.diff(self.offsets).max(initial=0))):
            mother = self._mother[current]
            alive, current = alive[mother > 0], current[mother > 0]
            if not len(alive):
                break
            current = self.offsets[self.event[current]] + mother[mother > 0] - 1
            decayed = (self.status[current] == _DECAYED) & _is_hadron(self.pdg_id[current])
            prompt[alive[decayed]] = False
            alive, current = alive[~decayed], current[~decayed]
        return np.asarray(rows[prompt], np.int64)

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
        final[found] = self.status[rows[found]] == _FINAL
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
        return np.asarray(rows[_three_charge(self.pdg_id[rows]) != 0], np.int64)

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


# --- properties of particles by PDG id ----------------------------------------------------------------------------


class _Property:
    """A property of particles as a table that is filled when a kind is first met."""

    _UNKNOWN = -128

    def __init__(self, of: Callable[[int], int]) -> None:
        self._of = of
        self._table = np.full(2 * _LIMIT + 1, self._UNKNOWN, np.int8)
        self._others: dict[int, int] = {}

    def __call__(self, pdg_id: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
        near = np.abs(pdg_id) <= _LIMIT
        values = self._table[np.where(near, pdg_id, 0) + _LIMIT]
        new = np.flatnonzero(near & (values == self._UNKNOWN))
        if len(new):
            for i in np.unique(pdg_id[new]).tolist():
                self._table[i + _LIMIT] = self._of(i)
            values[new] = self._table[pdg_id[new] + _LIMIT]
        far = np.flatnonzero(~near)
        if len(far):
            kinds, inverse = np.unique(pdg_id[far], return_inverse=True)
            values[far] = np.array([self._other(i) for i in kinds.tolist()], np.int8)[inverse]
        return np.asarray(values, np.int8)

    def _other(self, pdg_id: int) -> int:
        if pdg_id not in self._others:
            self._others[pdg_id] = self._of(pdg_id)
        return self._others[pdg_id]


def _hadron(pdg_id: int) -> int:
    from particle import pdgid

    return int(pdgid.is_hadron(pdg_id))


def _charge(pdg_id: int) -> int:
    from particle import pdgid

    # Ions have charges that do not fit; whether there is one at all is what counts.
    return int(np.clip(pdgid.three_charge(pdg_id) or 0, -100, 100))


_HADRONS, _CHARGES = _Property(_hadron), _Property(_charge)


def _is_hadron(pdg_id: npt.NDArray[Any]) -> BoolArray:
    return np.asarray(_HADRONS(pdg_id) == 1)


def _three_charge(pdg_id: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
    return _CHARGES(pdg_id)


# --- quantities ---------------------------------------------------------------------------------------------------

_Refs = tuple[ObjectRef, ...]


def _pt(objects: EventObjects, refs: _Refs) -> FloatArray:
    pt = np.hypot(objects.quantity("px", refs), objects.quantity("py", refs))
    pt[pt < ROUNDING * objects.hardness(refs)] = 0.0
    return pt


def _phi(objects: EventObjects, refs: _Refs) -> FloatArray:
    phi: FloatArray = np.arctan2(objects.quantity("py", refs), objects.quantity("px", refs))
    phi[objects.quantity("pt", refs) == 0] = np.nan
    return phi


def _eta(objects: EventObjects, refs: _Refs) -> FloatArray:
    eta: FloatArray = np.arcsinh(objects.quantity("pz", refs) / objects.quantity("pt", refs))
    eta[np.isinf(eta)] = np.nan
    return eta


def _rapidity(objects: EventObjects, refs: _Refs) -> FloatArray:
    # E - |pz| cancels for fast particles; the transverse mass does not.
    pz = objects.quantity("pz", refs)
    transverse_mass = np.hypot(np.maximum(objects.quantity("mass", refs), 0.0), objects.quantity("pt", refs))
    y = np.copysign(np.log((objects.quantity("energy", refs) + np.abs(pz)) / transverse_mass), pz)
    y[np.isinf(y)] = np.nan
    return y


def _theta(objects: EventObjects, refs: _Refs) -> FloatArray:
    return np.asarray(np.arctan2(objects.quantity("pt", refs), objects.quantity("pz", refs)), np.float64)


def _delta_phi(objects: EventObjects, refs: _Refs) -> FloatArray:
    first, second = refs
    difference = np.abs(objects.quantity("phi", (first,)) - objects.quantity("phi", (second,)))
    return np.where(difference > math.pi, 2 * math.pi - difference, difference)


def _delta_eta(objects: EventObjects, refs: _Refs) -> FloatArray:
    first, second = refs
    return np.abs(objects.quantity("eta", (first,)) - objects.quantity("eta", (second,)))


def _delta_r(objects: EventObjects, refs: _Refs) -> FloatArray:
    return np.hypot(objects.quantity("deltaeta", refs), objects.quantity("deltaphi", refs))


def _transverse_mass(objects: EventObjects, refs: _Refs) -> FloatArray:
    first, second = refs
    product = objects.quantity("pt", (first,)) * objects.quantity("pt", (second,))
    return np.asarray(np.sqrt(2 * product * (1 - np.cos(objects.quantity("deltaphi", refs)))))


def _positive(values: npt.NDArray[Any]) -> FloatArray:
    return np.where(values > 0, values, np.nan)


_MISSING = (ObjectRef(MISSING),)

#: Quantities of the summed momentum of one or more objects.
OBJECT_QUANTITIES: dict[str, Callable[[EventObjects, _Refs], FloatArray]] = {
    "px": lambda objects, refs: objects.component("px", refs),
    "py": lambda objects, refs: objects.component("py", refs),
    "pz": lambda objects, refs: objects.component("pz", refs),
    "energy": lambda objects, refs: objects.component("energy", refs),
    "pt": _pt,
    "eta": _eta,
    "y": _rapidity,
    "phi": _phi,
    "mass": lambda objects, refs: objects.mass(refs),
    "theta": _theta,
}
#: Quantities of two objects.
PAIR_QUANTITIES: dict[str, Callable[[EventObjects, _Refs], FloatArray]] = {
    "deltaR": _delta_r,
    "deltaphi": _delta_phi,
    "deltaeta": _delta_eta,
    "mt": _transverse_mass,
}
#: Quantities of the whole event.
EVENT_QUANTITIES: dict[str, Callable[[EventObjects, _Refs], FloatArray]] = {
    "HT": lambda objects, _: objects.jet_sum(),
    "sum_pt": lambda objects, _: objects.scalar_sum(),
    "sum_et": lambda objects, _: objects.transverse_energy(),
    "sum_pt_charged": lambda objects, _: objects.summed(objects.transverse, objects.charged),
    "missing_pt": lambda objects, _: objects.quantity("pt", _MISSING),
    "missing_phi": lambda objects, _: objects.quantity("phi", _MISSING),
    "scale": lambda objects, _: _positive(objects.batch.scale),
    "alpha_s": lambda objects, _: _positive(objects.batch.alpha_qcd),
    "process_id": lambda objects, _: objects.batch.process_id.astype(np.float64),
}
#: Particles that are counted without being objects: all final ones, and central charged ones.
COUNTED_SPECIES = ("final", "charged", "pi", "K", "p")
_QUANTITIES = OBJECT_QUANTITIES | PAIR_QUANTITIES | EVENT_QUANTITIES
