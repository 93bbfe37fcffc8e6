"""Inputs of the example cards: small invented samples, written by mlgen itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mlgen.stages import Stage

#: Events and showers of the inputs.
TRAINING_EVENTS, WEIGHTED_EVENTS, CALORIMETER_EVENTS, SHOWERS = 3_000, 5_000, 200, 2_000
#: Seed of all of them.
SEED = 20_240
#: Share of the weighted events whose weight is negative.
NEGATIVE_SHARE = 0.08
_MUON, _ELECTRON = 13, 11


def write_inputs(stage: Stage, folder: Path) -> None:
    """Write what the example card of a stage reads into a folder; nothing where it starts from a process.

    Raises:
        mlgen.errors.WriteFailure: The disk is full, or the like.
    """
    if stage in _WRITERS:
        _WRITERS[stage](folder, np.random.default_rng(SEED))


def _events(folder: Path, rng: np.random.Generator) -> None:
    from mlgen.formats import create_events
    from mlgen.testing import drell_yan_events

    events, run_info = drell_yan_events(TRAINING_EVENTS, rng)
    with create_events(folder / "events.lhe.gz", run_info) as output:
        output.write(events)


def _weighted_events(folder: Path, rng: np.random.Generator) -> None:
    """Weights as those of a calculation beyond leading order: spread over an order of magnitude, some negative."""
    from mlgen.formats import create_events
    from mlgen.testing import drell_yan_events

    events, run_info = drell_yan_events(WEIGHTED_EVENTS, rng)
    ratio = rng.lognormal(0.0, 0.7, len(events)) * np.where(rng.random(len(events)) < NEGATIVE_SHARE, -1.0, 1.0)
    weight = run_info.cross_section * ratio / ratio.mean()
    process = dataclasses.replace(run_info.processes[0], maximum_weight=float(np.abs(weight).max()))
    run_info = run_info.replace(weight_strategy=-4, processes=(process,))
    with create_events(folder / "weighted.lhe.gz", run_info) as output:
        output.write(dataclasses.replace(events, weight=weight))


def _calorimeter_inputs(folder: Path, rng: np.random.Generator) -> None:
    from mlgen.events import EventBatch
    from mlgen.formats import create_events
    from mlgen.formats.shower_writer import write_showers
    from mlgen.testing import drell_yan_events, showers

    events, run_info = drell_yan_events(CALORIMETER_EVENTS, rng, gluon_fraction=0.0)
    columns = events.columns()
    muons = np.abs(columns["pdg_id"]) == _MUON
    columns["pdg_id"] = np.where(muons, np.sign(columns["pdg_id"]) * _ELECTRON, columns["pdg_id"])
    electrons = EventBatch.from_columns(
        events.counts,
        columns,
        weight=events.weight,
        process_id=events.process_id,
        scale=events.scale,
        alpha_qed=events.alpha_qed,
        alpha_qcd=events.alpha_qcd,
    )
    with create_events(folder / "events.lhe.gz", run_info) as output:
        output.write(electrons)
    write_showers(folder / "showers.h5", [showers(SHOWERS, rng)])


_WRITERS: Mapping[Stage, Callable[[Path, np.random.Generator], None]] = {
    Stage.UNWEIGHTING: _weighted_events,
    Stage.GENERATOR: _events,
    Stage.CALORIMETER: _calorimeter_inputs,
}
