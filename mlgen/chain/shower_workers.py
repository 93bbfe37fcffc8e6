"""Several simulations of a detector that work at the same time, each in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlgen.chain.detector_simulations import simulation_errors
from mlgen.chain.shower_parts import ShowerParts
from mlgen.detector_simulation import DetectorSimulation
from mlgen.errors import SimulationFailure

if TYPE_CHECKING:
    from mlgen.chain.gun_plan import ShowerPlan


@dataclass(frozen=True, slots=True)
class Part:
    """Showers `first` to `last` of a run, counted from 0, the latter left out."""

    number: int
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first


def simulate_parts(
    plan: ShowerPlan, simulation: DetectorSimulation, parts: Sequence[Part], kept: ShowerParts, jobs: int
) -> Iterator[Part]:
    """Simulate parts, and keep them; yields each when it is kept, in no order.

    Args:
        plan: The plan.
        simulation: The first of the simulations; further ones are made.
        parts: What is to be done.
        kept: Where the showers are kept.
        jobs: How many simulations work at the same time.

    Raises:
        SimulationFailure: One failed; says in which showers.
    """
    workers = _Workers(plan, simulation, kept, jobs)
    futures: list[Future[Part]] = []
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="detector")
    try:
        futures = [pool.submit(workers.work, part) for part in parts]
        for future in as_completed(futures):
            yield future.result()
    finally:
        # Nobody waits for what was not begun, and what was is broken off.
        for future in futures:
            future.cancel()
        workers.close()
        pool.shutdown()


class _Workers:
    def __init__(self, plan: ShowerPlan, first: DetectorSimulation, kept: ShowerParts, jobs: int) -> None:
        self._plan, self._kept = plan, kept
        self._made = [first]
        self._making = threading.Lock()
        self._closed = False
        self._idle: queue.SimpleQueue[DetectorSimulation | None] = queue.SimpleQueue()
        self._idle.put(first)
        for _ in range(jobs - 1):
            # Made when it is needed, by the thread that needs it.
            self._idle.put(None)

    def work(self, part: Part) -> Part:
        simulation = self._idle.get()
        try:
            if simulation is None:
                simulation = self._another()
            self._simulate(part, simulation)
        finally:
            self._idle.put(simulation)
        return part

    def close(self) -> None:
        """End all simulations."""
        with self._making:
            self._closed = True
            made = list(self._made)
        for simulation in made:
            simulation.close()

    def _another(self) -> DetectorSimulation:
        with self._making:
            if self._closed:
                raise SimulationFailure("the run has ended")
            made = self._plan.make()
            self._made.append(made)
        return made

    def _simulate(self, part: Part, simulation: DetectorSimulation) -> None:
        plan = self._plan
        shot = plan.gun.particles(part.first, part.last, plan.seed)
        try:
            with simulation_errors(plan.registered):
                showers = simulation.simulate(shot.pdg_id, shot.incident_energy, shot.direction, shot.seeds)
        except SimulationFailure as error:
            first, last = part.first + 1, part.last
            if error.shower is not None:
                first = last = part.first + error.shower + 1
            energies = shot.incident_energy[first - 1 - part.first : last - part.first] / 1000
            which = f"shower {first:,}" if first == last else f"showers {first:,} to {last:,}"
            at = f"{energies.min():.4g}" + (f" to {energies.max():.4g}" if first < last else "")
            raise SimulationFailure(f"{which} ({at} GeV): {error.problem}", shower=error.shower) from error
        self._kept.write(part.number, showers.voxels)
