"""The picture of the weights before an unweighting and after it."""

import re

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from mlgen.chain.report import RunResult, StageResult
from mlgen.chain.weight_distribution import WeightDistribution
from mlgen.errors import OutputError
from mlgen.report.run_weights import run_weights_figure, save_run_weights
from mlgen.report.weights import save_weights, weight_figure

MAXIMUM = 20.0
BEFORE, AFTER = "#0072b2", "#009e73"


def distribution(weight) -> WeightDistribution:
    made = WeightDistribution()
    made.add(np.asarray(weight, np.float64))
    return made


def run_of(before, after, **figures) -> RunResult:
    stage = StageResult(
        "unweighting", "p", "1", "d", "exact", {}, figures={"candidates": 1, "maximum_weight": MAXIMUM, **figures}
    )
    return RunResult(1, 1.0, 0.1, "exact", (), (stage,), 0, {}, weights=before, unweighted=after)


@pytest.fixture(scope="module")
def weights():
    """Candidates with 5 % of negative weights, and what a hit-or-miss leaves of them."""
    rng = np.random.default_rng(62)
    before = rng.lognormal(0, 1, 20_000) * np.where(rng.random(20_000) < 0.05, -1, 1)
    kept = before[rng.random(20_000) < np.abs(before) / MAXIMUM]
    after = np.sign(kept) * np.maximum(np.abs(kept) / MAXIMUM, 1)
    return before, after


def entries(svg: str) -> list[str]:
    """Texts of an SVG, which its letters, drawn as paths, stand behind as comments."""
    return re.findall(r"<!-- (.*) -->", svg)


def test_both_distributions_are_in_one_picture(weights):
    before, after = weights
    figure = run_weights_figure(run_of(distribution(before), distribution(after)))
    texts = entries(figure.image)
    for sign in ("positive", "negative"):
        assert texts.count(f"before: {sign} weights") == 1
        assert texts.count(f"after: {sign} weights") == 1
    assert "maximum weight" in texts
    assert figure.title == "Weights before the unweighting, and after it"
    # The bin of the unit weights is that from 1 to 10^(1/20).
    share = np.mean(np.abs(after) < 10**0.05)
    expected = (
        f"The unweighting left {len(after):,} events; {share:.1%} of the weights lie in one bin, from 1 to 1.122."
    )
    assert expected in figure.caption


def test_without_negative_weights_nothing_is_said_of_them(weights):
    before, after = map(np.abs, weights)
    texts = entries(run_weights_figure(run_of(distribution(before), distribution(after))).image)
    assert not any("negative" in text for text in texts)


def test_what_is_drawn_for_an_integration_stays_what_it_was(weights):
    figure = weight_figure(*distribution(weights[0]).histograms(), MAXIMUM, maximum_label="maximum", unit="pb")
    texts = entries(figure.image)
    assert [text for text in texts if "weights" in text] == ["positive weights", "negative weights"]
    assert "modulus of the weight [pb]" in texts
    assert figure.title == "Weights before the unweighting"
    above = int((np.abs(weights[0]) >= 10 ** (27 / 20)).sum())
    assert figure.caption == f"{above:,} of 20,000 events lie in bins above the maximum weight of 20."


def test_weights_of_a_surrogate_are_not_compared_with_the_maximum_of_the_true_ones(weights):
    before, after = weights
    run = run_of(distribution(before * 1e-9), distribution(after), first_stage_efficiency=0.3)
    figure = run_weights_figure(run)
    texts = entries(figure.image)
    assert "before: weights without the true matrix element" in texts
    assert "maximum of the true weights" in texts
    assert "lie in bins above" not in figure.caption
    assert "without the true matrix element" in figure.caption
    # Nine decades between the two are no reason to leave the lower out.
    assert "not drawn" not in figure.caption


def test_a_sample_of_one_weight_is_seen(tmp_path, weights):
    """Its bin is one of many, and must still have enough points of its colour; likewise the weights before it."""
    path = tmp_path / "weights.png"
    save_run_weights(path, run_of(distribution(np.abs(weights[0])), distribution(np.full(3000, 1.5))))
    image = matplotlib.image.imread(path)[..., :3]
    legend = image.shape[0] // 5
    for colour in (BEFORE, AFTER):
        of_colour = np.abs(image - to_rgb(colour)).max(axis=2) < 0.05
        assert of_colour[:legend].sum() > 50
        assert of_colour[legend:].sum() > 500
    # Its sides are lines of the height of the axes, or nearly so.
    assert (np.abs(image[legend:] - to_rgb(AFTER)).max(axis=2) < 0.05).any(axis=1).mean() > 0.7


@pytest.mark.parametrize(("suffix", "head"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_files(suffix, head, weights, tmp_path):
    path, again = tmp_path / f"weights.{suffix}", tmp_path / f"again.{suffix}"
    run = run_of(*map(distribution, weights))
    save_run_weights(path, run)
    save_run_weights(again, run)
    assert path.read_bytes().startswith(head)
    assert path.read_bytes() == again.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        save_run_weights(path, run)
    save_run_weights(path, run, force=True)
    with pytest.raises(OutputError, match="written as png, pdf, svg"):
        save_run_weights(tmp_path / "weights.jpg", run)


def test_where_nothing_was_unweighted_nothing_is_drawn(tmp_path):
    run = RunResult(1, 1.0, 0.1, "exact", (), (), 0, {})
    assert run_weights_figure(run) is None
    with pytest.raises(OutputError, match="nothing was unweighted"):
        save_run_weights(tmp_path / "weights.png", run)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("before", "after"), [([], []), ([0.0], []), ([1.0, -2.0], []), ([-1.0], [-1.0]), ([], [3.0])])
def test_little_can_be_drawn_too(before, after):
    figure = run_weights_figure(run_of(distribution(before), distribution(after)))
    assert ("left no events" in figure.caption) == (not after)
    alone = run_weights_figure(run_of(distribution(before), None))
    assert alone.title == "Weights before the unweighting"


def test_weights_that_are_small_beyond_measure_are_counted_and_not_drawn():
    before = distribution([1e-30, 1e-20, 1.0, 2.0])
    figure = run_weights_figure(run_of(before, distribution([1.5])))
    # The largest of the weights after it, 1.5, is in the bin that ends at 10^(4/20).
    assert "2 have weights below 1.6e-08, and are not drawn. The unweighting left 1 event;" in figure.caption


def test_page_of_a_run_has_the_picture(weights):
    page = run_of(*map(distribution, weights)).page()
    assert "Pictures" in [section.title for section in page.sections]


def test_before_alone_as_a_file(weights, tmp_path):
    path = tmp_path / "weights.svg"
    save_weights(path, *distribution(weights[0]).histograms(), MAXIMUM)
    assert "positive weights" in entries(path.read_text())
