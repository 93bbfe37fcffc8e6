"""What a physicist wants to know first about an event file."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import awkward as ak
import numpy as np

from mlgen.event_format import Skipped
from mlgen.events import EventBatch
from mlgen.formats.reading import EventStream
from mlgen.run_info import RunInfo
from mlgen.stages import Progress, ProgressCallback, no_progress
from mlgen.trials import trials_of


@dataclass(slots=True)
class Summary:
    """Figures of one sample.

    Args:
        run_info: What the file says of itself.
        events: Events read.
        skipped: Events that could not be read.
        sum_of_weights: Of the nominal weights, in the file's normalisation.
        sum_of_squares: Of the nominal weights.
        smallest_weight: Smallest nominal weight.
        largest_weight: Largest nominal weight.
        negative: Events with a negative weight.
        zero: Events with weight zero.
        trials: Sum of the events' trials (`mlgen.trials`).
        particles: Final-state particles of each kind (all events), by PDG id.
        reactions: Hard processes ``((incoming), (outgoing))`` as PDG ids, with the number of events; empty for
            shower-level events.
        multiplicities: Events by number of final-state particles, for hard events.
    """

    run_info: RunInfo
    events: int = 0
    skipped: Skipped = field(default_factory=Skipped)
    sum_of_weights: float = 0.0
    sum_of_squares: float = 0.0
    smallest_weight: float = math.inf
    largest_weight: float = -math.inf
    negative: int = 0
    zero: int = 0
    trials: float = 0.0
    shower_level: bool = False
    particles: Counter[int] = field(default_factory=Counter)
    reactions: Counter[tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=Counter)
    multiplicities: Counter[int] = field(default_factory=Counter)

    @property
    def negative_fraction(self) -> float:
        """Share of events with a negative weight."""
        return self.negative / self.events if self.events else math.nan

    @property
    def mean_weight(self) -> float:
        """Mean nominal weight."""
        return self.sum_of_weights / self.events if self.events else math.nan

    @property
    def effective_sample_size(self) -> float:
        """(sum w)^2 / sum w^2 (Kish)."""
        return self.sum_of_weights**2 / self.sum_of_squares if self.sum_of_squares else math.nan

    def add(self, batch: EventBatch) -> None:
        """Count a batch."""
        if not len(batch):
            return
        weight = batch.weight
        self.events += len(batch)
        self.sum_of_weights += float(weight.sum())
        self.sum_of_squares += float((weight**2).sum())
        self.smallest_weight = min(self.smallest_weight, float(weight.min()))
        self.largest_weight = max(self.largest_weight, float(weight.max()))
        self.negative += int((weight < 0).sum())
        self.zero += int((weight == 0).sum())
        self.trials += float(trials_of(batch).sum())
        status, pdg_id = batch.column("status"), batch.column("pdg_id")
        self.particles.update(_counted(pdg_id[status == 1]))
        if batch.has_graph:
            self.shower_level = True
            return
        finals = np.asarray(ak.to_numpy(ak.sum(batch.particles.status == 1, axis=1)))
        self.multiplicities.update(_counted(finals))
        self.reactions.update(_reactions(batch))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain types, for JSON."""
        info = self.run_info
        return {
            "generator": info.generator,
            "beams": [dataclasses.asdict(beam) for beam in info.beams],
            "processes": [dataclasses.asdict(process) for process in info.processes],
            "cross_section": info.cross_section,
            "cross_section_error": info.cross_section_error,
            "weight_strategy": info.weight_strategy,
            "normalisation": info.normalisation.value,
            "events": self.events,
            "skipped": self.skipped.count,
            "smallest_weight": self.smallest_weight,
            "largest_weight": self.largest_weight,
            "mean_weight": self.mean_weight,
            "sum_of_weights": self.sum_of_weights,
            "effective_sample_size": self.effective_sample_size,
            "negative_fraction": self.negative_fraction,
            "zero_weights": self.zero,
            "trials": self.trials,
            "variations": list(info.variation_names),
            "level": "shower" if self.shower_level else "hard process",
            "final_particles": {str(pdg_id): count for pdg_id, count in self.particles.most_common()},
            "multiplicities": {str(n): count for n, count in sorted(self.multiplicities.items())},
            "reactions": [
                {"incoming": list(incoming), "outgoing": list(outgoing), "events": count}
                for (incoming, outgoing), count in self.reactions.most_common()
            ],
            "provenance": list(info.provenance),
        }


def summarise(events: EventStream, progress: ProgressCallback = no_progress) -> Summary:
    """Read a whole sample, in constant memory."""
    summary = Summary(events.run_info)
    for batch in events:
        summary.add(batch)
        progress(Progress(summary.events, 0))
    summary.skipped = events.skipped
    return summary


def _counted(values: Any) -> dict[int, int]:
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _reactions(batch: EventBatch) -> dict[tuple[tuple[int, ...], tuple[int, ...]], int]:
    """Incoming and sorted final PDG ids of each event, counted."""
    counts = batch.counts
    width = int(counts.max(initial=1))
    status, pdg_id = batch.column("status"), batch.column("pdg_id")
    event = np.repeat(np.arange(len(batch)), counts)
    # The outgoing particles in the order of their kind, so that the order in the file does not matter.
    order = np.lexsort((pdg_id, status, event))
    position = np.arange(len(event)) - np.repeat(batch.offsets[:-1], counts)
    rows = np.zeros((len(batch), 2 * width), np.int64)
    rows[event, position] = status[order]
    rows[event, width + position] = pdg_id[order]
    found, number = np.unique(rows, axis=0, return_counts=True)
    reactions: Counter[tuple[tuple[int, ...], tuple[int, ...]]] = Counter()
    for row, count in zip(found.tolist(), number.tolist(), strict=True):
        particles = list(zip(row[:width], row[width:], strict=True))
        incoming = tuple(pdg for state, pdg in particles if state == -1)
        reactions[incoming, tuple(pdg for state, pdg in particles if state == 1)] += count
    return reactions
