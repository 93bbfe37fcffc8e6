"""What a user reads of an unweighting that saved true weights: on the page, in the terminal, and as JSON."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from mlgen.chain.report import RunResult, StageResult
from mlgen.chain.unweighting_gain import UnweightingCosts
from mlgen.cli.run import _figure_rows
from mlgen.cli.terminal import print_json
from mlgen.report import Status, Table, render
from mlgen.report.run import run_page

# 1000 candidates cost 10 us and their surrogate 10 us, 100 true weights 1 ms each, for 50 events. A hit-or-miss keeps
# 1 % of its candidates: (10 us + 1 ms) / 0.01 = 101 ms an event, against (20 ms + 100 ms) / 50 = 2.4 ms.
COSTS = UnweightingCosts(1000, 100, 50.0, 0.01, 1e-5, 1e-5, 0.0, 1e-3, 0.0)


def result_of(costs: UnweightingCosts) -> RunResult:
    amplitude = StageResult("amplitude", "fast", "1", "d", "approximate", {})
    unweighting = StageResult(
        "unweighting",
        "two",
        "1",
        "d",
        "exact",
        {},
        figures={"candidates": 1000, "negative_weight_cost": 1.2346, "true_evaluations": 100, **costs.figures()},
    )
    return RunResult(50, 1.0, 0.1, "exact", (Path("x.lhe"),), (amplitude, unweighting), 0, {"sampling": 1.0})


@pytest.fixture
def result() -> RunResult:
    return result_of(COSTS)


@pytest.fixture
def never() -> RunResult:
    """Twice as many true weights as a hit-or-miss would take."""
    return result_of(replace(COSTS, evaluations=10_000))


def tables(page) -> dict[str, Table]:
    return {item.caption: item for s in page.sections for item in s.items if isinstance(item, Table)}


def figure_table(page) -> dict[str, tuple]:
    return {row[0]: row[1:] for row in tables(page)["Figures"].rows}


def test_gain_on_the_page(result):
    page = run_page(result, {})
    (card,) = (card for card in page.summary if card.name == "gain over hit-or-miss")
    assert card.value.value == pytest.approx(101 / 2.4)
    assert card.value.text == "× 42.1"
    gains = tables(page)["Gain for other costs of the true weight"]
    # A true weight that costs as much as a candidate, 20 us: (10 + 20) us / 0.01 against 22 ms / 50.
    assert [row[0].value for row in gains.rows] == [1, 10, 100, 1000]
    assert gains.rows[0][1].value == pytest.approx(3e-3 / (22e-3 / 50))
    figures = figure_table(page)
    assert not any("cost ratio" in name for name in figures)
    assert all(meaning for _, meaning in figures.values())
    assert figures["true weight"][0].text == "1,000 µs"
    assert "1/(1−2f)²" in figures["negative weight cost"][1]
    assert "hit-or-miss" in figures["gain over hit or miss"][1]
    # Without the true weights, 0.4 ms an event against 1 ms; and 2 of these for an event against 100: it always pays.
    assert figures["pays from true weight"][0].text == "0 µs"
    render(page)


def test_what_never_pays(never):
    page = run_page(never, {})
    assert figure_table(page)["pays from true weight"][0].text == "never"
    html = render(page)
    assert ">never<" in html
    assert ">inf" not in html


def test_no_gain_no_table():
    plain = StageResult("unweighting", "hit-or-miss", "1", "d", "exact", {}, figures={"candidates": 3})
    page = run_page(replace(result_of(COSTS), stages=(plain,)), {})
    assert "Gain for other costs of the true weight" not in tables(page)
    assert "gain over hit-or-miss" not in [card.name for card in page.summary]


def test_a_surrogate_that_is_corrected_is_no_reason_to_doubt(result):
    page = run_page(result, {})
    assert page.verdict.status.status is Status.AGREES
    assert page.verdict.sentence.endswith("The unweighting corrects what fast learned.")
    statuses = {section.title: section.status for section in page.sections}
    assert (statuses["Amplitude: fast"].status, statuses["Amplitude: fast"].text) == (
        Status.INFO,
        "approximate, corrected",
    )
    page = run_page(replace(result, exactness="approximate"), {})
    assert page.verdict.status.status is Status.ATTENTION
    assert next(s.status for s in page.sections if s.title == "Amplitude: fast").status is Status.ATTENTION


def test_gain_in_the_terminal(result, never):
    rows = dict(_figure_rows(result.stages[-1].figures))
    # With true weights of 20 us, 200 us, 2 ms and 20 ms: 3, 21, 201 and 2001 ms against 0.44, 0.8, 4.4 and 40.4 ms.
    assert rows["  gain at other cost ratios"] == "1: 6.82, 10: 26.2, 100: 45.7, 1000: 49.5"
    assert rows["  pays from"] == "0 us a true weight"
    assert not any("cost ratio 1" in name or "pays from true" in name for name in rows)
    assert list(rows).index("  gain over hit or miss") + 1 == list(rows).index("  gain at other cost ratios")
    assert dict(_figure_rows(never.stages[-1].figures))["  pays from"] == "never"
    assert dict(_figure_rows({"pays_from_true_weight_us": 676.04})) == {"  pays from": "676 us a true weight"}
    assert dict(_figure_rows({"candidates": 3})) == {"  candidates": "3"}


def test_json_of_what_never_pays(never, capsys):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    assert never.stages[-1].figures["pays_from_true_weight_us"] == math.inf
    print_json(never.to_dict())
    content = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert content["stages"][-1]["figures"]["pays_from_true_weight_us"] is None
    assert content["stages"][-1]["figures"]["true_evaluations"] == 100
