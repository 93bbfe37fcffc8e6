"""The events of a training: a stream, or a random part of it, in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from mlgen.errors import TrainingError
from mlgen.events import EventBatch, FloatArray


def collected(
    batches: Iterable[EventBatch],
    most: int | None = None,
    rng: np.random.Generator | None = None,
    variations: Sequence[str] = (),
) -> EventBatch:
    """Join batches without their text, and without named weights that were not asked for.

    Args:
        batches: The events.
        most: Keep so many at most, drawn at random with equal probability, so that memory does not grow with the
            file; all when None.
        rng: Source of the draw.
        variations: Names of weights to keep.

    Raises:
        TrainingError: There are no events, they are shower-level, a weight, momentum or mass is not finite, or a
            named weight is not there.
    """
    plain = (
        replace(batch, variations=_named(batch, variations), comments=None, tag_attributes=None) for batch in batches
    )
    parts = list(plain) if most is None or rng is None else _drawn(plain, most, rng)
    if sum(len(part) for part in parts) == 0:
        raise TrainingError("there are no events to learn from")
    if any(part.has_graph for part in parts):
        raise TrainingError("the events are shower-level (they have vertices); a generator learns hard events")
    batch = EventBatch.concatenate([part for part in parts if len(part)])
    wrong = np.flatnonzero(~np.isfinite(batch.weight))
    if len(wrong):
        raise TrainingError(f"the weight of event {wrong[0] + 1} is {batch.weight[wrong[0]]}; a number is expected")
    particle_columns = [batch.momenta(), batch.column("generated_mass")[:, None]]
    wrong = np.flatnonzero(~np.isfinite(np.hstack(particle_columns)).all(axis=1))
    if len(wrong):
        event = np.searchsorted(batch.offsets, wrong[0], "right")
        raise TrainingError(f"a momentum or mass of event {event} is not a finite number")
    for name, values in batch.variations.items():
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            raise TrainingError(
                f"the weight '{name}' of event {wrong[0] + 1} is {values[wrong[0]]}; a number is expected"
            )
    if not np.any(batch.weight):
        raise TrainingError("the weights of all events are zero; there is nothing to learn")
    return batch


def _named(batch: EventBatch, names: Sequence[str]) -> dict[str, FloatArray]:
    missing = [name for name in names if name not in batch.variations]
    if missing and len(batch):
        has = ", ".join(sorted(batch.variations)) or "none"
        raise TrainingError(f"the events have no weight of the name '{missing[0]}'; they have {has}")
    return {name: batch.variations[name] for name in names if name in batch.variations}


def _drawn(batches: Iterable[EventBatch], most: int, rng: np.random.Generator) -> list[EventBatch]:
    """Keep the `most` events with the smallest of random keys: each event has the same chance."""
    kept: list[EventBatch] = []
    keys = np.zeros(0)
    limit = 1.0
    for batch in batches:
        drawn = rng.random(len(batch))
        # What could not stay anyway is left out at once, so that the memory of a large file is that of a small one.
        kept.append(batch[np.flatnonzero(drawn < limit)])
        keys = np.concatenate([keys, drawn[drawn < limit]])
        if len(keys) > 1.1 * most:
            kept, keys = _smallest(kept, keys, most)
            limit = float(keys.max())
    return _smallest(kept, keys, most)[0] if len(keys) > most else kept


def _smallest(batches: list[EventBatch], keys: FloatArray, most: int) -> tuple[list[EventBatch], FloatArray]:
    chosen = np.sort(np.argpartition(keys, most)[:most])
    return [EventBatch.concatenate(batches)[chosen]], keys[chosen]
