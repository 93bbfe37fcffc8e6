"""The plugins and tools that come with mlgen, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlgen.hookspecs import Plugin, Tool
from mlgen.plugins import Registered
from mlgen.stages import CAPABILITIES, Stage
from mlgen_reference import builtin
from mlgen_reference.card import settings
from mlgen_reference.markdown import code, paragraphs, plain, section, sentence, table

_KINDS = {
    "matrix_elements": ("Matrix elements", "`[process] matrix_element`, `[reweighting]`"),
    "parton_showers": ("Parton showers", "`[shower]`"),
    "detector_simulations": ("Detector simulations", "`[detector]`"),
}


def overview() -> str:
    """One line for each plugin and tool."""
    manager = builtin.plugins()
    rows = [
        (
            _link(found.offer.name),
            f"[`[{stage.value}]`](card.md#{stage.value})",
            found.offer.exactness.value,
            plain(found.offer.summary),
        )
        for stage, plugins in manager.stage_plugins.items()
        for found in plugins
    ]
    rows += [
        (_link(found.offer.name), _KINDS[kind][1], "", plain(found.offer.summary))
        for kind, tools in manager.tools.items()
        for found in tools
    ]
    return table(("Name", "Section of the card", "The sample is", "What it is"), rows)


def plugins() -> str:
    """Every plugin and tool with its settings."""
    manager = builtin.plugins()
    out = []
    for stage, registered in manager.stage_plugins.items():
        out.append(section(2, f"`[{stage.value}]`", f"plugins-{stage.value}"))
        out += [_plugin(found) for found in registered]
    for kind, tools in manager.tools.items():
        out.append(section(2, _KINDS[kind][0], f"tools-{kind}"))
        out += [_tool(found, kind) for found in tools]
    return "\n".join(out)


def capabilities() -> str:
    """What plugins may be able to do beyond their contract, and which of the built-ins can."""
    rows = []
    for stage, known in CAPABILITIES.items():
        for capability in known:
            able = builtin.plugins().stage_plugins[stage]
            names = [_link(r.offer.name, "plugins.md") for r in able if capability in r.offer.capabilities]
            rows.append(
                (
                    f"[`{capability.name}`]{{#capability-{capability.name} .entry}}",
                    f"`{stage.value}`",
                    sentence(comment(capability).removeprefix(f"``{stage.value}``: ")),
                    ", ".join(names) or "none",
                )
            )
    return table(("Capability", "Stage", "What it says", "Built-ins that have it"), rows)


def comment(member: Any) -> str:
    """What the comments ``#:`` above a member of an enumeration or above a constant of its module say."""
    from sphinx.pycode import ModuleAnalyzer

    comments = ModuleAnalyzer.for_module(type(member).__module__).find_attr_docs()
    return " ".join(comments.get((type(member).__name__, member.name), []))


def _link(name: str, page: str = "") -> str:
    return f"[{code(name)}]({page}#{name})"


def _plugin(registered: Registered[Plugin]) -> str:
    offer = registered.offer
    fields = [
        ("Exactness", offer.exactness.value),
        ("Capabilities", ", ".join(code(one.value) for one in sorted(offer.capabilities, key=lambda one: one.name))),
        ("Contract version", str(offer.contract_version)),
        ("Used where the card names none", "yes" if offer.classical else ""),
        ("Comes with a trained model", "yes" if offer.shipped_model else ""),
        ("References", _references(offer.references)),
    ]
    return _described(offer, f'plugin = "{offer.name}"', fields, offer.stage)


def _tool(registered: Registered[Tool], kind: str) -> str:
    offer = registered.offer
    needs = f"`pip install mlgen-hep[{offer.requires}]`" if offer.requires else ""
    fields = [("Needs", needs), ("References", _references(offer.references))]
    key = "matrix_element" if kind == "matrix_elements" else "program"
    return _described(offer, f'{key} = "{offer.name}"', fields, None)


def _described(offer: Plugin | Tool, key: str, fields: Iterable[tuple[str, str]], stage: Stage | None) -> str:
    about = "\n".join(f":{name}: {value}" for name, value in fields if value)
    said = "\n\n".join(p for p in paragraphs(offer.settings.__dict__.get("__doc__")))
    return "\n".join(
        [
            section(3, code(offer.name), offer.name),
            f"{code(key)}: {plain(offer.summary)}.\n",
            about + "\n",
            f"{said}\n" if said else "",
            settings(offer.settings, offer.name),
        ]
    )


def _references(references: Iterable[str]) -> str:
    return ", ".join(plain(reference) for reference in references)
