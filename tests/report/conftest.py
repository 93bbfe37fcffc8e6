"""A page as a validation makes it: two samples, some twenty figures, every kind of item; and a browser to open it.

Chromium is the system's (``apt-get install chromium``), or the one that MLGEN_CHROMIUM names.
"""

import functools
import io
import os
import shutil
from contextlib import contextmanager

import numpy as np
import pytest

from mlgen.report import (
    Badge,
    Card,
    Cell,
    Code,
    Column,
    Details,
    Figure,
    FigureGrid,
    KeyValues,
    Kind,
    Page,
    Reference,
    References,
    Remarks,
    Section,
    Status,
    Table,
    Text,
    Verdict,
    json_details,
)

OBSERVABLES = [
    ("pT(mu-)", "GeV", Status.AGREES),
    ("pT(mu+)", "GeV", Status.AGREES),
    ("eta(mu-)", "", Status.AGREES),
    ("eta(mu+)", "", Status.AGREES),
    ("phi(mu-)", "rad", Status.AGREES),
    ("m(mu-, mu+)", "GeV", Status.DIFFERS),
    ("deltaR(mu-, mu+)", "", Status.AGREES),
    ("pT(jet 1)", "GeV", Status.DIFFERS),
    ("eta(jet 1)", "", Status.AGREES),
    ("HT", "GeV", Status.TOO_FEW),
]
SAMPLES = ("surrogate.lhe.gz", "another_sample_with_a_rather_long_name.hepmc3.zst")
HASH = "28fb1fa60d59b173948c91856a369ad39421856c9604ca72b91414af724386e6"


