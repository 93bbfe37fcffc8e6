import base64
import hashlib
import html.parser
import itertools
import math
import os
import re
import stat
import sys
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from mlgen.errors import OutputError, WriteFailure
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
    Remarks,
    Section,
    Status,
    Table,
    Text,
    Verdict,
    check_report,
    json_details,
    render,
    write_report,
)
from mlgen.report.quantities import number_text, p_value_text, with_error_text

HOSTILE = [
    "<script>alert(1)</script>",
    "\"quoted\" 'twice' & ampersand",
    '" onload="alert(1)" x="',
    "</style></title></pre></script><!--",
    "{{ 7 * 7 }}{% raw %}",
    "m(μ⁻, ν̄) 日本語 🎲 \u202e",
    "x" * 2000,
]
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="72pt" height="36pt"><path d="M0 0"/></svg>'
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    parents: tuple[str, ...]
    text: str = ""


@dataclass
class Document(html.parser.HTMLParser):
    """Elements of an HTML text; closing a tag that is not open is an error."""

    elements: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.open: list[Element] = []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        element = Element(tag, dict(attrs), tuple(parent.tag for parent in self.open))
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element.text += data

    def all(self, *tags):
        return [element for element in self.elements if element.tag in tags]


def parse(text: str) -> Document:
    document = Document()
    document.feed(text)
    document.close()
    assert not document.open, f"never closed: {document.open}"
    return document


def page_of(*items, **others) -> Page:
    return Page("title", sections=(Section("section", items, **others),))


@pytest.fixture(scope="module")
def demo(demo_page):
    return render(demo_page)


# A page that anybody can read


