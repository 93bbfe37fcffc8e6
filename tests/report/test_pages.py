import dataclasses
import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mlgen.chain.report import RunResult, StageResult
from mlgen.model_record import ModelRecord, TrainedOn
from mlgen.report import Figure, FigureGrid, Page, Section, Status, render
from mlgen.report.curves import curve_figures, curves_figure, logarithmic
from mlgen.report.run import run_page
from mlgen.report.training import training_page
from mlgen.stages import TrainingReport

HASH = "28fb1fa60d59b173948c91856a369ad39421856c9604ca72b91414af724386e6"


@pytest.fixture
def record() -> ModelRecord:
    return ModelRecord(
        plugin="cfm",
        stage="generator",
        distribution="mlgen-hep",
        version="0.1.0",
        contract_version=1,
        settings={"steps": 6000, "learning_rate": 0.002, "layers": [64, 64]},
        trained_on=TrainedOn("zjet.lhe.gz", HASH, 10_000),
        seed=1234567,
        report=TrainingReport(
            {"parameters": 115_912, "validation_loss": 1.208, "best": math.nan, "network": "MLP"},
            {"loss.0": [1.5, 1.4, 1.3], "validation_loss.0": [1.6, 1.4], "learning_rate": [1e-3, 1e-6], "nothing": []},
            ("the 45 named weights are not learned",),
        ),
        weights_sha256=HASH[::-1],
        mlgen_version="0.1.0",
    )


def shown(page: Page) -> str:
    """The page's text, without tags and images."""
    body = render(page).partition("<main")[2].partition("<footer")[0]
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def figures(page: Page) -> list[Figure]:
    return [f for s in page.sections for item in s.items if isinstance(item, FigureGrid) for f in item.figures]


# Training


def test_training_page(record):
    page = training_page(record, model="models/zjet", sha256=HASH, exactness="approximate")
    text = shown(page)
    assert page.verdict.status.status is Status.ATTENTION
    for part in ("Training of cfm", "10,000", "115,912", "1.208", "1 remark", "the 45 named weights", "models/zjet"):
        assert part in text
    assert "compare it with" in text
    assert "Nothing was recorded of: nothing." in text
    # A seed is no quantity.
    assert "1234567" in text
    assert "1,234,567" not in text
    assert "[64, 64]" in text
    assert [figure.title for figure in figures(page)] == ["Loss 0", "Learning rate"]


def test_training_page_without_anything(record):
    page = training_page(replace(record, report=TrainingReport(), settings={}), model="m", sha256="", trained=False)
    text = shown(page)
    assert "The training gave no curves." in text
    assert "Was there already" in text
    assert page.verdict.status.status is Status.INFO


def test_training_page_takes_further_figures(record):
    further = Figure(curves_figure({"a": [1.0, 2.0]}), "pT(jet 1)", "Histogram")
    page = training_page(record, model="m", sha256=HASH, exactness="exact", figures=[further])
    assert figures(page)[-1] is further
    assert "right whatever was learned" in shown(page)


# Curves


def test_a_curve_stands_beside_its_validation():
    loss, other = curve_figures({"loss": [3.0, 2.0, 2.5], "validation_loss": [3.5, 2.5], "time": [1.0]})
    assert (loss.title, other.title) == ("Loss", "Time")
    assert loss.caption == "Loss from 3 to 2.5, at best 2; validation loss from 3.5 to 2.5, at best 2.5."


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, 1.5], False), ([1.0, 1e3], True), ([-1.0, 1e3], False), ([0.0, 1e3], False), ([math.nan, 1.0, 1e3], True)],
)
def test_logarithmic_axis_where_the_values_ask_for_one(values, expected):
    assert logarithmic({"loss": values}) is expected


@pytest.mark.parametrize("values", [[math.nan] * 3, [math.inf, 1.0, -math.inf], [1.0], [5.0] * 3, [1e300, 1e-300]])
def test_strange_curves_are_drawn(values):
    (figure,) = curve_figures({"$x_{<b>&": values})
    assert ElementTree.fromstring(figure.image).tag.endswith("svg")
    missing = sum(not (math.isfinite(value) and 1e-100 < abs(value) < 1e100) for value in values)
    assert ("not finite" in figure.caption) == bool(missing)
    render(Page("t", sections=(Section("s", (figure,)),)))


