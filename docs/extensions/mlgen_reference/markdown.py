"""Text of the code as Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable

_SPECIAL = re.compile(r"([\\*_<>\[\]${}|#~^])")
_CODE = re.compile(r"(``.+?``|`[^`\n]+`)", re.DOTALL)
_PAPER = re.compile(r"arXiv:(\d{4}\.\d{4,5}|hep-[a-z]+/\d{7})")
_MATH = re.compile(r":math:`([^`]+)`")


def plain(text: str) -> str:
    """Plain text, with nothing in it that means something in Markdown; code stays code, papers become links."""
    text = _MATH.sub(lambda formula: f"`{formula[1]}`", text)
    parts = _CODE.split(" ".join(text.split()))
    return "".join(part if number % 2 else _linked(part) for number, part in enumerate(parts))


def _linked(text: str) -> str:
    found = _PAPER.split(text)
    return "".join(
        f"{{arxiv}}`{part}`" if number % 2 else _SPECIAL.sub(r"\\\1", part) for number, part in enumerate(found)
    )


def sentence(text: str) -> str:
    """A description of the code as a sentence: with a capital letter and a full stop."""
    text = text.strip()
    if not text:
        return ""
    text = text if text[0] in "'\"`" or text.split()[0].isupper() else text[0].upper() + text[1:]
    return plain(text if text.endswith((".", "?", ":")) else text + ".")


def code(text: object) -> str:
    """Inline code, whatever stands in it."""
    content = str(text)
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", content)), default=0))
    return f"{ticks} {content} {ticks}" if "`" in content else f"`{content}`"


def paragraphs(docstring: str | None) -> list[str]:
    """The paragraphs of a docstring as Markdown, up to the first section such as ``Args:``."""
    found = []
    for paragraph in inspect.cleandoc(docstring or "").split("\n\n"):
        if re.match(r"(Args|Attributes|Returns|Raises|Yields|References|Example)s?:", paragraph):
            break
        found.append(plain(paragraph))
    return [paragraph for paragraph in found if paragraph]


def entry(anchor: str, term: str, facts: Iterable[str], text: str) -> str:
    """One entry of a list of definitions: a term that can be linked to (with an anchor), facts in one line, a text."""
    line = " ".join(fact for fact in facts if fact)
    body = "\n\n  ".join(part for part in (f"[{line}]{{.facts}}" if line else "", text) if part)
    mark = f"#{anchor} .entry" if anchor else ".entry"
    return f"[{term}]{{{mark}}}\n: {body}\n"


def section(level: int, title: str, *anchors: str) -> str:
    """A heading that can be linked to."""
    marks = "".join(f"({anchor})=\n" for anchor in anchors)
    return f"{marks}{'#' * level} {title}\n"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; cells are Markdown."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|") if "\\|" not in cell else cell for cell in cells) + " |"

    head = list(head)
    return "\n".join([line(head), line("---" for _ in head), *map(line, rows)]) + "\n"
