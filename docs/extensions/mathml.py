"""Formulas as MathML, which browsers show by themselves: the pages need no script and no network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.errors import ExtensionError
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

_logger = logging.getLogger(__name__)


def _mathml(formula: nodes.math | nodes.math_block, *, block: bool) -> str:
    text = formula.astext()
    if block and (r"\\" in text or "&" in text) and r"\begin" not in text:
        text = rf"\begin{{aligned}}{text}\end{{aligned}}"
    try:
        return tex2mathml(text, as_block=block)
    except MathError as error:
        _logger.warning("the formula '%s' cannot be shown: %s", text.strip(), error, location=formula)
        return f"<code>{nodes.unescape(text)}</code>"


def _inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(_mathml(node, block=False))
    raise nodes.SkipNode


def _block(translator: HTML5Translator, node: nodes.math_block) -> None:
    number = node.get("number")
    anchors = "".join(f' id="{name}"' for name in node["ids"][:1])
    label = f'<span class="eqno">({number})</span>' if number else ""
    translator.body.append(f'<div class="math"{anchors}>{label}{_mathml(node, block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer ``mathml``."""
    try:
        app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    except ExtensionError:  # in one process with another build
        _logger.debug("the renderer is there already")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
