"""The command line as Markdown, from the commands themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from mlgen.cli import COMMANDS, cli
from mlgen_reference.markdown import code, entry, plain, section, sentence


def commands() -> dict[str, click.Command]:
    """All commands, by name."""
    context = click.Context(cli, info_name="mlgen")
    found = {name: cli.get_command(context, name) for name in COMMANDS}
    return {name: command for name, command in found.items() if command is not None}


def reference() -> str:
    """Every command with its usage, help text, options and examples."""
    out = [section(2, "`mlgen`", "mlgen-command"), *_body("mlgen", cli)]
    for name, command in commands().items():
        out += [section(2, f"`mlgen {name}`", f"mlgen-{name}"), *_body(f"mlgen {name}", command)]
    return "\n".join(out)


def overview() -> str:
    """One line for each command."""
    return "\n".join(f"- [`mlgen {name}`](#mlgen-{name}): {plain(line)}" for name, line in COMMANDS.items()) + "\n"


def exit_codes() -> str:
    """What the codes mean that a command ends with, from the docstring of `mlgen.cli.main`."""
    from mlgen.cli import main

    text = " ".join(inspect.cleandoc(main.__doc__ or "").split("Exit codes:", 1)[1].split())
    codes = re.findall(r"(\d+), ((?:\([^)]*\)|[^;(])*)", text)
    return "\n".join(
        entry(f"exit-code-{number}", code(number), (), sentence(said.rstrip("."))) for number, said in codes
    )


def _body(name: str, command: click.Command) -> Iterator[str]:
    parent = None if command is cli else click.Context(cli, info_name="mlgen", **cli.context_settings)
    context = click.Context(command, parent=parent, info_name=name, **command.context_settings)
    pieces = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{name} {pieces}\n```\n"
    yield from _help(command)
    options = [parameter for parameter in command.get_params(context) if isinstance(parameter, click.Option)]
    for option in options:
        yield _option(name, option)


def _help(command: click.Command) -> Iterator[str]:
    r"""The help text; what stands after a \b is shown as it is."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.lstrip().startswith("\b"):
            lines = paragraph.split("\n")[1:]
            yield "```text\n" + "\n".join(lines) + "\n```\n"
        elif paragraph.strip():
            yield plain(paragraph) + "\n"


def _option(name: str, option: click.Option) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    metavar = "" if option.is_flag or option.count else f" {_metavar(option)}"
    facts = []
    if isinstance(option.type, click.Choice):
        facts.append("One of " + ", ".join(code(choice) for choice in option.type.choices) + ".")
    elif isinstance(option.type, (click.IntRange, click.FloatRange)):
        facts.append(_range(option.type))
    default = option.default
    if isinstance(default, (int, float, str)) and not isinstance(default, bool) and default != "":
        facts.append(f"Default: {code(default)}.")
    if option.multiple:
        facts.append("Can be given several times.")
    if option.required:
        facts.append("Has to be given.")
    anchor = f"{name.replace(' ', '-')}{max(option.opts, key=len)}"
    return entry(anchor, code(names + metavar), facts, sentence(option.help or ""))


def _metavar(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "NAME"
    return {"integer range": "NUMBER", "float range": "NUMBER", "integer": "NUMBER", "float": "NUMBER"}.get(
        option.type.name, option.type.name.upper()
    )


def _range(kind: click.IntRange | click.FloatRange) -> str:
    low = "" if kind.min is None else f"{'greater than' if kind.min_open else 'at least'} {kind.min}"
    high = "" if kind.max is None else f"{'less than' if kind.max_open else 'at most'} {kind.max}"
    words = " and ".join(part for part in (low, high) if part)
    return words[0].upper() + words[1:] + "." if words else ""
