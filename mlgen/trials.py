"""Trials: how many attempts of the generator an event stands for (Sherpa, LHEH5; arXiv:1905.05120).

Where events carry them, the cross section is the sum of the weights over the sum of the trials: an event with t trials
stands for itself and for t - 1 attempts of weight zero that were not written. They stand in the attribute ``trials`` of
an event's tag.
"""

from __future__ import annotations

import re

import numpy as np

from mlgen.events import EventBatch, FloatArray

_TRIALS = re.compile(r"""\s*\btrials\s*=\s*["']\s*([^"']*?)\s*["']""")


def trials_of(batch: EventBatch) -> FloatArray:
    """Trials of each event, shape ``(n,)``; 1 for an event that carries none, or none that is a number."""
    trials = np.ones(len(batch))
    if batch.tag_attributes is None:
        return trials
    for index, text in enumerate(batch.tag_attributes):
        found = _TRIALS.search(text) if "trials" in text else None
        if found:
            try:
                trials[index] = float(found.group(1))
            except ValueError:
                continue
    return np.where(np.isfinite(trials) & (trials > 0), trials, 1.0)


def attributes_without_trials(batch: EventBatch) -> np.ndarray[tuple[int], np.dtype[np.object_]] | None:
    """The attributes of each event's tag without its trials, shape ``(n,)``, or None where there are none."""
    if batch.tag_attributes is None:
        return None
    texts = [_TRIALS.sub("", text) for text in batch.tag_attributes]
    return np.array(texts, dtype=object) if any(texts) else None