def test_the_same_curves_give_the_same_file():
    curves = {"loss": [3.0, 2.0], "validation_loss": [3.0, 2.5]}
    assert curves_figure(curves) == curves_figure(curves)


def test_a_long_training_makes_no_large_file():
    import numpy as np

    curve = np.random.default_rng(1).normal(size=100_000) + 10
    assert len(curves_figure({"loss": curve.tolist()})) < 1_000_000


# Run


@dataclass
class Run:
    """The least that a run says of itself."""

    events: int = 0
    cross_section: float = math.nan
    cross_section_error: float = math.nan
    exactness: str = "exact"
    outputs: tuple[Path, ...] = ()
    stages: tuple[StageResult, ...] = ()
    skipped: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@pytest.fixture
def result() -> RunResult:
    generator = StageResult(
        stage="generator",
        plugin="cfm",
        version="0.1.0",
        distribution="mlgen-hep",
        exactness="approximate",
        settings={"steps": 6000},
        trained=True,
        model="models/zjet",
        model_sha256=HASH,
        figures={"validation_loss": 1.2},
    )
    unweighting = StageResult(
        stage="unweighting",
        plugin="hit-or-miss",
        version="0.1.0",
        distribution="mlgen-hep",
        exactness="exact",
        settings={},
        figures={"candidates": 40_000, "accepted": 20_000, "efficiency": 0.5, "effective_sample_size": 19_876.5},
        remarks=("12 events are overweight",),
    )
    return RunResult(
        events=20_000,
        cross_section=1834.2,
        cross_section_error=41.0,
        exactness="approximate",
        outputs=(Path("new.lhe.gz"), Path("new.root")),
        stages=(generator, unweighting),
        skipped=3,
        seconds={"training": 90.0, "generation": 30.0},
        remarks=("3 events of the input were skipped",),
    )


def test_run_page(result):
    provenance = {
        "program": "mlgen",
        "version": "0.1.0",
        "seed": 7,
        "inputs": ["zjet.lhe.gz"],
        "card": "[run]\nseed = 7",
    }
    page = run_page(result, provenance)
    text = shown(page)
    assert page.title == "new.lhe.gz, new.root"
    assert page.subtitle == "generator by cfm, unweighting by hit-or-miss; from zjet.lhe.gz"
    assert page.verdict.status.status is Status.ATTENTION
    for part in (
        "1,834 ± 41 pb",
        "what cfm learned",
        "19,876",
        "share of the candidates that was kept",
        HASH,
        "2 min 0 s",
    ):
        assert part in text
    for part in ("12 events are overweight", "3 events of the input were skipped", "[run] seed = 7", "75%"):
        assert part in text
    assert [section.title for section in page.sections] == [
        "Outcome",
        "Generator: cfm",
        "Unweighting: hit-or-miss",
        "Time",
        "Provenance",
    ]


def test_run_page_of_an_exact_run_that_says_little():
    page = run_page(Run(), {})
    text = shown(page)
    assert page.verdict.status.status is Status.AGREES
    assert "unknown" in text
    assert page.title == "Run of mlgen"
    assert page.subtitle == "no stage replaced"


def test_run_page_takes_figures_and_a_title(result):
    figure = Figure(curves_figure({"a": [1.0, 2.0]}), "weights", "Histogram of the weights")
    page = run_page(result, {}, title="a run", figures=[figure])
    assert figures(page) == [figure]
    assert page.title == "a run"


def test_figures_of_an_unweighting_are_all_explained():
    from mlgen.chain.unweighting_figures import unweighting_figures
    from mlgen.chain.unweighting_gain import UnweightingCosts
    from mlgen.report.run import _MEANINGS
    from mlgen.stages import UnweightingReport

    names = [entry.name for entry in dataclasses.fields(UnweightingReport)]
    report = UnweightingReport(**dict.fromkeys(names, 0.25) | {"remarks": ()})
    figures = unweighting_figures(report) | UnweightingCosts(2, 1, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0).figures()
    assert {name for name in figures if not name.startswith("gain_at_cost_ratio_")} == set(_MEANINGS)


def test_settings_are_not_rounded(record):
    settings = {"learning_rate": 0.00123456789, "steps": 100_000, "layers": [64, 64], "name": "a_b"}
    text = shown(training_page(replace(record, settings=settings), model="m", sha256=HASH))
    for name, value in settings.items():
        assert f"{name} {value}" in text
