"""The reference, written from the code each time it is built.

A line ``<!-- generated: NAME -->`` in a page of ``docs/`` is replaced by what `PARTS` has under that name, as Markdown,
before the page is read. Nothing is written into the source tree, and no page can be out of date.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from docutils import nodes

from mlgen_reference import parts

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

_MARK = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)


def _fill_in(app: Sphinx, docname: str, source: list[str]) -> None:
    def part(mark: re.Match[str]) -> str:
        if mark[1] not in parts.PARTS:
            raise KeyError(f"{docname}: no part is called '{mark[1]}'; there are {', '.join(parts.PARTS)}")
        generated.append(docname)
        return parts.PARTS[mark[1]]()

    generated: list[str] = []
    source[0] = _MARK.sub(part, source[0])
    if generated:
        app.env.metadata[docname]["generated"] = "yes"


def _always_again(app: Sphinx, env: BuildEnvironment, *changed: set[str]) -> list[str]:
    """Pages with generated parts are read again in each build: what they are made of may have changed."""
    return [name for name in env.found_docs if "generated" in env.metadata.get(name, {})]


def _names_as_anchors(app: Sphinx, doctree: nodes.document) -> None:
    """A heading that is a name of Python can be linked to as it is written, beside the slug in small letters."""
    slugs = app.env.metadata[app.env.docname].get("myst_slugs", {})
    for part in doctree.findall(nodes.section):
        title = part[0].astext()
        if title.isidentifier() and title not in slugs and title.lower() in slugs:
            part["ids"].append(title)
            slugs[title] = (part.line, title, title)


def setup(app: Sphinx) -> dict[str, bool]:
    """Take part in the reading of pages."""
    app.connect("source-read", _fill_in)
    app.connect("doctree-read", _names_as_anchors)
    app.connect("env-get-outdated", _always_again)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
