"""The page in a real browser: what only shows when it is opened."""

import time

import pytest

from mlgen.report import write_report

WIDTHS = (1280, 400)
SCHEMES = ("light", "dark")
EVERY_IMAGE = "[...document.images].every((image) => image.complete && image.naturalWidth > 0)"
both = pytest.mark.parametrize("width", WIDTHS)


@pytest.fixture(scope="module")
def report(demo_page, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(demo_page, path)
    return path


def names(page, table=0) -> list[str]:
    """First cells of the rows that are seen."""
    return page.locator("table").nth(table).locator("tbody tr:visible th").all_inner_texts()


def until(page, expression):
    """Wait until it is true. Playwright's own way of waiting runs into the page's Content-Security-Policy."""
    end = time.monotonic() + 10
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(20)


@both
def test_every_figure_is_there(opened, width):
    with opened(width) as page:
        images = page.locator("main img")
        assert images.count() == 20
        for number in range(20):
            images.nth(number).scroll_into_view_if_needed()
        until(page, EVERY_IMAGE)


@both
def test_nothing_overflows(opened, width):
    """Neither the page nor anything in it is wider than it should be, but for what scrolls by itself."""
    with opened(width) as page:
        page.evaluate("document.querySelectorAll('details').forEach((element) => (element.open = true))")
        assert page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth") <= 0
        wide = page.evaluate("""() => {
            const scrolls = (element) => element.closest(".scroll, .contents > ol, .unseen, .skip, [hidden]");
            const outside = [];
            for (const element of document.body.querySelectorAll("*")) {
                if (!element.checkVisibility() || (scrolls(element) && !element.matches(".scroll"))) continue;
                const [box, own] = [element.getBoundingClientRect(), getComputedStyle(element)];
                const spills = own.overflowX === "visible" && own.display !== "inline"
                    && element.scrollWidth > element.clientWidth + 1 && !element.matches("svg, svg *");
                if (box.right > innerWidth + 1 || box.left < -1 || spills) outside.push(element.outerHTML);
            }
            return outside;
        }""")
        assert wide == []


def test_a_wide_table_scrolls_by_keyboard(opened):
    with opened(400) as page:
        region = page.get_by_role("region", name="Observables", exact=True)
        region.focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        until(page, "document.querySelector('.scroll').scrollLeft > 0")
        assert page.evaluate("window.scrollX") == 0


@pytest.mark.parametrize("scheme", SCHEMES)
@both
def test_axe_finds_nothing(opened, violations, width, scheme):
    with opened(width, scheme) as page:
        page.evaluate("document.querySelectorAll('details').forEach((element) => (element.open = true))")
        assert violations(page) == ""
        page.locator(".enlarge").first.click()
        assert violations(page, "#viewer") == ""


@both
def test_figures_open_large_by_keyboard(opened, width):
    with opened(width) as page:
        button = page.get_by_role("button", name="Enlarge pT(mu+)").first
        dialog = page.get_by_role("dialog")
        button.focus()
        page.keyboard.press("Enter")
        assert dialog.is_visible()
        assert page.evaluate("document.activeElement.closest('dialog') !== null")
        title, image = dialog.get_by_role("heading"), dialog.get_by_role("img")
        assert title.inner_text() == "pT(mu+)"
        assert image.get_attribute("alt").startswith("Histogram of pT(mu+) in the reference")
        assert image.bounding_box()["width"] > 0.85 * min(width, 1000)

        page.keyboard.press("Escape")
        assert not dialog.is_visible()
        until(page, "document.activeElement.getAttribute('aria-label') === 'Enlarge pT(mu+)'")

        page.keyboard.press("Space")
        page.keyboard.press("ArrowRight")
        assert title.inner_text() == "eta(mu-)"
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        assert title.inner_text() == "pT(mu-)"
        page.keyboard.press("ArrowLeft")
        assert dialog.locator(".count").inner_text() == "20 of 20"
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Escape")
        until(page, "document.activeElement.getAttribute('aria-label') === 'Enlarge pT(mu-)'")


def test_a_figure_can_be_kept(opened):
    with opened() as page:
        page.locator("main img").first.click()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download SVG").click()
        assert download.value.suggested_filename.endswith(".svg")
        assert b"<svg" in download.value.path().read_bytes()
        page.get_by_role("button", name="Close").click()
        assert not page.get_by_role("dialog").is_visible()


def test_tables_are_sorted_by_keyboard(opened):
    with opened() as page:
        table = page.locator("table").first
        before = names(page)
        head = table.get_by_role("columnheader", name="χ²/ndf")
        head.get_by_role("button").focus()
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        upwards = names(page)
        values = table.locator("tbody tr td:nth-child(3)").evaluate_all("cells => cells.map(c => c.dataset.value)")
        numbers = [float(value) for value in values if value]
        assert numbers == sorted(numbers)
        assert upwards != before
        assert upwards[-1] == "HT"

        page.keyboard.press("Space")
        assert head.get_attribute("aria-sort") == "descending"
        assert names(page) == [*reversed(upwards[:-1]), "HT"]

        verdict = table.get_by_role("columnheader", name="verdict")
        verdict.get_by_role("button").click()
        assert head.get_attribute("aria-sort") is None
        # What differs comes first; among equals, the order stays.
        assert names(page)[:3] == [n for n in reversed(upwards[:-1]) if n in ("m(mu-, mu+)", "pT(jet 1)")] + ["HT"]


def test_powers_of_ten_are_sorted_as_numbers(opened):
    with opened() as page:
        head = page.locator("table").first.get_by_role("columnheader", name="p-value", exact=True)
        head.get_by_role("button").click()
        assert set(names(page)[:2]) == {"m(mu-, mu+)", "pT(jet 1)"}
        assert names(page)[-1] == "HT"


def test_filter(opened):
    with opened() as page:
        first = page.locator("[data-filterable]").first
        search = first.get_by_role("searchbox", name="Show only")
        figures = first.locator("figure:visible .title")
        search.fill("PT( mu")
        assert names(page) == ["pT(mu-)", "pT(mu+)"]
        assert figures.all_inner_texts() == ["pT(mu-)", "pT(mu+)"]
        assert first.locator("output").inner_text() == "2 of 10 rows, 2 of 10 figures"
        assert first.get_by_text("No figure fits the filter.").count() == 2
        assert len(names(page, 1)) == 10

        # The large figures go round among those that are seen.
        first.locator(".enlarge:visible").first.click()
        assert page.locator("dialog .count").inner_text() == "1 of 12"
        page.keyboard.press("Escape")
        # While the dialog is open, nothing else takes what is typed.
        until(page, "!document.querySelector('dialog').open")

        search.fill("")
        first.get_by_role("checkbox", name="only what differs").check()
        assert names(page) == ["m(mu-, mu+)", "pT(jet 1)"]
        search.fill("nothing of that name")
        assert names(page) == []
        assert first.get_by_text("No row fits the filter.").is_visible()
        search.fill("")
        first.get_by_role("checkbox", name="only what differs").uncheck()
        assert len(names(page)) == 10
        assert first.locator("output").inner_text() == ""


def test_a_row_leads_to_its_figure(opened):
    with opened() as page:
        page.get_by_role("link", name="m(mu-, mu+)").first.click()
        figure = page.locator("figure:target")
        assert figure.locator(".title").inner_text() == "m(mu-, mu+)"
        assert 0 <= figure.bounding_box()["y"] < 900


@both
def test_the_first_key_leads_past_the_contents(opened, width):
    with opened(width) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.innerText") == "Skip to the content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "content"


@both
def test_contents_stay_in_sight(opened, width):
    with opened(width) as page:
        page.get_by_role("navigation").get_by_role("link", name="Provenance").click()
        until(page, "document.querySelector('.contents [aria-current]')?.textContent === 'Provenance'")
        assert page.get_by_role("navigation").bounding_box()["y"] == pytest.approx(0, abs=1)
        heading = page.get_by_role("heading", name="Provenance").bounding_box()
        bar = page.get_by_role("navigation").bounding_box()
        assert heading["y"] > (bar["height"] if width == 400 else 0)


def test_the_page_can_be_read_without_its_script(opened):
    with opened(java_script_enabled=False) as page:
        assert page.get_by_role("heading", name="zjet.lhe.gz and two samples").is_visible()
        assert page.locator("table").first.is_visible()
        assert page.locator("main img").count() == 20
        assert page.locator("button:visible, input:visible").count() == 0


def test_the_page_prints_with_every_figure(opened):
    with opened() as page:
        page.emulate_media(media="print")
        assert page.locator(".contents:visible, .filter:visible, .enlarge:visible").count() == 0
        assert page.pdf(format="A4").startswith(b"%PDF")
        # Figures that nobody scrolled to are on paper too.
        assert page.evaluate(EVERY_IMAGE)
