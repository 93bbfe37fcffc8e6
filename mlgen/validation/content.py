"""What two samples of events are made of, and what differs in kind: beams, reactions, particles, weights."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.events import EventBatch, IntArray
from mlgen.run_info import Beam, RunInfo
from mlgen.validation.levels import Level, by_content
from mlgen.validation.object_types import particle_name

#: Something that one sample lacks is reported when at least so many events with it are expected there; the chance that
#: these are missing by accident is exp(-10).
EXPECTED = 10.0
_SHOWN = 6
_INCOMING, _FINAL = -1, 1
_Keys = npt.NDArray[np.uint64]


def reaction_keys(pdg_id: npt.NDArray[Any], status: npt.NDArray[Any], offsets: npt.NDArray[np.int64]) -> _Keys:
    """Number the reactions: events with the same incoming and the same final particles get the same number.

    The number is the sum of a 64-bit hash of each particle, so that their order does not matter and nothing has to
    be sorted.

    Args:
        pdg_id: Flat, shape ``(particles,)``.
        status: Flat, shape ``(particles,)``.
        offsets: Start of each event, shape ``(n + 1,)``.

    Returns:
        Shape ``(n,)``.
    """
    incoming = status == _INCOMING
    code = pdg_id.astype(np.int64).view(np.uint64) * np.uint64(2) + incoming.astype(np.uint64)
    # The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    code = (code + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    code = (code ^ (code >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    code ^= code >> np.uint64(31)
    code[~incoming & (status != _FINAL)] = 0
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(code, dtype=np.uint64)])
    return np.asarray(sums[offsets[1:]] - sums[offsets[:-1]], np.uint64)


def reaction_name(pdg_id: IntArray, status: IntArray) -> str:
    """Write the reaction of one event: ``g u > mu- mu+ u``.

    Args:
        pdg_id: Of the event's particles, shape ``(particles,)``.
        status: Shape ``(particles,)``.
    """
    incoming = sorted(pdg_id[status == _INCOMING].tolist(), key=_light_last)
    outgoing = sorted(pdg_id[status == _FINAL].tolist(), key=_light_last)
    return f"{' '.join(map(particle_name, incoming))} > {' '.join(map(particle_name, outgoing))}"


def _light_last(pdg_id: int) -> tuple[int, int, int]:
    """Leptons, then what is heavy, gluons, quarks; of one kind the particle before the antiparticle."""
    size = abs(pdg_id)
    group = 0 if 11 <= size <= 16 else 2 if size == 21 else 3 if size <= 5 else 1
    return group, size, -pdg_id


@dataclass(frozen=True, slots=True)
class ReactionCounts:
    """Reactions of a sample.

    Args:
        events: Number of events.
        counts: Events of each reaction, by its number (`reaction_keys`).
        names: How each is written.
    """

    events: int
    counts: Mapping[int, int]
    names: Mapping[int, str]


def count_reactions(batches: Iterable[EventBatch]) -> ReactionCounts:
    """Count the reactions of hard events."""
    total = 0
    counts: dict[int, int] = {}
    names: dict[int, str] = {}
    for batch in batches:
        total += len(batch)
        pdg_id, status, offsets = batch.column("pdg_id"), batch.column("status"), batch.offsets
        found, first, number = np.unique(reaction_keys(pdg_id, status, offsets), return_index=True, return_counts=True)
        for key, event, count in zip(found.tolist(), first.tolist(), number.tolist(), strict=True):
            if key not in names:
                here = slice(offsets[event], offsets[event + 1])
                names[key] = reaction_name(pdg_id[here], status[here])
            counts[key] = counts.get(key, 0) + count
    return ReactionCounts(total, counts, names)


def content_differences(
    reference: Sequence[EventBatch], reference_info: RunInfo, sample: Sequence[EventBatch], sample_info: RunInfo
) -> tuple[str, ...]:
    """Say what differs in kind between two samples.

    Shares are shares of events, whatever their weights. What only one sample has is reported when it is no accident:
    when at least `EXPECTED` events with it would be expected in the other.

    Args:
        reference: Events of the reference, all or the first.
        reference_info: What is true of its file.
        sample: Events of the sample, all or the first.
        sample_info: What is true of its file.

    Returns:
        Plain sentences; none when nothing differs.
    """
    reference, sample = by_content(reference), by_content(sample)
    sentences = [*_beams(reference_info, sample_info)]
    levels = {name: _levels(batches) for name, batches in (("reference", reference), ("sample", sample))}
    if all(levels.values()) and levels["reference"] != levels["sample"]:
        sentences.append(
            f"The reference holds {levels['reference']}, the sample {levels['sample']}: "
            "only what means the same in both is compared."
        )
    elif all(levels.values()):
        if levels["reference"] == Level.HARD.value:
            sentences += _reactions(count_reactions(reference), count_reactions(sample))
        sentences += _particles(reference, sample)
    return (*sentences, *_process_ids(reference, sample), *_weights(reference_info, sample_info))


def _levels(batches: Sequence[EventBatch]) -> str:
    found = {(Level.SHOWER if batch.has_graph else Level.HARD).value for batch in batches if len(batch)}
    return " and ".join(sorted(found))


def _beam_words(beams: Sequence[Beam]) -> str:
    return " on ".join(f"{particle_name(beam.pdg_id)} of {beam.energy:g} GeV" for beam in beams)


def _beams(reference: RunInfo, sample: RunInfo) -> Iterable[str]:
    first, second = ([beam for beam in info.beams if beam.pdg_id] for info in (reference, sample))
    if not first and not second:
        return
    if not first or not second:
        silent, known = ("reference", second) if not first else ("sample", first)
        yield f"The {silent} does not say what its beams are; the other's are {_beam_words(known)}."
        return
    same = len(first) == len(second) and all(
        one.pdg_id == other.pdg_id and math.isclose(one.energy, other.energy, rel_tol=1e-6)
        for one, other in zip(first, second, strict=False)
    )
    if not same:
        yield f"The beams differ: {_beam_words(first)} in the reference, {_beam_words(second)} in the sample."


def _percent(count: int, events: int) -> str:
    return f"{count / events:.2%} ({count:,} of {events:,} events)"


def _one_sided(first: Mapping[Any, int], events: int, second: Mapping[Any, int], others: int) -> list[Any]:
    """What the first has and the second lacks, although it is expected there; most frequent first."""
    lacking = [key for key in first if not second.get(key) and first[key] / events * others >= EXPECTED]
    return sorted(lacking, key=lambda key: -first[key])


def _listed(items: Sequence[str], more: str) -> str:
    rest = len(items) - _SHOWN
    shown = [*items[:_SHOWN], f"{rest:,} more {more}"] if rest > 0 else list(items)
    return "; ".join([*shown[:-1], f"and {shown[-1]}"]) if len(shown) > 1 else "".join(shown)


def _reactions(reference: ReactionCounts, sample: ReactionCounts) -> Iterable[str]:
    for here, there, one, other in (
        ("reference", "sample", reference, sample),
        ("sample", "reference", sample, reference),
    ):
        if not one.events or not other.events:
            continue
        lacking = _one_sided(one.counts, one.events, other.counts, other.events)
        if lacking:
            shares = [f"{one.names[key]}, {_percent(one.counts[key], one.events)}" for key in lacking]
            expected = sum(one.counts[key] for key in lacking) / one.events * other.events
            yield (
                f"Reactions of the {here} that none of {other.events:,} events of the {there} has, where "
                f"{expected:,.0f} are expected: {_listed(shares, 'reactions')}."
            )


def _particles(reference: Sequence[EventBatch], sample: Sequence[EventBatch]) -> Iterable[str]:
    kinds = [_final_kinds(batches) for batches in (reference, sample)]
    events = [sum(map(len, batches)) for batches in (reference, sample)]
    if not all(events):
        return
    for here, there, one, other in (("reference", "sample", 0, 1), ("sample", "reference", 1, 0)):
        only = kinds[one] - kinds[other]
        counts = _events_with((reference, sample)[one], only)
        lacking = _one_sided(counts, events[one], {}, events[other])
        if lacking:
            shares = [f"{particle_name(pdg_id)} in {_percent(counts[pdg_id], events[one])}" for pdg_id in lacking]
            yield (
                f"Final particles of the {here} that none of {events[other]:,} events of the {there} has: "
                f"{_listed(shares, 'kinds')}."
            )


def _final_kinds(batches: Sequence[EventBatch]) -> set[int]:
    kinds: set[int] = set()
    for batch in batches:
        kinds.update(np.unique(batch.column("pdg_id")[batch.column("status") == _FINAL]).tolist())
    return kinds


def _events_with(batches: Sequence[EventBatch], kinds: set[int]) -> dict[int, int]:
    """Events that have a final particle of each of the given kinds."""
    counts = dict.fromkeys(sorted(kinds, key=_light_last), 0)
    for batch in batches if kinds else ():
        pdg_id, final = batch.column("pdg_id"), batch.column("status") == _FINAL
        event = np.repeat(np.arange(len(batch)), batch.counts)
        rows = np.flatnonzero(final & np.isin(pdg_id, list(kinds)))
        found = np.unique(np.stack([pdg_id[rows].astype(np.int64), event[rows]]), axis=1)[0]
        for pdg_id_here, number in zip(*np.unique(found, return_counts=True), strict=True):
            counts[int(pdg_id_here)] += int(number)
    return counts


def _process_ids(reference: Sequence[EventBatch], sample: Sequence[EventBatch]) -> Iterable[str]:
    first, second = (collections.Counter(i for b in batches for i in b.process_id.tolist())
                     for batches in (reference, sample))  # fmt: skip
    events, others = first.total(), second.total()
    if events and others and (_one_sided(first, events, second, others) or _one_sided(second, others, first, events)):
        names = [_joined([str(i) for i in sorted(counts)]) for counts in (first, second)]
        yield (
            f"The process ids (LPRUP) differ: {names[0]} in the reference, {names[1]} in the sample. They are the "
            "generator's labels and are not compared."
        )


def _joined(items: Sequence[str]) -> str:
    """Join names to a list of words; of many, only the first."""
    shown = [*items[:_SHOWN], f"{len(items) - _SHOWN:,} more"] if len(items) > _SHOWN else list(items)
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def _weights(reference: RunInfo, sample: RunInfo) -> Iterable[str]:
    if reference.weight_strategy != sample.weight_strategy:
        yield (
            f"The weights are given differently: in the reference, {_strategy(reference)}; "
            f"in the sample, {_strategy(sample)}."
        )
    for here, there, one, other in (
        ("reference", "sample", reference, sample),
        ("sample", "reference", sample, reference),
    ):
        known = set(other.variation_names)
        only = [name for name in one.variation_names if name not in known]
        if only:
            names = _joined([f"'{name}'" for name in only])
            weights = "weight" if len(only) == 1 else "weights"
            yield f"The {here} has {len(only):,} named {weights} that the {there} lacks: {names}."


def _strategy(info: RunInfo) -> str:
    return f"{info.normalisation.value} (IDWTUP {info.weight_strategy})"
