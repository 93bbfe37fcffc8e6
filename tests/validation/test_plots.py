import itertools
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import MISSING, fields

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import StepPatch

from mlgen.errors import OutputError, WriteFailure
from mlgen.validation import plots
from mlgen.validation.observable import Kind, Observable
from mlgen.validation.plot_bins import MOST_CATEGORIES
from mlgen.validation.plot_output import _compact
from mlgen.validation.plot_style import (
    COLOURS,
    INK,
    MOST_SAMPLES,
    differential,
    mathtext,
    number,
    power_of_ten,
    shorten,
)
from mlgen.validation.record import (
    ClassifierTest,
    Comparison,
    Deviation,
    Histogram,
    Measure,
    ObservableResult,
    SampleRecord,
    ShapeTest,
    Tail,
    Verdict,
)

PT = Observable("pT(mu-)", r"$p_T(\mu^-)$", "GeV")
EDGES = np.array([20.0, 30.0, 40.0, 60.0, 100.0])


def histogram(*values, underflow=0.0, overflow=0.0, events=10_000, band=None):
    values = np.array(values, dtype=float)
    return Histogram(
        values,
        np.abs(values) / events,
        (underflow, underflow / events),
        (overflow, overflow / events),
        None if band is None else np.stack([values * (1 - band), values * (1 + band)]),
    )


REFERENCE = histogram(0.4, 0.3, 0.15, 0.05, overflow=0.1)
SAMPLE = histogram(0.42, 0.27, 0.16, 0.05, overflow=0.1)


def steps(ax):
    """The outlines of the histograms in a panel, in the order of drawing."""
    return [patch for patch in ax.patches if isinstance(patch, StepPatch) and not patch.get_fill()]


def labels(ax, axis="x"):
    ticks = ax.get_xticklabels() if axis == "x" else ax.get_yticklabels()
    return [label.get_text() for label in ticks]


def legend(figure):
    return [text.get_text() for text in figure.texts]


