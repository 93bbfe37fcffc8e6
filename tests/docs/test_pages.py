"""The pages are built without a warning, every link leads somewhere, and everything has its entry."""

import ast
import re
import subprocess
import sys
from pathlib import Path

from built_site import Site
from documentation import DOCS, ROOT
from mlgen_reference import api, builtin, settings
from mlgen_reference.commands import commands
from sphinx.util.inventory import InventoryFile

from mlgen.card import CardModel
from mlgen.stages import CAPABILITIES, CONTRACTS, Stage
from mlgen.testing import rules_of


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    arguments = ["-W", "--keep-going", "-n", "-q", "-b", "html", "-d", str(target / "doctrees")]
    command = [sys.executable, "-m", "sphinx", *arguments, str(source), str(target / "html")]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def expected_anchors() -> dict[str, set[str]]:
    """What has to be on which page, from the code."""
    manager = builtin.plugins()
    stages = [found.offer for plugins in manager.stage_plugins.values() for found in plugins]
    tools = [found.offer for found_tools in manager.tools.values() for found in found_tools]
    card: set[str] = set()
    below: set[type] = set()
    for path, model in settings.sections_of(CardModel):
        # One that stands below several sections has its keys shown once.
        if len(path) < 2 or model not in below:
            card |= {"-".join((*path, key.name)) for key in settings.keys_of(model)}
            below.add(model)
    records = [*CONTRACTS.values(), *api.stage_records()]
    return {
        "card": card,
        "plugins": {offer.name for offer in (*stages, *tools)}
        | {f"{offer.name}-{key.name}" for offer in (*stages, *tools) for key in settings.keys_of(offer.settings)}
        | {f"capability-{one.name}" for known in CAPABILITIES.values() for one in known},
        "commands": {f"mlgen-{name}" for name in commands()}
        | {
            f"mlgen-{name}{max(parameter.opts, key=len)}"
            for name, command in commands().items()
            for parameter in command.params
            if parameter.param_type_name == "option"
        },
        "hooks": set(api.hooks()) | {f"mlgen.hookspecs.{name}" for name in api.hooks()},
        "contracts": {f"mlgen.stages.{record.__name__}" for record in records},
        "conformance": {rule.identity for stage in Stage for rule in rules_of(stage)},
        "formats": {found.offer.name for found in manager.event_formats},
    }


def as_anchor(name: str) -> set[str]:
    """A name and what docutils makes of it for HTML."""
    import docutils.nodes

    return {name, docutils.nodes.make_id(name)}


#: Named in the text of the reference: the marker of hooks, and names of types.
IN_WORDS = {"mlgen.hookspecs.hookimpl", "mlgen.stages.ProgressCallback", "mlgen.stages.State"}


def imported(package: Path) -> set[str]:
    """What the modules of a package import from mlgen."""
    nodes = [node for file in package.rglob("*.py") for node in ast.walk(ast.parse(file.read_text()))]
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mlgen.")]
    return {f"{node.module}.{alias.name}" for node in froms for alias in node.names}


def test_pages_are_built_without_a_warning_and_complete(tmp_path: Path) -> None:
    result = build(DOCS, tmp_path)
    assert result.returncode == 0, result.stderr
    site = Site(tmp_path / "html")
    assert not list(site.broken())
    for page, names in expected_anchors().items():
        there = site.anchors(f"reference/{page}.html")
        assert names, page
        assert not [name for name in sorted(names) if not as_anchor(name) & there], page
    # A stranger has the documentation, and nothing else.
    inventory = InventoryFile.loads((tmp_path / "html" / "objects.inv").read_bytes(), uri="")
    documented = {name for kind, objects in inventory.data.items() if kind.startswith("py:") for name in objects}
    stranger = imported(ROOT / "examples" / "third_party" / "mlgen-boosted-mixture")
    assert len(stranger) > 10
    assert stranger - documented == IN_WORDS & stranger


#: What is wrong in a page, and what the build has to say of it.
WRONG = {
    "[a page](nowhere.md)": "cross-reference target not found: 'nowhere.md'",
    "[an anchor](index.md#no-anchor)": "no-anchor",
    "{py:class}`mlgen.stages.Nowhere`": "reference target not found: mlgen.stages.Nowhere",
    "{repository}`examples/nowhere.toml`": "there is no 'examples/nowhere.toml' in the repository",
    "{arxiv}`12.34`": "'12.34' is no arXiv identity",
    r"$\nowhere{x}$": r"the formula '\nowhere{x}' cannot be shown",
}


def test_a_wrong_reference_is_a_warning(tmp_path: Path) -> None:
    source = tmp_path / "docs"
    source.mkdir()
    (source / "index.md").write_text("# Title\n\n" + "\n\n".join(WRONG))
    own = (DOCS / "conf.py").read_text().replace("Path(__file__).parent", f"Path({str(DOCS)!r})")
    (source / "conf.py").write_text(own.replace('["_static"]', "[]").replace('["reference.css"]', "[]"))
    result = build(source, tmp_path / "built")
    assert result.returncode != 0
    assert not [problem for problem in WRONG.values() if problem not in result.stderr], result.stderr


def test_links_of_the_readme_lead_somewhere() -> None:
    """Its links are those of the repository, not of the built pages."""
    links = re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert len(links) > 20
    assert not [link for link in links if "://" in link or not (ROOT / link).exists()]


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.html").write_text('<p id="there">x</p>')
    (tmp_path / "page.html").write_text(
        '<a href="other.html#there">right</a><a href="other.html#nowhere">1</a><a href="nowhere.html">2</a>'
        '<a href="https://arxiv.org/abs/2110.13632">right</a><a href="https://arxiv.org/abs/abc">3</a>'
        '<a href="http://example.org">4</a><script src="https://cdn.example.org/x.js"></script><img src="gone.svg">'
    )
    problems = list(Site(tmp_path).broken())
    assert [problem.split(": ")[1] for problem in problems] == [
        "other.html#nowhere",
        "nowhere.html",
        "https://arxiv.org/abs/abc",
        "http://example.org",
        "https://cdn.example.org/x.js",
        "gone.svg",
    ]
