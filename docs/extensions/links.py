"""The roles ``arxiv`` and ``repository``: papers, and files of this repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util.docutils import SphinxRole

if TYPE_CHECKING:
    from sphinx.application import Sphinx

REPOSITORY = Path(__file__).parents[2]
#: The identity of a paper: of today, or of before April 2007.
ARXIV = re.compile(r"\d{4}\.\d{4,5}|[a-z-]+(\.[A-Z]{2})?/\d{7}")


class ArxivRole(SphinxRole):
    """Links a paper: {arxiv}`2110.13632`."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the link; an identity that cannot be one is an error."""
        if not ARXIV.fullmatch(self.text):
            problem = self.inliner.reporter.error(
                f"'{self.text}' is no arXiv identity, as 2110.13632", line=self.lineno
            )
            return [], [problem]
        return [nodes.reference("", f"arXiv:{self.text}", refuri=f"https://arxiv.org/abs/{self.text}")], []


class RepositoryRole(SphinxRole):
    """Names a file or folder of the repository: {repository}`examples/zjet.toml`; it has to be there."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the path, as a link where the configuration says where the repository is."""
        if not (REPOSITORY / self.text).exists():
            problem = self.inliner.reporter.error(f"there is no '{self.text}' in the repository", line=self.lineno)
            return [], [problem]
        path: nodes.Node = nodes.literal("", self.text, classes=["file"])
        if self.config.repository_url:
            path = nodes.reference("", "", path, refuri=f"{self.config.repository_url}/{self.text}")
        return [path], []


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the roles."""
    app.add_config_value("repository_url", "", "env")
    app.add_role("arxiv", ArxivRole())
    app.add_role("repository", RepositoryRole())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
