import numpy as np
import pytest

from mlgen.errors import WeightError
from mlgen.validation.axes import choose_axis
from mlgen.validation.filling import Filler
from mlgen.validation.observable import Observable, Values

X, Y = Observable("x", "x", limits=(0.0, 1.0), bins=10), Observable("y", "y", limits=(-1.0, 1.0), bins=4)


def filled(values, weight, *, halves=True, band=(), variations=None, batches=3):
    axes = [choose_axis(observable, [], 10) for observable in (X, Y)]
    filler = Filler(axes, list(band), keep=1000, halves=halves)
    rng = np.random.default_rng(1)
    for part in np.array_split(np.arange(len(weight)), batches):
        varied = {name: v[part] for name, v in (variations or {}).items()}
        filler.add(Values(values[:, part], np.arange(len(part))), weight[part], varied, rng)
    return filler.finished()


@pytest.fixture
def sample():
    rng = np.random.default_rng(5)
    values = np.stack([rng.uniform(-0.1, 1.1, 3001), rng.normal(size=3001)])
    values[1, :500] = np.nan
    return values, rng.normal(1, 1, 3001)


@pytest.mark.parametrize("halves", [True, False])
def test_sums_and_squares_are_those_of_numpy(sample, halves):
    values, weight = sample
    content = filled(values, weight, halves=halves)
    edges = content.axes[0].edges
    bins = np.concatenate([[-np.inf], edges, [np.inf]])
    assert np.allclose(content.sums[0].sum(axis=0), np.histogram(values[0], bins, weights=weight)[0])
    assert np.allclose(content.squares[0].sum(axis=0), np.histogram(values[0], bins, weights=weight**2)[0])
    assert content.chosen.weight == pytest.approx(weight.sum())
    assert content.chosen.square == pytest.approx((weight**2).sum())
    assert content.smallest[0] == values[0].min()
    assert content.largest[0] == values[0].max()
    assert content.negative == (weight < 0).sum()


def test_an_event_that_lacks_an_observable_is_counted_apart(sample):
    values, weight = sample
    content = filled(values, weight)
    assert content.lacking[0].weight == 0
    assert content.lacking[1].weight == pytest.approx(weight[:500].sum())
    assert content.lacking[1].square == pytest.approx((weight[:500] ** 2).sum())
    assert content.sums[1].sum() == pytest.approx(weight[500:].sum())


def test_the_halves_are_disjoint_and_of_one_size(sample):
    values, _ = sample
    content = filled(values, np.ones(3001))
    counts = content.squares[0].sum(axis=1)
    assert counts.sum() == 3001
    assert abs(counts[0] - counts[1]) <= 3


def test_events_that_alternate_do_not_alternate_between_the_halves():
    values = np.tile([0.25, 0.75], 5000)
    content = filled(np.stack([values, values]), np.ones(10_000))
    left = content.squares[0][0][: 2 + 50].sum()
    assert abs(left - 2500) < 5 * np.sqrt(2500 / 4)


def test_named_weights_fill_their_own_histograms_and_nan_stands_for_the_nominal_weight(sample):
    values, _ = sample
    weight = np.ones(3001)
    varied = np.full(3001, 3.0)
    varied[::2] = np.nan
    content = filled(values, weight, band=["up", "absent"], variations={"up": varied})
    assert content.bands[0]["up"].sum() == pytest.approx(1501 + 3 * 1500)
    assert content.bands[0]["absent"].sum() == pytest.approx(3001)


def test_the_features_are_the_rows_with_their_weights(sample):
    values, weight = sample
    content = filled(values, weight)
    assert content.features.values.shape == (1000, 2)
    found = {float(x): w for x, w in zip(values[0], weight, strict=True)}
    assert all(found[x] == w for x, w in zip(content.features.values[:, 0], content.features.weight, strict=True))


def test_what_the_selection_leaves_out_counts_only_for_the_acceptance(sample):
    values, weight = sample
    filler = Filler([choose_axis(X, [], 10)], [], keep=10, halves=False)
    kept = np.flatnonzero(values[0] > 0.5)
    filler.add(Values(values[:1, kept], kept), weight, {}, np.random.default_rng(1))
    content = filler.finished()
    assert (content.events, content.selected) == (3001, len(kept))
    assert content.everything.weight == pytest.approx(weight.sum())
    assert content.chosen.weight == pytest.approx(weight[kept].sum())


def test_a_weight_that_is_no_number_is_named(sample):
    values, weight = sample
    weight[1234] = np.nan
    with pytest.raises(WeightError, match="event 1235"):
        filled(values, weight)


def test_values_that_have_no_logarithm_lie_below_the_axis():
    axis = choose_axis(Observable("E", "E", limits=(1.0, 100.0), log=True), [], 10)
    filler = Filler([axis], [], keep=10, halves=False)
    filler.add(Values(np.array([[-5.0, 0.0, 10.0, 1e3]]), np.arange(4)), np.ones(4), {}, np.random.default_rng(1))
    counts = filler.finished().sums[0][0]
    assert (counts[0], counts[-1]) == (2, 1)
