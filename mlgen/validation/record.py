"""What a validation finds: plain records that the report, the plots and ``--json`` are made from."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlgen.validation.observable import FloatArray, Observable

if TYPE_CHECKING:
    from mlgen.validation.shower_comparison import ShowerComparison


@dataclass(frozen=True, slots=True)
class Histogram:
    """One sample's histogram of one observable, in the bins that are drawn.

    Args:
        values: Share of the sample's total weight in each bin, ``(bins,)``; with both flows they sum to 1.
        variances: Of the values, ``(bins,)``.
        underflow: Share below the first edge, and its variance.
        overflow: Share above the last edge, and its variance.
        band: Lower and upper end ``(2, bins)`` of the band that the sample's named weights span, or None.
        missing: Share of the events that lack the observable (not part of `values`).
    """

    values: FloatArray
    variances: FloatArray
    underflow: tuple[float, float] = (0.0, 0.0)
    overflow: tuple[float, float] = (0.0, 0.0)
    band: FloatArray | None = None
    missing: float = 0.0


@dataclass(frozen=True, slots=True)
class Deviation:
    """Where two distributions differ most.

    Args:
        lower: Lower end of the region, in the observable's unit.
        upper: Upper end.
        ratio: Share of the sample in the region over that of the reference.
        error: Statistical error of the ratio.
        significance: Of this region alone, in standard deviations, signed; no number of tests is taken into account.
        share: Share of the reference that lies in the region.
    """

    lower: float
    upper: float
    ratio: float
    error: float
    significance: float
    share: float


@dataclass(frozen=True, slots=True)
class ShapeTest:
    """Two binned distributions compared, each normalised to one.

    Args:
        chi2: Two-sample chi^2 with the covariance of normalised weighted histograms.
        ndf: Its degrees of freedom; 0 when there are too few events for a test.
        chi2_p_value: Of `chi2`.
        smooth_p_value: Of a test with few degrees of freedom that is sensitive to broad, small distortions.
        p_value: Of these together with the most significant region.
        deviation: Where they differ most; None when there are too few events.
    """

    chi2: float
    ndf: int
    chi2_p_value: float
    smooth_p_value: float
    p_value: float
    deviation: Deviation | None


class Verdict(enum.Enum):
    """What is said of one observable."""

    AGREES = "agrees"
    DIFFERS = "differs"
    TOO_FEW = "too few events"
    MISSING = "only in one sample"


@dataclass(frozen=True, slots=True)
class ShareTest:
    """The share of the weight that passes a selection, or that has an observable, in both samples.

    Args:
        reference: Share of the reference.
        reference_error: Its standard error.
        sample: Share of the sample.
        sample_error: Its standard error.
        p_value: Of equal shares.
    """

    reference: float
    reference_error: float
    sample: float
    sample_error: float
    p_value: float


@dataclass(frozen=True, slots=True)
class ObservableResult:
    """One observable, in the reference and in one sample.

    Args:
        observable: The observable.
        edges: Bin edges, ``(bins + 1,)``; for categories and whole numbers the bins are centred on the codes.
        log: Whether the axis is logarithmic.
        reference: Histogram of the reference, None when it lacks the observable.
        sample: Histogram of the sample, None when it lacks the observable.
        test: The comparison; None when there is nothing to compare.
        floor: The same comparison for two halves of the reference.
        presence: Share of the events that have the observable, for observables of the user; None for others, whose
            presence a multiplicity tells.
        adjusted_p_value: p-value after the number of tests (Holm).
        wasserstein: Wasserstein-1 distance in the observable's unit, for categories the total variation, of random
            subsets of both samples.
        wasserstein_floor: Mean of the same for halves of the reference with as many events.
        wasserstein_floor_error: Standard deviation of a single one of them.
        verdict: In a word.
        words: In a sentence.
    """

    observable: Observable
    edges: FloatArray
    log: bool
    reference: Histogram | None
    sample: Histogram | None
    test: ShapeTest | None
    floor: ShapeTest | None
    presence: ShareTest | None
    adjusted_p_value: float
    wasserstein: float
    wasserstein_floor: float
    wasserstein_floor_error: float
    verdict: Verdict
    words: str


@dataclass(frozen=True, slots=True)
class Measure:
    """One number for the distance between two samples, beside its null floor.

    Args:
        name: ``AUC, gradient boosting``, ``FPD``, ``KPD``, ...
        value: The measure.
        error: Its standard error.
        floor: The same measure for two halves of the reference, with as many events.
        floor_error: Its standard error.
        p_value: Probability of a value at least as large when nothing differs; NaN when there is no test.
        events: Events of each sample that it was computed from.
        note: What one should know of it.
    """

    name: str
    value: float
    error: float
    floor: float
    floor_error: float
    p_value: float
    events: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Tail:
    """Where in phase space a tail of the learned weights lies.

    Args:
        side: ``low`` (the sample has too many events there) or ``high`` (too few).
        weight: Learned weight at which the tail begins.
        share: Share of the sample's (``low``) or the reference's (``high``) events in the tail.
        observable: Name of the observable that characterises the tail best.
        lower: 10 % quantile of that observable in the tail.
        upper: 90 % quantile in the tail.
        bulk_lower: 10 % quantile in all events.
        bulk_upper: 90 % quantile in all events.
        separation: AUC of that observable alone between tail and all events, from 0.5 to 1.
    """

    side: str
    weight: float
    share: float
    observable: str
    lower: float
    upper: float
    bulk_lower: float
    bulk_upper: float
    separation: float


@dataclass(frozen=True, slots=True)
class ClassifierTest:
    """Classifier two-sample test with its learned weights w = D / (1 - D) (lecture notes, eq. 4.94).

    Args:
        measures: AUC of each method, beside its floor.
        seed_values: AUC of each training, by method.
        learned_weights: Learned weights of the events on which the classifier was not trained, by ``reference`` and
            ``sample``, each ``(n,)``.
        event_weights: Weights of those events, the same keys and shapes.
        method: Method that the learned weights are from.
        tails: Where the tails of the learned weights lie.
        remarks: What one should know.
    """

    measures: tuple[Measure, ...]
    seed_values: Mapping[str, tuple[float, ...]]
    learned_weights: Mapping[str, FloatArray]
    event_weights: Mapping[str, FloatArray]
    method: str
    tails: tuple[Tail, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SampleRecord:
    """One sample, as the report names it.

    Args:
        name: Short name, unique in the report.
        files: Its files.
        format: Name of their format.
        events: Events read.
        selected: Events that passed the selection.
        effective_events: (sum w)^2 / sum w^2 of the selected.
        negative_fraction: Share of events with a negative weight.
        cross_section: pb; NaN when the file does not say.
        cross_section_error: pb.
        normalisation: How the file's weights relate to the cross section, in words.
        showers: Whether it holds calorimeter showers, not events.
        generator: Program that made the events.
        provenance: Records of every run of mlgen that the events went through, oldest first.
        sha256: Of its files' bytes, one after the other; empty for standard input.
        remarks: What one should know.
    """

    name: str
    files: tuple[str, ...]
    format: str
    events: int
    selected: int
    effective_events: float
    negative_fraction: float
    cross_section: float
    cross_section_error: float
    normalisation: str
    generator: str
    showers: bool = False
    provenance: tuple[Mapping[str, Any], ...] = ()
    sha256: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """What it holds, in a word."""
        return "showers" if self.showers else "events"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One sample against the reference.

    Args:
        sample: The sample.
        observables: Every observable, in the order of the report.
        rate_p_value: Of equal cross sections; NaN when one is unknown, or copied from the reference.
        acceptance: Share of the weight that the selection keeps; None without a selection.
        classifier: The classifier test, None when it was left out.
        distances: FPD and KPD.
        differences: What differs in content: processes, particles, units, beams; in sentences.
        p_value: Of the whole comparison: smallest adjusted p-value of all tests (observables, shares, cross section,
            classifiers; not the distances); 0 when the samples differ in what they hold.
        agrees: The overall verdict.
        words: The overall verdict, in a sentence.
        gates: Each gate that was asked for: its name, the value and the limit.
        showers: What is asked of showers only; None for events.
    """

    sample: SampleRecord
    observables: tuple[ObservableResult, ...]
    rate_p_value: float
    acceptance: ShareTest | None
    classifier: ClassifierTest | None
    distances: tuple[Measure, ...]
    differences: tuple[str, ...]
    p_value: float
    agrees: bool
    words: str
    gates: tuple[tuple[str, float, float], ...] = ()
    showers: ShowerComparison | None = None


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """A reference and what was compared with it.

    Args:
        reference: The reference.
        comparisons: One for each sample.
        seed: Seed of the random choices.
        version: Version of mlgen.
        settings: Settings of the validation, as plain types.
        remarks: What one should know.
    """

    reference: SampleRecord
    comparisons: tuple[Comparison, ...]
    seed: int
    version: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether every sample agrees with the reference."""
        return all(comparison.agrees for comparison in self.comparisons)
