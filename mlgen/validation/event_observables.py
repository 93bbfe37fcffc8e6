"""Chooses the observables of hard and shower-level events from what the samples contain, and computes them."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlgen.errors import UserError, nearest
from mlgen.events import EventBatch, FloatArray
from mlgen.validation.content import ReactionCounts, count_reactions, reaction_keys
from mlgen.validation.expressions import Expression, ValueType, parse_expression
from mlgen.validation.jets import INSTALL_ADVICE, jets_available
from mlgen.validation.objects import BOTTOM, JET, EventObjects, ObjectDirectory, ObjectRef, ObjectType, Role
from mlgen.validation.observable import Kind, Observable, Values
from mlgen.validation.settings import JetSettings, ObservableSettings, ValidationSettings

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
#: Two observables that agree to this in so many events are one.
_SAME, _ENOUGH = 1e-6, 20
_USER = "user"

Source = Callable[[EventObjects], FloatArray]
Pilots = Sequence[Sequence[EventObjects]]


@dataclass(frozen=True, slots=True)
class _ReactionCodes:
    """Code of each event's reaction: its place among the known ones, the last for all others."""

    keys: npt.NDArray[np.uint64]
    codes: FloatArray
    other: int

    def __call__(self, objects: EventObjects) -> FloatArray:
        if objects.batch.has_graph:
            return np.full(len(objects), np.nan)
        found = reaction_keys(objects.pdg_id, objects.status, objects.offsets)
        place = np.minimum(np.searchsorted(self.keys, found), len(self.keys) - 1)
        return np.where(self.keys[place] == found, self.codes[place], float(self.other))


@dataclass(frozen=True, slots=True)
class _ProcessCodes:
    """Code of each event's process: its place among the known ones, the last for all others."""

    numbers: npt.NDArray[np.int64]

    def __call__(self, objects: EventObjects) -> FloatArray:
        found = objects.batch.process_id
        place = np.minimum(np.searchsorted(self.numbers, found), len(self.numbers) - 1)
        return np.where(self.numbers[place] == found, place, len(self.numbers)).astype(np.float64)


@dataclass(frozen=True, slots=True)
class _Candidate:
    observable: Observable
    source: Source


@dataclass(frozen=True, slots=True)
class EventObservables:
    """Observables of events, the same for all samples of a comparison.

    Args:
        definitions: The observables, in the order of the report.
        sources: How each is computed.
        selection: Only events for which this is true; None, all.
        jets: How jets are made.
        remarks: What one should know of the choice.
    """

    definitions: tuple[Observable, ...]
    sources: tuple[Source, ...]
    selection: Expression | None
    jets: JetSettings
    remarks: tuple[str, ...] = ()

    def __call__(self, batch: EventBatch) -> Values:
        """Compute all observables of a batch."""
        return self._values(EventObjects(batch, self.jets))

    def _values(self, objects: EventObjects) -> Values:
        everything = np.arange(len(objects))
        index = everything if self.selection is None else np.flatnonzero(self.selection.condition(objects))
        values = np.empty((len(self.sources), len(index)))
        for row, source in zip(values, self.sources, strict=True):
            found = source(objects)
            row[:] = found if len(index) == len(objects) else found[index]
        # The logarithm of zero and the like: no histogram has a place for it.
        values[np.isinf(values)] = np.nan
        return Values(values, index)


