"""What a plugin gives back is checked before it goes into a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from mlgen.events import EventBatch
from mlgen.showers import DEPOSITED_SHARE, Geometry, ShowerBatch
from mlgen.stages import FloatArray, Points, Unweighted, UnweightingReport

#: As few showers as say together in which unit their energies are.
_SHOWERS_FOR_UNITS = 100


def check_generated(batch: object, n: int, declared: Iterable[str]) -> None:
    """Check what an event generator gave for `n` events.

    Raises:
        ValueError: It is no batch of `n` events with finite weights and momenta and declared variations.
    """
    if not isinstance(batch, EventBatch):
        raise ValueError(f"generate() gave {type(batch).__name__}; an EventBatch is expected")
    if len(batch) != n:
        raise ValueError(f"generate() gave {len(batch)} events; {n} were asked for")
    if not (np.all(np.isfinite(batch.weight)) and np.all(np.isfinite(batch.momenta()))):
        raise ValueError("generate() gave a weight or a momentum that is not finite")
    surplus = set(batch.variations) - set(declared)
    if surplus:
        raise ValueError(f"generate() gave the variation '{min(surplus)}', which its run_info does not declare")


def check_unweighted(unweighted: object, candidates: int) -> None:
    """Check what an unweighter gave for a batch of candidates.

    Raises:
        ValueError: Its indices are not ascending and in range, or its weights do not fit them or are not finite.
    """
    if not isinstance(unweighted, Unweighted):
        raise ValueError(f"unweight() gave {type(unweighted).__name__}; Unweighted is expected")
    index, weight = np.asarray(unweighted.index), np.asarray(unweighted.weight)
    if index.ndim != 1 or index.shape != weight.shape:
        raise ValueError(f"unweight() gave indices of shape {index.shape} and weights of shape {weight.shape}")
    if len(index) and (index[0] < 0 or index[-1] >= candidates or np.any(np.diff(index) <= 0)):
        raise ValueError(f"unweight() gave indices that are not ascending within the {candidates} candidates")
    if not np.all(np.isfinite(weight)):
        raise ValueError("unweight() gave a weight that is not finite")


def check_normalisation(factor: object) -> float:
    """Check the factor for all weights that an unweighter gave.

    Raises:
        ValueError: It is no positive number.
    """
    if not isinstance(factor, (int, float, np.number)) or not 0 < float(factor) < np.inf:
        raise ValueError(f"normalisation() gave {factor!r}; a positive number is expected")
    return float(factor)


def check_mean_weight(report: UnweightingReport) -> tuple[float, float]:
    """Return the mean of the true weights, and its error, that an unweighter found with those that it asked for.

    Raises:
        ValueError: It does not say them.
    """
    mean, error = report.mean_weight, report.mean_weight_error
    if mean is None or error is None or not (np.isfinite(mean) and np.isfinite(error)):
        raise ValueError(
            f"report() says mean_weight = {mean} and mean_weight_error = {error}; where true weights were asked for of "
            "some candidates only, nobody else knows the cross section: numbers are expected"
        )
    return float(mean), float(error)


def check_showers(made: object, incident_energy: FloatArray, geometry: Geometry) -> ShowerBatch:
    """Check what a calorimeter surrogate gave for particles.

    Args:
        made: What it gave.
        incident_energy: Of the particles, ``(n,)``, MeV.
        geometry: That of the model.

    Raises:
        ValueError: It is no batch of a shower of the geometry for each particle, an energy is negative or not finite,
            or the energies are in another unit.
    """
    n = len(incident_energy)
    if not isinstance(made, ShowerBatch):
        raise ValueError(f"generate() gave {type(made).__name__}; a ShowerBatch is expected")
    if made.geometry.layers != geometry.layers:
        raise ValueError("generate() gave showers of another geometry than that of the model")
    expected = (n, geometry.n_voxels)
    if np.shape(made.voxels) != expected or len(made) != n:
        raise ValueError(f"generate() gave voxels of shape {np.shape(made.voxels)}; {expected} is expected")
    # Written so that NaN fails too.
    if not (np.all(made.voxels >= 0) and np.all(made.voxels < np.inf)):
        raise ValueError("generate() gave an energy that is negative or not finite")
    deposited = float(made.voxels.sum())
    share = deposited / float(incident_energy.sum()) if n else 0.0
    # A few showers may deposit anything, and those that deposit nothing say nothing of units.
    if n >= _SHOWERS_FOR_UNITS and deposited and not DEPOSITED_SHARE[0] <= share <= DEPOSITED_SHARE[1]:
        raise ValueError(
            f"generate() gave {n:,} showers that deposit {share:.3g} times the energy of their particles; is their "
            "energy in MeV?"
        )
    return made


def check_energy_ranges(ranges: object) -> dict[int, tuple[float, float]]:
    """Check the particles that a calorimeter surrogate knows, with their energies.

    Raises:
        ValueError: They are no mapping from PDG ids to smallest and largest energies, or there is none.
    """
    if not isinstance(ranges, Mapping) or not ranges:
        raise ValueError(f"energy_ranges is {ranges!r}; PDG ids with smallest and largest energies are expected")
    checked = {int(kind): (float(low), float(high)) for kind, (low, high) in ranges.items()}
    for kind, (low, high) in checked.items():
        if not 0 < low <= high < np.inf:
            raise ValueError(f"energy_ranges of {kind} are {low} to {high} MeV; smallest and largest are expected")
    return checked


def check_points(points: object, n: int, dimensions: int, channels: int) -> None:
    """Check what a sampler of phase space gave for `n` points.

    Raises:
        ValueError: They are not `n` points in the hypercube, with a channel and a positive density each.
    """
    if not isinstance(points, Points):
        raise ValueError(f"sample() gave {type(points).__name__}; Points are expected")
    shapes = np.shape(points.x), np.shape(points.channel), np.shape(points.density)
    if shapes != ((n, dimensions), (n,), (n,)):
        raise ValueError(
            f"sample() gave positions, channels and densities of shapes {shapes}; "
            f"{((n, dimensions), (n,), (n,))} are expected"
        )
    if not np.all((points.x >= 0) & (points.x <= 1)):
        raise ValueError("sample() gave a point outside the unit hypercube")
    if not np.all((points.channel >= 0) & (points.channel < channels)):
        raise ValueError(f"sample() gave a channel that is not there; there are {channels}")
    if not np.all((points.density > 0) & np.isfinite(points.density)):
        raise ValueError("sample() gave a density that is not positive and finite")


def check_channel_weights(weights: object, n: int, channels: int) -> None:
    """Check what a sampler gave as channel weights of `n` points.

    Raises:
        ValueError: They are not ``(n, channels)``, or not a partition of one.
    """
    array = np.asarray(weights)
    if array.shape != (n, channels):
        raise ValueError(f"channel_weights() gave shape {array.shape}; {(n, channels)} is expected")
    if not (np.all(array >= 0) and np.all(np.abs(array.sum(axis=1) - 1) < 1e-6)):
        raise ValueError("channel_weights() gave weights that are negative or do not sum to one")
