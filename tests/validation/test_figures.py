"""All figures of a validation, and the files that they go into."""

import xml.etree.ElementTree as ElementTree
from dataclasses import MISSING, fields, replace

import numpy as np
import pytest

from mlgen.errors import OutputError, WriteFailure
from mlgen.validation import figures as module
from mlgen.validation.figures import figures_of
from mlgen.validation.observable import Observable
from mlgen.validation.record import (
    ClassifierTest,
    Comparison,
    Histogram,
    Measure,
    ObservableResult,
    SampleRecord,
    ShapeTest,
    ValidationResult,
    Verdict,
)

EDGES = np.array([0.0, 1.0, 2.0])
HALF = Histogram(np.array([0.5, 0.5]), np.array([1e-4, 1e-4]))
TEST = ShapeTest(1.0, 2, 0.5, 0.5, 0.5, None)
NAMES = ("pT(mu-)", "pT(mu+)", "pT mu-")
FILES = ["p-values_flow.svg", "pT_mu+.svg", "pT_mu-.svg", "pT_mu-_2.svg"]


def made(kind, **known):
    """A record of which the figures need only some fields."""
    return kind(**(dict.fromkeys(f.name for f in fields(kind) if f.default is f.default_factory is MISSING) | known))


@pytest.fixture
def result():
    observables = tuple(
        made(
            ObservableResult, observable=Observable(name, "x"), edges=EDGES, log=False, reference=HALF, sample=HALF,
            test=TEST, floor=TEST, adjusted_p_value=1.0, verdict=Verdict.AGREES,
        )
        for name in NAMES
    )  # fmt: skip
    comparison = made(Comparison, sample=made(SampleRecord, name="flow"), observables=observables, agrees=True)
    truth = made(SampleRecord, name="truth")
    return ValidationResult(truth, (comparison,), 1, "0.1.0", {"significance": 0.01})


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_all_figures_and_their_files(result, tmp_path):
    seen = []
    drawn = figures_of(result, tmp_path, ["svg"], seen.append)
    assert tuple(drawn.observables) == NAMES
    assert list(drawn.summary) == ["flow"]
    for text in (*drawn.observables.values(), *drawn.summary.values()):
        ElementTree.fromstring(text)
    assert names(tmp_path) == FILES
    assert [(progress.done, progress.total) for progress in seen] == [(k, 4) for k in range(1, 5)]
    assert figures_of(result) == drawn


def test_files_that_are_there_are_replaced_only_when_asked(result, tmp_path, monkeypatch):
    old = tmp_path / FILES[2]
    old.write_text("precious")

    def draw(*_, **__):
        raise AssertionError("nothing is drawn before all files were looked at")

    with monkeypatch.context() as patched:
        patched.setattr(module, "observable_figure", draw)
        with pytest.raises(OutputError, match=r"pT_mu-\.svg: exists already"):
            figures_of(result, tmp_path, ["svg"])
    assert names(tmp_path) == [FILES[2]]
    assert old.read_text() == "precious"
    # Of another format, there is none.
    figures_of(result, tmp_path, ["png"])
    figures_of(result, tmp_path, ["svg"], force=True)
    assert old.read_text().startswith("<?xml")
    assert len(names(tmp_path)) == 8


def test_what_cannot_be_written_is_named_with_its_reason(result, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WriteFailure, match=r"pT_mu-\.svg: writing failed: No space left on device"):
        figures_of(result, tmp_path, ["svg"])
    assert names(tmp_path) == []
    with pytest.raises(OutputError, match="there is no directory"):
        figures_of(result, tmp_path / "none", ["svg"])


def test_low_level_classifiers_alone_have_no_learned_weights(result):
    """Of few showers there are classifiers of the voxels, but none of the observables, whose weights are learned."""
    measure = Measure("AUC, low-level voxels", 0.6, 0.05, np.nan, np.nan, 0.02, 250, "")
    test = ClassifierTest((measure,), {"low-level voxels": (0.6,)}, {}, {}, "")
    (comparison,) = result.comparisons
    drawn = figures_of(replace(result, comparisons=(replace(comparison, classifier=test),)))
    assert list(drawn.classifier) == ["flow"]
    assert not drawn.learned_weights
