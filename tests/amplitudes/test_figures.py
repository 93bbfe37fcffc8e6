"""Pictures of the accuracy: what is drawn is what was counted, and the words have the numbers."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes
from scipy.stats import norm

from mlgen.amplitudes.accuracy import AmplitudeAccuracy, accuracy
from mlgen.amplitudes.figures import accuracy_figures
from mlgen.report import FigureGrid, Page, Section, render
from mlgen.report.quantities import number_text
from mlgen.stages import Amplitude

POINTS = 10_000


def example(statistical: float = 0.02) -> AmplitudeAccuracy:
    """Delta of 1%, of 10% for the hundred largest amplitudes; pulls twice too wide."""
    rng = np.random.default_rng(95)
    truth = np.arange(1.0, POINTS + 1)
    size = np.where(truth > POINTS - 100, 0.1, 0.01)
    value = truth * (1 + rng.normal(size=POINTS) * size)
    return accuracy(truth, Amplitude(value, truth * size / 2, truth * size * statistical))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What goes into `Axes.stairs` and `Axes.plot`, by its label."""
    calls: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    stairs, plot = Axes.stairs, Axes.plot

    def stairs_too(self, values, edges, **options):
        calls[options["label"]] = (np.asarray(values), np.asarray(edges))
        return stairs(self, values, edges, **options)

    def plot_too(self, x, y, **options):
        calls[options["label"]] = (np.asarray(y), np.asarray(x))
        return plot(self, x, y, **options)

    monkeypatch.setattr(Axes, "stairs", stairs_too)
    monkeypatch.setattr(Axes, "plot", plot_too)
    return calls


def test_histograms_of_delta_are_normalised_to_one(drawn):
    accuracy_figures(example())
    for label, position in (
        ("all 10,000 points", 0.01),
        ("largest 1%: 100 points", 0.1),
        ("largest 0.1%: 10 points", 0.1),
    ):
        share, edges = drawn[label]
        # Fewer than a thousandth of all points are too near to the truth to be drawn.
        assert 0.998 < share.sum() <= 1 + 1e-12
        middle = float(np.sum(share * np.log10(edges[:-1] * edges[1:]) / 2))
        # The mean of log10 |z| of a normal z is -(gamma + ln 2) / (2 ln 10) = -0.2758, its spread 0.482: ten points
        # give it to 0.15, and four times that is allowed, at a significance of 6e-5.
        assert middle == pytest.approx(np.log10(position) - 0.2758, abs=0.6 if "0.1%" in label else 0.2)


def test_pulls_are_densities_beside_a_unit_gaussian(drawn):
    result = example()
    accuracy_figures(result)
    gaussian, pull = drawn["unit Gaussian"]
    assert gaussian == pytest.approx(norm.pdf(pull))
    for label, pulls in (("systematic uncertainty", result.systematic), ("total uncertainty", result.total)):
        density, edges = drawn[label]
        inside = 1 - (pulls.pull.below + pulls.pull.above) / POINTS
        assert np.sum(density * np.diff(edges)) == pytest.approx(inside)
    # Twice too wide: half as high in the middle, within five standard deviations of 800 points a bin.
    density, edges = drawn["systematic uncertainty"]
    assert density[np.searchsorted(edges, 0.0)] == pytest.approx(norm.pdf(0) / 2, rel=5 / np.sqrt(400))


def test_the_total_is_drawn_only_where_it_is_another(drawn):
    accuracy_figures(example(statistical=0.0))
    assert "systematic uncertainty" in drawn
    assert "total uncertainty" not in drawn


def test_words_have_the_numbers():
    result = example()
    delta, pulls = accuracy_figures(result)
    assert f"Median {number_text(result.median_absolute_delta, 3)}" in delta.caption
    for part in ("99.9% of the points below", "Largest 1%", "Largest 0.1%", "Mean of Δ"):
        assert part in delta.caption
    assert f"at most {number_text(result.largest_percent.largest_absolute_delta, 3)}" in delta.caption
    assert "10,000 points" in delta.alt
    for words in (pulls.alt, pulls.caption):
        assert f"width {result.systematic.width:.2f}" in words
        assert f"{100 * result.systematic.coverage_68:.2f}% of the points within 1 σ" in words
        assert f"{100 * result.total.coverage_95:.2f}% within 1.96 σ" in words


def test_they_are_pictures_of_a_page():
    figures = accuracy_figures(example())
    for figure in figures:
        ElementTree.fromstring(figure.image)
    page = render(Page("Accuracy", sections=(Section("Pictures", (FigureGrid(figures),)),)))
    assert "Relative accuracy of the amplitudes" in page
    assert "Pulls of the amplitudes" in page


def test_the_same_accuracy_gives_the_same_pictures():
    assert [f.image for f in accuracy_figures(example())] == [f.image for f in accuracy_figures(example())]


@pytest.mark.parametrize("points", [1, 500])
@pytest.mark.parametrize(("delta", "sigma"), [(0.0, 0.0), (0.0, 1.0), (0.1, 0.0), (0.1, 1.0), (1e5, 1.0)])
def test_extremes_are_drawn_without_a_warning(points, delta, sigma):
    """Exact predictions, none that is near, no uncertainties, a single point."""
    truth = np.linspace(1, 2, points)
    result = accuracy(truth, Amplitude(truth * (1 + delta), truth * sigma, truth * sigma))
    delta_figure, pull_figure = accuracy_figures(result)
    assert ("Not drawn" in delta_figure.caption) == (delta in (0.0, 1e5))
    assert ("no uncertainty at all" in pull_figure.caption) == (delta > 0 and sigma == 0)
