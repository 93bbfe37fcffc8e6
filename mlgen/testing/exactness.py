"""Whether an unweighting is exact: what it keeps of the candidates of a known process, against the known answer."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from mlgen.stages import FloatArray, Unweighter
from mlgen.testing.known_process import DISTRIBUTIONS, true_contents
from mlgen.testing.known_surrogates import SURROGATES, Sample, batches
from mlgen.testing.rules import require, require_array

#: Independent repetitions, each with new candidates, and the number of these.
REPETITIONS, CANDIDATES = 48, 8_000
#: Probability that a correct plugin fails in one comparison of all bins.
FALSE_ALARM = 1e-4
#: What is known is known to that part of the cross section.
_QUADRATURE = 1e-4
#: Share of the candidates that is left out, for each kind of overweights.
_LEFT_OUT = 0.3

_FIRST_BINS = np.cumsum([0, *(len(distribution.edges) + 1 for distribution in DISTRIBUTIONS.values())])


@functools.lru_cache(maxsize=1)
def _samples(seed: int) -> Sequence[Sample]:
    return [Sample.draw(CANDIDATES, np.random.default_rng([seed, 1000, i])) for i in range(REPETITIONS)]


def kept_in_bins(
    fresh: Callable[[], Unweighter], surrogate: str, seed: int, *, with_overweights: bool = False
) -> FloatArray:
    """Unweight the candidates of each repetition.

    Args:
        fresh: Makes the unweighting, trained where it learns.
        surrogate: Name of one of the `SURROGATES`.
        seed: Seed of everything that is random.
        with_overweights: Prepare without the heaviest candidates, so that there are overweights of any kind later.

    Returns:
        Sum of the kept events' weights in each bin of each distribution over the number of kept events, with
        `Unweighter.normalisation`, ``(repetitions, bins)``. It estimates the cross section in the bin.
    """
    contents = np.empty((REPETITIONS, _FIRST_BINS[-1]))
    # Different sizes, and one without a candidate.
    parts = np.split(np.arange(CANDIDATES), [1, 1, CANDIDATES // 3])
    for repetition, sample in enumerate(_samples(seed)):
        implementation = fresh()
        rng = np.random.default_rng([seed, 2000, repetition])
        seen = [np.flatnonzero(~_heaviest(sample, surrogate))] if with_overweights else parts
        implementation.prepare(iter(batches(sample, surrogate, seen)))
        kept = [implementation.unweight(batch, rng) for batch in batches(sample, surrogate, parts)]
        for of_part in kept:
            require_array(of_part.weight, (len(of_part.index),), "f", "weight")
        index = np.concatenate([part[of_part.index] for part, of_part in zip(parts, kept, strict=True)])
        weight = np.concatenate([of_part.weight for of_part in kept]) * checked_normalisation(implementation)
        require(len(index), f"none of {CANDIDATES} candidates was accepted; the surrogate was '{surrogate}'")
        columns = sample.bins[index] + _FIRST_BINS[:-1]
        sums = np.bincount(columns.ravel(), np.repeat(weight, columns.shape[1]), minlength=contents.shape[1])
        contents[repetition] = sums / len(index)
    return contents


def _heaviest(sample: Sample, surrogate: str) -> npt.NDArray[np.bool_]:
    """Those of the largest true weights, of the largest ones of the surrogate, and of the largest ratio of the two."""
    says = SURROGATES[surrogate]
    size = np.abs(sample.weight if says is None else says(sample))
    # Where the surrogate is close to zero, candidates stay: that there are some has to be known.
    comparable = size > 1e-3 * sample.weight
    ratio = np.where(comparable, sample.weight / np.where(comparable, size, 1.0), 0.0)
    heaviest = np.zeros(len(size), np.bool_)
    for kind in (sample.weight, size, ratio):
        heaviest |= kind > np.quantile(kind[sample.weight > 0], 1 - _LEFT_OUT)
    return heaviest


def checked_normalisation(implementation: Unweighter) -> float:
    """Return the factor for all weights, which has to be a positive finite number."""
    factor = implementation.normalisation()
    require(
        math.isfinite(factor) and factor > 0,
        f"normalisation() is {factor}; a factor for all weights is expected, positive and finite",
    )
    return factor


def require_known_answer(contents: FloatArray, rule: str, *, shapes_only: bool = False) -> None:
    r"""Fail with `rule` unless the cross section and all bins of all distributions are the known ones.

    Each is compared by Student's t, with the error that the spread of the repetitions gives. It fails where a p-value
    is below `FALSE_ALARM` over the number of comparisons (Bonferroni), so that a correct plugin fails with at most that
    probability, whatever the correlations. Means of few events with very different weights are not distributed like
    that: a part of phase space that a plugin lets pass so rarely that less than about 30 candidates are in all
    repetitions together looks as if it were lost, and its user would not know better.

    Args:
        contents: Of `kept_in_bins`.
        rule: What a failure says.
        shapes_only: Compare shares of the cross section, not the cross section itself.
    """
    expected = np.concatenate(list(true_contents().values()))
    first = slice(_FIRST_BINS[0], _FIRST_BINS[1])
    total, expected_total = contents[:, first].sum(axis=1), float(expected[first].sum())
    names = [f"{name} {part}" for name, distribution in DISTRIBUTIONS.items() for part in _parts(distribution.edges)]
    if shapes_only:
        contents, expected, unit = contents / total[:, None], expected / expected_total, "of the cross section"
        tolerance = _QUADRATURE
    else:
        contents, expected, unit = np.c_[contents, total], np.append(expected, expected_total), "pb"
        names.append("cross section")
        tolerance = _QUADRATURE * expected_total
    mean = contents.mean(axis=0)
    error = contents.std(axis=0, ddof=1) / math.sqrt(len(contents))
    deviation = np.maximum(np.abs(mean - expected) - tolerance, 0.0) / np.maximum(error, np.finfo(np.float64).tiny)
    p_value = 2 * stdtr(len(contents) - 1, -deviation)
    wrong = np.flatnonzero(p_value < FALSE_ALARM / len(p_value))
    if len(wrong):
        worst = wrong[np.argmax(deviation[wrong])]
        raise AssertionError(
            f"{rule}; {len(wrong)} of {len(names)} figures are wrong, most of all '{names[worst]}': "
            f"{mean[worst]:.4g} +- {error[worst]:.2g} {unit} was found, {expected[worst]:.4g} is expected "
            f"(a correct plugin fails once in {1 / FALSE_ALARM:,.0f} times)"
        )


def _parts(edges: Sequence[float]) -> list[str]:
    between = [f"from {lower:g} to {upper:g}" for lower, upper in itertools.pairwise(edges)]
    return [f"below {edges[0]:g}", *between, f"above {edges[-1]:g}"]