def choose_observables(pilots: Sequence[Sequence[EventBatch]], settings: ValidationSettings) -> EventObservables:
    """Choose the observables of several samples: the union of what makes sense for each.

    For each leading object that is not too rare: transverse momentum, pseudorapidity (rapidity of massive ones),
    azimuth, and the mass where it is not fixed. For pairs of the most frequent objects: mass, distance, angle. For the
    event: sums of transverse momenta, what is missing, mass and rapidity of the whole final state, multiplicities,
    the scale and the coupling, the reaction and the process. Then the user's own.

    Args:
        pilots: The first batches of each sample.
        settings: What the user asks for.

    Raises:
        UserError: An expression cannot be read; a pattern of `only` matches nothing; nothing is left to compare.
    """
    objects = [[EventObjects(batch, settings.jets) for batch in batches if len(batch)] for batches in pilots]
    directory = _directory(objects)
    selection = _selection(settings.select, directory)
    selected = _selected(objects, selection)
    remarks = []
    if directory.jets_missing:
        remarks.append(f"No jets: {INSTALL_ADVICE}.")
    candidates = {
        candidate.observable.name: candidate for candidate in _Defaults(objects, selected, directory, settings).all()
    }
    for name, wanted in settings.observables.items():
        # An observable of the user's replaces one of the same name.
        candidates[name] = _own(name, wanted, directory)
    chosen = [candidates[name] for name in _chosen(list(candidates), settings, remarks)]
    result = EventObservables(
        definitions=tuple(candidate.observable for candidate in chosen),
        sources=tuple(candidate.source for candidate in chosen),
        selection=selection,
        jets=settings.jets,
        remarks=tuple(remarks),
    )
    return dataclasses.replace(result, definitions=_without_duplicates(result, objects))


def _directory(objects: Pilots) -> ObjectDirectory:
    every = [events for sample in objects for events in sample]
    types = {kind for events in every for kind in events.types()}
    showered = any(events.batch.has_graph for events in every)
    return ObjectDirectory(types, jets_missing=showered and not jets_available())


def _selection(text: str, directory: ObjectDirectory) -> Expression | None:
    if not text.strip():
        return None
    selection = parse_expression(text, directory, "select")
    if selection.type is not ValueType.CONDITION:
        raise UserError(
            f"select \"{text}\": it gives {selection.type.value}; a condition such as pt('j1') > 20 is expected"
        )
    return selection


def _selected(objects: Pilots, selection: Expression | None) -> list[list[npt.NDArray[np.bool_]]]:
    """Events of each pilot batch that pass the selection; all of a sample of which none passes."""
    result = []
    for sample in objects:
        passed = [np.ones(len(o), np.bool_) if selection is None else selection.condition(o) for o in sample]
        result.append(passed if any(p.any() for p in passed) else [np.ones(len(o), np.bool_) for o in sample])
    return result


def _own(name: str, wanted: ObservableSettings, directory: ObjectDirectory) -> _Candidate:
    expression = parse_expression(wanted.expression, directory, f"observable '{name}'")
    label = name.replace("$", r"\$") if wanted.label is None else wanted.label
    if wanted.label is not None:
        _check_label(name, label)
    if wanted.range is not None and not wanted.range[0] < wanted.range[1]:
        raise UserError(f"observable '{name}': its range {list(wanted.range)} is not [lower, upper]")
    if wanted.range is not None and wanted.log and wanted.range[0] <= 0:
        raise UserError(f"observable '{name}': a logarithmic axis cannot begin at {wanted.range[0]:g}")
    kind = Kind.CONTINUOUS if expression.type is ValueType.NUMBER else Kind.INTEGER
    observable = Observable(
        name, label, wanted.unit, kind, _USER, bins=wanted.bins, limits=wanted.range, log=wanted.log
    )
    return _Candidate(observable, expression.number)


def _check_label(name: str, label: str) -> None:
    """A label that Matplotlib cannot draw must not be found out after everything was computed."""
    if "$" not in label:
        return
    from matplotlib.mathtext import MathTextParser

    try:
        MathTextParser("path").parse(label)
    except ValueError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"observable '{name}': its label '{label}' is no Matplotlib mathtext: {reason}") from error


def _chosen(names: list[str], settings: ValidationSettings, remarks: list[str]) -> list[str]:
    for pattern in settings.only:
        if not fnmatch.filter(names, pattern):
            raise UserError(f"only: no observable matches '{pattern}'{nearest(pattern, names) or ';'} "
                            f"there are: {', '.join(names)}")  # fmt: skip
    remarks += [
        f"leave_out: no observable matches '{pattern}'{nearest(pattern, names)}"
        for pattern in settings.leave_out
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names)
    ]

    def matches(name: str, patterns: list[str]) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)

    left = [n for n in names if (not settings.only or matches(n, settings.only)) and not matches(n, settings.leave_out)]
    if not left:
        raise UserError(f"leave_out: no observable is left; there are: {', '.join(names)}")
    return left


