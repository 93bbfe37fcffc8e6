"""The CaloChallenge's high-level features of showers, each as a histogram to which every shower contributes.

Energies, centres and widths by layer, sparsity, total response: a shower lies in one bin of each. The spectrum of the
voxel energies: a shower fills many bins, and its entries are not independent of each other.

=======================  ================================  ======================================================
feature                  bins                              the CaloChallenge's evaluation
=======================  ================================  ======================================================
``E(layer k)``           40, logarithmic                   40, logarithmic, from the readout threshold to the
                                                           largest energy of the reference
``E_total / E_inc``      40                                100 from 0.5 to 1.5
``centre``, ``width``    40                                100 in a range fixed for each data set
``sparsity(layer k)``    40, or whole voxels               20 from 0 to 1
``voxel energies``       50, logarithmic                   50, logarithmic, from the readout threshold to the
                                                           largest energy of the reference
=======================  ================================  ======================================================

Ranges here are those of the reference, from its 0.1 % to its 99.9 % quantile, so that the resolution of a calorimeter
fills the bins whatever it is: in 100 bins from 0.5 to 1.5 a response of 0.997 with a spread of 0.004 would be a single
bin, in which nothing ever differs. Showers beyond, which the CaloChallenge's evaluation leaves out, have a bin at
either end; those that lack the feature (the centre of a layer without energy) have one too. Where most of the
reference has one and the same value (a layer that few showers reach) the bins are those of the others.

References:
    CaloChallenge: arXiv:2410.21611, and ``HighLevelFeatures.py``, ``evaluate.py`` of its public evaluation code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlgen.errors import UserError
from mlgen.showers import Geometry, ShowerBatch
from mlgen.validation.observable import FloatArray, Kind, Observable
from mlgen.validation.shower_observables import MAX_SECTIONS, ShowerObservables

#: Bins of a feature, and of the spectrum of the voxel energies.
BINS, SPECTRUM_BINS = 40, 50
#: Share of the reference that may lie beyond either end of the bins.
_BEYOND = 1e-3
#: Showers are looked at in pieces of so many bytes, at most.
_PIECE_BYTES = 1 << 25
#: Voxels from which the range of the spectrum is found, at most.
_RANGE_VOXELS = 2_000_000

Contents = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BinnedFeature:
    """One feature of two samples in common bins.

    Args:
        name: ``E(layer 0)``, ``voxel energies``, ...
        group: ``energy``, ``depth``, ``layer 0``, ...
        edges: Of the bins, ascending; there is one more bin below, one above, and one for showers that lack it.
        reference: What each shower of the reference adds to each bin: for a spectrum its voxels ``(n, bins)``; else the
            number of its bin, ``(n,)``.
        sample: The same of the sample.
        spectrum: Whether it is a spectrum.
    """

    name: str
    group: str
    edges: FloatArray
    reference: npt.NDArray[np.intp] | Contents
    sample: npt.NDArray[np.intp] | Contents
    spectrum: bool = False

    @property
    def n_bins(self) -> int:
        """Number of bins, with those below, above and for showers that lack the feature."""
        return len(self.edges) + 2


def binned_features(reference: ShowerBatch, sample: ShowerBatch, *, threshold: float = 0.0) -> Iterator[BinnedFeature]:
    """Compute the features of two samples and sort them into common bins.

    Args:
        reference: The reference, in whose range the bins lie.
        sample: The sample, of the same voxels.
        threshold: Voxel energies up to this, in MeV, count as zero, in both.

    Raises:
        UserError: A sample is empty, or they have different voxels.
    """
    check_comparable(reference, sample)
    geometry = reference.geometry
    # Every layer by itself, however many there are.
    observables = ShowerObservables(geometry, hit_threshold=threshold, max_sections=max(len(geometry.layers), 1))
    values = [_values(observables, batch, threshold) for batch in (reference, sample)]
    sizes = {f"hits(layer {layer.layer_id})": layer.n_voxels for layer in geometry.layers}
    for row, observable in enumerate(observables.definitions):
        if not _is_feature(observable):
            continue
        first, second = values[0][row], values[1][row]
        name, edges = observable.name, None
        if observable.kind is Kind.INTEGER:
            size = sizes.get(name, geometry.n_voxels)
            name = name.replace("hits", "sparsity")
            edges = 1.0 - whole_edges(first)[::-1] / size
            first, second = 1.0 - first / size, 1.0 - second / size
        elif observable.log:
            first, second = _log(first), _log(second)
        edges = feature_edges(first) if edges is None else edges
        yield BinnedFeature(name, observable.group, edges, _bin(first, edges), _bin(second, edges))
    yield from _spectra(reference, sample, threshold)


def check_comparable(reference: ShowerBatch, sample: ShowerBatch) -> None:
    """Check that two batches can be compared.

    Raises:
        UserError: A sample has fewer than two showers, or they have different voxels.
    """
    for what, batch in (("reference", reference), ("sample", sample)):
        if len(batch) < 2:
            raise UserError(f"the {what} has {len(batch)} showers; a distribution needs more, some hundreds at least")
        if batch.voxels.shape != (len(batch), batch.geometry.n_voxels):
            raise UserError(
                f"the {what} has voxels of shape {batch.voxels.shape}, but its geometry has "
                f"{batch.geometry.n_voxels} voxels"
            )
    if reference.geometry.layers != sample.geometry.layers:
        raise UserError(
            f"the samples are of different calorimeters: {_described(reference.geometry)}, and "
            f"{_described(sample.geometry)}; their showers cannot be compared"
        )


def pieces(batch: ShowerBatch) -> Iterator[slice]:
    """Slices of a batch, so small that some copies of one do no harm."""
    size = max(1, _PIECE_BYTES // (8 * max(batch.geometry.n_voxels, 1)))
    for start in range(0, len(batch), size):
        yield slice(start, start + size)


def above_threshold(voxels: FloatArray, threshold: float) -> FloatArray:
    """Voxel energies with those up to the threshold set to zero, MeV, same shape."""
    return np.where(voxels > threshold, voxels, 0.0) if threshold > 0 else voxels


def feature_edges(values: FloatArray, bins: int = BINS) -> FloatArray:
    """Edges of equal bins that hold all of the values but 0.1 % at either end.

    Args:
        values: Of the reference, ``(n,)``; NaN where there is none.
        bins: Number of bins.

    Returns:
        Shape ``(bins + 1,)``; two edges around the value where there is only one, and where there is none.
    """
    known = values[np.isfinite(values)]
    if len(known):
        levels, counts = np.unique(known, return_counts=True)
        most = counts.argmax()
        # One value in most showers is a bin of its own, so that the others show.
        others = known[known != levels[most]] if 2 * counts[most] > len(known) else known
        lower, upper = np.quantile(others, [_BEYOND, 1.0 - _BEYOND]) if len(others) else (levels[0], levels[0])
    else:
        lower = upper = 0.0
    if upper - lower <= 1e-12 * max(abs(lower), abs(upper), 1e-300):
        half = 1e-9 * max(abs(lower), 1.0)
        return np.array([lower - half, upper + half])
    return np.linspace(lower, upper, bins + 1)


def whole_edges(values: FloatArray, bins: int = BINS) -> FloatArray:
    """Edges half-way between whole numbers, of bins that are equally many numbers wide; arguments as above."""
    known = values[np.isfinite(values)]
    lower, upper = np.floor(np.quantile(known, [_BEYOND, 1.0 - _BEYOND])) if len(known) else (0.0, 0.0)
    step = max(1.0, np.ceil((upper - lower + 1.0) / bins))
    return np.arange(lower - 0.5, upper + 0.5 + step, step)


def _is_feature(observable: Observable) -> bool:
    name = observable.name
    return name.startswith(("E(", "centre ", "width ", "hits", "depth")) or name in ("E_total / E_inc", "E_total")


def _values(observables: ShowerObservables, batch: ShowerBatch, threshold: float) -> FloatArray:
    return np.concatenate(
        [observables(_cut(batch[part], threshold)).values for part in pieces(batch)],
        axis=1,
    )


def _cut(batch: ShowerBatch, threshold: float) -> ShowerBatch:
    # In double precision: centres and widths are differences of sums.
    voxels = above_threshold(np.asarray(batch.voxels, np.float64), threshold)
    return ShowerBatch(batch.incident_energy, batch.pdg_id, batch.direction, voxels, batch.geometry)


def _log(values: FloatArray) -> FloatArray:
    result = np.full(len(values), np.nan)
    np.log10(values, out=result, where=values > 0)
    return result


def _bin(values: FloatArray, edges: FloatArray) -> npt.NDArray[np.intp]:
    """Number of the bin of each value: 0 below, ``len(edges)`` above, ``len(edges) + 1`` where there is none."""
    number = np.searchsorted(edges, values, side="right")
    return np.where(np.isnan(values), len(edges) + 1, number)


def _spectra(reference: ShowerBatch, sample: ShowerBatch, threshold: float) -> Iterator[BinnedFeature]:
    geometry = reference.geometry
    offsets = geometry.layer_offsets
    parts = [("voxel energies", "energy", slice(0, geometry.n_voxels))]
    if 1 < len(geometry.layers) <= MAX_SECTIONS:
        parts += [
            (f"voxel energies(layer {layer.layer_id})", f"layer {layer.layer_id}", slice(first, last))
            for layer, first, last in zip(geometry.layers, offsets, offsets[1:], strict=False)
        ]
    for name, group, voxels in parts:
        showers = max(1, _RANGE_VOXELS // (voxels.stop - voxels.start))
        some = np.asarray(reference.voxels[:showers, voxels], np.float64).ravel()
        edges = feature_edges(np.log10(some[some > threshold]), SPECTRUM_BINS)
        yield BinnedFeature(
            name,
            group,
            edges,
            _spectrum(reference, voxels, edges, threshold),
            _spectrum(sample, voxels, edges, threshold),
            spectrum=True,
        )


def _spectrum(batch: ShowerBatch, voxels: slice, edges: FloatArray, threshold: float) -> Contents:
    """Voxels of each shower in each bin, ``(n, len(edges) + 2)``; those that were not hit are nowhere."""
    contents = np.zeros((len(batch), len(edges) + 2), np.float32)
    for part in pieces(batch):
        energies = batch.voxels[part, voxels]
        shower, voxel = np.nonzero(energies > threshold)
        number = np.searchsorted(edges, np.log10(energies[shower, voxel].astype(np.float64)), side="right")
        flat = np.bincount(shower * contents.shape[1] + number, minlength=len(energies) * contents.shape[1])
        contents[part] = flat.reshape(len(energies), -1)
    return contents


def _described(geometry: Geometry) -> str:
    return f"{len(geometry.layers)} layers with {geometry.n_voxels:,} voxels"
