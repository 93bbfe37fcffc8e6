"""What is true of the generated events as a whole: their weight and their run information."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

import numpy as np
import numpy.typing as npt

import mlgen
from mlgen.events import FloatArray
from mlgen.representation import Topology
from mlgen.run_info import RunInfo, Variation, WeightNormalisation


def event_weight(weights: FloatArray, run_info: RunInfo) -> float:
    """Return the weight of every generated event, in the normalisation of the training file.

    Unit weights keep their size. Weights that average to the cross section are the cross section that the file
    states, or the mean of the weights when it states none. A file that does not say how its weights are meant gives
    the mean of its weights.
    """
    if run_info.normalisation is WeightNormalisation.UNIT:
        return float(np.abs(weights).mean())
    if run_info.normalisation is WeightNormalisation.AVERAGE:
        total = run_info.cross_section
        if math.isfinite(total) and total > 0:
            return total
    return float(weights.mean())


def generated_run_info(
    trained_on: RunInfo,
    weight: float,
    plugin: str,
    summary: str,
    variations: Sequence[Variation] = (),
) -> RunInfo:
    """Run information of generated events.

    Beams and cross sections are those of the training file. Header, comments and named weights describe that file's
    own run and are dropped; which program made it stays in the generator's name. All weights are equal and positive,
    so a reader need not unweight (strategies 1 and 2 become 4) nor expect negative ones.

    Args:
        trained_on: Run information of the training file.
        weight: Weight of every event.
        plugin: The generator's name.
        summary: What it is, in words.
        variations: Named weights that the generated events have.
    """
    strategy = abs(trained_on.weight_strategy)
    name = f"mlgen {plugin}, learned from {trained_on.generator or 'an unnamed generator'},"
    attributes = f"name={quoteattr(name)} version={quoteattr(mlgen.__version__)}"
    return trained_on.replace(
        weight_strategy=4 if strategy in (1, 2) else strategy,
        processes=tuple(dataclasses.replace(p, maximum_weight=weight) for p in trained_on.processes),
        variations=tuple(variations),
        variation_groups=(),
        header="",
        init_text=f"<generator {attributes}>{summary}</generator>",
        generator=f"{name} {mlgen.__version__}",
        lhe_version="3.0",
        lhe_attributes={},
        foreign={},
    )


def restricted_run_info(
    info: RunInfo, weight: float, topologies: Sequence[Topology], asked: Sequence[npt.NDArray[np.bool_]]
) -> RunInfo:
    """Run information of a part of the events.

    Processes of which nothing is left are dropped. The others keep what is left of their own cross sections, so that
    the sum is the share of the whole one.

    Args:
        info: Of all events.
        weight: Weight of every event then.
        topologies: The topologies.
        asked: Which flavour labels of each are left, ``(flavours,)``.
    """
    before: dict[int, float] = {}
    after: dict[int, float] = {}
    for topology, chosen in zip(topologies, asked, strict=True):
        labels = topology.labels
        for number, share, left in zip(labels.process_id.tolist(), labels.share.tolist(), chosen, strict=True):
            before[number] = before.get(number, 0.0) + share
            after[number] = after.get(number, 0.0) + (share if left else 0.0)
    total = sum(after.values())
    fraction = {number: after[number] / before[number] for number in before}
    processes = [process for process in info.processes if fraction.get(process.process_id, 0.0) > 0]
    scale = total
    kept = math.fsum(process.cross_section * fraction[process.process_id] for process in processes)
    if kept > 0 and math.isfinite(kept):
        scale = info.cross_section * total / kept
    else:
        # The file's numbers of processes are not those of its events.
        processes, fraction = list(info.processes), {process.process_id: 1.0 for process in info.processes}
    largest = weight * total if info.normalisation is WeightNormalisation.AVERAGE else weight
    return info.replace(
        processes=tuple(
            dataclasses.replace(
                process,
                cross_section=process.cross_section * fraction[process.process_id] * scale,
                error=process.error * fraction[process.process_id] * scale,
                maximum_weight=largest,
            )
            for process in processes
        )
    )
