"""What objects there are and how they are called: ``mu-``, ``j2``, ``t~``."""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from mlgen.errors import UserError, nearest
from mlgen.validation.jets import INSTALL_ADVICE

#: Objects of one type that can be referred to.
MAX_RANK = 50


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
