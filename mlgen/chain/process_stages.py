"""What stands in for the stages of a process once it is trained: a sampler, and perhaps an amplitude."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from mlgen.chain.candidates import CandidateSource
from mlgen.chain.plan import Plan, PlannedStage
from mlgen.chain.report import StageResult
from mlgen.chain.samplers import trained_sampler
from mlgen.run_info import RunInfo, Variation
from mlgen.stages import FloatArray, IntArray, Reporter

if TYPE_CHECKING:
    from mlgen.amplitudes.element import GuardCounts, SurrogateElement
    from mlgen.amplitudes.model import AmplitudeModel
    from mlgen.card import AmplitudeSection
    from mlgen.hard_process.hard_process import HardProcess


@dataclass(frozen=True, slots=True)
class TrainedStages:
    """The trained stages of a process.

    Args:
        source: Draws candidates; their weights are those of the amplitude where there is one.
        exact: The same with the true matrix elements.
        stages: What is to be said of the sampler, then of the amplitude.
        sampler_calls: Integrand calls of the sampler's training.
        elements: The surrogate of each subprocess; none without an amplitude.
        prefix: Begin of the names of the surrogate's weights; empty where they are not wanted.
        names: All of them.
        guard: Points that the surrogates were asked for.
    """

    source: CandidateSource
    exact: CandidateSource
    stages: tuple[StageResult, ...]
    sampler_calls: int
    elements: tuple[SurrogateElement, ...] = ()
    prefix: str = ""
    names: tuple[str, ...] = ()
    guard: GuardCounts | None = None

    def variations(self, momenta: FloatArray, subprocess: IntArray) -> Mapping[str, FloatArray]:
        """Return factors of the weights of events for the surrogate's uncertainty, by name, each ``(n,)``.

        Args:
            momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV.
            subprocess: Number of each event's subprocess, ``(n,)``.
        """
        factors = {name: np.ones(len(momenta)) for name in self.names}
        if not factors:
            return factors
        for element in {id(one): one for one in self.elements}.values():
            own = np.array([one is element for one in self.elements])
            chosen = np.flatnonzero(own[subprocess])
            if len(chosen):
                for name, values in element.variations(momenta[chosen], self.prefix).items():
                    factors[name][chosen] = values
        return factors

    def declared(self, run_info: RunInfo) -> RunInfo:
        """Return run information that declares the surrogate's weights."""
        if not self.names:
            return run_info
        group = len(run_info.variation_groups)
        attributes = {"name": self.prefix, "combine": "none"}
        variations = tuple(Variation(name, _described(name), {}, group) for name in self.names)
        return run_info.replace(
            variations=(*run_info.variations, *variations),
            variation_groups=(*run_info.variation_groups, attributes),
        )

    def guarded(self, amplitude: StageResult) -> StageResult:
        """Add how often the amplitude was asked outside the region of its training."""
        if self.guard is None:
            return amplitude
        figures = {**amplitude.figures, "points_asked": self.guard.asked, "points_outside": self.guard.outside}
        if self.guard.unusable:
            figures["points_unusable"] = self.guard.unusable
        return dataclasses.replace(amplitude, figures=figures)

    def remarks(self) -> tuple[str, ...]:
        """What the user should know of points outside the region of the training, and of predictions of no use."""
        if self.guard is None:
            return ()
        said = []
        if self.guard.unusable:
            said.append(
                f"at {self.guard.unusable:,} of {self.guard.asked:,} points the surrogate gave no positive number; the "
                "true matrix element was taken there"
            )
        return (*said, *self._outside(self.guard))

    def _outside(self, guard: GuardCounts) -> tuple[str, ...]:
        if not guard.outside:
            return ()
        share = guard.outside / guard.asked
        flag = f"{self.prefix}.inside"
        if flag in self.names:
            done = f"events there have weight zero under the name {flag}"
        elif self.elements[0].outside == "flag":
            done = "the surrogate was taken there all the same"
        else:
            done = "the true matrix element was taken there"
        return (
            f"{guard.outside:,} of {guard.asked:,} points ({share:.2%}) lie outside the region that the "
            f"surrogate was trained in; {done}",
        )


def trained_stages(plan: Plan, process: HardProcess, reporter: Reporter) -> TrainedStages:
    """Train the sampler of a process, and the amplitude that stands in for its matrix elements, or load them.

    The sampler is trained with the true matrix elements, whose points the amplitude learns from.

    Raises:
        mlgen.errors.ModelError: A model is there that does not fit.
        mlgen.errors.TrainingError: The process does not allow a training.
    """
    sampling = cast(PlannedStage, plan.sampler)
    sampler, result, calls = trained_sampler(plan, sampling, process, reporter)
    source = CandidateSource(process, sampling, sampler)
    section = plan.card.model.amplitude
    if plan.amplitude is None or section is None:
        return TrainedStages(source, source, (result,), calls)
    from mlgen.amplitudes.element import GuardCounts, variation_names
    from mlgen.chain.amplitudes import trained_amplitude

    model, of_amplitude = trained_amplitude(plan, plan.amplitude, source, reporter)
    counts = GuardCounts()
    elements = _surrogates(process, model, section, counts)
    prefix = f"mlgen.{plan.amplitude.name}"
    members = min((part.members for part in model.parts), default=0)
    return TrainedStages(
        source.with_matrix_elements(elements),
        source,
        (result, of_amplitude),
        calls,
        tuple(elements),
        prefix,
        # Where true weights decide, what the surrogate does not know is not in them.
        variation_names(prefix, members, section.outside) if section.variations and not plan.corrected else (),
        counts,
    )


def _surrogates(
    process: HardProcess, model: AmplitudeModel, section: AmplitudeSection, counts: GuardCounts
) -> list[SurrogateElement]:
    """The surrogate of each subprocess; one object where subprocesses share the matrix element."""
    from mlgen.amplitudes.element import SurrogateElement

    shared: dict[tuple[int, int, tuple[int, ...]], SurrogateElement] = {}
    elements = []
    for subprocess, exact in zip(process.subprocesses, process.matrix_elements, strict=True):
        part, order = model.find(subprocess.pdg_ids)
        key = id(exact), id(part), tuple(order)
        if key not in shared:
            shared[key] = SurrogateElement(exact, part, order, section.outside, counts)
        elements.append(shared[key])
    return elements


def _described(name: str) -> str:
    if name.endswith(".syst.up"):
        return "|M|^2 of the surrogate, one systematic standard deviation up"
    if name.endswith(".syst.down"):
        return "|M|^2 of the surrogate, one systematic standard deviation down"
    if name.endswith(".inside"):
        return "zero where the surrogate was asked outside the region of its training"
    return f"|M|^2 of sampled network {name.rpartition('.')[2]}"
