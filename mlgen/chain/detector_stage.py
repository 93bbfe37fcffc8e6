"""The calorimeter of a run: a trained surrogate around the events, and the outputs of what it gives."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

from mlgen.card import CalorimeterSection
from mlgen.cells import CellBatch
from mlgen.chain.plan import Plan, PlannedStage
from mlgen.chain.report import StageResult
from mlgen.chain.shower_models import trained_surrogate
from mlgen.chain.timing import Timer
from mlgen.detector.census import Census
from mlgen.detector.simulation import PLACEMENT_COLUMNS, Detector, PlacedShowers
from mlgen.events import EventBatch
from mlgen.formats.shower_output import ShowerOutput
from mlgen.formats.writing import Output
from mlgen.run_info import RunInfo
from mlgen.seeds import Work, random_generator
from mlgen.stages import Reporter

#: Events whose showers are made in one go, counted from the first: group k has the k-th random numbers, so that the
#: showers do not depend on how the events come. Their cells are held in memory together.
GROUP_EVENTS = 100


class DetectorStage:
    """A calorimeter that is ready to use.

    Args:
        plan: The plan, with a calorimeter.
        reporter: Where progress goes.
        timer: What keeps the time.

    Attributes:
        description: What is to be said of it before its first shower.
        remarks: What the user should know of its model.

    Raises:
        mlgen.errors.MlgenError: The model cannot be used, or trained, or the card does not fit it.
    """

    def __init__(self, plan: Plan, reporter: Reporter, timer: Timer) -> None:
        stage = cast(PlannedStage, plan.calorimeter)
        section = cast(CalorimeterSection, plan.card.model.calorimeter)
        with timer("training"):
            trained = trained_surrogate(plan, stage, reporter)
        self._plan, self._timer, self._surrogate = plan, timer, trained.model
        self._detector = Detector(trained.model, section)
        # The detector belongs to the settings of the stage: other numbers, other cells.
        settings = {**trained.result.settings, **section.detector(), "x_axis": self._detector.x_axis}
        self.description = dataclasses.replace(trained.result, settings=settings)
        self.remarks = trained.remarks
        self._groups = self._events = 0

    @property
    def census(self) -> Census:
        """What became of the particles so far."""
        return self._detector.census

    def result(self) -> StageResult:
        """Describe the stage after its last shower."""
        return dataclasses.replace(
            self.description,
            figures={**self.description.figures, **self.census.figures()},
            remarks=(*self.description.remarks, *self.census.remarks()),
        )

    def particles(self) -> tuple[Mapping[str, Any], ...]:
        """What became of the particles, as plain types, one entry for each kind and fate."""
        return tuple(
            {
                "particle": row.name,
                "pdg_id": row.pdg_id,
                "fate": row.fate.description,
                "count": row.count,
                "energy": row.energy,
            }
            for row in self.census.rows()
        )

    def opened(self, stack: contextlib.ExitStack, run_info: RunInfo, outputs: Sequence[Output]) -> DetectorOutputs:
        """Open the files of showers, and take those of events that hold cells.

        Args:
            stack: Throws away what is not published in the end.
            run_info: What is true of the events.
            outputs: Files of the events, open.

        Raises:
            mlgen.errors.OutputError: A file cannot be written.
        """
        showers = [
            stack.enter_context(
                ShowerOutput(
                    path,
                    self._surrogate.geometry,
                    columns=PLACEMENT_COLUMNS,
                    provenance=run_info.provenance,
                    force=self._plan.force,
                )
            )
            for path in self._plan.shower_outputs
        ]
        return DetectorOutputs(self, [output for output in outputs if output.format.holds_cells], showers)

    def simulate(self, events: EventBatch, showers: Sequence[ShowerOutput]) -> CellBatch:
        """Make the showers of the next group of events."""

        def take(placed: PlacedShowers) -> None:
            for output in showers:
                output.write(placed.showers, placed.columns)

        rng = random_generator(self._plan.card.model.run.seed, Work.GENERATE_SHOWERS, self._groups)
        with self._timer("showers"):
            cells = self._detector.simulate(events, self._events, rng, take if showers else None)
        self._groups += 1
        self._events += len(events)
        return cells


class DetectorOutputs:
    """The outputs of a calorimeter while events are written: all of them or none.

    Args:
        stage: The calorimeter.
        cells: Files of events that hold cells; whoever opened them finishes them, after `finish`.
        showers: Files of showers.
    """

    def __init__(self, stage: DetectorStage, cells: Sequence[Output], showers: Sequence[ShowerOutput]) -> None:
        self._stage, self._cells, self._showers = stage, cells, showers
        self._waiting: list[EventBatch] = []
        self._held = 0

    def write(self, events: EventBatch) -> None:
        """Make the showers of events, in batches of any size, and write them and their cells.

        Raises:
            mlgen.errors.MlgenError: The plugin fails, an output cannot be written, or a particle stops the run.
        """
        start = 0
        while self._held + len(events) - start >= GROUP_EVENTS:
            stop = start + GROUP_EVENTS - self._held
            self._waiting.append(events[start:stop])
            self._write_group()
            start = stop
        if start < len(events):
            self._waiting.append(events[start:])
            self._held += len(events) - start

    def finish(self) -> None:
        """Write what is left, and the files of showers to the disk, still under temporary names."""
        if self._waiting:
            self._write_group()
        for file in self._cells:
            # So that a file of a run without any event has its empty table all the same.
            file.write_cells(CellBatch.empty())
        for output in self._showers:
            output.finish()

    def publish(self) -> None:
        """Move the files of showers into place."""
        for output in self._showers:
            output.publish()

    def _write_group(self) -> None:
        events = EventBatch.concatenate(self._waiting)
        self._waiting, self._held = [], 0
        cells = self._stage.simulate(events, self._showers)
        for output in self._cells:
            output.write_cells(cells)
