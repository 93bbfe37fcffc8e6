"""The card and the settings of plugins and tools, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel

from mlgen.card import CardModel, StageSection, ToolSection
from mlgen.stages import Stage
from mlgen_reference import builtin
from mlgen_reference.markdown import code, entry, paragraphs, plain, section, sentence
from mlgen_reference.settings import Key, keys_of

#: Section of the card that names a tool, and the kind of tool.
_SECTION_OF_TOOL = {"shower": "parton_showers", "detector": "detector_simulations", "matrix_element": "matrix_elements"}


def card() -> str:
    """Every section and key of a card."""
    shown: dict[type[BaseModel], str] = {}
    keys = keys_of(CardModel)
    plain_keys = [key for key in keys if not key.models]
    out = []
    if plain_keys:
        out.append(section(2, "Keys before the first section", "top-level"))
        out += [_key(key, ()) for key in plain_keys]
    for key in keys:
        if key.models:
            out += _section((key.name,), key, shown)
    return "\n".join(out)


def settings(model: type[BaseModel], anchor: str) -> str:
    """All settings of a plugin or tool, with the sections below them."""
    shown: dict[type[BaseModel], str] = {}
    keys = keys_of(model)
    if not keys:
        return "It has no settings.\n"
    return "\n".join(part for key in keys for part in _key_and_below(key, (anchor,), shown))


def _key_and_below(key: Key, path: tuple[str, ...], shown: dict[type[BaseModel], str]) -> Iterable[str]:
    yield _key(key, path)
    for model in key.models:
        if model not in shown:
            shown[model] = key.name
            for below in keys_of(model):
                yield from _key_and_below(below, (*path, key.name), shown)


def _section(path: tuple[str, ...], key: Key, shown: dict[type[BaseModel], str]) -> list[str]:
    (model,) = key.models
    name = ".".join(path)
    several = " or `[[" + name + "]]`, several of them" if key.type.startswith("list") else ""
    out = [section(2 if len(path) == 1 else 3, f"`[{name}]`", "-".join(path))]
    if key.description:
        out.append(sentence(key.description) + "\n")
    if several:
        out.append(f"One table{several}.\n")
    if model in shown and len(path) > 1:
        out.append(f"The keys are those of {_link(shown[model])}.\n")
        return out
    shown.setdefault(model, name)
    out += [f"{paragraph}\n" for paragraph in _docstring(model, name)]
    keys = keys_of(model)
    out += [_key(below, path, has_section=len(below.models) == 1) for below in keys]
    out += _others(path, model)
    for below in keys:
        if len(below.models) == 1:
            out += _section((*path, below.name), below, shown)
    return out


def _docstring(model: type[BaseModel], name: str) -> list[str]:
    """What the class of a section says, without its own name before it."""
    found = []
    for paragraph in paragraphs(model.__dict__.get("__doc__")):
        for prefix in (f"\\[{plain(name)}\\]: ", f"The section `[{name}]`: ", f"The section ``[{name}]``: "):
            paragraph = paragraph.removeprefix(prefix)
        found.append(paragraph[0].upper() + paragraph[1:])
    return found


def _others(path: tuple[str, ...], model: type[BaseModel]) -> list[str]:
    """Where the keys are that are not the card's own."""
    if issubclass(model, StageSection):
        plugins = builtin.plugins().stage_plugins[Stage(path[0])]
        links = ", ".join(f"[{code(found.offer.name)}](plugins.md#{found.offer.name})" for found in plugins)
        return [f"All other keys are settings of the plugin: {links}.\n"]
    if issubclass(model, ToolSection) or path[-1] == "matrix_element":
        tools = builtin.plugins().tools[_SECTION_OF_TOOL[path[-1]]]
        links = ", ".join(f"[{code(found.offer.name)}](plugins.md#{found.offer.name})" for found in tools)
        return [f"All other keys are settings of the program: {links}.\n"]
    return []


def _key(key: Key, path: tuple[str, ...], *, has_section: bool = False) -> str:
    facts = [key.type + "."]
    if key.required:
        facts.append("Has to be there.")
    elif key.default:
        facts.append(f"Default: {code(key.default)}.")
    text = sentence(key.description) or " ".join(p for model in key.models[:1] for p in paragraphs(model.__doc__)[:1])
    name = "-".join((*path, key.name))
    if has_section:
        text += f" See {_link('.'.join((*path, key.name)))}."
    # The anchor of a key that has a section of its own is that of the section.
    return entry("" if has_section else name, code(key.name), facts, text)


def _link(name: str) -> str:
    return f"[{code(f'[{name}]')}](#{name.replace('.', '-')})"