def _without_duplicates(observables: EventObservables, objects: Pilots) -> tuple[Observable, ...]:
    """Hide from the classifier what is the same as an observable before it in all pilot events."""
    found = [observables._values(events).values for sample in objects for events in sample]
    values = np.concatenate(found, axis=1) if found else np.zeros((len(observables.definitions), 0))
    if values.shape[1] < _ENOUGH:
        return observables.definitions
    result: list[Observable] = []
    seen: list[int] = []
    for row, definition in enumerate(observables.definitions):
        same = any(
            observables.definitions[other].kind is definition.kind and _equal(values[other], values[row])
            for other in seen
        )
        if not same:
            seen.append(row)
        result.append(dataclasses.replace(definition, feature=definition.feature and not same))
    return tuple(result)


def _equal(first: FloatArray, second: FloatArray) -> bool:
    # Most pairs differ in the first events already.
    head = slice(None, _ENOUGH)
    return bool(
        np.allclose(first[head], second[head], rtol=_SAME, atol=_SAME, equal_nan=True)
        and np.allclose(first, second, rtol=_SAME, atol=_SAME, equal_nan=True)
    )


@dataclass(frozen=True)
class _Defaults:
    """The observables that come with mlgen, for given samples."""

    objects: Pilots
    selected: list[list[npt.NDArray[np.bool_]]]
    directory: ObjectDirectory
    settings: ValidationSettings

    def all(self) -> list[_Candidate]:
        """All of them, in the order of the report."""
        refs = self._leading()
        return [
            *self._event(),
            *self._multiplicities(),
            *self._categories(),
            *(candidate for ref in refs for candidate in self._single(ref)),
            *(candidate for pair in self._pairs(refs) for candidate in self._pair(*pair)),
        ]

    # --- what the samples are like ------------------------------------------------------------------------------

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
                   kind: Kind = Kind.CONTINUOUS, periodic: bool = False) -> _Candidate:  # fmt: skip
        expression = parse_expression(text, self.directory, f"observable '{name}'")
        return _Candidate(Observable(name, f"${label}$", unit, kind, group, periodic=periodic), expression.number)

    # --- the observables ----------------------------------------------------------------------------------------

    def _event(self) -> list[_Candidate]:
        found = []
        if JET in self.directory.types:
            found.append(self._candidate("HT", "H_T", "HT()", "GeV"))
        found.append(self._candidate("sum pT", r"\sum p_T", "sum_pt()", "GeV"))
        if self._showered:
            found.append(self._candidate("sum ET", r"\sum E_T", "sum_et()", "GeV"))
            label = r"\sum p_T\ (\mathrm{charged})"
            found.append(self._candidate("sum pT(charged)", label, "sum_pt_charged()", "GeV"))
        if any(events.has_invisible() for sample in self.objects for events in sample):
            found.append(self._candidate("missing pT", r"p_T^\mathrm{miss}", "missing_pt()", "GeV"))
            label = r"\phi(p_T^\mathrm{miss})"
            found.append(self._candidate("phi(missing pT)", label, "missing_phi()", "rad", periodic=True))
        if self._hard:
            found.append(self._candidate("m(all)", r"m(\mathrm{all})", "m('all')", "GeV"))
            found.append(self._candidate("y(all)", r"y(\mathrm{all})", "y('all')"))
        if self._present("scale()"):
            found.append(self._candidate("scale", r"\mu\ (\mathrm{scale})", "scale()", "GeV"))
        if self._present("alpha_s()"):
            found.append(self._candidate("alpha_s", r"\alpha_s", "alpha_s()"))
        return found

    def _present(self, text: str) -> bool:
        source = parse_expression(text, self.directory).number
        return any(bool(np.isfinite(values).any()) for values in self._per_sample(source))

    def _multiplicities(self) -> list[_Candidate]:
        found = [self._multiplicity("final", r"\mathrm{final}")]
        if self._showered:
            labels = {"charged": r"\mathrm{charged}", "pi": r"\pi^\pm", "K": r"K^\pm", "p": r"p, \bar{p}"}
            found += [self._multiplicity(name, label) for name, label in labels.items()]
        frequent = [kind for kind in self._types() if self._share(ObjectRef(kind)) >= OBJECT_SHARE]
        # A number that is the same everywhere says nothing, and a rare change shows in the number of all particles.
        return found + [self._multiplicity(kind.name, kind.label) for kind in frequent if self._count_varies(kind)]

    def _count_varies(self, kind: ObjectType) -> bool:
        counts = self._per_sample(lambda events: events.count(kind))
        return len(np.unique(np.concatenate([np.zeros(0), *counts]))) > 1

    def _multiplicity(self, name: str, label: str) -> _Candidate:
        return self._candidate(f"n({name})", f"n({label})", f"count({name!r})", kind=Kind.INTEGER)

    def _categories(self) -> list[_Candidate]:
        found = []
        if self._hard:
            found.append(self._reactions())
        numbers = np.unique([i for sample in self.objects for events in sample for i in events.batch.process_id])
        if 1 < len(numbers) <= CATEGORIES:
            names = (*(str(int(number)) for number in numbers), OTHER)
            observable = Observable("process id", "process id", kind=Kind.CATEGORY, categories=names)
            found.append(_Candidate(observable, _ProcessCodes(numbers.astype(np.int64))))
        return found

    def _reactions(self) -> _Candidate:
        samples = [
            count_reactions(events.batch for events in sample if not events.batch.has_graph) for sample in self.objects
        ]
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
        return _Candidate(observable, _ReactionCodes(keys, np.array(order, np.float64), len(common)))

    def _single(self, ref: ObjectRef) -> list[_Candidate]:
        group = "jets" if ref.type.role is Role.JET else "leading objects"
        rapidity = ("y", "y") if ref.type.role is Role.HEAVY else ("eta", r"\eta")
        quantities = [("pT", "p_T", "pt", "GeV"), (rapidity[0], rapidity[1], rapidity[0], ""),
                      ("phi", r"\phi", "phi", "rad")]  # fmt: skip
        if self._has_mass(ref):
            quantities.append(("m", "m", "mass", "GeV"))
        return [
            self._candidate(f"{name}({ref.name})", f"{label}({ref.label})", f"{function}({ref.name!r})", unit, group,
                            periodic=name == "phi")
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
        shares = [events.final_share(ref.type) for sample in self.objects for events in sample]
        return bool(shares) and min(shares) > 0.5

    def _pair(self, first: ObjectRef, second: ObjectRef) -> list[_Candidate]:
        names, labels = f"{first.name}, {second.name}", f"{first.label}, {second.label}"
        arguments = f"{first.name!r}, {second.name!r}"
        return [
            self._candidate(f"m({names})", f"m({labels})", f"m({arguments})", "GeV", "pairs"),
            self._candidate(f"deltaR({names})", rf"\Delta R({labels})", f"deltaR({arguments})", "", "pairs"),
            self._candidate(f"deltaphi({names})", rf"\Delta\phi({labels})", f"deltaphi({arguments})", "rad", "pairs"),
        ]


def _share_of(sample: ReactionCounts, key: int) -> float:
    return sample.counts[key] / sample.events


def _belong_together(first: ObjectRef, second: ObjectRef) -> bool:
    """Whether two objects are a particle and its antiparticle, a lepton and a neutrino, or two of one type."""
    roles = {first.type.role, second.type.role}
    opposite = len(first.type.ids) == 1 and second.type.ids == (-first.type.ids[0],)
    return first.type == second.type or opposite or roles == {Role.LEPTON, Role.NEUTRINO}