def test_ids_are_unique_and_references_lead_somewhere(demo):
    document = parse(demo)
    ids = [element.attributes["id"] for element in document.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", identifier) for identifier in ids)
    for element in document.elements:
        for name in ("aria-labelledby", "aria-describedby", "for"):
            if name in element.attributes:
                assert element.attributes[name] in ids
        if element.tag == "a" and (element.attributes.get("href") or "").startswith("#"):
            assert element.attributes["href"][1:] in ids


def test_every_image_has_a_text_and_a_size(demo):
    images = parse(demo).all("img")
    assert len(images) == 20
    for image in images:
        assert image.attributes["alt"]
        assert image.attributes["loading"] == "lazy"
        assert int(image.attributes["width"]) > 100
        assert int(image.attributes["height"]) > 100


def test_headings_are_in_order(demo):
    document = parse(demo)
    levels = [int(e.tag[1]) for e in document.elements if re.fullmatch("h[1-6]", e.tag) and "dialog" not in e.parents]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_landmarks_language_and_labels(demo):
    document = parse(demo)
    assert document.all("html")[0].attributes["lang"] == "en"
    assert len(document.all("main")) == len(document.all("nav")) == 1
    assert document.all("a")[0].text == "Skip to the content"
    regions = [e for e in document.elements if e.attributes.get("role") in ("region", "search")]
    labels = [region.attributes["aria-label"] for region in regions]
    assert len(labels) == 5
    assert len(set(labels)) == len(labels)
    for button in document.all("button"):
        assert button.attributes.get("aria-label") or button.text.strip()
    for field_ in document.all("input"):
        assert field_.parents[-1] == "label"


def test_contents_name_every_section_and_its_sections(demo):
    document = parse(demo)
    named = {e.attributes["href"][1:] for e in document.all("a") if "nav" in e.parents} - {"top"}
    assert named == {section.attributes["id"] for section in document.all("section")}


def test_rows_have_heads_and_columns_scopes(demo):
    document = parse(demo)
    assert all(head.attributes["scope"] in ("row", "col") for head in document.all("th"))
    rows = [row for row in document.all("tr") if "tbody" in row.parents]
    heads = [head for head in document.all("th") if head.attributes["scope"] == "row"]
    assert len(heads) == len(rows) == 23


def test_a_status_is_a_word_too(demo):
    badges = [e for e in parse(demo).all("span") if "badge" in (e.attributes.get("class") or "").split()]
    assert {badge.text for badge in badges} >= {"differs", "agrees", "too few events", "only in one sample"}


def test_what_needs_the_script_is_hidden_without_it(demo):
    document = parse(demo)
    buttons = [button for button in document.all("button") if "dialog" not in button.parents]
    assert buttons
    assert all("hidden" in button.attributes for button in buttons)
    filters = [e for e in document.all("div") if e.attributes.get("role") == "search"]
    assert len(filters) == 2
    assert all("hidden" in bar.attributes for bar in filters)


# Nothing from outside, nothing that runs


def test_nothing_is_fetched(demo):
    document = parse(demo)
    for element in document.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster", "style"):
            value = element.attributes.get(name)
            if value is None:
                continue
            citation = element.tag == "a" and "main" in element.parents and value.startswith("https://")
            assert citation or value.startswith(("#", "data:")), f"<{element.tag} {name}={value[:80]}>"
    assert "@import" not in demo
    assert "url(" not in demo


def test_content_security_policy_allows_only_the_script_of_the_page(demo):
    document = parse(demo)
    (policy,) = [e.attributes["content"] for e in document.all("meta") if "http-equiv" in e.attributes]
    (script,) = document.all("script")
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe-eval" not in policy


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: name[:12])
def test_hostile_names_are_text(name):
    columns = (Column(name, description=name, unit=name), Column("verdict", Kind.STATUS))
    page = Page(
        title=name,
        subtitle=name,
        verdict=Verdict(Badge(Status.INFO, name), name),
        summary=(Card(name, Cell(name, note=name, link=name), name),),
        sections=(
            Section(
                name,
                (
                    Table(name, columns, [(Cell(name, note=name), Badge(Status.DIFFERS, name))], note=name),
                    Figure(SVG, name, name, name, Status.AGREES, keywords=name, anchor=name),
                    KeyValues({name: Code(name)}),
                    Text((name,)),
                    Remarks((name,), name),
                    Details(name, name),
                    Details(name, (Text((name,)), Section(name, (Figure(SVG, name, name),)))),
                    json_details(name, {name: [name]}),
                ),
                filterable=True,
            ),
        ),
    )
    document = parse(render(page))
    assert len(document.all("script")) == 1
    assert len(document.all("style")) == 1
    assert document.all("h1")[0].text == name
    assert document.all("pre")[0].text == name
    assert document.all("img")[0].attributes["alt"] == name
    assert not [e for e in document.elements if any(attribute.startswith("on") for attribute in e.attributes)]
    ids = [element.attributes["id"] for element in document.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    assert max(map(len, ids)) < 80


def test_an_image_cannot_leave_its_attribute():
    hostile = SVG.replace("<path", "<script>alert(1)</script>\"'><path")
    document = parse(render(page_of(Figure(hostile, "title", "alt"))))
    assert len(document.all("script")) == 1
    assert re.fullmatch(r"data:image/svg\+xml;base64,[A-Za-z0-9+/=]+", document.all("img")[0].attributes["src"])


@pytest.mark.parametrize("url", ["javascript:alert(1)", "http://arxiv.org", "//arxiv.org", ""])
def test_references_lead_to_safe_addresses(url):
    with pytest.raises(ValueError, match="https"):
        Reference("somebody", url)


# Content


def test_cells_carry_what_they_are_sorted_by():
    columns = [Column("a", Kind.NUMBER)] * 9
    row = (1.5, math.nan, -math.inf, np.int64(7), np.float64(2.5), None, True, Cell(3.0, text="three"), Cell(2.0, 0.1))
    document = parse(render(page_of(Table("t", columns, [row]))))
    cells = [e for e in document.all("th", "td") if "tbody" in e.parents]
    assert [e.attributes["data-value"] for e in cells] == ["1.5", "", "-Infinity", "7", "2.5", "", "1", "3.0", "2.0"]
    assert [e.text for e in cells] == ["1.500", "–none", "−inf", "7", "2.500", "–none", "yes", "three", "2.00 ± 0.10"]


def test_rows_know_their_status():
    columns = (Column("name"), Column("verdict", Kind.STATUS))
    rows = [("a", Status.DIFFERS), ("b", Badge(Status.TOO_FEW)), ("c", Cell(Status.AGREES, text="fine")), ("d", None)]
    document = parse(render(page_of(Table("t", columns, rows))))
    assert [e.attributes.get("data-status") for e in document.all("tr")[1:]] == ["differs", "too_few", "agrees", None]
    assert [e.text for e in document.all("td")] == ["differs", "too few events", "fine", "–none"]


def test_the_first_cell_of_a_row_leads_to_its_figure():
    table = Table("t", (Column("name"),), [(Cell("pT(mu-)", link="figure of pT(mu-)"),)])
    document = parse(render(page_of(table, FigureGrid((Figure(SVG, "pT", "alt", anchor="figure of pT(mu-)"),)))))
    (figure,) = document.all("figure")
    assert f"#{figure.attributes['id']}" in [a.attributes["href"] for a in document.all("a") if "tbody" in a.parents]


def test_a_link_to_nowhere_is_refused():
    with pytest.raises(ValueError, match="no item of the page has the anchor 'nowhere'"):
        render(page_of(KeyValues({"a": Cell("b", link="nowhere")})))


def test_an_anchor_given_twice_is_refused():
    with pytest.raises(ValueError, match="'here' is given twice"):
        render(page_of(Figure(SVG, "a", "a", anchor="here"), Figure(SVG, "b", "b", anchor="here")))


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="row 2 has 1 cells, but there are 2 columns"):
        Table("t", (Column("a"), Column("b")), [(1, 2), (1,)])


def test_equal_names_get_ids_and_labels_of_their_own():
    table = Table("Observables", (Column("a"),), [])
    sections = [Section(name, (table, Figure(SVG, "HT", "alt"))) for name in ("one", "two", "two")]
    document = parse(render(Page("t", sections=sections)))
    labels = [e.attributes["aria-label"] for e in document.elements if e.attributes.get("role") == "region"]
    assert labels == ["Observables", "Observables, two", "Observables, two, 2"]
    assert [e.attributes["id"] for e in document.all("figure")] == ["ht", "ht-2", "ht-3"]


