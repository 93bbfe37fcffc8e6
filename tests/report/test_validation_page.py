"""The report of a real validation in a real browser: three files of events, two of them compared with the first."""

import numpy as np
import pytest

from mlgen.formats import create_events
from mlgen.testing.samples import drell_yan_events
from mlgen.validation import ValidationSettings, validate, write_validation

EVENTS = 1000
#: Events with a gluon: none in a sample that so lacks whatever is asked of jets, and more than in the reference.
FRACTIONS = {"truth.lhe": 0.5, "without_any_gluon.lhe": 0.0, "more_gluons.lhe": 0.7}
SETTINGS = ValidationSettings.model_validate(
    {
        "bins": 25,
        "classifier": {"seeds": 1, "events": 400, "methods": ["gradient boosting"]},
        # Of every kind: long and short names, numbers, whole numbers and categories, one that a sample lacks.
        "only": ["pT(mu-)", "phi(mu-)", "m(*)", "delta*(mu-, mu+)", "*(j1)", "sum pT", "reaction", "n(*)"],
    }
)
WIDTHS = (1280, 400)
both = pytest.mark.parametrize("width", WIDTHS)


@pytest.fixture(scope="module")
def result(browser, tmp_path_factory):
    """What a validation finds; made only where there is a browser."""
    folder = tmp_path_factory.mktemp("samples")
    for seed, (name, fraction) in enumerate(FRACTIONS.items()):
        batch, info = drell_yan_events(EVENTS, np.random.default_rng(seed), fraction)
        with create_events(folder / name, info) as output:
            output.write(batch)
    reference, *samples = (folder / name for name in FRACTIONS)
    return validate(reference, samples, SETTINGS)


@pytest.fixture(scope="module")
def report(result, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_validation(result, path)
    return path


def observables(result):
    return [found.observable.name for found in result.comparisons[0].observables]


def test_every_observable_and_every_sample_has_its_figures(opened, result):
    with opened() as page:
        titles = page.locator("figure .title").all_inner_texts()
        wanted = [*observables(result), *["p-values", "Learned weights", "Classifier"] * len(result.comparisons)]
        assert sorted(titles) == sorted(wanted)
        images = page.locator("main img")
        assert images.count() == len(wanted)
        for number in range(len(wanted)):
            images.nth(number).scroll_into_view_if_needed()
            # Fails for a picture that cannot be shown.
            images.nth(number).evaluate("image => image.decode()")


@both
def test_the_page_is_no_wider_than_the_window(opened, width):
    with opened(width) as page:
        page.evaluate("document.querySelectorAll('details').forEach((element) => (element.open = true))")
        assert page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth") <= 0


def test_all_tables_fit_into_a_laptops_window(opened):
    with opened(1280) as page:
        widths = page.locator(".scroll").evaluate_all(
            "all => all.map(scroll => [scroll.getAttribute('aria-label'), scroll.scrollWidth - scroll.clientWidth])"
        )
        assert len(widths) >= 4
        assert [named for named in widths if named[1]] == []


def test_the_table_of_observables_is_sorted_by_keyboard(opened, result):
    with opened() as page:
        first = result.comparisons[0].sample.name
        table = page.get_by_role("region", name=first).locator("table[data-sortable]").last
        head = table.get_by_role("columnheader", name="chi2/ndf")
        head.get_by_role("button").focus()
        for key, direction, sign in (("Enter", "ascending", 1), ("Space", "descending", -1)):
            page.keyboard.press(key)
            assert head.get_attribute("aria-sort") == direction
            column = head.evaluate("head => head.cellIndex") + 1
            cells = table.locator(f"tbody tr > :nth-child({column})")
            shown = [float(v) for v in cells.evaluate_all("cells => cells.map(c => c.dataset.value)") if v]
            chi2 = [o.test.chi2 / o.test.ndf for o in result.comparisons[0].observables if o.test and o.test.ndf]
            assert shown == pytest.approx(sorted(chi2, reverse=sign < 0))


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_axe_finds_nothing(opened, violations, width, scheme):
    with opened(width, scheme) as page:
        page.evaluate("document.querySelectorAll('details').forEach((element) => (element.open = true))")
        assert violations(page) == ""