@functools.cache
def drawn(name: str, unit: str, seed: int, suffix: str = "svg") -> bytes:
    """Overlay of two histograms with a ratio panel."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Drawing

    rng = np.random.default_rng(seed)
    edges = np.linspace(0, 100, 41)
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "mlgen"}):
        drawing = Drawing(figsize=(6, 5), layout="constrained")
        upper, lower = drawing.subplots(2, sharex=True, height_ratios=(3, 1))
        reference, _ = np.histogram(rng.gamma(3, 10, 20_000), edges)
        sample, _ = np.histogram(rng.gamma(3, 10.1, 20_000), edges)
        upper.stairs(reference, edges, label="reference", color="#555", fill=True, alpha=0.3)
        upper.stairs(sample, edges, label="surrogate", color="#bd1f01", linewidth=1.5)
        upper.set_yscale("log")
        upper.legend(frameon=False)
        lower.stairs(sample / np.maximum(reference, 1), edges, color="#bd1f01", baseline=None)
        lower.axhline(1, color="#555", linewidth=0.8)
        lower.set_ylim(0.5, 1.5)
        lower.set_xlabel(f"{name} [{unit}]" if unit else name)
        stream = io.BytesIO()
        drawing.savefig(stream, format=suffix, metadata={"Date": None} if suffix == "svg" else None)
    return stream.getvalue()


def _comparison(index: int, sample: str, status: Status) -> Section:
    columns = (
        Column("observable"),
        Column("verdict", Kind.STATUS),
        Column("χ²/ndf", Kind.NUMBER, description="two-sample χ² over its degrees of freedom"),
        Column("p-value", Kind.P_VALUE, description="of the shapes being equal, for this observable alone"),
        Column("adjusted p-value", Kind.P_VALUE, description="after the number of tests (Holm)"),
        Column("Wasserstein distance", Kind.NUMBER),
        Column("its null floor", Kind.NUMBER, description="the same distance for two halves of the reference"),
        Column("where"),
    )
    rng = np.random.default_rng(index)
    rows, figures = [], []
    for number, (name, unit, verdict) in enumerate(OBSERVABLES):
        anchor = f"{name} in {sample}"
        p_value = {Status.AGREES: rng.uniform(), Status.DIFFERS: 10 ** -rng.uniform(5, 12)}.get(verdict, np.nan)
        distance = Cell(rng.gamma(2, 0.1), error=0.01)
        rows.append(
            (
                Cell(name, link=anchor),
                verdict if number != 9 or not index else Badge(Status.INFO, "only in one sample"),
                rng.normal(1, 0.1) if verdict is not Status.TOO_FEW else np.nan,
                p_value,
                np.minimum(1.0, p_value * 10),
                distance,
                rng.gamma(2, 0.1),
                f"from 60 to 75 {unit}, ratio 0.94 ± 0.01" if verdict is Status.DIFFERS else None,
            )
        )
        figures.append(
            Figure(
                drawn(name, unit, number).decode(),
                title=name,
                alt=f"Histogram of {name} in the reference and in {sample}, with their ratio.",
                caption=f"p-value {p_value:.2g}. " + ("Too high from 60 to 75." if verdict is Status.DIFFERS else ""),
                status=verdict,
                anchor=anchor,
            )
        )
    figures[-1] = Figure(
        drawn("HT", "GeV", 9, "png"), "HT", "Histogram of HT, as a picture of points.", anchor=f"HT {index}"
    )
    rows[-1] = ("HT", *rows[-1][1:])
    return Section(
        f"{sample} against zjet.lhe.gz",
        (
            Text((f"2 of {len(OBSERVABLES)} observables differ from the reference.",)),
            Table("Observables", columns, rows, note="p-values below 0.001 after adjustment are called different."),
            Section("Leading objects", (FigureGrid(figures[:5]),)),
            Section("Pairs, jets, event", (FigureGrid(figures[5:]),)),
        ),
        filterable=True,
        status=status,
        anchor=sample,
    )


@pytest.fixture(scope="session")
def demo_page() -> Page:
    measures = Table(
        "Measures of distance",
        (
            Column("measure"),
            Column("value", Kind.NUMBER),
            Column("null floor", Kind.NUMBER),
            Column("p-value", Kind.P_VALUE),
            Column("events", Kind.NUMBER),
        ),
        [
            ("AUC, gradient boosting", Cell(0.5312, error=0.0041), Cell(0.4991, error=0.0043), 1e-12, 50_000),
            ("AUC, network", Cell(0.5288, error=0.0039), Cell(0.5012, error=0.0041), 3e-11, 50_000),
            ("FPD", Cell(3.1e-4, error=2.2e-5), Cell(1.1e-5, error=2.0e-5), np.nan, 50_000),
        ],
    )
    provenance = {"program": "mlgen", "version": "0.1.0", "seed": 1, "sha256": HASH, "stages": [{"stage": "generator"}]}
    return Page(
        title="zjet.lhe.gz and two samples",
        subtitle="mlgen validate zjet.lhe.gz surrogate.lhe.gz another_sample_with_a_rather_long_name.hepmc3.zst",
        verdict=Verdict(
            Status.DIFFERS,
            "surrogate.lhe.gz differs from the reference in 2 of 10 observables, most of all in pT(jet 1).",
        ),
        summary=(
            Card("events", 1_000_000, "reference: 1,000,000"),
            Card("observables that differ", "2 of 10", "at most 1 % by chance"),
            Card("AUC", Cell(0.5312, error=0.0041), "null floor 0.499 ± 0.004"),
            Card("smallest p-value", Cell(3e-9, text="3.0 × 10⁻⁹"), "after 42 tests"),
            Card("cross section", Cell(1834.2, text="1,834 ± 41 pb"), "reference: 1,829 ± 12 pb"),
        ),
        sections=(
            _comparison(0, SAMPLES[0], Status.DIFFERS),
            _comparison(1, SAMPLES[1], Status.AGREES),
            Section(
                "Classifier and distances", (measures, Remarks(("The network saw 50,000 events of each sample.",)))
            ),
            Section(
                "Provenance",
                (
                    KeyValues(
                        {
                            "file": Code("/work/a/path/that/is/rather/long/and/has/no/spaces/at/all/surrogate.lhe.gz"),
                            "SHA-256": Code(HASH),
                            "seed": 1,
                            "cross section of the file": None,
                        }
                    ),
                    Details("Card", "[run]\nseed = 1\n\n[generator]\nplugin = 'cfm'\n" + "# a long line " * 30),
                    json_details("Record in the events", provenance),
                    References(
                        (
                            Reference(
                                "Kansal et al., Phys. Rev. D 107, 076017 (2023), arXiv:2211.10295",
                                "https://arxiv.org/abs/2211.10295",
                            ),
                        )
                    ),
                ),
            ),
        ),
    )


def _chromium() -> str:
    named = os.environ.get("MLGEN_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
    if found is None:
        reason = "no Chromium; 'apt-get install chromium', or name one in MLGEN_CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    executable = _chromium()
    with playwright.sync_playwright() as driver:
        # Chromium's sandbox does not work as root, which is what CI runs as; the page is our own.
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=executable, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, report):
    """Opens the module's `report`; whatever goes wrong on the page fails the test that opened it."""

    @contextmanager
    def open_page(width=1280, scheme="light", **options):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce", **options
        )
        problems = []
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: problems.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: problems.append(f"exception: {error}"))
        page.on("requestfailed", lambda request: problems.append(f"failed: {request.url[:100]}"))
        page.on("request", lambda request: _note(request.url, report, problems))
        page.goto(report.as_uri())
        try:
            yield page
        finally:
            context.close()
        assert not problems

    return open_page


def _note(url, report, problems):
    if not url.startswith("data:") and url.partition("#")[0] != report.as_uri():
        problems.append(f"asked for {url[:100]}")


@pytest.fixture(scope="session")
def violations():
    """Runs axe-core on a page, or on a part of it, and says what it found."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def run(page, within=None) -> str:
        found = axe.run(page, within).response["violations"]
        return "\n".join(f"{rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"])

    return run
