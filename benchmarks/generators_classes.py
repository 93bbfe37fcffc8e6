"""Frequencies of what is counted: multiplicities, flavours, colour flows, spins."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from generators_classifiers import Samples
from generators_output import Output
from generators_tables import FloatArray, IntArray, Table
from scipy.stats import chi2

#: Classes that expect fewer events in the smaller of two samples are one.
_FEWEST_EXPECTED = 10


def _flavours(table: Table) -> IntArray:
    return np.concatenate([table.integers[:, :, 0], table.integers[:, :, 1]], axis=1)


def _flows(table: Table) -> IntArray:
    return np.concatenate([_flavours(table), table.flows[:, None]], axis=1)


def _spins(table: Table) -> IntArray:
    return np.concatenate([table.multiplicity[:, None], np.rint(2 * table.spin).astype(np.int64)], axis=1)


_COUNTED: dict[str, Callable[[Table], IntArray]] = {
    "multiplicity": lambda table: table.multiplicity[:, None],
    "flavours of all particles": _flavours,
    "colour flow": lambda table: table.flows[:, None],
    "flavours and colour flow": _flows,
    "spins": _spins,
}


def compare_classes(
    first: IntArray, u: FloatArray, second: IntArray, v: FloatArray
) -> tuple[float, int, float, float, float, float]:
    """Compare the frequencies of rows of integers.

    Chi^2 of two samples with the variance of the pooled shares, of as many events of equal weight as the weights are
    worth.

    Args:
        first: Rows of one sample, ``(n, columns)``.
        u: Its weights.
        second: Rows of the other, ``(m, columns)``.
        v: Its weights.

    Returns:
        Chi^2, degrees of freedom, p-value, total variation distance (of all classes), the same as it is expected of
        two samples of one truth, and the share of the first one's events in classes that the second does not have.
    """
    width = max(first.shape[1], second.shape[1])
    rows = [np.pad(part, [(0, 0), (0, width - part.shape[1])]) for part in (first, second)]
    unique, index = np.unique(np.concatenate(rows), axis=0, return_inverse=True)
    index = index.reshape(-1)
    shares, sizes = [], []
    for codes, weight in ((index[: len(first)], u), (index[len(first) :], v)):
        shares.append(np.bincount(codes, weight, len(unique)) / weight.sum())
        sizes.append(float(weight.sum() ** 2 / np.sum(weight**2)))
    new = float(shares[0][~np.isin(np.arange(len(unique)), index[len(first) :])].sum())
    pooled = np.maximum((sizes[0] * shares[0] + sizes[1] * shares[1]) / sum(sizes), 0.0)
    spread = 1 / sizes[0] + 1 / sizes[1]
    variation = 0.5 * float(np.abs(shares[0] - shares[1]).sum())
    expected = 0.5 * math.sqrt(2 / math.pi) * float(np.sqrt(pooled * (1 - np.minimum(pooled, 1.0)) * spread).sum())
    rare = pooled * min(sizes) < _FEWEST_EXPECTED
    merged = [np.append(share[~rare], share[rare].sum()) for share in (*shares, pooled)]
    if merged[2][-1] * min(sizes) < _FEWEST_EXPECTED:
        merged = [share[:-1] for share in merged]
    degrees = max(len(merged[2]) - 1, 0)
    value = float(np.sum((merged[0] - merged[1]) ** 2 / (merged[2] * spread))) if degrees else 0.0
    return value, degrees, float(chi2.sf(value, degrees)) if degrees else 1.0, variation, expected, new


def show_classes(name: str, samples: Samples, output: Output) -> None:
    """Print chi^2 and distances of class frequencies, beside those of training and truth."""
    output.title(f"{name}: class frequencies")
    pairs = (
        ("generated, held out", samples.generated, samples.heldout),
        ("generated, training", samples.generated, samples.train),
        ("training, held out", samples.train, samples.heldout),
    )
    rows = []
    for title, coded in _COUNTED.items():
        for label, first, second in pairs:
            value, degrees, p, variation, expected, new = compare_classes(
                coded(first), first.weight, coded(second), second.weight
            )
            output.keep(
                name, "classes", title, label, chi2=value, degrees=degrees, p_value=p, total_variation=variation,
                expected_total_variation=expected, new=new,
            )  # fmt: skip
            rows.append([
                title if label.startswith("generated, held") else "", label, f"{value:.1f} / {degrees}", f"{p:.3g}",
                f"{variation:.5f}", f"{expected:.5f}", f"{100 * new:.4f} %",
            ])  # fmt: skip
    output.table(
        ["classes", "samples", "chi2 / ndf", "p", "total variation", "expected of one truth", "only in the first"],
        rows,
    )
