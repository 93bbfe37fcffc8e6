"""Makes a card from a card file, or from options alone, and the options that change it."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import click

from mlgen.card import COMMAND_LINE, Card, card_from, content_of, read_card
from mlgen.cli.options import PLUGIN_FILES
from mlgen.errors import UserError
from mlgen.hookspecs import PLUGIN_KEYS, SAMPLER_KEYS
from mlgen.particle_gun import ENERGY_KEYS
from mlgen.plugins import plugin_manager
from mlgen.stages import Stage

#: One key of a dotted path, bare (and then with blanks and signs in it, too) or in quotes.
_KEY = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^."'=]+?))\s*(\.|=|$)""")


def card_of(source: tuple[str, ...], overrides: dict[str, Any]) -> Card:
    """Make the card from a card file or event files, and the options given with it."""
    cards = [name for name in source if name.endswith(".toml")]
    if cards and len(source) > 1:
        raise UserError(f"{cards[0]}: one card, or event files; not both, and not several cards")
    if cards:
        return card_with(Path(cards[0]), {}, overrides)
    return card_with(None, {"input": {"file": list(source)}}, overrides)


def card_with(path: Path | None, content: dict[str, Any], overrides: dict[str, Any]) -> Card:
    """Make the card from a card file, or from content made of options, and the options that change it.

    Raises:
        CardError: The card says something that is not allowed.
        UserError: An option does.
    """
    text, name, directory = "", COMMAND_LINE, Path()
    if path is not None:
        # What options add or replace is not looked at before they did.
        text, name, directory = read_card(path), str(path), path.parent
        content = content_of(text, name)
    before = copy.deepcopy(content)
    _add_plugin_files(content)
    left_out = _other_sampler(content, overrides)
    _override(content, overrides)
    changed = {} if name == COMMAND_LINE else _changes(before, content)
    base = overrides.get("directory")
    if base is not None:
        try:
            base.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{base}: the directory cannot be made: {error.strerror}") from error
    card = card_from(content, name, text or _as_toml(content), directory, changed)
    if left_out:
        remark = (
            f"--sampler {overrides['sampler']}: the card's [phase_space] is for '{before['phase_space']['plugin']}'; "
            f"{', '.join(left_out)} of it {'is' if len(left_out) == 1 else 'are'} left out"
        )
        # What was given again, by --model or --set, is there.
        absent = {f"phase_space.{key}": None for key in left_out if key not in content["phase_space"]}
        card = dataclasses.replace(card, remarks=(remark,), changed={**changed, **absent})
    return _relocated(card, base)


def _add_plugin_files(content: dict[str, Any]) -> None:
    """Name the files of ``--plugin`` in the card, so that what it says is all that is needed to run it again."""
    context = click.get_current_context(silent=True)
    if context is None or not (files := context.meta.get(PLUGIN_FILES)):
        return
    named = content.get("plugins", [])
    named = [named] if isinstance(named, str) else named
    if isinstance(named, list):
        content["plugins"] = [*named, *(name for name in files if name not in named)]


def _other_sampler(content: dict[str, Any], overrides: dict[str, Any]) -> list[str]:
    """Take away what a card says for another sampler than that of the command line; returns the keys."""
    section = content.get("phase_space")
    sampler = overrides.get("sampler")
    if sampler is None or not isinstance(section, dict) or section.get("plugin", sampler) == sampler:
        return []
    kept = (PLUGIN_KEYS | SAMPLER_KEYS) - {"model"}
    return [key for key in list(section) if key not in kept and [section.pop(key)]]


