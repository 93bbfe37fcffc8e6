"""Whether a piece of TOML could stand in a card: its sections, keys and plugin settings; what is missing may be."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from mlgen.card import CardModel
from mlgen.hookspecs import PLUGIN_KEYS, STAGE_KEYS
from mlgen.plugins import PluginManager
from mlgen.stages import Stage

#: Section that names a tool -> kind of tool, with the card's own keys in it.
_TOOLS = {"shower": ("parton_showers", {"program"}), "detector": ("detector_simulations", {"program", "geometry"})}


def card_problems(text: str, *, card: bool = True) -> list[str]:
    """Return what is wrong with a piece of a card, or (where it is no card) with its TOML."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return [f"not valid TOML: {error}"]
    if not card:
        return []
    problems = list(_problems(CardModel, content, ()))
    manager = PluginManager(third_party=False)
    for stage in Stage:
        own = PLUGIN_KEYS | STAGE_KEYS.get(stage, frozenset())
        offered = {found.offer.name: found.offer.settings for found in manager.stage_plugins[stage]}
        problems += _settings(content.get(stage.value), "plugin", own, offered, stage.value)
    for section, (kind, own) in _TOOLS.items():
        offered = {found.offer.name: found.offer.settings for found in manager.tools[kind]}
        problems += _settings(content.get(section), "program", own, offered, section)
    element = (content.get("process") or {}).get("matrix_element")
    offered = {found.offer.name: found.offer.settings for found in manager.tools["matrix_elements"]}
    if isinstance(element, str):
        element = {"program": element}
    problems += _settings(element, "program", {"program"}, offered, "process.matrix_element")
    return problems


def _settings(
    section: Any, key: str, own: Iterable[str], offered: Mapping[str, type[BaseModel]], name: str
) -> Iterator[str]:
    """Check the keys that are not the card's own: of the plugin that is named, or of any where none is."""
    if not isinstance(section, Mapping):
        return
    others = {setting: value for setting, value in section.items() if setting not in set(own)}
    if key in section:
        if section[key] not in offered:
            yield f"[{name}] {key} = '{section[key]}' is not among {', '.join(offered)}"
        else:
            yield from _problems(offered[section[key]], others, (name,))
        return
    known = {setting for model in offered.values() for setting in model.model_fields}
    for setting in others:
        if setting not in known:
            yield f"[{name}] {setting}: no built-in plugin has such a setting"


def _problems(model: type[BaseModel], content: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    try:
        model.model_validate(dict(content))
    except ValidationError as error:
        for problem in error.errors():
            if problem["type"] != "missing":
                yield f"{'.'.join(map(str, (*path, *problem['loc'])))}: {problem['msg']}"
