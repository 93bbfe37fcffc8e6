"""What a run says of itself: progress while it works, figures when it is done, provenance in its outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlgen
from mlgen.chain.plan import Plan, PlannedStage
from mlgen.chain.weight_distribution import WeightDistribution
from mlgen.report.page import Page
from mlgen.stages import Exactness


@dataclass(frozen=True, slots=True)
class StageResult:
    """What one stage did: the plugin, whether it was trained, on which files, its model, its figures and remarks."""

    stage: str
    plugin: str
    version: str
    distribution: str
    exactness: str
    settings: Mapping[str, Any]
    trained: bool = False
    model: str = ""
    model_sha256: str = ""
    trained_on_sha256: str = ""
    figures: Mapping[str, float | int | str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run did.

    Args:
        events: Events in each output.
        cross_section: Of the output, in pb; NaN when unknown.
        cross_section_error: Likewise.
        exactness: Of the whole chain.
        outputs: The files.
        stages: One entry for each replaced stage.
        skipped: Input events that could not be read.
        seconds: Wall time by piece of work.
        remarks: What the user should know.
        provenance: What the outputs say of the run.
        weights: Distribution of the weights before an unweighting.
        unweighted: Distribution of the weights after it.
        particles: What became of the final particles in front of a calorimeter, one entry for each kind and fate.
    """

    events: int
    cross_section: float
    cross_section_error: float
    exactness: str
    outputs: tuple[Path, ...]
    stages: tuple[StageResult, ...]
    skipped: int
    seconds: Mapping[str, float]
    remarks: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    weights: WeightDistribution | None = None
    unweighted: WeightDistribution | None = None
    particles: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return what the outputs do not say themselves as plain types, for JSON."""
        content = dataclasses.asdict(self) | {"outputs": [str(path) for path in self.outputs]}
        del content["provenance"], content["weights"], content["unweighted"]
        return content

    def page(self) -> Page:
        """Return the report of the run."""
        from mlgen.report.particles import particles_table
        from mlgen.report.run import run_page
        from mlgen.report.run_weights import run_weights_figure

        weights = run_weights_figure(self)
        return run_page(
            self,
            self.provenance,
            figures=[weights] if weights is not None else [],
            tables=[particles_table(self.particles)] if self.particles else [],
        )


def stage_result(stage: PlannedStage, **others: Any) -> StageResult:
    """Describe a stage; `others` are further fields of `StageResult`."""
    offer, source = stage.registered.offer, stage.registered.source
    return StageResult(
        stage=offer.stage.value,
        plugin=offer.name,
        version=source.version,
        distribution=source.distribution,
        exactness=offer.exactness.value,
        settings=stage.settings.model_dump(mode="json"),
        **others,
    )


def provenance(plan: Plan, stages: tuple[StageResult, ...], before: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """What goes into every output: enough to make it again. No times, so that the same run gives the same bytes.

    Args:
        plan: The plan.
        stages: What replaced stages.
        before: The records of the events that it begins with: they do not become exact by going through an exact chain.
    """
    record = _record(plan, stages, "run")
    return record | {"exactness": Exactness.APPROXIMATE.value} if approximate_stages(before) is not None else record


def approximate_stages(records: Iterable[Any]) -> list[str] | None:
    """Return the approximate stages of the runs that made events, by plugin; None where all of these were exact."""
    approximate = Exactness.APPROXIMATE.value
    # Files can be edited: what is no record of mlgen's says nothing.
    weak = [record for record in records if isinstance(record, Mapping) and record.get("exactness") == approximate]
    if not weak:
        return None
    stages = [stage for record in weak for stage in record.get("stages") or () if isinstance(stage, Mapping)]
    return [str(stage.get("plugin")) for stage in stages if stage.get("exactness") == approximate]


def process_provenance(
    plan: Plan, stages: tuple[StageResult, ...], process: Mapping[str, Any], command: str
) -> dict[str, Any]:
    """As `provenance`, for a [process]: with the fingerprint of the process, all that defines its cross section."""
    return _record(plan, stages, command) | {"process": dict(process)}


def _record(plan: Plan, stages: tuple[StageResult, ...], command: str) -> dict[str, Any]:
    identity = ("stage", "plugin", "version", "distribution", "exactness", "settings")
    kept = (*identity, "model_sha256", "trained_on_sha256", "remarks")
    return {
        "program": "mlgen",
        "version": mlgen.__version__,
        "command": command,
        "seed": plan.card.model.run.seed,
        "exactness": plan.exactness.value,
        "inputs": list(plan.card.model.input.file) if plan.card.model.input else [],
        "stages": [{name: value for name in kept if (value := getattr(stage, name)) != ()} for stage in stages],
        "card": plan.card.text,
        **({"changed": dict(plan.card.changed)} if plan.card.changed else {}),
    }
