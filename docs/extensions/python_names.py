"""Names of Python in docstrings: `name` is a link where this reference has it, and code otherwise.

Names of other packages are not looked up: that would need their inventories, and so the network.
"""

from __future__ import annotations

import importlib.util
import re
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.util.docutils import SphinxRole
from sphinx.util.nodes import make_refnode

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

_CODE = re.compile(r"(``.+?``|`[^`]+`)")
#: Stands for a colon while napoleon looks: a character for private use.
_COLON = "\ue000"


class PythonNameRole(SphinxRole):
    """What single backticks mean in a docstring."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return a reference that `_find_elsewhere` gives up on quietly."""
        code = nodes.literal("", self.text, classes=["xref", "py"])
        if not self.text.replace(".", "").replace("_", "").isalnum():
            return [code], []
        reference = pending_xref(
            "",
            code,
            refdomain="py",
            reftype="obj",
            reftarget=self.text,
            refexplicit=False,
            refdoc=self.env.docname,
            from_docstring=True,
            **{"py:module": self.env.ref_context.get("py:module"), "py:class": self.env.ref_context.get("py:class")},
        )
        return [reference], []


def _find_elsewhere(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement
) -> nodes.Node | None:
    """A name that is in the reference under another module links there; what is foreign stays as it is."""
    if node.get("refdomain") != "py":
        return None
    target = str(node["reftarget"])
    found = [name for name in env.domains.python_domain.objects if name.endswith(f".{target}")]
    if len(found) == 1:
        there = env.domains.python_domain.objects[found[0]]
        return make_refnode(app.builder, node["refdoc"], there.docname, there.node_id, [text], found[0])
    # A role that somebody wrote, as {py:class}`...`, says "refexplicit" or not; an annotation of a signature does not.
    annotation = "refexplicit" not in node
    package = target.split(".")[0]
    foreign = package != "mlgen" and "." in target and importlib.util.find_spec(package) is not None
    return text if node.get("from_docstring") or annotation or foreign else None


def _protect_colon(app: Sphinx, kind: str, name: str, found: object, options: object, lines: list[str]) -> None:
    """A property's docstring is a sentence: napoleon would take what stands before its colon for a type."""
    if kind in ("property", "attribute", "data") and lines:
        lines[0] = lines[0].replace(":", _COLON)


def _restore_colon(app: Sphinx, kind: str, name: str, found: object, options: object, lines: list[str]) -> None:
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def _escape_bars(app: Sphinx, kind: str, name: str, found: object, options: object, lines: list[str]) -> None:
    """|M|^2 is no substitution of reStructuredText; bars in code and in examples stay."""
    literal_from: int | None = None
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if line.strip() and literal_from is not None and indent <= literal_from:
            literal_from = None
        if literal_from is None:
            parts = _CODE.split(line)
            lines[number] = "".join(part if place % 2 else part.replace("|", r"\|") for place, part in enumerate(parts))
            if line.rstrip().endswith("::"):
                literal_from = indent


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the role ``python-name``."""
    app.add_role("python-name", PythonNameRole())
    app.connect("missing-reference", _find_elsewhere)
    app.connect("autodoc-process-docstring", _protect_colon, priority=400)
    app.connect("autodoc-process-docstring", _restore_colon, priority=600)
    app.connect("autodoc-process-docstring", _escape_bars)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
