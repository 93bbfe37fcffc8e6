"""The observables of hard and shower-level events that come with mlgen, chosen from what the samples contain."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlgen.events import FloatArray
from mlgen.validation.content import ReactionCounts, count_reactions, reaction_keys
from mlgen.validation.expressions import parse_expression
from mlgen.validation.object_types import BOTTOM, JET, ObjectDirectory, ObjectRef, ObjectType, Role
from mlgen.validation.objects import EventObjects
from mlgen.validation.observable import Kind, Observable
from mlgen.validation.settings import ValidationSettings

#: An object is looked at when at least this share of the events of a sample has it.
OBJECT_SHARE = 0.001
#: Bottom quarks are also a type of their own when this share of the events of a sample has one.
BOTTOM_SHARE = 0.05
#: A pair of objects is looked at when this share of the events of a sample has both.
PAIR_SHARE = 0.01
#: Objects that are looked at, for each of `ValidationSettings.leading`; the most frequent ones.
OBJECTS_PER_RANK = 3
PAIR_OBJECTS, PAIRS = 6, 6
#: Categories of an observable; whatever is rarer is one category together.
CATEGORIES = 30
OTHER = "other"
#: Differences between the masses of a light particle below this (GeV) are conventions of a generator, not physics.
MASS_VARIATION = 1e-3
#: Where the axis of an angle between two objects ends: what is rounded to pi belongs to the last bin.
LARGEST_ANGLE = math.pi * (1 + 1e-9)
LARGEST_COSINE = 1 + 1e-9
#: What mean the same in hard and in shower-level events: leptons that do not decay.
STABLE_LEPTONS = (11, 13)

Source = Callable[[EventObjects], FloatArray]
Pilots = Sequence[Sequence[EventObjects]]


@dataclass(frozen=True, slots=True)
class _ReactionCodes:
    """Code of each event's reaction: its place among the known ones, the last for all others."""

    keys: npt.NDArray[np.uint64]
    codes: FloatArray
    other: int

    def __call__(self, objects: EventObjects) -> FloatArray:
        found = reaction_keys(objects.pdg_id, objects.status, objects.offsets)
        place = np.minimum(np.searchsorted(self.keys, found), len(self.keys) - 1)
        return np.where(self.keys[place] == found, self.codes[place], float(self.other))


class Rank(enum.IntEnum):
    """Which of two observables that say the same is kept, the first of these."""

    #: What a detector sees.
    SINGLE = 0
    PAIR = 1
    #: Something that decays: only the file says that it was there.
    RESONANCE = 2
    MULTIPLICITY = 3
    EVENT = 4
    #: It is kept in any case; and so is what it is the same as.
    USER = 5


@dataclass(frozen=True, slots=True)
class Candidate:
    """An observable that may be chosen.

    Args:
        observable: What it is.
        source: How it is computed.
        rank: Whether it is kept when it says the same as another.
    """

    observable: Observable
    source: Source
    rank: Rank = Rank.EVENT


