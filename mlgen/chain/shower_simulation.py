"""Simulates showers of single particles into an HDF5 file: the truth that calorimeter surrogates learn from."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlgen.chain.detector_simulations import simulation_errors
from mlgen.chain.gun_plan import ShowerPlan
from mlgen.chain.shower_parts import ShowerParts
from mlgen.chain.shower_record import attributes_of, particle_name, provenance_of, record_of
from mlgen.chain.shower_workers import simulate_parts
from mlgen.formats.shower_files import write_showers
from mlgen.showers import Geometry, ShowerBatch
from mlgen.stages import Progress, Reporter, silent

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SimulatedShowers:
    """What a simulation did.

    Args:
        showers: Number of showers in the output.
        resumed: How many of them an interrupted run had left.
        output: The file.
        program: The program, with the package it is from.
        particle: Name of the particle.
        geometry: The voxels.
        description: What the program says of itself.
        deposited: Mean share of the incident energy that is in the voxels.
        jobs: How many simulations worked at the same time.
        seconds: Wall time of the simulation.
    """

    showers: int
    resumed: int
    output: Path
    program: str
    particle: str
    geometry: Geometry
    description: Mapping[str, str | int | float]
    deposited: float
    jobs: int
    seconds: float

    @property
    def rate(self) -> float:
        """Showers that were simulated in a second."""
        return (self.showers - self.resumed) / self.seconds if self.seconds > 0 else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain types, for JSON."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {
            "output": str(self.output),
            "geometry": {"layers": len(self.geometry.layers), "voxels": self.geometry.n_voxels},
            "description": dict(self.description),
            "showers_per_second": self.rate,
        }


def simulate_showers(plan: ShowerPlan, reporter: Reporter = silent) -> SimulatedShowers:
    """Simulate the showers of a plan, on several cores, and write them.

    What is done is kept in a folder beside the output, ``<output>.parts``, until the output is whole.

    Raises:
        DetectorError: The program cannot simulate this.
        SimulationFailure: It failed; says in which showers.
        UserError: An interrupted run that is to go on had other settings.
        OutputError: The output cannot be written.
    """
    parts = plan.parts
    with plan.make() as simulation, simulation_errors(plan.registered):
        simulation.check_particle(plan.gun.settings.pdg_id)
        geometry = Geometry(particle_name(plan), simulation.geometry.layers)
        description = dict(simulation.description)
        record = record_of(plan, description, geometry)
        with ShowerParts(plan.output, record, resume=plan.resume, force=plan.force) as kept:
            todo = [part for part in parts if not kept.has(part.number, len(part) * geometry.n_voxels)]
            resumed = plan.showers - sum(len(part) for part in todo)
            jobs = max(1, min(plan.jobs, len(todo)))
            start = time.perf_counter()
            with reporter("simulating showers") as progress, _kept_on_failure(kept):
                done = resumed
                for part in simulate_parts(plan, simulation, todo, kept, jobs):
                    done += len(part)
                    rate = (done - resumed) / (time.perf_counter() - start)
                    progress(Progress(done, plan.showers, "showers/s", rate))
            seconds = time.perf_counter() - start
            deposited = _Deposited()
            write_showers(
                plan.output,
                deposited.counted(_batches(plan, kept, geometry)),
                provenance=[provenance_of(plan, record)],
                attributes=attributes_of(plan, description),
                force=plan.force,
            )
            kept.remove()
    return SimulatedShowers(
        plan.showers, resumed, plan.output, f"{plan.registered.offer.name} of {plan.registered.source}",
        geometry.particle, geometry, description, deposited.mean, jobs, seconds,
    )  # fmt: skip


@contextlib.contextmanager
def _kept_on_failure(kept: ShowerParts) -> Iterator[None]:
    """Say, when the work is broken off, that what is done is not lost."""
    try:
        yield
    except BaseException:
        _log.warning("%s: what was simulated is kept there; the same command with --resume goes on", kept.folder)
        raise


class _Deposited:
    """Counts which share of the incident energy is in the voxels."""

    def __init__(self) -> None:
        self._sum, self._n = 0.0, 0

    def counted(self, batches: Iterator[ShowerBatch]) -> Iterator[ShowerBatch]:
        for batch in batches:
            self._sum += float((batch.voxels.sum(axis=1) / batch.incident_energy).sum())
            self._n += len(batch)
            yield batch

    @property
    def mean(self) -> float:
        return self._sum / self._n


def _batches(plan: ShowerPlan, kept: ShowerParts, geometry: Geometry) -> Iterator[ShowerBatch]:
    for part in plan.parts:
        shot = plan.gun.particles(part.first, part.last, plan.seed)
        voxels = kept.read(part.number, geometry.n_voxels)
        yield ShowerBatch(shot.incident_energy, shot.pdg_id, shot.direction, voxels, geometry)
