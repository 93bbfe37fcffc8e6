r"""Separation powers: how much the histograms of the showers' features differ, as the CaloChallenge measures it.

.. math::
    S^2 = \frac{1}{2} \int \frac{(p(x) - q(x))^2}{p(x) + q(x)} \, \mathrm{d}x
    \quad\to\quad \frac{1}{2} \sum_i \frac{(p_i - q_i)^2}{p_i + q_i}

with the shares of the reference and of the sample in each bin: 0 for equal histograms, 1 for those that do not overlap.
Two finite samples of one distribution do not give 0 but about :math:`(B - 1)(1/n + 1/m)/4` in :math:`B` bins, so every
value stands beside what equal distributions would give. For use with two batches of showers::

    from mlgen.validation.separation import separation_powers

    powers = separation_powers(geant4, surrogate, threshold=0.01)      # two ShowerBatch, threshold in MeV
    power = powers["E(layer 0)"]
    print(power.value, power.error)          # S^2 and its statistical error
    print(power.floor, power.floor_error)    # half of the reference against the other half
    print(power.expected, power.spread)      # mean and spread for equal distributions, these numbers of showers
    print(power.p_value)                     # of a value at least as large for equal distributions
    worst = max(power.value for name, power in powers.items() if name.startswith("E(") or name == "E_total / E_inc")

Names: ``E_total / E_inc`` (total response), ``E_total``, ``sparsity``, ``depth``, ``depth width``, ``voxel energies``;
by layer ``E(layer 0)``, ``centre x(layer 0)``, ``centre y(...)``, ``width x(...)``, ``width y(...)``, ``sparsity(...)``
and, up to 10 layers, ``voxel energies(...)``; x and y are the CaloChallenge's eta and phi.
`mlgen.validation.shower_features` tells the bins.

References:
    CaloChallenge: arXiv:2410.21611; Diefenbacher et al., arXiv:2009.03796, eq. 15.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlgen.showers import ShowerBatch
from mlgen.stages import Progress, ProgressCallback, no_progress
from mlgen.threads import one_thread
from mlgen.validation.observable import FloatArray
from mlgen.validation.shower_features import BinnedFeature, binned_features

#: Random exchanges of showers between the samples: of features, and of spectra, where each costs a pass over them.
_EXCHANGES, _SPECTRUM_EXCHANGES = 500, 200


@dataclass(frozen=True, slots=True)
class Separation:
    """The separation power of one feature.

    Args:
        name: The feature.
        group: Part of the calorimeter that it belongs to.
        value: S^2, from 0 to 1.
        error: Its statistical error.
        floor: The same for two random halves of the reference.
        floor_error: Standard deviation of such a value.
        expected: Mean of S^2 for equal distributions, with the showers that there are.
        spread: Standard deviation of it.
        p_value: Probability of a value at least as large for equal distributions, not below one over the number of
            exchanges.
        bins: Bins in which there is anything.
    """

    name: str
    group: str
    value: float
    error: float
    floor: float
    floor_error: float
    expected: float
    spread: float
    p_value: float
    bins: int


def separation_power(reference: FloatArray, sample: FloatArray) -> FloatArray:
    r"""Compute :math:`S^2 = \frac12 \sum_i (p_i - q_i)^2 / (p_i + q_i)` of histograms.

    Args:
        reference: Contents of the bins, of any normalisation, ``(..., bins)``.
        sample: The same of the sample.

    Returns:
        Shape ``(...)``, from 0 to 1.
    """
    p = reference / reference.sum(axis=-1, keepdims=True)
    q = sample / sample.sum(axis=-1, keepdims=True)
    both = p + q
    return np.asarray(0.5 * np.sum(np.divide((p - q) ** 2, both, out=np.zeros_like(both), where=both > 0), axis=-1))


def separation_powers(
    reference: ShowerBatch,
    sample: ShowerBatch,
    *,
    threshold: float = 0.0,
    seed: int = 1,
    progress: ProgressCallback = no_progress,
) -> dict[str, Separation]:
    r"""Compute the separation power of every high-level feature, beside its floor.

    What equal distributions would give is found by exchanging showers between the samples at random, which keeps the
    entries of one shower in a spectrum together. The variance is that of these exchanges plus the part linear in the
    difference, :math:`\sum_s \nabla S^{2\,T} C_s \nabla S^2 / n_s`, less what that part is on average when nothing
    differs; so the error holds both close to zero, where :math:`S^2` is a :math:`\chi^2`, and far from it.

    Args:
        reference: The reference.
        sample: The sample, of the same voxels; the numbers of showers may differ.
        threshold: Voxel energies up to this, in MeV, count as zero, in both.
        seed: Of the halves and the exchanges.
        progress: Called after each feature.

    Returns:
        By name of the feature. A feature that no shower of either sample has (a spectrum without voxels) is left out.

    Raises:
        UserError: A sample has fewer than two showers, or they have different voxels.
    """
    rng = np.random.default_rng(seed)
    halves = rng.permutation(len(reference))
    powers: dict[str, Separation] = {}
    with one_thread():
        for number, feature in enumerate(binned_features(reference, sample, threshold=threshold), 1):
            if (power := _power(feature, halves, rng)) is not None:
                powers[feature.name] = power
                progress(Progress(number, 0, "S^2", power.value))
    return powers


@dataclass(frozen=True, slots=True)
class _Found:
    value: float
    error: float
    expected: float
    spread: float
    p_value: float


def _power(feature: BinnedFeature, halves: npt.NDArray[np.intp], rng: np.random.Generator) -> Separation | None:
    half = len(halves) // 2
    first, second = feature.reference[halves[:half]], feature.reference[halves[half : 2 * half]]
    compare: Callable[..., _Found | None] = functools.partial(
        _of_spectra if feature.spectrum else _of_numbers, n_bins=feature.n_bins, rng=rng
    )
    found, floor = compare(feature.reference, feature.sample), compare(first, second)
    if found is None:
        return None
    return Separation(
        name=feature.name,
        group=feature.group,
        value=found.value,
        error=found.error,
        floor=floor.value if floor is not None else float("nan"),
        floor_error=floor.spread if floor is not None else float("nan"),
        expected=found.expected,
        spread=found.spread,
        p_value=found.p_value,
        bins=_filled_bins(feature),
    )


def _of_numbers(
    reference: npt.NDArray[np.intp], sample: npt.NDArray[np.intp], *, n_bins: int, rng: np.random.Generator
) -> _Found:
    """Each shower lies in one bin: exchanged samples are drawn from the hypergeometric distribution."""
    counts = [np.bincount(bins, minlength=n_bins) for bins in (reference, sample)]
    both = counts[0] + counts[1]
    drawn = rng.multivariate_hypergeometric(both, len(reference), size=_EXCHANGES)

    def covariance(content: npt.NDArray[np.int64]) -> FloatArray:
        p = content / content.sum()
        return np.asarray(np.diag(p) - np.outer(p, p))

    contents = [content.astype(np.float64) for content in counts]
    return _found(
        contents,
        [covariance(content) / content.sum() for content in counts],
        (drawn.astype(np.float64), (both - drawn).astype(np.float64)),
        [covariance(both) / content.sum() for content in counts],
    )


def _of_spectra(
    reference: npt.NDArray[np.float32], sample: npt.NDArray[np.float32], *, n_bins: int, rng: np.random.Generator
) -> _Found | None:
    """Each shower fills many bins: whole showers are exchanged."""
    showers = [reference, sample]
    contents = [rows.sum(axis=0, dtype=np.float64) for rows in showers]
    if not all(content.any() for content in contents):
        return None
    both = np.concatenate(showers)
    first = np.zeros((_SPECTRUM_EXCHANGES, len(both)), np.float32)
    for row in first:
        row[rng.permutation(len(both))[: len(reference)]] = 1.0
    drawn = (first @ both).astype(np.float64)
    total = contents[0] + contents[1]

    def covariance(rows: npt.NDArray[np.float32]) -> FloatArray:
        """Of the shares, times the number of showers."""
        content = rows.sum(axis=0, dtype=np.float64)
        p = content / content.sum()
        influence = (rows - p * rows.sum(axis=1, keepdims=True)) * (len(rows) / content.sum())
        return np.asarray(influence.T @ influence / len(rows), np.float64)

    pooled = covariance(both)
    return _found(
        contents,
        [covariance(rows) / len(rows) for rows in showers],
        (drawn, total - drawn),
        [pooled / len(rows) for rows in showers],
    )


def _found(
    contents: list[FloatArray],
    covariances: list[FloatArray],
    exchanged: tuple[FloatArray, FloatArray],
    pooled: list[FloatArray],
) -> _Found:
    value = float(separation_power(contents[0], contents[1]))
    null = separation_power(*exchanged)
    linear = float(_linear_variance(contents[0], contents[1], covariances))
    of_chance = float(_linear_variance(*exchanged, pooled).mean())
    variance = float(null.var()) + max(linear - of_chance, 0.0)
    return _Found(
        value=value,
        error=variance**0.5,
        expected=float(null.mean()),
        spread=float(null.std()),
        # Values that are equal but for rounding count.
        p_value=float((1 + np.sum(null >= value * (1 - 1e-12))) / (1 + len(null))),
    )


def _linear_variance(reference: FloatArray, sample: FloatArray, covariances: list[FloatArray]) -> FloatArray:
    """Variance of S^2 to first order in the fluctuations of both histograms, ``(...)``."""
    p = reference / reference.sum(axis=-1, keepdims=True)
    q = sample / sample.sum(axis=-1, keepdims=True)
    both = np.where(p + q > 0, p + q, 1.0)
    gradients = (0.5 * (p - q) * (p + 3 * q) / both**2, 0.5 * (q - p) * (q + 3 * p) / both**2)
    return np.asarray(
        sum(
            np.einsum("...i,ij,...j->...", gradient, covariance, gradient)
            for gradient, covariance in zip(gradients, covariances, strict=True)
        )
    )


def _filled_bins(feature: BinnedFeature) -> int:
    if feature.spectrum:
        return int(np.sum(feature.reference.any(axis=0) | feature.sample.any(axis=0)))
    return len(np.union1d(feature.reference, feature.sample))
