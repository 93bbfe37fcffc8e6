"""What an integration found."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlgen.chain.report import StageResult
from mlgen.chain.sums import Consistency
from mlgen.chain.weight_distribution import WeightDistribution
from mlgen.chain.weight_efficiency import UnweightingEfficiency
from mlgen.report.page import Page


@dataclass(frozen=True, slots=True)
class Contribution:
    """The part of a channel or a subprocess in the cross section, in pb, and the points that were drawn for it.

    All points contribute to each subprocess; of a channel they are those that were drawn for it.
    """

    name: str
    cross_section: float
    error: float
    points: int


@dataclass(frozen=True, slots=True)
class IntegrationResult:
    r"""What an integration found.

    The cross section is the plain mean of the weights of all points, zeros included, and its error that of the mean.

    Args:
        reaction: The reaction, as the card has it.
        cross_section: In pb.
        error: Its standard error in pb.
        channels: Cross section by channel, largest first.
        subprocesses: Cross section by subprocess, largest first.
        effective_sample_size: :math:`(\sum w)^2 / \sum w^2` (Kish).
        efficiency: Of an unweighting with 0.1 % of the cross section in overweights.
        efficiency_at_maximum: Of one up to the largest weight of the sample.
        consistency: Independent iterations, and whether they agree.
        points: Points that were drawn and evaluated.
        outside_cuts: How many of them the cuts reject.
        outside_densities: How many lie outside the grid of the parton densities, which are zero there.
        not_finite: How many had a value that is not finite; they count as zero.
        negative: How many had a negative value; they count as they are.
        training_calls: Integrand calls of the sampler's training, now or when its model was made.
        stopped_by: ``precision``, ``time`` or ``points``.
        seed: The seed.
        stage: The sampler.
        exactness: Of sampler and amplitude together.
        seconds: Wall time by piece of work.
        remarks: What the user should know.
        provenance: What made it: card, versions, process.
        weights: Distribution of the weights.
        amplitude: The surrogate that stood in for the matrix elements, where there was one.
    """

    reaction: str
    cross_section: float
    error: float
    channels: tuple[Contribution, ...]
    subprocesses: tuple[Contribution, ...]
    effective_sample_size: float
    efficiency: UnweightingEfficiency
    efficiency_at_maximum: UnweightingEfficiency
    consistency: Consistency
    points: int
    outside_cuts: int
    outside_densities: int
    not_finite: int
    negative: int
    training_calls: int
    stopped_by: str
    seed: int
    stage: StageResult
    exactness: str
    seconds: Mapping[str, float]
    remarks: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    weights: WeightDistribution = field(default_factory=WeightDistribution)
    amplitude: StageResult | None = None

    @property
    def relative_error(self) -> float:
        """Error over cross section."""
        return self.error / abs(self.cross_section)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the provenance and the distribution of weights as plain types, for JSON."""
        content = dataclasses.asdict(self) | {"relative_error": self.relative_error}
        del content["provenance"], content["weights"]
        return content

    def page(self) -> Page:
        """Return the report of the integration."""
        from mlgen.report.integration import integration_page
        from mlgen.report.weights import weight_figure

        figure = weight_figure(
            *self.weights.histograms(),
            self.efficiency.maximum_weight,
            title="Weights of the points",
            maximum_label="maximum at 0.1 % overweight share",
            unit="pb",
        )
        return integration_page(self, self.provenance, figures=(figure,))