@dataclass(frozen=True)
class DefaultObservables:
    """The observables that come with mlgen, for given samples."""

    objects: Pilots
    selected: list[list[npt.NDArray[np.bool_]]]
    directory: ObjectDirectory
    settings: ValidationSettings

    def all(self) -> list[Candidate]:
        """All of them, in the order of the report."""
        refs = self._leading()
        return [
            *self._event(),
            *self._multiplicities(),
            *([self._reactions()] if self._hard and not self.mixed else []),
            *(candidate for ref in refs for candidate in self._single(ref)),
            *(candidate for pair in self._pairs(refs) for candidate in self._pair(*pair)),
        ]

    # --- what the samples are like ------------------------------------------------------------------------------

    @property
    def mixed(self) -> bool:
        """Whether hard events are compared with shower-level events: jets, for instance, with partons."""
        return self._hard and self._showered

    @property
    def _hard(self) -> bool:
        return any(not events.batch.has_graph for sample in self.objects for events in sample)

    @property
    def _showered(self) -> bool:
        return any(events.batch.has_graph for sample in self.objects for events in sample)

    def _per_sample(self, source: Source) -> list[FloatArray]:
        """Values in the selected pilot events of each sample that has any."""
        return [
            np.concatenate([source(events)[chosen] for events, chosen in zip(sample, mask, strict=True)])
            for sample, mask in zip(self.objects, self.selected, strict=True)
            if sample
        ]

    def _share(self, *refs: ObjectRef) -> float:
        """Share of events that have all these objects, in the sample that has most."""
        if any(ref.type == JET for ref in refs) and self.directory.jets_missing:
            return 0.0

        def present(events: EventObjects) -> FloatArray:
            found = [events.count(ref.type) >= ref.rank for ref in refs]
            return np.asarray(np.logical_and.reduce(found), np.float64)

        return max((float(values.mean()) for values in self._per_sample(present)), default=0.0)

    def _types(self) -> list[ObjectType]:
        if self.mixed:
            return [kind for kind in self.directory.types if kind.ids and abs(kind.ids[0]) in STABLE_LEPTONS]
        return [kind for kind in self.directory.types if kind != BOTTOM or self._share(ObjectRef(kind)) >= BOTTOM_SHARE]

    def _leading(self) -> list[ObjectRef]:
        # Behind a shower the neutrinos are what is missing, and nobody sees them one by one.
        types = [kind for kind in self._types() if kind.role is not Role.NEUTRINO or self._hard]
        refs = [ObjectRef(kind, rank) for kind in types for rank in range(1, self.settings.leading + 1)]
        shares = {ref: self._share(ref) for ref in refs}
        frequent = [ref for ref in refs if shares[ref] >= OBJECT_SHARE]
        kept = sorted(frequent, key=lambda ref: -shares[ref])[: OBJECTS_PER_RANK * self.settings.leading]
        return [ref for ref in refs if ref in kept]

    def _candidate(self, name: str, label: str, text: str, unit: str = "", group: str = "event",
                   rank: Rank = Rank.EVENT, kind: Kind = Kind.CONTINUOUS, periodic: bool = False,
                   limits: tuple[float, float] | None = None) -> Candidate:  # fmt: skip
        expression = parse_expression(text, self.directory, f"observable '{name}'")
        observable = Observable(name, f"${label}$", unit, kind, group, periodic=periodic, limits=limits)
        return Candidate(observable, expression.number, rank)

    # --- the observables ----------------------------------------------------------------------------------------

    def _event(self) -> list[Candidate]:
        found: list[Candidate] = []
        if self.mixed:
            return self._missing()
        if JET in self.directory.types:
            found.append(self._candidate("HT", "H_T", "HT()", "GeV"))
        found.append(self._candidate("sum pT", r"\sum p_T", "sum_pt()", "GeV"))
        if self._showered:
            found.append(self._candidate("sum ET", r"\sum E_T", "sum_et()", "GeV"))
            label = r"\sum p_T\ (\mathrm{charged})"
            found.append(self._candidate("sum pT(charged)", label, "sum_pt_charged()", "GeV"))
        found += self._missing()
        if self._hard:
            found.append(self._candidate("m(all)", r"m(\mathrm{all})", "m('all')", "GeV"))
            found.append(self._candidate("y(all)", r"y(\mathrm{all})", "y('all')"))
        if self._present("scale()"):
            found.append(self._candidate("scale", r"\mu\ (\mathrm{scale})", "scale()", "GeV"))
        if self._present("alpha_s()"):
            found.append(self._candidate("alpha_s", r"\alpha_s", "alpha_s()"))
        return found

    def _missing(self) -> list[Candidate]:
        if not any(events.has_invisible() for sample in self.objects for events in sample):
            return []
        label = r"\phi(p_T^\mathrm{miss})"
        return [
            self._candidate("missing pT", r"p_T^\mathrm{miss}", "missing_pt()", "GeV"),
            self._candidate("phi(missing pT)", label, "missing_phi()", "rad", periodic=True),
        ]

    def _present(self, text: str) -> bool:
        source = parse_expression(text, self.directory).number
        return any(bool(np.isfinite(values).any()) for values in self._per_sample(source))

    def _multiplicities(self) -> list[Candidate]:
        found = [] if self.mixed else [self._multiplicity("final", r"\mathrm{final}", Rank.EVENT)]
        if self._showered and not self.mixed:
            labels = {"charged": r"\mathrm{charged}", "pi": r"\pi^\pm", "K": r"K^\pm", "p": r"p, \bar{p}"}
            found += [self._multiplicity(name, label, Rank.EVENT) for name, label in labels.items()]
        frequent = [kind for kind in self._types() if self._share(ObjectRef(kind)) >= OBJECT_SHARE]
        # A number that is the same everywhere says nothing, and a rare change shows in the number of all particles.
        return found + [self._multiplicity(kind.name, kind.label) for kind in frequent if self._count_varies(kind)]

    def _count_varies(self, kind: ObjectType) -> bool:
        counts = self._per_sample(lambda events: events.count(kind))
        return len(np.unique(np.concatenate([np.zeros(0), *counts]))) > 1

    def _multiplicity(self, name: str, label: str, rank: Rank = Rank.MULTIPLICITY) -> Candidate:
        return self._candidate(f"n({name})", f"n({label})", f"count({name!r})", rank=rank, kind=Kind.INTEGER)

    def _reactions(self) -> Candidate:
        samples = [count_reactions(events.batch for events in sample) for sample in self.objects]
        names: dict[int, str] = {}
        shares: dict[int, float] = {}
        for sample in samples:
            names |= sample.names
            for key in sample.counts:
                shares[key] = shares.get(key, 0.0) + _share_of(sample, key)
        common = sorted(shares, key=lambda key: (-shares[key], names[key]))[:CATEGORIES]
        categories = (*(names[key] for key in common), OTHER)
        order = sorted(range(len(common)), key=lambda place: common[place])
        keys = np.array([common[place] for place in order], np.uint64)
        observable = Observable("reaction", "reaction", kind=Kind.CATEGORY, categories=categories)
        return Candidate(observable, _ReactionCodes(keys, np.array(order, np.float64), len(common)))

    def _single(self, ref: ObjectRef) -> list[Candidate]:
        group = "jets" if ref.type.role is Role.JET else "leading objects"
        rapidity = ("y", "y") if ref.type.role is Role.HEAVY else ("eta", r"\eta")
        quantities = [("pT", "p_T", "pt", "GeV"), (rapidity[0], rapidity[1], rapidity[0], ""),
                      ("phi", r"\phi", "phi", "rad")]  # fmt: skip
        if self._has_mass(ref):
            quantities.append(("m", "m", "mass", "GeV"))
        rank = Rank.RESONANCE if self._decays(ref.type) else Rank.SINGLE
        return [
            self._candidate(f"{name}({ref.name})", f"{label}({ref.label})", f"{function}({ref.name!r})", unit, group,
                            rank, periodic=name == "phi")
            for name, label, function, unit in quantities
        ]  # fmt: skip

    def _has_mass(self, ref: ObjectRef) -> bool:
        if ref.type.role is Role.HEAVY:
            return True
        masses = np.concatenate([np.zeros(0), *self._per_sample(lambda events: events.quantity("mass", (ref,)))])
        masses = masses[np.isfinite(masses)]
        return bool(len(masses)) and float(masses.max() - masses.min()) > MASS_VARIATION

    def _pairs(self, refs: list[ObjectRef]) -> list[tuple[ObjectRef, ObjectRef]]:
        usable = [ref for ref in refs if self._pairs_well(ref)]
        shares = {ref: self._share(ref) for ref in usable}
        # The hardest two of a type say more together than the first of two types.
        best = sorted(usable, key=lambda ref: (-round(shares[ref], 2), ref.rank, refs.index(ref)))[:PAIR_OBJECTS]
        best.sort(key=refs.index)
        pairs = [(first, second) for i, first in enumerate(best) for second in best[i + 1 :]]
        bottoms = [ref for ref in refs if ref.type == BOTTOM][:2]
        if len(bottoms) == 2:
            pairs.append((bottoms[0], bottoms[1]))
        common = {pair: self._share(*pair) for pair in pairs}
        natural = {pair: _belong_together(*pair) for pair in pairs}
        frequent = [pair for pair in pairs if common[pair] >= PAIR_SHARE]
        kept = sorted(frequent, key=lambda pair: (not natural[pair], -common[pair]))[:PAIRS]
        return [pair for pair in pairs if pair in kept]

    def _pairs_well(self, ref: ObjectRef) -> bool:
        """Whether pairs with this object say something; a resonance's decay products would be paired with it."""
        if ref.type == BOTTOM or (ref.type.role is Role.JET and ref.rank > 2):
            return False
        if ref.type.role is not Role.HEAVY or ref.type.name in ("t", "t~"):
            return True
        return not self._decays(ref.type)

    def _decays(self, kind: ObjectType) -> bool:
        """Whether it is a resonance whose decay products are in the record as well."""
        shares = [events.final_share(kind) for sample in self.objects for events in sample]
        return not shares or min(shares) <= 0.5

    def _pair(self, first: ObjectRef, second: ObjectRef) -> list[Candidate]:
        names, labels = f"{first.name}, {second.name}", f"{first.label}, {second.label}"
        arguments = f"{first.name!r}, {second.name!r}"
        pair, angle = ("pairs", Rank.PAIR), (0.0, LARGEST_ANGLE)
        found = [
            self._candidate(f"m({names})", f"m({labels})", f"m({arguments})", "GeV", *pair),
            self._candidate(f"deltaR({names})", rf"\Delta R({labels})", f"deltaR({arguments})", "", *pair),
            self._candidate(f"deltaphi({names})", rf"\Delta\phi({labels})", f"deltaphi({arguments})", "rad", *pair,
                            limits=angle),
        ]  # fmt: skip
        if first.type.role is not Role.LEPTON or second.type.ids != (-first.type.ids[0],):
            return found
        cosine = (-LARGEST_COSINE, LARGEST_COSINE)
        found.append(
            self._candidate(f"cos theta*({names})", rf"\cos\theta^*({labels})", f"costheta_cs({arguments})", "", *pair,
                            limits=cosine)
        )  # fmt: skip
        # Where the pair has no transverse momentum, the azimuth has no origin.
        if self._present(f"phi_cs({arguments})"):
            found.append(
                self._candidate(f"phi*({names})", rf"\phi^*({labels})", f"phi_cs({arguments})", "rad", *pair,
                                periodic=True)
            )  # fmt: skip
        return found


def _share_of(sample: ReactionCounts, key: int) -> float:
    return sample.counts[key] / sample.events


def _belong_together(first: ObjectRef, second: ObjectRef) -> bool:
    """Whether two objects are a particle and its antiparticle, a lepton and a neutrino, or two of one type."""
    roles = {first.type.role, second.type.role}
    opposite = len(first.type.ids) == 1 and second.type.ids == (-first.type.ids[0],)
    return first.type == second.type or opposite or roles == {Role.LEPTON, Role.NEUTRINO}
