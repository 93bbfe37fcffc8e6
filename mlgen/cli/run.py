"""``mlgen run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlgen.cli import options

if TYPE_CHECKING:
    from mlgen.card import Card
    from mlgen.chain import RunResult


@click.command("run")
@click.argument("source", metavar="CARD|EVENTS", nargs=-1, required=True)
@click.option("--generator", metavar="NAME", help="Replace the hard-event generation by this plugin.")
@click.option("--unweighting", metavar="NAME", help="Unweight with this plugin.")
@click.option("--model", metavar="DIR", help="Folder of the generator's model; trained there when missing.")
@click.option("-n", "--events", type=click.IntRange(min=1), help="Events to generate, or to read from the input.")
@click.option("--seed", type=click.IntRange(min=0), help="The seed of the run.")
@click.option("--set", "settings", metavar="SECTION.KEY=VALUE", multiple=True, help="Set a key of the card.")
@click.option("-o", "--output", metavar="FILE", multiple=True, help="File to write; may be given several times.")
@click.option(
    "-d", "--directory", type=click.Path(file_okay=False, path_type=Path), help="Where outputs and models go."
)
@click.option("--retrain", is_flag=True, help="Train again although a model is there.")
@options.force
@options.on_error
@options.input_format
@options.output_format
@options.as_json
@options.debug
def command(source: tuple[str, ...], force: bool, retrain: bool, as_json: bool, **overrides: Any) -> None:
    """Run a card, or replace a stage for event files.

    \b
    mlgen run card.toml
    mlgen run card.toml -n 1000 --set generator.width=256 -d scratch
    mlgen run events.lhe.gz --generator cfm -n 100000 -o new.lhe.gz -o new.root
    mlgen run weighted.lhe.gz --unweighting hit-or-miss -o unweighted.lhe.gz
    """  # noqa: D301 - click wants a real \b
    from mlgen.chain import plan_chain, run_chain
    from mlgen.cli.terminal import print_json, reporter
    from mlgen.errors import UserError

    card = card_of(source, overrides)
    if as_json and card.model.output is not None and "-" in card.model.output.files:
        raise UserError("--json and events cannot both go to standard output; write the events into a file")
    result = run_chain(plan_chain(card, force=force, retrain=retrain), reporter)
    if as_json:
        print_json(result.to_dict())
    else:
        _show(result)


def card_of(source: tuple[str, ...], overrides: dict[str, Any]) -> Card:
    """Make the card from a card file or event files, and the options given with it."""
    import copy
    import tomllib

    from mlgen.card import COMMAND_LINE, card_from, load_card
    from mlgen.errors import UserError

    cards = [name for name in source if name.endswith(".toml")]
    if cards and len(source) > 1:
        raise UserError(f"{cards[0]}: one card, or event files; not both, and not several cards")
    content: dict[str, Any]
    if cards:
        path = Path(cards[0])
        text = load_card(path).text
        content, name, directory = tomllib.loads(text), str(path), path.parent
    else:
        content, text, name, directory = {"input": {"file": list(source)}}, "", COMMAND_LINE, Path()
    before = copy.deepcopy(content)
    _override(content, overrides)
    changed = {} if name == COMMAND_LINE else _changes(before, content)
    base = overrides.get("directory")
    if base is not None:
        try:
            base.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{base}: the directory cannot be made: {error.strerror}") from error
    return _relocated(card_from(content, name, text or _as_toml(content), directory, changed), base)


def _override(content: dict[str, Any], overrides: dict[str, Any]) -> None:
    for key, section, name in (
        ("events", "run", "events"),
        ("seed", "run", "seed"),
        ("on_error", "run", "on_error"),
        ("input_format", "input", "format"),
        ("generator", "generator", "plugin"),
        ("unweighting", "unweighting", "plugin"),
        ("model", "generator", "model"),
        ("output_format", "output", "format"),
    ):
        if overrides.get(key) is not None:
            content.setdefault(section, {})[name] = overrides[key]
    if overrides.get("output"):
        # Files named on the command line are where the user says, not next to the card.
        content.setdefault("output", {})["files"] = [_from_here(name) for name in overrides["output"]]
    if overrides.get("model") is not None:
        content["generator"]["model"] = _from_here(overrides["model"])
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
    import tomllib

    from mlgen.errors import UserError

    path, equals, value = setting.partition("=")
    keys = path.strip().split(".")
    if not equals or len(keys) < 2 or not all(keys):
        raise UserError(f"--set {setting}: SECTION.KEY=VALUE is expected, for instance generator.width=256")
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


def _as_toml(content: dict[str, Any]) -> str:
    import json

    lines = []
    for section, values in content.items():
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
    if card.model.generator is not None and card.model.generator.model is not None:
        model = str((directory / card.model.generator.model).absolute())
        changes["generator"] = card.model.generator.model_copy(update={"model": model})
    import dataclasses

    return dataclasses.replace(card, model=card.model.model_copy(update=changes))


def _show(result: RunResult) -> None:
    from mlgen.cli.terminal import number, shown, table, with_error

    rows = [
        ("events", number(result.events)),
        ("cross section", with_error(result.cross_section, result.cross_section_error)),
        ("sample is", result.exactness),
    ]
    for stage in result.stages:
        how = f"{stage.plugin} {stage.version} ({stage.exactness})"
        if stage.model:
            how += f", model {shown(stage.model)}, {'trained now' if stage.trained else 'used as it was'}"
        rows.append((stage.stage, how))
        rows += [(f"  {name.replace('_', ' ')}", number(value)) for name, value in stage.figures.items()]
        rows += [("  remark", remark) for remark in stage.remarks]
    rows += [(f"time, {work}", f"{seconds:.1f} s") for work, seconds in result.seconds.items()]
    rows += [("remark", remark) for remark in result.remarks]
    rows += [("written", shown(path)) for path in result.outputs]
    # When events go to standard output, the table must not end up among them.
    table(rows, err=any(str(path) == "-" for path in result.outputs))
