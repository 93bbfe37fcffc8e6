"""Chooses the observables of hard and shower-level events from what the samples contain, and computes them."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlgen.errors import UserError, nearest
from mlgen.events import EventBatch
from mlgen.validation.default_observables import Candidate, DefaultObservables, Pilots, Rank, Source
from mlgen.validation.duplicates import Duplicate, duplicates
from mlgen.validation.expressions import Expression, ValueType, parse_expression
from mlgen.validation.jets import INSTALL_ADVICE, jets_available
from mlgen.validation.levels import Level, at_level, by_content, graph_level
from mlgen.validation.object_types import ObjectDirectory
from mlgen.validation.objects import EventObjects
from mlgen.validation.observable import USER, Kind, Observable, Values
from mlgen.validation.settings import JetSettings, ObservableSettings, ValidationSettings

_MIXED = (
    "Hard events are compared with shower-level events: only electrons, muons, pairs of them and the missing pT mean "
    "the same in both. Left out: partons and jets, sums and numbers that involve them (HT, sum pT, n(j), n(final)), "
    "photons, taus, resonances, scale, alpha_s and reaction."
)
_MIXED_OWN = " What you wrote yourself is computed as it is: 'j' is a parton in hard events, a jet in the others."
_NOTHING_IN_COMMON = (
    "hard events and shower-level events are given, without electrons, muons or neutrinos: nothing means the same in "
    "both; compare samples of one level, or write observables of your own"
)


@dataclass(frozen=True, slots=True)
class EventObservables:
    """Observables of events, the same for all samples of a comparison.

    Args:
        definitions: The observables, in the order of the report.
        sources: How each is computed.
        selection: Only events for which this is true; None, all.
        jets: How jets are made.
        graphs: What events with vertices are; None, decided for each batch, because samples differ or have none.
        remarks: What one should know of the choice.
    """

    definitions: tuple[Observable, ...]
    sources: tuple[Source, ...]
    selection: Expression | None
    jets: JetSettings
    graphs: Level | None = None
    remarks: tuple[str, ...] = ()

    def __call__(self, batch: EventBatch) -> Values:
        """Compute all observables of a batch."""
        return self._values(EventObjects(at_level(batch, self.graphs), self.jets))

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
    the scale and the coupling, and the reaction. Then the user's own.

    Where some samples are hard events and others shower-level events, only what means the same in both: electrons,
    muons, and what is missing. Which they are is decided by their final particles, for each sample as a whole.

    One that is the same as another in all pilot events of all samples, to six digits, is left out, as is a number of
    objects that is a linear function of another; the user's own ones stay, and those that `only` names in full.

    Args:
        pilots: The first batches of each sample.
        settings: What the user asks for.

    Raises:
        UserError: An expression cannot be read; a pattern of `only` matches nothing; nothing is left to compare.
    """
    objects = [
        [EventObjects(batch, settings.jets) for batch in by_content(batches) if len(batch)] for batches in pilots
    ]
    levels = {level for batches in pilots if (level := graph_level(batches))}
    directory = _directory(objects)
    selection = _selection(settings.select, directory)
    selected = _selected(objects, selection)
    remarks = []
    if directory.jets_missing:
        remarks.append(f"No jets: {INSTALL_ADVICE}.")
    defaults = DefaultObservables(objects, selected, directory, settings)
    candidates = {candidate.observable.name: candidate for candidate in defaults.all()}
    if defaults.mixed:
        remarks.append(_MIXED + (_MIXED_OWN if settings.observables or settings.select else ""))
    for name, wanted in settings.observables.items():
        # An observable of the user's replaces one of the same name.
        candidates[name] = _own(name, wanted, directory)
    if not candidates:
        raise UserError(_NOTHING_IN_COMMON if defaults.mixed else "there is nothing in the events to compare")
    chosen = [candidates[name] for name in _chosen(list(candidates), settings, remarks)]
    result = EventObservables(
        definitions=tuple(candidate.observable for candidate in chosen),
        sources=tuple(candidate.source for candidate in chosen),
        selection=selection,
        jets=settings.jets,
        graphs=levels.pop() if len(levels) == 1 else None,
        remarks=tuple(remarks),
    )
    return _without_duplicates(result, [candidate.rank for candidate in chosen], objects, settings)


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


def _own(name: str, wanted: ObservableSettings, directory: ObjectDirectory) -> Candidate:
    expression = parse_expression(wanted.expression, directory, f"observable '{name}'")
    label = name.replace("$", r"\$") if wanted.label is None else wanted.label
    if wanted.label is not None:
        _check_label(name, label)
    if wanted.range is not None and not wanted.range[0] < wanted.range[1]:
        raise UserError(f"observable '{name}': its range {list(wanted.range)} is not [lower, upper]")
    if wanted.range is not None and wanted.log and wanted.range[0] <= 0:
        raise UserError(f"observable '{name}': a logarithmic axis cannot begin at {wanted.range[0]:g}")
    kind = Kind.CONTINUOUS if expression.type is ValueType.NUMBER else Kind.INTEGER
    observable = Observable(name, label, wanted.unit, kind, USER, bins=wanted.bins, limits=wanted.range, log=wanted.log)
    return Candidate(observable, expression.number, Rank.USER)


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


def _without_duplicates(
    observables: EventObservables, ranks: Sequence[Rank], objects: Pilots, settings: ValidationSettings
) -> EventObservables:
    """Leave out what is the same as another observable in all pilot events of all samples.

    What the user wrote, or named without a wildcard, stays; of that, the classifier and the distances see one.
    """
    definitions = observables.definitions
    pilots = [
        np.concatenate([observables._values(events).values for events in sample], axis=1)
        for sample in objects
        if sample
    ]
    if len(pilots) < len(objects):
        return observables
    order = sorted(range(len(definitions)), key=lambda row: (ranks[row], row))
    found = duplicates(definitions, pilots, order)
    wanted = {row for row, d in enumerate(definitions) if d.group == USER or d.name in settings.only}
    left_out = sorted((duplicate for duplicate in found if duplicate.row not in wanted), key=lambda d: d.row)
    hidden = {duplicate.row for duplicate in found}
    kept = [row for row in range(len(definitions)) if row in wanted or row not in hidden]
    remarks = list(observables.remarks)
    if left_out:
        texts = [f"{definitions[d.row].name} = {_function(definitions[d.of].name, d)}" for d in left_out]
        remarks.append(
            f"Left out, because in all of the first events of all samples they say the same as another observable: "
            f"{', '.join(texts)}."
        )
    return dataclasses.replace(
        observables,
        definitions=tuple(
            dataclasses.replace(definitions[row], feature=definitions[row].feature and row not in hidden)
            for row in kept
        ),
        sources=tuple(observables.sources[row] for row in kept),
        remarks=tuple(remarks),
    )


def _function(name: str, duplicate: Duplicate) -> str:
    factor = {1.0: "", -1.0: "-"}.get(duplicate.slope, f"{duplicate.slope:g} ")
    if not duplicate.offset:
        return f"{factor}{name}"
    if duplicate.slope < 0:
        return f"{duplicate.offset:g} - {factor[1:]}{name}"
    return f"{factor}{name} {'+' if duplicate.offset > 0 else '-'} {abs(duplicate.offset):g}"
