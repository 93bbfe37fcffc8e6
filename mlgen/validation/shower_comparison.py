"""What is asked of showers only: separation powers, low-level classifiers, average showers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlgen.showers import ShowerBatch
from mlgen.stages import ProgressCallback, no_progress
from mlgen.validation.average_showers import AverageShower, average_showers
from mlgen.validation.record import ClassifierTest, Measure
from mlgen.validation.separation import Separation, separation_powers
from mlgen.validation.settings import ValidationSettings
from mlgen.validation.shower_classifiers import FEWEST_SHOWERS, label, low_level_aucs
from mlgen.validation.shower_features import check_comparable
from mlgen.validation.voxel_encoding import VoxelForm

#: What the classifiers of the observables are called beside those of the voxels.
_HIGH_LEVEL = "high-level"


@dataclass(frozen=True, slots=True)
class ShowerComparison:
    """What two samples of showers have that events have not.

    Args:
        reference_showers: Showers of the reference that were looked at.
        sample_showers: The same of the sample.
        threshold: Voxel energies up to this, in MeV, counted as zero.
        separations: Separation power of every feature.
        classifiers: AUC of every low-level classifier beside its floor, the largest first.
        seed_values: AUC of each training, by name of the classifier.
        averages: Average showers.
        remarks: What one should know.
    """

    reference_showers: int
    sample_showers: int
    threshold: float
    separations: tuple[Separation, ...]
    classifiers: tuple[Measure, ...]
    seed_values: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    averages: tuple[AverageShower, ...] = ()
    remarks: tuple[str, ...] = ()

    def with_low_level(self, test: ClassifierTest) -> ClassifierTest:
        """Put the low-level classifiers beside those that see the observables, which are called high-level."""

        def named(measure: Measure) -> Measure:
            return dataclasses.replace(measure, name=measure.name.replace("AUC, ", f"AUC, {_HIGH_LEVEL} ", 1))

        return dataclasses.replace(
            test,
            measures=(*map(named, test.measures), *self.classifiers),
            seed_values={**{f"{_HIGH_LEVEL} {n}": v for n, v in test.seed_values.items()}, **self.seed_values},
            method=f"{_HIGH_LEVEL} {test.method}" if test.method else "",
        )


def compare_showers(
    reference: ShowerBatch,
    sample: ShowerBatch,
    settings: ValidationSettings,
    *,
    seed: int = 1,
    progress: ProgressCallback = no_progress,
) -> ShowerComparison:
    """Compare two samples of showers by their voxels.

    Args:
        reference: The reference, in random order where the low-level classifiers are not to see all of it: they take
            the first showers.
        sample: The sample, of the same voxels; of as many showers as the reference, in the same order.
        settings: Of the validation; `settings.classifier` says how many seeds there are, or that there is none.
        seed: Of everything random.
        progress: Called after each feature and each training.

    Raises:
        UserError: The samples have different voxels, or fewer than two showers.
    """
    asked = settings.showers
    check_comparable(reference, sample)
    powers = separation_powers(reference, sample, threshold=asked.threshold, seed=seed, progress=progress)
    remarks = []
    found: tuple[Measure, ...] = ()
    seed_values: dict[str, tuple[float, ...]] = {}
    n = min(len(reference), len(sample), asked.classifier_showers)
    if settings.classifier is not False and asked.forms:
        if n < FEWEST_SHOWERS:
            remarks.append(
                f"Too few showers for a low-level classifier: it needs {FEWEST_SHOWERS} of each sample; there are "
                f"{len(reference)} and {len(sample)}."
            )
        else:
            # Of the reference twice as many where there are: its halves then are as large as the samples.
            results = low_level_aucs(
                reference[: 2 * n],
                sample[:n],
                range(seed, seed + settings.classifier.seeds),
                forms=[VoxelForm(form) for form in asked.forms],
                threshold=asked.threshold,
                network=asked.network,
                floor_seeds=asked.floor_seeds,
                progress=progress,
            )
            found = tuple(result.measure for result in results)
            seed_values = {label(result.form): result.seed_values for result in results}
            if len(found) > 1:
                remarks.append(f"Of the low-level classifiers, that of {results[0].form.value} has the largest AUC.")
    return ShowerComparison(
        reference_showers=len(reference),
        sample_showers=len(sample),
        threshold=asked.threshold,
        separations=tuple(powers.values()),
        classifiers=found,
        seed_values=seed_values,
        averages=average_showers(reference, sample, asked.energies, threshold=asked.threshold),
        remarks=tuple(remarks),
    )