def clipped(figure):
    """Every text that reaches over the paper's edge."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    texts = [*figure.texts]
    for ax in figure.axes:
        texts += [*ax.texts, ax.xaxis.label, ax.yaxis.label]
        low, high = sorted(ax.get_xlim())
        texts += [t for x, t in zip(ax.get_xticks(), ax.get_xticklabels(), strict=False) if low <= x <= high]
        low, high = sorted(ax.get_ylim())
        texts += [t for y, t in zip(ax.get_yticks(), ax.get_yticklabels(), strict=False) if low <= y <= high]
    boxes = [(t, t.get_window_extent(canvas.get_renderer())) for t in texts if t.get_text() and t.get_visible()]
    return [t.get_text() for t, box in boxes if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height]


def test_contents_are_divided_by_the_bin_width_and_labelled_so():
    figure = plots.observable_figure(
        EDGES, PT, histogram(0.4, 0.3, 0.2, 0.1), [("flow", histogram(0.4, 0.3, 0.2, 0.1))]
    )
    upper, lower = figure.axes
    for outline in steps(upper):
        np.testing.assert_allclose(outline.get_data().values, [0.04, 0.03, 0.01, 0.0025])
        np.testing.assert_allclose(outline.get_data().edges, EDGES)
    assert lower.get_xlabel() == r"$p_T(\mu^-)$ [GeV]"
    assert upper.get_xlabel() == ""
    assert upper.get_ylabel() == r"$1/\sigma\ \mathrm{d}\sigma/\mathrm{d}p_T(\mu^-)$ [1/GeV]"
    assert legend(figure) == ["reference", "flow"]
    assert clipped(figure) == []


def test_the_ratio_panel_shows_the_ratio_and_both_errors():
    figure = plots.observable_figure(EDGES, PT, REFERENCE, [("flow", SAMPLE)])
    lower = figure.axes[1]
    ratio = [1.05, 0.9, 0.16 / 0.15, 1.0, np.nan, 1.0]
    np.testing.assert_allclose(steps(lower)[0].get_data().values, ratio)
    band = next(patch for patch in lower.patches if isinstance(patch, StepPatch) and patch.get_fill())
    error = np.sqrt(np.array([0.4, 0.3, 0.15, 0.05, np.nan, 0.1]) / 10_000) / [0.4, 0.3, 0.15, 0.05, 1, 0.1]
    np.testing.assert_allclose(band.get_data().values, 1 + error)
    np.testing.assert_allclose(band.get_data().baseline, 1 - error)
    bars = next(line for line in lower.lines if line.get_label() == "_errors").get_ydata()
    np.testing.assert_allclose((bars[1::3] - bars[::3])[:2] / 2, np.sqrt([0.42, 0.27]) / 100 / [0.4, 0.3])
    low, high = lower.get_ylim()
    assert low < 0.9
    assert high > 1.07
    assert high - low < 0.5


def test_flows_stand_in_columns_of_their_own():
    under = histogram(0.4, 0.3, 0.1, 0.05, underflow=0.05, overflow=0.1)
    figure = plots.observable_figure(EDGES, PT, under, [("flow", under)])
    upper, lower = figure.axes
    values, edges, _ = steps(upper)[0].get_data()
    assert len(values) == len(EDGES) - 1 + 4
    # As high as one more bin as wide as the one beside it.
    np.testing.assert_allclose(values[[0, -1]], [0.05 / 10, 0.1 / 40])
    assert np.isnan(values[[1, -2]]).all()
    np.testing.assert_allclose(edges[2:-2], EDGES)
    assert (labels(lower)[-2], labels(lower)[-1]) == ("<20", ">100")
    # No other label stands below theirs.
    assert "20" not in labels(lower)
    assert "100" not in labels(lower)
    without = plots.observable_figure(EDGES, PT, histogram(0.5, 0.3, 0.1, 0.1), [])
    np.testing.assert_allclose(without.axes[0].get_xlim(), (20, 100))


@pytest.mark.parametrize("log_x", [False, True])
@pytest.mark.parametrize("high", [60, 100.5, 167.5, 315, 540, 1234, 151_500, 1_515_000])
def test_labels_of_ticks_and_columns_keep_apart(high, log_x):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    edges = np.geomspace(22, high, 11) if log_x else np.linspace(22, high, 11)
    both = histogram(*[0.08] * 10, underflow=0.1, overflow=0.1)
    figure = plots.observable_figure(edges, PT, both, [("flow", both)], log_x=log_x)
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [text for text in figure.axes[1].get_xticklabels() if text.get_text()]
    boxes = sorted((text.get_window_extent(renderer) for text in texts), key=lambda box: box.x0)
    em = 9.5 / 72 * figure.dpi
    assert all(left.x1 + 0.3 * em < right.x0 for left, right in itertools.pairwise(boxes)), labels(figure.axes[1])
    assert len(boxes) >= 4
    assert clipped(figure) == []


@pytest.mark.parametrize("log_x", [False, True])
def test_a_steep_fall_gets_a_logarithmic_axis(log_x):
    edges = np.geomspace(20, 1000, 41)
    centres = np.sqrt(edges[1:] * edges[:-1])
    steep = histogram(*(centres**-4 / np.sum(centres**-4)))
    figure = plots.observable_figure(edges, PT, steep, [("flow", steep)], log_x=log_x)
    upper, lower = figure.axes
    assert upper.get_yscale() == "log"
    assert {upper.get_xscale(), lower.get_xscale()} == {"log" if log_x else "linear"}
    assert lower.get_yscale() == "linear"
    assert "10⁻⁴" in labels(upper, "y")
    assert clipped(figure) == []


def test_an_axis_that_begins_at_zero_is_never_logarithmic():
    edges = np.array([0.0, 1.0, 2.0])
    figure = plots.observable_figure(edges, PT, histogram(0.5, 0.5), [], log_x=True)
    assert figure.axes[0].get_xscale() == "linear"
    assert figure.axes[0].get_yscale() == "linear"


def test_negative_contents():
    upper = plots.observable_figure(EDGES, PT, histogram(0.9, 0.2, -0.1, 0.0), []).axes[0]
    assert upper.get_yscale() == "linear"
    assert upper.get_ylim()[0] < -0.1 / 20
    upper = plots.observable_figure(EDGES, PT, histogram(0.9, 0.101, 0.0001, -0.001), []).axes[0]
    assert upper.get_yscale() == "symlog"
    assert upper.get_ylim()[0] < -0.001 / 40
    assert "0" in labels(upper, "y")


def test_bands_of_named_weights_in_both_panels():
    banded = histogram(0.4, 0.3, 0.2, 0.1, band=0.1)
    figure = plots.observable_figure(EDGES, PT, histogram(0.4, 0.3, 0.2, 0.1), [("flow", banded)])
    bands = [
        patch
        for ax in figure.axes
        for patch in ax.patches
        if isinstance(patch, StepPatch) and patch.get_fill() and patch.get_alpha() == 0.28
    ]
    assert len(bands) == 2
    np.testing.assert_allclose(bands[0].get_data().values, 1.1 * banded.values / np.diff(EDGES))
    np.testing.assert_allclose(bands[1].get_data().baseline, 0.9)
    assert "band of its named weights" in legend(figure)


def test_an_angle_between_two_objects_ends_at_pi():
    angle = Observable("deltaphi(mu-, mu+)", r"$\Delta\phi$", "rad", limits=(0.0, math.pi))
    figure = plots.observable_figure(np.linspace(0, math.pi * (1 + 1e-9), 5), angle, histogram(0.4, 0.3, 0.2, 0.1), [])
    assert labels(figure.axes[1])[:5] == ["0", "π/4", "π/2", "3π/4", "π"]
    assert clipped(figure) == []


@pytest.mark.parametrize("number", [5, MOST_SAMPLES])
def test_samples_are_told_apart_by_colour_and_by_line(number):
    samples = [(f"a sample with a rather long name, number {i}", SAMPLE) for i in range(number)]
    figure = plots.observable_figure(EDGES, PT, REFERENCE, samples, deviation=Deviation(30, 60, 0.9, 0.02, -5, 0.5))
    for panel, count in ((figure.axes[0], number + 1), (figure.axes[1], number)):
        assert len(steps(panel)) == count
        outlines = steps(panel)[-number:]
        assert len({outline.get_edgecolor() for outline in outlines}) == number
        assert len({str(outline.get_linestyle()) for outline in outlines}) == number
    assert len(legend(figure)) == number + 2
    assert legend(figure)[1].endswith("number 0")
    assert legend(figure)[-1] == "differs most: 0.9 ± 0.02"
    assert clipped(figure) == []
    # The legend takes no room from the panels.
    one = plots.observable_figure(EDGES, PT, REFERENCE, samples[:1])
    heights = [f.axes[0].get_position().height * f.get_size_inches()[1] for f in (one, figure)]
    assert heights[1] > 0.85 * heights[0]
    # Nothing of the legend lies on the panels, and no label on another.
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.texts]
    assert min(box.y0 for box in boxes) > figure.axes[0].get_window_extent(renderer).y1
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_more_samples_than_can_be_told_apart_are_refused():
    samples = [(f"sample {i}", SAMPLE) for i in range(MOST_SAMPLES + 1)]
    with pytest.raises(ValueError, match="11 samples in one figure; at most 10 can be told apart"):
        plots.observable_figure(EDGES, PT, REFERENCE, samples)


#: What people see who lack the cones for red, or for green (Machado et al., doi:10.1109/TVCG.2009.113, severity 1).
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]


def in_cielab(colour, seen):
    """CIE 1976 L*a*b* of an sRGB colour, under illuminant D65."""
    srgb = np.array(to_rgb(colour))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(np.array(seen) @ linear, 0, 1) / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("seen", [np.eye(3), PROTANOPIA, DEUTERANOPIA], ids=["normal", "no red", "no green"])
def test_colours_differ_for_everybody(seen):
    for first, second in itertools.combinations((*COLOURS, INK), 2):
        assert np.linalg.norm(in_cielab(first, seen) - in_cielab(second, seen)) > 17, (first, second)


def test_the_deviation_is_shaded_where_it_is():
    figure = plots.observable_figure(
        EDGES, PT, REFERENCE, [("flow", SAMPLE)], deviation=Deviation(60, math.inf, 0.9, 0.02, -5, 0.1)
    )
    for ax in figure.axes:
        shade = [
            patch for patch in ax.patches if patch.get_facecolor()[:3] == pytest.approx((1, 0.914, 0.659), abs=0.01)
        ]
        assert [patch.get_x() for patch in shade] == [60]
        assert shade[0].get_x() + shade[0].get_width() == ax.get_xlim()[1]


def test_ratios_outside_the_panel_are_marked():
    edges = np.linspace(0, 1, 101)
    flat = np.full(100, 0.01)
    reference, sample = flat.copy(), flat.copy()
    sample[10], sample[20], reference[30] = 0.05, 0.001, 0.0
    figure = plots.observable_figure(edges, PT, histogram(*reference), [("flow", histogram(*sample))])
    lower = figure.axes[1]
    low, high = lower.get_ylim()
    assert low >= 0.4
    assert high <= 1.6
    up, down = ([line for line in lower.lines if line.get_marker() == marker] for marker in "^v")
    np.testing.assert_allclose(up[0].get_xdata(), [0.105, 0.305])
    np.testing.assert_allclose(down[0].get_xdata(), [0.205])


def test_the_ratio_panel_shows_what_most_events_do():
    """A tail that holds 1 % of the events and is wrong by far does not flatten the bulk; its ratios become arrows."""
    edges = np.linspace(0, 1, 21)
    reference = np.append(np.full(10, 0.099), np.full(10, 0.001))
    ratio = np.append(1 + 0.02 * (-1.0) ** np.arange(10), np.tile([3.0, 0.1], 5))
    figure = plots.observable_figure(
        edges, PT, histogram(*reference, events=10**6), [("flow", histogram(*(reference * ratio), events=10**6))]
    )
    lower = figure.axes[1]
    np.testing.assert_allclose(lower.get_ylim(), (0.947, 1.053))
    arrows = {line.get_marker(): len(line.get_xdata()) for line in lower.lines if line.get_marker() in tuple("^v")}
    assert arrows == {"^": 5, "v": 5}


@pytest.mark.parametrize(("ratio", "half"), [(1.0, 0.05), (1.08, 0.1), (0.6, 0.5), (0.2, 1.0), (7.0, 1.0)])
def test_the_ratio_panel_is_5_to_100_per_cent_wide(ratio, half):
    flat = np.full(4, 0.25)
    figure = plots.observable_figure(
        EDGES, PT, histogram(*flat, events=10**6), [("flow", histogram(*(flat * ratio), events=10**6))]
    )
    np.testing.assert_allclose(figure.axes[1].get_ylim(), (1 - 1.06 * half, 1 + 1.06 * half))


def test_a_sample_that_lacks_the_observable_leaves_the_others_their_colours():
    everybody = plots.observable_figure(EDGES, PT, REFERENCE, [(name, SAMPLE) for name in "abc"])
    samples = [("a", None), ("b", SAMPLE), ("c", SAMPLE)]
    figure = plots.observable_figure(EDGES, PT, REFERENCE, samples)
    assert legend(figure) == ["reference", "b", "c"]

    def ink(ax):
        return [(patch.get_edgecolor(), str(patch.get_linestyle())) for patch in steps(ax)]

    for panel in (0, 1):
        assert ink(figure.axes[panel])[-2:] == ink(everybody.axes[panel])[-2:]
    assert len(steps(figure.axes[1])) == 2
    nobody = plots.observable_figure(EDGES, PT, REFERENCE, [("a", None)])
    assert legend(nobody) == ["reference"]
    assert clipped(nobody) == []


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (r"p_T(\mu^-)", r"p_T(\mu^-)"),
        (r"\Delta R(\mu^-, \mu^+)", r"\Delta R(\mu^-, \mu^+)"),
        (r"\phi(p_T^\mathrm{miss})", r"\phi(p_T^\mathrm{miss})"),
        (r"K^\pm", r"K^\pm"),
        ("p_T / m", "(p_T / m)"),
        (r"\sum p_T\ (\mathrm{charged})", r"(\Sigma\,p_T\ (\mathrm{charged}))"),
        (r"\sum_{i+j} E_i", r"(\Sigma_{i+j} E_i)"),
    ],
)
def test_what_an_operator_is_part_of_stands_in_brackets_behind_d(label, expected):
    assert differential(mathtext(f"${label}$")[1:-1]) == r"\mathrm{d}" + expected
    figure = plots.observable_figure(EDGES, Observable("x", f"${label}$", "GeV"), REFERENCE, [])
    assert figure.axes[0].get_ylabel() == rf"$1/\sigma\ \mathrm{{d}}\sigma/\mathrm{{d}}{expected}$ [1/GeV]"
    assert clipped(figure) == []


def test_an_angle_is_numbered_in_pi():
    edges = np.linspace(-math.pi, math.pi, 9)
    phi = Observable("phi(mu-)", r"$\phi(\mu^-)$", "rad", periodic=True)
    figure = plots.observable_figure(edges, phi, histogram(*[0.125] * 8), [])
    assert labels(figure.axes[1]) == ["−π", "−π/2", "0", "π/2", "π"]
    assert clipped(figure) == []


def test_whole_numbers_show_shares():
    jets = Observable("n(jet)", r"$n_\mathrm{jet}$", kind=Kind.INTEGER)
    counts = histogram(0.5, 0.3, 0.1, overflow=0.1)
    upper, lower = plots.observable_figure(np.arange(4) - 0.5, jets, counts, [], events="showers").axes
    assert upper.get_ylabel() == "share of showers"
    np.testing.assert_allclose(steps(upper)[0].get_data().values[:3], [0.5, 0.3, 0.1])
    assert labels(lower) == ["0", "1", "2", ">2"]


def test_categories_are_named_and_the_rarest_put_together():
    names = tuple(f"u u~ > mu+ mu- g g process $ {i}" for i in range(60))
    values = np.geomspace(1, 1e-3, 60)
    reaction = Observable("reaction", "reaction", kind=Kind.CATEGORY, categories=names)
    counts = histogram(*(values / values.sum()))
    figure = plots.observable_figure(np.arange(61) - 0.5, reaction, counts, [("flow", counts)])
    upper, lower = figure.axes
    assert len(labels(lower)) == MOST_CATEGORIES
    assert labels(lower)[0] == shorten(names[0], 18)
    assert labels(lower)[-1] == f"{61 - MOST_CATEGORIES} others"
    assert steps(upper)[0].get_data().values.sum() == pytest.approx(1)
    assert steps(upper)[0].get_data().values[-1] == pytest.approx(counts.values[MOST_CATEGORIES - 1 :].sum())
    assert clipped(figure) == []


@pytest.mark.parametrize(
    ("reference", "sample"),
    [
        (REFERENCE, histogram(0, 0, 0, 0)),
        (histogram(0, 0, 0, 0), SAMPLE),
        (histogram(0, 0, 0, 0), histogram(0, 0, 0, 0)),
        (None, SAMPLE),
        (histogram(0, 1, 0, 0, events=1), histogram(0, 0, 1, 0, events=1)),
        (histogram(-0.4, -0.3, -0.2, -0.1), SAMPLE),
        (histogram(0, 0, 0, 0, overflow=1), histogram(0, 0, 0, 0, underflow=1)),
        (histogram(1e-300, 0, 0, 1), histogram(1e-300, 0, 0, 1)),
    ],
    ids=["empty sample", "empty reference", "both empty", "no reference", "one event", "negative", "flows", "tiny"],
)
@pytest.mark.parametrize("log_x", [False, True])
def test_odd_contents_are_drawn(reference, sample, log_x):
    figure = plots.observable_figure(EDGES, PT, reference, [("flow", sample)], log_x=log_x)
    assert clipped(figure) == []
    svg = plots.to_svg(figure)
    assert "nan" not in svg.lower()
    assert "inf" not in svg.lower()
    ElementTree.fromstring(svg)
    if not sample.values.any() and not sample.underflow[0]:
        assert "flow (empty)" in legend(figure)


def test_a_label_with_a_typing_error_is_written_as_it_is():
    assert mathtext(r"$\frac{1$") == r"\$\frac{1\$"
    assert mathtext("$p_T$") == "$p_T$"
    plots.to_svg(plots.observable_figure(EDGES, Observable("x", r"$\nonsense{$"), REFERENCE, []))


def test_svg_is_reproducible_small_and_can_stand_beside_others():
    edges = np.linspace(0, 100, 51)
    values = np.exp(-edges[1:] / 20)
    one, other = histogram(*(values / values.sum())), histogram(*(values[::-1] / values.sum()))
    first, again = (plots.to_svg(plots.observable_figure(edges, PT, one, [("flow", other)])) for _ in range(2))
    assert first == again
    assert plots.to_svg(plots.observable_figure(edges, PT, one, [("flow", other)])) == first
    assert len(first) < 45_000
    root = ElementTree.fromstring(first)
    assert root.attrib["viewBox"] == "0 0 374.4 331.2"
    assert not root.findall(".//{http://www.w3.org/2000/svg}text")
    second = plots.to_svg(plots.observable_figure(edges, PT, other, [("flow", one)]))
    identifiers = [re.findall(r' id="([^"]+)"', svg) for svg in (first, second)]
    assert len(set(identifiers[0])) == len(identifiers[0])
    assert not set(identifiers[0]) & set(identifiers[1])
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', first)) <= set(identifiers[0])
    assert "date" not in first.lower()


def test_markers_keep_their_colour_in_the_svg():
    """Arrows are filled with the colour of their sample, rings with nothing."""
    far = histogram(0.3, 0.2, 0.1, 0.35, overflow=0.05)
    svg = plots.to_svg(plots.observable_figure(EDGES, PT, REFERENCE, [("a", None), ("b", far)]))
    arrow = re.search(r'<path id="([^"]*)" d="[^"]*z" style="([^"]*)"', svg)
    assert f"fill:{COLOURS[1]}" in arrow[2]
    assert f'href="#{arrow[1]}"' in svg
    svg = plots.to_svg(plots.classifier_figure(classifier_test()))
    assert len(re.findall(rf'style="[^"]*fill:{COLOURS[0]}', svg)) >= 1
    assert len(re.findall(rf'style="[^"]*fill:none;[^"]*stroke:{COLOURS[0]}', svg)) >= 1


def test_the_compacted_svg_shows_the_same():
    assert (
        _compact("M 0 1 \nL 2.001 1 \nL 2.001 5.125 \nL 3 6 \nL 4 7 \nz \nM 1 1 \nL 1 2 \n")
        == "M0 1H2V5.12L3 6 4 7zM1 1V2"
    )
    assert _compact("M 1 2 \nQ 3 4 5 6 \nQ 7 8 9 6 \nL -0.001 6 \n") == "M1 2Q3 4 5 6 7 8 9 6H0"


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_files_have_the_same_bytes_each_time(tmp_path, suffix):
    for name in ("first", "again"):
        plots.save(plots.observable_figure(EDGES, PT, REFERENCE, [("flow", SAMPLE)]), tmp_path / (name + suffix))
    first, again = ((tmp_path / (name + suffix)).read_bytes() for name in ("first", "again"))
    assert first == again
    assert first.startswith({".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[suffix])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again" + suffix, "first" + suffix]


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    figure = plots.observable_figure(EDGES, PT, REFERENCE, [])
    with pytest.raises(ValueError, match=r"not as 'plot\.gif'"):
        plots.save(figure, tmp_path / "plot.gif")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(WriteFailure, match=r"plot\.png: writing failed: disk full; nothing was left"):
        plots.save(figure, tmp_path / "plot.png", force=True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_kept_unless_forced(tmp_path):
    figure = plots.observable_figure(EDGES, PT, REFERENCE, [])
    path = tmp_path / "plot.svg"
    path.write_text("precious")
    with pytest.raises(OutputError, match=r"plot\.svg: exists already"):
        plots.save(figure, path)
    assert path.read_text() == "precious"
    plots.save(figure, path, force=True)
    assert path.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("observable", "edges", "axis"),
    [
        (PT, EDGES, "Variable"),
        (Observable("n", "n", kind=Kind.INTEGER), np.arange(5) - 0.5, "Integer"),
        (Observable("c", "c", kind=Kind.CATEGORY, categories=("a", "b", "c", "d")), np.arange(5) - 0.5, "StrCategory"),
    ],
)
def test_to_hist(observable, edges, axis):
    filled = plots.to_hist(edges, observable, SAMPLE)
    assert type(filled.axes[0]).__name__ == axis
    np.testing.assert_allclose(filled.values(), SAMPLE.values)
    np.testing.assert_allclose(filled.variances(), SAMPLE.variances)
    assert filled.sum(flow=True).value == pytest.approx(1)
    assert filled.axes[0].name == observable.name
    if axis == "Variable":
        np.testing.assert_allclose(filled.axes[0].edges, edges)
    else:
        # What one asks it for by number or by name is in the right bin.
        import hist

        assert filled[hist.loc(2 if axis == "Integer" else "c")].value == pytest.approx(0.16)


def classifier_test(**changes):
    rng = np.random.default_rng(5)
    weights = {"reference": np.exp(rng.normal(0.02, 0.2, 5000)), "sample": np.exp(rng.normal(-0.02, 0.2, 4000))}
    weights["reference"][:25] = 1e6
    options = {
        "measures": (
            Measure("AUC, gradient boosting", 0.512, 0.002, 0.5003, 0.0025, 0.001, 50_000),
            Measure("AUC, network", 0.509, 0.003, 0.4995, 0.003, 0.01, 50_000),
        ),
        "seed_values": {"gradient boosting": (0.511, 0.513, 0.512), "network": (0.507, 0.511)},
        "learned_weights": weights,
        "event_weights": {key: np.where(rng.random(len(w)) < 0.2, -1.0, 1.0) for key, w in weights.items()},
        "method": "network",
        "tails": (Tail("low", 0.6, 0.01, "m", 1, 2, 0, 5, 0.8),),
    }
    return ClassifierTest(**(options | changes))


def test_learned_weights_are_weighted_shares_with_those_outside():
    test = classifier_test()
    figure = plots.learned_weight_figure(test, name="flow")
    (ax,) = figure.axes
    assert ax.get_xscale() == "log"
    assert ax.get_yscale() in {"log", "symlog"}
    for outline, key in zip(steps(ax), ("reference", "sample"), strict=True):
        assert np.nansum(outline.get_data().values) == pytest.approx(1)
        low, high = outline.get_data().edges[[0, -1]]
        assert low < 1 < high
        outside = test.learned_weights[key] > 1000
        share = test.event_weights[key][outside].sum() / test.event_weights[key].sum()
        assert outline.get_data().values[-1] == pytest.approx(share)
    assert any(line.get_xdata()[0] == 1 for line in ax.lines)
    assert any(line.get_xdata()[0] == 0.6 for line in ax.lines)
    assert "outside" in legend(figure)[0]
    assert clipped(figure) == []


def test_the_classifiers_figures_have_the_colour_of_their_sample():
    test = classifier_test()
    weights = plots.learned_weight_figure(test, index=3)
    assert to_rgb(steps(weights.axes[0])[1].get_edgecolor()) == to_rgb(COLOURS[3])
    trainings = [line for line in plots.classifier_figure(test, 3).axes[0].lines if line.get_fillstyle() == "none"]
    assert {to_rgb(line.get_color()) for line in trainings} == {to_rgb(COLOURS[3])}


def test_learned_weights_without_events_or_at_their_bounds():
    for weights in (np.array([]), np.array([1.0]), np.array([0.0, np.inf, np.nan, 1.0])):
        test = classifier_test(
            learned_weights={"reference": weights, "sample": weights},
            event_weights={"reference": np.ones(len(weights)), "sample": -np.ones(len(weights))},
        )
        ElementTree.fromstring(plots.to_svg(plots.learned_weight_figure(test)))


def test_every_training_stands_beside_its_floor():
    figure = plots.classifier_figure(classifier_test())
    (ax,) = figure.axes
    assert labels(ax, "y") == ["gradient\nboosting", "network"]
    seeds = [list(line.get_xdata()) for line in ax.lines if line.get_fillstyle() == "none"]
    assert seeds == [[0.511, 0.513, 0.512], [0.507, 0.511]]
    floors = [(patch.get_x(), patch.get_width()) for patch in ax.patches]
    np.testing.assert_allclose(floors, [(0.4978, 0.005), (0.4965, 0.006)])
    low, high = ax.get_xlim()
    assert low < 0.4965
    assert high > 0.514
    assert clipped(figure) == []
    nan = Measure("AUC, network", 0.5, math.nan, math.nan, math.nan, math.nan, 10)
    for changes in ({"measures": (), "seed_values": {}}, {"measures": (nan,), "seed_values": {}}):
        plots.to_svg(plots.classifier_figure(classifier_test(**changes)))


def made(kind, **known):
    """A record of which a figure needs only some fields."""
    return kind(**(dict.fromkeys(f.name for f in fields(kind) if f.default is f.default_factory is MISSING) | known))


def comparison(p_values, differs=0):
    tests = [ShapeTest(1.0, 10, p, p, p, None) for p in p_values]
    observables = tuple(
        made(
            ObservableResult, observable=Observable(f"pT(muon number {i})", "x"), edges=EDGES, log=False, test=test,
            floor=test, adjusted_p_value=1.0, verdict=Verdict.DIFFERS if i < differs else Verdict.AGREES,
        )
        for i, test in enumerate(tests)
    )  # fmt: skip
    return made(Comparison, sample=made(SampleRecord, name="flow"), observables=observables, agrees=True)


def test_the_summary_names_the_smallest_p_values_first():
    p_values = [1e-30, 1e-5, *np.linspace(0.01, 0.99, 68)]
    figure = plots.summary_figure(comparison(p_values, differs=2), significance=0.01)
    (ax,) = figure.axes
    assert labels(ax, "y")[:2] == ["pT(muon number 0)", "pT(muon number 1)"]
    assert legend(figure)[:2] == ["agrees (68)", "differs (2)"]
    assert ax.get_xlabel() == "p-value (the smallest 18 of 70)"
    # Below the end of the axis: an arrow.
    assert any(line.get_marker() == ">" and len(line.get_xdata()) == 1 for line in ax.lines)
    # The smallest of 70 uniform numbers is below 1 - 0.975^(1/70) with a probability of 2.5 %.
    assert ax.patches[0].get_x() == pytest.approx(1 - 0.975 ** (1 / 70))
    assert clipped(figure) == []


@pytest.mark.parametrize("p_values", [[], [0.3], [0.0, 1.0], [math.nan]])
def test_a_summary_of_hardly_anything(p_values):
    ElementTree.fromstring(plots.to_svg(plots.summary_figure(comparison(p_values), significance=0.01)))


def test_numbers_are_written_as_physicists_write_them():
    assert [number(x) for x in (0, -2, 0.05, 1e6, 2.5e-7, -1e-5)] == ["0", "−2", "0.05", "10⁶", "2.5×10⁻⁷", "−10⁻⁵"]
    assert [power_of_ten(x) for x in (0, 1, 10, 0.01, -1e-3, 300)] == ["0", "1", "10", "10⁻²", "−10⁻³", "300"]
    assert shorten("a sample of events", 9) == "a sa…ents"


def test_drawing_twice_gives_the_same():
    def drawn():
        return plots.to_svg(plots.observable_figure(EDGES, PT, REFERENCE, [("flow", SAMPLE)]))

    assert drawn() == drawn()


def test_a_users_own_figures_and_settings_are_left_alone():
    code = """
import sys, warnings
warnings.simplefilter("error")
import mlgen.validation.plots as plots
assert not {"matplotlib", "mplhep", "hist", "scipy"} & set(sys.modules), "importing must stay fast"
import matplotlib as mpl
mpl.rcParams["font.size"] = 31
before = dict(mpl.rcParams)
import numpy as np
from mlgen.validation.observable import Observable
from mlgen.validation.record import Histogram
h = Histogram(np.array([0.5, 0.5]), np.array([0.01, 0.01]))
svg = plots.to_svg(plots.observable_figure(np.arange(3.0), Observable("x", "x"), h, [("a", h)]))
assert dict(mpl.rcParams) == before
import matplotlib.pyplot as plt
assert plt.get_fignums() == []
import zlib
print(zlib.crc32(svg.encode()))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
