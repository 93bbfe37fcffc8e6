"""Average showers: the mean energy of every voxel, of all showers and around some incident energies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlgen.showers import Geometry, ShowerBatch
from mlgen.validation.observable import FloatArray
from mlgen.validation.shower_features import above_threshold, pieces

#: Showers around an energy have it up to this factor, on either side.
AROUND = 1.2
#: Fewer showers than this make no average worth looking at.
FEWEST = 20


@dataclass(frozen=True, slots=True)
class AverageShower:
    """The average shower of both samples.

    Args:
        title: ``all incident energies``, ``around 10 GeV``.
        lower: Smallest incident energy, MeV; 0 for all.
        upper: Largest one; infinite for all.
        geometry: What the voxels are.
        reference: Mean energy of each voxel, MeV, ``(n_voxels,)``.
        sample: The same of the sample.
        reference_error: Standard error of the reference's, ``(n_voxels,)``.
        sample_error: Of the sample's.
        reference_showers: Number of showers.
        sample_showers: The same of the sample.
    """

    title: str
    lower: float
    upper: float
    geometry: Geometry
    reference: FloatArray
    sample: FloatArray
    reference_error: FloatArray
    sample_error: FloatArray
    reference_showers: int
    sample_showers: int


def average_showers(
    reference: ShowerBatch, sample: ShowerBatch, energies: Sequence[float] = (), *, threshold: float = 0.0
) -> tuple[AverageShower, ...]:
    """Average all showers, and those around some incident energies.

    Args:
        reference: The reference.
        sample: The sample, of the same voxels.
        energies: GeV; those around which either sample has fewer than `FEWEST` showers are left out.
        threshold: Voxel energies up to this, in MeV, count as zero.

    Returns:
        That of all showers first.
    """
    return tuple(_averages(reference, sample, energies, threshold))


def _averages(
    reference: ShowerBatch, sample: ShowerBatch, energies: Sequence[float], threshold: float
) -> Iterator[AverageShower]:
    windows = [("all incident energies", 0.0, math.inf)]
    windows += [(f"around {e:g} GeV", 1e3 * e / AROUND, 1e3 * e * AROUND) for e in sorted(set(energies))]
    for title, lower, upper in windows:
        inside = [(batch.incident_energy >= lower) & (batch.incident_energy <= upper) for batch in (reference, sample)]
        first, second = (int(chosen.sum()) for chosen in inside)
        if math.isfinite(upper) and min(first, second) < FEWEST:
            continue
        means = [_mean(batch, chosen, threshold) for batch, chosen in zip((reference, sample), inside, strict=True)]
        (mean_0, error_0), (mean_1, error_1) = means
        yield AverageShower(title, lower, upper, reference.geometry, mean_0, mean_1, error_0, error_1, first, second)


def _mean(batch: ShowerBatch, chosen: npt.NDArray[np.bool_], threshold: float) -> tuple[FloatArray, FloatArray]:
    """Mean of each voxel and its standard error."""
    total = np.zeros(batch.geometry.n_voxels)
    squares = np.zeros(batch.geometry.n_voxels)
    for part in pieces(batch):
        voxels = above_threshold(np.asarray(batch.voxels[part][chosen[part]], np.float64), threshold)
        total += voxels.sum(axis=0)
        squares += np.square(voxels).sum(axis=0)
    n = max(int(chosen.sum()), 1)
    mean = total / n
    return mean, np.sqrt(np.maximum(squares / n - mean**2, 0.0) / max(n - 1, 1))
