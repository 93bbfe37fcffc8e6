"""What is in the pages that were built: anchors, links, and where links lead."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from links import ARXIV

#: Where links may lead outside the pages. There is no network here: that they are well formed is all that is checked.
EXTERNAL = (
    re.compile(rf"https://arxiv\.org/abs/({ARXIV.pattern})"),
    re.compile(r"https://doi\.org/10\.\d{4,}/\S+"),
    re.compile(r"https://(diataxis\.fr|semver\.org)"),
    # Furo names itself, and its author, at the foot of each page.
    re.compile(r"https://(pradyunsg\.me|github\.com/pradyunsg/furo)"),
)
_OWN = {"a": "href", "link": "href", "img": "src", "script": "src", "iframe": "src", "source": "src"}


@dataclass(slots=True)
class _Page(HTMLParser):
    path: Path
    anchors: set[str] = field(default_factory=set)
    links: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)
        self.feed(self.path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        for name in ("id", "name"):
            if value := attributes.get(name):
                self.anchors.add(value)
        if tag in _OWN and (target := attributes.get(_OWN[tag])):
            self.links.append((tag, target))


class Site:
    """All pages of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pages = {path: _Page(path) for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts}

    def anchors(self, name: str) -> set[str]:
        """The anchors of a page."""
        return self.pages[self.folder / name].anchors

    def broken(self) -> Iterator[str]:
        """Yield each link that leads nowhere, or to a place outside that is of no known kind."""
        for path, page in self.pages.items():
            for tag, link in page.links:
                if problem := self._problem(path, tag, link):
                    yield f"{path.relative_to(self.folder)}: {link}: {problem}"

    def _problem(self, path: Path, tag: str, link: str) -> str:
        parts = urlsplit(link)
        if parts.scheme == "data":
            return ""
        if parts.scheme or parts.netloc:
            if tag != "a":
                return "a page must not load anything from elsewhere"
            return (
                "" if any(kind.fullmatch(link.rstrip("/")) for kind in EXTERNAL) else "a kind of link that is not known"
            )
        target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
        if not target.is_file():
            return "there is no such file"
        if parts.fragment and target in self.pages and unquote(parts.fragment) not in self.pages[target].anchors:
            return "there is no such anchor"
        return ""
