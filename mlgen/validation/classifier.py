"""Classifier two-sample test of observables: can a strong classifier tell a sample from the reference?"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mlgen.errors import WeightError
from mlgen.stages import ProgressCallback, no_progress
from mlgen.validation.classifier_boosting import quantile_bins, train_boosting
from mlgen.validation.classifier_network import train_network
from mlgen.validation.encoding import Encoding
from mlgen.validation.learned_weights import closure_remark, find_tails
from mlgen.validation.observable import Features, FloatArray, Kind
from mlgen.validation.record import ClassifierTest
from mlgen.validation.settings import FEWEST_EVENTS, ClassifierSettings
from mlgen.validation.two_sample import Method, TwoSamples, two_sample_test

#: Effective events (sum w)^2 / sum w^2 below which there is no test.
_FEWEST_EFFECTIVE_EVENTS = 100
#: p-value above which the samples are called indistinguishable, and tails of the learned weights are noise.
_NOISE_P_VALUE = 0.01


def classifier_test(
    reference: Features,
    sample: Features,
    settings: ClassifierSettings,
    *,
    seed: int,
    progress: ProgressCallback = no_progress,
) -> ClassifierTest:
    r"""Train classifiers to tell the sample from the reference, and say how well they do on events they did not see.

    The same number of events, chosen at random, is taken from each; the null floor is the same measure for two disjoint
    sets of the reference of that number, so at most half of the reference is used in one comparison. Each training sees
    half of the events and scores the other half (two folds), so every event gets a score from a classifier that did not
    see it; `mlgen.validation.two_sample.two_sample_test` says how AUCs, errors and p-values are made. A seed changes
    the split, the initial parameters and the batches.

    An event of negative weight counts with its absolute weight in the other class, see
    `mlgen.validation.auc.swap_negative`; the AUC then is one half exactly if the signed densities agree. The learned
    weights then are not :math:`p_\mathrm{reference} / p_\mathrm{sample}` but
    :math:`(p_\mathrm{ref}^+ + p_\mathrm{sample}^-) / (p_\mathrm{sample}^+ + p_\mathrm{ref}^-)`, which is one where the
    signed densities agree, and larger where the sample has too little.

    Args:
        reference: Features of the reference, shape ``(n, features)``.
        sample: The same observables of the sample, ``(m, features)``.
        settings: Methods, number of seeds and of events.
        seed: Of everything that is random; the same seed gives the same result on the same machine.
        progress: Called after each training with its AUC.

    Returns:
        The test. Without measures, and with a remark, if there are too few events. Learned weights are those of the
        method with the larger AUC: its out-of-fold logits, averaged over the seeds and calibrated; they are in the
        order of the events.

    Raises:
        WeightError: A weight is not finite.
        ValueError: The two have different observables.

    References:
        Lecture notes sec. 4.3.2, eq. 4.92 to 4.94; Lopez-Paz and Oquab, ICLR 2017, arXiv:1610.06545.
    """
    for name, features in (("reference", reference), ("sample", sample)):
        bad = np.flatnonzero(~np.isfinite(features.weight))
        if len(bad):
            raise WeightError(
                f"{len(bad):,} of the {len(features):,} events of the {name} that the classifiers would see "
                f"have a weight that is not finite, for instance {features.weight[bad[0]]}"
            )
    events = min(len(reference) // 2, len(sample), settings.events)
    if events < FEWEST_EVENTS:
        return _no_test(
            f"Too few events for a classifier test: it needs {2 * FEWEST_EVENTS} of the reference (half of them for "
            f"the null floor) and {FEWEST_EVENTS} of the sample; there are {len(reference)} and {len(sample)}."
        )
    own, *sources = np.random.SeedSequence(seed).spawn(settings.seeds + 1)
    rng = np.random.default_rng(own)
    order = rng.permutation(len(reference))
    first = _take(reference, np.sort(order[:events]))
    second = _take(reference, np.sort(order[events : 2 * events]))
    chosen = _take(sample, np.sort(rng.permutation(len(sample))[:events]))
    for name, features in (("reference", first), ("reference", second), ("sample", chosen)):
        effective = _effective_events(features.weight)
        if effective < _FEWEST_EFFECTIVE_EVENTS:
            return _no_test(
                f"No classifier test: the weights of the {events} events of the {name} are worth {effective:.0f} "
                f"events of equal weight, (sum w)^2 / sum w^2; it needs {_FEWEST_EFFECTIVE_EVENTS}."
            )

    methods = list(dict.fromkeys(settings.methods))
    samples, null = _seen_by(methods, first, chosen), _seen_by(methods, first, second)
    found = two_sample_test(samples, null, sources=sources, rng=rng, progress=progress)
    learned, is_reference = found.learned_weights, samples.is_reference
    remarks = _weight_remarks(first, chosen)
    if closure := closure_remark(learned, is_reference, samples.weight):
        remarks.append(closure)
    if found.measures[found.best].p_value < _NOISE_P_VALUE:
        tails, words = find_tails(first, chosen, learned[is_reference], learned[~is_reference])
        remarks += words
    else:
        tails = ()
        remarks.append("The classifiers find no difference: tails of the learned weights would be noise.")
    return ClassifierTest(
        measures=found.measures,
        seed_values=found.seed_values,
        learned_weights={"reference": learned[is_reference], "sample": learned[~is_reference]},
        event_weights={"reference": first.weight, "sample": chosen.weight},
        method=methods[found.best],
        tails=tails,
        remarks=tuple(remarks),
    )


def _no_test(remark: str) -> ClassifierTest:
    return ClassifierTest((), {}, {}, {}, "", (), (remark,))


def _take(features: Features, index: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Features:
    return replace(features, values=features.values[index], weight=features.weight[index])


def _effective_events(weight: FloatArray) -> float:
    squares = float(np.sum(np.square(weight)))
    return float(weight.sum()) ** 2 / squares if squares > 0.0 else 0.0


def _weight_remarks(reference: Features, sample: Features) -> list[str]:
    negative = [float(np.mean(features.weight * features.weight.sum() < 0.0)) for features in (reference, sample)]
    if not any(negative):
        return []
    return [
        f"Negative weights: {100 * negative[0]:.1f} % of the reference's and {100 * negative[1]:.1f} % of the sample's "
        "events have a weight of the other sign than their sum. They count with their absolute weight in the other "
        "class, so that the AUC is 0.5 exactly if the signed densities agree; the learned weights then are "
        "(p_reference+ + p_sample-) / (p_sample+ + p_reference-), which is 1 where the signed densities agree and "
        "larger where the sample has too little, but not the ratio of the signed densities."
    ]


def _seen_by(methods: Sequence[str], reference: Features, sample: Features) -> TwoSamples:
    """Both samples as arrays, encoded for each of the methods."""
    seen: dict[str, Method] = {}
    values = np.concatenate([reference.values, sample.values])
    for method in methods:
        if method == "network":
            encoding = Encoding.fit(reference, sample)
            encoded = np.concatenate([encoding(reference), encoding(sample)])
            seen[method] = Method(train_network, encoded if encoded.shape[1] else np.zeros((len(values), 1)))
        else:
            categories = [observable.kind is Kind.CATEGORY for observable in reference.observables]
            inputs, categorical = quantile_bins(values, np.array(categories, dtype=bool))
            seen[method] = Method(functools.partial(train_boosting, categorical=categorical), inputs)
    return TwoSamples(seen, np.arange(len(values)) < len(reference), np.concatenate([reference.weight, sample.weight]))
