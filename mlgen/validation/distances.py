"""Frechet and kernel physics distances between samples in all observables at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlgen.threads import one_thread
from mlgen.validation.encoding import Encoding
from mlgen.validation.observable import Features, FloatArray, IntArray
from mlgen.validation.record import Measure

#: Groups of events whose sums are kept, so that halves, jackknife samples and permutations cost no pass over events.
_GROUPS = 20
#: Ways of cutting a sample in two over which the extrapolation of FPD is averaged.
_HALVINGS = 4
#: Random exchanges of groups between the samples, from which the p-value follows.
_PERMUTATIONS = 200
#: Batches of KPD and events in each, as in the paper.
_BATCHES = 10
_BATCH_SIZE = 5_000
#: Fewest events of a sample for which the distances say anything.
_FEWEST = 10 * _GROUPS


def distances(
    reference: Features, sample: Features, rng: np.random.Generator, max_events: int = 50_000
) -> tuple[Measure, ...]:
    """FPD and KPD, each beside its null floor.

    Measure and floor use the same number of events, ``min(len(reference) // 2, len(sample), max_events)``, chosen at
    random: the measure compares that many of the reference with that many of the sample, the floor two disjoint such
    parts of the reference.

    p-values are from exchanging groups of events between the two samples at random. Since only 200 exchanges are made,
    what lies beyond is read off a gamma distribution with their mean, variance and skewness; it is the exact shape for
    a chi^2 and a close one for sums of chi^2 with different weights, which both distances are when nothing differs.

    Args:
        reference: The reference.
        sample: The sample, with the same observables.
        rng: Chooses events, groups and exchanges.
        max_events: Events of each that are used at most.

    Returns:
        FPD and KPD; empty if there are fewer than 200 events of each, if a total weight is zero or if no observable
        varies.
    """
    events = min(len(reference) // 2, len(sample), max_events)
    if events < _FEWEST:
        return ()
    encoding = Encoding.fit(reference, sample)
    if not encoding.columns:
        return ()
    of_reference = rng.permutation(len(reference))[: 2 * events]
    of_sample = rng.permutation(len(sample))[:events]
    parts = []
    for features, index in (
        (reference, of_reference[:events]),
        (reference, of_reference[events:]),
        (sample, of_sample),
    ):
        chosen = Features(features.values[index], features.weight[index], features.observables)
        if _total_is_zero(chosen.weight):
            return ()
        parts.append(_Points(encoding(chosen), chosen.weight / chosen.weight.mean()))
    first, second, third = parts
    count = f"{len(encoding.columns)} columns from {len(reference.observables)} observables"
    measures = []
    for name, compute, note in (
        ("FPD", _frechet, "without limit of the number of events; error from a jackknife"),
        ("KPD", _kernel, "median of batches; error from their spread"),
    ):
        with one_thread():
            result = compute(first, third, rng, _PERMUTATIONS)
            floor = compute(first, second, rng, 0)
        measures.append(
            Measure(name, result.value, result.error, floor.value, floor.error, result.p_value, events,
                    f"{count}, {note}; p-value from exchanged events")
        )  # fmt: skip
    return tuple(measures)


def frechet_physics_distance(reference: Features, sample: Features, rng: np.random.Generator) -> tuple[float, float]:
    r"""Frechet distance between the normal distributions with the samples' means and covariances.

    .. math::
        d^2 = |\mu_1 - \mu_2|^2 + \mathrm{Tr}\big(C_1 + C_2 - 2 (C_1 C_2)^{1/2}\big)

    of the columns that `Encoding` makes, extrapolated to an infinite number of events: to first order the bias of
    :math:`n` events is proportional to :math:`1/n`, so that with :math:`\bar d^2_{n/2}` the mean over halves of the
    samples the extrapolation is :math:`2 d^2_n - \bar d^2_{n/2}`.

    The halves are disjoint. The paper's program draws batches with replacement and extrapolates those; that only leads
    back to the distance of the samples at hand, whose own bias of order :math:`1/n` remains. Neither is the result
    forced to be positive here: when nothing differs it scatters around zero.

    Args:
        reference: The reference, ``n`` events.
        sample: The sample, with the same observables. Weights of both may be negative.
        rng: Chooses the groups of events from which halves are made.

    Returns:
        The distance and its error, from a jackknife over 20 groups of events. The error is too large by up to
        :math:`\sqrt 2` when nothing differs.

    Raises:
        ValueError: The samples have different observables, no observable varies, a sample has fewer than 200 events,
            or a total weight is zero.

    References:
        Kansal et al., Phys. Rev. D 107, 076017 (2023), arXiv:2211.10295, sec. III; Chong and Forsyth,
        arXiv:1911.07023, for the extrapolation.
    """
    with one_thread():
        result = _frechet(*_encoded(reference, sample), rng, 0)
    return result.value, result.error


def kernel_physics_distance(reference: Features, sample: Features, rng: np.random.Generator) -> tuple[float, float]:
    r"""Squared maximum mean discrepancy with a polynomial kernel of degree 4.

    .. math::
        \mathrm{MMD}^2 = \frac{\sum_{i \ne j} w_i w_j k(x_i, x_j)}{\sum_{i \ne j} w_i w_j}
            + \frac{\sum_{i \ne j} v_i v_j k(y_i, y_j)}{\sum_{i \ne j} v_i v_j}
            - 2 \frac{\sum_{ij} w_i v_j k(x_i, y_j)}{\sum_{ij} w_i v_j}, \quad
        k(x, y) = \Big(\frac{x \cdot y}{D} + 1\Big)^4

    of the *D* columns that `Encoding` makes; the median over 10 batches of at most 5,000 events of each sample. When
    nothing differs, the expectation of each batch is zero; the median lies a part of its error below.

    Args:
        reference: The reference.
        sample: The sample, with the same observables. Weights of both may be negative.
        rng: Chooses the batches, disjoint as far as there are events.

    Returns:
        The distance and its error: half the central 68 % of the batches (what the paper quotes) over the square root
        of their number, times :math:`\sqrt{\pi / 2}` for a median.

    Raises:
        ValueError: The samples have different observables, no observable varies, a sample has fewer than 200 events,
            or a total weight is zero.

    References:
        Kansal et al., Phys. Rev. D 107, 076017 (2023), arXiv:2211.10295, sec. III; Gretton et al., J. Mach. Learn.
        Res. 13, 723 (2012).
    """
    with one_thread():
        result = _kernel(*_encoded(reference, sample), rng, 0)
    return result.value, result.error


def frechet_distance(mean: FloatArray, covariance: FloatArray, mean_2: FloatArray, covariance_2: FloatArray) -> float:
    """Squared Frechet (Wasserstein-2) distance between two normal distributions.

    Args:
        mean: Shape ``(columns,)``.
        covariance: Shape ``(columns, columns)``. Negative eigenvalues, which negative weights can cause, have no root
            and count as zero there.
        mean_2: As `mean`, of the second.
        covariance_2: As `covariance`, of the second.

    Returns:
        The distance.

    References:
        Dowson and Landau, J. Multivar. Anal. 12, 450 (1982).
    """
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    # Tr (C1 C2)^(1/2) from a symmetric matrix with the same eigenvalues.
    products = np.linalg.eigvalsh(root.T @ covariance_2 @ root)
    cross = np.sqrt(np.maximum(products, 0.0)).sum()
    return float(np.sum((mean - mean_2) ** 2) + np.trace(covariance) + np.trace(covariance_2) - 2.0 * cross)


@dataclass(frozen=True, slots=True)
class _Points:
    """Encoded events ``(n, columns)``, weights of mean one ``(n,)``."""

    values: FloatArray
    weight: FloatArray


@dataclass(frozen=True, slots=True)
class _Result:
    value: float
    error: float
    p_value: float


def _encoded(reference: Features, sample: Features) -> tuple[_Points, _Points]:
    encoding = Encoding.fit(reference, sample)
    if not encoding.columns:
        raise ValueError("no observable varies, so that there is nothing to measure a distance in")
    points = []
    for name, features in (("reference", reference), ("sample", sample)):
        if len(features) < _FEWEST:
            raise ValueError(f"the {name} has {len(features)} events; a distance needs at least {_FEWEST}")
        if _total_is_zero(features.weight):
            raise ValueError(f"the weights of the {name} sum to zero")
        points.append(_Points(encoding(features), features.weight / features.weight.mean()))
    return points[0], points[1]


def _total_is_zero(weight: FloatArray) -> bool:
    return bool(abs(weight.sum()) <= 1e-12 * np.abs(weight).sum())


def _frechet(reference: _Points, sample: _Points, rng: np.random.Generator, permutations: int) -> _Result:
    """Extrapolated Frechet distance, its jackknife error, and a p-value if permutations are asked for."""
    sums = np.stack([_group_moments(points, rng) for points in (reference, sample)])
    halves = [np.array_split(rng.permutation(_GROUPS), 2) for _ in range(_HALVINGS)]
    value = _extrapolated(sums, halves)
    # Leaving out one group of both samples at a time; the halves lose it too.
    left_out = np.array(
        [_extrapolated(sums, [[part[part != group] for part in half] for half in halves]) for group in range(_GROUPS)]
    )
    error = np.sqrt((_GROUPS - 1) * np.mean((left_out - left_out.mean()) ** 2))
    if not permutations:
        return _Result(value, float(error), np.nan)
    pooled = sums.reshape(2 * _GROUPS, *sums.shape[2:])

    drawn = [_distance(pooled[order[:_GROUPS]], pooled[order[_GROUPS:]]) for order in _exchanges(rng, permutations)]
    return _Result(value, float(error), _tail(_distance(*sums), np.array(drawn)))


def _group_moments(points: _Points, rng: np.random.Generator) -> FloatArray:
    """Sums of w z z^T over random groups, z being the columns and a one, ``(groups, columns + 1, columns + 1)``."""
    extended = np.concatenate([points.values, np.ones((len(points.values), 1))], axis=1)
    order = rng.permutation(len(extended))
    return np.stack(
        [(extended[group].T * points.weight[group]) @ extended[group] for group in np.array_split(order, _GROUPS)]
    )


def _extrapolated(sums: FloatArray, halves: Sequence[Sequence[IntArray]]) -> float:
    """Frechet distance without its bias of first order in 1 / n; `halves` say which groups are used."""
    used = np.concatenate(halves[0])
    whole = _distance(sums[0][used], sums[1][used])
    estimates = []
    for half in halves:
        mean = np.mean([_distance(sums[0][part], sums[1][part]) for part in half])
        # A part has so many times the bias of the whole.
        ratio = np.mean([len(used) / len(part) for part in half])
        estimates.append((ratio * whole - mean) / (ratio - 1.0))
    return float(np.mean(estimates))


def _distance(reference: FloatArray, sample: FloatArray) -> float:
    """Frechet distance from the groups' sums."""
    moments = []
    for sums in (reference.sum(axis=0), sample.sum(axis=0)):
        mean = sums[:-1, -1] / sums[-1, -1]
        moments += [mean, sums[:-1, :-1] / sums[-1, -1] - np.outer(mean, mean)]
    return frechet_distance(*moments)


def _kernel(reference: _Points, sample: _Points, rng: np.random.Generator, permutations: int) -> _Result:
    """Median of the batches' squared maximum mean discrepancies, its error, and a p-value if asked for."""
    events = min(len(reference.weight), len(sample.weight))
    # With few events fewer batches: each has to hold enough for a mean.
    batches = int(np.clip(events // (_FEWEST // 2), 2, _BATCHES))
    size = min(events // batches, _BATCH_SIZE)
    first, second = rng.permutation(len(reference.weight)), rng.permutation(len(sample.weight))
    blocks = []
    for batch in range(batches):
        chosen = slice(batch * size, (batch + 1) * size)
        values = np.concatenate([reference.values[first[chosen]], sample.values[second[chosen]]])
        weight = np.concatenate([reference.weight[first[chosen]], sample.weight[second[chosen]]])
        blocks.append(_kernel_sums(values, weight, 2 * _GROUPS))
    of_batches = _discrepancies(blocks, np.arange(2 * _GROUPS)[np.newaxis])[:, 0]
    lower, upper = np.quantile(of_batches, [0.16, 0.84])
    error = (upper - lower) / 2.0 * np.sqrt(np.pi / 2.0 / batches)
    p_value = np.nan
    if permutations:
        drawn = _discrepancies(blocks, _exchanges(rng, permutations)).mean(axis=0)
        p_value = _tail(float(of_batches.mean()), drawn)
    return _Result(float(np.median(of_batches)), float(error), p_value)


def _kernel_sums(values: FloatArray, weight: FloatArray, groups: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Sums over pairs of groups: of w w' k without the pairs of an event with itself; of w; and of w^2.

    Groups are consecutive events, so that the first half of the groups are the reference's.
    """
    scaled = values / np.sqrt(values.shape[1])
    bounds = np.linspace(0, len(values), groups + 1).astype(int)
    members = [slice(start, stop) for start, stop in itertools.pairwise(bounds)]
    sums = np.zeros((groups, groups))
    for row, of_row in enumerate(members):
        for column, of_column in enumerate(members[: row + 1]):
            # Small enough for the processor's cache.
            kernel = scaled[of_row] @ scaled[of_column].T
            kernel += 1.0
            np.square(kernel, out=kernel)
            np.square(kernel, out=kernel)
            if row == column:
                np.fill_diagonal(kernel, 0.0)
            sums[row, column] = sums[column, row] = weight[of_row] @ (kernel @ weight[of_column])
    by_group = [weight[member] for member in members]
    return sums, np.array([part.sum() for part in by_group]), np.array([part @ part for part in by_group])


def _discrepancies(blocks: Sequence[tuple[FloatArray, FloatArray, FloatArray]], orders: IntArray) -> FloatArray:
    """Unbiased squared maximum mean discrepancies between the first and the second half of the groups.

    Args:
        blocks: Of each batch, what `_kernel_sums` gives.
        orders: Orders of the groups, ``(orders, groups)``.

    Returns:
        Shape ``(batches, orders)``.
    """
    groups = orders.shape[1]
    first = np.zeros(orders.shape)
    np.put_along_axis(first, orders[:, : groups // 2], 1.0, axis=1)
    second = 1.0 - first
    found = []
    for sums, weight, squares in blocks:
        of_first, of_second = first @ weight, second @ weight
        within_first = np.einsum("pg,pg->p", first @ sums, first) / (of_first**2 - first @ squares)
        within_second = np.einsum("pg,pg->p", second @ sums, second) / (of_second**2 - second @ squares)
        between = np.einsum("pg,pg->p", first @ sums, second) / (of_first * of_second)
        found.append(within_first + within_second - 2.0 * between)
    return np.array(found)


def _exchanges(rng: np.random.Generator, permutations: int) -> IntArray:
    """Random orders of the groups of both samples, ``(permutations, 2 groups)``."""
    return rng.permuted(np.tile(np.arange(2 * _GROUPS), (permutations, 1)), axis=1)


def _tail(observed: float, drawn: FloatArray) -> float:
    """Probability of a larger value, from a gamma distribution with the first three moments of the drawn values."""
    from scipy.special import gammaincc

    spread = drawn.std()
    if spread == 0.0:
        return 1.0
    skewness = max(float(np.mean(((drawn - drawn.mean()) / spread) ** 3)), 1e-2)
    shape = 4.0 / skewness**2
    return float(gammaincc(shape, max(shape + np.sqrt(shape) * (observed - drawn.mean()) / spread, 0.0)))