@pytest.mark.parametrize(
    ("image", "size"),
    [
        (SVG, (96, 48)),
        ("<svg viewBox='0 0 300 200'></svg>", (300, 200)),
        ('<svg width="100%" height="100%" viewBox="0 0 30.2 20"></svg>', (30, 20)),
        ('<?xml version="1.0"?>\n<!-- made --><svg\n width="2in" height="1cm"></svg>', (192, 38)),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (640).to_bytes(4, "big") + (480).to_bytes(4, "big"), (640, 480)),
    ],
)
def test_size_of_an_image(image, size):
    (shown,) = parse(render(page_of(Figure(image, "title", "alt")))).all("img")
    assert (int(shown.attributes["width"]), int(shown.attributes["height"])) == size


@pytest.mark.parametrize(
    ("image", "problem"),
    [("<p>no</p>", "no SVG"), ("<svg></svg>", "viewBox"), (b"GIF89a", "no PNG"), (b"\x89PNG\r\n\x1a\n", "no PNG")],
)
def test_what_is_no_image_is_refused(image, problem):
    with pytest.raises(ValueError, match=problem):
        render(page_of(Figure(image, "title", "alt")))


def test_an_empty_page_and_empty_items():
    parse(render(Page("nothing")))
    text = render(page_of(Table("t", (Column("a"),), []), FigureGrid(()), KeyValues({}), Remarks(()), Text(())))
    assert "Nothing to show." in text
    assert "Remarks" not in text


def test_the_same_page_gives_the_same_text(demo, demo_page):
    assert render(demo_page) == demo


def test_the_file_is_little_more_than_its_images(demo, demo_page):
    images = sum(len(image.attributes["src"]) for image in parse(demo).all("img"))
    assert len(demo.encode()) - images < 100_000


def test_the_example_of_the_package():
    import doctest

    import mlgen.report
    import mlgen.report.quantities

    for module in (mlgen.report, mlgen.report.quantities):
        result = doctest.testmod(module)
        assert result.attempted > 0
        assert result.failed == 0


# Numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0, "0"),
        (-3, "−3"),
        (9.99996, "10.00"),
        (0.00123412, "0.001234"),
        (1.2345e-5, "1.234 × 10⁻⁵"),
        (123456.7, "123,457"),
        (1.5e20, "1.500 × 10²⁰"),
        (10**400, f"{10**400:,}"),
        (math.inf, "inf"),
    ],
)
def test_number(value, text):
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.0, 0.0123, "0.000 ± 0.012"),
        (12345.6, 789.0, "12,346 ± 789"),
        (1.0, 0.0996, "1.00 ± 0.10"),
        (1.0, 0.0, "1 ± 0"),
        (1.0, math.nan, "1"),
        (math.nan, 1.0, "nan"),
        (1e-6, 1e-3, "0.0000 ± 0.0010"),
        (-2.5e8, 1.0e6, "(−2.500 ± 0.010) × 10⁸"),
    ],
)
def test_number_with_error(value, error, text):
    assert with_error_text(value, error) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.999, "1.00"), (0.05, "0.050"), (0.001, "0.0010"), (0.00099, "9.9 × 10⁻⁴"), (1e-310, "< 10⁻³⁰⁰")],
)
def test_p_value(value, text):
    assert p_value_text(value) == text


# Files


def test_write_report(tmp_path, demo, demo_page):
    path = tmp_path / "report.html"
    mask = os.umask(0o022)
    try:
        write_report(demo_page, path)
    finally:
        os.umask(mask)
    assert path.read_text(encoding="utf-8") == demo
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_an_existing_file_is_kept_unless_forced(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("precious")
    for attempt in (check_report, lambda path: write_report(Page("new"), path)):
        with pytest.raises(OutputError, match="exists already"):
            attempt(path)
    assert path.read_text() == "precious"
    write_report(Page("new"), path, force=True)
    assert "new" in path.read_text()


def test_a_file_that_appears_meanwhile_is_kept(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    # The package's `render` is the function, not the module.
    module = sys.modules[write_report.__module__]
    monkeypatch.setattr(module, "check_report", lambda path, force: path.write_text("precious"))
    with pytest.raises(OutputError, match="exists already"):
        write_report(Page("new"), path)
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "report.html", tmp_path / "link.html"
    link.symlink_to(target)
    write_report(Page("new"), link)
    assert link.is_symlink()
    assert "new" in target.read_text()


@pytest.mark.parametrize(("name", "problem"), [("", "is a directory"), ("missing/report.html", "no directory")])
def test_what_cannot_be_written(tmp_path, name, problem):
    with pytest.raises(OutputError, match=problem):
        write_report(Page("new"), tmp_path / name)


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "report.html"
    with pytest.raises(WriteFailure, match="No space left"):
        write_report(Page("new"), path)
    assert not list(tmp_path.iterdir())


def test_a_page_that_cannot_be_rendered_leaves_nothing(tmp_path):
    page = page_of(Figure("no image", "title", "alt"))
    with pytest.raises(ValueError, match="no SVG"):
        write_report(replace(page, title="other"), tmp_path / "report.html")
    assert not list(tmp_path.iterdir())