def _override(content: dict[str, Any], overrides: dict[str, Any]) -> None:
    for key, section, name in (
        ("events", "run", "events"),
        ("seed", "run", "seed"),
        ("on_error", "run", "on_error"),
        ("input_format", "input", "format"),
        ("generator", "generator", "plugin"),
        ("unweighting", "unweighting", "plugin"),
        ("shower", "shower", "program"),
        ("calorimeter", "calorimeter", "plugin"),
        ("sampler", "phase_space", "plugin"),
        ("precision", "integration", "precision"),
        ("time", "integration", "time"),
        ("points", "integration", "points"),
        ("output_format", "output", "format"),
        ("select", "validation", "select"),
    ):
        if overrides.get(key) is not None:
            content.setdefault(section, {})[name] = overrides[key]
    if overrides.get("output"):
        # Files named on the command line are where the user says, not next to the card.
        content.setdefault("output", {})["files"] = [_from_here(name) for name in overrides["output"]]
    if overrides.get("model") is not None:
        # Of a process, the model is the sampler's; which is the classical one where the card names none. A surrogate
        # that learns from a file of points is alone in its card. A calorimeter's it is where nothing else learns.
        learning = (section for section in ("amplitude", "generator", "calorimeter") if section in content)
        alone = next(learning, "generator")
        stage = "phase_space" if "process" in content else alone
        if stage == "phase_space":
            section = content.setdefault(stage, {})
            if "plugin" not in section:
                section["plugin"] = plugin_manager().classical(Stage.PHASE_SPACE).offer.name
        content.setdefault(stage, {})["model"] = _from_here(overrides["model"])
    if overrides.get("only"):
        content.setdefault("validation", {})["only"] = list(overrides["only"])
    if overrides.get("no_classifier"):
        content.setdefault("validation", {})["classifier"] = False
    for observable in overrides.get("observables", ()):
        name, equals, expression = observable.partition("=")
        if not equals or not name.strip() or not expression.strip():
            raise UserError(
                f'--observable {observable}: NAME=EXPRESSION is expected, for instance \'mZ=m("mu-", "mu+")\''
            )
        content.setdefault("validation", {}).setdefault("observables", {})[name.strip()] = expression.strip()
    if overrides.get("detector"):
        content.setdefault("detector", {}).update(overrides["detector"])
    if gun := overrides.get("particle_gun"):
        section = content.setdefault("particle_gun", {})
        if any(key in gun for key in ENERGY_KEYS):
            # The card's energies are replaced, wherever they come from.
            for key in (*ENERGY_KEYS, "spacing"):
                section.pop(key, None)
        section.update(gun)
    for setting in overrides.get("settings", ()):
        _set(content, setting)


def _changes(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Keys whose values are new or differ, as ``section.key``."""
    changes: dict[str, Any] = {}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict):
            changes |= _changes(old if isinstance(old, dict) else {}, value, f"{prefix}{key}.")
        elif value != old:
            changes[prefix + key] = value
    return changes


def _from_here(name: str) -> str:
    return name if name == "-" else str(Path(name).absolute())


def _set(content: dict[str, Any], setting: str) -> None:
    keys, value = _keys_and_value(setting)
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    section = content
    for key in keys[:-1]:
        section = section.setdefault(key, {})
        if not isinstance(section, dict):
            raise UserError(f"--set {setting}: '{key}' is a value, not a section")
    section[keys[-1]] = parsed


def _keys_and_value(setting: str) -> tuple[list[str], str]:
    """Read ``section.key=value``, where a key may be in quotes: ``process.cuts.mass."e+ e-"=50``."""
    keys, place = [], 0
    while (match := _KEY.match(setting, place)) and match[4]:
        keys.append(next(key for key in match.groups() if key is not None))
        place = match.end()
        if match[4] == "=":
            if len(keys) > 1 and all(keys):
                return keys, setting[place:]
            break
    raise UserError(
        f"--set {setting}: SECTION.KEY=VALUE is expected, for instance generator.width=256 "
        "or 'process.cuts.mass.\"mu+ mu-\"=50'"
    )


def _as_toml(content: dict[str, Any]) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in content.items() if not isinstance(value, dict)]
    for section, values in content.items():
        if not isinstance(values, dict):
            continue
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _relocated(card: Card, directory: Path | None) -> Card:
    """Send outputs and models that the card names into another directory."""
    if directory is None:
        return card
    changes: dict[str, Any] = {}
    if card.model.output is not None:
        files = [name if name == "-" else str((directory / name).absolute()) for name in card.model.output.files]
        changes["output"] = card.model.output.model_copy(update={"files": files})
    for name in ("phase_space", "amplitude", "generator", "calorimeter"):
        section = getattr(card.model, name)
        # The model of a calorimeter that has nothing to learn from is an input.
        used_only = name == "calorimeter" and section is not None and section.showers is None
        if section is not None and section.model is not None and not used_only:
            model = str((directory / section.model).absolute())
            changes[name] = section.model_copy(update={"model": model})
    return dataclasses.replace(card, model=card.model.model_copy(update=changes))
