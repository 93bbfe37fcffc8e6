"""Are two binned distributions the same, and if not, where do they differ?

Everything here works on sums of weights and of squared weights in fine bins, so that a million events need no more
memory than a thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlgen.validation.observable import FloatArray, IntArray, Kind
from mlgen.validation.record import Deviation, ShapeTest
from mlgen.validation.region_scan import Region, most_significant_region

#: Effective entries that a bin needs in each sample for its content to be treated as Gaussian.
_ENTRIES = 20.0
#: Numbers of smooth components that are tried together; each order includes the ones below it.
_ORDERS = (1, 2, 4, 8)
#: The same for angles, where a component is the cosine and the sine of one frequency.
_PERIODIC_ORDERS = (2, 4, 8)
#: Larger p-values count as this, since one p-value of 1 must not outweigh the others in a combination.
_LARGEST = 0.99
_SMALLEST = 1e-300
#: Eigenvalues of a covariance below this fraction of the largest are zero but for rounding.
_INDEPENDENT = 1e-9


@dataclass(frozen=True, slots=True)
class BinnedSample:
    """One sample in fine bins.

    Args:
        sums: Sum of weights in each bin, underflow first and overflow last, shape ``(fine + 2,)``.
        squares: Sum of squared weights, the same shape.
    """

    sums: FloatArray
    squares: FloatArray


def compare_shapes(
    reference: BinnedSample,
    sample: BinnedSample,
    edges: FloatArray,
    *,
    kind: Kind = Kind.CONTINUOUS,
    periodic: bool = False,
    bins: int = 50,
) -> ShapeTest:
    r"""Compare two independent samples, each normalised to total weight one (flows included).

    With the share :math:`p_i = \sum w / W` of bin *i*, :math:`s_i = \sum w^2`, and the pooled share :math:`q_i` that
    both would have if nothing differed, each sample has the covariance

    .. math::
        C_{ij} = \frac{1}{W^2} \Big(\delta_{ij} s_i - q_i s_j - s_i q_j + q_i q_j \sum_k s_k\Big)

    **chi^2** is :math:`d^T C^{-1} d` of the difference *d* of the shares with the sum *C* of the two covariances, in
    about `bins` bins of equal content, towards the ends of the axis in smaller ones, all with at least 20 effective
    entries. There are ``ndf = bins - 1`` degrees of freedom. In *C*, :math:`s_i` is moved to what the pooled share
    leads to expect, so that low counts do not bias it; for unit weights this is Pearson's chi^2 of the 2 x bins table.

    **The smooth test** is Neyman's: differences of the means of Legendre polynomials of the pooled rank (for angles of
    its sines and cosines, since the origin of an angle means nothing), with their covariance. Orders 1, 2, 4 and 8 are
    each a chi^2 test and are combined. Categories have no order, hence no smooth test.

    **The most significant region** of `most_significant_region` is a test as well, for narrow distortions.

    All are combined by the Cauchy combination: the mean of :math:`\cot(\pi p)` has, in its tail, a Cauchy distribution
    however the tests depend on each other. It loses less than the Bonferroni bound, because the tests are correlated.
    A combined p-value is right where it is small; when nothing differs the large ones are not quite uniform.

    Found among 30 observables at a family-wise error of 1 %, with 100,000 events in each sample: pT scaled by 1.02,
    64 %; halves of the events 2 % up and down, 58 %; a resonance moved by 2 % of its width, 98 %; 2 % of the events in
    a bump of 0.2 standard deviations, 100 %; a tail of 0.5 % that has 30 % too little, 33 %. A test that knew the first
    two distortions would find 81 %.

    Args:
        reference: The reference in fine bins.
        sample: The sample in the same bins.
        edges: Edges of the fine bins, ``(fine + 1,)``.
        kind: What values the observable takes.
        periodic: Whether the two ends of the axis are one point.
        bins: Number of bins for chi^2.

    Returns:
        The test. With fewer than two bins' worth of effective events in one of the samples `ndf` is 0, the p-values
        are NaN and there is no deviation. If there are enough events but all of them (but for fewer than a bin's worth)
        lie in one fine bin, `ndf` is 0, the p-values are 1 and there is no deviation. For an angle, a deviation with
        ``lower > upper`` goes through the end of the axis. The ends of a deviation that includes events out of range
        are infinite; its ratio is infinite if the reference has nothing there.

    Raises:
        ValueError: The shapes of the arrays do not fit.

    References:
        Gagunashvili, arXiv:physics/0605123; Neyman, Skand. Aktuarietidskr. 20, 149 (1937); Fan, J. Am. Stat. Assoc.
        91, 674 (1996) for the orders; Liu and Xie, J. Am. Stat. Assoc. 115, 393 (2020), arXiv:1808.09011.
    """
    shape = (len(edges) + 1,)
    for array in (reference.sums, reference.squares, sample.sums, sample.squares):
        if array.shape != shape:
            raise ValueError(f"{len(edges)} edges need arrays of shape {shape} with both flows, not {array.shape}")
    if min(_entries(reference), _entries(sample)) < 2 * _ENTRIES:
        return ShapeTest(np.nan, 0, np.nan, np.nan, np.nan, None)
    group = _group(reference, sample, kind=kind, periodic=periodic, bins=bins)
    merged = _Pair.of(_merge(reference, group), _merge(sample, group))
    ndf = len(merged.difference) - 1
    if ndf == 0:
        return ShapeTest(0.0, 0, 1.0, 1.0, 1.0, None)

    from scipy.special import chdtrc

    chi2 = merged.chi2()
    chi2_p_value = float(chdtrc(ndf, chi2))
    smooth = np.array([]) if kind is Kind.CATEGORY else _smooth_p_values(reference, sample, periodic=periodic)
    smooth_p_value = combined_p_value(smooth)
    region = most_significant_region(
        merged.difference, merged.pooled, merged.variances, single=kind is Kind.CATEGORY, periodic=periodic
    )
    p_value = combined_p_value(np.array([chi2_p_value, *smooth, region.p_value]))
    deviation = _deviation(region, merged, group, reference, sample, edges)
    return ShapeTest(chi2, ndf, chi2_p_value, smooth_p_value, p_value, deviation)


def combined_p_value(p_values: FloatArray) -> float:
    """Cauchy combination of p-values of tests that may depend on each other; NaN are left out.

    Args:
        p_values: Any shape.

    Returns:
        One p-value; NaN if there is none to combine.
    """
    known = p_values[np.isfinite(p_values)]
    if not len(known):
        return np.nan
    mean = np.mean(1.0 / np.tan(np.pi * np.clip(known, _SMALLEST, _LARGEST)))
    return float(np.arctan2(1.0, mean) / np.pi)


def adjusted_p_values(p_values: FloatArray) -> FloatArray:
    """p-values after the number of tests, by Holm's method.

    Calling significant what is below alpha gives any false alarm with a probability of at most alpha, whatever the
    correlations between the tests.

    Args:
        p_values: Shape ``(tests,)``. NaN stays NaN and does not count as a test.

    Returns:
        Shape ``(tests,)``, at most 1.

    References:
        Holm, Scand. J. Stat. 6, 65 (1979).
    """
    adjusted = np.full(len(p_values), np.nan)
    known = np.flatnonzero(np.isfinite(p_values))
    ordered = known[np.argsort(p_values[known], kind="stable")]
    steps = p_values[ordered] * np.arange(len(ordered), 0, -1)
    adjusted[ordered] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


@dataclass(frozen=True, slots=True)
class _Pair:
    """Shares of two samples in the same bins, and the variances that they have if nothing differs.

    `variances` are, for each sample, the expected sums of squared weights over the squared total, ``(2, bins)``.
    """

    shares: FloatArray
    pooled: FloatArray
    variances: FloatArray
    own: FloatArray

    @classmethod
    def of(cls, reference: BinnedSample, sample: BinnedSample) -> _Pair:
        pooled = _pooled(reference, sample)
        both = (reference, sample)
        return cls(
            shares=np.stack([one.sums / one.sums.sum() for one in both]),
            pooled=pooled,
            # The bound only acts when the samples differ wildly or weights cancel; a variance must stay positive.
            variances=np.stack(
                [np.maximum(_expected_squares(one, pooled), 0.1 * one.squares) / one.sums.sum() ** 2 for one in both]
            ),
            own=np.stack([one.squares / one.sums.sum() ** 2 for one in both]),
        )

    @property
    def difference(self) -> FloatArray:
        difference: FloatArray = self.shares[1] - self.shares[0]
        return difference

    def chi2(self) -> float:
        variance = self.variances.sum(axis=0)
        mixed = np.outer(self.pooled, variance)
        covariance = np.diag(variance) - mixed - mixed.T + np.outer(self.pooled, self.pooled) * variance.sum()
        # The shares sum to one: the last bin says nothing new.
        kept = slice(-1)
        difference = self.difference[kept]
        return float(difference @ np.linalg.solve(covariance[kept, kept], difference))


def _entries(sample: BinnedSample) -> float:
    """Effective number of events."""
    squares = float(sample.squares.sum())
    return float(sample.sums.sum()) ** 2 / squares if squares > 0.0 else 0.0


def _pooled(reference: BinnedSample, sample: BinnedSample) -> FloatArray:
    """Share of each bin in both samples together, each counted by its effective number of events."""
    a, b = _entries(reference), _entries(sample)
    shares: FloatArray = (a * reference.sums / reference.sums.sum() + b * sample.sums / sample.sums.sum()) / (a + b)
    return shares


def _expected_squares(sample: BinnedSample, pooled: FloatArray) -> FloatArray:
    r"""Sums of squared weights that a sample of the pooled shape would have.

    A bin that has more than its share also has more squares, :math:`\sum w^2 / \sum w` for each excess; without the
    correction an upward fluctuation would seem better known than a downward one. The factor is local, because weights
    may depend on the observable, and taken from wider and wider surroundings until those have enough entries.
    """
    total = sample.sums.sum()
    factor = np.full(len(pooled), sample.squares.sum() / total)
    todo = np.ones(len(pooled), dtype=bool)
    radius = 0
    while todo.any() and radius < len(pooled):
        sums, squares = (_within(contents, radius) for contents in (sample.sums, sample.squares))
        enough = todo & (sums * total > 0.0) & (sums**2 >= _ENTRIES * squares) & (squares > 0.0)
        factor[enough] = squares[enough] / sums[enough]
        todo &= ~enough
        radius = 2 * radius + 1
    expected: FloatArray = sample.squares + factor * (total * pooled - sample.sums)
    return expected


def _within(contents: FloatArray, radius: int) -> FloatArray:
    """Sum over each bin and its neighbours up to `radius` bins away."""
    cumulative = np.concatenate([[0.0], np.cumsum(contents)])
    places = np.arange(len(contents))
    return np.asarray(
        cumulative[np.minimum(places + radius + 1, len(contents))] - cumulative[np.maximum(places - radius, 0)]
    )


def _merge(sample: BinnedSample, group: IntArray) -> BinnedSample:
    """Add up the fine bins of each group."""
    sums, squares = (np.bincount(group, contents).astype(np.float64) for contents in (sample.sums, sample.squares))
    return BinnedSample(sums, squares)


def _group(reference: BinnedSample, sample: BinnedSample, *, kind: Kind, periodic: bool, bins: int) -> IntArray:
    """Number of the merged bin of each fine bin, flows included, ``(fine + 2,)``.

    The bins follow from the pooled shares, which know nothing of the difference that is looked for.
    """
    pooled = _pooled(reference, sample)
    # Rows: pooled share, share of the reference, of the sample, variance of the reference, of the sample.
    both = (reference, sample)
    contents = np.stack(
        [
            pooled,
            *(one.sums / one.sums.sum() for one in both),
            *(one.squares / one.sums.sum() ** 2 for one in both),
        ]
    )
    entries = (_entries(reference), _entries(sample))
    if kind is Kind.CATEGORY:
        return _group_categories(contents, entries)
    group = np.zeros(len(pooled), dtype=np.int64)
    number, start = 0, 0
    done = 0.0
    content = [0.0] * len(contents)
    for fine, more in enumerate(contents.T.tolist()):
        group[fine] = number
        content = [known + new for known, new in zip(content, more, strict=True)]
        # Tails are where surrogates fail: towards the ends, bins have half the content of their inner neighbour, as
        # far as the entries suffice. An angle has no ends.
        wanted = 1.0 / bins if periodic else min(1.0 / bins, max(done, 0.0), (1.0 - done) / 2.0)
        if content[0] >= wanted and _enough(content, entries):
            number, start = number + 1, fine + 1
            done += content[0]
            content = [0.0] * len(contents)
    if start < len(group) and number and not _enough(content, entries):
        group[start:] = number - 1
    return group


def _group_categories(contents: FloatArray, entries: tuple[float, float]) -> IntArray:
    """Categories with enough entries stand alone; the others are one bin."""
    alone = np.array([_enough(content, entries) for content in contents.T.tolist()])
    if not alone.any():
        return np.zeros(contents.shape[1], dtype=np.int64)
    group = np.cumsum(alone) - 1
    rest = ~alone
    if _enough(contents[:, rest].sum(axis=1).tolist(), entries):
        group[rest] = group.max() + 1
    else:
        # Too few for a bin of their own; they change the largest category least.
        group[rest] = group[np.argmax(contents[0])]
    return np.asarray(group)


def _enough(content: Sequence[float], entries: tuple[float, float]) -> bool:
    """Whether each sample has enough effective entries for the pooled share.

    `content` is a column of the contents that `_group` makes. The sum of weights per sum of squares is the samples'
    own, so that for unit weights the entries follow from the pooled share alone; stopping where a sample happens to
    have many or few would make the bins depend on the difference that is looked for.
    """
    pooled, *shares_and_variances = content
    if pooled <= 0.0:
        return False
    expected = [
        pooled * (share / variance if variance > 0.0 else number)
        for share, variance, number in zip(shares_and_variances[:2], shares_and_variances[2:], entries, strict=True)
    ]
    return min(expected) >= _ENTRIES


def _smooth_p_values(reference: BinnedSample, sample: BinnedSample, *, periodic: bool) -> FloatArray:
    """p-values of the smooth tests of each order."""
    from scipy.special import chdtrc

    pooled = _pooled(reference, sample)
    positive = np.maximum(pooled, 0.0) / np.maximum(pooled, 0.0).sum()
    rank = np.cumsum(positive) - positive / 2.0
    orders = _PERIODIC_ORDERS if periodic else _ORDERS
    components = _waves(rank, orders[-1]) if periodic else _polynomials(rank, orders[-1])
    difference = np.zeros(orders[-1])
    covariance = np.zeros((orders[-1], orders[-1]))
    centred = components - (components @ pooled)[:, np.newaxis]
    for sign, one in ((-1.0, reference), (1.0, sample)):
        total = one.sums.sum()
        difference += sign * (centred @ one.sums) / total
        covariance += (centred * _expected_squares(one, pooled)) @ centred.T / total**2
    p_values = []
    for order in orders:
        values, vectors = np.linalg.eigh(covariance[:order, :order])
        # An observable of few different values has fewer independent components than that.
        kept = values > _INDEPENDENT * values[-1]
        projected = vectors[:, kept].T @ difference[:order]
        p_values.append(chdtrc(int(kept.sum()), np.sum(projected**2 / values[kept])))
    return np.array(p_values)


def _polynomials(rank: FloatArray, order: int) -> FloatArray:
    """Orthonormal Legendre polynomials 1 to `order` of a rank from 0 to 1, ``(order, n)``."""
    argument = 2.0 * rank - 1.0
    rows = [np.ones_like(argument), argument]
    for degree in range(1, order):
        rows.append(((2 * degree + 1) * argument * rows[degree] - degree * rows[degree - 1]) / (degree + 1))
    return np.stack([np.sqrt(2 * degree + 1) * row for degree, row in enumerate(rows)][1:])


def _waves(rank: FloatArray, count: int) -> FloatArray:
    """Cosine and sine of ``count / 2`` frequencies, ``(count, n)``."""
    phases = 2.0 * np.pi * np.outer(np.arange(1, count // 2 + 1), rank)
    waves: FloatArray = np.sqrt(2.0) * np.stack([np.cos(phases), np.sin(phases)], axis=1)
    return waves.reshape(count, -1)


def _deviation(
    region: Region, merged: _Pair, group: IntArray, reference: BinnedSample, sample: BinnedSample, edges: FloatArray
) -> Deviation:
    bins = len(merged.pooled)
    inside = np.zeros(bins, dtype=bool)
    inside[np.arange(region.first, region.stop) % bins] = True
    shares = merged.shares[:, inside].sum(axis=1)
    # Each sample's own spread, since a ratio of 0.5 has the error of a ratio of 0.5.
    squares = merged.own[:, inside].sum(axis=1)
    variances = np.maximum(squares * (1.0 - 2.0 * shares) + shares**2 * merged.own.sum(axis=1), 0.0)
    ratio, error = np.inf, np.nan
    if shares[0]:
        ratio = shares[1] / shares[0]
        error = np.sqrt(variances[1] + ratio**2 * variances[0]) / abs(shares[0])
    lower, upper = _ends(inside[group], reference, sample, edges, wrapped=region.stop > bins)
    return Deviation(lower, upper, float(ratio), float(error), region.significance, float(shares[0]))


def _ends(
    inside: npt.NDArray[np.bool_], reference: BinnedSample, sample: BinnedSample, edges: FloatArray, *, wrapped: bool
) -> tuple[float, float]:
    """Ends of a region of fine bins (flows included), without empty bins at its ends."""
    occupied = np.flatnonzero(inside & ((reference.squares > 0.0) | (sample.squares > 0.0)))
    every = np.concatenate([[-np.inf], edges, [np.inf]])
    if not wrapped:
        return float(every[occupied[0]]), float(every[occupied[-1] + 1])
    # Bins at both ends of the axis: the region begins after the gap.
    gap = np.flatnonzero(~inside[1:-1]) + 1
    return float(every[occupied[occupied > gap[-1]][0]]), float(every[occupied[occupied < gap[0]][-1] + 1])
