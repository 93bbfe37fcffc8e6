"""A sample with negative weights whose signed truth is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from generators_output import Output
from generators_samples import BoolArray, count_events
from generators_tables import FloatArray, find_objects, pt, rapidity, read

from mlgen import create_events, open_events
from mlgen.events import EventBatch

#: Share of negative events.
NEGATIVE_SHARE = 0.2
#: Parts of the file: positive events, candidates for the positive and the negative ones of the pairs, held out.
_PARTS = (0.27, 0.245, 0.245, 0.24)


def make_negative(path: Path, folder: Path, events: int | None, seed: int, output: Output) -> None:
    r"""Write a training sample with 20 % of negative weights, and the signed truth as held-out events.

    Positive events :math:`p` from one part of the file; from two others, events :math:`h` that are accepted with a
    probability that depends on pT(j1) and y(Z), once with positive and once with negative weight. The signed density
    is :math:`p` whatever the probability, while neither the positive nor the negative events are distributed like it.
    With :math:`n` events of :math:`p` and :math:`m` of each :math:`h`, :math:`m / (n + 2 m) = 0.2` for
    :math:`m = n / 3`. Weights of IDWTUP = -4 average to the cross section: they are multiplied by
    :math:`(n + 2 m) / n`.

    Args:
        path: Events of :math:`p`, without negative ones.
        folder: Where `train.lhe.gz` and `heldout.lhe.gz` go.
        events: Events of the training sample; as many as the file allows when None.
        seed: Of what is accepted and of the order.
        output: Where it is told.
    """
    folder.mkdir(parents=True, exist_ok=True)
    total = count_events(path)
    ends = np.floor(np.cumsum(_PARTS) * total).astype(np.int64)
    place = np.arange(total)
    rng = np.random.default_rng(seed)
    accepted = rng.random(total) < acceptance(path)
    in_part = [(place >= low) & (place < high) for low, high in zip([0, *ends[:-1]], ends, strict=True)]
    plus, minus = in_part[1] & accepted, in_part[2] & accepted
    pairs = min(int(plus.sum()), int(minus.sum()), int(in_part[0].sum()) // 3)
    if events is not None:
        pairs = min(pairs, events // 5)
    train = _first(in_part[0], 3 * pairs) | _first(plus, pairs) | _first(minus, pairs)
    negative = _first(minus, pairs)
    signed = np.where(negative, -1.0, 1.0) * 5 / 3
    _write(path, folder / "train.lhe.gz", train, signed, rng, strategy=-4)
    _write(path, folder / "heldout.lhe.gz", in_part[3], np.ones(total), rng, strategy=4)
    output.say(
        f"{folder}: {5 * pairs:,} events, {pairs:,} of them ({100 * pairs / (5 * pairs):.0f} %) negative, "
        f"worth {0.36 * 5 * pairs:,.0f} events of equal weight; {int(in_part[3].sum()):,} of the signed truth held out"
    )
    output.keep("negative", events=5 * pairs, negative=pairs, heldout=int(in_part[3].sum()), seed=seed)


def acceptance(path: Path) -> FloatArray:
    """Probability that an event becomes part of a pair, ``(n,)``: mostly of soft jets, and of one side."""
    table = read(path)
    o = find_objects(table)
    soft = np.exp(-(((pt(o.jets[:, 0]) - 45) / 30) ** 2))
    side = 1 / (1 + np.exp(-1.5 * rapidity(o.particle + o.antiparticle)))
    return np.asarray(0.05 + 0.95 * soft * (0.3 + 0.7 * side), np.float64)


def _first(chosen: BoolArray, number: int) -> BoolArray:
    return chosen & (np.cumsum(chosen) <= number)


def _write(
    path: Path, target: Path, chosen: BoolArray, factor: FloatArray, rng: np.random.Generator, *, strategy: int
) -> None:
    """Write the chosen events, their weights multiplied, in an order at random."""
    with open_events(path) as source:
        batches, start = [], 0
        for batch in source:
            index = np.flatnonzero(chosen[start : start + len(batch)])
            part = batch[index]
            batches.append(dataclasses.replace(part, weight=part.weight * factor[start + index]))
            start += len(batch)
        info = source.run_info.replace(weight_strategy=strategy)
    everything = EventBatch.concatenate(batches)
    order = rng.permutation(len(everything))
    with create_events(target, info, force=True) as output:
        for place in range(0, len(order), 10_000):
            output.write(everything[order[place : place + 10_000]])
